"""Monitoring."""

import math
import struct
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch.utils.tensorboard import SummaryWriter

from benchmarks.monitoring import FOLDER, ask, shown_code, tensorboard
from snippets.training.monitoring import (
    BYTES,
    DOUBLE,
    FLOAT,
    VARINT,
    ScalarWriter,
    checksum,
    crc32c,
    field,
    fields,
    load,
    network,
    read_scalars,
    read_varint,
    records,
    smooth,
    to_record,
    train,
    varint,
)

SINGLE = st.floats(width=32, allow_nan=False)
POINTS = st.lists(st.tuples(st.integers(0, 2**40), SINGLE), min_size=1)


def by_tensorboard(log_dir, limit=0):
    """A folder's curves, as TensorBoard's own reader finds them."""
    events = EventAccumulator(str(log_dir), {"scalars": limit}).Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_is_the_published_one(data, crc):
    """CRC-32C gives the values of RFC 3720's appendix B.4."""
    assert crc32c(data) == crc


def test_the_masked_checksum_is_tensorboards():
    """Turned and moved, the checksum is the one TensorBoard computes."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import (
        masked_crc32c,
    )

    for data in (b"", b"a", b"loss", bytes(range(256))):
        assert struct.unpack("<I", checksum(data))[0] == masked_crc32c(data)


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_survive_in_seven_bits_a_byte(number):
    """Any number comes back, in as few bytes as its bits need."""
    written = varint(number)
    assert read_varint(b"\x80" + written, 1) == (number, 1 + len(written))
    assert len(written) == max(1, math.ceil(number.bit_length() / 7))


def test_messages_are_those_of_protocol_buffers():
    """Google's own library reads what we write, and writes what we read."""
    from tensorboard.compat.proto.event_pb2 import Event

    value = field(1, BYTES, b"x" * 300) + field(2, FLOAT, 0.5)
    ours = field(1, DOUBLE, 2.5) + field(2, VARINT, 300)
    ours += field(5, BYTES, field(1, BYTES, value))
    event = Event.FromString(ours)
    assert (event.wall_time, event.step) == (2.5, 300)
    assert event.summary.value[0].tag == "x" * 300
    assert event.summary.value[0].simple_value == 0.5
    assert event.SerializeToString() == ours
    assert [number for number, _ in fields(ours)] == [1, 2, 5]
    mixed = field(2, FLOAT, 0.5) + field(1, DOUBLE, 0.5) + field(3, VARINT, 9)
    assert [number for number, _ in fields(mixed)] == [2, 1, 3]


@given(st.dictionaries(st.text(min_size=1, max_size=20), POINTS, max_size=3))
def test_tensorboard_reads_what_we_write(tmp_path_factory, curves):
    """Any tags, steps and numbers come back, by its reader and by ours."""
    log_dir = tmp_path_factory.mktemp("run")
    with ScalarWriter(log_dir) as writer:
        for tag, points in curves.items():
            for step, value in points:
                writer.add_scalar(tag, value, step)
    assert read_scalars(log_dir) == curves
    assert by_tensorboard(log_dir) == curves


def test_we_read_what_pytorch_writes(tmp_path):
    """Scalars come back; a histogram beside them is passed over."""
    with SummaryWriter(tmp_path) as writer:
        for step in range(300):
            writer.add_scalar("loss", 1 / (1 + step), step)
            writer.add_scalar("rate", 0.5, step)
        writer.add_histogram("weights", torch.arange(10.0), 5)
    ours = read_scalars(tmp_path)
    assert ours == by_tensorboard(tmp_path)
    assert set(ours) == {"loss", "rate"}
    assert len(ours["loss"]) == 300


def test_the_time_of_each_point_is_now(tmp_path):
    """An event carries the seconds since 1970, and the format's version."""
    before = time.time()
    with ScalarWriter(tmp_path / "a" / "b") as writer:
        writer.add_scalar("loss", 1.0, 0)
    [file] = (tmp_path / "a" / "b").iterdir()
    first, event = map(dict, map(fields, records(file.read_bytes())))
    assert before <= struct.unpack("<d", event[1])[0] <= time.time()
    assert first[3] == b"brain.Event:2"


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_a_file_cut_short_loses_its_last_record_only(written, data):
    """Cut anywhere, what was complete is read, and nothing else."""
    framed = [to_record(part) for part in written]
    content = b"".join(framed)
    cut = data.draw(st.integers(0, len(content)))
    ends = [len(b"".join(framed[: n + 1])) for n in range(len(framed))]
    complete = sum(end <= cut for end in ends)
    assert list(records(content[:cut])) == written[:complete]


@given(st.binary(min_size=1, max_size=20), st.data())
def test_a_single_changed_bit_is_noticed(written, data):
    """Wherever it is, in length, data or checksums, it is an error."""
    content = bytearray(to_record(written) + to_record(b"next"))
    bit = data.draw(st.integers(0, 8 * len(to_record(written)) - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="at byte 0 is damaged"):
        list(records(bytes(content)))


def test_damage_is_told_with_its_place():
    """The message names the byte at which the damaged record begins."""
    content = bytearray(to_record(b"one") + to_record(b"two"))
    content[-5] ^= 1
    with pytest.raises(ValueError, match="the record at byte 19 is damaged"):
        list(records(bytes(content)))


def test_files_of_a_folder_follow_one_another(tmp_path):
    """The curves of two files in a folder come one after the other."""
    for value in (1.0, 2.0):
        with ScalarWriter(tmp_path) as writer:
            writer.add_scalar("loss", value, 0)
            writer.add_scalar("loss", value, 1)
    expected = [(0, 1.0), (1, 1.0), (0, 2.0), (1, 2.0)]
    assert read_scalars(tmp_path) == {"loss": expected}
    assert by_tensorboard(tmp_path) == {"loss": expected}


def test_bad_input_is_told(tmp_path):
    """No event file, a negative step and an impossible weight are errors."""
    with pytest.raises(FileNotFoundError, match="no event file in"):
        read_scalars(tmp_path)
    with ScalarWriter(tmp_path) as writer:
        for step in (-1, 2**63):
            with pytest.raises(ValueError, match="global_step must be"):
                writer.add_scalar("loss", 1.0, step)
        with pytest.raises(OverflowError):
            writer.add_scalar("loss", 1e39, 0)
        writer.add_scalar("loss", math.inf, 2**63 - 1)
    assert by_tensorboard(tmp_path) == {"loss": [(2**63 - 1, math.inf)]}
    for weight in (-0.1, 1):
        with pytest.raises(ValueError, match=r"in \[0, 1\)"):
            smooth([1.0], weight)


def test_flushed_points_are_there_for_readers(tmp_path):
    """Before it is flushed a point is in memory only; after it, on disk."""
    with ScalarWriter(tmp_path) as writer:
        writer.add_scalar("loss", 1.0, 7)
        assert read_scalars(tmp_path) == {}
        writer.flush()
        assert read_scalars(tmp_path) == {"loss": [(7, 1.0)]}
    assert writer.file.closed


def test_what_is_held_back_is_eight_kilobytes(tmp_path):
    """A program that is killed loses no more than 8 kilobytes."""
    with ScalarWriter(tmp_path) as writer:
        for step in range(300):
            writer.add_scalar("loss", 1.0, step)
        [file] = tmp_path.iterdir()
        on_disk = file.stat().st_size
    assert 8192 - 64 < on_disk < file.stat().st_size < on_disk + 8192


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


def test_smoothing_passes_over_what_is_no_number():
    """NaN and infinity stay where they are, and spoil nothing after them."""
    values = [1.0, math.nan, 2.0, math.inf, -math.inf, 3.0]
    smoothed = smooth(values, 0.6)
    assert math.isnan(smoothed[1])
    assert smoothed[3:5] == [math.inf, -math.inf]
    assert [smoothed[n] for n in (0, 2, 5)] == smooth([1.0, 2.0, 3.0], 0.6)


def test_a_step_that_is_a_tensor_is_not_changed(tmp_path):
    """What a caller passes stays the caller's."""
    step = torch.tensor(300)
    with ScalarWriter(tmp_path) as writer:
        writer.add_scalar("loss", torch.tensor(0.5), step)
    assert step == 300
    assert read_scalars(tmp_path) == {"loss": [(300, 0.5)]}


@pytest.mark.parametrize("weight", [0.6, 0.9, 0.99])
def test_a_smoothed_line_is_late(weight):
    """On a straight line by weight / (1 - weight) steps: 1.5, 9 and 99."""
    late = 5000 - smooth(range(5001), weight)[-1]
    assert late == pytest.approx(weight / (1 - weight), rel=1e-6)


def test_tensorboard_shows_a_sample(tmp_path):
    """Of 5,000 points its reader keeps a fair 1,000, and always the last."""
    with ScalarWriter(tmp_path) as writer:
        for step in range(5000):
            writer.add_scalar("loss", float(step), step)
    kept = by_tensorboard(tmp_path, 1000)["loss"]
    assert len(kept) == 1000
    assert kept[-1] == (4999, 4999.0)
    # a fair sample: its mean is that of all, within four standard errors
    mean = sum(step for step, _ in kept) / 1000
    assert abs(mean - 2499.5) < 4 * 5000 / math.sqrt(12 * 1000)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], 1000),
        (["--samples_per_plugin=scalars=1000000"], 3000),
        (["--samples_per_plugin=scalars=0"], 0),
    ],
)
def test_the_program_shows_a_sample_unless_told(tmp_path, options, kept):
    """The program shows 1,000 of 3,000 points, or all; with a zero, none."""
    with ScalarWriter(tmp_path / "ours") as writer:
        for step in range(3000):
            writer.add_scalar("loss", float(step), step)
    with tensorboard(tmp_path, 1, *options) as address:
        points = ask(address, "scalars?tag=loss&run=ours")
    assert len(points) == kept
    assert all(step == value for _, step, value in points)
    assert kept == 0 or points[-1][1] == 2999


@pytest.mark.parametrize(
    ("options", "firsts"), [([], 0), (["--load_fast=false"], 50)]
)
def test_what_was_at_a_step_is_dropped(tmp_path, options, firsts):
    """Of two runs in a folder the fast loader shows the later one alone."""
    for value in (1.0, 2.0):
        with ScalarWriter(tmp_path / "run") as writer:
            for step in range(50):
                writer.add_scalar("loss", value, step)
    with tensorboard(tmp_path, 1, *options) as address:
        points = ask(address, "scalars?tag=loss&run=run")
    assert [(step, value) for _, step, value in points] == [
        (step, 1.0) for step in range(firsts)
    ] + [(step, 2.0) for step in range(50)]
    assert len(read_scalars(tmp_path / "run")["loss"]) == 100


@pytest.mark.parametrize("kind", [ScalarWriter, SummaryWriter])
def test_an_error_loses_no_point(tmp_path, kind):
    """Leaving the `with` block by an exception writes all there is."""

    def fail():
        with kind(tmp_path) as writer:
            for step in range(20):
                writer.add_scalar("loss", 1.0, step)
            raise FloatingPointError("loss is nan")

    with pytest.raises(FloatingPointError, match="nan"):
        fail()
    assert len(read_scalars(tmp_path)["loss"]) == 20


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
    losses, norms = [], []
    for _ in range(3):
        for batch in torch.randperm(300, generator=rng).split(30):
            twin.zero_grad()
            logits = twin(X[batch])
            loss = torch.nn.functional.cross_entropy(logits, y[batch])
            loss.backward()
            grads = torch.cat([p.grad.flatten() for p in twin.parameters()])
            losses.append(loss.item())
            norms.append(grads.norm().item())
            for p in twin.parameters():
                p.data -= 0.1 * p.grad
    assert [step for step, _ in noted.curves["loss/train"]] == [*range(30)]
    assert [v for _, v in noted.curves["loss/train"]] == pytest.approx(
        losses, rel=1e-5
    )
    assert noted.curves["gradient norm"] == [
        (step, pytest.approx(norm, rel=1e-5))
        for step, norm in enumerate(norms)
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
        curves.append(noted.curves)
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
    assert default.curves == seeded.curves
    assert len(default.curves["loss/train"]) == 400


@pytest.mark.parametrize("seed", range(3))
def test_the_curves_tell_three_rates_apart(data, seed):
    """Slow at 0.02, right at 0.2; at 2 the units die, for each of 3 seeds."""
    accuracies, models = [], []
    for rate in (0.02, 0.2, 2.0):
        models.append(network(seed))
        accuracies.append(train(models[-1], data, Noted(), rate, seed=seed))
    assert accuracies[2] < 0.2 < accuracies[0] < 0.9 < accuracies[1]
    X = data[0][0]
    silent = [(model[:2](X) == 0).all(0).sum() for model in models]
    assert max(silent[:2]) < 32
    assert silent[2] >= 120


def test_a_network_is_the_same_each_time():
    """The same seed gives the same weights, another gives others."""
    sizes = [tuple(p.shape) for p in network().parameters()]
    assert sizes == [(128, 64), (128,), (10, 128), (10,)]
    assert torch.equal(network()[0].weight, network(0)[0].weight)
    assert not torch.equal(network()[0].weight, network(1)[0].weight)


@pytest.mark.parametrize("tab", ["scalars", "histograms"])
@pytest.mark.parametrize("variant", ["", "-dark"])
def test_the_screenshots_show_this_code(tab, variant):
    """The pictures were taken of runs of the sections on this page."""
    with Image.open(FOLDER / f"{tab}{variant}.png") as picture:
        assert picture.text["code"] == shown_code(), (
            "take them anew: python -m benchmarks.monitoring"
        )
