"""How much sooner SmolLM2 writes with a cache, and with drafts looked up.

Run `python -m benchmarks.speculative_decoding` on an idle machine; it takes
some two minutes. One thread, greedy. Writes the lesson's results file.
"""

import time
from pathlib import Path

import torch

from runnable_pages.project import Project
from runnable_pages.results import write_results
from snippets.start.language_model import NOTE, load

ROOT = Path(__file__).parents[1]
LENGTHS = (25, 50, 100)
REPEATS = 3


def seconds(model, inputs, n, **options):
    """Of the fastest of a few generations of n tokens."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        found = model.generate(
            **inputs,
            max_new_tokens=n,
            min_new_tokens=n,
            do_sample=False,
            **options,
        )
        best = min(best, time.perf_counter() - start)
        assert found.shape[1] == inputs["input_ids"].shape[1] + n
    return round(best, 3)


def main():
    """Time both, and write the results."""
    torch.set_num_threads(1)
    model, tokenizer = load()
    tale = tokenizer("Once upon a time, there lived", return_tensors="pt")
    start = " ".join(NOTE.split()[:8])  # what is to be copied, and its start
    copied = tokenizer(f"{NOTE}\n\n{NOTE}\n\n{start}", return_tensors="pt")
    results = {
        "tokens": {
            n: {
                "cache": seconds(model, tale, n),
                "none": seconds(model, tale, n, use_cache=False),
            }
            for n in LENGTHS
        },
        "copied": {
            "plain": seconds(model, copied, 40),
            "looked up": seconds(
                model, copied, 40, prompt_lookup_num_tokens=8
            ),
        },
    }
    path = write_results(
        Project.load(ROOT),
        "deployment/speculative_decoding.results.json",
        ["library"],
        "python -m benchmarks.speculative_decoding",
        ["torch", "transformers"],
        results,
    )
    print(f"wrote {path}", results)


if __name__ == "__main__":
    main()
