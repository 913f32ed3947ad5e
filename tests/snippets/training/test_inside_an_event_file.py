"""TFRecord, CRC-32C and Protocol Buffers by hand."""

import contextlib
import math
import struct
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import (
    PyRecordReader_New,
    masked_crc32c,
)
from torch.utils.tensorboard import SummaryWriter

from benchmarks.monitoring import ask, tensorboard
from snippets.training.inside_an_event_file import (
    BYTES,
    DOUBLE,
    FLOAT,
    VARINT,
    ScalarWriter,
    checksum,
    crc32c,
    field,
    fields,
    read_scalars,
    read_varint,
    records,
    scalar_event,
    to_record,
    varint,
)

SINGLE = st.floats(width=32, allow_nan=False)
POINTS = st.lists(st.tuples(st.integers(0, 2**40), SINGLE), min_size=1)


def by_tensorboard(log_dir):
    """A folder's curves, as TensorBoard's own reader finds them."""
    events = EventAccumulator(str(log_dir), {"scalars": 0}).Reload()
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


@settings(max_examples=30)
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


def test_a_step_that_is_a_tensor_is_not_changed(tmp_path):
    """What a caller passes stays the caller's."""
    step = torch.tensor(300)
    with ScalarWriter(tmp_path) as writer:
        writer.add_scalar("loss", torch.tensor(0.5), step)
    assert step == 300
    assert read_scalars(tmp_path) == {"loss": [(300, 0.5)]}


def test_the_masked_checksum_is_tensorboards():
    """Turned and moved, the checksum is the one TensorBoard computes."""
    for data in (b"", b"a", b"loss", bytes(range(256))):
        assert struct.unpack("<I", checksum(data))[0] == masked_crc32c(data)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_tensorboard_reads_any_records(tmp_path_factory, parts):
    """A TFRecord file may hold any bytes; TensorBoard's reader finds them."""
    path = tmp_path_factory.mktemp("records") / "any.tfrecord"
    path.write_bytes(b"".join(map(to_record, parts)))
    reader, found = PyRecordReader_New(str(path)), []
    with contextlib.suppress(errors.OutOfRangeError):  # the end
        while True:
            reader.GetNext()
            found.append(reader.record())
    assert found == parts == list(records(path.read_bytes()))


def test_bad_input_is_an_error(tmp_path):
    """No event file, a negative step, a number too large for 32 bits."""
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


def test_a_double_is_passed_over(tmp_path):
    """Field 2 is a float; of another kind it is unknown, and no error."""
    with ScalarWriter(tmp_path) as writer:
        writer._write(scalar_event("loss", 0.5, 0, kind=DOUBLE))
        writer._write(scalar_event("loss", 0.5, 1))
    assert by_tensorboard(tmp_path) == {"loss": [(1, 0.5)]}


def test_tensorboards_page_shows_a_flipped_bit(tmp_path):
    """Its page shows a damaged number; its reader ends the curve there."""
    with ScalarWriter(tmp_path / "run") as writer:
        for step, loss in enumerate([1.0, 0.5, 0.25]):
            writer.add_scalar("loss", loss, step)
    [file] = (tmp_path / "run").iterdir()
    content = bytearray(file.read_bytes())
    content[-47] ^= 1
    file.write_bytes(content)
    assert by_tensorboard(tmp_path / "run") == {"loss": [(0, 1.0)]}
    with tensorboard(tmp_path, 1) as address:
        points = ask(address, "scalars?tag=loss&run=run")
    assert [p[1:] for p in points] == [[0, 1.0], [1, 0.125], [2, 0.25]]
    with pytest.raises(ValueError, match="the record at byte 82 is damaged"):
        read_scalars(tmp_path / "run")


def test_an_error_loses_no_point(tmp_path):
    """Leaving the `with` block by an exception writes all there is."""

    def fail():
        with ScalarWriter(tmp_path) as writer:
            for step in range(20):
                writer.add_scalar("loss", 1.0, step)
            raise FloatingPointError("loss is nan")

    with pytest.raises(FloatingPointError, match="nan"):
        fail()
    assert len(read_scalars(tmp_path)["loss"]) == 20


def test_pytorchs_writer_keeps_back_no_more_than_a_queue(tmp_path):
    """SummaryWriter gives its points to a thread that writes at once."""
    with SummaryWriter(tmp_path) as writer:
        for step in range(100):
            writer.add_scalar("loss", 1.0, step)
        deadline = time.monotonic() + 5
        while len(read_scalars(tmp_path).get("loss", [])) < 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
