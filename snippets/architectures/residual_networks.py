"""Residual networks: deep stacks that train, and what they see in digits."""

# --8<-- [start:recorded]
import json
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.cnn import mnist_sets
from snippets.fundamentals.data_preprocessing import jitter

if __name__ == "__main__":
    folder = files("snippets.architectures")
    record = folder.joinpath("residual_networks.results.json").read_text()
    results = json.loads(record)["results"]
    print("layers  accuracy, plain  with bypass")
    for layers, kinds in results["depth"].items():
        line = f"{layers:>6s}"
        for runs in kinds.values():  # each (training loss, accuracy)
            _, found = zip(*runs, strict=True)
            line += f"     {min(found):.2f} to {max(found):.2f}"
        print(line)
    # --8<-- [end:recorded]


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
