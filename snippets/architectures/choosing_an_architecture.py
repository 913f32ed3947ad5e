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
        print(f"{name:9}{accuracy(model, *test):.1f}")
    # --8<-- [end:short]


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
