"""A small student learns from a large teacher's probabilities."""

# --8<-- [start:teacher]
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.advanced.transfer_learning import (
    accuracy,
    batch_losses,
    conv_body,
    descend,
)
from snippets.architectures.cnn import mnist_sets

if __name__ == "__main__":
    (images, labels), test = mnist_sets()
    seen = images[2000:], labels[2000:]  # by the teacher alone
    images, labels = images[:2000], labels[:2000]  # by students alone
    torch.manual_seed(0)
    teacher = nn.Sequential(conv_body(), nn.Linear(1024, 10))
    descend(teacher, batch_losses(teacher, *seen, 300, 0), 1e-3)
    print(f"teacher: accuracy {accuracy(teacher, *test):.2f}")
    # --8<-- [end:teacher]

    # --8<-- [start:dark]
    with torch.no_grad():
        teacher_logits = teacher(images)  # (2000, 10)
    print("temperature  of the label  of the next class  entropy, nats")
    for temperature in (1, 4, 20):
        soft = (teacher_logits / temperature).softmax(1)
        of_label = soft[torch.arange(2000), labels].mean()
        following = soft.topk(2).values[:, 1].mean()
        entropy = torch.special.entr(soft).sum(1).mean()
        row = temperature, of_label, following, entropy
        print("{:11}{:14.1f}{:19.2f}{:15.1f}".format(*row))
    # --8<-- [end:dark]


# --8<-- [start:soft-loss]
def soft_loss(logits, teacher_logits, temperature):
    """Cross-entropy to soft targets, times the temperature squared.

    Both logits are (n, classes). Hinton 2015, section 2.
    """
    targets = (teacher_logits / temperature).softmax(1)
    log_probs = (logits / temperature).log_softmax(1)
    return -(targets * log_probs).sum(1).mean() * temperature**2


# --8<-- [end:soft-loss]


if __name__ == "__main__":
    # --8<-- [start:limit]
    generator = torch.Generator().manual_seed(0)
    z, v = torch.randn(2, 1, 10, generator=generator, dtype=torch.float64)
    z.requires_grad_()
    centred = z - z.mean(), v - v.mean()
    limit = (centred[0] - centred[1]).detach() / 10
    for temperature in (1, 10, 100, 1000):
        loss = soft_loss(z, v, temperature)
        (gradient,) = torch.autograd.grad(loss, z)
        off = (gradient - limit).abs().max() / limit.abs().max()
        print(f"temperature {temperature:4}: off by {off:.4f}")
    # --8<-- [end:limit]


# --8<-- [start:student]
def small_student(seed, hidden=16):
    """A network with one hidden layer, for images (n, 1, 28, 28)."""
    torch.manual_seed(seed)
    layers = nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    return nn.Sequential(nn.Flatten(), *layers)


def train(images, loss_of, seed, steps=400):
    """A student after so many steps on batches of 50.

    loss_of(logits, batch) takes the places of the batch's images.
    """
    student = small_student(seed)
    rng = np.random.default_rng(seed)

    def losses():
        for _ in range(steps):
            batch = torch.tensor(rng.choice(len(images), 50, replace=False))
            yield loss_of(student(images[batch]), batch)

    descend(student, losses(), 2e-3)
    return student


# --8<-- [end:student]


if __name__ == "__main__":
    # --8<-- [start:compare]
    def hard(logits, batch):
        """Labels as they are."""
        return F.cross_entropy(logits, labels[batch])

    def smoothed(logits, batch):
        """Labels that share a tenth among all classes."""
        return F.cross_entropy(logits, labels[batch], label_smoothing=0.1)

    def soft(temperature):
        """The teacher's probabilities at a temperature."""
        return lambda logits, batch: soft_loss(
            logits, teacher_logits[batch], temperature
        )

    kinds = {
        "hard": hard,
        "smoothed": smoothed,
        "soft, T=1": soft(1),
        "soft, T=4": soft(4),
        "soft, T=20": soft(20),
    }
    scores = {}
    for name, loss_of in kinds.items():
        models = [train(images[:500], loss_of, seed) for seed in range(5)]
        scores[name] = [accuracy(model, *test) for model in models]
        low, high = min(scores[name]), max(scores[name])
        print(f"{name:11}{np.mean(scores[name]):.3f}", end="")
        print(f" ({low:.3f} to {high:.3f})")
    # --8<-- [end:compare]

    # --8<-- [start:figure]
    import matplotlib.pyplot as plt

    plt.figure()
    for row, values in enumerate(scores.values()):
        plt.plot(values, [row] * 5, "o", alpha=0.6, color="#1f5fbf")
        plt.plot(np.mean(values), row, "|", color="#8f065b", markersize=22)
    plt.yticks(range(len(scores)), scores)
    plt.gca().invert_yaxis()
    plt.xlim(0.75, 0.95)
    plt.xlabel("accuracy on the test digits")
    # --8<-- [end:figure]

    # --8<-- [start:unlabelled]
    for n, name in (
        (500, "hard"),
        *[(n, "soft, T=4") for n in (500, 1000, 2000)],
    ):
        loss_of = kinds[name]
        models = [train(images[:n], loss_of, seed, 800) for seed in range(3)]
        mean = np.mean([accuracy(model, *test) for model in models])
        print(f"{n:4} images, {name:10}{mean:.2f}")
    # --8<-- [end:unlabelled]

    # --8<-- [start:all-labels]
    for name in ("hard", "smoothed", "soft, T=4"):
        models = [train(images, kinds[name], seed, 800) for seed in range(3)]
        mean = np.mean([accuracy(model, *test) for model in models])
        print(f"{name:11}{mean:.2f}")
    # --8<-- [end:all-labels]

    # --8<-- [start:no-square]
    logits = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    for temperature in (1, 4, 20):
        loss = soft_loss(logits, v, temperature)
        (gradient,) = torch.autograd.grad(loss, logits)
        size = gradient.norm()
        print(f"T={temperature:2}: with the square {size:.3f}", end="")
        print(f", without {size / temperature**2:.4f}")
    # --8<-- [end:no-square]

    # --8<-- [start:solution-one]
    one_hot = F.one_hot(torch.tensor([3]), 10) * 1e4
    logits = torch.randn(1, 10, generator=generator)
    print(f"soft, T=1: {soft_loss(logits, one_hot, 1):.4f}")
    print(f"hard:      {F.cross_entropy(logits, torch.tensor([3])):.4f}")
    # --8<-- [end:solution-one]

    # --8<-- [start:solution-sizes]
    def numbers(model):
        """How many parameters a model has."""
        return sum(p.numel() for p in model.parameters())

    print(f"teacher {numbers(teacher):,}, student", end="")
    print(f" {numbers(small_student(0)):,}")
    # --8<-- [end:solution-sizes]

    # --8<-- [start:solution-wrong]
    shuffled = torch.randperm(2000, generator=generator)
    wrong = teacher_logits[shuffled]  # targets of other images

    def misled(logits, batch):
        """Soft targets that have nothing to do with the images."""
        return soft_loss(logits, wrong[batch], 4)

    def of_class(logits, batch):
        """The teacher's mean logits of the label's class."""
        return soft_loss(logits, class_means[labels[batch]], 4)

    class_means = torch.stack(
        [teacher_logits[labels == c].mean(0) for c in range(10)]
    )
    for name, loss_of in (("shuffled", misled), ("class means", of_class)):
        models = [train(images[:500], loss_of, seed) for seed in range(3)]
        mean = np.mean([accuracy(model, *test) for model in models])
        print(f"{name:12}{mean:.{1 if mean < 0.2 else 2}f}")
    # --8<-- [end:solution-wrong]
