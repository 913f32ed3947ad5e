"""Error bounds, packing, and a four-bit file read by hand."""

import gguf
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from benchmarks import quantization as benchmark
from benchmarks.export import fastest
from snippets.deployment import quantization as lesson
from tests.snippets.small_llama import small_llama

FLOATS = st.floats(-1e6, 1e6, width=32)
MATRICES = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2), elements=FLOATS
)


@st.composite
def grouped(draw):
    """Weights (rows, groups * size) and the size of a group."""
    rows, groups = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    size = draw(st.sampled_from([1, 2, 8]))
    shape = rows, groups * size
    return draw(arrays(np.float32, shape, elements=FLOATS)), size


@given(MATRICES, st.sampled_from([2, 4, 8]), st.sampled_from([None, 1]))
def test_no_weight_is_off_by_more_than_half_a_scale(weights, bits, dim):
    """For any weights, bits, and either kind of scale."""
    weights = torch.from_numpy(weights).double()
    numbers, scale = lesson.quantize(weights, bits, dim)
    assert numbers.dtype == torch.int8
    assert numbers.abs().max() <= 2 ** (bits - 1) - 1
    gap = (lesson.dequantize(numbers, scale) - weights).abs()
    assert (gap <= scale / 2 * (1 + 1e-9)).all()
    assert scale.shape == (() if dim is None else (len(weights), 1))


def test_the_largest_weight_is_kept():
    """It gets the largest number, in each row or in all."""
    weights = torch.tensor([[0.5, -2.0, 1.2], [0.1, 0.3, -0.2]])
    numbers, scale = lesson.quantize(weights, 8, 1)
    assert numbers.tolist() == [[32, -127, 76], [42, 127, -85]]
    assert scale[:, 0].tolist() == pytest.approx([2 / 127, 0.3 / 127])
    numbers, scale = lesson.quantize(weights, 4)
    assert numbers.tolist() == [[2, -7, 4], [0, 1, -1]]
    assert scale == pytest.approx(2 / 7)


@given(grouped(), st.sampled_from([1, 4, 8]))
def test_the_bound_holds_for_each_group(data, bits):
    """Half of the group's own scale; its ends are kept."""
    weights, size = torch.from_numpy(data[0]).double(), data[1]
    numbers, scale, low = lesson.quantize_groups(weights, bits, size)
    assert numbers.dtype == torch.uint8
    assert numbers.max() <= 2**bits - 1
    found = lesson.dequantize_groups(numbers, scale, low)
    assert found.shape == weights.shape
    gap = (found - weights).abs().unflatten(-1, (-1, size))
    assert (gap <= scale / 2 * (1 + 1e-9)).all()
    groups = found.unflatten(-1, (-1, size))
    wanted = weights.unflatten(-1, (-1, size))
    assert torch.allclose(groups.amin(-1), wanted.amin(-1))
    assert torch.allclose(groups.amax(-1), wanted.amax(-1))


def test_numbers_never_wrap():
    """Not even in half precision, where 127 scales may be too many."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        weights = torch.randn(4, 64, generator=generator).to(torch.bfloat16)
        numbers, scale = lesson.quantize(weights, 8)
        gap = (lesson.dequantize(numbers, scale) - weights).abs().max()
        assert gap < 3 * scale


def test_a_row_of_zeros_stays_zero():
    """And gives no NaN."""
    zeros = torch.zeros(2, 8)
    assert torch.equal(lesson.dequantize(*lesson.quantize(zeros, 8, 1)), zeros)
    found = lesson.dequantize_groups(*lesson.quantize_groups(zeros + 3, 4, 4))
    assert torch.equal(found, zeros + 3)


@given(
    arrays(
        np.uint8,
        st.integers(1, 9).map(lambda n: (3, 2 * n)),
        elements=st.integers(0, 15),
    )
)
def test_packing_loses_nothing(numbers):
    """Half as many bytes, and the numbers again."""
    numbers = torch.from_numpy(numbers)
    packed = lesson.pack(numbers)
    assert packed.numel() * 2 == numbers.numel()
    assert torch.equal(lesson.unpack(packed), numbers)


def test_the_first_number_is_in_the_lower_half():
    """Of each byte: 1 and 15 make 0xF1."""
    numbers = torch.tensor([1, 15, 7, 0], dtype=torch.uint8)
    assert lesson.pack(numbers).tolist() == [0xF1, 0x07]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_blocks_of_q4_1_are_read_as_by_gguf(rows, blocks, seed):
    """Any weights, quantized by that package; bit for bit."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(rows, 32 * blocks)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q4_1
    data = gguf.quants.quantize(weights, kind)
    assert data.shape == (rows, 20 * blocks)
    ours = lesson.read_q4_1(data)
    assert np.array_equal(ours, gguf.quants.dequantize(data, kind))
    assert np.abs(ours - weights).max() < 0.3


def test_the_linear_layers_are_those_of_the_blocks():
    """Seven in each, and not the last layer of the model."""
    model = small_llama()
    layers = lesson.linear_layers(model)
    assert len(layers) == 7 * len(model.model.layers)
    assert all(isinstance(layer, nn.Linear) for layer in layers)
    assert not any(layer is model.lm_head for layer in layers)


def test_torchaos_weight_says_float_and_holds_int8():
    """Its dtype is that of its results."""
    layer = nn.Sequential(nn.Linear(64, 32))
    x = torch.randn(5, 64)
    expected = layer(x).detach()
    quantize_(layer, Int8WeightOnlyConfig())
    weight = layer[0].weight
    assert weight.dtype == torch.float32
    assert weight.qdata.dtype == torch.int8
    assert torch.allclose(layer(x), expected, atol=0.05)


def test_outliers_spoil_what_shares_their_scale():
    """One weight of a hundred makes all others zero in four bits."""
    weights = torch.full((4, 64), 0.1)
    weights[0, 0] = 100
    numbers, _ = lesson.quantize(weights, 4)
    assert numbers.count_nonzero() == 1
    numbers, _ = lesson.quantize(weights, 4, 1)
    assert numbers.count_nonzero() == 3 * 64 + 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_benchmark_quantizes_what_it_says(tmp_path):
    """ONNX Runtime's two, nearly alike, and the fastest of each."""
    torch.manual_seed(0)

    class Layer(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    layer = Layer(576, 32).eval()
    x = torch.randn(3, 576)
    with torch.no_grad():
        expected = layer(x).numpy()
        plain, small = benchmark.by_onnx(layer, tmp_path, x[:2])
        smaller = benchmark.by_torchao(layer, Int8WeightOnlyConfig())
        assert np.allclose(smaller(x), expected, atol=0.05)
    assert np.allclose(plain(x)[0], expected, atol=1e-5)
    assert np.allclose(small(x)[0], expected, atol=0.1)
    assert not np.allclose(small(x)[0], expected, atol=1e-6)
    assert onnxruntime.InferenceSession(tmp_path / "8.onnx")
    assert (tmp_path / "8.onnx").stat().st_size < (
        tmp_path / "32.onnx"
    ).stat().st_size


def test_each_way_has_its_fastest_call(monkeypatch):
    """In seconds; all take turns."""
    called = []
    monkeypatch.setattr("benchmarks.export.ROUNDS", 2)
    monkeypatch.setattr("benchmarks.export.CALLS", 3)
    ways = {
        "a": lambda x: called.append("a"),
        "b": lambda x: called.append("b"),
    }
    found = fastest(ways, None)
    assert list(found) == ["a", "b"]
    assert all(0 <= seconds < 1 for seconds in found.values())
    assert "".join(called) == "ab" + 2 * "aaabbb"
