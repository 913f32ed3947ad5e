"""Times of the fundamentals' from-scratch code against a library's.

Run `python -m benchmarks.fundamentals`. The two take turns, on one thread,
at the same stopping rule, and the best time of each counts. What is measured
is recorded beside the snippets, for the pages to read.
"""

import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.fundamentals.supervised_learning import (
    fit_logistic,
    fit_softmax,
)

ROOT = Path(__file__).parents[1]
PENALTY, TOLERANCE = 0.01, 1e-4  # scikit-learn's default tolerance


def best_times(actions, rounds):
    """The least seconds of each action, which take turns."""
    times = [[] for _ in actions]
    for _ in range(rounds):
        for action, kept in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            kept.append(time.perf_counter() - start)
    return [min(kept) for kept in times]


def enlarge(X, y, times):
    """Each example that many times, with a little noise after the first."""
    rng = np.random.default_rng(0)
    more = np.tile(X, (times, 1))
    more[len(X) :] += 0.1 * X.std() * rng.normal(size=more[len(X) :].shape)
    return more, np.tile(y, times)


def library_fit(X, y, solver):
    """scikit-learn's fit of the same loss, to the same largest gradient."""
    return LogisticRegression(
        C=1 / (PENALTY * len(y)), tol=TOLERANCE, max_iter=1000, solver=solver
    ).fit(X, y)


def supervised_learning(scales=(1, 10, 100)):
    """Logistic and softmax regression, against the library's fastest."""
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    images, digits = load_digits(return_X_y=True)
    tasks = {
        "logistic": (
            (X, 1 - y, 7),
            lambda X, y: fit_logistic(X, y, PENALTY, TOLERANCE),
            ("lbfgs", "newton-cholesky"),
        ),
        "softmax": (
            (images / 16, digits, 3),
            lambda X, y: fit_softmax(X, y, 10, PENALTY, TOLERANCE),
            ("lbfgs",),
        ),
    }
    results = {}
    for name, ((X, y, rounds), ours, solvers) in tasks.items():
        results[name] = []
        for scale in scales:
            data = enlarge(X, y, scale)
            actions = [lambda data=data, ours=ours: ours(*data)] + [
                lambda data=data, solver=solver: library_fit(*data, solver)
                for solver in solvers
            ]
            mine, *theirs = best_times(actions, rounds)
            row = {
                "examples": len(data[1]),
                "ours": mine,
                "library": min(theirs),
                "solver": solvers[int(np.argmin(theirs))],
            }
            results[name].append(row)
    return results


def main():
    """Measure, record and print."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error")
        results = supervised_learning()
    write_results(
        Project.load(ROOT),
        "fundamentals/supervised_learning.results.json",
        ("logistic", "hessian", "newton", "softmax", "lbfgs"),
        "python -m benchmarks.fundamentals",
        ("numpy", "scikit-learn", "scipy"),
        results,
    )
    for name, rows in results.items():
        for row in rows:
            print(
                f"{name} on {row['examples']:7,} examples: {row['ours']:.4f} s"
                f", {row['ours'] / row['library']:.2f} times scikit-learn's"
            )
    print("  wanted at most 3.00")


if __name__ == "__main__":
    main()
