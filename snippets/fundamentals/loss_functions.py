"""Losses from scratch, each with its gradient, on real and spoilt data."""

# --8<-- [start:check]
import numpy as np
from scipy.optimize import minimize
from scipy.special import xlogy


def check_numbers(name, values, shape):
    """Raise a ValueError unless values has that shape, filled and finite.

    Raises TypeError for what is no array.
    """
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} must be an array, but is {type(values)}")
    if values.shape != shape or values.size == 0:
        raise ValueError(
            f"{name} must be {shape} and not empty, but is {values.shape}"
        )
    if not np.isfinite(values).all():
        strange = values[~np.isfinite(values)][0]
        raise ValueError(f"{name} must be finite, but holds {strange}")


# --8<-- [end:check]


# --8<-- [start:regression]
def errors(prediction, target):
    """prediction - target, (n,), once both are checked."""
    check_numbers("target", target, np.shape(target)[:1])
    check_numbers("prediction", prediction, target.shape)
    return np.subtract(prediction, target, dtype=float)


def mse(prediction, target):
    """Mean squared error, and its gradient by prediction, (n,)."""
    error = errors(prediction, target)
    return np.mean(error**2), 2 * error / len(error)


def mae(prediction, target):
    """Mean absolute error, and its gradient by prediction, (n,)."""
    error = errors(prediction, target)
    return np.mean(np.abs(error)), np.sign(error) / len(error)


# --8<-- [end:regression]


# --8<-- [start:huber]
def huber(prediction, target, delta=1.0):
    """Half the square up to delta, then straight; and its gradient, (n,)."""
    if not 0 < delta < np.inf:
        raise ValueError(f"delta must be above 0, but is {delta}")
    error = errors(prediction, target)
    clipped = np.clip(error, -delta, delta)
    return np.mean(clipped * (error - clipped / 2)), clipped / len(error)


# --8<-- [end:huber]


# --8<-- [start:softmax]
def naive_softmax(logits):
    """The formula as it stands: exponentials, divided by their sum."""
    exponentials = np.exp(logits * 1.0)  # of bytes: in 16 bits, without it
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def log_softmax(logits):
    """Logarithms of the chances; safe for logits of any size."""
    logits = logits * 1.0  # bytes would wrap around
    shifted = logits - logits.max(axis=-1, keepdims=True)  # at most 0
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# --8<-- [end:softmax]


if __name__ == "__main__":
    # --8<-- [start:overflow]
    print("lead  float32 naive  float64 naive  float32 stable")
    for lead in (10, 100, 1000):
        logits = np.array([0.0, lead])
        single = logits.astype(np.float32)
        with np.errstate(all="ignore"):  # naively, it warns and goes on
            naive = [-np.log(naive_softmax(z)[0]) for z in (single, logits)]
        row = (*naive, -log_softmax(single)[0])
        print(f"{lead:4d}" + "".join(f"  {loss:13.1f}" for loss in row))
    # --8<-- [end:overflow]


# --8<-- [start:check-labels]
def check_labels(logits, labels):
    """Raise a ValueError unless logits (n, k) and labels (n,) fit."""
    check_numbers("logits", logits, np.shape(logits))
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be (n, k) with k > 1, but is {logits.shape}"
        )
    check_numbers("labels", labels, logits.shape[:1])
    n_classes = logits.shape[1]
    strange = labels[~np.isin(labels, np.arange(n_classes))]
    if strange.size:
        raise ValueError(
            f"labels must be 0 to {n_classes - 1}, but one is {strange[0]}"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, but are {labels.dtype}")


# --8<-- [end:check-labels]


# --8<-- [start:cross-entropy]
def cross_entropy(logits, labels, smoothing=0.0):
    """Mean cross-entropy, and its gradient by logits, (n, k).

    smoothing is the share of the truth that is spread over all k classes.
    """
    check_labels(logits, labels)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be 0 to 1, but is {smoothing}")
    n, k = logits.shape
    truth = np.full((n, k), smoothing / k)
    truth[np.arange(n), labels] += 1 - smoothing
    log_chances = log_softmax(logits)
    loss = -np.sum(truth * log_chances) / n
    return loss, (np.exp(log_chances) - truth) / n


# --8<-- [end:cross-entropy]


# --8<-- [start:kl]
def kl_divergence(logits, truth):
    """Mean KL divergence of softmax(logits) from truth, and its gradient.

    Both are (n, k); each row of truth is a distribution.
    """
    check_numbers("logits", logits, np.shape(logits))
    check_numbers("truth", truth, logits.shape)
    sums = truth.sum(axis=-1)
    if truth.min() < 0 or np.abs(sums - 1).max() > 1e-6:
        raise ValueError(
            "truth must hold chances whose rows sum to 1, but its least is "
            f"{truth.min():.4g} and its sums are {sums.min():.4g} to "
            f"{sums.max():.4g}"
        )
    n = len(logits)
    log_chances = log_softmax(logits)
    loss = np.sum(xlogy(truth, truth) - truth * log_chances) / n
    return loss, (np.exp(log_chances) - truth) / n


# --8<-- [end:kl]


# --8<-- [start:hinge]
def hinge(logits, labels, margin=1.0):
    """By how much other classes come within margin of the true one.

    Summed over the other classes, divided by n * k; and its gradient, (n, k).
    """
    check_labels(logits, labels)
    if not 0 <= margin < np.inf:
        raise ValueError(f"margin must be 0 or more, but is {margin}")
    n, k = logits.shape
    rows = np.arange(n)
    gaps = float(margin) + logits - logits[rows, labels][:, None]
    gaps[rows, labels] = 0
    gradient = (gaps > 0) / (n * k)
    gradient[rows, labels] = -gradient.sum(axis=1)
    return np.maximum(gaps, 0).sum() / (n * k), gradient


# --8<-- [end:hinge]


# --8<-- [start:focal]
def focal(logits, labels, gamma=2.0):
    """Cross-entropy times (1 - chance of the truth)^gamma; its gradient."""
    check_labels(logits, labels)
    if not 0 <= gamma < np.inf:
        raise ValueError(f"gamma must be 0 or more, but is {gamma}")
    n = len(logits)
    rows = np.arange(n)
    log_chances = log_softmax(logits)
    log_true = log_chances[rows, labels]  # (n,)
    doubt = -np.expm1(log_true)  # 1 - chance of the truth
    slope = np.divide(
        log_true, doubt, out=-np.ones(n), where=doubt > 0
    )  # -> -1 as doubt -> 0
    pull = doubt**gamma * (1 - gamma * np.exp(log_true) * slope)
    error = np.exp(log_chances)
    error[rows, labels] -= 1
    return -np.mean(doubt**gamma * log_true), error * pull[:, None] / n


# --8<-- [end:focal]


if __name__ == "__main__":
    # --8<-- [start:margins]
    import matplotlib.pyplot as plt

    leads = np.linspace(-4, 6, 101)
    fig, ax = plt.subplots()
    for name, loss in {
        "cross-entropy": cross_entropy,
        "smoothed by 0.1": lambda z, y: cross_entropy(z, y, 0.1),
        "focal, gamma 2": focal,
        "hinge": hinge,
    }.items():
        truth = np.array([1])
        values = [loss(np.array([[0, lead]]), truth)[0] for lead in leads]
        ax.plot(leads, values, label=name)
    ax.set(xlabel="lead of the true class's logit", ylabel="loss")
    ax.set_ylim(-0.1, 4.2)
    ax.legend(loc="upper right")
    plt.show()
    # --8<-- [end:margins]


# --8<-- [start:fit]
def fit_linear(loss, X, target, shape=(), penalty=0.0, steps=400):
    """Fit a linear model to any of these losses by SciPy's L-BFGS.

    shape is that of one output: () for a number, (k,) for k logits. Half the
    squared weights times penalty are added. Returns weights, the bias last.
    """
    if not 0 <= penalty < np.inf:
        raise ValueError(f"penalty must be 0 or more, but is {penalty}")
    X1 = np.column_stack([X, np.ones(len(X))])
    shape = (X1.shape[1], *shape)
    free = np.ones(shape)
    free[-1] = 0  # the bias is not penalised

    def objective(flat):
        weights = flat.reshape(shape)
        value, gradient = loss(X1 @ weights, target)
        shrunk = penalty * free * weights
        value += np.sum(shrunk * weights) / 2
        return value, (X1.T @ gradient + shrunk).ravel()

    # So near to the minimum that another processor finds the same.
    options = {"maxiter": steps, "ftol": 1e-14, "gtol": 1e-7}
    start = np.zeros(shape).ravel()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options=options
    )
    return found.x.reshape(shape)


def predict(weights, X):
    """The outputs of the linear model for X."""
    return X @ weights[:-1] + weights[-1]


# --8<-- [end:fit]


# --8<-- [start:spoil]
def check_share(share):
    """Raise a ValueError unless share is one."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must be 0 to 1, but is {share}")


def slip(target, share, seed):
    """Multiply a random share of the targets by ten: a slipped point."""
    check_share(share)
    hit = np.random.default_rng(seed).random(len(target)) < share
    return np.where(hit, 10.0 * target, target)


def mislabel(labels, share, n_classes, seed):
    """Give a random share of the labels another class, at random."""
    check_share(share)
    rng = np.random.default_rng(seed)
    hit = rng.random(len(labels)) < share
    shift = rng.integers(1, n_classes, len(labels))
    return np.where(hit, (labels + shift) % n_classes, labels)


# --8<-- [end:spoil]


if __name__ == "__main__":
    # --8<-- [start:diabetes]
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    X = X / X.std(axis=0)

    def test_error(loss, share, seed):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:300], order[300:]
        spoilt = slip(y[train], share, seed)
        middle = np.median(spoilt)
        spread = np.median(np.abs(spoilt - middle))  # both hardly notice
        weights = fit_linear(loss, X[train], (spoilt - middle) / spread)
        outputs = predict(weights, X[test]) * spread + middle
        return np.mean(np.abs(outputs - y[test]))

    # --8<-- [end:diabetes]

    # --8<-- [start:corrupted]
    losses = {"squared": mse, "absolute": mae, "Huber": huber}
    shares = (0.0, 0.02, 0.05, 0.1, 0.2)
    curves = {
        name: np.array(
            [[test_error(f, s, seed) for seed in range(20)] for s in shares]
        )
        for name, f in losses.items()
    }
    print("spoilt " + "".join(f"{name:>14}" for name in losses))
    for row, share in enumerate(shares):
        line = f"{share:6.0%} "
        for curve in curves.values():
            error = curve[row].std() / np.sqrt(20)
            line += f"  {curve[row].mean():5.1f} ± {error:4.1f}"
        print(line)
    # --8<-- [end:corrupted]

    # --8<-- [start:corrupted-figure]
    fig, ax = plt.subplots()
    for name, curve in curves.items():
        low, mean, high = curve.min(1), curve.mean(1), curve.max(1)
        ax.plot(100 * np.array(shares), mean, marker="o", label=name)
        ax.fill_between(100 * np.array(shares), low, high, alpha=0.2)
    ax.set(xlabel="% of the training targets spoilt", yscale="log")
    ax.set_ylabel("mean error on test")
    ax.set_yticks([50, 100, 200, 300], [50, 100, 200, 300], minor=False)
    ax.minorticks_off()
    ax.legend(loc="upper left", title="trained by")
    plt.show()
    # --8<-- [end:corrupted-figure]

    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    images = images / 16

    def judge(loss, penalty, seed, noise=0.0, eights=None):
        """Share right of all test digits, and of the eights."""
        order = np.random.default_rng(seed).permutation(len(digit))
        train, test = order[:400], order[400:]
        if eights is not None:  # keep only so many in training
            extra = np.flatnonzero(digit[train] == 8)[eights:]
            train = np.delete(train, extra)
        labels = mislabel(digit[train], noise, 10, seed)
        weights = fit_linear(loss, images[train], labels, (10,), penalty)
        right = predict(weights, images[test]).argmax(1) == digit[test]
        return right.mean(), right[digit[test] == 8].mean()

    # --8<-- [end:digits]

    # --8<-- [start:noisy]
    choices = {
        "cross-entropy": (cross_entropy, 1e-3),
        "smoothed": (lambda z, y: cross_entropy(z, y, 0.1), 1e-3),
        "focal": (focal, 1e-3),
        "hinge": (hinge, 1e-3),
        "10 x penalty": (cross_entropy, 1e-2),
        "penalty / 3": (cross_entropy, 3e-4),
        "focal, 10 x": (focal, 1e-2),
        "hinge, 10 x": (hinge, 1e-2),
    }
    cases = {"clean": {}, "noise": {"noise": 0.4}, "rare": {"eights": 5}}
    scores = {
        (name, case): np.array(
            [judge(*choice, seed, **cases[case]) for seed in range(4)]
        )
        for name, choice in choices.items()
        for case in cases
    }
    # --8<-- [end:noisy]

    # --8<-- [start:noisy-table]
    columns = [("clean", 0), ("noise", 0), ("rare", 0), ("rare", 1)]
    print(
        "right on test        clean    40 % wrong      5 eights    of eights"
    )
    for name in choices:
        line = f"{name:13s}"
        for case, column in columns:
            score = scores[name, case][:, column]
            sign = ""
            if name != "cross-entropy":  # gains, on the same splits
                score = score - scores["cross-entropy", case][:, column]
                sign = "+"
            error = score.std() / np.sqrt(4)
            line += f" {score.mean():{sign}6.3f} ± {error:.3f}"
        print(line)
    # --8<-- [end:noisy-table]

    # --8<-- [start:torch]
    import torch
    import torch.nn.functional as F

    def torch_focal(z, y, gamma=2.0):
        loss = F.cross_entropy(z, y, reduction="none")
        return ((1 - torch.exp(-loss)) ** gamma * loss).mean()

    rng = np.random.default_rng(0)
    numbers, targets = rng.normal(size=20), rng.normal(size=20)
    logits, labels = 3 * rng.normal(size=(20, 5)), rng.integers(5, size=20)
    chances = naive_softmax(rng.normal(size=(20, 5)))
    # --8<-- [end:torch]

    # --8<-- [start:agree]
    pairs = {
        "squared": (mse, F.mse_loss, numbers, targets),
        "absolute": (mae, F.l1_loss, numbers, targets),
        "Huber": (huber, F.huber_loss, numbers, targets),
        "cross-entropy": (cross_entropy, F.cross_entropy, logits, labels),
        "hinge": (hinge, F.multi_margin_loss, logits, labels),
        "focal": (focal, torch_focal, logits, labels),
        "KL": (
            kl_divergence,
            lambda z, y: F.kl_div(z.log_softmax(1), y, reduction="batchmean"),
            *(logits, chances),
        ),
    }
    for name, (ours, theirs, outputs, truth) in pairs.items():
        value, gradient = ours(outputs, truth)
        z = torch.tensor(outputs, requires_grad=True)
        loss = theirs(z, torch.tensor(truth))
        loss.backward()
        gap = max(
            abs(loss.item() - value), abs(z.grad.numpy() - gradient).max()
        )
        print(f"{name:13s}  loss {value:.4f}, same to 1e-12: {gap < 1e-12}")
    # --8<-- [end:agree]

    # --8<-- [start:twice]
    sure = np.array([[20.0] + 9 * [0.0]])  # ten classes, and right
    truth = np.array([0])
    once, _ = cross_entropy(sure, truth)
    twice, _ = cross_entropy(naive_softmax(sure), truth)
    print(f"logits into the loss: {once:.4f}")
    print(f"chances into the loss: {twice:.4f}")
    # --8<-- [end:twice]

    # --8<-- [start:logs]
    truth = torch.tensor([[0.7, 0.2, 0.1]])
    model = torch.tensor([[0.6, 0.3, 0.1]])
    for name, first in {"chances": model, "logarithms": model.log()}.items():
        loss = F.kl_div(first, truth, reduction="batchmean")
        print(f"{name:10s}  {loss:+.4f}")
    # --8<-- [end:logs]

    # --8<-- [start:floor]
    spread = np.full((1, 10), 0.01)
    spread[0, 0] = 0.91  # a truth smoothed by 0.1
    best = np.log(spread)  # logits that say exactly that
    loss, gradient = cross_entropy(best, np.array([0]), smoothing=0.1)
    print(f"smoothed cross-entropy {loss:.4f}")
    print(f"gradient below 1e-12: {np.abs(gradient).max() < 1e-12}")
    divergence, _ = kl_divergence(best, spread)
    print(f"KL divergence below 1e-12: {divergence < 1e-12}")
    # --8<-- [end:floor]

    # --8<-- [start:solution-constant]
    nothing = np.zeros((len(y), 0))  # no features: the bias alone
    print(f"mean {y.mean():.1f}, median {np.median(y):.1f}")
    for name, loss in {
        "squared": mse,
        "absolute": mae,
        "Huber, 100": lambda p, t: huber(p, t, 100.0),
        "Huber, 30": lambda p, t: huber(p, t, 30.0),
    }.items():
        print(f"{name:10s}  {fit_linear(loss, nothing, y)[0]:.1f}")
    # --8<-- [end:solution-constant]

    # --8<-- [start:solution-lead]
    one, first = np.zeros((1, 0)), np.array([0])
    for smoothing in (0.1, 0.01):
        fitted = fit_linear(
            lambda z, t, s=smoothing: cross_entropy(z, t, s), one, first, (10,)
        )[0]
        worked = np.log((1 - smoothing + smoothing / 10) / (smoothing / 10))
        lead = fitted[0] - fitted[1]
        print(f"smoothing {smoothing}: fitted {lead:.2f}, worked {worked:.2f}")
    # --8<-- [end:solution-lead]


# --8<-- [start:pinball]
def pinball(prediction, target, quantile=0.5):
    """A loss that is least at that quantile; its gradient, (n,)."""
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be within 0 to 1, but is {quantile}")
    error = errors(prediction, target)
    slope = (error > 0) - quantile  # 1 - quantile above, -quantile below
    return np.mean(slope * error), slope / len(error)


# --8<-- [end:pinball]


if __name__ == "__main__":
    # --8<-- [start:solution-pinball]
    def coverage(seed):
        """Share of test targets between the 10 % and the 90 % quantile."""
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:300], order[300:]
        low, high = (
            fit_linear(lambda p, t, q=q: pinball(p, t, q), X[train], y[train])
            for q in (0.1, 0.9)
        )
        above = predict(low, X[test]) < y[test]
        return np.mean(above & (y[test] < predict(high, X[test])))

    shares = [coverage(seed) for seed in range(20)]
    error = np.std(shares) / np.sqrt(20)
    print(f"inside the band: {np.mean(shares):.3f} ± {error:.3f}, wanted 0.8")
    # --8<-- [end:solution-pinball]
