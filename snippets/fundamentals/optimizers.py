"""RMSProp, Adam and AdamW: a step size for each weight."""

# --8<-- [start:rmsprop]
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_diabetes

from snippets.fundamentals.momentum import momentum, sgd, torch_walk, walk


def rmsprop(w, g, state, learning_rate, beta=0.99, eps=1e-8):
    """s = beta s + (1 - beta) g², then w - learning_rate g / (√s + eps).

    w and g are arrays of the same shape; state is a dictionary, empty at
    first, that belongs to this array. Returns the new weights.
    """
    square = (1 - beta) * np.square(g, dtype=float)
    square = state["square"] = beta * state.get("square", 0.0) + square
    return w - learning_rate * g / (np.sqrt(square) + eps)


# --8<-- [end:rmsprop]


if __name__ == "__main__":
    # --8<-- [start:units]
    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = X_raw - X_raw.mean(axis=0)  # years, mmHg, mg/dl, ... as measured
    X = np.column_stack([X, np.ones(len(X))])  # (442, 11)
    curvatures = np.linalg.eigvalsh(2 * X.T @ X / len(y))
    least = np.mean((X @ np.linalg.lstsq(X, y)[0] - y) ** 2)

    def gradient(w):
        """The gradient (11) of the mean squared error."""
        return 2 * X.T @ (X @ w - y) / len(y)

    def losses(rule, steps=3000, **options):
        """The mean squared error after each step, from zero weights."""
        path = walk(gradient, np.zeros(11), rule, steps, **options)
        return np.mean((path @ X.T - y) ** 2, axis=1)  # (steps + 1,)

    print(f"condition number {curvatures[-1] / curvatures[0]:.0f}")
    # --8<-- [end:units]

    # --8<-- [start:run]
    stable = 1 / curvatures[-1]
    curves = {}
    print("      learning rate    loss after 100    1000    3000 steps")
    for rule, learning_rate in (
        (sgd, stable),
        (momentum, stable),
        (rmsprop, 0.1),
        (rmsprop, 1.0),
    ):
        curve = losses(rule, learning_rate=learning_rate)
        curves.setdefault(rule.__name__, curve)
        print(f"{rule.__name__:8}  {learning_rate:7.2g}", end="")
        print("{:16.1f} {:7.1f} {:7.1f}".format(*curve[[100, 1000, 3000]]))
    print(f"the least possible: {least:.1f}")
    # --8<-- [end:run]


# --8<-- [start:adam]
def adam(
    w, g, state, learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, correct=True
):
    """m = beta1 m + (1 - beta1) g and s = beta2 s + (1 - beta2) g².

    At step t, m / (1 - beta1^t) and s / (1 - beta2^t) are the corrected m̂
    and ŝ; then w - learning_rate m̂ / (√ŝ + eps). Shapes as in rmsprop.
    """
    t = state["t"] = state.get("t", 0) + 1
    mean = state["mean"] = beta1 * state.get("mean", 0.0) + (1 - beta1) * g
    square = (1 - beta2) * np.square(g, dtype=float)
    square = state["square"] = beta2 * state.get("square", 0.0) + square
    if correct:
        mean = mean / (1 - beta1**t)
        square = square / (1 - beta2**t)
    return w - learning_rate * mean / (np.sqrt(square) + eps)


# --8<-- [end:adam]


if __name__ == "__main__":
    # --8<-- [start:compare]
    for learning_rate in (0.1, 1.0, 10.0):
        curve = losses(adam, learning_rate=learning_rate)
        print(f"adam      {learning_rate:7.2g}", end="")
        print("{:16.1f} {:7.1f} {:7.1f}".format(*curve[[100, 1000, 3000]]))
        if learning_rate == 1:
            curves["adam"] = curve
    # --8<-- [end:compare]

    # --8<-- [start:curves]
    fig, ax = plt.subplots()
    for (name, curve), color, style in zip(
        curves.items(),
        ("#767676", "#1f5fbf", "#1f5fbf", "#8f065b"),
        (":", "--", "-.", "-"),
        strict=True,
    ):
        excess = np.maximum(curve - least, 0.01)
        ax.loglog(excess[1:], style, color=color, label=name)
    ax.set(xlabel="step", ylabel="loss above the least")
    ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set_yticks([1, 100, 10_000], ["1", "100", "10,000"])
    ax.minorticks_off()
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:curves]


# --8<-- [start:uncorrected]
def uncorrected_ratio(t, beta1=0.9, beta2=0.999):
    """Step t of Adam without bias correction, over the step with it."""
    return (1 - beta1**t) / np.sqrt(1 - beta2**t)


if __name__ == "__main__":
    states, w = {True: {}, False: {}}, np.zeros(11)
    print("step  predicted  measured")
    for t in range(1, 1001):
        g = gradient(w)
        corrected, raw = (
            adam(w, g, states[correct], 1.0, correct=correct) - w
            for correct in (True, False)
        )
        if t in (1, 3, 12, 30, 100, 1000):
            ratio = np.linalg.norm(raw) / np.linalg.norm(corrected)
            print(f"{t:4}  {uncorrected_ratio(t):9.3f}  {ratio:8.3f}")
        w = w + corrected
    # --8<-- [end:uncorrected]


# --8<-- [start:decay]
def with_l2(rule, decay):
    """The rule, with decay / 2 ||w||² in the loss: g becomes g + decay w."""

    def penalised(w, g, state, learning_rate, **options):
        return rule(w, g + decay * w, state, learning_rate, **options)

    return penalised


def with_decay(rule, decay):
    """The rule, after w becomes (1 - learning_rate decay) w."""

    def decayed(w, g, state, learning_rate, **options):
        shrunk = w * (1 - learning_rate * decay)
        return rule(shrunk, g, state, learning_rate, **options)

    return decayed


def adamw(w, g, state, learning_rate, decay=0.01, **options):
    """Adam with decoupled weight decay."""
    return with_decay(adam, decay)(w, g, state, learning_rate, **options)


# --8<-- [end:decay]


if __name__ == "__main__":
    # --8<-- [start:two-decays]
    print("difference of the weights after 100 steps, decays of 0.1")
    for rule, learning_rate in ((sgd, 1e-4), (momentum, 1e-4), (adam, 1.0)):
        ends = [
            walk(
                gradient,
                np.zeros(11),
                kind(rule, 0.1),
                100,
                learning_rate=learning_rate,
            )[-1]
            for kind in (with_l2, with_decay)
        ]
        gap = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[0])
        print(f"{rule.__name__:8}  {gap:6.1%}")
    # --8<-- [end:two-decays]

    # --8<-- [start:torch]
    for rule, theirs in (
        (rmsprop, torch.optim.RMSprop),
        (adam, torch.optim.Adam),
        (adamw, torch.optim.AdamW),
    ):
        w = walk(gradient, np.zeros(11), rule, 100, learning_rate=1.0)[-1]
        gap = np.abs(w - torch_walk(theirs, X, y, lr=1.0)).max()
        bound = "below 1e-9" if gap < 1e-9 else f"{gap:.1g}"
        print(f"{rule.__name__:8} largest difference {bound}")
    # --8<-- [end:torch]

    # --8<-- [start:spikes]
    print("learning rate   largest loss above the least, steps 1000 to 3000")
    factors = {"constant": lambda t: 1, "falling to 0": lambda t: 1 - t / 3000}
    for name, factor in factors.items():
        w, state, excess = np.zeros(11), {}, []
        for t in range(3000):
            w = adam(w, gradient(w), state, learning_rate=factor(t))
            excess.append(np.mean((X @ w - y) ** 2) - least)
        print(f"{name:12} {abs(max(excess[1000:])):9.1f}")
    # --8<-- [end:spikes]

    # --8<-- [start:targets]
    for factor in (1, 1000):
        path = walk(
            lambda w, f=factor: 2 * X.T @ (X @ w - f * y) / len(y),
            np.zeros(11),
            adam,
            3000,
            learning_rate=1.0,
        )
        errors = path[-1] @ X.T - factor * y
        left = (np.mean(errors**2) / factor**2 - least) / least
        print(f"targets times {factor:4}: {left:.1%} above the least loss")
    # --8<-- [end:targets]

    # --8<-- [start:epsilon]
    print("gradients times   loss after 1000 steps")
    for scale in (1.0, 1e-6, 1e-9, 1e-12):
        path = walk(
            lambda w, s=scale: s * gradient(w),
            np.zeros(11),
            adam,
            1000,
            learning_rate=1.0,
        )
        loss = np.mean((path[-1] @ X.T - y) ** 2)
        print(f"{scale:15.0e}   {loss:.0f}")
    print("1e-8 in half precision:", np.float16(1e-8))
    # --8<-- [end:epsilon]

    # --8<-- [start:unused]
    print("a weight of 0.5 without a gradient, after 1000 steps")
    for kind in (with_l2, with_decay):
        for decay in (0.0001, 0.01, 1.0):
            path = walk(
                lambda w: 0.0,
                0.5,
                kind(adam, decay),
                1000,
                learning_rate=0.001,
            )
            print(f"{kind.__name__:10} {decay:6}: {path[-1]:.3f}")
    # --8<-- [end:unused]

    # --8<-- [start:solution-first]
    g = gradient(np.zeros(11))
    print("gradients from {:.0f} to {:.0f}".format(*np.sort(abs(g))[[0, -1]]))
    for rule in (rmsprop, adam):
        first = np.abs(rule(np.zeros(11), g, {}, 0.01))
        print(f"{rule.__name__:8}", end="")
        print(f"steps from {first.min():.4f} to {first.max():.4f}")
    # --8<-- [end:solution-first]


# --8<-- [start:solution-rotate]
def rotated(gradient, rotation):
    """The gradient in other axes: w = rotation u, with rotation (d, d)."""
    return lambda u: rotation.T @ gradient(rotation @ u)


if __name__ == "__main__":
    print("loss after 300 steps, as is and in three rotations")
    for rule, learning_rate in ((sgd, stable), (momentum, stable), (adam, 1)):
        print(f"{rule.__name__:8}", end="")
        for seed in (None, 0, 1, 2):
            axes = np.eye(11)
            if seed is not None:
                normal = np.random.default_rng(seed).normal(size=(11, 11))
                axes = np.linalg.qr(normal)[0]
            turned = rotated(gradient, axes)
            options = {"learning_rate": learning_rate}
            path = walk(turned, np.zeros(11), rule, 300, **options)
            loss = np.mean((path[-1] @ axes.T @ X.T - y) ** 2)
            print(f"  {loss:6.0f}", end="")
        print()
    # --8<-- [end:solution-rotate]

    # --8<-- [start:solution-rare]
    def rare(period=101, size=150.0):
        """Gradients of -1, and one of `size` in each period."""
        step = 0

        def of_step(w):
            nonlocal step
            step += 1
            return size if step % period == 1 else -1.0

        return of_step

    for beta2 in (0.9, 0.99, 0.999, 0.9999):
        path = walk(rare(), 0, adam, 10_100, learning_rate=0.001, beta2=beta2)
        print(f"beta2 {beta2:6}: {path[-1]:+.2f}")
    path = walk(rare(), 0, sgd, 10_100, learning_rate=0.001)
    print(f"sgd          : {path[-1]:+.2f}")
    # --8<-- [end:solution-rare]
