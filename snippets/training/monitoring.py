"""Monitoring: runs in TensorBoard, and a watch that reads along."""

# --8<-- [start:data]
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import psutil
import torch
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing import event_accumulator
from torch.nn.functional import cross_entropy
from torch.utils.tensorboard import SummaryWriter


def load(n_train=300, n_validation=500):
    """Real digits in two parts, each X, (n, 64), and y, (n,)."""
    digits = load_digits()
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits.target), generator=rng)
    X = torch.tensor(digits.data / 16, dtype=torch.float32)[order]
    y = torch.tensor(digits.target)[order]
    end = n_train + n_validation
    return (X[:n_train], y[:n_train]), (X[n_train:end], y[n_train:end])


def network(seed=0, hidden=128, activation=torch.nn.ReLU):
    """Two layers, 64 - hidden - 10, for digits."""
    torch.manual_seed(seed)
    first, last = torch.nn.Linear(64, hidden), torch.nn.Linear(hidden, 10)
    return torch.nn.Sequential(first, activation(), last)


# --8<-- [end:data]


if __name__ == "__main__":
    # --8<-- [start:first]
    shutil.rmtree("runs/first", ignore_errors=True)  # of an earlier try
    (X, y), validation = data = load()
    for rate in (0.02, 0.2, 2.0):
        model, rng = network(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        with SummaryWriter(f"runs/first/rate-{rate:g}") as writer:
            for step in range(400):
                batch = torch.randint(300, (30,), generator=rng)
                loss = cross_entropy(model(X[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                writer.add_scalar("loss/train", loss.item(), step)
        print(f"rate {rate:4}: last loss {loss.item():.1f}")
    # --8<-- [end:first]


# --8<-- [start:update]
def update(model, optimizer, X, y):
    """Make one update; return what to log of it, {tag: number}.

    X is (batch, 64), y (batch,). The update ratio is the norm of the first
    parameter's change, divided by its norm before.
    """
    weights = next(model.parameters())
    before = weights.detach().clone()
    loss = cross_entropy(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.step()
    ratio = (weights - before).norm() / before.norm()
    numbers = {"loss/train": loss, "gradient norm": norm}
    numbers["update ratio"] = ratio
    return {tag: number.item() for tag, number in numbers.items()}


def evaluate(model, X, y):
    """Loss and accuracy in evaluation mode, {tag: number}."""
    model.eval()
    with torch.no_grad():
        logits = model(X)
    loss = cross_entropy(logits, y).item()
    accuracy = (logits.argmax(1) == y).float().mean().item()
    return {"loss/validation": loss, "accuracy/validation": accuracy}


# --8<-- [end:update]


# --8<-- [start:train]
def memory_used(device):
    """Bytes: torch's peak on a GPU, else what the process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return psutil.Process().memory_info().rss


def train(
    model, data, writer, learning_rate, epochs=40, seed=0, each_epoch=None
):
    """Train in place, and log by writer.add_scalar(tag, number, step).

    data is what load returns. each_epoch(step) is called after each epoch,
    the model in evaluation mode. Returns the last accuracy.
    """
    weights = next(model.parameters())
    (X, y), validation = (
        (X.to(weights), y.to(weights.device, torch.long)) for X, y in data
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    rng = torch.Generator().manual_seed(seed)
    step, n_batches = 0, -(-len(y) // 30)  # of at most 30, rounded up
    for _ in range(epochs):
        model.train()
        start = time.perf_counter()
        order = torch.randperm(len(y), generator=rng)
        for batch in order.tensor_split(n_batches):  # none of one example
            numbers = update(model, optimizer, X[batch], y[batch])
            for tag, number in numbers.items():
                writer.add_scalar(tag, number, step)
            step += 1
        seconds = time.perf_counter() - start
        numbers = evaluate(model, *validation)
        numbers["speed/examples per second"] = len(y) / seconds
        numbers["memory/MB"] = memory_used(weights.device) / 1e6
        for tag, number in numbers.items():
            writer.add_scalar(tag, number, step)
        if each_epoch is not None:
            each_epoch(step)
    return numbers["accuracy/validation"]


# --8<-- [end:train]


# --8<-- [start:pictures]
def dead_units(model, X):
    """The fraction of hidden units that are zero for all of X, (n, 64)."""
    with torch.no_grad():
        hidden = model[:2](X)  # (n, hidden)
    return (hidden == 0).all(dim=0).float().mean().item()


def worst(model, X, y, n=8):
    """A figure of the n digits of X, (any, 64), with the highest loss."""
    with torch.no_grad():
        logits = model(X)
    losses = cross_entropy(logits, y, reduction="none")
    ranked = losses.argsort(descending=True, stable=True)
    figure, axes = plt.subplots(2, -(-n // 2), layout="constrained")
    figure.set_size_inches(6.4, 3.8)
    for ax, i in zip(axes.flat, ranked[:n], strict=True):
        pixels = X[i].view(8, 8).numpy()
        ax.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        ax.set(title=f"{y[i]}, not {logits[i].argmax()}", xticks=[], yticks=[])
    return figure


# --8<-- [end:pictures]


# --8<-- [start:run]
def run(log_dir, rate, hidden, data, epochs=40):
    """Train one network, log all about it, and return it."""
    model, ((X, _), validation) = network(hidden=hidden), data
    commit = subprocess.getoutput("git describe --always --dirty")
    with SummaryWriter(log_dir) as writer:
        writer.add_text("commit", commit)

        def look_inside(step):
            writer.add_scalar("dead units", dead_units(model, X), step)
            writer.add_histogram("first layer", model[0].weight, step)

        accuracy = train(
            model, data, writer, rate, epochs, each_epoch=look_inside
        )
        writer.add_figure("worst", worst(model, *validation), epochs)
        setting = {"learning rate": rate, "hidden units": hidden}
        result = {"hparam/accuracy": accuracy}
        writer.add_hparams(setting, result, run_name=".")  # in log_dir
    return model


# --8<-- [end:run]


if __name__ == "__main__":
    # --8<-- [start:runs]
    shutil.rmtree("runs/digits", ignore_errors=True)
    models = {}
    for rate in (0.02, 0.2, 2.0):
        for hidden in (32, 128):
            name = f"rate-{rate:g}-hidden-{hidden}"
            models[name] = run(f"runs/digits/{name}", rate, hidden, data)
            accuracy = evaluate(models[name], *validation)
            print(f"{name:20} {accuracy['accuracy/validation']:.2f}")
    figure = worst(models["rate-0.2-hidden-128"], *validation)
    # --8<-- [end:runs]


# --8<-- [start:read]
def read(log_dir):
    """A folder's curves, all points: {tag: [(step, number), ...]}."""
    events = event_accumulator.EventAccumulator(str(log_dir), {"scalars": 0})
    events.Reload()
    return {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


if __name__ == "__main__":
    looks = (("0.02", "#5b6475", ":"), ("0.2", "#1f5fbf", "-"))
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.4), layout="constrained")
    for rate, colour, style in (*looks, ("2", "#8f065b", "--")):
        curves = read(f"runs/digits/rate-{rate}-hidden-128")
        for ax, tag in zip(axes, ("update ratio", "dead units"), strict=True):
            early = [point for point in curves[tag] if point[0] <= 40]
            steps, values = zip(*early, strict=True)
            ax.plot(steps, values, style, color=colour, label=f"rate {rate}")
            ax.set(xlabel="update", ylabel=tag)
    axes[0].set(yscale="log", ylim=(3e-4, 3))
    axes[1].set(ylabel="fraction of dead units", ylim=(0, 1))
    axes[1].legend()
    # --8<-- [end:read]


# --8<-- [start:memory]
def state_bytes(model, optimizer):
    """Bytes of parameters, of gradients, and of the optimizer's state."""
    parameters = list(model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    entries = [v for of in optimizer.state.values() for v in of.values()]
    state = [value for value in entries if torch.is_tensor(value)]
    parts = parameters, gradients, state
    return [sum(tensor.nbytes for tensor in part) for part in parts]


if __name__ == "__main__":
    print("bytes of parameters  gradients  state")
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        model = network()
        optimizer = kind(model.parameters(), lr=0.01)
        update(model, optimizer, X, y)
        parts = state_bytes(model, optimizer)
        print("{:8} {:10} {:10} {:6}".format(kind.__name__, *parts))
    # --8<-- [end:memory]


# --8<-- [start:smooth]
def smooth(values, weight):
    """TensorBoard's smoothing: s_t = a_t / (1 - weight^t), where
    a_t = weight a_{t-1} + (1 - weight) x_t; weight is in [0, 1).

    A value that is NaN or infinite stays as it is, and doesn't count.
    """
    assert 0 <= weight < 1, f"weight must be in [0, 1), got {weight}"
    average, count, smoothed = 0.0, 0, []
    for value in values:
        if math.isfinite(value):
            count += 1
            average = weight * average + (1 - weight) * value
            value = average / (1 - weight**count)  # it began at zero
        smoothed.append(value)
    return smoothed


if __name__ == "__main__":
    curve = read("runs/digits/rate-0.2-hidden-128")["loss/train"]
    losses = [loss for _, loss in curve]
    print("weight  below 1 at  a line is late by  last")
    for weight in (0, 0.6, 0.9, 0.99):
        smoothed = smooth(losses, weight)
        below = next(n for n, loss in enumerate(smoothed) if loss < 1)
        late = weight / (1 - weight)
        print(f"{weight:6} {below:11} {late:18.1f} {smoothed[-1]:5.2f}")
    # --8<-- [end:smooth]


# --8<-- [start:served]
def served(log_dir, n_runs=1):
    """What TensorBoard gives its own page: {run: [[step, loss], ...]}."""
    command = [sys.executable, "-m", "tensorboard.main", "--port=0"]
    board = subprocess.Popen(
        [*command, f"--logdir={log_dir}"], stderr=subprocess.PIPE, text=True
    )
    told = next(line for line in board.stderr if "http://" in line)
    [address] = [word for word in told.split() if word.startswith("http://")]

    def ask(question):
        url = f"{address}data/plugin/scalars/{question}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)

    runs = {}
    while len(runs) < n_runs:  # it is still reading
        time.sleep(0.1)
        runs = ask("tags")
    curves = {run: ask(f"scalars?tag=loss&run={run}") for run in runs}
    board.terminate()
    board.communicate()
    return {run: [p[1:] for p in curve] for run, curve in curves.items()}


if __name__ == "__main__":
    shutil.rmtree("runs/long", ignore_errors=True)
    with SummaryWriter("runs/long/run") as writer:
        for step in range(5000):
            writer.add_scalar("loss", 9 if step % 50 == 25 else 1, step)
    curves = {"logged": read("runs/long/run")["loss"]}
    curves["shown"] = served("runs/long")["run"]
    for name, points in curves.items():
        spikes = sum(loss == 9 for _, loss in points)
        print(f"{name:6} {len(points)} points, {spikes:3} spikes")
    # --8<-- [end:served]


# --8<-- [start:watch]
class Watch:
    """A writer that passes numbers on, and calls alert(tag, number, step)
    once: when one is NaN or infinite, or more than limit of the units dead.
    """

    def __init__(self, writer, alert, limit=0.5):
        self.writer, self.alert, self.limit = writer, alert, limit
        self.alarmed = False

    def add_scalar(self, tag, scalar_value, global_step):
        self.writer.add_scalar(tag, scalar_value, global_step)
        dying = tag == "dead units" and scalar_value > self.limit
        if (dying or not math.isfinite(scalar_value)) and not self.alarmed:
            self.alarmed = True
            self.alert(tag, scalar_value, global_step)


def watched(rate, seed, data, epochs=20, activation=torch.nn.ReLU):
    """Train under a watch: the steps of alarms, and all losses."""
    log_dir = f"runs/watched/{activation.__name__}-{rate:g}-{seed}"
    shutil.rmtree(log_dir, ignore_errors=True)
    model, alarms = network(seed, activation=activation), []
    with SummaryWriter(log_dir) as writer:
        watch = Watch(writer, lambda *what: alarms.append(what[-1]))

        def look_inside(step):
            fraction = dead_units(model, data[0][0])
            watch.add_scalar("dead units", fraction, step)

        train(model, data, watch, rate, epochs, seed, look_inside)
    return alarms, [loss for _, loss in read(log_dir)["loss/train"]]


# --8<-- [end:watch]


if __name__ == "__main__":
    # --8<-- [start:watched]
    print("rate  alarms  the last at  median loss after 100 updates")
    for rate in (0.02, 0.2, 2.0):
        results = [watched(rate, seed, data) for seed in range(8)]
        alarms = [step for steps, _ in results for step in steps]
        after = [smooth(losses[:100], 0.9)[-1] for _, losses in results]
        median, last = statistics.median(after), max(alarms, default="-")
        print(f"{rate:4} {len(alarms):2} of 8 {last:>12}  {median:.2f}")
    # --8<-- [end:watched]

    # --8<-- [start:backwards]
    shutil.rmtree("runs/backwards", ignore_errors=True)
    cases = {
        "resumed": ((0, 350, None), (300, 400, None)),
        "purge_step": ((0, 350, 0), (300, 400, 300)),
        "two-runs": ((0, 400, None), (0, 400, None)),
    }
    for name, parts in cases.items():
        for start, end, purge in parts:
            folder = f"runs/backwards/{name}"
            with SummaryWriter(folder, purge_step=purge) as writer:
                for step in range(start, end):
                    writer.add_scalar("loss", losses[step], step)
    shown = served("runs/backwards", n_runs=3)
    for name in cases:
        n_read = len(read(f"runs/backwards/{name}")["loss"])
        print(f"{name:10} {n_read} read, {len(shown[name])} shown")
    # --8<-- [end:backwards]

    # --8<-- [start:solution-best]
    for folder in sorted(Path("runs/digits").iterdir()):
        curve = read(folder)["accuracy/validation"]
        best, last = max(value for _, value in curve), curve[-1][1]
        print(f"{folder.name:20} best {best:.2f}, last {last:.2f}")
    # --8<-- [end:solution-best]

    # --8<-- [start:solution-tanh]
    for kind in (torch.nn.LeakyReLU, torch.nn.Tanh):
        results = [watched(2, seed, data, 20, kind) for seed in range(3)]
        n_alarms = sum(len(alarms) for alarms, _ in results)
        ends = [sum(curve[-50:]) / 50 for _, curve in results]
        good, bad = (sum(e < 2.3 for e in ends), sum(e > 23 for e in ends))
        print(f"{kind.__name__:9} {n_alarms} alarms; of 3 losses", end="")
        print(f" {good} below 2.3, {bad} above 23")
    # --8<-- [end:solution-tanh]

    # --8<-- [start:solution-ratio]
    print("rate  mean update ratio of the first five updates")
    for rate in (0.02, 0.2, 2.0):
        means = []
        for seed in range(8):
            curves = read(f"runs/watched/ReLU-{rate:g}-{seed}")
            means.append(sum(r for _, r in curves["update ratio"][:5]) / 5)
        print(f"{rate:4}  {min(means):.3f} to {max(means):.3f}")
    # --8<-- [end:solution-ratio]
