"""Scaling, filling and encoding a table equal scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import autompg_data
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from snippets.fundamentals.data_preprocessing import (
    Imputer,
    OneHot,
    Scaler,
    damage,
    prepare,
    read_cars,
)
from snippets.fundamentals.supervised_learning import split

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)
labels = st.lists(st.sampled_from("abcde"), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def cars():
    return read_cars()


def holed_table(seed, n=30, d=4, share=0.3):
    """A table of noise with NaN, and a number in each column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * 10.0 ** np.arange(d)
    X[1:][rng.random((n - 1, d)) < share] = np.nan
    return X


def test_the_cars_are_read_as_they_stand(cars):
    X, mpg = autompg_data()
    assert list(cars)[5:] == ["year", "origin", "name", "mpg"]
    for index, name in enumerate(list(cars)[:7]):
        assert cars[name].dtype.kind == "U"
        assert np.array_equal(cars[name].astype(float), X[:, index])
    assert np.array_equal(cars["mpg"].astype(float), mpg)
    assert cars["name"][0] == "chevrolet chevelle malibu"
    assert np.isnan(X[:, 7]).all()


def test_scaling_helps_neighbours_in_each_split(cars):
    """Five neighbours err by 15 percent less, at least."""
    X = np.column_stack([cars[name].astype(float) for name in [*cars][:6]])
    y = 1 / cars["mpg"].astype(float)
    for seed in range(5):
        train, _, test = split(len(y), seed)
        scaled = Scaler().fit(X[train]).transform(X)
        errors = []
        for Z in (X, scaled):
            model = KNeighborsRegressor(5).fit(Z[train], y[train])
            errors.append(np.mean((model.predict(Z[test]) - y[test]) ** 2))
        assert errors[1] ** 0.5 < 0.85 * errors[0] ** 0.5


@few
@given(seeds, st.booleans())
def test_the_scaler_equals_scikit_learns(seed, robust):
    """To twelve digits, robust or not, with a constant column too."""
    rng = np.random.default_rng(seed)
    train, new = rng.normal(size=(2, 15, 3)) * [1, 10, 100] + 5
    train[:, 1] = 0.1  # constant, though rounding gives it a deviation
    theirs = (RobustScaler() if robust else StandardScaler()).fit(train)
    ours = Scaler(robust).fit(train).transform(new)
    assert np.allclose(ours, theirs.transform(new), rtol=1e-12, atol=1e-12)


def test_a_column_that_hardly_varies_is_only_centred():
    # Nine of ten values are equal, so the quartiles are.
    mostly = np.array([[0.0]] * 9 + [[1.0]])
    scaled = Scaler(robust=True).fit(mostly).transform(mostly)
    assert scaled[:, 0].tolist() == 9 * [0] + [1]
    assert Scaler().fit([[0], [2]]).transform([[0], [2]]).tolist() == [
        [-1],
        [1],
    ]


def test_a_gap_is_not_scaled_in_silence():
    for robust in (False, True):
        with pytest.raises(AssertionError, match="X has gaps: impute first"):
            Scaler(robust).fit([[1.0], [np.nan]])


def test_one_slip_presses_all_others_together_unless_scaling_is_robust(cars):
    """To a twentieth; with quartiles they change by less than 1 percent."""
    X = cars["weight"].astype(float)[:, None]
    slip = X.copy()
    slip[0] *= 100
    for robust, low, high in ((False, 0.04, 0.06), (True, 0.99, 1.01)):
        clean = Scaler(robust).fit(X).transform(X)[1:].std()
        pressed = Scaler(robust).fit(slip).transform(slip)[1:].std()
        assert low < pressed / clean < high


@few
@given(seeds, st.sampled_from(["mean", "median"]), st.booleans())
def test_the_imputer_equals_scikit_learns(seed, strategy, indicator):
    """On rows that fit never saw, too, with and without an indicator."""
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
    X = np.array([[1.0], [3.0], [np.nan]])
    assert Imputer().fit(X).transform(X).tolist() == [[1], [3], [2]]
    with pytest.raises(AssertionError, match="a column of X has no number"):
        Imputer().fit([[1.0, np.nan], [2.0, np.nan]])


@few
@given(seeds)
def test_filling_with_the_mean_leaves_a_share_of_the_variance(seed):
    """The share that is known, exactly, for any column."""
    X = holed_table(seed, d=1)
    known = np.isfinite(X)
    filled = Imputer().fit(X).transform(X)
    expected = known.mean() * X[known].var()
    assert filled.var() == pytest.approx(expected, rel=1e-10)


def test_filling_with_the_mean_shrinks_a_correlation_by_the_square_root():
    """Of the share that is known, where gaps fall at random."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    y = x + rng.normal(size=100_000)
    holes = damage(y, seed=1)[:, None]
    filled = Imputer().fit(holes).transform(holes)[:, 0]
    r = np.corrcoef(x, filled)[0, 1]
    assert r == pytest.approx(np.sqrt(0.7 / 2), abs=0.01)


def test_damage_takes_its_share_at_random_or_from_the_high_only():
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


def test_damage_spares_the_low_where_some_are_missing_already():
    values = np.append(np.arange(1000.0), np.nan)
    lost = np.isnan(damage(values, 0, only_high=True))[:-1]
    assert 0.5 < lost[500:].mean() < 0.7
    assert not lost[:500].any()
    assert np.isnan(damage(np.arange(200, dtype=np.uint8), 0)).any()


@few
@given(labels, labels)
def test_one_hot_and_codes_equal_scikit_learns(train, new):
    """With labels that fit never saw, too."""
    old, fresh = np.array(train), np.array(new)
    ours = OneHot(unknown="ignore").fit(old)
    theirs = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    expected = theirs.fit(old[:, None]).transform(fresh[:, None])
    assert np.array_equal(ours.transform(fresh), expected)
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1
    )
    expected = ordinal.fit(old[:, None]).transform(fresh[:, None])[:, 0]
    assert ours.codes(fresh).tolist() == expected.tolist()


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
    """None and NaN alike, in lists, arrays and columns of pandas."""
    assert OneHot().fit(labels).codes(labels).tolist() == codes
    ours = OneHot().fit(labels).transform(labels)
    column = np.array(labels, dtype=object)[:, None]
    column[[label != label for label in column[:, 0]]] = None
    theirs = OneHotEncoder(sparse_output=False).fit_transform(column)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("index", [[2, 1, 0], [7, 8, 9]])
def test_a_label_that_fit_never_saw_is_refused_by_name(index):
    """Or it gets a row of zeros, if that was asked for."""
    column = pd.Series(["a", "b", "zz"], index)
    with pytest.raises(ValueError, match="fit never saw 'zz'"):
        OneHot().fit(["a", "b"]).transform(column)
    with pytest.raises(ValueError, match="fit never saw 'None'"):
        OneHot().fit(["a"]).codes(["a", np.nan])
    lenient = OneHot(unknown="ignore").fit(["a", "b"])
    assert lenient.transform(column).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_labels_are_one_column_and_no_table():
    # The names of a table's columns aren't its labels.
    with pytest.raises(AssertionError, match=r"labels: \(n,\), not \(2, 1\)"):
        OneHot().fit(pd.DataFrame({"make": ["audi", "fiat"]}))
    assert OneHot().fit(["a", "b"]).transform([]).shape == (0, 2)


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


def test_a_shuffled_table_is_read_by_place_and_not_by_label():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (40, 3))
    names = np.array(["a", "b", None, "c"], object)[rng.integers(0, 4, 40)]
    index = rng.permutation(40)
    table = pd.DataFrame(X.astype(np.uint8), index)
    found = prepare(table, pd.Series(names, index + 3), np.arange(20))
    assert np.allclose(found, prepare(X / 1.0, names, np.arange(20)))


def test_an_indicator_helps_where_gaps_tell_something(cars):
    """It explains 40 percent of what is left; with gaps at random, none."""
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
