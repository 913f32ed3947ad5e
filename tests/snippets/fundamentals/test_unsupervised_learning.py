"""k-means, principal components and the Gaussian mixture."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from snippets.fundamentals.unsupervised_learning import (
    bic,
    check_count,
    check_points,
    cluster_means,
    components_for,
    e_step,
    fill_empty,
    fit_mixture,
    greedy_seeds,
    k_means,
    largest_positive,
    lloyd,
    log_joint,
    log_sum_exp,
    m_step,
    nearest_centre,
    pca,
    pca_of_tall,
    plus_plus_seeds,
    random_seeds,
)

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (lloyd, (1e-4, 300)),
        (k_means, (plus_plus_seeds, 10, 0)),
        (m_step, (1e-6,)),
        (fit_mixture, (1e-6, 1e-3, 100)),
        (greedy_seeds, (4,)),
    ],
)
def test_defaults_are_those_the_page_relies_on(function, defaults):
    """The page's numbers hold for these defaults and no others."""
    assert function.__defaults__ == defaults


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 30), st.integers(1, 4), st.integers(1, 6))
def test_the_nearest_centre_is_the_nearest(seed, n, d, k):
    """For any points and centres, as found by comparing all pairs."""
    rng = np.random.default_rng(seed)
    X, centres = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    pairs = np.linalg.norm(X[:, None] - centres, axis=2)
    assert nearest_centre(X, centres).tolist() == pairs.argmin(1).tolist()


def test_two_steps_of_lloyd_are_those_worked_by_hand():
    """Points 0, 1, 5, 9 from centres 0 and 1 end at 0.5 and 7, inertia 8.5."""
    X = np.array([[0.0], [1.0], [5.0], [9.0]])
    once = lloyd(X, X[:2], max_steps=1)
    assert once[0].tolist() == [[0.0], [5.0]]
    assert once[1].tolist() == [0, 0, 1, 1]
    assert once[2:] == (17.0, 1)
    centres, labels, inertia, steps = lloyd(X, X[:2])
    assert centres.tolist() == [[0.5], [7.0]]
    assert labels.tolist() == [0, 0, 1, 1]
    assert inertia == 8.5
    assert steps == 3


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(2, 40), st.integers(1, 3), st.data())
def test_no_step_of_lloyd_raises_the_inertia(seed, n, d, data):
    """From any seeds, one more step is never worse."""
    k = data.draw(st.integers(1, n))
    X = np.random.default_rng(seed).normal(size=(n, d))
    ends = [lloyd(X, X[:k], 0.0, steps)[2] for steps in range(1, 8)]
    assert len(ends) == 7
    assert np.all(np.diff(ends) <= 1e-9)


def test_lloyd_takes_scikit_learns_steps(digits):
    """Same seeds: as many steps, the same labels, centres and inertia."""
    rng = np.random.default_rng(3)
    X = digits + 0.01 * rng.normal(size=digits.shape)  # no ties
    seeds = random_seeds(X, 10, rng)
    centres, labels, inertia, steps = lloyd(X, seeds)
    library = KMeans(10, init=seeds, n_init=1, algorithm="lloyd").fit(X)
    assert steps == library.n_iter_
    assert labels.tolist() == library.labels_.tolist()
    np.testing.assert_allclose(centres, library.cluster_centers_, atol=1e-9)
    assert inertia == pytest.approx(library.inertia_, rel=1e-10)


def test_a_tolerance_stops_lloyd_early_as_in_scikit_learn(digits):
    """At five tolerances the number of steps is the library's."""
    seeds = digits[:10]
    counts = []
    for tol in (0.0, 1e-3, 1e-2, 0.1, 1.0):
        library = KMeans(10, init=seeds, n_init=1, algorithm="lloyd", tol=tol)
        counts.append(lloyd(digits, seeds, tol)[3])
        assert counts[-1] == library.fit(digits).n_iter_
    assert len(set(counts)) == 4


def test_lloyd_stops_when_no_label_changes_even_without_a_tolerance():
    """With tol below zero only the labels can stop it, and they do."""
    X = np.array([[0.0], [1.0], [5.0], [9.0]])
    assert lloyd(X, X[:2], tol=-1.0)[3] == 3


def test_a_move_of_just_the_tolerance_is_small_enough():
    """One centre moves by 1, the variance is 1: tol=1 stops, less doesn't."""
    X = np.array([[-1.0], [1.0]])
    start = np.array([[1.0]])
    assert lloyd(X, start, tol=1.0)[3] == 1
    assert lloyd(X, start, tol=0.99)[3] == 2


def test_inertia_is_within_one_percent_of_scikit_learns(digits):
    """With ten restarts each, on the digits, for three seeds."""
    library = KMeans(10, n_init=10, random_state=0).fit(digits).inertia_
    for seed in range(3):
        assert k_means(digits, 10, seed=seed)[2] <= 1.01 * library


def test_restarts_keep_the_best_run(digits):
    """The result is the least inertia of the runs, drawn in order."""
    rng = np.random.default_rng(5)
    runs = [lloyd(digits, random_seeds(digits, 8, rng))[2] for _ in range(4)]
    found = k_means(digits, 8, random_seeds, restarts=4, seed=5)[2]
    assert found == pytest.approx(min(runs), rel=1e-9)
    assert min(runs) < 0.99 * max(runs)


def test_clusters_far_from_zero_are_the_same():
    """A billion away, where squares have no digits left for a distance."""
    X = np.random.default_rng(0).normal(size=(90, 2))
    centres, labels, inertia, _ = k_means(X, 3)
    moved, moved_labels, moved_inertia, _ = k_means(X + 1e9, 3)
    assert moved_inertia == pytest.approx(inertia, rel=1e-5)
    np.testing.assert_array_equal(moved_labels, labels)
    np.testing.assert_allclose(moved - 1e9, centres, atol=1e-6)


def test_an_empty_cluster_gets_the_farthest_point():
    """The point worst served moves; a point alone in its cluster stays."""
    X = np.array([[0.5], [1.0], [2.0], [30.0]])
    centres = np.array([[1.0], [9.0], [50.0], [60.0]])
    labels, sizes = fill_empty(X, centres, np.array([0, 0, 0, 1]))
    assert labels[3] == 1
    assert sorted(labels.tolist()) == [0, 1, 2, 3]
    assert sizes.tolist() == [1, 1, 1, 1]
    labels, sizes = fill_empty(X, centres[:3], np.array([0, 0, 0, 0]))
    assert labels.tolist() == [0, 0, 2, 1]
    assert sizes.tolist() == [2, 1, 1]
    pair = np.array([[0.0], [7.0]])
    labels, _ = fill_empty(
        np.vstack([pair, pair]), np.array([[7.0], [8.0]]), np.zeros(4, int)
    )
    assert labels.tolist() == [1, 0, 0, 0]


def test_as_many_clusters_as_points_leave_no_inertia():
    """Even from seeds that are all the same: each point gets its centre."""
    X = np.arange(10.0).reshape(5, 2) ** 2
    centres, labels, inertia, _ = lloyd(X, np.zeros((5, 2)))
    assert inertia == 0
    assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]
    assert k_means(X, 5)[2] == 0
    assert k_means(X, 1)[2] == pytest.approx(5 * X.var(axis=0).sum())


def test_cluster_means_are_means():
    """The mean of the points that carry the label."""
    X = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 4.0]])
    means = cluster_means(X, np.array([1, 1, 0]), np.array([1, 2]))
    assert means.tolist() == [[4.0, 4.0], [1.0, 3.0]]


def test_random_seeds_are_distinct_rows():
    """No point is drawn twice, and all may be drawn."""
    X = np.arange(6.0)[:, None]
    drawn = random_seeds(X, 6, np.random.default_rng(0))
    assert sorted(drawn.ravel().tolist()) == X.ravel().tolist()


def test_plus_plus_draws_by_squared_distance_to_the_nearest_seed():
    """Over many draws, pairs and triples come as often as the rule says."""
    X = np.array([[0.0], [1.0], [3.0], [4.0]])
    rule = {}
    for a, b, c in itertools.permutations(range(4), 3):
        one = (X[:, 0] - X[a]) ** 2
        two = np.minimum(one, (X[:, 0] - X[b]) ** 2)
        rule[a, b, c] = 1 / 4 * one[b] / one.sum() * two[c] / two.sum()
    assert sum(rule.values()) == pytest.approx(1)
    rng, n = np.random.default_rng(0), 8000
    seen = dict.fromkeys(rule, 0)
    for _ in range(n):
        drawn = plus_plus_seeds(X, 3, rng)[:, 0]
        seen[tuple(np.searchsorted(X[:, 0], drawn).tolist())] += 1
    for triple, chance in rule.items():
        error = (chance * (1 - chance) / n) ** 0.5
        assert abs(seen[triple] / n - chance) < 4.5 * error


def test_plus_plus_pays_on_proline_and_not_on_the_digits(digits):
    """Median inertia of 20 runs: a tenth lower there, within 2 % here."""
    medians = []
    for X in (load_wine().data[:, [12]], digits):
        for seeding in (random_seeds, plus_plus_seeds):
            rngs = (np.random.default_rng(seed) for seed in range(20))
            ends = [lloyd(X, seeding(X, 10, rng))[2] for rng in rngs]
            medians.append(np.median(ends))
    assert medians[1] < 0.9 * medians[0]
    assert medians[3] == pytest.approx(medians[2], rel=0.02)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 20), st.integers(1, 6), st.data())
def test_the_error_of_m_components_is_the_variance_dropped(seed, n, d, data):
    """For any data, by either way, to rounding."""
    m = data.draw(st.integers(1, min(n, d)))
    X = 3 + np.random.default_rng(seed).normal(size=(n, d))
    for method in (pca, pca_of_tall):
        mean, components, variances = method(X, m)
        restored = mean + (X - mean) @ components.T @ components
        error = np.sum((X - restored) ** 2) / (n - 1)
        assert components.shape == (m, d)
        assert abs(error - variances[m:].sum()) < 1e-10
        assert variances.sum() == pytest.approx(X.var(axis=0, ddof=1).sum())
        np.testing.assert_allclose(
            components @ components.T, np.eye(m), atol=1e-10
        )


def test_components_are_scikit_learns_up_to_sign(digits):
    """All variances agree, and each of the first 40 components."""
    library = PCA(svd_solver="full").fit(digits)
    for method in (pca, pca_of_tall):
        mean, components, variances = method(digits, 40)
        np.testing.assert_allclose(mean, library.mean_)
        np.testing.assert_allclose(
            variances, library.explained_variance_, atol=1e-9
        )
        cosines = np.sum(components * library.components_[:40], axis=1)
        np.testing.assert_allclose(np.abs(cosines), 1, rtol=1e-9)


def test_the_largest_entry_of_a_component_is_positive():
    """By size, wherever it stands; the row's direction stays."""
    rows = np.array([[1.0, -2.0], [3.0, -2.0], [-1.0, 0.5]])
    flipped = [[-1.0, 2.0], [3.0, -2.0], [1.0, -0.5]]
    assert largest_positive(rows).tolist() == flipped


def test_the_covariance_loses_the_digits_of_a_small_variance():
    """Ten digits below the largest, the SVD is right and it is not."""
    along, across = np.random.default_rng(0).normal(size=(2, 500))
    across *= 1e-10
    X = np.column_stack([along - across, along + across])
    right = 2 * np.var(across, ddof=1)
    assert pca(X, 2)[2][1] == pytest.approx(right, rel=0.1)
    assert abs(pca_of_tall(X, 2)[2][1] / right - 1) > 0.9  # zero, or more


def test_log_sum_exp_neither_overflows_nor_underflows():
    """Shifting a row shifts the result, up to a thousand and down to it."""
    small = np.array([[0.0, 1.0, -2.0]])
    plain = np.log(1 + np.e + np.exp(-2.0))
    for shift in (0.0, 1000.0, -1000.0):
        found = log_sum_exp(small + shift)
        np.testing.assert_allclose(found, [plain + shift], rtol=1e-14)


def test_log_densities_are_those_of_the_formula():
    """By the inverse and the determinant, with weights, in 3 dimensions."""
    rng = np.random.default_rng(0)
    X, means = rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    weights = np.array([0.3, 0.7])
    found = log_joint(X, weights, means, covariances)
    for j in range(2):
        gap = X - means[j]
        inverse = np.linalg.inv(covariances[j])
        density = np.exp(-np.sum(gap @ inverse * gap, axis=1) / 2)
        density /= np.sqrt((2 * np.pi) ** 3 * np.linalg.det(covariances[j]))
        np.testing.assert_allclose(found[:, j], np.log(weights[j] * density))


def test_responsibilities_sum_to_one_even_far_out():
    """A million away every density underflows, and Bayes still holds."""
    X = np.array([[0.0], [1e6], [0.5]])
    responsibilities, log_likelihood = e_step(
        X, np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.ones((2, 1, 1))
    )
    np.testing.assert_allclose(responsibilities.sum(axis=1), 1)
    np.testing.assert_allclose(responsibilities[1], [0, 1])
    np.testing.assert_allclose(responsibilities[2], [0.5, 0.5])
    assert np.isfinite(log_likelihood)


def test_the_m_step_is_weighted_means_and_covariances():
    """As numpy's cov with weights has them, plus the floor."""
    rng = np.random.default_rng(0)
    X, shares = rng.normal(size=(20, 3)), rng.dirichlet([1, 1], size=20)
    weights, means, covariances = m_step(X, shares, floor=0.5)
    for j in range(2):
        assert weights[j] == pytest.approx(shares[:, j].mean())
        mean = np.average(X, axis=0, weights=shares[:, j])
        np.testing.assert_allclose(means[j], mean)
        spread = np.cov(X.T, aweights=shares[:, j], ddof=0)
        np.testing.assert_allclose(covariances[j], spread + 0.5 * np.eye(3))
    np.testing.assert_allclose(
        m_step(X, shares)[2] - m_step(X, shares, 0.0)[2],
        [1e-6 * np.eye(3)] * 2,
        atol=1e-12,
    )


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_the_likelihood_never_falls(seed, d, k):
    """Without a floor, from any soft start, each of 30 steps is a gain."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, d)) * rng.exponential(size=d) + rng.normal()
    start = rng.dirichlet(np.ones(k), size=60)
    _, trace = fit_mixture(X, start, floor=0.0, tol=0.0, max_steps=30)
    assert 1 <= len(trace) <= 30
    assert np.all(np.diff(trace) > -1e-9)


def test_a_floor_may_lower_the_likelihood_a_little(iris):
    """So the theorem is about EM without it; the page says so."""
    X, _ = iris
    start = np.eye(3)[k_means(X, 3)[1]]
    _, trace = fit_mixture(X, start, floor=0.1, tol=0.0, max_steps=50)
    assert -1e-2 < np.diff(trace).min() < -1e-6


@pytest.mark.parametrize(
    ("tol", "floor", "steps"), [(1e-3, 1e-6, 100), (1e-7, 1e-4, 500)]
)
def test_the_mixture_is_scikit_learns_from_the_same_start(
    iris, tol, floor, steps
):
    """Weights, means, covariances, likelihood and the number of steps."""
    X, _ = iris
    start = np.eye(3)[k_means(X, 3)[1]]
    weights, means, covariances = m_step(X, start, floor)
    library = GaussianMixture(
        3,
        tol=tol,
        reg_covar=floor,
        max_iter=steps,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
    ).fit(X)
    found, trace = fit_mixture(X, start, floor, tol, steps)
    assert len(trace) == library.n_iter_
    assert trace[-1] == pytest.approx(library.lower_bound_, rel=1e-10)
    theirs = library.weights_, library.means_, library.covariances_
    for ours, other in zip(found, theirs, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-7)


def test_em_takes_no_more_steps_than_allowed(iris):
    """With a tolerance of zero it takes them all."""
    X, _ = iris
    start = np.eye(2)[np.arange(150) % 2]
    assert len(fit_mixture(X, start, tol=0.0, max_steps=7)[1]) == 7
    assert len(fit_mixture(X, start, tol=1.0, max_steps=7)[1]) == 2
    assert len(fit_mixture(X, start, tol=1.0, max_steps=1)[1]) == 1


def test_em_goes_on_while_the_gain_is_the_tolerance():
    """A gain of zero isn't less than a tolerance of zero."""
    X = np.array([[-1.0], [1.0]])
    _, trace = fit_mixture(X, np.ones((2, 1)), tol=0.0, max_steps=4)
    assert trace == [trace[0]] * 4


def test_one_component_is_the_gaussian_of_all_points(iris):
    """Mean and covariance of the data, found in two steps."""
    X, _ = iris
    (weights, means, covariances), trace = fit_mixture(
        X, np.ones((150, 1)), floor=0.0
    )
    assert len(trace) == 2
    assert weights.tolist() == [1.0]
    np.testing.assert_allclose(means[0], X.mean(axis=0))
    np.testing.assert_allclose(covariances[0], np.cov(X.T, ddof=0))


def test_the_mixture_finds_the_species_better_than_k_means(iris):
    """Adjusted Rand index 0.90 against 0.73, from k-means' own groups."""
    X, species = iris
    clusters = k_means(X, 3)[1]
    fitted, _ = fit_mixture(X, np.eye(3)[clusters])
    groups = e_step(X, *fitted)[0].argmax(axis=1)
    assert adjusted_rand_score(species, clusters) == pytest.approx(
        0.73, abs=0.01
    )
    assert adjusted_rand_score(species, groups) == pytest.approx(
        0.90, abs=0.01
    )


def test_scaling_decides_what_k_means_finds_in_the_wines():
    """Agreement with the grapes: below 0.4 raw, above 0.85 scaled."""
    X, grapes = load_wine(return_X_y=True)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    assert adjusted_rand_score(grapes, k_means(X, 3)[1]) < 0.4
    assert adjusted_rand_score(grapes, k_means(scaled, 3)[1]) > 0.85


def test_a_component_on_one_point_collapses_without_a_floor(iris):
    """An error that says so; with a floor, EM ends with finite numbers."""
    X, _ = iris
    start = np.eye(2)[(np.arange(150) == 0).astype(int)]
    with pytest.raises(FloatingPointError, match="collapsed.*raise floor"):
        fit_mixture(X, start, floor=0.0)
    fitted, trace = fit_mixture(X, start, floor=1e-3)
    assert np.isfinite(trace).all()
    assert np.linalg.eigvalsh(fitted[2]).min() > 0.999e-3


def test_the_likelihood_of_a_spike_has_no_upper_bound(iris):
    """Ten times narrower adds 4 log(10) / 150, time and again."""
    X, _ = iris

    def likelihood(width):
        return e_step(
            X,
            np.array([0.9, 0.1]),
            np.array([X.mean(axis=0), X[0]]),
            np.array([np.cov(X.T), width**2 * np.eye(4)]),
        )[1]

    for width in (1e-3, 1e-10, 1e-30):
        gain = likelihood(width / 10) - likelihood(width)
        assert gain == pytest.approx(4 * np.log(10) / 150, rel=1e-3)


def test_the_likeliest_mixture_needs_a_floor_to_be_a_good_one(iris):
    """Seed 2 at 1e-6: likelier than the good fit, and half as right."""
    X, species = iris
    seeds = random_seeds(X, 3, np.random.default_rng(2))
    start = np.eye(3)[nearest_centre(X, seeds)]
    good = fit_mixture(X, np.eye(3)[k_means(X, 3)[1]])[1][-1]
    fitted, trace = fit_mixture(X, start, 1e-6, 1e-4, 200)
    groups = e_step(X, *fitted)[0].argmax(axis=1)
    assert trace[-1] > good + 0.4
    assert adjusted_rand_score(species, groups) < 0.5


def test_components_for_a_share_are_the_fewest_that_reach_it(digits):
    """Worked by hand, and scikit-learn's choice for 90 % of the digits."""
    assert components_for([3.0, 1.0], 0.75) == 1
    assert components_for([3.0, 1.0], 0.76) == 2
    assert components_for([3.0, 1.0], 1.0) == 2
    assert components_for([0.1] * 10, 1.0) == 10
    library = PCA(0.9, svd_solver="full").fit(digits)
    assert components_for(pca(digits, 1)[2], 0.9) == library.n_components_


@pytest.mark.parametrize("k", [1, 2, 3])
def test_bic_is_scikit_learns(iris, k):
    """For the same fitted mixture."""
    X, _ = iris
    library = GaussianMixture(k, random_state=0).fit(X)
    ours = bic(library.score(X), 150, 4, k)
    assert ours == pytest.approx(library.bic(X), rel=1e-10)


def test_bic_counts_two_groups_of_irises_and_not_three(iris):
    """The species are three, but two of them overlap too much."""
    X, _ = iris
    scores = []
    for k in (1, 2, 3, 4):
        start = np.eye(k)[k_means(X, k)[1]]
        _, trace = fit_mixture(X, start, 1e-3, 1e-5, 500)
        scores.append(bic(trace[-1], 150, 4, k))
    assert np.argmin(scores) == 1


def test_greedy_seeds_leave_less_inertia_than_plain_ones():
    """On average over 30 seeds, and the first seed is any point."""
    X = load_wine().data[:, [12]]

    def left(seeding, seed):
        seeds = seeding(X, 10, np.random.default_rng(seed))
        assert seeds.shape == (10, 1)
        return np.sum((X - seeds[nearest_centre(X, seeds)]) ** 2)

    plain, greedy = (
        np.mean([left(seeding, seed) for seed in range(30)])
        for seeding in (plus_plus_seeds, greedy_seeds)
    )
    assert greedy < 0.85 * plain


def test_greedy_seeds_with_one_try_are_drawn_by_squared_distance():
    """After 0, the points 1 and 3 come in the ratio of 1 to 9."""
    X = np.array([[0.0], [1.0], [3.0]])
    rng = np.random.default_rng(0)
    drawn = [greedy_seeds(X, 2, rng, tries=1)[:, 0] for _ in range(3000)]
    after = [b for a, b in drawn if a == 0]
    assert len(after) == pytest.approx(1000, abs=120)
    assert np.mean(np.equal(after, 3)) == pytest.approx(0.9, abs=0.04)


BAD = np.array([[0.0, np.nan], [1.0, np.inf], [2.0, 3.0]])
GOOD = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda X: lloyd(X, GOOD),
        lambda X: k_means(X, 1),
        lambda X: pca(X, 1),
        lambda X: pca_of_tall(X, 1),
        lambda X: fit_mixture(X, np.ones((3, 1))),
    ],
)
def test_points_that_are_no_table_of_numbers_are_refused(call):
    """Wrong shape, no rows, no columns, NaN: each says what was got."""
    for shape in ((3,), (0, 2), (3, 0), (2, 2, 2)):
        with pytest.raises(ValueError, match=r"X: expected shape \(n, d\)"):
            call(np.zeros(shape))
    with pytest.raises(ValueError, match="X: expected finite .*got 2 NaN"):
        call(BAD)


def test_centres_must_fit_the_points():
    """Columns as many as the points', numbers, and no more than points."""
    with pytest.raises(ValueError, match=r"centres: .*\(n, 2\).*got \(1, 3\)"):
        lloyd(GOOD, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="centres: expected finite"):
        lloyd(GOOD, BAD)
    with pytest.raises(ValueError, match="k: .*from 1 to 3, got 4"):
        lloyd(GOOD, np.zeros((4, 2)))


@pytest.mark.parametrize("k", [0, -1, 4, 1.5, "2"])
def test_a_number_of_clusters_must_be_from_one_to_n(k):
    """More clusters than points, or none, or a part of one."""
    with pytest.raises(ValueError, match=f"k: .* from 1 to 3, got {k}"):
        k_means(GOOD, k)


def test_plus_plus_needs_as_many_distinct_points_as_clusters():
    """Three copies of two points can't seed three clusters."""
    X = np.repeat(GOOD[:2], 3, axis=0)
    with pytest.raises(ValueError, match="k: expected at most 2, .*got 3"):
        k_means(X, 3)
    assert k_means(X, 2)[2] == 0


@pytest.mark.parametrize("method", [pca, pca_of_tall])
def test_components_are_from_one_to_the_smaller_side(method):
    """No more than rows or columns, and a variance needs two rows."""
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"from 1 to 2, got {count}"):
            method(GOOD, count)
    with pytest.raises(ValueError, match="X: expected at least 2 rows, got 1"):
        method(GOOD[:1], 1)
    assert len(method(GOOD[:2], 2)[2]) == 2


@pytest.mark.parametrize(
    ("guess", "got"),
    [
        (np.ones(3), r"got \(3,\)"),
        (np.ones((2, 1)), r"got \(2, 1\)"),
        (np.ones((3, 0)), r"got \(3, 0\)"),
        (np.full((3, 4), 0.25), r"got \(3, 4\)"),
        (np.full((3, 2), 0.4), "sums to 0.8"),
        (np.array([[0.5, 0.5], [0.5, 0.5], [0.4, 0.4]]), "sums to 0.8"),
        (np.array([[0.5, 0.5], [0.5, 0.7], [0.5, 0.4]]), "sums to 1.2"),
        (np.full((3, 2), np.nan), "sums to nan"),
        (np.array([[1.5, -0.5]] * 3), "negative"),
    ],
)
def test_responsibilities_must_be_rows_that_sum_to_one(guess, got):
    """One row a point, from 1 to n columns, none negative."""
    with pytest.raises(ValueError, match="responsibilities: .*" + got):
        fit_mixture(GOOD, guess)


def test_responsibilities_may_miss_one_by_rounding():
    """A part in two million is rounding; one and a half in a million no."""
    ones = np.ones((3, 1))
    assert fit_mixture(GOOD, ones * (1 + 5e-7))
    with pytest.raises(ValueError, match="sum to 1"):
        fit_mixture(GOOD, ones * (1 + 1.5e-6))
    assert fit_mixture(GOOD, np.full((3, 3), 1 / 3))


def test_counts_floor_and_share_must_make_sense():
    """Each error names the argument."""
    with pytest.raises(ValueError, match="restarts: expected .*got 0"):
        k_means(GOOD, 1, restarts=0)
    with pytest.raises(ValueError, match="max_steps: expected .*got 0"):
        lloyd(GOOD, GOOD, max_steps=0)
    with pytest.raises(ValueError, match="max_steps: expected .*got 0"):
        fit_mixture(GOOD, np.ones((3, 1)), max_steps=0)
    for floor in (-1e-6, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"floor: .*got {floor}"):
            fit_mixture(GOOD, np.ones((3, 1)), floor=floor)
    for share in (0, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"share: .*got {share}"):
            components_for([1.0], share)
    with pytest.raises(FloatingPointError, match="no points"):
        m_step(GOOD, np.array([[1.0, 0.0]] * 3))
    check_count("k", np.int64(3), 3)
    check_points(GOOD, d=2)


METHODS = {
    "lloyd": lambda X: lloyd(X, X[:3])[0],
    "nearest": lambda X: nearest_centre(X, X[:3]),
    "k-means": lambda X: k_means(X, 3)[0],
    "random": lambda X: random_seeds(X, 3, np.random.default_rng(0)),
    "plus plus": lambda X: plus_plus_seeds(X, 3, np.random.default_rng(0)),
    "greedy": lambda X: greedy_seeds(X, 3, np.random.default_rng(0)),
    "pca": lambda X: pca(X, 2)[1],
    "pca of tall": lambda X: pca_of_tall(X, 2)[1],
    "log-sum-exp": log_sum_exp,
    "e-step": lambda X: e_step(
        X, np.ones(1), np.full((1, 2), 99, np.uint8), [1e4 * np.eye(2)]
    )[1],
    "m-step": lambda X: m_step(X, np.ones((len(X), 1), np.uint8))[1],
    "mixture": lambda X: fit_mixture(
        X, pd.DataFrame(np.eye(2, dtype=np.uint8)[np.arange(len(X)) % 2])
    )[0][1],
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_numbers_of_few_bits_give_what_floats_give(method):
    """Squares of bytes overflow, in arrays and in tables of pandas."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (50, 2))
    expected = method(X.astype(float))
    for kind in (np.uint8, np.int16, np.float32):
        few_bits = X.astype(kind)
        np.testing.assert_allclose(method(few_bits), expected, rtol=1e-10)
        table = pd.DataFrame(few_bits, rng.permutation(50))
        np.testing.assert_allclose(method(table), expected, rtol=1e-10)


def test_points_256_apart_are_distinct_in_sixteen_bits():
    """The square of 256 is zero there; the points are three all the same."""
    X = np.array([[0], [256], [300]], np.int16)
    seeds = plus_plus_seeds(X, 3, np.random.default_rng(0))
    assert sorted(seeds[:, 0].tolist()) == [0, 256, 300]


@pytest.mark.parametrize("seeding", [random_seeds, greedy_seeds])
def test_more_clusters_than_distinct_points_are_refused(seeding):
    """Two points, twice each, can't seed three clusters, but two."""
    X = np.repeat(GOOD[:2], 2, axis=0)
    with pytest.raises(ValueError, match=r"k: expected .* 2, .*got 3"):
        k_means(X, 3, seeding)
    assert k_means(X, 2, seeding)[2] == 0


@pytest.mark.parametrize("k", [2, 3])
def test_lloyd_finds_the_same_far_from_zero(k):
    """Seconds since 1970 have squares that leave a distance no digits."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[100:] += 8
    centres, labels, inertia, steps = lloyd(X, X[-k:])
    moved = X + 1.7e9
    found, same, moved_inertia, moved_steps = lloyd(moved, moved[-k:])
    assert same.tolist() == labels.tolist()
    assert nearest_centre(moved, found).tolist() == labels.tolist()
    assert moved_steps == steps
    assert moved_inertia == pytest.approx(inertia, rel=1e-5)


def test_variances_by_the_covariance_are_as_many_and_never_below_zero():
    """As by the SVD: min(n, d) of them, and rounding makes none negative."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1000, 3))
    X = np.column_stack([a, a[:, 0] + a[:, 1], 2 * a[:, 2], a.sum(axis=1)])
    variances = pca_of_tall(X, 6)[2]
    assert variances.min() >= 0
    np.testing.assert_allclose(variances, pca(X, 6)[2], atol=1e-12)
    wide = rng.normal(size=(4, 10))
    by_svd = pca(wide, 3)[2]
    assert len(by_svd) == 4
    np.testing.assert_allclose(pca_of_tall(wide, 3)[2], by_svd, atol=1e-12)


def test_points_that_are_all_equal_need_one_component():
    """Of no variance, one component keeps any share, without 0 / 0."""
    assert components_for(pca(np.ones((5, 3)), 1)[2], 0.9) == 1


def test_labels_that_belong_to_nobody_are_refused_in_a_table_too():
    """A row of zeros, in bytes: it sums to zero, and not to 2^64."""
    guess = pd.DataFrame(np.eye(3, dtype=np.uint8)[:, :2], [2, 0, 1])
    with pytest.raises(ValueError, match="got a row that sums to 0 or"):
        fit_mixture(GOOD, guess)


def test_the_farthest_point_is_the_farthest_in_bytes_too():
    """Of 0, 32 and 5 around 0, it is 32, whose square no byte holds."""
    X, centres = (np.array([[0], [n], [5]], np.uint8) for n in (32, 0))
    labels, _ = fill_empty(X, centres[:2], np.zeros(3, int))
    assert labels.tolist() == [0, 1, 0]
