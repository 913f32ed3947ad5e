"""Monitoring."""

import math
import time

import matplotlib.pyplot as plt
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch.utils.tensorboard import SummaryWriter

from benchmarks.monitoring import FOLDER, TABS, ask, shown_code, tensorboard
from snippets.training import monitoring as lesson
from snippets.training.monitoring import (
    Watch,
    dead_units,
    evaluate,
    load,
    memory_used,
    network,
    read,
    run,
    served,
    smooth,
    state_bytes,
    train,
    update,
    watched,
    worst,
)


def by_tensorboard(log_dir, limit):
    """The loss in a folder, as TensorBoard's reader keeps it."""
    events = EventAccumulator(str(log_dir), {"scalars": limit}).Reload()
    return [(e.step, e.value) for e in events.Scalars("loss")]


def write(log_dir, points, tag="loss", **options):
    """One event file with these points of a curve, a second after others.

    Files are read by name: the second, then a count in which 10 precedes 9.
    """
    while any(log_dir.glob(f"*.{int(time.time())}.*")):
        time.sleep(0.05)
    with SummaryWriter(log_dir, **options) as writer:
        for step, value in points:
            writer.add_scalar(tag, value, step)


def test_all_points_are_read(tmp_path):
    """Each tag's curve has every point, also of more than 10,000."""
    with SummaryWriter(tmp_path) as writer:
        for step in range(10_500):
            writer.add_scalar("loss", step / 4, step)
        writer.add_scalar("rate", 0.5, 7)
        writer.add_histogram("weights", torch.arange(10.0), 5)
    curves = read(tmp_path)
    assert curves["loss"] == [(step, step / 4) for step in range(10_500)]
    assert curves["rate"] == [(7, 0.5)]
    assert set(curves) == {"loss", "rate"}


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    st.floats(0, 0.99),
)
def test_smoothing_is_a_weighted_mean(values, weight):
    """Each value counts `weight` times as much as the next one."""
    weights = [weight ** (len(values) - 1 - n) for n in range(len(values))]
    pairs = zip(weights, values, strict=True)
    mean = sum(w * value for w, value in pairs) / sum(weights)
    smoothed = smooth(values, weight)
    assert len(smoothed) == len(values)
    assert smoothed[-1] == pytest.approx(mean, rel=1e-9, abs=1e-9)


def test_smoothing_passes_over_nan():
    """NaN and infinity stay where they are, and spoil nothing after them."""
    values = [1.0, math.nan, 2.0, math.inf, -math.inf, 3.0]
    smoothed = smooth(values, 0.6)
    assert math.isnan(smoothed[1])
    assert smoothed[3:5] == [math.inf, -math.inf]
    assert [smoothed[n] for n in (0, 2, 5)] == smooth([1.0, 2.0, 3.0], 0.6)
    for weight in (-0.1, 1):
        with pytest.raises(AssertionError, match=r"in \[0, 1\)"):
            smooth([1.0], weight)


@pytest.mark.parametrize("weight", [0.6, 0.9, 0.99])
def test_a_smoothed_line_is_late(weight):
    """On a straight line by weight / (1 - weight) steps: 1.5, 9 and 99."""
    late = 5000 - smooth(range(5001), weight)[-1]
    assert late == pytest.approx(weight / (1 - weight), rel=1e-6)


def test_tensorboard_shows_a_sample(tmp_path):
    """Of 5,000 points its reader keeps a fair 1,000, and always the last."""
    write(tmp_path, [(step, float(step)) for step in range(5000)])
    kept = by_tensorboard(tmp_path, 1000)
    assert len(kept) == 1000
    assert kept[-1] == (4999, 4999.0)
    # a fair sample: its mean is that of all, within four standard errors
    mean = sum(step for step, _ in kept) / 1000
    assert abs(mean - 2499.5) < 4 * 5000 / math.sqrt(12 * 1000)


@pytest.mark.parametrize(
    ("options", "kept"),
    [([], 1000), (["--samples_per_plugin=scalars=5000"], 3000)],
)
def test_the_page_shows_a_sample_unless_told(tmp_path, options, kept):
    """It shows 1,000 of 3,000 points, or all where it is told to."""
    write(tmp_path / "ours", [(step, float(step)) for step in range(3000)])
    with tensorboard(tmp_path, 1, *options) as address:
        points = ask(address, "scalars?tag=loss&run=ours")
    assert len(points) == kept
    assert all(step == value for _, step, value in points)
    assert points[-1][1] == 2999


def test_steps_that_go_backwards(tmp_path):
    """TensorBoard's page drops earlier points, and ignores purge_step.

    A rarely logged curve keeps a point of the killed run, even with it.
    """
    old = [(step, 1.0) for step in range(50)]
    new = [(step, 2.0) for step in range(30, 60)]
    for name, starts in (("plain", (None, None)), ("purged", (0, 30))):
        for points, start in zip((old, new), starts, strict=True):
            write(tmp_path / name, points, purge_step=start)
    rare = tmp_path / "rare"
    write(rare, [(28, 1.0), (35, 1.0), (45, 1.0)], purge_step=0)
    write(rare, [(40, 2.0), (50, 2.0)], purge_step=30)
    resumed = old[:30] + new
    assert read(tmp_path / "plain")["loss"] == old + new
    assert read(tmp_path / "purged")["loss"] == resumed
    assert read(rare)["loss"] == [(28, 1.0), (40, 2.0), (50, 2.0)]
    before = psutil.Process().children(recursive=True)
    page = served(tmp_path, n_runs=3)
    for name in ("plain", "purged"):
        assert [tuple(point) for point in page[name]] == resumed
    assert [step for step, _ in page["rare"]] == [28, 35, 40, 50]
    after = psutil.Process().children(recursive=True)
    assert set(after) <= set(before)  # nothing goes on serving


@pytest.fixture(scope="module")
def data():
    return load()


def test_the_two_parts_share_no_digit(data):
    """300 digits to learn from and 500 others, pixels between 0 and 1."""
    (X, y), (X_validation, y_validation) = data
    assert X.shape == (300, 64)
    assert X_validation.shape == (500, 64)
    assert (len(y), len(y_validation)) == (300, 500)
    both = torch.cat([X, X_validation])
    assert len(both.unique(dim=0)) == 800
    assert (both.min(), both.max()) == (0, 1)
    smaller, rest = load(20, 30)
    assert torch.equal(smaller[0], X[:20])
    assert torch.equal(rest[0], X[20:50])


class Noted:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.curves = {}

    def add_scalar(self, tag, scalar_value, global_step):
        self.curves.setdefault(tag, []).append((global_step, scalar_value))


def test_training_logs_what_it_does(data):
    """The logged numbers are those of the same training without a log."""
    noted, steps, model = Noted(), [], network(seed=1)
    accuracy = train(
        model, data, noted, 0.1, epochs=3, seed=2, each_epoch=steps.append
    )
    twin, (X, y) = network(seed=1), data[0]
    rng = torch.Generator().manual_seed(2)
    losses, norms, ratios = [], [], []
    for _ in range(3):
        for batch in torch.randperm(300, generator=rng).split(30):
            twin.zero_grad()
            logits = twin(X[batch])
            loss = torch.nn.functional.cross_entropy(logits, y[batch])
            loss.backward()
            grads = torch.cat([p.grad.flatten() for p in twin.parameters()])
            losses.append(loss.item())
            norms.append(grads.norm().item())
            # of plain gradient descent: rate * |gradient| / |weights|
            weights = twin[0].weight
            ratios.append(0.1 * (weights.grad.norm() / weights.norm()).item())
            for p in twin.parameters():
                p.data -= 0.1 * p.grad
    for tag, expected in (
        ("loss/train", losses),
        ("gradient norm", norms),
        ("update ratio", ratios),
    ):
        assert noted.curves[tag] == [
            (step, pytest.approx(value, rel=1e-4))
            for step, value in enumerate(expected)
        ]
    logits = twin(data[1][0])
    loss = torch.nn.functional.cross_entropy(logits, data[1][1]).item()
    right = (logits.argmax(1) == data[1][1]).float().mean().item()
    assert noted.curves["loss/validation"][-1] == (
        30,
        pytest.approx(loss, rel=1e-5),
    )
    assert noted.curves["accuracy/validation"][-1] == (30, accuracy)
    assert accuracy == right
    assert steps == [10, 20, 30]


def test_speed_and_memory_are_logged(data, monkeypatch):
    """Examples by the clock's seconds; megabytes of process or GPU."""
    ticks = iter(range(0, 100, 5))  # five seconds an epoch
    monkeypatch.setattr(lesson.time, "perf_counter", lambda: next(ticks))
    noted = Noted()
    train(network(), data, noted, 0.1, epochs=2)
    assert noted.curves["speed/examples per second"] == [(10, 60), (20, 60)]
    used = memory_used(torch.device("cpu"))
    assert used == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
    assert noted.curves["memory/MB"][-1][1] == pytest.approx(
        used / 1e6, rel=0.1
    )
    monkeypatch.setattr(
        torch.cuda, "max_memory_allocated", lambda device: device.index
    )
    assert memory_used(torch.device("cuda", 3)) == 3


def test_training_and_validation_have_their_modes(data):
    """Dropout is on in training and off in what is logged and returned."""
    modes, model = [], torch.nn.Sequential(network(), torch.nn.Dropout(0.5))
    model.register_forward_hook(lambda *_: modes.append(model.training))
    accuracy = train(model.eval(), data, Noted(), 0.1, epochs=2)
    assert modes == 2 * [*10 * [True], False]
    X, y = data[1]
    assert accuracy == (model(X).argmax(1) == y).float().mean().item()


def test_a_frozen_layer_is_left_out_of_the_norm(data):
    """Its weights stay, and the norm is that of the other gradients."""
    model, noted = network(), Noted()
    model[0].requires_grad_(False)
    first = model[0].weight.clone()
    train(model, data, noted, 0.1, epochs=1)
    assert torch.equal(model[0].weight, first)
    last = [p.grad for p in model[2].parameters()]
    norm = torch.nn.utils.get_total_norm(last).item()
    assert noted.curves["gradient norm"][-1] == (9, pytest.approx(norm))
    assert noted.curves["update ratio"][-1] == (9, 0)


def test_no_batch_has_a_single_example(data):
    """Batch norm needs two; 301 examples are eleven batches of 27 or 28."""
    sizes, model = [], torch.nn.Sequential(torch.nn.BatchNorm1d(64), network())
    model.register_forward_hook(lambda _, given, __: sizes.append(len(*given)))
    train(model, (load(301)[0], data[1]), Noted(), 0.1, epochs=1)
    assert sorted(sizes[:-1]) == [*7 * [27], *4 * [28]]


def test_numbers_of_any_type_become_the_models(data):
    """Doubles, and labels of 32 bits, are trained on as floats are."""
    doubles = [(X.double(), y.int()) for X, y in data]
    curves = []
    for each in (data, doubles):
        noted = Noted()
        train(network(), each, noted, 0.1, epochs=1)
        curves.append(
            [noted.curves["loss/train"], noted.curves["gradient norm"]]
        )
    assert curves[0] == curves[1]


def test_data_goes_to_the_models_device(data):
    """Training gets as far as a number, which meta, for a GPU, hasn't."""
    with pytest.raises(RuntimeError, match="item"):
        train(network().to("meta"), data, Noted(), 0.1)


def test_training_takes_forty_epochs_unless_told(data):
    """400 updates, and the order of the digits is that of seed 0."""
    default, seeded = Noted(), Noted()
    train(network(), data, default, 0.1)
    train(network(), data, seeded, 0.1, epochs=40, seed=0)
    assert default.curves["loss/train"] == seeded.curves["loss/train"]
    assert len(default.curves["loss/train"]) == 400


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_the_watch_lets_healthy_runs_live(data, rate):
    """In all 400 updates, for each of eight seeds."""
    for seed in range(8):
        model, alarms = network(seed), []
        watch = Watch(Noted(), lambda *what: alarms.append(what))  # noqa: B023

        def look_inside(step):
            fraction = dead_units(model, data[0][0])  # noqa: B023
            watch.add_scalar("dead units", fraction, step)  # noqa: B023

        accuracy = train(model, data, watch, rate, 40, seed, look_inside)
        assert alarms == []
        assert accuracy > 0.7


def test_the_watch_finds_each_dead_run(data, tmp_path, monkeypatch):
    """At rate 2 for each of eight seeds, by update 30, and only once."""
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        [alarm], losses = watched(2.0, seed, data, epochs=4)
        assert alarm <= 30
        assert len(losses) == 40
    assert len(list(tmp_path.glob("runs/watched/ReLU-2-*"))) == 8


def test_the_watch_calls_once(data):
    """For what isn't finite, or more than half of the units dead."""
    noted, alarms = Noted(), []
    watch = Watch(noted, lambda *what: alarms.append(what))
    watch.add_scalar("dead units", 0.5, 10)
    watch.add_scalar("loss", 0.9, 11)
    assert alarms == []
    watch.add_scalar("dead units", 0.51, 20)
    watch.add_scalar("dead units", 0.6, 30)
    watch.add_scalar("loss", math.nan, 31)
    assert alarms == [("dead units", 0.51, 20)]
    assert len(noted.curves["dead units"]) == 3
    for value in (math.nan, math.inf):
        watch = Watch(noted, lambda *what: alarms.append(what))
        watch.add_scalar("loss", value, 5)
        assert alarms[-1][::2] == ("loss", 5)
    assert len(alarms) == 3
    watch = Watch(noted, lambda *what: alarms.append(what), limit=0.1)
    watch.add_scalar("dead units", 0.2, 1)
    assert alarms[-1] == ("dead units", 0.2, 1)


def test_an_alert_may_end_the_run(data):
    """An error that alert raises ends the training."""

    def stop(tag, number, step):
        raise RuntimeError(f"{tag} {number} at {step}")

    with pytest.raises(RuntimeError, match="inf at 0"):
        train(network(), data, Watch(Noted(), stop), 1e20)


def test_a_watch_on_dead_units_sees_no_other_failure(
    data, tmp_path, monkeypatch
):
    """With tanh at rate 2 the loss is ten times a guess's: no alarm."""
    monkeypatch.chdir(tmp_path)
    for kind, low, high in (
        (torch.nn.LeakyReLU, 0, 2.3),
        (torch.nn.Tanh, 23, 1000),
    ):
        alarms, losses = watched(2.0, 0, data, activation=kind)
        assert alarms == []
        assert low < sum(losses[-50:]) / 50 < high


def test_the_update_ratio_tells_three_rates_apart(data):
    """After five updates, for each of eight seeds."""
    means = {}
    for rate in (0.02, 0.2, 2.0):
        means[rate] = []
        for seed in range(8):
            noted = Noted()
            train(network(seed), data, noted, rate, epochs=1, seed=seed)
            early = [value for _, value in noted.curves["update ratio"][:5]]
            means[rate].append(sum(early) / 5)
    assert max(means[0.02]) < 0.003 < 0.005 < min(means[0.2])
    assert max(means[0.2]) < 0.03 < 0.05 < min(means[2.0])


def test_dead_units_are_zero_for_every_example(data):
    """A unit that one digit wakes is alive; no gradient is kept."""
    model, X = network(hidden=4), data[0][0]
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, 0.0, 1.0, -0.5]))
        model[0].weight[3, 20] = 1.0  # wakes for digits with this pixel dark
    assert X[:, 20].max() > 0.5
    assert dead_units(model, X) == 0.5


@pytest.mark.parametrize("n", [4, 7])
def test_the_worst_predictions_are_shown(data, n):
    """In order of their loss, with label and prediction."""
    model, (X, y) = network(), data[1]
    figure = worst(model, X, y, n) if n % 2 == 0 else worst(model, X, y, n + 1)
    losses = torch.nn.functional.cross_entropy(model(X), y, reduction="none")
    ranked = losses.argsort(descending=True)
    axes = [ax for ax in figure.axes if ax.images]
    assert len(axes) == n + n % 2
    for ax, i in zip(axes, ranked, strict=False):
        pixels = torch.tensor(ax.images[0].get_array())
        assert torch.equal(pixels.flatten(), X[i])
        assert ax.get_title() == f"{y[i]}, not {model(X[i]).argmax()}"
    plt.close(figure)


def test_a_run_is_logged_with_all_about_it(data, tmp_path):
    """Settings, result, commit, histograms and a picture in one folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # outside of Git, which isn't an error
        model = run("run", 0.2, 16, data, epochs=2)
    assert model[0].weight.shape == (16, 64)
    assert not model.training
    assert [path.name for path in tmp_path.rglob("*tfevents*")] != []
    assert {path.parent for path in tmp_path.rglob("*tfevents*")} == {
        tmp_path / "run"
    }
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    tags = events.Tags()
    assert "worst" in tags["images"]
    assert "first layer" in tags["histograms"]
    assert "commit/text_summary" in tags["tensors"]
    curves = read(tmp_path / "run")
    accuracy = evaluate(model, *data[1])["accuracy/validation"]
    assert curves["hparam/accuracy"] == [(0, pytest.approx(accuracy))]
    assert [step for step, _ in curves["dead units"]] == [10, 20]
    assert curves["dead units"][-1][1] == pytest.approx(
        dead_units(model, data[0][0])
    )
    [start] = [
        dict(part.content) if hasattr(part, "content") else part
        for part in [events.summary_metadata["_hparams_/session_start_info"]]
    ]
    settings = start.plugin_data.content
    assert b"learning rate" in settings
    assert b"hidden units" in settings


@pytest.mark.parametrize(
    ("kind", "options", "copies"),
    [
        (torch.optim.SGD, {}, 0),
        (torch.optim.SGD, {"momentum": 0.9}, 1),
        (torch.optim.AdamW, {}, 2),
    ],
)
def test_the_bytes_that_a_model_needs(data, kind, options, copies):
    """Four a weight for it, its gradient, and each copy of an optimizer."""
    model, n = network(), 64 * 128 + 128 + 128 * 10 + 10
    optimizer = kind(model.parameters(), lr=0.01, **options)
    assert state_bytes(model, optimizer) == [4 * n, 0, 0]
    update(model, optimizer, *data[0])
    steps = 4 * 4 if copies == 2 else 0  # a counter for each tensor
    assert state_bytes(model, optimizer) == [
        4 * n,
        4 * n,
        copies * 4 * n + steps,
    ]


def test_a_network_is_the_same_each_time():
    """The same seed gives the same weights, another gives others."""
    sizes = [tuple(p.shape) for p in network().parameters()]
    assert sizes == [(128, 64), (128,), (10, 128), (10,)]
    assert torch.equal(network()[0].weight, network(0)[0].weight)
    assert not torch.equal(network()[0].weight, network(1)[0].weight)
    assert isinstance(network(activation=torch.nn.Tanh)[1], torch.nn.Tanh)


def test_hparams_make_no_run_of_their_own(tmp_path):
    """With run_name "." they stay; without it a second folder appears."""
    for name, folders in ((".", 1), (None, 2)):
        log_dir = tmp_path / str(folders)
        with SummaryWriter(log_dir) as writer:
            writer.add_hparams({"a": 1}, {"b": 2.0}, run_name=name)
        found = {path.parent for path in log_dir.rglob("*tfevents*")}
        assert len(found) == folders


@pytest.mark.parametrize("tab", list(TABS))
@pytest.mark.parametrize("variant", ["", "-dark"])
def test_the_screenshots_show_this_code(tab, variant):
    """The pictures were taken of runs of the sections on this page."""
    with Image.open(FOLDER / f"{tab}{variant}.png") as picture:
        assert picture.text["code"] == shown_code(), (
            "take them anew: python -m benchmarks.monitoring"
        )
