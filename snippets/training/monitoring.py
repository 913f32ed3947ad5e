"""Monitoring: TensorBoard's files by hand, and a real run watched in it."""

# --8<-- [start:checksum]
import os
import struct
import time
from pathlib import Path

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
    """The 4 bytes that TensorBoard keeps: the CRC, turned and moved."""
    crc = crc32c(data)
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8
    return struct.pack("<I", masked & 0xFFFFFFFF)


# --8<-- [end:checksum]


# --8<-- [start:record]
def to_record(data):
    """Frame bytes: their length and the bytes, each with its checksum."""
    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


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


# --8<-- [end:record]


# --8<-- [start:field]
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # how a field's value is written


def varint(number):
    """A whole number from 0 on, seven bits to a byte, the lowest first."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)  # the high bit: more will follow
        number >>= 7
    return bytes([*groups, number])


def field(number, kind, value):
    """One field of a message in Protocol Buffers' encoding, as bytes."""
    key = varint(number << 3 | kind)
    if kind == VARINT:
        return key + varint(value)
    if kind == BYTES:
        return key + varint(len(value)) + value
    return key + struct.pack("<d" if kind == DOUBLE else "<f", value)


# --8<-- [end:field]


# --8<-- [start:writer]
class ScalarWriter:
    """Writes numbers for TensorBoard; a `with` block closes it."""

    def __init__(self, log_dir):
        """Open a new event file in the folder log_dir, made if need be."""
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        path = Path(log_dir, name)
        self.file = open(path, "xb", buffering=8192)  # noqa: SIM115
        self._write(field(3, BYTES, b"brain.Event:2"))

    def add_scalar(self, tag, scalar_value, global_step):
        """Write one point of the curve tag; global_step counts from 0."""
        if global_step < 0:
            raise ValueError(f"global_step must be 0 or more: {global_step}")
        named = field(1, BYTES, tag.encode())
        value = named + field(2, FLOAT, scalar_value)
        summary = field(5, BYTES, field(1, BYTES, value))
        self._write(field(2, VARINT, global_step) + summary)

    def _write(self, event):
        self.file.write(to_record(field(1, DOUBLE, time.time()) + event))

    def flush(self):
        """Give the system what was written so far; readers see it."""
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


# --8<-- [end:writer]


# --8<-- [start:parse]
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


# --8<-- [end:parse]


# --8<-- [start:read]
def read_scalars(log_dir):
    """The curves in a folder: {tag: [(step, value), ...]}, as written.

    Reads every event file in it, in the order in which they were begun.
    Raises FileNotFoundError where there is none, ValueError where one is
    damaged.
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
                if 2 in parts:  # else it is a picture, or a histogram
                    number = struct.unpack("<f", parts[2])[0]
                    curve = curves.setdefault(parts[1].decode(), [])
                    curve.append((step, number))
    return curves


# --8<-- [end:read]


# --8<-- [start:smooth]
def smooth(values, weight):
    """TensorBoard's smoothing: an average that forgets, weight in [0, 1).

    Each value counts weight times as much as the one after it.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be in [0, 1), got {weight}")
    average, smoothed = 0.0, []
    for count, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        smoothed.append(average / (1 - weight**count))  # it began at zero
    return smoothed


# --8<-- [end:smooth]


if __name__ == "__main__":
    # --8<-- [start:by-hand]
    with ScalarWriter("by-hand") as writer:
        for step, value in enumerate([1.0, 0.5, 0.25]):
            writer.add_scalar("loss", value, step)

    [file] = Path("by-hand").iterdir()
    last = list(records(file.read_bytes()))[-1]
    print(f"{file.stat().st_size} bytes; the last record holds {len(last)}:")
    print(last[9:].hex(" "))  # after the time
    # --8<-- [end:by-hand]

    # --8<-- [start:accumulator]
    from tensorboard.backend.event_processing import event_accumulator

    def as_tensorboard(log_dir, limit=0):
        """The curves as TensorBoard reads them, of `limit` points at most."""
        kept = {event_accumulator.SCALARS: limit}  # 0 keeps all
        events = event_accumulator.EventAccumulator(log_dir, kept).Reload()
        return {
            tag: [(point.step, point.value) for point in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }

    print(as_tensorboard("by-hand"))
    print(
        "as ours:",
        as_tensorboard("by-hand") == read_scalars("by-hand"),
    )
    # --8<-- [end:accumulator]


# --8<-- [start:data]
def load(n_train=300, n_validation=500):
    """Real digits in two parts, each X, (n, 64), and y, (n,)."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(
        len(digits.target), generator=torch.Generator().manual_seed(0)
    )
    X = torch.tensor(digits.data / 16, dtype=torch.float32)[order]
    y = torch.tensor(digits.target)[order]
    end = n_train + n_validation
    return (X[:n_train], y[:n_train]), (X[n_train:end], y[n_train:end])


def network(seed=0):
    """A network of two layers, 64 - 128 - 10, for digits."""
    import torch

    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )


# --8<-- [end:data]


# --8<-- [start:train]
def train(
    model, data, writer, learning_rate, epochs=40, seed=0, each_epoch=None
):
    """Train a classifier in place, and log it with a writer of either kind.

    data is what load returns. Logs the loss and the gradient's norm at each
    update, loss and accuracy on the validation part after each epoch.
    each_epoch(step) is called then, too. Returns the last accuracy.
    """
    import torch
    from torch.nn.functional import cross_entropy

    (X, y), (X_validation, y_validation) = data
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    rng = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(epochs):
        for batch in torch.randperm(len(y), generator=rng).split(30):
            loss = cross_entropy(model(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.get_total_norm(
                [p.grad for p in model.parameters()]
            )
            optimizer.step()
            writer.add_scalar("loss/train", loss.item(), step)
            writer.add_scalar("gradient norm", norm.item(), step)
            step += 1
        with torch.no_grad():
            logits = model(X_validation)
        loss = cross_entropy(logits, y_validation).item()
        accuracy = (logits.argmax(1) == y_validation).float().mean().item()
        writer.add_scalar("loss/validation", loss, step)
        writer.add_scalar("accuracy/validation", accuracy, step)
        if each_epoch is not None:
            each_epoch(step)
    return accuracy


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:runs]
    import torch
    from torch.utils.tensorboard import SummaryWriter

    data, models = load(), {"none": network()}
    for learning_rate in (0.02, 0.2, 2.0):
        log_dir = f"runs/rate-{learning_rate:g}"
        model = models[learning_rate] = network()
        with SummaryWriter(log_dir) as writer:

            def log_weights(step, writer=writer, model=model):
                for name, weights in model.named_parameters():
                    writer.add_histogram(name, weights, step)

            accuracy = train(
                model, data, writer, learning_rate, each_epoch=log_weights
            )
            writer.add_hparams(
                {"learning rate": learning_rate},
                {"hparam/accuracy": accuracy},
                run_name=".",
            )
        loss = read_scalars(log_dir)["loss/train"][-1][1]
        print(f"{log_dir:13} loss {loss:.2f}, accuracy {accuracy:.2f}")
    # --8<-- [end:runs]

    # --8<-- [start:tags]
    everything = {"scalars": 0, "histograms": 0}
    events = event_accumulator.EventAccumulator("runs/rate-0.2", everything)
    events.Reload()
    for kind in everything:
        for tag in events.Tags()[kind]:
            count = len(getattr(events, kind.title())(tag))
            print(f"{kind[:-1]:10} {tag:20} {count:3} points")
    # --8<-- [end:tags]

    # --8<-- [start:curves]
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.4), layout="constrained")
    for name in ("0.02", "0.2", "2"):
        curves = read_scalars(f"runs/rate-{name}")
        for ax, tag in zip(axes, ("loss/train", "gradient norm"), strict=True):
            steps, values = zip(*curves[tag], strict=True)
            ax.plot(steps, smooth(values, 0.9), label=f"rate {name}")
    axes[0].set(xlabel="update", ylabel="training loss, smoothed")
    axes[1].set(xlabel="update", ylabel="gradient norm, smoothed")
    axes[1].set_yscale("log")
    axes[0].legend()
    # --8<-- [end:curves]

    # --8<-- [start:dead]
    print("rate  units that are always zero, of 128")
    for learning_rate, model in models.items():
        hidden = model[:2](data[0][0])  # (300, 128)
        silent = (hidden == 0).all(dim=0).sum().item()
        print(f"{learning_rate:4} {silent:4}")
    print(f"loss of a guess among ten: {torch.tensor(10.0).log():.2f}")
    # --8<-- [end:dead]

    # --8<-- [start:hidden]
    curve = read_scalars("runs/rate-0.2")["loss/train"]
    losses = [loss for _, loss in curve]
    print("weight   first below 1   last")
    for weight in (0, 0.6, 0.9, 0.99):
        smoothed = smooth(losses, weight)
        first = next(n for n, loss in enumerate(smoothed) if loss < 1)
        print(f"{weight:6} {first:15} {smoothed[-1]:6.2f}")
    # --8<-- [end:hidden]

    # --8<-- [start:sample]
    with ScalarWriter("long") as writer:
        for step in range(5000):
            writer.add_scalar("loss", 9 if step % 50 == 25 else 1, step)

    for limit in (0, 1000):
        kept = as_tensorboard("long", limit)["loss"]
        steps = [step for step, _ in kept]
        gap = max(b - a for a, b in zip(steps, steps[1:], strict=False))
        spikes = sum(value == 9 for _, value in kept)
        print(f"{len(kept)} points, {spikes:3} spikes, longest gap {gap}")
    # --8<-- [end:sample]

    # --8<-- [start:resume]
    for log_dir, purge_step in (("resumed", None), ("purged", 300)):
        with SummaryWriter(log_dir) as writer:  # killed after update 349
            for step in range(350):
                writer.add_scalar("loss", losses[step], step)
        with SummaryWriter(log_dir, purge_step=purge_step) as writer:
            for step in range(300, 400):  # from the checkpoint at 300
                writer.add_scalar("loss", losses[step], step)
        steps = [step for step, _ in as_tensorboard(log_dir)["loss"]]
        print(f"{log_dir:8} {len(steps)} points, {len(set(steps))} updates")
    # --8<-- [end:resume]

    # --8<-- [start:folder]
    for learning_rate in (0.02, 0.2):
        with ScalarWriter("mixed") as writer:
            train(network(), data, writer, learning_rate, epochs=2)

    mixed = as_tensorboard("mixed")["loss/train"]
    for step, loss in mixed[:1] + mixed[19:21] + mixed[-1:]:
        print(f"update {step:2}  loss {loss:.2f}")
    # --8<-- [end:folder]

    # --8<-- [start:flush]
    with ScalarWriter("buffered") as writer:
        for step in range(400):
            writer.add_scalar("loss", losses[step], step)
        print("on disk:", len(read_scalars("buffered")["loss"]), "points")
        writer.flush()
        print("flushed:", len(read_scalars("buffered")["loss"]), "points")
    # --8<-- [end:flush]

    # --8<-- [start:sizes]
    weights = network()[0].weight
    for kind, value in {
        "scalar": 0.5,
        "histogram": weights,
        "image": weights.view(1, 128, 64),
    }.items():
        with SummaryWriter(f"sizes/{kind}") as writer:
            for step in range(10):
                getattr(writer, f"add_{kind}")("x", value, step)
        [file] = Path(f"sizes/{kind}").iterdir()
        print(f"{kind:9} {file.stat().st_size / 10:6.0f} bytes")
    # --8<-- [end:sizes]

    # --8<-- [start:solution-bias]
    values, weight, average = [2.0] * 30, 0.9, 0.0
    for count, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        if count in (1, 10, 30):
            print(f"{count:2} values of 2: {average:.2f} without dividing")
    print("with:", {round(value, 9) for value in smooth(values, weight)})
    # --8<-- [end:solution-bias]

    # --8<-- [start:solution-ratio]
    for learning_rate in (0.02, 0.2, 2.0):
        model, copies = network(), []

        def copy_weights(step, model=model, copies=copies):
            copies.append(model[0].weight.detach().clone())

        with ScalarWriter("ratios") as writer:
            train(model, data, writer, learning_rate, each_epoch=copy_weights)
        pairs = zip(copies, copies[1:], strict=False)
        ratios = [float((b - a).norm() / a.norm()) for a, b in pairs]
        shown = "  ".join(f"{ratios[n]:.4f}" for n in (0, 1, 4, 38))
        print(f"rate {learning_rate:4}: {shown}")
    # --8<-- [end:solution-ratio]

    # --8<-- [start:solution-watch]
    class Watch(ScalarWriter):
        """Ends a run whose training loss isn't below `limit` at `step`."""

        def __init__(self, log_dir, limit, step):
            super().__init__(log_dir)
            self.limit, self.step, self.losses = limit, step, []

        def add_scalar(self, tag, scalar_value, global_step):
            super().add_scalar(tag, scalar_value, global_step)
            if tag == "loss/train":
                self.losses.append(scalar_value)
                recent = smooth(self.losses, 0.9)[-1]
                if global_step == self.step and recent > self.limit:
                    raise RuntimeError(f"loss {recent:.2f} at {global_step}")

    for learning_rate in (0.02, 0.2, 2.0):
        with Watch(f"watched/{learning_rate}", 2.2, 100) as writer:
            try:
                accuracy = train(network(), data, writer, learning_rate)
                print(f"rate {learning_rate:4}: accuracy {accuracy:.2f}")
            except RuntimeError as error:
                print(f"rate {learning_rate:4}: ended, {error}")
    # --8<-- [end:solution-watch]
