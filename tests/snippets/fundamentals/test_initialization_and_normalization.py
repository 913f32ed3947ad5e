"""Initial weights and normalization layers."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from snippets.fundamentals.backpropagation import (
    Tensor,
    backward,
    relu,
    tanh,
)
from snippets.fundamentals.initialization_and_normalization import (
    BatchNorm,
    activations,
    deep_weights,
    draw,
    gradient_sizes,
    layer_norm,
    logits,
    mean_cosine,
    next_cosine,
    orthogonal,
    residual_logits,
    rms_norm,
    standardise,
    train,
)
from snippets.fundamentals.neural_network import cross_entropy


def rms(array):
    return np.mean(array**2) ** 0.5


@pytest.fixture(scope="module")
def digits():
    X, labels = load_digits(return_X_y=True)
    return (X - X.mean()) / X.std(), labels


@pytest.mark.parametrize(
    ("rule", "deviation"), [("xavier", 0.05), ("he", 0.1), (0.3, 0.3)]
)
def test_weights_have_the_deviation_of_their_rule(rule, deviation):
    """Into 200 from 600: 2 / 800 for Xavier, and 2 / 200 for He."""
    drawn = draw(200, 600, rule, np.random.default_rng(0))
    assert drawn.shape == (200, 600)
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    assert abs(drawn.mean()) < 0.02 * deviation


def test_a_deviation_of_zero_gives_zeros():
    """Zero is a deviation like any other."""
    assert not draw(1, 1, 0, np.random.default_rng(0)).any()


@pytest.mark.parametrize(
    ("fans", "rule", "message"),
    [
        ((0, 3), "he", "at least 1, got 0 and 3"),
        ((3, 0), "he", "at least 1, got 3 and 0"),
        ((3, 3), "kaiming", "rule: expected .* got 'kaiming'"),
        ((3, 3), -0.1, "rule: expected .* got -0.1"),
        ((3, 3), np.inf, "rule: expected .* got inf"),
        ((3, 3), np.nan, "rule: expected .* got nan"),
    ],
)
def test_a_wrong_draw_is_refused(fans, rule, message):
    """Empty layers, unknown rules and impossible deviations are errors."""
    with pytest.raises(ValueError, match=message):
        draw(*fans, rule, np.random.default_rng(0))


def test_weights_join_neighbours_and_follow_the_seed():
    """Shapes are pairs of sizes; seed 0 is the default; draws differ."""
    first, second, third = deep_weights([4, 3, 3, 3], "he")
    assert (first.shape, second.shape) == ((4, 3), (3, 3))
    assert first.requires_grad
    assert not np.array_equal(second.data, third.data)
    again = deep_weights([4, 3, 3, 3], "he", seed=0)
    np.testing.assert_array_equal(first.data, again[0].data)
    other = deep_weights([4, 3, 3, 3], "he", seed=1)
    assert not np.array_equal(first.data, other[0].data)
    with pytest.raises(ValueError, match=r"at least two, got \[4\]"):
        deep_weights([4], "he")
    assert len(deep_weights([4, 2], "he")) == 1


def test_each_layer_is_matrix_then_norm_then_activation():
    """ReLU and no norm unless told otherwise; the input comes first."""
    X = np.array([[1.0, -2.0], [3.0, 0.5]])
    weights = deep_weights([2, 4, 3], "he")
    a, b = (w.data for w in weights)
    first, second, third = (h.data for h in activations(X, weights))
    np.testing.assert_array_equal(first, X)
    np.testing.assert_allclose(second, np.maximum(X @ a, 0))
    np.testing.assert_allclose(third, np.maximum(second @ b, 0))
    norms = [lambda h: h * 2.0, lambda h: h + 1.0]
    *_, last = activations(X, weights, tanh, norms)
    expected = np.tanh(np.tanh(2 * X @ a) @ b + 1)
    np.testing.assert_allclose(last.data, expected)


def test_he_keeps_the_mean_square_through_fifty_relu_layers(digits):
    """On average over networks; Xavier halves it, layer by layer."""
    X, sizes = digits[0][:50], [64] + 50 * [64]

    def mean_square(rule):
        ends = [
            rms(activations(X, deep_weights(sizes, rule, seed))[-1].data)
            for seed in range(40)
        ]
        return np.mean(np.square(ends))

    # The square of one network spreads by about exp(sqrt(5 * 50 / 64)).
    assert 0.3 < mean_square("he") < 3
    assert 0.3 < mean_square("xavier") * 2.0**50 < 3


def test_the_gradient_keeps_its_size_with_he_too(digits):
    """Between layers 5 and 45 its size changes by a factor below 3."""
    X, labels = digits[0][:100], digits[1][:100]
    sizes = [64] + 50 * [64] + [10]
    sizes_of = [
        gradient_sizes(X, labels, deep_weights(sizes, "he", seed))
        for seed in range(10)
    ]
    typical = np.exp(np.log(sizes_of).mean(axis=0))
    assert 1 / 3 < typical[5] / typical[45] < 3


def test_gradient_sizes_are_those_of_torch(digits):
    """The typical gradient of each matrix, and none is left behind."""
    X, labels = digits[0][:30], digits[1][:30]
    weights = deep_weights([64, 20, 15, 10], "he")
    theirs = [torch.tensor(w.data, requires_grad=True) for w in weights]
    hidden = torch.tensor(X)
    for w in theirs[:-1]:
        hidden = torch.relu(hidden @ w)
    scores = hidden @ theirs[-1]
    torch.nn.functional.cross_entropy(scores, torch.tensor(labels)).backward()
    ours = gradient_sizes(X, labels, weights)
    expected = [rms(w.grad.numpy()) for w in theirs]
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    assert all(w.grad is None for w in weights)
    normed = gradient_sizes(X, labels, weights, [BatchNorm(20), BatchNorm(15)])
    assert not np.allclose(normed, expected, rtol=0.01)


def test_the_logits_come_from_a_linear_last_layer(digits):
    """The last matrix has no activation behind it, and no norm."""
    X, weights = digits[0][:5], deep_weights([64, 8, 10], "he")
    hidden = activations(X, weights[:-1])[-1].data
    expected = hidden @ weights[-1].data
    np.testing.assert_allclose(logits(X, weights).data, expected)
    doubled = logits(X, weights, [lambda h: h * 2.0]).data
    np.testing.assert_allclose(doubled, 2 * expected)


def test_the_mean_cosine_leaves_out_each_row_with_itself():
    """Of three rows, at 0, 90 and 180 degrees: (0 - 1 + 0) / 3."""
    rows = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    assert mean_cosine(rows) == pytest.approx(-1 / 3)


@settings(max_examples=15)
@given(st.floats(-0.95, 0.95))
def test_next_cosine_is_what_a_wide_layer_does(cosine):
    """Two unit vectors at that cosine, through 40,000 random ReLU units."""
    pair = np.array([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]])
    units = np.random.default_rng(0).normal(size=(2, 40_000))
    after = mean_cosine(np.maximum(pair @ units, 0))
    assert after == pytest.approx(next_cosine(cosine), abs=0.02)


def test_a_relu_network_makes_all_inputs_alike(digits):
    """The cosine only grows, to one; layer norm doesn't stop it."""
    cosine = 0.0
    for _ in range(200):
        assert next_cosine(cosine) > cosine
        cosine = next_cosine(cosine)
    assert cosine > 0.99
    X, weights = digits[0][:50], deep_weights([64] + 50 * [64], "he")
    norm = 50 * [lambda a: standardise(a, -1)]
    assert mean_cosine(X) < 0.6
    assert mean_cosine(activations(X, weights)[-1].data) > 0.95
    assert mean_cosine(activations(X, weights, norms=norm)[-1].data) > 0.95


def test_batch_norm_keeps_inputs_apart_and_blows_up_the_gradient(digits):
    """Cosine near 1 / pi; a factor near sqrt(pi / (pi - 1)) a layer."""
    X, labels = digits[0][:200], digits[1][:200]
    weights = deep_weights([64] + 50 * [100] + [10], "he")
    norms = [BatchNorm(100) for _ in range(50)]
    last = activations(X, weights[:-1], norms=norms)[-1].data
    assert mean_cosine(last) == pytest.approx(1 / np.pi, abs=0.05)
    sizes = gradient_sizes(X, labels, weights, norms)
    growth = (sizes[5] / sizes[45]) ** (1 / 40)
    assert growth == pytest.approx((np.pi / (np.pi - 1)) ** 0.5, abs=0.03)


def gradients(function, arrays, pulled):
    """Output of a function of tensors, and the gradient in each array."""
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    out = function(*leaves)
    backward(out, pulled)
    return [out.data] + [leaf.grad for leaf in leaves]


def torch_gradients(function, arrays, pulled):
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = function(*leaves)
    out.backward(torch.tensor(pulled))
    return [out.detach().numpy()] + [leaf.grad.numpy() for leaf in leaves]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


F = torch.nn.functional


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 9))
def test_layer_norm_is_torchs(seed, n, width):
    """Outputs, and gradients in input, gain and shift; the default eps."""
    rng = np.random.default_rng(seed)
    a, pulled = rng.normal(1, 2, (2, n, 3, width))  # as (batch, seq, width)
    arrays = [a, rng.normal(size=width), rng.normal(size=width)]
    assert_same(
        gradients(layer_norm, arrays, pulled),
        torch_gradients(
            lambda *x: F.layer_norm(x[0], (width,), *x[1:]), arrays, pulled
        ),
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 9))
def test_rms_norm_is_torchs(seed, n, width):
    """Outputs, and gradients in input and gain; eps is 1e-5."""
    rng = np.random.default_rng(seed)
    a, pulled = rng.normal(1, 2, (2, n, 3, width))  # as (batch, seq, width)
    arrays = [a, rng.normal(size=width)]
    assert_same(
        gradients(rms_norm, arrays, pulled),
        torch_gradients(
            lambda x, g: F.rms_norm(x, (width,), g, 1e-5), arrays, pulled
        ),
    )


def test_norms_take_another_eps():
    """With eps of 1 and entries of size 1, outputs shrink by sqrt(2)."""
    a, one = Tensor([[1.0, -1.0]]), np.ones(2)
    half = [[0.5**0.5, -(0.5**0.5)]]
    for out in (
        layer_norm(a, one, 0 * one, eps=1.0),
        rms_norm(a, one, eps=1.0),
    ):
        np.testing.assert_allclose(out.data, half)
    exact = standardise(a, -1, eps=0)
    np.testing.assert_array_equal(exact.data, a.data)
    by_default = standardise(a, -1).data[0, 0]
    assert by_default == pytest.approx((1 + 1e-5) ** -0.5, rel=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 6))
def test_batch_norm_is_torchs_in_training_and_after(seed, n, width):
    """Outputs, gradients and running averages over three batches."""
    rng = np.random.default_rng(seed)
    ours, theirs = BatchNorm(width), torch.nn.BatchNorm1d(width).double()
    ours.gain = Tensor(rng.normal(size=width), requires_grad=True)
    theirs.weight.data = torch.tensor(ours.gain.data.copy())
    for training in (True, True, True, False):
        ours.training = training
        theirs.train(training)
        a, pulled = rng.normal(1, 2, (2, n, width))
        assert_same(
            gradients(ours, [a], pulled), torch_gradients(theirs, [a], pulled)
        )
        np.testing.assert_allclose(ours.mean, theirs.running_mean)
        np.testing.assert_allclose(ours.variance, theirs.running_var)
        assert_same(
            [ours.gain.grad, ours.shift.grad],
            [theirs.weight.grad, theirs.bias.grad],
        )


def test_batch_norm_takes_another_momentum_and_eps():
    """Momentum 1 keeps the last batch's; an eps counts in both modes."""
    norm = BatchNorm(1, momentum=1.0, eps=1.0)
    out = norm(Tensor([[2.0], [4.0]])).data
    np.testing.assert_allclose(out, [[-(0.5**0.5)], [0.5**0.5]])
    assert (norm.mean, norm.variance) == ([3.0], [2.0])
    norm.training = False
    np.testing.assert_allclose(norm(Tensor([[6.0]])).data, [[3**0.5]])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_norms_undo_scale_and_shift(seed, scale, shift):
    """Layer and batch norm undo both; RMS norm undoes the scale alone."""
    a = np.random.default_rng(seed).normal(size=(7, 5))
    moved = scale * a + shift
    for axis in (0, -1):
        plain, same = (standardise(Tensor(x), axis, 0) for x in (a, moved))
        np.testing.assert_allclose(same.data, plain.data, atol=1e-9)
    plain, scaled = (
        standardise(Tensor(x), -1, 0, centre=False) for x in (a, scale * a)
    )
    np.testing.assert_allclose(scaled.data, plain.data, atol=1e-9)


def test_larger_weights_get_smaller_gradients_before_a_norm():
    """Weights twice as large: the same output, and half the gradient."""
    rng = np.random.default_rng(0)
    X, weights, pulled = rng.normal(size=(3, 5, 5))

    def normed(w):
        return standardise(X @ w, -1, eps=0)

    out, gradient = gradients(normed, [weights], pulled)
    out_twice, gradient_twice = gradients(normed, [2 * weights], pulled)
    np.testing.assert_allclose(out_twice, out)
    np.testing.assert_allclose(gradient_twice, gradient / 2)
    # Nothing along the weights themselves: their length plays no part.
    assert np.sum(gradient * weights) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: standardise(a, -1, eps=-1), "eps: expected .* got -1"),
        (lambda a: standardise(a, -1, eps=np.inf), "eps: .* got inf"),
        (lambda a: standardise(a * np.nan, -1), "a: expected finite"),
        (lambda a: BatchNorm(3)(a), r"shape \(n, 3\).* got \(4, 2\)"),
        (
            lambda a: BatchNorm(2)(Tensor(a.data[0])),
            r"shape \(n, 2\).* got \(2,\)",
        ),
        (
            lambda a: BatchNorm(2)(Tensor(a.data[:1])),
            "a batch of 2 or more, got 1",
        ),
        (
            lambda a: BatchNorm(2)(Tensor(a.data[:0])),
            r"shape \(n, 2\).* got \(0, 2\)",
        ),
        (lambda a: BatchNorm(2, momentum=0), "momentum: .* got 0"),
        (lambda a: BatchNorm(2, momentum=1.1), "momentum: .* got 1.1"),
    ],
)
def test_a_wrong_norm_is_refused(call, message):
    """The error names the argument, what was expected, and what came."""
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.arange(8.0).reshape(4, 2)))


def test_a_refused_batch_leaves_the_running_averages_alone():
    """NaN is an error, and doesn't stay in the norm."""
    norm = BatchNorm(2)
    with pytest.raises(ValueError, match="expected finite numbers"):
        norm(Tensor(np.array([[1.0, np.nan], [2.0, 3.0]])))
    np.testing.assert_array_equal(norm.mean, [0, 0])
    np.testing.assert_array_equal(norm.variance, [1, 1])


def test_what_no_network_can_use_is_refused(digits):
    """NaN, single rows, zeros and negative rates: each says which it is."""
    X, labels = digits[0][:4], digits[1][:4]
    spoilt = np.where(np.eye(4, 64) == 1, np.nan, X)
    weights = deep_weights([64, 10], "he")
    norm = BatchNorm(64)
    norm.training = False
    for call in (
        lambda: activations(spoilt, weights),
        lambda: mean_cosine(spoilt),
        lambda: norm(Tensor(spoilt)),
    ):
        with pytest.raises(ValueError, match="finite numbers, got 4 NaN"):
            call()
    for rows in (X[:1], X * [[0], [1], [1], [1]]):
        with pytest.raises(ValueError, match="X: expected two rows or more"):
            mean_cosine(rows)
    for rate in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"rate: .* got {rate}"):
            train(None, weights, X, labels, rate, batch_size=4)


def test_torch_refuses_a_batch_of_one_too():
    """In training, its batch norm raises a ValueError as ours does."""
    with pytest.raises(ValueError, match="more than 1 value"):
        torch.nn.BatchNorm1d(2)(torch.zeros(1, 2))


def test_in_evaluation_one_example_is_enough():
    """The running averages don't need a batch, and don't move."""
    norm = BatchNorm(2)
    norm.training = False
    out = norm(Tensor([[1.0, 2.0]]))
    np.testing.assert_allclose(out.data, [[1.0, 2.0]], rtol=1e-4)
    assert norm.mean.tolist() == [0.0, 0.0]


def test_training_is_gradient_descent_on_shuffled_batches(digits):
    """Every example once an epoch; the first step is minus rate times g."""
    X, labels = digits[0][:25], digits[1][:25]
    weights = deep_weights([64, 10], "he")
    start, seen = weights[0].data, []

    def forward(batch):
        seen.append(batch)
        return logits(batch, weights)

    losses = train(forward, weights, X, labels, 0.5, epochs=1, batch_size=25)
    loss = cross_entropy(Tensor(X) @ Tensor(start), labels)
    assert losses == [pytest.approx(float(loss.data))]
    assert not np.array_equal(seen[0], X)
    leaf = Tensor(start, requires_grad=True)
    backward(cross_entropy(X @ leaf, labels))
    np.testing.assert_allclose(weights[0].data, start - 0.5 * leaf.grad)
    seen.clear()
    train(forward, weights, X, labels, 0.5, epochs=2, batch_size=10)
    assert [len(batch) for batch in seen] == [10, 10, 5, 10, 10, 5]
    for epoch in (seen[:3], seen[3:]):
        rows = np.concatenate(epoch)
        assert sorted(map(tuple, rows)) == sorted(map(tuple, X))


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (101, 50, [50, 51]),
        (102, 50, [50, 50, 2]),
        (3, 2, [3]),
        (3, 1, 3 * [1]),
    ],
)
def test_a_last_batch_of_one_joins_the_one_before(
    digits, n, batch_size, sizes
):
    """Batch norm needs two; batches of one come only if asked for."""
    X, labels, seen = digits[0][:n], digits[1][:n], []
    weights = deep_weights([64, 10], "he")

    def forward(batch):
        seen.append(len(batch))
        return logits(batch, weights)

    train(forward, weights, X, labels, 0.1, epochs=1, batch_size=batch_size)
    assert seen == sizes


def test_frozen_weights_stay(digits):
    """Those that have no gradient are left alone; the others learn."""
    X, labels = digits[0][:50], digits[1][:50]
    frozen, last = deep_weights([64, 20, 10], "he")
    frozen = Tensor(frozen.data)
    before = frozen.data, last.data
    train(lambda X: logits(X, [frozen, last]), [frozen, last], X, labels, 0.1)
    np.testing.assert_array_equal(frozen.data, before[0])
    assert not np.array_equal(last.data, before[1])


def test_training_has_the_lessons_defaults(digits):
    """Six epochs, batches of 50, seed 0."""
    X, labels = digits[0][:120], digits[1][:120]

    def losses(**options):
        weights = deep_weights([64, 20, 10], "he")
        return train(
            lambda X: logits(X, weights), weights, X, labels, 0.1, **options
        )

    by_default = losses()
    assert len(by_default) == 6 * 3
    assert by_default == losses(epochs=6, batch_size=50, seed=0)
    assert by_default[-1] < 0.5 * by_default[0]


def test_an_infinite_loss_ends_training(digits):
    """The error says what the loss was, before it spoils the weights."""
    X, labels = digits[0][:50], digits[1][:50]
    weights = deep_weights([64, 10], "he")
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match="the loss is (inf|nan)"),
    ):
        train(lambda X: logits(X, weights) * 1e308, weights, X, labels, 1.0)


def test_equal_weights_stay_equal(digits):
    """Units that start the same get the same gradient, and never part."""
    X, labels = digits[0][:200], digits[1][:200]
    weights = [
        Tensor(np.full(shape, 0.1), requires_grad=True)
        for shape in ((64, 5), (5, 10))
    ]
    train(lambda X: logits(X, weights), weights, X, labels, 0.03)
    first = weights[0].data
    assert np.ptp(first, axis=1).max() < 1e-12
    assert np.ptp(first[:, 0]) > 0.001  # though they did learn


def test_orthogonal_weights_keep_every_length():
    """The transpose is the inverse, and both signs of determinant occur."""
    rng = np.random.default_rng(0)
    drawn = [orthogonal(4, rng) for _ in range(200)]
    for matrix in drawn:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-12)
    # Equally likely each: no entry prefers a sign, which bare QR does.
    assert np.abs(np.mean(drawn, axis=0)).max() < 0.15


def test_residual_layers_add_a_normed_share(digits):
    """Two blocks, worked by hand: each adds relu(norm(h) @ w) / sqrt(2)."""
    X = digits[0][:6]
    a, b, c, d = weights = deep_weights([64, 8, 8, 8, 10], "he")

    def norm(h):
        return (h - h.mean(1, keepdims=True)) / np.sqrt(
            h.var(1, keepdims=True) + 1e-5
        )

    h = X @ a.data
    for w in (b, c):
        h = h + np.maximum(norm(h) @ w.data, 0) / 2**0.5
    expected = norm(h) @ d.data
    np.testing.assert_allclose(residual_logits(X, weights).data, expected)


def test_shares_of_added_layers_bound_the_variance_alone():
    """40 layers add 1 - 1/pi to the variance, and 40/pi to the square."""
    hidden = Tensor(np.random.default_rng(0).normal(size=(100, 200)))
    for matrix in deep_weights(41 * [200], "he"):
        hidden = hidden + relu(standardise(hidden, -1) @ matrix) * 40**-0.5
    variance = hidden.data.var(axis=1).mean()
    assert variance == pytest.approx(2 - 1 / np.pi, rel=0.05)
    assert rms(hidden.data) ** 2 == pytest.approx(
        variance + 40 / np.pi, rel=0.05
    )


def test_relu_halves_the_mean_square_of_symmetric_numbers():
    """Half of E[z^2] is left, which is He's factor of 2."""
    z = np.random.default_rng(0).normal(size=200_000)
    assert rms(relu(Tensor(z)).data) ** 2 == pytest.approx(0.5, rel=0.02)


def test_a_shuffled_table_trains_as_its_arrays_do(digits):
    """Rows and labels of pandas pair by place, whatever they are called."""
    X, labels = digits[0][:100], digits[1][:100]
    names = np.random.default_rng(0).permutation(100)
    losses = []
    for data in (
        (X, labels),
        (pd.DataFrame(X, names), pd.Series(labels, names[::-1])),
    ):
        net = deep_weights([64, 10], "he")
        losses.append(
            train(lambda X, net=net: logits(X, net), net, *data, 0.1, 2)
        )
    assert losses[0] == losses[1]


def test_the_cosine_of_equal_rows_is_one_and_stays_one():
    """Rounding makes it a little more, which has no angle."""
    X = np.tile([[0.1, 0.2, 0.3]], (7, 1))
    cosine = mean_cosine(X)
    assert cosine == pytest.approx(1, abs=1e-14)
    assert next_cosine(1 + 2e-16) == 1
    for _ in range(10):
        cosine = next_cosine(cosine)
    assert cosine == pytest.approx(1, abs=1e-6)


def test_the_cosine_of_a_table_of_bytes_is_that_of_its_numbers():
    """A table of pandas and bytes gives the one number that floats give."""
    X = np.array([[200, 10, 0], [100, 50, 7], [3, 3, 255]])
    found = mean_cosine(pd.DataFrame(X.astype(np.uint8), [2, 0, 1]))
    assert found == pytest.approx(mean_cosine(X / 1.0), rel=1e-12)


def test_a_constant_has_no_deviation_unless_eps_lends_one():
    """With eps=0 a constant can't be divided by its deviation."""
    constant = Tensor(np.ones((3, 2)))
    with pytest.raises(ValueError, match="a: expected numbers that differ"):
        standardise(constant, 0, eps=0)
    assert not standardise(constant, 0).data.any()
