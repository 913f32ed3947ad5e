"""The service of the lesson on serving language models."""

# --8<-- [start:slots]
import asyncio
import json
from contextlib import asynccontextmanager
from typing import Annotated

import torch
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from snippets.architectures.modern_transformer import Cache
from snippets.deployment.service import Busy


class LayerSlots:
    """A Cache of one layer for many texts, each as long as it is."""

    def __init__(self, slots, n_kv_heads, d_head):
        self.slots = slots  # whose rows are computed, and how long they are
        shape = (len(slots.lengths), n_kv_heads, slots.room, d_head)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)

    def positions(self, n):
        """Of each text's next token, to be used over heads: (rows, 1, 1)."""
        return self.slots.lengths[self.slots.rows][:, None, None]

    def append(self, keys, values):
        """Put one token's at each row's end; all up to the longest row."""
        rows = self.slots.rows
        lengths = self.slots.lengths[rows]
        self.keys[rows, :, lengths] = keys[:, :, 0]
        self.values[rows, :, lengths] = values[:, :, 0]
        longest = lengths.max() + 1  # what is beyond a row's end is masked
        return self.keys[rows, :, :longest], self.values[rows, :, :longest]


class Slots:
    """Room for n texts of up to room tokens, in all layers of a ModernGPT."""

    def __init__(self, model, n, room):
        self.room = room
        self.lengths = torch.zeros(n, dtype=torch.long)
        self.rows = None  # (rows,): the slots that are computed
        self.layers = []
        for block in model.blocks:
            n_kv_heads = block.attention.n_kv_heads
            d_head = block.attention.k.out_features // n_kv_heads
            self.layers.append(LayerSlots(self, n_kv_heads, d_head))

    def fill(self, row, caches):
        """Move a text's own caches, one a layer, into a slot."""
        n = self.lengths[row] = len(caches[0])
        for layer, cache in zip(self.layers, caches, strict=True):
            if n:
                layer.keys[row, :, :n] = cache.keys[0]
                layer.values[row, :, :n] = cache.values[0]


@torch.no_grad()
def decode(model, tokens, slots, rows):
    """Logits (rows, vocab_size) after one more token in each of the rows."""
    slots.rows = rows
    logits = model(tokens[:, None], slots.layers)
    slots.lengths[rows] += 1
    return logits[:, 0]


# --8<-- [end:slots]


# --8<-- [start:text]
class Text:
    """A text that is being written, and what its reader waits for."""

    def __init__(self, ids, n_tokens):
        self.ids = ids  # (1, seq): the prompt
        self.left = n_tokens
        self.last = ids[0, -1]  # the token that goes in next
        self.slot = None
        self.tokens = asyncio.Queue()  # None ends it


@torch.no_grad()
def start(model, text, slots, slot):
    """Compute a prompt, all but its last token, and put it into a slot."""
    caches = [Cache() for _ in model.blocks]
    if text.ids.shape[1] > 1:
        model(text.ids[:, :-1], caches)
    slots.fill(slot, caches)
    text.slot = slot


def step(model, texts, slots):
    """Start texts that are new, then add the likeliest token to each."""
    free = set(range(len(slots.lengths))) - {text.slot for text in texts}
    for text in texts:
        if text.slot is None:
            start(model, text, slots, free.pop())
    rows = torch.tensor([text.slot for text in texts])
    tokens = torch.stack([text.last for text in texts])
    found = decode(model, tokens, slots, rows).argmax(-1)
    for text, token in zip(texts, found, strict=True):
        text.last = token
    return found.tolist()


# --8<-- [end:text]


# --8<-- [start:engine]
class Engine:
    """Writes texts together; one that ends makes room for one that waits."""

    def __init__(self, model, end, max_texts=8, max_queue=16, room=1200):
        self.model, self.end, self.max_texts = model, end, max_texts
        self.slots = Slots(model, max_texts, room)
        self.queue = asyncio.Queue(max_queue)
        self.texts = []
        self.steps = 0

    def submit(self, ids, n_tokens):
        """Begin a text; raises Busy, or ValueError if it can't fit a slot."""
        if ids.shape[1] + n_tokens > self.slots.room:
            raise ValueError(
                f"{ids.shape[1]} tokens and {n_tokens} more: at most "
                f"{self.slots.room} have room"
            )
        text = Text(ids, n_tokens)
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            raise Busy from None
        return text

    async def read(self, text):
        """Yield the tokens of a text as they come; leaving ends it."""
        try:
            while (token := await text.tokens.get()) is not None:
                if isinstance(token, Exception):
                    raise token
                yield token
        finally:
            text.left = 0

    async def work(self):
        """Step after step, with whoever is there."""
        while True:
            if not self.texts:
                self.texts.append(await self.queue.get())
            while len(self.texts) < self.max_texts and not self.queue.empty():
                self.texts.append(self.queue.get_nowait())
            self.texts = [text for text in self.texts if text.left > 0]
            if not self.texts:
                continue  # all have left
            try:
                found = await asyncio.to_thread(
                    step, self.model, self.texts, self.slots
                )
            except Exception as error:  # of these texts; others go on
                found = [error] * len(self.texts)
            self.steps += 1
            for text, token in zip(self.texts, found, strict=True):
                text.left -= 1
                if isinstance(token, Exception):
                    text.left = 0
                if token == self.end:
                    text.left = 0
                else:
                    text.tokens.put_nowait(token)
                if text.left <= 0:
                    text.tokens.put_nowait(None)
            self.texts = [text for text in self.texts if text.left > 0]


# --8<-- [end:engine]


# --8<-- [start:pieces]
async def pieces(tokens, decode):
    """The text of tokens, in pieces that never cut a character in two."""
    ids, sent = [], 0
    async for token in tokens:
        ids.append(token)
        text = decode(ids)
        if not text.endswith("\ufffd"):  # bytes of a character to come
            yield text[sent:]
            sent = len(text)


# --8<-- [end:pieces]


# --8<-- [start:app]
class Wish(BaseModel):
    """What to continue, and by how many tokens at most."""

    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    n_tokens: Annotated[int, Field(ge=1, le=200)] = 50


def create_app(model, tokenizer, **options):
    """A service that continues texts and streams them as they grow."""
    engine = Engine(model, tokenizer.eos_token_id, **options)

    @asynccontextmanager
    async def lifespan(app):
        worker = asyncio.create_task(engine.work())
        yield
        worker.cancel()

    app = FastAPI(lifespan=lifespan, max_body_size=20_000)

    @app.post("/write")
    async def write(wish: Wish):
        ids = tokenizer(wish.prompt, return_tensors="pt").input_ids
        try:
            text = engine.submit(ids, wish.n_tokens)
        except Busy:
            raise HTTPException(
                503, "too many wait", headers={"Retry-After": "5"}
            ) from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

        async def events():
            async for piece in pieces(engine.read(text), tokenizer.decode):
                yield f"data: {json.dumps(piece)}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/health")
    async def health():
        return {"writing": len(engine.texts), "steps": engine.steps}

    return app


# --8<-- [end:app]
