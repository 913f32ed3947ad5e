"""Soft targets, their limits, and what a student makes of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from snippets.advanced import distillation as lesson

seeds = st.integers(0, 10_000)


def logits_of(seed, n=3):
    """Two arrays of logits, (n, 5) each, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, 5, generator=generator, dtype=torch.float64)


@given(seeds, st.floats(0.5, 20))
def test_the_gradient_is_a_difference_of_probabilities(seed, temperature):
    """For any logits: T (softmax(z / T) - softmax(v / T)), over n."""
    z, v = logits_of(seed)
    z.requires_grad_()
    loss = lesson.soft_loss(z, v, temperature)
    (gradient,) = torch.autograd.grad(loss, z)
    gap = (z / temperature).softmax(1) - (v / temperature).softmax(1)
    expected = (temperature * gap / 3).detach()
    assert torch.allclose(gradient, expected, atol=1e-12)


@given(seeds)
def test_at_high_temperature_logits_are_matched(seed):
    """The gradient tends to the difference of centred logits, over the
    number of classes.
    """
    z, v = logits_of(seed, n=1)
    z.requires_grad_()
    loss = lesson.soft_loss(z, v, 1e4)
    (gradient,) = torch.autograd.grad(loss, z)
    limit = (z - z.mean()) - (v - v.mean())
    assert torch.allclose(gradient, limit.detach() / 5, atol=1e-3)


@given(seeds, st.floats(0.5, 20))
def test_no_student_does_better_than_its_teacher(seed, temperature):
    """The loss is smallest where the logits agree, up to a constant."""
    z, v = logits_of(seed)
    own = lesson.soft_loss(v + 3, v, temperature)
    assert own <= lesson.soft_loss(z, v, temperature) + 1e-9
    same = lesson.soft_loss(v, v, temperature)
    assert own.item() == pytest.approx(same.item())


def test_certain_targets_are_hard_labels():
    """At temperature 1, with a teacher that is sure."""
    z, _ = logits_of(0)
    labels = torch.tensor([1, 4, 0])
    sure = F.one_hot(labels, 5) * 1e4
    found = lesson.soft_loss(z, sure, 1)
    assert found.item() == pytest.approx(F.cross_entropy(z, labels).item())


def test_the_loss_is_kl_divergence_up_to_a_constant():
    """T squared times torch's kl_div, plus the teacher's entropy."""
    z, v = logits_of(1)
    targets = (v / 3).softmax(1)
    divergence = F.kl_div(
        (z / 3).log_softmax(1), targets, reduction="batchmean"
    )
    entropy = torch.special.entr(targets).sum(1).mean()
    expected = 9 * (divergence + entropy)
    assert lesson.soft_loss(z, v, 3).item() == pytest.approx(expected.item())


def test_a_student_learns_what_it_is_shown():
    """Images with a bright row each, told apart after 200 steps; the
    same seed gives the same student.
    """
    labels = torch.arange(60) % 5
    images = torch.zeros(60, 1, 28, 28)
    images[torch.arange(60), 0, 4 * labels] = 1.0

    def hard(logits, batch):
        return F.cross_entropy(logits, labels[batch])

    one, two = (lesson.train(images, hard, 3, steps=200) for _ in range(2))
    other = lesson.train(images, hard, 4, steps=1)
    with torch.no_grad():
        assert torch.equal(one(images), two(images))
        assert not torch.equal(other(images), one(images))
        assert (one(images).argmax(1) == labels).float().mean() > 0.95


def test_a_student_agrees_with_teachers_without_any_label():
    """Random images, a random linear teacher: agreement far above chance."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 1, 28, 28, generator=generator) - 0.5
    teacher = torch.randn(784, 10, generator=generator)
    logits = images.flatten(1) @ teacher

    def soft(student_logits, batch):
        return lesson.soft_loss(student_logits, logits[batch], 4)

    student = lesson.train(images, soft, 0, steps=150)
    with torch.no_grad():
        same = student(images).argmax(1) == logits.argmax(1)
    assert same.float().mean() > 0.5


def test_students_of_different_seeds_differ():
    """And have as many hidden units as asked for."""
    one, two = lesson.small_student(0), lesson.small_student(1)
    assert not torch.equal(one[1].weight, two[1].weight)
    assert lesson.small_student(0, hidden=3)[1].weight.shape == (3, 784)
    assert np.prod(one[3].weight.shape) == 160
