"""A stream that loses and doubles nothing, whoever reads and whenever."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from snippets.training import streaming_data as lesson

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will:UserWarning"),
    # other tests in this process have loaded JAX, which no worker uses
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=6)
small = st.integers(1, 5)
seeds = st.integers(0, 1000)


class Info:
    """What a worker is told of itself."""

    def __init__(self, id, num_workers):
        self.id, self.num_workers = id, num_workers


def shards(lengths):
    """Arrays of such lengths, whose tokens are all different."""
    ends = np.cumsum([0, *lengths])
    return [
        np.arange(a, b, dtype=np.uint16)
        for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]


@pytest.fixture(autouse=True, scope="module")
def arrays_for_files():
    """Shards may be arrays here, so that hundreds are tried in a second."""
    real = lesson.open_shard

    def open_shard(path):
        return path if type(path) is np.ndarray else real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "open_shard", open_shard)
        yield


stream = lesson.Stream


def in_turn(streams):
    """What a loader makes of its workers' streams, each in turn."""
    iterators = [iter(each) for each in streams]
    found = []
    while iterators:
        for iterator in list(iterators):
            batch = next(iterator, None)
            if batch is None:
                iterators.remove(iterator)
            else:
                found.append(batch)
    return found


@given(lengths, small, seeds)
def test_each_window_is_there_once(lengths, window, seed):
    """And none crosses the end of a shard."""
    rng = np.random.default_rng(seed)
    places = lesson.shuffled_places(lengths, window, rng)
    expected = {
        (shard, start)
        for shard, length in enumerate(lengths)
        for start in range(0, length - window + 1, window)
    }
    assert len(places) == len(expected)
    assert {tuple(row) for row in places.tolist()} == expected


def test_shards_and_windows_come_in_random_order():
    """One shard after another, not in theirs, and their windows neither."""
    rng = np.random.default_rng(0)
    places = lesson.shuffled_places([50] * 8, 5, rng)
    order = places[::10, 0]
    assert np.array_equal(places[:, 0], np.repeat(order, 10))
    assert not np.array_equal(order, np.arange(8))
    assert not np.array_equal(places[:10, 1], np.arange(0, 50, 5))


def by_workers(workers, *args, **options):
    """What a loader with so many workers makes of a stream."""
    copies = []
    for worker in range(workers):
        with pytest.MonkeyPatch.context() as patch:
            info = Info(worker, workers)
            patch.setattr(lesson, "get_worker_info", lambda i=info: i)
            copies.append(list(stream(*args, **options)))
    return in_turn(copies)


@settings(max_examples=300)
@given(
    lengths,
    small,
    seeds,
    st.tuples(*[small] * 3),
    st.tuples(*[small] * 3),
    st.data(),
)
def test_any_interruption_gives_the_same_stream(
    lengths, window, seed, before, after, data
):
    """Any shards and windows; any batch size, number of processes and of
    workers before and after, and any point at which the program dies.
    """
    parts = shards(lengths)
    n_windows = sum(length // window for length in lengths)
    whole = stream(parts, window, 1, seed)
    order = [batch[0].tolist() for batch in whole]
    assert len(order) == n_windows
    tokens = sum(order, [])
    assert len(set(tokens)) == len(tokens)

    def run(batch_size, world, workers, start):
        """The windows of all processes, in turn."""
        shares = [
            by_workers(
                workers, parts, window, batch_size, seed, start, rank, world
            )
            for rank in range(world)
        ]
        assert len({len(share) for share in shares}) == 1
        turns = zip(*shares, strict=True)
        return [batch.tolist() for turn in turns for batch in turn]

    first = run(*before, start=0)
    rounds = data.draw(st.integers(0, len(first) // before[1]))
    first = sum(first[: rounds * before[1]], [])
    rest = sum(run(*after, start=len(first)), [])
    assert first + rest == order[: len(first) + len(rest)]
    left_out = n_windows - len(first) - len(rest)
    assert 0 <= left_out < after[0] * after[1]


def test_a_stream_is_small_where_processes_are_spawned(tmp_path):
    """Each worker opens the files; they aren't sent to it."""
    paths = lesson.write_shards(np.arange(60_000), tmp_path / "s", 30_000)
    one = lesson.Stream(paths, 100, 4)
    next(iter(one))
    assert len(pickle.dumps(one)) < 30_000
    again = pickle.loads(pickle.dumps(one))
    assert torch.equal(next(iter(again)), next(iter(one)))


def test_a_batch_has_consecutive_tokens(tmp_path):
    """int64, (batch, window), from files."""
    paths = lesson.write_shards(np.arange(1000), tmp_path / "s", 300)
    assert [len(np.load(path)) for path in paths] == [300, 300, 300, 100]
    batch = next(iter(lesson.Stream(paths, 10, 4)))
    assert batch.shape == (4, 10)
    assert batch.dtype == torch.int64
    assert (batch.diff(dim=1) == 1).all()
    assert isinstance(lesson.open_shard(paths[0]), np.memmap)


def test_the_seed_fixes_the_order():
    """A pair of seed and epoch is a seed."""
    parts = shards([60, 60])
    first, same, other = (
        torch.cat(list(stream(parts, 5, 4, seed=seed)))
        for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_pytorchs_loader_keeps_the_order(tmp_path, workers):
    """It asks its workers in turn."""
    paths = lesson.write_shards(np.arange(500), tmp_path / "s", 120)
    whole = list(lesson.Stream(paths, 7, 3))
    loader = DataLoader(lesson.Stream(paths, 7, 3), None, num_workers=workers)
    assert torch.equal(torch.stack(list(loader)), torch.stack(whole))


def test_tokens_that_do_not_fit_are_refused(tmp_path):
    """Casting would turn them into others: 70,000 into 4,464."""
    assert np.array([70_000]).astype(np.uint16) == 4464
    for bad in ([70_000], [65_536], [-1]):
        with pytest.raises(ValueError, match="don't fit 16 bits"):
            lesson.write_shards(np.array(bad), tmp_path / "s", 10)
    lesson.write_shards(np.array([65_535, 0]), tmp_path / "s", 10)


@given(st.integers(1, 3), st.integers(0, 9))
def test_a_copy_goes_on_where_its_state_says(workers, done):
    """Behind the batches that it has yielded itself."""
    parts = shards([40, 30])
    make = partial(lesson.StatefulStream, parts, 5, 2)
    with pytest.MonkeyPatch.context() as patch:
        info = Info(0, workers)
        patch.setattr(lesson, "get_worker_info", lambda: info)
        whole = list(make())
        one = make()
        iterator = iter(one)
        begun = [next(iterator) for _ in range(min(done, len(whole)))]
        two = make()
        two.load_state_dict(one.state_dict())
        rest = list(two)
        again = list(two)
    assert len(begun) + len(rest) == len(whole)
    assert all(map(torch.equal, begun + rest, whole))
    assert len(again) == len(whole)  # another epoch begins at its start


def saved(paths, workers, n):
    """A stateful loader's state after n batches."""
    loader = StatefulDataLoader(
        lesson.StatefulStream(paths, 7, 3), None, num_workers=workers
    )
    iterator = iter(loader)
    for _ in range(n):
        next(iterator)
    return loader.state_dict()


@pytest.mark.filterwarnings("ignore:'set_vital':UserWarning")
def test_torchdata_resumes_with_as_many_workers(tmp_path):
    """And with another number not at all."""
    paths = lesson.write_shards(np.arange(500), tmp_path / "s", 120)
    whole = torch.stack(list(lesson.Stream(paths, 7, 3)))
    state = saved(paths, 2, 5)
    for workers in (2, 1):
        loader = StatefulDataLoader(
            lesson.StatefulStream(paths, 7, 3), None, num_workers=workers
        )
        loader.load_state_dict(state)
        if workers == 2:
            assert torch.equal(torch.stack(list(loader)), whole[5:])
        else:
            with pytest.raises(AssertionError):
                next(iter(loader))


@pytest.mark.filterwarnings("ignore:'set_vital':UserWarning")
def test_torchdatas_next_epoch_has_another_order_after_a_resume():
    """Without workers, with a generator of one's own (0.11.0)."""

    def loader():
        return StatefulDataLoader(
            list(range(6)),
            2,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        )

    def epoch(batches):
        return torch.cat(list(batches)).tolist()

    unbroken = loader()
    first, second = epoch(unbroken), epoch(unbroken)
    interrupted = loader()
    begun = next(iter(interrupted)).tolist()
    resumed = loader()
    resumed.load_state_dict(interrupted.state_dict())
    assert begun + epoch(resumed) == first
    following = epoch(resumed)
    assert sorted(following) == sorted(second)
    assert following != second
