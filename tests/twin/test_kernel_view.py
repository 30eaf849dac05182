"""Roofs, layers and measured tables of devices."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.measurement_tables import MeasurementError
from twin.kernel_columns import (
    FAMILIES,
    KernelColumns,
    concatenated,
    kernel_filter,
    mask_of,
    no_kernels,
)
from twin.kernel_tables import table_files
from twin.kernel_view import KernelView
from twin.scenario.resolve import Catalogues
from twin.table_kinds import table_kind

HEAD = "device,dtype,m,n,k,library,latency_us"


@pytest.fixture(scope="module")
def view():
    return KernelView(Catalogues.with_folders(()))


@pytest.fixture(scope="module")
def layers(view) -> KernelColumns:
    return view.layers("h200-sxm")


def read(view, device, path) -> KernelColumns:
    *_, last = view.measured(device, path)
    return last.columns


def test_roofs_are_the_figures_of_the_profile(view):
    roofs = view.roofs("h200-sxm")
    assert roofs.bytes_per_s("memory") == 4.8e12
    assert roofs.peak_flop_per_s("bf16") == 989e12
    assert roofs.bytes_per_s("cache") > roofs.bytes_per_s("memory") > roofs.bytes_per_s("link")
    rates = [peak.flop_per_s for peak in roofs.peaks]
    assert rates == sorted(rates, reverse=True)


def test_no_predicted_kernel_of_a_layer_beats_its_roof(layers):
    assert len(layers) > 300
    assert set(layers.family.tolist()) == set(range(len(FAMILIES)))
    matrix = layers.family <= 1
    assert (layers.share_fraction[matrix] <= 1.0).all()
    assert (layers.predicted_s > 0).all()


def test_a_device_without_a_cluster_has_layers_without_collectives(view):
    columns = view.layers("h200-nvl")
    assert len(columns)
    assert FAMILIES.index("collective") not in set(columns.family.tolist())


@pytest.mark.parametrize("device", ["h200-sxm", "host-cpu"])
def test_our_own_measurements_are_read_and_predicted(view, device):
    columns = read(view, device, view.own(device).folder)
    gemm = columns.where(columns.family == FAMILIES.index("gemm"))
    assert len(gemm)
    assert np.isfinite(gemm.predicted_s).all()
    # The host was timed on one core too, and its profile is of both.
    assert np.nanmedian(np.abs(gemm.error_fraction)) < 0.5
    assert "measured 20" in columns.point(0).origin


def test_what_is_read_elsewhere_is_left_out(view):
    folder = view.own("host-cpu").folder
    file = next(one for one in table_files(folder) if one.suffix == ".csv")
    whole, part = read(view, "host-cpu", folder), read(view, "host-cpu", file)
    *_, rest = view.measured("host-cpu", folder, elsewhere={file.resolve()})
    assert 0 < len(part) < len(whole)
    assert len(rest.columns) == len(whole) - len(part)
    assert not list(view.measured("host-cpu", file, elsewhere={folder.resolve()}))


def test_rows_of_other_devices_are_left_out(view, tmp_path):
    path = tmp_path / "mine.csv"
    rows = ["H200,bf16,4096,4096,4096,mm,200", "H100,bf16,4096,4096,4096,mm,200"]
    path.write_text("\n".join([HEAD, *rows, "NVIDIA H200,bf16,1024,1024,1024,mm,8"]) + "\n")
    columns = read(view, "h200-sxm", path)
    assert len(columns) == 2
    point = columns.point(0)
    assert point.shape == "4096 x 4096 x 4096"
    assert point.measured_s == pytest.approx(2e-4)
    assert point.flop == pytest.approx(2 * 4096**3)
    assert point.traffic_bytes == pytest.approx(3 * 4096**2 * 2)
    assert point.origin == "mine.csv"
    assert point.roof_share_fraction == pytest.approx(point.flop / 989e12 / 2e-4)


def test_a_table_can_be_stopped_at_any_batch(view):
    progress = next(view.measured("h200-sxm", view.own("h200-sxm").folder))
    assert 0 < len(progress.columns) == progress.n_kept


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ""])
def test_a_table_of_something_else_says_what_is_expected(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(MeasurementError, match=r"other\.csv: these columns"):
        table_kind(path)


def test_a_folder_without_tables_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(MeasurementError, match="no table of kernels"):
        table_files(tmp_path)
    with pytest.raises(MeasurementError, match="no such file"):
        table_files(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("family:gemm", lambda c: c.family == 0),
        ("attention", lambda c: c.family >= 0),
        ("m>=8192", lambda c: (c.family == 0) & (c.sizes[:, 0] >= 8192)),
        ("time>1ms", lambda c: c.time_s > 1e-3),
        ("share<50", lambda c: c.share_fraction < 0.5),
        ("measured:n/a", lambda c: np.isnan(c.measured_s)),
        ("-family:gemm seq=4k", lambda c: (c.family == 1) & (c.sizes[:, 3] == 4096)),
    ],
)
def test_filters_over_kernels(layers, text, holds):
    mask = mask_of(layers, kernel_filter(text))
    if text == "seq=4k":
        assert mask.any()
    if text == "attention":  # a word of a layer's name as well
        assert mask.sum() > (layers.family == 1).sum()
    elif "seq" not in text:
        assert (mask == holds(layers)).all()


def test_putting_rows_together_keeps_every_text(layers):
    both = concatenated([layers.where(layers.family == 1), layers.where(layers.family == 0)])
    n_attention = int((layers.family == 1).sum())
    assert both.point(0) == layers.where(layers.family == 1).point(0)
    assert both.point(n_attention) == layers.where(layers.family == 0).point(0)
    assert list(both.texts["name"]) == sorted(both.texts["name"])
    assert len(concatenated([])) == len(no_kernels()) == 0
