"""Sixteen bits: what they lose, and a loss scaler from scratch."""

# --8<-- [start:formats]
import math
import warnings

import torch
import torch.nn.functional as F

from snippets.architectures.transformer import (
    GPT,
    evaluate,
    load_shakespeare,
)
from snippets.training.training_loop import (
    accumulate,
    window_loader,
)

if __name__ == "__main__":
    print("        largest  smallest  step at 1")
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        info = torch.finfo(dtype)
        smallest = info.smallest_normal * info.eps
        print(f"{str(dtype)[6:]:8} {info.max:.0e}", end="")
        print(f"   {smallest:.0e}     {info.eps:.0e}")
    # --8<-- [end:formats]

    # --8<-- [start:absorbed]
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        weight = torch.tensor(1.0, dtype=dtype)
        for _ in range(1000):
            weight += 0.0004
        print(f"{str(dtype)[6:]:8} {weight:.1f}")
    # --8<-- [end:absorbed]

    # --8<-- [start:weights]
    text = load_shakespeare()
    vocab_size = len(text.characters)

    def held_out(seed, rate, precision="fp32", keep=lambda weight: weight):
        """Held-out loss after 60 updates, each followed by keep(weight)."""
        torch.manual_seed(seed)
        model = GPT(vocab_size, d_model=48, n_layers=1)
        optimizer = torch.optim.AdamW(model.parameters(), rate)
        for batch in window_loader(text.train, 32, 16, 60, seed):
            optimizer.zero_grad()
            accumulate(model, [batch], precision)
            optimizer.step()
            for p in model.parameters():
                p.data = keep(p.data)
        return evaluate(model, text.validation, 256)

    def nearest(weight):
        """The weights as bf16 would keep them."""
        return weight.bfloat16().float()

    fp32 = [held_out(seed, 3e-4) for seed in range(3)]
    print(f"all in fp32      {min(fp32):.2f} to {max(fp32):.2f}")
    for name, how in (
        ("products in bf16", ("bf16",)),
        ("weights in bf16", ("fp32", nearest)),
    ):
        ends = [held_out(seed, 3e-4, *how) for seed in range(3)]
        gaps = [abs(a - b) for a, b in zip(ends, fp32, strict=True)]
        print(f"{name:16} {min(ends):.2f} to {max(ends):.2f}, ", end="")
        print(f"off by {min(gaps):.2f} to {max(gaps):.2f}")
    # --8<-- [end:weights]

    # --8<-- [start:logits]
    torch.manual_seed(0)
    model = GPT(vocab_size, d_model=48, n_layers=1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for batch in window_loader(text.train, 32, 16, 60):
        optimizer.zero_grad()
        accumulate(model, [batch])
        optimizer.step()
    inputs, targets = next(iter(window_loader(text.validation, 32, 64, 1)))
    with torch.no_grad():
        error = model(inputs).softmax(-1) - F.one_hot(targets, vocab_size)
    print("targets   bf16  fp16  fp16, times 65,536")
    for n_targets in (2_048, 32_768, 524_288):
        g = error / n_targets  # (64, 32, vocab): of the mean loss
        forms = g.bfloat16(), g.half(), (65_536 * g).half()
        zeros = [f"{(form == 0).float().mean():.0%}" for form in forms]
        print(f"{n_targets:7,}  {zeros[0]:>5} {zeros[1]:>5} {zeros[2]:>8}")
    # --8<-- [end:logits]

    # --8<-- [start:histogram]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    sizes = (error / 32_768).abs().flatten()
    powers = sizes[sizes > 0].log2().numpy()
    bins = range(-45, 3)
    ax.hist(powers, bins, color="#8f065b", label="as they are")
    label = "times 65,536"
    ax.hist(powers + 16, bins, color="#1f5fbf", histtype="step", label=label)
    ax.axvline(-25, color="#767676", ls="--", label="fp16: zero below")
    ax.set(xlabel="gradient at a logit, as a power of two", ylabel="numbers")
    ax.legend()
    plt.show()
    # --8<-- [end:histogram]

    # --8<-- [start:large]
    def with_large_batches(seed, times, precision, scale=1.0):
        """Held-out loss, with gradients as if batches were times as large."""
        torch.manual_seed(seed)
        model = GPT(vocab_size, d_model=48, n_layers=1)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        factor = scale / times
        for batch in window_loader(text.train, 32, 16, 40, seed):
            optimizer.zero_grad()
            accumulate(model, [batch], precision, lambda loss: loss * factor)
            for p in model.parameters():
                p.grad /= factor
            optimizer.step()
        return evaluate(model, text.validation, 256)

    print("targets     bf16        fp16        fp16, scaled")
    for times in (2**10, 2**12):
        print(f"{512 * times:9,}", end="")
        for how in (("bf16",), ("fp16",), ("fp16", 2.0**16)):
            ends = [with_large_batches(s, times, *how) for s in range(3)]
            print(f"   {min(ends):.1f} to {max(ends):.1f}", end="")
        print()
    # --8<-- [end:large]


# --8<-- [start:scaler]
class LossScaler:
    """Multiplies the loss by S and divides the gradients by it again.

    After an overflow the step is left out and S halved. After so many good
    steps in a row S is doubled.
    """

    def __init__(self, scale=2.0**16, growth_interval=2000):
        self.factor, self.growth_interval = scale, growth_interval
        self.n_good = 0

    def scale(self, loss):
        """S times the loss, whose gradients are S times larger."""
        return self.factor * loss

    def step(self, optimizer, parameters):
        """Unscale, in fp32, and take the step if all gradients are finite."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for gradient in gradients:
            gradient /= self.factor
        if not all(gradient.isfinite().all() for gradient in gradients):
            self.factor, self.n_good = self.factor / 2, 0
            return
        optimizer.step()
        self.n_good += 1
        if self.n_good == self.growth_interval:
            self.factor, self.n_good = 2 * self.factor, 0


# --8<-- [end:scaler]

if __name__ == "__main__":
    # --8<-- [start:overflow]
    def fresh():
        """A small GPT and its optimizer, from the same start each time."""
        torch.manual_seed(0)
        model = GPT(vocab_size, d_model=48, n_layers=1)
        return model, torch.optim.AdamW(model.parameters(), 1e-3)

    batch = inputs[:16], targets[:16]
    model, optimizer = fresh()
    scaler, ours = LossScaler(2.0**24, growth_interval=5), []
    for _ in range(20):
        optimizer.zero_grad()
        accumulate(model, [batch], "fp16", scaler.scale)
        scaler.step(optimizer, model.parameters())
        ours.append(round(math.log2(scaler.factor)))
    print("S is 2 to the", *ours)
    # --8<-- [end:overflow]

    # --8<-- [start:library]
    model, optimizer = fresh()
    options = {"init_scale": 2.0**24, "growth_interval": 5}
    scaler, theirs = torch.amp.GradScaler("cpu", **options), []
    for _ in range(20):
        optimizer.zero_grad()
        accumulate(model, [batch], "fp16", scaler.scale)
        scaler.step(optimizer)
        scaler.update()
        theirs.append(round(math.log2(scaler.get_scale())))
    print("PyTorch's S: ", *theirs)
    # --8<-- [end:library]

    # --8<-- [start:clip-first]
    def norm_of_step(unscale_first):
        """The norm of the gradient that the optimizer gets, clipped to 1."""
        model, _ = fresh()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
        accumulate(model, [batch], "fp16", lambda x: 10 * scaler.scale(x))
        if unscale_first:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)  # unscales, unless that was done
        gradients = [p.grad for p in model.parameters()]
        return torch.nn.utils.get_total_norm(gradients)

    print(f"unscale, then clip  {norm_of_step(True):.6f}")
    print(f"clip, then unscale  {norm_of_step(False):.6f}")
    # --8<-- [end:clip-first]

    # --8<-- [start:epsilon]
    for dtype in (torch.bfloat16, torch.float16):
        weight = torch.nn.Parameter(torch.ones(3, dtype=dtype))
        optimizer = torch.optim.Adam([weight], lr=0.1)
        weight.grad = torch.tensor([1e-2, 1e-5, 0.0], dtype=dtype)
        optimizer.step()
        print(f"{str(dtype)[6:]:8} {weight.tolist()}")
    # --8<-- [end:epsilon]

    # --8<-- [start:deprecated]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.amp.GradScaler(enabled=False)
    print(caught[0].category.__name__)
    # --8<-- [end:deprecated]

    # --8<-- [start:solution-memory]
    n = 124_439_808  # GPT-2
    weights, gradients, averages = 4 * n, 4 * n, 2 * 4 * n
    print(f"mixed precision {(weights + gradients + averages) / 1e9:.1f} GB")
    print(f"all in 16 bits  {(weights + gradients + averages) / 2e9:.1f} GB")
    # --8<-- [end:solution-memory]

    # --8<-- [start:solution-rate]
    for seed in range(3):
        gap = held_out(seed, 1e-2, "fp32", nearest) - held_out(seed, 1e-2)
        print(f"seed {seed}: off by {abs(gap):.2f}")
    # --8<-- [end:solution-rate]


# --8<-- [start:solution-stochastic]
def stochastic(weight):
    """fp32 to one of the two nearest bf16 numbers, unbiased; as fp32.

    A bf16 number is the upper half of an fp32 number. Add random numbers to
    the lower half and cut it off: it carries over with the right probability.
    """
    bits = weight.view(torch.int32)
    noise = torch.randint_like(bits, 2**16)
    return ((bits + noise) & -(2**16)).view(torch.float32)


# --8<-- [end:solution-stochastic]

if __name__ == "__main__":
    # --8<-- [start:solution-unbiased]
    ends = [held_out(seed, 3e-4, "fp32", stochastic) for seed in range(3)]
    gaps = [abs(a - b) for a, b in zip(ends, fp32, strict=True)]
    print(f"off by {min(gaps):.2f} to {max(gaps):.2f}")
    # --8<-- [end:solution-unbiased]
