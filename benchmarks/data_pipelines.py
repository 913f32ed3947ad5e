"""Where the time of a small training goes, with loaders of several kinds.

Run `python -m benchmarks.data_pipelines` on an idle machine of two cores or
more; it takes a minute. A convolutional network is trained on digits that
are read from PNG files and turned, with one thread for the arithmetic.
Writes the lesson's results file.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.training import data_pipelines as lesson

ROOT = Path(__file__).parents[1]
SECTIONS = ["folder", "dataset", "loader", "prefetch", "timed", "rotated"]
REPEATS = 7


def network():
    """Two convolutions and a linear layer: (n, 1, 28, 28) to (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 49, 10),
    )


def train(model, optimizer, batch):
    """One step on images (n, 28, 28) and labels (n,)."""
    images, labels = batch
    loss = F.cross_entropy(model(images[:, None]), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def loaders(dataset, places):
    """Each kind of loader, by its name."""
    by_hand = partial(lesson.load, dataset, places, lesson.collate)
    library = partial(DataLoader, dataset, batch_sampler=places)
    return {
        "no prefetching": by_hand,
        "a thread": lambda: lesson.prefetch(by_hand()),
        "one worker": partial(library, num_workers=1),
        "two workers": partial(library, num_workers=2),
    }


def measure(make):
    """The timeline of an epoch, seconds, (batches, 3)."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return lesson.timed(make(), partial(train, model, optimizer))


def summary(timeline):
    """Seconds an epoch, the share of it spent waiting, and the timeline."""
    seconds = timeline[-1, 2]
    waiting = (timeline[:, 1] - timeline[:, 0]).sum() / seconds
    return {
        "seconds": round(float(seconds), 4),
        "waiting": round(float(waiting), 3),
        "timeline": timeline[:16].round(5).tolist(),
    }


def main():
    """Time all, in turn, and keep the median run of each."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) / "digits"
        lesson.write_digits(folder, 2000)
        dataset = lesson.Rotated(folder)
        generator = torch.Generator().manual_seed(0)
        order = lesson.batches(len(dataset), 50, generator)
        places = [[(0, index) for index in batch] for batch in order]
        kinds = loaders(dataset, places)
        runs = {name: [] for name in kinds}
        for _ in tqdm(range(REPEATS)):
            for name, make in kinds.items():
                runs[name].append(measure(make))
    results = {}
    for name, timelines in runs.items():
        middle = np.argsort([run[-1, 2] for run in timelines])[REPEATS // 2]
        results[name] = summary(timelines[middle])
    path = write_results(
        Project.load(ROOT),
        "training/data_pipelines.results.json",
        SECTIONS,
        "python -m benchmarks.data_pipelines",
        ["torch", "pillow"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
