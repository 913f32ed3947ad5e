"""The service of the lesson on serving: what runs in the container."""

# --8<-- [start:simple]
import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from pydantic import BaseModel, Field

Pixel = Annotated[float, Field(ge=0, le=1)]  # refuses NaN, too


class Picture(BaseModel):
    """28 rows of 28 pixels, one after the other: 0 is paper, 1 is ink."""

    pixels: Annotated[list[Pixel], Field(min_length=784, max_length=784)]

    def array(self):
        """As the model wants it: (1, 28, 28)."""
        return np.array(self.pixels, np.float32).reshape(1, 28, 28)


def simple_app(run):
    """A service that runs a model once for each request.

    run maps images (batch, 1, 28, 28) to logits (batch, 10).
    """
    app = FastAPI()

    @app.post("/digit")
    def digit(picture: Picture) -> int:
        return run(picture.array()[None])[0].argmax()

    return app


def load_model(path="digits.onnx"):
    """A function of images (batch, 1, 28, 28), and no torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda images: session.run(None, {"images": images})[0]


# --8<-- [end:simple]


# --8<-- [start:batcher]
class Busy(Exception):
    """As many requests wait as may wait."""


class Batcher:
    """Runs requests that wait at the same time as one batch."""

    def __init__(self, run, max_batch=16, max_wait=0.002, max_queue=64):
        self.run, self.max_batch, self.max_wait = run, max_batch, max_wait
        self.queue = asyncio.Queue(max_queue)
        self.waiting = 0  # all that have no answer yet
        self.busy_since = None  # when the model was called, if it still runs
        self.registry = CollectorRegistry()
        self.sizes = Histogram(
            "batch_size",
            "Requests run together",
            buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )

    async def ask(self, image):
        """The logits of one image; raises Busy if too many wait."""
        answer = asyncio.get_running_loop().create_future()
        try:
            self.queue.put_nowait((image, answer))
        except asyncio.QueueFull:
            raise Busy from None
        self.waiting += 1
        try:
            return await answer
        finally:
            self.waiting -= 1

    async def next_one(self):
        """The next request whose client hasn't given up."""
        while True:
            image, answer = await self.queue.get()
            if not answer.done():
                return image, answer

    async def collect(self):
        """Wait for one request, and a moment for those that follow."""
        batch = [await self.next_one()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self.max_wait):
                while len(batch) < self.max_batch:
                    batch.append(await self.next_one())
        return batch

    async def work(self):
        """Run batch after batch; an error is the error of its batch only."""
        while True:
            batch = await self.collect()
            self.sizes.observe(len(batch))
            stack = np.stack([image for image, _ in batch])
            self.busy_since = time.monotonic()
            try:
                rows = await asyncio.to_thread(self.run, stack)
            except Exception as error:
                rows = [error] * len(batch)
            self.busy_since = None
            for row, (_, answer) in zip(rows, batch, strict=True):
                if answer.done():
                    continue
                if isinstance(row, Exception):
                    answer.set_exception(row)
                else:
                    answer.set_result(row)


# --8<-- [end:batcher]


# --8<-- [start:deadline]
class BodyDeadline:
    """Middleware: a client has some seconds to send a request's body."""

    def __init__(self, app, seconds):
        self.app, self.seconds = app, seconds

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        end = asyncio.get_running_loop().time() + self.seconds
        complete = False

        async def receive_in_time():
            nonlocal complete
            try:
                async with asyncio.timeout_at(None if complete else end):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly") from None
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)


# --8<-- [end:deadline]


# --8<-- [start:brief]
def brief(request, error):
    """The first thing that is wrong with a request, and not all of it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)


# --8<-- [end:brief]


# --8<-- [start:app]
def create_app(run, time_limit=2.0, body_seconds=5.0, **options):
    """The service: batches, limits, health and metrics.

    run maps images (batch, 1, 28, 28) to logits (batch, 10), as for
    simple_app; options are the Batcher's.
    """
    batcher = Batcher(run, **options)
    seconds = Histogram(
        "answer_seconds", "Of answers in time", registry=batcher.registry
    )

    @asynccontextmanager
    async def lifespan(app):
        worker = asyncio.create_task(batcher.work())
        yield  # uvicorn comes back here when all requests are answered
        worker.cancel()

    app = FastAPI(lifespan=lifespan, max_body_size=20_000)
    app.add_middleware(BodyDeadline, seconds=body_seconds)
    app.add_exception_handler(RequestValidationError, brief)

    @app.post("/digit")
    async def digit(picture: Picture) -> int:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(time_limit):
                logits = await batcher.ask(picture.array())
        except Busy:
            raise HTTPException(
                503, "too many wait", headers={"Retry-After": "1"}
            ) from None
        except TimeoutError:
            raise HTTPException(504, "the model took too long") from None
        seconds.observe(time.perf_counter() - start)
        return logits.argmax()

    @app.get("/health")
    async def health():
        now = time.monotonic()
        if now - (batcher.busy_since or now) > 10 * time_limit:
            raise HTTPException(503, "the model hangs")
        return {"waiting": batcher.waiting}

    @app.get("/metrics")
    async def metrics():
        return Response(
            generate_latest(batcher.registry), media_type="text/plain"
        )

    return app


def digits_app():
    """What the container runs: the app for digits.onnx."""
    return create_app(load_model())


# --8<-- [end:app]
