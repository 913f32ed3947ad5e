"""Reliability, temperature, and what a probability is worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from snippets.training import calibration as lesson

seeds = st.integers(0, 10_000)


def predictions(seed, n=200):
    """Confidences with some on a bin's edge, and whether they are right."""
    rng = np.random.default_rng(seed)
    confidence = np.r_[rng.random(n), rng.integers(0, 11, 20) / 10]
    return confidence, rng.random(n + 20) < 0.5


def logits_and_labels(seed, n=300, temperature=1.0):
    """Logits (n, 4), and labels drawn from their probabilities at T."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 3
    probabilities = softmax(logits / temperature, axis=1)
    labels = [rng.choice(4, p=row) for row in probabilities]
    return logits, np.array(labels)


@given(seeds, st.integers(1, 12))
def test_reliability_equals_scikit_learns_curve(seed, bins):
    """Bin by bin, but for the empty ones, which scikit-learn drops."""
    confidence, right = predictions(seed, n=8)
    count, mean, accuracy = lesson.reliability(confidence, right, bins)
    theirs = calibration_curve(right, confidence, n_bins=bins)
    full = count > 0
    assert len(count) == bins
    assert count.sum() == len(right)
    assert np.allclose(accuracy[full], theirs[0])
    assert np.allclose(mean[full], theirs[1])
    assert np.isnan(mean[~full]).all()
    assert np.isnan(accuracy[~full]).all()


def test_scikit_learn_leaves_empty_bins_out():
    """Two of ten bins have an example, and its arrays have two entries."""
    accuracy, _ = calibration_curve([0, 1], [0.05, 0.95], n_bins=10)
    assert len(accuracy) == 2
    count, *_ = lesson.reliability(np.array([0.05, 0.95]), np.array([0, 1]))
    assert count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


@given(seeds, st.integers(1, 12))
def test_ece_is_the_mean_gap_weighted_by_counts(seed, bins):
    """Against equation 3 of Guo 2017, a bin at a time."""
    confidence, right = predictions(seed)
    expected = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = (confidence > low) & (confidence <= high)
        inside |= (b == 0) & (confidence == 0)
        if inside.any():
            gap = right[inside].mean() - confidence[inside].mean()
            expected += inside.mean() * abs(gap)
    ours = lesson.calibration_error(confidence, right, bins)
    assert ours == pytest.approx(expected)


@given(seeds)
def test_nll_equals_scikit_learns_log_loss(seed):
    """For any logits and labels."""
    logits, labels = logits_and_labels(seed, n=20)
    theirs = log_loss(labels, softmax(logits, axis=1), labels=range(4))
    assert lesson.nll(logits, labels) == pytest.approx(theirs)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_drew_the_labels_is_found(true):
    """With 4,000 labels, to a tenth."""
    logits, labels = logits_and_labels(0, 4000, true)
    assert lesson.fit_temperature(logits, labels) == pytest.approx(
        true, rel=0.1
    )


@given(seeds)
def test_no_other_temperature_has_a_lower_nll(seed):
    """A grid around the one that is found."""
    logits, labels = logits_and_labels(seed, n=50, temperature=2)
    found = lesson.fit_temperature(logits, labels)
    best = lesson.nll(logits / found, labels)
    for factor in (0.5, 0.9, 1.1, 2):
        assert best <= lesson.nll(logits / (factor * found), labels) + 1e-6


@given(seeds, st.floats(0.1, 10))
def test_a_temperature_changes_no_prediction(seed, temperature):
    """And its probabilities are a softmax, whatever is added to a row."""
    logits, _ = logits_and_labels(seed, n=20)
    scaled = lesson.scaled(logits, temperature)
    assert np.array_equal(scaled.argmax(1), logits.argmax(1))
    assert np.allclose(scaled, softmax(logits / temperature, axis=1))
    assert np.allclose(
        scaled, lesson.scaled(log_softmax(logits, axis=1), temperature)
    )


def test_scikit_learn_finds_the_same_temperature():
    """For a frozen model, on held-out examples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    y = (x @ rng.normal(size=(6, 3)) + rng.gumbel(size=(400, 3))).argmax(1)
    model = LogisticRegression(C=100).fit(x[:30], y[:30])
    by_sklearn = CalibratedClassifierCV(
        FrozenEstimator(model), method="temperature"
    ).fit(x[30:], y[30:])
    logits = model.decision_function(x[30:])
    found = lesson.fit_temperature(logits, y[30:])
    assert found > 1.2
    assert np.allclose(
        by_sklearn.predict_proba(x[30:]),
        lesson.scaled(logits, found),
        atol=1e-3,
    )


def test_a_certain_mistake_costs_less_in_float32():
    """36 nats in float64 and 16 in float32: log_loss clips by precision."""
    never = np.zeros(2)
    both = [log_loss([1, 1], never, labels=[0, 1])]
    both.append(log_loss([1, 1], never.astype("float32"), labels=[0, 1]))
    assert both == pytest.approx([36.04, 15.94], abs=0.01)


def test_the_digits_are_split_without_overlap(monkeypatch):
    """Training, validation and test: 1,000, 500 and 3,500 images."""
    fitted = []
    data = lesson.mnist_data()  # it takes seconds to read
    monkeypatch.setattr(lesson, "mnist_data", lambda: data)

    class Network:
        def __init__(self, *args, **kwargs):
            # no weight decay, and until the loss falls no more
            assert kwargs == {"alpha": 0, "max_iter": 400, "random_state": 3}

        def fit(self, images, digits):
            fitted.append((images, digits))

    monkeypatch.setattr(lesson, "MLPClassifier", Network)
    _, valid, test = lesson.fit_digits(3)
    parts = [fitted[0], valid, test]
    assert [len(labels) for _, labels in parts] == [1000, 500, 3500]
    images = np.concatenate([part for part, _ in parts])
    assert images.max() == 1
    everything = np.sort(lesson.mnist_data()[0].sum(1)) / 255
    assert np.allclose(np.sort(images.sum(1)), everything)
    assert not np.array_equal(valid[1], lesson.fit_digits(3)[2][1][:500])
