"""Networks on MNIST-1D, what they assume, and what they cost."""

import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmarks import choosing_an_architecture as benchmark
from snippets.architectures import choosing_an_architecture as lesson

RESULTS = json.loads(
    files("snippets.architectures")
    .joinpath("choosing_an_architecture.results.json")
    .read_text()
)["results"]


@pytest.fixture(scope="module")
def signals():
    """In order, and shuffled: 100 to train and 50 to test of each."""
    found = []
    for shuffled in (False, True):
        (x, y), (x_test, y_test) = lesson.load(shuffled)
        assert x.shape == (4000, 40)
        assert x_test.shape == (1000, 40)
        found.append(((x[:100], y[:100]), (x_test[:50], y_test[:50])))
    return found


def test_shuffling_moves_the_places_of_all_signals_alike(signals):
    """Each column is one of the columns in order, and all are there."""
    (x, y), (x_test, _) = signals[0]
    (z, w), (z_test, _) = signals[1]
    assert torch.equal(y, w)
    where = [
        [k for k in range(40) if torch.allclose(z[:, j], x[:, k], atol=1e-5)]
        for j in range(40)
    ]
    assert sorted(sum(where, [])) == list(range(40))
    assert where != [[k] for k in range(40)]
    order = torch.tensor(where)[:, 0]
    assert torch.allclose(z_test, x_test[:, order], atol=1e-5)


@given(st.permutations(range(40)), st.integers(0, 100))
def test_an_mlp_cannot_notice_the_shuffling(order, seed):
    """With the columns of its first weights moved along it is the same."""
    torch.manual_seed(seed)
    model, moved = lesson.MLP().double(), lesson.MLP().double()
    moved.load_state_dict(model.state_dict())
    x = torch.randn(3, 40, dtype=torch.float64)
    with torch.no_grad():
        moved.first.weight.copy_(model.first.weight[:, order])
        assert torch.allclose(model(x), moved(x[:, order]), atol=1e-12)


def test_a_cnn_notices():
    """Neighbours are summed together: no other weights give the same."""
    torch.manual_seed(0)
    model = lesson.CNN()
    x = torch.zeros(2, 40)
    x[0, [20, 21]] = 1
    x[1, [20, 31]] = 1
    first = model.convolutions[0](x[:, None])
    bias = model.convolutions[0].bias[:, None]
    touched = ((first - bias).abs().sum(1) > 1e-6).sum(1)
    assert touched[0] < touched[1]


def test_the_cnn_is_three_convolutions_with_rectifiers():
    """Worked layer by layer; places beyond the ends count as zero."""
    torch.manual_seed(0)
    model = lesson.CNN()
    h = torch.randn(4, 1, 40)
    expected = h
    for layer in model.convolutions[::2]:
        expected = nn.functional.conv1d(
            nn.functional.pad(expected, (1, 1)),
            layer.weight,
            layer.bias,
            stride=2,
        ).clamp(min=0)
    assert torch.allclose(
        model(h[:, 0]), model.last(expected.flatten(1)), atol=1e-5
    )


def test_the_mlp_adds_its_second_layer_to_its_first():
    """A bypass, as in the published one."""
    torch.manual_seed(0)
    model = lesson.MLP()
    x = torch.randn(4, 40)
    h = torch.clamp(x @ model.first.weight.T + model.first.bias, min=0)
    g = torch.clamp(h @ model.second.weight.T + model.second.bias, min=0)
    expected = (h + g) @ model.last.weight.T + model.last.bias
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_the_gru_reads_from_both_ends():
    """A change at an end is seen by the states that come after it, there."""
    torch.manual_seed(0)
    model = lesson.GRU()
    x = torch.randn(1, 40)
    changed = [x.clone(), x.clone()]
    changed[0][0, 0] += 1
    changed[1][0, 39] += 1
    states = [model.gru(each[:, :, None])[0][0] for each in (x, *changed)]
    assert (states[0][5, :6] != states[1][5, :6]).any()
    assert torch.equal(states[0][1:, 6:], states[1][1:, 6:])
    assert torch.equal(states[0][:39, :6], states[2][:39, :6])
    assert (states[0][34, 6:] != states[2][34, 6:]).any()
    assert torch.allclose(model(x), model.last(states[0].flatten()[None]))


def test_parameters_are_those_of_the_published_networks():
    """By formula: linear 410, MLP 15,210, GRU 5,134, CNN 5,210."""
    found = {
        name: lesson.parameters(network())
        for name, network in lesson.NETWORKS.items()
    }
    one_way = 3 * 6 * (1 + 6 + 2)
    assert found == {
        "logistic": 410,
        "MLP": 41 * 100 + 101 * 100 + 101 * 10,
        "GRU": 2 * one_way + 481 * 10,
        "CNN": 25 * 6 + 2 * 25 * (75 + 1) + 126 * 10,
    }


def test_operations_equal_the_formulas():
    """Places times outputs times inputs; for the GRU three gates a step."""
    x = torch.zeros(1, 40)
    found = {
        name: lesson.operations(network(), x)
        for name, network in lesson.NETWORKS.items()
    }
    assert found == {
        "logistic": 400,
        "MLP": 4000 + 10_000 + 1000,
        "GRU": 2 * 40 * 3 * 6 * (1 + 6) + 4800,
        "CNN": 19 * 25 * 5 + 10 * 25 * 75 + 5 * 25 * 75 + 1250,
    }


def test_training_is_adam_on_random_batches(signals):
    """Three steps, worked by PyTorch's optimizer beside it."""
    data, _ = signals[0]
    model = lesson.train(lambda: nn.Linear(40, 10), data, 3, seed=5)
    torch.manual_seed(5)
    twin = nn.Linear(40, 10)
    generator = torch.Generator().manual_seed(5)
    mean = [torch.zeros_like(p) for p in twin.parameters()]
    square = [torch.zeros_like(p) for p in twin.parameters()]
    for t in range(1, 4):
        batch = torch.randint(100, (100,), generator=generator)
        loss = nn.functional.cross_entropy(
            twin(data[0][batch]), data[1][batch]
        )
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for p, g, m, s in zip(
                twin.parameters(), gradients, mean, square, strict=True
            ):
                m.mul_(0.9).add_(0.1 * g)
                s.mul_(0.999).add_(0.001 * g**2)
                step = (m / (1 - 0.9**t)) / (
                    (s / (1 - 0.999**t)).sqrt() + 1e-8
                )
                p.sub_(0.01 * step)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


def test_accuracy_is_the_share_that_is_right():
    """Of four, three."""
    x = torch.eye(4)
    assert lesson.accuracy(lambda x: x, x, torch.tensor([0, 1, 2, 0])) == 0.75


def test_the_time_of_a_step_is_the_fastest(monkeypatch):
    """In milliseconds, a step, without the run that warms up."""
    ticks = iter([0, 2, 10, 11, 20, 23, 30, 34, 40, 45])
    monkeypatch.setattr(lesson.time, "perf_counter", lambda: next(ticks))
    steps = []
    monkeypatch.setattr(lesson, "train", lambda n, d, s: steps.append(s))
    assert lesson.milliseconds(None, None) == pytest.approx(10)
    assert steps == [10, 100, 100, 100, 100, 100]


def test_the_benchmark_trains_what_it_says(monkeypatch):
    """A name, in order or not, and a seed."""
    seen = []
    monkeypatch.setattr(
        lesson,
        "load",
        lambda shuffled: seen.append(shuffled) or ("d", ("x", "y")),
    )
    monkeypatch.setattr(lesson, "train", lambda *run: seen.append(run))
    monkeypatch.setattr(lesson, "accuracy", lambda *_: 0.12345)
    assert benchmark.trained(("CNN", True, 3)) == 0.1235
    assert seen == [True, (lesson.CNN, "d", benchmark.STEPS, 3)]


@pytest.mark.parametrize(
    ("name", "published"),
    [("logistic", 0.32), ("MLP", 0.68), ("GRU", 0.91), ("CNN", 0.94)],
)
def test_the_published_accuracy_is_met(name, published):
    """Within four points, of which half are the noise of a thousand test
    signals and of five seeds, and half of what the paper doesn't say.
    """
    values = RESULTS[name]["accuracy"]
    assert len(values) == 5
    assert np.mean(values) == pytest.approx(published, abs=0.04)


def test_shuffling_costs_the_spatial_networks_their_edge():
    """A third for GRU and CNN, nothing for the other two."""
    gaps = {
        name: np.mean(run["accuracy"]) - np.mean(run["shuffled"])
        for name, run in RESULTS.items()
    }
    assert min(gaps["GRU"], gaps["CNN"]) > 0.3
    assert max(abs(gaps["logistic"]), abs(gaps["MLP"])) < 0.03
    shuffled = {
        name: np.mean(run["shuffled"]) for name, run in RESULTS.items()
    }
    assert shuffled["MLP"] > max(shuffled["GRU"], shuffled["CNN"])
