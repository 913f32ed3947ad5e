"""Reinforcement learning from human feedback: PPO from scratch."""

# --8<-- [start:setting]
import copy

import torch
import torch.nn.functional as F

from snippets.advanced import reward_models as rm
from snippets.advanced.reward_models import END, answer_mask, log_probs
from snippets.advanced.transfer_learning import descend
from snippets.architectures.transformer import GPT

if __name__ == "__main__":
    reference = rm.train_reference(rm.load_names())
    generator = torch.Generator().manual_seed(0)
    rm.sample(reference, rm.first_letters(12, generator), 4, generator)
    pairs = rm.comparisons(reference, 4000, generator)  # those of before
    reward_model = rm.train_reward_model(rm.small_gpt(0), *pairs)
    reward = rm.centred(reward_model, reference)

    everything = rm.every_answer()
    log_reference = rm.by_letter(rm.total(reference), everything)
    learned, true = (rm.by_letter(f, everything) for f in (reward, rm.taste))
    true = true - rm.expected(true, log_reference)[:, None]
    print("beta  objective at best  true reward there")
    for beta in (1, 0.1, 0.01):
        best = rm.optimum(log_reference, learned, beta)
        objective = rm.objective(best, log_reference, learned, beta)
        truth = rm.expected(true, best).mean()
        print(f"{beta:4}{objective:19.2f}{truth:19.1f}")
    # --8<-- [end:setting]


# --8<-- [start:advantages]
def advantages(rewards, values, lam=0.95):
    """Generalized advantage estimates with discount 1: (n, answer).

    rewards and values, (n, answer), are 0 behind an answer's end.
    Schulman 2016, equation 16.
    """
    following = F.pad(values[:, 1:], (0, 1))  # after the last token: 0
    deltas = rewards + following - values
    result, later = torch.zeros_like(rewards), 0.0
    for t in reversed(range(rewards.shape[1])):
        later = deltas[:, t] + lam * later
        result[:, t] = later
    return result


# --8<-- [end:advantages]


if __name__ == "__main__":
    # --8<-- [start:by-hand]
    rewards = torch.tensor([[0.0, 0.0, 1.0]])  # (n, answer)
    values = torch.tensor([[0.5, 0.4, 0.8]])
    for lam in (0.0, 0.5, 1.0):
        print(f"lambda {lam}:", advantages(rewards, values, lam)[0])
    # --8<-- [end:by-hand]


# --8<-- [start:clipped]
def masked_mean(x, mask):
    """Mean over the tokens that count; both (n, answer)."""
    return (x * mask).sum() / mask.sum()


def policy_loss(new, old, advantage, mask, clip=0.2):
    """PPO's clipped loss (Schulman 2017, equation 7); all (n, answer)."""
    ratio = (new - old).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    return -masked_mean(gain, mask)


def value_loss(values, returns, mask):
    """Mean squared error of the critic; all (n, answer)."""
    return masked_mean((values - returns) ** 2, mask)


# --8<-- [end:clipped]


# --8<-- [start:experience]
def token_rewards(log_policy, log_reference, mask, final, beta):
    """Minus beta times the log ratio at each token, (n, answer).

    final, (n,), is the reward of the answers; the last tokens get it.
    """
    rewards = -beta * (log_policy - log_reference)
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(rewards)), last] += final
    return rewards


def token_values(critic, ids, n_prompt=1):
    """What a critic expects before each token: (n, answer)."""
    values = critic(ids[:, :-1])[:, n_prompt - 1 :, 0]
    return values * answer_mask(ids, n_prompt)


@torch.no_grad()
def experience(policy, reference, critic, ids, n_prompt, final, beta):
    """Log-probabilities, advantages and returns: three of (n, answer)."""
    mask = answer_mask(ids, n_prompt)
    old = log_probs(policy, ids, n_prompt)
    before = log_probs(reference, ids, n_prompt)
    rewards = token_rewards(old, before, mask, final, beta)
    values = token_values(critic, ids, n_prompt)
    advantage = advantages(rewards, values)
    centred = advantage - masked_mean(advantage, mask)
    spread = masked_mean(centred**2, mask).sqrt() + 1e-8
    return old, centred / spread, advantage + values


# --8<-- [end:experience]


# --8<-- [start:ppo]
def ppo(reference, reward, prompts, n_tokens, beta, seed, steps=20, clip=0.2):
    """Yield the policy after each step of PPO.

    prompts(generator) draws them, (n, n_prompt); reward(ids) is (n,).
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    policy = copy.deepcopy(reference).requires_grad_(True)
    critic = rm.with_scalar_head(reference)
    weights = [*policy.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(weights, 1e-3)
    for _ in range(steps):
        asked = prompts(generator)
        n_prompt = asked.shape[1]
        ids = rm.sample(policy, asked, n_tokens, generator)
        mask = answer_mask(ids, n_prompt)
        old, advantage, returns = experience(
            policy, reference, critic, ids, n_prompt, reward(ids), beta
        )
        for _ in range(4):
            new = log_probs(policy, ids, n_prompt)
            loss = policy_loss(new, old, advantage, mask, clip)
            values = token_values(critic, ids, n_prompt)
            loss = loss + 0.5 * value_loss(values, returns, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield policy


# --8<-- [end:ppo]


if __name__ == "__main__":
    # --8<-- [start:run]
    def snapshot(policy):
        """Learned and true reward, KL to the reference and entropy."""
        log_policy = rm.by_letter(rm.total(policy), everything)
        return (
            rm.expected(learned, log_policy).mean().item(),
            rm.expected(true, log_policy).mean().item(),
            rm.divergence(log_policy, log_reference),
            -rm.expected(log_policy, log_policy).mean().item(),
        ), log_policy

    def letters(generator):
        """The prompts of a step."""
        return rm.first_letters(256, generator)

    def run(beta, seed, steps=20, clip=0.2):
        """What every fourth step of PPO came to, and the last table."""
        training = ppo(reference, reward, letters, 4, beta, seed, steps, clip)
        history = [snapshot(reference)]
        for step, policy in enumerate(training, start=1):
            if step % 4 == 0:
                history.append(snapshot(policy))
        numbers, tables = zip(*history, strict=True)
        return torch.tensor(numbers), tables[-1]

    runs = {b: [run(b, seed) for seed in (0, 1)] for b in (1, 0.1, 0.01)}
    print("beta  seed  objective  at best  nats to it: before  after")
    for beta, results in runs.items():
        best = rm.optimum(log_reference, learned, beta)
        most = rm.objective(best, log_reference, learned, beta)
        for seed, (_, log_policy) in enumerate(results):
            reached = rm.objective(log_policy, log_reference, learned, beta)
            before = rm.divergence(log_reference, best)
            after = rm.divergence(log_policy, best)
            print(f"{beta:4}{seed:6}{reached:11.2f}{most:9.2f}", end="")
            print(f"{before:20.0f}{after:7.0f}")
    # --8<-- [end:run]

    # --8<-- [start:hacked]
    runs[0] = [run(0, seed, steps=28) for seed in (0, 1)]
    print("seed  learned reward  highest true reward  favourites with aa")
    for seed, (history, log_policy) in enumerate(runs[0]):
        names = rm.favourites(log_policy).split()
        doubled = sum("aa" in name for name in names)
        row = history[-1, 0], history[:, 1].max(), doubled
        print("{:4}{:16.1f}{:21.1f}{:15} of 6".format(seed, *row))
    # --8<-- [end:hacked]

    # --8<-- [start:figure]
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(4, 1, figsize=(5, 9), sharex=True)
    labels = ("learned reward", "true reward", "KL, nats", "entropy, nats")
    limits = ((-0.5, 2.5), (-8, 4), (0, 20), (0, 6))
    styles = ("-", "--", "-.", ":")
    for (beta, results), style in zip(runs.items(), styles, strict=True):
        mean = (results[0][0] + results[1][0]) / 2  # of two seeds
        steps = torch.arange(0, 4 * len(mean), 4)
        for axis, curve in zip(axes, mean.T, strict=True):
            axis.plot(steps, curve, style, label=f"beta {beta}")
    for axis, label, limit in zip(axes, labels, limits, strict=True):
        axis.set_ylabel(label)
        axis.set_ylim(*limit)
    axes[-1].set_xlabel("step of PPO")
    axes[0].legend()
    # --8<-- [end:figure]

    # --8<-- [start:shakespeare]
    from snippets.architectures.transformer import (
        evaluate,
        load_shakespeare,
        random_batch,
    )

    text = load_shakespeare()
    torch.manual_seed(0)
    poet = GPT(len(text.characters), 64, n_layers=1, context=25)
    pairs = (random_batch(text.train, 32, 25) for _ in range(300))
    losses = (F.cross_entropy(poet(x).mT, y) for x, y in pairs)
    descend(poet, losses, 3e-3)
    poet.requires_grad_(False)

    line_starts = torch.nonzero(text.train[:-9] == END)[:, 0] + 1
    windows = text.train[line_starts[:, None] + torch.arange(8)]
    windows = windows[(windows != END).all(dim=1)]  # beginnings of lines

    def beginnings(generator):
        """128 prompts of eight characters each."""
        where = torch.randint(len(windows), (128,), generator=generator)
        return windows[where]

    def asks(ids):
        """1 for each answer with a question mark in it: (n,)."""
        return (ids[:, 8:] == text.id_of["?"]).any(dim=1).float()

    # --8<-- [end:shakespeare]

    # --8<-- [start:questions]
    def report(name, model):
        """Share of lines that ask, and the loss on plays held out."""
        generator = torch.Generator().manual_seed(0)
        shares = [
            asks(rm.sample(model, beginnings(generator), 16, generator)).mean()
            for _ in range(4)
        ]
        loss = evaluate(model, text.validation)
        print(f"{name:10}{sum(shares) / 4:6.2f}{loss:9.2f}")

    print("policy    asking  loss elsewhere")
    report("reference", poet)
    for beta in (0.1, 0):
        *_, policy = ppo(poet, asks, beginnings, 16, beta, 0, steps=12)
        report(f"beta {beta}", policy)
    for ids in rm.sample(policy, beginnings(generator)[:4], 16, generator):
        print(text.decode(ids).split("\n")[0])
    # --8<-- [end:questions]

    # --8<-- [start:llama]
    import tempfile

    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    llama = LlamaForCausalLM(rm.llama_config())
    names = rm.load_names()
    batches = (names[torch.randint(len(names), (64,))] for _ in range(150))
    spelled = (log_probs(rm.logits_of(llama), ids) for ids in batches)
    descend(llama, (-each.sum(1).mean() for each in spelled), 3e-3)
    log_llama = rm.by_letter(rm.total(rm.logits_of(llama)), everything)
    folder = tempfile.TemporaryDirectory()
    llama.save_pretrained(folder.name)
    # --8<-- [end:llama]

    # --8<-- [start:trl]
    from datasets import Dataset
    from trl import RLOOConfig, RLOOTrainer

    def rewards_of(prompts, completion_ids, **_):
        """One reward for each of TRL's answers, as a list."""
        rows = zip(prompts, completion_ids, strict=True)
        rows = [
            [rm.LETTERS.index(first), *rest, *[END] * 4][: rm.LONGEST]
            for first, rest in rows
        ]
        return reward(torch.tensor(rows)).tolist()

    arguments = RLOOConfig(
        folder.name,
        beta=0.1,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        per_device_train_batch_size=256,
        num_generations=8,  # answers to each prompt
        num_iterations=4,  # updates from each batch
        max_completion_length=4,
        max_steps=80,
        **rm.quiet(),
    )
    data = Dataset.from_dict({"prompt": list(rm.LETTERS[1:]) * 200})

    def rloo(model):
        """A trainer of a model, or of the one in a folder."""
        names = rm.letter_tokenizer()
        return rm.silent(
            RLOOTrainer(
                model, rewards_of, arguments, data, processing_class=names
            )
        )

    # --8<-- [end:trl]

    # --8<-- [start:rloo]
    trainer = rloo(folder.name)
    trainer.train()
    tuned = trainer.model
    log_tuned = rm.by_letter(rm.total(rm.logits_of(tuned)), everything)
    for name, table in (
        ("RLOO", log_tuned),
        ("best", rm.optimum(log_llama, learned, 0.1)),
    ):
        objective = rm.objective(table, log_llama, learned, 0.1)
        print(f"{name}: objective {objective:.2f}")
    # --8<-- [end:rloo]

    # --8<-- [start:wrong-reference]
    assumed = rloo(tuned).ref_model  # a new trainer, given the tuned model
    log_assumed = rm.by_letter(rm.total(rm.logits_of(assumed)), everything)
    for name, table in (("the folder's", log_llama), ("given", log_tuned)):
        distance = rm.divergence(log_assumed, table)
        print(f"KL of its reference to the model {name:13}{distance:.1f}")
    # --8<-- [end:wrong-reference]

    # --8<-- [start:solution-one]
    later = rewards.flip(1).cumsum(1).flip(1)  # this token's and all later
    print(later - values)
    print(advantages(rewards, values, lam=1.0))
    # --8<-- [end:solution-one]

    # --8<-- [start:solution-identity]
    for beta, ((_, log_policy), _) in runs.items():
        if beta == 0:
            continue
        best = rm.optimum(log_reference, learned, beta)
        most = rm.objective(best, log_reference, learned, beta)
        reached = rm.objective(log_policy, log_reference, learned, beta)
        off = (most - reached) / beta - rm.divergence(log_policy, best)
        print(f"beta {beta:4}: 0.01 less is {0.01 / beta:4.2f} nats", end="")
        print(f"; the identity is off by {abs(off):.2f}")
    # --8<-- [end:solution-identity]

    # --8<-- [start:solution-unclipped]
    unclipped = [run(0.1, seed, clip=1e9) for seed in (0, 1)]
    for name, results in (("clipped", runs[0.1]), ("unclipped", unclipped)):
        for seed, (history, _) in enumerate(results):
            objective = history[1:, 0] - 0.1 * history[1:, 2]
            values = "".join(f"{value:6.2f}" for value in objective)
            print(f"{name:9}, seed {seed}:{values}")
    # --8<-- [end:solution-unclipped]
