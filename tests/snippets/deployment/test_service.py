"""The service of the lesson on serving."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.testclient import TestClient

from snippets.deployment.service import (
    Batcher,
    BodyDeadline,
    Busy,
    create_app,
    simple_app,
)

JSON = {"Content-Type": "application/json"}


def brightest(batch):
    """A model that any test can compute: logits say where a row is bright."""
    return batch.mean((1, 3))[:, :10]


def picture_of(digit):
    """Pixels whose row is the digit's."""
    image = np.zeros((28, 28), np.float32)
    image[digit] = 1
    return image.flatten().tolist()


def post(client, pixels):
    return client.post("/digit", json={"pixels": pixels})


async def asked(batcher, images):
    """Answers or errors of images asked for at once."""
    worker = asyncio.create_task(batcher.work())
    try:
        return await asyncio.gather(
            *map(batcher.ask, images), return_exceptions=True
        )
    finally:
        worker.cancel()


def test_each_gets_its_own_answer_whatever_the_batches():
    """Of 1 to 40 requests at once, in batches of up to 16."""
    for n in (1, 15, 16, 17, 40):
        images = np.random.default_rng(n).random((n, 1, 28, 28), np.float32)
        sizes = []

        def run(batch, sizes=sizes):
            sizes.append(len(batch))
            return brightest(batch)

        answers = asyncio.run(asked(Batcher(run), images))
        assert np.allclose(np.stack(answers), brightest(images))
        assert sizes == [16] * (n // 16) + [n % 16] * (n % 16 > 0)


def test_a_batch_waits_a_moment_for_those_that_follow():
    """Not longer than max_wait, and not at all if it is full."""

    async def sizes_of(max_wait, pause):
        sizes = []

        def run(batch):
            sizes.append(len(batch))
            return brightest(batch)

        batcher = Batcher(run, max_batch=2, max_wait=max_wait)
        worker = asyncio.create_task(batcher.work())
        first = asyncio.create_task(batcher.ask(np.zeros((1, 28, 28))))
        await asyncio.sleep(pause)
        await asyncio.gather(first, batcher.ask(np.zeros((1, 28, 28))))
        worker.cancel()
        return sizes

    assert asyncio.run(sizes_of(max_wait=60, pause=0.05)) == [2]
    assert asyncio.run(sizes_of(max_wait=0.01, pause=0.5)) == [1, 1]


def test_more_than_may_wait_are_refused_at_once():
    """The rest is answered; after that there is room again."""

    async def twice():
        batcher = Batcher(brightest, max_queue=3)
        images = np.zeros((5, 1, 28, 28))
        first = await asked(batcher, images)
        return first, await asked(batcher, images[:3]), batcher.waiting

    first, second, waiting = asyncio.run(twice())
    assert [type(answer) for answer in first] == [np.ndarray] * 3 + [Busy] * 2
    assert [type(answer) for answer in second] == [np.ndarray] * 3
    assert waiting == 0


def test_an_error_is_the_error_of_its_batch_only():
    """The next batch is computed."""

    def run(batch):
        if batch.max() > 1:
            raise ZeroDivisionError
        return brightest(batch)

    images = np.zeros((4, 1, 28, 28))
    images[1] = 2
    answers = asyncio.run(asked(Batcher(run, max_batch=2), images))
    kinds = [type(answer) for answer in answers]
    assert kinds == [ZeroDivisionError] * 2 + [np.ndarray] * 2


def test_who_has_given_up_is_not_computed():
    """And takes no place in a batch; nor does it harm those in it."""
    sizes, begun, go_on = [], threading.Event(), threading.Event()

    def run(batch):
        begun.set()
        go_on.wait(30)
        sizes.append(len(batch))
        return brightest(batch)

    async def some_give_up():
        batcher = Batcher(run, max_batch=2, max_wait=1)
        worker = asyncio.create_task(batcher.work())
        image = np.zeros((1, 28, 28))
        tasks = [asyncio.create_task(batcher.ask(image)) for _ in range(6)]
        while not begun.is_set():  # the first two are being computed
            await asyncio.sleep(0.01)
        for place in (1, 2, 4):
            tasks[place].cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        worker.cancel()
        return [isinstance(answer, np.ndarray) for answer in found]

    found = asyncio.run(some_give_up())
    assert found == [True, False, False, True, False, True]
    assert sizes == [2, 2]


def test_health_tells_of_a_model_that_hangs():
    """503 once a batch takes ten times the time limit, and 200 after it."""
    go_on = threading.Event()

    def stuck(batch):
        go_on.wait(30)
        return brightest(batch)

    with TestClient(create_app(stuck, time_limit=0.05)) as client:
        assert client.get("/health").json() == {"waiting": 0}
        assert post(client, picture_of(1)).status_code == 504
        assert client.get("/health").status_code == 200
        time.sleep(0.6)
        assert client.get("/health").status_code == 503
        go_on.set()
        time.sleep(0.2)
        assert client.get("/health").json() == {"waiting": 0}


@pytest.mark.parametrize("make", [simple_app, create_app])
def test_both_services_answer_with_the_models_digit(make):
    """Each of ten pictures, one by one, and its place in the answer."""
    with TestClient(make(brightest)) as client:
        for digit in range(10):
            answer = post(client, picture_of(digit))
            assert (answer.status_code, answer.json()) == (200, digit)


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        ("{", 422, "JSON decode error"),
        ("[]", 422, "dictionary"),
        ("{}", 422, "body.pixels: Field required"),
        ('{"pixels": 3}', 422, "list"),
        (json.dumps({"pixels": [0.5] * 783}), 422, "at least 784"),
        (json.dumps({"pixels": [0.5] * 785}), 422, "at most 784"),
        (json.dumps({"pixels": [0.5] * 783 + [1.01]}), 422, "pixels.783"),
        (json.dumps({"pixels": [0.5] * 783 + [-0.1]}), 422, "or equal to 0"),
        (json.dumps({"pixels": [np.nan] * 784}), 422, "pixels.0"),
        (json.dumps({"pixels": [np.inf] * 784}), 422, "pixels.0"),
        (json.dumps({"pixels": ["ink"] * 784}), 422, "pixels.0"),
        (" " * 20_001, 413, "Content Too Large"),
    ],
)
def test_a_bad_request_is_refused_in_few_words(content, status, detail):
    """With the status that fits, and the next good one is answered."""
    with TestClient(create_app(brightest)) as client:
        answer = client.post("/digit", content=content, headers=JSON)
        assert answer.status_code == status
        assert detail in answer.text
        assert len(answer.content) < 200
        assert post(client, picture_of(4)).json() == 4


def test_a_body_of_just_the_limit_is_read():
    """20,000 bytes pass, and are judged by what they say."""
    body = json.dumps({"pixels": picture_of(7)})
    with TestClient(create_app(brightest)) as client:
        answer = client.post(
            "/digit", content=body.ljust(20_000), headers=JSON
        )
    assert answer.json() == 7


def test_fastapis_own_errors_repeat_the_request_and_fail_on_nan():
    """Its answer is longer than the question, or a 500 (0.165)."""
    client = TestClient(simple_app(brightest), raise_server_exceptions=False)
    content = json.dumps({"pixels": [255] * 784})
    answer = client.post("/digit", content=content, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) > 20 * len(content)
    content = json.dumps({"pixels": [np.nan] * 784})
    answer = client.post("/digit", content=content, headers=JSON)
    assert answer.status_code == 500


def test_a_large_body_of_known_length_loses_its_cors_header():
    """In chunks it keeps it: FastAPI 0.165 with Starlette 1.10."""
    app = FastAPI(max_body_size=10)
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])

    @app.post("/")
    def take(values: list[float]):
        return len(values)

    client = TestClient(app)
    found = [
        client.post(
            "/", content=content, headers={"Origin": "https://a.example"}
        )
        for content in (b" " * 20, iter([b" " * 20]))
    ]
    assert [answer.status_code for answer in found] == [413, 413]
    allowed = ["access-control-allow-origin" in a.headers for a in found]
    assert allowed == [False, True]


@pytest.mark.parametrize("more", [False, True])
def test_the_deadline_ends_with_the_body(more):
    """After it, an app may wait for the client to leave for as long."""
    messages = [
        {"type": "http.request", "body": b"x", "more_body": more},
        {"type": "http.disconnect"},
    ]

    async def receive():
        await asyncio.sleep(0.2 * (len(messages) == 1))
        return messages.pop(0)

    async def app(scope, receive, send):
        while messages:
            await receive()

    service = BodyDeadline(app, seconds=0.05)
    if more:
        with pytest.raises(HTTPException) as raised:
            asyncio.run(service({"type": "http"}, receive, None))
        assert raised.value.status_code == 408
    else:
        asyncio.run(service({"type": "http"}, receive, None))
        assert messages == []


def test_the_deadline_counts_from_the_start():
    """A body of which nothing comes is too slow as well."""

    async def receive():
        await asyncio.sleep(5)

    async def app(scope, receive, send):
        await receive()

    service = BodyDeadline(app, seconds=0.05)
    with pytest.raises(HTTPException) as raised:
        asyncio.run(service({"type": "http"}, receive, None))
    assert raised.value.status_code == 408


def test_metrics_tell_how_long_answers_took():
    """Their sum, in seconds, of those that were in time."""

    def slow(batch):
        time.sleep(0.3)
        return brightest(batch)

    with TestClient(create_app(slow)) as client:
        begin = time.perf_counter()
        post(client, picture_of(5))
        took = time.perf_counter() - begin
        metrics = client.get("/metrics").text
    total = float(metrics.split("answer_seconds_sum ")[1].split()[0])
    assert 0.3 <= total <= took
