"""Modern transformer."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.models.llama.modeling_llama import LlamaMLP

from snippets.architectures.attention import MultiHeadAttention
from snippets.architectures.modern_transformer import (
    CHANGES,
    Cache,
    GroupedAttention,
    ModernGPT,
    RMSNorm,
    SwiGLU,
    adopt,
    changed_gpt,
    fit,
    rotate,
)
from snippets.architectures.transformer import GPT
from tests.snippets.small_llama import small_llama


def shaken(module, seed=0):
    """The module with every parameter drawn anew, in double precision."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


@given(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 1000))
def test_a_score_knows_only_the_distance(position, distance, moved):
    """Queries and keys moved on together have the score they had."""
    q, k = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(1))

    def score(position):
        here = rotate(q, torch.tensor([position + distance]))
        return (here * rotate(k, torch.tensor([position]))).sum().item()

    assert score(position) == pytest.approx(score(position + moved), abs=0.02)


def test_a_rotation_is_a_product_of_complex_numbers():
    """Of two halves as one complex number, times e^(i position speed)."""
    x = torch.randn(3, 7, 10)
    positions = torch.arange(40, 47)
    turned = torch.view_as_real(
        torch.complex(x[..., :5], x[..., 5:])
        * torch.polar(
            torch.ones(7, 5),
            positions[:, None] * 500.0 ** (-2 * torch.arange(5) / 10),
        )
    )
    found = rotate(x, positions, base=500)
    assert torch.allclose(found[..., :5], turned[..., 0], atol=1e-4)
    assert torch.allclose(found[..., 5:], turned[..., 1], atol=1e-4)


def test_a_rotation_keeps_lengths_and_the_first_position():
    """Position 0 isn't turned, and no vector grows or shrinks."""
    x = torch.randn(2, 6, 8).double()
    found = rotate(x, torch.arange(6))
    assert found.dtype == torch.float64
    assert torch.equal(found[:, 0], x[:, 0])
    assert torch.allclose(found.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(found[:, 1], x[:, 1])


def test_rms_norm_is_torchs():
    """With learned weights, and for vectors near zero too."""
    ours, theirs = RMSNorm(12), nn.RMSNorm(12, eps=1e-5)
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(-1, 2, 12))
        theirs.weight.copy_(ours.weight)
    for scale in (1e-3, 1.0, 1e3):
        x = scale * torch.randn(4, 3, 12)
        assert torch.allclose(ours(x), theirs(x), rtol=1e-5)
    assert torch.equal(ours(torch.zeros(1, 12)), torch.zeros(1, 12))


def test_swiglu_is_llamas():
    """With the weights of transformers' own."""
    theirs = LlamaMLP(small_llama().config)
    ours = SwiGLU(24, 40)
    ours.load_state_dict(
        {
            name.replace("_proj", ""): weight
            for name, weight in theirs.state_dict().items()
        }
    )
    x = torch.randn(2, 5, 24)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_with_a_key_for_each_query_attention_is_the_first_lessons():
    """No rotation, no bias, as many keys as queries: nothing is new."""
    first = shaken(MultiHeadAttention(24, 4))
    for bias in (first.qkv.bias, first.out.bias):
        nn.init.zeros_(bias)
    ours = GroupedAttention(24, 4, 4, base=None).double()
    q, k, v = first.qkv.weight.chunk(3)
    ours.load_state_dict(
        {
            "q.weight": q,
            "k.weight": k,
            "v.weight": v,
            "out.weight": first.out.weight,
        }
    )
    x = torch.randn(2, 9, 24).double()
    assert torch.allclose(ours(x), first(x), atol=1e-12)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_it_computes_what_llama_computes(kv_heads, tied):
    """With the weights of transformers' Llama: the same logits."""
    llama = small_llama(
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 300.0},
    )
    ids = torch.randint(50, (3, 17))
    ours = adopt(llama)
    with torch.no_grad():
        assert torch.allclose(ours(ids), llama(ids).logits, atol=1e-5)
    assert (ours.head.weight is ours.tokens.weight) == tied
    assert ours.context == llama.config.max_position_embeddings


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_with_a_cache_any_pieces_give_what_the_whole_gives(lengths):
    """One token at a time, all at once, or anything between."""
    model = shaken(ModernGPT(11, 16, 4, 2, 3, hidden=8))
    ids = torch.randint(11, (2, sum(lengths)))
    caches = [Cache() for _ in model.blocks]
    with torch.no_grad():
        found = [model(piece, caches) for piece in ids.split(lengths, 1)]
        whole = model(ids)
    assert torch.allclose(torch.cat(found, 1), whole, atol=1e-5)
    assert [len(cache) for cache in caches] == [sum(lengths)] * 3
    assert caches[0].keys.shape == (2, 2, sum(lengths), 4)


def test_a_later_token_changes_no_earlier_logit():
    """The future is masked, with grouped keys and rotation too."""
    model = shaken(ModernGPT(11, 16, 4, 1, 2, hidden=8))
    ids = torch.arange(9)[None]
    other = ids.clone()
    other[0, 5] = 10
    change = (model(ids) - model(other)).abs().amax(-1)[0]
    assert change[:5].max() == 0
    assert change[5:].min() > 0


def test_torchs_is_causal_counts_from_the_first_token():
    """One new token and five cached ones: it would see only the first."""
    q, k = torch.zeros(1, 1, 4), torch.zeros(1, 5, 4)
    reads = torch.eye(5)[None]
    seen = F.scaled_dot_product_attention(q, k, reads, is_causal=True)
    assert seen[0, 0].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_keeps_the_size_and_starts_as_the_identity(change):
    """Within 3 % of the parameters; no block adds anything at first."""
    model = changed_gpt(80, change)
    learned = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() for p in learned)
    assert 0.97 < size / sum(p.numel() for p in GPT(80).parameters()) <= 1
    ids = torch.randint(80, (2, 8))
    blocks, model.blocks = model.blocks, nn.ModuleList()
    bare = model(ids)
    model.blocks = blocks
    assert torch.equal(model(ids), bare)


def test_each_change_is_the_one_that_it_is_called():
    """And it is the only one."""
    kinds = {
        change: {type(m).__name__ for m in changed_gpt(80, change).modules()}
        for change in CHANGES
    }
    new = {"RMSNorm", "GroupedAttention", "SwiGLU"}
    assert kinds["none"] & new == set()
    assert kinds["RMSNorm"] & new == {"RMSNorm"}
    assert kinds["rotary"] & new == kinds["grouped"] & new
    assert kinds["rotary"] & new == {"GroupedAttention"}
    assert kinds["SwiGLU"] & new == {"SwiGLU"}
    assert kinds["all"] & new == new
    rotary, grouped = changed_gpt(80, "rotary"), changed_gpt(80, "grouped")
    assert not rotary.positions.weight.any()
    assert rotary.blocks[0].attention.k.weight.shape == (96, 96)
    assert rotary.blocks[0].attention.base == 10_000
    assert grouped.blocks[0].attention.k.weight.shape == (48, 96)
    assert grouped.blocks[0].attention.base is None


def test_training_lowers_the_loss():
    """Of a text that repeats itself, to nearly nothing."""
    torch.manual_seed(0)
    model = ModernGPT(5, 16, 2, 1, 2, hidden=16, context=8)
    ids = torch.arange(200) % 5
    fit(model, ids, steps=40, learning_rate=1e-2)
    logits = model(ids[None, :9])
    loss = F.cross_entropy(logits[0, 1:-1], ids[2:9])
    assert loss < 0.1
