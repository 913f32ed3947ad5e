"""The learning-rate range test, and grid, random and Optuna's search."""

# --8<-- [start:train]
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


def load():
    """Digits, (n, 64) and labels: 400 to train, 500 to choose, 897 more."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    y = torch.tensor(labels[order])
    parts = slice(400), slice(400, 900), slice(900, None)
    return [(x[part], y[part]) for part in parts]


def network(dropout=0.0):
    """One hidden layer of 64 units: (n, 64) to logits (n, 10)."""
    layers = nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout)
    return nn.Sequential(*layers, nn.Linear(64, 10))


@torch.no_grad()
def judge(model, x, y):
    """Loss in nats, and accuracy, of the model as it is used."""
    logits = model.eval()(x)
    loss = F.cross_entropy(logits, y).item()
    return loss, (logits.argmax(1) == y).float().mean().item()


# --8<-- [end:train]


# --8<-- [start:epochs]
def epochs(model, settings, x, y, seed=0, n_epochs=10):
    """Train on batches of 32; yield after each epoch."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings["learning_rate"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_epochs):
        model.train()
        for batch in torch.randperm(len(x), generator=generator).split(32):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def fit(settings, train, seed=0):
    """A network after ten epochs on train, (x, y)."""
    torch.manual_seed(seed)
    model = network(settings["dropout"])
    for _ in epochs(model, settings, *train, seed):
        pass
    return model


if __name__ == "__main__":
    train, valid, test = load()
    usual = {"momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.1}
    for rate in (0.001, 0.03, 1):
        model = fit({**usual, "learning_rate": rate}, train)
        loss, accuracy = judge(model, *valid)
        print(f"learning rate {rate:5}: loss {loss:.1f}", end="")
        print(f", accuracy {accuracy:.2f}")
    # --8<-- [end:epochs]


# --8<-- [start:range-test]
def range_test(model, x, y, low=1e-4, high=10, steps=100, momentum=0.9):
    """Rates, and the loss before the step with each.

    The rate rises by a factor a step; in Smith (2017), section 3.3, it
    rises evenly. Stops at four times the lowest loss.
    """
    optimizer = torch.optim.SGD(model.parameters(), momentum=momentum)
    generator = torch.Generator().manual_seed(0)
    rates, losses = [], []
    for rate in np.geomspace(low, high, steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        loss = F.cross_entropy(model(x[batch]), y[batch])
        rates.append(rate)
        losses.append(loss.item())
        if not losses[-1] < 4 * min(losses):  # NaN isn't less, either
            break
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(rates), np.array(losses)


# --8<-- [end:range-test]


if __name__ == "__main__":
    # --8<-- [start:range]
    import matplotlib.pyplot as plt

    plt.figure()
    for seed in range(5):
        torch.manual_seed(seed)
        rates, losses = range_test(network(), *train)
        plt.plot(rates, losses, color="#1f5fbf", alpha=0.7)
        print(f"lowest {rates[losses.argmin()]:.1g}, stopped {rates[-1]:.1g}")
    plt.xscale("log")
    plt.ylim(0, 4)
    plt.xlabel("learning rate of the next step")
    plt.ylabel("loss of a batch, nats")
    # --8<-- [end:range]

    # --8<-- [start:rates]
    for rate in (0.003, 0.01, 0.03, 0.1, 0.3):
        settings = {**usual, "learning_rate": rate}
        losses = [judge(fit(settings, train, s), *valid)[0] for s in range(5)]
        print(f"{rate:5}: loss {np.mean(losses):.2f}", end="")
        print(f" ({min(losses):.2f} to {max(losses):.2f})")
    # --8<-- [end:rates]


# --8<-- [start:space]
SPACE = {  # lowest, highest, and whether factors count, not differences
    "learning_rate": (1e-4, 3.0, True),
    "weight_decay": (1e-6, 0.1, True),
    "momentum": (0.0, 0.99, False),
    "dropout": (0.0, 0.8, False),
}


def grid(k):
    """All settings with k inner values of each of the four axes."""
    axes = [
        (np.geomspace if log else np.linspace)(low, high, k + 2)[1:-1]
        for low, high, log in SPACE.values()
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 4)
    return [dict(zip(SPACE, map(float, p), strict=True)) for p in points]


def suggest(trial):
    """Settings of the space, as Optuna's sampler would have them."""
    return {
        name: trial.suggest_float(name, low, high, log=log)
        for name, (low, high, log) in SPACE.items()
    }


# --8<-- [end:space]


if __name__ == "__main__":
    # --8<-- [start:objective]
    import math

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial):
        """The validation loss of a trial's settings; lower is better."""
        loss, _ = judge(fit(suggest(trial), train), *valid)
        return loss if math.isfinite(loss) else math.inf

    # --8<-- [end:objective]

    # --8<-- [start:random-points]
    dice = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    dice.optimize(objective, n_trials=16)
    tried = {
        "grid": [(s, judge(fit(s, train), *valid)[0]) for s in grid(2)],
        "random": [(trial.params, trial.value) for trial in dice.trials],
    }
    _, axes = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True)
    for ax, (name, pairs) in zip(axes, tried.items(), strict=True):
        for settings, loss in pairs:
            at = settings["learning_rate"], settings["momentum"]
            good = loss < 0.5
            ax.plot(
                *at,
                "o" if good else "X",
                color="#1f5fbf" if good else "#8f065b",
            )
        rates = {settings["learning_rate"] for settings, _ in pairs}
        print(f"{name:7}{len(rates):3} learning rates", end="")
        print(f", lowest loss {min(loss for _, loss in pairs):.1f}")
        ax.set(title=name, xscale="log", xlabel="learning rate")
    axes[0].set_ylabel("momentum")
    # --8<-- [end:random-points]

    # --8<-- [start:study]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2))
    study.optimize(objective, n_trials=32)
    print(f"lowest loss {study.best_value:.1f}, of settings")
    for name, value in study.best_params.items():
        print(f"  {name:14}{value:.0e}")
    # --8<-- [end:study]

    # --8<-- [start:plots]
    import warnings

    from optuna.visualization import matplotlib as plots

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with plt.rc_context():  # they set a style of their own
        axes = plots.plot_optimization_history(study)
    axes.set(yscale="log")
    axes.tick_params(colors="#1f2430", which="both")
    for label in (axes.title, axes.xaxis.label, axes.yaxis.label):
        label.set_color("#1f2430")  # to be read on a dark page, too
    # --8<-- [end:plots]

    # --8<-- [start:results]
    import json
    from importlib.resources import files

    file = "hyperparameter_search.results.json"
    record = json.loads(files("snippets.training").joinpath(file).read_text())
    results = record["results"]
    print("trials           ", *(f"{k:11}" for k in (16, 32, 64)), " accuracy")
    for name in ("random", "TPE", "TPE as in 4.9", "Gaussian process"):
        cells = []
        for k in ("16", "32", "64"):
            losses = [run["loss"] for run in results[name][k]]
            middle, unlucky = np.quantile(losses, [0.5, 0.9])
            cells.append(f"{middle:.2f} ({unlucky:.2f})")
        accuracy = np.mean([run["accuracy"] for run in results[name]["64"]])
        print(f"{name:18}{'  '.join(cells)}{accuracy:8.3f}")
    # --8<-- [end:results]

    # --8<-- [start:grid]
    for k, runs in results["grid"].items():
        losses = [run["loss"] for run in runs]
        print(
            "grid of {}: {:.2f} ({:.2f})".format(
                k, *np.quantile(losses, [0.5, 0.9])
            )
        )
    better = [
        random["loss"] < fixed["loss"]
        for random, fixed in zip(
            results["random"]["16"], results["grid"]["16"], strict=True
        )
    ]
    print(f"random better than grid, 16 trials: {sum(better)} of 20 seeds")
    # --8<-- [end:grid]

    # --8<-- [start:pruning]
    def search(pruner, seed):
        """Thirty-two random settings, and a pruner that may stop each."""

        def reporting(trial):
            settings = suggest(trial)
            torch.manual_seed(seed)
            model = network(settings["dropout"])
            steps = epochs(model, settings, *train, seed)
            for epoch, _ in enumerate(steps, start=1):
                loss, _ = judge(model, *valid)
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return loss if math.isfinite(loss) else math.inf

        sampler = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(sampler=sampler, pruner=pruner)
        study.optimize(reporting, n_trials=32)
        return study

    def compare(pruner, n_seeds):
        """What pruned searches cost, and what they found."""
        for seed in range(n_seeds):
            pruned = search(pruner, seed)
            spent = sum(len(t.intermediate_values) for t in pruned.trials)
            whole = results["random"]["32"][seed]["loss"]
            print(f"{spent} of 320 epochs", end="")
            print(f", lowest loss {pruned.best_value:.2f}", end="")
            print(f", without pruning {whole:.2f}")

    compare(optuna.pruners.MedianPruner(n_startup_trials=5), 3)
    # --8<-- [end:pruning]

    # --8<-- [start:killed]
    import multiprocessing
    import os
    import signal
    import time

    def open_study(seed=None):
        """The study in the file, made if it isn't there."""
        storage = optuna.storages.RDBStorage(
            "sqlite:///search.db",
            heartbeat_interval=1,  # seconds
            grace_period=2,
            heartbeat_stale_trial_callback=(
                optuna.storages.RetryHeartbeatStaleTrialCallback()
            ),
        )
        return optuna.create_study(
            study_name="digits",
            storage=storage,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed),
        )

    def killed_in_trial_five():
        """A search that dies without a word, as for want of memory."""
        torch.set_num_threads(1)  # those of the parent aren't forked

        def dying(trial):
            loss = objective(trial)
            if trial.number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss

        open_study(seed=0).optimize(dying, n_trials=8)

    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=killed_in_trial_five)
    process.start()
    process.join()
    print("exit code", process.exitcode)
    print(*(trial.state.name for trial in open_study().trials))
    # --8<-- [end:killed]

    # --8<-- [start:resumed]
    time.sleep(3)  # no heartbeat for longer than the grace period
    resumed = open_study(seed=1)
    resumed.optimize(objective, n_trials=3)
    print(*(trial.state.name for trial in resumed.trials))
    same = resumed.trials[5].params == resumed.trials[6].params
    print("the killed trial was run again:", same)
    # --8<-- [end:resumed]

    # --8<-- [start:same-seed]
    study = optuna.create_study()
    for _ in range(2):  # a program that is started twice
        study.sampler = optuna.samplers.TPESampler(seed=0)
        study.optimize(objective, n_trials=4)
    rates = [trial.params["learning_rate"] for trial in study.trials]
    print(*(f"{rate:.1g}" for rate in rates))
    # --8<-- [end:same-seed]

    # --8<-- [start:linear]
    uniform = np.random.default_rng(0).uniform(1e-4, 3, 10_000)
    log_uniform = np.exp(
        np.random.default_rng(0).uniform(*np.log([1e-4, 3]), 10_000)
    )
    for name, rates in (("differences", uniform), ("factors", log_uniform)):
        print(f"{name:12}{np.mean(rates > 1):.0%} of rates above 1")
    # --8<-- [end:linear]

    # --8<-- [start:solution-sixty]
    rng = np.random.default_rng(0)
    best = rng.random((10_000, 60)).max(1)
    print(f"formula {1 - 0.95**60:.3f}, by drawing {np.mean(best > 0.95):.3f}")
    # --8<-- [end:solution-sixty]

    # --8<-- [start:solution-importance]
    for seed in (0, 1):
        sampler = optuna.samplers.RandomSampler(seed=seed)
        dice = optuna.create_study(sampler=sampler)
        dice.optimize(objective, n_trials=16)
        found = optuna.importance.get_param_importances(dice)
        print(*(f"{name} {value:.1f} " for name, value in found.items()))
    # --8<-- [end:solution-importance]

    # --8<-- [start:solution-halving]
    compare(optuna.pruners.SuccessiveHalvingPruner(), 6)
    # --8<-- [end:solution-halving]
