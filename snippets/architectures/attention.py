"""Attention from scratch: three matrices, a mask, and several heads."""

# --8<-- [start:attention]
import math

import torch
import torch.nn.functional as F
from torch import nn


def attention_weights(q, k, causal=True):
    """softmax(q kᵀ / sqrt(d_head) + mask): how much each place takes of which.

    q and k are (..., seq, d_head); the weights are (..., seq, seq).
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if causal:
        mask = scores.new_full(scores.shape[-2:], -math.inf).triu(1)
        scores = scores + mask  # minus infinity wherever the future is
    return scores.softmax(dim=-1)


def attention(q, k, v, causal=True):
    """Weighted means of the values v, (..., seq, d_v): of the same shape."""
    return attention_weights(q, k, causal) @ v


# --8<-- [end:attention]

if __name__ == "__main__":
    # --8<-- [start:copy]
    line = "tomorrow, and tomorrow, and tomorrow"
    letters = sorted(set(line))
    ids = torch.tensor([letters.index(c) for c in line])
    x = F.one_hot(ids).float()  # (36, 11)
    one_back, two_back = (F.pad(x, (0, 0, n, 0))[:36] for n in (1, 2))
    q = 30 * torch.cat([x, one_back], 1)  # "where was this pair before?"
    k = torch.cat([one_back, two_back], 1)  # "I come after this pair."
    largest, best = attention(q, k, x).max(1)
    pairs = zip(largest, best, strict=True)
    found = [letters[i] if p > 0.9 else "." for p, i in pairs]
    print(line)
    print(" " + "".join(found[:-1]))
    right = sum(map(str.__eq__, found[:-1], line[1:]))
    print(f"{right} of 35 letters predicted")
    # --8<-- [end:copy]

    # --8<-- [start:copy-figure]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(5.4, 5))
    image = ax.imshow(attention_weights(q, k).numpy(), vmin=0, vmax=1)
    fig.colorbar(image, label="attention weight")
    ax.set_xticks(range(36), line)
    ax.set_yticks(range(36), line)
    ax.tick_params(labelsize=7, length=0)
    ax.set(xlabel="letter looked at", ylabel="letter that looks")
    plt.show()
    # --8<-- [end:copy-figure]

    # --8<-- [start:scale]
    generator = torch.Generator().manual_seed(0)
    print("d_head  std of q·k  largest weight: unscaled  scaled")
    for d_head in (4, 64, 1024):
        a, b = torch.randn(2, 1000, 16, d_head, generator=generator)
        products = a @ b.mT
        unscaled = products.softmax(-1).amax(-1).mean()
        scaled = attention_weights(a, b, causal=False).amax(-1).mean()
        print(f"{d_head:6} {products.std():11.1f}", end="")
        print(f" {unscaled:25.2f} {scaled:7.2f}")
    # --8<-- [end:scale]

    # --8<-- [start:future]
    changed = x.clone()
    changed[20] = x[0]  # another letter at place 20
    for causal in (True, False):
        before = attention(x, x, x, causal)
        after = attention(changed, changed, changed, causal)
        moved = (before - after).abs().amax(1) > 1e-6
        first = moved.nonzero()[0].item()
        print(f"causal={causal!s:5}  the first output to change: {first}")
    # --8<-- [end:future]


# --8<-- [start:multi-head]
class MultiHeadAttention(nn.Module):
    """Causal self-attention of n_heads, each in its part of d_model."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def split(self, x):
        """Queries, keys and values: (3, batch, head, seq, d_head)."""
        batch, seq, _ = x.shape
        qkv = self.qkv(x).view(batch, seq, 3, self.n_heads, -1)
        return qkv.permute(2, 0, 3, 1, 4)

    def forward(self, x):
        """From x, (batch, seq, d_model), to the same shape."""
        heads = attention(*self.split(x))  # (batch, head, seq, d_head)
        return self.out(heads.transpose(1, 2).flatten(2))


# --8<-- [end:multi-head]


# --8<-- [start:reader]
class AttentionReader(nn.Module):
    """From rows (batch, seq, 8) to the logits of ten digits, (batch, 10).

    The last place answers; without positions, rows have no place.
    """

    def __init__(self, seq, use_positions=True, d_model=64, n_heads=4):
        super().__init__()
        self.rows = nn.Linear(8, d_model)
        start = 0.5 * use_positions * torch.randn(seq, d_model)
        self.positions = nn.Parameter(start, requires_grad=use_positions)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(d_model, 10))

    def embed(self, X):
        """A vector for each row and its place: (batch, seq, d_model)."""
        return self.rows(X) + self.positions

    def forward(self, X):
        return self.head(self.attention(self.embed(X))[:, -1])


# --8<-- [end:reader]

if __name__ == "__main__":
    # --8<-- [start:digits]
    from snippets.architectures.rnn import accuracy, digits_then_blank, fit

    train_on, _, (images, labels) = digits_then_blank(20)
    readers = {}
    for name, use_positions in (("with", True), ("without", False)):
        scores = []
        for seed in (2, 1, 0):
            torch.manual_seed(seed)
            reader = AttentionReader(28, use_positions)
            fit(reader, *train_on, learning_rate=0.01, steps=120, seed=seed)
            scores.append(accuracy(reader, images, labels))
        print(f"{name:7} positions  ", end="")
        print(f"accuracy {min(scores):.2f} to {max(scores):.2f}")
        readers[name] = reader  # that of seed 0
    # --8<-- [end:digits]

    # --8<-- [start:looks]
    reader = readers["with"]
    with torch.no_grad():
        q, k, _ = reader.attention.split(reader.embed(images))
        weights = attention_weights(q, k)[:, :, -1].mean(0)  # (head, 28)
    fig, ax = plt.subplots()
    for head, line_style in enumerate(("-", "--", ":", "-.")):
        label = f"head {head + 1}"
        ax.plot(range(1, 29), weights[head], line_style, label=label)
    ax.set(xlabel="row (from 9 on they are blank)")
    ax.set(ylabel="mean weight", ylim=(0, None))
    ax.legend()
    plt.show()
    # --8<-- [end:looks]

    # --8<-- [start:library]
    q, k, v = torch.randn(3, 2, 4, 32, 24, dtype=torch.float64)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    print(f"one head   {(attention(q, k, v) - theirs).abs().max():.9f}")

    ours = MultiHeadAttention(96, 4)
    layer = nn.MultiheadAttention(96, 4, batch_first=True)
    layer.in_proj_weight, layer.in_proj_bias = ours.qkv.parameters()
    layer.out_proj = ours.out
    h = torch.randn(2, 32, 96)
    mask = torch.ones(32, 32, dtype=torch.bool).triu(1)  # True is forbidden
    theirs, _ = layer(h, h, h, attn_mask=mask)
    print(f"four heads {(ours(h) - theirs).abs().max():.5f}")
    # --8<-- [end:library]

    # --8<-- [start:wrong-axis]
    def first_changed(dim):
        """Where the outputs first differ when letter 20 is changed."""
        outputs = []
        for h in (x, changed):
            scores = h @ h.mT + torch.full((36, 36), -math.inf).triu(1)
            outputs.append(scores.softmax(dim) @ h)
        return (outputs[0] - outputs[1]).abs().amax(1).gt(1e-6).nonzero()[0]

    print(f"softmax over keys     {first_changed(-1).item():2}")
    print(f"softmax over queries  {first_changed(-2).item():2}")
    # --8<-- [end:wrong-axis]

    # --8<-- [start:nothing]
    q, k, v = torch.randn(3, 1, 4, 8)  # four places; the first is padding
    seen = torch.ones(4, 4, dtype=torch.bool).tril()
    seen[:, 0] = False
    scores = (q @ k.mT).masked_fill(~seen, -math.inf)
    print("first output, ours", (scores.softmax(-1) @ v)[0, 0, :3])
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    print("PyTorch's         ", theirs[0, 0, :3])
    seen |= torch.eye(4, dtype=torch.bool)  # each place may see itself
    scores = (q @ k.mT).masked_fill(~seen, -math.inf)
    print(f"NaN left: {scores.softmax(-1).isnan().sum()}")
    # --8<-- [end:nothing]

    # --8<-- [start:upside-down]
    flipped = images.clone()
    flipped[:, :8] = images[:, :8].flip(1)
    for name, reader in readers.items():
        upright = accuracy(reader, images, labels)
        turned = accuracy(reader, flipped, labels)
        print(f"{name:7} positions  {upright:.2f}, upside down {turned:.2f}")
    # --8<-- [end:upside-down]

    # --8<-- [start:solution-memory]
    for seq in (1_024, 32_768):
        print(f"{seq:6,} places: {12 * seq**2 * 4 / 1e9:5.2f} GB")
    # --8<-- [end:solution-memory]

    # --8<-- [start:solution-sharp]
    q = torch.cat([x, one_back], 1)
    k = torch.cat([one_back, two_back], 1)
    for factor in (0, 1, 10, 100):
        weights = attention_weights(factor * q, k)
        probability = (weights @ x)[:-1].gather(1, ids[1:, None])
        print(f"{factor:3} times q: largest weight ", end="")
        print(f"{weights[-1].max():.2f}, true letter {probability.mean():.2f}")
    # --8<-- [end:solution-sharp]


# --8<-- [start:solution-blocks]
def attention_in_blocks(q, k, v, size=8):
    """Attention without a mask, from blocks of so many keys at a time.

    q, k and v are (..., seq, d_head). Kept are the largest score so far, and
    sums of exponentials and of weighted values relative to it.
    """
    largest = q.new_full((*q.shape[:-1], 1), -math.inf)
    total, mean = torch.zeros_like(largest), torch.zeros_like(v)
    for keys, values in zip(k.split(size, -2), v.split(size, -2), strict=True):
        scores = q @ keys.mT / math.sqrt(q.shape[-1])  # (..., seq, size)
        new = torch.maximum(largest, scores.amax(-1, keepdim=True))
        weights, shrink = (scores - new).exp(), (largest - new).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mean = shrink * mean + weights @ values
        largest = new
    return mean / total


# --8<-- [end:solution-blocks]

if __name__ == "__main__":
    # --8<-- [start:solution-same]
    q, k, v = torch.randn(3, 100, 24, dtype=torch.float64)
    whole = attention(q, k, v, causal=False)
    for size in (1, 8, 100):
        gap = (attention_in_blocks(q, k, v, size) - whole).abs().max()
        print(f"blocks of {size:3}: largest difference {gap:.9f}")
    # --8<-- [end:solution-same]
