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
    share_of_zeros,
    summed_loss,
    train_transformer,
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


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_accumulation_equals_the_big_batch(n_parts, seed):
    """Parts of unequal target counts give the big batch's step, exactly."""
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
    """Averaging the parts' means gives too much weight to short parts."""
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
    """A table of zeros has a loss of log(11), and then one step lower."""
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


@pytest.mark.parametrize("norm", [None, 1.0, 0.01])
def test_the_scale_of_the_loss_leaves_the_step_alone(norm):
    """Clipping after unscaling: any scale gives the step of no scaling."""
    steps = []
    for scale in (None, 1.0, 1024.0):
        torch.manual_seed(0)
        model = small_gpt()
        scaler = scale and torch.amp.GradScaler("cpu", init_scale=scale)
        train_transformer(
            model,
            batches(2),
            sgd(model),
            1,
            max_grad_norm=norm,
            scaler=scaler,
        )
        steps.append(weights(model))
    torch.testing.assert_close(steps[1], steps[0])
    torch.testing.assert_close(steps[2], steps[0])


def test_an_overflow_is_skipped_and_the_scale_halved():
    """An update that overflows changes no weight; the scale is halved."""
    model = small_gpt()
    before = weights(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    options = {"precision": "fp16", "scaler": scaler, "scheduler": scheduler}
    history = train_transformer(model, batches(1), optimizer, 2, **options)
    assert len(history["loss"]) == 2
    assert torch.equal(weights(model), before)
    assert scaler.get_scale() == 2.0**125
    assert scheduler.last_epoch == 0
    train_transformer(model, batches(1), optimizer, 140, **options)
    assert not torch.equal(weights(model), before)
    skipped = 125 - math.log2(scaler.get_scale())
    assert 0 < scheduler.last_epoch == 140 - skipped


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
    """Without a word on precision nothing is rounded."""
    model = small_gpt()
    seen = []
    model.head.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    history = train_transformer(model, batches(1), sgd(model))
    assert seen == [torch.float32] * 10  # and ten epochs
    assert len(history["loss"]) == 10


def test_bf16_and_fp16_reach_the_loss_of_fp32():
    """Over three seeds each ends within 0.005 of the loss of fp32."""
    for seed in range(3):
        ends = []
        for precision in DTYPES:
            torch.manual_seed(seed)
            model = small_gpt()
            optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
            loader = window_loader(torch.arange(500) % 11, 6, 8, 60, seed)
            history = train_transformer(
                model, loader, optimizer, 1, precision=precision
            )
            ends.append(sum(history["loss"][-10:]) / 10)
        assert ends[0] < 1.0
        assert ends == pytest.approx([ends[0]] * 3, abs=0.005)


def test_fp16_flushes_small_gradients_and_scaling_saves_them():
    """What fp16 flushes to zero, a scaled loss and bf16 keep."""
    model = small_gpt()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    inputs, targets = batches(1, 8)[0]
    flushed = {}
    for precision, scale in (
        ("fp16", 1e-5),
        ("fp16", 1.0),
        ("fp16", 2.0**10),
        ("bf16", 1e-5),
        ("fp32", 1.0),
    ):
        flushed[precision, scale] = share_of_zeros(
            model, inputs, targets, precision, scale
        )
    assert 0.2 < flushed["fp16", 1e-5] < 1
    assert flushed["fp16", 1e-5] > 10 * flushed["fp16", 2.0**10]
    assert flushed["bf16", 1e-5] < 0.01
    assert flushed["fp32", 1.0] == 0
    assert all(p.grad is None for p in model.parameters())
    assert share_of_zeros(model, inputs, targets, "fp16") == pytest.approx(
        flushed["fp16", 1.0]
    )


def test_the_share_of_zeros_worked_by_hand():
    """Only gradients that are not zero in fp32 count: the row in use."""
    table = Table().float()
    inputs, targets = torch.tensor([[1]]), torch.tensor([[5]])
    assert share_of_zeros(table, inputs, targets, "fp32", 0.0) == 1
    assert share_of_zeros(table, inputs, targets, "fp32", 1e-3) == 0
    with torch.no_grad():  # ten of eleven are about exp(-60) = 9e-27
        table.table[1, 5] = 60.0
        table.table[1, 6] = 59.0
    assert share_of_zeros(table, inputs, targets, "fp32", 1e-25) == (
        pytest.approx(9 / 11)
    )


def test_frozen_parameters_have_no_share():
    """With one layer frozen the share is that of the others, and 0 in fp32."""
    model = small_gpt()
    model.tokens.requires_grad_(False)
    inputs, targets = batches(1)[0]
    assert share_of_zeros(model, inputs, targets, "fp32") == 0
    assert 0 < share_of_zeros(model, inputs, targets, "fp16", 1e-6) <= 1


@pytest.mark.parametrize("training", [True, False])
def test_the_share_of_zeros_is_found_without_dropout(training):
    """Dropout would make zeros of its own; the mode comes back."""
    model = nn.Sequential(Table().float(), nn.Dropout(0.5)).train(training)
    inputs, targets = batches(1)[0]
    assert share_of_zeros(model, inputs, targets, "fp32") == 0
    assert model.training == training


def test_targets_may_be_of_32_bits():
    """As files of tokens often are; the loss is the same."""
    inputs, targets = batches(1)[0]
    one, other = (
        summed_loss(Table(), x, y, torch.device("cpu"), "fp32")
        for x, y in ((inputs, targets), (inputs.int(), targets.int()))
    )
    assert one == other


def test_the_summed_loss_ignores_what_is_not_a_target():
    """Targets of -100 add nothing; the others add their loss each."""
    inputs = torch.tensor([[1, 2, 3], [4, 5, 6]])
    targets = torch.tensor([[1, -100, 3], [-100, -100, 2]])
    loss = summed_loss(Table(), inputs, targets, torch.device("cpu"), "fp32")
    assert loss.item() == pytest.approx(3 * math.log(11))


def test_an_output_with_logits_is_trained_alike():
    """A model whose output has .logits takes the very same steps."""

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


def test_equals_a_loop_written_by_hand():
    """Without options the weights are those of the plain loop."""
    data = batches()
    torch.manual_seed(1)
    ours = small_gpt()
    optimizer = sgd(ours, 0.1)
    losses = train_transformer(ours, data, optimizer, 3)["loss"]
    torch.manual_seed(1)
    plain = small_gpt()
    optimizer = sgd(plain, 0.1)
    expected = []
    for inputs, targets in data * 3:
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(inputs).mT, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected)
    torch.testing.assert_close(weights(ours), weights(plain))


def test_old_gradients_are_not_learned_from():
    """Gradients left over from before have no part in the first step."""
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


def test_reports_every_so_many_updates():
    """A line every report_every updates, by default 50, counted anew."""
    lines, fifty = [], []
    table = Table()
    losses = train_transformer(
        table,
        batches(5),
        sgd(table),
        2,
        report=lines.append,
        report_every=2,
    )["loss"]
    assert len(set(losses)) == 10
    assert lines == [
        f"epoch {epoch}, step {step}: loss {losses[5 * epoch + step - 6]:.3f}"
        for epoch in (1, 2)
        for step in (2, 4)
    ]
    train_transformer(
        table, batches(1) * 101, sgd(table), 1, report=fifty.append
    )
    assert [line.split(":")[0] for line in fifty] == [
        "epoch 1, step 50",
        "epoch 1, step 100",
    ]


@pytest.mark.parametrize(("every", "bad"), [(1, 2), (2, 3), (50, 5)])
def test_a_loss_that_is_not_finite_is_an_error(every, bad):
    """The error names the epoch and step, and says what to lower."""
    table, losses = Table(), []

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table

        def forward(self, ids):
            losses.append(1)
            return table(ids) * (math.nan if len(losses) == 5 + bad else 1)

    model = Failing()
    message = f"loss is nan at epoch 2, step {bad}: lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train_transformer(model, batches(5), sgd(model), 2, report_every=every)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs: expected 1 or more, got 0"),
        ({"accumulation_steps": 0}, "accumulation_steps: expected 1 or more"),
        ({"report_every": 0}, "report_every: expected 1 or more, got 0"),
        ({"precision": "fp8"}, "expected one of fp32, bf16, fp16, got fp8"),
        ({"max_grad_norm": 0}, "max_grad_norm: expected more than 0, .*got 0"),
        ({"max_grad_norm": -1.0}, "or None to clip nothing, got -1.0"),
        ({"max_grad_norm": math.nan}, "expected more than 0, .* got nan"),
    ],
)
def test_bad_options_are_refused(options, message):
    """Options that can't be are refused by name before anything runs."""
    table = Table()
    with pytest.raises(ValueError, match=message):
        train_transformer(table, batches(), sgd(table), **options)


def test_bad_data_is_refused():
    """No batch at all, or targets of another shape, are refused."""
    table = Table()
    with pytest.raises(ValueError, match="dataloader: expected batches"):
        train_transformer(table, [], sgd(table))
    inputs, targets = batches(1)[0]
    message = r"targets: expected shape \(4, 6\), got \(4, 5\)"
    with pytest.raises(ValueError, match=message):
        train_transformer(table, [(inputs, targets[:, 1:])], sgd(table))


def test_an_update_without_targets_is_refused():
    """All targets -100: refused by name; one alone is enough."""
    table = Table()
    inputs, targets = batches(1)[0]
    nothing = torch.full_like(targets, -100)
    batch = [(inputs, nothing)]
    message = "targets: expected at least one that is not -100, got none"
    with pytest.raises(ValueError, match=message):
        train_transformer(table, batch, sgd(table))
    one = nothing.clone()
    one[0, 0] = 5
    train_transformer(
        table, [*batch, (inputs, one)], sgd(table), 1, accumulation_steps=2
    )


def test_the_device_is_where_the_model_is_or_is_sent():
    """Without device the model stays; with it, the model goes there."""
    table = Table().to("meta")
    moves = []
    table.to = lambda device: moves.append(device.type)
    for device in (None, "cpu"):
        with pytest.raises((RuntimeError, NotImplementedError)):
            train_transformer(table, batches(1), sgd(table), 1, device=device)
    assert moves == ["meta", "cpu"]


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


@pytest.mark.parametrize("n_warmup", [-1, 10, 11])
def test_a_warmup_as_long_as_the_training_is_refused(n_warmup):
    """Warm-up has to end before training does."""
    with pytest.raises(ValueError, match="n_warmup: expected 0 to 9"):
        warmup_cosine(0, 10, n_warmup)


def test_the_loader_gives_shifted_windows():
    """Targets are the inputs moved on by one; a seed gives the same."""
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
    """One id more makes a window; every second id of a text does as well."""
    message = r"ids: expected more than context \(8\), got 8"
    with pytest.raises(ValueError, match=message):
        window_loader(torch.arange(8), 8, batch_size=2, n_batches=1)
    [(inputs, _)] = window_loader(torch.arange(9), 8, 1, 1)
    assert inputs.tolist() == [list(range(8))]
    [(inputs, targets)] = window_loader(torch.arange(18)[::2], 8, 1, 1)
    assert inputs.tolist() == [list(range(0, 16, 2))]
    assert torch.equal(targets, inputs + 2)


def test_unshifted_targets_make_a_loss_of_nothing():
    """With targets equal to inputs the loss vanishes; the use does too."""
    ids = torch.randint(11, (64, 7))
    model = small_gpt()
    copied = [(ids[:, :-1], ids[:, :-1])] * 60
    optimizer = torch.optim.AdamW(model.parameters(), 0.03)
    losses = train_transformer(model, copied, optimizer, 2)["loss"]
    assert losses[-1] < 0.1
    with torch.no_grad():
        shifted = F.cross_entropy(model(ids[:, :-1]).mT, ids[:, 1:])
    assert shifted > math.log(11)
