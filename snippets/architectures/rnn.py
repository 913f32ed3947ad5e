"""Recurrent networks: plain, GRU and LSTM cells, and what they remember."""

# --8<-- [start:step]
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


def all_states(X, W_x, W_h, b):
    """States h[0] = 0, h[t + 1] = tanh(X[:, t] W_x + h[t] W_h + b).

    X is (batch, seq, d_in), W_x (d_in, d), W_h (d, d), b (d,). Returns
    (seq + 1, batch, d). Elman 1990, there with a sigmoid.
    """
    h = [np.zeros((len(X), len(b)))]
    for x in X.swapaxes(0, 1):  # (batch, d_in), a step
        h.append(np.tanh(x @ W_x + h[-1] @ W_h + b))
    return np.stack(h)


# --8<-- [end:step]

if __name__ == "__main__":
    # --8<-- [start:forgotten]
    pixels = load_digits().data[:100, :, None] / 16  # (100, 64, 1)
    rng = np.random.default_rng(0)
    W_x, b = rng.normal(size=(1, 64)), np.zeros(64)
    W_h = rng.normal(size=(64, 64)) / 8  # each sum of 64 has variance 1
    last = all_states(pixels, W_x, W_h, b)[-1]
    for steps_back in (0, 1, 3, 15, 31):
        changed = pixels.copy()
        changed[:, 63 - steps_back] += 0.1
        moved = all_states(changed, W_x, W_h, b)[-1] - last
        print(f"{steps_back:2d} steps back  {np.abs(moved).mean():.0e}")
    # --8<-- [end:forgotten]


# --8<-- [start:bptt]
def bptt(X, W_x, W_h, b, upstream):
    """Gradients of a loss in W_x, W_h and b of a plain cell, by hand.

    X is (batch, seq, d_in), W_x (d_in, d), W_h (d, d), b (d,), and upstream,
    (batch, seq, d), the gradient of the loss in each output alone. Werbos
    1990.
    """
    h = all_states(X, W_x, W_h, b)
    in_W_x, in_W_h, in_b = 0, 0, 0
    g = 0  # the gradient in h[t + 1], from all later steps
    for t in reversed(range(X.shape[1])):
        g = g + upstream[:, t]
        a = g * (1 - h[t + 1] ** 2)  # before the tanh
        in_W_x = in_W_x + X[:, t].T @ a
        in_W_h = in_W_h + h[t].T @ a
        in_b = in_b + a.sum(axis=0)
        g = a @ W_h.T
    return in_W_x, in_W_h, in_b


# --8<-- [end:bptt]


# --8<-- [start:cell]
class Cell(nn.Module):
    """What all cells share: two linear maps, and a state of zeros.

    from_input and from_hidden make n_maps vectors of d_hidden each.
    """

    n_maps, n_states = 1, 1

    def __init__(self, d_in, d_hidden):
        super().__init__()
        self.d_in, self.d_hidden = d_in, d_hidden
        self.from_input = nn.Linear(d_in, self.n_maps * d_hidden)
        self.from_hidden = nn.Linear(d_hidden, self.n_maps * d_hidden)

    def start(self, X):
        """The state before the first step, for as many sequences as X has."""
        size = len(X), self.d_hidden
        return tuple(X.new_zeros(size) for _ in range(self.n_states))


class PlainCell(Cell):
    """h = tanh(x W_x + h W_h + b), with x (batch, d_in), h (batch, d)."""

    def forward(self, x, state):
        (h,) = state
        return (torch.tanh(self.from_input(x) + self.from_hidden(h)),)


# --8<-- [end:cell]


# --8<-- [start:read]
def read(cell, X, state=None):
    """Read sequences from left to right, all of a batch side by side.

    X is (batch, seq, d_in). Returns the outputs (batch, seq, d_hidden) and
    the last state. A cell maps an input (batch, d_in) and a state to the next
    state, a tuple of tensors (batch, d_hidden) whose first is the output.
    """
    X = X.to(next(cell.parameters()))  # the cell's device and type
    state = cell.start(X) if state is None else state
    outputs = []
    for x in X.unbind(dim=1):  # (batch, d_in), a step
        state = cell(x, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


# --8<-- [end:read]

if __name__ == "__main__":
    # --8<-- [start:by-hand]
    X, upstream = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20, 5))
    torch.manual_seed(0)
    cell = PlainCell(3, 5).double()
    outputs, _ = read(cell, torch.tensor(X))  # (2, 20, 5)
    outputs.backward(torch.tensor(upstream))
    theirs = [cell.from_input.weight.grad.T, cell.from_hidden.weight.grad.T]
    theirs.append(cell.from_hidden.bias.grad)
    W_x, W_h = cell.from_input.weight.T, cell.from_hidden.weight.T
    b = cell.from_input.bias + cell.from_hidden.bias
    ours = bptt(X, *(w.detach().numpy() for w in (W_x, W_h, b)), upstream)
    for name, a, c in zip(("W_x", "W_h", "b"), ours, theirs, strict=True):
        gap = np.abs(a - c.numpy()).max()
        print(f"{name:3s}  {a.shape!s:7s}  below 1e-12 apart: {gap < 1e-12}")
    # --8<-- [end:by-hand]


# --8<-- [start:memory]
def memory(cell, X, seed=0):
    """How much each state matters to the last output, (seq + 1,).

    X is (batch, seq, d_in). A random upstream gradient goes back from the
    last output to the states after 0, 1, ... seq steps. Returned is the norm
    of the gradient in each, over batch and state, relative to the first.
    """
    X = X.to(next(cell.parameters()))
    states = [tuple(s.requires_grad_() for s in cell.start(X))]
    for x in X.unbind(dim=1):
        states.append(cell(x, states[-1]))
    output = states[-1][0]
    generator = torch.Generator().manual_seed(seed)
    upstream = torch.randn(output.shape, generator=generator).to(output)
    parts = [part for state in states for part in state]
    gradients = torch.autograd.grad(output, parts, upstream)
    norms = torch.stack([g.norm() for g in gradients])
    return norms.reshape(-1, cell.n_states).norm(dim=1) / upstream.norm()


# --8<-- [end:memory]

if __name__ == "__main__":
    # --8<-- [start:vanishing]
    pixels = torch.tensor(pixels)
    print("largest         what is left after so many steps (and the bound)")
    print("singular value" + "".join(f"{k:15d}" for k in (1, 4, 16, 63)))
    for gain in (0.5, 1.0, 2.0):
        torch.manual_seed(0)
        cell = PlainCell(1, 64).double()
        nn.init.orthogonal_(cell.from_hidden.weight, gain)
        left = memory(cell, pixels).flip(0)  # by steps back
        line = f"{gain:14.1f}"
        for k in (1, 4, 16, 63):
            line += f"  {left[k]:.0e} ({gain**k:.0e})"
        print(line)
    # --8<-- [end:vanishing]


# --8<-- [start:lstm]
class LSTMCell(Cell):
    """c = σ(f) c + σ(i) tanh(g),  h = σ(o) tanh(c).

    x is (batch, d_in), h and c are (batch, d). Hochreiter and Schmidhuber
    1997, with the forget gate f of Gers and others 2000.
    """

    n_maps, n_states = 4, 2

    def forward(self, x, state):
        h, c = state
        maps = self.from_input(x) + self.from_hidden(h)  # (batch, 4 d)
        i, f, g, o = maps.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


# --8<-- [end:lstm]


# --8<-- [start:gru]
class GRUCell(Cell):
    """h = (1 - z) n + z h, with the update gate z and the candidate n.

    Cho and others 2014; the reset gate r stands after the product with the
    weights, as in cuDNN and PyTorch.
    """

    n_maps = 3

    def forward(self, x, state):
        (h,) = state
        r_x, z_x, n_x = self.from_input(x).chunk(3, dim=-1)
        r_h, z_h, n_h = self.from_hidden(h).chunk(3, dim=-1)
        r = torch.sigmoid(r_x + r_h)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        return ((1 - z) * n + z * h,)


# --8<-- [end:gru]


# --8<-- [start:opened]
@torch.no_grad()
def opened(cell, bias=3.0):
    """The cell, its forget or update gate starting at σ(bias), 95 %."""
    d = cell.d_hidden
    cell.from_hidden.bias[d : 2 * d] = bias  # f of an LSTM, z of a GRU
    cell.from_input.bias[d : 2 * d] = 0
    return cell


# --8<-- [end:opened]


if __name__ == "__main__":
    # --8<-- [start:gates]
    torch.manual_seed(0)
    cells = {
        "plain": PlainCell(1, 64),
        "LSTM": LSTMCell(1, 64),
        "GRU": GRUCell(1, 64),
        "LSTM, open": opened(LSTMCell(1, 64)),
        "GRU, open": opened(GRUCell(1, 64)),
    }
    fig, ax = plt.subplots()
    print("left after   20    63 steps")
    for name, cell in cells.items():
        left = memory(cell.double(), pixels).flip(0)
        ax.semilogy(left, label=name)
        print(f"{name:10s}  {left[20]:.0e} {left[63]:.0e}")
    ax.set(xlabel="steps back", ylabel="gradient left")
    ax.set(xlim=(0, 63), ylim=(1e-12, 3))
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:gates]


# --8<-- [start:wait]
def digits_then_blank(n_blank, seed=0):
    """Digits, row by row, and then n_blank >= 0 rows of zeros.

    Returns sequences (n, 8 + n_blank, 8) and labels (n,) of 1,197 digits to
    train on, 240 for validation, and 360 to test on.
    """
    assert n_blank >= 0, f"n_blank must be 0 or more, but is {n_blank}"
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    rows = torch.tensor(digits.images[order] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target[order])
    X = F.pad(rows, (0, 0, 0, n_blank))
    parts = (slice(0, 1197), slice(1197, 1437), slice(1437, None))
    return [(X[part], labels[part]) for part in parts]


# --8<-- [end:wait]


# --8<-- [start:reader]
class Reader(nn.Module):
    """From sequences (batch, seq, d_in) to logits (batch, n_classes).

    layer is nn.RNN, nn.GRU or nn.LSTM, with batch_first=True. Its last output
    alone goes on.
    """

    def __init__(self, layer, n_classes=10):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size, n_classes)

    def forward(self, X):
        outputs, _ = self.layer(X.to(self.head.weight))
        return self.head(outputs[:, -1])


@torch.no_grad()
def accuracy(model, X, labels):
    """The share of X, (batch, seq, d_in), that gets its label, (batch,)."""
    was_training = model.training
    model.eval()  # no dropout while it is judged
    predicted = model(X).argmax(dim=-1)
    model.train(was_training)
    return (predicted.cpu() == labels.cpu()).float().mean().item()


# --8<-- [end:reader]


# --8<-- [start:fit]
def mean_loss(model, X, targets):
    """Cross-entropy in nats, a mean over all targets but those of -100.

    The model maps X to logits (batch, classes) for targets (batch,), or
    (batch, seq, classes) for (batch, seq).
    """
    logits = model(X).flatten(0, -2)
    targets = targets.flatten().to(logits.device, torch.long)
    return F.cross_entropy(logits, targets, ignore_index=-100)


def fit(model, X, targets, learning_rate=0.005, steps=400, seed=0):
    """Train in place by Adam, on 128 sequences a step; the loss of each.

    The learning rate rises to learning_rate and falls to 0. Gradients longer
    than 1 are clipped to 1. Raises FloatingPointError if a loss is NaN.
    """
    assert len(X) == len(targets), f"{len(X)} but {len(targets)} targets"
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, steps, cycle_momentum=False
    )
    generator, losses = torch.Generator().manual_seed(seed), []
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(X), (128,), generator=generator)
        loss = mean_loss(model, X[rows], targets[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    losses = torch.stack(losses)
    if not losses.isfinite().all():
        raise FloatingPointError("a loss is NaN or infinite; lower the rate")
    return losses.tolist()


# --8<-- [end:fit]


# --8<-- [start:start-open]
@torch.no_grad()
def start_open(layer, bias=3.0):
    """Change in place how a layer starts, so that it keeps what it has.

    The forget gates of nn.LSTM, the update gates of nn.GRU get that bias. The
    matrices by which nn.RNN multiplies its states become orthogonal.
    """
    is_plain = isinstance(layer, nn.RNN)
    if not isinstance(layer, nn.RNNBase) or not (is_plain or layer.bias):
        raise TypeError(f"expected nn.RNN, nn.GRU or nn.LSTM, got {layer}")
    keeps = slice(layer.hidden_size, 2 * layer.hidden_size)
    for name, weights in layer.named_parameters():
        if is_plain and "weight_hh" in name:
            nn.init.orthogonal_(weights)
        elif not is_plain and "bias" in name:
            weights[keeps] = bias if "bias_hh" in name else 0
    return layer


# --8<-- [end:start-open]


if __name__ == "__main__":
    # --8<-- [start:later]
    train_on, _, test_on = digits_then_blank(20)
    for name, change in (("as it comes", nn.Identity()), ("open", start_open)):
        torch.manual_seed(0)
        reader = Reader(change(nn.LSTM(8, 64, batch_first=True)))
        fit(reader, *train_on, learning_rate=0.02, steps=200)
        is_learned = accuracy(reader, *test_on) > 0.5
        print(f"LSTM, {name:11s}  {'learns' if is_learned else 'guesses'}")
    # --8<-- [end:later]

    # --8<-- [start:recorded]
    import json
    from importlib.resources import files

    record = files("snippets.architectures").joinpath("rnn.results.json")
    results = json.loads(record.read_text("utf-8"))["results"]
    scores = {name: np.array(x) for name, x in results["digits"].items()}
    print("blank rows " + "".join(f"{n:14d}" for n in results["blank"]))
    for name, by_seed in scores.items():
        line = f"{name:11s}"
        for at in by_seed.T:
            line += f"  {at.min():.2f} to {at.max():.2f}"
        print(line)
    for name, by_seed in results["controls"].items():
        print(f"LSTM, {name:22s}  {min(by_seed):.2f} to {max(by_seed):.2f}")
    # --8<-- [end:recorded]

    # --8<-- [start:later-figure]
    fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.8), sharey=True)
    for ax, kind in zip(axes, ("plain", "GRU", "LSTM"), strict=True):
        for name, label in ((kind, "as it comes"), (f"{kind}, open", "open")):
            by_seed = scores[name]
            low, high = by_seed.min(axis=0), by_seed.max(axis=0)
            ax.fill_between(results["blank"], low, high, alpha=0.3)
            ax.plot(results["blank"], by_seed.mean(axis=0), label=label)
        ax.set(title=kind, xlabel="blank rows", ylim=(0, 1.4))
    axes[0].set(ylabel="test accuracy", yticks=np.linspace(0, 1, 6))
    axes[0].legend(loc="upper center")
    plt.show()
    # --8<-- [end:later-figure]

    # --8<-- [start:torch-same]
    X = torch.tensor(rng.normal(size=(2, 20, 3)))
    pairs = (PlainCell, nn.RNN), (GRUCell, nn.GRU), (LSTMCell, nn.LSTM)
    for kind, like_it in pairs:
        cell = kind(3, 5).double()
        layer = like_it(3, 5, batch_first=True).double()
        layer.weight_ih_l0, layer.bias_ih_l0 = cell.from_input.parameters()
        layer.weight_hh_l0, layer.bias_hh_l0 = cell.from_hidden.parameters()
        ours, theirs = read(cell, X)[0], layer(X)[0]
        gap = (ours - theirs).abs().max().item()
        print(f"{like_it.__name__:4s}  below 1e-12 apart: {gap < 1e-12}")
    # --8<-- [end:torch-same]

    # --8<-- [start:explode]
    (images, labels), _, test_on = digits_then_blank(10)
    for rate, max_norm in ((0.5, np.inf), (0.05, np.inf), (0.5, 1.0)):
        learned, norms = 0, []
        for seed in range(3):
            torch.manual_seed(seed)
            reader = Reader(start_open(nn.RNN(8, 64, batch_first=True)))
            optimizer = torch.optim.SGD(reader.parameters(), rate)
            for rows in torch.randint(len(images), (100, 128)):
                loss = mean_loss(reader, images[rows], labels[rows])
                optimizer.zero_grad()
                loss.backward()
                # Clips, and returns the norm of the gradient before.
                norms.append(
                    nn.utils.clip_grad_norm_(reader.parameters(), max_norm)
                )
                optimizer.step()
            learned += accuracy(reader, *test_on) > 0.3
        line = f"rate {rate:.2f}, max_norm {max_norm:3.0f}: "
        print(f"{line}{learned} of 3 learned, norm > 20: {max(norms) > 20}")
    # --8<-- [end:explode]

    # --8<-- [start:batch-first]
    X = torch.randn(4, 9, 3)  # four sequences of nine steps
    changed = X.clone()
    changed[0] = 0
    for batch_first in (False, True):
        layer = nn.GRU(3, 5, batch_first=batch_first)
        moved = (layer(X)[0] - layer(changed)[0]).abs().amax(dim=(1, 2))
        print(f"batch_first={batch_first}: outputs of which change", end=" ")
        print(moved.nonzero().flatten().tolist())
    # --8<-- [end:batch-first]

    # --8<-- [start:carry]
    layer, state = nn.GRU(3, 5, batch_first=True), None
    for is_detached in (False, True):
        try:
            for _ in range(2):
                outputs, state = layer(X, state)
                outputs.sum().backward()
                state = state.detach() if is_detached else state
            print("detached: two backward passes")
        except RuntimeError as error:
            print(str(error).partition(" (")[0])
            state = None
    # --8<-- [end:carry]

    # --8<-- [start:solution-parameters]
    for kind, n_maps in ((PlainCell, 1), (GRUCell, 3), (LSTMCell, 4)):
        counted = sum(p.numel() for p in kind(16, 96).parameters())
        print(f"{kind.__name__:9s}  {counted:6,}", end="  ")
        print(f"by the formula {n_maps * 96 * (16 + 96 + 2):6,}")
    # --8<-- [end:solution-parameters]

    # --8<-- [start:solution-half]
    for bias in (0.0, 1.0, 3.0, 5.0):
        cell, steps = LSTMCell(1, 64), 0
        for parameter in cell.parameters():
            nn.init.zeros_(parameter)
        opened(cell, bias)
        c = torch.ones(1, 64)
        while c[0, 0] > 0.5 + 1e-6:
            _, c = cell(torch.zeros(1, 1), (torch.zeros(1, 64), c))
            steps += 1
        half = np.log(2) / np.log1p(np.exp(-bias))
        print(f"bias {bias:.0f}: predicted {half:5.1f}, counted {steps:3d}")
    # --8<-- [end:solution-half]

    # --8<-- [start:solution-first]
    train_on, _, test_on = digits_then_blank(40)
    for name, move in (("behind", 0), ("in front", 40)):
        torch.manual_seed(0)
        reader = Reader(nn.RNN(8, 64, batch_first=True))
        fit(reader, train_on[0].roll(move, dims=1), train_on[1], steps=100)
        score = accuracy(reader, test_on[0].roll(move, dims=1), test_on[1])
        print(
            f"blank rows {name:8s}  {'learns' if score > 0.5 else 'guesses'}"
        )
    # --8<-- [end:solution-first]
