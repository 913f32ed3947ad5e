"""Recurrent networks: surnames, and digits that are asked for later.

Run `python -m benchmarks.rnn`; it takes half an hour on two cores. Cells
learn surnames. Six kinds of layer read digits and are asked for their class
after some blank rows; each is trained at two rates, and the one that does
better on digits to choose by is tested. Two controls: the LSTM as it comes
with more steps, and with a larger bias. Three seeds each. Writes the lesson's
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
    GRUCell,
    LSTMCell,
    NameModel,
    PlainCell,
    Reader,
    digits_then_blank,
    fit,
    load_names,
    mean_loss,
    name_ids,
    share_right,
    start_open,
)

ROOT = Path(__file__).parents[1]
SEEDS = range(1, 4)
CELLS = {"plain": PlainCell, "GRU": GRUCell, "LSTM": LSTMCell}
LAYERS = {"plain": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
RATES = (0.005, 0.02)
BLANK = (0, 10, 20, 40, 80)
SECTIONS = [
    *("read", "cell", "gru", "lstm", "names", "name-model"),
    *("mean-loss", "fit", "wait", "reader", "start-open"),
]


def surnames(kind, width, steps, seed):
    """Held-out loss in nats a character."""
    torch.set_num_threads(1)
    train_on, test_on = map(name_ids, load_names())
    torch.manual_seed(seed)
    model = NameModel(CELLS[kind](16, width))
    fit(model, *train_on, steps=steps, seed=seed)
    with torch.no_grad():
        return round(mean_loss(model, *test_on).item(), 4)


def after_blank(kind, bias, n_blank, steps, seed):
    """Share right on test, at the rate that is better on others.

    bias is what start_open gets, or None: then the layer is left as it comes.
    """
    torch.set_num_threads(1)
    train_on, choose_by, test_on = digits_then_blank(n_blank, seed)
    shares = []
    for rate in RATES:
        torch.manual_seed(seed)
        layer = LAYERS[kind](8, 64, batch_first=True)
        model = Reader(layer if bias is None else start_open(layer, bias))
        fit(model, *train_on, learning_rate=rate, steps=steps, seed=seed)
        on_both = (share_right(model, *part) for part in (choose_by, test_on))
        shares.append(tuple(on_both))
    return round(max(shares, key=itemgetter(0))[1], 3)


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


def main():
    """Train all, two at a time, and write the lesson's results file."""
    digits = {
        (f"{kind}, open" if bias else kind): [
            [(after_blank, kind, bias, n, 400, seed) for n in BLANK]
            for seed in SEEDS
        ]
        for kind in LAYERS
        for bias in (None, 3.0)
    }
    controls = {
        "LSTM, 20 rows, 1,500 steps": ("LSTM", None, 20, 1500),
        "LSTM, 80 rows, bias of 5": ("LSTM", 5.0, 80, 400),
    }
    names = {
        "plain, 96 numbers": ("plain", 96, 1500),
        "plain, 180 numbers": ("plain", 180, 1500),
        "GRU, 96 numbers": ("GRU", 96, 1500),
        "LSTM, 96 numbers": ("LSTM", 96, 1500),
        "GRU, 6,000 steps": ("GRU", 96, 6000),
    }
    tasks = {
        "digits": digits,
        "controls": {
            name: [(after_blank, *run, seed) for seed in SEEDS]
            for name, run in controls.items()
        },
        "names": {
            name: [(surnames, *run, seed) for seed in SEEDS]
            for name, run in names.items()
        },
    }
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        results = finished(started(tasks, pool))
    path = write_results(
        Project.load(ROOT),
        "architectures/rnn.results.json",
        SECTIONS,
        "python -m benchmarks.rnn",
        ["numpy", "torch", "scikit-learn", "names"],
        {"blank": list(BLANK), **results},
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
