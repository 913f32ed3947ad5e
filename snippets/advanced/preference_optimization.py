"""Learning from preferences without a reward model: DPO and IPO."""

# --8<-- [start:setting]
import copy

import torch
import torch.nn.functional as F

from snippets.advanced import reward_models as rm

if __name__ == "__main__":
    reference = rm.train_reference(rm.load_names())
    generator = torch.Generator().manual_seed(0)
    pairs = rm.comparisons(reference, 4000, generator)
    held_out = rm.comparisons(reference, 2000, generator)

    everything = rm.every_answer()
    log_reference = rm.by_letter(rm.total(reference), everything)
    true = rm.by_letter(rm.taste, everything)
    true = true - rm.expected(true, log_reference)[:, None]
    print("beta  true reward at best  KL to reference")
    for beta in (1, 0.3):
        best = rm.optimum(log_reference, true, beta)
        mean = rm.expected(true, best).mean()
        distance = rm.divergence(best, log_reference)
        print(f"{beta:4}{mean:21.1f}{distance:17.1f}")
    # --8<-- [end:setting]


# --8<-- [start:gaps]
def gaps(policy, reference, chosen, rejected, averaged=False):
    """The log ratio of chosen answers less that of rejected ones: (n,).

    A log ratio, log policy - log reference, is summed over an answer's
    tokens, or averaged.
    """
    ids = torch.cat([chosen, rejected])
    ratios = rm.total(policy)(ids) - rm.total(reference)(ids)
    if averaged:
        ratios = ratios / rm.answer_mask(ids).sum(1)
    of_chosen, of_rejected = ratios.chunk(2)
    return of_chosen - of_rejected


def dpo_loss(gap, beta):
    """Rafailov 2023, equation 7; gap is (n,)."""
    return -F.logsigmoid(beta * gap).mean()


# --8<-- [end:gaps]


# --8<-- [start:tune]
def tune(reference, pairs, loss_of, beta, seed, steps=200, averaged=False):
    """Yield a policy: the reference, then as it is every 20 steps.

    pairs are chosen and rejected answers; loss_of(gap, beta) is the loss.
    """
    torch.manual_seed(seed)
    policy = copy.deepcopy(reference).requires_grad_(True)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3)
    yield policy
    for step in range(1, steps + 1):
        batch = torch.randint(len(pairs[0]), (64,))
        chosen, rejected = (ids[batch] for ids in pairs)
        gap = gaps(policy, reference, chosen, rejected, averaged)
        loss = loss_of(gap, beta)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            yield policy


# --8<-- [end:tune]


if __name__ == "__main__":
    # --8<-- [start:run]
    def table_of(policy):
        """Log-probabilities of all answers: (6, 1555)."""
        return rm.by_letter(rm.total(policy), everything)

    def report(name, table, beta):
        """Mean true reward, and KL to the optimum of the true reward."""
        mean = rm.expected(true, table).mean()
        best = rm.optimum(log_reference, true, beta)
        distance = rm.divergence(table, best)
        print(f"{beta:<4}  {name:22}{mean:6.1f}{distance:16.1f}")

    print("beta  policy           true reward   KL to optimum")
    tuned = {}
    for beta in (1, 0.3):
        report("reference", log_reference, beta)
        for seed in (0, 1):
            *_, policy = tune(reference, pairs, dpo_loss, beta, seed)
            report(f"DPO, seed {seed}", table_of(policy), beta)
            tuned[beta] = table_of(policy)
    # --8<-- [end:run]

    # --8<-- [start:ppo]
    from snippets.advanced.reward_models_and_rlhf import ppo

    torch.manual_seed(0)
    reward_model = rm.train_reward_model(reference, *pairs)
    reward = rm.centred(reward_model, reference)
    learned = rm.by_letter(reward, everything)

    def letters(generator):
        """The prompts of a step."""
        return rm.first_letters(256, generator)

    print("beta  policy           true reward   KL to optimum")
    for beta in (1, 0.3):
        for seed in (0, 1):
            *_, policy = ppo(reference, reward, letters, 4, beta, seed)
            report(f"PPO, seed {seed}", table_of(policy), beta)
        perfect = rm.optimum(log_reference, learned, beta)
        report("best for its reward", perfect, beta)
    # --8<-- [end:ppo]

    # --8<-- [start:implicit]
    def likeness(table):
        """Correlation with the true reward within letters, and slope.

        Answers count by their probability under the reference.
        """
        table = table - rm.expected(table, log_reference)[:, None]

        def mean(x):
            return rm.expected(x, log_reference).mean()

        together, spread = mean(table * true), mean(true**2)
        return together / (mean(table**2) * spread) ** 0.5, together / spread

    print("reward             correlation  slope")
    for beta, table in tuned.items():
        row = likeness(beta * (table - log_reference))
        print("implicit, beta {:4}{:11.2f}{:7.2f}".format(beta, *row))
    print("reward model       {:11.2f}{:7.2f}".format(*likeness(learned)))
    # --8<-- [end:implicit]

    # --8<-- [start:figure]
    import matplotlib.pyplot as plt

    curves = []
    for policy in tune(reference, pairs, dpo_loss, 0.3, 0):
        with torch.no_grad():
            both = [rm.total(policy)(ids).mean().item() for ids in held_out]
        curves.append(both)
    chosen, letters_of = held_out[0], held_out[0][:, 0] - 1
    rewards = rm.taste(chosen) - rm.expected(
        rm.by_letter(rm.taste, everything), log_reference
    ).index_select(0, letters_of)
    log_z = (log_reference + true / 0.3).logsumexp(dim=1)[letters_of]
    best = rm.total(reference)(chosen) + rewards / 0.3 - log_z
    print(f"chosen, reference {curves[0][0]:6.1f}")
    print(f"chosen, tuned     {curves[-1][0]:6.1f}")
    print(f"chosen, optimum   {best.mean():6.1f}")
    steps = range(0, 201, 20)
    chosen_curve, rejected_curve = zip(*curves, strict=True)
    plt.figure()
    plt.plot(steps, chosen_curve, "o-", label="chosen")
    plt.plot(steps, rejected_curve, "^--", label="rejected")
    plt.xlabel("step of DPO")
    plt.ylabel("log-probability of an answer, nats")
    plt.legend()
    # --8<-- [end:figure]

    # --8<-- [start:trl]
    from datasets import Dataset
    from transformers import LlamaForCausalLM
    from trl import DPOConfig, DPOTrainer

    torch.manual_seed(0)
    policy, frozen = (LlamaForCausalLM(rm.llama_config()) for _ in range(2))

    def texts(ids):
        """Answers as text, without their first letters."""
        return [rm.spell(row)[1:] for row in ids]

    sample = [ids[:64] for ids in held_out]
    data = Dataset.from_dict(
        {
            "prompt": [rm.spell(row[:1]) for row in sample[0]],
            "chosen": texts(sample[0]),
            "rejected": texts(sample[1]),
        }
    )

    def trl_loss(loss_type):
        """TRL's loss of the 64 pairs."""
        trainer = DPOTrainer(
            policy,
            frozen,
            DPOConfig(
                loss_type=[loss_type],
                beta=0.3,
                per_device_train_batch_size=64,
                **rm.quiet(),
            ),
            train_dataset=data,
            processing_class=rm.letter_tokenizer(),
        )
        batch = next(iter(trainer.get_train_dataloader()))
        return trainer.compute_loss(policy, batch).item()

    # --8<-- [end:trl]


# --8<-- [start:ipo]
def ipo_loss(gap, beta):
    """Azar 2023, equation 17: the gap is to be 1 / (2 beta)."""
    return ((gap - 1 / (2 * beta)) ** 2).mean()


# --8<-- [end:ipo]


if __name__ == "__main__":
    # --8<-- [start:equal]
    padded = [F.pad(ids, (0, 1)) for ids in sample]  # TRL ends all names
    with torch.no_grad():
        summed, averaged = (
            gaps(rm.logits_of(policy), rm.logits_of(frozen), *padded, kind)
            for kind in (False, True)
        )
    for name, ours in (
        ("sigmoid", dpo_loss(summed, 0.3)),
        ("sigmoid_norm", dpo_loss(averaged, 0.3)),
        ("ipo", ipo_loss(averaged, 0.3)),
    ):
        print(f"{name:13} TRL {trl_loss(name):.4f}, ours {ours:.4f}")
    # --8<-- [end:equal]

    # --8<-- [start:averaged]
    length = rm.answer_mask(everything).sum(1).view(6, -1)
    print("over tokens  true reward  KL to optimum  tokens")
    for name, averaged in (("summed", False), ("averaged", True)):
        *_, policy = tune(
            reference, pairs, dpo_loss, 0.3, 0, averaged=averaged
        )
        table = table_of(policy)
        row = (
            rm.expected(true, table).mean(),
            rm.divergence(table, rm.optimum(log_reference, true, 0.3)),
            rm.expected(length, table).mean(),
        )
        print("{:11}{:13.1f}{:15.1f}{:8.1f}".format(name, *row))
    # --8<-- [end:averaged]

    # --8<-- [start:sure]
    rewards = [rm.taste(ids)[:, None] for ids in pairs]
    better = torch.where(rewards[0] >= rewards[1], *pairs)
    worse = torch.where(rewards[0] >= rewards[1], *pairs[::-1])
    apart = (rewards[0] != rewards[1])[:, 0]
    few = better[apart][:30], worse[apart][:30]  # no doubt about any

    print("step", *[f"{step:6}" for step in (100, 200, 300, 400)])
    for name, loss_of in (("DPO", dpo_loss), ("IPO", ipo_loss)):
        means = []
        for policy in tune(reference, few, loss_of, 0.3, 0, steps=400):
            with torch.no_grad():
                means.append(gaps(policy, reference, *few).mean().item())
        print(f"{name:4}", *[f"{mean:6.1f}" for mean in means[5::5]])
    # --8<-- [end:sure]

    # --8<-- [start:solution-start]
    gap = torch.zeros(1, requires_grad=True)
    for beta in (1, 0.3):
        loss = dpo_loss(gap, beta)
        (gradient,) = torch.autograd.grad(loss, gap)
        print(f"loss {loss.item():.3f}, gradient {gradient.item():.2f}")
    # --8<-- [end:solution-start]

    # --8<-- [start:solution-low]
    *_, policy = tune(reference, pairs, dpo_loss, 0.03, 0)
    report("DPO", table_of(policy), 0.03)
    chosen_now = rm.total(policy)(held_out[0]).mean()
    print(f"log-probability of chosen answers {chosen_now:.0f}")
    # --8<-- [end:solution-low]

    # --8<-- [start:solution-pairs]
    for n in (250, 1000, 4000):
        fewer = [ids[:n] for ids in pairs]
        *_, policy = tune(reference, fewer, dpo_loss, 1, 0)
        report(f"{n} pairs", table_of(policy), 1)
    # --8<-- [end:solution-pairs]
