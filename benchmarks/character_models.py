"""Cells that learn surnames, at equal numbers of parameters, over seeds.

Run `python -m benchmarks.character_models`; it takes a quarter of an hour on
two cores. Each cell is trained at two rates, and the one with the lower loss
on validation names is tested. Three seeds each. Writes the lesson's results
file.
"""

from operator import itemgetter

import torch

from benchmarks.rnn import RATES, ROOT, SEEDS, run
from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures.character_models import (
    NameModel,
    load_names,
    name_ids,
)
from snippets.architectures.rnn import (
    GRUCell,
    LSTMCell,
    PlainCell,
    fit,
    mean_loss,
)

CELLS = {"plain": PlainCell, "GRU": GRUCell, "LSTM": LSTMCell}
N_VALIDATION = 8000
CELL_SECTIONS = ("cell", "read", "lstm", "gru", "fit")
SECTIONS = ["names", "name-ids", "name-model"] + [
    f"architectures/rnn.py:{name}" for name in CELL_SECTIONS
]


def surnames(kind, width, steps, seed):
    """Test loss in nats a character, at the rate that validates better."""
    torch.set_num_threads(1)
    names, test_names = load_names()
    train_on = name_ids(names[:-N_VALIDATION])
    held_out = name_ids(names[-N_VALIDATION:]), name_ids(test_names)
    losses = []
    for rate in RATES:
        torch.manual_seed(seed)
        model = NameModel(CELLS[kind](16, width))
        fit(model, *train_on, learning_rate=rate, steps=steps, seed=seed)
        with torch.no_grad():
            pair = [mean_loss(model, *part).item() for part in held_out]
        losses.append(pair)
    return round(min(losses, key=itemgetter(0))[1], 4)


def main():
    """Train all and write the lesson's results file."""
    kinds = {
        "plain, 96 numbers": ("plain", 96, 1500),
        "plain, 172 numbers": ("plain", 172, 1500),
        "LSTM, 82 numbers": ("LSTM", 82, 1500),
        "GRU, 96 numbers": ("GRU", 96, 1500),
        "GRU, 6,000 steps": ("GRU", 96, 6000),
    }
    results = run(
        {
            name: [(surnames, *kind, seed) for seed in SEEDS]
            for name, kind in kinds.items()
        }
    )
    path = write_results(
        Project.load(ROOT),
        "architectures/character_models.results.json",
        SECTIONS,
        "python -m benchmarks.character_models",
        ["numpy", "torch", "names"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
