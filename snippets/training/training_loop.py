"""The training loop of a transformer, with mixed precision."""

# --8<-- [start:loss]
import math
from itertools import islice

import torch
import torch.nn.functional as F

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def summed_loss(model, inputs, targets, device, precision):
    """Cross-entropy summed over the targets; those of -100 don't count."""
    inputs = inputs.to(device, non_blocking=True)
    targets = targets.to(device, torch.long, non_blocking=True)
    mixed = precision != "fp32"
    with torch.autocast(device.type, DTYPES[precision], enabled=mixed):
        output = model(inputs)
    logits = getattr(output, "logits", output)  # (batch, seq, vocab)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets: expected shape {tuple(logits.shape[:-1])}, "
            f"got {tuple(targets.shape)}"
        )
    # the softmax in full precision: half becomes fp32, float64 stays
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="sum"
    )


# --8<-- [end:loss]


# --8<-- [start:update]
def update(model, batches, optimizer, scaler, precision, max_grad_norm):
    """Take one step from all the batches; return their mean loss.

    The loss stays on the device: reading it would make the device wait.
    """
    device = next(model.parameters()).device
    n_targets = sum((targets != -100).sum() for _, targets in batches)
    if n_targets == 0:  # no wait while the batches are on the CPU
        raise ValueError(
            "targets: expected at least one that is not -100, got none"
        )
    total = torch.zeros((), device=device)
    optimizer.zero_grad()
    for inputs, targets in batches:
        loss = summed_loss(model, inputs, targets, device, precision)
        loss = loss / n_targets.to(device)
        scaler.scale(loss).backward()
        total += loss.detach()
    scaler.unscale_(optimizer)  # before clipping, not after
    if max_grad_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    scaler.step(optimizer)  # leaves out an update that overflowed
    scaler.update()  # and then lowers the scale
    return total


# --8<-- [end:update]


# --8<-- [start:guards]
def check_options(precision, max_grad_norm, **counts):
    """Raise ValueError for what can't be: a count of 0, a norm of 0."""
    if precision not in DTYPES:
        raise ValueError(
            f"precision: expected one of {', '.join(DTYPES)}, got {precision}"
        )
    if max_grad_norm is not None and not max_grad_norm > 0:
        raise ValueError(
            "max_grad_norm: expected more than 0, or None to clip nothing, "
            f"got {max_grad_norm}"
        )
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")


def read_losses(losses, epoch, step):
    """The values of losses, the last of which is that of step."""
    values = torch.stack(losses).tolist()  # waits for the device, once
    for at, value in enumerate(values, start=step - len(values) + 1):
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss is {value} at epoch {epoch}, step {at}: "
                "lower the learning rate or max_grad_norm"
            )
    losses.clear()
    return values


# --8<-- [end:guards]


# --8<-- [start:train]
def train_transformer(
    model,
    dataloader,
    optimizer,
    epochs=10,
    *,
    device=None,
    precision="fp32",
    accumulation_steps=1,
    max_grad_norm=1.0,
    scheduler=None,
    scaler=None,
    validate=None,
    report=None,
    report_every=50,
):
    """Train a language model in place; return its losses.

    model maps ids, (batch, seq), to logits, (batch, seq, vocab), or to an
    output that has logits. dataloader yields (inputs, targets), the targets
    being the inputs shifted by one. An update learns from
    accumulation_steps batches. precision is "fp32", "bf16" or "fp16";
    scheduler is stepped after each update; validate(model) gives a loss
    after each epoch; report(text) gets a line every report_every updates.
    """
    check_options(
        precision,
        max_grad_norm,
        epochs=epochs,
        accumulation_steps=accumulation_steps,
        report_every=report_every,
    )
    device = torch.device(device or next(model.parameters()).device)
    model.to(device)
    scaler = scaler or torch.amp.GradScaler(
        device.type, enabled=precision == "fp16"
    )
    history = {"loss": [], "validation": []}
    for epoch in range(1, epochs + 1):
        model.train()
        batches, losses, step = iter(dataloader), [], 0
        while group := list(islice(batches, accumulation_steps)):
            step += 1
            scale = scaler.get_scale()
            losses.append(
                update(
                    model, group, optimizer, scaler, precision, max_grad_norm
                )
            )
            if scheduler is not None and scaler.get_scale() >= scale:
                scheduler.step()
            if step % report_every == 0:
                history["loss"] += read_losses(losses, epoch, step)
                if report is not None:
                    loss = history["loss"][-1]
                    report(f"epoch {epoch}, step {step}: loss {loss:.3f}")
        if step == 0:
            raise ValueError("dataloader: expected batches, got none")
        if losses:
            history["loss"] += read_losses(losses, epoch, step)
        if validate is not None:
            model.eval()
            history["validation"].append(validate(model))
    return history


# --8<-- [end:train]


# --8<-- [start:schedule]
def warmup_cosine(step, n_steps, n_warmup, floor=0.1):
    """The share of the peak learning rate to use at step, from 0 on."""
    if not 0 <= n_warmup < n_steps:
        raise ValueError(
            f"n_warmup: expected 0 to {n_steps - 1}, got {n_warmup}"
        )
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = min((step - n_warmup) / (n_steps - n_warmup), 1)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


# --8<-- [end:schedule]


# --8<-- [start:loader]
def window_loader(ids, context, batch_size, n_batches, seed=0):
    """A DataLoader of n_batches an epoch of shuffled windows of ids."""
    n_windows = (len(ids) - 1) // context
    if n_windows < 1:
        raise ValueError(
            f"ids: expected more than context ({context}), got {len(ids)}"
        )
    inputs = ids[: n_windows * context].reshape(-1, context)
    targets = ids[1 : n_windows * context + 1].reshape(-1, context)
    dataset = torch.utils.data.TensorDataset(inputs, targets)
    generator = torch.Generator().manual_seed(seed)
    sampler = torch.utils.data.RandomSampler(
        dataset,
        num_samples=n_batches * batch_size,
        generator=generator,
    )
    return torch.utils.data.DataLoader(dataset, batch_size, sampler=sampler)


# --8<-- [end:loader]


if __name__ == "__main__":
    # --8<-- [start:fit]
    from snippets.architectures.transformer import (
        GPT,
        evaluate,
        load_shakespeare,
        ngram_loss,
    )

    def optimizer_for(model, learning_rate, n_steps, n_warmup=20):
        """AdamW with warm-up and cosine decay."""
        optimizer = torch.optim.AdamW(
            model.parameters(), learning_rate, fused=True
        )
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, n_steps, n_warmup)
        )

    text = load_shakespeare()
    torch.manual_seed(0)
    vocab_size = len(text.characters)
    model = GPT(vocab_size, d_model=96, n_layers=1)
    optimizer, scheduler = optimizer_for(model, 1e-2, n_steps=5 * 80)
    history = train_transformer(
        model,
        window_loader(text.train, 32, batch_size=32, n_batches=80),
        optimizer,
        epochs=5,
        precision="fp32",
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
    import numpy as np

    steps = np.arange(len(history["loss"])) + 1
    fig, ax = plt.subplots()
    ax.plot(
        steps.reshape(-1, 16).mean(1),
        np.reshape(history["loss"], (-1, 16)).mean(1),
        label="training, mean of 16 updates",
    )
    ax.plot(steps[79::80], history["validation"], "o--", label="held out")
    ax.axhline(triples, color="C2", ls="dotted", label="counted triples")
    ax.set(xlabel="update", ylabel="loss (nats per character)")
    ax.set(xlim=(0, 410), ylim=(1.9, 3.6))
    ax.legend()
    plt.show()
    # --8<-- [end:losses]

    # --8<-- [start:precisions]
    def final_loss(seed, n_steps=60, n_warmup=20, **options):
        """Held-out loss of a small GPT after a short training."""
        torch.manual_seed(seed)
        small = GPT(vocab_size, d_model=48, n_layers=1)
        loader = window_loader(text.train, 32, 16, n_steps, seed)
        optimizer, scheduler = optimizer_for(small, 1e-2, n_steps, n_warmup)
        train_transformer(
            small, loader, optimizer, 1, scheduler=scheduler, **options
        )
        return evaluate(small, text.validation)

    fp32 = np.array([final_loss(seed) for seed in range(3)])
    print(f"fp32  {fp32.mean():.2f}  spread {fp32.std(ddof=1):.2f}")
    for precision in ("bf16", "fp16"):
        runs = [final_loss(seed, precision=precision) for seed in range(3)]
        change = np.array(runs) - fp32  # of the run of the same seed
        mean, spread = abs(change.mean()), change.std(ddof=1)
        print(f"{precision}  {np.mean(runs):.2f}  minus fp32:", end=" ")
        print(f"mean below 0.002: {mean < 0.002},", end=" ")
        print(f"spread below 0.002: {spread < 0.002}")
    # --8<-- [end:precisions]


# --8<-- [start:zeros]
def share_of_zeros(model, inputs, targets, precision, scale=1.0):
    """Share of the parameters' gradients that are exactly zero.

    Only those count that are not zero in fp32. scale multiplies the loss.
    Frozen parameters are left out, and so is dropout.
    """
    gradients, was_training = [], model.training
    model.eval()
    for name, factor in (("fp32", 1.0), (precision, scale)):
        model.zero_grad()
        device = next(model.parameters()).device
        loss = summed_loss(model, inputs, targets, device, name)
        (loss / targets.numel() * factor).backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat([grad.flatten() for grad in found]))
    model.zero_grad()
    model.train(was_training)
    exact, rounded = gradients
    return (rounded[exact != 0] == 0).float().mean().item()


# --8<-- [end:zeros]


if __name__ == "__main__":
    # --8<-- [start:flushed]
    inputs, targets = next(iter(window_loader(text.validation, 32, 64, 1)))
    for precision, scale in (("bf16", 1), ("fp16", 1), ("fp16", 2**16)):
        share = share_of_zeros(model, inputs, targets, precision, scale)
        print(f"{precision}, loss times {scale:5}: {share:5.1%} flushed")
    # --8<-- [end:flushed]

    # --8<-- [start:flushed-logits]
    with torch.no_grad():
        error = model(inputs).softmax(-1)
    error -= F.one_hot(targets, vocab_size)
    print("tokens   bf16     fp16     fp16, scaled")
    for n_tokens in (2_048, 32_768, 524_288):
        gradient = error / n_tokens  # of the mean loss, at the logits
        shares = [
            (scaled.to(dtype) == 0).float().mean().item()
            for scaled, dtype in (
                (gradient, torch.bfloat16),
                (gradient, torch.float16),
                (gradient * 2**16, torch.float16),
            )
        ]
        bf16, fp16, scaled = (f"{share:.0%}" for share in shares)
        print(f"{n_tokens:6} {bf16:>6} {fp16:>8} {scaled:>15}")
    # --8<-- [end:flushed-logits]

    # --8<-- [start:skip]
    small = GPT(vocab_size, d_model=48, n_layers=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    optimizer = torch.optim.AdamW(small.parameters(), 1e-3)
    before = small.head.weight.detach().clone()
    batch = [(inputs, targets)]
    train_transformer(
        small, batch, optimizer, 1, precision="fp16", scaler=scaler
    )
    print("weights unchanged:", torch.equal(small.head.weight, before))
    print(f"scale 2 to the {math.log2(scaler.get_scale()):.0f}")
    # --8<-- [end:skip]

    # --8<-- [start:accumulate]
    def gradient_of(batches, mean_of_means=False):
        """The gradient of the model in float64, as one vector."""
        exact = GPT(vocab_size, n_layers=1).double()
        exact.load_state_dict(model.state_dict())
        if mean_of_means:  # the common mistake
            for x, y in batches:
                loss = F.cross_entropy(exact(x).flatten(0, 1), y.flatten())
                (loss / len(batches)).backward()
        else:  # after its one update the loop leaves the gradient there
            sgd = torch.optim.SGD(exact.parameters(), lr=1.0)
            n_batches = len(batches)
            train_transformer(
                exact,
                batches,
                sgd,
                1,
                accumulation_steps=n_batches,
                max_grad_norm=None,
            )
        return torch.cat([p.grad.flatten() for p in exact.parameters()])

    padded = targets.clone()
    padded[:16, 4:] = -100  # a quarter of the texts are short
    parts = list(zip(inputs.split(16), padded.split(16), strict=True))
    big = gradient_of([(inputs, padded)])
    for name, mistake in (("by all targets", False), ("mean of means", True)):
        off = gradient_of(parts, mistake) - big
        print(f"{name:14}  off by {off.norm() / big.norm():.3f}")
    # --8<-- [end:accumulate]

    # --8<-- [start:library-schedule]
    weight = torch.nn.Parameter(torch.zeros(1))
    our_rates, torch_rates = [], []
    for rates in (our_rates, torch_rates):
        optimizer = torch.optim.SGD([weight], lr=1.0)
        if rates is our_rates:
            scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: warmup_cosine(step, 100, 10)
            )
        else:
            warm = torch.optim.lr_scheduler.LinearLR(
                optimizer, start_factor=0.1, total_iters=9
            )
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
                optimizer, T_max=90, eta_min=0.1
            )
            scheduler = torch.optim.lr_scheduler.SequentialLR(
                optimizer, [warm, cosine], milestones=[10]
            )
        for _ in range(100):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    print("same rates:", np.allclose(our_rates, torch_rates))
    # --8<-- [end:library-schedule]

    # --8<-- [start:unshifted]
    class Unshifted:
        """Batches with targets equal to the inputs: the mistake."""

        def __iter__(self):
            loader = window_loader(text.train, 32, 32, n_batches=100)
            return ((inputs, inputs) for inputs, _ in loader)

    torch.manual_seed(0)
    small = GPT(vocab_size, d_model=48, n_layers=1)
    optimizer = torch.optim.AdamW(small.parameters(), 1e-2)
    losses = train_transformer(small, Unshifted(), optimizer, 1)["loss"]
    print(f"training loss     {losses[-1]:4.0f}")
    print(f"on shifted text   {evaluate(small, text.validation):4.0f}")
    print(f"guessing          {math.log(vocab_size):4.0f}")
    # --8<-- [end:unshifted]

    # --8<-- [start:clip-first]
    def norm_of_update(unscale_first):
        """The gradient's norm as the optimizer sees it, clipped to 1."""
        model.zero_grad()
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        logits = model(inputs).flatten(0, 1)
        loss = 100 * F.cross_entropy(logits, targets.flatten())  # steep
        scaler.scale(loss).backward()
        if unscale_first:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)  # unscales, unless that was done
        return torch.nn.utils.get_total_norm(
            [p.grad for p in model.parameters()]
        )

    print(f"unscale, then clip  {norm_of_update(True):.6f}")
    print(f"clip, then unscale  {norm_of_update(False):.6f}")
    # --8<-- [end:clip-first]

    # --8<-- [start:deprecated]
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.amp.GradScaler(enabled=False)
    print(caught[0].category.__name__)
    # --8<-- [end:deprecated]

    # --8<-- [start:diverged]
    small = GPT(vocab_size, d_model=48, n_layers=1)
    wild = torch.optim.SGD(small.parameters(), lr=1e30)
    loader = window_loader(text.train, 32, 32, n_batches=20)
    try:
        train_transformer(small, loader, wild)
    except FloatingPointError as error:
        print(error)
    # --8<-- [end:diverged]

    # --8<-- [start:solution-updates]
    loader = window_loader(text.train, 32, batch_size=4, n_batches=100)
    small = GPT(vocab_size, d_model=48, n_layers=1)
    optimizer = torch.optim.AdamW(small.parameters(), 1e-3)
    history = train_transformer(
        small, loader, optimizer, epochs=1, accumulation_steps=8
    )
    n_updates = len(history["loss"])
    n_last = 100 - 8 * (n_updates - 1)
    print(f"{n_updates} updates; the last learns from {n_last} batches")
    # --8<-- [end:solution-updates]

    # --8<-- [start:solution-progress]
    lines = []
    options = {"report": lines.append, "report_every": 10}
    train_transformer(small, loader, optimizer, epochs=2, **options)
    print(len(lines), "lines, the last from", lines[-1].split(":")[0])
    # --8<-- [end:solution-progress]

    # --8<-- [start:solution-warmup]
    cold = np.array([final_loss(seed, n_warmup=0) for seed in range(3)])
    gain = cold - fp32
    print(f"with warm-up     {fp32.mean():.2f}")
    print(f"without          {cold.mean():.2f}")
    print(f"lower without it in {(gain < 0).sum()} of {len(gain)} seeds")
    # --8<-- [end:solution-warmup]
