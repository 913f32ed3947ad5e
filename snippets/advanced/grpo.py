"""GRPO: reinforcement learning from answers that can be checked."""

# --8<-- [start:sums]
import copy

import torch

from snippets.advanced import reward_models as rm
from snippets.advanced.reward_models_and_rlhf import policy_loss
from snippets.advanced.transfer_learning import descend
from snippets.architectures.transformer import GPT

CHARACTERS = ".0123456789+="  # a point ends an answer
N_PROMPT, N_ANSWER = 4, 3


def all_sums():
    """The 100 sums of two digits with their answers: ids (100, 7)."""
    texts = [f"{a}+{b}={a + b}" for a in range(10) for b in range(10)]
    rows = [[CHARACTERS.index(c) for c in t.ljust(7, ".")] for t in texts]
    return torch.tensor(rows)


def text_of(ids):
    """The characters of ids, (seq,)."""
    return "".join(CHARACTERS[i] for i in ids.tolist())


# --8<-- [end:sums]


# --8<-- [start:pretrain]
def log_right(model):
    """Log-probability of the right answer to each sum: (100,)."""
    return rm.log_probs(model, all_sums(), N_PROMPT).sum(1)


def fit(model, logits, steps):
    """Cross-entropy on random sums; logits(ids) reads with the model."""

    def losses():
        for _ in range(steps):
            batch = all_sums()[torch.randint(100, (50,))]
            yield -rm.log_probs(logits, batch, N_PROMPT).sum(1).mean()

    descend(model, losses(), 3e-3)


def pretrain(seed, steps=100):
    """A GPT that has seen each sum some fifty times: not often enough."""
    torch.manual_seed(seed)
    model = GPT(len(CHARACTERS), 48, n_layers=1, context=7)
    fit(model, model, steps)
    return model.requires_grad_(False)


# --8<-- [end:pretrain]


if __name__ == "__main__":
    # --8<-- [start:start]
    model = pretrain(0)
    prompts = all_sums()[:, :N_PROMPT]
    generator = torch.Generator().manual_seed(0)
    print(f"right: {log_right(model).exp().mean():.2f}")
    for row in (27, 78):
        same = prompts[row].expand(8, -1)
        drawn = rm.sample(model, same, N_ANSWER, generator)
        answers = [text_of(ids).strip(".") for ids in drawn[:, N_PROMPT:]]
        print(text_of(prompts[row]), *answers)
    # --8<-- [end:start]


# --8<-- [start:advantages]
def group_advantages(rewards, scaled=True):
    """Rewards less their group's mean, over its spread: (groups, size).

    Shao 2024, section 4.1.2; unscaled as in Liu 2025.
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if not scaled:
        return centred
    return centred / (rewards.std(dim=1, keepdim=True) + 1e-4)


# --8<-- [end:advantages]


if __name__ == "__main__":
    # --8<-- [start:by-hand]
    for rights in (1, 4, 7, 8):
        group = torch.zeros(1, 8)
        group[0, :rights] = 1
        first, last = group_advantages(group)[0, [0, -1]]
        print(f"{rights} of 8 right: first {first:5.2f}, last {last:5.2f}")
    # --8<-- [end:by-hand]


# --8<-- [start:grpo]
def check(ids):
    """1 for each answer that is the sum, to the end: (n,)."""
    row = 10 * (ids[:, 0] - 1) + ids[:, 2] - 1  # ids of digits are one more
    return (ids == all_sums()[row]).all(dim=1).float()


def grpo(start, reward, seed, steps=30, size=8, scaled=True):
    """Yield, after each step, the policy and what happened in the step.

    That is the rewards, (100, size), and loss and gradient's norm of the
    first of four updates.
    """
    generator = torch.Generator().manual_seed(seed)
    policy = copy.deepcopy(start).requires_grad_(True)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3)
    prompts = all_sums()[:, :N_PROMPT].repeat_interleave(size, dim=0)
    for _ in range(steps):
        ids = rm.sample(policy, prompts, N_ANSWER, generator)
        rewards = reward(ids).view(-1, size)
        advantage = group_advantages(rewards, scaled).view(-1, 1)
        mask = rm.answer_mask(ids, N_PROMPT)
        old = rm.log_probs(policy, ids, N_PROMPT).detach()
        seen = []
        for _ in range(4):
            new = rm.log_probs(policy, ids, N_PROMPT)
            loss = policy_loss(new, old, advantage, mask)
            optimizer.zero_grad()
            loss.backward()
            squares = [p.grad.square().sum() for p in policy.parameters()]
            seen.append((loss.item(), sum(squares).sqrt().item()))
            optimizer.step()
        yield policy, rewards, *seen[0]


# --8<-- [end:grpo]


if __name__ == "__main__":
    # --8<-- [start:run]
    def right(policy):
        """Probability of a right answer, mean over all sums."""
        with torch.no_grad():
            return log_right(policy).exp().mean().item()

    def signal(rewards):
        """Share of groups whose rewards are not all the same."""
        return (rewards.std(dim=1) > 0).float().mean().item()

    print("seed  right before  after")
    histories = []
    for seed in (0, 1, 2):
        start = pretrain(seed)
        history = list(grpo(start, check, seed))
        histories.append([rewards for _, rewards, _, _ in history])
        row = right(start), right(history[-1][0])
        print("{:4}{:14.2f}{:7.2f}".format(seed, *row))
    for name, step in (("first", 0), ("last", -1)):
        shares = [signal(rewards[step]) for rewards in histories]
        print(f"groups with signal, {name} step: {sum(shares) / 3:.1f}")
    # --8<-- [end:run]

    # --8<-- [start:figure]
    import matplotlib.pyplot as plt

    shares = torch.stack([torch.stack(each) for each in histories])
    shares = shares.mean(dim=3)  # of right answers: (seeds, steps, sums)
    plt.figure()
    for name, which, style in (
        ("all right", shares == 1, "-"),
        ("some right, some wrong", (shares > 0) & (shares < 1), "--"),
        ("all wrong", shares == 0, ":"),
    ):
        plt.plot(which.float().mean(dim=(0, 2)), style, label=name)
    plt.xlabel("step of GRPO")
    plt.ylabel("share of groups")
    plt.ylim(0, 1)
    plt.legend()
    # --8<-- [end:figure]

    # --8<-- [start:loss]
    print("step  loss   gradient  mean reward")
    for step, (_, rewards, loss, norm) in enumerate(history):
        if step in (0, 10, 20):
            mean = rewards.mean()
            print(f"{step:4}{abs(loss):6.1f}{norm:10.0f}{mean:12.1f}")
    # --8<-- [end:loss]

    # --8<-- [start:control]
    dice = torch.Generator().manual_seed(0)

    def chance(ids):
        """A reward at random, right half of the time."""
        return torch.randint(2, (len(ids),), generator=dice).float()

    for name, reward in (("checked", check), ("at random", chance)):
        for seed in (0, 1):
            *_, (policy, *_) = grpo(model, reward, seed, steps=10)
            print(f"{name:10}{right(model):.2f} -> {right(policy):.2f}")
    # --8<-- [end:control]

    # --8<-- [start:defaults]
    from trl import GRPOConfig

    defaults = GRPOConfig(**rm.quiet())
    for name in (
        "beta",
        "loss_type",
        "scale_rewards",
        "epsilon",
        "num_generations",
        "num_iterations",
    ):
        print(f"{name:16}{getattr(defaults, name)}")
    # --8<-- [end:defaults]

    # --8<-- [start:trl]
    from datasets import Dataset
    from transformers import LlamaForCausalLM
    from trl import GRPOTrainer

    torch.manual_seed(0)
    llama = LlamaForCausalLM(rm.llama_config(CHARACTERS))

    llama_logits = rm.logits_of(llama)

    def checked(prompts, completion_ids, **_):
        """Our check of TRL's answers, as a list."""
        rows = zip(prompts, completion_ids, strict=True)
        rows = [
            [CHARACTERS.index(c) for c in asked] + [*answer, 0, 0][:N_ANSWER]
            for asked, answer in rows
        ]
        return check(torch.tensor(rows)).tolist()

    fit(llama, llama_logits, steps=150)
    print(f"right: {right(llama_logits):.2f}")
    trainer = GRPOTrainer(
        llama,
        checked,
        GRPOConfig(
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            per_device_train_batch_size=800,
            num_iterations=4,
            max_completion_length=N_ANSWER,
            max_steps=60,
            **rm.quiet(),
        ),
        Dataset.from_dict({"prompt": [text_of(ids) for ids in prompts]}),
        processing_class=rm.letter_tokenizer(CHARACTERS),
    )
    rm.silent(trainer).train()
    print(f"right: {right(llama_logits):.2f}")
    # --8<-- [end:trl]

    # --8<-- [start:weak]
    for steps in (30, 60):
        weak = pretrain(0, steps)
        *_, (policy, rewards, _, _) = grpo(weak, check, 0, steps=15)
        print(f"{steps} steps: {right(weak):.2f} -> {right(policy):.2f}")
    # --8<-- [end:weak]

    # --8<-- [start:solution-sums]
    group = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    for scaled in (True, False):
        found = group_advantages(group, scaled)
        print(found, f"sum {found.sum().abs():.1f}")
    # --8<-- [end:solution-sums]

    # --8<-- [start:solution-unscaled]
    for scaled in (True, False):
        for seed in (0, 1):
            training = grpo(model, check, seed, steps=10, scaled=scaled)
            *_, (policy, *_) = training
            print(f"scaled {scaled!s:5}, seed {seed}: {right(policy):.2f}")
    # --8<-- [end:solution-unscaled]

    # --8<-- [start:solution-size]
    for size, steps in ((2, 40), (8, 10), (16, 5)):
        training = grpo(model, check, 0, steps, size)
        *_, (policy, rewards, _, _) = training
        print(f"{size:2} answers a sum, {steps:2} steps", end="")
        print(f", signal {signal(rewards):.2f}: {right(policy):.2f}")
    # --8<-- [end:solution-size]
