"""The training loop of a transformer, with mixed precision."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snippets.architectures.transformer import GPT
from snippets.training.training_loop import (
    DTYPES,
    accumulate,
    plain_loop,
    read_losses,
    steady_loop,
    summed_loss,
    train_transformer,
    update,
    warmup_cosine,
    window_loader,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small_gpt():
    return GPT(11, d_model=8, n_heads=2, n_layers=1, context=6)


def batches(n=3, size=4):
    ids = torch.randint(11, (n, size, 7))
    return [(each[:, :-1], each[:, 1:]) for each in ids]


def sgd(model, rate=1.0):
    return torch.optim.SGD(model.parameters(), lr=rate)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Table(nn.Module):
    """Logits are a row of a table for each id; the simplest model."""

    def __init__(self, n=11):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(n, n, dtype=torch.float64))

    def forward(self, ids):
        self.was_training = self.training
        return self.table[ids]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_accumulation_equals_the_big_batch(n_parts, seed):
    """Parts of unequal target counts give the big batch's step."""
    torch.manual_seed(seed)
    model = small_gpt().double()
    inputs, targets = batches(1, 6)[0]
    targets = targets.clone()
    targets[torch.rand(targets.shape) < 0.4] = -100
    targets[0, 0] = 1
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps = []
    for n in (1, n_parts):
        model.load_state_dict(before)
        parts = list(zip(inputs.chunk(n), targets.chunk(n), strict=True))
        history = train_transformer(
            model, parts, sgd(model), 1, accumulation_steps=n
        )
        assert len(history["loss"]) == 1
        steps.append((weights(model), history["loss"][0]))
    torch.testing.assert_close(steps[0][0], steps[1][0], rtol=0, atol=1e-14)
    assert steps[0][1] == pytest.approx(steps[1][1], rel=1e-6)
    assert not torch.equal(
        steps[0][0], torch.cat([v.flatten() for v in before.values()])
    )


def test_the_mean_of_means_is_another_gradient():
    # Averaging the parts' means gives too much weight to short parts.
    table = Table()
    inputs = torch.tensor([[1, 1], [2, 2]])
    targets = torch.tensor([[3, 3], [4, -100]])
    parts = list(zip(inputs.split(1), targets.split(1), strict=True))
    train_transformer(table, parts, sgd(table), 1, accumulation_steps=2)
    right = table.table.grad.clone()
    table = Table()
    for x, y in parts:
        (F.cross_entropy(table(x).mT, y) / 2).backward()
    # by hand: 2 of 3 targets follow a 1, and not 1 of 2
    assert right[1, 3].item() == pytest.approx(-2 / 3 * 10 / 11)
    assert table.table.grad[1, 3].item() == pytest.approx(-1 / 2 * 10 / 11)


def test_the_first_loss_worked_by_hand():
    # A table of zeros has a loss of log(11), and then one step lower.
    table = Table()
    batch = (torch.tensor([[1, 1, 1]]), torch.tensor([[5, 5, 5]]))
    history = train_transformer(
        table, [batch, batch], sgd(table), 1, max_grad_norm=None
    )
    # the step at rate 1 adds 10/11 to the right logit, takes 1/11 of others
    expected = math.log(math.exp(10 / 11) + 10 * math.exp(-1 / 11)) - 10 / 11
    assert history["loss"] == pytest.approx([math.log(11), expected])


def test_clipping_bounds_the_step():
    """A step is at most max_grad_norm long, by default 1; None is no bound."""
    lengths = {}
    for name, options in {
        "default": {},
        "tenth": {"max_grad_norm": 0.1},
        "none": {"max_grad_norm": None},
    }.items():
        table = Table()
        with torch.no_grad():
            table.table[0, 1] = 50.0
        before = weights(table)
        batch = (torch.tensor([[0]]), torch.tensor([[0]]))
        train_transformer(table, [batch], sgd(table), 1, **options)
        lengths[name] = (weights(table) - before).norm().item()
    assert lengths["default"] == pytest.approx(1, rel=1e-4)
    assert lengths["tenth"] == pytest.approx(0.1, rel=1e-4)
    assert lengths["none"] == pytest.approx(math.sqrt(2), rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_model_computes_in_the_precision_asked_for(precision):
    """Matrix products run in the precision asked for; weights stay fp32."""
    model = small_gpt()
    seen = []
    model.head.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    scaled = []
    model.head.weight.register_hook(
        lambda gradient: scaled.append(gradient.norm().item())
    )
    train_transformer(
        model, batches(1), sgd(model, 0.0), 1, precision=precision
    )
    assert seen == [DTYPES[precision] or torch.float32]
    assert model.head.weight.dtype == torch.float32
    assert (scaled[0] > 1000) == (precision == "fp16")


def test_fp32_is_the_default():
    # Without a word on precision nothing is rounded.
    model = small_gpt()
    seen = []
    model.head.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    history = train_transformer(model, batches(1), sgd(model))
    assert seen == [torch.float32] * 10  # and ten epochs
    assert len(history["loss"]) == 10


def test_bf16_and_fp16_reach_the_loss_of_fp32():
    """In bf16 and fp16 a run ends within 0.01 of where it ends in fp32."""
    ends = []
    for precision in DTYPES:
        torch.manual_seed(0)
        model = small_gpt()
        optimizer = torch.optim.AdamW(model.parameters(), 2e-2)
        loader = window_loader(torch.arange(500) % 11, 6, 8, 25)
        history = train_transformer(
            model, loader, optimizer, 1, precision=precision
        )
        ends.append(sum(history["loss"][-5:]) / 5)
    assert ends[0] < 1.0
    assert ends == pytest.approx([ends[0]] * 3, abs=0.01)


def test_targets_may_be_of_32_bits():
    # As files of tokens often are; the loss is the same.
    inputs, targets = batches(1)[0]
    one, other = (
        summed_loss(Table(), x, y)
        for x, y in ((inputs, targets), (inputs.int(), targets.int()))
    )
    assert one == other


def test_the_summed_loss_ignores_what_is_not_a_target():
    # Targets of -100 add nothing; the others add their loss each.
    inputs = torch.tensor([[1, 2, 3], [4, 5, 6]])
    targets = torch.tensor([[1, -100, 3], [-100, -100, 2]])
    loss = summed_loss(Table(), inputs, targets)
    assert loss.item() == pytest.approx(3 * math.log(11))


def test_an_output_with_logits_is_trained_alike():
    # A model whose output has .logits takes the very same steps.

    class Wrapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return SimpleNamespace(logits=self.model(ids))

    results = []
    for wrap in (lambda model: model, Wrapped):
        torch.manual_seed(0)
        model = wrap(small_gpt())
        train_transformer(model, batches(), sgd(model, 0.1), 2)
        results.append(weights(model))
    assert torch.equal(*results)


def test_old_gradients_are_not_learned_from():
    # Gradients left over from before have no part in the first step.
    table = Table()
    table.table.grad = torch.full_like(table.table, 1000.0)
    batch = (torch.tensor([[1]]), torch.tensor([[5]]))
    train_transformer(table, [batch], sgd(table), 1)
    assert (table.table[2:] == 0).all()


def test_validates_after_each_epoch_in_eval_mode():
    """validate sees the model in eval mode; training resumes in train."""
    table = Table().eval()
    modes = []

    def validate(model):
        modes.append((model.was_training, model.training))
        return float(len(modes))

    history = train_transformer(
        table, batches(), sgd(table), 2, validate=validate
    )
    assert modes == [(True, False)] * 2
    assert history["validation"] == [1, 2]


def test_the_scheduler_steps_once_an_update():
    """Five batches, two an update: three updates and three steps."""
    table = Table()
    optimizer = sgd(table)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5**step
    )
    history = train_transformer(
        table,
        batches(5),
        optimizer,
        1,
        accumulation_steps=2,
        scheduler=scheduler,
    )
    assert len(history["loss"]) == 3
    assert scheduler.get_last_lr() == [0.125]


class Still:
    """A scheduler that counts how often it is called."""

    steps = 0

    def step(self):
        self.steps += 1


@pytest.mark.parametrize("norm", [math.inf, 1.0, 0.01])
def test_each_loop_is_the_one_before_with_something_added(norm):
    """Without options, all three loops take the same steps."""
    data, results = batches(), []
    for loop in (
        lambda m, o: plain_loop(m, data, o),
        lambda m, o: steady_loop(m, data, o, Still(), norm),
        lambda m, o: train_transformer(m, data, o, 1, max_grad_norm=norm)[
            "loss"
        ],
    ):
        torch.manual_seed(1)
        model = small_gpt()
        losses = loop(model, sgd(model, 0.1))
        results.append(torch.cat([weights(model), torch.tensor(losses)]))
    torch.testing.assert_close(results[1], results[2])
    same = torch.isclose(results[0], results[1]).all()
    assert bool(same) == (norm == math.inf)


def test_the_steady_loop_clips_and_moves_the_schedule():
    # Three batches, three steps of the schedule, none longer than 0.01.
    model, scheduler = small_gpt(), Still()
    before = weights(model)
    losses = steady_loop(model, batches(), sgd(model), scheduler, 0.01)
    assert scheduler.steps == len(losses) == 3
    assert 0.001 < (weights(model) - before).norm() <= 0.03 + 1e-6


def test_accumulate_adds_to_what_is_there():
    # In fp32 and unscaled by default; the loss is the mean over targets.
    data, model = batches(2), small_gpt()
    losses = [accumulate(model, data) for _ in range(2)]
    twice = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    accumulate(model, data, "fp32", lambda loss: 2 * loss)
    torch.testing.assert_close([p.grad for p in model.parameters()], twice)
    inputs, targets = (torch.cat(x) for x in zip(*data, strict=True))
    mean = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(losses[0], mean.detach())
    assert not losses[0].requires_grad


@pytest.mark.parametrize("norm", [None, 1.0, 0.01])
def test_the_scale_of_the_loss_leaves_the_step_alone(norm):
    """With unscaling before clipping, any scale gives the same step."""
    steps = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        model = small_gpt()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        update(model, batches(2), sgd(model), scaler, "fp32", norm)
        steps.append(weights(model))
    torch.testing.assert_close(*steps)


def test_an_overflow_moves_neither_weights_nor_schedule(monkeypatch):
    """An update that overflows moves neither the weights nor the schedule."""
    kind = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp,
        "GradScaler",
        lambda device, enabled: kind(device, 2.0**17, enabled=enabled),
    )
    model, scheduler = small_gpt(), Still()
    with torch.no_grad():
        model.head.weight *= 100
    before = weights(model)
    options = {"precision": "fp16", "scheduler": scheduler}
    train_transformer(model, batches(1), sgd(model), 1, **options)
    assert torch.equal(weights(model), before)
    assert scheduler.steps == 0
    train_transformer(model, batches(1), sgd(model, 1e-3), 12, **options)
    assert not torch.equal(weights(model), before)
    assert 0 < scheduler.steps < 12


def test_losses_are_read_in_order_and_reported():
    # The last one is reported, and those that waited are gone.
    lines, losses = [], [9.0]
    waiting = [torch.tensor(2.0), torch.tensor(1.5)]
    read_losses(waiting, losses, lines.append)
    assert losses == [9.0, 2.0, 1.5]
    assert waiting == []
    assert lines == ["update 3: loss 1.500"]


def test_reports_every_so_many_updates():
    # By default 50; over the ends of epochs, and the rest is kept, too.
    table, lines, fifty = Table(), [], []
    options = {"report": lines.append, "report_every": 4}
    losses = train_transformer(table, batches(5), sgd(table), 2, **options)
    assert len(losses["loss"]) == 10
    assert [line.split(":")[0] for line in lines] == ["update 4", "update 8"]
    train_transformer(
        table, batches(1) * 101, sgd(table), 1, report=fifty.append
    )
    assert [line.split(":")[0] for line in fifty] == [
        "update 50",
        "update 100",
    ]


@pytest.mark.parametrize(("every", "bad"), [(1, 7), (2, 8), (50, 10)])
def test_a_loss_that_is_not_finite_is_an_error(every, bad):
    """A loss that is NaN stops the training, and the error says where."""
    table, losses = Table(), []

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table

        def forward(self, ids):
            losses.append(1)
            return table(ids) * (math.nan if len(losses) == bad else 1)

    model = Failing()
    message = f"loss is nan at update {bad}: lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train_transformer(model, batches(5), sgd(model), 2, report_every=every)


@pytest.mark.parametrize("norm", [0, -1.0, math.nan])
def test_a_norm_of_zero_is_refused(norm):
    # Other trainers turn clipping off by it; here it would train nothing.
    with pytest.raises(AssertionError, match="None clips nothing"):
        train_transformer(Table(), [], sgd(Table()), max_grad_norm=norm)


def test_an_unknown_precision_is_refused():
    table = Table()
    with pytest.raises(KeyError, match="fp8"):
        train_transformer(table, batches(), sgd(table), precision="fp8")


def test_schedule_worked_by_hand():
    """Warm-up of 4, then cosine to the floor: values worked by hand."""
    rates = [warmup_cosine(step, 12, 4, floor=0.2) for step in range(14)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    quarter = 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2
    assert rates[6] == pytest.approx(quarter)
    assert rates[8] == pytest.approx(0.6)
    assert rates[12:] == pytest.approx([0.2, 0.2])
    assert warmup_cosine(10, 10, 0) == pytest.approx(0.1)
    assert warmup_cosine(0, 10, 0) == 1
    assert warmup_cosine(8, 10, 9) == 1


def test_the_loader_gives_shifted_windows():
    # Targets are the inputs moved on by one; a seed gives the same.
    ids = torch.arange(25)
    loader = window_loader(ids, 4, batch_size=3, n_batches=2)
    assert len(loader) == 2
    seen = set()
    for _ in range(10):
        for inputs, targets in loader:
            assert inputs.shape == (3, 4)
            assert torch.equal(targets, inputs + 1)
            seen |= set(inputs[:, 0].tolist())
    assert seen == {0, 4, 8, 12, 16, 20}
    assert len(list(window_loader(torch.arange(24), 4, 1, 5).dataset)) == 5
    first, same, other = (
        torch.cat([x for x, _ in window_loader(ids, 4, 3, 2, **seed)])
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_text_no_longer_than_the_context_is_refused():
    # One id more makes a window; every second id of a text does as well.
    with pytest.raises(AssertionError, match="8 ids, but a context of 8"):
        window_loader(torch.arange(8), 8, batch_size=2, n_batches=1)
    [(inputs, _)] = window_loader(torch.arange(9), 8, 1, 1)
    assert inputs.tolist() == [list(range(8))]
    [(inputs, targets)] = window_loader(torch.arange(18)[::2], 8, 1, 1)
    assert inputs.tolist() == [list(range(0, 16, 2))]
    assert torch.equal(targets, inputs + 2)


def test_unshifted_targets_make_a_loss_of_nothing():
    # With targets equal to inputs the loss vanishes; the use does too.
    ids = torch.randint(11, (64, 7))
    model = small_gpt()
    copied = [(ids[:, :-1], ids[:, :-1])] * 40
    optimizer = torch.optim.AdamW(model.parameters(), 0.03)
    losses = train_transformer(model, copied, optimizer, 2)["loss"]
    assert losses[-1] < 0.1
    with torch.no_grad():
        shifted = F.cross_entropy(model(ids[:, :-1]).mT, ids[:, 1:])
    assert shifted > math.log(11)
