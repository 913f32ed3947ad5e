"""What each of two processes runs, when torchrun starts it."""

# --8<-- [start:start]
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam


def say(*words):
    """Print, on the first process only."""
    if dist.get_rank() == 0:
        print(*words, flush=True)


# --8<-- [end:start]


# --8<-- [start:gradient]
def gradient(sizes, weigh=False):
    """DDP's gradient of mean(w x), where each rank has a shard of x.

    Its right value is mean(x) = 4. sizes says how many each rank has.
    """
    x = torch.tensor([[2.0], [2.0], [2.0], [10.0]])
    mine = x.split(sizes)[dist.get_rank()]
    model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    loss = model(mine).mean()
    if weigh:
        loss = loss * len(mine) * dist.get_world_size() / len(x)
    loss.backward()
    return model.module.weight.grad.item()


# --8<-- [end:gradient]


# --8<-- [start:unused]
class Detour(nn.Module):
    """A model with a layer that its forward pass never uses."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


def steps_taken(**options):
    """How many of three steps DDP takes, and its complaint."""
    model = DistributedDataParallel(Detour(), **options)
    for step in range(3):
        try:
            model(torch.ones(1, 2)).sum().backward()
        except RuntimeError as error:
            return step, str(error).split(".")[0]
    return 3, ""


# --8<-- [end:unused]


# --8<-- [start:held]
def held(model, optimizer):
    """Bytes a parameter that this rank holds, once it took a step."""
    parameters = list(model.parameters())
    tensors = [*parameters, *(p.grad for p in parameters)]
    for state in getattr(optimizer, "optim", optimizer).state.values():
        tensors += [t for t in state.values() if t.dim()]  # not the counter
    local = [t.to_local() if isinstance(t, DTensor) else t for t in tensors]
    size = sum(t.numel() * t.element_size() for t in local)
    return size / sum(p.numel() for p in parameters)


# --8<-- [end:held]


# --8<-- [start:sharded]
def distribute(how):
    """Four layers and their optimizer, in one of three ways."""
    layers = [nn.Linear(256, 256) for _ in range(4)]
    model = nn.Sequential(*layers)
    if how == "fully_shard":
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in layers:
            fully_shard(layer, mesh=mesh)  # gathered one at a time
        fully_shard(model, mesh=mesh)
    else:
        model = DistributedDataParallel(model)
    if how == "ZeRO-1":
        return model, ZeroRedundancyOptimizer(model.parameters(), Adam)
    return model, Adam(model.parameters())


# --8<-- [end:sharded]


# --8<-- [start:train]
def train(how, steps=5):
    """Mean loss over the ranks and bytes a parameter, after some steps."""
    torch.manual_seed(0)
    model, optimizer = distribute(how)
    torch.manual_seed(1 + dist.get_rank())  # each rank has data of its own
    for _ in range(steps):
        x = torch.randn(8, 256)
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
    total = loss.detach()
    dist.all_reduce(total)
    return total.item() / dist.get_world_size(), held(model, optimizer)


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:main]
    dist.init_process_group("gloo")
    say(f"shards of 2 and 2: gradient {gradient([2, 2])}")
    say(f"shards of 3 and 1: gradient {gradient([3, 1])}")
    say(f"weighed:           gradient {gradient([3, 1], weigh=True)}")
    for options in ({}, {"find_unused_parameters": True}):
        steps, complaint = steps_taken(**options)
        say(f"{steps} steps, {options} {complaint}")
    for how in ("DDP", "ZeRO-1", "fully_shard"):
        loss, size = train(how)
        say(f"{how:12} loss {loss:.4f}, {size:5.2f} bytes a parameter")
    dist.barrier()  # leave together
    dist.destroy_process_group()
    os._exit(0)  # without a shutdown of Python, which at times aborts
    # --8<-- [end:main]
