"""Scale, fill and encode the columns of a table."""

# --8<-- [start:cars]
import csv
import gzip
from difflib import get_close_matches
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import autompg_data
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from snippets.fundamentals.supervised_learning import fit_logistic, split

MEASURED = "cylinders displacement horsepower weight acceleration year"
COLUMNS = [*MEASURED.split(), "origin", "name", "mpg"]


def read_cars():
    """The Auto MPG table that mlxtend carries: each column as text."""
    packed = files("mlxtend").joinpath("data", "data", "autompg.csv.gz")
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
    columns = zip(*csv.reader(lines), strict=True)
    return dict(zip(COLUMNS, map(np.array, columns), strict=True))


# --8<-- [end:cars]


# --8<-- [start:scaler]
class Scaler:
    """z = (x - centre) / scale, column by column, for X (n, d).

    fit takes mean and standard deviation; if robust, the median and the
    distance between the quartiles. A constant column is only centred.
    """

    def __init__(self, robust=False):
        self.robust = robust

    def fit(self, X):
        X = np.asarray(X, dtype=float)
        assert np.isfinite(X).all(), "X has gaps: impute first"
        if self.robust:
            low, self.centre, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
            scale = high - low  # (d,)
        else:
            self.centre, scale = X.mean(axis=0), X.std(axis=0)
        is_flat = (scale == 0) | (np.ptp(X, axis=0) == 0)
        self.scale = np.where(is_flat, 1.0, scale)
        return self

    def transform(self, X):
        return (np.asarray(X, dtype=float) - self.centre) / self.scale


# --8<-- [end:scaler]


if __name__ == "__main__":
    # --8<-- [start:neighbours]
    cars = read_cars()
    names = MEASURED.split()
    numbers = np.column_stack([cars[c].astype(float) for c in names])
    fuel = 378.5411784 / 1.609344 / cars["mpg"].astype(float)  # l/100 km

    def rmse(model, X, train, test):
        """Root of the mean squared error on the test rows, l/100 km."""
        found = model.fit(X[train], fuel[train]).predict(X[test])
        return np.sqrt(np.mean((found - fuel[test]) ** 2))

    def compare(model):
        """Test errors of 20 splits, with columns as they come and scaled."""
        errors = []
        for seed in range(20):
            train, _, test = split(len(fuel), seed)
            scaled = Scaler().fit(numbers[train]).transform(numbers)
            pair = [rmse(model, X, train, test) for X in (numbers, scaled)]
            errors.append(pair)
        ways = "as they come", "scaled"
        for name, e in zip(ways, np.transpose(errors), strict=True):
            print(f"test error {name:12s}  {e.mean():.2f} ± {e.std():.2f}")

    print(
        "first car:",
        *(f"{name} {x:g}" for name, x in zip(names, numbers[0], strict=True)),
    )
    compare(KNeighborsRegressor(5))
    # --8<-- [end:neighbours]

    # --8<-- [start:loader]
    X, mpg = autompg_data()
    print("rows, columns:", X.shape)
    print("NaN in each column:", np.isnan(X).sum(axis=0))
    print("in the file:", ", ".join(cars["name"][:2]))
    for column, values in zip(names, numbers.T, strict=True):
        print(f"{column:12s} {values.min():6g} to {values.max():6g}")
    three = cars["cylinders"] == "3"
    print("3 cylinders:", ", ".join(cars["name"][three]))
    # --8<-- [end:loader]

    # --8<-- [start:suspects]
    typed = np.array([name.split()[0] for name in cars["name"]])
    makes, counts = np.unique(typed, return_counts=True)
    often = makes[counts > 3]
    print(len(makes), "makes")
    for rare in makes[counts <= 3]:
        if close := get_close_matches(rare, often, cutoff=0.8):
            print(f"is {rare} {close[0]}?")
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
    weight = numbers[:, names.index("weight")]
    print(len(set(make)), "makes")
    for unit, y in {"miles per gallon": 1 / fuel, "l/100 km": fuel}.items():
        r = np.corrcoef(weight, y)[0, 1]
        print(f"correlation of weight and {unit}: {r:.2f}")
    # --8<-- [end:repair]

    # --8<-- [start:outlier]
    slip = weight[:, None].copy()
    slip[0] *= 100  # 3504 pounds, typed without the decimal point
    print("standard deviation of the other 391 weights, scaled")
    for robust in (False, True):
        for note, table in {"clean": weight[:, None], "slip": slip}.items():
            scaled = Scaler(robust).fit(table).transform(table)
            name = "robust" if robust else "standard"
            print(f"  {name:8s} {note:5s} {scaled[1:].std():.3f}")
    # --8<-- [end:outlier]


# --8<-- [start:imputer]
class Imputer:
    """Fill NaN by its column's mean or median, from fit. X is (n, d).

    indicator=True adds, for each column with NaN in fit, one that is 1
    where the value was missing.
    """

    def __init__(self, strategy="mean", indicator=False):
        averages = {"mean": np.nanmean, "median": np.nanmedian}
        self.average, self.indicator = averages[strategy], indicator

    def fit(self, X):
        X = np.asarray(X, dtype=float)
        missing = np.isnan(X)
        assert not missing.all(axis=0).any(), "a column of X has no number"
        self.fill = self.average(X, axis=0)  # (d,)
        self.had_missing = missing.any(axis=0)
        return self

    def transform(self, X):
        X = np.asarray(X, dtype=float)
        missing = np.isnan(X)
        filled = np.where(missing, self.fill, X)
        if self.indicator:
            filled = np.hstack([filled, missing[:, self.had_missing]])
        return filled


# --8<-- [end:imputer]


# --8<-- [start:damage]
def damage(values, seed, share=0.3, only_high=False):
    """A copy of values (n,) with NaN: at random, or only above the median."""
    values = np.asarray(values, dtype=float)
    probability = np.full(len(values), share)
    if only_high:
        probability = 2 * share * (values > np.nanmedian(values))
    lost = np.random.default_rng(seed).random(len(values)) < probability
    return np.where(lost, np.nan, values)


# --8<-- [end:damage]


if __name__ == "__main__":
    # --8<-- [start:shrink]
    power = numbers[:, names.index("horsepower")]
    holes = damage(power, seed=0)
    filled = Imputer().fit(holes[:, None]).transform(holes[:, None])[:, 0]
    kept = np.isfinite(holes)
    m = 1 - kept.mean()
    print(f"missing: {m:.3f}")
    ratio = filled.var() / holes[kept].var()
    print(f"variance left: {ratio:.6f}, predicted {1 - m:.6f}")
    before, after = (np.corrcoef(weight, p)[0, 1] for p in (power, filled))
    print(
        f"correlation with weight: {before:.2f}, filled {after:.2f},", end=""
    )
    print(f" predicted {before * np.sqrt(1 - m):.2f}")
    # --8<-- [end:shrink]

    # --8<-- [start:filled]
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


# --8<-- [start:one-hot]
def without_nan(labels):
    """The labels (n,) as a list; NaN, which equals nothing, becomes None."""
    assert np.ndim(labels) == 1, f"labels: (n,), not {np.shape(labels)}"
    return [None if label != label else label for label in labels]


class OneHot:
    """A column of 0 and 1 for each category that fit found, sorted.

    labels are (n,). A gap, None or NaN, is a category like others, and the
    last. A label that fit never saw is an error, or, if unknown="ignore",
    gets a row of zeros and the code -1.
    """

    def __init__(self, unknown="error"):
        self.unknown = unknown

    def fit(self, labels):
        found = set(without_nan(labels))
        found = sorted(found, key=lambda label: (label is None, label))
        self.code = {label: code for code, label in enumerate(found)}
        return self

    def codes(self, labels):
        """The number of each label's category, (n,)."""
        labels = without_nan(labels)
        new = set(labels) - self.code.keys()
        if new and self.unknown != "ignore":
            raise ValueError(f"fit never saw {min(map(str, new))!r}")
        return np.array([self.code.get(label, -1) for label in labels], int)

    def transform(self, labels):
        return np.eye(len(self.code) + 1)[self.codes(labels), :-1]


# --8<-- [end:one-hot]


# --8<-- [start:prepare]
def prepare(numbers, labels, train):
    """Impute, scale and one-hot encode; only the training rows are fitted.

    numbers is (n, d), labels (n,), train an array of rows.
    """
    numbers, labels = np.asarray(numbers), np.asarray(labels, dtype=object)
    filled = Imputer("median").fit(numbers[train]).transform(numbers)
    scaled = Scaler().fit(filled[train]).transform(filled)
    flags = OneHot(unknown="ignore").fit(labels[train]).transform(labels)
    return np.hstack([scaled, flags])


# --8<-- [end:prepare]


if __name__ == "__main__":
    # --8<-- [start:encodings]
    errors = []
    codes = OneHot().fit(make).codes(make)[:, None] / 10  # 0 to 2.9
    for seed in range(100):
        train, _, test = split(len(fuel), seed)
        plain = Scaler().fit(numbers[train]).transform(numbers)
        tables = {
            "numbers alone": plain,
            "make as a code": np.hstack([plain, codes]),
            "one-hot, as typed": prepare(numbers, typed, train),
            "one-hot, cleaned": prepare(numbers, make, train),
        }
        errors.append(
            [rmse(Ridge(1.0), X, train, test) for X in tables.values()]
        )
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
            rows.append([rmse(Ridge(1.0), Z, train, test) for Z in fits])
        line = "{:8.2f} {:6.2f} {:15.2f}".format(*np.mean(rows, axis=0))
        print(f"{note:12s} {line}")
    # --8<-- [end:indicator]

    # --8<-- [start:library]
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    holed = numbers.copy()
    holed[:, names.index("horsepower")] = damage(power, seed=0)
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
    found = model.fit(table[train], fuel[train]).predict(table[test])
    X = prepare(holed, make, train)
    ours = Ridge(1.0).fit(X[train], fuel[train]).predict(X[test])
    gap = np.abs(ours - found).max()
    print(f"largest difference below 1e-10: {gap < 1e-10}")
    # --8<-- [end:library]

    # --8<-- [start:alone]
    cancer = load_breast_cancer()
    is_malignant = 1 - cancer.target
    train, _, test = split(len(is_malignant), seed=0)
    scaler = Scaler().fit(cancer.data[train])
    X = scaler.transform(cancer.data[train])
    w, b, _ = fit_logistic(X, is_malignant[train])
    ill = cancer.data[test][is_malignant[test] == 1]  # all that a clinic sees
    for note, fitted in {
        "by the training set": scaler,
        "by themselves": Scaler().fit(ill),
    }.items():
        recall = np.mean(fitted.transform(ill) @ w + b > 0)
        print(f"scaled {note:19s}  malignant found: {recall:.2f}")
    # --8<-- [end:alone]

    # --8<-- [start:apart]
    train, _, test = split(len(fuel), seed=0)
    there = OneHot().fit(make[train])
    here = OneHot(unknown="ignore").fit(make[test])
    both = make[test][np.isin(make[test], make[train])]
    moved = np.mean(there.codes(both) != here.codes(both))
    print(f"test cars whose code means another make: {moved:.2f}")
    try:
        there.transform(make[test])
    except ValueError as problem:
        print(problem)
    # --8<-- [end:apart]

    # --8<-- [start:code-for-missing]
    coded = np.where(np.isnan(holes), -999, holes)
    for note, values in {"truth": power, "with -999": coded}.items():
        r = np.corrcoef(weight, values)[0, 1]
        mean = f"mean {values.mean():6.1f}, median {np.median(values):5.1f}"
        print(f"{note:9s}  {mean}, correlation with weight {r:.2f}")
    values, counts = np.unique(coded, return_counts=True)
    most = counts.argmax()
    print(f"commonest value: {values[most]:g}, {counts[most]} times")
    # --8<-- [end:code-for-missing]

    # --8<-- [start:solution-units]
    both = weight[:, None], weight[:, None] * 0.45359237  # pounds, kilograms
    pounds, kilograms = (Scaler().fit(X).transform(X) for X in both)
    gap = np.abs(pounds - kilograms).max()
    print(f"largest difference below 1e-12: {gap < 1e-12}")
    # --8<-- [end:solution-units]

    # --8<-- [start:solution-tree]
    from sklearn.tree import DecisionTreeRegressor

    compare(DecisionTreeRegressor(min_samples_leaf=5, random_state=0))
    # --8<-- [end:solution-tree]

    # --8<-- [start:solution-fill]
    from sklearn.impute import KNNImputer

    at = names.index("horsepower")
    lost = np.isnan(holed[:, at])
    scaler = Scaler().fit(Imputer().fit(holed).transform(holed))
    print("filled from     wrong by  std of all  correlation with weight")
    for note, fill in {
        "mean": Imputer(),
        "5 neighbours": KNNImputer(),
    }.items():
        Z = fill.fit(scaler.transform(holed)).transform(
            scaler.transform(holed)
        )
        column = Z[:, at] * scaler.scale[at] + scaler.centre[at]
        off = np.sqrt(np.mean((column[lost] - power[lost]) ** 2))
        r = np.corrcoef(weight, column)[0, 1]
        print(f"{note:14s} {off:9.1f}  {column.std():10.1f}  {r:10.3f}")
    r = np.corrcoef(weight, power)[0, 1]
    print(f"{'truth':14s} {0:9.1f}  {power.std():10.1f}  {r:10.3f}")
    # --8<-- [end:solution-fill]
