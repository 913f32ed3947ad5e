"""A training script that may be stopped at any step."""

# --8<-- [start:save]
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def save(path, step, model, optimizer):
    """Write a checkpoint, whole or not at all."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)  # one file for the other


# --8<-- [end:save]


# --8<-- [start:resume]
def resume(path, model, optimizer):
    """Load the checkpoint, if there is one. Returns the step to go on at."""
    if not path.exists():
        return 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


# --8<-- [end:resume]


# --8<-- [start:share]
def share(step, rank, world, n, size=64):
    """Places of this rank's part of a step's batch.

    They depend on the step and not on the past, so that who resumes gets
    the same batches as who never stopped. world should divide size: uneven
    shares would have to be weighed.
    """
    generator = torch.Generator().manual_seed(step)
    return torch.randperm(n, generator=generator)[:size][rank::world]


# --8<-- [end:share]


# --8<-- [start:train]
def train(path, die_at=None, steps=20, every=5):
    """Train on digits; rank 1 dies at a step, in the first attempt."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    data = load_digits()
    x, y = torch.tensor(data.data).float() / 16, torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    start = resume(path, model, optimizer)
    parallel = DistributedDataParallel(model)
    for step in range(start, steps):
        if (attempt, rank, step) == (0, 1, die_at):
            os.kill(os.getpid(), signal.SIGKILL)
        mine = share(step, rank, world, len(y))
        optimizer.zero_grad()
        F.cross_entropy(parallel(x[mine]), y[mine]).backward()
        optimizer.step()
        if (step + 1) % every == 0 and rank == 0:
            save(path, step + 1, model, optimizer)
    if rank == 0:
        loss = F.cross_entropy(model(x), y).item()
        line = f"attempt {attempt}, from step {start}: loss {loss:.3f}"
        print(line, flush=True)
    dist.barrier()  # leave together
    dist.destroy_process_group()


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:main]
    folder, *die_at = sys.argv[1:]
    train(Path(folder, "checkpoint.pt"), *map(int, die_at))
    os._exit(0)  # without a shutdown of Python, which at times aborts
    # --8<-- [end:main]
