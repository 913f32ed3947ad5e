"""Critique, revision and AI preferences, on a Llama of random weights."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from snippets.advanced import constitutional_ai as cai
from snippets.advanced.preference_optimization import dpo_loss
from snippets.advanced.transfer_learning import LoRA
from snippets.start.convert_language_model import FOLDER
from tests.snippets.small_llama import small_llama

ASKED = ["What is a river?", "Why do people need a very old wooden bridge?"]
SAID = ["A stream of water.", "No."]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def model(tokenizer):
    return small_llama(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("A river is a stream of 3.5 km.", False),
        ("Is it?", False),
        ("A river flows. It is wet.", True),
        ("A river flows on and on and", True),
        ("A river flows. And then", True),
        ("", True),
    ],
)
def test_an_answer_breaks_the_principle_unless_it_is_one_sentence(
    text, broken
):
    """Two sentences, none, and one that was cut off."""
    assert cai.breaks(text) is broken


def test_held_out_questions_are_about_other_things():
    """No noun of the questions to learn from is asked about again."""
    learn, held_out = cai.questions()
    assert (len(learn), len(held_out)) == (48, 32)
    nouns = [
        {q.strip("?").split()[-1] for q in q_s} for q_s in (learn, held_out)
    ]
    assert len(nouns[0]) == 24
    assert not nouns[0] & nouns[1]


def test_a_conversation_ends_where_the_model_is_to_speak(tokenizer):
    """User and assistant by turns, in the model's own template."""
    text = cai.chat(tokenizer, "one", "two", "three")
    places = [text.index(turn) for turn in ("one", "two", "three")]
    assert places == sorted(places)
    assert text.count("<|im_start|>user") == 2
    assert text.endswith("<|im_start|>assistant\n")


def test_a_batch_is_answered_as_each_alone(model, tokenizer):
    """Texts of unlike lengths are padded on the left, and masked."""
    texts = [cai.chat(tokenizer, q) for q in ASKED]
    together = cai.answer(model, tokenizer, texts, most=5)
    alone = [cai.answer(model, tokenizer, [t], most=5)[0] for t in texts]
    assert together == alone
    assert any(together)


def test_log_probabilities_are_those_of_each_answer_alone(model, tokenizer):
    """Sums over an answer's tokens and its end, from an unpadded pass."""
    texts = [cai.chat(tokenizer, q) for q in ASKED]
    found, lengths = cai.answer_log_probs(model, tokenizer, texts, SAID)
    for i, (text, said) in enumerate(zip(texts, SAID, strict=True)):
        start = len(tokenizer(text).input_ids)
        ids = tokenizer(text + said + tokenizer.eos_token).input_ids
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(start, len(ids))
        expected = sum(logits[p - 1, ids[p]].item() for p in places)
        assert found[i].item() == pytest.approx(expected, abs=1e-3)
        assert lengths[i] == len(ids) - start


def test_a_gain_is_what_the_principle_adds_per_token(model, tokenizer):
    """Log-probability told, less that untold, over the length."""
    found = cai.gains(model, tokenizer, ASKED, SAID, "Be brief.")
    told = [cai.chat(tokenizer, f"{q} Be brief.") for q in ASKED]
    untold = [cai.chat(tokenizer, q) for q in ASKED]
    known, length = cai.answer_log_probs(model, tokenizer, told, SAID)
    alone, _ = cai.answer_log_probs(model, tokenizer, untold, SAID)
    assert torch.allclose(found, ((known - alone) / length).detach())
    assert found.abs().min() > 0


def test_revisions_are_answers_to_the_whole_conversation(model, tokenizer):
    """Question, first answer and the wish to rewrite it."""
    found = cai.revise(model, tokenizer, ASKED, SAID)
    wish = "Rewrite your answer as one short sentence."
    text = cai.chat(tokenizer, ASKED[0], SAID[0], wish)
    assert found[0] == cai.answer(model, tokenizer, [text])[0]
    assert len(found) == 2


def test_fine_tuning_makes_the_answers_likelier(model, tokenizer):
    """And leaves a plain model, without adapters."""
    asked, said = ASKED * 4, SAID * 4
    texts = [cai.chat(tokenizer, q) for q in asked]
    before, _ = cai.answer_log_probs(model, tokenizer, texts, said)
    cai.fine_tune(model, tokenizer, asked, said, steps=5, seed=0)
    after, _ = cai.answer_log_probs(model, tokenizer, texts, said)
    assert (after > before).all()
    assert not any(isinstance(m, LoRA) for m in model.modules())


def test_the_judge_puts_the_better_answer_first(model, tokenizer):
    """The chosen answer's gain is at least the other's; two runs with one
    seed agree.
    """
    pairs = cai.preferences(model, tokenizer, ASKED, "Be brief.", seed=0)
    for question, pair in zip(ASKED, pairs, strict=True):
        gain = cai.gains(
            model, tokenizer, [question] * 2, list(pair), "Be brief."
        )
        assert gain[0] >= gain[1] - 1e-5
    again = cai.preferences(model, tokenizer, ASKED, "Be brief.", seed=0)
    assert pairs == again


def test_dpo_prefers_the_chosen_answers(model, tokenizer):
    """The log-probability of chosen answers gains on that of rejected
    ones, for each question.
    """
    asked, pairs = ASKED * 2, [tuple(SAID)] * 4
    texts = [cai.chat(tokenizer, q) for q in asked]

    def gaps():
        chosen, rejected = (
            cai.answer_log_probs(
                model, tokenizer, texts, [pair[k] for pair in pairs]
            )[0]
            for k in (0, 1)
        )
        return (chosen - rejected).detach()

    before = gaps()
    cai.prefer(model, tokenizer, asked, pairs, steps=8, seed=0)
    assert (gaps() > before).all()
    assert not any(isinstance(m, LoRA) for m in model.modules())


def test_dpo_starts_where_the_reference_is(model, tokenizer, monkeypatch):
    """All gaps of the first step are 0: what is compared is the change."""
    gaps = []

    def noted(gap, beta):
        gaps.append((gap.detach(), beta))
        return dpo_loss(gap, beta)

    monkeypatch.setattr(cai, "dpo_loss", noted)
    pairs = [tuple(SAID)] * 4
    cai.prefer(model, tokenizer, ASKED * 2, pairs, 2, seed=0, beta=0.2)
    assert gaps[0][0].shape == (4,)
    assert gaps[0][0].abs().max() < 1e-3
    assert gaps[1][0].abs().max() > 1e-3
    assert gaps[0][1] == 0.2


def test_fine_tuning_takes_the_mean_over_tokens(model, tokenizer, monkeypatch):
    """The first loss is minus the log-probability a token of its batch."""
    taken = []
    monkeypatch.setattr(
        cai, "descend", lambda m, losses, rate: taken.extend(losses)
    )
    cai.fine_tune(model, tokenizer, ASKED * 4, SAID * 4, steps=2, seed=0)
    texts = [cai.chat(tokenizer, q) for q in ASKED * 4]
    log_probs, length = cai.answer_log_probs(model, tokenizer, texts, SAID * 4)
    expected = -(log_probs.sum() / length.sum()).item()
    assert taken[0].item() == pytest.approx(expected, abs=1e-4)


def test_another_judge_can_decide(model, tokenizer):
    """Its gains count, not those of the model that answers; and the two
    answers to a question are drawn, so that they differ.
    """
    judge = small_llama(
        seed=7,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    asked = [ASKED[0]] * 6
    pairs = cai.preferences(model, tokenizer, asked, "Be brief.", 0, judge)
    gains = [
        cai.gains(judge, tokenizer, asked[:2], list(pair), "Be brief.")
        for pair in pairs
    ]
    assert all(first >= second - 1e-5 for first, second in gains)
    own = cai.preferences(model, tokenizer, asked, "Be brief.", 0)
    assert own != pairs
    assert all(first != second for first, second in pairs)


def test_a_judge_of_letters_compares_a_with_b(model, tokenizer):
    """Its answer is that of the next token's logits of A and B."""
    found = cai.prefers_a(model, tokenizer, ASKED[0], *SAID, "Be brief.")
    text = cai.chat(
        tokenizer,
        f"Question: {ASKED[0]}\nAnswer A: {SAID[0]}\nAnswer B: {SAID[1]}\n"
        "Which answer follows this principle better? Be brief. "
        "Reply with A or B.",
    )
    ids = torch.tensor([tokenizer(text).input_ids])
    logits = model(ids).logits[0, -1]
    a, b = (tokenizer(x).input_ids[0] for x in "AB")
    assert found == (logits[a] > logits[b]).item()


def test_an_interval_is_that_of_a_mean():
    """Half of a hundred: 0.5, plus or minus two standard errors of 0.05."""
    low, high = cai.interval([0, 1] * 500, n=20_000)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 1000**0.5, abs=0.002)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 1000**0.5, abs=0.002)
    assert cai.interval([1, 1, 1]) == pytest.approx([1, 1])
    assert cai.interval([0, 1] * 50, n=3).shape == (2,)


def test_batches_are_drawn_without_repetition():
    """Each has as many different places as asked for."""
    found = list(cai.batches(10, 3, seed=0, size=8))
    assert len(found) == 3
    assert all(len(np.unique(batch)) == 8 for batch in found)


def test_every_principle_has_pairs_to_judge_by():
    """Six each; those of the first principle keep and break it as said."""
    assert cai.PAIRS.keys() == cai.CONSTITUTION.keys()
    assert {len(rows) for rows in cai.PAIRS.values()} == {6}
    for _, good, bad in cai.PAIRS["one sentence"]:
        assert not cai.breaks(good)
        assert cai.breaks(bad)
