"""A neural network on an engine of our own."""

import gc
import tracemalloc
import weakref

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
    topological_order,
    total,
)
from snippets.fundamentals.neural_network import (
    cross_entropy,
    exp,
    fused_cross_entropy,
    layers,
    log,
    network,
    train,
)

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:600]
    return images[order] / 16, labels[order]


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 5))
def test_cross_entropy_and_its_gradient_are_torchs(seed, n, classes):
    """Cross-entropy and its gradient are PyTorch's, fused and composed."""
    rng = np.random.default_rng(seed)
    values = 300 * rng.normal(size=(n, classes))
    labels = rng.integers(classes, size=n)
    for function in (cross_entropy, fused_cross_entropy):
        ours = Tensor(values, requires_grad=True)
        theirs = torch.tensor(values, requires_grad=True)
        loss = function(ours, labels)
        expected = torch.nn.functional.cross_entropy(
            theirs, torch.tensor(labels)
        )
        np.testing.assert_allclose(loss.data, expected.item(), rtol=1e-9)
        backward(loss)
        expected.backward()
        np.testing.assert_allclose(
            ours.grad, theirs.grad.numpy(), rtol=1e-9, atol=1e-12
        )


def test_exp_and_log_have_torchs_gradients():
    values = np.array([0.5, 1.0, 3.0])
    for ours, theirs in ((exp, torch.exp), (log, torch.log)):
        a = Tensor(values, requires_grad=True)
        b = torch.tensor(values, requires_grad=True)
        np.testing.assert_allclose(ours(a).data, theirs(b).detach().numpy())
        backward(total(ours(a)))
        theirs(b).sum().backward()
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-12)


def test_a_fused_loss_passes_the_upstream_gradient_on():
    labels, gradients = [0, 2], []
    for function in (cross_entropy, fused_cross_entropy):
        a = Tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]], requires_grad=True)
        backward(function(a, labels) * 3.0)
        gradients.append(a.grad)
    np.testing.assert_allclose(*gradients, rtol=1e-12)


def test_the_network_is_linear_layers_with_relu_between():
    """Linear layers with a ReLU between them, and none after the last."""
    numbers = [[[1.0, -1.0]], [0.0, 1.0], np.eye(2), [-1.0, 0.0]]
    numbers += [[[1.0], [-2.0]], [0.5]]
    parameters = [Tensor(n) for n in numbers]
    X = np.array([[3.0], [-2.0]])
    # 3: hidden (3, 0), then (2, 0), then 2.5; -2: (0, 3), (0, 3), -5.5
    assert network(X, parameters).data.tolist() == [[2.5], [-5.5]]


def test_layers_start_as_he_proposed():
    """Weights start with variance 2 / inputs, biases at zero, by seed."""
    parameters = layers((400, 300, 2), seed=1)
    shapes = [p.shape for p in parameters]
    assert shapes == [(400, 300), (300,), (300, 2), (2,)]
    assert parameters[0].data.var() == pytest.approx(2 / 400, rel=0.02)
    assert not parameters[1].data.any()
    assert all(p.requires_grad for p in parameters)
    first = np.random.default_rng(0).normal(size=(2, 1))
    np.testing.assert_allclose(layers((2, 1))[0].data, first)


def test_training_is_torchs_step_for_step(digits):
    """The same start and batches give PyTorch's weights and losses."""
    X, labels = digits
    parameters = layers((64, 16, 10), seed=2)
    copies = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    optimizer = torch.optim.SGD(copies, lr=0.2)
    rng, means = np.random.default_rng(5), []
    for _ in range(2):
        losses = []
        for batch in np.split(rng.permutation(600), range(32, 600, 32)):
            w1, b1, w2, b2 = copies
            hidden = torch.relu(torch.tensor(X[batch]) @ w1 + b1)
            loss = torch.nn.functional.cross_entropy(
                hidden @ w2 + b2, torch.tensor(labels[batch])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    found = train(X, labels, parameters, 0.2, 2, 5)
    np.testing.assert_allclose(found, means, rtol=1e-9)
    for ours, theirs in zip(parameters, copies, strict=True):
        np.testing.assert_allclose(
            ours.data, theirs.detach().numpy(), atol=1e-10
        )
        assert ours.grad is None
        assert not ours.data.flags.writeable


def test_a_hidden_layer_beats_none_on_digits(digits):
    """A hidden layer beats none on held-out digits, over three seeds."""
    X, labels = digits
    scores = []
    for sizes in ((64, 10), (64, 32, 10)):
        found = []
        for seed in range(3):
            parameters = layers(sizes, seed)
            losses = train(X[:400], labels[:400], parameters, epochs=40)
            assert losses[-1] < losses[0] / 2
            guesses = network(X[400:], parameters).data.argmax(axis=1)
            found.append(np.mean(guesses == labels[400:]))
        scores.append(np.mean(found))
    assert scores[1] > 0.9
    assert scores[1] > scores[0]


def test_without_zeroing_gradients_pile_up(digits):
    """Without zeroing, old gradients are added, and training fails."""
    X, labels = digits
    parameters = layers((64, 32, 10))
    losses = train(X, labels, parameters, zero=False)
    assert losses[-1] > 5 * train(X, labels, layers((64, 32, 10)))[-1]
    one, two = layers((64, 10)), layers((64, 10))
    train(X[:32], labels[:32], two, 0.0, 2, zero=False)
    backward(cross_entropy(network(X[:32], one), labels[:32]))
    np.testing.assert_allclose(two[0].grad, 2 * one[0].grad)


def test_each_epoch_sees_each_example_once():
    # 70 examples are batches of 32, 32 and 6, in an order from the seed.
    X, labels = np.eye(70), np.zeros(70, int)
    parameters = layers((70, 2))
    before = parameters[0].data
    train(X, labels, parameters, epochs=1)
    moved = (parameters[0].data != before).all(axis=1)
    assert moved.all()
    again = layers((70, 2))
    train(X, labels, again, epochs=1, seed=0)
    np.testing.assert_array_equal(again[0].data, parameters[0].data)
    other = layers((70, 2))
    train(X, labels, other, epochs=1, seed=1)
    assert not np.array_equal(other[0].data, again[0].data)
    twenty, default = layers((70, 2)), layers((70, 2))
    train(X, labels, twenty, 0.1, 20)
    assert len(train(X, labels, default)) == 20
    np.testing.assert_array_equal(twenty[0].data, default[0].data)


def test_a_pixel_moved_along_the_gradient_fools_and_a_random_one_not(digits):
    """A tenth of brightness costs 30 points by gradient, 5 at random."""
    X, labels = digits
    parameters = layers((64, 32, 10))
    train(X[:400], labels[:400], parameters)
    pixels = Tensor(X[400:], requires_grad=True)
    backward(cross_entropy(network(pixels, parameters), labels[400:]))
    coins = np.random.default_rng(0).choice([-1, 1], size=pixels.shape)
    right = [
        np.mean(
            network(X[400:] + 0.1 * way, parameters).data.argmax(axis=1)
            == labels[400:]
        )
        for way in (0 * coins, coins, np.sign(pixels.grad))
    ]
    assert right[0] - right[1] < 0.05
    assert right[0] - right[2] > 0.3


def test_a_graph_is_freed_when_its_loss_is():
    """A graph is freed when its loss is; only parameters stay."""
    parameters = layers((4, 3, 2))
    gc.disable()
    try:
        loss = cross_entropy(
            network(np.ones((5, 4)), parameters), np.zeros(5, int)
        )
        backward(loss)
        nodes = [weakref.ref(t) for t in topological_order(loss)]
        del loss
        alive = {id(ref()) for ref in nodes if ref() is not None}
    finally:
        gc.enable()
    assert alive == {id(p) for p in parameters}


def test_memory_does_not_grow_over_hundreds_of_steps():
    # Traced memory after 400 steps is that after 50, within 20 kB.
    parameters = layers((8, 16, 3))
    X, labels = np.ones((32, 8)), np.arange(32) % 3
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        sizes = []
        for epochs in (50, 400):
            train(X, labels, parameters, epochs=epochs)
            assert gc.collect() == 0  # there was no cycle to find
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert sizes[1] - sizes[0] < 20_000


def test_a_shuffled_table_trains_as_its_arrays_do():
    # Rows and labels of pandas pair by place, whatever they are called.
    rng = np.random.default_rng(0)
    X, labels = rng.integers(0, 256, (40, 3)), rng.integers(0, 2, 40)
    X[:, 1] = 0
    names = rng.permutation(40)
    table = pd.DataFrame(X.astype(np.uint8), names)
    column = pd.Series(labels.astype(np.uint8), names[::-1])
    found = train(table, column, layers((3, 2)), 1e-4, epochs=2)
    assert found == train(X / 1.0, labels, layers((3, 2)), 1e-4, epochs=2)
    logits = Tensor(np.zeros((40, 2)))
    for loss in (cross_entropy, fused_cross_entropy):
        assert loss(logits, column).data == pytest.approx(np.log(2))
