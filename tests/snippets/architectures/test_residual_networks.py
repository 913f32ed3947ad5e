"""Residual blocks, the loop that trains them, and the recorded runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer

from snippets.architectures import residual_networks
from snippets.architectures.residual_networks import (
    Residual,
    accuracies_by_move,
    accuracy,
    deep_net,
    dense_net,
    fit,
    gradient_growth,
    jittered,
    small_resnet,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def results():
    """What the benchmark recorded."""
    path = Path(residual_networks.__file__)
    path = path.with_name("residual_networks.results.json")
    return json.loads(path.read_text("utf-8"))["results"]


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "stride"),
    [(4, 4, 1), (4, 8, 2), (4, 4, 2)],
)
def test_a_block_adds_to_its_input(channels_in, channels_out, stride):
    # Worked by hand with PyTorch's functions, in evaluation.
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
        kept = norm(F.conv2d(x, state["bypass.0.weight"], stride=stride))
    expected = F.relu(kept + norm(h))
    torch.testing.assert_close(block(x), expected)
    assert expected.shape[1:] == (channels_out, *2 * [-(-7 // stride)])


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "stride"),
    [(4, 4, 1), (4, 8, 2), (4, 4, 2)],
)
def test_a_block_is_the_one_of_transformers(channels_in, channels_out, stride):
    """A block computes what transformers' block does, gradients included."""
    torch.manual_seed(0)
    theirs = ResNetBasicLayer(channels_in, channels_out, stride).double()
    ours = Residual(channels_in, channels_out, stride).double()
    with torch.no_grad():
        for p, q in zip(
            [*ours.change.parameters(), *ours.bypass.parameters()],
            [*theirs.layer.parameters(), *theirs.shortcut.parameters()],
            strict=True,
        ):
            p.copy_(q.normal_())
    x = torch.tensor(normal(3, channels_in, 7, 7), requires_grad=True)
    like_x = x.detach().clone().requires_grad_()
    z, expected = ours(x), theirs(like_x)
    torch.testing.assert_close(z, expected)
    z.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, like_x.grad)


def test_a_plain_block_is_the_same_without_the_addition():
    torch.manual_seed(0)
    block, x = Residual(3, 3, bypass=False), torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(block(x), F.relu(block.change(x)))
    other = Residual(3, 6, stride=2, bypass=False)
    assert other(x).shape == (2, 6, 3, 3)


def test_a_block_that_adds_nothing_passes_on_its_input():
    """A block whose convolutions give zero passes on its input."""
    block = Residual(3, 3)
    assert isinstance(block.bypass, nn.Identity)
    with torch.no_grad():
        for p in block.change[4].parameters():
            p.zero_()
    x = torch.rand(2, 3, 5, 5)  # nothing negative for the ReLU to cut
    torch.testing.assert_close(block(x), x)


def test_a_bias_before_batch_norm_has_no_effect():
    # So the convolutions have none: its gradient would be zero.
    assert not any(
        layer.bias is not None
        for layer in Residual(3, 6, 2).modules()
        if isinstance(layer, nn.Conv2d)
    )
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 3, 3).double(), nn.BatchNorm2d(3).double()
    F.relu(
        norm(conv(torch.tensor(normal(4, 2, 6, 6))))
    ).square().sum().backward()
    assert conv.bias.grad.abs().max() < 1e-10
    assert conv.weight.grad.abs().max() > 1e-3


@pytest.mark.parametrize("layers", [8, 20])
def test_stacks_have_equal_size_with_and_without_a_bypass(layers):
    """Stacks have as many parameters with a bypass as without."""
    counts = []
    for bypass in (False, True):
        model = deep_net(layers, bypass)
        kinds = nn.Conv2d, nn.Linear
        assert layers == sum(isinstance(m, kinds) for m in model.modules())
        counts.append(sum(p.numel() for p in model.parameters()))
        assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        assert model[:3](torch.zeros(2, 1, 28, 28)).shape == (2, 16, 7, 7)
    assert counts[0] == counts[1]
    assert deep_net(4, True, width=5)[0].out_channels == 5


def test_a_stack_of_one_block_is_worked_by_hand():
    torch.manual_seed(0)
    model, x = deep_net(4, True).eval(), torch.randn(3, 1, 28, 28)
    h = F.conv2d(x, model[0].weight, stride=4, padding=3)
    h = model[3](F.relu(h / (1 + 1e-5) ** 0.5))
    torch.testing.assert_close(model(x), model[-1](h.mean(dim=(2, 3))))


def test_gradients_grow_less_with_a_bypass():
    """Over eight blocks gradients grow less than half as much, bypassed."""
    torch.manual_seed(0)
    images, labels = torch.randn(50, 1, 28, 28), torch.arange(50) % 10
    growth = []
    for bypass in (False, True):
        model = deep_net(18, bypass)
        growth.append(gradient_growth(model, images, labels))
        first, last = (model[i].change[0].weight.grad.numpy() for i in (3, 10))
        ratio = (np.mean(first**2) / np.mean(last**2)) ** 0.5
        assert growth[-1] == pytest.approx(ratio, rel=1e-4)
    assert growth[0] > 2 * growth[1]


def test_the_resnet_halves_three_times_and_doubles_its_channels():
    # 28 pixels become 4, 16 channels 64; the parts stand in this order.
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
    # With other channels and classes, and a wider first layer.
    model = small_resnet(width=4, channels=3, classes=7).eval()
    for size in (8, 31, 64):
        assert model(torch.zeros(2, 3, size, size + 1)).shape == (2, 7)
    assert model[0].out_channels == 4


def test_the_strides_of_the_resnets_blocks_can_be_set():
    # One for each block, in their order.
    h, sizes = torch.zeros(1, 1, 48, 48), []
    for part in small_resnet(strides=(3, 1, 2)).eval()[:6]:
        h = part(h)
        sizes.append(h.shape[-1])
    assert sizes[3:] == [8, 8, 4]


def test_the_dense_network_has_about_as_many_parameters():
    # 79,510 against 77,754, in two layers with a ReLU between.
    model = dense_net()
    assert sum(p.numel() for p in model.parameters()) == 79_510
    small = dense_net(4, 3, 2)
    x = torch.randn(5, 1, 2, 2)
    first, last = small[1], small[3]
    hidden = F.relu(x.flatten(1) @ first.weight.T + first.bias)
    torch.testing.assert_close(small(x), hidden @ last.weight.T + last.bias)


def some_images(n=120):
    labels = torch.arange(n) % 2
    noise = torch.tensor(normal(n, 1, 6, 6), dtype=torch.float32)
    return noise + 3 * labels[:, None, None, None], labels


def reference_fit(model, images, labels, epochs, rate, seed, batches):
    """The plain loop, with the batches' sizes given."""
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, epochs * len(batches)
    )
    generator, means = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        losses = []
        for batch in order.split(batches):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    return means


@pytest.mark.parametrize(
    "options", [{}, {"epochs": 2, "rate": 0.1, "seed": 7}]
)
def test_training_is_the_plain_loop(options):
    # At most 50 a batch, as even as can be, in a new order each epoch.
    images, labels = some_images(103)
    torch.manual_seed(0)
    model, copy = dense_net(36, 5, 2), dense_net(36, 5, 2)
    copy.load_state_dict(model.state_dict())
    means = fit(model, images, labels, **options)
    settings = {"epochs": 4, "rate": 0.005, "seed": 0, **options}
    expected = reference_fit(
        copy, images, labels, **settings, batches=[35, 34, 34]
    )
    assert means == pytest.approx(expected, rel=1e-5)
    for a, b in zip(model.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_turns_training_mode_on_and_changes_images_anew():
    # A model that was evaluated before trains; change is asked each epoch.
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


def test_no_batch_has_a_single_image():
    # Batch norm needs two numbers a channel; 51 images are two batches.
    images, labels = torch.rand(51, 1, 8, 8), torch.arange(51) % 10
    assert len(fit(small_resnet(4), images, labels, epochs=1)) == 1


def test_numbers_of_any_type_become_the_models():
    # Doubles, bytes and labels of 32 bits train and score as floats do.
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
        runs[-1].append(accuracy(model, images_now, labels_now))
    assert runs[0] == runs[1] == runs[2]


def test_images_go_to_the_models_device():
    # Both calls get as far as a number, which meta, for a GPU, hasn't.
    images, labels = some_images(60)
    for call in (fit, accuracy):
        model = dense_net(36, 5, 2).to("meta")
        with pytest.raises(RuntimeError, match="item"):
            call(model, images, labels)


@pytest.mark.parametrize("training", [True, False])
def test_accuracy_is_counted_in_evaluation(training):
    # Two of three here; dropout is off, and the mode comes back.
    model = nn.Sequential(nn.Dropout(0.999), nn.Flatten())
    model.train(training)
    images = torch.eye(3).reshape(3, 3, 1, 1)
    labels = torch.tensor([0, 1, 1])
    assert accuracy(model, images, labels) == pytest.approx(2 / 3)
    assert model.training == training
    with pytest.raises(AssertionError, match=r"\[1\]"):
        accuracy(model, images, labels[:1])


def test_jittered_images_are_new_each_time_and_follow_the_seed():
    # The same shape and type; another call moves them otherwise.
    images = torch.rand(5, 1, 28, 28, generator=torch.manual_seed(0))
    change = jittered(3)
    one, two = change(images), change(images)
    assert one.shape == images.shape
    assert one.dtype == images.dtype
    assert not torch.equal(one, images)
    assert not torch.equal(one, two)
    assert torch.equal(jittered(3)(images), one)
    assert not torch.equal(jittered(4)(images), one)


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
    # A dot just in the second half, and a model that looks for it there.

    class Halves(nn.Module):
        def forward(self, images):
            halves = images.split(4, dim=axis)
            return torch.stack([half.sum((1, 2, 3)) for half in halves], 1)

    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 4, 4] = 1
    label = torch.tensor([1])
    # Moved back it leaves the half at once; moved on, it comes round at four.
    assert accuracies_by_move(Halves(), images, label, most=4) == expected
    assert len(accuracies_by_move(Halves(), images, label)) == 9


def test_recorded_plain_stacks_get_worse_with_depth():
    """Recorded: plain stacks get worse with depth, on training and test."""
    depth = results()["depth"]
    plain = np.array([kinds["plain"] for kinds in depth.values()])
    other = np.array([kinds["with bypass"] for kinds in depth.values()])
    assert plain.shape == other.shape == (4, 5, 2)
    losses, found = plain.mean(axis=1).T
    assert (np.diff(losses) > 0).all()
    assert (np.diff(found) < 0).all()
    assert (np.diff(other.mean(axis=1)[:, 0]) < 0).all()
    at_twenty = list(depth).index("20")
    assert plain[at_twenty, :, 1].max() + 0.05 < other[at_twenty, :, 1].min()


def test_the_recorded_resnet_makes_fewer_than_half_of_the_mistakes():
    """Recorded: the ResNet makes fewer than half of its rival's mistakes."""
    moves = {name: np.array(a) for name, a in results()["moves"].items()}
    assert all(found.shape == (5, 9, 4) for found in moves.values())
    mistakes = 1 - moves["ResNet"][:, 0, 0], 1 - moves["dense"][:, 0, 0]
    assert (mistakes[0] < mistakes[1] / 2).all()


def test_the_recorded_dip_is_the_strides():
    """Recorded: the dip is gone where strides multiply to four, not eight."""
    moves = results()["moves"]
    for name, sign in (("ResNet", 1), ("ResNet, finer", -1)):
        runs = np.array(moves[name]).mean(axis=-1)  # (seed, pixels)
        assert (sign * runs[:, 8] > sign * runs[:, 5]).all()


def test_the_recorded_directions_turn_with_the_digits():
    """Recorded: with transposed digits the hard directions turn, too."""
    moves = {name: np.array(a) for name, a in results()["moves"].items()}
    for name, sign in (("ResNet", 1), ("ResNet, transposed", -1)):
        across, along = moves[name][:, 4, :2], moves[name][:, 4, 2:]
        assert (sign * (across.mean(axis=1) - along.mean(axis=1)) > 0).all()
