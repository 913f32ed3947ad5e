"""Recurrent networks: plain, GRU and LSTM cells, and what they remember."""

# --8<-- [start:read]
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def check_sequences(X, d_in=None):
    """Raise ValueError unless X is (batch, seq, d_in), all of them >= 1."""
    shape = tuple(X.shape)
    if len(shape) != 3 or 0 in shape or d_in not in (None, shape[2]):
        last = "d_in" if d_in is None else d_in
        raise ValueError(f"X: expected (batch, seq, {last}), got {shape}")


def read(cell, X, state=None):
    """Read sequences from left to right, all of a batch side by side.

    X is (batch, seq, d_in). Returns the outputs (batch, seq, d_hidden) and
    the last state. A cell maps an input (batch, d_in) and a state to the next
    state, a tuple of tensors (batch, d_hidden) whose first is the output.
    """
    check_sequences(X, cell.d_in)
    state = cell.start(X) if state is None else state
    outputs = []
    for x in X.unbind(dim=1):  # (batch, d_in), a step
        state = cell(x, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


# --8<-- [end:read]


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
    """h = tanh(x W_x + h W_h + b). Elman 1990, there with a sigmoid."""

    def forward(self, x, state):
        (h,) = state
        return (torch.tanh(self.from_input(x) + self.from_hidden(h)),)


# --8<-- [end:cell]


# --8<-- [start:bptt]
def bptt(X, W_x, W_h, b, pulled):
    """Gradients of a loss in the weights of a plain cell, by hand.

    X is (batch, seq, d_in), W_x (d_in, d), W_h (d, d), b (d,), and pulled,
    (batch, seq, d), the gradient of the loss in each output alone. Returns
    the gradients in W_x, W_h and b. Werbos 1990.
    """
    check_sequences(X, len(W_x))
    batch, seq, _ = X.shape
    h = np.zeros((seq + 1, batch, len(b)))  # h[t] is the state after t steps
    for t in range(seq):
        h[t + 1] = np.tanh(X[:, t] @ W_x + h[t] @ W_h + b)
    in_W_x, in_W_h, in_b = 0, 0, 0
    g = 0  # the gradient in h[t + 1], from all later steps
    for t in reversed(range(seq)):
        g = g + pulled[:, t]
        a = g * (1 - h[t + 1] ** 2)  # before the tanh
        in_W_x = in_W_x + X[:, t].T @ a
        in_W_h = in_W_h + h[t].T @ a
        in_b = in_b + a.sum(axis=0)
        g = a @ W_h.T
    return in_W_x, in_W_h, in_b


# --8<-- [end:bptt]

if __name__ == "__main__":
    # --8<-- [start:by-hand]
    rng = np.random.default_rng(0)
    X, pulled = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20, 5))
    torch.manual_seed(0)
    cell = PlainCell(3, 5).double()
    outputs, _ = read(cell, torch.tensor(X))  # (2, 20, 5)
    outputs.backward(torch.tensor(pulled))
    W_x, W_h = cell.from_input.weight, cell.from_hidden.weight
    b = cell.from_input.bias + cell.from_hidden.bias
    weights = [w.detach().numpy() for w in (W_x.T, W_h.T, b)]
    theirs = W_x.grad.T, W_h.grad.T, cell.from_hidden.bias.grad
    for name, ours, grad in zip(
        ("W_x", "W_h", "b"), bptt(X, *weights, pulled), theirs, strict=True
    ):
        same = np.allclose(ours, grad, rtol=0, atol=1e-12)
        print(f"{name:3s}  {ours.shape!s:7s}  same to 1e-12: {same}")
    # --8<-- [end:by-hand]


# --8<-- [start:memory]
def memory(cell, X, seed=0):
    """How much each state matters to the last output, (seq + 1,).

    A random direction is pulled back from the last output to the states
    after 0, 1, ... seq steps. Returned is the size of the gradient in each,
    over all sequences of a batch, relative to the pull.
    """
    check_sequences(X, cell.d_in)
    X = X.to(next(cell.parameters()))
    states = [tuple(s.requires_grad_() for s in cell.start(X))]
    for x in X.unbind(dim=1):
        states.append(cell(x, states[-1]))
    output = states[-1][0]
    generator = torch.Generator().manual_seed(seed)
    pulled = torch.randn(output.shape, generator=generator).to(output)
    parts = [part for state in states for part in state]
    gradients = torch.autograd.grad(output, parts, pulled)
    sizes = torch.stack([g.norm() for g in gradients])
    return sizes.reshape(-1, cell.n_states).norm(dim=1) / pulled.norm()


# --8<-- [end:memory]

if __name__ == "__main__":
    # --8<-- [start:forgets]
    from sklearn.datasets import load_digits

    pixels = torch.tensor(load_digits().data[:100, :, None] / 16)
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
    # --8<-- [end:forgets]


# --8<-- [start:gru]
class GRUCell(Cell):
    """Keeps a share z of its state, and takes the rest from a candidate n.

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


# --8<-- [start:lstm]
class LSTMCell(Cell):
    """A memory c that is only scaled and added to, and an output h of it.

    Hochreiter and Schmidhuber 1997, with the forget gate f of Gers and
    others 2000.
    """

    n_maps, n_states = 4, 2

    def forward(self, x, state):
        h, c = state
        maps = self.from_input(x) + self.from_hidden(h)
        i, f, g, o = maps.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


# --8<-- [end:lstm]


if __name__ == "__main__":
    # --8<-- [start:gates]
    import matplotlib.pyplot as plt

    def opened(cell, bias=3.0):
        """The cell, with a gate that starts by keeping 95 %."""
        with torch.no_grad():
            d = cell.d_hidden
            keeps = slice(d, 2 * d)  # z of a GRU, f of an LSTM
            cell.from_hidden.bias[keeps] = bias
            cell.from_input.bias[keeps] = 0
        return cell

    torch.manual_seed(0)
    cells = {
        "plain": PlainCell(1, 64),
        "LSTM": LSTMCell(1, 64),
        "GRU": GRUCell(1, 64),
        "LSTM, open": opened(LSTMCell(1, 64)),
        "GRU, open": opened(GRUCell(1, 64)),
    }
    fig, ax = plt.subplots()
    for name, cell in cells.items():
        left = memory(cell.double(), pixels).flip(0)
        ax.semilogy(left, label=name)
        print(f"{name:10s}  after 20 steps {left[20]:.0e}")
    ax.set(xlabel="steps back", ylabel="gradient left")
    ax.set(xlim=(0, 63), ylim=(1e-12, 3))
    ax.legend(loc="lower left")
    plt.show()
    # --8<-- [end:gates]


# --8<-- [start:names]
CHARACTERS = "\nabcdefghijklmnopqrstuvwxyz"  # a name's end, then letters
IGNORED = -100  # a target that cross_entropy leaves out


def load_names(n_held_out=8000, seed=0):
    """88,799 surnames of the US census of 1990, once each, in two lists."""
    from importlib.resources import files

    text = files("names").joinpath("dist.all.last").read_text("ascii")
    names = [line.split()[0].lower() for line in text.splitlines()]
    if not 0 < n_held_out < len(names):
        raise ValueError(
            f"n_held_out: expected 1 to {len(names) - 1}, got {n_held_out}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    names = [names[place] for place in order]
    return names[n_held_out:], names[:n_held_out]


def name_ids(names):
    """Ids to read and ids to predict, (names, longest + 1) each.

    A name is read behind an end mark, and predicted up to the next one. What
    stands behind that is IGNORED.
    """
    unknown = set("".join(names)) - set(CHARACTERS[1:])
    if unknown or len(names) == 0:
        raise ValueError(
            f"names: expected letters a to z, got {sorted(unknown)}"
        )
    rows = [
        torch.tensor([CHARACTERS.index(letter) for letter in f"{name}\n"])
        for name in names
    ]
    targets = nn.utils.rnn.pad_sequence(rows, True, padding_value=IGNORED)
    inputs = F.pad(targets[:, :-1], (1, 0)).clamp(min=0)
    return inputs, targets


# --8<-- [end:names]


# --8<-- [start:counted]
def contexts(inputs, targets, letters):
    """The letters before each known target, as one number, and the target."""
    context = torch.zeros_like(inputs)
    for back in range(letters):
        before = F.pad(inputs, (back, 0))[:, : inputs.shape[1]]
        context = len(CHARACTERS) * context + before  # the oldest counts least
    is_known = targets != IGNORED
    return context[is_known], targets[is_known]


def counted_loss(letters, train_on, test_on, lean=27.0):
    """Mean loss in nats of chances counted after so many letters.

    Chances start alike and lean on those after one letter less, with the
    weight of lean counts. train_on and test_on come from name_ids.
    """
    size, one = len(CHARACTERS), torch.tensor(1.0)
    chances = torch.full((1, size), 1 / size)
    for n in range(letters + 1):
        counts = torch.zeros(size**n, size)
        counts.index_put_(contexts(*train_on, n), one, accumulate=True)
        shorter = chances.repeat_interleave(len(counts) // len(chances), 0)
        total = counts.sum(dim=-1, keepdim=True)
        chances = (counts + lean * shorter) / (total + lean)
    return -chances[contexts(*test_on, letters)].log().mean().item()


# --8<-- [end:counted]


if __name__ == "__main__":
    # --8<-- [start:look]
    known, unknown = load_names()
    some_names, new_names = name_ids(known), name_ids(unknown)
    print(*known[:8])
    print(f"{len(known):,} to learn from, {len(unknown):,} held out")
    print(f"every character alike  {np.log(len(CHARACTERS)):.2f}")
    for letters in range(5):
        loss = counted_loss(letters, some_names, new_names)
        print(f"counted after {letters}        {loss:.2f}")
    # --8<-- [end:look]


# --8<-- [start:name-model]
class NameModel(nn.Module):
    """From ids (batch, seq) to logits of each next one, (batch, seq, 27)."""

    def __init__(self, cell):
        super().__init__()
        self.embed = nn.Embedding(len(CHARACTERS), cell.d_in)
        self.cell = cell
        self.head = nn.Linear(cell.d_hidden, len(CHARACTERS))

    def read_on(self, ids, state=None):
        """The logits, and the state to go on from."""
        outputs, state = read(self.cell, self.embed(ids), state)
        return self.head(outputs), state

    def forward(self, ids):
        return self.read_on(ids)[0]


# --8<-- [end:name-model]


# --8<-- [start:mean-loss]
def mean_loss(model, X, targets):
    """Cross-entropy in nats, a mean over all targets but the IGNORED."""
    logits = model(X).flatten(0, -2)  # classes stand last
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED)


# --8<-- [end:mean-loss]


# --8<-- [start:fit]
def fit(model, X, targets, learning_rate=0.005, steps=400, seed=0):
    """Train in place by Adam, on 128 sequences a step.

    The rate rises to learning_rate and falls to 0. Returns the loss of each
    step. Raises FloatingPointError if one is not finite.
    """
    if len(X) != len(targets):
        raise ValueError(
            f"got {len(X)} sequences, and targets of {len(targets)}"
        )
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, steps, cycle_momentum=False
    )
    generator, losses = torch.Generator().manual_seed(seed), []
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
        raise FloatingPointError("a loss is not finite; lower the rate")
    return losses.tolist()


# --8<-- [end:fit]


if __name__ == "__main__":
    # --8<-- [start:surnames]
    torch.manual_seed(0)
    model = NameModel(GRUCell(16, 96))
    print(f"before  {mean_loss(model, *new_names).item():.2f}")
    fit(model, *some_names, steps=250)
    print(f"after   {mean_loss(model, *new_names).item():.2f}")
    # --8<-- [end:surnames]


# --8<-- [start:write]
@torch.no_grad()
def write_names(model, n, seed=0, longest=20):
    """Names drawn from the model, n of them, cut after longest letters."""
    generator = torch.Generator().manual_seed(seed)
    ids, state = torch.zeros(n, 1).long(), None
    drawn = []
    for _ in range(longest):
        logits, state = model.read_on(ids, state)
        chances = logits[:, -1].softmax(dim=-1).cpu()  # as generator is
        ids = torch.multinomial(chances, 1, generator=generator)
        drawn.append(ids)
    rows = torch.cat(drawn, dim=1).tolist()
    texts = ["".join(CHARACTERS[i] for i in row) for row in rows]
    return [text.partition("\n")[0] for text in texts]


# --8<-- [end:write]


if __name__ == "__main__":
    # --8<-- [start:written]
    drawn = list(dict.fromkeys(write_names(model, 10_000)))  # each once
    for name, names in (("drawn", drawn), ("held out", unknown)):
        print(f"{name:12s}  {np.mean([*map(len, names)]):.1f} letters a name")
    for name, names in (("learned from", known), ("held out", unknown)):
        share = np.isin(drawn, names).sum() / len(names)
        print(f"{name:12s}  {share:.0%} of them were drawn")
    # --8<-- [end:written]

    # --8<-- [start:cells]
    import json
    from importlib.resources import files

    folder = files("snippets.architectures")
    record = folder.joinpath("rnn.results.json").read_text("utf-8")
    results = json.loads(record)["results"]
    for name, losses in results["names"].items():
        print(f"{name:18s}  {min(losses):.3f} to {max(losses):.3f}")
    # --8<-- [end:cells]

    # --8<-- [start:torch-same]
    X = torch.tensor(rng.normal(size=(2, 20, 3)))
    pairs = (PlainCell, nn.RNN), (GRUCell, nn.GRU), (LSTMCell, nn.LSTM)
    for kind, like_it in pairs:
        cell = kind(3, 5).double()
        layer = like_it(3, 5, batch_first=True).double()
        layer.weight_ih_l0, layer.bias_ih_l0 = cell.from_input.parameters()
        layer.weight_hh_l0, layer.bias_hh_l0 = cell.from_hidden.parameters()
        ours, theirs = read(cell, X)[0], layer(X)[0]
        pulled = torch.tensor(rng.normal(size=ours.shape))
        grads, same_grads = (
            torch.autograd.grad(outputs, cell.parameters(), pulled)
            for outputs in (ours, theirs)
        )
        close = [torch.allclose(ours, theirs, rtol=0, atol=1e-12)]
        for a, b in zip(grads, same_grads, strict=True):
            close.append(torch.allclose(a, b, rtol=0, atol=1e-12))
        print(f"{like_it.__name__:4s}  same to 1e-12: {all(close)}")
    # --8<-- [end:torch-same]


# --8<-- [start:wait]
def digits_then_blank(n_blank, seed=0):
    """Digits, row by row, and then n_blank rows of zeros.

    Returns sequences (n, 8 + n_blank, 8) and labels (n,) of 1,197 digits to
    train on, 240 to choose by, and 360 to test on.
    """
    from sklearn.datasets import load_digits

    if n_blank < 0:
        raise ValueError(f"n_blank: expected 0 or more, got {n_blank}")
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
        outputs, _ = self.layer(X)
        return self.head(outputs[:, -1])


@torch.no_grad()
def share_right(model, X, labels):
    """The share of sequences whose class the model gets right."""
    return (model(X).argmax(dim=-1) == labels).float().mean().item()


# --8<-- [end:reader]


# --8<-- [start:start-open]
@torch.no_grad()
def start_open(layer, bias=3.0):
    """Change in place how a layer starts, so that it keeps what it has.

    The gate that keeps, f of nn.LSTM and z of nn.GRU, gets that bias. The
    matrix by which nn.RNN multiplies its state becomes orthogonal.
    """
    if not isinstance(layer, nn.RNNBase) or layer.num_layers != 1:
        raise TypeError(f"expected nn.RNN, nn.GRU or nn.LSTM, got {layer}")
    if isinstance(layer, nn.RNN):
        nn.init.orthogonal_(layer.weight_hh_l0)
        return layer
    keeps = slice(layer.hidden_size, 2 * layer.hidden_size)
    layer.bias_hh_l0[keeps] = bias  # f, or z, comes second in both
    layer.bias_ih_l0[keeps] = 0
    return layer


# --8<-- [end:start-open]


if __name__ == "__main__":
    # --8<-- [start:later]
    train_on, _, test_on = digits_then_blank(20)
    for name, change in (("as it comes", nn.Identity()), ("open", start_open)):
        torch.manual_seed(0)
        layer = change(nn.LSTM(8, 64, batch_first=True))
        reader = Reader(layer)
        fit(reader, *train_on, learning_rate=0.02, steps=200)
        share = share_right(reader, *test_on)
        print(f"LSTM, {name:11s}  right more than half: {share > 0.5}")
    # --8<-- [end:later]

    # --8<-- [start:recorded]
    shares = {name: np.array(x) for name, x in results["digits"].items()}
    print("blank rows " + "".join(f"{n:14d}" for n in results["blank"]))
    for name, by_seed in shares.items():
        line = f"{name:11s}"
        for at in by_seed.T:
            line += f"  {at.min():.2f} to {at.max():.2f}"
        print(line)
    for name, by_seed in results["controls"].items():
        print(f"{name:26s}  {min(by_seed):.2f} to {max(by_seed):.2f}")
    # --8<-- [end:recorded]

    # --8<-- [start:later-figure]
    fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.8), sharey=True)
    for ax, kind in zip(axes, ("plain", "GRU", "LSTM"), strict=True):
        for name, label in ((kind, "as it comes"), (f"{kind}, open", "open")):
            by_seed = shares[name]
            low, high = by_seed.min(axis=0), by_seed.max(axis=0)
            ax.fill_between(results["blank"], low, high, alpha=0.3)
            ax.plot(results["blank"], by_seed.mean(axis=0), label=label)
        ax.set(title=kind, xlabel="blank rows", ylim=(0, 1.4))
    axes[0].set(ylabel="share right", yticks=np.linspace(0, 1, 6))
    axes[0].legend(loc="upper center")
    plt.show()
    # --8<-- [end:later-figure]

    # --8<-- [start:explode]
    (images, labels), _, test_on = digits_then_blank(10)
    for rate, most in ((0.5, float("inf")), (0.05, float("inf")), (0.5, 1.0)):
        shares, sizes = [], []
        for seed in range(3):
            torch.manual_seed(seed)
            reader = Reader(start_open(nn.RNN(8, 64, batch_first=True)))
            optimizer = torch.optim.SGD(reader.parameters(), rate)
            for rows in torch.randint(len(images), (100, 128)):
                loss = mean_loss(reader, images[rows], labels[rows])
                optimizer.zero_grad()
                loss.backward()
                # Clips, and returns how long the gradient was before.
                size = nn.utils.clip_grad_norm_(reader.parameters(), most)
                sizes.append(size.item())
                optimizer.step()
            shares.append(share_right(reader, *test_on))
        line = f"rate {rate:.2f}, clipped to {most:3.0f}: "
        line += f"{sum(np.array(shares) > 0.3)} of 3 learned, "
        print(f"{line}a gradient beyond 20: {max(sizes) > 20}")
    # --8<-- [end:explode]

    # --8<-- [start:padding]
    X, targets = some_names
    for name, wanted in (
        ("left out", targets),
        ("counted", targets.clamp(min=0)),  # as more end marks
    ):
        torch.manual_seed(0)
        careless = NameModel(GRUCell(16, 96))
        losses = fit(careless, X, wanted, steps=80)
        own, honest = np.mean(losses[-20:]), mean_loss(careless, *new_names)
        line = f"padding {name:8s}  its own loss {own:.2f}, "
        print(f"{line}honest loss {honest.item():.2f}")
    # --8<-- [end:padding]

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
        share = share_right(reader, test_on[0].roll(move, dims=1), test_on[1])
        print(f"blank rows {name:8s}  right more than half: {share > 0.5}")
    # --8<-- [end:solution-first]
