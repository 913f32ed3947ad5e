"""Losses and their gradients, and what they do to spoilt data."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from threadpoolctl import threadpool_limits

from snippets.fundamentals.loss_functions import (
    cross_entropy,
    fit_linear,
    focal,
    hinge,
    huber,
    kl_divergence,
    log_softmax,
    mae,
    mislabel,
    mse,
    naive_softmax,
    pinball,
    predict,
    slip,
)

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These matrices are small: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X / X.std(axis=0), y


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels


def agree(ours, theirs, outputs, truth):
    """Assert that value and gradient equal PyTorch's to 1e-12."""
    value, gradient = ours(outputs, truth)
    z = torch.tensor(outputs, requires_grad=True)
    loss = theirs(z, torch.tensor(truth))
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(
        gradient, z.grad.numpy(), rtol=1e-10, atol=1e-14
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 30), st.floats(0.05, 5))
def test_losses_for_numbers_are_pytorchs(seed, n, delta):
    """Squared, absolute and Huber error, for any data and delta."""
    rng = np.random.default_rng(seed)
    prediction, target = 2 * rng.normal(size=(2, n))
    agree(mse, F.mse_loss, prediction, target)
    agree(mae, F.l1_loss, prediction, target)
    agree(
        lambda p, t: huber(p, t, delta),
        lambda p, t: F.huber_loss(p, t, delta=delta),
        *(prediction, target),
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(2, 6), st.floats(0, 1))
def test_cross_entropy_is_pytorchs_with_any_smoothing(seed, n, k, smoothing):
    """Value and gradient, for any number of classes and any smoothing."""
    rng = np.random.default_rng(seed)
    logits, labels = 5 * rng.normal(size=(n, k)), rng.integers(k, size=n)
    agree(
        lambda z, y: cross_entropy(z, y, smoothing),
        lambda z, y: F.cross_entropy(z, y, label_smoothing=smoothing),
        *(logits, labels),
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(2, 6), st.floats(0.1, 3))
def test_hinge_is_pytorchs_with_any_margin(seed, n, k, margin):
    """Value and gradient of the loss that sums over all other classes."""
    rng = np.random.default_rng(seed)
    logits, labels = 2 * rng.normal(size=(n, k)), rng.integers(k, size=n)
    agree(
        lambda z, y: hinge(z, y, margin),
        lambda z, y: F.multi_margin_loss(z, y, margin=margin),
        *(logits, labels),
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(2, 6))
def test_kl_divergence_is_pytorchs(seed, n, k):
    """Per example, and also where the truth gives a class no chance."""
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(size=(n, k)), rng.random((n, k))
    truth[:, 0] = 0
    truth /= truth.sum(axis=1, keepdims=True)
    agree(
        kl_divergence,
        lambda z, t: F.kl_div(z.log_softmax(1), t, reduction="batchmean"),
        *(logits, truth),
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(2, 6), st.floats(0, 5))
def test_focal_loss_has_the_gradient_of_its_formula(seed, n, k, gamma):
    """PyTorch differentiates the published formula, and gets the same."""
    rng = np.random.default_rng(seed)
    logits, labels = 2 * rng.normal(size=(n, k)), rng.integers(k, size=n)

    def formula(z, y):
        loss = F.cross_entropy(z, y, reduction="none")
        return ((1 - torch.exp(-loss)) ** gamma * loss).mean()

    agree(lambda z, y: focal(z, y, gamma), formula, logits, labels)


def test_focal_loss_without_gamma_is_cross_entropy():
    """Value and gradient, and certainty costs nothing and pulls at nothing."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 4)), rng.integers(4, size=9)
    ours, plain = focal(logits, labels, 0.0), cross_entropy(logits, labels)
    assert ours[0] == pytest.approx(plain[0], rel=1e-14)
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-12)
    for gamma in (0.5, 1.0, 2.0):
        sure = focal(np.array([[1e3, 0.0]]), np.array([0]), gamma)
        assert sure[0] == 0.0
        assert sure[1].tolist() == [[0.0, 0.0]]


def test_the_losses_of_two_errors_are_those_worked_by_hand():
    """Errors of 0.5 and -3: squares sum to 9.25, Huber's terms to 2.625."""
    prediction, target = np.array([1.5, 0.0]), np.array([1.0, 3.0])
    assert mse(prediction, target)[0] == 4.625
    assert mae(prediction, target)[0] == 1.75
    assert huber(prediction, target)[0] == (0.125 + 2.5) / 2
    assert huber(prediction, target)[1].tolist() == [0.25, -0.5]
    assert pinball(prediction, target, 0.9)[0] == pytest.approx(
        (0.1 * 0.5 + 0.9 * 3) / 2
    )
    assert pinball(prediction, target, 0.9)[1] == pytest.approx([0.05, -0.45])


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.1, 10))
def test_hubers_loss_lies_between_its_parents(seed, delta):
    """Never above half the square, nor above delta times the absolute."""
    prediction, target = 3 * np.random.default_rng(seed).normal(size=(2, 20))
    value, gradient = huber(prediction, target, delta)
    assert value <= mse(prediction, target)[0] / 2 + 1e-12
    assert value <= delta * mae(prediction, target)[0] + 1e-12
    assert np.abs(gradient).max() <= delta / 20 + 1e-15


def test_the_naive_softmax_overflows_and_the_stable_one_does_not():
    """A lead of 1000 is NaN and infinity naively, and 1000 as it should be."""
    logits = np.array([0.0, 1000.0])
    with np.errstate(all="ignore"):
        naive = naive_softmax(logits)
        loss = -np.log(naive[0])
    assert np.isnan(naive[1])
    assert np.isinf(loss)
    assert log_softmax(logits).tolist() == [-1000.0, 0.0]
    with np.errstate(all="ignore"):
        naive = naive_softmax(np.array([0.0, 100.0], dtype=np.float32))
    assert np.isnan(naive[1])
    single = log_softmax(np.array([0.0, 100.0], dtype=np.float32))
    assert single.dtype == np.float32
    assert single.tolist() == [-100.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(-1e6, 1e6))
def test_a_shift_of_all_logits_changes_nothing(seed, shift):
    """Softmax sees differences alone, and its chances sum to one."""
    logits = np.random.default_rng(seed).normal(size=(3, 4))
    np.testing.assert_allclose(
        log_softmax(logits + shift), log_softmax(logits), atol=1e-9
    )
    np.testing.assert_allclose(np.exp(log_softmax(logits)).sum(axis=1), 1)
    np.testing.assert_allclose(naive_softmax(logits).sum(axis=1), 1)
    np.testing.assert_allclose(
        np.log(naive_softmax(logits)), log_softmax(logits), atol=1e-12
    )


def test_cross_entropy_is_divergence_plus_the_truths_entropy():
    """So smoothed labels leave a floor of 0.5003 nats over ten classes."""
    truth = np.full((1, 10), 0.01)
    truth[0, 0] = 0.91
    entropy = -np.sum(truth * np.log(truth))
    logits = np.random.default_rng(1).normal(size=(1, 10))
    loss, gradient = cross_entropy(logits, np.array([0]), smoothing=0.1)
    divergence = kl_divergence(logits, truth)
    assert loss == pytest.approx(divergence[0] + entropy, rel=1e-12)
    np.testing.assert_allclose(gradient, divergence[1], atol=1e-15)
    floor, still = cross_entropy(np.log(truth), np.array([0]), smoothing=0.1)
    assert floor == pytest.approx(0.5003, abs=1e-4)
    assert np.abs(still).max() < 1e-15


def test_two_softmaxes_leave_a_floor_of_146_for_ten_classes():
    """Chances as logits lead by 1 at most: log(1 + 9 / e) is the least."""
    chances = np.eye(10)[:1]
    loss, _ = cross_entropy(chances, np.array([0]))
    assert loss == pytest.approx(np.log(1 + 9 / np.e), rel=1e-12)
    assert loss == pytest.approx(1.46, abs=0.005)


def test_hinge_is_content_with_the_margin():
    """At a lead of 1 it costs nothing; at 0.5 it costs 0.5 / 2 for k = 2."""
    truth = np.array([1])
    assert hinge(np.array([[0.0, 1.0]]), truth)[0] == 0.0
    assert hinge(np.array([[0.0, 1.0]]), truth)[1].tolist() == [[0.0, 0.0]]
    assert hinge(np.array([[0.0, 0.5]]), truth)[0] == 0.25
    assert hinge(np.array([[0.0, 0.5]]), truth)[1].tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (huber, (1.0,)),
        (cross_entropy, (0.0,)),
        (hinge, (1.0,)),
        (focal, (2.0,)),
        (fit_linear, ((), 0.0, 400)),
        (pinball, (0.5,)),
    ],
)
def test_defaults_are_those_the_page_relies_on(function, defaults):
    """The page's numbers hold for these defaults and no others."""
    assert function.__defaults__ == defaults


def test_the_best_constants_are_mean_median_and_quantile(diabetes):
    """Without features, each loss picks its own middle of the targets."""
    _, y = diabetes
    nothing = np.zeros((len(y), 0))
    assert fit_linear(mse, nothing, y)[0] == pytest.approx(y.mean())
    median = fit_linear(mae, nothing, y)[0]
    assert np.mean(y < median) <= 0.5 <= np.mean(y <= median + 1e-6)
    found = fit_linear(lambda p, t: pinball(p, t, 0.9), nothing, y)[0]
    assert found == pytest.approx(np.quantile(y, 0.9), abs=3)
    assert fit_linear(mse, nothing, y).shape == (1,)


def test_squares_and_penalty_give_the_ridge_solution(diabetes):
    """The closed form of mean square plus half the penalty, bias free."""
    X, y = diabetes
    X1 = np.column_stack([X, np.ones(len(y))])
    ridge = np.diag([0.3] * 10 + [0.0])
    exact = np.linalg.solve(
        2 * X1.T @ X1 / len(y) + ridge, 2 * X1.T @ y / len(y)
    )
    weights = fit_linear(mse, X, y, penalty=0.3, steps=1000)
    np.testing.assert_allclose(weights, exact, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(predict(exact, X), X1 @ exact, rtol=1e-12)


def test_cross_entropy_and_penalty_give_scikit_learns_fit(digits):
    """The chances of a fit to real digits equal the library's to 1e-3."""
    images, labels = (part[:300] for part in digits)
    weights = fit_linear(cross_entropy, images, labels, (10,), 0.01)
    library = LogisticRegression(C=1 / (0.01 * 300), tol=1e-6, max_iter=1000)
    library.fit(images, labels)
    chances = np.exp(log_softmax(predict(weights, images)))
    np.testing.assert_allclose(
        chances, library.predict_proba(images), atol=1e-3
    )


def test_more_steps_get_lower():
    """One step of the fit is not enough, and the number of steps counts."""
    X = np.random.default_rng(0).normal(size=(50, 5))
    y = X @ np.arange(5.0)
    losses = [
        mse(predict(fit_linear(mse, X, y, steps=steps), X), y)[0]
        for steps in (1, 2, 50)
    ]
    assert losses[0] > losses[1] > 1e4 * losses[2]


def test_pinball_finds_scikit_learns_quantiles(diabetes):
    """Its value at the fit is within two percent of the exact least."""
    X, y = diabetes
    for quantile in (0.1, 0.9):
        loss = lambda p, t, q=quantile: pinball(p, t, q)  # noqa: E731
        ours = predict(fit_linear(loss, X, y / 100), X)
        exact = QuantileRegressor(quantile=quantile, alpha=0).fit(X, y / 100)
        least = loss(exact.predict(X), y / 100)[0]
        assert least - 1e-9 <= loss(ours, y / 100)[0] < 1.02 * least


def test_half_the_absolute_error_is_the_median_pinball():
    """With quantile 1/2 both sides cost the same, a half."""
    prediction, target = np.random.default_rng(0).normal(size=(2, 50))
    assert pinball(prediction, target)[0] == pytest.approx(
        mae(prediction, target)[0] / 2, rel=1e-12
    )
    tie = pinball(np.array([2.0]), np.array([2.0]), 0.3)
    assert tie[0] == 0.0
    assert tie[1] == pytest.approx([-0.3])


def test_spoiling_hits_the_share_asked_for():
    """Slipped targets are ten times as large; wrong labels all differ."""
    target = np.arange(1.0, 10_001)
    spoilt = slip(target, 0.2, seed=0)
    hit = spoilt != target
    assert hit.mean() == pytest.approx(0.2, abs=0.015)
    np.testing.assert_array_equal(spoilt[hit], 10 * target[hit])
    assert np.array_equal(slip(target, 0.0, 0), target)
    labels = np.random.default_rng(1).integers(10, size=10_000)
    wrong = mislabel(labels, 0.4, 10, seed=0)
    changed = wrong != labels
    assert changed.mean() == pytest.approx(0.4, abs=0.015)
    assert set(wrong) == set(range(10))
    shifts = np.bincount((wrong - labels)[changed] % 10, minlength=10)
    assert shifts[0] == 0
    assert shifts[1:].min() > 350
    assert np.array_equal(mislabel(labels, 0.0, 10, 0), labels)


def test_spoilt_targets_ruin_squares_and_not_the_others(diabetes):
    """With one target in ten spoilt, Huber's test error is under half."""
    X, y = diabetes

    def error(loss, share, seed):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:300], order[300:]
        target = slip(y[train], share, seed) / 100
        outputs = predict(fit_linear(loss, X[train], target), X[test])
        return np.mean(np.abs(100 * outputs - y[test]))

    for share, low, high in ((0.0, 0.95, 1.05), (0.1, 2.0, 5.0)):
        squares, robust, absolute = (
            np.mean([error(loss, share, seed) for seed in range(5)])
            for loss in (mse, huber, mae)
        )
        assert low < squares / robust < high
        assert low - 0.1 < squares / absolute < high


def test_focal_loss_suffers_from_wrong_labels(digits):
    """On the same splits, plain cross-entropy and a penalty do better."""
    images, labels = digits
    gains = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(labels))
        train, test = order[:600], order[600:]
        wrong = mislabel(labels[train], 0.4, 10, seed)
        right = []
        for loss, penalty in (
            (focal, 1e-3),
            (cross_entropy, 1e-3),
            (cross_entropy, 1e-2),
        ):
            weights = fit_linear(loss, images[train], wrong, (10,), penalty)
            guesses = predict(weights, images[test]).argmax(axis=1)
            right.append(np.mean(guesses == labels[test]))
        gains.append(np.diff(right))
    assert np.all(np.array(gains) > 0.01)


NUMBERS = np.array([1.0, 2.0])


@pytest.mark.parametrize("loss", [mse, mae, huber, pinball])
@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (NUMBERS[:, None], NUMBERS, r"prediction must be \(2,\).* \(2, 1\)"),
        (NUMBERS, NUMBERS[:, None], r"target must be \(2,\).* is \(2, 1\)"),
        (NUMBERS[:1], NUMBERS, r"prediction must be \(2,\).* is \(1,\)"),
        (NUMBERS[:0], NUMBERS[:0], r"target must be \(0,\) and not empty"),
        (NUMBERS, NUMBERS * np.nan, r"target must be finite, but holds nan"),
        (NUMBERS * np.inf, NUMBERS, r"prediction must be finite.* holds inf"),
    ],
)
def test_what_has_no_error_is_refused(loss, prediction, target, message):
    """Each message names the argument, what it must be, and what it is."""
    with pytest.raises(ValueError, match=message):
        loss(prediction, target)


@pytest.mark.parametrize("loss", [mse, mae, huber])
def test_lists_have_no_error(loss):
    """What is no array is named."""
    for name in ("prediction", "target"):
        given = {"prediction": NUMBERS, "target": NUMBERS, name: [1.0, 2.0]}
        message = f"{name} must be an array, but is <class 'list'>"
        with pytest.raises(TypeError, match=message):
            loss(**given)


@pytest.mark.parametrize("loss", [cross_entropy, hinge, focal])
def test_lists_are_no_logits_and_no_labels(loss):
    """What is no array is named."""
    for name in ("logits", "labels"):
        given = {"logits": np.eye(2), "labels": np.array([0, 1])}
        given[name] = given[name].tolist()
        message = f"{name} must be an array, but is <class 'list'>"
        with pytest.raises(TypeError, match=message):
            loss(**given)


@pytest.mark.parametrize("name", ["logits", "truth"])
def test_lists_have_no_divergence(name):
    """What is no array is named."""
    given = {"logits": np.eye(2), "truth": np.eye(2), name: [[1.0, 0.0]]}
    message = f"{name} must be an array, but is <class 'list'>"
    with pytest.raises(TypeError, match=message):
        kl_divergence(**given)


@pytest.mark.parametrize("loss", [cross_entropy, hinge, focal])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([1.0, 2.0], [0, 1], r"logits must be \(n, k\) with k > 1.* \(2,\)"),
        ([[1.0], [2.0]], [0, 0], r"with k > 1, but is \(2, 1\)"),
        (np.zeros((0, 3)), [], r"logits must be \(0, 3\) and not empty"),
        ([[1.0, np.nan]], [0], r"logits must be finite, but holds nan"),
        ([[1.0, 2.0]], [0, 1], r"labels must be \(1,\).* but is \(2,\)"),
        ([[1.0, 2.0]], [[0]], r"labels must be \(1,\).* but is \(1, 1\)"),
        ([[1.0, 2.0]], [2], r"labels must be 0 to 1, but one is 2"),
        ([[1.0, 2.0]], [-1], r"labels must be 0 to 1, but one is -1"),
        ([[1.0, 2.0]], [0.5], r"labels must be 0 to 1, but one is 0.5"),
        ([[1.0, 2.0]], [1.0], r"labels must be integers, but are float64"),
        (np.eye(2), [True, False], r"must be integers, but are bool"),
    ],
)
def test_what_is_no_label_is_refused(loss, logits, labels, message):
    """Each message names the argument, what it must be, and what it is."""
    with pytest.raises(ValueError, match=message):
        loss(np.array(logits), np.array(labels))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([[0.5, 0.6]], r"sum to 1, but .* sums are 1.1 to 1.1"),
        ([[1.1, -0.1]], r"but its least is -0.1"),
        ([[0.5, 0.499]], r"sums are 0.999 to 0.999"),
        ([0.5, 0.5], r"truth must be \(1, 2\).* but is \(2,\)"),
        ([[np.nan, 0.5]], r"truth must be finite, but holds nan"),
    ],
)
def test_what_is_no_distribution_is_refused(truth, message):
    """Rows of chances sum to one, to a millionth, and none is negative."""
    with pytest.raises(ValueError, match=message):
        kl_divergence(np.zeros((1, 2)), np.array(truth))
    assert kl_divergence(np.zeros((1, 2)), np.array([[0.0, 1 - 9e-7]]))
    with pytest.raises(ValueError, match="sum to 1"):
        kl_divergence(np.zeros((1, 2)), np.array([[0.0, 1 - 1.5e-6]]))
    with pytest.raises(ValueError, match="logits must be finite"):
        kl_divergence(np.array([[np.inf, 0.0]]), np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="not empty"):
        kl_divergence(np.zeros((0, 2)), np.zeros((0, 2)))


def test_settings_out_of_range_are_refused():
    """Each setting's message names its bounds, and what it was."""
    X, target = np.ones((2, 1)), np.array([0.0, 1.0])
    for penalty in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"0 or more, but is {penalty}"):
            fit_linear(mse, X, target, penalty=penalty)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"0 to 1, but is {share}"):
            slip(target, share, 0)
        with pytest.raises(ValueError, match=f"0 to 1, but is {share}"):
            mislabel(np.array([0, 1]), share, 2, 0)
    logits, labels = np.zeros((1, 2)), np.array([0])
    for margin in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"0 or more, but is {margin}"):
            hinge(logits, labels, margin)
    for delta in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"above 0, but is {delta}"):
            huber(NUMBERS, NUMBERS, delta)
    for smoothing in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"0 to 1, but is {smoothing}"):
            cross_entropy(logits, labels, smoothing)
    for gamma in (-0.5, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"0 or more, but is {gamma}"):
            focal(logits, labels, gamma)
    for quantile in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match=f"0 to 1, but is {quantile}"):
            pinball(NUMBERS, NUMBERS, quantile)
    for smoothing in (0.0, 1.0):
        assert cross_entropy(logits, labels, smoothing)[0] > 0


def test_small_integers_do_not_wrap_around():
    """Bytes 1 and 3 are 2 apart, and not 254."""
    small, large = (np.array([n], dtype=np.uint8) for n in (1, 3))
    assert mse(small, large)[0] == 4.0
    assert mae(small, large)[1].tolist() == [-1.0]


SCORES = np.array([[200, 0, 100], [3, 250, 20], [5, 6, 7]])
CLASSES = np.array([2, 1, 0])


@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy,
        focal,
        lambda z, y: hinge(z, y, 1),
        lambda z, y: kl_divergence(z, np.eye(3, dtype=np.uint8)[y]),
    ],
)
@pytest.mark.parametrize(
    "scores",
    [SCORES.astype(np.uint8), (250 * (SCORES - 125)).astype(np.int16)],
)
def test_logits_of_few_bits_cost_what_floats_cost(loss, scores):
    """The difference of two bytes can be below zero, where bytes aren't."""
    loss_of_few_bits = loss(scores, CLASSES.astype(np.uint8))
    for found, expected in zip(
        loss_of_few_bits, loss(scores.astype(float), CLASSES), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_softmax_of_bytes_is_that_of_floats():
    """NumPy's exp of a byte has 16 bits, and is infinite from 12 on."""
    bytes_ = np.array([[20, 18, 0]], np.uint8)
    expected = np.exp([[20.0, 18, 0]]) / np.exp([20.0, 18, 0]).sum()
    np.testing.assert_allclose(naive_softmax(bytes_), expected, rtol=1e-12)
    np.testing.assert_allclose(log_softmax(bytes_), np.log(expected))


def test_a_slipped_byte_is_ten_times_as_large():
    """Ten times 200 is 2000, which no byte holds."""
    assert slip(np.full(5, 200, np.uint8), 1.0, 0).tolist() == [2000] * 5
