"""The fits find what they should, set aside what they should, and write what profiles read."""

import os
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import Calibration, GemmCalibration, Provenance
from kernels.calibration.device_figures import load_device_figures
from kernels.calibration.fit_gemm import GEMM_BOUNDS, GemmFitter, gemm_machine
from kernels.calibration.measurements import MeasurementError, Table, read_table
from kernels.calibration.recipe_gemm import _rows as gemm_rows
from kernels.calibration.render import rendered_tables
from kernels.calibration.session import Session
from kernels.calibration.simplex import Bound, fit_parameters, judge
from kernels.calibration.split import HELDOUT_PARTS, is_heldout

TRUTH = {
    "tensor_efficiency_fraction": 0.8,
    "memory_efficiency_fraction": 0.75,
    "launch_s": 3e-6,
    "feed_ratio": 6.0,
    "fill_depth": 150.0,
    "wave_smoothing_fraction": 0.8,
    "split_s": 2e-6,
    "droop_fraction": 0.1,
    "droop_time_s": 4e-3,
    "overlap_exponent": 6.0,
}


def measured_folder() -> Path:
    root = os.environ.get("TWEELING_DATA_DIR", str(Path(__file__).parents[2] / ".." / "shared"))
    folder = Path(root) / "measurements"
    if not folder.is_dir():
        pytest.skip(f"no measurements at {folder}: set TWEELING_DATA_DIR")
    return folder


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


def test_errors_of_a_model_that_is_ten_percent_slow():
    measured = np.array([1.0, 2.0, 3.0])
    errors = judge(1.1 * measured, measured)
    assert errors.median_ape_fraction == pytest.approx(0.1)
    assert errors.log_spread == pytest.approx(0.0, abs=1e-12)
    assert errors.log_bias == pytest.approx(-np.log(1.1))


def synthetic_rows(fitter, machine, overhead):
    rng = np.random.default_rng(3)
    sizes = np.floor(2.0 ** rng.uniform(4.0, 14.0, size=(1500, 3)))
    times_s = fitter.predict_s(sizes, "bf16", machine, overhead)
    names = ("m", "n", "k")
    columns = {name: sizes[:, column].copy() for column, name in enumerate(names)}
    return Table(columns=columns | {"latency_us": times_s * 1e6})


def test_a_fit_recovers_a_machine_from_its_own_times():
    fitter = GemmFitter()
    figures = load_device_figures()["H100-SXM5-80GB"]
    rows = synthetic_rows(fitter, gemm_machine(figures, "bf16", TRUTH), {})
    fit = fitter.fit(rows, figures, "bf16")
    assert fit.heldout is not None
    assert fit.heldout.median_ape_fraction < 0.02
    efficiency = fit.parameters["tensor_efficiency_fraction"]
    assert efficiency == pytest.approx(TRUTH["tensor_efficiency_fraction"], rel=0.05)


def test_harness_time_does_not_end_up_in_the_launch_floor():
    fitter = GemmFitter()
    figures = load_device_figures()["H100-SXM5-80GB"]
    machine = gemm_machine(figures, "bf16", TRUTH)
    rows = synthetic_rows(fitter, machine, {"harness_s": 30e-6})
    bounds = {name: Bound(low=value, high=value, start=value) for name, value in TRUTH.items()}
    bounds["harness_s"] = Bound(low=1e-6, high=60e-6, start=5e-6)
    fit = fitter.fit(rows, figures, "bf16", bounds=bounds)
    assert fit.overhead["harness_s"] == pytest.approx(30e-6, rel=0.02)
    assert fit.parameters["launch_s"] == TRUTH["launch_s"]


def test_written_tables_are_what_a_profile_reads():
    provenance = Provenance(
        figure_class="fitted", source='a "quoted" source', relative_spread_fraction=0.05
    )
    one = Calibration(gemm={"bf16": GemmCalibration(**TRUTH, provenance=provenance)})
    text = rendered_tables({"some-device": one})
    read = msgspec.convert(tomllib.loads(text)["calibration"], Calibration)
    assert read == one


def test_a_missing_table_names_its_path(tmp_path):
    with pytest.raises(MeasurementError, match=r"gemm\.parquet"):
        read_table(tmp_path / "gemm.parquet", ("m",))


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "ops.csv"
    path.write_text("device,op\nx,add\n")
    with pytest.raises(MeasurementError, match="rows"):
        read_table(path, ("device", "rows"))


@pytest.mark.parametrize(
    ("device", "bar", "bar_large"),
    [("A100-SXM4-80GB", 0.07, 0.05), ("H100-SXM5-80GB", 0.07, 0.055)],
)
def test_gemm_on_weight_shapes_set_aside_is_within_a_few_percent(device, bar, bar_large):
    session = Session(folder=measured_folder())
    fit = GemmFitter().fit(gemm_rows(session, device, "bf16"), session.figures[device], "bf16")
    assert fit.heldout is not None
    assert fit.heldout_large is not None
    assert fit.heldout.median_ape_fraction < bar
    assert fit.heldout_large.median_ape_fraction < bar_large
    for name, bound in GEMM_BOUNDS.items():
        assert bound.low <= fit.parameters[name] <= bound.high
