"""Leaks: how large they are, and that the cures cure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.preprocessing import TargetEncoder

from snippets.fundamentals.data_preprocessing import read_cars
from snippets.fundamentals.leakage import (
    name_scores,
    noise_accuracies,
    predicted_accuracy,
    screen,
    target_encode,
    target_encode_folds,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def cars():
    return read_cars()


def test_screening_keeps_the_columns_that_go_most_with_the_labels():
    y = np.array([-1.0, 1.0, -1.0, 1.0])
    X = np.column_stack([0.1 * y, -3 * y, y * 0, 2 * y])
    assert screen(X, y, 3).tolist() == [1, 3, 0]


def test_screening_works_with_numbers_of_few_bits():
    y = np.array([-1, 1] * 257, np.int8)
    X = np.random.default_rng(0).integers(0, 256, (514, 6)).astype(np.uint8)
    X[:, 2] = 255 * (y > 0)
    assert screen(pd.DataFrame(X), y, 1).tolist() == [2]


def test_accuracies_on_noise_are_those_of_counting_votes_one_by_one():
    """Vote by vote, in plain Python."""
    for seed in range(8):
        X = np.random.default_rng(seed).normal(size=(12, 9))
        y = [-1, 1] * 6
        expected = []
        for rows in (range(12), range(6)):
            strength = [
                -abs(sum(y[i] * X[i, j] for i in rows)) for j in range(9)
            ]
            kept = sorted(range(9), key=lambda j, s=strength: s[j])[:3]
            right = 0
            for i in range(6, 12):
                vote = 0
                for j in kept:
                    lead = sum(y[k] * X[k, j] for k in range(6))
                    vote += X[i, j] if lead > 0 else -X[i, j]
                right += (vote > 0) == (y[i] > 0)
            expected.append(right / 6)
        assert noise_accuracies(12, 9, 3, seed) == pytest.approx(expected)


def test_choosing_before_the_split_finds_signal_in_noise():
    """As much as predicted; chosen after the split, the accuracy is 1/2."""
    scores = np.array([noise_accuracies(100, 1000, 10, s) for s in range(40)])
    errors = scores.std(axis=0) / np.sqrt(40)
    assert predicted_accuracy(100, 1000, 10) > 0.8
    expected = [predicted_accuracy(100, 1000, 10), 0.5]
    assert (np.abs(scores.mean(axis=0) - expected) < 4 * errors).all()


def test_the_prediction_is_the_integral_that_it_stands_for():
    """Worked out by numerical integration."""
    for share in (0.01, 0.2, 1.0):
        u = norm.isf(share / 2 / 2)
        below = quad(lambda v, u=u: (u + v) * norm.pdf(v), -20, u)[0]
        above = quad(lambda v, u=u: (u + v) * norm.pdf(v), u, 20)[0]
        expected = norm.cdf(np.sqrt(0.1) * (below - above))
        found = predicted_accuracy(100, 10 / share, 10, steps=1)
        assert found == pytest.approx(expected, rel=1e-6)


def test_with_nothing_to_choose_from_nothing_leaks():
    """Ten columns of ten: both accuracies are the same."""
    for seed in range(5):
        before, after = noise_accuracies(20, 10, 10, seed)
        assert before == after
    assert predicted_accuracy(100, 10, 10) == pytest.approx(0.5, abs=1e-3)


def test_target_encoding_is_the_mean_by_label():
    y = np.array([1.0, 3.0, 6.0])
    old, new = ["a", "a", "b"], ["b", "a", "c"]
    assert np.allclose(target_encode(old, y, new), [6, 2, 10 / 3])
    # With one example more at the mean: (1 + 3 + 10/3) / 3, ...
    expected = [(6 + 10 / 3) / 2, (4 + 10 / 3) / 3, 10 / 3]
    assert np.allclose(target_encode(old, y, new, 1.0), expected)
    with pytest.raises(AssertionError, match="3 labels, 2 values of y"):
        target_encode(old, y[:2], new)
    nothing = target_encode(old, y, np.array([], dtype=str))
    assert nothing.shape == (0,)


@few
@given(seeds, st.floats(0.1, 20))
def test_target_encoding_equals_scikit_learns(seed, smoothing):
    """At any smoothing, for labels that it never saw, too."""
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 6, 40), rng.integers(0, 8, 20)
    y = rng.normal(size=40)
    theirs = TargetEncoder(smooth=smoothing, target_type="continuous")
    expected = theirs.fit(old[:, None], y).transform(new[:, None])[:, 0]
    found = target_encode(old, y, new, smoothing)
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_gaps_get_the_mean_of_gaps_in_target_encoding():
    labels = ["a", None, np.nan, "a"]
    found = target_encode(labels, [1, 5, 7, 3], ["a", float("nan"), "b"])
    assert found.tolist() == [2, 6, 4]


def test_encoding_by_folds_never_shows_a_row_its_own_answer():
    """Change one answer: its own fold's codes stay, all others move."""
    rng = np.random.default_rng(0)
    names, y = np.array(["a"] * 23), rng.normal(size=23)
    before = target_encode_folds(names, y)
    assert len(np.unique(before)) == 5
    sizes = np.unique(before, return_counts=True)[1]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    for row in range(23):
        changed = y.copy()
        changed[row] += 1
        same = target_encode_folds(names, changed) == before
        assert same[row]
        assert np.array_equal(same, before == before[row])
        others = before != before[row]
        assert before[row] == pytest.approx(y[others].mean())
    other_folds = target_encode_folds(names, y, seed=1)
    assert not np.array_equal(other_folds, before)


def test_encoding_by_folds_passes_its_smoothing_on():
    y = np.arange(6.0)
    halves = target_encode_folds(np.array(list("aaabbb")), y, 2, 1e12)
    assert len(np.unique(halves.round(6))) == 2  # the two folds' means
    plain = target_encode_folds(np.array(list("aaabbb")), y, 2)
    assert not np.allclose(plain, halves)
    assert len(target_encode_folds(np.array(list("abcdef")), y, 6)) == 6


def test_names_encoded_from_all_rows_explain_shuffled_answers(cars):
    """R² above 0.6; encoded from other folds, none."""
    numbers = np.column_stack(
        [cars[name].astype(float) for name in list(cars)[:6]]
    )
    fuel = 235.2 / cars["mpg"].astype(float)
    noise = np.random.default_rng(0).permutation(fuel)
    plain, before, inside, folds = np.mean(
        [name_scores(numbers, cars["name"], noise, s) for s in range(4)], 0
    )
    assert before > 0.6
    assert inside < plain < 0.05
    assert abs(folds - plain) < 0.05
    plain, before, inside, folds = np.mean(
        [name_scores(numbers, cars["name"], fuel, s) for s in range(4)], 0
    )
    assert before > 0.95 > plain > 0.8
    assert inside < 0.5
    assert abs(folds - plain) < 0.02


def test_a_shuffled_table_is_read_by_place_and_not_by_label():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 3)), rng.integers(0, 256, 40)
    names = np.array(["a", "b", None, "c"], object)[rng.integers(0, 4, 40)]
    index = rng.permutation(40)
    table = pd.DataFrame(X.astype(np.uint8), index)
    column = pd.Series(y.astype(np.uint8), index[::-1])
    labels = pd.Series(names, index + 3)
    found = name_scores(table, labels, column, 0)
    assert np.allclose(found, name_scores(X / 1.0, names, y / 1.0, 0))
    found = target_encode_folds(labels, column)
    assert np.allclose(found, target_encode_folds(names, y / 1.0))
