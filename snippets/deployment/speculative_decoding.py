"""The same text, sooner: cached keys, and drafts that a model checks."""

# --8<-- [start:model]
import math

import torch
import torch.nn.functional as F

from snippets.advanced.transfer_learning import descend
from snippets.architectures.transformer import (
    GPT,
    evaluate,
    load_shakespeare,
    ngram_probabilities,
    random_batch,
)


def trained_gpt(text, steps=300):
    """A small GPT after so many steps on plays, ready to write."""
    torch.manual_seed(0)
    model = GPT(len(text.characters), context=64)
    generator = torch.Generator().manual_seed(0)

    def losses():
        for _ in range(steps):
            x, y = random_batch(text.train, 32, 64, generator)
            yield F.cross_entropy(model(x).mT, y)

    descend(model, losses(), 3e-3)
    return model.eval()


if __name__ == "__main__":
    text = load_shakespeare()
    model = trained_gpt(text)
    loss = evaluate(model, text.validation, 128)
    print(f"loss {loss:.1f} nats a character")
    for n in (10, 64):
        print(f"{n} characters: {n * (n + 1) // 2} places computed, or {n}")
    # --8<-- [end:model]


# --8<-- [start:cache]
def cached_attention(q, k, v):
    """Causal attention of the last n of m places, to all m.

    q is (..., n, d_head), k and v are (..., m, d_head).
    """
    n, m = q.shape[-2], k.shape[-2]
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., n, m)
    future = scores.new_full((n, m), -math.inf).triu(m - n + 1)
    return (scores + future).softmax(-1) @ v


def cached_block(block, x, cache):
    """A block's output for new places, and its keys and values so far."""
    q, k, v = block.attention.split(block.norm1(x))
    if cache is not None:
        k = torch.cat([cache[0], k], -2)  # (batch, head, m, d_head)
        v = torch.cat([cache[1], v], -2)
    heads = cached_attention(q, k, v)
    x = x + block.attention.out(heads.transpose(1, 2).flatten(2))
    return x + block.mlp(block.norm2(x)), (k, v)


def cached_logits(model, ids, caches=None):
    """Logits of new ids, (batch, n, vocab), and the blocks' caches."""
    caches = caches or [None] * len(model.blocks)
    past = 0 if caches[0] is None else caches[0][0].shape[-2]
    where = torch.arange(past, past + ids.shape[1])
    x = model.tokens(ids) + model.positions(where)
    grown = []
    for block, cache in zip(model.blocks, caches, strict=True):
        x, cache = cached_block(block, x, cache)
        grown.append(cache)
    return model.head(model.norm(x)), grown


# --8<-- [end:cache]


if __name__ == "__main__":
    # --8<-- [start:equal]
    ids = text.validation[None, 118:178]  # (1, 60)
    with torch.no_grad():
        whole = model(ids)
        logits, caches = cached_logits(model, ids[:, :40])
        pieces = [logits]
        for place in range(40, 60):
            new = ids[:, place : place + 1]
            logits, caches = cached_logits(model, new, caches)
            pieces.append(logits)
    gap = (torch.cat(pieces, 1) - whole).abs().max()
    print(f"largest gap {gap:.4f}")
    # --8<-- [end:equal]

    # --8<-- [start:memory]
    for name, layers, heads, d_head in (
        ("our GPT", 2, 4, 24),
        ("SmolLM2", 30, 3, 64),  # heads of keys; queries have nine
    ):
        size = 2 * layers * heads * d_head * 4  # keys and values, bytes
        print(f"{name}: {size / 1000:.1f} kB a token")
    # --8<-- [end:memory]


# --8<-- [start:accept]
def accept(p, q, tokens, generator):
    """How many drafted tokens stand, and the token that follows them.

    p (n + 1, vocab) are the model's probabilities for each drafted token
    and the next, q (n, vocab) those that the n tokens were drawn from
    (Leviathan 2023, algorithm 1).
    """
    for i, token in enumerate(tokens):
        lot = torch.rand((), generator=generator)
        if lot >= p[i, token] / q[i, token]:
            rest = (p[i] - q[i]).clamp(
                min=0
            )  # what the draft gives too rarely
            return i, torch.multinomial(rest, 1, generator=generator)
    return len(tokens), torch.multinomial(p[-1], 1, generator=generator)


# --8<-- [end:accept]


if __name__ == "__main__":
    # --8<-- [start:exact]
    generator = torch.Generator().manual_seed(0)
    p, q = torch.rand(2, 6, generator=generator, dtype=torch.float64)
    p, q = p / p.sum(), q / q.sum()
    accepted = torch.minimum(p, q)  # q(x) min(1, p(x) / q(x))
    rest = (p - q).clamp(min=0)
    found = accepted + (1 - accepted.sum()) * rest / rest.sum()
    print("model   ", *(f"{value:.3f}" for value in p))
    print("drafted ", *(f"{value:.3f}" for value in q))
    print("accepted", *(f"{value:.3f}" for value in found))
    # --8<-- [end:exact]


# --8<-- [start:speculate]
class Draft:
    """A table of probabilities of the next id after the last n - 1."""

    def __init__(self, train, vocab_size, n):
        self.table = ngram_probabilities(train, vocab_size, n)
        self.base = vocab_size ** torch.arange(n - 2, -1, -1)

    def probabilities(self, ids):
        """(vocab,), for the id that follows ids, (seq,)."""
        return self.table[(ids[-len(self.base) :] * self.base).sum()]


@torch.no_grad()
def speculate(model, draft, ids, n_tokens, k, generator):
    """ids, (seq,), continued by n_tokens, and the model's passes for it.

    The draft proposes k tokens, and one pass of the model judges them all.
    """
    end, passes = len(ids) + n_tokens, 0
    while len(ids) < end:
        guess, q = ids, []
        for _ in range(min(k, end - len(ids) - 1)):
            q.append(draft.probabilities(guess))
            new = torch.multinomial(q[-1], 1, generator=generator)
            guess = torch.cat([guess, new])
        n = len(q)
        window = guess[-model.context :][None]
        p = model(window)[0, -n - 1 :].softmax(-1)
        q = torch.stack(q) if q else p[:0]
        stand, new = accept(p, q, guess[len(ids) :], generator)
        ids = torch.cat([guess[: len(ids) + stand], new])
        passes += 1
    return ids, passes


# --8<-- [end:speculate]


if __name__ == "__main__":
    # --8<-- [start:faster]
    vocab_size = len(text.characters)
    start = text.validation[118:150]
    pairs, triples = (Draft(text.train, vocab_size, n) for n in (2, 3))
    generator = torch.Generator().manual_seed(0)
    print("drafted from      characters a pass, k = 2, 4, 8")
    for name, draft in (("one before", pairs), ("two before", triples)):
        rates = []
        for k in (2, 4, 8):
            _, passes = speculate(model, draft, start, 400, k, generator)
            rates.append(400 / passes)
        print(f"{name:22}", *(f"{rate:6.1f}" for rate in rates))
    # --8<-- [end:faster]

    # --8<-- [start:formula]
    written, _ = speculate(model, triples, start, 400, 4, generator)
    shares = []
    with torch.no_grad():
        for end in range(64, len(written), 4):
            p = model(written[None, end - 64 : end])[0, -1].softmax(-1)
            q = triples.probabilities(written[:end])
            shares.append(torch.minimum(p, q).sum().item())
    alpha = sum(shares) / len(shares)
    print(f"accepted: {alpha:.2f} of the drafted characters")
    for k in (2, 4, 8):
        expected = (1 - alpha ** (k + 1)) / (1 - alpha)
        print(f"k = {k}: {expected:.1f} characters a pass expected")
    # --8<-- [end:formula]

    # --8<-- [start:drawn]
    from scipy.stats import chisquare

    counts = torch.zeros(vocab_size)
    for _ in range(1500):
        ids, _ = speculate(model, pairs, start, 2, 1, generator)
        counts[ids[len(start)]] += 1
    with torch.no_grad():
        p = model(start[None])[0, -1].double().softmax(-1)
    often = p > 5 / 1500  # the test needs five of each
    seen = [*counts[often].tolist(), counts[~often].sum().item()]
    hoped = [*(1500 * p[often]).tolist(), 1500 * p[~often].sum().item()]
    print(f"{len(seen)} kinds, p-value {chisquare(seen, hoped).pvalue:.1f}")
    # --8<-- [end:drawn]

    # --8<-- [start:library]
    from snippets.start.language_model import load

    smol, tokenizer = load()
    note = "red, green, blue, red, green, blue, red,"
    inputs = tokenizer(note, return_tensors="pt")
    options = {"max_new_tokens": 16, "do_sample": False}
    plain = smol.generate(**inputs, **options)
    drafted = smol.generate(**inputs, **options, prompt_lookup_num_tokens=6)
    print(tokenizer.decode(drafted[0]))
    print("equal:", torch.equal(plain, drafted))
    # --8<-- [end:library]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    file = "speculative_decoding.results.json"
    record = files("snippets.deployment").joinpath(file).read_text()
    results = json.loads(record)["results"]
    print("tokens   times as fast with a cache")
    for n, seconds in results["tokens"].items():
        print(f"{n:>6}{seconds['none'] / seconds['cache']:8.1f}")
    copied = results["copied"]
    faster = copied["plain"] / copied["looked up"]
    print(
        f"drafts looked up in a text to be copied: {faster:.1f} times as fast"
    )
    # --8<-- [end:results]

    # --8<-- [start:shortcut]
    p, q = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]).double()
    accepted = torch.minimum(p, q)
    careless = accepted + (1 - accepted.sum()) * p
    print("model   ", *(f"{value:.2f}" for value in p))
    print("careless", *(f"{value:.2f}" for value in careless))
    # --8<-- [end:shortcut]

    # --8<-- [start:stale]
    ids = text.validation[None, 118:158]
    drafted = torch.full((1, 3), 5)  # three characters that are refused
    with torch.no_grad():
        _, caches = cached_logits(model, ids[:, :30])
        _, stale = cached_logits(model, drafted, caches)
        back = [(k[..., :30, :], v[..., :30, :]) for k, v in stale]
        whole = model(ids[:, :31])[:, -1]
        for name, cache in (("stale", stale), ("cut back", back)):
            logits, _ = cached_logits(model, ids[:, 30:31], cache)
            gap = (logits[:, -1] - whole).abs().max()
            print(f"{name:9}largest gap {gap:.1f}")
    # --8<-- [end:stale]

    # --8<-- [start:solution-one]
    for alpha in (0.5, 0.8, 0.95):
        best = [(1 - alpha ** (k + 1)) / (1 - alpha) for k in (1, 4, 16)]
        print(f"alpha {alpha}:", *(f"{value:5.1f}" for value in best))
    # --8<-- [end:solution-one]

    # --8<-- [start:solution-self]
    class Same:
        """A draft that is the model itself."""

        def probabilities(self, ids):
            """As the model has them."""
            return model(ids[None, -64:])[0, -1].softmax(-1)

    _, passes = speculate(model, Same(), start[:20], 40, 4, generator)
    print(f"{40 / passes:.1f} characters a pass")
    # --8<-- [end:solution-self]

    # --8<-- [start:solution-cost]
    alpha, k = 0.8, 4
    tokens = (1 - alpha ** (k + 1)) / (1 - alpha)
    for cost in (0, 0.1, 0.5):
        print(f"a draft of {cost} passes: {tokens / (1 + k * cost):.1f} times")
    # --8<-- [end:solution-cost]
