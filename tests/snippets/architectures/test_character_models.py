"""Recurrent cells, what they remember, and what is drawn from them."""

import json
from collections import Counter
from pathlib import Path

import names as census
import numpy as np
import pytest
import torch
from torch import nn

from snippets.architectures import character_models
from snippets.architectures.character_models import (
    CHARACTERS,
    IGNORED,
    NameModel,
    contexts,
    load_names,
    n_gram_loss,
    name_ids,
    write_names,
)
from snippets.architectures.rnn import LSTMCell


def close(a, b, within=1e-12):
    return torch.allclose(
        torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=within
    )


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
            loss = n_gram_loss(letters, *pairs, pseudo_counts=lean)
            assert loss == pytest.approx(wanted, rel=1e-5)
        assert n_gram_loss(letters, *pairs) == pytest.approx(
            n_gram_loss(letters, *pairs, pseudo_counts=27)
        )


def test_more_letters_make_a_better_table():
    """Up to four, each by less than the one before."""
    pairs = [name_ids(part) for part in load_names()]
    losses = np.array([n_gram_loss(letters, *pairs) for letters in range(5)])
    gains = -np.diff(losses)
    assert (gains > 0.05).all()
    assert (np.diff(gains) < 0).all()
    assert losses[4] == pytest.approx(2.145, abs=0.005)


def test_the_weight_of_shorter_tables_was_chosen_without_the_test():
    """27 is best of five, for names that were set aside from training."""
    known, _ = load_names()
    pairs = name_ids(known[:-8000]), name_ids(known[-8000:])
    losses = {
        lean: n_gram_loss(4, *pairs, pseudo_counts=lean)
        for lean in (1, 3, 9, 27, 81)
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


def test_letters_are_drawn_by_their_probabilities():
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


@pytest.mark.parametrize("n", [0, 88_799])
def test_a_list_of_names_may_not_be_empty(n):
    with pytest.raises(AssertionError, match=f"{n} of 88799 names"):
        load_names(n)


def test_a_low_temperature_prefers_the_probable():
    """At 1/2 probabilities are squared before they are shared out."""
    fixed = Fixed(chances=[1 / 3, 2 / 3] + 25 * [0.0])
    names = write_names(fixed, 20_000, temperature=0.5)
    share = np.mean([name == "" for name in names])
    assert share == pytest.approx(1 / 5, abs=0.02)


def test_recorded_cells_of_one_size_differ_by_more_than_seeds():
    """LSTM, GRU, plain, in this order; counting is beaten late."""
    path = Path(character_models.__file__)
    path = path.with_name("character_models.results.json")
    losses = json.loads(path.read_text("utf-8"))["results"]
    names = "LSTM, 82 numbers", "GRU, 96 numbers", "plain, 172 numbers"
    lstm, gru, plain = (losses[name] for name in names)
    assert len(lstm) == len(gru) == len(plain) == 3
    assert max(lstm) < min(gru) < max(gru) < min(plain)
    assert max(losses["GRU, 6,000 steps"]) < 2.145 < min(lstm)
