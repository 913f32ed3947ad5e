"""Logistic and softmax regression, and the three sets of data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from snippets.fundamentals.supervised_learning import (
    cross_validate,
    fit_logistic,
    fit_softmax,
    logistic_hessian,
    logistic_loss,
    scaled,
    score_table,
    search,
    sigmoid,
    softmax_loss,
    split,
)

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These matrices are small: more threads only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def raw():
    data = load_breast_cancer()
    return data.data, 1 - data.target


@pytest.fixture(scope="module")
def cancer(raw):
    X, y = raw
    return (X - X.mean(axis=0)) / X.std(axis=0), y


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images[:500] / 16, labels[:500]


def slopes(function, at, step=1e-5):
    """Central differences of a function of one array."""
    found = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        change = np.zeros(at.shape)
        change[index] = step
        ahead, behind = function(at + change), function(at - change)
        found[index] = (ahead - behind) / (2 * step)
    return found


def test_the_sigmoid_of_log_odds_is_the_chance():
    """Odds of 3 to 1 are a chance of 3/4; huge scores don't overflow."""
    assert sigmoid(np.log(3.0)) == pytest.approx(0.75, rel=1e-14)
    assert sigmoid(0.0) == 0.5
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]


def test_the_logistic_loss_of_two_points_is_that_worked_by_hand():
    """Scores ln 3 and 0: chances 3/4 and 1/2, penalty 1/2 · 0.2 · ln²3."""
    X, y = np.array([[1.0], [0.0]]), np.array([0, 1])
    weights = np.array([np.log(3.0)])
    loss, weights_gradient, bias_gradient = logistic_loss(
        X, y, weights, 0.0, penalty=0.2
    )
    plain = (np.log(4) + np.log(2)) / 2
    assert loss == pytest.approx(plain + 0.1 * np.log(3) ** 2, rel=1e-14)
    assert weights_gradient == pytest.approx(0.375 + 0.2 * np.log(3))
    assert bias_gradient == pytest.approx((0.75 - 0.5) / 2)
    assert logistic_loss(X, y, weights, 0.0)[0] == pytest.approx(plain)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(1, 5), st.floats(0, 2))
def test_the_logistic_gradient_matches_finite_differences(seed, n, d, penalty):
    """Central differences of the loss give it, for any data and penalty."""
    rng = np.random.default_rng(seed)
    X, y, v = (
        rng.normal(size=(n, d)),
        rng.integers(2, size=n),
        rng.normal(size=d + 1),
    )

    def loss(v):
        return logistic_loss(X, y, v[:-1], v[-1], penalty)[0]

    gradient = np.hstack(logistic_loss(X, y, v[:-1], v[-1], penalty)[1:])
    np.testing.assert_allclose(gradient, slopes(loss, v), atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(1, 5), st.floats(0, 2))
def test_the_hessian_is_the_slope_of_the_gradient(seed, n, d, penalty):
    """Central differences of the gradient give each row of the Hessian."""
    rng = np.random.default_rng(seed)
    X, y, v = (
        rng.normal(size=(n, d)),
        rng.integers(2, size=n),
        rng.normal(size=d + 1),
    )
    X1 = np.column_stack([X, np.ones(n)])
    hessian = logistic_hessian(X1, v, penalty)
    for index in range(d + 1):

        def entry(v, index=index):
            _, *gradient = logistic_loss(X, y, v[:-1], v[-1], penalty)
            return np.hstack(gradient)[index]

        np.testing.assert_allclose(hessian[index], slopes(entry, v), atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 15), st.integers(2, 4), st.floats(0, 2))
def test_the_softmax_gradient_matches_finite_differences(seed, n, k, penalty):
    """Central differences of the loss give it, for any number of classes."""
    rng = np.random.default_rng(seed)
    X, y, v = (
        rng.normal(size=(n, 3)),
        rng.integers(k, size=n),
        rng.normal(size=(4, k)),
    )

    def loss(v):
        return softmax_loss(X, y, v[:-1], v[-1], penalty)[0]

    gradient = np.vstack(softmax_loss(X, y, v[:-1], v[-1], penalty)[1:])
    np.testing.assert_allclose(gradient, slopes(loss, v), atol=1e-8)


def test_the_softmax_loss_of_one_point_is_that_worked_by_hand():
    """Chances 1/6, 2/6, 3/6 and class 1: the loss is ln 3, plus penalty."""
    X, y = np.array([[1.0]]), np.array([1])
    weights = np.log([[1.0, 2.0, 3.0]])
    loss, gradient, bias_gradient = softmax_loss(X, y, weights, np.zeros(3))
    assert loss == pytest.approx(np.log(3), rel=1e-14)
    assert bias_gradient == pytest.approx([1 / 6, -2 / 3, 1 / 2])
    assert gradient[0] == pytest.approx([1 / 6, -2 / 3, 1 / 2])
    loss, *_ = softmax_loss(X, y, weights, np.zeros(3), penalty=0.5)
    squares = np.log(2) ** 2 + np.log(3) ** 2
    assert loss == pytest.approx(np.log(3) + 0.25 * squares, rel=1e-14)


def test_scores_of_a_thousand_overflow_neither_loss():
    """A wrong score of 1000 costs 1000, and a right one nothing."""
    X, y = np.array([[1.0], [-1.0]]), np.array([1, 1])
    loss, *_ = logistic_loss(X, y, np.array([1000.0]), 0.0)
    assert loss == 500.0
    loss, *_ = softmax_loss(X, y, np.array([[0.0, 1000.0]]), np.zeros(2))
    assert loss == 500.0


@pytest.mark.parametrize("penalty", [1.0, 0.01, 0.0001])
def test_logistic_regression_is_scikit_learns(cancer, penalty):
    """Weights and bias equal the library's to one part in a million."""
    X, y = cancer
    weights, bias, _ = fit_logistic(X, y, penalty, 1e-12)
    library = LogisticRegression(
        C=1 / (penalty * len(y)), tol=1e-12, solver="newton-cholesky"
    ).fit(X, y)
    np.testing.assert_allclose(weights, library.coef_[0], rtol=1e-6, atol=1e-7)
    assert bias == pytest.approx(library.intercept_[0], rel=1e-6)


def test_softmax_regression_is_scikit_learns(digits):
    """On handwritten digits all 640 weights agree to 1e-4, and the biases."""
    X, y = digits
    weights, bias = fit_softmax(X, y, 10, penalty=0.01)
    library = LogisticRegression(
        C=1 / (0.01 * len(y)), tol=1e-6, max_iter=1000
    ).fit(X, y)
    np.testing.assert_allclose(weights, library.coef_.T, atol=1e-4)
    np.testing.assert_allclose(bias, library.intercept_, atol=1e-4)


def test_newtons_method_doubles_the_digits(cancer):
    """Near the end an error of e leaves one of about e²; 8 steps suffice."""
    *_, largest = fit_logistic(*cancer, penalty=0.01)
    assert len(largest) == 9
    assert largest[0] == pytest.approx(0.38368, abs=1e-5)
    before, after = np.log10(largest[5:7]), np.log10(largest[6:8])
    assert np.all(after / before > 1.4)
    assert largest[-1] <= 1e-8
    *_, reached = fit_logistic(*cancer, 0.01, tolerance=largest[3])
    assert reached == largest[:4]


def test_a_full_newton_step_can_fail_where_a_halved_one_does_not(raw):
    """On one real split a step must be halved twice, else all is singular."""
    X, y = raw
    train, *_ = split(len(y), seed=10)
    X = (X[train] - X[train].mean(axis=0)) / X[train].std(axis=0)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        fit_logistic(X, y[train], 1e-6, halvings=1)
    assert len(fit_logistic(X, y[train], 1e-6, halvings=2)[2]) == 18
    *_, largest = fit_logistic(X, y[train], 1e-6)
    assert largest[-1] <= 1e-8
    assert len(largest) == 18


def test_a_step_is_halved_and_not_replaced(raw):
    """Halved steps on that split end where the library's solver does."""
    X, y = raw
    train, *_ = split(len(y), seed=10)
    X = (X[train] - X[train].mean(axis=0)) / X[train].std(axis=0)
    weights, *_ = fit_logistic(X, y[train], 1e-6, 1e-12)
    library = LogisticRegression(
        C=1 / (1e-6 * len(train)), tol=1e-12, solver="newton-cholesky"
    ).fit(X, y[train])
    np.testing.assert_allclose(weights, library.coef_[0], rtol=1e-4)


def test_a_fit_that_takes_too_many_steps_says_so(cancer, digits):
    """Both fits raise an error that names the settings to change."""
    with pytest.raises(RuntimeError, match="after 7 steps: raise penalty"):
        fit_logistic(*cancer, steps=7)
    assert len(fit_logistic(*cancer, steps=8)[2]) == 9
    with pytest.raises(RuntimeError, match=r"raise max_steps \(5\)"):
        fit_softmax(*digits, 10, max_steps=5)


def test_softmax_stops_by_its_gradient(digits):
    """At the end the largest entry is below the tolerance, not far below."""
    X, y = digits
    for tolerance in (1e-3, 1e-5):
        weights, bias = fit_softmax(X, y, 10, 0.01, tolerance)
        _, *gradient = softmax_loss(X, y, weights, bias, 0.01)
        largest = np.abs(np.vstack(gradient)).max()
        assert tolerance / 20 < largest <= tolerance


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (logistic_loss, (0.0,)),
        (softmax_loss, (0.0,)),
        (fit_logistic, (0.01, 1e-8, 50, 30)),
        (fit_softmax, (0.01, 1e-6, 1000)),
        (split, ((0.6, 0.2),)),
        (search, (100, 4)),
        (cross_validate, (5,)),
    ],
)
def test_defaults_are_those_the_page_relies_on(function, defaults):
    """The page's numbers hold for these defaults and no others."""
    assert function.__defaults__ == defaults


def test_two_class_softmax_is_logistic_at_half_the_penalty(cancer):
    """The difference of its two weight vectors is the logistic weights."""
    X, y = cancer
    weights, bias, _ = fit_logistic(X, y, penalty=0.05)
    two, two_bias = fit_softmax(X, y, 2, penalty=0.1, tolerance=1e-8)
    np.testing.assert_allclose(two[:, 1] - two[:, 0], weights, atol=1e-6)
    assert two_bias[1] - two_bias[0] == pytest.approx(bias, abs=1e-6)


def test_the_mean_chance_is_the_share_of_the_class(cancer, digits):
    """The bias isn't penalised, so chances are right on average."""
    X, y = cancer
    weights, bias, _ = fit_logistic(X, y, penalty=3.0)
    assert sigmoid(X @ weights + bias).mean() == pytest.approx(y.mean())
    X, y = digits
    weights, bias = fit_softmax(X, y, 10, penalty=3.0)
    scores = np.exp(X @ weights + bias)
    chances = scores / scores.sum(axis=1, keepdims=True)
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(chances.mean(axis=0), shares, atol=1e-6)


def test_the_classes_can_be_separated_so_weights_grow_without_end(cancer):
    """A plane tells all tumours apart; less penalty, ever longer weights."""
    X, y = cancer
    X1 = np.column_stack([X, np.ones(len(y))])
    outward = (2 * y - 1)[:, None] * X1
    plane = linprog(
        np.zeros(31), A_ub=-outward, b_ub=-np.ones(len(y)), bounds=(None, None)
    )
    assert plane.status == 0
    assert np.all(outward @ plane.x > 0.999)
    lengths = [
        np.linalg.norm(fit_logistic(X, y, penalty, 1e-12)[0])
        for penalty in (1e-2, 1e-4, 1e-6, 1e-8)
    ]
    assert lengths == pytest.approx([2.313, 10.80, 65.45, 918.8], rel=1e-3)


def test_a_feature_of_the_malignant_can_get_a_negative_weight(cancer):
    """Compactness error rises with malignancy; its weight among all falls."""
    X, y = cancer
    assert np.corrcoef(X[:, 15], y)[0, 1] > 0.2
    assert fit_logistic(X[:, [15]], y)[0][0] > 0.5
    assert fit_logistic(X, y)[0][15] < -0.3


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 300), seeds, st.floats(0.2, 0.5), st.floats(0.2, 0.3))
def test_a_split_loses_and_doubles_nothing(n, seed, first, second):
    """The three sets hold each index once, in the shares asked for."""
    parts = split(n, seed, (first, second))
    assert [len(part) for part in parts[:2]] == [
        round(n * first),
        round(n * second),
    ]
    assert sorted(np.concatenate(parts)) == list(range(n))


def test_a_split_is_shuffled_by_its_seed():
    """Same seed, same split; another seed, another; and never in order."""
    train, validation, test = split(100, seed=3)
    assert [len(train), len(validation), len(test)] == [60, 20, 20]
    np.testing.assert_array_equal(train, split(100, seed=3)[0])
    assert train.tolist() != split(100, seed=4)[0].tolist()
    assert train.tolist() != sorted(train)


@pytest.mark.parametrize("shares", [(0.6, 0.4), (0.0, 0.5), (0.5, 0.0)])
def test_an_empty_set_is_refused(shares):
    """The message names the shares and the sizes that they would give."""
    with pytest.raises(ValueError, match="shares must leave no set empty"):
        split(10, 0, shares)
    assert [len(part) for part in split(3, 0, (0.34, 0.33))] == [1, 1, 1]


def test_scaling_and_fitting_see_the_training_set_alone(raw):
    """Spoiling all held-out examples leaves the fit as it was."""
    X, y = raw
    train, validation, test = split(len(y), seed=5)
    mean, deviation = X[train].mean(axis=0), X[train].std(axis=0)
    weights, bias, _ = fit_logistic((X[train] - mean) / deviation, y[train])
    expected = [
        np.mean(((X[part] - mean) / deviation @ weights + bias > 0) == y[part])
        for part in (validation, test)
    ]
    table = score_table(X, y, 5, [10.0, 0.01])
    assert table.shape == (2, 2)
    assert table[1].tolist() == expected
    assert table[0].tolist() != expected


def test_choosing_on_the_test_set_flatters(raw):
    """Over a hundred splits the gain is five standard errors or more."""
    penalties = 10.0 ** np.arange(0, -5.1, -0.5)
    tables = [score_table(*raw, seed, penalties) for seed in range(100)]
    flattery = [t[:, 1].max() - t[t[:, 0].argmax(), 1] for t in tables]
    error = np.std(flattery) / 10
    assert np.mean(flattery) > 5 * error
    assert np.mean(flattery) == pytest.approx(0.009, abs=2 * error)


def test_a_search_keeps_the_best_and_the_first_of_equals(raw):
    """Replayed by hand: what the choosing set prefers, and its fresh score."""
    X, y = raw
    found = search(X, y, seed=2, n_tries=12, n_features=3)
    train, choosing, fresh = split(len(y), 2, (0.3, 0.35))
    X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    rng = np.random.default_rng(2)
    scores = []
    for _ in range(12):
        some = rng.choice(30, 3, replace=False)
        model = LogisticRegression(C=1 / (0.01 * len(train)), tol=1e-8)
        model.fit(X[train][:, some], y[train])
        scores.append(
            [
                model.score(X[part][:, some], y[part])
                for part in (choosing, fresh)
            ]
        )
    scores = np.array(scores)
    best = [scores[: t + 1, 0].argmax() for t in range(12)]
    np.testing.assert_allclose(found, scores[best].T)


def test_a_longer_search_flatters_more(raw):
    """After 40 tries the gap to a fresh set is larger than after one."""
    found = np.mean([search(*raw, seed, 40) for seed in range(20)], axis=0)
    gap = found[0] - found[1]
    assert found.shape == (2, 40)
    assert gap[-1] > 0.01
    assert gap[-1] > gap[0] + 0.004


def test_each_fold_is_judged_by_a_fit_without_it(cancer):
    """Three folds, replayed with scikit-learn's fits."""
    X, y = cancer
    X, y = X[:90], y[:90]
    scores = cross_validate(X, y, [100.0, 0.001], n_folds=3)
    for penalty, score in zip((100.0, 0.001), scores, strict=True):
        right = 0
        for fold in range(3):
            held = np.arange(90) % 3 == fold
            model = LogisticRegression(
                C=1 / (penalty * 60), tol=1e-8, max_iter=1000
            )
            model.fit(X[~held], y[~held])
            right += np.sum(model.predict(X[held]) == y[held])
        assert score == pytest.approx(right / 90, abs=1e-12)
    assert scores[0] != scores[1]


@pytest.mark.parametrize("n_folds", [1, 0, 91])
def test_impossible_folds_are_refused(cancer, n_folds):
    """There must be 2 folds or more, and an example for each."""
    X, y = (part[:90] for part in cancer)
    with pytest.raises(ValueError, match=f"2 to 90, but is {n_folds}"):
        cross_validate(X, y, [1.0], n_folds)


def test_two_folds_and_as_many_as_examples_are_possible():
    """The bounds themselves are fine: halves, and leaving one out."""
    X = np.array([[-3.0], [-2.0], [2.0], [3.0]])
    y = np.array([0, 0, 1, 1])
    assert cross_validate(X, y, [0.1], 2).tolist() == [1.0]
    assert cross_validate(X, y, [0.1], 4).tolist() == [1.0]


NAN = np.array([[0.0, 1.0], [2.0, np.nan]])
INF = np.array([[0.0, 1.0], [-np.inf, 3.0]])
GOOD = np.array([[0.0, 1.0], [2.0, 3.0]])


@pytest.mark.parametrize(
    ("X", "y", "penalty", "message"),
    [
        (GOOD[0], [0, 1], 0.1, r"X must be .* but is \(2,\)"),
        (GOOD[:0], [], 0.1, r"X must be .* but is \(0, 2\)"),
        (GOOD[:, :0], [0, 1], 0.1, r"X must be .* but is \(2, 0\)"),
        (GOOD, [0], 0.1, r"y must be \(2,\) like X, but is \(1,\)"),
        (GOOD, [[0], [1]], 0.1, r"y must be \(2,\) like X, but is \(2, 1\)"),
        (NAN, [0, 1], 0.1, r"X must be finite, but X\[1, 1\] is nan"),
        (INF, [0, 1], 0.1, r"X must be finite, but X\[1, 0\] is -inf"),
        (GOOD, [-1, 1], 0.1, r"y must hold labels 0 to 1, but holds -1"),
        (GOOD, [0, 2], 0.1, r"y must hold labels 0 to 1, but holds 2"),
        (GOOD, [0, 0.5], 0.1, r"y must hold labels 0 to 1, but holds 0.5"),
        (GOOD, [0, np.nan], 0.1, r"y must hold labels 0 to 1, but holds nan"),
        (GOOD, [0.0, 1.0], 0.1, r"y must hold integers, but holds float64"),
        (GOOD, [False, True], 0.1, r"y must hold integers, but holds bool"),
        (GOOD, [0, 0], 0.1, r"y must hold every label, but not 1"),
        (GOOD, [1, 1], 0.1, r"y must hold every label, but not 0"),
        (GOOD, [0, 1], -0.1, r"penalty must be 0 or more, but is -0.1"),
        (GOOD, [0, 1], np.nan, r"penalty must be 0 or more, but is nan"),
        (GOOD, [0, 1], np.inf, r"penalty must be 0 or more, but is inf"),
    ],
)
def test_what_can_not_be_fitted_is_refused(X, y, penalty, message):
    """Each message names the argument, what it must be, and what it is."""
    with pytest.raises(ValueError, match=message):
        fit_logistic(X, np.array(y), penalty)
    with pytest.raises(ValueError, match=message):
        fit_softmax(X, np.array(y), 2, penalty)


@pytest.mark.parametrize("name", ["X", "y"])
def test_lists_are_refused(name):
    """What is no array is named, before anything is done with it."""
    given = {"X": GOOD, "y": np.array([0, 1])}
    given[name] = given[name].tolist()
    message = f"{name} must be an array, but is <class 'list'>"
    with pytest.raises(TypeError, match=message):
        fit_logistic(**given)
    with pytest.raises(TypeError, match=message):
        fit_softmax(**given, n_classes=2)


def test_labels_of_more_classes_are_fine_for_softmax():
    """With three classes a label of 2 is allowed, and 3 is not."""
    X = np.array([[-1.0], [0.0], [1.0]])
    weights, bias = fit_softmax(X, np.array([0, 1, 2]), 3)
    assert weights.shape == (1, 3)
    assert (X @ weights + bias).argmax(axis=1).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="labels 0 to 2, but holds 3"):
        fit_softmax(X, np.array([0, 1, 3]), 3)
    assert np.isfinite(fit_logistic(X, np.array([0, 1, 0]), 0.0)[1])


@pytest.mark.parametrize("loss", [logistic_loss, softmax_loss])
def test_a_shuffled_table_has_the_loss_of_its_arrays(loss):
    """Rows and labels of pandas pair by place, whatever they are called."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (20, 2)).astype(np.uint8), np.arange(20) % 2
    v = (np.ones(2), 0.5) if loss is logistic_loss else (np.eye(2), [0, 1])
    names = rng.permutation(20)
    table, column = pd.DataFrame(X, names), pd.Series(y, names[::-1])
    for found, expected in zip(
        loss(table, column, *v), loss(X, y, *v), strict=True
    ):
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "judge",
    [
        lambda X, y: score_table(X, y, 0, [0.01]),
        lambda X, y: search(X, y, 0, n_tries=3),
        lambda X, y: cross_validate(X, y, [10.0], 3),
    ],
)
def test_a_shuffled_table_is_judged_as_its_arrays_are(raw, judge):
    """Rows and labels of pandas pair by place, whatever they are called."""
    X, y = raw
    names = np.random.default_rng(0).permutation(len(y))
    table, column = pd.DataFrame(X, names), pd.Series(y, names[::-1])
    assert judge(table, column).tolist() == judge(X, y).tolist()


def test_without_a_penalty_a_repeated_feature_shares_its_weight():
    """Each copy gets half; a constant changes no chance."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    y = (a + rng.normal(size=60) > 0).astype(int)
    weights, bias, _ = fit_logistic(a[:, None], y, penalty=0.0)
    twice = fit_logistic(np.column_stack([a, a]), y, penalty=0.0)
    np.testing.assert_allclose(twice[0], weights.repeat(2) / 2, rtol=1e-8)
    assert twice[1] == pytest.approx(bias)
    for value in (0.0, 0.1, 1.0):
        X = np.column_stack([a, np.full(60, value)])
        found = fit_logistic(X, y, penalty=0.0)
        np.testing.assert_allclose(
            X @ found[0] + found[1], a * weights[0] + bias, rtol=1e-8
        )


def test_a_constant_is_centred_and_not_divided():
    """Pixels that are always blank become zeros, and the rest is scaled."""
    X = np.array([[1, 0.1], [3, 0.1], [5, 0.1], [7, 0.3]])
    found = scaled(X, [0, 1, 2])
    expected = (X[:, 0] - 3) / np.std([1, 3, 5])
    np.testing.assert_allclose(found[:, 0], expected)
    np.testing.assert_allclose(found[:, 1], [0, 0, 0, 0.2], atol=1e-15)


@pytest.mark.parametrize(
    "judge",
    [
        lambda X, y: score_table(X, y, 0, [0.01])[0],
        lambda X, y: search(X, y, 0, n_tries=30)[:, -1],
    ],
)
def test_blank_pixels_are_no_obstacle(judge):
    """Zeros and ones are told apart, though some pixels are always blank."""
    data = load_digits(n_class=2)
    assert judge(data.data.astype(np.uint8), data.target).min() > 0.9


def test_folds_that_leave_one_label_are_refused():
    """Labels 0 1 0 1 ... in two folds: each fit would see one of them."""
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    with pytest.raises(ValueError, match="both labels outside each fold"):
        cross_validate(X, y, [0.1], 2)
    assert cross_validate(X, y, [0.1], 3).shape == (1,)
