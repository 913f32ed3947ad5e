"""Tokens per second of the training loop against a bare loop of torch.nn.

Run `python -m benchmarks.gpt_speed`. It trains the lesson's GPT by
train_transformer, and a model of the same size made of torch.nn's own layers
by the shortest loop, in turns, and prints the ratio of their speeds.
"""

import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from snippets.architectures.transformer import GPT
from snippets.training.training_loop import train_transformer

VOCAB_SIZE, D_MODEL, N_HEADS, N_LAYERS, CONTEXT = 80, 96, 4, 2, 32


class TorchGPT(nn.Module):
    """The same model of nn.TransformerEncoderLayer."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB_SIZE, D_MODEL)
        self.positions = nn.Embedding(CONTEXT, D_MODEL)
        layer = nn.TransformerEncoderLayer(
            D_MODEL,
            N_HEADS,
            4 * D_MODEL,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            layer,
            N_LAYERS,
            norm=nn.LayerNorm(D_MODEL),
            enable_nested_tensor=False,
        )
        self.head = nn.Linear(D_MODEL, VOCAB_SIZE, bias=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight
        return self.head(self.blocks(x, self.mask, is_causal=True))


def bare_loop(model, batches, optimizer):
    """The loop with nothing in it that training can do without."""
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def measure(n_batches=20, n_rounds=9, batch_size=32, threads=2):
    """Tokens per second of the lesson's loop and of the bare loop.

    The two take turns, so that what else the machine does slows both.
    Returns both medians, and the median of the rounds' ratios.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ids = torch.randint(VOCAB_SIZE, (n_batches, batch_size, CONTEXT + 1))
    batches = [(each[:, :-1], each[:, 1:]) for each in ids]
    ours, torchs = GPT(VOCAB_SIZE, D_MODEL, N_HEADS, N_LAYERS), TorchGPT()
    sizes = [sum(p.numel() for p in m.parameters()) for m in (ours, torchs)]
    if sizes[0] != sizes[1]:
        raise AssertionError(f"models differ in size: {sizes}")
    runs = [
        (loop, model, torch.optim.AdamW(model.parameters(), 1e-3, fused=True))
        for loop, model in (
            (lambda m, b, o: train_transformer(m, b, o, epochs=1), ours),
            (bare_loop, torchs),
        )
    ]
    speeds = [[], []]
    for number in range(n_rounds + 1):
        for (loop, model, optimizer), kept in zip(runs, speeds, strict=True):
            start = time.perf_counter()
            loop(model, batches, optimizer)
            seconds = time.perf_counter() - start
            if number:  # the first round warms up
                kept.append(n_batches * batch_size * CONTEXT / seconds)
    ratio = statistics.median(a / b for a, b in zip(*speeds, strict=True))
    return (*map(statistics.median, speeds), ratio)


def main():
    """Print both speeds and their ratio."""
    lesson, bare, ratio = measure()
    print(f"lesson's loop and GPT    {lesson:9,.0f} tokens/s")
    print(f"bare loop of torch.nn    {bare:9,.0f} tokens/s")
    print(f"  ratio {ratio:.2f}, wanted at least 1.00")


if __name__ == "__main__":
    main()
