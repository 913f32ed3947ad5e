"""A cache that changes nothing, and drafts that keep the distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import nn

from benchmarks import speculative_decoding as benchmark
from snippets.architectures.attention import attention
from snippets.architectures.transformer import GPT, ngram_probabilities
from snippets.deployment import speculative_decoding as lesson
from tests.snippets.small_llama import small_llama

seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def model():
    """A GPT of nine tokens whose blocks do something, in float64."""
    torch.manual_seed(0)
    model = GPT(vocab_size=9, d_model=16, n_heads=2, context=12).double()
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.4)
    return model.eval()


def distributions(seed, n, vocab=9):
    """n rows of probabilities, float64, with some zeros."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(n, vocab, generator=generator, dtype=torch.float64) ** 4
    p[torch.rand(n, vocab, generator=generator) < 0.2] = 0
    p[:, 0] += 1e-3
    return p / p.sum(-1, keepdim=True)


@given(seeds, st.integers(1, 6), st.integers(0, 6))
def test_attention_of_new_places_is_the_last_rows_of_all(seed, n, past):
    """Whatever came before."""
    generator = torch.Generator().manual_seed(seed)
    shape = 3, 2, 4, past + n, 5
    q, k, v = torch.randn(shape, generator=generator, dtype=torch.float64)
    found = lesson.cached_attention(q[..., past:, :], k, v)
    assert torch.allclose(found, attention(q, k, v)[..., past:, :])


@given(seeds, st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_the_cache_changes_nothing(model, seed, pieces):
    """However the ids are cut, for a batch of two."""
    pieces = pieces[
        : next((i for i in range(1, 6) if sum(pieces[:i]) > 12), 6)
    ]
    while sum(pieces) > 12:
        pieces.pop()
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(9, (2, sum(pieces)), generator=generator)
    found, caches = [], None
    with torch.no_grad():
        for part in ids.split(pieces, 1):
            logits, caches = lesson.cached_logits(model, part, caches)
            found.append(logits)
        assert torch.allclose(torch.cat(found, 1), model(ids))
    assert len(caches) == len(model.blocks)
    for k, v in caches:
        assert k.shape == v.shape == (2, 2, sum(pieces), 8)


def probability(p, q):
    """Of each token to come out of `accept`, by the rule, worked out."""
    found = torch.zeros_like(p)
    for x in range(len(p)):
        stands = min(1, p[x] / q[x]) if q[x] > 0 else 0
        found[x] += q[x] * stands
    rest = (p - q).clamp(min=0)
    if rest.sum() > 0:
        found += (1 - found.sum()) * rest / rest.sum()
    return found


@given(seeds)
def test_whatever_the_draft_the_models_distribution_comes_out(seed):
    """The two ways for a token to appear sum to its probability."""
    p, q = distributions(seed, 2)
    assert torch.allclose(probability(p, q), p, atol=1e-9)


def test_accepted_tokens_have_the_models_distribution():
    """3,000 draws of two tokens, each of which may be drafted; a right
    sampler fails at this level once in a thousand seeds.
    """
    p = distributions(1, 3, 5)
    q = distributions(2, 2, 5)
    generator = torch.Generator().manual_seed(0)
    first, second = torch.zeros(2, 5)
    for _ in range(3000):
        tokens = torch.cat(
            [torch.multinomial(row, 1, generator=generator) for row in q]
        )
        stand, new = lesson.accept(p, q, tokens, generator)
        found = torch.cat([tokens[:stand], new])
        assert len(found) == stand + 1
        first[found[0]] += 1
        if len(found) > 1:
            second[found[1]] += 1
    for counts, row in ((first, p[0]), (second, p[1])):
        hoped = counts.sum().double() * row
        likely = hoped > 5
        seen = counts[likely].double()
        hoped = hoped[likely] * seen.sum() / hoped[likely].sum()
        assert chisquare(seen, hoped).pvalue > 1e-3


def test_a_draft_like_the_model_always_stands():
    """And an extra token comes from the model."""
    p = distributions(3, 4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        tokens = torch.multinomial(p[:3], 1, generator=generator)[:, 0]
        stand, new = lesson.accept(p, p[:3], tokens, generator)
        assert stand == 3
        assert p[3, new] > 0


def test_an_impossible_token_never_stands():
    """What the model gives no probability is refused, and not drawn."""
    p = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    q = torch.tensor([[0.9, 0.1]])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        stand, new = lesson.accept(p, q, torch.tensor([0]), generator)
        assert (stand, new.item()) == (0, 1)


@given(seeds, st.integers(2, 4))
def test_a_draft_looks_at_the_last_tokens(seed, n):
    """As counted runs do."""
    generator = torch.Generator().manual_seed(seed)
    train = torch.randint(5, (200,), generator=generator)
    draft = lesson.Draft(train, 5, n)
    ids = torch.randint(5, (6,), generator=generator)
    row = 0
    for token in ids[-(n - 1) :].tolist():
        row = 5 * row + token
    table = ngram_probabilities(train, 5, n)
    assert torch.equal(draft.probabilities(ids), table[row])


@settings(max_examples=30)
@given(seeds, st.integers(1, 20), st.integers(0, 5))
def test_as_many_tokens_as_asked_for(model, seed, n_tokens, k):
    """With any draft length; without drafts, a pass each."""
    generator = torch.Generator().manual_seed(seed)
    train = torch.randint(9, (200,), generator=generator)
    draft = lesson.Draft(train, 9, 2)
    start = train[:4]
    found, passes = lesson.speculate(
        model, draft, start, n_tokens, k, generator
    )
    assert len(found) == 4 + n_tokens
    assert torch.equal(found[:4], start)
    assert -(-n_tokens // (k + 1)) <= passes <= n_tokens
    if k == 0:
        assert passes == n_tokens


def test_texts_are_drawn_as_by_the_model(model):
    """The second of two tokens, against its exact distribution."""
    generator = torch.Generator().manual_seed(0)
    train = torch.randint(9, (500,), generator=generator)
    draft = lesson.Draft(train, 9, 2)
    start = torch.tensor([1, 2, 3])
    counts = torch.zeros(9)
    for _ in range(1500):
        found, _ = lesson.speculate(model, draft, start, 2, 3, generator)
        counts[found[4]] += 1
    with torch.no_grad():
        first = model(start[None])[0, -1].softmax(-1)
        texts = torch.stack(
            [torch.cat([start, torch.tensor([x])]) for x in range(9)]
        )
        second = model(texts)[:, -1].softmax(-1)
    hoped = 1500 * (first @ second)
    often = hoped > 5
    seen = [*counts[often].tolist(), counts[~often].sum().item()]
    wanted = [*hoped[often].tolist(), hoped[~often].sum().item()]
    pairs = [(s, w) for s, w in zip(seen, wanted, strict=True) if w > 0]
    scale = sum(s for s, _ in pairs) / sum(w for _, w in pairs)
    assert (
        chisquare([s for s, _ in pairs], [w * scale for _, w in pairs]).pvalue
        > 1e-3
    )


def test_a_gpt_is_trained(monkeypatch):
    """Two steps of cross-entropy at rate 0.003, then evaluation mode."""
    seen = []

    def descend(model, losses, learning_rate):
        seen.append((len(list(losses)), learning_rate))

    class Text:
        characters = "abc"
        train = torch.randint(3, (300,))

    monkeypatch.setattr(lesson, "descend", descend)
    model = lesson.trained_gpt(Text(), steps=2)
    assert seen == [(2, 3e-3)]
    assert (model.context, model.training) == (64, False)


def test_looking_drafts_up_changes_no_token():
    """transformers' own, greedy, and its cache neither."""
    model = small_llama()
    model.generation_config.eos_token_id = None
    ids = torch.tensor([[4, 5, 6, 7, 4, 5, 6]])
    options = {
        "attention_mask": torch.ones_like(ids),
        "max_new_tokens": 12,
        "do_sample": False,
        "pad_token_id": 0,
    }
    plain = model.generate(ids, **options)
    for change in ({"prompt_lookup_num_tokens": 4}, {"use_cache": False}):
        assert torch.equal(plain, model.generate(ids, **options, **change))


def test_the_benchmark_times_whole_texts(monkeypatch):
    """The fastest of three, and no text that ends early."""
    now = [0.0]
    costs = iter([3.0, 1.5, 2.0])
    seen = []

    class Model:
        def generate(self, input_ids, **options):
            seen.append(options)
            now[0] += next(costs)
            return torch.zeros(1, 2 + options["max_new_tokens"])

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    inputs = {"input_ids": torch.zeros(1, 2)}
    assert benchmark.seconds(Model(), inputs, 5, use_cache=False) == 1.5
    assert seen[0] == {
        "max_new_tokens": 5,
        "min_new_tokens": 5,
        "do_sample": False,
        "use_cache": False,
    }
