"""The engine that differentiates any graph of arrays."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snippets.fundamentals.backpropagation import (
    Tensor,
    as_found,
    as_tensor,
    backward,
    matmul,
    multiply,
    node,
    pass_on,
    power,
    push,
    relu,
    tanh,
    topological_order,
    total,
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


BINARY = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "subtract": lambda a, b: a - b,
    "divide": lambda a, b: a / (b * b + 1.0),
}
UNARY = {
    "tanh": (tanh, torch.tanh),
    "relu": (relu, torch.relu),
    "power": (lambda a: a**3, lambda a: a**3),
    "sum": (total, torch.sum),
    "constants": (lambda a: 2.0 - a * 0.5, lambda a: 2.0 - a * 0.5),
    "negative": (lambda a: -a, lambda a: -a),
    "sum last": (
        lambda a: total(a, -1, True) if a.shape else a,
        lambda a: a.sum(-1, keepdim=True) if a.ndim else a,
    ),
}


def fits(one, other):
    """Whether two shapes broadcast."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.data())
def test_gradients_of_any_graph_are_torchs(seed, data):
    """Gradients of any graph are PyTorch's, with shared and repeated parts."""
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
    upstream = rng.normal(size=ours.shape)
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-9)
    backward(ours, upstream)
    theirs.backward(torch.tensor(upstream))
    assert_same_gradients(start)


@st.composite
def graphs(draw):
    """A leaf and the last number of a random graph of numbers above it."""
    x = Tensor(1.5, requires_grad=True)
    pool = [x, x * 0.5]
    for _ in range(draw(st.integers(1, 8))):
        one, other = (draw(st.sampled_from(pool[-4:])) for _ in range(2))
        pool.append(draw(st.sampled_from([one + other, tanh(one * other)])))
    return x, pool[-1]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_walk_in_topological_order_is_the_sum_over_paths(graph):
    """One visit per tensor gives the sum over all paths."""
    x, end = graph
    order = topological_order(end)
    assert order[0] is end
    assert len(set(order)) == len(order)
    for place, tensor in enumerate(order):
        assert all(p in order[place + 1 :] for p, _ in tensor.edges)
    push(end, 1.0)
    assert pass_on(order)[x] == pytest.approx(x.grad, rel=1e-12)
    x.grad = None
    backward(end)
    assert x.grad == pytest.approx(pass_on(order)[x], rel=1e-12)


@pytest.mark.parametrize("rings", [1, 4, 9])
def test_paths_double_with_each_ring_and_tensors_do_not(rings):
    """Each ring doubles the calls path by path, and adds two tensors."""
    x = end = Tensor(1.0, requires_grad=True)
    for _ in range(rings):
        end = end + 0.5 * end
    assert push(end, 1.0) == 3 * 2**rings - 2
    assert len(topological_order(end)) == 2 * rings + 1
    assert x.grad == 1.5**rings


def test_in_the_order_found_a_ring_goes_wrong():
    """In the order found, a shared tensor hands on too early."""
    x, y = (Tensor(value, requires_grad=True) for value in (2.0, 3.0))
    h = x * y
    z = h * (h + 1.0)
    assert pass_on(as_found(z))[x] == 21
    assert pass_on(topological_order(z))[x] == 39
    assert as_found(h) == [h, x, y]
    square = x * x  # both parents are one
    assert as_found(square) == [square, x]
    assert pass_on(as_found(square))[x] == 4


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
    """Products of matrices and of stacks have PyTorch's gradients."""
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
    # Kept or dropped, one axis or several.
    pairs = leaves(np.arange(24.0).reshape(2, 3, 4))
    ((a, x),) = pairs
    ours, theirs = total(a, axis, keepdims), x.sum(axis, keepdim=keepdims)
    assert ours.shape == tuple(theirs.shape)
    g = np.random.default_rng(0).normal(size=ours.shape)
    backward(ours, g)
    theirs.backward(torch.tensor(g))
    assert_same_gradients(pairs)


def test_sums_drop_the_axis_unless_told():
    a = Tensor(np.ones((2, 3)))
    assert total(a).shape == ()
    assert total(a, 1).shape == (2,)
    assert total(a, 1, True).shape == (2, 1)


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
    # New axes and stretched ones, together or alone.
    assert unbroadcast(gradient, shape).tolist() == expected


def test_operators_with_numbers_and_arrays_on_either_side():
    # Each gives the array's result, and the derivative known from school.
    array = np.array([2.0, 4.0])
    few = np.array([2, 4], np.uint8)  # minus 2 has no place in it
    for function, value, slope in (
        (lambda x: 3.0 + x, 3 + array, [1, 1]),
        (lambda x: x + array, 2 * array, [1, 1]),
        (lambda x: array - x, 0 * array, [-1, -1]),
        (lambda x: x - 1, array - 1, [1, 1]),
        (lambda x: x - few, 0 * array, [1, 1]),
        (lambda x: few - x, 0 * array, [-1, -1]),
        (lambda x: x / few, [1, 1], 1 / array),
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


def test_functions_take_arrays_as_well_as_tensors():
    assert multiply(np.array([2, 3]), 4).data.tolist() == [8, 12]
    assert matmul(np.eye(2), np.eye(2)).data.tolist() == [[1, 0], [0, 1]]
    x = Tensor(1.0)
    assert as_tensor(x) is x


def test_the_slope_of_relu_at_zero_is_zero():
    # As torch has it.
    x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = relu(x)
    backward(total(y))
    assert y.data.tolist() == [0.0, 0.0, 2.0]
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_only_what_is_asked_for_is_differentiated():
    # A constant has no gradient, and no edge leads to it.
    x, c = Tensor([1.0], requires_grad=True), Tensor([2.0])
    y = x * c + c
    assert len(topological_order(y)) == 3
    backward(y, [1.0])
    assert x.grad.tolist() == [2.0]
    assert c.grad is None
    assert y.grad is None
    assert not (c * c).requires_grad
    result = node(np.ones(2), (x, None), (c, None))
    assert [parent for parent, _ in result.edges] == [x]
    assert power(x, 3).requires_grad


def test_gradients_of_several_calls_add_up():
    """Two losses over a shared tensor add their gradients, each once."""
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
    # Halving one leaf's gradient in place leaves the other's as it is.
    x, y = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    backward(total(x + y))
    x.grad *= 0.5
    assert y.grad.tolist() == [1.0, 1.0]


def test_a_long_chain_needs_no_recursion():
    """Twenty thousand steps pass, where recursion fails."""
    x = end = Tensor(1.0, requires_grad=True)
    for _ in range(20_000):
        end = end + 1.0
    backward(end)
    assert x.grad == 1.0
    with pytest.raises(RecursionError):
        push(end, 1.0)


def test_values_can_not_be_changed_in_place():
    """Values can't be changed in place; where they are, gradients lie."""
    array = np.array([1.0, 2.0])
    x = Tensor(array, requires_grad=True)
    y = x * x
    for tensor in (x, y):
        with pytest.raises(ValueError, match="read-only"):
            tensor.data[0] = 5.0
    array[0] = 7.0
    assert x.data.tolist() == [1.0, 2.0]
    x.data.flags.writeable = True
    x.data *= 10
    backward(total(y))
    assert x.grad.tolist() == [20.0, 40.0]


def test_a_graph_is_freed_when_its_loss_is():
    """A graph is freed with its loss, without the garbage collector."""
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    gc.disable()
    try:
        loss = total(tanh(x @ x) * x)
        backward(loss)
        nodes = [weakref.ref(t) for t in topological_order(loss)]
        assert len(nodes) == 5
        del loss
        alive = [ref() for ref in nodes if ref() is not None]
    finally:
        gc.enable()
    assert alive == [x]


def test_backward_needs_a_gradient_of_the_roots_shape():
    # A root that is no single number has none by itself.
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    for gradient in (1.0, np.ones(3)):
        with pytest.raises(AssertionError, match=r"root's shape: \(2, 3\)"):
            backward(x * 2.0, gradient)
