"""The split, the search and the tables that all fits share."""

import numpy as np
import pytest

from kernels.calibration.simplex import Bound, fit_parameters, judge
from kernels.calibration.split import HELDOUT_PARTS, is_heldout
from kernels.measurement_tables import (
    MeasurementError,
    Table,
    column_names,
    read_table,
    require_positive,
)


def test_the_split_is_by_key_and_near_a_fifth():
    keys = [(n, k) for n in range(64, 8192, 128) for k in range(64, 8192, 128)]
    share = np.mean([is_heldout("gemm", key) for key in keys])
    assert share == pytest.approx(1 / HELDOUT_PARTS, abs=0.02)
    assert is_heldout("gemm", (4096, 4096)) == is_heldout("gemm", (4096, 4096))


def test_the_search_stays_inside_bounds_and_keeps_what_is_pinned():
    bounds = {
        "free": Bound(low=0.1, high=1.0, start=0.5),
        "pinned": Bound(low=2.0, high=2.0, start=2.0),
    }
    found = fit_parameters(lambda values: (values["free"] - 7.0) ** 2, bounds, n_evaluations=60)
    assert 0.95 < found["free"] <= 1.0
    assert found["pinned"] == 2.0


def test_scattered_starts_find_the_deeper_of_two_valleys():
    def loss(values):
        place = np.log(values["x"])
        return min(1.0 + (place - 1.0) ** 2, 2.0 * (place + 3.0) ** 2)

    bounds = {"x": Bound(low=np.exp(-5.0), high=np.exp(5.0), start=np.exp(1.0))}
    near = fit_parameters(loss, bounds, n_evaluations=80)
    far = fit_parameters(loss, bounds, n_evaluations=80, n_scattered=50)
    assert np.log(near["x"]) == pytest.approx(1.0, abs=0.05)
    assert np.log(far["x"]) == pytest.approx(-3.0, abs=0.05)


def test_errors_of_a_model_that_is_ten_percent_slow():
    measured = np.array([1.0, 2.0, 3.0])
    errors = judge(1.1 * measured, measured)
    assert errors.median_ape_fraction == pytest.approx(0.1)
    # An interval has to reach over a bias as well.
    assert errors.log_spread == pytest.approx(np.log(1.1) / 0.6745, rel=1e-3)
    assert errors.log_bias == pytest.approx(-np.log(1.1))
    assert errors.in_words.startswith("median 10.0 %")


def test_a_missing_table_names_its_path(tmp_path):
    with pytest.raises(MeasurementError, match=r"gemm\.parquet"):
        read_table(tmp_path / "gemm.parquet", ("m",))


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "ops.csv"
    path.write_text("device,op\nx,add\n")
    with pytest.raises(MeasurementError, match="rows"):
        read_table(path, ("device", "rows"))


def test_a_column_may_have_a_default(tmp_path):
    path = tmp_path / "gemm.csv"
    path.write_text("device,m\nx,64\ny,128\n")
    table = read_table(path, ("device", "m", "batch"), defaults={"batch": 1.0})
    assert list(table["batch"]) == [1.0, 1.0]
    assert list(table["device"]) == ["x", "y"]
    assert column_names(path) == ("device", "m")


@pytest.mark.parametrize("value", ["nan", "-3", "0", "inf", "text"])
def test_a_value_that_is_no_size_names_row_column_and_value(tmp_path, value):
    path = tmp_path / "gemm.csv"
    path.write_text(f"device,m\nx,64\ny,{value}\n")
    table = read_table(path, ("device", "m"))
    with pytest.raises(MeasurementError, match=r"line \d: m = .*above 0"):
        require_positive(table, ("m",), path=path)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(MeasurementError, match="unequal length"):
        Table(columns={"a": np.zeros(2), "b": np.zeros(3)})
