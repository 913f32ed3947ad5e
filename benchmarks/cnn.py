"""A dense network and a small ResNet on MNIST's digits, over seeds.

Run `python -m benchmarks.cnn`; it takes some minutes. Each is trained on the
digits as they are, and on digits that are turned and moved anew in each epoch,
and tested on digits that are moved. Writes the lesson's results file.
"""

from pathlib import Path

import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.cnn import (
    dense_net,
    fit,
    jittered,
    mnist_sets,
    share_by_move,
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


def curve(make, is_jittered, seed):
    """The share right by pixels moved, of one network and one split."""
    train_on, test_on = mnist_sets(seed)
    torch.manual_seed(seed)
    model = make()
    fit(model, *train_on, jittered(seed) if is_jittered else None, seed=seed)
    return [round(share, 4) for share in share_by_move(model, *test_on)]


def main():
    """Train 20 networks and write the lesson's results file."""
    torch.set_num_threads(1)
    results = {}
    for name, make in (("dense", dense_net), ("ResNet", small_resnet)):
        for data, is_jittered in (("as they are", False), ("jittered", True)):
            curves = [curve(make, is_jittered, seed) for seed in SEEDS]
            results[f"{name}, {data}"] = curves
            print(f"{name}, {data}: {[shares[0] for shares in curves]}")
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
