"""Logistic and softmax regression, fitted and judged on held-out data."""

# --8<-- [start:logistic]
import numpy as np
from scipy.optimize import minimize


def sigmoid(scores):
    """Turn scores of any size into chances, without overflow."""
    return 0.5 * (1 + np.tanh(scores / 2))  # = 1 / (1 + exp(-scores))


def logistic_loss(X, y, weights, bias, penalty=0.0):
    """Mean log loss plus penalty / 2 * ||weights||², and its gradient.

    X is (n, d), y is (n,) of 0 and 1, weights is (d,), bias a scalar.
    Returns the loss and its derivatives with respect to weights and bias.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    scores = X @ weights + bias  # (n,)
    loss = np.mean(np.logaddexp(0, scores) - y * scores)
    error = sigmoid(scores) - y  # (n,)
    return (
        loss + penalty / 2 * weights @ weights,
        X.T @ error / len(y) + penalty * weights,
        np.mean(error),
    )


# --8<-- [end:logistic]


# --8<-- [start:check]
def check_examples(X, y, n_classes, penalty):
    """Raise a ValueError that says what is wrong, if anything is.

    X must be a table (n, d) of finite numbers, y (n,) hold each label from 0
    to n_classes - 1, and penalty be a number that is not below zero. Raises
    TypeError for what is no array.
    """
    for name, given in (("X", X), ("y", y)):
        if not isinstance(given, np.ndarray):
            raise TypeError(f"{name} must be an array, but is {type(given)}")
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be (n, d), n and d > 0, but is {X.shape}")
    if y.shape != (len(X),):
        raise ValueError(f"y must be ({len(X)},) like X, but is {y.shape}")
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"X must be finite, but X[{row}, {column}] is {X[row, column]}"
        )
    strange = y[~np.isin(y, np.arange(n_classes))]
    if strange.size:
        raise ValueError(
            f"y must hold labels 0 to {n_classes - 1}, but holds {strange[0]}"
        )
    if y.dtype.kind not in "iu":
        raise ValueError(f"y must hold integers, but holds {y.dtype}")
    absent = set(range(n_classes)) - set(y)
    if absent:  # its bias would fall for ever
        raise ValueError(f"y must hold every label, but not {min(absent)}")
    if not 0 <= penalty < np.inf:
        raise ValueError(f"penalty must be 0 or more, but is {penalty}")


# --8<-- [end:check]


# --8<-- [start:hessian]
def logistic_hessian(X1, v, penalty):
    """Second derivatives of logistic_loss, (d + 1, d + 1).

    X1 is X with a last column of ones, and v the weights with the bias.
    """
    chance = sigmoid(X1 @ v)  # (n,)
    root = np.sqrt(chance * (1 - chance) / len(X1))
    half = X1 * root[:, None]  # (n, d + 1)
    ridge = np.diag([penalty] * (len(v) - 1) + [0.0])
    return half.T @ half + ridge


# --8<-- [end:hessian]


# --8<-- [start:newton]
def fit_logistic(X, y, penalty=0.01, tolerance=1e-8, steps=50, halvings=30):
    """Minimise logistic_loss by Newton's method, from zero.

    A step that raises the loss is halved, up to halvings times. Of several
    solutions without a penalty, finds the shortest. Returns weights (d,),
    bias, and the largest gradient entry before each step.
    Raises RuntimeError if that is above tolerance after so many steps.
    """
    check_examples(X, y, 2, penalty)
    X1 = np.column_stack([X, np.ones(len(X))])  # the bias as a weight
    v, largest = np.zeros(X1.shape[1]), []
    loss, *gradient = logistic_loss(X, y, v[:-1], v[-1], penalty)
    for _ in range(steps + 1):
        gradient = np.hstack(gradient)  # (d + 1,)
        largest.append(np.abs(gradient).max())
        if largest[-1] <= tolerance:
            return v[:-1], v[-1], largest
        hessian = logistic_hessian(X1, v, penalty)
        if penalty:
            step = np.linalg.solve(hessian, gradient)
        else:  # features may repeat, so that it has no inverse
            step = np.linalg.lstsq(hessian, gradient)[0]
        for size in 0.5 ** np.arange(halvings + 1):
            new = v - size * step
            new_loss, *gradient = logistic_loss(
                X, y, new[:-1], new[-1], penalty
            )
            if new_loss <= loss + 1e-12:  # rounding alone may raise it
                break
        v, loss = new, new_loss
    raise RuntimeError(
        f"the largest gradient entry is {largest[-1]:.1e} after {steps} "
        f"steps: raise penalty ({penalty}) or tolerance ({tolerance})"
    )


# --8<-- [end:newton]


if __name__ == "__main__":
    # --8<-- [start:data]
    from sklearn.datasets import load_breast_cancer

    cancer = load_breast_cancer()
    X_raw, y = cancer.data, 1 - cancer.target  # 1: malignant
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)
    print(f"{len(y)} tumours, {X.shape[1]} features, {y.sum()} malignant")
    print(f"right by always saying benign: {1 - y.mean():.3f}")
    # --8<-- [end:data]

    # --8<-- [start:fit]
    weights, bias, largest = fit_logistic(X, y, penalty=0.01)
    for step, size in enumerate(largest):
        print(f"{step} steps  largest gradient entry {size:.0e}")
    # --8<-- [end:fit]

    # --8<-- [start:boundary]
    import matplotlib.pyplot as plt

    pair = [20, 21]  # worst radius, worst texture
    means, deviations = X_raw[:, pair].mean(0), X_raw[:, pair].std(0)
    (w_radius, w_texture), b, _ = fit_logistic(X[:, pair], y)

    fig, ax = plt.subplots()
    for label, name, mark in ((0, "benign", "."), (1, "malignant", "+")):
        points = X_raw[y == label][:, pair].T
        ax.scatter(*points, s=26, marker=mark, label=name, linewidths=0.9)
    radius = np.array([5.0, 40.0])
    for chance, style in ((0.1, ":"), (0.5, "-"), (0.9, "--")):
        score = np.log(chance / (1 - chance))  # sigmoid(score) is chance
        scaled = (radius - means[0]) / deviations[0]
        texture = (score - b - w_radius * scaled) / w_texture
        texture = texture * deviations[1] + means[1]
        ax.plot(radius, texture, "C4", ls=style, label=f"chance {chance:.0%}")
    ax.set(xlim=(5, 40), xlabel="radius of the worst nuclei")
    ax.set(ylim=(10, 52), ylabel="their texture")
    ax.legend(loc="lower right", fontsize=10)
    plt.show()
    # --8<-- [end:boundary]

    # --8<-- [start:signs]
    feature = 15  # compactness error
    alone = fit_logistic(X[:, [feature]], y)[0][0]
    print(f"{cancer.feature_names[feature]}")
    print(f"  correlation with y   {np.corrcoef(X[:, feature], y)[0, 1]:+.2f}")
    print(f"  weight on its own    {alone:+.2f}")
    print(f"  weight with the rest {weights[feature]:+.2f}")
    # --8<-- [end:signs]


# --8<-- [start:softmax]
def softmax_loss(X, y, weights, bias, penalty=0.0):
    """Mean cross-entropy plus penalty / 2 * ||weights||², and its gradient.

    X is (n, d), y (n,) of labels 0 to k - 1, weights (d, k), bias (k,).
    Returns the loss and its derivatives with respect to weights and bias.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    scores = X @ weights + bias  # (n, k)
    scores -= scores.max(axis=1, keepdims=True)  # exp can't overflow now
    chances = np.exp(scores)
    totals = chances.sum(axis=1)  # (n,)
    rows = np.arange(len(y))
    loss = np.mean(np.log(totals) - scores[rows, y])
    error = chances / totals[:, None]
    error[rows, y] -= 1  # chances minus the one-hot truth, (n, k)
    return (
        loss + penalty / 2 * np.sum(weights**2),
        X.T @ error / len(y) + penalty * weights,
        error.mean(axis=0),
    )


# --8<-- [end:softmax]


# --8<-- [start:lbfgs]
def fit_softmax(X, y, n_classes, penalty=0.01, tolerance=1e-6, max_steps=1000):
    """Minimise softmax_loss by SciPy's L-BFGS, from zero.

    Returns weights (d, k) and bias (k,). Raises RuntimeError if it ends
    before the largest gradient entry is at most tolerance.
    """
    check_examples(X, y, n_classes, penalty)
    shape = (X.shape[1] + 1, n_classes)

    def objective(flat):
        v = flat.reshape(shape)
        loss, *gradient = softmax_loss(X, y, v[:-1], v[-1], penalty)
        return loss, np.vstack(gradient).ravel()

    options = {"gtol": tolerance, "ftol": 0, "maxiter": max_steps}
    start = np.zeros(shape).ravel()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options=options
    )
    if np.abs(found.jac).max() > tolerance:
        raise RuntimeError(
            f"L-BFGS ended early ({found.message}): raise max_steps "
            f"({max_steps}), penalty ({penalty}) or tolerance ({tolerance})"
        )
    v = found.x.reshape(shape)
    return v[:-1], v[-1]


# --8<-- [end:lbfgs]


# --8<-- [start:split]
def split(n, seed, shares=(0.6, 0.2)):
    """Shuffle 0 to n - 1 and cut: training, validation and test indices.

    shares are those of the first two sets; the third gets the rest.
    Raises ValueError when one of the three would be empty.
    """
    first, second = (round(n * share) for share in shares)
    if min(first, second, n - first - second) < 1:
        raise ValueError(
            f"shares must leave no set empty, but {shares} of {n} gives "
            f"{first}, {second} and {n - first - second}"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.split(order, [first, first + second])


# --8<-- [end:split]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    images = images / 16  # from 0 to 1, (1797, 64)
    train, validation, test = split(len(digit), seed=0)
    print(f"{len(train)} train, {len(validation)} validate, {len(test)} test")
    # --8<-- [end:digits]

    # --8<-- [start:choose]
    def share_right(fit, part):
        """The share of a set's digits that get the highest score."""
        scores = images[part] @ fit[0] + fit[1]  # (n, 10)
        return np.mean(scores.argmax(axis=1) == digit[part])

    penalties = [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5]
    fits = [
        fit_softmax(images[train], digit[train], 10, penalty, 1e-4)
        for penalty in penalties
    ]
    print("penalty   train  validation")
    for penalty, fit in zip(penalties, fits, strict=True):
        row = (share_right(fit, train), share_right(fit, validation))
        print("{:7g}  {:6.3f}  {:10.3f}".format(penalty, *row))
    # --8<-- [end:choose]

    # --8<-- [start:report]
    best = np.argmax([share_right(fit, validation) for fit in fits])
    score = share_right(fits[best], test)
    error = np.sqrt(score * (1 - score) / len(test))
    print(f"penalty {penalties[best]}, chosen on the validation set")
    print(f"right on the test set: {score:.3f}, give or take {error:.3f}")
    # --8<-- [end:report]


# --8<-- [start:table]
def scaled(X, train):
    """X by mean and deviation of some rows; a constant is only centred."""
    X = np.asarray(X, dtype=float)
    spread = np.where(np.ptp(X[train], axis=0) > 0, X[train].std(axis=0), 1)
    return (X - X[train].mean(axis=0)) / spread


def score_table(X_raw, y, seed, penalties):
    """Accuracies on validation and test, one row a penalty.

    Scaling and fitting see the training set alone.
    """
    train, *held_out = split(len(y), seed)
    X, y = scaled(X_raw, train), np.asarray(y)
    rows = []
    for penalty in penalties:
        weights, bias, _ = fit_logistic(X[train], y[train], penalty, 1e-6)
        right = (X @ weights + bias > 0) == y
        rows.append([right[part].mean() for part in held_out])
    return np.array(rows)


# --8<-- [end:table]


if __name__ == "__main__":
    # --8<-- [start:flatter]
    penalties = 10.0 ** np.arange(0, -5.1, -0.5)  # the strongest first
    tables = [score_table(X_raw, y, s, penalties) for s in range(100)]
    honest = np.array([t[t[:, 0].argmax(), 1] for t in tables])
    flattered = np.array([t[:, 1].max() for t in tables])

    def mean_and_error(values):
        return f"{values.mean():.4f} ± {values.std() / 10:.4f}"

    print("test accuracy, mean of 100 splits")
    print(f"  chosen on validation  {mean_and_error(honest)}")
    print(f"  chosen on test        {mean_and_error(flattered)}")
    print(f"  flattery              {mean_and_error(flattered - honest)}")
    # --8<-- [end:flatter]


# --8<-- [start:search]
def search(X_raw, y, seed, n_tries=100, n_features=4):
    """Keep the best of many models; returns what it scores, (2, n_tries).

    Each try takes some features at random. Row 0 is the best accuracy so
    far on the set that chooses; row 1 is the same model's on a fresh set.
    """
    train, choosing, fresh = split(len(y), seed, shares=(0.3, 0.35))
    X, y = scaled(X_raw, train), np.asarray(y)
    rng = np.random.default_rng(seed)
    kept = []
    for _ in range(n_tries):
        some = rng.choice(X.shape[1], n_features, replace=False)
        weights, bias, _ = fit_logistic(
            X[train][:, some], y[train], 0.01, 1e-4
        )
        right = (X[:, some] @ weights + bias > 0) == y
        scores = (right[choosing].mean(), right[fresh].mean())
        # Of the best so far and this one; in a tie, the first.
        kept.append(max([*kept[-1:], scores], key=lambda pair: pair[0]))
    return np.array(kept).T


# --8<-- [end:search]


if __name__ == "__main__":
    # --8<-- [start:tries]
    searches = np.array([search(X_raw, y, seed) for seed in range(30)])
    means = searches.mean(axis=0)  # (2, 100)
    errors = searches.std(axis=0) / np.sqrt(30)

    fig, ax = plt.subplots()
    tries = np.arange(1, 101)
    names = ("on the set that chose", "on a fresh set")
    for name, mean, error in zip(names, means, errors, strict=True):
        ax.plot(tries, mean, label=name)
        ax.fill_between(tries, mean - error, mean + error, alpha=0.25)
    ax.set(xscale="log", xlabel="models tried", ylabel="share right")
    ax.set_xticks([1, 3, 10, 30, 100], [1, 3, 10, 30, 100])
    ax.legend(loc="lower right")
    plt.show()
    # --8<-- [end:tries]

    # --8<-- [start:shuffled]
    shuffled = np.random.default_rng(0).permutation(y)
    control = np.mean([search(X_raw, shuffled, s) for s in range(30)], 0)
    print("models tried   set that chose   fresh set")
    for name, pair in {"true": means, "shuffled": control}.items():
        for tried in (1, 10, 100):
            scores = [curve[tried - 1] for curve in pair]
            line = "{:11.3f}  {:14.3f}".format(*scores)
            print(f"{tried:4d}, {name:8s} {line}")
    # --8<-- [end:shuffled]

    # --8<-- [start:library]
    from sklearn.linear_model import LogisticRegression

    library = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-8)
    library.fit(X, y)
    gap = np.abs(library.coef_[0] - weights).max()
    gap = max(gap, abs(library.intercept_[0] - bias))
    print(f"largest difference below 1e-6: {gap < 1e-6}")
    # --8<-- [end:library]

    # --8<-- [start:library-softmax]
    library = LogisticRegression(
        C=1 / (0.01 * len(train)), tol=1e-6, max_iter=1000
    ).fit(images[train], digit[train])
    ours, _ = fit_softmax(images[train], digit[train], 10, penalty=0.01)
    gap = np.abs(library.coef_.T - ours).max()
    print(f"largest difference below 1e-4: {gap < 1e-4}")
    # --8<-- [end:library-softmax]

    # --8<-- [start:speed]
    import json
    from importlib.resources import files

    lesson = files("snippets.fundamentals")
    record = lesson.joinpath("supervised_learning.results.json")
    times = json.loads(record.read_text())["results"]
    print("examples  lesson's / scikit-learn's time")
    for name, rows in times.items():
        for row in rows:
            ratio = row["ours"] / row["library"]
            print(f"{row['examples']:8,}  {ratio:4.2f}  {name}")
    # --8<-- [end:speed]

    # --8<-- [start:growth]
    fig, ax = plt.subplots()
    for name, rows in times.items():
        for who, label in (("ours", "lesson"), ("library", "scikit-learn")):
            n = [row["examples"] for row in rows]
            seconds = [row[who] for row in rows]
            ax.loglog(n, seconds, marker="o", label=f"{name}, {label}")
    ax.set(xlabel="examples", ylabel="seconds to fit")
    ax.legend(loc="upper left", fontsize=10)
    plt.show()
    # --8<-- [end:growth]

    # --8<-- [start:overshoot]
    train, *_ = split(len(y), seed=10)
    Z = (X_raw - X_raw[train].mean(axis=0)) / X_raw[train].std(axis=0)
    for halvings in (0, 30):
        try:
            *_, path = fit_logistic(
                Z[train], y[train], penalty=1e-6, halvings=halvings
            )
            print(f"at most {halvings:2d} halvings: {len(path) - 1} steps")
        except np.linalg.LinAlgError as error:
            print(f"at most {halvings:2d} halvings: {error}")
    # --8<-- [end:overshoot]

    # --8<-- [start:separable]
    print("penalty  length of the weights  right")
    for penalty in (1e-2, 1e-4, 1e-6, 1e-8):
        free, free_bias, _ = fit_logistic(X, y, penalty, 1e-12)
        right = np.mean((X @ free + free_bias > 0) == y)
        print(f"{penalty:7.0e}  {np.linalg.norm(free):21.1f}  {right:.3f}")
    # --8<-- [end:separable]

    # --8<-- [start:copies]
    for copies in (1, 10):
        X_more, y_more = np.tile(X, (copies, 1)), np.tile(y, copies)
        length = np.linalg.norm(LogisticRegression().fit(X_more, y_more).coef_)
        print(
            f"every tumour {copies:2d} times: weights of length {length:.2f}"
        )
    # --8<-- [end:copies]

    # --8<-- [start:plus-minus]
    signs = 2 * y - 1  # -1 and 1, as some data sets have it
    loss, *_ = logistic_loss(X, signs, 10 * weights, 10 * bias)
    print(f"a loss that can't be below zero: {loss:.1f}")
    try:
        fit_logistic(X, signs)
    except ValueError as error:
        print(error)
    # --8<-- [end:plus-minus]

    # --8<-- [start:solution-mean]
    for penalty in (1.0, 0.01):
        fit = fit_logistic(X, y, penalty)
        mean = sigmoid(X @ fit[0] + fit[1]).mean()
        print(f"penalty {penalty}: mean chance {mean:.6f}")
    print(f"share malignant:   {y.mean():.6f}")
    # --8<-- [end:solution-mean]

    # --8<-- [start:solution-two]
    two, two_bias = fit_softmax(X, y, 2, penalty=0.02, tolerance=1e-8)
    gap = np.abs(two[:, 1] - two[:, 0] - weights).max()
    print(f"softmax at 0.02, logistic at 0.01, equal to 1e-5: {gap < 1e-5}")
    # --8<-- [end:solution-two]


# --8<-- [start:folds]
def cross_validate(X, y, penalties, n_folds=5):
    """Accuracy of each penalty, each example judged by a fit without it.

    Example i is in fold i modulo n_folds. Returns (len(penalties),).
    """
    if not 2 <= n_folds <= len(y):
        raise ValueError(f"n_folds must be 2 to {len(y)}, but is {n_folds}")
    X, y, fold = np.asarray(X), np.asarray(y), np.arange(len(y)) % n_folds
    if any(len(set(y[fold != out])) < 2 for out in range(n_folds)):
        raise ValueError("y must hold both labels outside each fold: shuffle")
    right = np.zeros((len(penalties), len(y)))
    for out in range(n_folds):
        kept, held = fold != out, fold == out
        for row, penalty in enumerate(penalties):
            weights, bias, _ = fit_logistic(X[kept], y[kept], penalty, 1e-6)
            right[row, held] = (X[held] @ weights + bias > 0) == y[held]
    return right.mean(axis=1)


# --8<-- [end:folds]


if __name__ == "__main__":
    # --8<-- [start:solution-folds]
    scores = {"one validation set": [], "five folds": []}
    for seed in range(30):
        train, validation, test = split(len(y), seed)
        both = np.concatenate([train, validation])
        Z = (X_raw - X_raw[both].mean(axis=0)) / X_raw[both].std(axis=0)
        table = score_table(X_raw, y, seed, penalties)
        folds = cross_validate(Z[both], y[both], penalties)
        for name, judged in zip(scores, (table[:, 0], folds), strict=True):
            penalty = penalties[judged.argmax()]
            w, b, _ = fit_logistic(Z[both], y[both], penalty)
            scores[name].append(np.mean((Z[test] @ w + b > 0) == y[test]))
    for name, values in scores.items():
        error = np.std(values) / np.sqrt(30)
        print(f"{name:18s}  {np.mean(values):.4f} ± {error:.4f}")
    gain = np.subtract(*reversed(scores.values()))
    print(
        f"gain                {gain.mean():.4f} ± {gain.std() / 30**0.5:.4f}"
    )
    # --8<-- [end:solution-folds]
