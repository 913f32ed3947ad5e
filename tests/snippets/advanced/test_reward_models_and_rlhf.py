"""PPO, piece by piece and against the exact optimum."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced import reward_models as rm
from snippets.advanced import reward_models_and_rlhf as rlhf


@pytest.fixture(scope="module")
def reference():
    """A reference after a few steps."""
    return rm.train_reference(rm.load_names(), steps=30)


def letters(generator):
    return rm.first_letters(256, generator)


def trained(reference, reward, beta, steps, **options):
    """The table of a policy after so many steps of PPO."""
    training = rlhf.ppo(
        reference, reward, letters, 4, beta, 0, steps, **options
    )
    *_, policy = training
    return rm.by_letter(rm.total(policy), rm.every_answer())


def test_advantages_by_hand():
    """Three tokens, worked on paper with lambda of a half."""
    rewards = torch.tensor([[0.1, 0.0, 1.0]])
    values = torch.tensor([[0.5, 0.4, 0.8]])
    # deltas: 0.1 + 0.4 - 0.5 = 0, 0.8 - 0.4 = 0.4, 1 - 0.8 = 0.2
    found = rlhf.advantages(rewards, values, lam=0.5)
    assert found[0].tolist() == pytest.approx([0.25, 0.5, 0.2])


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_advantages_between_critic_and_outcome(seed, n):
    """For any rewards: lambda 1 gives what came minus the guess, lambda 0
    one step's surprise.
    """
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(
        2, 3, n, generator=generator, dtype=torch.float64
    )
    later = rewards.flip(1).cumsum(1).flip(1)
    whole = rlhf.advantages(rewards, values, lam=1.0)
    assert torch.allclose(whole, later - values)
    step = rlhf.advantages(rewards, values, lam=0.0)
    assert torch.allclose(step[:, -1], rewards[:, -1] - values[:, -1])
    if n > 1:
        delta = rewards[:, :-1] + values[:, 1:] - values[:, :-1]
        assert torch.allclose(step[:, :-1], delta)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [
        (1.0, 2.0, -2.0),  # unclipped
        (1.1, 2.0, -2.2),  # likelier, but not by 20 % yet
        (0.9, -2.0, 1.8),  # less likely, but not by 20 % yet
        (1.5, 2.0, 0.0),  # already likelier by more than 20 %: no more push
        (0.5, 2.0, -1.0),  # less likely though it was good: pushed back
        (1.5, -2.0, 3.0),  # likelier though it was bad: pushed back
        (0.5, -2.0, 0.0),  # already less likely by more than 20 %
    ],
)
def test_the_clip_takes_the_gradient_in_one_direction(
    ratio, advantage, gradient
):
    """The gradient to the log-probability is -ratio * advantage, or 0 where
    the ratio has gone far enough; worked by hand.
    """
    new = torch.tensor([[ratio]]).log().requires_grad_()
    loss = rlhf.policy_loss(
        new, torch.zeros(1, 1), torch.tensor([[advantage]]), torch.ones(1, 1)
    )
    loss.backward()
    assert new.grad.item() == pytest.approx(gradient, abs=1e-6)


def test_losses_are_means_over_the_tokens_that_count():
    """Two of three tokens count; the third changes nothing."""
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    values = torch.tensor([[1.0, 2.0, 50.0]])
    assert rlhf.masked_mean(values, mask).item() == 1.5
    assert rlhf.value_loss(values, torch.zeros(1, 3), mask).item() == 2.5
    old = torch.zeros(1, 3)
    loss = rlhf.policy_loss(old, old, values, mask)
    assert loss.item() == -1.5


def test_the_reward_comes_at_the_last_token_that_counts():
    """Two answers of two and three tokens; the penalty lies at each."""
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    log_policy = torch.tensor([[-1.0, -2, 0], [-1, -1, -1]])
    log_reference = torch.tensor([[-2.0, -2, 0], [-1, -3, 0]])
    found = rlhf.token_rewards(
        log_policy, log_reference, mask, torch.tensor([5.0, 7.0]), beta=0.5
    )
    assert found.tolist() == [[-0.5, 5, 0], [0, -1, 7.5]]


def test_the_rewards_of_an_answer_sum_to_reward_minus_penalty(reference):
    """Summed over its tokens: r - beta log(policy / reference)."""
    other = rm.small_gpt(5)
    generator = torch.Generator().manual_seed(0)
    ids = rm.sample(other, rm.first_letters(50, generator), 4, generator)
    old, before = rm.log_probs(other, ids), rm.log_probs(reference, ids)
    final = rm.taste(ids)
    found = rlhf.token_rewards(old, before, rm.answer_mask(ids), final, 0.3)
    expected = final - 0.3 * (rm.total(other)(ids) - rm.total(reference)(ids))
    assert torch.allclose(found.sum(1), expected, atol=1e-4)


def test_what_is_kept_of_a_batch(reference):
    """Advantages have mean 0 and spread 1 over the tokens that count, and
    nothing lies behind an answer's end; a critic at 0 returns what came.
    """
    generator = torch.Generator().manual_seed(0)
    ids = rm.sample(reference, letters(generator), 4, generator)
    critic = rm.with_scalar_head(reference)
    final = rm.taste(ids)
    old, advantage, returns = rlhf.experience(
        reference, reference, critic, ids, 1, final, beta=0.5
    )
    mask = rm.answer_mask(ids)
    counted = advantage[mask == 1]
    assert counted.mean().item() == pytest.approx(0, abs=1e-5)
    assert counted.std().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(old, rm.log_probs(reference, ids))
    assert (returns[mask == 0] == 0).all()
    weights = 0.95 ** (mask.sum(1) - 1)  # the first token's, lambda 0.95
    assert torch.allclose(returns[:, 0], weights * final, atol=1e-5)


def test_a_critic_s_target_is_advantage_plus_value(reference):
    """With a critic that is not at 0, and prompts of two letters: returns
    worked out from the rewards of each token.
    """
    other, critic = rm.small_gpt(5), rm.with_scalar_head(reference)
    torch.nn.init.normal_(critic.head.weight)
    ids = rm.load_names()[:20]
    final = rm.taste(ids)
    _, _, returns = rlhf.experience(
        other, reference, critic, ids, 2, final, 0.7
    )
    ratio = rm.log_probs(other, ids, 2) - rm.log_probs(reference, ids, 2)
    mask = rm.answer_mask(ids, 2)
    rewards = rlhf.token_rewards(ratio, 0 * ratio, mask, final, 0.7)
    values = rlhf.token_values(critic, ids, 2)
    expected = rlhf.advantages(rewards, values) + values
    assert torch.allclose(returns, expected, atol=1e-5)
    assert (returns - expected + values).abs().max() > 0.1


def test_one_step_of_ppo_is_four_updates_of_both_networks(reference):
    """A step, written out once more: the same policy comes out."""
    [policy] = list(rlhf.ppo(reference, rm.taste, letters, 4, 0.3, 0, steps=1))
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    mine = copy.deepcopy(reference).requires_grad_(True)
    critic = rm.with_scalar_head(reference)
    optimizer = torch.optim.Adam(
        [*mine.parameters(), *critic.parameters()], 1e-3
    )
    ids = rm.sample(mine, letters(generator), 4, generator)
    counted = rm.answer_mask(ids) == 1
    old, advantage, returns = rlhf.experience(
        mine, reference, critic, ids, 1, rm.taste(ids), 0.3
    )
    for _ in range(4):
        ratio = (rm.log_probs(mine, ids) - old).exp()
        gains = torch.stack(
            [ratio * advantage, ratio.clamp(0.8, 1.2) * advantage]
        ).amin(dim=0)
        errors = (rlhf.token_values(critic, ids) - returns) ** 2
        loss = -gains[counted].mean() + errors[counted].mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    everything = rm.every_answer()
    tables = [rm.by_letter(rm.total(m), everything) for m in (policy, mine)]
    assert torch.allclose(*tables, atol=1e-3)
    moved = rm.by_letter(rm.total(reference), everything) - tables[0]
    assert moved.abs().max() > 0.1


def test_values_stand_before_their_tokens(reference):
    """With longer prompts, too: the critic reads what lies before."""
    critic = rm.with_scalar_head(reference)
    torch.nn.init.normal_(critic.head.weight)
    ids = rm.load_names()[:3]
    whole = critic(ids)[..., 0]
    for n_prompt in (1, 2):
        found = rlhf.token_values(critic, ids, n_prompt)
        expected = whole[:, n_prompt - 1 : -1]
        expected = expected * rm.answer_mask(ids, n_prompt)
        assert torch.allclose(found, expected, atol=1e-6)


def test_ppo_comes_near_the_optimum(reference):
    """With the true reward and beta of 1, 15 steps go more than half of
    the way, in nats.
    """
    everything = rm.every_answer()
    log_reference = rm.by_letter(rm.total(reference), everything)
    best = rm.optimum(log_reference, rm.by_letter(rm.taste, everything), 1)
    start = rm.divergence(log_reference, best)
    table = trained(reference, rm.taste, beta=1, steps=15)
    assert rm.divergence(table, best) < start / 2


def test_the_penalty_holds_the_policy_back(reference):
    """Without it, KL to the reference is at least three times as large."""
    log_reference = rm.by_letter(rm.total(reference), rm.every_answer())
    held, free = (
        rm.divergence(trained(reference, rm.taste, beta, 10), log_reference)
        for beta in (1, 0)
    )
    assert free > 3 * held


def test_a_clip_of_nothing_keeps_the_policy_almost_still(reference):
    """With a clip of 1e-6, each batch gives one update, not four."""
    log_reference = rm.by_letter(rm.total(reference), rm.every_answer())
    still, moved = (
        rm.divergence(
            trained(reference, rm.taste, 0, 3, clip=clip), log_reference
        )
        for clip in (1e-6, 0.2)
    )
    assert still < moved / 2


def test_trls_reference_is_read_from_the_folder(tmp_path):
    """In TRL 1.16, the reference of RLOO is what lies where the model once
    came from, not the model that is given.
    """
    from datasets import Dataset
    from transformers import LlamaForCausalLM
    from trl import RLOOConfig, RLOOTrainer

    torch.manual_seed(0)
    LlamaForCausalLM(rm.llama_config()).save_pretrained(tmp_path)
    tuned = LlamaForCausalLM.from_pretrained(tmp_path)
    torch.nn.init.zeros_(tuned.lm_head.weight)
    trainer = RLOOTrainer(
        tuned,
        lambda completions, **_: [0.0] * len(completions),
        RLOOConfig(tmp_path / "out", beta=0.1, **rm.quiet()),
        Dataset.from_dict({"prompt": ["a"] * 8}),
        processing_class=rm.letter_tokenizer(),
    )
    assert trainer.ref_model.lm_head.weight.abs().max() > 0
    assert tuned.lm_head.weight.abs().max() == 0
