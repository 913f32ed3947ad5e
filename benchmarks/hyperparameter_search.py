"""Grid, random and Bayesian search at equal budget, over seeds.

Run `python -m benchmarks.hyperparameter_search`; it takes some ten minutes.
Each search tries up to 64 settings of the lesson's space, once for each of
20 seeds, which start the sampler and the networks. Noted is the lowest
validation loss so far, and the accuracy of that network on the test digits.
Writes the lesson's results file.
"""

from pathlib import Path

import numpy as np
import optuna
import torch
from tqdm import tqdm

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.training import hyperparameter_search as lesson

ROOT = Path(__file__).parents[1]
SEEDS = range(20)
BUDGETS = (8, 16, 32, 64)
SECTIONS = ["train", "epochs", "space"]
SAMPLERS = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "TPE as in 4.9": lambda seed: optuna.samplers.TPESampler(
        seed=seed, multivariate=False, constant_liar=False
    ),
    "Gaussian process": lambda seed: optuna.samplers.GPSampler(seed=seed),
}


def scores(settings, data, seed):
    """Validation loss and test accuracy; a loss that isn't finite is 100."""
    train, valid, test = data
    model = lesson.fit(settings, train, seed)
    loss, _ = lesson.judge(model, *valid)
    _, accuracy = lesson.judge(model, *test)
    return (loss if np.isfinite(loss) else 100.0), accuracy


def searched(sampler, data, seed):
    """Pairs of loss and accuracy, in the order in which they were tried."""
    pairs = []

    def objective(trial):
        pairs.append(scores(lesson.suggest(trial), data, seed))
        return pairs[-1][0]

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=max(BUDGETS))
    return pairs


def best(pairs):
    """Loss and accuracy of the pair with the lowest loss."""
    loss, accuracy = min(pairs)
    return {"loss": round(loss, 4), "accuracy": round(accuracy, 4)}


def main():
    """Run all of it, and write the results."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    data = lesson.load()
    results = {name: {k: [] for k in BUDGETS} for name in SAMPLERS}
    results["grid"] = {k**4: [] for k in (2, 3)}
    for seed in tqdm(SEEDS):
        for k in (2, 3):
            tried = [scores(point, data, seed) for point in lesson.grid(k)]
            results["grid"][k**4].append(best(tried))
        for name, sampler in SAMPLERS.items():
            pairs = searched(sampler(seed), data, seed)
            for budget in BUDGETS:
                results[name][budget].append(best(pairs[:budget]))
    path = write_results(
        Project.load(ROOT),
        "training/hyperparameter_search.results.json",
        SECTIONS,
        "python -m benchmarks.hyperparameter_search",
        ["optuna", "torch"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
