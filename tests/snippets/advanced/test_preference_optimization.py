"""DPO and IPO, against TRL and the exact optimum."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced import preference_optimization as po
from snippets.advanced import reward_models as rm

gap_lists = st.lists(st.floats(-20, 20), min_size=1, max_size=8)
betas = st.floats(0.05, 3)


@pytest.fixture(scope="module")
def reference():
    """A reference after a few steps."""
    return rm.train_reference(rm.load_names(), steps=30)


@pytest.fixture(scope="module")
def pairs(reference):
    generator = torch.Generator().manual_seed(0)
    return rm.comparisons(reference, 2000, generator)


def tables(policy, reference):
    """Log-probabilities of all answers under both."""
    ids = rm.every_answer()
    return tuple(rm.by_letter(rm.total(m), ids) for m in (policy, reference))


@given(st.integers(0, 10_000), betas)
def test_the_optimum_is_its_own_reward(seed, beta):
    """For any reward: beta times the optimum's log ratio is the reward, up
    to one constant for each prompt.
    """
    generator = torch.Generator().manual_seed(seed)
    reward, reference = torch.randn(
        2, 3, 6, generator=generator, dtype=torch.float64
    )
    reference = reference.log_softmax(1)
    implicit = beta * (rm.optimum(reference, reward, beta) - reference)
    constant = implicit - reward
    assert torch.allclose(constant, constant[:, :1].expand(-1, 6))


def test_gaps_are_sums_over_tokens_and_means_if_asked(reference):
    """By hand from two models' log-probabilities, token by token."""
    policy = rm.small_gpt(3)
    names = rm.load_names()
    chosen, rejected = names[:1], names[1:2]  # aerni and ai

    def ratio(ids):
        return rm.log_probs(policy, ids) - rm.log_probs(reference, ids)

    found = po.gaps(policy, reference, chosen, rejected)
    expected = ratio(chosen).sum() - ratio(rejected).sum()
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    lengths = [rm.answer_mask(ids).sum() for ids in (chosen, rejected)]
    mean = ratio(chosen).sum() / lengths[0]
    mean = mean - ratio(rejected).sum() / lengths[1]
    found = po.gaps(policy, reference, chosen, rejected, averaged=True)
    assert found.item() == pytest.approx(mean.item(), abs=1e-5)
    assert lengths[0] != lengths[1]


def test_a_policy_that_is_the_reference_has_no_gaps(reference, pairs):
    """So the first loss is log 2, whatever beta."""
    gap = po.gaps(reference, reference, *pairs)
    assert gap.abs().max() < 1e-4
    assert po.dpo_loss(gap, 0.7).item() == pytest.approx(math.log(2), abs=1e-4)


@given(gap_lists, betas)
def test_the_gradient_of_dpo(gaps, beta):
    """For any gaps: -beta sigmoid(-beta gap), a share of the mean each."""
    gap = torch.tensor(gaps, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(po.dpo_loss(gap, beta), gap)
    expected = -beta * torch.sigmoid(-beta * gap) / len(gap)
    assert torch.allclose(gradient, expected.detach())


@given(gap_lists, betas)
def test_ipo_is_smallest_at_its_target(gaps, beta):
    """Zero for gaps of 1 / (2 beta), the squared distance elsewhere."""
    gap = torch.tensor(gaps, dtype=torch.float64)
    target = 1 / (2 * beta)
    assert po.ipo_loss(torch.full_like(gap, target), beta) < 1e-18
    distance = ((gap - target) ** 2).mean().item()
    assert po.ipo_loss(gap, beta).item() == pytest.approx(distance)


@pytest.mark.parametrize("kind", ["sigmoid", "sigmoid_norm", "ipo"])
def test_losses_are_trls(kind):
    """For two Llamas and three pairs of unlike lengths, to four digits."""
    from datasets import Dataset
    from transformers import LlamaForCausalLM
    from trl import DPOConfig, DPOTrainer

    torch.manual_seed(1)
    policy, frozen = (LlamaForCausalLM(rm.llama_config()) for _ in range(2))
    for weights in policy.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    pairs = {
        "prompt": ["l", "a", "n"],
        "chosen": ["ena", "n", "il"],
        "rejected": ["i", "lain", "ellie"[:4]],
    }
    trainer = DPOTrainer(
        policy,
        frozen,
        DPOConfig(loss_type=[kind], beta=0.4, **rm.quiet()),
        train_dataset=Dataset.from_dict(pairs),
        processing_class=rm.letter_tokenizer(),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(policy, batch).item()
    chosen, rejected = (
        torch.tensor(
            [
                [rm.LETTERS.index(c) for c in (p + a).ljust(6, ".")]
                for p, a in zip(pairs["prompt"], pairs[side], strict=True)
            ]
        )
        for side in ("chosen", "rejected")
    )
    gap = po.gaps(
        rm.logits_of(policy),
        rm.logits_of(frozen),
        chosen,
        rejected,
        averaged=kind != "sigmoid",
    )
    loss = po.ipo_loss if kind == "ipo" else po.dpo_loss
    assert theirs == pytest.approx(loss(gap, 0.4).item(), rel=1e-4)


def test_dpo_comes_near_the_optimum(reference, pairs):
    """At beta 1, more than half of the way in 100 steps, and the reference
    stays as it was.
    """
    before = [weights.clone() for weights in reference.parameters()]
    policies = po.tune(reference, pairs, po.dpo_loss, 1, 0, steps=100)
    first = rm.by_letter(rm.total(next(policies)), rm.every_answer())
    *rest, policy = policies
    assert len(rest) == 4
    table, log_reference = tables(policy, reference)
    assert torch.allclose(first, log_reference)
    true = rm.by_letter(rm.taste, rm.every_answer())
    best = rm.optimum(log_reference, true, 1)
    start = rm.divergence(log_reference, best)
    assert rm.divergence(table, best) < start / 2
    again = list(po.tune(reference, pairs, po.dpo_loss, 1, 0, steps=100))
    assert torch.equal(tables(again[-1], reference)[0], table)
    after = reference.parameters()
    assert all(map(torch.equal, before, after))


def test_dpo_runs_away_where_nobody_doubts_and_ipo_does_not(reference, pairs):
    """Twenty pairs, 80 steps: DPO's gap is above 5 nats and grows, IPO's
    stays near its 1 / (2 beta).
    """
    few = [ids[:20] for ids in pairs]
    differ = (few[0] != few[1]).any(dim=1)
    few = [ids[differ] for ids in few]
    gaps = {}
    for loss in (po.dpo_loss, po.ipo_loss):
        gaps[loss] = [
            po.gaps(policy, reference, *few).mean().item()
            for policy in po.tune(reference, few, loss, 0.3, 0, steps=80)
        ]
    assert gaps[po.dpo_loss][-1] > max(5, gaps[po.dpo_loss][2])
    assert gaps[po.ipo_loss][-1] == pytest.approx(1 / 0.6, abs=0.5)


def test_a_mean_over_tokens_goes_further(reference, pairs):
    """At the same beta, KL to the reference is more than twice as large."""
    distances = []
    for averaged in (False, True):
        *_, policy = po.tune(
            reference, pairs, po.dpo_loss, 0.5, 0, 100, averaged
        )
        distances.append(rm.divergence(*tables(policy, reference)))
    assert distances[1] > 2 * distances[0]
