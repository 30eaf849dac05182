"""The report on published runs: the built-in table, what is left out, order, reasons."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from twin.predict import Predictor
from twin.similar_runs import Cell, similar_runs, width_of
from twin.validation.link_text import n_inter_node_links
from twin.validation.miss_reasons import MISSED_ABOVE, miss_reason
from twin.validation.predicted_run import SCALE_NAMES
from twin.validation.published import built_in_table
from twin.validation.run_ordering import ordering
from twin.validation.runs import validate_runs
from twin.validation.runs_table import read_runs
from twin.validation.similar_cells import similar_cells, similar_text

SHARED = Path(os.environ.get("TWEELING_DATA_DIR", "../shared")) / "published_runs"
has_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")


@pytest.fixture(scope="module")
def report():
    return validate_runs(built_in_table(), predictor=Predictor())


def test_the_built_in_table_is_small_and_cited():
    runs = read_runs(built_in_table())
    assert 50 <= len(runs) <= 100
    assert all(run.provenance.startswith("READ") for run in runs)
    assert len({run.source_id for run in runs}) >= 10


def test_the_built_in_table_is_predicted_within_the_usual_error(report):
    assert report.predicted == len(read_runs(built_in_table()))
    assert report.left_out.median_ape < 0.08
    assert report.left_out.p90_ape < 0.21
    assert report.interval_coverage > 0.7


def test_groups_and_totals_are_of_the_same_rows(report):
    for groups in (report.by_vendor, report.by_source, report.by_scale, report.by_precision):
        assert sum(group.n for group in groups) == report.predicted
    total = sum(group.n * group.left_out_mape for group in report.by_source)
    assert total / report.predicted == pytest.approx(report.left_out.mape)
    for group, left_out in zip(report.by_source, report.left_out.by_source, strict=True):
        assert (left_out.name, left_out.n) == (group.name, group.n)
        assert left_out.p90_ape == pytest.approx(group.left_out_p90_ape)


def test_scales_come_from_the_smallest_to_the_largest(report):
    names = [group.name for group in report.by_scale]
    assert names == [name for name in SCALE_NAMES if name in names]
    assert len(names) > 2


def test_errors_are_those_of_the_rows(report):
    for run in report.runs:
        expected = run.left_out_step_time_s / run.measured_step_time_s - 1.0
        assert run.left_out_signed_error == pytest.approx(expected)
        assert (run.why is None) == (max(run.ape, run.left_out_ape) <= MISSED_ABOVE)


def test_leaving_a_source_out_changes_its_prediction(report):
    changed = [r for r in report.runs if r.left_out_step_time_s != r.predicted_step_time_s]
    assert len(changed) > 0.9 * report.predicted


@dataclass(frozen=True)
class Run:
    measured_step_time_s: float
    predicted_step_time_s: float
    left_out_step_time_s: float
    source_id: str = "a"
    model_name: str = "m"
    device: str = "d"
    n_devices: int = 8
    global_batch: int = 64


def test_order_counts_pairs_that_differ_by_more_than_a_tenth():
    runs = [Run(1.0, 1.0, 3.0), Run(1.05, 0.5, 2.0), Run(2.0, 3.0, 1.0)]
    (total, _) = ordering(runs)
    assert (total.pairs, total.ordered_share, total.left_out_ordered_share) == (2, 1.0, 0.0)


def test_runs_of_other_batches_or_sources_are_no_pair():
    runs = [Run(1.0, 1.0, 1.0), Run(2.0, 2.0, 2.0, source_id="b"), Run(3.0, 3.0, 3.0, n_devices=4)]
    (total,) = ordering(runs)
    assert (total.pairs, total.ordered_share) == (0, None)


def test_a_run_within_fifteen_percent_needs_no_reason():
    assert miss_reason("vtrain_multi-0016", signed=0.15, breakdown={"a": 1.0}) is None
    assert "siblings" in miss_reason("vtrain_multi-0016", signed=-0.2, breakdown={"a": 1.0})


def test_an_unknown_miss_names_its_largest_term():
    why = miss_reason("nobody-0001", signed=0.4, breakdown={"gemm": 3.0, "pp_bubble": 1.0})
    assert why == "not known; the largest term is gemm with 75% of the prediction"


def test_cells_of_similar_runs_hold_every_run(report):
    cells = {(c.architecture, c.framework, c.width): c for c in similar_cells(report.runs)}
    assert cells["", "", ""].n == report.predicted
    by_family = [c.n for (a, f, w), c in cells.items() if a and not f and not w]
    assert sum(by_family) == report.predicted
    assert similar_text(list(cells.values())).count("[[cell]]") == len(cells)


def test_the_most_telling_cell_answers(monkeypatch):
    from tests.twin.machines import job

    def cell(architecture, framework, width, n):
        return Cell(
            architecture=architecture,
            framework=framework,
            width=width,
            n=n,
            median_ape=0.01 * n,
            p90_ape=0.1,
            bias=0.0,
        )

    width = width_of("bf16")
    cells = [
        cell("round", "megatron-core", width, 4),
        cell("round", "", width, 7),
        cell("", "", "", 100),
    ]
    found = {(c.architecture, c.framework, c.width): c for c in cells}
    monkeypatch.setattr("twin.similar_runs._cells", lambda: found)
    # Four runs of this framework say too little.
    assert similar_runs(job()).n == 7
    found.pop(("round", "", width))
    assert similar_runs(job()).n == 100
    found.clear()
    assert similar_runs(job()) is None


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("4x100 Gb/s RoCE", 4),
        ("8x400 Gb/s InfiniBand per node, Storage: 2x200 Gb/s", 8),
        ("RDMA 400 Gb/s per GPU", None),
        ("", None),
    ],
)
def test_links_are_counted_where_a_text_counts_them(text, n):
    assert n_inter_node_links(text) == n


BARS = {
    # beginnings of sources, mean error left out and in-sample
    "vtrain_multi": (0.095, 0.085),
    "korthikanti2022": (0.055, 0.045),
    "llm_foundry": (0.105, 0.075),
    "nvidia_dgxc": (0.06, 0.04),
    "nvidia_nemo_2407": (0.09, 0.08),
    "nvidia_nemo_launcher": (0.09, 0.08),
    "nvidia_megatron_bridge": (0.09, 0.08),
    "internevo_7b": (0.1, 0.07),
    "torchtitan": (0.1, 0.07),
    "mlperf": (0.08, 0.055),
    "simumax_b200": (0.08, 0.055),
}


def mean(errors):
    return sum(errors) / len(errors)


@has_shared
def test_the_collection_is_predicted_within_the_bars():
    report = validate_runs(SHARED / "runs.csv", predictor=Predictor())
    dense = report.dense
    assert dense["coverage"] >= 0.97
    assert dense["left_out_median_ape"] <= 0.08
    assert dense["left_out_p90_ape"] <= 0.21
    assert dense["median_ape"] <= 0.06
    assert dense["p90_ape"] <= 0.16
    for source, (left_out, fitted) in BARS.items():
        runs = [run for run in report.runs if run.source_id.startswith(source)]
        assert mean([run.left_out_ape for run in runs]) <= left_out, source
        assert mean([run.ape for run in runs]) <= fitted, source
    worst = max(run.ape for run in report.runs if run.source_id.startswith("korthikanti2022"))
    assert worst <= 0.1
    assert all(run.fits_memory for run in report.runs if run.measured_memory_bytes)
    orders = {one.name: one for one in report.ordering}
    assert orders["all"].left_out_ordered_share >= 0.82
    assert orders["vtrain_multi"].left_out_ordered_share >= 0.85


@has_shared
def test_single_nodes_are_predicted_within_the_bars():
    report = validate_runs(SHARED / "runs_vtrain_single_node.csv", predictor=Predictor())
    assert report.coverage == 1.0
    assert report.left_out.mape <= 0.1
    assert report.mape <= 0.075
