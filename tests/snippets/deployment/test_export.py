"""Graphs, files, and what is lost between them."""

import operator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn
from torch.export import Dim, export

from benchmarks import export as benchmark
from snippets.architectures.transformer import GPT
from snippets.deployment import export as lesson

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Exporting a model while:UserWarning"),
]

# expressions of x0, x1 and small numbers
EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b"]),
    lambda inner: st.tuples(
        st.sampled_from(["add", "mul"]),
        inner,
        st.one_of(inner, st.integers(-3, 3)),
    ),
    max_leaves=8,
)


def value_of(expression, a, b):
    """An expression's value for any kind of a and b."""
    if expression in ("a", "b"):
        return {"a": a, "b": b}[expression]
    if isinstance(expression, int):
        return expression
    name, left, right = expression
    return getattr(operator, name)(value_of(left, a, b), value_of(right, a, b))


@given(EXPRESSIONS, st.integers(-9, 9), st.integers(-9, 9))
def test_a_graph_computes_what_its_function_does(expression, a, b):
    """For any expression of sums and products, and any numbers."""

    def function(a, b):
        return value_of(expression, a, b)

    graph, output = lesson.trace(function, 2)
    assert lesson.run(graph, output, a, b) == function(a, b)


def test_a_long_graph_keeps_its_lines_apart():
    """Thirty additions, each of another number."""

    def function(x):
        for number in range(30):
            x = x * 2 + number
        return x

    graph, output = lesson.trace(function, 1)
    assert len({line[0] for line in graph}) == 60
    assert lesson.run(graph, output, 3) == function(3)


def test_dropout_takes_a_fifth_of_the_features():
    """In training, before the last layer; in evaluation none."""
    torch.manual_seed(0)
    model = lesson.Digits()
    seen = []
    model.head.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    images = torch.rand(4, 1, 28, 28)
    for training in (True, False):
        model.train(training)
        model(images)
    model.dropout = nn.Identity()
    model.train()
    model(images)
    kept = (seen[0] != 0).double().mean() / (seen[2] != 0).double().mean()
    assert kept == pytest.approx(0.8, abs=0.03)
    assert torch.allclose(seen[0][seen[0] != 0] * 0.8, seen[2][seen[0] != 0])


def test_a_loop_is_recorded_as_often_as_it_ran():
    """Three multiplications, whatever the number."""

    def power(x):
        result = x
        for _ in range(3):
            result = result * x
        return result

    graph, output = lesson.trace(power, 1)
    assert [line[1] for line in graph] == ["mul"] * 3
    assert lesson.run(graph, output, 2) == 16


def test_a_branch_is_frozen():
    """The one that a stand-in takes, for all numbers."""
    graph, output = lesson.trace(lambda x: x + 1 if x > 0 else x + 2, 1)
    assert lesson.run(graph, output, -5) == -4  # and not -3


@pytest.fixture(scope="module")
def digits():
    """A network as it comes, in evaluation mode."""
    torch.manual_seed(0)
    model = lesson.Digits()
    model(torch.rand(50, 1, 28, 28))  # batch norm has seen something
    return model.eval()


@pytest.fixture(scope="module")
def session(digits, tmp_path_factory):
    """Its ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    torch.onnx.export(
        digits,
        (torch.rand(2, 1, 28, 28),),
        path,
        input_names=["images"],
        dynamic_shapes={"images": {0: Dim("batch")}},
        verbose=False,
    )
    return onnxruntime.InferenceSession(path), path


@given(st.integers(1, 40), st.integers(0, 1000))
def test_onnx_runtime_computes_the_same_for_any_batch(
    digits, session, n, seed
):
    """To five decimals."""
    torch.manual_seed(seed)
    images = torch.rand(n, 1, 28, 28)
    (found,) = session[0].run(None, {"images": images.numpy()})
    with torch.no_grad():
        assert np.allclose(found, digits(images), atol=1e-5)


def test_norms_and_dropout_are_folded_away(session):
    """Convolutions, rectifiers and a matrix product are left."""
    kinds = {node.op_type for node in onnx.load(session[1]).graph.node}
    assert "Conv" in kinds
    assert not kinds & {"BatchNormalization", "Dropout"}


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """A small GPT whose blocks do something, and its session."""
    torch.manual_seed(0)
    model = GPT(vocab_size=20, d_model=16, n_heads=2, context=12).eval()
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.3)
    path = tmp_path_factory.mktemp("gpt") / "gpt.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 5, dtype=torch.long),),
        path,
        input_names=["ids"],
        dynamic_shapes={"ids": {0: Dim("batch"), 1: Dim("seq", max=12)}},
        verbose=False,
    )
    return model, onnxruntime.InferenceSession(path)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 100))
def test_a_gpt_keeps_batch_and_length_open(gpt, n, length, seed):
    """The same logits for any of both."""
    model, session = gpt
    torch.manual_seed(seed)
    ids = torch.randint(20, (n, length))
    (found,) = session.run(None, {"ids": ids.numpy()})
    with torch.no_grad():
        assert np.allclose(found, model(ids), atol=1e-4)


def batch_of(example, batch):
    """Export a network for images with a batch as told."""
    return export(
        nn.Flatten(), (example,), dynamic_shapes={"input": {0: batch}}
    )


def test_an_example_of_one_fixes_the_batch():
    """An error with Dim; with Dim.AUTO a guard in the program."""
    with pytest.raises(Exception, match="specialized it to be a constant"):
        batch_of(torch.rand(1, 3, 3), Dim("batch"))
    program = batch_of(torch.rand(1, 3, 3), Dim.AUTO).module()
    with pytest.raises(AssertionError, match="== 1"):
        program(torch.rand(2, 3, 3))
    program = batch_of(torch.rand(2, 3, 3), Dim("batch")).module()
    assert program(torch.rand(1, 3, 3)).shape == (1, 9)


def test_dropout_stays_alive_in_training_mode(tmp_path):
    """Two runs differ, and in evaluation mode they don't."""
    layers = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    example = torch.ones(2, 4)
    for training in (True, False):
        layers.train(training)
        path = tmp_path / f"{training}.onnx"
        torch.onnx.export(layers, (example,), path, verbose=False)
        session = onnxruntime.InferenceSession(path)
        inputs = {session.get_inputs()[0].name: example.numpy()}
        one, two = (session.run(None, inputs)[0] for _ in range(2))
        assert np.array_equal(one, two) != training


def test_weights_lie_in_a_second_file(session, tmp_path):
    """Without it there is no session."""
    _, path = session
    assert path.with_name("digits.onnx.data").stat().st_size > 100_000
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(Exception, match="External data"):
        onnxruntime.InferenceSession(copy)


def test_the_file_names_the_sources_it_came_from(session):
    """With their whole paths, until that is deleted; and it still runs."""
    _, path = session
    here = str(Path(lesson.__file__).parent).encode()
    assert here in path.read_bytes()
    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:
        del node.metadata_props[:]
    clean = path.with_name("clean.onnx")
    clean.write_bytes(graph.SerializeToString())
    assert here not in clean.read_bytes()
    images = np.zeros((1, 1, 28, 28), np.float32)
    one, two = (
        onnxruntime.InferenceSession(each).run(None, {"images": images})[0]
        for each in (path, clean)
    )
    assert np.array_equal(one, two)


class Tied(nn.Module):
    """One array under two names."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.tokens.weight


def test_safetensors_stores_tied_weights_once(tmp_path):
    """By save_model; save_file refuses them, and turned ones."""
    model = Tied()
    path = tmp_path / "tied.safetensors"
    with pytest.raises(RuntimeError, match="share memory"):
        save_file(model.state_dict(), path)
    with pytest.raises(ValueError, match="contiguous"):
        save_file({"w": torch.ones(3, 4).T}, path)
    save_model(model, path)
    assert len(load_file(path)) == 1
    other = Tied()
    load_model(other, path)
    assert torch.equal(other.tokens.weight, model.tokens.weight)
    assert other.head.weight is other.tokens.weight


def test_torch_load_refuses_code(tmp_path):
    """And says what it was asked to call; nothing of it runs."""

    class Harmful:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"extra": Harmful()}, tmp_path / "stranger.pt")
    with pytest.raises(Exception, match="print"):
        torch.load(tmp_path / "stranger.pt")


def test_the_benchmarks_ways_compute_the_same(digits, tmp_path):
    """All but the compiled one, which needs a compiler."""
    images = torch.rand(3, 1, 28, 28)
    ways = benchmark.runners(digits, tmp_path, torch.rand(2, 1, 28, 28))
    assert list(ways) == ["eager", "program", "compiled", "ONNX Runtime"]
    with torch.no_grad():
        expected = digits(images)
        assert torch.allclose(ways["program"](images), expected, atol=1e-5)
    (found,) = ways["ONNX Runtime"](images)
    assert np.allclose(found, expected, atol=1e-5)


def test_the_fastest_call_counts(monkeypatch):
    """Of forty."""
    now = [0.0]
    costs = iter([5.0, 2.0, *[7.0] * 38])

    def call(images):
        now[0] += next(costs)

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    assert benchmark.seconds(call, None) == 2.0
