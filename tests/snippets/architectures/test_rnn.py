"""Recurrent cells, what they remember, and what is drawn from them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from snippets.architectures import rnn
from snippets.architectures.rnn import (
    Cell,
    GRUCell,
    LSTMCell,
    PlainCell,
    Reader,
    accuracy,
    bptt,
    digits_then_blank,
    fit,
    mean_loss,
    memory,
    opened,
    read,
    start_open,
)

IGNORED = -100
KINDS = {PlainCell: nn.RNN, GRUCell: nn.GRU, LSTMCell: nn.LSTM}
SIZES = st.tuples(*[st.integers(1, 5)] * 4)  # batch, seq, d_in, d


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def made(kind, d_in, d, seed=0):
    torch.manual_seed(seed)
    return kind(d_in, d).double()


def zeroed(kind, keep):
    """A cell of zero weights, and a bias in the gate that keeps."""
    cell = kind(1, 4).double()
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        cell.from_hidden.bias[4:8] = keep
    return cell


def close(a, b, within=1e-12):
    return torch.allclose(
        torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=within
    )


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=SIZES, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_cell_is_pytorchs_with_its_gradients(kind, sizes, seed):
    """Same outputs, last states and gradients, for any sizes, in float64."""
    batch, seq, d_in, d = sizes
    cell, X = made(kind, d_in, d, seed), normal(batch, seq, d_in, seed=seed)
    layer = KINDS[kind](d_in, d, batch_first=True).double()
    layer.weight_ih_l0, layer.bias_ih_l0 = cell.from_input.parameters()
    layer.weight_hh_l0, layer.bias_hh_l0 = cell.from_hidden.parameters()
    ours, state = read(cell, X)
    theirs, last = layer(X)
    assert close(ours, theirs)
    last = last if isinstance(last, tuple) else (last,)
    assert len(state) == len(last) == cell.n_states
    assert all(close(a, b[0]) for a, b in zip(state, last, strict=True))
    pulled = normal(batch, seq, d, seed=seed + 1)
    for a, b in zip(
        torch.autograd.grad(ours, cell.parameters(), pulled),
        torch.autograd.grad(theirs, cell.parameters(), pulled),
        strict=True,
    ):
        assert close(a, b)


@given(sizes=SIZES, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_gradients_by_hand_are_autograds(sizes, seed):
    """Backpropagation through time, for any sizes and any pull, in float64."""
    batch, seq, d_in, d = sizes
    cell, X = made(PlainCell, d_in, d, seed), normal(batch, seq, d_in)
    pulled = normal(batch, seq, d, seed=seed)
    read(cell, X)[0].backward(pulled)
    weights = cell.from_input.weight.T, cell.from_hidden.weight.T
    b = cell.from_input.bias + cell.from_hidden.bias
    arrays = [w.detach().numpy() for w in (*weights, b)]
    by_hand = bptt(X.numpy(), *arrays, pulled.numpy())
    theirs = cell.from_input.weight.grad.T, cell.from_hidden.weight.grad.T
    for ours, grad in zip(
        by_hand, (*theirs, cell.from_hidden.bias.grad), strict=True
    ):
        assert ours.shape == tuple(grad.shape)
        assert close(ours, grad)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_in_parts_is_reading_at_once(kind):
    """The state is all that a cell knows of what it has read."""
    cell, X = made(kind, 3, 4), normal(2, 7, 3)
    whole, last = read(cell, X)
    first, state = read(cell, X[:, :3])
    second, end = read(cell, X[:, 3:], state)
    assert close(torch.cat([first, second], dim=1), whole)
    assert all(close(a, b) for a, b in zip(end, last, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_knows_nothing_of_later_inputs(kind):
    """A change at one step changes that output and later ones, no other."""
    cell, X = made(kind, 3, 4), normal(2, 7, 3)
    changed = X.clone()
    changed[:, 4] += 1
    moved = (read(cell, changed)[0] - read(cell, X)[0]).abs().amax(dim=(0, 2))
    assert (moved[:4] == 0).all()
    assert (moved[4:] > 0).all()


def test_a_state_starts_at_zero():
    """One vector for the plain cell and the GRU, two for the LSTM."""
    for kind, n_states in ((PlainCell, 1), (GRUCell, 1), (LSTMCell, 2)):
        state = kind(3, 4).start(torch.ones(2, 7, 3))
        assert [tuple(part.shape) for part in state] == n_states * [(2, 4)]
        assert not torch.stack(state).any()


def test_a_cell_has_the_parameters_that_the_formula_counts():
    """Maps times d times (d_in + d + 2)."""
    for kind, n_maps in ((PlainCell, 1), (GRUCell, 3), (LSTMCell, 4)):
        counted = sum(p.numel() for p in kind(16, 96).parameters())
        assert counted == n_maps * 96 * (16 + 96 + 2)
    assert Cell(16, 96).n_maps == 1


@given(st.integers(1, 8), st.floats(0.1, 3), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_gradient_stays_within_its_bound(seq, gain, seed):
    """After k steps at most the largest singular value to the k-th is left."""
    cell = made(PlainCell, 2, 5, seed)
    with torch.no_grad():
        cell.from_hidden.weight.mul_(gain)
    largest = torch.linalg.matrix_norm(cell.from_hidden.weight, ord=2)
    left = memory(cell, normal(3, seq, 2, seed=seed)).flip(0)
    assert left.shape == (seq + 1,)
    assert (left <= largest ** torch.arange(seq + 1) * (1 + 1e-9)).all()


def test_without_input_a_plain_cell_keeps_its_matrix_powers():
    """Where tanh is straight, what is left is the pull times W^k."""
    cell = made(PlainCell, 1, 4)
    nn.init.zeros_(cell.from_input.bias)
    nn.init.zeros_(cell.from_hidden.bias)
    left = memory(cell, torch.zeros(3, 5, 1).double(), seed=7).flip(0)
    generator = torch.Generator().manual_seed(7)
    pulled = torch.randn((3, 4), generator=generator).double()
    W = cell.from_hidden.weight.detach()
    X = normal(3, 5, 1)
    assert close(memory(cell, X), memory(cell, X, seed=0))
    assert not close(memory(cell, X), memory(cell, X, seed=1))
    for k in range(6):
        wanted = (pulled @ W.matrix_power(k)).norm() / pulled.norm()
        assert close(left[k], wanted)


def test_a_gate_alone_decides_what_its_state_keeps():
    """All else zero, k steps leave gate^k: of h in a GRU, of c in an LSTM."""
    X = torch.zeros(3, 6, 1).double()
    for keep in (0.0, 1.0, 3.0):
        gate = torch.sigmoid(torch.tensor(keep, dtype=torch.float64))
        powers = gate ** torch.arange(7)
        assert close(memory(zeroed(GRUCell, keep), X).flip(0), powers)
        left = memory(zeroed(LSTMCell, keep), X).flip(0)
        assert close(left[1:], powers[1:] / 2)  # o shows half of c
        assert left[0].item() == pytest.approx(
            1.25**0.5
        )  # the pull itself, and what c got


def test_gates_and_open_gates_remember_more():
    """After 20 pixels: plain, LSTM, GRU, each open; all far apart."""
    X = torch.tensor(load_digits().data[:50, :21, None] / 16)
    left = {}
    for kind in KINDS:
        cell = made(kind, 1, 64)
        left[kind, False] = memory(cell, X)[1]
        if kind is not PlainCell:
            with torch.no_grad():
                cell.from_hidden.bias[64:128] = 3
            left[kind, True] = memory(cell, X)[1]
    assert left[PlainCell, False] < left[LSTMCell, False] / 100
    assert left[LSTMCell, False] < left[GRUCell, False]
    assert left[GRUCell, False] < left[LSTMCell, True] / 10
    assert left[LSTMCell, True] < left[GRUCell, True]


def test_ignored_targets_do_not_count():
    """The mean of the others' cross-entropies, whatever stands there."""
    logits = normal(2, 3, 27)
    targets = torch.tensor([[1, 2, 0], [26, IGNORED, IGNORED]])
    chances = logits.softmax(-1)
    known = [(0, 0, 1), (0, 1, 2), (0, 2, 0), (1, 0, 26)]
    wanted = -torch.stack([chances[at] for at in known]).log().mean()
    assert close(mean_loss(lambda X: logits, None, targets), wanted)


def test_training_is_adam_on_clipped_gradients():
    """Step by step as written out with PyTorch: 128 rows, norm of 1, rate."""

    def model():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(6, 4))

    X, targets = normal(500, 2, 3).float(), torch.arange(500) % 4
    X[:2] *= 200  # two that make long gradients, where they are drawn
    ours = model()
    losses = fit(ours, X, targets, learning_rate=0.1, steps=5, seed=2)
    theirs, wanted, sizes = model(), [], []
    optimizer = torch.optim.Adam(theirs.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, 5, cycle_momentum=False
    )
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        rows = torch.randint(500, (128,), generator=generator)
        loss = F.cross_entropy(theirs(X[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        size = nn.utils.get_total_norm([p.grad for p in theirs.parameters()])
        for p in theirs.parameters():
            p.grad /= max(size, 1)
        sizes.append(size.item())
        optimizer.step()
        schedule.step()
        wanted.append(loss.item())
    assert min(sizes) < 1  # some are clipped, and some are not
    assert max(sizes) > 2
    assert losses == pytest.approx(wanted, rel=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert close(a, b, within=1e-5)


def test_a_reader_answers_from_the_last_output():
    """By a linear map with one output a class."""
    torch.manual_seed(0)
    reader, X = Reader(nn.GRU(3, 4, batch_first=True)), torch.randn(2, 7, 3)
    last = reader.layer(X)[0][:, -1]
    assert reader(X).shape == (2, 10)
    assert close(reader(X), reader.head(last))


def test_the_accuracy_counts():
    """Three of four."""
    X, labels = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 1])
    assert accuracy(nn.Identity(), X, labels) == 0.75


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_an_open_gate_keeps_95_percent(kind):
    """Of each number, at zero weights; the other biases are left alone."""
    layer = kind(3, 4)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    assert start_open(layer) is layer
    total = layer.bias_hh_l0 + layer.bias_ih_l0
    assert close(torch.sigmoid(total[4:8]), torch.tensor(0.9526), 1e-4)
    for name, now in layer.state_dict().items():
        others = [*range(4), *range(8, len(now))] if "bias" in name else ...
        assert torch.equal(now[others], before[name][others])
    assert close(start_open(layer, 1.0).bias_hh_l0[4:8], torch.ones(4))


def test_a_plain_layer_starts_orthogonal():
    """So one step back loses nothing to the matrix."""
    layer = nn.RNN(3, 4)
    start_open(layer)
    W = layer.weight_hh_l0
    assert close(W @ W.T, torch.eye(4), 1e-6)


def test_digits_come_first_and_then_nothing():
    """All 1,797 digits in three parts, 8 rows each, and rows of zeros."""
    parts = digits_then_blank(5, seed=1)
    assert [len(labels) for _, labels in parts] == [1197, 240, 360]
    X = torch.cat([X for X, _ in parts])
    labels = torch.cat([labels for _, labels in parts])
    assert X.shape == (1797, 13, 8)
    assert not X[:, 8:].any()
    digits = load_digits()
    order = np.random.default_rng(1).permutation(1797)
    assert close(X[:, :8].double(), digits.images[order] / 16)
    assert (labels.numpy() == digits.target[order]).all()
    zero = digits_then_blank(0)[0][0]
    assert zero.shape == (1197, 8, 8)
    assert not torch.equal(zero, parts[0][0][:, :8])
    with pytest.raises(AssertionError, match="must be 0 or more, but is -1"):
        digits_then_blank(-1)


def test_what_can_not_be_trained_is_refused():
    X, targets = torch.ones(9, 2), torch.zeros(9).long()
    with pytest.raises(AssertionError, match="9 but 8 targets"):
        fit(nn.Linear(2, 3), X, targets[:8])
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        fit(nn.Linear(2, 3), X * torch.inf, targets, steps=2)


@pytest.mark.parametrize("wrong", [nn.Linear(3, 4), nn.GRU(3, 4, bias=False)])
def test_what_has_no_such_gate_is_refused(wrong):
    with pytest.raises(TypeError, match="expected nn.RNN, nn.GRU or nn.LSTM"):
        start_open(wrong)


def test_all_layers_and_directions_start_open():
    """Each forget or update gate, and each matrix of a plain network."""
    d = 4
    for kind in (nn.LSTM, nn.GRU):
        layer = start_open(kind(3, d, 2, bidirectional=True))
        for name, bias in layer.named_parameters():
            if "bias" in name:
                wanted = 3.0 if "bias_hh" in name else 0.0
                assert (bias[d : 2 * d] == wanted).all()
    plain = start_open(nn.RNN(3, d, 2, bidirectional=True))
    for name, W in plain.named_parameters():
        if "weight_hh" in name:
            assert close(W @ W.T, torch.eye(d), 1e-6)


@pytest.mark.parametrize("kind", [GRUCell, LSTMCell])
def test_an_opened_cell_keeps_95_percent(kind):
    cell = opened(kind(3, 4))
    total = cell.from_hidden.bias + cell.from_input.bias
    assert close(torch.sigmoid(total[4:8]), torch.tensor(0.9526), 1e-4)


def test_accuracy_is_judged_without_dropout_and_training_goes_on():
    """The model is in the same mode afterwards."""
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity())
    X, labels = torch.eye(3).repeat(50, 1), torch.arange(3).repeat(50)
    assert accuracy(model.train(), X, labels) == 1
    assert model.training
    accuracy(model.eval(), X, labels)
    assert not model.training


def test_doubles_are_read_by_single_precision():
    cell, X = PlainCell(3, 4), normal(2, 5, 3)
    assert read(cell, X)[0].dtype == torch.float32
    reader = Reader(nn.GRU(3, 4, batch_first=True))
    assert reader(X).dtype == torch.float32


@pytest.fixture(scope="module")
def recorded():
    path = Path(rnn.__file__).with_name("rnn.results.json")
    return json.loads(path.read_text("utf-8"))["results"]


def test_recorded_an_lstm_forgets_unless_it_starts_open(recorded):
    """At twenty blank rows it guesses, unless it has steps or a gate open."""
    at_20 = recorded["blank"].index(20)
    for name, low, high in (("LSTM", 0, 0.15), ("LSTM, open", 0.9, 1)):
        scores = [by_seed[at_20] for by_seed in recorded["digits"][name]]
        assert len(scores) == 3
        assert low <= min(scores) <= max(scores) <= high
    assert min(recorded["controls"]["20 rows, 1,500 steps"]) > 0.8


def test_recorded_an_open_gru_remembers_for_eighty_rows(recorded):
    """No other kind reads nine of ten digits with each seed."""
    last = {
        name: min(by_seed[-1] for by_seed in scores)
        for name, scores in recorded["digits"].items()
    }
    assert len(last) == 6
    assert [name for name in last if last[name] > 0.9] == ["GRU, open"]
