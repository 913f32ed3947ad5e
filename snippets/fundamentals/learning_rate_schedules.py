"""Learning rates and their schedules, on a network that reads digits."""

# --8<-- [start:schedule]
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from snippets.fundamentals.optimizers import uncorrected_ratio


def warmup_cosine(step, n_steps, n_warmup=0):
    """The factor of the learning rate at a step from 0 to n_steps - 1.

    (step + 1) / n_warmup first, then (1 + cos(pi d)) / 2, with d the
    fraction of the other steps that is done (SGDR, equation 5).
    """
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = (step - n_warmup) / (n_steps - n_warmup)
    return (1 + math.cos(math.pi * done)) / 2


# --8<-- [end:schedule]


# --8<-- [start:train]
def train(X, labels, make_optimizer, schedule=None, seed=0, epochs=5):
    """Train a network of 32 hidden units on X (n, 64), labels (n).

    make_optimizer(parameters) gives an optimizer of PyTorch, and
    schedule(step, n_steps) the factor of its learning rate.
    """
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = make_optimizer(model.parameters())
    peak, step = optimizer.param_groups[0]["lr"], 0
    n_steps = epochs * math.ceil(len(X) / 32)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(32):
            if schedule:
                factor = schedule(step, n_steps)
                optimizer.param_groups[0]["lr"] = peak * factor
            optimizer.zero_grad()
            cross_entropy(model(X[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
    return model


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:digits]
    digits = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    train_set, validation_set = (
        (
            torch.tensor(digits.data[i]).float() / 16,
            torch.tensor(digits.target[i]),
        )
        for i in (order[:1297], order[1297:])
    )

    def adam(learning_rate):
        return lambda p: torch.optim.Adam(p, lr=learning_rate)

    def evaluate(make_optimizer, schedule=None, seed=0):
        """Loss on the training set, accuracy on the validation set."""
        model = train(*train_set, make_optimizer, schedule, seed).eval()
        with torch.no_grad():
            loss = cross_entropy(model(train_set[0]), train_set[1])
            guesses = model(validation_set[0]).argmax(dim=1)
        return loss.item(), (guesses == validation_set[1]).double().mean()

    for schedule in (None, warmup_cosine):
        name = schedule.__name__ if schedule else "constant"
        losses = [evaluate(adam(0.05), schedule, s)[0] for s in range(5)]
        print(f"{name:13} loss {np.mean(losses):.3f}", end="")
        print(f" ({min(losses):.3f} to {max(losses):.3f})")
    # --8<-- [end:digits]

    # --8<-- [start:tune]
    def tune(rule, rates, schedule=None):
        """Mean loss over seeds 10 to 12 at each rate, and the best rate."""
        means = [
            np.mean([evaluate(rule(r), schedule, 10 + s)[0] for s in range(3)])
            for r in rates
        ]
        return means, rates[int(np.argmin(means))]

    def report(name, rule, learning_rate, schedule=None):
        """Print loss and accuracy over seeds 0 to 4."""
        ends = [
            evaluate(rule(learning_rate), schedule, seed) for seed in range(5)
        ]
        losses, accuracies = np.array(ends).T
        print(f"{name:13} {learning_rate:4g}  {losses.mean():.3f}", end="")
        print(f" ({losses.min():.3f} to {losses.max():.3f})", end="")
        print(f"  {accuracies.mean():.3f}")

    # --8<-- [end:tune]

    # --8<-- [start:rules]
    def sgd(learning_rate):
        return lambda p: torch.optim.SGD(p, lr=learning_rate)

    def momentum(learning_rate):
        return lambda p: torch.optim.SGD(p, lr=learning_rate, momentum=0.9)

    rates = {
        sgd: (0.1, 0.2, 0.5, 1.0, 2.0),
        momentum: (0.02, 0.05, 0.1, 0.2, 0.5),
        adam: (0.005, 0.01, 0.02, 0.05, 0.1),
    }
    curves, best = {}, {}
    print("constant      rate  loss (least to most)    accuracy")
    for rule in rates:
        name = rule.__name__
        curves[name], best[name] = tune(rule, rates[rule])
        report(name, rule, best[name])
    # --8<-- [end:rules]

    # --8<-- [start:valleys]
    fig, ax = plt.subplots()
    looks = {
        "sgd": ("#767676", "o:"),
        "momentum": ("#1f5fbf", "s--"),
        "adam": ("#8f065b", "D-"),
    }
    for rule, learning_rates in rates.items():
        color, style = looks[rule.__name__]
        curve = curves[rule.__name__]
        ax.loglog(
            learning_rates, curve, style, color=color, label=rule.__name__
        )
    ax.set(xlabel="learning rate", ylabel="loss after five epochs")
    ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    ax.set_yticks([0.1, 0.3, 1], ["0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:valleys]

    # --8<-- [start:schedules]
    def warm(step, n_steps):
        """Twenty steps of warm-up, then the cosine."""
        return warmup_cosine(step, n_steps, n_warmup=20)

    rates[momentum] = (0.05, 0.1, 0.2, 0.5)
    rates[adam] = (0.01, 0.02, 0.05, 0.1, 0.2)
    schedules = {"constant": None, "cosine": warmup_cosine, "warm-up": warm}
    shapes = {}
    for rule in (momentum, adam):
        print(f"{rule.__name__:13} peak  loss (least to most)    accuracy")
        for name, schedule in schedules.items():
            shapes[name], peak = tune(rule, rates[rule], schedule)
            report(name, rule, peak, schedule)
    # --8<-- [end:schedules]

    # --8<-- [start:peaks]
    fig, ax = plt.subplots()
    styles = (("#767676", "o:"), ("#1f5fbf", "s--"), ("#8f065b", "D-"))
    for (name, curve), (color, style) in zip(
        shapes.items(), styles, strict=True
    ):
        ax.loglog(rates[adam], curve, style, color=color, label=name)
    ax.set(xlabel="peak learning rate of Adam", ylabel="loss")
    ax.set_xticks(rates[adam], map(str, rates[adam]))
    ax.set_yticks([0.05, 0.1, 0.3, 1], ["0.05", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:peaks]

    # --8<-- [start:torch]
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, 205, n_warmup=20)
    )
    for step in range(205):
        if step in (0, 19, 20, 112, 204):
            print(f"step {step:3}: {scheduler.get_last_lr()[0]:.5f}")
        optimizer.step()
        scheduler.step()
    # --8<-- [end:torch]

    # --8<-- [start:swapped]
    for rule, from_other in ((sgd, "adam"), (adam, "sgd"), (momentum, "sgd")):
        make = rule(best[from_other])
        accuracies = [evaluate(make, seed=s)[1] for s in range(5)]
        low = sum(accuracy < 0.9 for accuracy in accuracies)
        name = f"{rule.__name__} at the rate of {from_other}:"
        print(f"{name:28} accuracy below 0.9 in {low} of 5 runs")
    # --8<-- [end:swapped]

    # --8<-- [start:per-epoch]
    def per_epoch(step, n_steps):
        """The mistake: counts epochs, for a schedule made for steps."""
        return warm(step // (n_steps // 5), n_steps)

    report("each step", adam, 0.1, warm)
    report("each epoch", adam, 0.1, per_epoch)
    print("factors:", *(f"{per_epoch(41 * e, 205):.2f}" for e in range(5)))
    # --8<-- [end:per-epoch]

    # --8<-- [start:cut-off]
    def twice_as_long(step, n_steps):
        """The schedule of a training of ten epochs, ended after five."""
        return warm(step, 2 * n_steps)

    report("five epochs", adam, 0.1, warm)
    report("five of ten", adam, 0.1, twice_as_long)
    # --8<-- [end:cut-off]

    # --8<-- [start:solution-hand]
    for step in (0, 9, 19, 20, 81, 204):
        print(f"step {step:3}: {warm(step, 205):.4f}")
    # --8<-- [end:solution-hand]

    # --8<-- [start:solution-linear]
    def linear(step, n_steps, n_warmup=20):
        """Up in a line, and down in a line."""
        up = (step + 1) / n_warmup
        return min(up, (n_steps - step) / (n_steps - n_warmup))

    _, peak = tune(adam, rates[adam], linear)
    report("linear", adam, peak, linear)
    # --8<-- [end:solution-linear]

    # --8<-- [start:solution-uncorrected]
    def uncorrected(step, n_steps):
        """What leaving out the bias correction does to each step."""
        return uncorrected_ratio(step + 1)

    for learning_rate in (0.002, 0.01):
        report("corrected", adam, learning_rate)
        report("uncorrected", adam, learning_rate, uncorrected)
    losses = [evaluate(adam(0.1), uncorrected, s)[0] for s in range(5)]
    print(f"uncorrected    0.1  {np.mean(losses):.1f}")
    # --8<-- [end:solution-uncorrected]
