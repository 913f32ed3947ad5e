"""k-means, PCA and the Gaussian mixture against scikit-learn's, in time.

Run `python -m benchmarks.unsupervised`. Both sides start from the same place,
stop by the same rule and use one thread; they take turns, so that what else
the machine does slows both. Writes the lesson's results file.
"""

import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.fundamentals.unsupervised_learning import (
    fit_mixture,
    k_means,
    lloyd,
    m_step,
    pca,
    pca_of_tall,
    random_seeds,
)

ROOT = Path(__file__).parents[1]
TIMES = (1, 3, 10, 30, 100)
SECTIONS = [
    "check",
    "assign",
    "update",
    "lloyd",
    "pca",
    "covariance",
    "log-sum-exp",
    "e-step",
    "m-step",
    "check-guess",
    "mixture",
]


def enlarged(X, times, spread, rng):
    """times copies of X, each moved a little, so that no two are equal."""
    copies = np.tile(X, (times, 1))
    return copies + spread * (times > 1) * rng.normal(size=copies.shape)


def k_means_pair(X):
    """Ten clusters from the same ten points, to the default tolerance."""
    seeds = random_seeds(X, 10, np.random.default_rng(0))
    library = KMeans(10, init=seeds, n_init=1, algorithm="lloyd")
    return lambda: lloyd(X, seeds)[2], lambda: library.fit(X).inertia_


def pca_pair(X):
    """All components, by singular value decomposition."""
    library = PCA(svd_solver="full")
    count = min(X.shape)
    return lambda: pca(X, count)[2][0], lambda: library.fit(
        X
    ).explained_variance_[0]


def tall_pair(X):
    """All components, from the covariance: what scikit-learn chooses."""
    library = PCA()
    count = min(X.shape)
    return lambda: pca_of_tall(X, count)[2][0], lambda: library.fit(
        X
    ).explained_variance_[0]


def mixture_pair(X):
    """Three components from the same clusters, to the default tolerance."""
    start = np.eye(3)[k_means(X[:150], 3)[1]]
    start = np.tile(start, (len(X) // 150, 1))
    weights, means, covariances = m_step(X, start)
    library = GaussianMixture(
        3,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        init_params="random",
    )
    return lambda: fit_mixture(X, start)[1][
        -1
    ], lambda: library.fit(X).lower_bound_


def compare(ours, library, rounds):
    """Median seconds of both, and the median of the rounds' ratios."""
    answers, kept = [], [[], []]
    for number in range(rounds + 1):
        for action, seconds in zip((ours, library), kept, strict=True):
            start = time.perf_counter()
            answers.append(action())
            if number:  # the first round warms up
                seconds.append(time.perf_counter() - start)
    np.testing.assert_allclose(answers, answers[0], rtol=1e-6)
    ratio = statistics.median(a / b for a, b in zip(*kept, strict=True))
    return *map(statistics.median, kept), ratio


def measure():
    """Seconds of both sides for each method and each amount of data."""
    digits, iris = load_digits().data, load_iris().data
    rng = np.random.default_rng(0)
    results = {}
    for name, data, spread, pair in (
        ("k-means", digits, 1.0, k_means_pair),
        ("PCA by SVD", digits, 1.0, pca_pair),
        ("PCA of tall data", digits, 1.0, tall_pair),
        ("mixture", iris, 0.05, mixture_pair),
    ):
        rows = []
        for times in TIMES:
            X = enlarged(data, times, spread, rng)
            ours, library, ratio = compare(*pair(X), 3 if times > 9 else 25)
            rows.append(
                {
                    "n": len(X),
                    "ours": round(ours, 6),
                    "scikit-learn": round(library, 6),
                    "ratio": round(ratio, 2),
                }
            )
        results[name] = rows
    return results


def main():
    """Measure, print and record."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = measure()
    for name, rows in results.items():
        for row in rows:
            print(f"{name:16}  n {row['n']:7,}  ratio {row['ratio']:.2f}")
    print(
        write_results(
            Project.load(ROOT),
            "fundamentals/unsupervised_learning.results.json",
            SECTIONS,
            "python -m benchmarks.unsupervised",
            ["numpy", "scikit-learn"],
            results,
        )
    )


if __name__ == "__main__":
    main()
