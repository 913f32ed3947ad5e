"""Serving language models."""

import asyncio
import time

import httpx2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from snippets.architectures.modern_transformer import ModernGPT
from snippets.deployment.service import Busy
from snippets.deployment.serving import running
from snippets.deployment.serving_language_models import write_all
from snippets.deployment.token_service import (
    Engine,
    create_app,
)
from snippets.start.convert_language_model import FOLDER as FOLDER_OF_MODEL
from tests.snippets.deployment.test_serving import FOLDER
from tests.snippets.deployment.test_token_service import (
    ascii_model,
    bytes_tokenizer,
    greedy,
    prompt,
    small_model,
)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 7)),
        min_size=1,
        max_size=7,
    ),
    st.integers(1, 4),
)
def test_each_text_is_as_if_it_had_been_alone(shapes, max_texts):
    """Any lengths, any number at once, slots used again: the same tokens."""
    model = small_model()
    wishes = [(prompt(i, n), more) for i, (n, more) in enumerate(shapes)]
    engine = Engine(model, None, max_texts=max_texts, room=16)
    found = asyncio.run(write_all(engine, wishes))
    assert found == [greedy(model, *wish) for wish in wishes]
    assert engine.texts == []


@pytest.mark.parametrize(
    ("lengths", "max_texts", "steps"),
    [
        ([3, 24, 5, 8, 20, 4, 6, 12], 1, 82),
        ([3, 24, 5, 8, 20, 4, 6, 12], 4, 24),
        ([3, 4, 5, 6, 8, 12, 20, 24], 4, 30),
        ([5] * 8, 8, 5),
    ],
)
def test_a_text_that_ends_makes_room_for_one_that_waits(
    lengths, max_texts, steps
):
    """The number of steps, worked out by hand."""
    engine = Engine(small_model(), None, max_texts, room=40)
    asyncio.run(write_all(engine, [(prompt(0, 3), n) for n in lengths]))
    assert engine.steps == steps


def test_the_end_token_ends_a_text_and_is_not_part_of_it():
    """Of a text that would go on, and beside one that does."""
    model = small_model()
    whole = greedy(model, prompt(3, 4), 12)
    end = whole[5]
    wishes = [(prompt(3, 4), 12), (prompt(4, 4), 12)]
    engine = Engine(model, end, room=20)
    found = asyncio.run(write_all(engine, wishes))
    assert found[0] == whole[: whole.index(end)]
    other = greedy(model, prompt(4, 4), 12)
    assert found[1] == (other[: other.index(end)] if end in other else other)


def test_more_texts_than_may_wait_are_refused():
    """At once; the others are written."""
    engine = Engine(small_model(), None, max_texts=2, max_queue=3, room=20)
    found = asyncio.run(write_all(engine, [(prompt(0, 3), 4)] * 5))
    assert [type(tokens) for tokens in found] == [list] * 3 + [Busy] * 2


class SlowModel(ModernGPT):
    """Takes as long for a pass as a larger one."""

    def forward(self, ids, caches=None):
        time.sleep(0.02)
        return super().forward(ids, caches)


def test_over_http_a_full_service_refuses_and_a_leaver_is_forgotten():
    """503 with Retry-After while two texts are there; none goes on alone."""
    model = SlowModel(256, 16, 4, 2, 2, hidden=24)
    model.load_state_dict(ascii_model().state_dict())
    options = {"max_texts": 1, "max_queue": 1, "room": 300}
    wish = {"prompt": "once", "n_tokens": 200}
    with (
        running(create_app(model, bytes_tokenizer(), **options)) as address,
        httpx2.Client(base_url=address, timeout=30) as client,
    ):
        with client.stream("POST", "/write", json=wish) as first:
            lines = first.iter_lines()  # to let go of it would close
            next(lines)
            with client.stream("POST", "/write", json=wish):
                refused = client.post("/write", json=wish)
        end = time.monotonic() + 30
        while client.get("/health").json()["writing"]:
            assert time.monotonic() < end
        steps = client.get("/health").json()["steps"]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert steps < 150


def test_the_configuration_of_vllm_says_what_the_lesson_says():
    """Room and number of texts are those of the lesson."""
    config = yaml.safe_load((FOLDER / "vllm.yaml").read_text())
    engine = Engine(small_model(), None)
    assert config["max-model-len"] == engine.slots.room
    assert config["max-num-seqs"] == engine.max_texts


def test_a_token_may_be_a_digit_or_a_word():
    """So the characters of a prompt don't tell its tokens."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER_OF_MODEL)
    assert len(tokenizer("7" * 40).input_ids) == 40
    assert len(tokenizer(" the king had three daughters").input_ids) == 5
