"""Learning a reward from comparisons of answers."""

# --8<-- [start:language]
import copy
from importlib.resources import files

import torch
import torch.nn.functional as F
from torch import nn

from snippets.advanced.transfer_learning import descend
from snippets.architectures.transformer import GPT

LETTERS = ".aeilnr"  # a point ends a name
END, LONGEST = 0, 5


def load_names():
    """Names of the US census of 1990 in six letters: ids (names, 5)."""
    names = set()
    for part in ("all.last", "female.first", "male.first"):
        text = files("names").joinpath(f"dist.{part}").read_text("ascii")
        names |= {line.split()[0].lower() for line in text.splitlines()}
    fit = [n for n in names if len(n) <= LONGEST and set(n) <= set(LETTERS)]
    rows = [[LETTERS.index(c) for c in n.ljust(5, ".")] for n in sorted(fit)]
    return torch.tensor(rows)


def spell(ids):
    """The text of ids, (seq,), up to its end."""
    return "".join(LETTERS[i] for i in ids.tolist()).split(".")[0]


# --8<-- [end:language]


# --8<-- [start:log-probs]
def answer_mask(ids, n_prompt=1):
    """1 for the tokens of an answer and for its end, 0 behind: (n, answer)."""
    ends = (ids[:, n_prompt:] == END).int()
    return (ends.cumsum(1) - ends == 0).float()


def log_probs(model, ids, n_prompt=1):
    """Log-probability of each token of the answers, (n, answer)."""
    logits = model(ids[:, :-1])[:, n_prompt - 1 :]
    chosen = logits.log_softmax(-1).gather(2, ids[:, n_prompt:, None])
    return chosen.squeeze(2) * answer_mask(ids, n_prompt)


@torch.no_grad()
def sample(model, prompts, n_tokens, generator):
    """Prompts, (n, n_prompt), and answers of up to n_tokens behind them."""
    ids, ended = prompts, torch.zeros(len(prompts), 1, dtype=torch.bool)
    for _ in range(n_tokens):
        probabilities = model(ids)[:, -1].softmax(-1)
        new = torch.multinomial(probabilities, 1, generator=generator)
        new = new.masked_fill(ended, END)
        ids, ended = torch.cat([ids, new], dim=1), ended | (new == END)
    return ids


# --8<-- [end:log-probs]


# --8<-- [start:reference]
def first_letters(n, generator):
    """Prompts: n letters at random, (n, 1)."""
    return torch.randint(1, len(LETTERS), (n, 1), generator=generator)


def small_gpt(seed):
    """A GPT of one block that has learned nothing."""
    torch.manual_seed(seed)
    return GPT(len(LETTERS), 32, n_heads=2, n_layers=1, context=LONGEST)


def train_reference(names, steps=150, seed=0):
    """A small GPT that spells names."""
    model = small_gpt(seed)
    batches = (names[torch.randint(len(names), (64,))] for _ in range(steps))
    losses = (-log_probs(model, ids).sum(1).mean() for ids in batches)
    descend(model, losses, 3e-3)
    return model.requires_grad_(False)


if __name__ == "__main__":
    names = load_names()
    reference = train_reference(names)
    generator = torch.Generator().manual_seed(0)
    drawn = sample(reference, first_letters(12, generator), 4, generator)
    print(len(names), "names;", "and as the model spells them:")
    print(*[spell(ids) for ids in drawn])
    # --8<-- [end:reference]


# --8<-- [start:taste]
def taste(ids):
    """The true reward: 2 for each letter a, -4 for each pair aa: (n,)."""
    a = (ids == LETTERS.index("a")).float()
    return 2 * a.sum(1) - 4 * (a[:, 1:] * a[:, :-1]).sum(1)


def prefer(one, two, generator):
    """Answers that simulated people choose, and those they reject.

    All are (n, 5). The chance to choose one is sigmoid(r_one - r_two).
    """
    chance = torch.sigmoid(taste(one) - taste(two))
    first = torch.rand(len(one), generator=generator) < chance
    chosen = torch.where(first[:, None], one, two)
    return chosen, torch.where(first[:, None], two, one)


def comparisons(model, n, generator):
    """A model's answers, two to each of n letters, as people choose."""
    prompts = first_letters(n, generator)
    one, two = (sample(model, prompts, 4, generator) for _ in range(2))
    return prefer(one, two, generator)


# --8<-- [end:taste]


if __name__ == "__main__":
    # --8<-- [start:pairs]
    chosen, rejected = comparisons(reference, 4000, generator)
    for one, two in zip(chosen[:4], rejected[:4], strict=True):
        print(f"{spell(one):6} rather than {spell(two)}")
    a = torch.stack([chosen, rejected]) == LETTERS.index("a")
    doubled = (a[..., 1:] & a[..., :-1]).any(dim=2).any(dim=0)
    print(f"{doubled.sum()} of 4,000 pairs have two a in a row")
    # --8<-- [end:pairs]

    # --8<-- [start:gradient]
    gap = torch.tensor([3.0, 0.0, -3.0])  # r_chosen - r_rejected
    gap.requires_grad_()
    loss = -F.logsigmoid(gap)
    loss.sum().backward()
    print("loss    ", loss.detach())
    print("gradient", gap.grad)
    print("formula ", -torch.sigmoid(-gap.detach()))
    # --8<-- [end:gradient]


# --8<-- [start:reward-model]
def with_scalar_head(model):
    """A copy of a GPT that gives one number at each position, at first 0."""
    copied = copy.deepcopy(model).requires_grad_(True)
    copied.head = nn.Linear(model.head.in_features, 1)
    nn.init.zeros_(copied.head.weight)
    nn.init.zeros_(copied.head.bias)
    return copied


def score(reward_model, ids, n_prompt=1):
    """What a reward model says at the last token of each answer: (n,)."""
    last = n_prompt - 1 + answer_mask(ids, n_prompt).sum(1).long()
    return reward_model(ids)[torch.arange(len(ids)), last, 0]


def bradley_terry_loss(chosen_rewards, rejected_rewards):
    """-log sigmoid(r_chosen - r_rejected), its mean; both (n,)."""
    return -F.logsigmoid(chosen_rewards - rejected_rewards).mean()


def train_reward_model(start, chosen, rejected, steps=300):
    """Maximum likelihood on comparisons, from the weights of a GPT."""
    model = with_scalar_head(start)

    def losses():
        for _ in range(steps):
            batch = torch.randint(len(chosen), (64,))
            ids = torch.cat([chosen[batch], rejected[batch]])
            yield bradley_terry_loss(*score(model, ids).chunk(2))

    descend(model, losses(), 1e-3)
    return model.requires_grad_(False)


# --8<-- [end:reward-model]


# --8<-- [start:agreement]
def agreement(rewards, chosen, rejected):
    """Share of pairs that rewards(ids) ranks as people did; half of a 95 %
    interval.
    """
    gap = rewards(chosen) - rewards(rejected)
    right = (gap > 0).float() + 0.5 * (gap == 0)  # a tie is half right
    return right.mean(), 1.96 * right.std() / len(gap) ** 0.5


# --8<-- [end:agreement]


if __name__ == "__main__":
    # --8<-- [start:held-out]
    reward_model = train_reward_model(small_gpt(0), chosen, rejected)
    held_out = comparisons(reference, 4000, generator)

    def raw(ids):
        """The reward model's own numbers."""
        return score(reward_model, ids)

    for name, rewards in (("reward model", raw), ("true reward", taste)):
        mean, half = agreement(rewards, *held_out)
        print(f"{name:13}{mean:.2f} (± {half:.2f})")
    tied = (taste(held_out[0]) == taste(held_out[1])).float().mean()
    print(f"true rewards alike in {tied:.2f} of the pairs")
    # --8<-- [end:held-out]


# --8<-- [start:every-answer]
def every_answer():
    """All answers of up to four tokens behind each first letter.

    ids are (6 * 1555, 5), those of one letter after those of another.
    """
    tokens = torch.arange(len(LETTERS))
    answers = torch.cartesian_prod(*[tokens] * (LONGEST - 1))
    behind = F.pad(answers, (1, 0))  # a column, so that it looks like ids
    answers = answers[(answers * (1 - answer_mask(behind))).sum(1) == 0]
    letters = torch.arange(1, len(LETTERS)).repeat_interleave(len(answers))
    return torch.cat([letters[:, None], answers.repeat(6, 1)], dim=1)


@torch.no_grad()
def by_letter(function, ids):
    """function(ids) as a table, (6 letters, answers)."""
    return function(ids).view(len(LETTERS) - 1, -1)


def total(model):
    """A function from ids to the log-probability of whole answers."""
    return lambda ids: log_probs(model, ids).sum(1)


# --8<-- [end:every-answer]


if __name__ == "__main__":
    # --8<-- [start:sums]
    everything = every_answer()
    log_reference = by_letter(total(reference), everything)
    print("letters and answers", tuple(log_reference.shape))
    print("sums", log_reference.exp().sum(1))
    # --8<-- [end:sums]


# --8<-- [start:expected]
def expected(table, log_policy):
    """Mean of a table, (letters, answers), under a policy: (letters,)."""
    return (log_policy.exp() * table).sum(1)


def favourites(table):
    """The largest entry's answer to each first letter, as text."""
    answers = every_answer().view(*table.shape, LONGEST)
    best = enumerate(table.argmax(dim=1))
    return " ".join(spell(answers[i, j]) for i, j in best)


# --8<-- [end:expected]


if __name__ == "__main__":
    # --8<-- [start:constant]
    true, learned = (by_letter(each, everything) for each in (taste, raw))
    print("first letter", *[f"{letter:>5}" for letter in LETTERS[1:]])
    for name, table in (("true", true), ("learned", learned)):
        means = expected(table, log_reference)
        print(f"{name:12}", *[f"{mean:5.1f}" for mean in means])
    # --8<-- [end:constant]


# --8<-- [start:centred]
def centred(reward_model, reference):
    """A reward model's function of ids, its mean 0 for each prompt.

    The mean is that of the reference's answers.
    """
    ids = every_answer()
    table = by_letter(lambda ids: score(reward_model, ids), ids)
    offsets = expected(table, by_letter(total(reference), ids))
    return lambda ids: score(reward_model, ids) - offsets[ids[:, 0] - 1]


# --8<-- [end:centred]


# --8<-- [start:optimum]
def optimum(log_reference, reward, beta):
    """Log of reference * exp(reward / beta), normalised for each prompt.

    Tables are (prompts, answers). Rafailov 2023, equation 4.
    """
    return (log_reference + reward / beta).log_softmax(dim=1)


def divergence(log_p, log_q):
    """KL(p || q) in nats, its mean over prompts."""
    return (log_p.exp() * (log_p - log_q)).sum(1).mean().item()


def objective(log_policy, log_reference, reward, beta):
    """J: mean reward less beta times the KL to the reference."""
    distance = divergence(log_policy, log_reference)
    return expected(reward, log_policy).mean().item() - beta * distance


# --8<-- [end:optimum]


if __name__ == "__main__":
    # --8<-- [start:frontier]
    reward = centred(reward_model, reference)
    learned = by_letter(reward, everything)
    true = true - expected(true, log_reference)[:, None]
    rows = []
    for beta in (3, 1, 0.3, 0.1, 0.03, 0.01, 0.003):
        best = optimum(log_reference, learned, beta)
        means = (expected(table, best).mean() for table in (learned, true))
        rows.append((beta, divergence(best, log_reference), *means))
    print(" beta  KL to reference  learned reward  true reward")
    for row in rows:
        print("{:5}{:17.1f}{:14.1f}{:13.1f}".format(*row))
    # --8<-- [end:frontier]

    # --8<-- [start:figure]
    import matplotlib.pyplot as plt

    betas, distances, learned_means, true_means = zip(*rows, strict=True)
    plt.figure()
    plt.plot(distances, learned_means, "o-", label="learned reward")
    plt.plot(distances, true_means, "^--", label="true reward")
    for beta, x, y in zip(betas, distances, true_means, strict=True):
        plt.annotate(f"{beta}", (x, y), (0, -14), textcoords="offset points")
    plt.xlabel("KL to the reference, nats")
    plt.ylabel("mean reward")
    plt.legend()
    # --8<-- [end:figure]


# --8<-- [start:llama]
def letter_tokenizer(letters=LETTERS):
    """A tokenizer of transformers: a token a letter, the first is the end."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import TokenizersBackend

    end = letters[END]
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    splitter = Tokenizer(models.WordLevel(vocabulary, unk_token=end))
    splitter.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return TokenizersBackend(
        tokenizer_object=splitter, eos_token=end, pad_token=end
    )


def llama_config(letters=LETTERS, **changes):
    """A Llama of one block, as small as our GPT."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(letters),
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=END,
        **changes,
    )


def logits_of(model):
    """A model of transformers as log_probs wants it: ids to logits."""
    return lambda ids: model(ids).logits


# --8<-- [end:llama]


# --8<-- [start:silent]
def quiet():
    """Settings of TRL's trainers: on the CPU, printing and saving nothing."""
    import warnings

    # TRL 1.16 uses names that transformers 5.24 deprecates.
    warnings.filterwarnings("ignore", ".*checkpointing.* is deprecated")
    return {
        "use_cpu": True,
        "bf16": False,  # TRL's default is True, on a CPU, too
        "disable_tqdm": True,
        "logging_strategy": "no",
        "report_to": "none",
        "save_strategy": "no",
    }


def silent(trainer):
    """The trainer, which prints no log any more."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


# --8<-- [end:silent]


if __name__ == "__main__":
    # --8<-- [start:trl]
    from datasets import Dataset
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    torch.manual_seed(0)
    llama = LlamaForSequenceClassification(llama_config(num_labels=1))
    pairs = {
        "chosen": [spell(ids) for ids in chosen],
        "rejected": [spell(ids) for ids in rejected],
    }
    arguments = RewardConfig(
        max_steps=200,
        per_device_train_batch_size=64,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        **quiet(),
    )
    trainer = RewardTrainer(
        llama,
        arguments,
        train_dataset=Dataset.from_dict(pairs),
        processing_class=letter_tokenizer(),
    )
    silent(trainer).train()

    @torch.no_grad()
    def trl_rewards(ids):
        """What the Llama says of names: (n,)."""
        return llama.eval()(ids).logits[:, 0]

    mean, half = agreement(trl_rewards, *held_out)
    print(f"TRL's reward model {mean:.2f} (± {half:.2f})")
    # --8<-- [end:trl]

    # --8<-- [start:other-models]
    def report(seed, start, pairs):
        """Train a reward model; print its agreement and its favourites."""
        torch.manual_seed(seed)
        other = centred(train_reward_model(start, *pairs), reference)
        table = by_letter(other, everything)
        best = true.gather(1, table.argmax(dim=1)[:, None]).mean()
        agreed, _ = agreement(other, *held_out)
        print(f"{agreed:.2f}{best:12.1f}   {favourites(table)}")

    print(f"the first one {favourites(learned):>45}")
    print("agrees   true reward   favourites")
    for seed in (1, 2):
        report(seed, small_gpt(seed), (chosen, rejected))
    # --8<-- [end:other-models]

    # --8<-- [start:from-reference]
    for seed in (1, 2):
        report(seed, reference, (chosen, rejected))
    # --8<-- [end:from-reference]

    # --8<-- [start:solution-best-of]
    prompts = first_letters(1000, generator)
    drawn = [sample(reference, prompts, 4, generator) for _ in range(64)]
    scores = torch.stack([reward(ids) for ids in drawn])  # (64, 1000)
    truth = torch.stack([taste(ids) for ids in drawn])
    print("answers  learned  true")
    for n in (1, 4, 16, 64):
        best = scores[:n].argmax(dim=0, keepdim=True)
        pair = (each.gather(0, best).mean() for each in (scores, truth))
        print("{:7}{:9.1f}{:6.1f}".format(n, *pair))
    # --8<-- [end:solution-best-of]

    # --8<-- [start:solution-few]
    for n in (500, 1000, 4000):
        torch.manual_seed(1)
        fewer = chosen[:n], rejected[:n]
        model = train_reward_model(small_gpt(1), *fewer)
        share, _ = agreement(centred(model, reference), *held_out)
        print(f"{n:4} comparisons: {share:.2f}")
    # --8<-- [end:solution-few]

    # --8<-- [start:solution-win-rate]
    answers = everything.view(6, -1, LONGEST)
    for beta in (1, 0.1, 0.01, 0.003):
        prompts = first_letters(1000, generator)
        table = optimum(log_reference, learned, beta).exp()
        rows = table[prompts[:, 0] - 1]
        places = torch.multinomial(rows, 1, generator=generator)
        new = answers[prompts - 1, places][:, 0]
        usual = sample(reference, prompts, 4, generator)
        chosen, _ = prefer(new, usual, generator)
        same = (new == usual).all(dim=1)  # counts half
        won = (chosen == new).all(dim=1).float() - 0.5 * same
        print(f"beta {beta:5}: preferred to the reference {won.mean():.2f}")
    # --8<-- [end:solution-win-rate]
