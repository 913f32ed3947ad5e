"""Token shards on a disk, streamed by workers, and resumed exactly."""

# --8<-- [start:shards]
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from snippets.architectures.transformer import load_shakespeare


def write_shards(tokens, folder, size):
    """Files of at most so many tokens of two bytes; returns their paths.

    Raises ValueError for a token that two bytes can't hold.
    """
    if not 0 <= tokens.min() <= tokens.max() < 2**16:
        low, high = tokens.min(), tokens.max()
        raise ValueError(f"tokens from {low} to {high} don't fit 16 bits")
    folder.mkdir(exist_ok=True)
    paths = []
    for start in range(0, len(tokens), size):
        paths.append(folder / f"{len(paths):04}.npy")
        np.save(paths[-1], tokens[start : start + size].astype(np.uint16))
    return paths


if __name__ == "__main__":
    text = load_shakespeare(held_out=())
    tokens = text.train.numpy()  # one a character
    paths = write_shards(tokens, Path("shards"), 500_000)
    sizes = [path.stat().st_size / 1e6 for path in paths]
    print(f"{len(tokens)} tokens, {len(paths)} files", end="")
    print(f" of {max(sizes):.1f} MB, the last of {sizes[-1]:.1f}")
    # --8<-- [end:shards]

    # --8<-- [start:mapped]
    shard = np.load(paths[3], mmap_mode="r")
    print(type(shard).__name__, shard.shape, shard.dtype)
    print(text.decode(shard[1000:1060]))
    # --8<-- [end:mapped]


# --8<-- [start:order]
def shuffled_places(lengths, window, rng):
    """Each window of each shard once: rows of (shard, start), (n, 2).

    Shards come in random order, and so do the windows of each; what is left
    at the end of a shard, less than a window, is left out.
    """
    places = []
    for shard in rng.permutation(len(lengths)):
        starts = window * rng.permutation(lengths[shard] // window)
        places.append(np.stack([np.full_like(starts, shard), starts], 1))
    return np.concatenate(places)


# --8<-- [end:order]


# --8<-- [start:stream]
@lru_cache(maxsize=64)
def open_shard(path):
    """A shard as a mapped array; each process opens it once."""
    return np.load(path, mmap_mode="r")


class Stream(IterableDataset):
    """Batches of windows (batch, window), in an order fixed by the seed.

    start windows are left out: those that were used before. Of the batches
    that remain, number b belongs to process b % world, and there to each
    worker in turn, so that any number of them gives the same order.
    """

    def __init__(
        self, paths, window, batch_size, seed=0, start=0, rank=0, world=1
    ):
        self.paths, self.window = paths, window
        lengths = [len(open_shard(path)) for path in paths]
        rng = np.random.default_rng(seed)
        places = shuffled_places(lengths, window, rng)[start:]
        rounds = len(places) // (batch_size * world)
        places = places[: rounds * world * batch_size]
        batches = places.reshape(rounds, world, batch_size, 2)
        self.batches = batches[:, rank]  # of this process

    def read(self, places):
        """The windows at rows of (shard, start), as int64."""
        windows = [
            open_shard(self.paths[shard])[start : start + self.window]
            for shard, start in places
        ]
        return torch.from_numpy(np.stack(windows).astype(np.int64))

    def share(self):
        """The places of each batch that this worker is to read."""
        info = get_worker_info()  # None in the main process
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        return self.batches[worker::workers]

    def __iter__(self):
        for places in self.share():
            yield self.read(places)


# --8<-- [end:stream]


if __name__ == "__main__":
    # --8<-- [start:workers]
    import warnings

    # it warns of more workers than there are cores
    warnings.filterwarnings("ignore", "This DataLoader will create")

    def loaded(workers, **settings):
        """All batches of a loader, (n, 16, 256)."""
        stream = Stream(paths, window=256, batch_size=16, **settings)
        return torch.stack(list(DataLoader(stream, None, num_workers=workers)))

    whole = loaded(0)
    print(tuple(whole.shape))
    for workers in (1, 2, 3):
        print(workers, "workers, equal:", torch.equal(loaded(workers), whole))
    # --8<-- [end:workers]

    # --8<-- [start:resume]
    stream = Stream(paths, window=256, batch_size=16)
    batches = iter(DataLoader(stream, None, num_workers=2))
    before = torch.stack([next(batches) for _ in range(501)])
    done = len(before) * 16  # windows, for the checkpoint; then it dies
    after = loaded(3, start=done)
    print(len(before), "batches before,", len(after), "after")
    print(
        "equal to an unbroken run:",
        torch.equal(torch.cat([before, after]), whole),
    )
    # --8<-- [end:resume]

    # --8<-- [start:ranks]
    shares = [loaded(2, rank=rank, world=4) for rank in range(4)]
    together = torch.stack(shares, 1).flatten(0, 1)  # in turn
    print([len(share) for share in shares], "batches each")
    print("in turn, equal:", torch.equal(together, whole[: len(together)]))
    # --8<-- [end:ranks]


# --8<-- [start:stateful]
class StatefulStream(Stream):
    """The same, which says how far it is; each worker has a copy."""

    done = 0

    def __iter__(self):
        for places in self.share()[self.done :]:
            self.done += 1
            yield self.read(places)
        self.done = 0  # for the next epoch

    def state_dict(self):
        """Batches that this copy has yielded."""
        return {"done": self.done}

    def load_state_dict(self, state):
        """Go on behind them."""
        self.done = state["done"]


# --8<-- [end:stateful]


if __name__ == "__main__":
    # --8<-- [start:torchdata]
    from torchdata.stateful_dataloader import StatefulDataLoader

    warnings.filterwarnings("ignore", "'set_vital' is deprecated")

    def stateful():
        """A new loader, as after a new start of the program."""
        stream = StatefulStream(paths, window=256, batch_size=16)
        return StatefulDataLoader(stream, None, num_workers=2)

    loader = stateful()
    batches = iter(loader)
    before = torch.stack([next(batches) for _ in range(501)])
    state = loader.state_dict()
    loader = stateful()
    loader.load_state_dict(state)
    after = torch.stack(list(loader))
    print(
        "equal to an unbroken run:",
        torch.equal(torch.cat([before, after]), whole),
    )
    # --8<-- [end:torchdata]

    # --8<-- [start:ahead]
    import time

    from snippets.training.data_pipelines import prefetch

    stream = StatefulStream(paths, window=256, batch_size=16)
    batches = prefetch(stream, depth=8)
    for _ in range(501):
        next(batches)
    time.sleep(0.5)  # the thread fills its queue
    print("a thread ahead: it says", stream.state_dict()["done"])
    stream = StatefulStream(paths, window=256, batch_size=16)
    batches = iter(DataLoader(stream, None, num_workers=2))
    for _ in range(501):
        next(batches)
    print("two workers:    it says", stream.state_dict()["done"])
    # --8<-- [end:ahead]

    # --8<-- [start:wrapped]
    ids = np.array([49_151, 70_000])
    print(ids.astype(np.uint16))
    try:
        write_shards(ids, Path("broken"), 10)
    except ValueError as error:
        print(error)
    # --8<-- [end:wrapped]

    # --8<-- [start:solution-left]
    stream = Stream(paths, window=256, batch_size=16)
    read = stream.batches.shape[0] * 16 * 256
    print(f"{len(tokens) - read} of {len(tokens)} tokens are left out")
    # --8<-- [end:solution-left]

    # --8<-- [start:solution-larger]
    larger = Stream(paths, window=256, batch_size=32, start=done)
    after = torch.cat(list(larger))
    rest = whole.flatten(0, 1)[done:][: len(after)]
    print(
        f"{len(larger.batches)} batches of 32, equal:",
        torch.equal(after, rest),
    )
    # --8<-- [end:solution-larger]

    # --8<-- [start:solution-local]
    everywhere = np.random.default_rng(0).permutation(
        stream.batches.reshape(-1, 2)
    )
    for name, batches in (
        ("shard by shard", stream.batches),
        ("all at once", everywhere.reshape(-1, 16, 2)),
    ):
        shards = [len(set(batch[:, 0].tolist())) for batch in batches]
        print(f"{name:15}{np.mean(shards):.1f} files a batch")
    # --8<-- [end:solution-local]
