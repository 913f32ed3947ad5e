"""A digits model behind HTTP: batches, limits, a deadline, a shutdown."""

# --8<-- [start:train]
import asyncio
import json
import logging
import socket
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.resources import files

import httpx2
import numpy as np
import torch
import uvicorn

from snippets.advanced.transfer_learning import (
    accuracy,
    batch_losses,
    descend,
)
from snippets.architectures.cnn import mnist_sets
from snippets.deployment.export import Digits
from snippets.deployment.service import (
    Batcher,
    create_app,
    load_model,
    simple_app,
)


def export_digits(model, path="digits.onnx"):
    """Write a digits model into one file, for batches of any size."""
    # of torchvision, which isn't here, and of a change within PyTorch
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, 1, 28, 28),),
        path,
        input_names=["images"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        external_data=False,  # weights and all
        verbose=False,
    )


if __name__ == "__main__":
    train, (images, labels) = mnist_sets()
    torch.manual_seed(0)
    model = Digits()
    descend(model, batch_losses(model, *train, 150, 0), 1e-3)
    print(f"accuracy {accuracy(model, images, labels):.2f}")
    export_digits(model)
    images = images.numpy()
    # --8<-- [end:train]


# --8<-- [start:running]
@contextmanager
def running(app, **options):
    """Serve an app on a free port of this machine; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    options = {"log_level": "warning"} | options
    config = uvicorn.Config(app, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True  # what SIGTERM sets, too
        thread.join()


# --8<-- [end:running]


if __name__ == "__main__":
    # --8<-- [start:first]
    run = load_model()
    with running(simple_app(run)) as address:
        picture = {"pixels": images[0].flatten().tolist()}
        answer = httpx2.post(f"{address}/digit", json=picture)
    print(
        answer.status_code, "digit:", answer.json(), "true:", labels[0].item()
    )
    # --8<-- [end:first]

    # --8<-- [start:together]
    sizes = []

    def watched(batch):
        """The model, whose batches are counted."""
        sizes.append(len(batch))
        return run(batch)

    async def together(n, **options):
        """Ask for n images at once; their answers or errors."""
        batcher = Batcher(watched, **options)
        worker = asyncio.create_task(batcher.work())
        asked = [batcher.ask(image) for image in images[:n]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        worker.cancel()
        return answers

    answers = asyncio.run(together(40))
    gap = np.abs(np.stack(answers) - run(images[:40])).max()
    print(f"batches of {sizes}, largest gap {gap:.4f}")
    # --8<-- [end:together]

    # --8<-- [start:full]
    answers = asyncio.run(together(40, max_queue=8))
    print(Counter(type(answer).__name__ for answer in answers))
    # --8<-- [end:full]


# --8<-- [start:ask-all]
async def ask_all(address, images, connections=32):
    """Post all images, so many at a time; the responses in order."""
    gate = asyncio.Semaphore(connections)
    async with httpx2.AsyncClient(base_url=address, timeout=30) as client:

        async def ask(image):
            pixels = image.flatten().tolist()
            async with gate:
                return await client.post("/digit", json={"pixels": pixels})

        return await asyncio.gather(*map(ask, images))


# --8<-- [end:ask-all]


if __name__ == "__main__":
    # --8<-- [start:load]
    with running(create_app(run)) as address:
        found = asyncio.run(ask_all(address, images[:300]))
        metrics = httpx2.get(f"{address}/metrics").text
    print(Counter(answer.status_code for answer in found))
    digits = [answer.json() for answer in found]
    print("as the model says:", sum(digits == run(images[:300]).argmax(1)))
    for line in metrics.splitlines():
        if line.endswith(" 300.0") and "le=" not in line:
            print(line)
    # --8<-- [end:load]

    # --8<-- [start:results]
    record = files("snippets.deployment").joinpath("serving.results.json")
    results = json.loads(record.read_text())["results"]
    alone = results["model_seconds"]["1"]
    for n, seconds in results["model_seconds"].items():
        each = seconds / int(n) / alone
        print(f"model, {n:>2} images: {each:.2f} of the time for each")
    services = results["services"]
    rate = services["simple"]["requests_per_second"]
    print(f"simple: {1 / rate / alone:.0f} times the model's time a request")
    for name, found in services.items():
        times = found["requests_per_second"] / rate
        print(f"service, {name:7}: {times:.2f} times the requests a second")
    # --8<-- [end:results]

    # --8<-- [start:latency]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    unit = services["simple"]["milliseconds"]["50"]
    for place, (name, colour, hatch) in enumerate(
        (
            ("simple", "#767676", ""),
            ("alone", "#8f065b", "//"),
            ("batched", "#1f5fbf", ".."),
        )
    ):
        times = [t / unit for t in services[name]["milliseconds"].values()]
        x = np.arange(3) + 0.27 * (place - 1)
        ax.bar(x, times, 0.25, color=colour, hatch=hatch, label=name)
    ax.set(xticks=range(3), xticklabels=["median", "95 %", "99 %"])
    ax.set_ylabel("time (simple's median = 1)")
    ax.legend()
    plt.show()
    # --8<-- [end:latency]

    # --8<-- [start:refused]
    def post(address, content):
        """Send text as JSON, whether it is or not."""
        headers = {"Content-Type": "application/json"}
        return httpx2.post(
            f"{address}/digit", content=content, headers=headers
        )

    with running(create_app(run, body_seconds=0.5)) as address:
        port = int(address.rsplit(":")[-1])
        slow = socket.create_connection(("127.0.0.1", port))
        slow.sendall(
            b"POST /digit HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        for name, content in {
            "not JSON": "{",
            "255 for 1": str({"pixels": [255] * 784}),
            "27 x 28": str({"pixels": [0.5] * 756}),
            "NaN": str({"pixels": [np.nan] * 784}).replace("nan", "NaN"),
            "too large": " " * 20_001,
            "good": str(picture),
        }.items():
            answer = post(address, content.replace("'", '"'))
            print(f"{name:9} {answer.status_code} {answer.text[:65]}")
        print("slow     ", slow.recv(1000).decode().splitlines()[0])
        slow.close()
    # --8<-- [end:refused]

    # --8<-- [start:late]
    goes_on = threading.Event()

    def stuck(batch):
        """The model, if it hung until told to go on."""
        goes_on.wait()
        return run(batch)

    with running(create_app(stuck, time_limit=0.5)) as address:
        for _ in range(3):
            answer = httpx2.post(f"{address}/digit", json=picture)
            print(answer.status_code, answer.text)
            goes_on.set()
    # --8<-- [end:late]

    # --8<-- [start:shutdown]
    all_there = threading.Event()

    def unhurried(batch):
        """The model, as slow as a large one."""
        all_there.wait()
        time.sleep(0.3)
        return run(batch)

    def ask_in_thread(address, n):
        """Post n images while this program goes on."""
        work = partial(asyncio.run, ask_all(address, images[:n], n))
        return ThreadPoolExecutor(1).submit(work)

    with running(create_app(unhurried, time_limit=30.0)) as address:
        answers = ask_in_thread(address, 40)
        while (
            waiting := httpx2.get(f"{address}/health").json()["waiting"]
        ) < 40:
            time.sleep(0.01)
        all_there.set()
    print(f"stopped with {waiting} requests unanswered")
    print(Counter(answer.status_code for answer in answers.result()))
    try:
        httpx2.get(f"{address}/health")
    except httpx2.ConnectError as error:
        print("afterwards:", type(error).__name__)
    # --8<-- [end:shutdown]

    # --8<-- [start:verbose]
    for name, value in (("255 for 1", "255"), ("NaN", "NaN")):
        content = '{"pixels": [' + ", ".join([value] * 784) + "]}"
        with running(simple_app(run), log_level="critical") as address:
            answer = post(address, content)
        print(f"{name}: {len(content):,} bytes asked, ", end="")
        print(f"{answer.status_code}, {len(answer.content):,} bytes answered")
    # --8<-- [end:verbose]

    # --8<-- [start:solution-wait]
    with running(create_app(run, max_wait=2.0, time_limit=9.0)) as address:
        for n in (1, 16):
            begin = time.perf_counter()
            asyncio.run(ask_all(address, images[:n]))
            seconds = time.perf_counter() - begin
            print(f"{n} at once waited for two seconds: {seconds > 2}")
    # --8<-- [end:solution-wait]

    # --8<-- [start:solution-alone]
    def fragile(batch):
        """The model, if it failed on blank pictures."""
        if (batch.max((1, 2, 3)) == 0).any():
            raise ValueError("a blank picture")
        return run(batch)

    def one_by_one(batch):
        """fragile, and after an error each by itself."""
        rows = []
        for image in batch:
            try:
                rows.append(fragile(image[None])[0])
            except ValueError as error:
                rows.append(error)
        return rows

    blank = images[:16].copy()
    blank[3] = 0
    for model in (fragile, one_by_one):
        app = create_app(model, max_wait=2.0, time_limit=9.0)
        with running(app, log_level="critical") as address:
            found = asyncio.run(ask_all(address, blank))
        print(model.__name__, Counter(a.status_code for a in found))
    # --8<-- [end:solution-alone]

    # --8<-- [start:solution-bytes]
    from typing import Annotated

    from fastapi import Body

    app = create_app(run)
    Raw = Annotated[bytes, Body(min_length=784, max_length=784)]

    @app.post("/raw")
    def raw(pixels: Raw) -> int:
        image = np.frombuffer(pixels, np.uint8).reshape(1, 1, 28, 28)
        return run(image.astype(np.float32) / 255)[0].argmax()

    pixels = (images[0] * 255).round().astype(np.uint8).tobytes()
    headers = {"Content-Type": "application/octet-stream"}
    with running(app) as address:
        for content in (pixels, pixels[1:]):
            answer = httpx2.post(
                f"{address}/raw", content=content, headers=headers
            )
            print(len(content), "bytes:", answer.status_code)
        as_json = httpx2.Request("POST", address, json=picture).content
    print(f"as JSON: {len(as_json):,} bytes")
    # --8<-- [end:solution-bytes]
