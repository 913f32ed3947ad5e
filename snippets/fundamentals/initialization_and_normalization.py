"""Initial weights and normalization layers, and what they do with depth."""

# --8<-- [start:draw]
import numpy as np

from snippets.fundamentals.backpropagation import (
    Tensor,
    backward,
    node,
    relu,
    tanh,
)
from snippets.fundamentals.neural_network import cross_entropy
from snippets.fundamentals.unsupervised_learning import check_points


def draw(fan_in, fan_out, rule, rng):
    """Weights (fan_in, fan_out) from a normal distribution of mean 0.

    rule is "xavier" (Glorot and Bengio 2010, equation 12), "he" (He and
    others 2015, equation 10), or the standard deviation itself.
    """
    if min(fan_in, fan_out) < 1:
        raise ValueError(
            "fan_in and fan_out: expected at least 1, "
            f"got {fan_in} and {fan_out}"
        )
    if rule == "xavier":
        deviation = (2 / (fan_in + fan_out)) ** 0.5
    elif rule == "he":
        deviation = (2 / fan_in) ** 0.5
    elif isinstance(rule, str) or not 0 <= rule < np.inf:
        raise ValueError(
            f'rule: expected "xavier", "he" or a number >= 0, got {rule!r}'
        )
    else:
        deviation = rule
    return deviation * rng.normal(size=(fan_in, fan_out))


# --8<-- [end:draw]


# --8<-- [start:deep]
def deep_weights(sizes, rule, seed=0):
    """One matrix for each pair of neighbours in sizes, drawn by rule."""
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected at least two, got {sizes}")
    rng = np.random.default_rng(seed)
    return [
        Tensor(draw(fan_in, fan_out, rule, rng), requires_grad=True)
        for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def activations(X, weights, activation=relu, norms=None):
    """What comes out of each layer, a list of tensors (n, width); X first.

    norms holds a function for each layer, applied before the activation.
    """
    check_points(X)
    outputs = [Tensor(X)]
    for layer, matrix in enumerate(weights):
        hidden = outputs[-1] @ matrix
        if norms is not None:
            hidden = norms[layer](hidden)
        outputs.append(activation(hidden))
    return outputs


# --8<-- [end:deep]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels - pixels.mean()) / pixels.std()

    def rms(array):
        """The typical size of an entry: the root of the mean square."""
        return np.mean(array**2) ** 0.5

    print(f"{len(images)} images of {images.shape[1]} pixels")
    print(f"typical size of a pixel {rms(images):.3f}")
    # --8<-- [end:digits]

    # --8<-- [start:fifty]
    sizes = [64] + 50 * [100]
    some = images[:200]

    def sizes_by_layer(rule, activation):
        """Typical activation of each layer (50,), in ten networks."""
        return np.array(
            [
                [rms(h.data) for h in activations(some, net, activation)[1:]]
                for net in (deep_weights(sizes, rule, s) for s in range(10))
            ]
        )

    measured = {
        ("ReLU", "0.01"): sizes_by_layer(0.01, relu),
        ("ReLU", "Xavier"): sizes_by_layer("xavier", relu),
        ("ReLU", "He"): sizes_by_layer("he", relu),
        ("ReLU", "1"): sizes_by_layer(1.0, relu),
        ("tanh", "Xavier"): sizes_by_layer("xavier", tanh),
    }
    print("typical activation after   1 layer           50 layers")
    for (activation, rule), by_layer in measured.items():
        spans = [
            f"{by_layer[:, i].min():7.2g} to {by_layer[:, i].max():7.2g}"
            for i in (0, 49)
        ]
        print(f"{activation}, {rule:6s}       " + "  ".join(spans))
    # --8<-- [end:fifty]

    # --8<-- [start:predicted]
    fan_in = np.array(sizes[:-1])
    fan_out = np.array(sizes[1:])
    variance = {
        "0.01": np.full(50, 0.01**2),
        "Xavier": 2 / (fan_in + fan_out),
        "He": 2 / fan_in,
        "1": np.ones(50),
    }
    predicted = {
        rule: np.cumprod((fan_in * v / 2) ** 0.5)
        for rule, v in variance.items()
    }
    print("after 50 layers, ReLU  predicted  measured, mean of squares")
    for rule, sizes_predicted in predicted.items():
        mean = rms(measured["ReLU", rule][:, -1])
        print(f"{rule:21s}  {sizes_predicted[-1]:9.1e}  {mean:9.1e}")
    # --8<-- [end:predicted]

    # --8<-- [start:fifty-figure]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    layer = np.arange(1, 51)
    for i, rule in enumerate(predicted):
        by_layer = measured["ReLU", rule]
        low, high = by_layer.min(axis=0), by_layer.max(axis=0)
        ax.fill_between(layer, low, high, alpha=0.3, color=f"C{i}")
        ax.plot(layer, predicted[rule], color=f"C{i}", label=rule)
    ax.set(yscale="log", xlabel="layer", ylabel="typical activation")
    ax.set_yticks([1e-60, 1e-40, 1e-20, 1, 1e20, 1e40])
    ax.legend(title="standard deviation", ncols=2)
    plt.show()
    # --8<-- [end:fifty-figure]


# --8<-- [start:cosine]
def mean_cosine(X):
    """The mean cosine between two different rows of X, (n, d)."""
    X = check_points(X)
    if len(X) < 2 or not X.any(axis=1).all():
        raise ValueError("X: expected two rows or more, none of zeros only")
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    n = len(X)
    return ((rows @ rows.T).sum() - n) / (n * (n - 1))


def next_cosine(cosine):
    """What a wide ReLU layer makes of it (Cho and Saul 2009, equation 6)."""
    angle = np.arccos(np.minimum(cosine, 1.0))  # rounding may exceed it
    return (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi


# --8<-- [end:cosine]


if __name__ == "__main__":
    # --8<-- [start:alike]
    nets = [deep_weights(sizes, "he", seed) for seed in range(10)]
    alike = np.array(
        [
            [mean_cosine(hidden.data) for hidden in activations(some, net)]
            for net in nets
        ]
    )
    curve = [mean_cosine(some)]
    while len(curve) < 51:
        curve.append(next_cosine(curve[-1]))
    print("layer  cosine of two digits, ten networks  predicted")
    for depth in (0, 1, 5, 10, 20, 50):
        low, high = alike[:, depth].min(), alike[:, depth].max()
        span = f"{low:.3f} to {high:.3f}"
        print(f"{depth:5d}  {span:>34s}  {curve[depth]:9.3f}")
    # --8<-- [end:alike]

    # --8<-- [start:alike-figure]
    fig, ax = plt.subplots()
    low, high = alike.min(axis=0), alike.max(axis=0)
    ax.fill_between(range(51), low, high, alpha=0.3, label="ten networks")
    ax.plot(curve, label="predicted")
    ax.set(xlabel="layer", ylabel="cosine of two digits", ylim=(0.45, 1.02))
    ax.legend(loc="lower right")
    plt.show()
    # --8<-- [end:alike-figure]


# --8<-- [start:standardise]
def standardise(a, axis, eps=1e-5, centre=True):
    """(a - mean) / deviation along an axis; a / RMS where not centre.

    a is a tensor of any shape; eps is added to the variance.
    """
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps: expected a number >= 0, got {eps}")
    if not np.isfinite(a.data).all():
        raise ValueError("a: expected finite numbers, got NaN or infinity")
    mean = a.data.mean(axis=axis, keepdims=True) if centre else 0.0
    variance = np.mean((a.data - mean) ** 2, axis=axis, keepdims=True)
    if not (variance + eps).all():
        raise ValueError("a: expected numbers that differ, or eps > 0")
    scale = (variance + eps) ** -0.5
    normal = (a.data - mean) * scale

    def pull(g):
        along = normal * np.mean(g * normal, axis=axis, keepdims=True)
        shared = g.mean(axis=axis, keepdims=True) if centre else 0.0
        return scale * (g - shared - along)

    return node(normal, (a, pull))


# --8<-- [end:standardise]


# --8<-- [start:norms]
def layer_norm(a, gain, shift, eps=1e-5):
    """Each example by its own mean and deviation; a is (..., width)."""
    return standardise(a, -1, eps) * gain + shift


def rms_norm(a, gain, eps=1e-5):
    """Each example by its own root mean square; a is (..., width)."""
    return standardise(a, -1, eps, centre=False) * gain


# --8<-- [end:norms]


# --8<-- [start:batch-norm]
class BatchNorm:
    """Each feature by its mean and deviation over the batch, (n, width).

    In evaluation (training = False) it takes running averages of both, which
    move by the share momentum of the way at each batch in training.
    """

    def __init__(self, width, momentum=0.1, eps=1e-5):
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum: expected 0 to 1, got {momentum}")
        self.gain = Tensor(np.ones(width), requires_grad=True)
        self.shift = Tensor(np.zeros(width), requires_grad=True)
        self.mean, self.variance = np.zeros(width), np.ones(width)
        self.momentum, self.eps, self.training = momentum, eps, True

    def __call__(self, a):
        check_points(a.data, "a", len(self.mean))
        if not self.training:
            scale = (self.variance + self.eps) ** -0.5
            return (a - self.mean) * scale * self.gain + self.shift
        if len(a.data) < 2:
            raise ValueError("a: expected a batch of 2 or more, got 1")
        mean, variance = a.data.mean(axis=0), a.data.var(axis=0, ddof=1)
        self.mean += self.momentum * (mean - self.mean)
        self.variance += self.momentum * (variance - self.variance)
        return standardise(a, 0, self.eps) * self.gain + self.shift


# --8<-- [end:batch-norm]


# --8<-- [start:gradients]
def logits(X, weights, norms=None):
    """The scores (n, classes) of a network whose last layer is linear."""
    return activations(X, weights[:-1], norms=norms)[-1] @ weights[-1]


def gradient_sizes(X, labels, weights, norms=None):
    """The typical gradient of each layer's weights, the first one first."""
    backward(cross_entropy(logits(X, weights, norms), labels))
    gradients = [np.mean(w.grad**2) ** 0.5 for w in weights]
    for w in weights:
        w.grad = None
    return np.array(gradients)


# --8<-- [end:gradients]


if __name__ == "__main__":
    # --8<-- [start:depth]
    ones, zeros = np.ones(100), np.zeros(100)
    kinds = {
        "no norm": lambda: None,
        "layer norm": lambda: 50 * [lambda a: layer_norm(a, ones, zeros)],
        "batch norm": lambda: [BatchNorm(100) for _ in range(50)],
    }
    nets = [deep_weights([*sizes, 10], "he", seed) for seed in range(5)]
    print("after 50 layers   activation       cosine  gradient, a layer back")
    gradients = {}
    for kind, make in kinds.items():
        last = [activations(some, n[:-1], norms=make())[-1].data for n in nets]
        gradients[kind] = np.array(
            [gradient_sizes(some, labels[:200], n, make()) for n in nets]
        )
        growth = (gradients[kind][:, 4] / gradients[kind][:, 44]) ** (1 / 40)
        activation = [rms(h) for h in last]
        cosine = np.mean([mean_cosine(h) for h in last])
        span = f"{min(activation):.2f} to {max(activation):.2f}"
        print(f"{kind:14s}  {span}  {cosine:11.3f}  x {growth.mean():.3f}")
    print(f"batch norm, predicted  {1 / np.pi:18.3f}", end="  ")
    print(f"x {(np.pi / (np.pi - 1)) ** 0.5:.3f}")
    # --8<-- [end:depth]

    # --8<-- [start:depth-figure]
    fig, ax = plt.subplots()
    for kind, by_layer in gradients.items():
        typical = np.exp(np.log(by_layer).mean(axis=0))  # of five networks
        ax.semilogy(layer, typical[:-1] / typical[49], label=kind)
    ax.set(xlabel="layer", ylabel="gradient, relative to layer 50")
    ax.legend()
    plt.show()
    # --8<-- [end:depth-figure]


# --8<-- [start:train]
def train(forward, weights, X, labels, rate, epochs=6, batch_size=50, seed=0):
    """Stochastic gradient descent on forward(X), the logits, in place.

    A last batch of one joins the one before. Returns the loss of each batch.
    Raises FloatingPointError once it isn't finite.
    """
    X, labels = np.asarray(X, dtype=float), np.asarray(labels)
    if not 0 <= rate < np.inf:
        raise ValueError(f"rate: expected a number >= 0, got {rate}")
    rng, losses = np.random.default_rng(seed), []
    cuts = range(batch_size, len(X) - (batch_size > 1), batch_size)
    for _ in range(epochs):
        for batch in np.split(rng.permutation(len(X)), cuts):
            loss = cross_entropy(forward(X[batch]), labels[batch])
            losses.append(float(loss.data))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is {losses[-1]}")
            backward(loss)
            for w in weights:
                if w.grad is not None:  # else it is frozen
                    w.data = w.data - rate * w.grad
                    w.grad = None
    return losses


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:score]
    order = np.random.default_rng(0).permutation(len(images))
    fit_on, tune_on, test_on = np.split(order, [1000, 1300])

    def score(kind, rule, depth, rate, seed, on):
        """Train a network of that depth; return the share right of some."""
        net = deep_weights([64] + depth * [64] + [10], rule, seed)
        norms = {
            "no norm": None,
            "layer norm": depth * [lambda a: standardise(a, -1)],
            "batch norm": [BatchNorm(64) for _ in range(depth)],
        }[kind]

        def forward(X):
            return logits(X, net, norms)

        try:
            data = images[fit_on], labels[fit_on]
            train(forward, net, *data, rate, epochs=4)
        except FloatingPointError:
            return 0.0  # this rate is too high
        if kind == "batch norm":
            for norm in norms:
                norm.training = False
        guess = forward(images[on]).data.argmax(axis=1)
        return np.mean(guess == labels[on])

    # --8<-- [end:score]

    # --8<-- [start:compare]
    limits = 0.2, 0.65, 0.9
    print("                     5 layers              20 layers, of 4 above")
    print("right on test        rate  least to most   rate  0.20  0.65  0.90")
    for kind, rule in (
        ("no norm", "xavier"),
        ("no norm", "he"),
        ("layer norm", "he"),
        ("batch norm", "he"),
    ):
        line = f"{rule:7s} {kind:10s}"
        for depth in (5, 20):
            tried = {
                rate: score(kind, rule, depth, rate, 0, tune_on)
                for rate in (0.03, 0.1)
            }
            best = max(tried, key=tried.get)
            found = [
                score(kind, rule, depth, best, seed, test_on)
                for seed in range(1, 5)
            ]
            line += f"  {best:5.2f}"
            if depth == 5:
                line += f"  {min(found):.2f} to {max(found):.2f}  "
            else:  # run to run these differ, from processor to processor
                counts = [sum(f > limit for f in found) for limit in limits]
                line += "".join(f"{count:6d}" for count in counts)
        print(line)
    # --8<-- [end:compare]

    # --8<-- [start:torch-norms]
    import torch
    from torch import nn

    rng = np.random.default_rng(0)
    batch, pulled = rng.normal(size=(8, 6)), rng.normal(size=(8, 6))
    gain, shift = np.ones(6), np.zeros(6)
    for name, ours, theirs in (
        ("layer", lambda a: layer_norm(a, gain, shift), nn.LayerNorm(6)),
        ("RMS", lambda a: rms_norm(a, gain), nn.RMSNorm(6, eps=1e-5)),
        ("batch", BatchNorm(6), nn.BatchNorm1d(6)),
    ):
        a = Tensor(batch, requires_grad=True)
        out = ours(a)
        backward(out, pulled)
        x = torch.tensor(batch, requires_grad=True)
        y = theirs.double()(x)
        y.backward(torch.tensor(pulled))
        gap = max(
            np.abs(out.data - y.detach().numpy()).max(),
            np.abs(a.grad - x.grad.numpy()).max(),
        )
        print(f"{name:5s}  outputs and gradients same to 1e-12: {gap < 1e-12}")
    # --8<-- [end:torch-norms]

    # --8<-- [start:torch-init]
    torch.manual_seed(0)
    matrix = torch.empty(200, 300)  # (fan_out, fan_in), as nn.Linear has it
    print("standard deviation     torch  derived")
    for name, fill, derived in (
        ("kaiming_normal_", nn.init.kaiming_normal_, (2 / 300) ** 0.5),
        ("xavier_uniform_", nn.init.xavier_uniform_, (2 / 500) ** 0.5),
        ("default of nn.Linear", None, (1 / (3 * 300)) ** 0.5),
    ):
        drawn = fill(matrix) if fill else nn.Linear(300, 200).weight
        print(f"{name:20s}  {drawn.std().item():.4f}   {derived:.4f}")
    # --8<-- [end:torch-init]

    # --8<-- [start:half]
    deep = [nn.Linear(100, 100, bias=False).half() for _ in range(50)]
    hidden = torch.randn(200, 100).half()
    for depth, linear in enumerate(deep, start=1):
        hidden = torch.relu(linear(hidden))
        if depth in (1, 10, 30):
            print(f"layer {depth:2d}: largest {hidden.max().item():.1e}")
    # --8<-- [end:half]

    # --8<-- [start:symmetry]
    for value in (0.0, 0.1):
        net = [
            Tensor(np.full(shape, value), requires_grad=True)
            for shape in ((64, 50), (50, 10))
        ]
        losses = train(
            lambda X, net=net: logits(X, net), net, images, labels, 0.03
        )
        units = len(np.unique(net[0].data.round(12), axis=1).T)
        print(f"all {value}: {units} different units of 50, ", end="")
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last")
    # --8<-- [end:symmetry]

    # --8<-- [start:evaluation]
    net = deep_weights([64, 64, 64, 10], "he")
    norms = [BatchNorm(64) for _ in range(2)]
    train(
        lambda X: logits(X, net, norms),
        *(net, images[fit_on], labels[fit_on], 0.1),
    )
    by_class = test_on[np.argsort(labels[test_on], kind="stable")]
    for training in (True, False):
        for norm in norms:
            norm.training = training
        right = [
            logits(images[part], net, norms).data.argmax(axis=1)
            == labels[part]
            for part in np.array_split(by_class, 10)
        ]
        score_now = np.mean(np.concatenate(right))
        print(f"training = {training!s:5s}  right on test {score_now:.3f}")
    # --8<-- [end:evaluation]

    # --8<-- [start:one]
    for norm in norms:
        norm.training = True
    try:
        logits(images[:1], net, norms)
    except ValueError as error:
        print(error)
    # --8<-- [end:one]

    # --8<-- [start:solution-first-loss]
    for share in (1.0, 0.01):
        first = []
        for seed in range(10):
            net = deep_weights([64, 100, 10], "he", seed)
            net[-1].data = share * net[-1].data
            loss = cross_entropy(logits(images, net), labels)
            first.append(float(loss.data))
        print(f"last layer x {share:4.2f}  first loss ", end="")
        print(f"{min(first):.3f} to {max(first):.3f}")
    print(f"log of 10 classes          {np.log(10):.3f}")
    # --8<-- [end:solution-first-loss]


# --8<-- [start:orthogonal]
def orthogonal(width, rng):
    """A random rotation or reflection, (width, width), all equally likely.

    The signs make up for QR's own choice (Mezzadri 2007, section 5).
    """
    q, r = np.linalg.qr(rng.normal(size=(width, width)))
    return q * np.sign(np.diag(r))


# --8<-- [end:orthogonal]


if __name__ == "__main__":
    # --8<-- [start:solution-orthogonal]
    rng = np.random.default_rng(0)
    makers = {
        "normal": lambda: draw(100, 100, 0.1, rng),
        "orthogonal": lambda: orthogonal(100, rng),
    }
    for name, make in makers.items():
        product = np.linalg.multi_dot([make() for _ in range(50)])
        stretch = np.linalg.svd(product, compute_uv=False)
        print(f"{name:10s}  typical entry {rms(product):.2f}", end=", ")
        print(f"longest {stretch[0]:.2f}", end=", ")
        print(f"kept to a tenth: {np.sum(stretch > 0.1)} of 100")
    # --8<-- [end:solution-orthogonal]


if __name__ == "__main__":
    # --8<-- [start:solution-size]
    print("layers   whole: variance   scaled: variance  mean square")
    for depth in (5, 20, 80):
        line = f"{depth:6d}"
        for factor in (1, depth**-0.5):
            hidden = Tensor(np.random.default_rng(0).normal(size=(200, 100)))
            for matrix in deep_weights((depth + 1) * [100], "he"):
                added = relu(standardise(hidden, -1) @ matrix)
                hidden = hidden + added * factor
            line += f"  {hidden.data.var(axis=1).mean():16.2f}"
        print(f"{line}  {np.mean(hidden.data**2):11.2f}")
    # --8<-- [end:solution-size]


# --8<-- [start:residual]
def residual_logits(X, weights):
    """Layers that add to what comes in, each behind a layer norm.

    The first matrix maps the input to the width, the last to the logits.
    """
    blocks = weights[1:-1]
    hidden = Tensor(X) @ weights[0]
    for matrix in blocks:
        added = relu(standardise(hidden, -1) @ matrix)
        hidden = hidden + added * len(blocks) ** -0.5
    return standardise(hidden, -1) @ weights[-1]


# --8<-- [end:residual]


if __name__ == "__main__":
    # --8<-- [start:solution-residual]
    found = []
    for seed in range(1, 6):
        net = deep_weights([64] + 20 * [64] + [10], "he", seed)
        train(
            lambda X, net=net: residual_logits(X, net),
            *(net, images[fit_on], labels[fit_on], 0.1),
            epochs=4,
        )
        guess = residual_logits(images[test_on], net).data.argmax(axis=1)
        found.append(np.mean(guess == labels[test_on]))
    print(f"20 layers that add: {min(found):.3f} to {max(found):.3f}")
    # --8<-- [end:solution-residual]
