"""A reverse-mode automatic differentiation engine over NumPy arrays."""

# --8<-- [start:node]
import numpy as np


def node(data, *edges):
    """The tensor of a result, with an edge to each parent that counts.

    An edge is a pair (parent, pull): pull turns the gradient of the result
    into that of the parent.
    """
    return Tensor(data, edges=[e for e in edges if e[0].requires_grad])


def operands(name, function, a, b):
    """Both as tensors, and function of their data; ValueError says why."""
    a = a if isinstance(a, Tensor) else Tensor(a)
    b = b if isinstance(b, Tensor) else Tensor(b)
    try:
        return a, b, function(a.data, b.data)
    except ValueError:
        raise ValueError(
            f"{name}: expected shapes that fit, got {a.shape} and {b.shape}"
        ) from None


# --8<-- [end:node]


# --8<-- [start:arithmetic]
def add(a, b):
    """a + b, with broadcasting."""
    a, b, total = operands("add", np.add, a, b)
    return node(total, (a, lambda g: g), (b, lambda g: g))


def multiply(a, b):
    """a * b, with broadcasting."""
    a, b, product = operands("multiply", np.multiply, a, b)
    return node(product, (a, lambda g: g * b.data), (b, lambda g: g * a.data))


def power(a, p):
    """a to the power of a constant p."""
    return node(a.data**p, (a, lambda g: g * p * a.data ** (p - 1)))


# --8<-- [end:arithmetic]


# --8<-- [start:matmul]
def matmul(a, b):
    """a @ b, of matrices or stacks of matrices."""
    a, b, product = operands("matmul", np.matmul, a, b)
    if min(a.data.ndim, b.data.ndim) < 2:
        raise ValueError(
            f"matmul: expected matrices, got {a.shape} and {b.shape}"
        )
    return node(
        product, (a, lambda g: g @ b.data.mT), (b, lambda g: a.data.mT @ g)
    )


# --8<-- [end:matmul]


# --8<-- [start:functions]
def exp(a):
    """e to the power of each entry."""
    value = np.exp(a.data)
    return node(value, (a, lambda g: g * value))


def log(a):
    """The natural logarithm of each entry."""
    return node(np.log(a.data), (a, lambda g: g / a.data))


def tanh(a):
    """The hyperbolic tangent of each entry."""
    value = np.tanh(a.data)
    return node(value, (a, lambda g: g * (1 - value**2)))


def relu(a):
    """Each entry, or 0 where it is negative."""
    return node(np.maximum(a.data, 0), (a, lambda g: g * (a.data > 0)))


# --8<-- [end:functions]


# --8<-- [start:shapes]
def total(a, axis=None, keepdims=False):
    """The sum along an axis, or of all entries."""

    def pull(g):
        if axis is not None and not keepdims:
            g = np.expand_dims(g, axis)
        return np.broadcast_to(g, a.shape)

    return node(a.data.sum(axis=axis, keepdims=keepdims), (a, pull))


def take(a, index):
    """a[index], for any index that NumPy knows."""

    def pull(g):
        scattered = np.zeros(a.shape)
        np.add.at(scattered, index, g)  # an entry may be taken twice
        return scattered

    return node(a.data[index], (a, pull))


# --8<-- [end:shapes]


# --8<-- [start:tensor]
class Tensor:
    """An array that remembers what it was computed from."""

    __array_ufunc__ = None  # so that array + tensor asks the tensor

    def __init__(self, data, requires_grad=False, edges=()):
        self.data = np.array(data, dtype=float, copy=None if edges else True)
        self.data.flags.writeable = False  # the pulls rely on it
        self.edges = edges
        self.requires_grad = requires_grad or len(edges) > 0
        self.grad = None  # a leaf's, after backward
        self.shape = self.data.shape

    __add__ = __radd__ = add
    __mul__ = __rmul__ = multiply
    __matmul__, __pow__, __getitem__ = matmul, power, take

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + other * -1.0

    def __rsub__(self, other):
        return -self + other

    def __rmatmul__(self, other):
        return matmul(other, self)

    def __truediv__(self, other):
        return self * other**-1.0


# --8<-- [end:tensor]


# --8<-- [start:order]
def topological_order(root):
    """All nodes below root, each after its parents; no recursion."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        tensor, parents_done = stack.pop()
        if parents_done:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack.extend((parent, False) for parent, _ in tensor.edges)
    return order


# --8<-- [end:order]


# --8<-- [start:unbroadcast]
def unbroadcast(gradient, shape):
    """Sum the gradient over the axes along which shape was repeated."""
    new = gradient.ndim - len(shape)
    if new:
        gradient = gradient.sum(axis=tuple(range(new)))
    stretched = tuple(
        axis for axis, size in enumerate(shape) if size != gradient.shape[axis]
    )
    if stretched:
        gradient = gradient.sum(axis=stretched, keepdims=True)
    return gradient


# --8<-- [end:unbroadcast]


# --8<-- [start:backward]
def backward(root, gradient=1.0):
    """Add to the grad of every leaf the gradient of root in it.

    gradient has root's shape; a single number needs none.
    """
    if np.shape(gradient) != root.shape:
        raise ValueError(
            f"gradient: expected shape {root.shape}, got {np.shape(gradient)}"
        )
    if not root.requires_grad:
        raise ValueError(
            "root: expected a result of tensors with requires_grad, "
            "got a constant"
        )
    gradients = {root: np.asarray(gradient, dtype=float)}
    for tensor in reversed(topological_order(root)):
        g = gradients.pop(tensor)
        for parent, pull in tensor.edges:
            part = unbroadcast(pull(g), parent.shape)
            before = gradients.get(parent)
            gradients[parent] = part if before is None else before + part
        if not tensor.edges:
            tensor.grad = g + (0 if tensor.grad is None else tensor.grad)


# --8<-- [end:backward]


if __name__ == "__main__":
    # --8<-- [start:first]
    x = Tensor([[1.0, 2.0, 3.0]], requires_grad=True)  # (1, 3)
    y = Tensor([[2.0], [4.0]], requires_grad=True)  # (2, 1)
    z = x * y + x  # (2, 3): both are repeated
    backward(total(z))
    print("gradient in x", x.grad)
    print("gradient in y", y.grad.T)
    # --8<-- [end:first]


# --8<-- [start:network]
def layers(sizes, seed=0):
    """Weights and a bias for each layer, weights scaled as He proposed."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"sizes: expected at least two numbers >= 1, got {sizes}"
        )
    rng = np.random.default_rng(seed)
    parameters = []
    for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True):
        weights = rng.normal(size=(d_in, d_out)) * (2 / d_in) ** 0.5
        parameters.append(Tensor(weights, requires_grad=True))
        parameters.append(Tensor(np.zeros(d_out), requires_grad=True))
    return parameters


def network(X, parameters):
    """The logits (n, classes): linear layers with a ReLU in between."""
    hidden = X
    for i in range(0, len(parameters), 2):
        if i > 0:
            hidden = relu(hidden)
        hidden = hidden @ parameters[i] + parameters[i + 1]
    return hidden


# --8<-- [end:network]


# --8<-- [start:cross-entropy]
def cross_entropy(logits, labels):
    """Mean of minus the log-probability of each label, without overflow."""
    labels = np.asarray(labels)
    if len(logits.shape) != 2 or 0 in logits.shape:
        raise ValueError(
            "logits: expected shape (n, classes), none of them 0, "
            f"got {logits.shape}"
        )
    n, classes = logits.shape
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected {n} integers, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels: expected 0 to {classes - 1}, "
            f"got {labels.min()} to {labels.max()}"
        )
    shifted = logits - logits.data.max(axis=1, keepdims=True)  # a constant
    log_sums = log(total(exp(shifted), axis=1))  # (n,)
    return total(log_sums - shifted[np.arange(n), labels]) / n


# --8<-- [end:cross-entropy]


# --8<-- [start:check-data]
def check_data(X, labels, batch_size):
    """Both as arrays, or a ValueError if train can't work with them."""
    X, labels = np.asarray(X, float), np.asarray(labels)
    shape = np.shape(X)
    if len(shape) != 2 or 0 in shape or not np.isfinite(X).all():
        raise ValueError(
            "X: expected finite numbers of shape (n, d), none of them 0, "
            f"got shape {shape}"
            f"{' with NaN or infinite numbers' if np.size(X) else ''}"
        )
    if len(labels) != len(X):
        raise ValueError(f"labels: expected {len(X)}, got {len(labels)}")
    if not 1 <= batch_size <= len(X):
        raise ValueError(
            f"batch_size: expected 1 to {len(X)}, got {batch_size}"
        )
    return X, labels


# --8<-- [end:check-data]


# --8<-- [start:train]
def train(
    X,
    labels,
    parameters,
    learning_rate=0.1,
    epochs=20,
    batch_size=32,
    seed=0,
    backward=backward,
    zero=True,
):
    """Stochastic gradient descent; returns the mean loss of each epoch."""
    X, labels = check_data(X, labels, batch_size)
    rng, means = np.random.default_rng(seed), []
    for _ in range(epochs):
        order, losses = rng.permutation(len(X)), []
        for batch in np.split(order, range(batch_size, len(X), batch_size)):
            loss = cross_entropy(network(X[batch], parameters), labels[batch])
            backward(loss)
            for p in parameters:
                p.data = p.data - learning_rate * p.grad
                p.data.flags.writeable = False
                p.grad = None if zero else p.grad
            losses.append(float(loss.data))
        means.append(np.mean(losses))
    return means


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    seen, held_out = order[:1297], order[1297:]
    X, labels = digits.data / 16, digits.target  # brightness from 0 to 1

    def accuracy(images, parameters):
        guesses = network(images, parameters).data.argmax(axis=1)
        return np.mean(guesses == labels[held_out])

    models, scores = [], []
    for seed in range(5):
        models.append(layers((64, 32, 10), seed))
        losses = train(X[seen], labels[seen], models[-1], seed=seed)
        scores.append(accuracy(X[held_out], models[-1]))
        print(f"seed {seed}  loss {losses[0]:.2f} to {losses[-1]:.2f}", end="")
        print(f"  accuracy on held-out digits {scores[-1]:.3f}")
    # --8<-- [end:digits]

    # --8<-- [start:numeric]
    parameters = layers((64, 32, 10))
    n_parameters = sum(p.data.size for p in parameters)
    loss = cross_entropy(network(X[seen], parameters), labels[seen])
    backward(loss)
    weights, step, worst = parameters[0], 1e-5, 0.0
    rng = np.random.default_rng(0)
    for i, j in rng.integers((20, 0), (44, 32), size=(20, 2)):
        ends = []
        for sign in (1, -1):
            moved = weights.data.copy()
            moved[i, j] += sign * step
            logits = network(X[seen], [Tensor(moved), *parameters[1:]])
            ends.append(float(cross_entropy(logits, labels[seen]).data))
        slope = (ends[0] - ends[1]) / (2 * step)
        worst = max(worst, abs(slope - weights.grad[i, j]))
    print(f"{n_parameters} parameters, {2 * n_parameters} losses by trial")
    print(f"20 of them by trial agree within 1e-8: {worst < 1e-8}")
    # --8<-- [end:numeric]

    # --8<-- [start:fool]
    def loudest(images, parameters):
        """The sign of the loss's gradient in each pixel."""
        pixels = Tensor(images, requires_grad=True)
        backward(cross_entropy(network(pixels, parameters), labels[held_out]))
        return np.sign(pixels.grad)

    rng = np.random.default_rng(0)
    images = X[held_out]
    print("each pixel moves by  at random  by the gradient's sign")
    for size in (0.0, 0.05, 0.1, 0.2):
        coins = rng.choice([-1, 1], size=images.shape)
        ways = [
            [accuracy(images + size * way, model) for model in models]
            for way in (coins, *(loudest(images, m) for m in models))
        ]
        chance = np.mean(ways[0])
        gradient = np.mean([ways[i + 1][i] for i in range(len(models))])
        print(f"{size:19.2f}  {chance:9.2f}  {gradient:22.2f}")
    # --8<-- [end:fool]

    # --8<-- [start:fooled]
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 6)
    changed = images + 0.1 * loudest(images, models[0])
    for row, batch in zip(axes, (images, changed), strict=True):
        guesses = network(batch, models[0]).data.argmax(axis=1)
        for ax, image, guess in zip(row, batch, guesses, strict=False):
            ax.imshow(image.reshape(8, 8), cmap="cividis", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], title=f"a {guess}")
    plt.show()
    # --8<-- [end:fooled]

    # --8<-- [start:torch]
    import torch

    def train_torch(parameters, seed, epochs=20):
        """The same network, batches and steps, by PyTorch."""
        copies = [torch.tensor(p.data, requires_grad=True) for p in parameters]
        optimizer = torch.optim.SGD(copies, lr=0.1)
        inputs, targets = torch.tensor(X[seen]), torch.tensor(labels[seen])
        rng = np.random.default_rng(seed)
        for _ in range(epochs):
            shuffled = torch.from_numpy(rng.permutation(len(inputs)))
            for batch in shuffled.split(32):
                w1, b1, w2, b2 = copies
                logits = torch.relu(inputs[batch] @ w1 + b1) @ w2 + b2
                loss = torch.nn.functional.cross_entropy(
                    logits, targets[batch]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return [copy.detach().numpy() for copy in copies]

    # --8<-- [end:torch]

    # --8<-- [start:agree]
    for seed in range(5):
        theirs = train_torch(layers((64, 32, 10), seed), seed)
        pairs = zip(models[seed], theirs, strict=True)
        gap = max(np.abs(ours.data - their).max() for ours, their in pairs)
        score = accuracy(X[held_out], [Tensor(t) for t in theirs])
        print(f"seed {seed}  accuracy: ours {scores[seed]:.3f}", end="")
        print(f", PyTorch's {score:.3f}; weights within 1e-9: {gap < 1e-9}")
    # --8<-- [end:agree]

    # --8<-- [start:speed]
    import json
    from importlib.resources import files

    folder = files("snippets.fundamentals")
    record = folder.joinpath("backpropagation.results.json")
    speed = json.loads(record.read_text("utf-8"))["results"]
    for row in speed:
        print(f"{row['width']:4d} hidden units: ", end="")
        print(f"{row['ratio']:.2f} times PyTorch's time")
    # --8<-- [end:speed]

    # --8<-- [start:speed-figure]
    fig, ax = plt.subplots()
    widths = [row["width"] for row in speed]
    for name, marker in {"ours": "o", "PyTorch": "s"}.items():
        times = [1e3 * row[name] for row in speed]  # milliseconds
        ax.semilogx(widths, times, marker=marker, label=name)
    ax.set(xlabel="hidden units", ylabel="milliseconds a step", ylim=(0, None))
    ax.set_xticks(widths, [str(width) for width in widths])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:speed-figure]

    # --8<-- [start:freed]
    import gc
    import weakref

    gc.disable()  # so that only counting references frees memory
    loss = cross_entropy(network(X[seen], parameters), labels[seen])
    nodes = [weakref.ref(tensor) for tensor in topological_order(loss)]
    backward(loss)
    del loss
    alive = sum(node() is not None for node in nodes)
    gc.enable()
    print(f"{len(nodes)} nodes, {alive} alive afterwards: the parameters")
    # --8<-- [end:freed]


# --8<-- [start:careless]
def careless_backward(root, overwrite=False):
    """What a first engine often does: find the mistakes."""
    order, seen = [], set()

    def visit(tensor):
        if tensor not in seen:
            seen.add(tensor)
            for parent, _ in tensor.edges:
                visit(parent)
            order.append(tensor)

    visit(root)
    root.grad = np.ones(root.shape)
    for tensor in reversed(order):
        for parent, pull in tensor.edges:
            part = unbroadcast(pull(tensor.grad), parent.shape)
            if parent.grad is None or overwrite:
                parent.grad = part
            else:
                parent.grad = parent.grad + part


# --8<-- [end:careless]


if __name__ == "__main__":
    # --8<-- [start:twice]
    for method in (careless_backward, backward):
        x = Tensor(2.0, requires_grad=True)
        h = x * x  # both losses go through h
        method(h * 1.0)
        method(h * 10.0)
        print(f"{method.__name__:17}  gradient {x.grad:.0f}, right is 44")
    # --8<-- [end:twice]

    # --8<-- [start:mistakes]
    from functools import partial

    curves = {}
    for name, options in {
        "right": {},
        "not zeroed": {"zero": False},
        "not zeroed, rate 0.001": {"zero": False, "learning_rate": 0.001},
        "= for +=": {"backward": partial(careless_backward, overwrite=True)},
    }.items():
        parameters = layers((64, 32, 10))
        with np.errstate(all="ignore"):
            losses = train(
                X[seen], labels[seen], parameters, epochs=10, **options
            )
        curves[name] = losses
        score = accuracy(X[held_out], parameters)
        print(f"{name:23} accuracy {score:.2f}, last loss ", end="")
        print(f"{losses[-1]:.2f}" if losses[-1] < 100 else "above 100")
    # --8<-- [end:mistakes]

    # --8<-- [start:mistakes-figure]
    fig, ax = plt.subplots()
    for name in ("right", "not zeroed", "not zeroed, rate 0.001"):
        ax.plot(range(1, 11), curves[name], label=name)
    ax.set(xlabel="epoch", ylabel="mean loss of the epoch", ylim=(0, 4))
    ax.set_xticks([1, 4, 7, 10])
    ax.legend(loc="upper right", ncols=2)
    plt.show()
    # --8<-- [end:mistakes-figure]

    # --8<-- [start:chain]
    for method in (careless_backward, backward):
        x = Tensor(1.0, requires_grad=True)
        end = x
        for _ in range(10_000):
            end = end + 1.0
        try:
            method(end)
            print(f"{method.__name__}: gradient {x.grad:.0f}")
        except RecursionError as error:
            print(f"{method.__name__}: {str(error)[:32]}")
    # --8<-- [end:chain]

    # --8<-- [start:in-place]
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = total(x * x)
    try:
        x.data *= 10  # between forward and backward
    except ValueError as error:
        print("numpy:", error)
    x.data.flags.writeable = True  # break the protection
    x.data *= 10
    backward(loss)
    print("gradient", x.grad, "right is [2. 4.]")
    # --8<-- [end:in-place]


# --8<-- [start:sigmoid]
def sigmoid(a):
    """1 / (1 + exp(-a)), without overflow on either side."""
    value = (1 + np.tanh(a.data / 2)) / 2
    return node(value, (a, lambda g: g * value * (1 - value)))


# --8<-- [end:sigmoid]


if __name__ == "__main__":
    # --8<-- [start:solution-sigmoid]
    x = Tensor([-1000.0, 0.0, 2.0], requires_grad=True)
    y = sigmoid(x)
    backward(total(y))
    print("value   ", np.round(y.data, 4))
    print("gradient", np.round(x.grad, 4))
    # --8<-- [end:solution-sigmoid]


# --8<-- [start:fused]
def fused_cross_entropy(logits, labels):
    """cross_entropy as one operation, with the gradient by hand."""
    labels, (n, classes) = np.asarray(labels), logits.shape
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels: expected {n} from 0 to {classes - 1}, got {labels}"
        )
    rows = np.arange(n)
    shifted = logits.data - logits.data.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])

    def pull(g):
        errors = exponentials / sums  # the probabilities
        errors[rows, labels] -= 1
        return g * errors / n

    return node(loss, (logits, pull))


# --8<-- [end:fused]


if __name__ == "__main__":
    # --8<-- [start:solution-fused]
    gradients = []
    for function in (cross_entropy, fused_cross_entropy):
        logits = Tensor(network(X[seen], models[0]).data, requires_grad=True)
        loss = function(logits, labels[seen])
        backward(loss)
        gradients.append(logits.grad)
        count = len(topological_order(loss))
        print(f"{function.__name__:20}{count:3d} nodes, loss {loss.data:.6f}")
    print("same gradient:", np.allclose(*gradients, rtol=1e-10, atol=1e-15))
    # --8<-- [end:solution-fused]


# --8<-- [start:largest]
def largest(a, axis):
    """The largest entry along an axis; ties share the gradient."""
    value = a.data.max(axis=axis, keepdims=True)
    winners = a.data == value
    shares = winners / winners.sum(axis=axis, keepdims=True)
    return node(
        np.squeeze(value, axis),
        (a, lambda g: np.expand_dims(g, axis) * shares),
    )


# --8<-- [end:largest]


if __name__ == "__main__":
    # --8<-- [start:solution-largest]
    x = Tensor([[1.0, 5.0, 2.0], [3.0, 3.0, 0.0]], requires_grad=True)
    backward(total(largest(x, axis=1)))
    print(x.grad)
    for name, pick in {
        "amax": lambda x: x.amax(dim=1),
        "max": lambda x: x.max(dim=1).values,
    }.items():
        theirs = torch.tensor(x.data, requires_grad=True)
        pick(theirs).sum().backward()
        print(f"second row by {name:4}", theirs.grad.numpy()[1])
    # --8<-- [end:solution-largest]
