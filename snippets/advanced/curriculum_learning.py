"""Does it matter in which order examples come?"""

# --8<-- [start:train]
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.advanced.transfer_learning import accuracy


def train(model, images, labels, choose, steps, seed, test=None, rate=3e-3):
    """Adam, on the places that choose(progress, rng, model) gives.

    progress goes from 0 to 1. Returns the accuracy on test, a pair of images
    and labels, after every 20 steps.
    """
    rng, curve = np.random.default_rng(seed), []
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        batch = choose(step / steps, rng, model)
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if test and (step + 1) % 20 == 0:
            curve.append(accuracy(model, *test))
    return curve


# --8<-- [end:train]


# --8<-- [start:cross-fit]
def uniform(n):
    """Choose 50 places at random, each of n as likely."""
    return lambda progress, rng, model: rng.integers(n, size=50)


def cross_fitted(images, labels, seed, folds=5):
    """Logits of each example by a linear model that never saw it: (n, 10)."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % folds
    logits = torch.empty(len(labels), 10)
    for f in range(folds):
        seen = torch.tensor(fold != f)
        torch.manual_seed(seed)
        model = nn.Linear(images.shape[1], 10)
        data = images[seen], labels[seen]
        train(model, *data, uniform(len(data[1])), 100, seed, rate=1e-2)
        with torch.no_grad():
            logits[~seen] = model(images[~seen])
    return logits


# --8<-- [end:cross-fit]


if __name__ == "__main__":
    # --8<-- [start:scores]
    import matplotlib.pyplot as plt

    from snippets.architectures.cnn import mnist_sets

    (images, labels), test = mnist_sets()  # 4,000 digits, and 1,000
    images, test = images.flatten(1), (test[0].flatten(1), test[1])
    scored = [cross_fitted(images, labels, seed) for seed in range(5)]
    losses = torch.stack(
        [F.cross_entropy(z, labels, reduction="none") for z in scored]
    )  # (5, n)
    order = losses.mean(dim=0).argsort().numpy()  # easy ones first
    fig, axes = plt.subplots(2, 6)
    for row, places in zip(axes, (order[:6], order[:-7:-1]), strict=True):
        for ax, place in zip(row, places, strict=True):
            ax.imshow(images[place].reshape(28, 28), cmap="gray")
            ax.set_title(f"{labels[place]}")
            ax.axis("off")
    # --8<-- [end:scores]

    # --8<-- [start:agreement]
    from scipy.stats import spearmanr

    right = torch.stack([z.argmax(dim=1) == labels for z in scored]).sum(0)
    print("of five scorers right:", torch.bincount(right).tolist())
    between = spearmanr(losses[0], losses[1]).statistic
    print(f"rank correlation of two scorers' losses  {between:.2f}")
    both = spearmanr(losses.mean(dim=0), -right).statistic
    print(f"of mean loss and number of scorers wrong {both:.2f}")
    # --8<-- [end:agreement]


# --8<-- [start:paced]
def paced(order, start=0.2, full=0.5, most=1.0):
    """Choose from the first part of order, which grows.

    Its share goes from start to most, linearly, until progress is full.
    """

    def choose(progress, rng, model):
        share = min(most, start + (most - start) * progress / full)
        return order[rng.integers(int(share * len(order)), size=50)]

    return choose


# --8<-- [end:paced]


# --8<-- [start:self-paced]
def self_paced(images, labels, full=0.5):
    """Choose what the model itself finds easy: of 100, at first half."""

    def choose(progress, rng, model):
        places = rng.integers(len(labels), size=100)
        with torch.no_grad():
            logits = model(images[places])
        losses = F.cross_entropy(logits, labels[places], reduction="none")
        share = min(1.0, 0.5 + 0.5 * progress / full)
        easy = losses.argsort()[: int(100 * share)].numpy()
        return places[rng.choice(easy, 50, replace=False)]

    return choose


# --8<-- [end:self-paced]


if __name__ == "__main__":
    # --8<-- [start:compare]
    def curves(labels, choices, steps, seeds):
        """Accuracy on test over training: {name: (seeds, steps / 20)}."""
        found = {name: [] for name in choices}
        for seed in range(seeds):
            for name, choice in choices.items():
                torch.manual_seed(seed)
                layers = nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)
                model, choose = nn.Sequential(*layers), choice(seed)
                curve = train(model, images, labels, choose, steps, seed, test)
                found[name].append(curve)
        return {name: np.array(rows) for name, rows in found.items()}

    def shuffle(seed):
        return np.random.default_rng(100 + seed).permutation(len(labels))

    choices = {
        "all at once": lambda seed: uniform(len(labels)),
        "easy to hard": lambda seed: paced(order),
        "hard to easy": lambda seed: paced(order[::-1]),
        "random order": lambda seed: paced(shuffle(seed)),
        "self-paced": lambda seed: self_paced(images, labels),
    }
    clean = curves(labels, choices, 200, 8)
    # --8<-- [end:compare]

    # --8<-- [start:compare-figure]
    plt.figure()
    updates = np.arange(20, 201, 20)
    for (name, rows), style in zip(
        clean.items(), ("-", "o-", "s--", ":", "^-."), strict=True
    ):
        plt.plot(updates, rows.mean(axis=0), style, label=name)
        print(f"{name:13} {rows[:, 1].mean():.2f} {rows[:, -1].mean():.2f}")
    plt.xlabel("updates")
    plt.ylabel("accuracy")
    plt.legend()
    # --8<-- [end:compare-figure]

    # --8<-- [start:differences]
    from scipy.stats import sem, t

    def draw_differences(found, baseline):
        """Final accuracy above the baseline's, with 95 % intervals."""
        plt.figure()
        plt.axvline(0, color="#1f2430", linewidth=0.8)
        for name in reversed(list(found)[1:]):
            gain = found[name][:, -1] - found[baseline][:, -1]
            half = t.ppf(0.975, len(gain) - 1) * sem(gain)
            plt.errorbar(gain.mean(), name, xerr=half, fmt="o", capsize=4)
        plt.xlim(-0.05, 0.05)
        plt.xlabel(f"accuracy above {baseline}")

    draw_differences(clean, "all at once")
    # --8<-- [end:differences]

    # --8<-- [start:wrong-labels]
    rng = np.random.default_rng(5)
    wrong = torch.tensor(rng.random(len(labels)) < 0.3)
    noisy = labels.clone()
    noisy[wrong] += torch.tensor(rng.integers(1, 10, int(wrong.sum())))
    noisy %= 10
    logits = cross_fitted(images, noisy, 0)
    noisy_loss = F.cross_entropy(logits, noisy, reduction="none")
    noisy_order = noisy_loss.argsort().numpy()
    hardest = wrong[noisy_order[-int(wrong.sum()) :]]
    print(f"{wrong.float().mean():.2f} of all labels are wrong, ", end="")
    print(f"{hardest.float().mean():.2f} of as many hardest")
    # --8<-- [end:wrong-labels]

    # --8<-- [start:noisy]
    true_order = np.flatnonzero(~wrong)  # nobody knows it in practice
    choices = {
        "all at once": lambda seed: uniform(len(labels)),
        "easy to hard": lambda seed: paced(noisy_order),
        "easiest 70 %": lambda seed: paced(noisy_order, most=0.7),
        "random 70 %": lambda seed: paced(shuffle(seed), most=0.7),
        "hard to easy": lambda seed: paced(noisy_order[::-1]),
        "right labels": lambda seed: paced(true_order, start=1.0),
    }
    with_noise = curves(noisy, choices, 300, 8)
    for name, rows in with_noise.items():
        print(f"{name:13} {rows[:, 1].mean():.2f} {rows[:, -1].mean():.2f}")
    draw_differences(with_noise, "all at once")
    # --8<-- [end:noisy]

    # --8<-- [start:lengths]
    from snippets.advanced.transfer_learning import descend
    from snippets.architectures.transformer import (
        GPT,
        load_shakespeare,
        random_batch,
    )

    text = load_shakespeare()

    def train_gpt(lengths, tokens, seed, steps=120):
        """A small GPT; each stage has one of the lengths, in turn."""
        torch.manual_seed(seed)
        model = GPT(len(text.characters), d_model=48, n_heads=2, context=32)
        generator = torch.Generator().manual_seed(seed)

        def losses():
            for step in range(steps):
                length = lengths[step * len(lengths) // steps]
                rows = tokens // length if tokens else 8
                x, y = random_batch(text.train, rows, length, generator)
                yield F.cross_entropy(model(x).mT, y)

        descend(model, losses(), 3e-3)
        return model

    # --8<-- [end:lengths]

    # --8<-- [start:length-losses]
    generator = torch.Generator().manual_seed(99)
    x, y = random_batch(text.validation, 256, 32, generator)

    @torch.no_grad()
    def by_position(model):
        """Held-out loss of the first 8 characters, and of the rest."""
        losses = F.cross_entropy(model(x).mT, y, reduction="none")
        return losses[:, :8].mean().item(), losses[:, 8:].mean().item()

    growing = (4, 8, 16, 32, 32, 32)
    ways = {
        "32 throughout": ((32,), 256),
        "growing": (growing, 256),
        "shrinking": (growing[::-1], 256),
        "growing, 8 rows": (growing, None),
    }
    print("positions          1-8   9-32")
    for name, (lengths, tokens) in ways.items():
        found = [by_position(train_gpt(lengths, tokens, s)) for s in range(5)]
        first, rest = np.mean(found, axis=0)
        print(f"{name:16}{first:6.2f}{rest:7.2f}")
    # --8<-- [end:length-losses]

    # --8<-- [start:solution-pool]
    choose, rng = paced(np.arange(4000)), np.random.default_rng(0)
    for progress in (0, 0.25, 0.5, 1):
        places = [choose(progress, rng, None).max() for _ in range(200)]
        print(f"progress {progress:4}: largest place {max(places)}")
    # --8<-- [end:solution-pool]

    # --8<-- [start:solution-slow]
    choices = {
        "easy to hard": lambda seed: paced(order),
        "slower": lambda seed: paced(order, start=0.05, full=1.0),
        "slower, random": lambda seed: paced(shuffle(seed), 0.05, 1.0),
    }
    for name, rows in curves(labels, choices, 200, 5).items():
        print(f"{name:15} {rows[:, -1].mean():.2f}")
    # --8<-- [end:solution-slow]

    # --8<-- [start:solution-agreement]
    by_agreement = np.lexsort((np.random.default_rng(0).random(4000), -right))
    choices = {"by agreement": lambda seed: paced(by_agreement)}
    (rows,) = curves(labels, choices, 200, 8).values()
    gain = rows[:, -1] - clean["easy to hard"][:, -1]
    half = t.ppf(0.975, 7) * sem(gain)
    print(f"above order by loss: {gain.mean():+.2f} ± {half:.2f}")
    # --8<-- [end:solution-agreement]
