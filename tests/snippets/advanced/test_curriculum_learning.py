"""Orders of examples: who is scored by whom, and what is drawn when."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snippets.advanced.curriculum_learning import (
    cross_fitted,
    paced,
    self_paced,
    train,
    uniform,
)
from snippets.advanced.transfer_learning import accuracy


def clusters(n, seed=0):
    """Points of ten classes, each around a corner of its own: (n, 12)."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 10
    x = torch.randn(n, 12, generator=g) / 4
    x[torch.arange(n), labels] += 2
    return x, labels


def test_training_takes_adams_steps_on_the_places_chosen():
    """The weights are those of torch.optim.Adam on the same batches."""
    x, labels = clusters(60)
    torch.manual_seed(0)
    model = nn.Linear(12, 10)
    twin = copy.deepcopy(model)
    seen = []

    def choose(progress, rng, trained):
        assert trained is model
        seen.append(progress)
        return rng.integers(60, size=7)

    curve = train(model, x, labels, choose, 45, 3, (x, labels), rate=0.02)
    rng = np.random.default_rng(3)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    for _ in range(45):
        batch = rng.integers(60, size=7)
        optimizer.zero_grad()
        F.cross_entropy(twin(x[batch]), labels[batch]).backward()
        optimizer.step()
    torch.testing.assert_close(model.weight, twin.weight)
    assert seen == pytest.approx([step / 45 for step in range(45)])
    assert len(curve) == 2
    assert curve[-1] > 0.9


def test_accuracy_is_taken_after_each_twenty_steps():
    """The first is that of a run of twenty steps, the second of forty."""
    x, labels = clusters(60)

    def run(steps):
        torch.manual_seed(0)
        model = nn.Linear(12, 10)
        choose = uniform(60)
        curve = train(model, x, labels, choose, steps, 0, (x, labels), 1e-3)
        return curve, accuracy(model, x, labels)

    curve, _ = run(59)
    assert curve == [run(20)[1], run(40)[1]]
    assert curve[0] < curve[1]


def test_uniform_leaves_nobody_out():
    """Over many batches of 50, all places come."""
    choose, rng = uniform(30), np.random.default_rng(0)
    batches = [choose(0, rng, None) for _ in range(20)]
    assert all(len(batch) == 50 for batch in batches)
    assert set(np.concatenate(batches)) == set(range(30))


def test_no_example_has_a_say_in_its_own_score():
    """With its label changed, its logits are the same, to the bit."""
    x, labels = clusters(100)
    before = cross_fitted(x, labels, 0)
    for place in (0, 57):
        other = labels.clone()
        other[place] = (other[place] + 1) % 10
        after = cross_fitted(x, other, 0)
        assert torch.equal(after[place], before[place])
        # a fifth is scored by the model that this one doesn't train
        kept = (after == before).all(dim=1).sum()
        assert kept == 20


def test_wrong_labels_have_the_largest_losses():
    """Of thirty wrong labels among three hundred, nine in ten are found."""
    x, labels = clusters(300)
    noisy = labels.clone()
    noisy[:30] = (noisy[:30] + 3) % 10
    losses = F.cross_entropy(
        cross_fitted(x, noisy, 1), noisy, reduction="none"
    )
    assert (losses.argsort()[-30:] < 30).float().mean() >= 0.9


def test_the_scorers_have_learned():
    """On classes that lie apart their accuracy is 95 % or more."""
    x, labels = clusters(300)
    logits = cross_fitted(x, labels, 0)
    assert (logits.argmax(dim=1) == labels).float().mean() > 0.95


@given(
    st.integers(50, 400),
    st.floats(0.1, 1),
    st.floats(0.1, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_pool_grows_by_its_formula(n, start, full, extra, progress):
    """All of the first share of the order is drawn, and nothing else."""
    most = start + (1 - start) * extra
    order = np.random.default_rng(1).permutation(n)
    choose = paced(order, start, full, most)
    rng = np.random.default_rng(2)
    drawn = {i for _ in range(100) for i in choose(progress, rng, None)}
    share = min(most, start + (most - start) * progress / full)
    assert drawn <= set(order[: int(share * n)])
    assert len(drawn) > 0.95 * int(share * n)


def test_by_default_a_fifth_comes_first_and_all_from_half_way():
    """At 0, 0.25 and 0.5 the shares are 0.2, 0.6 and 1."""
    choose, rng = paced(np.arange(1000)), np.random.default_rng(0)
    for progress, share in ((0, 200), (0.25, 600), (0.5, 1000), (1, 1000)):
        drawn = [choose(progress, rng, None) for _ in range(400)]
        assert np.max(drawn) == share - 1


class ByNumber(nn.Module):
    """A model whose loss for label 0 grows with the image's number."""

    def forward(self, x):
        return torch.cat([-x, x], dim=1)


@pytest.mark.parametrize(("progress", "allowed"), [(0, 50), (0.25, 75)])
def test_self_paced_takes_the_models_own_easiest(progress, allowed):
    """At first the easier half of the hundred, then ever more of them."""
    n = 100_000  # so that no place is drawn twice
    x = torch.linspace(-3, 3, n)[:, None]
    choose = self_paced(x, torch.zeros(n, dtype=torch.long))
    at_the_edge = 0
    for seed in range(10):
        seen = np.sort(np.random.default_rng(seed).integers(n, size=100))
        places = choose(progress, np.random.default_rng(seed), ByNumber())
        assert len(places) == 50
        assert len(set(places)) >= 48
        assert places.max() <= seen[allowed - 1]
        at_the_edge += places.max() == seen[allowed - 1]
    assert at_the_edge > 0


def test_self_paced_ends_with_all_of_them():
    """From half way on the hardest of the hundred is drawn at times."""
    x = torch.linspace(-3, 3, 500)[:, None]
    choose = self_paced(x, torch.zeros(500, dtype=torch.long))
    hardest = 0
    for seed in range(20):
        seen = np.random.default_rng(seed).integers(500, size=100)
        places = choose(0.5, np.random.default_rng(seed), ByNumber())
        hardest += places.max() == seen.max()
    assert 0 < hardest < 20
