"""The training loop of a transformer, grown in steps that each run."""

# --8<-- [start:loop]
import math
from itertools import islice

import torch
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_


def plain_loop(model, batches, optimizer):
    """An update for each batch of (inputs, targets); returns the losses.

    Inputs and targets are ids, (batch, seq); logits (batch, seq, vocab).
    """
    losses = []
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# --8<-- [end:loop]

if __name__ == "__main__":
    # --8<-- [start:first]
    from snippets.architectures.transformer import (
        GPT,
        evaluate,
        load_shakespeare,
        ngram_loss,
    )

    text = load_shakespeare()
    vocab_size = len(text.characters)
    torch.manual_seed(0)
    model = GPT(vocab_size, d_model=48, n_layers=1)
    starts = torch.randint(4_000_000, (100, 16, 1))
    windows = text.train[starts + torch.arange(33)]  # (100, 16, 33)
    batches = [(ids[:, :-1], ids[:, 1:]) for ids in windows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = plain_loop(model, batches, optimizer)
    print(f"training loss {losses[0]:.1f}, then {losses[-1]:.1f}")
    print(f"held-out loss {evaluate(model, text.validation):.2f}")
    # --8<-- [end:first]


# --8<-- [start:loader]
def window_loader(ids, context, batch_size, n_batches, seed=0):
    """A DataLoader of n_batches an epoch of shuffled windows of ids, (n,).

    It gives inputs and targets, each (batch_size, context).
    """
    n_windows = (len(ids) - 1) // context
    assert n_windows > 0, f"{len(ids)} ids, but a context of {context}"
    inputs = ids[: n_windows * context].reshape(-1, context)
    targets = ids[1 : n_windows * context + 1].reshape(-1, context)
    dataset = torch.utils.data.TensorDataset(inputs, targets)
    generator = torch.Generator().manual_seed(seed)
    sampler = torch.utils.data.RandomSampler(
        dataset, num_samples=n_batches * batch_size, generator=generator
    )
    return torch.utils.data.DataLoader(dataset, batch_size, sampler=sampler)


# --8<-- [end:loader]


# --8<-- [start:schedule]
def warmup_cosine(step, n_steps, n_warmup, floor=0.1):
    """The share r(s) of the peak learning rate at step s, from 0 on."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = min((step - n_warmup) / (n_steps - n_warmup), 1)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


# --8<-- [end:schedule]


# --8<-- [start:steady]
def steady_loop(model, batches, optimizer, scheduler, max_norm):
    """The plain loop with a schedule, and gradients of at most max_norm."""
    losses = []
    for inputs, targets in batches:
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), max_norm)  # new
        optimizer.step()
        scheduler.step()  # new
        losses.append(loss.item())
    return losses


# --8<-- [end:steady]

if __name__ == "__main__":
    # --8<-- [start:gains]
    def held_out(seed, rate, n_warmup, max_norm):
        """Held-out loss of a small GPT after 60 updates."""
        torch.manual_seed(seed)
        model = GPT(vocab_size, d_model=48, n_layers=1)
        optimizer = torch.optim.AdamW(model.parameters(), rate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda s: warmup_cosine(s, 60, n_warmup)
        )
        loader = window_loader(text.train, 32, 16, 60, seed)
        steady_loop(model, loader, optimizer, scheduler, max_norm)
        return evaluate(model, text.validation, n_windows=256)

    for n_warmup in (0, 10):
        for max_norm in (math.inf, 1.0):
            ends = [held_out(s, 0.1, n_warmup, max_norm) for s in range(3)]
            print(f"warm-up {n_warmup:2}, max_norm {max_norm:3.0f}: ", end="")
            print(f"{min(ends):.1f} to {max(ends):.1f}")
    # --8<-- [end:gains]


# --8<-- [start:accumulate]
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def summed_loss(model, inputs, targets, precision="fp32"):
    """Cross-entropy summed over the targets; those of -100 don't count."""
    device = next(model.parameters()).device
    inputs = inputs.to(device, non_blocking=True)
    targets = targets.to(device, torch.long, non_blocking=True).flatten()
    is_mixed = precision != "fp32"
    with torch.autocast(device.type, DTYPES[precision], enabled=is_mixed):
        output = model(inputs)
    logits = getattr(output, "logits", output).flatten(0, 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, targets, reduction="sum")


def accumulate(model, batches, precision="fp32", scale=lambda loss: loss):
    """Add up gradients of the mean loss of all batches; return that loss."""
    n_targets, total = sum((y != -100).sum() for _, y in batches), 0.0
    for inputs, targets in batches:
        loss = summed_loss(model, inputs, targets, precision)
        loss = loss / n_targets.to(loss.device)
        scale(loss).backward()
        total += loss.detach()
    return total


# --8<-- [end:accumulate]

if __name__ == "__main__":
    # --8<-- [start:parts]
    def gradient(parts, mean_of_means=False):
        """The gradient from all parts, as one vector in float64."""
        exact = GPT(vocab_size, d_model=48, n_layers=1).double()
        exact.load_state_dict(model.state_dict())
        if mean_of_means:  # the common mistake
            for x, y in parts:
                loss = F.cross_entropy(exact(x).flatten(0, 1), y.flatten())
                (loss / len(parts)).backward()
        else:
            accumulate(exact, parts)
        return torch.cat([p.grad.flatten() for p in exact.parameters()])

    inputs, targets = next(iter(window_loader(text.validation, 32, 64, 1)))
    targets[:16, 4:] = -100  # a quarter of the texts are short
    parts = list(zip(inputs.split(16), targets.split(16), strict=True))
    whole = gradient([(inputs, targets)])
    for name, mistake in (("by all targets", False), ("mean of means", True)):
        off = (gradient(parts, mistake) - whole).norm() / whole.norm()
        print(f"{name:14}  off by {off:.2f} of the gradient's norm")
    # --8<-- [end:parts]


# --8<-- [start:update]
def update(model, batches, optimizer, scaler, precision, max_norm):
    """One step from all the batches; their mean loss, left on the device."""
    optimizer.zero_grad()
    loss = accumulate(model, batches, precision, scaler.scale)
    scaler.unscale_(optimizer)  # before clipping
    if max_norm is not None:
        clip_grad_norm_(model.parameters(), max_norm)
    scaler.step(optimizer)  # leaves out an update that overflowed
    scaler.update()
    return loss


# --8<-- [end:update]


# --8<-- [start:read]
def read_losses(waiting, losses, report=None):
    """Move waiting losses from the device to the list of numbers.

    Raises FloatingPointError for the first that is not finite.
    """
    for value in torch.stack(waiting).tolist():  # waits for the device, once
        losses.append(value)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss is {value} at update {len(losses)}: "
                "lower the learning rate or max_grad_norm"
            )
    waiting.clear()
    if report is not None:
        report(f"update {len(losses)}: loss {losses[-1]:.3f}")


# --8<-- [end:read]


# --8<-- [start:train]
def train_transformer(
    model,
    dataloader,
    optimizer,
    epochs=10,
    *,
    scheduler=None,
    accumulation_steps=1,
    max_grad_norm=1.0,
    precision="fp32",
    validate=None,
    report=None,
    report_every=50,
):
    """Train a language model in place, where it is; returns its losses.

    dataloader gives (inputs, targets), ids of (batch, seq). precision is
    fp32, bf16 or fp16; max_grad_norm may be None. validate(model) gives a
    loss after each epoch, report(line) is called every so many updates.
    """
    assert max_grad_norm is None or max_grad_norm > 0, "None clips nothing"
    device = next(model.parameters()).device.type
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    how = scaler, precision, max_grad_norm
    history, waiting = {"loss": [], "validation": []}, []
    for _ in range(epochs):
        model.train()
        batches = iter(dataloader)
        while group := list(islice(batches, accumulation_steps)):
            scale = scaler.get_scale()
            waiting.append(update(model, group, optimizer, *how))
            if scheduler is not None and scaler.get_scale() >= scale:
                scheduler.step()
            if len(waiting) == report_every:
                read_losses(waiting, history["loss"], report)
        if validate is not None:
            model.eval()
            history["validation"].append(validate(model))
    if waiting:
        read_losses(waiting, history["loss"])
    return history


# --8<-- [end:train]

if __name__ == "__main__":
    # --8<-- [start:fit]
    torch.manual_seed(0)
    model = GPT(vocab_size, n_layers=1)  # as wide as in the last lesson
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: warmup_cosine(s, n_steps=400, n_warmup=20)
    )
    history = train_transformer(
        model,
        window_loader(text.train, 32, batch_size=32, n_batches=80),
        optimizer,
        epochs=5,
        scheduler=scheduler,
        validate=lambda model: evaluate(model, text.validation),
    )
    triples = ngram_loss(text.train, text.validation, vocab_size, 3)
    print(f"counted triples  {triples:.2f}")
    for epoch in (1, 3, 5):
        print(f"epoch {epoch}          {history['validation'][epoch - 1]:.2f}")
    # --8<-- [end:fit]

    # --8<-- [start:losses]
    import matplotlib.pyplot as plt

    updates = torch.arange(1, 401)
    means = torch.tensor(history["loss"]).view(-1, 16).mean(1)
    fig, ax = plt.subplots()
    ax.plot(updates.view(-1, 16).float().mean(1), means, label="training")
    ax.plot(updates[79::80], history["validation"], "o--", label="held out")
    ax.axhline(triples, color="C2", ls="dotted", label="counted triples")
    ax.set(xlabel="update", ylabel="loss (nats per character)")
    ax.set(xlim=(0, 410), ylim=(1.9, 3.6))
    ax.legend()
    plt.show()
    # --8<-- [end:losses]

    # --8<-- [start:library-schedule]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler
    warm = schedule.LinearLR(optimizer, start_factor=0.1, total_iters=9)
    cosine = schedule.CosineAnnealingLR(optimizer, T_max=90, eta_min=0.1)
    both = schedule.SequentialLR(optimizer, [warm, cosine], milestones=[10])
    gap = 0.0
    for step in range(100):
        rate = both.get_last_lr()[0]
        gap = max(gap, abs(rate - warmup_cosine(step, 100, n_warmup=10)))
        optimizer.step()
        both.step()
    print(f"largest difference of the rates {gap:.9f}")
    # --8<-- [end:library-schedule]

    # --8<-- [start:unshifted]
    def small():
        """A small GPT and its optimizer, from the same start each time."""
        torch.manual_seed(0)
        model = GPT(vocab_size, d_model=48, n_layers=1)
        return model, torch.optim.AdamW(model.parameters(), 1e-2)

    model, optimizer = small()
    unshifted = [(inputs, inputs) for inputs, _ in batches]
    losses = plain_loop(model, unshifted, optimizer)
    print(f"training loss    {losses[-1]:4.1f}")
    print(f"on shifted text  {evaluate(model, text.validation):4.0f}")
    print(f"guessing         {math.log(vocab_size):4.1f}")
    # --8<-- [end:unshifted]

    # --8<-- [start:kept]
    model, optimizer = small()
    optimizer.zero_grad = lambda: None  # as if the line were missing
    plain_loop(model, batches, optimizer)
    print(f"held-out loss {evaluate(model, text.validation):.0f}")
    # --8<-- [end:kept]

    # --8<-- [start:diverged]
    model, _ = small()
    wild = torch.optim.SGD(model.parameters(), lr=1e30)
    try:
        train_transformer(model, batches, wild)
    except FloatingPointError as error:
        print(error)
    # --8<-- [end:diverged]

    # --8<-- [start:solution-updates]
    model, optimizer = small()
    lines = []
    options = {"report": lines.append, "report_every": 5}
    history = train_transformer(
        model, batches, optimizer, 1, accumulation_steps=8, **options
    )
    n_updates = len(history["loss"])
    print(f"{n_updates} updates, {len(lines)} lines")
    print(f"the last has {100 - 8 * (n_updates - 1)} batches")
    # --8<-- [end:solution-updates]

    # --8<-- [start:solution-rate]
    for n_warmup, max_norm in ((0, math.inf), (10, 1.0)):
        ends = [held_out(s, 0.01, n_warmup, max_norm) for s in range(3)]
        print(f"warm-up {n_warmup:2}, max_norm {max_norm:3.0f}: ", end="")
        print(f"{min(ends):.2f} to {max(ends):.2f}")
    # --8<-- [end:solution-rate]

    # --8<-- [start:solution-resume]
    import io

    model, optimizer = small()
    whole = plain_loop(model, batches[:60], optimizer)
    model, optimizer = small()
    plain_loop(model, batches[:30], optimizer)
    file = io.BytesIO()  # as good as a file
    torch.save([model.state_dict(), optimizer.state_dict()], file)
    for with_optimizer in (False, True):
        file.seek(0)
        weights, averages = torch.load(file)
        model, optimizer = small()
        model.load_state_dict(weights)
        if with_optimizer:
            optimizer.load_state_dict(averages)
        losses = plain_loop(model, batches[30:60], optimizer)
        print(f"optimizer saved: {with_optimizer!s:5}  ", end="")
        print(f"loss off by {abs(losses[9] - whole[39]):.2f} ten updates on")
    # --8<-- [end:solution-resume]
