"""Attention from scratch, with one head and with several."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snippets.architectures.attention import (
    AttentionReader,
    MultiHeadAttention,
    attention,
    attention_in_blocks,
    attention_weights,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def scrambled(model):
    """The model in float64, all of its parameters random."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double()


@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_torch(causal):
    """Attention equals PyTorch's, gradients too, with and without a mask."""
    q, k, v = torch.randn(3, 2, 3, 7, 5, dtype=torch.float64)
    ours = [x.requires_grad_() for x in (q, k, v)]
    torchs = [x.detach().clone().requires_grad_() for x in ours]
    result = attention(*ours, causal=causal)
    expected = F.scaled_dot_product_attention(*torchs, is_causal=causal)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13)
    result.square().sum().backward()
    expected.square().sum().backward()
    for mine, reference in zip(ours, torchs, strict=True):
        torch.testing.assert_close(
            mine.grad, reference.grad, rtol=1e-10, atol=1e-12
        )


def test_attention_worked_by_hand():
    """Scores of log 1 and log 3 give weights of 1/4 and 3/4."""
    q = torch.tensor([[0.0, 0.0], [math.sqrt(2), 0.0]], dtype=torch.float64)
    k = torch.tensor([[0.0, 1.0], [math.log(3), 0.0]], dtype=torch.float64)
    v = torch.tensor([[4.0], [8.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(attention_weights(q, k), weights)
    expected = torch.tensor([[4.0], [7.0]], dtype=torch.float64)
    torch.testing.assert_close(attention(q, k, v), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 16), st.booleans())
def test_weights_are_shares(seq, d_head, causal):
    """Weights are never negative, and each row sums to one."""
    q, k = torch.randn(2, 3, seq, d_head, dtype=torch.float64)
    weights = attention_weights(q, k, causal)
    assert weights.shape == (3, seq, seq)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(q[..., 0]))
    assert (weights.triu(1) == 0).all() == (causal or seq == 1)


def test_scaling_keeps_the_scores_standard_deviation():
    """The standard deviation of scores is 1, whatever the width."""
    for d_head in (16, 256):
        q, k = torch.randn(2, 200, 50, d_head, dtype=torch.float64)
        assert (q @ k.mT).std() == pytest.approx(math.sqrt(d_head), rel=0.05)
        scores = attention_weights(q, k, causal=False).log()
        scores -= scores.mean(-1, keepdim=True)
        assert scores.std() == pytest.approx(1, rel=0.05)


def test_one_attention_knows_no_order():
    """Shuffle what came before, and the last output stays the same."""
    q, k, v = torch.randn(3, 8, 4, dtype=torch.float64)
    order = [3, 0, 6, 2, 5, 1, 4, 7]
    torch.testing.assert_close(
        attention(q[order], k[order], v[order])[-1], attention(q, k, v)[-1]
    )


def test_no_head_sees_the_future():
    """Change a place, and no earlier output of any head moves."""
    layer = scrambled(MultiHeadAttention(12, 3))
    x = torch.randn(2, 8, 12, dtype=torch.float64)
    before = layer(x)
    for place in range(8):
        changed = x.clone()
        changed[:, place] += 1
        after = layer(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        moved = (after - before)[:, place:].abs().amax(-1)
        assert (moved > 1e-6).all()


@pytest.mark.parametrize("n_heads", [1, 3])
def test_multi_head_attention_equals_torch(n_heads):
    """Several heads equal nn.MultiheadAttention with the same weights."""
    ours = scrambled(MultiHeadAttention(12, n_heads))
    torchs = nn.MultiheadAttention(12, n_heads, batch_first=True).double()
    torchs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    expected, _ = torchs(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(ours(x), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 25), st.sampled_from([1.0, 300.0]))
def test_attention_in_blocks_is_attention(seq, size, scale):
    """Blocks of keys with a running maximum give the same, for any size."""
    q, k, v = torch.randn(3, 2, seq, 5, dtype=torch.float64)
    q = scale * q  # exponentials would overflow without the maximum
    whole = attention(q, k, v, causal=False)
    torch.testing.assert_close(attention_in_blocks(q, k, v, size), whole)
    torch.testing.assert_close(attention_in_blocks(q, k, v), whole)


def test_only_positions_tell_rows_apart():
    # The reader with positions minds the rows' order; the other doesn't.
    X = torch.randn(3, 6, 8, dtype=torch.float64)
    order = [2, 0, 1, 4, 3, 5]  # the last asks, so it stays
    for use_positions in (True, False):
        reader = AttentionReader(6, use_positions, d_model=8).double()
        logits = reader(X)
        assert logits.shape == (3, 10)
        assert reader.positions.requires_grad == use_positions
        same = torch.isclose(logits, reader(X[:, order])).all().item()
        assert same == (not use_positions)


def test_positions_start_at_half_the_size_of_normal_numbers():
    # Four heads; large enough to be told from a row of the image.
    reader = AttentionReader(200)
    assert reader.positions.shape == (200, 64)
    assert reader.positions.std().item() == pytest.approx(0.5, rel=0.05)
    assert reader.attention.n_heads == 4
    X = torch.zeros(1, 200, 8)
    expected = reader.rows.bias + reader.positions
    torch.testing.assert_close(reader.embed(X)[0], expected)


def test_the_reader_answers_from_the_last_place():
    # A ReLU and a linear layer read the last place's attention.
    reader = AttentionReader(5)
    X = torch.randn(2, 5, 8)
    last = reader.attention(reader.embed(X))[:, -1]
    layer = reader.head[-1]
    expected = F.linear(last.clamp(min=0), layer.weight, layer.bias)
    torch.testing.assert_close(reader(X), expected)
