"""What a trained model is worth on another task."""

# --8<-- [start:body]
import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def conv_body():
    """Images (n, 1, 28, 28) to features (n, 1024)."""
    layers = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten())


@torch.no_grad()
def accuracy(model, images, labels):
    """Share of images whose largest logit is their label's."""
    model.eval()
    return (model(images).argmax(dim=1) == labels).float().mean().item()


# --8<-- [end:body]


# --8<-- [start:fit]
def descend(model, losses, learning_rate):
    """A step of Adam for each loss; trains what requires a gradient."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def batch_losses(model, images, labels, steps, seed):
    """Cross-entropy of one random batch after another, of at most 50."""
    rng = np.random.default_rng(seed)
    size = min(50, len(labels))
    for _ in range(steps):
        batch = torch.tensor(rng.choice(len(labels), size, replace=False))
        yield F.cross_entropy(model(images[batch]), labels[batch])


# --8<-- [end:fit]


if __name__ == "__main__":
    # --8<-- [start:pretrain]
    from snippets.architectures.cnn import mnist_sets

    (images, labels), (test_images, test_labels) = mnist_sets()
    old, old_test = labels < 5, test_labels < 5
    former = test_images[old_test], test_labels[old_test]
    pretrained = []
    for seed in range(5):
        torch.manual_seed(seed)
        model = nn.Sequential(conv_body(), nn.Linear(1024, 5))
        losses = batch_losses(model, images[old], labels[old], 80, seed)
        descend(model, losses, 1e-3)
        pretrained.append(model)
    scores = [accuracy(model, *former) for model in pretrained]
    print(f"digits 0 to 4: accuracy {np.mean(scores):.2f}")
    # --8<-- [end:pretrain]


# --8<-- [start:adapt]
def draw(labels, per_class, seed):
    """Places of so many examples of each class, at random."""
    rng = np.random.default_rng(seed)
    places = [
        rng.choice(np.flatnonzero(labels == c), per_class, replace=False)
        for c in labels.unique()
    ]
    return torch.tensor(np.concatenate(places))


def adapt(pretrained, method, images, labels, learning_rate, seed):
    """Body and a new head for five classes, after 30 steps.

    method is "scratch" (a new body), "frozen" (only the head learns) or
    "fine-tuned" (all learns). Leaves the pretrained model as it is.
    """
    torch.manual_seed(1000 + seed)
    body = conv_body()
    if method != "scratch":
        body.load_state_dict(pretrained[0].state_dict())
    model = nn.Sequential(body, nn.Linear(1024, 5)).train()
    if method == "frozen":
        body.requires_grad_(False).eval()  # batch norm stays as well
    losses = batch_losses(model, images, labels, 30, seed)
    descend(model, losses, learning_rate)
    return model


# --8<-- [end:adapt]


if __name__ == "__main__":
    # --8<-- [start:rates]
    new_images, new_labels = images[~old], labels[~old] - 5
    valid = new_images[-500:], new_labels[-500:]
    new_images, new_labels = new_images[:-500], new_labels[:-500]

    def learned(method, rate, per_class, seed):
        """A model for the new digits from so many labels of each."""
        few = draw(new_labels, per_class, seed)
        chosen = new_images[few], new_labels[few]
        return adapt(pretrained[seed], method, *chosen, rate, seed)

    methods = ("scratch", "frozen", "fine-tuned")
    for method in methods:
        print(f"{method:12}", end="")
        for rate in (1e-3, 3e-3, 1e-2):
            models = [learned(method, rate, 10, seed) for seed in (0, 1)]
            score = np.mean([accuracy(model, *valid) for model in models])
            print(f"{rate:7.3f}: {score:.2f}", end="")
        print()
    # --8<-- [end:rates]

    # --8<-- [start:compare]
    new_test = test_images[~old_test], test_labels[~old_test] - 5
    per_class = (2, 10, 50)
    scores = {method: np.zeros((5, 3)) for method in methods}
    for method in methods:
        for seed in range(5):
            for column, n in enumerate(per_class):
                model = learned(method, 3e-3, n, seed)
                scores[method][seed, column] = accuracy(model, *new_test)
    print("labels per class", *[f"{n:12}" for n in per_class])
    for method, score in scores.items():
        print(f"{method:16}", *[f"{mean:12.2f}" for mean in score.mean(0)])
    # --8<-- [end:compare]

    # --8<-- [start:gains]
    import matplotlib.pyplot as plt
    from scipy.stats import sem

    plt.figure()
    plt.axhline(0, color="#1f2430", linewidth=0.8)
    for method, style, shift in (
        ("frozen", "o-", 1),
        ("fine-tuned", "^-.", 1.1),
    ):
        gain = scores[method] - scores["scratch"]  # (5, 3)
        mean, half = gain.mean(0), 2.776 * sem(gain)
        plt.errorbar(
            shift * np.array(per_class),
            mean,
            half,
            fmt=style,
            label=method,
            capsize=4,
        )
    plt.xscale("log")
    plt.xticks(per_class, per_class)
    plt.minorticks_off()
    plt.xlabel("labels per class")
    plt.ylabel("accuracy above scratch")
    plt.legend()
    # --8<-- [end:gains]


# --8<-- [start:lora]
class LoRA(nn.Module):
    """y = W x + (alpha / rank) B A x, with W fixed (Hu 2021, section 4.1).

    x is (..., inputs), A (rank, inputs), B (outputs, rank). A starts
    uniform within 1 / sqrt(inputs), as in PEFT, and B at zero.
    """

    def __init__(self, linear, rank=8, alpha=16):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / rank
        bound = linear.in_features**-0.5
        A = torch.empty(rank, linear.in_features).uniform_(-bound, bound)
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A.T @ self.B.T)

    @torch.no_grad()
    def merge(self):
        """The linear layer, changed in place to compute the same."""
        self.linear.weight += self.scale * self.B @ self.A
        return self.linear


# --8<-- [end:lora]


# --8<-- [start:add-lora]
def add_lora(model, names=("q_proj", "v_proj")):
    """Freeze a model, and wrap its linear layers of these names."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in names:
                setattr(module, name, LoRA(child))


def merge_lora(model):
    """Put plain linear layers in the place of the wrapped ones."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoRA):
                setattr(module, name, child.merge())


def trained_parameters(model):
    """How many numbers of a model learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# --8<-- [end:add-lora]


if __name__ == "__main__":
    # --8<-- [start:unchanged]
    from snippets.start.language_model import load, token_losses

    base, tokenizer = load()
    ids = tokenizer("The kettle is on.", return_tensors="pt").input_ids
    model = copy.deepcopy(base)
    add_lora(model)
    with torch.no_grad():
        change = model(ids).logits - base(ids).logits
    print(f"largest change {change.abs().max().item()}")
    print(f"{trained_parameters(model):,} numbers learn")
    # --8<-- [end:unchanged]

    # --8<-- [start:names]
    from snippets.architectures.character_models import load_names

    names, held_out = load_names()

    def name_batches(names, n, seed):
        """n batches of two lists of names, one a line: (n, 2, 16) ids."""
        rng = np.random.default_rng(seed)
        texts = ["\n".join(rng.choice(names, 16)) for _ in range(2 * n)]
        ids = [tokenizer(text.title()).input_ids[:16] for text in texts]
        return torch.tensor(ids).reshape(n, 2, 16)

    print(tokenizer.decode(name_batches(names, 1, 0)[0, 0]))
    # --8<-- [end:names]

    # --8<-- [start:tuned]
    def tuned(method, learning_rate, seed):
        """SmolLM2 after five steps on lists of surnames."""
        torch.manual_seed(seed)
        model = copy.deepcopy(base)
        if method == "LoRA":
            add_lora(model)
        else:
            model.requires_grad_(False)
            model.model.layers[-1].requires_grad_(True)
        batches = name_batches(names, 5, seed)
        losses = (model(ids, labels=ids).loss for ids in batches)
        descend(model, losses, learning_rate)
        return model

    # --8<-- [end:tuned]

    # --8<-- [start:tuning-rates]
    lists = name_batches(held_out, 4, 99).flatten(0, 1)  # (8, 16)
    rates = {"last block": (3e-4, 1e-3, 3e-3), "LoRA": (1e-3, 3e-3)}
    for method in rates:
        for rate in rates[method]:
            loss = token_losses(tuned(method, rate, 0), lists).mean()
            print(f"{method:11}{rate:.4f}{loss:6.2f}")
    print(f"no training      {token_losses(base, lists).mean():6.2f}")
    # --8<-- [end:tuning-rates]

    # --8<-- [start:tuned-seeds]
    fresh = name_batches(held_out, 4, 77).flatten(0, 1)
    for method, rate in (("last block", 1e-3), ("LoRA", 3e-3)):
        for seed in (1, 2):
            model = tuned(method, rate, seed)
            loss = token_losses(model, fresh).mean()
            print(f"{method:11} seed {seed} {loss:5.2f}", end="")
            print(f"{trained_parameters(model):10,} numbers")
    # --8<-- [end:tuned-seeds]

    # --8<-- [start:merged]
    merged = copy.deepcopy(model)
    merge_lora(merged)
    with torch.no_grad():
        logits = model(lists).logits
        change = merged(lists).logits - logits
    print(f"largest logit {logits.max():.1f}")
    print(f"merged: off by {change.abs().max():.3f}")
    # --8<-- [end:merged]

    # --8<-- [start:peft]
    import warnings

    from peft import LoraConfig, get_peft_model

    # PEFT 0.21.2 asks transformers 5.24 for what that calls deprecated.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing")
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]
    )
    theirs = get_peft_model(copy.deepcopy(base), config)
    wrapped = [m for m in model.modules() if isinstance(m, LoRA)]
    layers = [m for m in theirs.modules() if hasattr(m, "lora_A")]
    for ours, layer in zip(wrapped, layers, strict=True):
        layer.lora_A["default"].weight.data.copy_(ours.A)
        layer.lora_B["default"].weight.data.copy_(ours.B)
    theirs.print_trainable_parameters()
    with torch.no_grad():
        change = theirs(lists).logits - logits
    print(f"off by {change.abs().max():.3f}")
    # --8<-- [end:peft]

    # --8<-- [start:forgets]
    def both(method, rate, per_class):
        """Mean accuracy over five models: on new digits, on old ones."""
        scores = []
        for seed in range(5):
            model = learned(method, rate, per_class, seed)
            old_task = nn.Sequential(model[0], pretrained[seed][1])
            new = accuracy(model, *new_test)
            scores.append((new, accuracy(old_task, *former)))
        return np.mean(scores, axis=0)

    for rate in (1e-3, 3e-3, 1e-2):
        new, kept = both("fine-tuned", rate, 10)
        print(f"rate {rate:.3f}: new digits {new:.2f}, old {kept:.2f}")
    # --8<-- [end:forgets]

    # --8<-- [start:too-high]
    from snippets.start.language_model import NOTE

    note = tokenizer(NOTE, return_tensors="pt").input_ids

    def report(name, model):
        """Losses on held-out names and on the note, in nats a token."""
        losses = [token_losses(model, ids).mean() for ids in (fresh, note)]
        print("{:18} names {:.2f}, note {:.2f}".format(name, *losses))

    report("untrained", base)
    report("rate 0.003", model)
    for seed in (2, 4):
        report(f"rate 0.010, seed {seed}", tuned("LoRA", 1e-2, seed))
    # --8<-- [end:too-high]

    # --8<-- [start:moving]
    for name, seen in (("new digits", new_images), ("negative", 1 - images)):
        model = copy.deepcopy(pretrained[0]).requires_grad_(False)
        print(f"{name:11}{accuracy(model, *former):.2f}", end=" -> ")
        model.train()
        for start in range(0, 1500, 50):
            model(seen[start : start + 50])
        print(f"{accuracy(model, *former):.2f}")
    # --8<-- [end:moving]

    # --8<-- [start:solution-share]
    width, kv_width, n_layers = 576, 192, 30
    for rank in (1, 8, 64):
        numbers = n_layers * rank * (2 * width + width + kv_width)
        print(f"rank {rank:2}: {numbers:9,}")
    # --8<-- [end:solution-share]

    # --8<-- [start:solution-zero]
    model = copy.deepcopy(base)
    add_lora(model)
    for module in model.modules():
        if isinstance(module, LoRA):
            nn.init.zeros_(module.A)
    descend(model, [model(ids, labels=ids).loss], 3e-3)
    change = token_losses(model, ids) - token_losses(base, ids)
    print(f"largest change {change.abs().max().item()}")
    # --8<-- [end:solution-zero]

    # --8<-- [start:solution-frozen]
    for rate in (1e-3, 3e-3, 1e-2):
        new, kept = both("frozen", rate, 50)
        print(f"rate {rate:.3f}: new digits {new:.2f}, old {kept:.2f}")
    # --8<-- [end:solution-frozen]
