"""What a validation score estimates, and what choosing by it does to it."""

# --8<-- [start:bikes]
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor


def load_bikes():
    """Bikes lent in each of 8,645 hours of a year: x (n, 10), y, day."""
    folder = find_spec("ISLP").submodule_search_locations[0]
    table = pd.read_csv(Path(folder) / "data/Bikeshare.csv")
    table["weather"] = table["weathersit"].astype("category").cat.codes
    columns = ["day", "hr", "holiday", "weekday", "workingday", "weather"]
    columns += ["temp", "atemp", "hum", "windspeed"]
    x = table[columns].to_numpy(float)
    return x, table["bikers"].to_numpy(float), table["day"].to_numpy()


# --8<-- [end:bikes]


# --8<-- [start:folds]
def k_fold(n, k, rng):
    """The test rows of each of k folds: every row once, at random."""
    return np.array_split(rng.permutation(n), k)


def by_group(groups, k, rng):
    """The same with all rows of a group, such as a day, in one fold."""
    names = rng.permutation(np.unique(groups))
    return [
        np.flatnonzero(np.isin(groups, part))
        for part in np.array_split(names, k)
    ]


def forward(n, k):
    """k pairs of rows: all before a time to train, the next to test."""
    parts = np.array_split(np.arange(n), k + 1)
    return [(np.concatenate(parts[:i]), parts[i]) for i in range(1, k + 1)]


def with_rest(n, folds):
    """Pairs: all rows but those of a fold to train, the fold to test."""
    return [(np.setdiff1d(np.arange(n), fold), fold) for fold in folds]


# --8<-- [end:folds]


if __name__ == "__main__":
    # --8<-- [start:three]
    x, y, day = load_bikes()
    n, rng = len(y), np.random.default_rng(0)
    splits = {
        "random hours": with_rest(n, k_fold(n, 5, rng)),
        "whole days": with_rest(n, by_group(day, 5, rng)),
        "forward in time": forward(n, 5),
    }
    for name, pairs in splits.items():
        errors = []
        for train, test in pairs:
            model = HistGradientBoostingRegressor(random_state=0)
            model.fit(x[train], y[train])
            errors.append(np.abs(model.predict(x[test]) - y[test]).mean())
        print(f"{name:16}off by {np.mean(errors):2.0f} bikes an hour", end="")
        print(f" ({min(errors):.0f} to {max(errors):.0f})")
    # --8<-- [end:three]

    # --8<-- [start:drawn]
    import matplotlib.pyplot as plt

    week = np.arange(7 * 24)
    small = {
        "random hours": with_rest(168, k_fold(168, 5, rng)),
        "whole days": with_rest(168, by_group(week // 24, 5, rng)),
        "forward in time": forward(168, 5),
    }
    _, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True)
    for ax, (name, pairs) in zip(axes, small.items(), strict=True):
        for fold, (train, test) in enumerate(pairs):
            ax.plot(train, [fold] * len(train), ".", color="#767676", ms=2)
            ax.plot(test, [fold] * len(test), "s", color="#8f065b", ms=4)
        ax.set(title=name, yticks=range(5), ylim=(-0.7, 4.7), ylabel="fold")
    axes[-1].set_xlabel("hour of a week")
    # --8<-- [end:drawn]


# --8<-- [start:model]
def random_features(x, width, seed):
    """Rectified random sums of the columns of x (n, d): (n, width)."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(x.shape[1], width)) / np.sqrt(x.shape[1])
    return np.maximum(x @ weights + rng.normal(size=width), 0)


def accuracy(train, test, width=200, penalty=0.1, seed=0):
    """Of ridge regression on random features; train and test are (x, y)."""
    h = random_features(train[0], width, seed)
    targets = np.eye(10)[train[1]]  # one-hot, (n, 10)
    gram = h.T @ h + penalty * np.eye(width)
    weights = np.linalg.solve(gram, h.T @ targets)
    scores = random_features(test[0], width, seed) @ weights
    return np.mean(scores.argmax(1) == test[1])


# --8<-- [end:model]


# --8<-- [start:cross-validate]
def take(data, rows):
    """Some rows of data, (x, y)."""
    return data[0][rows], data[1][rows]


def in_order(n, k):
    """Pairs of rows for k folds of n rows, as they stand."""
    return with_rest(n, np.array_split(np.arange(n), k))


def cross_validate(data, k, **settings):
    """The mean accuracy over k folds of data, (x, y)."""
    return np.mean(
        [
            accuracy(take(data, train), take(data, test), **settings)
            for train, test in in_order(len(data[1]), k)
        ]
    )


# --8<-- [end:cross-validate]


if __name__ == "__main__":
    # --8<-- [start:estimates]
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    digits = images / 16, labels

    gaps = {"hold-out of 20 %": [], 2: [], 5: [], 10: [], 50: []}
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(len(labels))
        ours, rest = take(digits, order[:150]), take(digits, order[150:])
        truth = accuracy(ours, rest)
        for way, values in gaps.items():
            if isinstance(way, int):
                estimate = cross_validate(ours, way)
            else:
                estimate = accuracy(
                    take(digits, order[30:150]), take(digits, order[:30])
                )
            values.append(100 * (estimate - truth))
    print("                  bias  standard deviation, points")
    for way, values in gaps.items():
        name = f"{way} folds" if isinstance(way, int) else way
        print(f"{name:17}{np.mean(values):5.1f}{np.std(values):8.1f}")
    # --8<-- [end:estimates]

    # --8<-- [start:stratified]
    from sklearn.model_selection import StratifiedKFold

    from snippets.training.evaluation_metrics import load_caravan

    buys = load_caravan()[1][:300]
    print(f"buyers among 300 customers: {buys.sum()}")
    plain = k_fold(300, 10, np.random.default_rng(0))
    print("in each random fold    ", *(buys[fold].sum() for fold in plain))
    by_class = StratifiedKFold(10, shuffle=True, random_state=0)
    pairs = by_class.split(np.zeros(300), buys)
    print("in each stratified fold", *(buys[fold].sum() for _, fold in pairs))
    # --8<-- [end:stratified]

    # --8<-- [start:curve]
    sizes = [25, 50, 100, 200, 400, 800]
    curves = {"on its training digits": [], "on other digits": []}
    for size in sizes:
        scores = []
        for seed in range(10):
            order = np.random.default_rng(seed).permutation(len(labels))
            seen, rest = take(digits, order[:size]), take(digits, order[size:])
            scores.append((accuracy(seen, seen), accuracy(seen, rest)))
        for values, score in zip(
            curves.values(), np.mean(scores, 0), strict=True
        ):
            values.append(score)
    plt.figure()
    for (name, values), style in zip(
        curves.items(), ("o--", "s-"), strict=True
    ):
        plt.plot(sizes, values, style, label=name)
    plt.xscale("log")
    plt.xticks(sizes, sizes)
    plt.minorticks_off()
    plt.xlabel("training digits")
    plt.ylabel("accuracy")
    plt.legend()
    print(*(f"{score:.2f}" for score in curves["on other digits"]))
    # --8<-- [end:curve]


# --8<-- [start:candidates]
def candidate(rng):
    """Settings at random: how wide, how strong a penalty, which seed."""
    return {
        "width": int(10 ** rng.uniform(1.5, 2.5)),
        "penalty": 10 ** rng.uniform(-3, 2),
        "seed": int(rng.integers(1000)),
    }


def best_of(settings, score):
    """The settings with the highest score, and that score."""
    scores = [score(each) for each in settings]
    return settings[np.argmax(scores)], max(scores)


# --8<-- [end:candidates]


if __name__ == "__main__":
    # --8<-- [start:inflation]
    inflation = {}
    for k in (1, 10, 100):
        pairs = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(labels))
            train, test = (take(digits, order[i : i + 100]) for i in (0, 100))
            best, score = best_of(
                [candidate(rng) for _ in range(k)],
                lambda s, a=train, b=test: accuracy(a, b, **s),
            )
            rest = take(digits, order[200:])
            pairs.append((score, accuracy(train, rest, **best)))
        inflation[k] = np.mean(pairs, 0)
        print(
            f"best of {k:3}: {inflation[k][0]:.3f} on the digits that chose",
            end="",
        )
        print(f", {inflation[k][1]:.3f} on others")
    # --8<-- [end:inflation]


# --8<-- [start:nested]
def search(data, rng, n=20):
    """The best of n candidates by 5-fold cross-validation; its score."""
    settings = [candidate(rng) for _ in range(n)]
    return best_of(settings, lambda s: cross_validate(data, 5, **s))


def nested(data, rng):
    """Search within each training part; test on the part left out."""
    scores = []
    for train, test in in_order(len(data[1]), 5):
        best, _ = search(take(data, train), rng)
        scores.append(accuracy(take(data, train), take(data, test), **best))
    return np.mean(scores)


# --8<-- [end:nested]


if __name__ == "__main__":
    # --8<-- [start:compared]
    results = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(labels))
        ours, rest = take(digits, order[:100]), take(digits, order[100:])
        best, score = search(ours, rng)
        truth = accuracy(ours, rest, **best)
        results.append((score, nested(ours, rng), truth))
    names = "the search's own", "nested", "on other digits"
    for name, score in zip(names, np.mean(results, 0), strict=True):
        print(f"{name:17}{score:.3f}")
    # --8<-- [end:compared]

    # --8<-- [start:library]
    from sklearn.model_selection import (
        GroupKFold,
        TimeSeriesSplit,
        cross_val_score,
    )

    model = HistGradientBoostingRegressor(random_state=0)
    for cv, groups in (
        (GroupKFold(5, shuffle=True, random_state=0), day),
        (TimeSeriesSplit(5), None),
    ):
        scoring = "neg_mean_absolute_error"  # higher is better, for all
        scores = cross_val_score(
            model, x, y, groups=groups, cv=cv, scoring=scoring
        )
        print(f"{type(cv).__name__:16}{-scores.mean():.0f}")
    # --8<-- [end:library]

    # --8<-- [start:sorted]
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    flowers = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=1000)
    for cv in (KFold(3), KFold(3, shuffle=True, random_state=0), 3):
        print(
            f"{cross_val_score(classifier, *flowers, cv=cv).mean():.2f} {cv}"
        )
    # --8<-- [end:sorted]

    # --8<-- [start:copies]
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    customers, buys = load_caravan()
    rng = np.random.default_rng(0)

    def forest_auc(train, test):
        """The AUC on test of a forest for train; both are rows."""
        forest = RandomForestClassifier(30, random_state=0, n_jobs=1)
        forest.fit(customers[train], buys[train])
        scores = forest.predict_proba(customers[test])[:, 1]
        return roc_auc_score(buys[test], scores)

    def repeat_buyers(rows):
        """The rows with each buyer sixteen times."""
        return np.r_[rows, np.repeat(rows[buys[rows] == 1], 15)]

    order = rng.permutation(len(buys))
    copies = rng.permutation(repeat_buyers(order))
    half = len(copies) // 2
    wrong = forest_auc(copies[:half], copies[half:])
    sound = forest_auc(repeat_buyers(order[:2911]), order[2911:])
    print(f"copied, then split: AUC {wrong:.2f}")
    print(f"split, then copied: AUC {sound:.2f}")
    # --8<-- [end:copies]

    # --8<-- [start:solution-baseline]
    hour = x[:, 1].astype(int)
    for name, pairs in splits.items():
        errors = []
        for train, test in pairs:
            means = [y[train][hour[train] == h].mean() for h in range(24)]
            errors.append(np.abs(np.array(means)[hour[test]] - y[test]).mean())
        print(f"{name:16}{np.mean(errors):.0f}")
    # --8<-- [end:solution-baseline]

    # --8<-- [start:solution-day]
    for name, pairs in splits.items():
        errors = []
        for train, test in pairs:
            model.fit(x[train, 1:], y[train])
            errors.append(np.abs(model.predict(x[test, 1:]) - y[test]).mean())
        print(f"{name:16}{np.mean(errors):.0f}")
    # --8<-- [end:solution-day]

    # --8<-- [start:solution-larger]
    for size in (50, 400):
        pairs = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(labels))
            train = take(digits, order[:100])
            valid = take(digits, order[100 : 100 + size])
            best, score = best_of(
                [candidate(rng) for _ in range(100)],
                lambda s, a=train, b=valid: accuracy(a, b, **s),
            )
            rest = take(digits, order[500:])
            pairs.append((score, accuracy(train, rest, **best)))
        score, truth = np.mean(pairs, 0)
        print(
            f"{size:3} digits: too high by {100 * (score - truth):.1f}", end=""
        )
        print(f", chosen one reaches {truth:.3f}")
    # --8<-- [end:solution-larger]
