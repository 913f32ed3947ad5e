"""What each change of a transformer is worth, alone and together, over seeds.

Run `python -m benchmarks.modern_transformer`; it takes half an hour on one
core. Every model is trained as in the lesson, for 320 steps and for 960 in
all. Writes the lesson's results file.
"""

from collections import defaultdict
from pathlib import Path

import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.architectures import modern_transformer as lesson
from snippets.architectures.transformer import evaluate, load_shakespeare

ROOT = Path(__file__).parents[1]
SECTIONS = [
    "rotate",
    "rms",
    "swiglu",
    "cache",
    "attention",
    "model",
    "changes",
    "fit",
]
STEPS = (320, 960)
SEEDS = range(6)


def held_out_loss(text, change, steps, seed):
    """Of one model, after some steps."""
    torch.manual_seed(seed)
    model = lesson.changed_gpt(len(text.characters), change)
    lesson.fit(model, text.train, steps, seed)
    return round(evaluate(model, text.validation, 2048), 4)


def main():
    """Train all, and write the results."""
    torch.set_num_threads(1)
    text = load_shakespeare()
    results = {steps: defaultdict(list) for steps in STEPS}
    for steps in STEPS:
        for seed in SEEDS:
            for change in lesson.CHANGES:
                loss = held_out_loss(text, change, steps, seed)
                results[steps][change].append(loss)
                print(steps, seed, change, loss, flush=True)
    path = write_results(
        Project.load(ROOT),
        "architectures/modern_transformer.results.json",
        SECTIONS,
        "python -m benchmarks.modern_transformer",
        ["torch"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
