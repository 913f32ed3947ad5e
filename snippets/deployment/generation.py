"""From probabilities to text: how the next token is chosen."""

# --8<-- [start:first]
import math

import torch

from snippets.start.language_model import load

if __name__ == "__main__":
    model, tokenizer = load()
    text = "Once upon a time, in a small village by the sea, there lived"
    prompt = tokenizer(text, return_tensors="pt").input_ids  # (1, 15)
    with torch.no_grad():
        logits = model(prompt).logits[0]  # (15, vocabulary)
    for place in (8, -1):  # behind "village", and behind all
        shares, tokens = logits[place].softmax(-1).topk(4)
        pairs = zip(tokens, shares, strict=True)
        print(*(f"{tokenizer.decode(t)!r} {s:.2f}," for t, s in pairs))
    # --8<-- [end:first]


# --8<-- [start:extend]
@torch.no_grad()
def extend(model, ids, n, choose):
    """n more tokens for each row of ids, (batch, seq + n).

    choose(logits (batch, vocabulary), ids) gives the next, (batch, 1). The
    model keeps what it has computed of earlier tokens in its cache.
    """
    cache, new = None, ids
    for _ in range(n):
        result = model(new, cache=cache, use_cache=True)
        cache = result.cache
        new = choose(result.logits[:, -1], ids)
        ids = torch.cat([ids, new], dim=1)
    return ids


def greedy(logits, ids):
    """The likeliest token of each row."""
    return logits.argmax(-1, keepdim=True)


if __name__ == "__main__":
    found = extend(model, prompt, 30, greedy)
    print("..." + tokenizer.decode(found[0, 15:]))
    # --8<-- [end:extend]


# --8<-- [start:filters]
NEVER = -math.inf  # the logit of a token of probability zero


def top_k(logits, k):
    """Only the k likeliest tokens are left."""
    lowest = logits.topk(k).values[..., -1:]
    return logits.masked_fill(logits < lowest, NEVER)


def top_p(logits, p):
    """Only the likeliest are left that together reach probability p.

    The token with which they reach it is one of them (Holtzman 2020).
    """
    ordered, places = logits.sort(descending=True)
    shares = ordered.softmax(-1)
    before = shares.cumsum(-1) - shares
    ordered = ordered.masked_fill(before >= p, NEVER)
    return torch.empty_like(logits).scatter(-1, places, ordered)


def min_p(logits, p):
    """Only tokens are left of at least p times the likeliest's share."""
    shares = logits.softmax(-1)
    lowest = p * shares.amax(-1, keepdim=True)
    return logits.masked_fill(shares < lowest, NEVER)


# --8<-- [end:filters]


if __name__ == "__main__":
    # --8<-- [start:kept]
    print("tokens left       sure  unsure")
    for name, kept in (
        ("all", logits),
        ("top-k of 50", top_k(logits, 50)),
        ("top-p of 0.9", top_p(logits, 0.9)),
        ("min-p of 0.05", min_p(logits, 0.05)),
    ):
        unsure, sure = (kept[place] > NEVER for place in (8, -1))
        print(f"{name:15}{sure.sum():7}{unsure.sum():8}")
    # --8<-- [end:kept]


# --8<-- [start:sampler]
def sampler(temperature, seed, change=None):
    """A choice by lot, from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(seed)

    def choose(logits, ids):
        logits = logits / temperature
        if change is not None:
            logits = change(logits)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)

    return choose


if __name__ == "__main__":
    for temperature in (0.5, 1.0, 1.5):
        found = extend(model, prompt, 20, sampler(temperature, 0))
        line = tokenizer.decode(found[0, 15:]).replace("\n", " ")
        print(f"temperature {temperature}:{line}")
    # --8<-- [end:sampler]

    # --8<-- [start:measured]
    from snippets.start.language_model import token_losses

    def perplexity(choose):
        """Of six texts of 20 tokens, as the model itself sees them."""
        texts = extend(model, prompt.expand(6, -1), 20, choose)
        with torch.no_grad():
            return token_losses(model, texts)[:, 14:].mean().exp()

    print(f"temperature 0.5         {perplexity(sampler(0.5, 0)):8.1f}")
    print(f"temperature 1           {perplexity(sampler(1, 0)):8.1f}")
    change = {"change": lambda x: top_p(x, 0.9)}
    print(
        f"  and top-p of 0.9      {perplexity(sampler(1, 0, **change)):8.1f}"
    )
    print(f"temperature 1.5         {perplexity(sampler(1.5, 0)):8.1f}")
    change = {"change": lambda x: min_p(x, 0.1)}
    print(
        f"  and min-p of 0.1      {perplexity(sampler(1.5, 0, **change)):8.1f}"
    )
    # --8<-- [end:measured]


# --8<-- [start:penalty]
def penalize(logits, ids, penalty):
    """Make tokens less likely that are in ids already (Keskar 2019).

    Positive logits are divided by the penalty, others multiplied.
    """
    seen = logits.gather(-1, ids)
    seen = torch.where(seen > 0, seen / penalty, seen * penalty)
    return logits.scatter(-1, ids, seen)


# --8<-- [end:penalty]


if __name__ == "__main__":
    # --8<-- [start:looped]
    again = tokenizer("I came, I came, I came,", return_tensors="pt").input_ids
    for penalty in (1.0, 1.3):
        found = extend(
            model,
            again,
            15,
            lambda x, ids, p=penalty: greedy(penalize(x, ids, p), ids),
        )
        print(f"{penalty}:", repr(tokenizer.decode(found[0])))
    # --8<-- [end:looped]


# --8<-- [start:beam]
@torch.no_grad()
def beam_search(model, ids, n, width):
    """The likeliest found continuation (1, seq + n), and its log-probability.

    Keeps the width likeliest beginnings at each length; ids is (1, seq).
    """
    scores = torch.zeros(1)
    for _ in range(n):
        log_probs = model(ids).logits[:, -1].log_softmax(-1)
        totals = scores[:, None] + log_probs  # (beams, vocabulary)
        scores, places = totals.flatten().topk(width)
        rows, tokens = places // totals.shape[1], places % totals.shape[1]
        ids = torch.cat([ids[rows], tokens[:, None]], dim=1)
    return ids[:1], scores[0].item()


# --8<-- [end:beam]


if __name__ == "__main__":
    # --8<-- [start:beams]
    for width in (1, 2, 4):
        found, score = beam_search(model, prompt, 16, width)
        line = tokenizer.decode(found[0, 15:]).replace("\n", " ")
        print(f"{width} beams, log-probability {score:5.1f}:{line}")
    # --8<-- [end:beams]

    # --8<-- [start:library]
    options = {"max_new_tokens": 16, "do_sample": False}
    by_beam = model.generate(prompt, num_beams=4, **options)
    by_greedy = model.generate(prompt, **options)
    print("greedy:", torch.equal(by_greedy, extend(model, prompt, 16, greedy)))
    print("beams: ", torch.equal(by_beam, found))
    # --8<-- [end:library]

    # --8<-- [start:padded]
    def batch_of(texts, side):
        """Ids and mask of several texts, filled up on one side."""
        tokenizer.padding_side = side
        tokenizer.pad_token = tokenizer.eos_token
        return tokenizer(texts, return_tensors="pt", padding=True)

    texts = ["The capital of France is", text]
    alone = tokenizer(texts[0], return_tensors="pt")
    options = {"max_new_tokens": 8, "do_sample": False}
    found = model.generate(**alone, **options)
    print("alone:", repr(tokenizer.decode(found[0, -8:])))
    for side in ("left", "right"):
        found = model.generate(**batch_of(texts, side), **options)
        print(f"{side}:", repr(tokenizer.decode(found[0, -8:])))
    # --8<-- [end:padded]

    # --8<-- [start:order]
    last = logits[-1]
    for temperature in (0.5, 2.0):
        before = (top_p(last / temperature, 0.9) > NEVER).sum().item()
        after = (top_p(last, 0.9) > NEVER).sum()
        print(f"temperature {temperature}: {before:.2g} first, {after} after")
    # --8<-- [end:order]

    # --8<-- [start:solution-limits]
    for temperature in (0.01, 1, 100):
        shares = (last / temperature).softmax(-1)
        entropy = torch.special.entr(shares).sum()
        print(f"temperature {temperature}: largest {shares.max():.5f}", end="")
        print(f", entropy {entropy:.1f} nats")
    # --8<-- [end:solution-limits]

    # --8<-- [start:solution-greedy]
    likeliest = extend(model, prompt, 8, greedy)
    for seed in range(3):
        found = extend(model, prompt, 8, sampler(1e-3, seed))
        print(torch.equal(found, likeliest))
    # --8<-- [end:solution-greedy]

    # --8<-- [start:solution-best]
    with torch.no_grad():
        texts = extend(model, prompt.expand(16, -1), 16, sampler(1, 0))
        scores = -token_losses(model, texts)[:, 14:].sum(1)
    print(f"best of 16 samples {scores.max():.1f}", end="")
    print(f", the middle one {scores.median():.1f}")
    # --8<-- [end:solution-best]
