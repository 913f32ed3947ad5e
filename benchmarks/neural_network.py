"""A training step by the lesson's engine against PyTorch's, in time.

Run `python -m benchmarks.neural_network`. Both train the same network on the
same batches of digits in float64 with one thread, in turns, so that what else
the machine does slows both. Writes the lesson's results file.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from torch import nn

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.fundamentals.neural_network import layers, train

ROOT = Path(__file__).parents[1]
WIDTHS = (32, 128, 512, 2048)
ENGINE = ("tensor", "product", "arithmetic", "order", "functions", "arrays")
SECTIONS = [
    *(
        f"fundamentals/backpropagation.py:{section}"
        for section in (*ENGINE, "backward")
    ),
    "network",
    "logits",
    "cross-entropy",
    "train",
]


def torch_epoch(model, optimizer, X, labels, seed=0):
    """One epoch of batches of 32, as train takes it."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(X)))
    for batch in order.split(32):
        loss = nn.functional.cross_entropy(model(X[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def torch_model(parameters):
    """The network with those weights, of PyTorch's own layers."""
    w1, b1, w2, b2 = (torch.tensor(p.data) for p in parameters)
    model = nn.Sequential(
        nn.Linear(*w1.shape), nn.ReLU(), nn.Linear(*w2.shape)
    ).double()
    model.load_state_dict(
        {"0.weight": w1.T, "0.bias": b1, "2.weight": w2.T, "2.bias": b2}
    )
    return model


def compare(width, rounds):
    """Median seconds a step of both, and the median of the ratios."""
    X, labels = load_digits(return_X_y=True)
    X = X / 16
    steps = -(-len(X) // 32)
    parameters = layers((64, width, 10))
    model = torch_model(parameters)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, targets = torch.tensor(X), torch.tensor(labels)
    kept = [], []
    for number in range(rounds + 1):
        for action, seconds in zip(
            (
                lambda: train(X, labels, parameters, epochs=1),
                lambda: torch_epoch(model, optimizer, inputs, targets),
            ),
            kept,
            strict=True,
        ):
            start = time.perf_counter()
            action()
            if number:  # the first round warms up
                seconds.append((time.perf_counter() - start) / steps)
    np.testing.assert_allclose(
        parameters[2].data, model[2].weight.detach().numpy().T, atol=1e-9
    )
    ratio = statistics.median(a / b for a, b in zip(*kept, strict=True))
    return *map(statistics.median, kept), ratio


def main():
    """Measure, print and record."""
    torch.set_num_threads(1)
    results = []
    with threadpool_limits(1):
        for width in WIDTHS:
            ours, theirs, ratio = compare(width, 3 if width > 1000 else 9)
            print(f"{width:5d} hidden units  ratio {ratio:.2f}")
            results.append(
                {
                    "width": width,
                    "ours": round(ours, 7),
                    "PyTorch": round(theirs, 7),
                    "ratio": round(ratio, 2),
                }
            )
    print(
        write_results(
            Project.load(ROOT),
            "fundamentals/neural_network.results.json",
            SECTIONS,
            "python -m benchmarks.neural_network",
            ["numpy", "torch"],
            results,
        )
    )


if __name__ == "__main__":
    main()
