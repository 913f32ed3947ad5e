"""Four architectures on MNIST-1D, what each assumes, and what it costs."""

# --8<-- [start:data]
import time

import numpy as np
import torch
import torch.nn.functional as F
from mnist1d.data import get_dataset_args, make_dataset
from torch import nn


def load(shuffled=False):
    """MNIST-1D: 4,000 signals (n, 40) and labels to train, 1,000 to test.

    Shuffled, all signals have their 40 places in another, the same, order.
    """
    settings = get_dataset_args()
    settings.shuffle_seq = shuffled
    data = make_dataset(settings)
    parts = []
    for x, y in (("x", "y"), ("x_test", "y_test")):
        x = torch.tensor(data[x], dtype=torch.float32)
        parts.append((x, torch.tensor(data[y])))
    return parts


# --8<-- [end:data]


if __name__ == "__main__":
    # --8<-- [start:look]
    import matplotlib.pyplot as plt
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_test, y_test) = load()
    plain = LogisticRegression(max_iter=1000).fit(x, y)
    print(f"logistic regression: {plain.score(x_test, y_test):.2f}")
    _, axes = plt.subplots(3, 5, figsize=(8, 4), sharex=True, sharey=True)
    for digit in range(5):
        for row, place in enumerate(torch.where(y == digit)[0][:3]):
            axes[row, digit].plot(x[place], color="#1f5fbf")
        axes[0, digit].set_title(f"digit {digit}")
    # --8<-- [end:look]


# --8<-- [start:networks]
class MLP(nn.Module):
    """Two hidden layers of 100; any place may matter for any other."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(40, 100)
        self.second = nn.Linear(100, 100)
        self.last = nn.Linear(100, 10)

    def forward(self, x):
        """Signals (n, 40) to logits (n, 10)."""
        h = self.first(x).relu()
        return self.last(h + self.second(h).relu())


class CNN(nn.Module):
    """Three convolutions: neighbours matter, in the same way everywhere."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, 25, 5, stride=2, padding=1),  # (n, 25, 19)
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),  # (n, 25, 10)
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),  # (n, 25, 5)
            nn.ReLU(),
        )
        self.last = nn.Linear(125, 10)

    def forward(self, x):
        """Signals (n, 40) to logits (n, 10)."""
        return self.last(self.convolutions(x[:, None]).flatten(1))


class GRU(nn.Module):
    """A state of 6 numbers read from both ends: order matters."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 6, batch_first=True, bidirectional=True)
        self.last = nn.Linear(480, 10)

    def forward(self, x):
        """Signals (n, 40) to logits (n, 10)."""
        states, _ = self.gru(x[:, :, None])  # (n, 40, 12)
        return self.last(states.flatten(1))


NETWORKS = {
    "logistic": lambda: nn.Linear(40, 10),
    "MLP": MLP,
    "GRU": GRU,
    "CNN": CNN,
}
# --8<-- [end:networks]


# --8<-- [start:train]
def train(network, data, steps, seed=0):
    """A trained network of a kind: Adam at 0.01 on batches of 100."""
    torch.manual_seed(seed)
    model, (x, y) = network(), data
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(x), (100,), generator=generator)
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def accuracy(model, x, y):
    """The share of signals that are classified correctly."""
    return (model(x).argmax(1) == y).float().mean().item()


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:short]
    data, test = load()
    for name in ("logistic", "MLP", "CNN"):
        model = train(NETWORKS[name], data, 1000)
        print(f"{name:9}{accuracy(model, *test):.2f}")
    # --8<-- [end:short]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    file = "choosing_an_architecture.results.json"
    folder = files("snippets.architectures")
    results = json.loads(folder.joinpath(file).read_text())["results"]
    published = {"logistic": 0.32, "MLP": 0.68, "GRU": 0.91, "CNN": 0.94}
    print("          in order       published  ms a step")
    for name, run in results.items():
        values = run["accuracy"]
        print(f"{name:9}{np.mean(values):.2f} ({min(values):.2f}", end="")
        print(f" to {max(values):.2f}){published[name]:7.2f}", end="")
        print(f"{run['milliseconds']:11.1f}")
    # --8<-- [end:results]

    # --8<-- [start:shuffled]
    print("          in order  shuffled")
    for name, run in results.items():
        pair = np.mean(run["accuracy"]), np.mean(run["shuffled"])
        print("{:9}{:9.2f}{:10.2f}".format(name, *pair))
    # --8<-- [end:shuffled]

    # --8<-- [start:figure]
    plt.figure()
    for row, (name, run) in enumerate(results.items()):
        for key, colour, mark in (
            ("accuracy", "#1f5fbf", "o"),
            ("shuffled", "#8f065b", "x"),
        ):
            label = {"accuracy": "in order", "shuffled": "shuffled"}[key]
            plt.plot(
                run[key],
                [row] * len(run[key]),
                mark,
                color=colour,
                label=label if row == 0 else None,
            )
        plt.plot(published[name], row, "|", color="#767676", ms=24)
    plt.yticks(range(4), results)
    plt.xlim(0.2, 1)
    plt.xlabel("accuracy on the test signals")
    plt.legend(loc="upper left")
    # --8<-- [end:figure]

    # --8<-- [start:identity]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    model, moved = MLP(), MLP()
    moved.load_state_dict(model.state_dict())
    with torch.no_grad():
        moved.first.weight.copy_(model.first.weight[:, order])
        gap = (model(x) - moved(x[:, order])).abs().max()
    print(f"largest difference of the logits: {gap:.4f}")
    # --8<-- [end:identity]


# --8<-- [start:costs]
def parameters(model):
    """How many numbers the model learns."""
    return sum(weights.numel() for weights in model.parameters())


def operations(model, signal):
    """Multiply-adds of its matrix products for one signal (1, 40)."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(signal)
    return counter.get_total_flops() // 2  # it counts both as one each


def milliseconds(network, data, steps=100):
    """Of a training step, the fastest of five times a hundred."""
    train(network, data, 10)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        train(network, data, steps)
        times.append((time.perf_counter() - start) / steps * 1000)
    return min(times)


# --8<-- [end:costs]


if __name__ == "__main__":
    # --8<-- [start:count]
    for name, network in NETWORKS.items():
        model = network()
        print(f"{name:9}{parameters(model):6} parameters", end="")
        print(f"{operations(model, x[:1]):7} multiply-adds")
    # --8<-- [end:count]

    # --8<-- [start:table]
    from importlib.util import find_spec
    from pathlib import Path

    import pandas as pd
    from sklearn.compose import (
        TransformedTargetRegressor,
        make_column_transformer,
    )
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    folder = find_spec("ISLP").submodule_search_locations[0]
    table = pd.read_csv(Path(folder) / "data/Bikeshare.csv")
    lent, day = table["bikers"].to_numpy(), table["day"].to_numpy()
    columns = ["hr", "weekday", "day", "holiday", "temp", "hum", "windspeed"]
    bikes = table[columns].to_numpy(float)  # (8645, 7)

    def network_for(columns):
        """A network for a table; its columns, all scaled or encoded."""
        network = MLPRegressor(
            hidden_layer_sizes=(64, 64),
            learning_rate_init=0.003,
            early_stopping=True,
            random_state=0,
        )
        return TransformedTargetRegressor(
            make_pipeline(columns, network), transformer=StandardScaler()
        )

    kinds = {
        "trees": lambda: HistGradientBoostingRegressor(random_state=0),
        "network": lambda: network_for(StandardScaler()),
        "network, encoded": lambda: network_for(
            make_column_transformer(
                (OneHotEncoder(handle_unknown="ignore"), [0, 1]),
                remainder=StandardScaler(),
            )
        ),
    }
    # --8<-- [end:table]

    # --8<-- [start:bikes]
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(5, shuffle=True, random_state=0)
    pairs = list(folds.split(bikes, groups=day))[:2]

    def error(kind, n_days):
        """Bikes an hour, on whole days; n_days of the others to train."""
        gaps = []
        for train_rows, test_rows in pairs:
            days = np.random.default_rng(0).permutation(
                np.unique(day[train_rows])
            )[:n_days]
            rows = train_rows[np.isin(day[train_rows], days)]
            model = kinds[kind]().fit(bikes[rows], lent[rows])
            gaps.append(
                np.abs(
                    model.predict(bikes[test_rows]) - lent[test_rows]
                ).mean()
            )
        return np.mean(gaps)

    print("days to train     30   292")
    for kind in kinds:
        row = [error(kind, n_days) for n_days in (30, 292)]
        print("{:17}{:3.0f}{:6.0f}".format(kind, *row))
    # --8<-- [end:bikes]

    # --8<-- [start:rates]
    def at_rate(name, rate):
        """Accuracy after 500 steps of Adam with another rate."""
        torch.manual_seed(0)
        model = NETWORKS[name]()
        optimizer = torch.optim.Adam(model.parameters(), rate)
        generator = torch.Generator().manual_seed(0)
        for _ in range(500):
            batch = torch.randint(4000, (100,), generator=generator)
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return accuracy(model, *test)

    print("rate    0.0001  0.01")
    for name in ("MLP", "CNN"):
        row = [at_rate(name, rate) for rate in (0.0001, 0.01)]
        print("{:8}{:6.2f}{:6.2f}".format(name, *row))
    # --8<-- [end:rates]

    # --8<-- [start:solution-counts]
    first = 19 * 25 * 5
    second, third = 10 * 25 * (25 * 3), 5 * 25 * (25 * 3)
    print(first, second, third, 125 * 10, first + second + third + 1250)
    # --8<-- [end:solution-counts]

    # --8<-- [start:solution-pooled]
    class Pooled(CNN):
        """The same convolutions, and no place known behind them."""

        def __init__(self):
            super().__init__()
            self.last = nn.Linear(25, 10)

        def forward(self, x):
            return self.last(self.convolutions(x[:, None]).mean(2))

    for network in (CNN, Pooled):
        found = [
            accuracy(train(network, data, 500, seed), *test)
            for seed in range(4)
        ]
        print(f"{network.__name__:7}{parameters(network()):5}", end="")
        print(f" parameters, accuracy {np.mean(found):.2f}")
    # --8<-- [end:solution-pooled]

    # --8<-- [start:solution-few]
    print("signals   100   400  4000")
    for name in ("MLP", "CNN"):
        row = []
        for n in (100, 400, 4000):
            model = train(NETWORKS[name], (x[:n], y[:n]), 500)
            row.append(accuracy(model, *test))
        print("{:7}{:6.2f}{:6.2f}{:6.2f}".format(name, *row))
    # --8<-- [end:solution-few]
