"""Checkpoints that are whole, and batches that don't depend on the past."""

import copy
import os
import signal

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snippets.advanced import elastic_training
from snippets.advanced.elastic_training import resume, save, share, train
from tests.snippets.processes import ranks


def some_model(seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def step(model, optimizer, i):
    x = torch.full((4, 3), float(i))
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


@given(st.integers(0, 6), st.integers(0, 4))
def test_who_resumes_ends_where_who_never_stopped_does(tmp_path_factory, a, b):
    """After a steps, a checkpoint and b more, weights are the same."""
    path = tmp_path_factory.mktemp("run") / "deep" / "checkpoint.pt"
    model, optimizer = some_model()
    for i in range(a):
        step(model, optimizer, i)
    save(path, a, model, optimizer)
    other, its_optimizer = some_model(seed=1)
    assert resume(path, other, its_optimizer) == a
    for i in range(a, a + b):
        step(model, optimizer, i)
        step(other, its_optimizer, i)
    assert torch.equal(model.weight, other.weight)


def test_without_a_checkpoint_training_starts_at_zero(tmp_path):
    """Nothing is loaded, and nothing is changed."""
    model, optimizer = some_model()
    before = copy.deepcopy(model.state_dict())
    assert resume(tmp_path / "none.pt", model, optimizer) == 0
    assert torch.equal(before["weight"], model.weight)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    """Killed in the middle of writing, one resumes from the last whole."""
    path = tmp_path / "checkpoint.pt"
    save(path, 5, *some_model())
    monkeypatch.setattr(
        elastic_training.torch,
        "save",
        lambda state, file: (file.write_bytes(b"half"), 1 / 0),
    )
    with pytest.raises(ZeroDivisionError):
        save(path, 10, *some_model())
    assert resume(path, *some_model()) == 5


@given(st.integers(0, 50), st.integers(1, 5), st.integers(64, 200))
def test_shares_make_up_the_batch(step, world, n):
    """Disjoint, together 64, and nearly equal, for any number of ranks."""
    shares = [share(step, rank, world, n) for rank in range(world)]
    together = torch.cat(shares)
    assert len(together.unique()) == 64
    assert together.max() < n
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1
    again = share(step, 0, world, n)
    assert torch.equal(again, shares[0])


def test_another_step_has_another_batch():
    """Ten steps draw ten different batches."""
    drawn = {tuple(share(step, 0, 2, 500).tolist()) for step in range(10)}
    assert len(drawn) == 10


def train_alone(path, attempt=0, **options):
    """Train in a group of this process only."""
    start = dist.init_process_group

    def start_alone(backend):
        start(backend, store=dist.HashStore(), rank=0, world_size=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHELASTIC_RESTART_COUNT", str(attempt))
        patch.setattr(dist, "init_process_group", start_alone)
        train(path, **options)


def test_training_goes_on_from_its_checkpoint(tmp_path, capsys):
    """Ten steps and ten more give the weights of twenty, to the bit."""
    halves, whole = tmp_path / "halves.pt", tmp_path / "whole.pt"
    train_alone(whole)
    train_alone(halves, steps=10)
    train_alone(halves, attempt=1)
    out = capsys.readouterr().out
    assert "attempt 1, from step 10" in out
    assert out.count("from step 0") == 2
    a, b = torch.load(whole), torch.load(halves)
    assert a["step"] == b["step"] == 20
    assert all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])


def test_two_ranks_train_as_one(tmp_path, monkeypatch):
    """With half of each batch each, the weights are those of one process."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    train_alone(tmp_path / "one.pt")

    def work():
        for name in ("init_process_group", "destroy_process_group"):
            monkeypatch.setattr(dist, name, lambda *_: None)
        train(tmp_path / "two.pt")
        monkeypatch.undo()

    ranks(2, work, tmp_path / "group")
    one, two = torch.load(tmp_path / "one.pt"), torch.load(tmp_path / "two.pt")
    assert one["step"] == two["step"] == 20
    for name, weights in one["model"].items():
        torch.testing.assert_close(two["model"][name], weights)


def test_it_learns_the_digits(tmp_path, capsys):
    """After twenty steps the loss is well below log 10 = 2.3."""
    train_alone(tmp_path / "c.pt")
    assert float(capsys.readouterr().out.split()[-1]) < 1.5


def test_only_rank_one_dies_and_only_at_first(tmp_path, monkeypatch):
    """Rank 0 outlives the step at which rank 1 is to die."""
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed"))
    train_alone(tmp_path / "c.pt", die_at=3, steps=5)


def test_rank_one_dies_at_its_step(tmp_path, monkeypatch):
    """With two steps done, by the signal that can't be caught."""
    killed = []

    def kill(process, signal_number):
        killed.append((process, signal_number))
        raise InterruptedError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    path = tmp_path / "c.pt"
    with pytest.raises(InterruptedError):
        train_alone(path, die_at=2, steps=5)
    dist.destroy_process_group()
    assert killed == [(os.getpid(), signal.SIGKILL)]
    train_alone(path, attempt=1, die_at=2, steps=5)
    assert len(killed) == 1
