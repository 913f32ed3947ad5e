"""The service of the lesson on serving language models."""

import asyncio
import json

import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from snippets.architectures.modern_transformer import ModernGPT
from snippets.deployment.token_service import (
    Engine,
    Slots,
    Text,
    create_app,
    decode,
    pieces,
    start,
    step,
)


def small_model(vocab_size=256):
    """A model of random weights whose texts differ with their prompts."""
    torch.manual_seed(0)
    model = ModernGPT(vocab_size, 16, 4, 2, 2, hidden=24)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def greedy(model, ids, n_tokens):
    """The likeliest continuation, by full passes."""
    found = []
    for _ in range(n_tokens):
        with torch.no_grad():
            found.append(model(ids)[0, -1].argmax())
        ids = torch.cat([ids, found[-1].view(1, 1)], dim=1)
    return torch.stack(found).tolist()


def prompt(seed, length):
    """Some ids, (1, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (1, length), generator=generator)


def test_the_logits_are_those_of_a_full_pass():
    """For rows in any order, in a double-precision model too."""
    model = small_model()
    prompts = [prompt(i, n) for i, n in enumerate((1, 6, 3))]
    slots = Slots(model, 4, 10)
    for ids, slot in zip(prompts, (2, 0, 3), strict=True):
        start(model, Text(ids, 1), slots, slot)
    assert slots.lengths.tolist() == [5, 0, 0, 2]
    last = torch.stack([ids[0, -1] for ids in prompts])
    logits = decode(model, last, slots, torch.tensor([2, 0, 3]))
    assert slots.lengths.tolist() == [6, 0, 1, 3]
    assert not logits.requires_grad  # or the caches would keep all graphs
    for ids, row in zip(prompts, logits, strict=True):
        assert torch.allclose(row, model(ids)[0, -1], atol=1e-4)


def test_a_length_that_is_forgotten_mixes_texts():
    """The row then reads what the slot's last text has left."""
    model = small_model()
    slots = Slots(model, 1, 20)
    start(model, Text(prompt(0, 9), 1), slots, 0)
    start(model, Text(prompt(1, 4), 1), slots, 0)
    slots.lengths[0] = 8
    logits = decode(model, prompt(1, 4)[0, -1:], slots, torch.tensor([0]))
    assert not torch.allclose(logits[0], model(prompt(1, 4))[0, -1], atol=0.1)


def test_a_reader_who_leaves_frees_the_slot():
    """After a token; the text that waits is written in the same slot."""

    async def one_leaves():
        engine = Engine(small_model(), None, max_texts=1, room=1000)
        worker = asyncio.create_task(engine.work())
        long = engine.read(engine.submit(prompt(0, 3), 900))
        await anext(long)
        await long.aclose()
        found = [t async for t in engine.read(engine.submit(prompt(1, 3), 4))]
        worker.cancel()
        return found, engine.steps

    found, steps = asyncio.run(one_leaves())
    assert found == greedy(small_model(), prompt(1, 3), 4)
    assert steps < 100


def test_a_text_that_all_have_left_before_it_began_is_not_written():
    """Neither is it in the way."""

    async def none_stays():
        engine = Engine(small_model(), None, max_texts=1, room=20)
        engine.submit(prompt(0, 3), 9).left = 0
        worker = asyncio.create_task(engine.work())
        await asyncio.sleep(0.05)
        steps = engine.steps
        found = [t async for t in engine.read(engine.submit(prompt(1, 3), 2))]
        worker.cancel()
        return steps, len(found)

    assert asyncio.run(none_stays()) == (0, 2)


def test_a_step_takes_only_free_slots():
    """Texts keep theirs, whoever comes and goes."""
    model = small_model()
    slots = Slots(model, 3, 20)
    texts = [Text(prompt(i, 3), 9) for i in range(3)]
    step(model, texts, slots)
    assert sorted(text.slot for text in texts) == [0, 1, 2]
    new = Text(prompt(7, 3), 9)
    step(model, [texts[0], new, texts[2]], slots)
    assert new.slot == texts[1].slot
    assert texts[1].last != texts[0].last or texts[1].slot != texts[0].slot


@given(st.text(min_size=1, max_size=12))
def test_pieces_are_the_text_and_no_half_characters(text):
    """Of a tokenizer of bytes, which cuts every character outside ASCII."""
    ids = list(text.replace("\ufffd", "?").encode("utf-8", "replace"))

    async def several():
        for byte in ids:
            yield byte

    async def collected():
        decode = bytes_tokenizer().decode
        return [piece async for piece in pieces(several(), decode)]

    found = asyncio.run(collected())
    assert "".join(found) == bytes(ids).decode()
    assert "\ufffd" not in "".join(found)


class bytes_tokenizer:
    """What the service uses of a tokenizer; a token is a byte."""

    eos_token_id = 0

    def __call__(self, text, return_tensors):
        ids = torch.tensor([list(text.encode())])
        return type("Encoded", (), {"input_ids": ids})

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


def events_of(lines):
    """The pieces in server-sent events."""
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def ascii_model():
    """Writes letters only: the other tokens are never the likeliest."""
    model = small_model()
    with torch.no_grad():
        rows = model.head.weight
        rows[:97], rows[123:] = 0, 0
    return model


@pytest.mark.parametrize("n_tokens", [1, 9])
def test_the_service_streams_the_text(n_tokens):
    """As events, a line of JSON each."""
    model, tokenizer = ascii_model(), bytes_tokenizer()
    wish = {"prompt": "once", "n_tokens": n_tokens}
    with TestClient(create_app(model, tokenizer)) as client:
        answer = client.post("/write", json=wish)
        health = client.get("/health").json()
    expected = greedy(model, torch.tensor([list(b"once")]), n_tokens)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "".join(events_of(answer.text.splitlines())) == tokenizer.decode(
        expected
    )
    assert answer.text.endswith("\n\n")
    assert health == {"writing": 0, "steps": n_tokens}


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"prompt": ""},
        {"prompt": "x" * 4001},
        {"prompt": "x", "n_tokens": 0},
        {"prompt": "x", "n_tokens": 201},
        {"prompt": 3},
    ],
)
def test_a_wish_out_of_bounds_is_refused(wish):
    """422, and 413 for what is larger than any wish may be."""
    with TestClient(create_app(small_model(), bytes_tokenizer())) as client:
        assert client.post("/write", json=wish).status_code == 422
        large = {"prompt": "x" * 20_000}
        assert client.post("/write", json=large).status_code == 413
        assert client.get("/health").json()["steps"] == 0


def test_a_text_that_has_no_room_is_refused_and_harms_none():
    """By its tokens, and not only by its characters: 422."""
    options = {"room": 60}
    with TestClient(
        create_app(ascii_model(), bytes_tokenizer(), **options)
    ) as client:
        for length, status in ((51, 422), (50, 200)):
            wish = {"prompt": "x" * length, "n_tokens": 10}
            assert client.post("/write", json=wish).status_code == status
        wish = {"prompt": "x" * 51, "n_tokens": 10}
        told = client.post("/write", json=wish).json()["detail"]
    assert told == "51 tokens and 10 more: at most 60 have room"


def test_without_a_number_a_text_gets_fifty_tokens():
    """Of a prompt of many characters, too."""
    app = create_app(ascii_model(), bytes_tokenizer(), room=5000)
    with TestClient(app) as client:
        answer = client.post("/write", json={"prompt": "x" * 4000})
    assert len("".join(events_of(answer.text.splitlines()))) == 50


def test_a_step_that_fails_is_the_error_of_its_texts_only():
    """Texts that come later are written."""

    class Fragile(ModernGPT):
        """Fails on the token 99."""

        def forward(self, ids, caches=None):
            if (ids == 99).any():
                raise ZeroDivisionError
            return super().forward(ids, caches)

    model = Fragile(256, 16, 4, 2, 2, hidden=24)
    model.load_state_dict(small_model().state_dict())

    async def one_fails():
        engine = Engine(model, None, max_texts=2, room=20)
        worker = asyncio.create_task(engine.work())
        bad = engine.read(engine.submit(torch.tensor([[1, 99]]), 3))
        with pytest.raises(ZeroDivisionError):
            await anext(bad)
        found = [t async for t in engine.read(engine.submit(prompt(1, 3), 4))]
        worker.cancel()
        return found

    assert asyncio.run(one_fails()) == greedy(model, prompt(1, 3), 4)
