"""How fast one MLP of SmolLM2 is with its weights in eight bits.

Run `python -m benchmarks.quantization` on an idle machine; it takes half a
minute. One thread each. Writes the lesson's results file.
"""

import copy
import logging
import os
import tempfile
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    quantize_,
)

from benchmarks.export import fastest
from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.start.language_model import load

ROOT = Path(__file__).parents[1]
ROWS = (1, 64)


def by_torchao(model, config):
    """A copy of the model, its weights quantized."""
    smaller = copy.deepcopy(model)
    quantize_(smaller, config)
    return smaller


def by_onnx(model, folder, example):
    """Two functions of rows: ONNX Runtime in fp32 and with int8 weights."""
    plain, small = (os.path.join(folder, f"{n}.onnx") for n in ("32", "8"))
    torch.onnx.export(
        model,
        (example,),
        plain,
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        external_data=False,
        verbose=False,
    )
    quantize_dynamic(
        plain, small, weight_type=QuantType.QInt8, per_channel=True
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for path in (plain, small):
        session = onnxruntime.InferenceSession(path, options)
        name = session.get_inputs()[0].name
        yield lambda x, s=session, n=name: s.run(None, {n: x.numpy()})


@torch.no_grad()
def main():
    """Time all in turn, and write the results."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    mlp = load()[0].model.layers[0].mlp
    with tempfile.TemporaryDirectory() as folder:
        plain, small = by_onnx(mlp, folder, torch.randn(2, 576))
        ways = {
            "PyTorch": mlp,
            "torchao, weights": by_torchao(mlp, Int8WeightOnlyConfig()),
            "torchao, and inputs": by_torchao(
                mlp, Int8DynamicActivationInt8WeightConfig()
            ),
            "ONNX Runtime": plain,
            "ONNX Runtime, int8": small,
        }
        results = {
            rows: fastest(ways, torch.randn(rows, 576)) for rows in ROWS
        }
    path = write_results(
        Project.load(ROOT),
        "deployment/quantization.results.json",
        ["model"],
        "python -m benchmarks.quantization",
        ["onnxruntime", "torch", "torchao"],
        results,
    )
    print(f"wrote {path}", results)


if __name__ == "__main__":
    main()
