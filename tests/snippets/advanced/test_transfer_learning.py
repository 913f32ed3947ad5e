"""Transfer: what moves, what stays, and what LoRA computes."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from snippets.advanced.transfer_learning import (
    LoRA,
    accuracy,
    adapt,
    add_lora,
    batch_losses,
    conv_body,
    descend,
    draw,
    merge_lora,
    trained_parameters,
)
from tests.snippets.small_llama import small_llama

IDS = torch.arange(40).reshape(2, 20)


def images(n, seed=0):
    """Images of five classes, each a bar in a row of its own, and noise."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 5
    x = torch.rand(n, 1, 28, 28, generator=rng) / 4
    for i, label in enumerate(labels.tolist()):
        x[i, :, 5 * label : 5 * label + 3] += 1
    return x, labels


def state(module):
    """A copy of all weights and buffers."""
    return copy.deepcopy(module.state_dict())


def same(a, b):
    """Whether two states are equal, to the bit."""
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def pretrained():
    torch.manual_seed(0)
    model = nn.Sequential(conv_body(), nn.Linear(1024, 5))
    descend(model, batch_losses(model, *images(100), 5, 0), 1e-3)
    return model


@pytest.mark.parametrize("method", ["scratch", "frozen", "fine-tuned"])
def test_each_way_learns_and_leaves_the_pretrained_model(pretrained, method):
    """Bars that stand in different rows are told apart by all three ways."""
    before = state(pretrained)
    model = adapt(pretrained, method, *images(50), 3e-3, 0)
    assert accuracy(model, *images(100, seed=1)) > 0.9
    assert same(before, pretrained.state_dict())


def test_a_frozen_body_keeps_all_its_numbers(pretrained):
    """Weights and batch norm's statistics stay, and only then."""
    x, labels = images(50)
    start = state(pretrained[0])
    frozen = adapt(pretrained, "frozen", x, labels, 1e-3, 0)
    assert same(start, frozen[0].state_dict())
    tuned = adapt(pretrained, "fine-tuned", x, labels, 1e-3, 0)
    assert not any(
        torch.equal(a, b)
        for a, b in zip(
            pretrained[0].parameters(), tuned[0].parameters(), strict=True
        )
        if a.dim() == 4
    )


def test_a_body_is_three_convolutions_and_rectified():
    """It has the parameters of the formula, and features of 0 or more."""
    body = conv_body()
    widths = ((1, 16), (16, 32), (32, 64))
    by_formula = sum(9 * a * b + b + 2 * b for a, b in widths)
    assert sum(p.numel() for p in body.parameters()) == by_formula
    features = body(images(4)[0])
    assert features.shape == (4, 1024)
    assert features.min() == 0


def test_adapting_takes_thirty_steps_with_batch_norm_in_training(pretrained):
    """Batch norm of a new body has counted thirty batches."""
    model = adapt(pretrained, "scratch", *images(20), 1e-3, 0)
    assert model[0][1].num_batches_tracked == 30


def test_another_seed_is_another_head_and_other_batches(pretrained):
    """Runs with two seeds end apart; with one seed they end alike."""
    x, labels = images(80)
    runs = [adapt(pretrained, "frozen", x, labels, 1e-3, s) for s in (0, 0, 1)]
    first, again, other = (state(run[1]) for run in runs)
    assert same(first, again)
    assert not same(first, other)
    losses = [
        [loss.item() for loss in batch_losses(pretrained, x, labels, 3, s)]
        for s in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_scratch_knows_nothing_of_the_pretrained_model(pretrained):
    """With another pretrained model the result is the same."""
    other = nn.Sequential(conv_body(), nn.Linear(1024, 5))
    models = [
        adapt(model, "scratch", *images(20), 1e-3, 7)
        for model in (pretrained, other)
    ]
    assert same(models[0].state_dict(), models[1].state_dict())


def test_statistics_move_though_frozen(pretrained):
    """A forward pass in training mode changes them without a gradient."""
    body = copy.deepcopy(pretrained[0]).requires_grad_(False).train()
    start = state(body)
    body(images(10)[0])
    moved = [
        k for k in start if not torch.equal(start[k], body.state_dict()[k])
    ]
    assert moved
    assert all("running" in k or "num_batches" in k for k in moved)


def test_descend_takes_the_steps_of_adam():
    """Trained weights move as torch.optim.Adam says; others stay."""
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    twin = copy.deepcopy(model)
    x = torch.eye(3)
    descend(model, (model(x).square().sum() for _ in range(3)), 0.1)
    optimizer = torch.optim.Adam([twin.weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        twin(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(model.weight, twin.weight)
    assert torch.equal(model.bias, twin.bias)


@pytest.mark.parametrize(("n", "size"), [(20, 20), (80, 50)])
def test_a_batch_has_at_most_fifty_different_examples(n, size):
    """All that is there, or fifty of them, each once."""
    x = torch.arange(float(n)).reshape(n, 1)
    seen = []

    def model(batch):
        seen.append(batch.flatten().tolist())
        return torch.zeros(len(batch), 2)

    labels = torch.zeros(n, dtype=torch.long)
    losses = list(batch_losses(model, x, labels, 4, 0))
    assert [len(set(batch)) for batch in seen] == [size] * 4
    assert all(len(batch) == size for batch in seen)
    assert len({tuple(batch) for batch in seen}) == 4
    assert losses[0].item() == pytest.approx(np.log(2))


@given(st.integers(1, 6), st.integers(0, 99))
def test_a_draw_has_as_many_of_each_class(per_class, seed):
    """No class has more, no example comes twice, a seed repeats itself."""
    labels = torch.tensor([0, 1, 2, 3, 4] * 6)
    places = draw(labels, per_class, seed)
    assert len(set(places.tolist())) == 5 * per_class
    assert torch.bincount(labels[places]).tolist() == [per_class] * 5
    assert torch.equal(places, draw(labels, per_class, seed))


def test_draws_differ_by_seed():
    """Another seed draws other examples."""
    labels = torch.arange(100) % 5
    assert not torch.equal(draw(labels, 5, 0), draw(labels, 5, 1))


def test_accuracy_counts_and_uses_the_running_statistics():
    """Two of three right; batch norm doesn't depend on the batch."""
    model = nn.BatchNorm1d(2).train()
    x = torch.tensor([[2.0, 1.0], [0.0, 5.0], [3.0, 1.0]])
    assert accuracy(model, x, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert model.running_mean.tolist() == [0, 0]


def test_a_starts_within_its_bound_on_both_sides():
    """A fills the range of 1 / sqrt(inputs); the linear layer is frozen."""
    torch.manual_seed(0)
    layer = LoRA(nn.Linear(64, 8))
    assert not any(p.requires_grad for p in layer.linear.parameters())
    assert 0.12 < layer.A.max() <= 0.125
    assert -0.125 <= layer.A.min() < -0.12
    assert (layer.B == 0).all()


def test_with_b_zero_nothing_changes():
    """The logits are the same, to the last bit."""
    model = small_llama()
    with torch.no_grad():
        before = model(IDS).logits
        add_lora(model)
        assert torch.equal(model(IDS).logits, before)
    assert sum(isinstance(m, LoRA) for m in model.modules()) == 6


def with_lora(seed=0):
    """A small Llama whose A and B are both far from zero."""
    model = small_llama()
    add_lora(model)
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, LoRA):
            nn.init.normal_(module.B, std=0.3)
    return model


def test_only_a_and_b_learn():
    """Gradients reach them; their count is rank x (inputs + outputs)."""
    model = with_lora()
    model(IDS, labels=IDS).loss.backward()
    learns = {n for n, p in model.named_parameters() if p.grad is not None}
    assert learns == {
        n for n, _ in model.named_parameters() if n.endswith((".A", ".B"))
    }
    shapes = [
        (m.linear.in_features, m.linear.out_features)
        for m in model.modules()
        if isinstance(m, LoRA)
    ]
    assert trained_parameters(model) == sum(8 * (i + o) for i, o in shapes)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.floats(1, 40)
)
def test_a_layer_is_its_equation(inputs, outputs, rank, alpha):
    """For any shape, (W + alpha / rank B A) x + bias, and so when merged."""
    layer = LoRA(nn.Linear(inputs, outputs), rank, alpha).double()
    nn.init.normal_(layer.B)
    x = torch.randn(2, 3, inputs, dtype=torch.float64)
    W = layer.linear.weight + alpha / rank * layer.B @ layer.A
    expected = torch.einsum("oi,bsi->bso", W, x) + layer.linear.bias
    torch.testing.assert_close(layer(x), expected)
    assert layer.A.abs().max() <= inputs**-0.5
    torch.testing.assert_close(layer.merge()(x), expected)


def test_a_merged_model_has_plain_layers_and_the_same_logits():
    """Within 1e-5 of logits of about 1; no LoRA is left in it."""
    model = with_lora()
    with torch.no_grad():
        plain = small_llama()(IDS).logits
        logits = model(IDS).logits
        merge_lora(model)
        merged = model(IDS).logits
    assert not any(isinstance(m, LoRA) for m in model.modules())
    torch.testing.assert_close(merged, logits, atol=1e-5, rtol=1e-4)
    assert (logits - plain).abs().max() > 0.05


def as_peft(model):
    """PEFT's adapter of the same A and B, on the same weights."""
    targets = ["q_proj", "v_proj"]
    config = LoraConfig(r=8, lora_alpha=16, target_modules=targets)
    base = small_llama()
    theirs = get_peft_model(base, config)
    layers = [m for m in theirs.modules() if hasattr(m, "lora_A")]
    wrapped = [m for m in model.modules() if isinstance(m, LoRA)]
    for ours, layer in zip(wrapped, layers, strict=True):
        layer.lora_A["default"].weight.data.copy_(ours.A)
        layer.lora_B["default"].weight.data.copy_(ours.B)
    return base, theirs


WARNS = "ignore:.*is_gradient_checkpointing:FutureWarning"


@pytest.mark.filterwarnings(WARNS)
def test_peft_gives_the_same_logits():
    """For the same A and B, with scale alpha / rank."""
    model = with_lora()
    _, theirs = as_peft(model)
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model(IDS).logits)


@pytest.mark.filterwarnings(WARNS)
def test_peft_changes_the_model_that_it_is_given():
    """After get_peft_model the base model has adapters; unload undoes it."""
    base, theirs = as_peft(with_lora())
    plain = small_llama()
    with torch.no_grad():
        assert not torch.allclose(base(IDS).logits, plain(IDS).logits)
        restored = theirs.unload()
        assert torch.equal(restored(IDS).logits, plain(IDS).logits)


def test_peft_warns_of_its_own_code():
    """PEFT 0.21 calls what transformers 5.24 calls deprecated."""
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        as_peft(with_lora())


def test_with_a_and_b_zero_nothing_is_learned():
    """Both gradients are zero, so no step changes anything."""
    model = with_lora()
    for module in model.modules():
        if isinstance(module, LoRA):
            nn.init.zeros_(module.A)
            nn.init.zeros_(module.B)
    start = state(model)
    descend(model, (model(IDS, labels=IDS).loss for _ in range(3)), 0.1)
    assert same(start, model.state_dict())


def test_lora_learns_with_its_base_unmoved():
    """The loss falls by 0.2 nats or more; the base keeps its numbers."""
    model = small_llama()
    start = state(model)
    torch.manual_seed(0)
    add_lora(model)
    first = model(IDS, labels=IDS).loss.item()
    descend(model, (model(IDS, labels=IDS).loss for _ in range(60)), 3e-2)
    assert model(IDS, labels=IDS).loss.item() < first - 0.2
    for module in model.modules():
        if isinstance(module, LoRA):
            nn.init.zeros_(module.B)
    merge_lora(model)
    assert same(start, model.state_dict())
