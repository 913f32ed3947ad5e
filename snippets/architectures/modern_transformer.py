"""The transformer of today's language models, change by change."""

# --8<-- [start:rotate]
import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.transformer import (
    GPT,
    evaluate,
    load_shakespeare,
    random_batch,
)


def rotate(x, positions, base=10_000):
    """Turn the pairs (x_m, x_{m + d/2}) by position * base^(-2m / d).

    x is (..., seq, d), positions (..., seq); Su et al. (2021), equation 34.
    """
    first, second = x.chunk(2, dim=-1)  # (..., seq, d / 2)
    m = torch.arange(first.shape[-1], device=x.device)
    speeds = base ** (-m / len(m))  # radians a position
    angles = positions[..., None] * speeds  # (..., seq, d / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat(
        [first * cos - second * sin, first * sin + second * cos], dim=-1
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 24)
    for distance in (0, 2, 9):
        scores = []
        for position in (9, 100, 1000):
            here = rotate(q, torch.tensor([position]))
            there = rotate(k, torch.tensor([position - distance]))
            scores.append((here * there).sum().item())
        print(f"distance {distance}:", *(f"{s:7.3f}" for s in scores))
    # --8<-- [end:rotate]


# --8<-- [start:rms]
class RMSNorm(nn.Module):
    """x / sqrt(mean of x²) * weight, over the last dimension.

    Zhang and Sennrich (2019), equation 4.
    """

    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps  # a vector of zeros stays zero

    def forward(self, x):
        """Normalise x, (..., width)."""
        mean_square = x.pow(2).mean(-1, keepdim=True)
        return x * (mean_square + self.eps).rsqrt() * self.weight


# --8<-- [end:rms]


# --8<-- [start:swiglu]
class SwiGLU(nn.Module):
    """An MLP whose hidden values are multiplied by gates.

    Shazeer (2020), equation 6: (silu(x W) * x V) W2.
    """

    def __init__(self, d_model, hidden):
        super().__init__()
        self.gate = nn.Linear(d_model, hidden, bias=False)
        self.up = nn.Linear(d_model, hidden, bias=False)
        self.down = nn.Linear(hidden, d_model, bias=False)
        nn.init.zeros_(self.down.weight)  # the branch adds nothing at first

    def forward(self, x):
        """Map x, (..., d_model), to the same shape."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


# --8<-- [end:swiglu]


# --8<-- [start:cache]
class Cache:
    """Keys and values of the tokens so far, of one layer."""

    def __init__(self):
        self.keys = self.values = None

    def __len__(self):
        return 0 if self.keys is None else self.keys.shape[2]

    def positions(self, n):
        """Of the n tokens that come next: (n,)."""
        return torch.arange(len(self), len(self) + n)

    def append(self, keys, values):
        """Add some; all of them: (batch, kv_head, seq so far, d_head)."""
        if self.keys is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


# --8<-- [end:cache]


# --8<-- [start:attention]
class GroupedAttention(nn.Module):
    """Causal attention; n_heads queries share n_kv_heads keys and values."""

    def __init__(self, d_model, n_heads, n_kv_heads, base=10_000):
        super().__init__()
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.base = base  # of the rotation; None turns nothing
        kv_width = n_kv_heads * (d_model // n_heads)
        self.q = nn.Linear(d_model, d_model, bias=False)
        self.k = nn.Linear(d_model, kv_width, bias=False)
        self.v = nn.Linear(d_model, kv_width, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.out.weight)  # the branch adds nothing at first

    def forward(self, x, cache=None):
        """Map x, (batch, seq, d_model), the tokens that follow the cache."""
        q = self.q(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2)
        k = self.k(x).unflatten(2, (self.n_kv_heads, -1)).transpose(1, 2)
        v = self.v(x).unflatten(2, (self.n_kv_heads, -1)).transpose(1, 2)
        cache = Cache() if cache is None else cache
        positions = cache.positions(x.shape[1]).to(x.device)  # (seq,)
        if self.base:
            q = rotate(q, positions, self.base)
            k = rotate(k, positions, self.base)
        k, v = cache.append(k, v)
        group = self.n_heads // self.n_kv_heads
        k = k.repeat_interleave(group, dim=1)  # (batch, head, all, d_head)
        v = v.repeat_interleave(group, dim=1)
        everything = torch.arange(k.shape[2], device=x.device)
        seen = everything <= positions[..., None]  # (seq, all)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(heads.transpose(1, 2).flatten(2))


# --8<-- [end:attention]


# --8<-- [start:model]
class ModernBlock(nn.Module):
    """A pre-norm block of grouped attention and SwiGLU."""

    def __init__(self, d_model, n_heads, n_kv_heads, hidden, base):
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.attention = GroupedAttention(d_model, n_heads, n_kv_heads, base)
        self.norm2 = RMSNorm(d_model)
        self.mlp = SwiGLU(d_model, hidden)

    def forward(self, x, cache=None):
        """Map x, (batch, seq, d_model), to the same shape."""
        x = x + self.attention(self.norm1(x), cache)
        return x + self.mlp(self.norm2(x))


class ModernGPT(nn.Module):
    """A decoder like Llama; if tied, its table is its output layer too."""

    def __init__(
        self,
        vocab_size,
        d_model=96,
        n_heads=4,
        n_kv_heads=2,
        n_layers=2,
        hidden=288,
        context=32,
        base=10_000,
        tied=False,
    ):
        super().__init__()
        self.context = context  # of training; no limit to what it takes
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.ModuleList(
            ModernBlock(d_model, n_heads, n_kv_heads, hidden, base)
            for _ in range(n_layers)
        )
        self.norm = RMSNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        nn.init.normal_(self.tokens.weight, std=d_model**-0.5)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids, caches=None):
        """Map ids, (batch, seq), to logits, (batch, seq, vocab_size).

        With caches, one a layer, ids are those that follow what they hold.
        """
        x = self.tokens(ids)
        for i, block in enumerate(self.blocks):
            x = block(x, caches and caches[i])
        return self.head(self.norm(x))


# --8<-- [end:model]


# --8<-- [start:changes]
CHANGES = ("none", "RMSNorm", "rotary", "grouped", "SwiGLU", "all")


def changed_gpt(vocab_size, change):
    """The transformer lesson's GPT with one of CHANGES, at the same size."""
    if change == "all":
        return ModernGPT(vocab_size)
    model = GPT(vocab_size)
    if change == "rotary":  # it needs no table of positions
        model.positions.weight.requires_grad_(False).zero_()
    for block in model.blocks:
        if change == "RMSNorm":
            block.norm1, block.norm2 = RMSNorm(96), RMSNorm(96)
        elif change == "rotary":
            block.attention = GroupedAttention(96, 4, 4)
        elif change == "grouped":
            block.attention = GroupedAttention(96, 4, 2, base=None)
            # what keys and values no longer take goes to the MLP
            block.mlp[0], block.mlp[2] = nn.Linear(96, 432), nn.Linear(432, 96)
            for parameter in block.mlp[2].parameters():
                nn.init.zeros_(parameter)  # again, nothing at first
        elif change == "SwiGLU":
            block.mlp = SwiGLU(96, 256)
    return model


# --8<-- [end:changes]


# --8<-- [start:fit]
def fit(model, ids, steps, seed=0, learning_rate=3e-3):
    """Train a model on windows of ids, as in the transformer lesson."""
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs, targets = random_batch(ids, 32, model.context, generator)
        loss = F.cross_entropy(model(inputs).mT, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# --8<-- [end:fit]


if __name__ == "__main__":
    # --8<-- [start:train]
    text = load_shakespeare()
    vocab_size = len(text.characters)
    torch.manual_seed(0)
    model = ModernGPT(vocab_size)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    fit(model, text.train, steps=320)
    print(f"held-out loss {evaluate(model, text.validation):.2f}")
    # --8<-- [end:train]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    import numpy as np

    record = files("snippets.architectures").joinpath(
        "modern_transformer.results.json"
    )
    losses = json.loads(record.read_text())["results"]
    seeds = len(losses["320"]["none"])
    print(f"change of the loss: mean and spread over {seeds} seeds")
    print("         after 320 steps   after 960 steps")
    for change in CHANGES[1:]:
        row = []
        for steps in ("320", "960"):
            gain = np.subtract(losses[steps][change], losses[steps]["none"])
            row += [gain.mean(), gain.std(ddof=1)]
        print("{:8} {:+.3f} ± {:.3f}   {:+.3f} ± {:.3f}".format(change, *row))
    # --8<-- [end:results]

    # --8<-- [start:worth]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    for steps, colour, marker, shift in (
        ("320", "#1f5fbf", "o", -0.12),
        ("960", "#8f065b", "s", 0.12),
    ):
        for place, change in enumerate(CHANGES[1:]):
            gain = np.subtract(losses[steps][change], losses[steps]["none"])
            ax.plot(
                gain,
                np.full(seeds, place + shift),
                marker,
                color=colour,
                label=f"after {steps} steps" if place == 0 else None,
            )
    ax.axvline(0, color="#767676", linewidth=1)
    ax.set(yticks=range(5), yticklabels=CHANGES[1:])
    ax.set_xlabel("change of the held-out loss (nats per character)")
    ax.invert_yaxis()
    ax.legend()
    plt.show()
    # --8<-- [end:worth]

    # --8<-- [start:cached]
    ids = text.validation[None, 1000:1032]
    caches = [Cache() for _ in model.blocks]
    with torch.no_grad():
        full = model(ids)
        steps = [model(ids[:, i : i + 1], caches) for i in range(32)]
    gap = (torch.cat(steps, dim=1) - full).abs().max()
    print(f"{len(caches[0])} tokens, one at a time: largest gap {gap:.4f}")
    # --8<-- [end:cached]


# --8<-- [start:adopt]
NAMES = {  # in Llama as transformers has it, and here
    "model.embed_tokens": "tokens",
    "model.layers": "blocks",
    "model.norm": "norm",
    "lm_head": "head",
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "self_attn": "attention",
    "_proj": "",
    ".o.": ".out.",
}


def adopt(llama):
    """A ModernGPT with the weights of a Llama of transformers."""
    c = llama.config
    model = ModernGPT(
        c.vocab_size,
        c.hidden_size,
        c.num_attention_heads,
        c.num_key_value_heads,
        c.num_hidden_layers,
        c.intermediate_size,
        c.max_position_embeddings,
        c.rope_parameters["rope_theta"],
        c.tie_word_embeddings,
    )
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.eps = c.rms_norm_eps
    weights = {}
    for name, weight in llama.state_dict().items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        weights[name] = weight
    model.load_state_dict(weights)  # raises if a name is missing
    return model


# --8<-- [end:adopt]


if __name__ == "__main__":
    # --8<-- [start:smollm]
    from snippets.start.language_model import NOTE, load

    llama, tokenizer = load()
    ours = adopt(llama)
    ids = tokenizer(NOTE, return_tensors="pt").input_ids

    @torch.no_grad()
    def perplexity(model):
        """Of the note, by one pass."""
        logits = model(ids)
        loss = F.cross_entropy(logits[0, :-1], ids[0, 1:])
        return loss.exp().item()

    with torch.no_grad():
        gap = (ours(ids) - llama(ids).logits).abs().max()
    print(f"largest gap of {ids.shape[1]} x 49,152 logits: {gap:.3f}")
    print(f"perplexity {perplexity(ours):.1f}")
    # --8<-- [end:smollm]

    # --8<-- [start:memory]
    caches = [Cache() for _ in ours.blocks]
    with torch.no_grad():
        ours(ids, caches)
    numbers = sum(c.keys.numel() + c.values.numel() for c in caches)
    numbers //= ids.shape[1]
    for name, n in (("3 heads kept", numbers), ("9 heads kept", 3 * numbers)):
        print(f"{name}: {n:6,} numbers a token, ", end="")
        print(f"{4 * n * 8192 / 1e6:5,.0f} MB for 8,192 tokens")
    # --8<-- [end:memory]

    # --8<-- [start:longer]
    starts = torch.linspace(0, len(text.validation) - 200, 256).long()
    windows = text.validation[starts[:, None] + torch.arange(129)]

    def loss_by_place(logits):
        """Loss of 16 places each, of windows of 128."""
        losses = F.cross_entropy(logits.mT, windows[:, 1:], reduction="none")
        return losses.mean(0).view(8, 16).mean(1).tolist()

    with torch.no_grad():
        losses = loss_by_place(model(windows[:, :-1]))
    print("characters to", *(f"{n:4}" for n in range(16, 129, 16)))
    print("loss         ", *(f"{loss:4.1f}" for loss in losses))
    # --8<-- [end:longer]

    # --8<-- [start:corner]
    q, k = torch.zeros(1, 2, 4), torch.zeros(1, 5, 4)  # 2 new of 5 tokens
    reads = torch.eye(5)[None]  # as values: the output is the weights

    def show(name, **mask):
        """The weights of each new token under a mask."""
        weights = F.scaled_dot_product_attention(q, k, reads, **mask)
        for row in weights[0].tolist():
            print(f"{name:10}", *(f"{weight:5.2f}" for weight in row))

    show("is_causal", is_causal=True)
    show("our mask", attn_mask=torch.arange(5) <= torch.tensor([[3], [4]]))
    # --8<-- [end:corner]

    # --8<-- [start:pairs]
    def halves_to_neighbours(weight):
        """Rows for pairs (0, 1), (2, 3) ... put where halves are expected."""
        heads = weight.unflatten(0, (-1, 2, 32))  # (head, half, pair, width)
        return heads.transpose(1, 2).flatten(0, 2)

    other = adopt(llama)
    with torch.no_grad():
        for block in other.blocks:
            for layer in (block.attention.q, block.attention.k):
                layer.weight.copy_(halves_to_neighbours(layer.weight))
    print(f"perplexity {perplexity(other):.0f}")
    # --8<-- [end:pairs]

    # --8<-- [start:solution-turns]
    speeds = 10_000 ** (-torch.arange(12) / 12)
    turns = 31 * speeds / (2 * torch.pi)
    print("turns in 32 positions:", *(f"{t:.2g}" for t in turns[:6].tolist()))
    # --8<-- [end:solution-turns]

    # --8<-- [start:solution-still]
    for block in model.blocks:
        block.attention.base = None
    print(f"not turned: {evaluate(model, text.validation):.1f}")
    for block in model.blocks:
        block.attention.base = 10_000
    # --8<-- [end:solution-still]

    # --8<-- [start:solution-window]
    class Window(Cache):
        """Keeps the last 32 keys and values, and counts all."""

        def __init__(self):
            super().__init__()
            self.n = 0

        def __len__(self):
            return self.n

        def append(self, keys, values):
            """The keys and values that are left."""
            self.n += keys.shape[2]
            keys, values = super().append(keys, values)
            self.keys, self.values = keys[:, :, -32:], values[:, :, -32:]
            return self.keys, self.values

    caches = [Window() for _ in model.blocks]
    with torch.no_grad():
        steps = [model(windows[:, i : i + 1], caches) for i in range(128)]
    losses = loss_by_place(torch.cat(steps, dim=1))
    print("loss         ", *(f"{loss:4.1f}" for loss in losses))
    # --8<-- [end:solution-window]
