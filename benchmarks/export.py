"""How fast the exported digits model answers, against eager PyTorch.

Run `python -m benchmarks.export` on an idle machine; it takes a minute, and
torch.compile needs a C++ compiler. One thread each. Writes the lesson's
results file.
"""

import os
import tempfile
import time
from pathlib import Path

import onnxruntime
import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.deployment import export as lesson

ROOT = Path(__file__).parents[1]
SECTIONS = ["digits"]
BATCHES = (1, 64)
ROUNDS, CALLS = 30, 40


def runners(model, folder, example):
    """Each way of running the model: a function of images, by its name."""
    shapes = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(
        model, (example,), dynamic_shapes=shapes
    ).module()
    path = os.path.join(folder, "digits.onnx")
    torch.onnx.export(
        model, (example,), path, dynamic_shapes=shapes, verbose=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    name = session.get_inputs()[0].name
    return {
        "eager": model,
        "program": program,
        "compiled": torch.compile(model),
        "ONNX Runtime": lambda x: session.run(None, {name: x.numpy()}),
    }


def seconds(function, images):
    """Of the fastest call, in turns that others take, too."""
    best = float("inf")
    for _ in range(CALLS):
        start = time.perf_counter()
        function(images)
        best = min(best, time.perf_counter() - start)
    return best


def fastest(ways, images):
    """Seconds of each way's fastest call; the ways take turns."""
    for function in ways.values():
        function(images)
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, function in ways.items():
            times[name].append(seconds(function, images))
    return {name: round(min(found), 7) for name, found in times.items()}


@torch.no_grad()
def main():
    """Time all in turn, and write the results."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = lesson.Digits().eval()
    with tempfile.TemporaryDirectory() as folder:
        ways = runners(model, folder, torch.rand(2, 1, 28, 28))
        results = {
            batch: fastest(ways, torch.rand(batch, 1, 28, 28))
            for batch in BATCHES
        }
    path = write_results(
        Project.load(ROOT),
        "deployment/export.results.json",
        SECTIONS,
        "python -m benchmarks.export",
        ["onnx", "onnxruntime", "onnxscript", "torch"],
        results,
    )
    print(f"wrote {path}", results)


if __name__ == "__main__":
    main()
