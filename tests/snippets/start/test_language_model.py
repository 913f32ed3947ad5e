"""Predictions and losses of a language model."""

import math

import numpy as np
import pytest
import torch

from snippets.start.language_model import (
    count_parameters,
    entropy,
    greedy,
    load,
    next_token,
    token_losses,
)
from tests.snippets.small_llama import small_llama


@pytest.fixture(scope="module")
def smol():
    return load()


def test_without_a_copy_the_error_names_the_command(tmp_path):
    """Where no model was converted, the error says how to do it."""
    with pytest.raises(FileNotFoundError, match="convert_language_model"):
        load(tmp_path / "nothing")


def test_losses_are_those_of_the_definition():
    """In float64 the losses equal -log softmax, position by position."""
    model = small_llama().double()
    ids = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(1))
    losses = token_losses(model, ids)
    assert losses.shape == (2, 8)
    with torch.no_grad():
        logits = model(ids).logits.numpy()
    for row in range(2):
        for t in range(8):
            z = logits[row, t]
            p = np.exp(z[ids[row, t + 1]]) / np.exp(z).sum()
            assert losses[row, t].item() == pytest.approx(-math.log(p))


def test_their_mean_is_the_library_s_loss(smol):
    """SmolLM2's own loss, given labels, is the mean of the losses."""
    model, tokenizer = smol
    ids = tokenizer("Read the loss, then the page.", return_tensors="pt")
    with torch.no_grad():
        loss = model(**ids, labels=ids.input_ids).loss.item()
    ours = token_losses(model, ids.input_ids).mean().item()
    assert ours == pytest.approx(loss, abs=1e-3)


def test_the_likeliest_text_is_the_library_s(smol):
    """Token by token, greedy decoding writes what generate writes."""
    model, tokenizer = smol
    text = "One, two, three,"
    ids = tokenizer(text, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=6, do_sample=False)
    ours = greedy(model, tokenizer, text, most=6)
    assert ours == tokenizer.decode(out[0, ids.input_ids.shape[1] :])
    assert ours.startswith(" four")


def test_the_end_mark_ends_the_text(smol):
    """Generation stops at the end mark, and leaves it out."""
    model, tokenizer = smol
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        tokenize=False,
    )
    answer = greedy(model, tokenizer, chat, most=30)
    assert answer == "The capital of France is Paris."


def test_probabilities_add_up_to_one(smol):
    """The next token's probabilities are the softmax of the last logits."""
    model, tokenizer = smol
    probabilities = next_token(model, tokenizer, "The cat sat on the")
    assert probabilities.shape == (49152,)
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-4)
    ids = tokenizer("The cat sat on the", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    ratio = probabilities[100] / probabilities[7]
    assert ratio.log().item() == pytest.approx(
        (logits[100] - logits[7]).item(), abs=1e-4
    )


def test_entropy_is_that_of_sure_and_of_even():
    """It is 0 where one token is sure, and log n where n are alike."""
    assert entropy(torch.tensor([0.0, 1.0, 0.0])) == 0
    assert entropy(torch.full((8,), 1 / 8)) == pytest.approx(math.log(8))
    uneven = torch.tensor([0.5, 0.25, 0.25])
    assert entropy(uneven) == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize(("heads", "kv_heads"), [(3, 1), (6, 2), (4, 4)])
def test_parameters_are_counted_from_the_shapes(heads, kv_heads):
    """The formula gives the number of any such Llama's parameters."""
    model = small_llama(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        num_hidden_layers=2,
    )
    kv_width = 24 // heads * kv_heads
    by_formula = count_parameters(50, 24, kv_width, 40, 2)
    assert by_formula == sum(p.numel() for p in model.parameters())


def test_the_template_adds_a_system_message(smol):
    """Without a system message, the chat template writes one by itself."""
    _, tokenizer = smol
    user = {"role": "user", "content": "Hello"}
    system = {"role": "system", "content": "Be brief."}
    by_itself = tokenizer.apply_chat_template([user], tokenize=False)
    assert "helpful AI assistant" in by_itself
    given = tokenizer.apply_chat_template([system, user], tokenize=False)
    assert "helpful AI assistant" not in given
    assert "Be brief." in given


def test_a_chat_s_tokens_are_a_dictionary(smol):
    """Since transformers 5 a chat's tokens come with their mask."""
    _, tokenizer = smol
    user = {"role": "user", "content": "Hello"}
    assert {*tokenizer.apply_chat_template([user])} == {
        "input_ids",
        "attention_mask",
    }


def test_padding_is_the_end_mark(smol):
    """The padding token is the end mark, which training must not mask."""
    _, tokenizer = smol
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token == "<|im_end|>"
