"""The report on memory: what it counts, compares and leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from twin.validation.run_memory import memory_report


@dataclass(frozen=True, kw_only=True)
class Row:
    run_id: str
    source_id: str = "somebody"
    task: str = "pretrain"
    measured_memory_bytes: float | None = 100.0
    predicted_memory_bytes: float = 100.0
    fits_memory: bool = True


def test_errors_are_those_of_rows_that_state_memory():
    rows = [
        Row(run_id="a", predicted_memory_bytes=110.0),
        Row(run_id="b", predicted_memory_bytes=80.0, source_id="another"),
        Row(run_id="c", measured_memory_bytes=None, predicted_memory_bytes=1e9),
    ]
    report = memory_report(rows)
    assert report.rows == 2
    assert report.mape == pytest.approx(0.15)
    assert report.bias == pytest.approx(-0.05)
    assert [(group.name, group.n) for group in report.by_source] == [
        ("another", 1),
        ("somebody", 1),
    ]
    assert report.by_source[0].bias == pytest.approx(-0.2)


def test_fine_tuning_is_left_out():
    report = memory_report([Row(run_id="a", task="sft"), Row(run_id="b", task="lora")])
    assert report.rows == 0
    assert report.median_ape is None
    assert report.by_source == []


def test_runs_that_ran_and_are_predicted_not_to_fit_are_named():
    rows = [
        Row(run_id="a", fits_memory=False),
        Row(run_id="b"),
        Row(run_id="c", fits_memory=False, measured_memory_bytes=None),
    ]
    report = memory_report(rows)
    assert report.n_predicted_not_to_fit == 1
    assert report.predicted_not_to_fit == ["a"]
    assert report.all_runs_predicted_not_to_fit == ["a", "c"]
    assert report.by_source[0].n_predicted_not_to_fit == 1


def test_a_figure_inside_the_interval_counts_as_covered():
    rows = [Row(run_id="a"), Row(run_id="b", predicted_memory_bytes=1000.0)]
    assert memory_report(rows).interval_coverage == 0.5
