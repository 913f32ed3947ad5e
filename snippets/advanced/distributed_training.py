"""Training on many processes, from a ring of arrays to job files."""

# --8<-- [start:ring]
import numpy as np


def ring_all_reduce(arrays):
    """Sum arrays of n workers, each of which sends only to the next.

    arrays are n of shape (size,). Returns what each worker has in the end,
    (n, size), and the numbers that each has sent, (n,).
    """
    n = len(arrays)
    chunks = [np.array_split(np.array(a, float), n) for a in arrays]
    sent = np.zeros(n, dtype=int)
    for step in range(2 * (n - 1)):
        first_half = step < n - 1
        # worker w sends chunk w - step, all workers at the same time
        parcels = [chunks[w][(w - step) % n].copy() for w in range(n)]
        for w, parcel in enumerate(parcels):
            sent[w] += len(parcel)
            to, c = (w + 1) % n, (w - step) % n
            if first_half:  # add what comes in
                chunks[to][c] += parcel
            else:  # it is complete: keep it
                chunks[to][c] = parcel
    return np.array([np.concatenate(worker) for worker in chunks]), sent


# --8<-- [end:ring]


if __name__ == "__main__":
    # --8<-- [start:ring-run]
    rng = np.random.default_rng(0)
    for n in (2, 4, 8):
        gradients = rng.normal(size=(n, 8000))
        found, sent = ring_all_reduce(gradients)
        error = np.abs(found - gradients.sum(axis=0)).max()
        print(f"{n} workers: off by {error:.3f}, each sent", end=" ")
        print(f"{sent.max() / 8000:.3f} of the message", end=", ")
        print(f"2 (n - 1) / n = {2 * (n - 1) / n:.3f}")
    # --8<-- [end:ring-run]


# --8<-- [start:memory]
def bytes_held(n):
    """Bytes a parameter that each of n ranks holds, in fp32 with Adam.

    Weights and gradients are 4 bytes each, Adam's two averages 8
    (Rajbhandari et al. 2020, section 5, there for mixed precision).
    """
    return {
        "all on each rank": 4 + 4 + 8,
        "ZeRO-1": 4 + 4 + 8 / n,
        "ZeRO-2": 4 + 4 / n + 8 / n,
        "ZeRO-3": 4 / n + 4 / n + 8 / n,
    }


# --8<-- [end:memory]


if __name__ == "__main__":
    # --8<-- [start:by-formula]
    import matplotlib.pyplot as plt

    n_ranks = (1, 2, 4, 8, 16, 32, 64)
    plt.figure()
    for name, style in zip(
        bytes_held(1), ("-", "s--", "^-.", "o:"), strict=True
    ):
        sizes = [bytes_held(n)[name] for n in n_ranks]
        plt.plot(n_ranks, sizes, style, label=name)
        print(
            f"{name:17} {sizes[1]:5.2f} with 2 ranks, {sizes[-1]:5.2f} with 64"
        )
    plt.xscale("log")
    plt.xticks(n_ranks, n_ranks)
    plt.minorticks_off()
    plt.ylim(0, 17)
    plt.xlabel("ranks")
    plt.ylabel("bytes a parameter, on each rank")
    plt.legend()
    # --8<-- [end:by-formula]

    # --8<-- [start:same-weights]
    import torch

    ends = []
    for folder in ("runs/killed", "runs/two-agents"):
        checkpoint = torch.load(f"{folder}/checkpoint.pt")
        ends.append(checkpoint["model"])
        print(f"{folder:16} step {checkpoint['step']}")
    differences = [
        (ends[0][name] - ends[1][name]).abs().max() for name in ends[0]
    ]
    print(f"largest difference of a weight {max(differences).item()}")
    # --8<-- [end:same-weights]

    # --8<-- [start:solution-time]
    parameters, gigabits = 135e6, 10
    for n in (2, 8, 64):
        sent = 2 * (n - 1) / n * parameters * 4  # bytes
        print(f"{n:2} workers: {sent * 8 / (gigabits * 1e9):.2f} s a step")
    # --8<-- [end:solution-time]

    # --8<-- [start:solution-padding]
    from torch.utils.data import DistributedSampler

    for rank in range(3):
        sampler = DistributedSampler(range(10), 3, rank, shuffle=False)
        print(f"rank {rank}: {list(sampler)}")
    # --8<-- [end:solution-padding]

    # --8<-- [start:solution-weights]
    shards = [np.array([2.0, 2.0, 2.0]), np.array([10.0])]
    means = [shard.mean() for shard in shards]

    def scales(sizes):
        """m_k n / m for each of n shards."""
        return np.array(sizes) * len(sizes) / sum(sizes)

    weighed = np.mean(scales([3, 1]) * means)
    print(f"mean of means {np.mean(means)}, of weighed means {weighed}")
    print(f"scales of 22, 21 and 21: {scales([22, 21, 21]).round(3)}")
    # --8<-- [end:solution-weights]
