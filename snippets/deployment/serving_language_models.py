"""A language model behind HTTP: many texts at once, token by token."""

# --8<-- [start:costs]
import asyncio
import json
from importlib.resources import files

import httpx2
import torch

from snippets.architectures.modern_transformer import adopt
from snippets.deployment.serving import running
from snippets.deployment.token_service import (
    Engine,
    Slots,
    Text,
    create_app,
    decode,
    pieces,
    start,
)
from snippets.start.language_model import load

if __name__ == "__main__":
    record = files("snippets.deployment").joinpath(
        "serving_language_models.results.json"
    )
    results = json.loads(record.read_text())["results"]
    one = results["step_seconds"]["1"]
    print("texts  a step takes  a token takes")
    for n, seconds in results["step_seconds"].items():
        print(f"{n:>5} {seconds / one:13.1f} {seconds / one / int(n):14.2f}")
    # --8<-- [end:costs]

    # --8<-- [start:together]
    llama, tokenizer = load()
    model = adopt(llama)
    prompts = ["Once upon a time", "The capital of France is", "2, 4, 8, 16,"]
    prompts = [tokenizer(p, return_tensors="pt").input_ids for p in prompts]

    def slots_for(texts):
        """Slots with these texts in them, in order."""
        slots = Slots(model, len(texts), room=50)
        for slot, text in enumerate(texts):
            start(model, text, slots, slot)
        return slots

    texts = [Text(ids, n_tokens=1) for ids in prompts]
    slots = slots_for(texts)
    print("tokens in each slot:", slots.lengths.tolist())
    last = torch.stack([text.last for text in texts])
    logits = decode(model, last, slots, torch.arange(3))
    with torch.no_grad():
        for ids, row in zip(prompts, logits, strict=True):
            gap = (model(ids)[0, -1] - row).abs().max()
            word = tokenizer.decode(row.argmax())
            print(f"{word!r:8} largest gap to the text alone {gap:.3f}")
    # --8<-- [end:together]


# --8<-- [start:write]
async def write(engine, ids, n_tokens):
    """The tokens of one text, a list."""
    return [t async for t in engine.read(engine.submit(ids, n_tokens))]


async def write_all(engine, wishes):
    """The tokens of each (ids, n_tokens), asked for at once."""
    worker = asyncio.create_task(engine.work())
    found = await asyncio.gather(
        *(write(engine, *wish) for wish in wishes), return_exceptions=True
    )
    worker.cancel()
    return found


# --8<-- [end:write]


if __name__ == "__main__":
    # --8<-- [start:steps]
    def steps_of(lengths):
        """How many steps texts of these lengths take with four slots."""
        wishes = [(prompts[i % 3], n) for i, n in enumerate(lengths)]
        engine = Engine(model, end=None, max_texts=4)
        asyncio.run(write_all(engine, wishes))
        return engine.steps

    lengths = [3, 24, 5, 8, 20, 4, 6, 12]
    print("one text at a time:", sum(lengths), "steps")
    waiting = max(lengths[:4]) + max(lengths[4:])
    print("four, until the longest ends:", waiting, "steps")
    print("four, the next as one ends:", steps_of(lengths), "steps")
    # --8<-- [end:steps]

    # --8<-- [start:full]
    engine = Engine(model, end=None, max_texts=4, max_queue=2)
    found = asyncio.run(write_all(engine, [(prompts[0], 2)] * 5))
    print([type(tokens).__name__ for tokens in found])
    # --8<-- [end:full]

    # --8<-- [start:characters]
    async def several(ids):
        """Tokens, as they come out of an engine."""
        for token in ids:
            yield token

    async def as_list(stream):
        return [piece async for piece in stream]

    ids = tokenizer("A knight ♞ moves.").input_ids
    print([tokenizer.decode(i) for i in ids])
    print(asyncio.run(as_list(pieces(several(ids), tokenizer.decode))))
    # --8<-- [end:characters]

    # --8<-- [start:stream]
    wish = {"prompt": "The three primary colours are", "n_tokens": 12}
    with running(create_app(model, tokenizer)) as address:
        client = httpx2.Client(base_url=address, timeout=60)
        with client.stream("POST", "/write", json=wish) as answer:
            lines = list(answer.iter_lines())
        print(answer.headers["content-type"])
        for line in lines[:4]:
            print(repr(line))
        events = [json.loads(line[6:]) for line in lines if line]
        print(repr("".join(events)))
        # --8<-- [end:stream]

    # --8<-- [start:leave]
    wish["n_tokens"] = 200
    with running(create_app(model, tokenizer)) as address:
        client = httpx2.Client(base_url=address, timeout=60)
        with client.stream("POST", "/write", json=wish) as answer:
            lines = answer.iter_lines()  # to let go of it would close
            next(lines)
            print("reading:", client.get("/health").json()["writing"], "text")
        while client.get("/health").json()["writing"]:
            pass
        steps = client.get("/health").json()["steps"]
        print("left: 0 texts, after fewer than 30 steps:", steps < 30)
        client.close()
    # --8<-- [end:leave]

    # --8<-- [start:service]
    print("texts  tokens a second  first token after  last after")
    services = results["services"]
    for n, found in services.items():
        rate = found["tokens_per_second"] / services["1"]["tokens_per_second"]
        first = found["first_token"]["50"] / services["1"]["first_token"]["50"]
        total = found["last_token"]["50"] / services["1"]["last_token"]["50"]
        print(f"{n:>5} {rate:16.1f} {first:18.2f} {total:11.2f}")
    # --8<-- [end:service]

    # --8<-- [start:waits]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    unit = services["1"]["last_token"]["50"]
    for row, n in enumerate(services):
        for key, colour, marker in (
            ("first_token", "#1f5fbf", "o"),
            ("last_token", "#8f065b", "s"),
        ):
            middle, slow = (services[n][key][q] / unit for q in ("50", "95"))
            label = key.replace("_", " ") if row == 0 else None
            ax.plot(middle, row, marker, color=colour, label=label)
            ax.plot([middle, slow], [row, row], color=colour, linewidth=1)
    ax.set(yticks=range(3), yticklabels=[f"{n} texts" for n in services])
    ax.set_xlabel("time since the request (one slot: last token, median = 1)")
    ax.legend()
    plt.show()
    # --8<-- [end:waits]

    # --8<-- [start:queues]
    print("queue  refused  first token of those let in: median, 95 %")
    unit = services["1"]["first_token"]["50"]
    for n, found in results["queues"].items():
        times = [t / unit for t in found["first_token"].values()]
        print("{:>5} {:8} {:13.2f} {:.2f}".format(n, found["refused"], *times))
    # --8<-- [end:queues]

    # --8<-- [start:stale]
    slots = Slots(model, n=1, room=50)

    def next_word(stale):
        """After a longer text in a slot, one whose length is or isn't kept."""
        start(model, Text(prompts[2], 1), slots, 0)
        before = slots.lengths.clone()
        start(model, Text(prompts[1], 1), slots, 0)
        if stale:
            slots.lengths[:] = before
        logits = decode(model, prompts[1][0, -1:], slots, torch.tensor([0]))
        return tokenizer.decode(logits[0].argmax())

    for stale in (False, True):
        print(f"length of the text before: {stale}, {next_word(stale)!r}")
    # --8<-- [end:stale]

    # --8<-- [start:solution-memory]
    layer = engine.slots.layers[0]
    numbers = 2 * layer.keys[0].numel() * len(engine.slots.layers)
    weights = sum(p.numel() for p in model.parameters())
    print(f"a slot {4 * numbers / 1e6:.0f} MB", end="")
    print(f", the weights {4 * weights / 1e6:.0f} MB")
    print(
        f"slots in 8 GB beside them: {(8e9 - 4 * weights) / 4 / numbers:.0f}"
    )
    # --8<-- [end:solution-memory]

    # --8<-- [start:solution-order]
    lengths.sort()
    print(lengths, steps_of(lengths), "steps")
    # --8<-- [end:solution-order]

    # --8<-- [start:solution-draw]
    def drawn(prompts, seeds, n_tokens):
        """Draw n_tokens for each prompt, each by a seed of its own."""
        lots = [torch.Generator().manual_seed(seed) for seed in seeds]
        texts = [Text(ids, n_tokens) for ids in prompts]
        slots = slots_for(texts)
        last, found = torch.stack([text.last for text in texts]), []
        for _ in range(n_tokens):
            rows = decode(model, last, slots, torch.arange(len(texts)))
            last = torch.stack(
                [
                    torch.multinomial(row.softmax(0), 1, generator=lot)[0]
                    for row, lot in zip(rows, lots, strict=True)
                ]
            )
            found.append(last)
        return torch.stack(found, dim=1)

    alone = drawn(prompts[1:2], [7], 10)[0]
    beside = drawn(prompts, [1, 7, 2], 10)[1]
    print("tokens that differ:", (alone != beside).sum().item())
    # --8<-- [end:solution-draw]
