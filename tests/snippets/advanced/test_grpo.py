"""GRPO on sums that can be checked."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced import grpo as lesson
from snippets.advanced import reward_models as rm
from snippets.advanced.reward_models_and_rlhf import policy_loss


def ids_of(*texts):
    """Ids of sums with answers, (texts, 7)."""
    return torch.tensor(
        [[lesson.CHARACTERS.index(c) for c in t.ljust(7, ".")] for t in texts]
    )


@pytest.fixture(scope="module")
def start():
    """A model that is right now and then."""
    return lesson.pretrain(0, steps=60)


def test_all_sums_are_there_and_right():
    """A hundred different rows, each a sum that Python confirms."""
    texts = [lesson.text_of(row) for row in lesson.all_sums()]
    assert len(set(texts)) == 100
    for text in texts:
        question, answer = text.strip(".").split("=")
        assert sum(map(int, question.split("+"))) == int(answer)


def test_the_check_takes_the_whole_answer():
    """Right ones, and four ways of being wrong."""
    good = ids_of("7+8=15", "0+0=0", "9+9=18")
    bad = ids_of("7+8=14", "7+8=5", "7+8=155", "7+8=1")
    assert lesson.check(good).tolist() == [1, 1, 1]
    assert lesson.check(bad).tolist() == [0, 0, 0, 0]
    assert lesson.check(lesson.all_sums()).sum() == 100


def test_the_probability_of_being_right_is_that_of_samples(start):
    """Of 20 answers to each sum, as many are right as expected, within
    four standard errors.
    """
    expected = lesson.log_right(start).exp().mean().item()
    prompts = lesson.all_sums()[:, : lesson.N_PROMPT].repeat(20, 1)
    generator = torch.Generator().manual_seed(0)
    ids = rm.sample(start, prompts, lesson.N_ANSWER, generator)
    share = lesson.check(ids).mean().item()
    assert share == pytest.approx(expected, abs=4 * 0.5 / 2000**0.5)
    assert 0.05 < expected < 0.8


@given(
    st.lists(
        st.lists(st.floats(-5, 5), min_size=4, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_advantages_have_mean_zero_in_each_group(rewards):
    """For any rewards; and a spread of one, or nothing at all where all
    rewards are alike.
    """
    rewards = torch.tensor(rewards, dtype=torch.float64)
    found = lesson.group_advantages(rewards)
    assert found.mean(1).abs().max() < 1e-9
    spread, before = found.std(1), rewards.std(1)
    assert torch.allclose(spread, before / (before + 1e-4))
    plain = lesson.group_advantages(rewards, scaled=False)
    assert torch.allclose(plain, rewards - rewards.mean(1, keepdim=True))


def test_groups_without_a_difference_give_no_signal():
    """All right or all wrong: every advantage is exactly 0."""
    alike = torch.tensor([[1.0] * 8, [0.0] * 8])
    assert (lesson.group_advantages(alike) == 0).all()


def test_the_loss_is_zero_and_the_gradient_is_not(start):
    """Before the first update of a step."""
    for _, rewards, loss, norm in lesson.grpo(start, lesson.check, 0, 2):
        assert rewards.shape == (100, 8)
        assert abs(loss) < 0.06  # answers of unlike lengths
        assert norm > 0.1


def test_a_group_answers_one_prompt(start):
    """Eight answers in a row are to the same sum, and all sums are asked."""
    seen = []

    def reward(ids):
        seen.append(ids)
        return lesson.check(ids)

    next(iter(lesson.grpo(start, reward, 0, steps=1)))
    groups = seen[0].view(100, 8, 7)[:, :, : lesson.N_PROMPT]
    assert (groups == groups[:, :1]).all()
    assert len(groups[:, 0].unique(dim=0)) == 100


@pytest.mark.parametrize("scaled", [True, False])
def test_one_step_is_four_updates(start, scaled):
    """A step, written out once more: the same policy, and the loss and the
    gradient's norm of the first update.
    """
    [(policy, _, loss, norm)] = list(
        lesson.grpo(start, lesson.check, 3, steps=1, scaled=scaled)
    )
    generator = torch.Generator().manual_seed(3)
    mine = copy.deepcopy(start).requires_grad_(True)
    optimizer = torch.optim.Adam(mine.parameters(), 1e-3)
    asked = lesson.all_sums()[:, :4].repeat_interleave(8, dim=0)
    ids = rm.sample(mine, asked, 3, generator)
    rewards = lesson.check(ids).view(100, 8)
    advantage = rewards - rewards.mean(1, keepdim=True)
    if scaled:
        advantage = advantage / (rewards.std(1, keepdim=True) + 1e-4)
    advantage = advantage.view(-1, 1).expand(-1, 3)
    counted = rm.answer_mask(ids, 4) == 1
    old, first = rm.log_probs(mine, ids, 4).detach(), None
    for _ in range(4):
        ratio = (rm.log_probs(mine, ids, 4) - old).exp()
        clipped = ratio.clamp(0.8, 1.2)
        gains = torch.minimum(ratio * advantage, clipped * advantage)
        mean = -gains[counted].mean()
        optimizer.zero_grad()
        mean.backward()
        if first is None:
            squares = [p.grad.square().sum() for p in mine.parameters()]
            first = mean.item(), sum(squares).sqrt().item()
        optimizer.step()
    assert (loss, norm) == pytest.approx(first, abs=1e-4)
    found, expected = lesson.log_right(policy), lesson.log_right(mine)
    assert torch.allclose(found, expected, atol=1e-2)
    assert (found - lesson.log_right(start)).abs().max() > 0.1


def test_answers_get_better_by_checking(start):
    """Ten steps raise the probability of a right answer by a third, and
    the model that it started from stays as it was.
    """
    before = lesson.log_right(start).exp().mean().item()
    *_, (policy, *_) = lesson.grpo(start, lesson.check, 0, steps=10)
    after = lesson.log_right(policy).exp().mean().item()
    assert after > 4 / 3 * before
    assert lesson.log_right(start).exp().mean().item() == before


def test_a_reward_that_never_differs_changes_nothing(start):
    """All answers rewarded alike: no update moves the policy."""
    *_, (policy, _, _, norm) = lesson.grpo(
        start, lambda ids: torch.ones(len(ids)), 0, steps=2, size=4
    )
    assert norm == 0
    assert torch.equal(lesson.log_right(policy), lesson.log_right(start))


def test_the_loss_is_trls_dapo():
    """GRPOTrainer's loss of given answers, advantages and old
    log-probabilities is the clipped mean over all tokens.
    """
    from datasets import Dataset
    from transformers import LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    torch.manual_seed(0)
    llama = LlamaForCausalLM(rm.llama_config(lesson.CHARACTERS))
    trainer = GRPOTrainer(
        llama,
        lambda completions, **_: [0.0] * len(completions),
        GRPOConfig(**rm.quiet()),
        Dataset.from_dict({"prompt": ["1+1="] * 8}),
        processing_class=rm.letter_tokenizer(lesson.CHARACTERS),
    )
    llama.eval()  # in training, TRL counts accumulated steps
    ids = ids_of("7+8=15", "2+2=4", "9+0=999", "3+3=6")
    mask = rm.answer_mask(ids, lesson.N_PROMPT)
    new = rm.log_probs(rm.logits_of(llama), ids, lesson.N_PROMPT).detach()
    old = new + 0.5 * torch.randn(4, 3) * mask
    advantages = torch.tensor([1.2, -0.4, -0.8, 2.0])
    theirs = trainer.compute_loss(
        llama,
        {
            "prompt_ids": ids[:, :4],
            "prompt_mask": torch.ones(4, 4),
            "completion_ids": ids[:, 4:],
            "completion_mask": mask,
            "advantages": advantages,
            "old_per_token_logps": old,
            "num_items_in_batch": mask.sum(),
        },
    ).item()
    ours = policy_loss(new, old, advantages[:, None], mask).item()
    assert theirs == pytest.approx(ours, abs=1e-5)
    assert abs(ours) > 0.01


def test_the_defaults_of_trl_are_those_of_the_page():
    """TRL 1.16: no KL, tokens averaged over the batch, scaled by group."""
    from trl import GRPOConfig

    defaults = GRPOConfig(**rm.quiet())
    found = defaults.beta, defaults.loss_type, defaults.scale_rewards
    assert found == (0.0, "dapo", "group")
    assert (defaults.num_generations, defaults.num_iterations) == (8, 1)
