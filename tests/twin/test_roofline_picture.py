"""The picture of a roofline: what is on it, where it stands, that words are text."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from tests.tui.fake_shelf import ROOFS, layer_rows, measured_rows
from twin.kernel_columns import concatenated
from twin.roofline_marks import MOST_MARKS, marks_of
from twin.roofline_report import MeasuredSource, RooflineReport

SVG = "{http://www.w3.org/2000/svg}"


def report_of(columns, *, words="mine <&> $x$.csv"):
    source = MeasuredSource(words=words, date="2026-11-26", n_rows=6)
    return RooflineReport(
        device="alpha-80",
        title="The <alpha> & 80 $5",
        roofs=ROOFS,
        columns=columns,
        sources=(source,),
        layer="llama-3-8b tp1 4k",
    )


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    pytest.importorskip("matplotlib")
    from twin.roofline_picture import write_roofline

    path = tmp_path_factory.mktemp("picture") / "roofline.svg"
    report = report_of(concatenated([measured_rows(), layer_rows()]))
    write_roofline(report, path=path, option="--out", made_by="Twin 1")
    first = path.read_bytes()
    write_roofline(report, path=path, option="--out", made_by="Twin 1")
    assert path.read_bytes() == first
    return ElementTree.parse(path).getroot()


def groups_of(root):
    return {one.get("id"): one for one in root.iter(f"{SVG}g") if one.get("id")}


def texts_of(root):
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def marks(root, name):
    return list(groups_of(root)[name].iter(f"{SVG}use"))


def test_every_ceiling_is_drawn_and_labelled(picture):
    assert {"peak-fp8", "peak-bf16", "ceiling-memory", "ceiling-cache"} <= set(groups_of(picture))
    said = " ".join(texts_of(picture))
    for words in ("fp8", "2.00 Pflop/s", "memory 4.00 TB/s", "cache 20.0 TB/s (fitted)"):
        assert words in said


def test_measured_is_filled_predicted_hollow_and_a_line_joins_them(picture):
    groups = groups_of(picture)
    assert len(marks(picture, "matrix-0-measured")) == 6
    # Two kernels of the layer were not measured: hollow, and without a line.
    assert len(marks(picture, "matrix-0-predicted")) == 8
    assert len(list(groups["matrix-0-lines"].iter(f"{SVG}path"))) == 6
    assert "fill: none" in ElementTree.tostring(groups["matrix-0-predicted"], encoding="unicode")


def test_words_are_text_and_say_axes_units_source_and_date(picture):
    said = texts_of(picture)
    assert "arithmetic intensity, flop/byte" in said
    assert "arithmetic rate, flop/s" in said
    assert "rate of traffic, byte/s" in said
    everything = " ".join(said)
    assert "The <alpha> & 80 $5" in everything
    assert "mine <&> $x$.csv, 2026-11-26" in everything
    assert {"GEMM", "attention", "memory-bound", "collectives", "bf16"} <= set(said)


def test_places_are_intensity_and_rate_and_without_matrix_work_traffic():
    matrix = marks_of(measured_rows(), is_matrix_work=True)
    (group,) = matrix.groups
    assert group.x.tolist() == pytest.approx([1e3 * (row + 1) for row in range(6)])
    assert group.measured[0] == pytest.approx(1e12 / 2e-3)
    streams = marks_of(layer_rows(), is_matrix_work=False)
    assert {one.family for one in streams.groups} == {"stream", "collective"}
    stream = next(one for one in streams.groups if one.family == "stream")
    assert (stream.x[0], stream.predicted[0]) == (3e9, 3e12)
    assert np.isnan(stream.measured).all()


def test_many_neighbours_share_marks_and_are_counted():
    found = marks_of(measured_rows(2000), is_matrix_work=True)
    assert found.n_measured == 2000
    assert 0 < found.n_drawn <= MOST_MARKS
    assert sum(len(group.x) for group in found.groups) == found.n_drawn


def test_a_device_without_kernels_has_a_roof(tmp_path):
    pytest.importorskip("matplotlib")
    from twin.roofline_picture import write_roofline

    empty = concatenated([])
    path = tmp_path / "empty.svg"
    write_roofline(report_of(empty), path=path, option="--out", made_by="Twin 1")
    assert "peak-bf16" in groups_of(ElementTree.parse(path).getroot())
