"""Weights in eight and four bits, with an error that is known beforehand."""

# --8<-- [start:model]
import math

import numpy as np
import torch
from torch import nn

from snippets.architectures.transformer import load_shakespeare
from snippets.start.language_model import load, token_losses


def linear_layers(model):
    """The linear layers of a language model's blocks, in their order."""
    modules = model.model.layers.modules()
    return [each for each in modules if isinstance(each, nn.Linear)]


if __name__ == "__main__":
    model, tokenizer = load()
    plays = load_shakespeare()
    text = plays.decode(plays.validation[40_000:42_200])
    ids = tokenizer(text, return_tensors="pt").input_ids[:, :256]

    @torch.no_grad()
    def perplexity():
        """Of the model as it is now, on 255 tokens of Twelfth Night."""
        return math.exp(token_losses(model, ids).mean())

    layers = linear_layers(model)
    count = sum(layer.weight.numel() for layer in layers)
    print(f"{count / 1e6:.0f} million weights in {len(layers)} layers")
    print(f"perplexity {perplexity():.1f}")
    # --8<-- [end:model]


# --8<-- [start:symmetric]
def quantize(weights, bits=8, dim=None):
    """Whole numbers from -2^(bits-1) + 1 on, int8, and their scale.

    The largest weight gets the largest number: one scale for all weights
    (dim None), or one for each row (dim 1 of (outputs, inputs)). weights
    are float32 or wider; with fewer digits the error can be larger.
    """
    size, limit = weights.abs(), 2 ** (bits - 1) - 1
    largest = size.max() if dim is None else size.amax(dim, keepdim=True)
    scale = torch.where(largest > 0, largest / limit, 1)  # all are zero
    numbers = (weights / scale).round().clamp(-limit, limit)
    return numbers.to(torch.int8), scale


def dequantize(numbers, scale):
    """Weights again, each off by at most half a scale."""
    return numbers * scale


if __name__ == "__main__":
    weights = layers[0].weight.detach()  # (576, 576)
    numbers, scale = quantize(weights)
    gap = (dequantize(numbers, scale) - weights).abs().max()
    print(f"from {numbers.min()} to {numbers.max()}, scale {scale:.4f}")
    print(f"largest error {gap / scale:.2f} scales")
    print(f"{weights.nbytes / 1000:.0f} kB, now {numbers.nbytes / 1000:.0f}")
    # --8<-- [end:symmetric]

    # --8<-- [start:compare]
    originals = [layer.weight.detach().clone() for layer in layers]

    @torch.no_grad()
    def with_weights(change):
        """Perplexity with each weight matrix changed; puts them back."""
        for layer, original in zip(layers, originals, strict=True):
            layer.weight.copy_(change(original))
        found = perplexity()
        for layer, original in zip(layers, originals, strict=True):
            layer.weight.copy_(original)
        return found

    for bits in (8, 4):
        for name, dim in (("tensor", None), ("row", 1)):
            found = with_weights(
                lambda w, b=bits, d=dim: dequantize(*quantize(w, b, d))
            )
            text = f"{found:.1f}" if found < 1e6 else "over a million"
            print(f"{bits} bits, a scale for each {name:7}{text}")
    # --8<-- [end:compare]

    # --8<-- [start:outliers]
    import matplotlib.pyplot as plt

    rows = weights.abs().amax(1)
    print(f"largest weight {rows.max():.1f}", end="")
    print(f", of the middle row {rows.median():.1f}")
    print(f"standard deviation of all {weights.std():.1f}")
    numbers, _ = quantize(weights, 4)
    print(f"rounded to zero {(numbers == 0).float().mean():.0%}")
    plt.figure()
    plt.hist(weights.flatten(), 100, range=(-6, 6), log=True, color="#1f5fbf")
    for number in range(-7, 8):  # what four bits can hold
        plt.axvline(number * rows.max() / 7, lw=0.5, color="#8f065b")
    plt.xlim(-6, 6)
    plt.xlabel("weight")
    plt.ylabel("how many")
    # --8<-- [end:outliers]


# --8<-- [start:groups]
def quantize_groups(weights, bits=4, group=32):
    """Numbers from 0 on, uint8, and each group's scale and lowest weight.

    weights (outputs, inputs) are cut into groups along their rows; returns
    (outputs, inputs / group, group) and twice (outputs, inputs / group, 1).
    """
    groups = weights.unflatten(-1, (-1, group))
    low = groups.amin(-1, keepdim=True)
    scale = (groups.amax(-1, keepdim=True) - low) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, 1)  # all weights are alike
    return ((groups - low) / scale).round().to(torch.uint8), scale, low


def dequantize_groups(numbers, scale, low):
    """Weights (outputs, inputs) again."""
    return (numbers * scale + low).flatten(-2)


def pack(numbers):
    """Two numbers of four bits in each byte, the first in its lower half."""
    return numbers[..., 0::2] | numbers[..., 1::2] << 4


def unpack(packed):
    """The numbers again, uint8."""
    return torch.stack([packed & 15, packed >> 4], -1).flatten(-2)


# --8<-- [end:groups]


if __name__ == "__main__":
    # --8<-- [start:sizes]
    numbers, scale, low = quantize_groups(weights)
    packed = pack(numbers)
    assert torch.equal(unpack(packed), numbers)
    halves = 2 * (scale.numel() + low.numel())  # two bytes each
    bits = 8 * (packed.numel() + halves) / weights.numel()
    print(f"{bits:.1f} bits a weight")
    for group in (192, 64):
        found = with_weights(
            lambda w, g=group: dequantize_groups(*quantize_groups(w, 4, g))
        )
        print(f"4 bits, groups of {group:3}: perplexity {found:.1f}")
    # --8<-- [end:sizes]

    # --8<-- [start:again]
    again = dequantize_groups(*quantize_groups(weights, 4, 32))
    gap = (again - weights).abs().max() / weights.std()
    print(f"groups of 32: largest error {gap:.4f} standard deviations")
    # --8<-- [end:again]


# --8<-- [start:blocks]
def read_q4_1(data):
    """Weights of blocks of 20 bytes, uint8 (..., 20 n): (..., 32 n).

    A block is a scale and a lowest weight, in half precision, and 16 bytes
    of two numbers: the first half of the block in their lower four bits.
    """
    blocks = data.reshape(*data.shape[:-1], -1, 20)
    halves = np.ascontiguousarray(blocks[..., :4]).view(np.float16)
    scale, low = np.split(halves.astype(np.float32), 2, axis=-1)
    numbers = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], -1)
    return (numbers * scale + low).reshape(*data.shape[:-1], -1)


# --8<-- [end:blocks]


if __name__ == "__main__":
    # --8<-- [start:gguf]
    import gguf

    from snippets.start.convert_language_model import packaged_file

    stored = {t.name: t for t in gguf.GGUFReader(packaged_file()).tensors}
    down = stored["blk.0.ffn_down.weight"]
    ours = read_q4_1(np.array(down.data))
    theirs = gguf.quants.dequantize(down.data, down.tensor_type)
    loaded = model.model.layers[0].mlp.down_proj.weight
    print(ours.shape, f"{8 * down.data.nbytes / ours.size:.0f} bits a weight")
    print("as the package reads it:", np.array_equal(ours, theirs))
    print("as the model has it:", np.array_equal(ours, loaded.detach()))
    # --8<-- [end:gguf]

    # --8<-- [start:onnx]
    import logging
    import warnings
    from pathlib import Path

    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)
    mlp = model.model.layers[0].mlp  # 576 to 1536 to 576
    x = torch.randn(64, 576, generator=torch.Generator().manual_seed(0))
    torch.onnx.export(
        mlp,
        (x[:2],),
        "mlp.onnx",
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        external_data=False,
        verbose=False,
    )
    quantize_dynamic(
        "mlp.onnx", "mlp8.onnx", weight_type=QuantType.QInt8, per_channel=True
    )
    with torch.no_grad():
        expected = mlp(x).numpy()
    for name in ("mlp.onnx", "mlp8.onnx"):
        session = onnxruntime.InferenceSession(name)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        size = Path(name).stat().st_size / 1e6
        print(f"{name:10}{size:5.1f} MB, relative error {error:.2f}")
    # --8<-- [end:onnx]

    # --8<-- [start:torchao]
    import copy

    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    smaller = copy.deepcopy(mlp)
    quantize_(smaller, Int8WeightOnlyConfig())
    with torch.no_grad():
        found = smaller(x).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    torch.save(smaller.state_dict(), "mlp8.pt")
    size = Path("mlp8.pt").stat().st_size / 1e6
    print(f"mlp8.pt   {size:5.1f} MB, relative error {error:.2f}")
    weight = smaller.up_proj.weight
    print(type(weight).__name__, weight.dtype, weight.qdata.dtype)
    # --8<-- [end:torchao]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    record = files("snippets.deployment").joinpath("quantization.results.json")
    results = json.loads(record.read_text())["results"]
    print("times as fast as PyTorch in fp32, rows at once")
    print("                           1    64")
    for name in results["1"]:
        row = [results[n]["PyTorch"] / results[n][name] for n in ("1", "64")]
        print("{:22}{:6.1f}{:6.1f}".format(name, *row))
    # --8<-- [end:results]

    # --8<-- [start:wrapped]
    careless = torch.tensor([0.9, -1.0, 1.3])
    scale = careless[:2].abs().max() / 127  # measured on other weights
    print((careless / scale).round().to(torch.int8))
    print((careless / scale).round().clamp(-127, 127).to(torch.int8))
    # --8<-- [end:wrapped]

    # --8<-- [start:zeros]
    zeros = torch.zeros(2, 4)
    print((zeros / (zeros.abs().max() / 127)).round())
    # --8<-- [end:zeros]

    # --8<-- [start:changed]
    with torch.no_grad():
        before = model(ids).logits.argmax(-1)
        for layer, original in zip(layers, originals, strict=True):
            layer.weight.copy_(dequantize(*quantize(original, 8, 1)))
        after = model(ids).logits.argmax(-1)
    print(f"another likeliest token at {(before != after).float().mean():.1%}")
    # --8<-- [end:changed]

    # --8<-- [start:solution-bits]
    for group in (32, 128):
        print(f"groups of {group}: {4 + 2 * 16 / group:.2f} bits a weight")
    # --8<-- [end:solution-bits]

    # --8<-- [start:solution-three]
    for bits in (6, 3):
        found = with_weights(
            lambda w, b=bits: dequantize_groups(*quantize_groups(w, b, 64))
        )
        print(f"{bits} bits: perplexity {found:.1f}")
    # --8<-- [end:solution-three]

    # --8<-- [start:solution-parts]
    attention = {
        id(original)
        for layer, original in zip(layers, originals, strict=True)
        if layer.out_features <= 576 and layer.in_features == 576
    }
    for name, inside in (("attention", True), ("MLP", False)):
        found = with_weights(
            lambda w, i=inside: (
                dequantize(*quantize(w, 4, 1))
                if (id(w) in attention) == i
                else w
            )
        )
        print(f"only the {name:10}in 4 bits a row: {found:.1f}")
    # --8<-- [end:solution-parts]
