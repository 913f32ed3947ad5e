"""Serving."""

import asyncio
import importlib.metadata
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import onnx
import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.testclient import TestClient

from snippets.deployment.service import (
    Batcher,
    Busy,
    create_app,
    digits_app,
    simple_app,
)
from snippets.deployment.serving import ask_all, running

FOLDER = Path(__file__).parents[3] / "snippets" / "deployment"
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


def ask(address, pixels):
    return httpx2.post(f"{address}/digit", json={"pixels": pixels})


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
    sizes = []

    def run(batch):
        time.sleep(0.1)
        sizes.append(len(batch))
        return brightest(batch)

    async def some_give_up():
        batcher = Batcher(run, max_batch=2, max_wait=0.01)
        worker = asyncio.create_task(batcher.work())
        image = np.zeros((1, 28, 28))
        tasks = [asyncio.create_task(batcher.ask(image)) for _ in range(6)]
        await asyncio.sleep(0.05)  # the first two are being computed
        for task in (tasks[1], tasks[2], tasks[3]):
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        worker.cancel()
        return [isinstance(answer, np.ndarray) for answer in found]

    found = asyncio.run(some_give_up())
    assert found == [True, False, False, False, True, True]
    assert sizes == [2, 2]


@pytest.mark.parametrize("make", [simple_app, create_app])
def test_both_services_answer_with_the_models_digit(make):
    """Each of ten pictures, one by one, and its place in the answer."""
    with TestClient(make(brightest)) as client:
        for digit in range(10):
            answer = post(client, picture_of(digit))
            assert (answer.status_code, answer.json()) == (200, digit)


def test_many_at_once_over_http_get_their_own_answers():
    """A hundred, over 32 connections; health and metrics agree."""
    images = np.zeros((100, 1, 28, 28), np.float32)
    images[np.arange(100), 0, np.arange(100) % 10] = 1
    with running(create_app(brightest)) as address:
        found = asyncio.run(ask_all(address, images))
        assert httpx2.get(f"{address}/health").json() == {"waiting": 0}
        metrics = httpx2.get(f"{address}/metrics").text
    assert [answer.json() for answer in found] == [i % 10 for i in range(100)]
    assert "batch_size_sum 100.0" in metrics
    assert "answer_seconds_count 100.0" in metrics
    batches = float(re.search(r"batch_size_count (\S+)", metrics)[1])
    assert 100 / 16 <= batches <= 100


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


def test_a_slow_body_is_refused_and_a_slow_answer_waited_for():
    """The deadline is for the request, and not for the model."""

    def slow(batch):
        time.sleep(0.4)
        return brightest(batch)

    app = create_app(slow, body_seconds=0.2)
    with running(app) as address:
        port = int(address.rsplit(":")[-1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"POST /digit HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\n"
                b'Content-Length: 30\r\n\r\n{"pix'
            )
            answer = ask(address, picture_of(3))
            assert (answer.status_code, answer.json()) == (200, 3)
            assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_too_many_and_too_late_have_their_own_status():
    """503 with Retry-After, 504; whoever is in time is answered."""

    def slow(batch):
        time.sleep(0.3)
        return brightest(batch)

    app = create_app(slow, max_batch=1, max_queue=1, time_limit=0.5)
    images = np.zeros((8, 1, 28, 28), np.float32)
    with running(app) as address:
        found = asyncio.run(ask_all(address, images))
        counts = Counter(answer.status_code for answer in found)
        assert set(counts) <= {200, 503, 504}
        assert counts[200] >= 1
        assert counts[503] >= 5
        refused = next(a for a in found if a.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert ask(address, picture_of(2)).json() == 2
    app = create_app(slow, time_limit=0.1)
    with running(app) as address:
        answer = ask(address, picture_of(2))
    assert answer.status_code == 504


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


def dockerfile():
    """Its instructions, with lines joined: pairs of name and rest."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line[:1] not in ("#", "")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_dockerfile_passes_its_linter():
    """hadolint has nothing to say; of a worse one it has."""
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    path = FOLDER / "Dockerfile"
    found = subprocess.run([hadolint, path], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")
    worse = path.read_text().replace("fastapi==0.165.0", "fastapi")
    found = subprocess.run(
        [hadolint, "-"], input=worse, capture_output=True, text=True
    )
    assert "DL3013" in found.stdout


def test_the_dockerfile_has_the_versions_that_were_tested():
    """Those that are installed here."""
    (pinned,) = [rest for name, rest in dockerfile() if "pip install" in rest]
    versions = dict(re.findall(r"([\w-]+)==([\d.]+)", pinned))
    assert len(versions) == 6
    for name, version in versions.items():
        assert importlib.metadata.version(name) == version


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A folder as in the container, with a model in it; gone to."""
    images = onnx.helper.make_tensor_value_info(
        "images", onnx.TensorProto.FLOAT, ["n", 1, 28, 28]
    )
    logits = onnx.helper.make_tensor_value_info(
        "logits", onnx.TensorProto.FLOAT, ["n", 28]
    )
    axes = onnx.numpy_helper.from_array(np.array([1, 3]), "axes")
    mean = onnx.helper.make_node(
        "ReduceMean", ["images", "axes"], ["logits"], keepdims=0
    )
    graph = onnx.helper.make_graph([mean], "g", [images], [logits], [axes])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    onnx.save(model, tmp_path / "digits.onnx")
    for name, rest in dockerfile():
        if name == "COPY":
            for path in map(Path, rest.split()[:-1]):
                if path.parts[0] == "snippets":
                    shutil.copy(FOLDER.parents[1] / path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_containers_app_answers_by_its_file(digits):
    """digits.onnx of the folder it is started in."""
    with TestClient(digits_app()) as client:
        assert post(client, picture_of(6)).json() == 6


SLOW = """
import time
from service import create_app, load_model

def digits_app():
    run = load_model()
    def slow(batch):
        time.sleep(0.3)
        return run(batch)
    return create_app(slow)
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_killed_under_load_it_answers_all_that_it_has_accepted(digits):
    """SIGTERM to the container's command: 40 requests in work, 40 answers."""
    (command,) = [rest for name, rest in dockerfile() if name == "CMD"]
    port = str(free_port())
    command = [
        {"0.0.0.0": "127.0.0.1", "8000": port}.get(word, word)
        for word in json.loads(command)
    ]
    command[command.index("service:digits_app")] = "slow:digits_app"
    (digits / "slow.py").write_text(SLOW)
    service = subprocess.Popen(
        [sys.executable, "-m", *command], stderr=subprocess.PIPE
    )
    address = f"http://127.0.0.1:{port}"
    images = np.zeros((40, 1, 28, 28), np.float32)
    images[np.arange(40), 0, np.arange(40) % 10] = 1
    try:
        waiting = -1
        with ThreadPoolExecutor(1) as pool:
            end = time.monotonic() + 60
            answers = None
            while waiting < 40 and time.monotonic() < end:
                time.sleep(0.02)
                try:
                    health = httpx2.get(f"{address}/health", timeout=30)
                except httpx2.ConnectError:
                    continue
                if answers is None:
                    answers = pool.submit(
                        asyncio.run, ask_all(address, images, 40)
                    )
                waiting = health.json()["waiting"]
            service.send_signal(signal.SIGTERM)
            found = answers.result(timeout=60)
        assert waiting == 40
        assert [a.status_code for a in found] == [200] * 40
        assert [a.json() for a in found] == [i % 10 for i in range(40)]
        assert service.wait(60) == -signal.SIGTERM
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{address}/health")
    finally:
        service.kill()
        service.communicate()
