"""Reward models, on a language that can be listed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced import reward_models as rm


@pytest.fixture(scope="module")
def reference():
    """A reference after a few steps."""
    return rm.train_reference(rm.load_names(), steps=30)


@pytest.fixture(scope="module")
def everything():
    return rm.every_answer()


def ids(*names):
    """Ids of names, (names, 5)."""
    rows = [[rm.LETTERS.index(c) for c in n.ljust(5, ".")] for n in names]
    return torch.tensor(rows)


def test_names_are_real_and_spelled_with_six_letters():
    """All 330 names of the census that fit, as ids and back."""
    names = rm.load_names()
    texts = [rm.spell(row) for row in names]
    assert names.shape == (330, 5)
    assert {"elena", "ian", "al"} <= set(texts)
    assert "" not in texts
    lengths = rm.answer_mask(names).sum(1).tolist()
    assert lengths == [min(len(text), 4) for text in texts]


def test_an_answer_ends_with_its_first_end():
    """The end counts, what stands behind it does not."""
    mask = rm.answer_mask(ids("al", "alana", "a"))
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    longer = rm.answer_mask(ids("nal", "lanai"), n_prompt=2)
    assert longer.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_log_probabilities_are_those_of_a_step_by_step_reading(reference):
    """One pass gives what reading token by token gives."""
    row = ids("lena")
    expected = [
        reference(row[:, :t]).log_softmax(-1)[0, -1, row[0, t]].item()
        for t in range(1, 5)
    ]
    assert rm.log_probs(reference, row)[0].tolist() == pytest.approx(
        expected, abs=1e-5
    )
    assert rm.total(reference)(row).item() == pytest.approx(
        sum(expected), abs=1e-5
    )


def test_longer_prompts_leave_less_to_answer(reference):
    """With a prompt of two letters, the first answer token drops out, and
    a score is read at the same place.
    """
    names = rm.load_names()[:9]
    one, two = (
        rm.log_probs(reference, names),
        rm.log_probs(reference, names, 2),
    )
    assert torch.allclose(one[:, 1:], two)
    model = rm.with_scalar_head(reference)
    torch.nn.init.normal_(model.head.weight)
    assert torch.allclose(rm.score(model, names), rm.score(model, names, 2))


def test_the_reference_has_learned_to_spell(reference):
    """Names are likelier than to an untrained GPT, by two nats a name; and
    a seed makes one network, whatever was drawn before.
    """
    names = rm.load_names()
    untrained = rm.total(rm.small_gpt(0))(names).mean()
    assert rm.total(reference)(names).mean() > untrained + 2
    one = rm.small_gpt(3)
    torch.rand(5)
    assert torch.equal(one.head.weight, rm.small_gpt(3).head.weight)


def test_all_answers_are_listed_once(reference, everything):
    """Each letter has 1,555 of them, and their probabilities sum to 1."""
    assert everything.shape == (6 * 1555, 5)
    assert len(everything.unique(dim=0)) == len(everything)
    table = rm.by_letter(rm.total(reference), everything)
    assert torch.allclose(table.exp().sum(1), torch.ones(6), atol=1e-4)
    assert (torch.arange(1, 7) == everything.view(6, -1, 5)[:, :, 0].T).all()


def test_samples_come_as_often_as_the_table_says(reference, everything):
    """Of 20,000 answers each letter's short ones are as frequent as they
    are probable, within five standard errors.
    """
    generator = torch.Generator().manual_seed(1)
    prompts = rm.first_letters(20_000, generator)
    assert prompts.unique().tolist() == [1, 2, 3, 4, 5, 6]
    drawn = rm.sample(reference, prompts, 4, generator)
    assert (drawn[:, :1] == prompts).all()
    table = rm.by_letter(rm.total(reference), everything)
    short = (rm.answer_mask(everything).sum(1) <= 3).view(6, -1)
    expected = (table.exp() * short).sum(1).mean().item()
    share = (rm.answer_mask(drawn).sum(1) <= 3).float().mean().item()
    assert share == pytest.approx(expected, abs=5 * 0.5 / 20_000**0.5)
    entropy = -rm.expected(table, table).mean().item()
    found = rm.total(reference)(drawn)
    error = found.std().item() / 20_000**0.5
    assert found.mean().item() == pytest.approx(-entropy, abs=5 * error)
    behind = drawn[:, 1:] * (1 - rm.answer_mask(drawn))
    assert (behind == rm.END).all()


def test_the_true_reward_counts_a_and_doubles():
    """Two for each a, minus four for each pair; known by hand."""
    names = ids("alana", "aaaaa", "lee", "naan")
    assert rm.taste(names).tolist() == [6, 10 - 16, 0, 0]


def test_people_choose_as_often_as_bradley_and_terry_say():
    """A gap of 2 in reward: chosen in a share sigmoid(2) of all cases."""
    generator = torch.Generator().manual_seed(0)
    one, two = ids("la").repeat(20_000, 1), ids("le").repeat(20_000, 1)
    chosen, rejected = rm.prefer(one, two, generator)
    share = (rm.taste(chosen) == 2).float().mean().item()
    assert share == pytest.approx(1 / (1 + math.exp(-2)), abs=0.012)
    assert (rm.taste(chosen) + rm.taste(rejected) == 2).all()


def test_the_two_of_a_pair_answer_the_same_prompt(reference):
    """Same first letter, other answers."""
    chosen, rejected = rm.comparisons(
        reference, 50, torch.Generator().manual_seed(0)
    )
    assert (chosen[:, 0] == rejected[:, 0]).all()
    assert (chosen != rejected).any(dim=1).float().mean() > 0.8


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(-5, 5))
def test_the_loss_sees_differences_alone(gaps, constant):
    """For any rewards: a constant added to both changes nothing, and the
    gradient is minus sigmoid(-gap), a share of the mean each.
    """
    gap = torch.tensor(gaps, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros_like(gap)
    loss = rm.bradley_terry_loss(gap, zero)
    shifted = rm.bradley_terry_loss(gap + constant, zero + constant)
    assert loss.item() == pytest.approx(shifted.item(), rel=1e-9, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, gap)
    expected = -torch.sigmoid(-gap) / len(gap)
    assert torch.allclose(gradient, expected.detach())


def test_the_loss_is_trls():
    """RewardTrainer's loss of a Llama and a batch is ours of its rewards."""
    from datasets import Dataset
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    torch.manual_seed(0)
    llama = LlamaForSequenceClassification(rm.llama_config(num_labels=1))
    torch.nn.init.normal_(llama.score.weight)
    pairs = {"chosen": ["lan", "ai"], "rejected": ["leena", "i"]}
    trainer = rm.silent(
        RewardTrainer(
            llama,
            RewardConfig(**rm.quiet()),
            train_dataset=Dataset.from_dict(pairs),
            processing_class=rm.letter_tokenizer(),
        )
    )
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(llama, batch).item()
    rewards = [llama(ids(*pairs[kind])).logits[:, 0] for kind in pairs]
    assert theirs == pytest.approx(
        rm.bradley_terry_loss(*rewards).item(), abs=1e-5
    )
    assert abs(theirs - math.log(2)) > 0.05


def test_a_score_is_read_at_the_last_token_that_counts(reference):
    """What stands behind an answer's end does not matter."""
    model = rm.with_scalar_head(reference)
    assert rm.score(model, ids("lena")).item() == 0
    torch.nn.init.normal_(model.head.weight)
    whole = model(ids("al..."))[0, :, 0]
    assert rm.score(model, ids("al")).item() == whole[2].item()
    padded = ids("al", "al")
    padded[1, 4] = 3
    assert rm.score(model, padded).unique().numel() == 1
    assert reference.head.weight.shape == (7, 32)
    assert not any(p.requires_grad for p in reference.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_a_reward_model_learns_what_it_is_shown(reference):
    """Trained on pairs, it ranks fresh ones better than chance by far, and
    a centred one has a mean of 0 for each letter.
    """
    generator = torch.Generator().manual_seed(0)
    pairs = rm.comparisons(reference, 1000, generator)
    torch.manual_seed(0)
    model = rm.train_reward_model(rm.small_gpt(0), *pairs, steps=120)
    reward = rm.centred(model, reference)
    share, half = rm.agreement(
        reward, *rm.comparisons(reference, 2000, generator)
    )
    assert share - half > 0.6
    everything = rm.every_answer()
    table = rm.by_letter(reward, everything)
    log_reference = rm.by_letter(rm.total(reference), everything)
    means = rm.expected(table, log_reference)
    assert torch.allclose(means, torch.zeros(6), atol=1e-4)


def test_agreement_counts_ties_as_half():
    """Right, wrong and tied: a half, and the interval of a mean of three."""
    share, half = rm.agreement(
        lambda x: x, torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0, 1, 2.0])
    )
    assert share == 0.5
    assert half == pytest.approx(1.96 * 0.5 / 3**0.5)


@given(st.integers(0, 10_000), st.floats(0.1, 3))
def test_no_policy_beats_the_optimum(seed, beta):
    """For any reward, reference, policy and beta, the objective lacks
    exactly beta times the KL to the optimum.
    """
    generator = torch.Generator().manual_seed(seed)
    reward, reference, policy = torch.randn(
        3, 2, 5, generator=generator, dtype=torch.float64
    )
    reference, policy = reference.log_softmax(1), policy.log_softmax(1)
    best = rm.optimum(reference, reward, beta)
    reached, most = (
        rm.objective(table, reference, reward, beta)
        for table in (policy, best)
    )
    by_hand = (policy.exp() * (reward - beta * (policy - reference))).sum(1)
    assert reached == pytest.approx(by_hand.mean().item())
    gap = most - reached
    assert gap == pytest.approx(beta * rm.divergence(policy, best), abs=1e-9)
    assert gap >= 0
    assert torch.allclose(best.exp().sum(1), torch.ones(2).double())


def test_favourites_are_the_best_of_a_table(everything):
    """A table whose largest entries are known names finds them."""
    wanted = ("alan", "ella", "ira", "lea", "nina", "rena")
    table = torch.zeros(6, 1555)
    for row, name in enumerate(wanted):
        same = (everything.view(6, -1, 5)[row] == ids(name)).all(dim=1)
        table[row, same] = 1
    assert rm.favourites(table) == " ".join(wanted)
