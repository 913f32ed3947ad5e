"""The range test, the space, and what Optuna does with a killed search."""

import math
import multiprocessing
import os
import signal

import numpy as np
import optuna
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import hyperparameter_search as benchmark
from snippets.training import hyperparameter_search as lesson

USUAL = {"momentum": 0.9, "weight_decay": 1e-2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def quiet():
    """No line for each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def parabola(trial):
    """Lowest at 1."""
    return (trial.suggest_float("x", -3, 3) - 1) ** 2


def test_the_three_parts_share_no_digit():
    """400 to train, 500 to choose, 897 to test; all 1,797 once."""
    parts = lesson.load()
    assert [len(y) for _, y in parts] == [400, 500, 897]
    sums = torch.cat([x for x, _ in parts]).double().sum(1)
    everything = lesson.load_digits().data.sum(1) / 16
    assert np.allclose(np.sort(sums), np.sort(everything))


def test_the_judge_uses_the_model_as_it_is_used():
    """Without dropout, and with the mean cross-entropy."""
    torch.manual_seed(0)
    model = lesson.network(dropout=0.5)
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    loss, accuracy = lesson.judge(model, x, y)
    bare = nn.Sequential(model[0], nn.ReLU(), model[3])
    logits = bare(x)
    assert loss == pytest.approx(F.cross_entropy(logits, y).item())
    assert accuracy == pytest.approx((logits.argmax(1) == y).double().mean())
    assert not model.training


def test_an_epoch_is_sgd_on_every_example_once():
    """Against the rule worked by hand: decay, momentum, step."""
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    settings = {**USUAL, "learning_rate": 0.05}
    torch.manual_seed(1)
    model = lesson.network()
    torch.manual_seed(1)
    twin = lesson.network()
    for _ in lesson.epochs(model, settings, x, y, seed=3, n_epochs=2):
        pass
    generator = torch.Generator().manual_seed(3)
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    for _ in range(2):
        for batch in torch.randperm(40, generator=generator).split(32):
            loss = F.cross_entropy(twin(x[batch]), y[batch])
            gradients = torch.autograd.grad(loss, list(twin.parameters()))
            with torch.no_grad():
                for p, g, v in zip(
                    twin.parameters(), gradients, velocity, strict=True
                ):
                    v.mul_(0.9).add_(g + 1e-2 * p)
                    p.sub_(0.05 * v)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_each_epoch_trains_with_dropout_again():
    """Though the judge has put the model into evaluation mode between."""
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    model = lesson.network(0.3)
    modes = []
    model.register_forward_hook(lambda m, *_: modes.append(m.training))
    settings = {**USUAL, "learning_rate": 0.05, "dropout": 0.3}
    for _ in lesson.epochs(model, settings, x, y, n_epochs=3):
        lesson.judge(model, x, y)
    assert modes == [True, True, False] * 3


def test_fit_starts_and_shuffles_by_the_seed():
    """Same seed, same network; another seed, another one."""
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    settings = {**USUAL, "learning_rate": 0.05}
    one, two, other = (
        lesson.fit(settings, (x, y), seed)[0].weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_dropout_is_as_asked():
    """Of the hidden units, half."""
    model = lesson.network(0.5)
    torch.manual_seed(0)
    dropped = (model[2](torch.ones(1000)) == 0).double().mean()
    assert dropped == pytest.approx(0.5, abs=0.05)


def test_fit_is_ten_epochs_from_the_seed():
    """Start and shuffling both."""
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    settings = {**USUAL, "learning_rate": 0.05, "dropout": 0.2}
    model = lesson.fit(settings, (x, y), 7)
    torch.manual_seed(7)
    twin = lesson.network(0.2)
    for _ in lesson.epochs(twin, settings, x, y, 7, n_epochs=10):
        pass
    assert torch.equal(model[0].weight, twin[0].weight)


def test_the_range_test_stops_at_four_times_the_lowest(monkeypatch):
    """Not at less, and the loss that stopped it is kept."""
    losses = iter([2.0, 1.0, 3.9, 4.1, 1.0])
    weight = torch.ones((), requires_grad=True)
    monkeypatch.setattr(
        lesson.F, "cross_entropy", lambda *_: weight * next(losses)
    )
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    _, found = lesson.range_test(lesson.network(), x, y)
    assert found == pytest.approx([2.0, 1.0, 3.9, 4.1])


def test_the_range_test_has_momentum(monkeypatch):
    """Of 0.9, as the training that it is for."""
    made = []
    real = torch.optim.SGD

    def sgd(*args, **options):
        made.append(options)
        return real(*args, **options)

    monkeypatch.setattr(torch.optim, "SGD", sgd)
    x, y = torch.randn(40, 64), torch.randint(10, (40,))
    lesson.range_test(lesson.network(), x, y, steps=2)
    assert made == [{"momentum": 0.9}]


def test_the_range_test_raises_the_rate_by_a_factor():
    """From low to high, and the first loss is the untrained model's."""
    torch.manual_seed(0)
    x, y = torch.randn(200, 64), torch.randint(10, (200,))
    model = lesson.network()
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(200, (64,), generator=generator)
    first = F.cross_entropy(model(x[batch]), y[batch]).item()
    rates, losses = lesson.range_test(model, x, y, 1e-5, 1e-2, steps=20)
    assert losses[0] == pytest.approx(first)
    assert (rates[0], rates[-1]) == pytest.approx((1e-5, 1e-2))
    assert np.allclose(np.diff(np.log(rates)), math.log(1e3) / 19)


def test_each_step_of_the_range_test_has_its_own_rate():
    """A model of one weight, whose gradient is known: no momentum."""

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return self.w * x

    x = torch.tensor([[1.0, 0.0]]).repeat(8, 1)
    y = torch.zeros(8, dtype=torch.long)
    model = Scale()
    rates, losses = lesson.range_test(
        model, x, y, 0.1, 1.0, steps=5, momentum=0.0
    )
    w = 1.0
    for rate, loss in zip(rates, losses, strict=True):
        assert loss == pytest.approx(math.log(1 + math.exp(-w)), rel=1e-5)
        w += rate / (1 + math.exp(w))
    assert model.w.item() == pytest.approx(w, rel=1e-5)


def test_the_range_test_stops_where_it_diverges():
    """At four times the lowest loss, or at NaN."""
    train = lesson.load()[0]
    torch.manual_seed(0)
    rates, losses = lesson.range_test(lesson.network(), *train)
    assert 0.3 < rates[-1] < 10
    assert losses[-1] >= 4 * losses[:-1].min()
    assert (losses[1:-1] < 4 * np.minimum.accumulate(losses[:-2])).all()
    x, y = train
    _, losses = lesson.range_test(lesson.network(), x * math.nan, y)
    assert len(losses) == 1


def test_the_grid_has_inner_values_of_each_axis():
    """k to the fourth settings, evenly spaced, by factors where it says."""
    points = lesson.grid(3)
    assert len(points) == len({tuple(p.values()) for p in points}) == 81
    rates = sorted({p["learning_rate"] for p in points})
    momenta = sorted({p["momentum"] for p in points})
    low, high, _ = lesson.SPACE["learning_rate"]
    assert np.allclose(rates, np.geomspace(low, high, 5)[1:-1])
    assert np.allclose(momenta, [0.2475, 0.495, 0.7425])


def test_suggestions_stay_in_the_space_and_spread_by_factors():
    """Half of the learning rates below the geometric mean of the ends."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [lesson.suggest(study.ask()) for _ in range(400)]
    for name, (low, high, log) in lesson.SPACE.items():
        values = np.array([settings[name] for settings in found])
        assert values.min() >= low
        assert values.max() <= high
        middle = math.sqrt(low * high) if log else (low + high) / 2
        assert np.mean(values < middle) == pytest.approx(0.5, abs=0.08)


def test_the_benchmark_keeps_the_lowest_loss_of_each_budget(monkeypatch):
    """With its accuracy; a loss that isn't finite counts as 100."""
    assert benchmark.best([(2.0, 0.3), (1.0, 0.5)]) == {
        "loss": 1.0,
        "accuracy": 0.5,
    }
    monkeypatch.setattr(lesson, "fit", lambda *_: None)
    monkeypatch.setattr(lesson, "judge", lambda *_: (math.nan, 0.1))
    assert benchmark.scores({}, ((), (), ()), 0) == (100.0, 0.1)
    sampler = optuna.samplers.RandomSampler(seed=0)
    pairs = benchmark.searched(sampler, ((), (), ()), 0)
    assert len(pairs) == max(benchmark.BUDGETS)


def test_optuna_5_samples_by_other_defaults_than_4_9():
    """Several parameters at once, and trials that run count as bad."""
    new = optuna.samplers.TPESampler(seed=0)
    old = optuna.samplers.TPESampler(
        seed=0, multivariate=False, constant_liar=False
    )
    found = []
    for sampler in (new, old):
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda t: parabola(t) + t.suggest_float("y", 0, 1), n_trials=12
        )
        found.append([trial.params for trial in study.trials])
    assert found[0][:10] == found[1][:10]
    assert found[0][10] != found[1][10]


def suggestion(killed, **settings):
    """What a sampler says next, with or without a trial that never ended."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(parabola, n_trials=12)
    if killed:
        study.ask().suggest_float("x", -3, 3)
    study.sampler = optuna.samplers.TPESampler(seed=1, **settings)
    return study.ask().suggest_float("x", -3, 3)


def test_a_killed_trial_goes_on_counting():
    """It stays RUNNING, and since Optuna 5 changes what is suggested."""
    assert suggestion(killed=True) != suggestion(killed=False)
    alone = {"constant_liar": False}
    assert suggestion(True, **alone) == suggestion(False, **alone)


# other tests in this process have loaded JAX, which the child doesn't use
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_killed_search_loses_nothing(tmp_path):
    """What was complete is in the file; the same seed repeats itself."""
    url = f"sqlite:///{tmp_path}/search.db"

    def search(n_trials, dies_at=None):
        study = optuna.create_study(
            study_name="s",
            storage=url,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=0),
        )

        def objective(trial):
            loss = parabola(trial)
            if trial.number == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss

        study.optimize(objective, n_trials=n_trials)
        return study

    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=search, args=(8, 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    trials = search(2).trials
    states = [trial.state.name for trial in trials]
    assert states == ["COMPLETE"] * 3 + ["RUNNING"] + ["COMPLETE"] * 2
    assert [t.params for t in trials[4:]] == [t.params for t in trials[:2]]


def test_a_trial_of_nan_fails_and_its_search_goes_on():
    """Infinity counts as a very bad trial."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    losses = iter([1.0, math.nan, math.inf, 2.0])
    study.optimize(lambda trial: next(losses), n_trials=4)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.best_value == 1.0


def test_optunas_plots_leave_a_style_behind():
    """ggplot's, for all later figures, unless a context takes it back."""
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as plots

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(parabola, n_trials=3)
    before = plt.rcParams["axes.facecolor"]
    with plt.rc_context():
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            plots.plot_optimization_history(study)
        assert plt.rcParams["axes.facecolor"] == "#E5E5E5"
    assert plt.rcParams["axes.facecolor"] == before
    plt.close("all")
