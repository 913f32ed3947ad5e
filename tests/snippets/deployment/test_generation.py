"""Rules for the next token, equal to transformers', and what they keep."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers.generation import logits_process as theirs

from snippets.deployment import generation as lesson
from tests.snippets.small_llama import small_llama

seeds = st.integers(0, 10_000)


def logits_of(seed, rows=3, size=20):
    """Logits (rows, size), all different."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, size, generator=generator)


@pytest.fixture(scope="module")
def model():
    """A Llama of fifty tokens, none of which ends a text."""
    model = small_llama()
    model.generation_config.eos_token_id = None
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    return model


@given(seeds, st.integers(1, 20))
def test_top_k_is_transformers(seed, k):
    """k tokens are left, the likeliest."""
    logits = logits_of(seed)
    ours = lesson.top_k(logits, k)
    assert torch.equal(ours, theirs.TopKLogitsWarper(k)(None, logits))
    assert ((ours > lesson.NEVER).sum(-1) == k).all()


@given(seeds, st.floats(0.01, 0.99))
def test_top_p_is_transformers(seed, p):
    """The fewest that reach p together, for any logits."""
    logits = logits_of(seed)
    ours = lesson.top_p(logits, p)
    assert torch.equal(ours, theirs.TopPLogitsWarper(p)(None, logits))
    kept = (ours > lesson.NEVER).float()
    shares = logits.softmax(-1)
    reached = (shares * kept).sum(-1)
    least = torch.where(kept > 0, shares, 2).amin(-1)
    assert (reached >= p - 1e-5).all()
    assert (reached - least < p + 1e-5).all()


@given(seeds, st.floats(0.01, 0.99))
def test_min_p_is_transformers(seed, p):
    """Relative to the likeliest."""
    logits = logits_of(seed)
    expected = theirs.MinPLogitsWarper(p)(None, logits)
    assert torch.equal(lesson.min_p(logits, p), expected)


@given(seeds, st.floats(1.01, 3))
def test_the_penalty_is_transformers(seed, penalty):
    """Once for each token that is there, however often it is."""
    logits = logits_of(seed)
    ids = torch.tensor([[1, 1, 4], [0, 2, 3], [5, 5, 5]])
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    ours = lesson.penalize(logits, ids, penalty)
    assert torch.equal(ours, expected)
    changed = ours != logits
    assert changed.sum(-1).tolist() == [2, 3, 1]
    assert (ours <= logits).all()


def test_samples_have_the_models_probabilities():
    """At temperature 2, of 4,000 draws; a fair sampler fails once in a
    thousand seeds, and this seed is fixed.
    """
    logits = logits_of(1, 1, 6)
    choose = lesson.sampler(2.0, seed=0)
    drawn = choose(logits.expand(4000, -1), None)
    counts = torch.bincount(drawn[:, 0], minlength=6)
    expected = 4000 * (logits[0] / 2).softmax(-1).double()
    assert chisquare(counts, expected / expected.sum() * 4000).pvalue > 1e-3


def test_the_filter_comes_after_the_temperature():
    """And the same seed draws the same."""
    logits = logits_of(2, 500, 8)
    seen = []

    def change(logits):
        seen.append(logits)
        return lesson.top_k(logits, 2)

    drawn = lesson.sampler(0.5, 3, change)(logits, None)
    assert torch.equal(seen[0], logits / 0.5)
    best = logits.topk(2).indices
    assert (drawn == best).any(-1).all()
    assert (drawn != best[:, :1]).any()
    again = lesson.sampler(0.5, 3, change)(logits, None)
    assert torch.equal(drawn, again)


@given(seeds)
def test_the_cache_changes_nothing(model, seed):
    """Token for token, against computing all of it anew."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (2, 4), generator=generator)
    found = lesson.extend(model, ids, 5, lesson.greedy)
    for _ in range(5):
        with torch.no_grad():
            new = model(ids).logits[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, new], 1)
    assert torch.equal(found, ids)


def test_a_choice_sees_all_tokens_so_far(model):
    """The penalty needs them."""
    lengths = []

    def choose(logits, ids):
        lengths.append(ids.shape)
        return lesson.greedy(logits, ids)

    lesson.extend(model, torch.tensor([[3, 4]]), 3, choose)
    assert lengths == [(1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_beam_search_is_transformers(model, width):
    """Where no text ends early."""
    ids = torch.tensor([[7, 8, 9]])
    found, score = lesson.beam_search(model, ids, 4, width)
    expected = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=4,
        num_beams=width,
        do_sample=False,
        pad_token_id=0,
    )
    assert torch.equal(found, expected)
    with torch.no_grad():
        log_probs = model(found).logits[0, 2:-1].log_softmax(-1)
    total = log_probs.gather(-1, found[0, 3:, None]).sum()
    assert score == pytest.approx(total.item(), abs=1e-4)


def test_with_all_beginnings_kept_the_likeliest_is_found(model):
    """Against all 2,500 continuations of two tokens."""
    ids = torch.tensor([[7, 8, 9]])
    found, score = lesson.beam_search(model, ids, 2, 50)
    every = torch.tensor(list(itertools.product(range(50), repeat=2)))
    texts = torch.cat([ids.expand(2500, -1), every], 1)
    with torch.no_grad():
        log_probs = model(texts).logits[:, 2:-1].log_softmax(-1)
    totals = log_probs.gather(-1, every[..., None]).sum((1, 2))
    assert score == pytest.approx(totals.max().item(), abs=1e-4)
    assert torch.equal(found[0], texts[totals.argmax()])


def test_one_beam_is_greedy(model):
    """The same tokens."""
    ids = torch.tensor([[7, 8, 9]])
    found, _ = lesson.beam_search(model, ids, 6, 1)
    assert torch.equal(found, lesson.extend(model, ids, 6, lesson.greedy))


def test_padding_on_the_left_changes_no_token(model):
    """With its mask; on the right it does."""
    ids = torch.tensor([[11, 12, 13]])
    alone = lesson.extend(model, ids, 6, lesson.greedy)[0, 3:]
    pad, mask = torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3)
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    left = model.generate(
        torch.cat([pad, ids], 1),
        attention_mask=torch.cat([0 * mask, mask], 1).long(),
        **options,
    )
    right = model.generate(
        torch.cat([ids, pad], 1),
        attention_mask=torch.cat([mask, 0 * mask], 1).long(),
        **options,
    )
    assert torch.equal(left[0, 6:], alone)
    assert not torch.equal(right[0, 6:], alone)
