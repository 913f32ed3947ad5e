"""k-means, principal components and a Gaussian mixture, on real data."""

# --8<-- [start:check]
import numpy as np


def check_points(points, name="X", d="d"):
    """points as floats; ValueError unless (n, d), not empty, and finite."""
    points = np.asarray(points, dtype=float)
    shape = points.shape
    if len(shape) != 2 or 0 in shape or d not in ("d", shape[1]):
        raise ValueError(
            f"{name}: expected shape (n, {d}), none of them 0, got {shape}"
        )
    bad = np.count_nonzero(~np.isfinite(points))
    if bad:
        raise ValueError(
            f"{name}: expected finite numbers, got {bad} NaN or infinite"
        )
    return points


def check_count(name, count, most=np.inf):
    """Raise ValueError unless count is an integer from 1 to most."""
    if not isinstance(count, (int, np.integer)) or not 1 <= count <= most:
        raise ValueError(
            f"{name}: expected an integer from 1 to {most}, got {count}"
        )


# --8<-- [end:check]


# --8<-- [start:assign]
def nearest_centre(X, centres):
    """For each row of X, the index of the centre nearest to it."""
    X, centres = np.asarray(X, float), np.asarray(centres, float)
    far = np.abs(centres).max() > 1000 * np.ptp(centres, axis=0).max()
    middle = far * centres.mean(axis=0)  # else ||c||² runs out of digits
    scores = X @ (-2 * (centres - middle).T)  # (n, k)
    scores += np.sum((centres - middle) * (centres + middle), axis=1)
    return scores.argmin(axis=1)  # of ||x - c||² without ||x - middle||²


# --8<-- [end:assign]


# --8<-- [start:update]
def fill_empty(X, centres, labels):
    """Give each empty cluster the point that is farthest from its centre."""
    sizes = np.bincount(labels, minlength=len(centres))
    for empty in np.flatnonzero(sizes == 0):
        gap = np.subtract(X, centres[labels], dtype=float)
        distance = np.sum(gap**2, axis=1)
        distance[sizes[labels] == 1] = -1  # else that one is empty next
        farthest = distance.argmax()
        sizes[labels[farthest]] -= 1
        labels[farthest], sizes[empty] = empty, 1
    return labels, sizes


def cluster_means(X, labels, sizes):
    """The mean of each cluster's points, (k, d)."""
    one_hot = np.zeros((len(sizes), len(X)))
    one_hot[labels, np.arange(len(X))] = 1.0  # (k, n)
    return one_hot @ X / sizes[:, None]


# --8<-- [end:update]


# --8<-- [start:lloyd]
def lloyd(X, centres, tol=1e-4, max_steps=300):
    """k-means from the given centres, by Lloyd's two steps in turn.

    Stops when no label changes, when the centres' squared moves add up to
    at most tol times the features' mean variance, or after max_steps.
    Returns centres (k, d), labels (n,), the inertia, and the steps taken.
    """
    X = check_points(X)
    centres = check_points(centres, "centres", X.shape[1])
    check_count("k", len(centres), len(X))
    check_count("max_steps", max_steps)
    enough, before, steps = tol * np.mean(X.var(axis=0)), None, 0
    while steps < max_steps:
        steps += 1
        labels = nearest_centre(X, centres)
        labels, sizes = fill_empty(X, centres, labels)
        moved = cluster_means(X, labels, sizes)
        shift, centres = np.sum((moved - centres) ** 2), moved
        if shift <= enough or np.array_equal(labels, before):
            break
        before = labels
    labels = nearest_centre(X, centres)
    inertia = np.sum((X - centres[labels]) ** 2)
    return centres, labels, inertia, steps


# --8<-- [end:lloyd]


# --8<-- [start:seeding]
def check_distinct(nearest, centres, k):
    """Raise ValueError if every point lies on one of the centres."""
    if not np.any(nearest):
        raise ValueError(
            f"k: expected at most {len(centres)}, the number of "
            f"distinct points, got {k}"
        )


def random_seeds(X, k, rng):
    """k points of X, each as likely as any other."""
    X = np.asarray(X, dtype=float)
    check_count("k", k, len(np.unique(X, axis=0)))
    return X[rng.choice(len(X), size=k, replace=False)]


def plus_plus_seeds(X, k, rng):
    """k points of X, each drawn by its squared distance to those before."""
    X = np.asarray(X, dtype=float)
    centres = [X[rng.integers(len(X))]]
    nearest = np.sum((X - centres[0]) ** 2, axis=1)  # (n,)
    while len(centres) < k:
        check_distinct(nearest, centres, k)
        drawn = rng.choice(len(X), p=nearest / nearest.sum())
        centres.append(X[drawn])
        nearest = np.minimum(nearest, np.sum((X - X[drawn]) ** 2, axis=1))
    return np.array(centres)


# --8<-- [end:seeding]


# --8<-- [start:k-means]
def k_means(X, k, seeding=plus_plus_seeds, restarts=10, seed=0):
    """The best of several runs of lloyd, by inertia; returns what it does."""
    X = check_points(X)
    check_count("k", k, len(X))
    check_count("restarts", restarts)
    rng = np.random.default_rng(seed)
    middle = np.mean(X, axis=0)  # far from zero, squares run out of digits
    X = X - middle
    runs = [lloyd(X, seeding(X, k, rng)) for _ in range(restarts)]
    centres, *rest = min(runs, key=lambda run: run[2])
    return centres + middle, *rest


# --8<-- [end:k-means]


if __name__ == "__main__":
    # --8<-- [start:digits]
    from sklearn.datasets import load_digits

    digits = load_digits()
    X = digits.data  # (1797, 64), brightness from 0 to 16
    centres, labels, inertia, steps = k_means(X, k=10)
    alone = np.sum((X - X.mean(axis=0)) ** 2)
    print(f"{len(X)} images of {X.shape[1]} pixels")
    print(f"inertia with  1 centre   {alone / 1000:7.1f} thousand")
    print(f"inertia with 10 centres  {inertia / 1000:7.1f} thousand")
    # --8<-- [end:digits]

    # --8<-- [start:centres]
    import matplotlib.pyplot as plt

    majority = [np.bincount(digits.target[labels == j]) for j in range(10)]
    by_digit = sorted(range(10), key=lambda j: majority[j].argmax())
    fig, axes = plt.subplots(2, 5)
    for ax, j in zip(axes.flat, by_digit, strict=True):
        ax.imshow(centres[j].reshape(8, 8), cmap="cividis")
        share = majority[j].max() / majority[j].sum()
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{majority[j].argmax()}: {share:.0%}")
    plt.show()
    # --8<-- [end:centres]

    # --8<-- [start:seeds]
    from sklearn.datasets import load_wine

    wine = load_wine()
    proline = wine.data[:, [12]]  # (178, 1), an amino acid, mg/l
    runs = {}
    for name, data in {"digits": X, "proline": proline}.items():
        for seeding in (random_seeds, plus_plus_seeds):
            starts = (
                seeding(data, 10, np.random.default_rng(seed))
                for seed in range(50)
            )
            ends = sorted(lloyd(data, start)[2] for start in starts)
            runs[name, seeding.__name__] = np.array(ends)
    print("inertia of single runs over the best found, 50 seeds")
    for (name, seeding), ends in runs.items():
        best = min(runs[name, s][0] for n, s in runs if n == name)
        low, middle, high = np.quantile(ends / best, (0.1, 0.5, 0.9))
        print(f"{name:8}{seeding:16}  median {middle:.3f}, ", end="")
        print(f"8 in 10 from {low:.3f} to {high:.3f}")
    # --8<-- [end:seeds]

    # --8<-- [start:seeds-figure]
    fig, axes = plt.subplots(1, 2, layout="constrained")
    for ax, data in zip(axes, ("digits", "proline"), strict=True):
        best = min(ends[0] for (n, _), ends in runs.items() if n == data)
        for (name, seeding), ends in runs.items():
            if name == data:
                label = seeding.replace("_seeds", "").replace("_", "-")
                ax.plot(range(1, 51), ends / best, label=label)
        ax.set(title=data, xlabel="run, best first")
    axes[0].set_ylabel("inertia over the best")
    axes[0].legend()
    plt.show()
    # --8<-- [end:seeds-figure]

    # --8<-- [start:spread]
    print("chance that the farthest tenth of the points is drawn next")
    for name, data in {"digits": X, "proline": proline}.items():
        shares = []
        for seed in range(20):
            nine = plus_plus_seeds(data, 9, np.random.default_rng(seed))
            nearest = nine[nearest_centre(data, nine)]
            distance = np.sort(np.sum((data - nearest) ** 2, axis=1))
            tenth = distance[-(len(data) // 10) :]
            shares.append(tenth.sum() / distance.sum())
        print(f"{name:8}{np.mean(shares):.2f}")
    # --8<-- [end:spread]


# --8<-- [start:pca]
def pca(X, n_components):
    """Principal components of X, by singular value decomposition.

    Returns the mean (d,), the components (n_components, d), orthonormal
    rows, and the variances along all min(n, d) directions, falling.
    """
    X = check_points(X)
    check_count("n_components", n_components, min(X.shape))
    if len(X) < 2:
        raise ValueError(f"X: expected at least 2 rows, got {len(X)}")
    mean = X.mean(axis=0)
    _, singular, directions = np.linalg.svd(X - mean, full_matrices=False)
    variances = singular**2 / (len(X) - 1)
    return mean, largest_positive(directions[:n_components]), variances


def largest_positive(components):
    """Flip rows so that the largest entry of each, by size, is positive."""
    rows = np.arange(len(components))
    columns = np.abs(components).argmax(axis=1)
    return components * np.sign(components[rows, columns])[:, None]


# --8<-- [end:pca]


if __name__ == "__main__":
    # --8<-- [start:reconstruct]
    mean, components, variances = pca(X, n_components=64)
    print(" m  share of the variance  error per image  variances dropped")
    for m in (2, 8, 32, 64):
        codes = (X - mean) @ components[:m].T  # (n, m)
        restored = mean + codes @ components[:m]  # (n, 64)
        error = np.sum((X - restored) ** 2) / (len(X) - 1)
        share = variances[:m].sum() / variances.sum()
        dropped = variances[m:].sum()
        print(f"{m:2d}  {share:21.3f}  {error:15.3f}  {dropped:17.3f}")
    # --8<-- [end:reconstruct]

    # --8<-- [start:faces]
    fig, axes = plt.subplots(4, 8)
    for row, m in zip(axes, (2, 8, 32, 64), strict=True):
        codes = (X[:8] - mean) @ components[:m].T
        for ax, image in zip(row, mean + codes @ components[:m], strict=True):
            ax.imshow(image.reshape(8, 8), cmap="cividis", vmin=0, vmax=16)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{m}", rotation=0, ha="right", va="center")
    fig.supylabel("components kept")
    plt.show()
    # --8<-- [end:faces]


# --8<-- [start:covariance]
def pca_of_tall(X, n_components):
    """As pca, from the (d, d) covariance: quick for n much above d.

    Squaring the data halves the digits that small variances are good for.
    """
    X = check_points(X)
    check_count("n_components", n_components, min(X.shape))
    if len(X) < 2:
        raise ValueError(f"X: expected at least 2 rows, got {len(X)}")
    mean = X.mean(axis=0)
    centred = X - mean
    covariance = centred.T @ centred / (len(X) - 1)  # (d, d)
    variances, directions = np.linalg.eigh(covariance)  # ascending
    variances = np.maximum(variances[::-1][: len(X)], 0)  # rounding, below
    falling = directions.T[::-1]  # a direction a row
    return mean, largest_positive(falling[:n_components]), variances


# --8<-- [end:covariance]


if __name__ == "__main__":
    # --8<-- [start:digits-lost]
    rng = np.random.default_rng(0)
    along, across = rng.normal(size=(2, 1000)) * [[1.0], [1e-10]]
    thin = np.column_stack([along - across, along + across])  # a diagonal
    right = 2 * np.var(across, ddof=1)
    for method in (pca, pca_of_tall):
        small = method(thin, 2)[2][1]
        good = abs(small / right - 1) < 0.1
        print(f"{method.__name__:12} small variance within a tenth: {good}")
    # --8<-- [end:digits-lost]


# --8<-- [start:log-sum-exp]
def log_sum_exp(scores):
    """log(sum(exp(scores))) along each row, without overflow."""
    scores = np.asarray(scores, dtype=float)
    largest = scores.max(axis=1)  # (n,)
    return largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1))


# --8<-- [end:log-sum-exp]


# --8<-- [start:e-step]
def log_joint(X, weights, means, covariances):
    """log(weight * density) of each point in each component, (n, k)."""
    X = np.asarray(X, dtype=float)
    try:
        roots = np.linalg.cholesky(covariances)  # (k, d, d), lower
    except np.linalg.LinAlgError:
        raise FloatingPointError(
            "a component has collapsed: its covariance is singular; "
            "raise floor, or start elsewhere"
        ) from None
    log_det = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    distance = np.empty((len(X), len(weights)))
    for j, root in enumerate(roots):
        whitened = (X - means[j]) @ np.linalg.inv(root).T  # (n, d)
        distance[:, j] = np.sum(whitened**2, axis=1)
    constant = X.shape[1] * np.log(2 * np.pi)
    return np.log(weights) - (constant + log_det + distance) / 2


def e_step(X, weights, means, covariances):
    """Responsibilities (n, k), and the mean log-likelihood of a point."""
    joint = log_joint(X, weights, means, covariances)
    evidence = log_sum_exp(joint)  # (n,)
    return np.exp(joint - evidence[:, None]), evidence.mean()


# --8<-- [end:e-step]


# --8<-- [start:m-step]
def m_step(X, responsibilities, floor=1e-6):
    """Weights (k,), means (k, d) and covariances (k, d, d) that fit best.

    floor is added to each variance.
    """
    X, responsibilities = np.asarray(X, float), np.asarray(responsibilities)
    n, d = X.shape
    counts = responsibilities.sum(axis=0)  # (k,), points a component has
    if not counts.all():
        raise FloatingPointError("a component has no points: use fewer")
    means = responsibilities.T @ X / counts[:, None]
    covariances = np.empty((len(counts), d, d))
    for j, mean in enumerate(means):
        centred = X - mean
        weighted = responsibilities[:, j, None] * centred
        covariances[j] = weighted.T @ centred / counts[j]
    return counts / n, means, covariances + floor * np.eye(d)


# --8<-- [end:m-step]


# --8<-- [start:check-guess]
def check_responsibilities(X, responsibilities):
    """Those as floats; ValueError unless each row of the (n, k) sums to 1."""
    responsibilities = np.asarray(responsibilities, dtype=float)
    shape = responsibilities.shape
    if len(shape) != 2 or shape[0] != len(X) or not 1 <= shape[1] <= len(X):
        raise ValueError(
            f"responsibilities: expected shape ({len(X)}, k) with "
            f"1 <= k <= {len(X)}, got {shape}"
        )
    total = np.sum(responsibilities, axis=1)
    worst = total[np.abs(total - 1).argmax()]
    if not (np.min(responsibilities) >= 0 and abs(worst - 1) < 1e-6):
        raise ValueError(
            "responsibilities: expected rows >= 0 that sum to 1, "
            f"got a row that sums to {worst:g} or a negative entry"
        )
    return responsibilities


# --8<-- [end:check-guess]


# --8<-- [start:mixture]
def fit_mixture(X, responsibilities, floor=1e-6, tol=1e-3, max_steps=100):
    """Fit a Gaussian mixture by EM, from a first guess of who is whose.

    Stops when the mean log-likelihood changes by less than tol. Returns
    (weights, means, covariances), and the log-likelihood at each step.
    """
    X = check_points(X)
    responsibilities = check_responsibilities(X, responsibilities)
    check_count("max_steps", max_steps)
    if not 0 <= floor < np.inf:
        raise ValueError(f"floor: expected a number >= 0, got {floor}")
    fitted = m_step(X, responsibilities, floor)
    log_likelihoods, before = [], -np.inf
    while len(log_likelihoods) < max_steps:
        responsibilities, log_likelihood = e_step(X, *fitted)
        fitted = m_step(X, responsibilities, floor)
        log_likelihoods.append(log_likelihood)
        if abs(log_likelihood - before) < tol:
            break
        before = log_likelihood
    return fitted, log_likelihoods


# --8<-- [end:mixture]


if __name__ == "__main__":
    # --8<-- [start:iris]
    from sklearn.datasets import load_iris
    from sklearn.metrics import adjusted_rand_score

    iris = load_iris()
    flowers, species = iris.data, iris.target  # (150, 4) in cm, (150,)
    _, clusters, *_ = k_means(flowers, k=3)
    start = np.eye(3)[clusters]  # (150, 3), each row a single 1
    fitted, log_likelihoods = fit_mixture(flowers, start)
    groups = e_step(flowers, *fitted)[0].argmax(axis=1)
    print(f"log-likelihood of a flower, first step {log_likelihoods[0]:.4f}")
    print(f"                             last step {log_likelihoods[-1]:.4f}")
    print("agreement with the species (1 is perfect, 0 is chance)")
    print(f"  k-means {adjusted_rand_score(species, clusters):.2f}")
    print(f"  mixture {adjusted_rand_score(species, groups):.2f}")
    print(f"flowers that changed groups: {np.sum(groups != clusters)}")
    # --8<-- [end:iris]

    # --8<-- [start:ellipses]
    fig, ax = plt.subplots()
    turn = np.linspace(0, 2 * np.pi, 100)
    circle = 2 * np.column_stack([np.cos(turn), np.sin(turn)])  # (100, 2)
    pair = [2, 3]  # petal length and width
    for j, marker in enumerate("osd"):
        seen = flowers[species == j][:, pair]
        ax.plot(*seen.T, marker, color=f"C{j}", label=iris.target_names[j])
        root = np.linalg.cholesky(fitted[2][j][np.ix_(pair, pair)])
        ax.plot(*(fitted[1][j, pair] + circle @ root.T).T, color="C4", ls="-")
    moved = flowers[clusters != groups][:, pair]
    ax.plot(*moved.T, "o", color="C4", label="moved by EM", ms=12, mfc="none")
    ax.set(xlabel="petal length (cm)", ylabel="petal width (cm)")
    ax.legend(loc="upper left")
    plt.show()
    # --8<-- [end:ellipses]

    # --8<-- [start:agree]
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    library = KMeans(10, n_init=10, random_state=0).fit(X)
    print(f"inertia, ours over theirs   {inertia / library.inertia_:.4f}")
    theirs = PCA().fit(X)
    kept = theirs.components_[:20], components[:20]
    cosines = np.abs(np.sum(kept[0] * kept[1], axis=1))
    print(f"first 20 components, up to sign: {np.allclose(cosines, 1)}")
    same = np.allclose(theirs.explained_variance_, variances)
    print(f"all 64 variances:                {same}")
    # --8<-- [end:agree]

    # --8<-- [start:agree-mixture]
    from sklearn.mixture import GaussianMixture

    weights, means, covariances = m_step(flowers, start)
    theirs = GaussianMixture(
        3,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
    ).fit(flowers)
    found = theirs.weights_, theirs.means_, theirs.covariances_
    print(f"steps: ours {len(log_likelihoods)}, theirs {theirs.n_iter_}")
    for name, ours, other in zip(
        ("weights", "means", "covariances"), fitted, found, strict=True
    ):
        same = np.allclose(ours, other, rtol=1e-8)
        print(f"same {name}: {same}")
    # --8<-- [end:agree-mixture]

    # --8<-- [start:speed]
    import json
    from importlib.resources import files

    folder = files("snippets.fundamentals")
    record = folder.joinpath("unsupervised_learning.results.json")
    speed = json.loads(record.read_text("utf-8"))["results"]
    print("time over scikit-learn's")
    print("                  on the lesson's data  on 100 times as much")
    for method, rows in speed.items():
        first, last = rows[0]["ratio"], rows[-1]["ratio"]
        print(f"{method:16}  {first:20.2f}  {last:20.2f}")
    # --8<-- [end:speed]

    # --8<-- [start:growth]
    fig, ax = plt.subplots()
    markers = "osd^"
    for (method, rows), marker in zip(speed.items(), markers, strict=True):
        amount = [row["n"] / rows[0]["n"] for row in rows]
        seconds = [row["ours"] for row in rows]
        ax.loglog(amount, seconds, marker=marker, label=method)
    ax.set(xlabel="times the lesson's data", ylabel="seconds")
    ax.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    ax.minorticks_off()
    ax.legend()
    plt.show()
    # --8<-- [end:growth]

    # --8<-- [start:unscaled]
    scaled = (wine.data - wine.data.mean(axis=0)) / wine.data.std(axis=0)
    shares = wine.data.var(axis=0) / wine.data.var(axis=0).sum()
    print(f"share of the variance that is proline's: {shares[12]:.3f}")
    for name, data in {"raw": wine.data, "scaled": scaled}.items():
        _, found, *_ = k_means(data, k=3)
        score = adjusted_rand_score(wine.target, found)
        print(f"agreement with the grapes, {name:7}{score:.2f}")
    # --8<-- [end:unscaled]

    # --8<-- [start:too-many]
    print("     inertia per flower     log-likelihood of a flower")
    print("k     seen   held out         seen   held out")
    for k in range(1, 7):
        scores = []
        for seed in range(10):  # 100 flowers to fit, 50 held out
            order = np.random.default_rng(seed).permutation(150)
            seen, held_out = flowers[order[:100]], flowers[order[100:]]
            middles, found, *_ = k_means(seen, k, restarts=5, seed=seed)
            nearest = middles[nearest_centre(held_out, middles)]
            wide, trace = fit_mixture(seen, np.eye(k)[found], floor=1e-3)
            scores.append(
                [
                    np.sum((seen - middles[found]) ** 2) / 100,
                    np.sum((held_out - nearest) ** 2) / 50,
                    trace[-1],
                    e_step(held_out, *wide)[1],
                ]
            )
        a, b, c, d = np.mean(scores, axis=0)
        spread = np.std(scores, axis=0)[3]
        print(f"{k}  {a:7.2f}  {b:9.2f}  {c:11.2f}  {d:9.2f} ± {spread:.2f}")
    # --8<-- [end:too-many]

    # --8<-- [start:spike]
    weights, means, covariances = fitted
    print("width of the 4th (cm)  log-likelihood of a flower")
    for width in (1e-1, 1e-3, 1e-6, 1e-12, 1e-24):
        _, log_likelihood = e_step(
            flowers,
            np.append(weights * 149 / 150, 1 / 150),
            np.vstack([means, flowers[0]]),
            np.concatenate([covariances, [width**2 * np.eye(4)]]),
        )
        print(f"{width:21.0e}  {log_likelihood:.3f}")
    # --8<-- [end:spike]

    # --8<-- [start:collapse]
    lonely = np.eye(4)[np.where(np.arange(150) == 0, 3, clusters)]
    try:
        fit_mixture(flowers, lonely, floor=0.0)
    except FloatingPointError as error:
        print(error)
    (weights, *_), _ = fit_mixture(flowers, lonely, floor=1e-3)
    print(f"with a floor it holds {150 * weights[3]:.1f} flowers")
    # --8<-- [end:collapse]

    # --8<-- [start:starts]
    ends = {}
    for floor in (1e-6, 1e-3):
        ends[floor] = []
        # Seed 10 starts with a flower as near to one centre as to another.
        for seed in (*range(10), *range(11, 101)):
            seeds = random_seeds(flowers, 3, np.random.default_rng(seed))
            guess = np.eye(3)[nearest_centre(flowers, seeds)]
            found, trace = fit_mixture(flowers, guess, floor, 1e-4, 200)
            groups = e_step(flowers, *found)[0].argmax(axis=1)
            score = adjusted_rand_score(species, groups)
            ends[floor].append((trace[-1], score, found))
        log_likelihood, score, _ = max(ends[floor], key=lambda end: end[0])
        print(f"floor {floor:.0e}: likeliest of 100 starts ", end="")
        print(f"{log_likelihood:.2f}, its agreement {score:.2f}")
    # --8<-- [end:starts]

    # --8<-- [start:starts-figure]
    fig, ax = plt.subplots()
    for (floor, points), marker in zip(ends.items(), "ox", strict=True):
        log_likelihoods, scores, _ = zip(*points, strict=True)
        name = f"floor {floor:.0e} cm²"
        ax.plot(log_likelihoods, scores, marker, label=name)
    ax.set_xlabel("log-likelihood of a flower")
    ax.set_ylabel("agreement with the species")
    ax.legend(loc="lower right")
    plt.show()
    # --8<-- [end:starts-figure]

    # --8<-- [start:flat]
    *_, found = max(ends[1e-6], key=lambda end: end[0])
    flattest = np.linalg.det(found[2]).argmin()
    groups = e_step(flowers, *found)[0].argmax(axis=1)
    widths = flowers[groups == flattest, 3]
    print(f"flowers in the flattest group: {len(widths)}")
    print(f"their petal widths in cm: {np.unique(widths)}")
    # --8<-- [end:flat]


# --8<-- [start:components-for]
def components_for(variances, share):
    """How many components it takes to keep that share of the variance."""
    if not 0 < share <= 1:
        raise ValueError(f"share: expected 0 < share <= 1, got {share}")
    enough = share * (1 - 1e-12) * np.sum(variances)
    return int(np.argmax(np.cumsum(variances) >= enough)) + 1


# --8<-- [end:components-for]


if __name__ == "__main__":
    # --8<-- [start:solution-components]
    for share in (0.5, 0.9, 0.99):
        count = components_for(variances, share)
        print(f"{share:.0%} of the variance: {count} of 64 components")
    # --8<-- [end:solution-components]


# --8<-- [start:bic]
def bic(mean_log_likelihood, n, d, k):
    """The Bayesian information criterion of a mixture: small is good."""
    free = (k - 1) + k * d + k * d * (d + 1) // 2
    return free * np.log(n) - 2 * n * mean_log_likelihood


# --8<-- [end:bic]


if __name__ == "__main__":
    # --8<-- [start:solution-bic]
    for k in range(1, 6):
        guess = np.eye(k)[k_means(flowers, k)[1]]
        _, trace = fit_mixture(flowers, guess, 1e-3, 1e-5, 500)
        print(f"k {k}  BIC {bic(trace[-1], 150, 4, k):.1f}")
    # --8<-- [end:solution-bic]


# --8<-- [start:greedy]
def greedy_seeds(X, k, rng, tries=4):
    """As plus_plus_seeds, but keep the best of several draws each time."""
    X = np.asarray(X, dtype=float)
    centres = [X[rng.integers(len(X))]]
    nearest = np.sum((X - centres[0]) ** 2, axis=1)  # (n,)
    while len(centres) < k:
        check_distinct(nearest, centres, k)
        drawn = rng.choice(len(X), size=tries, p=nearest / nearest.sum())
        left = [
            np.minimum(nearest, np.sum((X - X[i]) ** 2, axis=1)) for i in drawn
        ]
        best = np.argmin([distance.sum() for distance in left])
        nearest = left[best]
        centres.append(X[drawn[best]])
    return np.array(centres)


# --8<-- [end:greedy]


if __name__ == "__main__":
    # --8<-- [start:solution-greedy]
    for name, data in {"digits": X, "proline": proline}.items():
        best = min(runs[name, s][0] for n, s in runs if n == name)
        for tries in (1, 2, 4, 8, 16):
            starts = (
                greedy_seeds(data, 10, np.random.default_rng(seed), tries)
                for seed in range(50)
            )
            again = [lloyd(data, start)[2] / best for start in starts]
            low, middle, high = np.quantile(again, (0.1, 0.5, 0.9))
            print(f"{name:8}tries {tries:2d}  median {middle:.3f}, ", end="")
            print(f"8 in 10 from {low:.3f} to {high:.3f}")
    # --8<-- [end:solution-greedy]
