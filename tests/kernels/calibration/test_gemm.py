"""GEMM fits: constants come back, libraries keep what is theirs, families carry over."""

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import GemmCalibration, GemmImplementation, Provenance
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.gemm import calibrate_gemm, family_gemm
from kernels.calibration.gemm_fit import GemmFitter, gemm_bounds
from kernels.calibration.gemm_rows import balanced_weights, gemm_rows, merged_over_libraries
from kernels.calibration.session import Session
from kernels.measurement_tables import Table

PROVENANCE = Provenance(figure_class="fitted", source="test", relative_spread_fraction=0.05)
TRUTH = GemmCalibration(
    tensor_efficiency_fraction=0.8,
    memory_efficiency_fraction=0.75,
    launch_s=3e-6,
    feed_bytes_per_clock=62.0,
    fill_depth=150.0,
    fill_repeat_fraction=0.8,
    wave_smoothing_fraction=0.8,
    split_s=2e-6,
    droop_fraction=0.1,
    droop_time_s=4e-3,
    overlap_exponent=6.0,
    implementations={
        "vllm": GemmImplementation(rate_ratio=0.9, overhead_s=4e-6, provenance=PROVENANCE)
    },
    provenance=PROVENANCE,
)
FITTER = GemmFitter()


@pytest.fixture(scope="module")
def h100():
    return Catalogue().accelerator("h100-sxm")


def sizes_of(n_shapes):
    rng = np.random.default_rng(3)
    sizes = np.floor(2.0 ** rng.uniform(4.0, 14.0, size=(n_shapes, 3)))
    return np.column_stack([sizes, np.ones(n_shapes)])


def table_of(sizes, times_s, libraries, dtype="bf16"):
    names = ("m", "n", "k", "batch")
    columns = {name: sizes[:, number].copy() for number, name in enumerate(names)}
    columns["dtype"] = np.full(len(sizes), dtype, dtype=object)
    columns["library"] = np.array(libraries, dtype=object)
    return Table(columns=columns | {"latency_us": times_s * 1e6})


def rows_of(device, n_shapes=450, *, libraries=("trtllm-1",), dtype="bf16", truth=TRUTH):
    """Times of the model itself, for each library."""
    sizes = np.vstack([sizes_of(n_shapes)] * len(libraries))
    names = [name for name in libraries for _ in range(n_shapes)]
    rows = gemm_rows(table_of(sizes, np.ones(len(sizes)), names, dtype), dtype)
    times_s = FITTER.rows_times_s(rows, device, truth)
    return gemm_rows(table_of(sizes, times_s, names, dtype), dtype)


def aligned_rows_of(device, truth):
    """Shapes of which some have a depth of 32768, at times of the model itself."""
    sizes = sizes_of(600)
    sizes[::5, 2] = 32768.0
    names = ["trtllm-1"] * len(sizes)
    rows = gemm_rows(table_of(sizes, np.ones(len(sizes)), names, "fp32"), "fp32")
    times_s = FITTER.rows_times_s(rows, device, truth)
    return gemm_rows(table_of(sizes, times_s, names, "fp32"), "fp32")


def median_error(device, rows, fitted):
    seen = rows.where(rows.is_heldout)
    return np.median(np.abs(FITTER.rows_times_s(seen, device, fitted) / seen.measured_s - 1.0))


def test_a_fit_recovers_a_machine_from_its_own_times(h100):
    rows = rows_of(h100)
    fitted = FITTER.fit(rows, h100)
    assert median_error(h100, rows, fitted) < 0.02
    efficiency = fitted.tensor_efficiency_fraction
    assert efficiency == pytest.approx(TRUTH.tensor_efficiency_fraction, rel=0.05)
    for name, bound in gemm_bounds(h100).items():
        assert bound.low <= getattr(fitted, name) <= bound.high


def test_conflicts_of_strides_are_fitted_where_rows_show_them(h100):
    conflicted = msgspec.structs.replace(TRUTH, stride_conflict_ratio=60.0)
    rows = aligned_rows_of(h100, conflicted)
    fitted = FITTER.fit(rows, h100)
    assert fitted.stride_conflict_ratio > 10.0
    assert median_error(h100, rows, fitted) < 0.03
    assert FITTER.fit(aligned_rows_of(h100, TRUTH), h100).stride_conflict_ratio == 0.0


def test_what_one_library_adds_stays_with_it(h100):
    rows = rows_of(h100, 700, libraries=("trtllm-1", "vllm-2"))
    fitted = FITTER.fit(rows, h100)
    vllm, trtllm = fitted.implementations["vllm"], fitted.implementations["trtllm"]
    # Shapes are merged by their median, so that half of the 4 us counts as launch.
    assert vllm.overhead_s - trtllm.overhead_s == pytest.approx(2e-6, abs=0.5e-6)
    assert vllm.rate_ratio / trtllm.rate_ratio == pytest.approx(0.9, abs=0.05)
    assert median_error(h100, rows, fitted) < 0.03


def test_conversions_do_not_end_up_in_the_launch_floor(h100):
    converting = GemmImplementation(
        overhead_s=10e-6, conversion_bytes_per_element=8.0, provenance=PROVENANCE
    )
    truth = msgspec.structs.replace(TRUTH, implementations={"trtllm": converting})
    fitted = FITTER.fit(rows_of(h100, 600, dtype="fp8", truth=truth), h100)
    found = fitted.implementations["trtllm"]
    assert found.overhead_s == pytest.approx(10e-6, rel=0.2)
    assert found.conversion_bytes_per_element == pytest.approx(8.0, rel=0.2)
    assert fitted.residual is None


def test_a_thin_table_stays_near_its_family(h100):
    rows = rows_of(h100, 30)
    slow = rows.measured_s * 1.5
    thin = gemm_rows(table_of(rows.sizes, slow, ["trtllm-1"] * len(slow)), "bf16")
    fitted = FITTER.fit(thin, h100, prior=TRUTH)
    for name in ("feed_bytes_per_clock", "fill_depth", "launch_s"):
        assert getattr(fitted, name) == pytest.approx(getattr(TRUTH, name), rel=0.6)


def test_a_thin_table_without_relatives_is_pulled_towards_the_profile(h100, tmp_path, monkeypatch):
    lines = [f"h100-sxm,bf16,{64 * n},4096,4096,1,bench,{n}.5,TWEELING" for n in range(1, 41)]
    head = "device,dtype,m,n,k,batch,library,latency_us,source_id"
    (tmp_path / "gemm.csv").write_text("\n".join([head, *lines]) + "\n")
    priors = []

    def fit(_fitter, _rows, _accelerator, *, prior=None):
        priors.append(prior)
        return TRUTH

    monkeypatch.setattr(GemmFitter, "fit", fit)
    calibrate_gemm(Session(folder=tmp_path))
    assert priors == [h100.calibration.gemm["bf16"]]


def test_large_shapes_count_for_half(h100):
    rows = rows_of(h100)
    weights = balanced_weights(rows)
    assert weights[rows.is_large].sum() == pytest.approx(0.5)
    assert weights.sum() == pytest.approx(1.0)


def test_libraries_are_merged_by_the_median(h100):
    rows = rows_of(h100, 50, libraries=("trtllm-1", "vllm-2"))
    merged = merged_over_libraries(rows)
    assert len(merged.sizes) == 50
    both = [rows.measured_s[:50], rows.measured_s[50:]]
    order = np.lexsort(rows.sizes[:50].T[::-1])
    assert merged.measured_s == pytest.approx(np.mean(both, axis=0)[order])


def test_a_family_is_the_mean_of_its_members_with_a_wider_interval():
    other = msgspec.structs.replace(TRUTH, tensor_efficiency_fraction=0.2)
    (family,) = family_gemm([{"bf16": TRUTH}, {"bf16": other}], source="two").values()
    assert family.tensor_efficiency_fraction == pytest.approx(0.4)
    assert family.launch_s == pytest.approx(TRUTH.launch_s)
    assert family.provenance.figure_class == "inherited"
    assert family.provenance.relative_spread_fraction > PROVENANCE.relative_spread_fraction
    assert family.residual is None
    assert family.stride_conflict_ratio == 0.0
    assert set(family.implementations) == {"vllm"}


@pytest.mark.parametrize("is_batch_seen", [True, False])
def test_a_library_that_overlooks_the_batch_is_told_from_one_that_sees_it(h100, is_batch_seen):
    own = GemmImplementation(is_batch_seen=is_batch_seen, provenance=PROVENANCE)
    truth = msgspec.structs.replace(TRUTH, implementations={"rocblas-bmm": own})
    sizes = np.floor(2.0 ** np.random.default_rng(5).uniform(5.0, 10.0, size=(120, 4)))
    names = ["rocblas:torch.bmm"] * len(sizes)
    rows = gemm_rows(table_of(sizes, np.ones(len(sizes)), names, "fp32"), "fp32")
    rows = gemm_rows(table_of(sizes, FITTER.rows_times_s(rows, h100, truth), names, "fp32"), "fp32")
    found = FITTER.with_libraries(rows, h100, TRUTH).implementations["rocblas-bmm"]
    assert found.is_batch_seen == is_batch_seen
