"""Metrics, intervals, and what scikit-learn says at the edges."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from snippets.training import evaluation_metrics as lesson

classes = arrays(int, st.integers(1, 30), elements=st.integers(0, 3))


@st.composite
def labelled(draw):
    """Labels with both classes, and scores with ties."""
    n = draw(st.integers(2, 40))
    labels = draw(arrays(int, n, elements=st.integers(0, 1)))
    labels[:2] = 0, 1
    scores = draw(arrays(float, n, elements=st.integers(-3, 3).map(float)))
    return labels, scores


@given(classes, st.integers(0, 1000))
def test_confusion_matrix_and_rates_equal_scikit_learns(labels, seed):
    """For any labels and predictions; what is undefined is NaN."""
    guesses = np.random.default_rng(seed).integers(0, 4, len(labels))
    matrix = lesson.confusion_matrix(labels, guesses, 4)
    every = {"labels": range(4)}
    assert np.array_equal(
        matrix, metrics.confusion_matrix(labels, guesses, **every)
    )
    theirs = metrics.precision_recall_fscore_support(
        labels, guesses, **every, zero_division=np.nan
    )[:3]
    ours = lesson.precision_recall_f1(matrix)
    assert np.allclose(ours, theirs, equal_nan=True)


def test_a_class_that_is_not_there_is_refused():
    """And doesn't land in another cell."""
    with pytest.raises(AssertionError):
        lesson.confusion_matrix(np.array([0]), np.array([2]), 2)
    with pytest.raises(AssertionError):
        lesson.confusion_matrix(np.array([2, 0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="negative"):
        lesson.confusion_matrix(np.array([0]), np.array([-1]), 2)


@given(classes, st.integers(0, 1000))
def test_micro_f1_is_accuracy(labels, seed):
    """With one label for each example, each error counts twice."""
    guesses = np.random.default_rng(seed).integers(0, 4, len(labels))
    micro = metrics.f1_score(labels, guesses, average="micro")
    assert micro == pytest.approx(np.mean(labels == guesses))


@given(labelled())
def test_auc_is_the_probability_of_ranking_a_pair_right(data):
    """By area, by pairs, and by scikit-learn, with ties."""
    area = lesson.roc_auc(*data)
    assert area == pytest.approx(lesson.auc_by_pairs(*data))
    assert area == pytest.approx(metrics.roc_auc_score(*data))


@given(labelled())
def test_roc_and_average_precision_equal_scikit_learns(data):
    """All points, and no order among equal scores."""
    theirs = metrics.roc_curve(*data, drop_intermediate=False)[:2]
    assert np.allclose(lesson.roc_curve(*data), theirs)
    ours = lesson.average_precision(*data)
    assert ours == pytest.approx(metrics.average_precision_score(*data))
    backwards = [values[::-1] for values in data]
    assert ours == pytest.approx(lesson.average_precision(*backwards))


@given(labelled())
def test_only_the_order_of_scores_counts(data):
    """A rising function of the scores changes neither number."""
    labels, scores = data
    bent = np.exp(scores) - 7
    assert lesson.roc_auc(labels, bent) == lesson.roc_auc(labels, scores)
    assert lesson.average_precision(labels, bent) == (
        lesson.average_precision(labels, scores)
    )


def test_the_bootstrap_covers_what_it_should():
    """The interval of a mean of 80 numbers holds the true mean in 90 to
    98 of 100 samples.
    """
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        sample = rng.exponential(size=80)
        low, high = lesson.bootstrap(
            lambda rows, s=sample: s[rows].mean(), 80, seed, 300
        )
        covered += low < 1 < high
    assert 180 <= covered <= 196


def test_the_bootstrap_draws_rows_with_replacement():
    """n rows each time, some of them twice; and the same for a seed."""
    drawn = []
    lesson.bootstrap(lambda rows: drawn.append(rows) or 0.0, 50, 3, 20)
    assert len(drawn) == 20
    assert all(len(rows) == 50 for rows in drawn)
    assert all(len(set(rows)) < 45 for rows in drawn)
    values = lesson.bootstrap(np.mean, 50, 3), lesson.bootstrap(np.mean, 50, 3)
    assert np.array_equal(*values)
    assert values[0][0] < 24.5 < values[0][1]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_mcnemar_is_a_binomial_test_of_the_disagreements(a, b, both):
    """Equal to SciPy's; examples on which both agree change nothing."""
    right_a = np.repeat([True, False, True, False], [a, b, both, both])
    right_b = np.repeat([False, True, True, False], [a, b, both, both])
    p = lesson.mcnemar(right_a, right_b)
    expected = binomtest(a, a + b).pvalue if a + b else 1
    assert p == pytest.approx(expected)


def test_with_one_class_only_we_say_nan():
    """scikit-learn says NaN for AUC, and 0 or 1 for average precision."""
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    none, one = np.zeros(4, int), np.ones(4, int)
    for labels in (none, one):
        assert np.isnan(lesson.roc_auc(labels, scores))
        with pytest.warns(UndefinedMetricWarning, match="Only one class"):
            assert np.isnan(metrics.roc_auc_score(labels, scores))
    assert np.isnan(lesson.average_precision(none, scores))
    with pytest.warns(UserWarning, match="No positive class"):
        assert metrics.average_precision_score(none, scores) == 0
    assert lesson.average_precision(one, scores) == 1


def test_without_a_positive_prediction_precision_is_undefined():
    """NaN here; scikit-learn warns, and says 0 unless told otherwise."""
    one, no = np.ones(4, int), np.zeros(4, int)
    precision, recall, f1 = lesson.precision_recall_f1(
        lesson.confusion_matrix(one, no, 2)
    )
    assert np.isnan(precision[1])
    assert (recall[1], f1[1]) == (0, 0)
    with pytest.warns(UndefinedMetricWarning, match="no predicted samples"):
        assert metrics.precision_score(one, no) == 0
    assert np.isnan(metrics.precision_score(one, no, zero_division=np.nan))


def test_a_label_that_only_predictions_have_lowers_macro_recall():
    """And not balanced accuracy, which leaves the class out."""
    labels, guesses = [0, 0, 1, 1], [0, 0, 1, 2]
    with pytest.warns(UndefinedMetricWarning, match="no true samples"):
        macro = metrics.recall_score(labels, guesses, average="macro")
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        balanced = metrics.balanced_accuracy_score(labels, guesses)
    assert (macro, balanced) == (0.5, 0.75)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # this one warns of nothing
        assert metrics.f1_score(labels, guesses, average="macro") < 0.6


def test_accuracy_misleads_where_few_buy():
    """5,822 customers, 348 of them buyers, as published."""
    x, y = lesson.load_caravan()
    assert x.shape == (5822, 85)
    assert y.sum() == 348
    assert np.mean(y == 0) == pytest.approx(0.940, abs=5e-4)
