"""Monitoring: TensorBoard's files by hand, and a real run watched in it."""

# --8<-- [start:checksum]
import io
import math
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


# --8<-- [end:field]


# --8<-- [start:writer]
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
        named = field(1, BYTES, tag.encode())
        value = named + field(2, FLOAT, scalar_value)
        summary = field(5, BYTES, field(1, BYTES, value))
        self._write(field(2, VARINT, step) + summary)

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


# --8<-- [end:read]


# --8<-- [start:smooth]
def smooth(values, weight):
    """TensorBoard's smoothing: an average that forgets, weight in [0, 1).

    Each value counts weight times as much as the one after it. One that is
    no number stays as it is, and doesn't count.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be in [0, 1), got {weight}")
    average, count, smoothed = 0.0, 0, []
    for value in values:
        if math.isfinite(value):
            count += 1
            average = weight * average + (1 - weight) * value
            value = average / (1 - weight**count)  # it began at zero
        smoothed.append(value)
    return smoothed


# --8<-- [end:smooth]


if __name__ == "__main__":
    # --8<-- [start:by-hand]
    with ScalarWriter("by-hand") as writer:
        for step, value in enumerate([1.0, 0.5, 0.25]):
            writer.add_scalar("loss", value, step)

    file = max(Path("by-hand").iterdir())
    last = list(records(file.read_bytes()))[-1]
    print(f"{file.stat().st_size} bytes; the last record holds {len(last)}:")
    print(last[9:].hex(" "))  # after the time
    # --8<-- [end:by-hand]

    # --8<-- [start:accumulator]
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator("by-hand").Reload()
    theirs = [(point.step, point.value) for point in events.Scalars("loss")]
    print("TensorBoard's reader:", theirs)
    print("our reader:          ", read_scalars("by-hand")["loss"])
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
    each_epoch(step) is called then, too, with the model in evaluation.
    Returns the last accuracy.
    """
    import torch
    from torch.nn.functional import cross_entropy

    weights = next(model.parameters())
    (X, y), (X_validation, y_validation) = (
        (X.to(weights), y.to(weights.device, torch.long)) for X, y in data
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    rng = torch.Generator().manual_seed(seed)
    step, n_batches = 0, -(-len(y) // 30)  # of at most 30, rounded up
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(y), generator=rng)
        for batch in order.tensor_split(n_batches):  # none of one example
            loss = cross_entropy(model(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.get_total_norm(
                [p.grad for p in model.parameters() if p.grad is not None]
            )
            optimizer.step()
            writer.add_scalar("loss/train", loss.item(), step)
            writer.add_scalar("gradient norm", norm.item(), step)
            step += 1
        model.eval()
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
    from torch.utils.tensorboard import SummaryWriter

    def run(learning_rate, log_dir):
        """Train one network, and log all about it."""
        model = network()
        with SummaryWriter(log_dir) as writer:

            def log_model(step):
                hidden = model[:2](data[0][0])  # (300, 128)
                silent = (hidden == 0).all(dim=0).sum().item()
                writer.add_scalar("silent units", silent, step)
                for name, weights in model.named_parameters():
                    writer.add_histogram(name, weights, step)

            log_model(step=0)
            accuracy = train(
                model, data, writer, learning_rate, each_epoch=log_model
            )
            setting = {"learning rate": learning_rate}
            result = {"hparam/accuracy": accuracy}
            writer.add_hparams(setting, result, run_name=".")  # in log_dir
        loss = read_scalars(log_dir)["loss/train"][-1][1]
        print(f"{log_dir:14} loss {loss:.2f}, accuracy {accuracy:.2f}")

    data = load()
    for rate in (0.02, 0.2, 2.0):
        run(rate, f"runs/rate-{rate:g}")
    # --8<-- [end:runs]

    # --8<-- [start:tags]
    everything = {"scalars": 0, "histograms": 0}
    events = event_accumulator.EventAccumulator("runs/rate-0.2", everything)
    events.Reload()
    print("kind       tag                  points")
    for kind in everything:
        for tag in events.Tags()[kind]:
            count = len(getattr(events, kind.title())(tag))
            print(f"{kind[:-1]:10} {tag:20} {count:6}")
    # --8<-- [end:tags]

    # --8<-- [start:curves]
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.4), layout="constrained")
    for name in ("0.02", "0.2", "2"):
        curves = read_scalars(f"runs/rate-{name}")
        for ax, tag, end in (
            (axes[0], "loss/train", 400),
            (axes[1], "gradient norm", 60),
        ):
            steps, values = zip(*curves[tag][:end], strict=True)
            ax.plot(steps, smooth(values, 0.9), label=f"rate {name}")
    axes[0].set(xlabel="update", ylabel="training loss, smoothed")
    axes[0].set(yscale="log", ylim=(0.03, 8))
    axes[1].set(xlabel="update", ylabel="gradient norm, smoothed")
    axes[1].set(ylim=(0, 3.2))
    axes[0].legend()
    plt.show()
    # --8<-- [end:curves]

    # --8<-- [start:dead]
    print("silent units, of 128, after epochs")
    print("rate      0    1    2    3    5")
    for name in ("0.02", "0.2", "2"):
        curve = read_scalars(f"runs/rate-{name}")["silent units"]
        shown = [curve[epoch][1] for epoch in (0, 1, 2, 3, 5)]
        print(f"{name:5}", *(f"{silent:4.0f}" for silent in shown))
    print("more than 120 at the end, at rate 2:", curve[-1][1] > 120)
    print(f"loss of a guess among ten: {math.log(10):.2f}")
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

    # --8<-- [start:serve-points]
    import json
    import subprocess
    import sys
    import urllib.request

    def points_shown(log_dir, *options):
        """What TensorBoard itself gives its page: {run: [(step, loss)]}."""
        command = [sys.executable, "-m", "tensorboard.main", "--port=0"]
        server = subprocess.Popen(
            [*command, f"--logdir={log_dir}", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        told = next(line for line in server.stderr if "http://" in line)
        url = "http://" + told.split("http://")[1].split()[0]
        url += "data/plugin/scalars/"

        def ask(question):
            with urllib.request.urlopen(url + question) as answer:
                return json.load(answer)

        folders = {file.parent for file in Path(log_dir).rglob("*tfevents*")}
        while len(runs := ask("tags")) < len(folders):  # it is still reading
            time.sleep(0.1)
        curves = {run: ask(f"scalars?tag=loss&run={run}") for run in runs}
        server.terminate()
        server.communicate()
        return {
            run: [(step, value) for _, step, value in curve]
            for run, curve in curves.items()
        }

    # --8<-- [end:serve-points]

    # --8<-- [start:sample]
    with ScalarWriter("long/run") as writer:
        for step in range(5000):
            writer.add_scalar("loss", 9 if step % 50 == 25 else 1, step)

    for options in ([], ["--samples_per_plugin=scalars=1000000"]):
        shown = points_shown("long", *options)["run"]
        steps = [step for step, _ in shown]
        gap = max(b - a for a, b in zip(steps, steps[1:], strict=False))
        spikes = sum(value == 9 for _, value in shown)
        print(f"{len(shown)} points, {spikes:3} spikes, longest gap {gap}")
    # --8<-- [end:sample]

    # --8<-- [start:twice]
    for start, end in ((0, 350), (300, 400)):  # killed; from the checkpoint
        with ScalarWriter("twice/resumed") as writer:
            for step in range(start, end):
                writer.add_scalar("loss", losses[step], step)
    for seed in (0, 1):
        with ScalarWriter("twice/two-runs") as writer:
            for step in range(400):
                writer.add_scalar("loss", losses[step] + seed, step)

    shown = points_shown("twice")
    for run, points in sorted(shown.items()):
        written = read_scalars(f"twice/{run}")["loss"]
        print(f"{run:8} {len(written)} points written, {len(points)} shown")
        print("    the last of each step:", points == [*dict(written).items()])
    # --8<-- [end:twice]

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
    weight, average = 0.9, 0.0
    for count in range(1, 31):
        average = weight * average + (1 - weight) * 2.0
        if count in (1, 10, 30):
            print(f"{count:2} values of 2: {average:.2f} without dividing")
    print("with:", {round(value, 9) for value in smooth([2.0] * 30, weight)})
    # --8<-- [end:solution-bias]

    # --8<-- [start:solution-ratio]
    def changes(rate):
        """|change| / |weights| of the first layer, for each epoch."""
        model, copies = network(), []

        def copy_weights(step):
            copies.append(model[0].weight.detach().clone())

        copy_weights(step=0)
        with ScalarWriter(f"changes/rate-{rate:g}") as writer:
            train(model, data, writer, rate, each_epoch=copy_weights)
        pairs = zip(copies, copies[1:], strict=False)
        return [float((b - a).norm() / a.norm()) for a, b in pairs]

    print("epoch          1      2      3      5")
    for rate in (0.02, 0.2, 2.0):
        ratios = changes(rate)
        shown = "  ".join(f"{ratios[epoch - 1]:.3f}" for epoch in (1, 2, 3, 5))
        print(f"rate {rate:4}  {shown}")
    # --8<-- [end:solution-ratio]

    # --8<-- [start:solution-watch]
    class Watch(ScalarWriter):
        """Ends a run whose loss is no number, or too high after n updates."""

        def __init__(self, log_dir, limit, n):
            super().__init__(log_dir)
            self.limit, self.n, self.losses = limit, n, []

        def add_scalar(self, tag, scalar_value, global_step):
            super().add_scalar(tag, scalar_value, global_step)
            if tag != "loss/train":
                return
            self.losses.append(scalar_value)
            if not math.isfinite(scalar_value):
                raise RuntimeError(f"loss {scalar_value} at {global_step}")
            if len(self.losses) == self.n:
                self.recent = smooth(self.losses, 0.9)[-1]
                if self.recent > self.limit:
                    raise RuntimeError(
                        f"loss {self.recent:.2f} after {self.n}"
                    )

    for rate in (0.02, 0.2, 5.0, 1e20):
        with Watch(f"watched/{rate}", limit=2.2, n=200) as writer:
            try:
                train(network(), data, writer, rate)
                print(f"rate {rate:5}: {writer.recent:.2f} after 200, goes on")
            except RuntimeError as error:
                print(f"rate {rate:5}: ended, {error}")
    # --8<-- [end:solution-watch]
