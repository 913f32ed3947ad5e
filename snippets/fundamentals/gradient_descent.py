"""Linear regression by gradient descent, on real data."""

# --8<-- [start:gradient]
import numpy as np


def mse_and_gradient(X, y, weights, bias):
    """Mean squared error of a linear model, and its gradient.

    X is (n, d), y is (n,), weights is (d,), bias a scalar. Returns the loss
    and its derivatives with respect to weights, (d,), and bias.
    Raises ValueError for other shapes.
    """
    X, y = np.asarray(X, float), np.asarray(y, float)  # bytes would overflow
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(
            "X must be (n, d) and y (n,), "
            f"but X is {X.shape} and y is {y.shape}"
        )
    error = X @ weights + bias - y  # (n,)
    return np.mean(error**2), 2 * X.T @ error / len(y), 2 * np.mean(error)


# --8<-- [end:gradient]


if __name__ == "__main__":
    # --8<-- [start:data]
    from sklearn.datasets import load_diabetes

    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)  # (442, 10)
    print(f"predicting the mean   {y.var():7.1f}")
    weights, bias = np.zeros(10), 0.0
    for step in range(3):
        loss, weights_gradient, bias_gradient = mse_and_gradient(
            X, y, weights, bias
        )
        print(f"loss after step {step}     {loss:7.1f}")
        weights -= 0.1 * weights_gradient
        bias -= 0.1 * bias_gradient
    # --8<-- [end:data]


# --8<-- [start:descend]
def gradient_descent(X, y, learning_rate=0.01, epochs=1000):
    """Fit y ≈ X @ weights + bias by full-batch gradient descent from zero.

    Returns weights (d,), bias, and the loss before each of the epochs.
    Raises FloatingPointError once the loss is no longer finite.
    """
    weights, bias = np.zeros(X.shape[-1]), 0.0
    losses = []
    for epoch in range(epochs):
        with np.errstate(over="ignore"):  # we say it better below
            loss, weights_gradient, bias_gradient = mse_and_gradient(
                X, y, weights, bias
            )
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at epoch {epoch}: lower learning_rate "
                f"({learning_rate}), or look for NaN"
            )
        losses.append(loss)
        weights -= learning_rate * weights_gradient
        bias -= learning_rate * bias_gradient
    return weights, bias, losses


# --8<-- [end:descend]


if __name__ == "__main__":
    # --8<-- [start:fit]
    weights, bias, losses = gradient_descent(X, y, learning_rate=0.1)
    X1 = np.column_stack([X, np.ones(len(X))])  # the bias as a weight
    solution = np.linalg.lstsq(X1, y)[0]
    least = np.mean((X1 @ solution - y) ** 2)
    for epoch in (0, 10, 100, 999):
        print(f"epoch {epoch:3d}      {losses[epoch]:9.1f}")
    print(f"least squares  {least:9.1f}")
    # --8<-- [end:fit]

    # --8<-- [start:hessian]
    hessian = 2 * X1.T @ X1 / len(y)  # (d + 1, d + 1)
    curvatures, directions = np.linalg.eigh(hessian)  # ascending
    limit = 2 / curvatures[-1]
    print(f"curvature  {curvatures[0]:.4f} to {curvatures[-1]:.4f}")
    print(f"limit of the learning rate  {limit:.6f}")
    # --8<-- [end:hessian]


# --8<-- [start:bisect]
def diverges(X, y, learning_rate, epochs=1000):
    """Whether the loss is rising after that many epochs, or overflows."""
    try:
        *_, losses = gradient_descent(X, y, learning_rate, epochs)
    except FloatingPointError:
        return True
    return losses[-1] > losses[-2]


def largest_stable_rate(X, y, low=1e-6, high=10.0, digits=5):
    """Bisect for the learning rate at which gradient descent diverges."""
    while high / low > 1 + 10.0**-digits:
        middle = (low * high) ** 0.5
        if diverges(X, y, middle):
            high = middle
        else:
            low = middle
    return low


# --8<-- [end:bisect]


if __name__ == "__main__":
    # --8<-- [start:rates]
    import matplotlib.pyplot as plt

    print(f"2 / largest curvature  {limit:.4f}")
    print(f"found by bisection     {largest_stable_rate(X, y):.4f}")
    fig, ax = plt.subplots()
    for share, style in {0.01: ":", 0.1: "--", 0.9: "-", 1.01: "-."}.items():
        colour = "#1f5fbf" if share < 1 else "#8f065b"
        *_, curve = gradient_descent(X, y, share * limit, epochs=300)
        ax.semilogy(curve, style, color=colour, label=f"{share} of the limit")
    ax.set(ylim=(2e3, 1e5), xlabel="epoch", ylabel="mean squared error")
    ax.set_yticks([3e3, 1e4, 3e4, 1e5], ["3,000", "10,000", "30,000", ""])
    ax.legend(loc="upper right")
    plt.show()
    # --8<-- [end:rates]

    # --8<-- [start:condition]
    rate = 0.1
    predicted = (1 - rate * curvatures[0]) ** 2
    excess = np.array(losses) - least
    measured = (excess[999] / excess[899]) ** (1 / 100)
    print(f"condition number {curvatures[-1] / curvatures[0]:.1f}")
    print(f"share of the excess loss left by one epoch, from {rate = }")
    print(f"  predicted {predicted:.6f}")
    print(f"  measured  {measured:.6f}")
    # --8<-- [end:condition]

    # --8<-- [start:flattest]
    names = [*load_diabetes().feature_names, "bias"]
    flattest = directions[:, 0]
    flattest = flattest * np.sign(flattest[4])  # its sign means nothing
    for index in np.argsort(-np.abs(flattest))[:3]:
        print(f"{names[index]}  {flattest[index]:5.2f}")
    print(f"correlation of s1 and s2: {np.corrcoef(X.T)[4, 5]:.2f}")
    # --8<-- [end:flattest]


# --8<-- [start:sgd]
def minibatch_descent(
    X, y, learning_rate=0.01, epochs=20, batch_size=32, decay=0.0, seed=0
):
    """Gradient descent on shuffled batches; batch_size=1 is stochastic.

    X is (n, d), y is (n,). The step after t batches is learning_rate / (1 +
    decay * t). Returns weights (d,), bias, and the loss on all data after
    each epoch.
    """
    X, y = np.asarray(X), np.asarray(y)  # rows by place, in tables of pandas
    rng = np.random.default_rng(seed)
    weights, bias, steps, losses = np.zeros(X.shape[1]), 0.0, 0, []
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for start in range(0, len(y), batch_size):
            batch = order[start : start + batch_size]
            _, weights_gradient, bias_gradient = mse_and_gradient(
                X[batch], y[batch], weights, bias
            )
            step_size = learning_rate / (1 + decay * steps)
            weights -= step_size * weights_gradient
            bias -= step_size * bias_gradient
            steps += 1
        losses.append(mse_and_gradient(X, y, weights, bias)[0])
    return weights, bias, losses


# --8<-- [end:sgd]


if __name__ == "__main__":
    # --8<-- [start:batches]
    copies = np.tile(X, (10, 1)), np.tile(y, 10)
    print("batch   442 patients, 20 epochs  ten copies of each, 2 epochs")
    for batch_size, rates in {
        1: (0.0005, 0.001),
        32: (0.005, 0.01, 0.02),
        4420: (0.05, 0.1, 0.2),  # all at once
    }.items():
        line = f"{batch_size:5d}"
        for data, epochs in (((X, y), 20), (copies, 2)):
            ends = []
            for rate in rates:
                options = rate, epochs, batch_size
                runs = (
                    minibatch_descent(*data, *options, seed=s)
                    for s in range(3)
                )
                ends.append([run[2][-1] for run in runs])
            best = min(ends, key=np.mean)
            line += f"  {min(best):11.1f} to {max(best):7.1f}"
        print(line)
    # --8<-- [end:batches]

    # --8<-- [start:noise]
    fig, ax = plt.subplots()
    for label, style, colour, options in (
        ("1, rate 0.01", "-", "#8f065b", (0.01, 60, 1)),
        ("1, rate decays from 0.01", "--", "#8f065b", (0.01, 60, 1, 0.001)),
        ("32, rate 0.01", "-.", "#1f5fbf", (0.01, 60, 32)),
        ("442, rate 0.2", ":", "#767676", (0.2, 60, 442)),
    ):
        curve = np.array(minibatch_descent(X, y, *options)[2]) - least
        ax.semilogy(range(1, 61), curve, style, color=colour, label=label)
    ax.set(xlabel="epoch (each example seen once)", ylim=(0.3, 1e5))
    ax.set_ylabel("loss above the least")
    ax.legend(title="batch size")
    plt.show()
    # --8<-- [end:noise]

    # --8<-- [start:torch]
    import torch

    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    model = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(1000):
        loss = torch.nn.functional.mse_loss(model(inputs)[:, 0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch_weights = model.weight.detach().numpy()[0]
    gap = np.abs(torch_weights - weights).max()
    print(f"largest difference in a weight {gap:.9f}")
    # --8<-- [end:torch]

    # --8<-- [start:unscaled]
    raw = np.column_stack([X_raw, np.ones(len(y))])
    raw_curvatures = np.linalg.eigvalsh(2 * raw.T @ raw / len(y))
    raw_limit = 2 / raw_curvatures[-1]
    *_, raw_losses = gradient_descent(X_raw, y, 0.9 * raw_limit)
    print(f"condition number {raw_curvatures[-1] / raw_curvatures[0]:.1e}")
    print(f"limit of the learning rate {raw_limit:.1e}")
    print(f"loss after 1000 epochs {raw_losses[-1]:.1f}")
    # --8<-- [end:unscaled]

    # --8<-- [start:column]
    column = y.reshape(-1, 1)  # (442, 1), as many libraries hand it out
    wrong_weights, wrong_bias = np.zeros(X.shape[1]), 0.0
    for _ in range(1000):
        error = X @ wrong_weights + wrong_bias - column  # (442, 442)
        wrong_weights -= 0.1 * 2 * X.T @ error.mean(axis=0) / len(y)
        wrong_bias -= 0.1 * 2 * error.mean()
    print("errors of shape", error.shape)
    trained = np.mean((X @ wrong_weights + wrong_bias - y) ** 2)
    print(f"loss after training {trained:7.1f}")
    print(f"loss of the mean    {y.var():7.1f}")
    try:
        gradient_descent(X, column)
    except ValueError as error:
        print("mse_and_gradient:", error)
    # --8<-- [end:column]

    # --8<-- [start:summed]
    try:
        # The gradient of the sum is n times that of the mean.
        gradient_descent(X, y, learning_rate=0.1 * len(y))
    except FloatingPointError as error:
        print(error)
    # --8<-- [end:summed]

    # --8<-- [start:solution-epochs]
    smallest = curvatures[0]
    for rate in (0.1, 0.2):
        per_epoch = (1 - rate * smallest) ** 2
        epochs = np.log(0.1) / np.log(per_epoch)
        print(f"rate {rate}: {epochs:.1f} epochs for one more digit")
    # --8<-- [end:solution-epochs]


# --8<-- [start:ridge]
def ridge_descent(X, y, penalty, learning_rate=0.1, epochs=1000):
    """Gradient descent on the loss plus penalty * ||weights||²."""
    weights, bias = np.zeros(X.shape[1]), 0.0
    for _ in range(epochs):
        _, weights_gradient, bias_gradient = mse_and_gradient(
            X, y, weights, bias
        )
        weights -= learning_rate * (weights_gradient + 2 * penalty * weights)
        bias -= learning_rate * bias_gradient
    return weights, bias


# --8<-- [end:ridge]


if __name__ == "__main__":
    # --8<-- [start:solution-ridge]
    from sklearn.linear_model import Ridge

    shrunk, _ = ridge_descent(X, y, penalty=0.1)
    library = Ridge(alpha=0.1 * len(y)).fit(X, y).coef_
    print(f"differs from Ridge by {np.abs(shrunk - library).max():.6f}")
    for name, w, extra in (("without", weights, 0.0), ("with", shrunk, 0.1)):
        penalized = hessian + 2 * extra * np.diag(10 * [1.0] + [0.0])
        ends = np.linalg.eigvalsh(penalized)[[0, -1]]
        print(f"{name:7s} length of w {np.linalg.norm(w):.1f}", end="")
        print(f", condition number {ends[1] / ends[0]:5.1f}")
    # --8<-- [end:solution-ridge]

    # --8<-- [start:solution-limit]
    single = 2 * np.sum(X1**2, axis=1).mean()  # of 2 x xᵀ, one patient's
    print(
        f"curvature: mean loss {curvatures[-1]:.1f}, one patient {single:.1f}"
    )
    for batch_size in (1, 8, 64, 442):
        rate, end = 2 * limit, np.inf
        while not end < y.var():  # NaN isn't, either
            rate *= 0.9
            with np.errstate(over="ignore", invalid="ignore"):
                end = minibatch_descent(X, y, rate, 20, batch_size)[2][-1]
        print(f"batches of {batch_size:3d}: {rate / limit:.2f} of the limit")
    # --8<-- [end:solution-limit]
