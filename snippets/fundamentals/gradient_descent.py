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
    # --8<-- [start:data]
    from sklearn.datasets import load_diabetes

    X_raw, y = load_diabetes(return_X_y=True, scaled=False)
    X = (X_raw - X_raw.mean(axis=0)) / X_raw.std(axis=0)
    print(f"{len(y)} patients, {X.shape[1]} features")
    print(f"loss of always predicting the mean: {y.var():7.1f}")
    # --8<-- [end:data]

    # --8<-- [start:fit]
    weights, bias, losses = gradient_descent(X, y, learning_rate=0.1)
    for epoch in (0, 10, 100, 999):
        print(f"epoch {epoch:3d}  loss {losses[epoch]:9.1f}")
    # --8<-- [end:fit]

    # --8<-- [start:exact]
    X1 = np.column_stack([X, np.ones(len(X))])  # the bias as a weight
    solution = np.linalg.lstsq(X1, y)[0]
    least = np.mean((X1 @ solution - y) ** 2)
    print(f"least squares    {least:9.1f}")
    print(f"gradient descent {losses[-1]:9.1f}")
    # --8<-- [end:exact]

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
    # --8<-- [start:found]
    found = largest_stable_rate(X, y)
    print(f"2 / largest curvature  {limit:.4f}")
    print(f"found by bisection     {found:.4f}")
    # --8<-- [end:found]

    # --8<-- [start:rates]
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    for share in (0.01, 0.1, 0.9, 1.01):
        *_, curve = gradient_descent(X, y, share * limit, epochs=300)
        ax.semilogy(curve, label=f"{share} of the limit")
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

    The step after t batches is learning_rate / (1 + decay * t). Returns
    weights (d,), bias, and the loss on all data after each epoch.
    Raises ValueError when batch_size is not between 1 and n.
    """
    if not 1 <= batch_size <= len(y):
        raise ValueError(f"batch_size {batch_size} is not in 1 to {len(y)}")
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
    print("batch  steps an epoch  loss after 20 epochs, five seeds")
    for batch_size in (1, 32, len(y)):
        ends = [
            minibatch_descent(X, y, batch_size=batch_size, seed=seed)[2][-1]
            for seed in range(5)
        ]
        steps = int(np.ceil(len(y) / batch_size))
        spread = f"{min(ends):7.1f} to {max(ends):7.1f}"
        print(f"{batch_size:5d}  {steps:14d}  {spread}")
    # --8<-- [end:batches]

    # --8<-- [start:same-steps]
    *_, losses_full = gradient_descent(X, y, learning_rate=0.01, epochs=281)
    print(f"full batch after 280 steps  {losses_full[280]:.1f}")
    # --8<-- [end:same-steps]

    # --8<-- [start:noise]
    fig, ax = plt.subplots()
    for label, options in {
        "batches of 1": {"batch_size": 1},
        "batches of 1, step decays": {"batch_size": 1, "decay": 0.001},
        "batches of 32": {"batch_size": 32},
        "all 442 at once": {"batch_size": 442},
    }.items():
        *_, curve = minibatch_descent(X, y, epochs=60, **options)
        ax.semilogy(range(1, 61), np.array(curve) - least, label=label)
    ax.set(xlabel="epoch (each example seen once)", ylim=(0.3, 1e6))
    ax.set_ylabel("loss above the least")
    ax.legend(loc="upper right", ncols=2)
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
    # --8<-- [end:torch]

    # --8<-- [start:agree]
    torch_weights = model.weight.detach().numpy()[0]
    gap = np.abs(torch_weights - weights).max() / np.abs(weights).max()
    print(f"largest difference in a weight below 1e-10: {gap < 1e-10}")
    # --8<-- [end:agree]

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
    same = np.allclose(shrunk, library, rtol=1e-6)
    print(f"equal to scikit-learn's: {same}")
    print(f"length of the weights {np.linalg.norm(weights):.1f} without,")
    print(f"                      {np.linalg.norm(shrunk):.1f} with")
    # --8<-- [end:solution-ridge]


# --8<-- [start:line-search]
def steepest_descent(X, y, epochs=1000):
    """Take the best step along the gradient, computed exactly, each time.

    The loss along the gradient g is a parabola; its lowest point is at the
    step gᵀg / gᵀHg, with H the Hessian. Returns the losses before each step,
    and the steps.
    """
    weights, bias, losses, steps = np.zeros(X.shape[1]), 0.0, [], []
    for _ in range(epochs):
        loss, g_weights, g_bias = mse_and_gradient(X, y, weights, bias)
        losses.append(loss)
        squared = g_weights @ g_weights + g_bias**2  # gᵀg
        # gᵀHg = 2/n |X₁g|², as H is 2/n X₁ᵀX₁
        curved = 2 * np.mean((X @ g_weights + g_bias) ** 2)
        steps.append(squared / curved if curved else 0.0)  # 0: arrived
        weights -= steps[-1] * g_weights
        bias -= steps[-1] * g_bias
    return losses, steps


# --8<-- [end:line-search]


if __name__ == "__main__":
    # --8<-- [start:solution-line-search]
    best = 2 / (curvatures[0] + curvatures[-1])
    *_, fixed = gradient_descent(X, y, best)
    searched, steps = steepest_descent(X, y)
    for epoch in (10, 100, 999):
        print(
            f"epoch {epoch:3d}  above the least: "
            f"fixed {fixed[epoch] - least:9.3f}  "
            f"searched {searched[epoch] - least:9.3f}"
        )
    above = np.mean(np.array(steps) > limit)
    print(f"share of the searched steps above the limit: {above:.2f}")
    # --8<-- [end:solution-line-search]
