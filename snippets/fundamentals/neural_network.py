"""A neural network on handwritten digits, on an engine of our own."""

# --8<-- [start:network]
import numpy as np

from snippets.fundamentals.backpropagation import (
    Tensor,
    backward,
    node,
    relu,
    topological_order,
    total,
)


def layers(sizes, seed=0):
    """Weights (d_in, d_out) and biases (d_out,), layer by layer.

    The variance of the weights is 2 / d_in, as He proposed.
    """
    rng, parameters = np.random.default_rng(seed), []
    for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True):
        weights = rng.normal(size=(d_in, d_out)) * (2 / d_in) ** 0.5
        parameters += [weights, np.zeros(d_out)]
    return [Tensor(p, requires_grad=True) for p in parameters]


# --8<-- [end:network]


# --8<-- [start:logits]
def network(X, parameters):
    """From examples (n, d) to logits (n, classes); a ReLU between layers."""
    hidden = X
    for i in range(0, len(parameters), 2):
        if i > 0:
            hidden = relu(hidden)
        hidden = hidden @ parameters[i] + parameters[i + 1]
    return hidden


# --8<-- [end:logits]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    X = pixels / 16  # (1797, 64), brightness from 0 to 1
    order = np.random.default_rng(0).permutation(1797)
    seen, held_out = order[:1297], order[1297:]

    def accuracy(images, parameters):
        """The share of the held-out images (500, 64) read correctly."""
        guesses = network(images, parameters).data.argmax(axis=1)
        return np.mean(guesses == labels[held_out])

    untrained = layers((64, 32, 10))
    print(f"{sum(p.data.size for p in untrained):,} parameters")
    print(f"accuracy untrained {accuracy(X[held_out], untrained):.2f}")
    # --8<-- [end:digits]


# --8<-- [start:cross-entropy]
def exp(a):
    """e to the power of each entry; the slope is the result itself."""
    value = np.exp(a.data)
    return node(value, (a, lambda g: g * value))


def log(a):
    """The natural logarithm of each entry; the slope is 1 / a."""
    return node(np.log(a.data), (a, lambda g: g / a.data))


def cross_entropy(logits, labels):
    """Mean of minus the log-probability of each label.

    logits is (n, classes), labels (n,), integers from 0 on.
    """
    n, classes = logits.shape
    one_hot = np.eye(classes)[np.asarray(labels)]  # (n, classes)
    shifted = logits - logits.data.max(axis=1, keepdims=True)
    log_sums = log(total(exp(shifted), axis=1))  # (n,)
    return total(log_sums - total(shifted * one_hot, axis=1)) / n


# --8<-- [end:cross-entropy]


# --8<-- [start:train]
def train(
    X, labels, parameters, learning_rate=0.1, epochs=20, seed=0, zero=True
):
    """Stochastic gradient descent on batches of 32.

    X is (n, d), labels (n,). Changes parameters; returns the mean loss of
    each epoch.
    """
    X, labels = np.asarray(X, dtype=float), np.asarray(labels)
    rng, means = np.random.default_rng(seed), []
    for _ in range(epochs):
        order, losses = rng.permutation(len(X)), []
        for batch in np.split(order, range(32, len(X), 32)):
            loss = cross_entropy(network(X[batch], parameters), labels[batch])
            backward(loss)
            for p in parameters:
                p.data = p.data - learning_rate * p.grad
                p.data.flags.writeable = False
                p.grad = None if zero else p.grad
            losses.append(float(loss.data))
        means.append(np.mean(losses))
    return means


# --8<-- [end:train]


if __name__ == "__main__":
    # --8<-- [start:fit]
    models, curves = {}, {}
    for name, sizes in {
        "no hidden layer": (64, 10),
        "32 hidden units": (64, 32, 10),
    }.items():
        models[name] = [layers(sizes, seed) for seed in range(5)]
        curves[name] = [
            train(X[seen], labels[seen], model, seed=seed)
            for seed, model in enumerate(models[name])
        ]
        found = [accuracy(X[held_out], model) for model in models[name]]
        print(f"{name}  loss {np.mean(curves[name], axis=0)[-1]:.2f}", end="")
        print("  accuracy", *(f"{score:.3f}" for score in found))
    # --8<-- [end:fit]

    # --8<-- [start:curves]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    for (name, runs), colour, style in zip(
        curves.items(), ("#767676", "#1f5fbf"), ("--", "-"), strict=True
    ):
        lines = ax.plot(range(1, 21), np.transpose(runs), style, color=colour)
        lines[0].set_label(name)
    ax.set(xlabel="epoch", ylabel="mean loss of the epoch", ylim=(0, 2.2))
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.legend()
    plt.show()
    # --8<-- [end:curves]

    # --8<-- [start:fool]
    def direction(images, labels, parameters):
        """The sign of the loss's gradient in each pixel, (n, 64)."""
        pixels = Tensor(images, requires_grad=True)
        backward(cross_entropy(network(pixels, parameters), labels))
        return np.sign(pixels.grad)

    images, nets = X[held_out], models["32 hidden units"]
    signs = [direction(images, labels[held_out], net) for net in nets]
    coins = np.random.default_rng(0).choice([-1, 1], size=images.shape)
    print("each pixel moves by  at random  by the gradient's sign")
    for size in (0.0, 0.05, 0.1, 0.2):
        noisy, fooled = (
            np.mean([accuracy(images + size * w, net) for net, w in pairs])
            for pairs in (
                [(net, coins) for net in nets],
                zip(nets, signs, strict=True),
            )
        )
        print(f"{size:19.2f}  {noisy:9.2f}  {fooled:22.2f}")
    # --8<-- [end:fool]

    # --8<-- [start:fooled]
    fig, axes = plt.subplots(2, 6)
    for row, batch in zip(
        axes, (images, images + 0.1 * signs[0]), strict=True
    ):
        guesses = network(batch, nets[0]).data.argmax(axis=1)
        for ax, image, guess in zip(row, batch, guesses, strict=False):
            ax.imshow(image.reshape(8, 8), cmap="cividis", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], title=f"a {guess}")
    plt.show()
    # --8<-- [end:fooled]

    # --8<-- [start:torch]
    import torch

    def train_torch(parameters, seed, epochs=20):
        """The same steps by PyTorch; returns the weights and biases."""
        copies = [torch.tensor(p.data, requires_grad=True) for p in parameters]
        optimizer = torch.optim.SGD(copies, lr=0.1)
        inputs, targets = torch.tensor(X[seen]), torch.tensor(labels[seen])
        rng = np.random.default_rng(seed)
        for _ in range(epochs):
            order = torch.from_numpy(rng.permutation(len(inputs)))
            for batch in order.split(32):
                w1, b1, w2, b2 = copies
                logits = torch.relu(inputs[batch] @ w1 + b1) @ w2 + b2
                loss = torch.nn.functional.cross_entropy(
                    logits, targets[batch]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return [copy.detach().numpy() for copy in copies]

    # --8<-- [end:torch]

    # --8<-- [start:agree]
    for seed in range(3):
        theirs = train_torch(layers((64, 32, 10), seed), seed)
        gaps = [
            np.abs(ours.data - their).max()
            for ours, their in zip(nets[seed], theirs, strict=True)
        ]
        score = accuracy(images, [Tensor(t) for t in theirs])
        print(f"seed {seed}  accuracy {score:.3f}", end="")
        print(f", largest difference in a weight {max(gaps):.8f}")
    # --8<-- [end:agree]

    # --8<-- [start:speed]
    import json
    from importlib.resources import files

    folder = files("snippets.fundamentals")
    record = folder.joinpath("neural_network.results.json")
    for row in json.loads(record.read_text("utf-8"))["results"]:
        print(f"{row['width']:4d} hidden units: ", end="")
        print(f"{row['ratio']:.2f} times PyTorch's time")
    # --8<-- [end:speed]

    # --8<-- [start:not-zeroed]
    for learning_rate in (0.1, 0.01, 0.001):
        line = f"learning rate {learning_rate:5.3f}"
        for zero in (True, False):
            found = []
            for seed in range(3):
                net = layers((64, 32, 10), seed)
                train(
                    X[seen], labels[seen], net, learning_rate, 10, seed, zero
                )
                found.append(accuracy(images, net))
            span = f"{min(found):.2f} to {max(found):.2f}"
            line += f"  {span if min(found) > 0.5 else 'below 0.50  '}"
        print(line)
    # --8<-- [end:not-zeroed]

    # --8<-- [start:overflow]
    def naive_cross_entropy(logits, labels):
        """The formula as it stands, without taking out the maximum."""
        sums = total(exp(logits), axis=1)
        right = total(logits * np.eye(10)[labels], axis=1)
        return total(log(sums) - right) / len(labels)

    for scale in (1, 100):
        logits = network(scale * images, nets[0])
        with np.errstate(over="ignore"):
            naive = naive_cross_entropy(logits, labels[held_out]).data
        stable = cross_entropy(logits, labels[held_out]).data
        print(f"largest logit {logits.data.max():5.0f}", end="")
        print(f"  naive {naive:.2f}, stable {stable:.2f}")
    # --8<-- [end:overflow]

    # --8<-- [start:kept]
    import weakref

    for keep in (lambda loss: loss, lambda loss: float(loss.data)):
        kept, nodes = 0.0, []
        for _ in range(10):
            loss = cross_entropy(network(X[seen], nets[0]), labels[seen])
            nodes += map(weakref.ref, topological_order(loss))
            kept = kept + keep(loss)
        del loss
        alive = {id(ref()) for ref in nodes if ref() is not None}
        print(f"sum {float(getattr(kept, 'data', kept)):.2f}", end="")
        print(f"  tensors alive: {len(alive)}")
    # --8<-- [end:kept]


# --8<-- [start:fused]
def fused_cross_entropy(logits, labels):
    """cross_entropy as one operation; its slope is (p - one_hot) / n.

    logits is (n, classes), labels (n,), and p are the probabilities.
    """
    n, rows, labels = len(labels), np.arange(len(labels)), np.asarray(labels)
    shifted = logits.data - logits.data.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])

    def pull(g):
        errors = np.exp(shifted) / sums
        errors[rows, labels] -= 1
        return g * errors / n

    return node(loss, (logits, pull))


# --8<-- [end:fused]


if __name__ == "__main__":
    # --8<-- [start:solution-fused]
    gradients = []
    for function in (cross_entropy, fused_cross_entropy):
        logits = Tensor(network(images, nets[0]).data, requires_grad=True)
        loss = function(logits, labels[held_out])
        backward(loss)
        gradients.append(logits.grad)
        count = len(topological_order(loss))
        print(
            f"{function.__name__:20s}{count:2d} tensors, loss {loss.data:.4f}"
        )
    print(f"gradients differ by {np.abs(np.subtract(*gradients)).max():.12f}")
    # --8<-- [end:solution-fused]

    # --8<-- [start:solution-zeros]
    for start in (0.0, 0.1):
        net = [Tensor(np.full(p.shape, start), True) for p in untrained]
        losses = train(X[seen], labels[seen], net)
        units = np.unique(net[0].data.round(6), axis=1).shape[1]
        print(f"all {start}: loss {losses[-1]:.2f}, accuracy ", end="")
        print(f"{accuracy(images, net):.2f}, different hidden units: {units}")
    # --8<-- [end:solution-zeros]

    # --8<-- [start:solution-adversarial]
    for size in (0.0, 0.1):
        clean, moved = [], []
        for seed in range(3):
            net = layers((64, 32, 10), seed)
            for epoch in range(20):
                away = size * direction(X[seen], labels[seen], net)
                for p in net:
                    p.grad = None
                train(X[seen] + away, labels[seen], net, epochs=1, seed=epoch)
            away = 0.1 * direction(images, labels[held_out], net)
            clean.append(accuracy(images, net))
            moved.append(accuracy(images + away, net))
        print(f"trained on moves of {size}: ", end="")
        print(f"as scanned {np.mean(clean):.2f}, moved {np.mean(moved):.2f}")
    # --8<-- [end:solution-adversarial]
