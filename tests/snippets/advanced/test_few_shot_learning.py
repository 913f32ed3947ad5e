"""Episodes, prototypes, and labels read from a prompt."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch import nn

from snippets.advanced.few_shot_learning import (
    episode,
    episode_accuracies,
    episode_losses,
    label_scores,
    nearest,
    prototypical,
)
from snippets.advanced.transfer_learning import descend
from tests.snippets.small_llama import small_llama


def numbered(n_classes, n_examples):
    """Classes whose examples say which they are: 100 x class + example."""
    return [
        torch.arange(100.0 * c, 100 * c + n_examples)[:, None]
        for c in range(n_classes)
    ]


@given(
    st.integers(1, 7), st.integers(1, 9), st.integers(0, 99), st.integers(0, 3)
)
def test_an_episode_mixes_nothing_up(n_way, n_each, seed, spare):
    """Each row is of one class, no class and no example comes twice."""
    classes = numbered(n_way + spare, n_each + spare)
    drawn = episode(classes, n_way, n_each, np.random.default_rng(seed))
    assert drawn.shape == (n_way, n_each, 1)
    of = drawn[..., 0] // 100
    assert (of == of[:, :1]).all()
    assert len(of[:, 0].unique()) == n_way
    assert len(drawn.unique()) == n_way * n_each


def test_all_classes_and_examples_are_drawn():
    """Over many episodes each example comes first in its row at times."""
    rng = np.random.default_rng(0)
    classes = numbered(4, 5)
    seen = {
        x
        for _ in range(200)
        for x in episode(classes, 2, 2, rng)[:, 0].flatten().tolist()
    }
    assert seen == {x for c in classes for x in c.flatten().tolist()}


def some_support(seed, n_way=4, k_shot=3, d=5):
    """Features of an episode, and its support as scikit-learn wants it."""
    g = torch.Generator().manual_seed(seed)
    support = torch.randn(n_way, k_shot, d, generator=g, dtype=torch.float64)
    query = torch.randn(6, d, generator=g, dtype=torch.float64)
    return support, query, np.repeat(np.arange(n_way), k_shot)


@given(st.integers(0, 99))
def test_nearest_is_scikit_learns(seed):
    """The class of the nearest example, and its distance."""
    support, query, labels = some_support(seed)
    flat = support.flatten(0, 1).numpy()
    knn = KNeighborsClassifier(1).fit(flat, labels)
    scores = nearest(support, query)
    assert scores.shape == (6, 4)
    assert scores.argmax(dim=1).tolist() == knn.predict(query).tolist()
    distances = knn.kneighbors(query)[0][:, 0]
    np.testing.assert_allclose(-scores.amax(dim=1), distances)


@given(st.integers(0, 99))
def test_prototypes_are_scikit_learns_centroids(seed):
    """The nearest mean, and logits worked by hand."""
    support, query, labels = some_support(seed)
    flat = support.flatten(0, 1).numpy()
    centroids = NearestCentroid().fit(flat, labels)
    logits = prototypical(support, query)
    assert logits.argmax(dim=1).tolist() == centroids.predict(query).tolist()
    gaps = query.numpy()[:, None] - centroids.centroids_
    by_hand = -(gaps**2).sum(axis=2) / 5**0.5
    np.testing.assert_allclose(logits, by_hand, atol=1e-9)


def test_with_one_shot_both_rules_agree():
    """One example is its own mean."""
    support, query, _ = some_support(1, k_shot=1)
    ours = prototypical(support, query) * 5**0.5
    torch.testing.assert_close(ours, -nearest(support, query).square())


def test_accuracy_is_one_where_classes_lie_apart_and_chance_where_not():
    """Far apart, all is right; all alike, one in five within 0.03."""
    g = torch.Generator().manual_seed(0)
    noise = [torch.randn(40, 8, generator=g) for _ in range(6)]
    apart = [x + 100 * i for i, x in enumerate(noise)]
    assert (episode_accuracies(apart, prototypical, 2) == 1).all()
    scores = episode_accuracies(noise, prototypical, 2)
    assert scores.shape == (100,)
    assert scores.mean() == pytest.approx(0.2, abs=0.03)
    two = episode_accuracies(noise, nearest, 1, n_way=2)
    assert two.mean() == pytest.approx(0.5, abs=0.03)


def test_queries_are_never_in_the_support():
    """With twelve examples a class, two support and ten query use all."""
    seen = []

    def rule(support, query):
        seen.append(
            set(support.flatten().tolist()) & set(query.flatten().tolist())
        )
        assert query.shape == (50, 1)
        return nearest(support, query)

    episode_accuracies(numbered(5, 12), rule, 2, n_episodes=20)
    assert seen == [set()] * 20


def test_a_loss_is_that_of_its_episode():
    """The first loss equals cross-entropy worked by hand in float64."""
    g = torch.Generator().manual_seed(3)
    classes = [torch.randn(9, 4, generator=g).double() for _ in range(6)]
    (loss,) = episode_losses(nn.Identity(), classes, 3, 2, 4, 1, seed=5)
    x = episode(classes, 3, 6, np.random.default_rng(5)).numpy()
    prototypes = x[:, :2].mean(axis=1)
    total = 0.0
    for k in range(3):
        for query in x[k, 2:]:
            z = -((query - prototypes) ** 2).sum(axis=1) / 2
            total += np.log(np.exp(z).sum()) - z[k]
    assert loss.item() == pytest.approx(total / 12)


def test_gradients_flow_through_support_and_queries():
    """The gradient equals central differences, in float64."""
    g = torch.Generator().manual_seed(3)
    classes = [torch.randn(9, 4, generator=g).double() for _ in range(6)]
    torch.manual_seed(0)
    body = nn.Linear(4, 3).double()

    def loss():
        (value,) = episode_losses(body, classes, 3, 2, 4, 1, seed=5)
        return value

    loss().backward()
    for place in ((0, 0), (2, 3)):
        by_autograd = body.weight.grad[place].item()
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                body.weight[place] += step
                ends.append(loss().item())
                body.weight[place] -= step
        by_differences = (ends[0] - ends[1]) / 2e-5
        assert by_autograd == pytest.approx(by_differences, rel=1e-4)


def test_training_by_episodes_finds_what_tells_classes_apart():
    """One feature of twenty matters; on new classes its use shows."""
    rng = np.random.default_rng(0)

    def classes(n):
        made = []
        for _ in range(n):
            x = rng.normal(size=(40, 20))
            x[:, 0] = x[:, 0] / 10 + rng.uniform(-3, 3)
            made.append(torch.tensor(x, dtype=torch.float32))
        return made

    torch.manual_seed(0)
    body = nn.Linear(20, 5)
    seen, unseen = classes(10), classes(10)

    @torch.no_grad()
    def score():
        features = [body(x) for x in unseen]
        return episode_accuracies(features, prototypical, 1).mean()

    before = score()
    losses = episode_losses(body, seen, 5, 2, 5, 100, seed=0)
    descend(body, losses, 1e-2)
    assert score() > before + 0.2


class Words:
    """A tokenizer that gives each word, colon and line end its number."""

    def __init__(self):
        self.numbers = {}

    def __call__(self, text, return_tensors=None):
        for mark in (":", "\n"):
            text = text.replace(mark, f" {mark} ")
        words = [w for w in text.split(" ") if w]
        ids = [self.numbers.setdefault(w, len(self.numbers)) for w in words]
        if return_tensors:
            ids = torch.tensor([ids])
        return type("Encoding", (), {"input_ids": ids})


SHOTS = [("ann", " x"), ("lee", " y"), ("joe", " x")]


def whole_text_scores(model, words, shots, query, labels):
    """The same by reading shots and query as one text, without a cache."""
    text = "".join(f"{shot}:{label}\n" for shot, label in shots)
    ids = words(f"{text}{query}:", return_tensors="pt").input_ids
    with torch.no_grad():
        p = model(ids).logits[0, -1].log_softmax(dim=-1)
    return p[[words(label).input_ids[0] for label in labels]]


@pytest.mark.parametrize(
    "queries", [["kim", "bob", "eve"], ["kim ann", "bob lee", "eve joe"]]
)
def test_scores_equal_those_without_a_cache(queries):
    """Query by query, as if each stood alone behind the shots."""
    model, words = small_llama().double(), Words()
    scores = label_scores(model, words, SHOTS, queries, (" x", " y"))
    assert scores.shape == (3, 2)
    for row, query in zip(scores, queries, strict=True):
        alone = whole_text_scores(model, words, SHOTS, query, (" x", " y"))
        torch.testing.assert_close(row, alone)


def test_a_cache_is_changed_by_its_use():
    """A second call reads the query behind the first one's (5.24)."""
    model = small_llama().double()
    ids = torch.arange(5)[None]
    with torch.no_grad():
        cache = model(ids, use_cache=True).cache
        kept = copy.deepcopy(cache)
        query = torch.tensor([[7, 8]])
        first = model(query, cache=cache).logits
        again = model(query, cache=cache).logits
        fresh = model(query, cache=kept).logits
    torch.testing.assert_close(first, fresh)
    assert not torch.allclose(first, again)


def test_the_old_name_of_the_cache_warns():
    """past_key_values is deprecated in transformers 5.24."""
    model = small_llama()
    with torch.no_grad():
        cache = model(torch.arange(5)[None], use_cache=True).cache
        with pytest.warns(FutureWarning, match=r"5\.40"):
            model(torch.tensor([[7]]), past_key_values=cache)
