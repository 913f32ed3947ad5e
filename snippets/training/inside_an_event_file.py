"""Inside an event file: TFRecord and Protocol Buffers by hand."""

# --8<-- [start:dump]
import contextlib
import io
import os
import shutil
import struct
import time
from pathlib import Path

from sklearn.datasets import load_digits
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow
from torch.utils.tensorboard import SummaryWriter

from snippets.training.monitoring import network, served

if __name__ == "__main__":
    shutil.rmtree("events", ignore_errors=True)  # of an earlier try
    with SummaryWriter("events/theirs") as writer:
        for step, loss in enumerate([1.0, 0.5, 0.25]):
            writer.add_scalar("loss", loss, step)

    [file] = Path("events/theirs").iterdir()
    record = file.read_bytes()[-42:]  # the last one
    for name, part in (
        ("length", record[:8]),
        ("its checksum", record[8:12]),
        ("after the time", record[21:-4]),
    ):
        print(f"{name:15} {part.hex(' ')}")
    # --8<-- [end:dump]


# --8<-- [start:parse]
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # how a field's value is written


def read_varint(message, at):
    """The number that begins at byte `at`, and where the next thing does."""
    number, shift = 0, 0
    while True:
        number |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return number, at


def fields(message):
    """Yield (number, value) for each field; bytes stay bytes."""
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        if key & 7 == VARINT:
            value, at = read_varint(message, at)
        else:
            size = {DOUBLE: 8, FLOAT: 4}.get(key & 7)
            if size is None:
                size, at = read_varint(message, at)
            value, at = message[at : at + size], at + size
        yield key >> 3, value


if __name__ == "__main__":
    event = dict(fields(record[12:-4]))
    [(_, value)] = fields(event[5])
    print(f"step {event[2]}")
    for number, part in fields(value):
        print(f"field {number} of the value: {part}")
    print(f"as a float: {struct.unpack('<f', part)[0]}")
    # --8<-- [end:parse]


# --8<-- [start:checksum]
CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, its bits reversed


def divide(crc):
    """What eight steps of the division leave of 32 bits."""
    for _ in range(8):
        crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    return crc


TABLE = [divide(byte) for byte in range(256)]  # so that a byte is one step


def crc32c(data):
    """The CRC-32C of bytes, an int of 32 bits (RFC 3720, section 12.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def checksum(data):
    """The 4 bytes of a TFRecord: the CRC, turned by 15 bits and moved."""
    crc = crc32c(data)
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8
    return struct.pack("<I", masked & 0xFFFFFFFF)


if __name__ == "__main__":
    print(f"CRC-32C of 32 zeros: {crc32c(bytes(32)):x}")
    print("length:", checksum(record[:8]).hex(" "))
    print("data as stored:", checksum(record[12:-4]) == record[-4:])
    # --8<-- [end:checksum]


# --8<-- [start:records]
def records(content):
    """Yield the data of each record in a file's content, bytes.

    A last record that is cut short is left out: it is still being written,
    or its program was killed. Raises ValueError where bytes were changed.
    """
    start = 0
    while start + 12 <= len(content):
        length = content[start : start + 8]
        end = start + 12 + struct.unpack("<Q", length)[0]
        data, stored = content[start + 12 : end], content[end : end + 4]
        if content[start + 8 : start + 12] != checksum(length):
            raise ValueError(f"the length at byte {start} is damaged")
        if len(stored) < 4:
            return
        if stored != checksum(data):
            raise ValueError(f"the record at byte {start} is damaged")
        yield data
        start = end + 4


# --8<-- [end:records]


# --8<-- [start:read]
def read_scalars(log_dir):
    """The curves in a folder: {tag: [(step, value), ...]}, as written.

    Reads every event file in it, in the order of their names, which begin
    with the time. Raises FileNotFoundError where there is none, ValueError
    where one is damaged.
    """
    files = sorted(Path(log_dir).glob("*tfevents*"))
    if not files:
        raise FileNotFoundError(f"no event file in {log_dir}")
    curves = {}
    for file in files:
        for event in map(dict, map(fields, records(file.read_bytes()))):
            step = event.get(2, 0)  # a zero needn't be written
            for _, value in fields(event.get(5, b"")):
                parts = dict(fields(value))
                if 2 in parts:  # else a picture, a histogram, a tensor
                    number = struct.unpack("<f", parts[2])[0]
                    curve = curves.setdefault(parts[1].decode(), [])
                    curve.append((step, number))
    return curves


if __name__ == "__main__":
    events = event_accumulator.EventAccumulator("events/theirs").Reload()
    theirs = [(point.step, point.value) for point in events.Scalars("loss")]
    print("TensorBoard's reader:", theirs)
    print("our reader:          ", read_scalars("events/theirs")["loss"])
    # --8<-- [end:read]


# --8<-- [start:field]
def varint(number):
    """A whole number from 0 on, seven bits to a byte, the lowest first."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)  # the high bit: more will follow
        number = number >> 7
    return bytes([*groups, number])


def field(number, kind, value):
    """One field of a message in Protocol Buffers' encoding, as bytes."""
    key = varint(number << 3 | kind)
    if kind == VARINT:
        return key + varint(value)
    if kind == BYTES:
        return key + varint(len(value)) + value
    return key + struct.pack("<d" if kind == DOUBLE else "<f", value)


def to_record(data):
    """Frame bytes: their length and the bytes, each with its checksum."""
    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


# --8<-- [end:field]


# --8<-- [start:writer]
def scalar_event(tag, value, step, kind=FLOAT):
    """An event, all but its time: a step, and a summary of one value."""
    named = field(1, BYTES, tag.encode()) + field(2, kind, value)
    return field(2, VARINT, step) + field(5, BYTES, field(1, BYTES, named))


class ScalarWriter:
    """Writes numbers for TensorBoard; a `with` block closes it."""

    def __init__(self, log_dir):
        """Open a new event file in the folder log_dir, made if need be."""
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        file = io.FileIO(Path(log_dir, name), "x")
        self.file = io.BufferedWriter(file, 8192)  # writes in pieces
        self._write(field(3, BYTES, b"brain.Event:2"))

    def add_scalar(self, tag, scalar_value, global_step):
        """Write one point of the curve tag; global_step counts from 0.

        Raises OverflowError for a number that 32 bits can't hold.
        """
        step = int(global_step)
        if not 0 <= step < 2**63:
            raise ValueError(f"global_step must be 0 or more, not {step}")
        self._write(scalar_event(tag, scalar_value, step))

    def _write(self, event):
        self.file.write(to_record(field(1, DOUBLE, time.time()) + event))

    def flush(self):
        """Give the system what was written so far; readers see it."""
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


if __name__ == "__main__":
    with ScalarWriter("events/ours") as writer:
        for step, loss in enumerate([1.0, 0.5, 0.25]):
            writer.add_scalar("loss", loss, step)
    [ours] = Path("events/ours").iterdir()
    last = list(records(ours.read_bytes()))[-1]
    print("same bytes after the time:", last[9:] == record[21:-4])
    events = event_accumulator.EventAccumulator("events/ours").Reload()
    print([(point.step, point.value) for point in events.Scalars("loss")])
    # --8<-- [end:writer]

    # --8<-- [start:digits]
    digits = load_digits()
    with open("events/digits.tfrecord", "wb") as file:
        for image, label in zip(digits.images, digits.target, strict=True):
            file.write(to_record(bytes([label, *image.ravel().astype(int)])))

    reader, labels = (
        pywrap_tensorflow.PyRecordReader_New("events/digits.tfrecord"),
        [],
    )
    with contextlib.suppress(errors.OutOfRangeError):  # the end
        while True:
            reader.GetNext()
            labels.append(reader.record()[0])
    print(len(labels), "digits:", *labels[:10], "...")
    # --8<-- [end:digits]

    # --8<-- [start:sizes]
    weights = network()[0].weight.detach()  # (128, 64)
    for kind, value in {
        "scalar": 0.5,
        "histogram": weights,
        "image": weights.view(1, 128, 64),
    }.items():
        with SummaryWriter(f"events/sizes/{kind}") as writer:
            for step in range(10):
                getattr(writer, f"add_{kind}")("x", value, step)
        [file] = Path(f"events/sizes/{kind}").iterdir()
        print(f"{kind:9} {file.stat().st_size / 10:6.0f} bytes")
    # --8<-- [end:sizes]

    # --8<-- [start:cut]
    content = ours.read_bytes()
    for lost in (0, 1, 41, 42, 43):
        points = len(list(records(content[: len(content) - lost]))) - 1
        print(f"{lost:2} bytes lost: {points} points left")
    # --8<-- [end:cut]

    # --8<-- [start:flip]
    damaged = bytearray(content)
    damaged[-47] ^= 1  # in the loss of step 1, 0.5
    ours.write_bytes(damaged)
    try:
        read_scalars("events/ours")
    except ValueError as error:
        print("our reader:          ", error)
    events = event_accumulator.EventAccumulator("events/ours").Reload()
    theirs = [(point.step, point.value) for point in events.Scalars("loss")]
    print("TensorBoard's reader:", theirs)
    print("TensorBoard's page:  ", served("events/ours")["."])
    # --8<-- [end:flip]

    # --8<-- [start:flush]
    with ScalarWriter("events/buffered") as writer:
        for step in range(400):
            writer.add_scalar("loss", 1.0, step)
        print("on disk:", len(read_scalars("events/buffered")["loss"]))
        writer.flush()
        print("flushed:", len(read_scalars("events/buffered")["loss"]))
    # --8<-- [end:flush]

    # --8<-- [start:solution-bytes]
    for tag, step in (
        ("loss", 2),
        ("loss", 127),
        ("loss", 128),
        ("loss", 20_000),
        ("validation/loss", 2),
    ):
        data = field(1, DOUBLE, 0.0) + scalar_event(tag, 0.5, step)
        print(f"{tag:15} {step:6}: {len(to_record(data))} bytes")
    # --8<-- [end:solution-bytes]

    # --8<-- [start:solution-double]
    with ScalarWriter("events/double") as writer:
        writer._write(scalar_event("loss", 0.1, 0, kind=DOUBLE))
        writer._write(scalar_event("loss", 0.1, 1))
    events = event_accumulator.EventAccumulator("events/double").Reload()
    for point in events.Scalars("loss"):
        print(point.step, point.value)
    # --8<-- [end:solution-double]

    # --8<-- [start:solution-salvage]
    def salvage(content):
        """All records that are sound; what is damaged is passed over."""
        start = 0
        while start + 12 <= len(content):
            size = struct.unpack("<Q", content[start : start + 8])[0]
            end = start + 16 + size
            with contextlib.suppress(ValueError):
                yield from records(content[start:end])
            known = content[start + 8 : start + 12] == checksum(
                content[start : start + 8]
            )
            start = end if known else start + 1  # search byte by byte

    for at in (-47, -84):  # in the data of step 1; in its length
        damaged = bytearray(content)
        damaged[at] ^= 1
        found = list(salvage(bytes(damaged)))
        print([dict(fields(data)).get(2, 0) for data in found[1:]])
    # --8<-- [end:solution-salvage]
