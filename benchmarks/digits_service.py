"""How fast the digits service answers, with batches and without.

Run `python -m benchmarks.digits_service` on an idle machine with two cores; it
takes three minutes. The service runs in a process of its own, the clients in
this one. Writes the lesson's results file.
"""

import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from itertools import chain, repeat
from pathlib import Path

import httpx2
import numpy as np
import uvicorn

from benchmarks.export import fastest
from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.deployment import service as lesson
from snippets.deployment.export import Digits
from snippets.deployment.serving import export_digits

ROOT = Path(__file__).parents[1]
SECTIONS = [
    f"deployment/service.py:{name}"
    for name in ("simple", "batcher", "deadline", "brief", "app")
]
BATCHES = (1, 4, 16, 64)
REQUESTS, CONNECTIONS, ROUNDS = 3000, 32, 5


def serve(port, path, max_batch):
    """In a process of its own: the simple service, or one with batches."""
    run = lesson.load_model(path)
    if max_batch:
        app = lesson.create_app(run, max_batch=max_batch)
    else:
        app = lesson.simple_app(run)
    uvicorn.run(app, port=port, log_level="error", access_log=False)


def request_bytes():
    """One request as it goes over the line, built once."""
    pixels = np.random.default_rng(0).random(784).round(3).tolist()
    body = json.dumps({"pixels": pixels}).encode()
    head = (
        "POST /digit HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


async def load(port, n):
    """Send n pictures over all connections; seconds of each, and of all.

    A client of a library takes longer for a request than the service, and
    would be what is measured.
    """
    todo = iter(range(n))
    times = []
    request = request_bytes()

    async def one_connection():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in todo:
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(1)  # the digit
            times.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return times, time.perf_counter() - start


def started(serve, port, *arguments):
    """A process in which serve(port, ...) runs, once it answers."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=serve, args=(port, *arguments), daemon=True
    )
    process.start()
    for _ in range(600):
        try:
            httpx2.get(f"http://127.0.0.1:{port}/docs")
            return process
        except httpx2.ConnectError:
            time.sleep(0.1)
    raise TimeoutError("the service doesn't start")


def measure(path):
    """Requests a second and latencies of each service; they take turns."""
    ways = {"simple": None, "alone": 1, "batched": 16}
    ports = dict(zip(ways, range(8801, 8900), strict=False))
    processes = [
        started(serve, ports[name], path, max_batch)
        for name, max_batch in ways.items()
    ]
    rates = {name: [] for name in ways}
    times = {name: [] for name in ways}
    for name in chain.from_iterable(repeat(list(ways), ROUNDS)):
        asyncio.run(load(ports[name], 100))  # warm
        latencies, seconds = asyncio.run(load(ports[name], REQUESTS))
        rates[name].append(REQUESTS / seconds)
        times[name] += latencies
    for process in processes:
        process.terminate()
        process.join()
    return {
        name: {
            "requests_per_second": round(float(np.median(rates[name])), 1),
            "milliseconds": {
                str(q): round(1000 * float(np.percentile(times[name], q)), 2)
                for q in (50, 95, 99)
            },
        }
        for name in ways
    }


def main():
    """Time the model and the services, and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "digits.onnx")
        export_digits(Digits(), path)
        run = lesson.load_model(path)
        model = {
            batch: fastest({"model": run}, np.ones((batch, 1, 28, 28), "f4"))[
                "model"
            ]
            for batch in BATCHES
        }
        results = {"model_seconds": model, "services": measure(path)}
    file = write_results(
        Project.load(ROOT),
        "deployment/serving.results.json",
        SECTIONS,
        "python -m benchmarks.digits_service",
        ["fastapi", "httpx2", "onnxruntime", "starlette", "uvicorn"],
        results,
    )
    print(f"wrote {file}", results)


if __name__ == "__main__":
    main()
