"""One process of a group: what it computes and what it holds."""

import pytest
import torch
import torch.distributed as dist

from snippets.advanced.parallel_worker import (
    Detour,
    distribute,
    gradient,
    held,
    say,
    steps_taken,
    train,
)
from tests.snippets.processes import ranks


@pytest.fixture
def alone():
    """A group of one process."""
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_alone_the_gradient_is_the_mean(alone):
    """One process with all four numbers finds their mean, 4."""
    assert gradient([4]) == 4
    assert gradient([4], weigh=True) == 4


@pytest.mark.parametrize(
    ("sizes", "wrong"), [([2, 2], 4.0), ([3, 1], 6.0), ([1, 3], 10 / 3)]
)
def test_uneven_shards_give_a_mean_of_means(tmp_path, sizes, wrong):
    """The wrong value worked by hand; weighed, 4 on both ranks."""
    found = ranks(2, lambda: gradient(sizes), tmp_path / "plain")
    assert found == pytest.approx([wrong, wrong])
    found = ranks(2, lambda: gradient(sizes, weigh=True), tmp_path / "weighed")
    assert found == pytest.approx([4, 4])


def test_an_unused_parameter_fails_in_the_second_step(tmp_path):
    """One step is taken; with the option, all three (torch 2.13)."""
    found = ranks(2, steps_taken, tmp_path / "plain")
    assert [steps for steps, _ in found] == [1, 1]
    assert all("finished reduction" in complaint for _, complaint in found)
    found = ranks(
        2,
        lambda: steps_taken(find_unused_parameters=True),
        tmp_path / "cured",
    )
    assert found == [(3, ""), (3, "")]


def test_alone_an_unused_parameter_fails_as_well(alone, capsys):
    """Also a group of one process waits for the gradient."""
    steps, complaint = steps_taken()
    say(steps, complaint)
    assert capsys.readouterr().out.startswith("1 Expected to have finished")
    assert steps_taken(find_unused_parameters=True) == (3, "")


def test_a_detour_leaves_one_layer_without_gradient():
    """The layer that forward doesn't use has none."""
    model = Detour()
    model(torch.ones(1, 2)).sum().backward()
    assert model.unused.weight.grad is None
    assert model.used.weight.grad is not None


def plain_loss(seeds):
    """The last loss of plain Adam, with the data of these seeds at once."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range(4)])
    optimizer = torch.optim.Adam(model.parameters())
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for _ in range(5):
        x = torch.cat([torch.randn(8, 256, generator=g) for g in generators])
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("how", ["DDP", "ZeRO-1", "fully_shard"])
def test_alone_every_way_holds_everything(alone, how):
    """16 bytes a parameter, and the loss of plain Adam."""
    loss, size = train(how)
    assert size == 16
    assert loss == pytest.approx(plain_loss([1]), rel=1e-4)


def test_two_ranks_share_what_they_hold(tmp_path):
    """12 bytes under ZeRO-1, 8 under fully_shard, at one process's loss."""
    expected = plain_loss([1, 2])
    found = {
        how: ranks(2, lambda how=how: train(how), tmp_path / how)
        for how in ("DDP", "ZeRO-1", "fully_shard")
    }
    for how, size in (("DDP", 16), ("ZeRO-1", 12), ("fully_shard", 8)):
        losses, sizes = zip(*found[how], strict=True)
        assert sizes == pytest.approx((size, size))
        assert losses == pytest.approx((expected, expected), rel=1e-4)


def test_bytes_are_counted_by_dtype(alone):
    """In float64 everything takes twice as much."""
    model, _ = distribute("DDP")
    model = model.module.double()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 256).double()).sum().backward()
    optimizer.step()
    assert held(model, optimizer) == 32


def test_only_the_first_rank_speaks(tmp_path, capfd):
    """Two ranks, one line."""
    ranks(2, lambda: say("hello", dist.get_rank()), tmp_path / "say")
    assert capfd.readouterr().out == "hello 0\n"
