"""What a leak does to a score: columns, answers, rows and years too many."""

# --8<-- [start:screen]
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression

from snippets.fundamentals.data_preprocessing import OneHot, Scaler, read_cars
from snippets.fundamentals.supervised_learning import fit_logistic, split


def screen(X, y, n_kept):
    """The n_kept columns of X (n, d) that agree most with y (n,), ±1."""
    agreement = np.asarray(y, dtype=float) @ np.asarray(X, dtype=float)
    return np.argsort(-np.abs(agreement))[:n_kept]


def noise_accuracies(n, n_features, n_kept, seed):
    """Test accuracy on noise: columns chosen before and after the split.

    The first half of n examples trains, the second tests. Each column that
    was kept votes, with the sign that it has in the training half.
    """
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    y = np.tile([-1.0, 1.0], n // 2)
    train, test = np.split(np.arange(n), 2)
    accuracies = []
    for seen in (np.arange(n), train):
        kept = screen(X[seen], y[seen], n_kept)
        signs = np.sign(y[train] @ X[train][:, kept])
        votes = X[test][:, kept] @ signs
        accuracies.append(np.mean(votes * y[test] > 0))
    return accuracies


# --8<-- [end:screen]


if __name__ == "__main__":
    # --8<-- [start:searched]
    searched = np.array([10, 30, 100, 300, 1000, 3000, 10_000])
    runs = np.array(
        [
            [noise_accuracies(100, d, 10, s) for s in range(50)]
            for d in searched
        ]
    )  # (searched, seed, before or after)
    print("columns   chosen before   after the split")
    for d, (before, after) in zip(searched, runs.mean(axis=1), strict=True):
        print(f"{d:7,}  {before:14.2f}  {after:16.2f}")
    # --8<-- [end:searched]


# --8<-- [start:predict]
def predicted_accuracy(n, n_features, n_kept, steps=1000):
    """Φ(√(n_kept / n) · mean g(u)), u the chosen columns' agreement."""
    tails = n_kept / n_features * (np.arange(steps) + 0.5) / steps
    u = norm.isf(tails / 2)  # the kept ones, from the best to the worst
    g = u * (2 * norm.cdf(u) - 1) - 2 * norm.pdf(u)
    return norm.cdf(np.sqrt(n_kept / n) * g.mean())


# --8<-- [end:predict]


if __name__ == "__main__":
    # --8<-- [start:curve]
    fig, ax = plt.subplots()
    grid = np.geomspace(10, 10_000, 60)
    ax.plot(grid, [predicted_accuracy(100, d, 10) for d in grid])
    for which, mark in enumerate("os"):
        values = runs[:, :, which]
        error_bar = 2 * values.std(axis=1) / np.sqrt(50)
        ax.errorbar(
            searched, values.mean(1), error_bar, fmt=mark, ls="none", ms=5
        )
    ax.text(11, 0.8, "chosen before the split:\nline predicted", color="C1")
    ax.text(300, 0.53, "chosen after the split", color="C2")
    ax.set(xscale="log", xlabel="columns of noise searched", ylim=(0.4, 1))
    ax.set_ylabel("test accuracy")
    ax.set_xticks(searched[::2], [f"{d:,}" for d in searched[::2]])
    plt.show()
    # --8<-- [end:curve]


# --8<-- [start:target]
def target_encode(labels, y, new, smoothing=0.0):
    """Each new label's mean of y, e = ȳ + Σ (yᵢ - ȳ) / (count + smoothing).

    labels and y are (n,), new is (m,). A label that labels doesn't hold gets
    the overall mean ȳ. Micci-Barreca 2001.
    """
    y = np.asarray(y, dtype=float)
    encoder = OneHot(unknown="ignore").fit(labels)
    codes = encoder.codes(labels)
    assert len(codes) == len(y), f"{len(codes)} labels, {len(y)} values of y"
    shifts = np.bincount(codes, y - y.mean())
    shifts /= np.bincount(codes) + smoothing
    shifts = np.append(shifts, 0.0)  # what code -1 will find
    return y.mean() + shifts[encoder.codes(new)]


# --8<-- [end:target]


# --8<-- [start:folds]
def target_encode_folds(labels, y, n_folds=5, smoothing=0.0, seed=0):
    """Encode each of labels (n,) by the y (n,) of other folds than its own."""
    labels, y = np.asarray(labels, dtype=object), np.asarray(y)
    fold = np.random.default_rng(seed).permutation(len(y)) % n_folds
    encoded = np.empty(len(y))
    for this in range(n_folds):
        inside = fold == this
        encoded[inside] = target_encode(
            labels[~inside], y[~inside], labels[inside], smoothing
        )
    return encoded


# --8<-- [end:folds]


# --8<-- [start:name-scores]
def name_scores(numbers, names, y, seed):
    """R² without the name, and with it target-encoded in three ways.

    numbers is (n, d), names and y are (n,).
    """
    names, y = np.asarray(names, dtype=object), np.asarray(y)
    train, _, test = split(len(y), seed)
    all_rows = target_encode(names, y, names)
    train_rows = target_encode(names[train], y[train], names)
    folds = train_rows.copy()
    folds[train] = target_encode_folds(names[train], y[train], seed=seed)
    scores = []
    for columns in ((), (all_rows,), (train_rows,), (folds,)):
        X = np.column_stack([numbers, *columns])
        model = LinearRegression().fit(X[train], y[train])
        scores.append(model.score(X[test], y[test]))
    return scores


# --8<-- [end:name-scores]


if __name__ == "__main__":
    # --8<-- [start:names]
    cars = read_cars()
    measured = [*cars][:6]
    numbers = np.column_stack([cars[c].astype(float) for c in measured])
    fuel = 378.5411784 / 1.609344 / cars["mpg"].astype(float)  # l/100 km
    answers = {"fuel": fuel}
    answers["shuffled"] = np.random.default_rng(0).permutation(fuel)
    scores = np.array(
        [
            [name_scores(numbers, cars["name"], y, s) for s in range(50)]
            for y in answers.values()
        ]
    )  # (answers, seed, way)
    print(f"{len(set(cars['name']))} names of {len(fuel)} cars")
    print("name encoded from" + "".join(f"{note:>15s}" for note in answers))
    ways = ["(no name)", "all rows", "training rows", "other folds"]
    for which, way in enumerate(ways):
        line = f"{way:17s}"
        for column in scores[:, :, which]:
            line += f"  {column.mean():5.2f} ± {column.std():.2f}"
        print(line)
    # --8<-- [end:names]

    # --8<-- [start:years]
    def errors(X, train, test):
        """Of a linear fit on the test rows, in l/100 km."""
        model = LinearRegression().fit(X[train], fuel[train])
        return model.predict(X[test]) - fuel[test]

    year = numbers[:, measured.index("year")]
    early, late = np.flatnonzero(year < 80), np.flatnonzero(year >= 80)
    for note, X in (("without", numbers[:, :5]), ("with", numbers)):
        by_chance = []
        for seed in range(50):
            order = np.random.default_rng(seed).permutation(len(fuel))
            parts = np.split(order, [len(early)])
            by_chance.append(np.sqrt(np.mean(errors(X, *parts) ** 2)))
        later = errors(X, early, late)
        print(f"{note:7s} the year: random split {np.mean(by_chance):.2f},")
        print(f"  later cars {np.sqrt(np.mean(later**2)):.2f}", end="")
        print(f" (mean error {later.mean():+.2f})")
    # --8<-- [end:years]

    # --8<-- [start:library]
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    knn, best = KNeighborsClassifier(1), SelectKBest(f_classif, k=100)
    accuracies = []
    for seed in range(20):
        X = np.random.default_rng(seed).normal(size=(50, 5000))
        y = np.arange(50) % 2
        folds = KFold(5, shuffle=True, random_state=seed)
        chosen = best.fit_transform(X, y)
        leaky = cross_val_score(knn, chosen, y, cv=folds).mean()
        pipeline = make_pipeline(best, knn)
        honest = cross_val_score(pipeline, X, y, cv=folds).mean()
        accuracies.append((leaky, honest))
    leaky, honest = np.mean(accuracies, axis=0)
    print(f"error, columns chosen before: {1 - leaky:.2f}")
    print(f"error, chosen in each fold:   {1 - honest:.2f}")
    # --8<-- [end:library]

    # --8<-- [start:encoder]
    from sklearn.preprocessing import TargetEncoder

    train, _, test = split(len(fuel), seed=0)
    column = cars["name"][train][:, None]
    folds = KFold(5, shuffle=True, random_state=0)
    encoder = TargetEncoder(smooth=1e-9, cv=folds)
    crossed = encoder.fit_transform(column, fuel[train])[:, 0]
    naive = encoder.fit(column, fuel[train]).transform(column)[:, 0]
    for note, codes in (("fit_transform", crossed), ("fit, transform", naive)):
        r = np.corrcoef(codes, fuel[train])[0, 1]
        print(f"{note:15s} correlation with the answers {r:.2f}")
    # --8<-- [end:encoder]

    # --8<-- [start:scaling]
    cancer = load_breast_cancer()
    for n in (569, 60):
        changes = []
        for seed in range(50):
            some = np.random.default_rng(seed).permutation(569)[:n]
            X, y = cancer.data[some], 1 - cancer.target[some]
            train, _, test = split(n, seed)
            accuracies = []
            for seen in (train, np.arange(n)):
                Z = Scaler().fit(X[seen]).transform(X)
                w, b, _ = fit_logistic(Z[train], y[train], 0.01, 1e-6)
                found = Z[test] @ w + b > 0
                accuracies.append(np.mean(found == y[test]))
            changes.append(accuracies[1] - accuracies[0])
        spread = np.std(changes) / np.sqrt(50)
        change = np.mean(changes)
        print(f"{n:3d} tumours: {change:+.4f} ± {spread:.4f}")
    # --8<-- [end:scaling]

    # --8<-- [start:solution-searched]
    for d in (10**4, 10**5, 10**6, 10**7):
        print(f"{d:10,} columns: {predicted_accuracy(100, d, 10):.3f}")
    # --8<-- [end:solution-searched]

    # --8<-- [start:solution-rows]
    for n in (100, 400, 1600):
        runs = [noise_accuracies(n, 10_000, 10, seed)[0] for seed in range(5)]
        predicted = predicted_accuracy(n, 10_000, 10)
        print(f"{n:5,} rows: {np.mean(runs):.2f}, predicted {predicted:.2f}")
    # --8<-- [end:solution-rows]

    # --8<-- [start:solution-smoothing]
    for smoothing in (0, 1, 10, 100):
        scores = []
        for seed in range(50):
            train, _, test = split(len(fuel), seed)
            seen = cars["name"][train], fuel[train]
            codes = target_encode(*seen, cars["name"], smoothing)
            X = np.column_stack([numbers, codes])
            model = LinearRegression().fit(X[train], fuel[train])
            scores.append(model.score(X[test], fuel[test]))
        print(f"smoothing {smoothing:3d}: R² {np.mean(scores):.2f}")
    # --8<-- [end:solution-smoothing]
