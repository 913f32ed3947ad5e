"""Optimizers and learning-rate schedules from scratch, in NumPy."""

# --8<-- [start:imports]
import numpy as np

from snippets.fundamentals.backpropagation import (
    backward,
    check_data,
    fused_cross_entropy,
    layers,
    network,
)

# --8<-- [end:imports]


# --8<-- [start:check]


def check(w, g, state, rate, eps=1.0, **betas):
    """w and g as floats, or a ValueError if no update can use them."""
    w, g = np.asarray(w, float), np.asarray(g, float)
    if np.shape(g) != np.shape(w):
        raise ValueError(
            f"g: expected shape {np.shape(w)}, that of w, got {np.shape(g)}"
        )
    for name, kept in state.items():
        if name != "t" and np.shape(kept) != np.shape(w):
            raise ValueError(
                f"state: expected {name} of shape {np.shape(w)}, that of w, "
                f"got {np.shape(kept)}; each array needs a state of its own"
            )
    if not np.isfinite(g).all():
        raise ValueError(
            "g: expected finite numbers, got NaN or infinity; "
            f"training may have diverged at rate {rate}"
        )
    if not 0 <= rate < np.inf:
        raise ValueError(f"rate: expected a number >= 0, got {rate}")
    if not 0 < eps < np.inf:
        raise ValueError(f"eps: expected a number > 0, got {eps}")
    for name, beta in betas.items():
        if not 0 <= beta < 1:
            raise ValueError(f"{name}: expected 0 <= {name} < 1, got {beta}")
    return w, g


# --8<-- [end:check]


# --8<-- [start:sgd]
def sgd(w, g, state, rate):
    """A step against the gradient. Keeps no state."""
    w, g = check(w, g, state, rate)
    return w - rate * g


# --8<-- [end:sgd]


# --8<-- [start:momentum]
def momentum(w, g, state, rate, beta=0.9):
    """A step along the velocity, a decaying sum of the gradients."""
    w, g = check(w, g, state, rate, beta=beta)
    state["velocity"] = beta * state.get("velocity", 0.0) + g
    return w - rate * state["velocity"]


# --8<-- [end:momentum]


# --8<-- [start:nesterov]
def nesterov(w, g, state, rate, beta=0.9):
    """Momentum, with the next step's share of the velocity taken now."""
    w, g = check(w, g, state, rate, beta=beta)
    state["velocity"] = beta * state.get("velocity", 0.0) + g
    return w - rate * (g + beta * state["velocity"])


# --8<-- [end:nesterov]


# --8<-- [start:walk]
def walk(gradient, start, rule, steps, **options):
    """All points (steps + 1, d) that a rule visits, from start on."""
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    path, state = [np.asarray(start, dtype=float)], {}
    for _ in range(steps):
        w = path[-1]
        path.append(rule(w, gradient(w), state, **options))
    return np.array(path)


# --8<-- [end:walk]


if __name__ == "__main__":
    # --8<-- [start:diabetes]
    from sklearn.datasets import load_diabetes

    from snippets.fundamentals.gradient_descent import mse_and_gradient

    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)
    X1 = np.column_stack([X, np.ones(len(X))])  # the bias as a weight
    hessian = 2 * X1.T @ X1 / len(y)
    curvatures, directions = np.linalg.eigh(hessian)  # ascending
    solution = np.linalg.lstsq(X1, y)[0]

    def slope(v):
        """The gradient of the mean squared error at weights v."""
        return mse_and_gradient(X1, y, v, 0.0)[1]

    print(f"condition number {curvatures[-1] / curvatures[0]:.1f}")
    # --8<-- [end:diabetes]


# --8<-- [start:best]
def best_for_quadratic(smallest, largest):
    """The best rate of sgd, and the best options of momentum, with paces.

    The pace is the share of the distance that a step leaves in the long run,
    for curvatures from smallest to largest.
    """
    if not 0 < smallest <= largest:
        raise ValueError(
            "smallest: expected a number > 0 and at most largest, "
            f"got {smallest} and {largest}"
        )
    low, high = smallest**0.5, largest**0.5
    pace = (high - low) / (high + low)
    return {
        "sgd": (
            {"rate": 2 / (largest + smallest)},
            (largest - smallest) / (largest + smallest),
        ),
        "momentum": ({"rate": 4 / (high + low) ** 2, "beta": pace**2}, pace),
    }


# --8<-- [end:best]


if __name__ == "__main__":
    # --8<-- [start:ravine]
    import matplotlib.pyplot as plt

    curved = curvatures[[1, 10]]  # a flat direction, and the steepest
    start = np.array([10.0, 1.5])  # from the best point
    fig, ax = plt.subplots()
    across, up = np.meshgrid(np.linspace(-6, 11, 99), np.linspace(-5, 5, 99))
    heights = (curved[0] * across**2 + curved[1] * up**2) / 2
    levels = (0.5, 2, 6, 16, 40)
    ax.contour(across, up, heights, levels, colors="0.6", linewidths=0.7)
    for rule, marker in ((sgd, "o"), (momentum, "s")):
        options, _ = best_for_quadratic(*curved)[rule.__name__]
        path = walk(lambda v: curved * v, start, rule, 20, **options)
        ax.plot(*path.T, marker=marker, markersize=4, label=rule.__name__)
        left = np.linalg.norm(path[-1]) / np.linalg.norm(start)
        print(f"{rule.__name__:8} after 20 steps: {left:.3f} of the way left")
    print(f"condition number {curved[1] / curved[0]:.0f}")
    ax.set(xlabel="along the flat direction", ylabel="along the steep one")
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:ravine]

    # --8<-- [start:pace]
    print("condition   steps for a digit, predicted and measured")
    print("number      sgd              momentum")
    start = -directions.T @ solution  # from zero weights
    rows = []
    for penalty in (0.0, 0.03, 0.1, 0.3, 1.0, 3.0):
        curved = curvatures + 2 * penalty  # of the loss plus a ridge penalty
        row = [curved[-1] / curved[0]]
        options_and_pace = best_for_quadratic(curved[0], curved[-1])
        for rule, steps in ((sgd, 6000), (momentum, 400)):
            options, pace = options_and_pace[rule.__name__]
            path = walk(
                lambda v, c=curved: c * v, start, rule, steps, **options
            )
            left = np.linalg.norm(path, axis=1) / np.linalg.norm(start)
            span = np.argmax(left < 1e-10) - np.argmax(left < 1e-4)
            row += [-1 / np.log10(pace), span / 6]
        rows.append(row)
        print("{:9.1f} {:7.1f} {:7.1f}  {:7.1f} {:7.1f}".format(*row))
    # --8<-- [end:pace]

    # --8<-- [start:pace-figure]
    table = np.array(rows).T
    fig, ax = plt.subplots()
    for column, name, marker in ((1, "sgd", "o"), (3, "momentum", "s")):
        (line,) = ax.loglog(
            table[0], table[column], label=f"{name}, predicted"
        )
        ax.loglog(
            *table[[0, column + 1]],
            marker=marker,
            linestyle="none",
            color=line.get_color(),
            label=f"{name}, measured",
        )
    ax.set(xlabel="condition number", ylabel="steps for one more digit")
    ax.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    ax.set_yticks([1, 10, 100], ["1", "10", "100"])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:pace-figure]


# --8<-- [start:rmsprop]
def rmsprop(w, g, state, rate, beta=0.99, eps=1e-8):
    """A step along the gradient over its own usual size."""
    w, g = check(w, g, state, rate, eps, beta=beta)
    square = beta * state.get("square", 0.0) + (1 - beta) * g**2
    state["square"] = square
    return w - rate * g / (np.sqrt(square) + eps)


# --8<-- [end:rmsprop]


# --8<-- [start:adam]
def adam(w, g, state, rate, beta1=0.9, beta2=0.999, eps=1e-8, correct=True):
    """The mean gradient over the root of the mean squared gradient."""
    w, g = check(w, g, state, rate, eps, beta1=beta1, beta2=beta2)
    t = state["t"] = state.get("t", 0) + 1
    mean = beta1 * state.get("mean", 0.0) + (1 - beta1) * g
    square = beta2 * state.get("square", 0.0) + (1 - beta2) * g**2
    state["mean"], state["square"] = mean, square
    if correct:
        mean = mean / (1 - beta1**t)
        square = square / (1 - beta2**t)
    return w - rate * mean / (np.sqrt(square) + eps)


# --8<-- [end:adam]


# --8<-- [start:share]
def uncorrected_share(t, beta1=0.9, beta2=0.999):
    """Adam's step number t without bias correction, over that with it."""
    if t < 1:
        raise ValueError(f"t: expected at least 1, got {t}")
    return (1 - beta1**t) / np.sqrt(1 - beta2**t)


# --8<-- [end:share]


if __name__ == "__main__":
    # --8<-- [start:first-steps]
    states, w = {True: {}, False: {}}, np.zeros(11)
    print("step  predicted  measured")
    for t in range(1, 1001):
        g = slope(w)
        with_it, without = (
            adam(w, g, states[correct], rate=1.0, correct=correct) - w
            for correct in (True, False)
        )
        if t in (1, 3, 10, 30, 100, 1000):
            ratio = np.linalg.norm(without) / np.linalg.norm(with_it)
            print(f"{t:4d}  {uncorrected_share(t):9.4f}  {ratio:8.4f}")
        w = w + with_it
    peak = max(range(1, 1001), key=uncorrected_share)
    print(f"largest: {uncorrected_share(peak):.2f}, at step {peak}")
    # --8<-- [end:first-steps]


# --8<-- [start:l2]
def with_l2(rule, decay):
    """The rule, on a loss with decay / 2 * ||w||² added."""
    if not 0 <= decay < np.inf:
        raise ValueError(f"decay: expected a number >= 0, got {decay}")

    def penalised(w, g, state, rate, **options):
        w, g = check(w, g, state, rate)
        return rule(w, g + decay * w, state, rate, **options)

    return penalised


# --8<-- [end:l2]


# --8<-- [start:decay]
def with_decay(rule, decay):
    """The rule, after taking rate * decay of each weight away."""
    if not 0 <= decay < np.inf:
        raise ValueError(f"decay: expected a number >= 0, got {decay}")

    def decayed(w, g, state, rate, **options):
        w, g = check(w, g, state, rate)
        if rate * decay > 1:  # each step would turn the weights' signs
            raise ValueError(
                f"decay: expected at most 1 / rate, {1 / rate:g}, got {decay}"
            )
        return rule(w * (1 - rate * decay), g, state, rate, **options)

    return decayed


def adamw(w, g, state, rate, decay=0.01, **options):
    """Adam with decoupled weight decay."""
    return with_decay(adam, decay)(w, g, state, rate, **options)


# --8<-- [end:decay]


if __name__ == "__main__":
    # --8<-- [start:same-decay]
    print("weights after 100 steps, both kinds of decay at 0.1:")
    for rule, rate in ((sgd, 0.1), (momentum, 0.1), (adam, 1.0)):
        ends = [
            walk(slope, np.zeros(11), kind(rule, 0.1), 100, rate=rate)[-1]
            for kind in (with_l2, with_decay)
        ]
        gap = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[0])
        verdict = "equal" if gap < 1e-12 else f"differ by {gap:.3f}"
        print(f"  {rule.__name__:8}  {verdict}")
    # --8<-- [end:same-decay]


# --8<-- [start:train]
def train(X, labels, rule, rate, seed=0, epochs=5, schedule=None, **options):
    """Train a network of 32 hidden units in batches of 32; its parameters.

    schedule(step, steps) gives the share of the rate to use at a step.
    """
    X, labels = check_data(X, labels, 32)
    if epochs < 1:
        raise ValueError(f"epochs: expected at least 1, got {epochs}")
    parameters = layers((X.shape[1], 32, 10), seed)
    states = [{} for _ in parameters]
    rng, step, cuts = np.random.default_rng(seed), 0, range(32, len(X), 32)
    steps = epochs * (len(cuts) + 1)
    for _ in range(epochs):
        for batch in np.split(rng.permutation(len(X)), cuts):
            logits = network(X[batch], parameters)
            backward(fused_cross_entropy(logits, labels[batch]))
            share = schedule(step, steps) if schedule else 1.0
            for p, state in zip(parameters, states, strict=True):
                p.data = rule(p.data, p.grad, state, rate * share, **options)
                p.grad = None
            step += 1
    return parameters


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    seen, held_out = order[:1297], order[1297:]
    images, labels = digits.data / 16, digits.target  # brightness 0 to 1
    print(f"steps in five epochs: {5 * int(np.ceil(len(seen) / 32))}")

    def score(rule, rate, seed, **options):
        """Loss on the digits seen, accuracy on those held out."""
        parameters = train(
            images[seen], labels[seen], rule, rate, seed, **options
        )
        logits = network(images[seen], parameters)
        loss = float(fused_cross_entropy(logits, labels[seen]).data)
        guesses = network(images[held_out], parameters).data.argmax(axis=1)
        return loss, np.mean(guesses == labels[held_out])

    # --8<-- [end:digits]

    # --8<-- [start:tune]
    def tune(rule, rates, **options):
        """Mean loss over three seeds at each rate, and the best rate."""
        means = [
            np.mean([score(rule, rate, s, **options)[0] for s in (10, 11, 12)])
            for rate in rates
        ]
        return means, rates[int(np.argmin(means))]

    def report(name, rule, rate, **options):
        """Print loss and accuracy over five other seeds."""
        ends = [score(rule, rate, seed, **options) for seed in range(5)]
        losses, accuracies = np.array(ends).T
        print(f"{name:14}  {rate:5g}  {losses.mean():.3f}", end="")
        print(f" ({losses.min():.3f} to {losses.max():.3f})", end="")
        print(f"  {accuracies.mean():.3f}")

    # --8<-- [end:tune]

    # --8<-- [start:compare]
    large, small = (
        (0.02, 0.05, 0.1, 0.2, 0.5),
        (0.002, 0.005, 0.01, 0.02, 0.05),
    )
    curves, best = {}, {}
    print("rule             rate  loss (spread of 5)      held out")
    for rule, rates in {
        sgd: (0.1, 0.2, 0.5, 1.0, 2.0),
        momentum: large,
        nesterov: large,
        rmsprop: small,
        adam: (*small, 0.1),
        adamw: (*small, 0.1),
    }.items():
        name = rule.__name__
        means, best[name] = tune(rule, rates)
        curves[name] = rates, means
        report(name, rule, best[name])
    # --8<-- [end:compare]

    # --8<-- [start:rates]
    fig, ax = plt.subplots()
    for name, marker in zip(
        ("sgd", "momentum", "rmsprop", "adam"), "osD^", strict=True
    ):
        ax.loglog(*curves[name], marker=marker, label=name)
    ax.set(xlabel="learning rate", ylabel="loss after five epochs")
    ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    ax.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:rates]


# --8<-- [start:schedule]
def warmup_cosine(step, steps, warmup=0):
    """The share of the rate at step: up in a line, down along a cosine."""
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup: expected 0 to {steps - 1}, got {warmup}")
    if not 0 <= step < steps:
        raise ValueError(f"step: expected 0 to {steps - 1}, got {step}")
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return (1 + np.cos(np.pi * done)) / 2


# --8<-- [end:schedule]


if __name__ == "__main__":
    # --8<-- [start:schedules]
    def warm(step, steps):
        """Twenty steps of warm-up, then the cosine."""
        return warmup_cosine(step, steps, warmup=20)

    schedules = {"constant": None, "cosine": warmup_cosine, "warm-up": warm}
    print("                 rate  loss (spread of 5)      held out")
    shapes = {}
    for rule, rates in ((momentum, large), (adam, (*small[1:], 0.1, 0.2))):
        print(rule.__name__)
        for label, schedule in schedules.items():
            means, rate = tune(rule, rates, schedule=schedule)
            if rule is adam:
                shapes[label] = rates, means
            report(label, rule, rate, schedule=schedule)
    # --8<-- [end:schedules]

    # --8<-- [start:schedules-figure]
    fig, ax = plt.subplots()
    for (label, curve), marker in zip(shapes.items(), "osD", strict=True):
        ax.loglog(*curve, marker=marker, label=label)
    ax.set(xlabel="peak learning rate of Adam", ylabel="loss")
    ax.set_xticks(shapes["cosine"][0], map(str, shapes["cosine"][0]))
    ax.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:schedules-figure]

    # --8<-- [start:torch]
    import torch

    def torch_walk(optimizer_class, steps=100, **options):
        """The weights after so many steps of an optimizer of PyTorch."""
        w = torch.zeros(11, dtype=torch.float64, requires_grad=True)
        optimizer = optimizer_class([w], **options)
        inputs, targets = torch.from_numpy(X1), torch.from_numpy(y)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(inputs @ w, targets).backward()
            optimizer.step()
        return w.detach().numpy()

    # --8<-- [end:torch]

    # --8<-- [start:agree]
    library, speed = torch.optim, {"momentum": 0.9}
    for rule, rate, theirs, options in (
        (sgd, 0.1, library.SGD, {}),
        (momentum, 0.1, library.SGD, speed),
        (nesterov, 0.1, library.SGD, {**speed, "nesterov": True}),
        (rmsprop, 1.0, library.RMSprop, {}),
        (adam, 1.0, library.Adam, {}),
        (adamw, 1.0, library.AdamW, {}),
    ):
        w = walk(slope, np.zeros(11), rule, 100, rate=rate)[-1]
        gap = np.abs(w - torch_walk(theirs, lr=rate, **options)).max()
        same = bool(gap < 1e-10 * np.abs(w).max())
        print(f"{rule.__name__:9}  the same as {theirs.__name__:7}: {same}")
    # --8<-- [end:agree]

    # --8<-- [start:swapped]
    for rule, rate in (
        (sgd, best["sgd"]),
        (sgd, best["adam"]),
        (adam, best["adam"]),
        (adam, best["sgd"]),
        (momentum, best["momentum"]),
        (momentum, best["sgd"]),
    ):
        report(rule.__name__, rule, rate)
    # --8<-- [end:swapped]

    # --8<-- [start:no-correction]
    print("                 rate  loss (spread of 5)      held out")
    for rate in (0.002, best["adam"], 0.1):
        report("corrected", adam, rate)
        report("uncorrected", adam, rate, correct=False)
    # --8<-- [end:no-correction]

    # --8<-- [start:epsilon]
    print("gradients times   share of the excess loss left")
    excess = np.mean((y - X1 @ solution) ** 2)
    for scale in (1.0, 1e-6, 1e-9, 1e-12):
        w = walk(
            lambda v, s=scale: s * slope(v), np.zeros(11), adam, 300, rate=1.0
        )[-1]
        left = (np.mean((X1 @ w - y) ** 2) - excess) / (np.mean(y**2) - excess)
        print(f"{scale:15.0e}   {left:.4f}")
    print("1e-8 in half precision:", np.float16(1e-8))
    # --8<-- [end:epsilon]

    # --8<-- [start:dead]
    blank = images[seen].max(axis=0) == 0  # pixels that no digit ever uses
    print(
        f"{blank.sum()} pixels are always blank; mean size of their weights:"
    )
    first = layers((64, 32, 10), seed=0)[0].data
    print(f"  before training            {np.abs(first[blank]).mean():.4f}")
    for kind in (with_l2, with_decay):
        for decay in (0.0001, 0.01):
            weights = train(
                images[seen], labels[seen], kind(adam, decay), best["adam"]
            )[0].data
            size = np.abs(weights[blank]).mean()
            print(f"  {kind.__name__:10} of {decay:6g}       {size:.4f}")
    # --8<-- [end:dead]

    # --8<-- [start:per-epoch]
    def per_epoch(step, steps):
        """The mistake: counts epochs, for a schedule made for steps."""
        return warm(step // (steps // 5), steps)

    print("                 rate  loss (spread of 5)      held out")
    report("stepped right", adam, 0.1, schedule=warm)
    report("once an epoch", adam, 0.1, schedule=per_epoch)
    shares = [round(float(per_epoch(41 * e, 205)), 2) for e in range(5)]
    print("share of the rate, by epoch:", shares)
    # --8<-- [end:per-epoch]

    # --8<-- [start:solution-first]
    g = slope(np.zeros(11))
    for rule, factor in (
        (rmsprop, 1 / np.sqrt(1 - 0.99)),
        (adam, 1.0),
    ):
        first = np.abs(rule(np.zeros(11), g, {}, rate=0.01))
        print(f"{rule.__name__:8}predicted {0.01 * factor:.4f}", end="")
        print(f"  smallest {first.min():.4f}  largest {first.max():.4f}")
    # --8<-- [end:solution-first]


# --8<-- [start:limit]
def largest_rate(curvature, beta):
    """Bisect for the rate above which momentum grows on a parabola."""
    if not 0 < curvature < np.inf:
        raise ValueError(f"curvature: expected a number > 0, got {curvature}")
    low, high = 0.0, 4 / curvature
    while high - low > 1e-6 * high:
        options = {"rate": (low + high) / 2, "beta": beta}
        path = walk(
            lambda v: curvature * v, np.ones(1), momentum, 300, **options
        )
        grows = abs(path[-50:]).max() > abs(path[-100:-50]).max()
        if grows:
            high = options["rate"]
        else:
            low = options["rate"]
    return low


# --8<-- [end:limit]


if __name__ == "__main__":
    # --8<-- [start:solution-limit]
    for beta in (0.0, 0.5, 0.9):
        predicted = 2 * (1 + beta) / curvatures[-1]
        found = largest_rate(curvatures[-1], beta)
        print(f"beta {beta}  predicted {predicted:.3f}  found {found:.3f}")
    # --8<-- [end:solution-limit]


# --8<-- [start:rotate]
def rotated(gradient, rotation):
    """The gradient function of the same loss in turned coordinates."""
    if not np.allclose(rotation.T @ rotation, np.eye(rotation.shape[1])):
        raise ValueError(
            "rotation: expected orthonormal columns, got others, "
            f"in shape {rotation.shape}"
        )
    return lambda v: rotation.T @ gradient(rotation @ v)


# --8<-- [end:rotate]


if __name__ == "__main__":
    # --8<-- [start:solution-rotate]
    steep = X1 * np.logspace(-1.5, 1.5, 11)  # as if in other units

    def steep_slope(v):
        """The gradient with the features in those units."""
        return mse_and_gradient(steep, y, v, 0.0)[1]

    spin = np.linalg.qr(np.random.default_rng(0).normal(size=(11, 11)))[0]
    largest = np.linalg.eigvalsh(2 * steep.T @ steep / len(y))[-1]
    print(f"least possible {np.mean((X1 @ solution - y) ** 2):.1f}")
    for rule, rate in (
        (sgd, 1 / largest),
        (momentum, 1 / largest),
        (adam, 1.0),
    ):
        print(f"{rule.__name__:8}", end="")
        for turn, label in ((np.eye(11), "as is"), (spin, "turned")):
            f = rotated(steep_slope, turn)
            w = turn @ walk(f, np.zeros(11), rule, 1000, rate=rate)[-1]
            print(f"  {label} {np.mean((steep @ w - y) ** 2):9.1f}", end="")
        print()
    # --8<-- [end:solution-rotate]
