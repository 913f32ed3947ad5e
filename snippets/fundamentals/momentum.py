"""Momentum and Nesterov's momentum, and how much faster they are."""

# --8<-- [start:momentum]
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_diabetes


def sgd(w, g, state, learning_rate):
    """A step against the gradient: w - learning_rate g. Keeps no state."""
    return w - learning_rate * g


def momentum(w, g, state, learning_rate, beta=0.9):
    """A step along the velocity: v = beta v + g, then w - learning_rate v.

    w and g are arrays of the same shape; state is a dictionary, empty at
    first, that belongs to this array. Returns the new weights.
    """
    state["velocity"] = beta * state.get("velocity", 0.0) + g
    return w - learning_rate * state["velocity"]


# --8<-- [end:momentum]


# --8<-- [start:walk]
def walk(gradient, start, rule, steps, **options):
    """All points (steps + 1, d) that a rule visits from start (d) on.

    gradient(w) gives the gradient (d) at weights w (d).
    """
    path, state = [np.asarray(start, dtype=float)], {}
    for _ in range(steps):
        w = path[-1]
        path.append(rule(w, gradient(w), state, **options))
    return np.array(path)


# --8<-- [end:walk]


if __name__ == "__main__":
    # --8<-- [start:diabetes]
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = np.column_stack([X, np.ones(len(X))])  # (442, 11): the bias, too
    least_squares = np.linalg.lstsq(X, y)[0]

    def gradient(w):
        """The gradient (11) of the mean squared error."""
        return 2 * X.T @ (X @ w - y) / len(y)

    print("distance from the solution after  50     100     200 steps")
    for rule in (sgd, momentum):
        path = walk(gradient, np.zeros(11), rule, 200, learning_rate=0.2)
        distances = np.linalg.norm(path - least_squares, axis=1)
        print(f"{rule.__name__:28}", end="")
        print(*(f"{distances[t]:7.3f}" for t in (50, 100, 200)))
    # --8<-- [end:diabetes]

    # --8<-- [start:hessian]
    hessian = 2 * X.T @ X / len(y)
    curvatures, directions = np.linalg.eigh(hessian)  # ascending
    condition = curvatures[-1] / curvatures[0]
    print(f"curvatures from {curvatures[0]:.4f} to {curvatures[-1]:.2f}")
    print(f"condition number {condition:.0f}")
    # --8<-- [end:hessian]


# --8<-- [start:best]
def best_for_quadratic(smallest, largest):
    """The best options of each rule for curvatures in this range.

    Returns {name: (options, pace)}. The pace is the fraction of the distance
    that is left after one more step, in the long run.
    """
    low, high = smallest**0.5, largest**0.5
    plain = (largest - smallest) / (largest + smallest)
    pace = (high - low) / (high + low)
    return {
        "sgd": ({"learning_rate": 2 / (largest + smallest)}, plain),
        "momentum": (
            {"learning_rate": 4 / (high + low) ** 2, "beta": pace**2},
            pace,
        ),
    }


# --8<-- [end:best]


if __name__ == "__main__":
    # --8<-- [start:ravine]
    two = curvatures[[1, 10]]  # a flat direction, and the steepest
    start = np.array([10.0, 1.5])  # from the best point
    paths = {}
    for rule in (sgd, momentum):
        options, _ = best_for_quadratic(*two)[rule.__name__]
        path = walk(lambda w: two * w, start, rule, 20, **options)
        paths[rule.__name__] = path
        left = np.linalg.norm(path[-1]) / np.linalg.norm(start)
        print(f"{rule.__name__:8} after 20 steps: {left:.1%} of the way left")
    # --8<-- [end:ravine]

    # --8<-- [start:paths]
    fig, ax = plt.subplots()
    along, across = np.meshgrid(
        np.linspace(-6, 11, 99), np.linspace(-5, 5, 99)
    )
    loss = (two[0] * along**2 + two[1] * across**2) / 2
    levels = (0.5, 2, 6, 16, 40)
    ax.contour(along, across, loss, levels, colors="#767676", linewidths=0.7)
    looks = {"sgd": ("#1f5fbf", "o-"), "momentum": ("#8f065b", "s--")}
    for name, path in paths.items():
        color, style = looks[name]
        ax.plot(*path.T, style, color=color, markersize=4, label=name)
    ax.set(xlabel="along the flat direction", ylabel="along the steep one")
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:paths]

    # --8<-- [start:pace]
    def steps_per_digit(rule, curved, start, steps, options):
        """Steps that divide the distance by ten, in the long run."""
        path = walk(lambda w: curved * w, start, rule, steps, **options)
        left = np.linalg.norm(path, axis=1) / np.linalg.norm(start)
        return (np.argmax(left < 1e-10) - np.argmax(left < 1e-4)) / 6

    start = -directions.T @ least_squares  # zero weights, in these directions
    rows = []
    for penalty in (0.0, 0.03, 0.1, 0.3, 1.0, 3.0):
        curved = curvatures + 2 * penalty  # what a ridge penalty adds
        row = [curved[-1] / curved[0]]
        best = best_for_quadratic(curved[0], curved[-1])
        for rule, steps in ((sgd, 6000), (momentum, 400)):
            options, pace = best[rule.__name__]
            measured = steps_per_digit(rule, curved, start, steps, options)
            row += [-1 / np.log10(pace), measured]
        rows.append(row)
    # --8<-- [end:pace]

    # --8<-- [start:table]
    print("           steps for one more digit, predicted and measured")
    print("condition  sgd              momentum")
    for row in rows:
        print("{:9.1f} {:7.1f} {:7.1f}  {:7.1f} {:7.1f}".format(*row))
    # --8<-- [end:table]

    # --8<-- [start:condition]
    table = np.array(rows).T
    fig, ax = plt.subplots()
    for column, name in ((1, "sgd"), (3, "momentum")):
        color, style = looks[name]
        ax.loglog(table[0], table[column], style[1:], color=color)
        ax.loglog(
            *table[[0, column + 1]],
            style[0],
            color=color,
            label=f"{name}: measured, and predicted as a line",
        )
    ax.set(xlabel="condition number", ylabel="steps for one more digit")
    ax.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    ax.set_yticks([1, 10, 100], ["1", "10", "100"])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:condition]


# --8<-- [start:nesterov]
def nesterov(w, g, state, learning_rate, beta=0.9):
    """Momentum, with the next step's share of the velocity taken now.

    v = beta v + g, then w - learning_rate (g + beta v), shapes as above.
    """
    state["velocity"] = beta * state.get("velocity", 0.0) + g
    return w - learning_rate * (g + beta * state["velocity"])


# --8<-- [end:nesterov]


# --8<-- [start:torch]
def torch_walk(optimizer_class, X, y, steps=100, **options):
    """The weights (d) after so many steps of an optimizer of PyTorch.

    They start at zero and fit X (n, d) to y (n) by the mean squared error.
    """
    w = torch.zeros(X.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([w], **options)
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(inputs @ w, targets).backward()
        optimizer.step()
    return w.detach().numpy()


# --8<-- [end:torch]


if __name__ == "__main__":
    # --8<-- [start:agree]
    for rule, options in (
        (sgd, {}),
        (momentum, {"momentum": 0.9}),
        (nesterov, {"momentum": 0.9, "nesterov": True}),
    ):
        path = walk(gradient, np.zeros(11), rule, 100, learning_rate=0.1)
        theirs = torch_walk(torch.optim.SGD, X, y, lr=0.1, **options)
        gap = np.abs(path[-1] - theirs).max()
        bound = "below 1e-9" if gap < 1e-9 else f"{gap:.1g}"
        print(f"{rule.__name__:8}  largest difference {bound}")
    # --8<-- [end:agree]

    # --8<-- [start:waves]
    print("beta    distance after 200 steps   steps that led away")
    for beta in (0.8, 0.9, 0.99, 0.999):
        options = {"learning_rate": 0.2, "beta": beta}
        path = walk(gradient, np.zeros(11), momentum, 200, **options)
        distances = np.linalg.norm(path - least_squares, axis=1)
        away = (np.diff(distances) > 0).sum()
        print(f"{beta:5} {distances[-1]:26.2f} {away:21}")
    # --8<-- [end:waves]

    # --8<-- [start:shared]
    errors = -y  # of a model whose weights (10) and bias (1) are zero
    g_weights = 2 * X[:, :10].T @ errors / len(y)
    g_bias = np.array([2 * errors.mean()])
    for states in ([{}] * 2, [{}, {}]):  # one for both: the mistake
        weights = momentum(np.zeros(10), g_weights, states[0], 0.1)
        bias = momentum(np.zeros(1), g_bias, states[1], 0.1)
        print(f"weights {weights.shape}, bias {bias.shape}")
    # --8<-- [end:shared]

    # --8<-- [start:solution-constant]
    for beta in (0.5, 0.9, 0.99):
        path = walk(
            lambda w: 1.0, 0, momentum, 1000, learning_rate=1, beta=beta
        )
        lengths = -np.diff(path)
        print(f"beta {beta:4}: steps", end="")
        print(*(f"{lengths[t - 1]:7.2f}" for t in (1, 2, 10, 1000)))
    # --8<-- [end:solution-constant]

    # --8<-- [start:solution-noise]
    def noisy(rng):
        """The gradient of a random batch of 32, another at each call."""

        def of_batch(w):
            batch = rng.integers(len(y), size=32)
            errors = X[batch] @ w - y[batch]
            return 2 * X[batch].T @ errors / 32

        return of_batch

    least = np.mean((X @ least_squares - y) ** 2)
    cases = ((sgd, 0.01), (momentum, 0.01), (momentum, 0.001))
    for rule, learning_rate in cases:
        excess = []
        for seed in range(8):
            path = walk(
                noisy(np.random.default_rng(seed)),
                np.zeros(11),
                rule,
                3000,
                learning_rate=learning_rate,
            )
            errors = path[-1000:] @ X.T - y
            excess.append(np.mean(errors**2) / least - 1)
        print(
            f"{rule.__name__:8} {learning_rate:5}  loss above the least: ",
            end="",
        )
        print(f"{min(excess):.1%} to {max(excess):.1%}")
    # --8<-- [end:solution-noise]


# --8<-- [start:solution-limit]
def largest_rate(curvature, beta):
    """Bisect for the rate above which momentum grows on a parabola."""
    low, high = 0.0, 4 / curvature
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        options = {"learning_rate": middle, "beta": beta}
        path = walk(lambda w: curvature * w, [1.0], momentum, 300, **options)
        grows = abs(path[-50:]).max() > abs(path[-100:-50]).max()
        low, high = (low, middle) if grows else (middle, high)
    return low


if __name__ == "__main__":
    for beta in (0.0, 0.5, 0.9):
        predicted = 2 * (1 + beta) / curvatures[-1]
        found = largest_rate(curvatures[-1], beta)
        print(f"beta {beta}  predicted {predicted:.3f}  found {found:.3f}")
    # --8<-- [end:solution-limit]
