"""Recurrent networks: surnames, and digits that are asked for later.

Run `python -m benchmarks.rnn`; it takes a quarter of an hour on two cores.
Three kinds of cell learn surnames. Six kinds of layer read digits and are
asked for their class after some blank rows; each is trained at two rates, and
the one that does better on digits to choose by is tested. Three seeds each.
Writes the lesson's results file.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
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


def surnames(kind, seed):
    """Held-out loss in nats a character, after 1,500 steps."""
    torch.set_num_threads(1)
    train_on, test_on = map(name_ids, load_names())
    torch.manual_seed(seed)
    model = NameModel(CELLS[kind](16, 96))
    fit(model, *train_on, steps=1500, seed=seed)
    with torch.no_grad():
        return round(mean_loss(model, *test_on).item(), 4)


def after_blank(kind, is_open, n_blank, seed):
    """Share right on test, at the rate that is better on others."""
    torch.set_num_threads(1)
    train_on, choose_by, test_on = digits_then_blank(n_blank, seed)
    shares = []
    for rate in RATES:
        torch.manual_seed(seed)
        layer = LAYERS[kind](8, 64, batch_first=True)
        model = Reader(start_open(layer) if is_open else layer)
        fit(model, *train_on, learning_rate=rate, seed=seed)
        on_both = (share_right(model, *part) for part in (choose_by, test_on))
        shares.append(tuple(on_both))
    return round(max(shares)[1], 3)


def main():
    """Train 9 models of names and 180 of digits, two at a time."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        asked = {
            (f"{kind}, open" if is_open else kind): [
                [
                    pool.submit(after_blank, kind, is_open, n_blank, seed)
                    for n_blank in BLANK
                ]
                for seed in SEEDS
            ]
            for kind in LAYERS
            for is_open in (False, True)
        }
        names = {
            kind: [pool.submit(surnames, kind, seed) for seed in SEEDS]
            for kind in CELLS
        }
        digits = {}
        for kind, runs in asked.items():
            digits[kind] = [[run.result() for run in row] for row in runs]
            print(f"{kind}: {digits[kind]}", flush=True)
        losses = {}
        for kind, runs in names.items():
            losses[kind] = [run.result() for run in runs]
            print(f"{kind}: {losses[kind]}", flush=True)
    path = write_results(
        Project.load(ROOT),
        "architectures/rnn.results.json",
        SECTIONS,
        "python -m benchmarks.rnn",
        ["numpy", "torch", "scikit-learn", "names"],
        {"blank": list(BLANK), "digits": digits, "names": losses},
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
