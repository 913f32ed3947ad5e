"""A dense network and a small ResNet on MNIST's digits, over seeds.

Run `python -m benchmarks.cnn`; it takes some minutes. Each is trained on the
digits as they are, and on digits that are turned and moved anew in each epoch,
and tested on digits that are moved. So is a ResNet whose strides multiply to
four instead of eight, on digits as they are. Writes the lesson's results file.
"""

from pathlib import Path

import numpy as np
import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.cnn import (
    dense_net,
    fit,
    jittered,
    mnist_sets,
    shares_by_move,
    small_resnet,
)

ROOT = Path(__file__).parents[1]
SEEDS = range(1, 6)
SECTIONS = [
    "residual",
    "resnet",
    "dense-net",
    "one-cycle",
    "fit",
    "share-right",
    "data",
    "moves",
]


def finer_resnet():
    """The lesson's ResNet, with a last block that keeps the size."""
    return small_resnet(strides=(1, 2, 1))


def moved(make, is_jittered, seed):
    """The shares right by pixels moved, of one network and one split."""
    train_on, test_on = mnist_sets(seed)
    torch.manual_seed(seed)
    model = make()
    fit(model, *train_on, jittered(seed) if is_jittered else None, seed=seed)
    shares = np.array(shares_by_move(model, *test_on))
    return shares.round(3).tolist()


def main():
    """Train 25 networks and write the lesson's results file."""
    torch.set_num_threads(1)
    kinds = {
        "dense": (dense_net, False),
        "dense, jittered": (dense_net, True),
        "ResNet": (small_resnet, False),
        "ResNet, jittered": (small_resnet, True),
        "ResNet, finer": (finer_resnet, False),
    }
    results = {}
    for name, (make, is_jittered) in kinds.items():
        results[name] = [moved(make, is_jittered, seed) for seed in SEEDS]
        print(f"{name}: {[shares[0][0] for shares in results[name]]}")
    path = write_results(
        Project.load(ROOT),
        "architectures/cnn.results.json",
        SECTIONS,
        "python -m benchmarks.cnn",
        ["numpy", "torch", "mlxtend"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
