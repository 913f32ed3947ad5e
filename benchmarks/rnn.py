"""Recurrent networks: digits that are asked for later, over seeds.

Run `python -m benchmarks.rnn`; it takes half an hour on two cores. Six kinds
of layer read digits and are asked for their class after some blank rows; each
is trained at two rates, and the one with the better validation accuracy is
tested. As controls, the LSTM as it comes gets more steps, and LSTMs start
with other biases of the forget gate. Three seeds each. Writes the lesson's
results file.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from operator import itemgetter
from pathlib import Path

import torch
from torch import nn

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.rnn import (
    Reader,
    accuracy,
    digits_then_blank,
    fit,
    start_open,
)

ROOT = Path(__file__).parents[1]
SEEDS = range(1, 4)
LAYERS = {"plain": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
RATES = (0.005, 0.02)
BLANK = (0, 10, 20, 40, 80)
SECTIONS = ["wait", "reader", "fit", "start-open"]


def after_blank(kind, bias, n_blank, steps, seed):
    """Test accuracy, at the rate whose validation accuracy is better.

    bias is what start_open gets, or None: then the layer is left as it comes.
    """
    torch.set_num_threads(1)
    train_on, validate_on, test_on = digits_then_blank(n_blank, seed)
    scores = []
    for rate in RATES:
        torch.manual_seed(seed)
        layer = LAYERS[kind](8, 64, batch_first=True)
        model = Reader(layer if bias is None else start_open(layer, bias))
        fit(model, *train_on, learning_rate=rate, steps=steps, seed=seed)
        both = (accuracy(model, *part) for part in (validate_on, test_on))
        scores.append(tuple(both))
    return round(max(scores, key=itemgetter(0))[1], 3)


def started(tasks, pool):
    """The same dicts and lists, with a future for each call."""
    if isinstance(tasks, dict):
        return {name: started(part, pool) for name, part in tasks.items()}
    if isinstance(tasks, list):
        return [started(part, pool) for part in tasks]
    return pool.submit(*tasks)


def finished(runs):
    """The same dicts and lists, with a result for each future."""
    if isinstance(runs, dict):
        done = {}
        for name, part in runs.items():
            done[name] = finished(part)
            print(f"{name}: {done[name]}", flush=True)
        return done
    if isinstance(runs, list):
        return [finished(part) for part in runs]
    return runs.result()


def run(tasks):
    """The results of all calls, two at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        return finished(started(tasks, pool))


def main():
    """Train all and write the lesson's results file."""
    digits = {
        (f"{kind}, open" if bias else kind): [
            [(after_blank, kind, bias, n, 400, seed) for n in BLANK]
            for seed in SEEDS
        ]
        for kind in LAYERS
        for bias in (None, 3.0)
    }
    controls = {
        "20 rows, 1,500 steps": ("LSTM", None, 20, 1500),
        "40 rows, bias 1": ("LSTM", 1.0, 40, 400),
        "40 rows, bias 2": ("LSTM", 2.0, 40, 400),
        "80 rows, bias 5": ("LSTM", 5.0, 80, 400),
    }
    results = run(
        {
            "digits": digits,
            "controls": {
                name: [(after_blank, *one, seed) for seed in SEEDS]
                for name, one in controls.items()
            },
        }
    )
    path = write_results(
        Project.load(ROOT),
        "architectures/rnn.results.json",
        SECTIONS,
        "python -m benchmarks.rnn",
        ["numpy", "torch", "scikit-learn"],
        {"blank": list(BLANK), **results},
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
