"""A language model of names, letter by letter, and its rivals that count."""

# --8<-- [start:names]
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.rnn import GRUCell, fit, mean_loss, read

CHARACTERS = "\nabcdefghijklmnopqrstuvwxyz"  # a name's end, then letters
IGNORED = -100  # a target that cross_entropy leaves out


def load_names(n_held_out=8000, seed=0):
    """88,799 surnames of the US census of 1990, once each, in two lists."""
    text = files("names").joinpath("dist.all.last").read_text("ascii")
    names = [line.split()[0].lower() for line in text.splitlines()]
    assert 0 < n_held_out < len(names), f"{n_held_out} of {len(names)} names"
    order = np.random.default_rng(seed).permutation(len(names))
    names = [names[place] for place in order]
    return names[n_held_out:], names[:n_held_out]


# --8<-- [end:names]


# --8<-- [start:name-ids]
def name_ids(names):
    """Ids to read and ids to predict, (names, longest + 1) each.

    A name is read behind an end mark, and predicted up to the next one. What
    stands behind that is IGNORED. Names are of letters a to z.
    """
    rows = [
        torch.tensor([CHARACTERS.index(letter) for letter in f"{name}\n"])
        for name in names
    ]
    targets = nn.utils.rnn.pad_sequence(rows, True, padding_value=IGNORED)
    inputs = F.pad(targets[:, :-1], (1, 0)).clamp(min=0)
    return inputs, targets


# --8<-- [end:name-ids]


# --8<-- [start:name-model]
class NameModel(nn.Module):
    """From ids (batch, seq) to logits of each next one, (batch, seq, 27)."""

    def __init__(self, cell):
        super().__init__()
        self.embed = nn.Embedding(len(CHARACTERS), cell.d_in)
        self.cell = cell
        self.head = nn.Linear(cell.d_hidden, len(CHARACTERS))

    def read_on(self, ids, state=None):
        """The logits, and the state to go on from."""
        ids = ids.to(self.embed.weight.device)
        outputs, state = read(self.cell, self.embed(ids), state)
        return self.head(outputs), state

    def forward(self, ids):
        return self.read_on(ids)[0]


# --8<-- [end:name-model]


if __name__ == "__main__":
    # --8<-- [start:surnames]
    train_names, test_names = load_names()
    print(*train_names[:8])
    train_on, test_on = name_ids(train_names), name_ids(test_names)
    torch.manual_seed(0)
    model = NameModel(GRUCell(16, 96))
    print(f"test loss before  {mean_loss(model, *test_on).item():.2f} nats")
    fit(model, *train_on, steps=250)
    loss = mean_loss(model, *test_on).item()
    print(f"test loss after   {loss:.2f} nats, perplexity {np.exp(loss):.0f}")
    # --8<-- [end:surnames]


# --8<-- [start:write]
@torch.no_grad()
def write_names(model, n, seed=0, longest=20, temperature=1.0):
    """Names drawn from softmax(logits / temperature), n of them.

    Each letter that is drawn is read next. A name without an end is cut after
    longest letters.
    """
    generator = torch.Generator().manual_seed(seed)
    ids, state = torch.zeros(n, 1, dtype=torch.long), None
    drawn = []
    for _ in range(longest):
        logits, state = model.read_on(ids, state)
        logits = logits[:, -1] / temperature  # (n, 27)
        probabilities = logits.softmax(dim=-1).cpu()  # as generator is
        ids = torch.multinomial(probabilities, 1, generator=generator)
        drawn.append(ids)
    rows = torch.cat(drawn, dim=1).tolist()
    texts = ["".join(CHARACTERS[i] for i in row) for row in rows]
    return [text.partition("\n")[0] for text in texts]


# --8<-- [end:write]


if __name__ == "__main__":
    # --8<-- [start:written]
    drawn = list(dict.fromkeys(write_names(model, 10_000)))  # each once
    for name, names in (("drawn", drawn), ("test", test_names)):
        print(f"{name:12s}  {np.mean([*map(len, names)]):.1f} letters a name")
    for name, names in (("training", train_names), ("test", test_names)):
        share = np.isin(drawn, names).sum() / len(names)
        print(f"{name:12s}  {share:.0%} of these names were drawn")
    # --8<-- [end:written]


# --8<-- [start:n-gram]
def contexts(inputs, targets, n):
    """The n letters before each known target, as one number, and the target.

    inputs and targets are (names, longest + 1), from name_ids.
    """
    context = torch.zeros_like(inputs)
    for back in range(n):
        before = F.pad(inputs, (back, 0))[:, : inputs.shape[1]]
        context = len(CHARACTERS) * context + before  # the oldest counts least
    is_known = targets != IGNORED
    return context[is_known], targets[is_known]


def n_gram_loss(n, train_on, test_on, pseudo_counts=27.0):
    """Mean loss in nats of p = (count + pseudo_counts p') / (total + ...).

    Counted after n letters; p' is the same after one letter less, down to
    equal probabilities. train_on and test_on come from name_ids.
    """
    size, one = len(CHARACTERS), torch.tensor(1.0)
    probabilities = torch.full((1, size), 1 / size)
    for letters in range(n + 1):
        counts = torch.zeros(size**letters, size)
        at = contexts(*train_on, letters)
        counts.index_put_(at, one, accumulate=True)
        repeats = len(counts) // len(probabilities)
        shorter = probabilities.repeat_interleave(repeats, 0)
        total = counts.sum(dim=-1, keepdim=True)
        probabilities = counts + pseudo_counts * shorter
        probabilities /= total + pseudo_counts
    return -probabilities[contexts(*test_on, n)].log().mean().item()


# --8<-- [end:n-gram]


if __name__ == "__main__":
    # --8<-- [start:counted]
    print("letters before   loss  perplexity")
    by_counting = [n_gram_loss(n, train_on, test_on) for n in range(5)]
    for n, loss in enumerate(by_counting):
        print(f"{n:14d}   {loss:.2f}  {np.exp(loss):10.1f}")
    # --8<-- [end:counted]

    # --8<-- [start:recorded]
    import json

    record = files("snippets.architectures") / "character_models.results.json"
    results = json.loads(record.read_text("utf-8"))["results"]
    for name, by_seed in results.items():
        print(f"{name:18s}  {min(by_seed):.3f} to {max(by_seed):.3f}")
    # --8<-- [end:recorded]

    # --8<-- [start:recorded-figure]
    fig, ax = plt.subplots(figsize=(6.4, 2.8))
    for place, by_seed in enumerate(results.values()):
        ax.plot(by_seed, 3 * [place], "o", color="C0")
    ax.axvline(by_counting[4], color="C1", ls="--")
    ax.text(2.146, 4.3, "4 letters, counted", color="C1")
    ax.set_yticks(range(len(results)), results)
    ax.set(xlabel="test loss in nats a character", ylim=(-0.5, 4.8))
    plt.show()
    # --8<-- [end:recorded-figure]

    # --8<-- [start:packed]
    rows = [torch.randn(length, 3) for length in (7, 4, 2)]
    X = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (3, 7, 3)
    torch.manual_seed(0)
    layer = nn.GRU(3, 5, batch_first=True)
    alone = torch.stack([layer(row)[1][0] for row in rows])  # (3, 5)
    _, padded = layer(X)
    lengths = torch.tensor([7, 4, 2])
    packed = nn.utils.rnn.pack_padded_sequence(X, lengths, batch_first=True)
    _, last = layer(packed)
    for name, state in (("padded", padded[0]), ("packed", last[0])):
        gaps = (state - alone).abs().amax(dim=1)
        print(f"{name}: state differs from alone by", end="")
        print("".join(f"  {gap:.2f}" for gap in gaps))
    # --8<-- [end:packed]

    # --8<-- [start:padding]
    X, targets = train_on
    for name, wanted in (
        ("left out", targets),
        ("counted", targets.clamp(min=0)),  # as more end marks
    ):
        torch.manual_seed(0)
        careless = NameModel(GRUCell(16, 96))
        losses = fit(careless, X, wanted, steps=80)
        own, honest = np.mean(losses[-20:]), mean_loss(careless, *test_on)
        line = f"padding {name:8s}  its own loss {own:.2f}, "
        print(f"{line}honest test loss {honest.item():.2f}")
    # --8<-- [end:padding]

    # --8<-- [start:solution-perplexity]
    targets = test_on[1][test_on[1] != IGNORED]
    counts = torch.bincount(targets, minlength=len(CHARACTERS)).double()
    probabilities = counts / counts.sum()
    entropy = -(probabilities * probabilities.log()).sum().item()
    print(f"27 alike: perplexity {len(CHARACTERS)}")
    print(f"letters by how often they occur: {np.exp(entropy):.1f}")
    # --8<-- [end:solution-perplexity]

    # --8<-- [start:solution-backwards]
    backwards = [
        name_ids([name[::-1] for name in names])
        for names in (train_names, test_names)
    ]
    for name, (train, test) in {
        "forwards": (train_on, test_on),
        "backwards": backwards,
    }.items():
        torch.manual_seed(0)
        model_now = NameModel(GRUCell(16, 96))
        fit(model_now, *train, steps=150)
        loss = mean_loss(model_now, *test).item()
        counted = n_gram_loss(2, train, test)
        print(f"{name:9s}  GRU {loss:.2f}, 2 letters counted {counted:.2f}")
    # --8<-- [end:solution-backwards]

    # --8<-- [start:solution-temperature]
    for temperature in (0.5, 1.0, 1.5):
        drawn = write_names(model, 2000, temperature=temperature)
        different = len(set(drawn)) / len(drawn)
        known = np.isin(drawn, train_names).mean()
        print(f"temperature {temperature}: different {different:.1f},", end="")
        print(f" in the training names {known:.1f}")
    # --8<-- [end:solution-temperature]
