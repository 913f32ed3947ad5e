"""Residual networks against plain ones and dense ones, over five seeds.

Run `python -m benchmarks.residual_networks`; it takes some minutes. First
stacks of several depths, with a bypass and without, and both at twenty
layers with other learning rates, or for longer; then the lesson's small
ResNet and its dense rival, tested on digits that are moved: trained on digits
as they are, turned and moved anew in each epoch, or transposed, and a ResNet
whose strides multiply to four instead of eight. Writes the results file.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.cnn import mnist_sets
from snippets.architectures.residual_networks import (
    accuracies_by_move,
    accuracy,
    deep_net,
    dense_net,
    fit,
    jittered,
    small_resnet,
)

ROOT = Path(__file__).parents[1]
SEEDS = range(1, 6)
LAYERS = (8, 14, 20, 32)
# Learning rate and epochs, of other runs at twenty layers.
OTHERS = ((0.01, 4), (0.02, 4), (0.005, 12))
SECTIONS = [
    "residual",
    "deep",
    "fit",
    "accuracy",
    "resnet",
    "jittered",
    "moves",
]
digits = functools.cache(mnist_sets)  # by seed


def deep(layers, bypass, seed, rate=0.005, epochs=4):
    """The last epoch's training loss, and the accuracy on test digits."""
    (images, labels), test_on = digits(seed)
    torch.manual_seed(seed)
    model = deep_net(layers, bypass)
    losses = fit(
        model,
        images[:2000],
        labels[:2000],
        rate=rate,
        epochs=epochs,
        seed=seed,
    )
    return round(losses[-1], 3), round(accuracy(model, *test_on), 3)


def moved(make, is_jittered, is_transposed, seed):
    """The accuracies by pixels moved, of one network and one split."""
    (images, labels), (test_images, test_labels) = digits(seed)
    if is_transposed:
        images, test_images = images.mT, test_images.mT
    torch.manual_seed(seed)
    model = make()
    change = jittered(seed) if is_jittered else None
    fit(model, images, labels, change, epochs=6, seed=seed)
    found = np.array(accuracies_by_move(model, test_images, test_labels))
    return found.round(3).tolist()


def over_seeds(name, run):
    """One result for each seed."""
    found = [run(seed) for seed in SEEDS]
    print(name, [np.ravel(one)[:2].tolist() for one in found], flush=True)
    return found


def main():
    """Train all networks and write the lesson's results file."""
    torch.set_num_threads(1)
    stacks = {"plain": False, "with bypass": True}
    kinds = {
        "dense": (dense_net, False, False),
        "dense, jittered": (dense_net, True, False),
        "ResNet": (small_resnet, False, False),
        "ResNet, jittered": (small_resnet, True, False),
        "ResNet, finer": (finer_resnet, False, False),
        "ResNet, transposed": (small_resnet, False, True),
    }
    results = {
        "depth": {
            layers: {
                name: over_seeds(
                    f"{layers} layers, {name}",
                    functools.partial(deep, layers, bypass),
                )
                for name, bypass in stacks.items()
            }
            for layers in LAYERS
        },
        "others": [
            {
                "rate": rate,
                "epochs": epochs,
                **{
                    name: over_seeds(
                        f"rate {rate}, epochs {epochs}, {name}",
                        functools.partial(
                            deep, 20, bypass, rate=rate, epochs=epochs
                        ),
                    )
                    for name, bypass in stacks.items()
                },
            }
            for rate, epochs in OTHERS
        ],
        "moves": {
            name: over_seeds(name, functools.partial(moved, *kind))
            for name, kind in kinds.items()
        },
    }
    path = write_results(
        Project.load(ROOT),
        "architectures/residual_networks.results.json",
        SECTIONS,
        "python -m benchmarks.residual_networks",
        ["numpy", "torch", "mlxtend"],
        results,
    )
    print(f"wrote {path}")


def finer_resnet():
    """The lesson's ResNet, with a last block that keeps the size."""
    return small_resnet(strides=(1, 2, 1))


if __name__ == "__main__":
    main()
