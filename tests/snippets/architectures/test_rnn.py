"""Recurrent cells, what they remember, and what is drawn from them."""

import json
from collections import Counter
from pathlib import Path

import names as census
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
    CHARACTERS,
    IGNORED,
    Cell,
    GRUCell,
    LSTMCell,
    NameModel,
    PlainCell,
    Reader,
    bptt,
    contexts,
    counted_loss,
    digits_then_blank,
    fit,
    load_names,
    mean_loss,
    memory,
    name_ids,
    read,
    share_right,
    start_open,
    write_names,
)

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


@pytest.mark.parametrize("shape", [(2, 3), (2, 7, 4), (0, 7, 3), (2, 0, 3)])
def test_sequences_of_another_shape_are_refused(shape):
    """The error says what was expected, and what came."""
    said = r"X: expected \(batch, seq, 3\), got \("
    with pytest.raises(ValueError, match=said):
        read(PlainCell(3, 4), torch.zeros(shape))
    with pytest.raises(ValueError, match=said):
        memory(PlainCell(3, 4), torch.zeros(shape))
    with pytest.raises(ValueError, match=said):
        bptt(np.zeros(shape), *map(np.zeros, ((3, 4), (4, 4), 4, shape)))
    with pytest.raises(ValueError, match=r"expected \(batch, seq, d_in\)"):
        rnn.check_sequences(torch.zeros(3))


def test_names_are_split_without_overlap():
    """All 88,799 surnames of the census, once each, in lower case."""
    known, unknown = load_names()
    assert (len(known), len(unknown)) == (80_799, 8_000)
    folder = Path(census.__file__).parent
    lines = (folder / "dist.all.last").read_text("ascii").splitlines()
    everyone = {line.split()[0].lower() for line in lines}
    assert set(known) | set(unknown) == everyone
    assert len(everyone) == 88_799
    assert load_names() == (known, unknown)
    other = load_names(seed=1)[1]
    assert len(set(other) & set(unknown)) < 1000  # about a tenth, by chance
    # At random: the file is sorted by how common a name is.
    common = {line.split()[0].lower() for line in lines[:8000]}
    assert len(common & set(unknown)) == pytest.approx(721, abs=100)


@pytest.mark.parametrize("n", [0, 88_799])
def test_a_list_of_names_may_not_be_empty(n):
    """Neither of the two."""
    with pytest.raises(ValueError, match="expected 1 to 88798, got"):
        load_names(n)


def test_edge_sizes_of_the_lists_are_allowed():
    """One name held out, or all but one."""
    for n in (1, 88_798):
        assert [len(part) for part in load_names(n)] == [88_799 - n, n]


def test_names_become_ids():
    """Read behind an end mark, predicted up to the next, then ignored."""
    inputs, targets = name_ids(["abc", "z"])
    assert inputs.tolist() == [[0, 1, 2, 3], [0, 26, 0, 0]]
    assert targets.tolist() == [[1, 2, 3, 0], [26, 0, IGNORED, IGNORED]]
    assert CHARACTERS == "\nabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("wrong", [[], ["o'neil"], ["Ng"], ["a\nb"]])
def test_names_of_other_characters_are_refused(wrong):
    """The error says which they are."""
    with pytest.raises(ValueError, match="expected letters a to z, got"):
        name_ids(wrong)


def test_letters_before_become_one_number():
    """The newest counts most; end marks stand before a name."""
    pair = name_ids(["ab", "z"])
    for letters, wanted in (
        (0, [0, 0, 0, 0, 0]),
        (1, [0, 1, 2, 0, 26]),
        (2, [0, 27, 2 * 27 + 1, 0, 26 * 27]),
        (3, [0, 27**2, 2 * 27**2 + 27, 0, 26 * 27**2]),
    ):
        context, target = contexts(*pair, letters)
        assert context.tolist() == wanted
        assert target.tolist() == [1, 2, 0, 26, 0]


def test_counting_is_what_it_says():
    """Against chances worked out one by one, of no, one and two letters."""
    train_on, test_on = ["anna", "hannah", "an"], ["ann", "nan"]
    pairs = name_ids(train_on), name_ids(test_on)

    def seen(names, letters):
        start = letters * "\n"
        return [
            (f"{start}{name}"[i : i + letters], f"{name}\n"[i])
            for name in names
            for i in range(len(name) + 1)
        ]

    def chance(context, letter, lean):
        counts = Counter(seen(train_on, len(context)))
        total = sum(n for (at, _), n in counts.items() if at == context)
        shorter = chance(context[1:], letter, lean) if context else 1 / 27
        if not context:
            total = sum(counts.values())
        return (counts[context, letter] + lean * shorter) / (total + lean)

    for letters in (0, 1, 2):
        for lean in (27, 2):
            wanted = -np.mean(
                [np.log(chance(*s, lean)) for s in seen(test_on, letters)]
            )
            loss = counted_loss(letters, *pairs, lean=lean)
            assert loss == pytest.approx(wanted, rel=1e-5)
        assert counted_loss(letters, *pairs) == pytest.approx(
            counted_loss(letters, *pairs, lean=27)
        )


def test_more_letters_make_a_better_table():
    """Up to four, each by less than the one before."""
    pairs = [name_ids(part) for part in load_names()]
    losses = np.array([counted_loss(letters, *pairs) for letters in range(5)])
    gains = -np.diff(losses)
    assert (gains > 0.05).all()
    assert (np.diff(gains) < 0).all()
    assert losses[4] == pytest.approx(2.145, abs=0.005)


def test_the_weight_of_shorter_tables_was_chosen_without_the_test():
    """27 is best of five, for names that were set aside from training."""
    known, _ = load_names()
    pairs = name_ids(known[:-8000]), name_ids(known[-8000:])
    losses = {
        lean: counted_loss(4, *pairs, lean=lean) for lean in (1, 3, 9, 27, 81)
    }
    assert min(losses, key=losses.get) == 27


def test_the_model_reads_on_from_its_state():
    """Letter by letter it gives the logits that it gives at once."""
    torch.manual_seed(0)
    model = NameModel(LSTMCell(5, 6))
    ids, _ = name_ids(["smith", "jones"])
    whole = model(ids)
    assert whole.shape == (2, 6, 27)
    state = None
    for t in range(6):
        logits, state = model.read_on(ids[:, t : t + 1], state)
        assert close(logits[:, 0], whole[:, t], within=1e-6)


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


def test_training_has_the_defaults_that_it_says():
    """A rate of 0.005 at most, 400 steps, and seed 0."""
    X, targets = normal(200, 2).float(), torch.arange(200) % 3
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    twin = nn.Linear(2, 3)
    twin.load_state_dict(model.state_dict())
    losses = fit(model, X, targets)
    assert len(losses) == 400
    assert losses == fit(twin, X, targets, 0.005, 400, 0)


def test_what_can_not_be_trained_is_refused():
    """Unlike lengths, and a loss that is not finite."""
    X, targets = torch.ones(9, 2), torch.zeros(9).long()
    with pytest.raises(ValueError, match="9 sequences, and targets of 8"):
        fit(nn.Linear(2, 3), X, targets[:8])
    with pytest.raises(FloatingPointError, match="not finite; lower the rate"):
        fit(nn.Linear(2, 3), X * torch.inf, targets, steps=2)


class Fixed(nn.Module):
    """Predicts the letters of one name, step by step, or the same chances."""

    def __init__(self, ids=(), chances=None):
        super().__init__()
        self.ids, self.chances = ids, chances

    def read_on(self, ids, state):
        step = 0 if state is None else state
        if self.chances is not None:
            logits = torch.tensor(self.chances).log()
        else:
            logits = torch.full((27,), -torch.inf)
            logits[self.ids[step % len(self.ids)]] = 0
        # What stands before the last step is none of its business.
        other = torch.zeros(27)
        return torch.stack([other, logits]).repeat(len(ids), 1, 1), step + 1


def test_names_end_at_their_end_mark():
    """What is drawn behind it is cut off, and so is a name without end."""
    assert write_names(Fixed([2, 15, 2, 0, 1]), 3) == 3 * ["bob"]
    assert write_names(Fixed([1]), 2, longest=4) == 2 * ["aaaa"]
    assert write_names(Fixed([1]), 1) == [20 * "a"]


def test_letters_are_drawn_by_their_chances():
    """A third of end marks: a third of names are empty; and so on."""
    chances = [1 / 3, 1 / 2, 1 / 6] + 24 * [0.0]
    drawn = write_names(Fixed(chances=chances), 20_000)
    assert np.mean([name == "" for name in drawn]) == pytest.approx(
        1 / 3, abs=0.02
    )
    assert "".join(drawn).count("a") / len("".join(drawn)) == pytest.approx(
        3 / 4, abs=0.02
    )
    assert drawn == write_names(Fixed(chances=chances), 20_000, seed=0)
    assert drawn != write_names(Fixed(chances=chances), 20_000, seed=1)


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
    with pytest.raises(ValueError, match="expected 0 or more, got -1"):
        digits_then_blank(-1)


def test_a_reader_answers_from_the_last_output():
    """By a linear map with one output a class."""
    torch.manual_seed(0)
    reader, X = Reader(nn.GRU(3, 4, batch_first=True)), torch.randn(2, 7, 3)
    last = reader.layer(X)[0][:, -1]
    assert reader(X).shape == (2, 10)
    assert close(reader(X), reader.head(last))


def test_the_share_right_counts():
    """Three of four."""
    X, labels = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 1])
    assert share_right(nn.Identity(), X, labels) == 0.75


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


@pytest.mark.parametrize("wrong", [nn.Linear(3, 4), nn.GRU(3, 4, 2)])
def test_what_has_no_such_gate_is_refused(wrong):
    """Another layer, or several in one."""
    with pytest.raises(TypeError, match="expected nn.RNN, nn.GRU or nn.LSTM"):
        start_open(wrong)


@pytest.fixture(scope="module")
def recorded():
    path = Path(rnn.__file__).with_name("rnn.results.json")
    return json.loads(path.read_text("utf-8"))["results"]


def test_recorded_size_helps_with_surnames_and_gates_do_not(recorded):
    """A plain cell of as many parameters as the GRU is as good."""
    losses = recorded["names"]
    plain, wider, gru = (
        losses[name]
        for name in (
            "plain, 96 numbers",
            "plain, 180 numbers",
            "GRU, 96 numbers",
        )
    )
    assert len(plain) == len(wider) == len(gru) == 3
    assert min(plain) - max(wider) > 0.03
    assert abs(np.mean(wider) - np.mean(gru)) < 0.005


def test_recorded_only_long_training_beats_counting(recorded):
    """The best table has 2.145; 1,500 steps stay above, 6,000 get below."""
    losses = recorded["names"]
    assert max(losses.pop("GRU, 6,000 steps")) < 2.14
    assert len(losses) == 4
    assert min(min(by_seed) for by_seed in losses.values()) > 2.15


def test_recorded_an_lstm_forgets_unless_it_starts_open(recorded):
    """At twenty blank rows it guesses, unless it has steps or a gate open."""
    at_20 = recorded["blank"].index(20)
    for name, low, high in (("LSTM", 0, 0.15), ("LSTM, open", 0.85, 1)):
        shares = [by_seed[at_20] for by_seed in recorded["digits"][name]]
        assert len(shares) == 3
        assert low <= min(shares) <= max(shares) <= high
    assert min(recorded["controls"]["LSTM, 20 rows, 1,500 steps"]) > 0.8


def test_recorded_an_open_gru_remembers_for_eighty_rows(recorded):
    """No other kind reads nine of ten digits with each seed."""
    last = {
        name: min(by_seed[-1] for by_seed in shares)
        for name, shares in recorded["digits"].items()
    }
    assert len(last) == 6
    assert [name for name in last if last[name] > 0.9] == ["GRU, open"]
    control = recorded["controls"]["LSTM, 80 rows, bias of 5"]
    lstm = [by_seed[-1] for by_seed in recorded["digits"]["LSTM, open"]]
    assert max(lstm) < min(control) < max(control) < 0.9
