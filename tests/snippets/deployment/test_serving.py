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
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from snippets.deployment.export import Digits
from snippets.deployment.service import create_app, digits_app, load_model
from snippets.deployment.serving import ask_all, export_digits, running
from tests.snippets.deployment.test_service import brightest, picture_of, post

FOLDER = Path(__file__).parents[3] / "snippets" / "deployment"


def ask(address, pixels):
    return httpx2.post(f"{address}/digit", json={"pixels": pixels})


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

    app = create_app(slow, max_batch=1, max_queue=1, time_limit=20.0)
    images = np.zeros((8, 1, 28, 28), np.float32)
    with running(app) as address:
        found = asyncio.run(ask_all(address, images))
        counts = Counter(answer.status_code for answer in found)
        assert set(counts) == {200, 503}
        assert counts[200] >= 1
        assert counts[503] >= 5
        refused = next(a for a in found if a.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert ask(address, picture_of(2)).json() == 2
    app = create_app(slow, time_limit=0.1)
    with running(app) as address:
        answer = ask(address, picture_of(2))
    assert answer.status_code == 504


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


def test_the_model_is_one_file(tmp_path, monkeypatch):
    """Weights and all, for any batch: what COPY takes is enough."""
    model = Digits()
    export_digits(model, tmp_path / "digits.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["digits.onnx"]
    monkeypatch.chdir(tmp_path)
    run = load_model()
    for n in (1, 5):
        images = np.random.default_rng(n).random((n, 1, 28, 28), np.float32)
        with torch.no_grad():
            logits = model(torch.from_numpy(images)).numpy()
        assert np.allclose(run(images), logits, atol=1e-4)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_model_in_an_async_function_stops_all_others(asynchronous):
    """Even a request that needs no model; in a plain one it doesn't."""
    app = FastAPI()

    def model():
        time.sleep(2)

    async def blocking():
        model()

    app.get("/model")(blocking if asynchronous else model)
    app.get("/health")(lambda: 1)
    with running(app) as address, ThreadPoolExecutor(1) as pool:
        httpx2.get(f"{address}/health")
        answer = pool.submit(httpx2.get, f"{address}/model", timeout=30)
        time.sleep(0.5)
        start = time.monotonic()
        httpx2.get(f"{address}/health", timeout=30)
        waited = time.monotonic() - start
        answer.result()
    assert (waited > 0.75) == asynchronous


def test_the_containers_app_answers_by_its_file(digits):
    """digits.onnx of the folder it is started in."""
    with TestClient(digits_app()) as client:
        assert post(client, picture_of(6)).json() == 6


SLOW = """
import os, time
from service import create_app, load_model

def digits_app():
    run = load_model()
    def slow(batch):
        while not os.path.exists("go"):
            time.sleep(0.01)
        time.sleep(0.2)
        return run(batch)
    return create_app(slow, time_limit=60)
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
            (digits / "go").touch()
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
