"""Residual networks: deep stacks that train, and what they see in digits."""

# --8<-- [start:recorded]
import json
from copy import deepcopy
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.cnn import mnist_sets
from snippets.fundamentals.augmentation import jitter

if __name__ == "__main__":
    path = files("snippets.architectures") / "residual_networks.results.json"
    results = json.loads(path.read_text("utf-8"))["results"]
    print("layers  accuracy, plain  with bypass")
    for layers, kinds in results["depth"].items():
        line = f"{layers:>6s}"
        for runs in kinds.values():  # of each, training loss and accuracy
            found = np.array(runs)[:, 1]
            line += f"     {found.min():.2f} to {found.max():.2f}"
        print(line)
    # --8<-- [end:recorded]

    # --8<-- [start:depth-figure]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    depths = [int(layers) for layers in results["depth"]]
    for name in ("plain", "with bypass"):
        runs = np.array([kinds[name] for kinds in results["depth"].values()])
        losses = runs[:, :, 0]  # (depth, seed)
        ax.fill_between(depths, losses.min(1), losses.max(1), alpha=0.3)
        ax.plot(depths, losses.mean(axis=1), label=name)
    ax.set(xlabel="layers", ylabel="training loss (nats)", xticks=depths)
    ax.legend()
    plt.show()
    # --8<-- [end:depth-figure]


# --8<-- [start:residual]
class Residual(nn.Module):
    """relu(x + F(x)), with two convolutions in F; relu(F(x)) if not bypass.

    From (n, channels_in, h, w) to (n, channels_out, h / stride, w / stride),
    rounded up. He and others 2016, figure 2, and option B of section 3.3.
    """

    def __init__(self, channels_in, channels_out, stride=1, bypass=True):
        super().__init__()
        shape = (channels_in, channels_out)
        # No biases: batch norm subtracts the mean, and a bias with it.
        self.change = nn.Sequential(
            nn.Conv2d(*shape, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.bypass = nn.Identity() if bypass else None
        if bypass and (stride != 1 or channels_in != channels_out):
            self.bypass = nn.Sequential(
                nn.Conv2d(*shape, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x):
        changed = self.change(x)
        if self.bypass is not None:
            changed = changed + self.bypass(x)
        return F.relu(changed)


# --8<-- [end:residual]


# --8<-- [start:deep]
def deep_net(layers, bypass, width=16):
    """From images (n, 1, h, w) to logits (n, 10).

    layers counts convolutions and the dense layer: 2, and 2 a block.
    """
    return nn.Sequential(
        nn.Conv2d(1, width, 7, stride=4, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *[
            Residual(width, width, bypass=bypass)
            for _ in range(layers // 2 - 1)
        ],
        nn.AdaptiveAvgPool2d(1),  # each channel's mean over all places
        nn.Flatten(),
        nn.Linear(width, 10),
    )


# --8<-- [end:deep]


# --8<-- [start:gradients]
def gradient_growth(model, images, labels):
    """The first block's typical gradient, as a multiple of the last one's."""
    F.cross_entropy(model(images), labels).backward()
    sizes = [
        block.change[0].weight.grad.square().mean().sqrt().item()
        for block in model
        if isinstance(block, Residual)
    ]
    return sizes[0] / sizes[-1]


if __name__ == "__main__":
    (images, labels), test_on = mnist_sets(seed=1)
    some = images[:100], labels[:100]
    print("layers  plain  with bypass")
    for layers in (8, 20, 32):
        line = f"{layers:6d}"
        for bypass in (False, True):
            torch.manual_seed(0)
            nets = [deep_net(layers, bypass) for _ in range(5)]
            found = [gradient_growth(net, *some) for net in nets]
            line += f"  {np.mean(found):5.0f}"
        print(line)
    # --8<-- [end:gradients]


# --8<-- [start:fit]
def fit(model, images, labels, change=None, epochs=4, rate=0.005, seed=0):
    """Train in place, at most 50 images a batch; returns each epoch's loss.

    images is a tensor (n, channels, height, width), labels (n,). change, if
    given, makes new images of them for each epoch. The learning rate rises
    to rate, then falls to 0.
    """
    batches = -(-len(images) // 50)  # rounded up
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=epochs * batches
    )
    generator = torch.Generator().manual_seed(seed)
    weights, means = next(model.parameters()), []
    labels = labels.to(weights.device, torch.long)
    model.train()
    for _ in range(epochs):
        seen, losses = images if change is None else change(images), []
        seen = seen.to(weights)  # of the same dtype, on the same device
        order = torch.randperm(len(seen), generator=generator)
        for batch in order.tensor_split(batches):  # none of one image
            loss = F.cross_entropy(model(seen[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        means.append(torch.stack(losses).mean().item())
    return means


# --8<-- [end:fit]


# --8<-- [start:accuracy]
@torch.no_grad()
def accuracy(model, images, labels):
    """Accuracy in evaluation mode; labels are (n,). The mode is restored."""
    was_training = model.training
    images = images.to(next(model.parameters(), images))
    guess = model.eval()(images).argmax(dim=1)
    model.train(was_training)
    assert labels.shape == guess.shape, labels.shape
    return (guess == labels.to(guess.device)).float().mean().item()


# --8<-- [end:accuracy]


if __name__ == "__main__":
    # --8<-- [start:train]
    torch.manual_seed(1)
    model = deep_net(20, bypass=True)
    losses = fit(model, images[:2000], labels[:2000], seed=1)
    print(f"loss of the first epoch {losses[0]:.1f}, of the last", end=" ")
    print(f"{losses[-1]:.1f}; accuracy {accuracy(model, *test_on):.2f}")
    # --8<-- [end:train]

    # --8<-- [start:others]
    print("rate   epochs  accuracy, plain  with bypass")
    for run in results["others"]:
        line = f"{run['rate']:5.3f}  {run['epochs']:6d}"
        for name in ("plain", "with bypass"):
            found = np.array(run[name])[:, 1]
            line += f"     {found.min():.2f} to {found.max():.2f}"
        print(line)
    # --8<-- [end:others]


# --8<-- [start:resnet]
def small_resnet(width=16, channels=1, classes=10, strides=(1, 2, 2)):
    """From images (n, channels, h, w) of any size to logits (n, classes)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        Residual(width, width, strides[0]),
        Residual(width, 2 * width, strides[1]),
        Residual(2 * width, 4 * width, strides[2]),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def dense_net(pixels=784, hidden=100, classes=10):
    """Two dense layers, from images to logits (n, classes)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


# --8<-- [end:resnet]


# --8<-- [start:jittered]
def jittered(seed):
    """A function that turns and moves images (n, 1, h, w) at random."""
    rng = np.random.default_rng(seed)

    def change(images):
        changed = jitter(images[:, 0].numpy(), rng)
        return torch.tensor(changed)[:, None]

    return change


# --8<-- [end:jittered]


# --8<-- [start:moves]
def accuracies_by_move(model, images, labels, most=8):
    """Accuracies (most + 1, 4) on images moved by 0 to most pixels.

    The four are moves to the right, to the left, down and up.
    """
    ways = [(1, -1), (-1, -1), (1, -2), (-1, -2)]  # sign and axis
    return [
        [
            accuracy(model, images.roll(sign * pixels, axis), labels)
            for sign, axis in ways
        ]
        for pixels in range(most + 1)
    ]


# --8<-- [end:moves]


if __name__ == "__main__":
    # --8<-- [start:moved]
    moves = {name: np.array(a) for name, a in results["moves"].items()}
    rows = [name for name in moves if "transposed" not in name]
    print("accuracy           at rest       right  left  down    up")
    for name in rows:
        rest, by_way = moves[name][:, 0, 0], moves[name][:, 4].mean(axis=0)
        line = f"{name:17s}  {rest.min():.2f} to {rest.max():.2f}"
        print(line + "".join(f"{share:6.2f}" for share in by_way))
    # --8<-- [end:moved]

    # --8<-- [start:moves-figure]
    fig, ax = plt.subplots()
    for name in rows:
        curves = moves[name].mean(axis=-1)  # (seed, pixels moved)
        ax.fill_between(range(9), curves.min(0), curves.max(0), alpha=0.3)
        ax.plot(curves.mean(axis=0), label=name)
    ax.set(xlabel="test images moved by (pixels)", ylabel="accuracy")
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:moves-figure]

    # --8<-- [start:library]
    from transformers.models.resnet.modeling_resnet import ResNetBasicLayer

    x = torch.randn(4, 16, 14, 14)
    ours, theirs = Residual(16, 32, stride=2), ResNetBasicLayer(16, 32, 2)
    weights = [*ours.bypass.parameters(), *ours.change.parameters()]
    with torch.no_grad():
        for other, mine in zip(theirs.parameters(), weights, strict=True):
            other.copy_(mine)
        gap = (ours(x) - theirs(x)).abs().max()
    print(f"largest difference {gap:.5f}")
    # --8<-- [end:library]

    # --8<-- [start:evaluation]
    test_images, digits = test_on
    order = digits.argsort(stable=True)  # all zeros, then all ones, ...
    copy = deepcopy(model)
    for training in (False, True, False):
        copy.train(training)
        with torch.no_grad():
            logits = [copy(x) for x in test_images[order].split(50)]
        guess = torch.cat(logits).argmax(dim=1)
        found = (guess == digits[order]).float().mean()
        print(f"training={training}: accuracy {found:.2f}")
    # --8<-- [end:evaluation]

    # --8<-- [start:one]
    print([len(part) for part in torch.arange(101).split(50)])
    try:
        small_resnet().train()(torch.zeros(1, 1, 8, 8))
    except ValueError as error:
        print(error)
    # --8<-- [end:one]

    # --8<-- [start:margin]
    for margin in (0, 4):
        found = accuracy(model, F.pad(test_images, 4 * (margin,)), digits)
        print(f"{28 + 2 * margin} pixels a side: accuracy {found:.2f}")
    # --8<-- [end:margin]

    # --8<-- [start:solution-sizes]
    hidden = test_images[:1]
    for part in small_resnet()[:6]:
        hidden = part(hidden)
        kernels = [m for m in part.modules() if isinstance(m, nn.Conv2d)]
        weights = sum(kernel.weight.numel() for kernel in kernels)
        if kernels:
            print(f"{tuple(hidden.shape[1:])}  weights {weights:6,}")
    print(sum(p.numel() for p in small_resnet().parameters()), "in all")
    # --8<-- [end:solution-sizes]

    # --8<-- [start:solution-drop]
    parts, spared = list(model), []
    for place in range(3, 12):  # where the blocks are
        rest = nn.Sequential(*parts[:place], *parts[place + 1 :])
        if accuracy(rest, *test_on) > 0.8:
            spared.append(place - 2)
    print("above 0.8 without block", spared)
    # --8<-- [end:solution-drop]

    # --8<-- [start:solution-transposed]
    print("moved by 4            right  left  down    up")
    for name in ("ResNet", "ResNet, transposed"):
        by_way = moves[name][:, 4].mean(axis=0)
        print(f"{name:21s}" + "".join(f"{share:6.2f}" for share in by_way))
    # --8<-- [end:solution-transposed]
