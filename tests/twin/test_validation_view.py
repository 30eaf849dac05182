"""Looking through predicted runs: tables, groups, filters, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hardware_profiles.errors import TweelingError
from tests.twin.predicted_runs import RUNS, run
from twin.predict import Predictor
from twin.validation_view import (
    ALL,
    GROUPINGS,
    OTHER,
    RunTable,
    ValidationView,
    error_of,
    errors_by,
    largest_groups,
    run_filter,
    runs_command,
    shown_runs,
)

BY_SOURCE = next(one for one in GROUPINGS if one.name == "source")


def ids(text, *, side="left out"):
    wanted = run_filter(text)
    shown = shown_runs(RUNS, wanted, side=side)
    return [one.run_id for one, is_shown in zip(RUNS, shown, strict=True) if is_shown]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder of data."""
    (tmp_path / "published_runs").mkdir()
    monkeypatch.setenv("TWEELING_DATA_DIR", str(tmp_path))
    return tmp_path / "published_runs"


def test_tables_that_are_there_then_the_built_in_one(data):
    view = ValidationView(Predictor())
    assert [table.is_built_in for table in view.tables()] == [True]
    (data / "runs_more.csv").write_text("run_id\n")
    assert [table.name for table in view.tables()] == ["runs_more.csv", "built-in table"]


def test_the_built_in_table_is_predicted_and_kept(data):
    view = ValidationView(Predictor())
    (own,) = view.tables()
    report = view.report(own.path)
    assert report.predicted == len(report.runs) > 50
    assert view.report(own.path) is report


def test_a_table_that_is_not_there_is_refused(data):
    with pytest.raises(TweelingError, match=r"absent\.csv"):
        ValidationView(Predictor()).report(data / "absent.csv")


def test_the_command_names_the_file_unless_it_is_built_in():
    table = RunTable(name="my runs.csv", path=Path("/data/my runs.csv"))
    folders = (Path("/mine"),)
    command = runs_command(table, profile_dirs=folders)
    assert command == "twin validate runs '/data/my runs.csv' --profiles /mine"
    own = RunTable(name="built-in table", path=Path("/x.csv"), is_built_in=True)
    assert runs_command(own, profile_dirs=()) == "twin validate runs"


def test_groups_add_up_to_all_runs():
    for grouping in GROUPINGS:
        every, *groups = errors_by(RUNS, grouping)
        assert every.name == ALL
        assert every.n == sum(group.n for group in groups) == len(RUNS)
        mean = sum(group.n * group.left_out_mape for group in groups) / every.n
        assert mean == pytest.approx(every.left_out_mape)
    assert errors_by([], GROUPINGS[0]) == []


def test_the_smallest_groups_are_called_other():
    runs = [run(number, source=f"lab_{number % 5}") for number in range(12)]
    assert largest_groups(runs, BY_SOURCE, n_most=5) == (
        "lab_0",
        "lab_1",
        "lab_2",
        "lab_3",
        "lab_4",
    )
    assert largest_groups(runs, BY_SOURCE, n_most=3) == ("lab_0", "lab_1", OTHER)


def test_each_side_has_its_error():
    assert error_of(RUNS[7], "left out") == 0.09
    assert error_of(RUNS[7], "in-sample") == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vendor:amd", ["lab_three-0005", "lab_three-0006"]),
        ("err>15", ["lab_two-0003"]),
        ("in>15", ["lab_two-0003", "lab_three-0006"]),
        ("out<-10", ["lab_two-0004"]),
        ("source=lab_two fp8", ["lab_two-0004"]),
        ("missed:yes -vendor:amd", ["lab_two-0003"]),
        ("fits:no", ["lab_two-0003"]),
        ("why:repair family:cdna3", ["lab_three-0006"]),
        ('sharding="fsdp (zero3)"', ["lab_three-0005"]),
        ("devices>=64 time>10", ["lab_one-0007"]),
        ("time>10000ms", ["lab_one-0007"]),
        ("memory>70 device:beta", ["lab_three-0005"]),
        ("memory:n/a vendor:amd", ["lab_three-0006"]),
        ("nothing of the kind", []),
    ],
)
def test_filters_find(text, found):
    assert run_filter(text).problem is None
    assert ids(text) == found


def test_a_bare_error_is_that_of_the_side_shown():
    assert ids("err>15", side="in-sample") == ["lab_two-0003", "lab_three-0006"]


@pytest.mark.parametrize("text", ["vendor>5", "err>x", "time>3kg", "colour:red", "err>"])
def test_a_term_that_is_wrong_is_said_and_left_out(text):
    assert run_filter(text).problem
    assert ids(text) == [one.run_id for one in RUNS]


def test_looking_imports_neither_arrays_nor_plots(repository):
    program = (
        "import sys, twin.validation_view;"
        "print(sorted({'numpy', 'pandas', 'matplotlib', 'textual', 'scipy'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=repository, check=True
    )
    assert answer.stdout.strip() == "[]"
