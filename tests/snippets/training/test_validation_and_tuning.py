"""Splits, and what choosing by a score does to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit

from snippets.training import validation_and_tuning as lesson

sizes = st.integers(10, 60)
folds = st.integers(2, 9)
seeds = st.integers(0, 10_000)


@given(sizes, folds, seeds)
def test_each_row_is_tested_once(n, k, seed):
    """Random folds: all rows, none twice, sizes at most one apart."""
    parts = lesson.k_fold(n, k, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts)) == list(range(n))
    lengths = [len(part) for part in parts]
    assert len(lengths) == k
    assert max(lengths) - min(lengths) <= 1


def test_random_folds_are_random():
    """Not rows in their order, and not the same for another seed."""
    one, two = (
        lesson.k_fold(60, 3, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert not np.array_equal(np.sort(one[0]), np.arange(20))
    assert set(one[0]) != set(two[0])


@given(sizes, st.integers(2, 4), seeds)
def test_a_group_is_never_on_both_sides(n, k, seed):
    """And each row is tested once, by a fold that has all its group."""
    groups = np.random.default_rng(seed).integers(0, 8, n)
    parts = lesson.by_group(groups, k, np.random.default_rng(seed))
    pairs = lesson.with_rest(n, parts)
    assert len(pairs) == k
    assert sorted(np.concatenate([test for _, test in pairs])) == (
        list(range(n))
    )
    for train, test in pairs:
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == n


def test_groups_are_dealt_out_at_random():
    """Not the first groups to the first fold."""
    groups = np.repeat(np.arange(20), 3)
    first = lesson.by_group(groups, 2, np.random.default_rng(0))[0]
    assert set(groups[first]) != set(range(10))
    assert len(set(groups[first])) == 10


@given(sizes, folds)
def test_forward_never_looks_ahead(n, k):
    """All before a time train; what comes next is tested."""
    pairs = lesson.forward(n, k)
    assert len(pairs) == k
    for train, test in pairs:
        assert np.array_equal(train, np.arange(test[0]))
        assert np.array_equal(test, np.arange(test[0], test[-1] + 1))
    assert pairs[-1][1][-1] == n - 1


@given(st.integers(2, 10), folds)
def test_forward_is_scikit_learns_time_series_split(m, k):
    """Where the rows can be cut into equal parts."""
    n = m * (k + 1)
    theirs = TimeSeriesSplit(k).split(np.zeros(n))
    for ours, pair in zip(lesson.forward(n, k), theirs, strict=True):
        assert np.array_equal(ours[0], pair[0])
        assert np.array_equal(ours[1], pair[1])


def test_the_bikes_are_a_year_of_hours():
    """8,645 hours of 365 days, in order, and none of their parts."""
    x, y, day = lesson.load_bikes()
    assert x.shape == (8645, 10)
    assert np.array_equal(x[:, 0], day)
    assert set(day) == set(range(1, 366))
    assert (np.diff(day) >= 0).all()
    assert (y.min(), y.max()) == (1, 651)


def test_accuracy_is_that_of_ridge_regression():
    """As by scikit-learn's Ridge on the same features."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    train, test = (x[:200], y[:200]), (x[200:500], y[200:500])
    h = lesson.random_features(x[:500], 120, 3)
    ridge = Ridge(alpha=2.0, fit_intercept=False)
    ridge.fit(h[:200], np.eye(10)[y[:200]])
    expected = np.mean(ridge.predict(h[200:]).argmax(1) == y[200:500])
    ours = lesson.accuracy(train, test, width=120, penalty=2.0, seed=3)
    assert ours == expected
    kernel = KernelRidge(alpha=2.0).fit(h[:200], np.eye(10)[y[:200]])
    assert np.mean(kernel.predict(h[200:]).argmax(1) == y[200:500]) == ours


def test_random_features_are_rectified_sums():
    """Of the columns, scaled to variance one, plus a random shift."""
    x = np.eye(4)
    h = lesson.random_features(x, 5000, 0)
    assert h.shape == (4, 5000)
    assert h.min() == 0
    assert np.mean(h == 0) == pytest.approx(0.5, abs=0.02)
    assert np.mean(h**2) == pytest.approx((1 + 1 / 4) / 2, rel=0.05)
    assert np.array_equal(h, lesson.random_features(x, 5000, 0))
    assert not np.array_equal(h, lesson.random_features(x, 5000, 1))


def test_the_highest_of_many_noisy_scores_is_too_high():
    """For 100 candidates that are all alike: 2.5 standard deviations."""
    rng = np.random.default_rng(0)
    best = rng.normal(size=(2000, 100)).max(1)
    assert best.mean() == pytest.approx(2.51, abs=0.05)


def test_split_by_hours_flatters_a_forecast():
    """Nearest neighbours in time do it as well: an hour is known by the
    next one.
    """
    x, y, day = lesson.load_bikes()
    n = len(y)
    rng = np.random.default_rng(1)
    errors = []
    for pairs in (
        lesson.with_rest(n, lesson.k_fold(n, 5, rng)),
        lesson.with_rest(n, lesson.by_group(day, 5, rng)),
        lesson.forward(n, 5),
    ):
        gaps = []
        for train, test in pairs:
            last = np.searchsorted(train, test).clip(1) - 1
            gaps.append(np.abs(y[train[last]] - y[test]).mean())
        errors.append(np.mean(gaps))
    assert errors[0] < 0.7 * errors[1] < errors[2]


def digits(n=120):
    """Small digits, (n, 64), 0 to 1, and labels."""
    x, y = load_digits(return_X_y=True)
    return x[:n] / 16, y[:n]


@given(sizes, st.integers(2, 6))
def test_cross_validation_is_a_mean_over_folds(n, k):
    """Each row is tested once, by what was trained on the others."""
    seen = []
    data = np.arange(n), np.arange(n)
    with pytest.MonkeyPatch.context() as patch:

        def accuracy(train, test, **settings):
            assert settings == {"width": 7}
            assert sorted([*train[1], *test[1]]) == list(range(n))
            seen.append(test[1])
            return len(seen)

        patch.setattr(lesson, "accuracy", accuracy)
        mean = lesson.cross_validate(data, k, width=7)
    assert np.array_equal(np.concatenate(seen), np.arange(n))
    assert mean == (k + 1) / 2


def test_candidates_lie_in_their_ranges():
    """Width and penalty spread by factors, seeds evenly."""
    rng = np.random.default_rng(0)
    found = [lesson.candidate(rng) for _ in range(500)]
    widths = np.array([each["width"] for each in found])
    penalties = np.array([each["penalty"] for each in found])
    assert (widths.min(), widths.max()) == pytest.approx((31, 316), rel=0.05)
    assert np.mean(widths < 100) == pytest.approx(0.5, abs=0.07)
    assert penalties.min() == pytest.approx(1e-3, rel=0.2)
    assert penalties.max() == pytest.approx(1e2, rel=0.2)
    assert len({each["seed"] for each in found}) > 350


def test_the_best_has_the_highest_score():
    """And the first of equals."""
    settings = [{"a": 1}, {"a": 5}, {"a": 3}]
    assert lesson.best_of(settings, lambda s: s["a"]) == ({"a": 5}, 5)


def test_a_search_scores_by_cross_validation():
    """The best of its candidates, with its own score."""
    data = digits(60)
    best, score = lesson.search(data, np.random.default_rng(0), n=5)
    rng = np.random.default_rng(0)
    scores = [
        lesson.cross_validate(data, 5, **lesson.candidate(rng))
        for _ in range(5)
    ]
    assert score == max(scores)
    assert lesson.cross_validate(data, 5, **best) == score


def test_a_nested_search_never_sees_what_it_is_tested_on(monkeypatch):
    """Each of five searches gets the training part alone."""
    data = digits(50)
    places = {row.tobytes(): place for place, row in enumerate(data[0])}
    searched, tested = [], []

    def search(part, rng):
        searched.append({places[row.tobytes()] for row in part[0]})
        return {"width": 40, "penalty": 0.5, "seed": 2}, 0.9

    def accuracy(train, test, **settings):
        assert settings == {"width": 40, "penalty": 0.5, "seed": 2}
        assert {places[row.tobytes()] for row in train[0]} == searched[-1]
        tested.append({places[row.tobytes()] for row in test[0]})
        return len(tested)

    monkeypatch.setattr(lesson, "search", search)
    monkeypatch.setattr(lesson, "accuracy", accuracy)
    assert lesson.nested(data, np.random.default_rng(0)) == 3
    assert len(searched) == 5
    for part, test in zip(searched, tested, strict=True):
        assert len(part) == 40
        assert part | test == set(range(50))


def test_without_settings_a_model_has_200_features():
    """A penalty of 0.1, and seed 0."""
    data = digits(80)
    parts = lesson.take(data, slice(60)), lesson.take(data, slice(60, 80))
    named = {"width": 200, "penalty": 0.1, "seed": 0}
    others = {
        lesson.accuracy(*parts, **{**named, **change})
        for change in ({"width": 5}, {"penalty": 1e4}, {"seed": 9})
    }
    ours = lesson.accuracy(*parts)
    assert ours == lesson.accuracy(*parts, **named)
    assert others != {ours}
