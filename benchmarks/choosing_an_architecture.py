"""The table of MNIST-1D: four networks, in order and shuffled, five seeds.

Run `python -m benchmarks.choosing_an_architecture`; it takes a quarter of an
hour on two cores. Each network is trained for 6,000 steps, as in the paper
(Greydanus 2020), and the time of a step is measured when all is done.
Writes the lesson's results file.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures import choosing_an_architecture as lesson

ROOT = Path(__file__).parents[1]
SEEDS = range(5)
STEPS = 6000
SECTIONS = ["data", "networks", "train", "costs"]


def trained(run):
    """Accuracy on the test signals after a run: (name, shuffled, seed)."""
    torch.set_num_threads(1)
    name, shuffled, seed = run
    data, test = lesson.load(shuffled)
    model = lesson.train(lesson.NETWORKS[name], data, STEPS, seed)
    return round(lesson.accuracy(model, *test), 4)


def main():
    """Train all, time all, and write the results."""
    torch.set_num_threads(1)
    names = sorted(
        lesson.NETWORKS, key=lambda name: name != "GRU"
    )  # slow first
    runs = list(product(names, (False, True), SEEDS))
    with ProcessPoolExecutor(2) as pool:
        found = list(tqdm(pool.map(trained, runs), total=len(runs)))
    data, _ = lesson.load()
    results = {}
    for name in lesson.NETWORKS:
        results[name] = {
            "accuracy": [],
            "shuffled": [],
            "milliseconds": round(
                lesson.milliseconds(lesson.NETWORKS[name], data), 3
            ),
        }
    for (name, shuffled, _), value in zip(runs, found, strict=True):
        results[name]["shuffled" if shuffled else "accuracy"].append(value)
    path = write_results(
        Project.load(ROOT),
        "architectures/choosing_an_architecture.results.json",
        SECTIONS,
        "python -m benchmarks.choosing_an_architecture",
        ["mnist1d", "torch"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
