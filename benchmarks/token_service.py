"""What writing texts together is worth, and what a short queue is.

Run `python -m benchmarks.token_service` on an idle machine with two cores; it
takes five minutes. The service has a process and a thread of its own, the
clients are in this process. Writes the lesson's results file.
"""

import asyncio
import time
from pathlib import Path

import httpx2
import numpy as np
import torch
import uvicorn

from benchmarks.digits_service import started
from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.modern_transformer import adopt
from snippets.deployment import token_service as lesson
from snippets.start.language_model import load

ROOT = Path(__file__).parents[1]
SECTIONS = [
    f"deployment/token_service.py:{name}"
    for name in ("slots", "text", "engine", "pieces", "app")
]
TEXTS = (1, 2, 4, 8, 16)
SLOTS = (1, 4, 16)
PROMPT = "Once upon a time, in a village by the sea, there lived"
TOKENS, CLIENTS = 40, 16
PORT = 8811


def step_seconds(model, ids, n, rounds=20):
    """Of the fastest step with n texts."""
    slots = lesson.Slots(model, n, 100)
    texts = [lesson.Text(ids, 50) for _ in range(n)]
    lesson.step(model, texts, slots)  # computes the prompts, too
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        lesson.step(model, texts, slots)
        times.append(time.perf_counter() - start)
    return round(min(times), 5)


def serve(port, options):
    """In a process of its own."""
    torch.set_num_threads(1)
    llama, tokenizer = load()
    app = lesson.create_app(adopt(llama), tokenizer, **options)
    uvicorn.run(app, port=port, log_level="error")


async def one_client(client):
    """Seconds to the first and to the last piece; None if refused."""
    start = time.perf_counter()
    wish = {"prompt": PROMPT, "n_tokens": TOKENS}
    async with client.stream("POST", "/write", json=wish) as answer:
        if answer.status_code == 503:
            return None
        first = None
        async for line in answer.aiter_lines():
            if line:
                first = first or time.perf_counter() - start
    return first, time.perf_counter() - start


async def load_it(n):
    """n clients at once."""
    limits = httpx2.Limits(max_connections=n)
    address = f"http://127.0.0.1:{PORT}"
    async with httpx2.AsyncClient(
        base_url=address, timeout=600, limits=limits
    ) as client:
        start = time.perf_counter()
        found = await asyncio.gather(*(one_client(client) for _ in range(n)))
        return found, time.perf_counter() - start


def measure(clients, **options):
    """Rate, waits and refusals of a service with these options."""
    process = started(serve, PORT, options)
    asyncio.run(load_it(1))  # warm
    found, seconds = asyncio.run(load_it(clients))
    process.terminate()
    process.join()
    times = np.array([times for times in found if times])

    def percentiles(column):
        return {
            str(q): round(float(np.percentile(times[:, column], q)), 3)
            for q in (50, 95)
        }

    return {
        "tokens_per_second": round(len(times) * TOKENS / seconds, 2),
        "first_token": percentiles(0),
        "last_token": percentiles(1),
        "refused": found.count(None),
    }


def main():
    """Time all, and write the results."""
    torch.set_num_threads(1)
    llama, tokenizer = load()
    model = adopt(llama)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    results = {
        "step_seconds": {n: step_seconds(model, ids, n) for n in TEXTS},
        "services": {
            n: measure(CLIENTS, max_texts=n, max_queue=CLIENTS) for n in SLOTS
        },
        "queues": {
            n: measure(3 * CLIENTS, max_texts=8, max_queue=n) for n in (8, 48)
        },
    }
    path = write_results(
        Project.load(ROOT),
        "deployment/serving_language_models.results.json",
        SECTIONS,
        "python -m benchmarks.token_service",
        ["fastapi", "httpx2", "torch", "uvicorn"],
        results,
    )
    print(f"wrote {path}", results)


if __name__ == "__main__":
    main()
