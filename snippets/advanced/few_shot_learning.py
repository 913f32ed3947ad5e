"""Learning a class from a handful of examples."""

# --8<-- [start:episode]
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def episode(classes, n_way, n_each, rng):
    """Draw n_way classes, n_each examples of each: (n_way, n_each, ...).

    classes is a list of tensors, one a class, of shape (examples, ...).
    """
    chosen = rng.choice(len(classes), n_way, replace=False)
    drawn = [
        classes[c][rng.choice(len(classes[c]), n_each, replace=False)]
        for c in chosen
    ]
    return torch.stack(drawn)


# --8<-- [end:episode]


# --8<-- [start:nearest]
def nearest(support, query):
    """Minus the distance to a class's nearest example: (n, n_way).

    support is (n_way, k_shot, d), query (n, d).
    """
    n_way, k_shot, _ = support.shape
    distances = torch.cdist(query, support.flatten(0, 1))
    return -distances.unflatten(1, (n_way, k_shot)).amin(dim=2)


def episode_accuracies(classes, rule, k_shot, n_way=5, n_episodes=100):
    """Accuracy of a rule on 10 queries a class, episode by episode."""
    rng = np.random.default_rng(0)  # the same episodes for each rule
    truth = torch.arange(n_way).repeat_interleave(10)
    scores = []
    for _ in range(n_episodes):
        features = episode(classes, n_way, k_shot + 10, rng)
        support, query = features[:, :k_shot], features[:, k_shot:]
        guess = rule(support, query.flatten(0, 1)).argmax(dim=1)
        scores.append((guess == truth).float().mean().item())
    return np.array(scores)


# --8<-- [end:nearest]


if __name__ == "__main__":
    # --8<-- [start:pixels]
    from snippets.architectures.cnn import mnist_sets

    (images, labels), (test_images, test_labels) = mnist_sets()
    new = [test_images[test_labels == digit] for digit in range(5, 10)]
    pixels = [x.flatten(1) for x in new]
    for k_shot in (1, 5, 20):
        scores = episode_accuracies(pixels, nearest, k_shot)
        half = 1.96 * scores.std(ddof=1) / len(scores) ** 0.5
        print(f"{k_shot:2}-shot accuracy {scores.mean():.2f} ± {half:.2f}")
    # --8<-- [end:pixels]


# --8<-- [start:prototypes]
def prototypical(support, query):
    """-|f(x) - c_k|^2 / sqrt(d): (n, n_way), from prototypes c_k.

    support is (n_way, k_shot, d), query (n, d).
    """
    prototypes = support.mean(dim=1)  # (n_way, d)
    squares = torch.cdist(query, prototypes).square()
    return -squares / query.shape[1] ** 0.5


# --8<-- [end:prototypes]


# --8<-- [start:episode-losses]
def episode_losses(body, classes, n_way, k_shot, n_query, steps, seed):
    """The loss of one random episode after another."""
    rng = np.random.default_rng(seed)
    truth = torch.arange(n_way).repeat_interleave(n_query)
    for _ in range(steps):
        x = episode(classes, n_way, k_shot + n_query, rng)
        features = body(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        support, query = features[:, :k_shot], features[:, k_shot:]
        logits = prototypical(support, query.flatten(0, 1))
        yield F.cross_entropy(logits, truth)


# --8<-- [end:episode-losses]


if __name__ == "__main__":
    # --8<-- [start:turned]
    turned = [
        torch.rot90(images[labels == digit], quarter, (2, 3))
        for digit in range(5)
        for quarter in range(4)
    ]
    all_turned = torch.cat(turned)
    names = torch.cat([torch.full((len(x),), i) for i, x in enumerate(turned)])
    print(f"{len(turned)} classes, {len(all_turned)} images")
    # --8<-- [end:turned]

    # --8<-- [start:train]
    from snippets.advanced.transfer_learning import (
        batch_losses,
        conv_body,
        descend,
    )

    bodies = {"random": [], "classifier": [], "prototypical": []}
    for seed in range(5):
        torch.manual_seed(seed)
        model = nn.Sequential(conv_body(), nn.Linear(1024, len(turned)))
        bodies["random"].append(conv_body().eval())
        losses = batch_losses(model, all_turned, names, 300, seed)
        descend(model, losses, 1e-3)
        bodies["classifier"].append(model[0].eval())
        body = conv_body()
        losses = episode_losses(body, turned, 20, 2, 3, 150, seed)
        descend(body, losses, 1e-3)
        bodies["prototypical"].append(body.eval())
    # --8<-- [end:train]

    # --8<-- [start:compare]
    shots = (1, 2, 5, 10, 20)

    @torch.no_grad()
    def curve(body):
        """Mean accuracy on the new digits at each number of shots."""
        features = [body(x) for x in new]
        return [
            episode_accuracies(features, prototypical, k).mean() for k in shots
        ]

    scores = {"pixels": np.array([curve(nn.Flatten())])}
    for name, group in bodies.items():
        scores[name] = np.array([curve(body) for body in group])  # (5, shots)
    print("shots        ", *[f"{k:5}" for k in shots])
    for name, score in scores.items():
        print(f"{name:13}", *[f"{mean:5.2f}" for mean in score.mean(0)])
    # --8<-- [end:compare]

    # --8<-- [start:compare-figure]
    import matplotlib.pyplot as plt
    from scipy.stats import sem

    plt.figure()
    for (name, score), marker in zip(scores.items(), "xvso", strict=True):
        half = 2.776 * sem(score) if len(score) > 1 else None
        plt.errorbar(
            shots, score.mean(0), half, marker=marker, label=name, capsize=3
        )
    plt.xscale("log")
    plt.xticks(shots, shots)
    plt.minorticks_off()
    plt.xlabel("shots")
    plt.ylabel("accuracy among five new digits")
    plt.legend()
    # --8<-- [end:compare-figure]


# --8<-- [start:label-scores]
@torch.no_grad()
def label_scores(model, tokenizer, shots, queries, labels):
    """Log-probability of each label after each query: (queries, labels).

    shots are pairs of a text and its label. All queries have the same
    number of tokens, and each label is one token.
    """
    text = "".join(f"{shot}:{label}\n" for shot, label in shots)
    prefix = tokenizer(text, return_tensors="pt").input_ids
    cache = model(prefix, use_cache=True).cache  # the shots are read once
    cache.batch_repeat_interleave(len(queries))
    ids = torch.tensor([tokenizer(f"{q}:").input_ids for q in queries])
    logits = model(ids, cache=cache).logits[:, -1]
    columns = [tokenizer(label).input_ids[0] for label in labels]
    return logits.log_softmax(dim=-1)[:, columns]


# --8<-- [end:label-scores]


if __name__ == "__main__":
    # --8<-- [start:names]
    from importlib.resources import files

    from snippets.start.language_model import load

    model, tokenizer = load()

    def common(kind):
        """The commonest names of a kind that are two tokens long."""
        text = files("names").joinpath(f"dist.{kind}").read_text("ascii")
        names = [line.split()[0].title() for line in text.splitlines()[:2500]]
        return [n for n in names if len(tokenizer(n).input_ids) == 2]

    female, male = common("female.first"), common("male.first")
    last = common("all.last")
    pairs = zip(female, male, strict=False)  # by rank
    first = [n for pair in pairs for n in pair if n not in last]
    last = [n for n in last if n not in female + male]
    queries = first[100:120] + last[100:120]
    truth = torch.arange(2).repeat_interleave(20)
    print(*first[:5], *last[:5])
    # --8<-- [end:names]

    # --8<-- [start:one-shot]
    def draw_shots(k, seed):
        """k names of each kind in random order, as pairs (name, 0 or 1)."""
        rng = np.random.default_rng(seed)
        pairs = [(name, 0) for name in rng.choice(first[:100], k, False)]
        pairs += [(name, 1) for name in rng.choice(last[:100], k, False)]
        return [pairs[place] for place in rng.permutation(2 * k)]

    def ask(shots):
        """Log-probabilities of "first" and "last": (queries, 2)."""
        kinds = (" first", " last")
        shots = [(name, kinds[kind]) for name, kind in shots]
        return label_scores(model, tokenizer, shots, queries, kinds)

    asked = ask(draw_shots(1, 0))
    answers = asked.argmax(dim=1)
    print(f"{(answers == truth).float().mean():.2f} right", end=", ")
    print(f"{(answers == 0).float().mean():.2f} answered with first")
    # --8<-- [end:one-shot]

    # --8<-- [start:in-context]
    def both(asked, truth):
        """Accuracy as asked, and with the mean of each label removed."""
        centred = asked - asked.mean(dim=0)
        guesses = torch.stack([asked, centred]).argmax(dim=-1)  # (2, queries)
        return (guesses == truth).double().mean(dim=1).numpy()

    ks = (1, 4, 16)
    results = np.array(
        [[both(ask(draw_shots(k, s)), truth) for s in range(5)] for k in ks]
    )  # (3, seeds, 2)
    print("of each kind   as asked   calibrated")
    for k, (raw, calibrated) in zip(ks, results.mean(axis=1), strict=True):
        print(f"{k:12}{raw:11.2f}{calibrated:13.2f}")
    # --8<-- [end:in-context]

    # --8<-- [start:in-context-figure]
    plt.figure()
    for column, (name, style, shift) in enumerate(
        (("as asked", "s--", 0.96), ("calibrated", "o-", 1.04))
    ):
        score, x = results[:, :, column], shift * np.array(ks)
        (line,) = plt.plot(x, score.mean(axis=1), style, label=name)
        plt.plot(x, score, ".", color=line.get_color(), alpha=0.5)
    plt.xscale("log")
    plt.xticks(ks, ks)
    plt.minorticks_off()
    plt.xlabel("shots of each kind")
    plt.ylabel("accuracy")
    plt.legend()
    # --8<-- [end:in-context-figure]

    # --8<-- [start:controls]
    def relabelled(how, seed):
        """Sixteen shots of each kind with wrong labels."""
        names, kinds = zip(*draw_shots(16, seed), strict=True)
        if how == "swapped":
            return [(n, 1 - k) for n, k in zip(names, kinds, strict=True)]
        kinds = np.random.default_rng(seed).permutation(kinds)
        return list(zip(names, kinds, strict=True))

    for how in ("shuffled", "swapped"):
        shares = [both(ask(relabelled(how, s)), truth) for s in range(5)]
        raw, calibrated = np.mean(shares, axis=0)
        print(f"{how:9} as asked {raw:.2f}, calibrated {calibrated:.2f}")
    # --8<-- [end:controls]

    # --8<-- [start:seen]
    old = [test_images[test_labels == digit] for digit in range(5)]
    body = bodies["prototypical"][0]
    for name, features_of in (("pixels", nn.Flatten()), ("network", body)):
        print(f"{name:8}", end="")
        for digits, classes in (("new", new), ("trained on", old)):
            with torch.no_grad():
                features = [features_of(x) for x in classes]
            score = episode_accuracies(features, prototypical, 1).mean()
            print(f"  {digits} {score:.2f}", end="")
        print()
    # --8<-- [end:seen]

    # --8<-- [start:few-episodes]
    features = [body(x).detach() for x in new]
    accuracies = episode_accuracies(features, prototypical, 1)
    for n in (10, 30, 100):
        some = accuracies[:n]
        half = 1.96 * some.std(ddof=1) / n**0.5
        print(f"{n:3} episodes: {some.mean():.2f} ± {half:.2f}")
    by_seed = scores["prototypical"][:, 0]
    print(f"five bodies: {by_seed.min():.2f} to {by_seed.max():.2f}")
    # --8<-- [end:few-episodes]

    # --8<-- [start:order]
    shots, accuracies = draw_shots(4, 0), []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(8)
        accuracies.append(both(ask([shots[i] for i in order]), truth))
    low, high = np.min(accuracies, axis=0), np.max(accuracies, axis=0)
    for i, name in enumerate(("as asked", "calibrated")):
        print(f"{name:11}{low[i]:.2f} to {high[i]:.2f}")
    # --8<-- [end:order]

    # --8<-- [start:solution-ways]
    for n_way in (2, 3, 4, 5):
        score = episode_accuracies(features, prototypical, 1, n_way).mean()
        print(f"{n_way} ways: {score:.2f}, chance {1 / n_way:.2f}")
    # --8<-- [end:solution-ways]

    # --8<-- [start:solution-one-kind]
    asked = ask(draw_shots(16, 0))
    for name, part in (("both kinds", slice(40)), ("first only", slice(20))):
        raw, calibrated = both(asked[part], truth[part])
        print(f"{name}: as asked {raw:.2f}, calibrated {calibrated:.2f}")
    # --8<-- [end:solution-one-kind]

    # --8<-- [start:solution-direction]
    for group in ("classifier", "prototypical"):
        ones = []
        for body in bodies[group]:
            with torch.no_grad():
                features = [F.normalize(body(x), dim=1) for x in new]
            ones.append(episode_accuracies(features, prototypical, 1).mean())
        print(f"{group:13} {np.mean(ones):.2f}")
    # --8<-- [end:solution-direction]
