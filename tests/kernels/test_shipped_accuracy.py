"""The shipped profiles on keys that no fit has seen: what the project promises of its kernels.

Bars are those the project set itself before it fitted anything. Rows come from a folder of public
measurements and are skipped without it.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.calibration.gemm_rows import gemm_rows
from kernels.calibration.split import is_heldout
from kernels.families.inheritance import completed_calibration
from kernels.measurement_tables import read_table
from kernels.prediction.attention import AttentionTimes
from kernels.prediction.gemm import GEMM_COLUMNS, GemmTimes
from kernels.prediction.operations import OperationTimes

CATALOGUE = Catalogue()
SERVER_PARTS = ("H100-SXM5-80GB", "H200-SXM-141GB", "B200-SXM")
FP8_PARTS = (*SERVER_PARTS, "GB200", "RTX-PRO-6000-BSE")
ATTENTION_COLUMNS = (
    *("device", "dtype", "batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "causal"),
    *("direction", "library", "latency_us"),
)


def measured_folder() -> Path:
    root = os.environ.get("TWEELING_DATA_DIR", str(Path(__file__).parents[2] / ".." / "shared"))
    folder = Path(root) / "measurements"
    if not folder.is_dir():
        pytest.skip(f"no measurements at {folder}: set TWEELING_DATA_DIR")
    return folder


@pytest.fixture(scope="module")
def products():
    return read_table(measured_folder() / "gemm.parquet", GEMM_COLUMNS)


@pytest.fixture(scope="module")
def calls():
    return read_table(measured_folder() / "attention.parquet", ATTENTION_COLUMNS)


@pytest.fixture(scope="module")
def gemm_times():
    return GemmTimes()


@pytest.fixture(scope="module")
def attention_times():
    return AttentionTimes()


def errors_of(times, rows, device):
    accelerator = CATALOGUE.accelerator(device)
    predicted_s = times.times_s(rows, accelerator, completed_calibration(accelerator))
    return np.abs(predicted_s / (rows["latency_us"] * 1e-6) - 1.0)


@pytest.mark.parametrize(
    ("device", "dtype", "median_bar", "mean_bar", "large_bar"),
    [
        *((device, "bf16", 0.06, 0.085, 0.05) for device in ("A100-SXM4-80GB", *SERVER_PARTS)),
        *((device, "fp8", 0.06, 0.10, None) for device in FP8_PARTS),
        ("MI355X", "bf16", 0.10, None, None),
        ("MI355X", "fp8", 0.07, None, None),
        ("MI355X", "fp8_block128", 0.07, None, None),
        ("MI300X", "fp8_block128", 0.06, None, None),
    ],
)
def test_products_of_weights_set_aside(
    products, gemm_times, device, dtype, median_bar, mean_bar, large_bar
):
    table = products.where((products["device"] == device) & (products["dtype"] == dtype))
    rows = gemm_rows(table, dtype)
    errors = errors_of(gemm_times, table, device)
    aside = rows.is_heldout
    assert aside.sum() > 100
    assert np.median(errors[aside]) <= median_bar
    if mean_bar is not None:
        assert np.mean(errors[aside]) <= mean_bar
    if large_bar is not None:
        assert np.median(errors[aside & rows.is_large]) <= large_bar


def test_memory_bound_operations_of_an_h100_small_enough_for_its_cache():
    columns = ("device", "op", "dtype", "rows", "cols", "latency_us")
    rows = read_table(measured_folder() / "ops.csv", columns)
    errors = errors_of(
        OperationTimes(), rows.where(rows["device"] == "H100-SXM5-80GB"), "H100-SXM5-80GB"
    )
    assert len(errors) > 20
    assert np.median(errors) <= 0.02


@pytest.mark.parametrize("device", ["A100-SXM4-80GB", *SERVER_PARTS, "GB200", "RTX-PRO-6000-BSE"])
def test_attention_of_heads_set_aside(calls, attention_times, device):
    rows = calls.where((calls["device"] == device) & (calls["direction"] == "fwd"))
    heads = zip(rows["heads_q"], rows["heads_kv"], rows["head_dim"], strict=True)
    kept = {key: is_heldout("attention", tuple(int(part) for part in key)) for key in set(heads)}
    heads = zip(rows["heads_q"], rows["heads_kv"], rows["head_dim"], strict=True)
    aside = rows.where(np.array([kept[key] for key in heads]))
    errors = errors_of(attention_times, aside, device)
    assert len(errors) > 1000
    assert np.median(errors) <= 0.07
    assert np.mean(errors) <= 0.10


@pytest.mark.parametrize(
    ("device", "bar"),
    [("h100-sxm", 0.09), ("h200-sxm", 0.09), ("b200-sxm", 0.09), ("gb200", 0.09), ("mi300x", 0.18)],
)
def test_profiles_say_how_their_relatives_alone_would_have_done(device, bar):
    provenance = CATALOGUE.accelerator(device).calibration.gemm["bf16"].provenance
    assert provenance.left_out_median_ape_fraction is not None
    assert provenance.left_out_median_ape_fraction <= bar


@pytest.mark.parametrize("device", ["h100-sxm", "h200-sxm"])
def test_products_that_we_measured_ourselves_and_never_fitted(gemm_times, device):
    folder = Path(__file__).parents[2] / "kernels" / "measured" / device
    table = read_table(folder / "gemm.csv", GEMM_COLUMNS, defaults={"batch": 1.0})
    rows = table.where(table["dtype"] == "bf16")
    errors = errors_of(gemm_times, rows, device)
    assert len(errors) > 500
    assert np.median(errors) <= 0.06
    assert np.mean(errors) <= 0.085
