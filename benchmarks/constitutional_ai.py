"""SmolLM2 learns to answer in one sentence, stage by stage, over seeds.

Run `python -m benchmarks.constitutional_ai`; it takes some ten minutes.
Which held-out answers break the principle is noted as the model comes, told
the principle, after fine-tuning on its own revisions, after DPO on its own
judgements, and after DPO on judgements by lot. Writes the lesson's results
file.
"""

import copy
import random
from pathlib import Path

import torch
from transformers import logging

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.advanced import constitutional_ai as lesson
from snippets.start.language_model import load

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
SECTIONS = [
    "ask",
    "breaks",
    "questions",
    "revise",
    "log-probs",
    "judge",
    "fine-tune",
    "prefer",
]
FINE_TUNING, PREFERRING = 3, 12  # steps


def broken(model, tokenizer, told=""):
    """Which answers to held-out questions break the principle."""
    _, held_out = lesson.questions()
    texts = [lesson.chat(tokenizer, q + told) for q in held_out]
    return [lesson.breaks(t) for t in lesson.answer(model, tokenizer, texts)]


def judged(pairs):
    """Whether the judge chose the unbroken one, where one only is broken."""
    kinds = [[lesson.breaks(text) for text in pair] for pair in pairs]
    return [not chosen for chosen, other in kinds if chosen != other]


def by_lot(pairs, seed):
    """The same pairs, with the chosen one drawn by lot."""
    lots = random.Random(seed)
    return [pair if lots.random() < 0.5 else pair[::-1] for pair in pairs]


def run(base, tokenizer, revisions, seed):
    """What is measured of one seed, by name."""
    learn, _ = lesson.questions()
    model = copy.deepcopy(base)
    lesson.fine_tune(model, tokenizer, learn, revisions, FINE_TUNING, seed)
    found = {"fine-tuned": broken(model, tokenizer)}
    pairs = lesson.preferences(
        model, tokenizer, learn, lesson.PRINCIPLE, seed, base
    )
    found["judge right"] = judged(pairs)
    for name, chosen in (
        ("preferred", pairs),
        ("by lot", by_lot(pairs, seed)),
    ):
        tuned = copy.deepcopy(model)
        lesson.prefer(tuned, tokenizer, learn, chosen, PREFERRING, seed)
        found[name] = broken(tuned, tokenizer)
    return found


def main():
    """Run all stages and write the lesson's results file."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    base, tokenizer = load()
    learn, _ = lesson.questions()
    texts = [lesson.chat(tokenizer, q) for q in learn]
    first = lesson.answer(base, tokenizer, texts)
    revisions = lesson.revise(base, tokenizer, learn, first)
    results = {
        "first answers": [lesson.breaks(text) for text in first],
        "revisions": [lesson.breaks(text) for text in revisions],
        "as it comes": broken(base, tokenizer),
        "told": broken(base, tokenizer, f" {lesson.PRINCIPLE}"),
        "seeds": [],
    }
    for seed in SEEDS:
        found = run(base, tokenizer, revisions, seed)
        results["seeds"].append(found)
        shares = {name: sum(each) / len(each) for name, each in found.items()}
        print(f"seed {seed}: {shares}", flush=True)
    path = write_results(
        Project.load(ROOT),
        "advanced/constitutional_ai.results.json",
        SECTIONS,
        "python -m benchmarks.constitutional_ai",
        ["torch", "transformers"],
        results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
