import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.errors import TweelingError
from twin.validation.runs_table import PublishedRun, RunsError, read_runs

DATA = Path(os.environ.get("TWEELING_DATA_DIR", "../shared")) / "published_runs"
needs_runs = pytest.mark.skipif(
    not (DATA / "runs.csv").is_file(), reason="TWEELING_DATA_DIR has no published_runs"
)


def write(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def read_one(tmp_path, **cells):
    cells = {"run_id": "a-1", **cells}
    rows = [",".join(cells), ",".join(f'"{value}"' for value in cells.values())]
    (run,) = read_runs(write(tmp_path, "\n".join(rows) + "\n"))
    return run


def test_figures_come_in_base_units(tmp_path):
    run = read_one(
        tmp_path,
        params_b="8.03",
        tflops_per_device="400",
        mfu="41.25",
        energy_wh="2",
        memory_gb="80",
        time_to_train_min="3",
    )
    assert run.n_parameters == pytest.approx(8.03e9)
    assert run.flop_per_s_per_device == pytest.approx(400e12)
    assert run.mfu == pytest.approx(0.4125)
    assert run.energy_j == 7200
    assert run.memory_bytes == 80e9
    assert run.run_time_s == 180


def test_memory_is_gib_where_the_notes_say_so(tmp_path):
    run = read_one(tmp_path, memory_gb="80", notes="memory in GiB, peak")
    assert run.memory_bytes == 80 * 2**30


@pytest.mark.parametrize(("text", "value"), [("True", True), ("False", False), ("", None)])
def test_truth_values_know_the_blank(tmp_path, text, value):
    assert read_one(tmp_path, flash_attention=text).has_flash_attention is value


def test_a_missing_column_reads_as_blank(tmp_path):
    assert read_one(tmp_path) == PublishedRun(run_id="a-1")


def test_an_unknown_column_is_passed_over(tmp_path):
    assert read_one(tmp_path, colour="blue") == PublishedRun(run_id="a-1")


def test_whole_numbers_may_carry_a_point(tmp_path):
    assert read_one(tmp_path, layers="32.0").n_layers == 32


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    path = write(tmp_path, "\ufeffrun_id,tp\n\na-1,8\n\n")
    assert [run.tp for run in read_runs(path)] == [8]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run_id,layers\na,many\n", r':2: column layers: "many"; expected a whole number'),
        ("run_id,layers\na,32\nb,1.5\n", r':3: column layers: "1.5"; expected a whole number'),
        ("run_id,tp\na,0\n", r':2: column tp: "0"; expected a whole number of at least 1'),
        ("run_id,tp\na,1e999\n", r':2: column tp: "1e999"; expected a whole number'),
        ("run_id,step_time_s\na,nan\n", r':2: column step_time_s: "nan"; expected a number above'),
        ("run_id,step_time_s\na,-1\n", r':2: column step_time_s: "-1"; expected a number above'),
        ("run_id,gated_mlp\na,yes\n", r':2: column gated_mlp: "yes"; expected True or False'),
        ("run_id,tp\na,1\na,2\n", r':3: run_id "a" stands in line 2 already'),
        ("run_id,tp,pp\na,1\n", r":2: line ends early: 2 cells up to column tp, expected 3"),
        ("run_id,tp\na,1,1\n", r":2: line is too long: 3 cells up to column tp, expected 2"),
        ('run_id,notes\na,"the end is mis', r":2: not CSV: unexpected end of data"),
        ("run_id,tp\n,1\n", r":2: column run_id is blank"),
        ("name,tp\na,1\n", r":1: no column run_id"),
        ("", r":1: no column run_id"),
        ("run_id,tp,tp\na,1,1\n", r":1: column tp stands twice"),
        ('run_id,notes,tp\na,"two\nlines",1\nb,x,y\n', r':4: column tp: "y"'),
    ],
)
def test_a_bad_table_is_told_by_file_line_column_and_value(tmp_path, text, told):
    path = write(tmp_path, text)
    with pytest.raises(RunsError, match=r"runs\.csv" + told) as caught:
        read_runs(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(TweelingError, match=r"none\.csv: No such file"):
        read_runs(tmp_path / "none.csv")


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(b"run_id\n\xff\xfe\n")
    with pytest.raises(RunsError, match="is not UTF-8 text"):
        read_runs(path)


def test_a_stated_step_time_wins_over_a_rate():
    run = PublishedRun(
        run_id="a",
        step_time_s=2.0,
        tokens_per_s_per_device=1.0,
        global_batch=8,
        seq_len=16,
        n_devices=4,
    )
    assert run.measured_step_time_s == 2.0


@given(
    step_time_s=st.floats(1e-3, 1e3),
    global_batch=st.integers(1, 10_000),
    seq_len=st.integers(1, 2**20),
    n_devices=st.integers(1, 20_000),
)
def test_a_rate_gives_back_the_step_time_it_came_from(
    step_time_s, global_batch, seq_len, n_devices
):
    rate = global_batch * seq_len / (step_time_s * n_devices)
    run = PublishedRun(
        run_id="a",
        tokens_per_s_per_device=rate,
        global_batch=global_batch,
        seq_len=seq_len,
        n_devices=n_devices,
    )
    assert run.measured_step_time_s == pytest.approx(step_time_s)


def test_a_rate_without_a_batch_gives_no_step_time():
    run = PublishedRun(run_id="a", tokens_per_s_per_device=1e3, seq_len=2048, n_devices=8)
    assert run.measured_step_time_s is None


@needs_runs
@pytest.mark.parametrize(
    ("name", "n_rows"),
    [("runs.csv", 790), ("runs_more.csv", 220), ("runs_vtrain_single_node.csv", 900)],
)
def test_the_published_collection_reads(name, n_rows):
    runs = read_runs(DATA / name)
    assert len(runs) == n_rows
    for run in runs:
        rate, step_s = run.derived_tokens_per_s_per_device, run.measured_step_time_s
        if rate and step_s and run.global_batch and run.seq_len and run.n_devices:
            tokens = run.global_batch * run.seq_len / run.n_devices
            assert tokens / step_s == pytest.approx(rate, rel=3e-3), run.run_id


def test_a_name_that_is_nearly_a_column_is_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("run_id,step_tme_s\na,1\n", encoding="utf-8")
    with pytest.raises(RunsError, match='column "step_tme_s" is unknown; expected step_time_s'):
        read_runs(path)
    path.write_text("run_id,step_time_s,remark\na,1,slow\n", encoding="utf-8")
    assert len(read_runs(path)) == 1


def test_a_table_without_runs_is_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("run_id,step_time_s\n", encoding="utf-8")
    with pytest.raises(RunsError, match="no runs behind the header"):
        read_runs(path)
