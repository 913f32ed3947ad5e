"""The engine that differentiates any graph of arrays."""

import gc
import inspect
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
    careless_backward,
    cross_entropy,
    exp,
    fused_cross_entropy,
    largest,
    layers,
    log,
    matmul,
    network,
    node,
    power,
    relu,
    sigmoid,
    take,
    tanh,
    topological_order,
    total,
    train,
    unbroadcast,
)

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = [(), (3,), (1,), (2, 3), (2, 1), (1, 3), (4, 2, 3), (4, 1, 1)]


def leaves(*arrays):
    """The same leaves for the engine and for torch."""
    return [
        (
            Tensor(a, requires_grad=True),
            torch.tensor(a, dtype=torch.float64, requires_grad=True),
        )
        for a in arrays
    ]


def assert_same_gradients(pairs):
    """In every leaf; None where torch has None."""
    for ours, theirs in pairs:
        if theirs.grad is None:
            assert ours.grad is None
        else:
            assert ours.grad.shape == ours.shape
            np.testing.assert_allclose(
                ours.grad, theirs.grad.numpy(), rtol=1e-9, atol=1e-12
            )


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:600]
    return images[order] / 16, labels[order]


BINARY = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "subtract": lambda a, b: a - b,
    "divide": lambda a, b: a / (b * b + 1.0),
}
UNARY = {
    "tanh": (tanh, torch.tanh),
    "relu": (relu, torch.relu),
    "exp": (lambda a: exp(tanh(a)), lambda a: torch.exp(torch.tanh(a))),
    "log": (lambda a: log(a * a + 1.0), lambda a: torch.log(a * a + 1.0)),
    "power": (lambda a: a**3, lambda a: a**3),
    "sum": (total, torch.sum),
    "constants": (lambda a: 2.0 - a * 0.5, lambda a: 2.0 - a * 0.5),
    "negative": (lambda a: -a, lambda a: -a),
    "sum last": (
        lambda a: total(a, -1, True) if a.shape else a,
        lambda a: a.sum(-1, keepdim=True) if a.ndim else a,
    ),
    "take": (
        lambda a: a[[0, 0, -1]] if a.shape else a,
        lambda a: a[[0, 0, -1]] if a.ndim else a,
    ),
}


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.data())
def test_gradients_of_any_graph_are_torchs(seed, data):
    """Random graphs, with broadcasting and shared nodes, in float64."""
    rng = np.random.default_rng(seed)
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=2))
    pool = leaves(*(rng.normal(size=shape) for shape in shapes[:4]))
    start = list(pool)
    for _ in range(data.draw(st.integers(1, 12))):
        name = data.draw(st.sampled_from([*BINARY, *UNARY]))
        a, theirs = data.draw(st.sampled_from(pool))
        if name in UNARY:
            ours, other = UNARY[name]
            pool.append((ours(a), other(theirs)))
            continue
        fitting = [(b, t) for b, t in pool if fits(a.shape, b.shape)]
        b, second = data.draw(st.sampled_from(fitting))
        pool.append((BINARY[name](a, b), BINARY[name](theirs, second)))
    ours, theirs = pool[-1]
    seedling = rng.normal(size=ours.shape)
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-9)
    backward(ours, seedling)
    theirs.backward(torch.tensor(seedling))
    for (leaf, reference), after in zip(start, pool, strict=False):
        assert leaf is after[0]
        assert_same_gradients([(leaf, reference)])


def fits(one, other):
    """Whether two shapes broadcast."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


@settings(max_examples=40, deadline=None)
@given(
    SEEDS,
    st.sampled_from(
        [
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 1)),
            ((2, 3), (5, 3, 4)),
            ((5, 1, 2), (1, 2, 2)),
        ]
    ),
)
def test_matrix_products_have_torchs_gradients(seed, shapes):
    """Of matrices, and of stacks that are broadcast."""
    rng = np.random.default_rng(seed)
    pairs = leaves(*(rng.normal(size=shape) for shape in shapes))
    (a, x), (b, y) = pairs
    g = rng.normal(size=(a @ b).shape)
    backward(a @ b, g)
    (x @ y).backward(torch.tensor(g))
    assert_same_gradients(pairs)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_sums_along_any_axis_have_torchs_gradients(axis, keepdims):
    """Kept or dropped, one axis or several."""
    pairs = leaves(np.arange(24.0).reshape(2, 3, 4))
    ((a, x),) = pairs
    ours, theirs = total(a, axis, keepdims), x.sum(axis, keepdim=keepdims)
    assert ours.shape == tuple(theirs.shape)
    g = np.random.default_rng(0).normal(size=ours.shape)
    backward(ours, g)
    theirs.backward(torch.tensor(g))
    assert_same_gradients(pairs)


def test_sums_drop_the_axis_unless_told():
    """As numpy's do."""
    a = Tensor(np.ones((2, 3)))
    assert total(a).shape == ()
    assert total(a, 1).shape == (2,)
    assert total(a, 1, True).shape == (2, 1)


def test_an_entry_taken_twice_gets_both_gradients():
    """Rows 0, 0 and 2 of three: gradients 1 + 10, 0 and 100."""
    a = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    backward(take(a, [0, 0, 2]), [1.0, 10.0, 100.0])
    assert a.grad.tolist() == [11.0, 0.0, 100.0]
    b = Tensor(np.ones((2, 2)), requires_grad=True)
    backward(total(b[1]))
    assert b.grad.tolist() == [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("gradient", "shape", "expected"),
    [
        (np.ones((2, 3)), (), 6.0),
        (np.ones((2, 3)), (1,), [6.0]),
        (np.ones((2, 3)), (3,), [2.0, 2.0, 2.0]),
        (np.ones((2, 3)), (2, 1), [[3.0], [3.0]]),
        (np.ones((4, 2, 3)), (2, 1), [[12.0], [12.0]]),
        (np.ones((2, 1)), (2, 1), [[1.0], [1.0]]),
    ],
)
def test_what_was_repeated_is_summed(gradient, shape, expected):
    """New axes and stretched ones, together or alone."""
    assert unbroadcast(gradient, shape).tolist() == expected


def test_operators_with_numbers_and_arrays_on_either_side():
    """Each gives the array's result, and the derivative known from school."""
    array = np.array([2.0, 4.0])
    for function, value, slope in (
        (lambda x: 3.0 + x, 3 + array, [1, 1]),
        (lambda x: x + array, 2 * array, [1, 1]),
        (lambda x: array - x, 0 * array, [-1, -1]),
        (lambda x: x - 1, array - 1, [1, 1]),
        (lambda x: -x, -array, [-1, -1]),
        (lambda x: array * x, array**2, array),
        (lambda x: x / 4, array / 4, [0.25, 0.25]),
        (lambda x: 8.0 * x**-1, 8 / array, -8 / array**2),
        (lambda x: x / x, [1, 1], [0, 0]),
        (lambda x: x**2.5, array**2.5, 2.5 * array**1.5),
    ):
        x = Tensor(array, requires_grad=True)
        y = function(x)
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.data, value)
        backward(total(y))
        np.testing.assert_allclose(x.grad, slope, atol=1e-15)
    x = Tensor([[1.0], [2.0]], requires_grad=True)
    y = np.array([[3.0, 5.0]]) @ x
    backward(y, [[1.0]])
    assert y.data.tolist() == [[13.0]]
    assert x.grad.tolist() == [[3.0], [5.0]]


def test_the_slope_of_relu_at_zero_is_zero():
    """As torch has it."""
    x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = relu(x)
    backward(total(y))
    assert y.data.tolist() == [0.0, 0.0, 2.0]
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_only_what_is_asked_for_is_differentiated():
    """A constant has no gradient, and no edge leads to it."""
    x, c = Tensor([1.0], requires_grad=True), Tensor([2.0])
    y = x * c + c
    assert len(topological_order(y)) == 3
    backward(y, [1.0])
    assert x.grad.tolist() == [2.0]
    assert c.grad is None
    assert y.grad is None
    assert not (c * c).requires_grad


def test_every_node_comes_after_its_parents():
    """Each once, with shared nodes and without; the root is last."""
    x = Tensor(1.0, requires_grad=True)
    a = x * x
    root = tanh(a) * a + x
    order = topological_order(root)
    place = {tensor: i for i, tensor in enumerate(order)}
    assert len(order) == len(place) == 5
    assert order[-1] is root
    for tensor in order:
        for parent, _ in tensor.edges:
            assert place[parent] < place[tensor]


def test_gradients_of_several_calls_add_up():
    """Twice the same graph doubles them; two losses share a node."""
    x = Tensor(3.0, requires_grad=True)
    h = x * x
    loss = h * h
    backward(loss)
    assert x.grad == 108
    backward(loss)
    assert x.grad == 216
    x.grad = None
    backward(h * 1.0)
    backward(h * 10.0)
    assert x.grad == 66


def test_a_gradient_is_an_array_of_its_own():
    """Halving one leaf's gradient in place leaves the other's as it is."""
    x, y = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    backward(total(x + y))
    x.grad *= 0.5
    assert y.grad.tolist() == [1.0, 1.0]


def test_the_careless_engine_is_wrong_on_a_shared_node():
    """Its second call counts the first again; once is right."""
    x = Tensor(2.0, requires_grad=True)
    h = x * x
    careless_backward(h * 1.0)
    assert x.grad == 4
    careless_backward(h * 10.0)
    assert x.grad == 48
    x.grad = None
    y = x * x * x
    careless_backward(y)
    assert x.grad == 12


def test_overwriting_loses_a_path():
    """x * x + x has the slope 2x + 1; by = it gets one part of three."""
    x = Tensor(5.0, requires_grad=True)
    careless_backward(x * x + x, overwrite=True)
    assert x.grad in (1.0, 5.0)
    x.grad = None
    careless_backward(x * x + x)
    assert x.grad == 11.0


def test_a_long_chain_needs_no_recursion():
    """Twenty thousand steps, where the careless engine gives up."""
    x = Tensor(1.0, requires_grad=True)
    end = x
    for _ in range(20_000):
        end = end + 1.0
    backward(end)
    assert x.grad == 1.0
    with pytest.raises(RecursionError):
        careless_backward(end)


def test_values_can_not_be_changed_in_place():
    """NumPy refuses, for leaves and results; a leaf is a copy."""
    array = np.array([1.0, 2.0])
    x = Tensor(array, requires_grad=True)
    y = x * 2.0
    for tensor in (x, y):
        with pytest.raises(ValueError, match="read-only"):
            tensor.data[0] = 5.0
    array[0] = 7.0
    assert x.data.tolist() == [1.0, 2.0]
    parameters = layers((2, 2))
    train(np.ones((1, 2)), np.array([0]), parameters, batch_size=1)
    with pytest.raises(ValueError, match="read-only"):
        parameters[0].data[0] = 0.0


def test_a_changed_value_gives_a_wrong_gradient():
    """Without the protection: 2x at the new x, and no error."""
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = total(x * x)
    x.data.flags.writeable = True
    x.data *= 10
    backward(loss)
    assert x.grad.tolist() == [20.0, 40.0]


def test_a_graph_is_freed_when_its_loss_is():
    """At once, by counting references: no cycle waits for the collector."""
    parameters = layers((4, 3, 2))
    gc.disable()
    try:
        loss = cross_entropy(
            network(np.ones((5, 4)), parameters), np.zeros(5, int)
        )
        backward(loss)
        nodes = [weakref.ref(t) for t in topological_order(loss)]
        assert len(nodes) == 18
        del loss
        alive = {id(ref()) for ref in nodes if ref() is not None}
    finally:
        gc.enable()
    assert alive == {id(p) for p in parameters}


def test_memory_does_not_grow_over_a_thousand_steps():
    """Traced memory after 1,000 steps is that after 100, within 20 kB."""
    parameters = layers((8, 16, 3))
    X, labels = np.ones((50, 8)), np.arange(50) % 3
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        sizes = []
        for epochs in (2, 20):  # of 50 steps
            train(X, labels, parameters, epochs=epochs, batch_size=1)
            assert gc.collect() == 0  # there was no cycle to find
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert sizes[1] - sizes[0] < 20_000


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 5))
def test_cross_entropy_and_its_gradient_are_torchs(seed, n, classes):
    """Both ways of writing it, also for logits in the hundreds."""
    rng = np.random.default_rng(seed)
    logits = 300 * rng.normal(size=(n, classes))
    labels = rng.integers(classes, size=n)
    for function in (cross_entropy, fused_cross_entropy):
        pairs = leaves(logits)
        ours = function(pairs[0][0], labels)
        theirs = torch.nn.functional.cross_entropy(
            pairs[0][1], torch.tensor(labels)
        )
        np.testing.assert_allclose(ours.data, theirs.item(), rtol=1e-9)
        backward(ours)
        theirs.backward()
        assert_same_gradients(pairs)


def test_the_network_is_linear_layers_with_relu_between():
    """Worked by hand, with three layers; none after the last."""
    numbers = [[[1.0, -1.0]], [0.0, 1.0], np.eye(2), [-1.0, 0.0]]
    numbers += [[[1.0], [-2.0]], [0.5]]
    parameters = [Tensor(n) for n in numbers]
    X = np.array([[3.0], [-2.0]])
    # 3: hidden (3, 0), then (2, 0), then 2.5; -2: (0, 3), (0, 3), -5.5
    assert network(X, parameters).data.tolist() == [[2.5], [-5.5]]


def test_layers_start_as_he_proposed():
    """Variance 2 / inputs, biases zero, and drawn from the seed."""
    parameters = layers((400, 300, 2), seed=1)
    shapes = [p.shape for p in parameters]
    assert shapes == [(400, 300), (300,), (300, 2), (2,)]
    assert parameters[0].data.var() == pytest.approx(2 / 400, rel=0.02)
    assert not parameters[1].data.any()
    assert all(p.requires_grad for p in parameters)
    first = np.random.default_rng(0).normal(size=(2, 1))
    np.testing.assert_allclose(layers((2, 1))[0].data, first)


def test_training_is_torchs_step_for_step(digits):
    """Same start and batches: the same weights and losses."""
    X, labels = digits
    parameters = layers((64, 16, 10), seed=2)
    copies = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    optimizer = torch.optim.SGD(copies, lr=0.2)
    rng, means = np.random.default_rng(5), []
    for _ in range(2):
        losses = []
        for batch in np.split(rng.permutation(600), range(50, 600, 50)):
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
    found = train(X, labels, parameters, 0.2, 2, 50, 5)
    np.testing.assert_allclose(found, means, rtol=1e-9)
    for ours, theirs in zip(parameters, copies, strict=True):
        np.testing.assert_allclose(
            ours.data, theirs.detach().numpy(), atol=1e-10
        )
        assert ours.grad is None


def test_a_small_network_learns_the_digits(digits):
    """From 400 digits, over three seeds: 88 % or more of 200 others."""
    X, labels = digits
    for seed in range(3):
        parameters = layers((64, 32, 10), seed)
        losses = train(X[:400], labels[:400], parameters, 0.1, 30)
        guesses = network(X[400:], parameters).data.argmax(axis=1)
        assert losses[-1] < 0.25 < losses[0]
        assert np.mean(guesses == labels[400:]) > 0.88


def test_without_zeroing_gradients_pile_up(digits):
    """At the usual rate it fails; one step in, the sum of both is there."""
    X, labels = digits
    parameters = layers((64, 32, 10))
    losses = train(X, labels, parameters, zero=False)
    assert losses[-1] > 5 * train(X, labels, layers((64, 32, 10)))[-1]
    one, two = layers((64, 10)), layers((64, 10))
    train(X[:32], labels[:32], one, 0.0, 1)
    train(X[:32], labels[:32], two, 0.0, 2, zero=False)
    backward(cross_entropy(network(X[:32], one), labels[:32]))
    np.testing.assert_allclose(two[0].grad, 2 * one[0].grad)


def test_defaults_are_those_the_page_relies_on():
    """The page's numbers hold for these defaults and no others."""
    assert train.__defaults__ == (0.1, 20, 32, 0, backward, True)
    assert layers.__defaults__ == (0,)
    assert total.__defaults__ == (None, False)
    assert backward.__defaults__ == (1.0,)
    assert careless_backward.__defaults__ == (False,)
    assert inspect.signature(Tensor).parameters["edges"].default == ()
    assert not Tensor(1.0).requires_grad


def test_a_pixel_moved_along_the_gradient_fools_and_a_random_one_not(digits):
    """A tenth of full brightness costs 30 points by sign, 5 at random."""
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


def test_sigmoid_is_torchs_and_never_overflows():
    """Value and gradient, out to a thousand on both sides."""
    pairs = leaves(np.array([-1000.0, -3.0, 0.0, 0.5, 1000.0]))
    ((a, x),) = pairs
    ours, theirs = sigmoid(a), torch.sigmoid(x)
    np.testing.assert_allclose(ours.data, theirs.detach(), atol=1e-15)
    backward(total(ours))
    theirs.sum().backward()
    assert_same_gradients(pairs)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_largest_is_torchs_amax_ties_included(axis):
    """Two that tie get half of the gradient each, three a third."""
    pairs = leaves(np.array([[1.0, 1.0, 0.0], [1.0, 2.0, 0.0]]))
    ((a, x),) = pairs
    ours, theirs = largest(a, axis), torch.amax(x, axis)
    assert ours.data.tolist() == theirs.tolist()
    g = np.arange(1.0, 1.0 + ours.data.size)
    backward(ours, g)
    theirs.backward(torch.tensor(g))
    assert_same_gradients(pairs)


def test_shapes_that_do_not_fit_are_refused():
    """The error names the operation and both shapes."""
    a, b = Tensor(np.ones((2, 3))), Tensor(np.ones((4, 2)))
    shapes = r"got \(2, 3\) and \(4, 2\)"
    for name, call in {
        "add": lambda: a + b,
        "multiply": lambda: a * b,
        "matmul": lambda: a @ b,
    }.items():
        with pytest.raises(ValueError, match=f"{name}: expected.*{shapes}"):
            call()
    for one, other in ((a, np.ones(3)), (np.ones(2), a)):
        with pytest.raises(ValueError, match="matmul: expected matrices, got"):
            matmul(one, other)


def test_backward_needs_a_gradient_of_the_roots_shape():
    """A root that is no single number has none by itself."""
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\), got \(\)"):
        backward(x * 2.0)
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\), got \(3"):
        backward(x * 2.0, np.ones(3))
    with pytest.raises(ValueError, match="root: expected .* got a constant"):
        backward(Tensor(1.0) * 2.0)


def test_labels_out_of_range_and_empty_batches_are_refused():
    """Each error names the argument, what was expected and what was got."""
    logits = Tensor(np.zeros((2, 3)))
    for labels, got in (
        ([0, 3], "0 to 2, got 0 to 3"),
        ([-1, 2], "0 to 2, got -1 to 2"),
        ([0], r"expected 2 integers, got int64 of shape \(1,\)"),
        ([0.0, 1.0], "got float64"),
        ([[0], [1]], r"of shape \(2, 1\)"),
    ):
        with pytest.raises(ValueError, match="labels: .*" + got):
            cross_entropy(logits, labels)
    for labels in ([0, 3], [-1, 2], [0], [[0], [1]]):
        with pytest.raises(ValueError, match="labels: expected 2 from 0 to 2"):
            fused_cross_entropy(logits, labels)
    assert cross_entropy(logits, [0, 2]).data == pytest.approx(np.log(3))
    assert fused_cross_entropy(logits, [0, 2]).data == pytest.approx(np.log(3))
    for shape in ((0, 3), (2, 0), (3,)):
        with pytest.raises(ValueError, match="logits: expected shape"):
            cross_entropy(Tensor(np.zeros(shape)), [])


def test_training_data_that_make_no_sense_are_refused():
    """NaN, no rows, wrong shapes, a batch that can't be cut."""
    labels, parameters = np.zeros(3, int), layers((2, 2))
    X = np.ones((3, 2))
    for bad in (np.ones(3), np.ones((0, 2)), np.ones((3, 0))):
        with pytest.raises(ValueError, match="X: expected finite"):
            train(bad, labels, parameters)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="X: .*with NaN or infinite"):
            train(np.full((3, 2), value), labels, parameters)
    with pytest.raises(ValueError, match="labels: expected 3, got 2"):
        train(X, labels[:2], parameters, batch_size=1)
    for size in (0, 4):
        with pytest.raises(ValueError, match=f"expected 1 to 3, got {size}"):
            train(X, labels, parameters, batch_size=size)
    assert len(train(X, labels, parameters, epochs=1, batch_size=3)) == 1


@pytest.mark.parametrize("sizes", [(3,), (), (3, 0, 2)])
def test_a_network_needs_two_sizes_of_at_least_one(sizes):
    """The error repeats what was given."""
    with pytest.raises(ValueError, match="sizes: expected at least two"):
        layers(sizes)
    assert len(layers((1, 1))) == 2


def test_exponents_are_constants_and_results_are_nodes():
    """power takes a number; node keeps the edges that count."""
    x = Tensor(2.0, requires_grad=True)
    assert power(x, 3).data == 8
    result = node(np.ones(2), (x, None), (Tensor(1.0), None))
    assert [parent for parent, _ in result.edges] == [x]
    assert result.requires_grad


def test_a_shuffled_table_trains_as_its_arrays_do():
    """Rows and labels of pandas pair by place, whatever they are called."""
    rng = np.random.default_rng(0)
    X, labels = rng.integers(0, 256, (40, 3)), rng.integers(0, 2, 40)
    X[:, 1] = 0
    names = rng.permutation(40)
    table = pd.DataFrame(X.astype(np.uint8), names)
    column = pd.Series(labels.astype(np.uint8), names[::-1])
    found = train(table, column, layers((3, 2)), 1e-4, epochs=2)
    assert found == train(X / 1.0, labels, layers((3, 2)), 1e-4, epochs=2)
