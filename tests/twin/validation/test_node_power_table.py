"""Tables of measured server power: base units, and one line for everything that is wrong."""

from __future__ import annotations

import pytest

from twin.validation.csv_rows import TableError
from twin.validation.node_power_table import read_node_power

ROW = {
    "mlperf_version": "v4.0",
    "submitter": "someone",
    "system": "64xBOX",
    "benchmark": "gpt3",
    "device": "H100",
    "nodes": "64",
    "devices_per_node": "8",
    "mean_run_min": "50",
    "mean_node_w": "6800",
    "min_node_w": "6700",
    "max_node_w": "6900",
    "measured_at": "server AC input",
}


def write(tmp_path, *rows, text=None):
    path = tmp_path / "power.csv"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if rows else []
    path.write_text("\n".join(lines) + "\n" if text is None else text)
    return path


def test_a_row_comes_in_base_units(tmp_path):
    (row,) = read_node_power(write(tmp_path, ROW))
    assert row.run_time_s == 3000.0
    assert row.energy_j == pytest.approx(6800.0 * 64 * 3000.0)
    assert row.meter == "ac"
    assert row.stated_supply_efficiency is None


def test_the_place_of_the_meter_decides(tmp_path):
    (row,) = read_node_power(
        write(tmp_path, {**ROW, "measured_at": "after the power supplies (DC)"})
    )
    assert row.meter == "dc"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("mean_node_w", "nan", "a number above 0"),
        ("mean_node_w", "-6800", "a number above 0"),
        ("mean_node_w", "0", "a number above 0"),
        ("mean_node_w", "lots", "a number above 0"),
        ("mean_node_w", "", "a number above 0"),
        ("mean_run_min", "inf", "a number above 0"),
        ("nodes", "6.5", "a whole number"),
        ("min_node_w", "6801", "at most the mean"),
        ("max_node_w", "6799", "at least the mean"),
        ("measured_at", "somewhere", "AC"),
        ("benchmark", "", "a name"),
    ],
)
def test_a_bad_cell_is_told_by_file_line_column_and_value(tmp_path, column, value, expected):
    path = write(tmp_path, ROW, {**ROW, column: value})
    with pytest.raises(TableError) as caught:
        read_node_power(path)
    message = str(caught.value)
    assert f"{path}:3" in message
    assert f'column {column}: "{value}"' in message
    assert expected in message


def test_a_column_that_nobody_knows_is_refused_with_the_nearest(tmp_path):
    path = write(tmp_path, {**ROW, "conversion_eff": "0.9"})
    with pytest.raises(TableError, match=r'unknown column "conversion_eff".*nearest is conversion'):
        read_node_power(path)


def test_a_missing_column_and_a_column_twice_are_refused(tmp_path):
    short = {key: value for key, value in ROW.items() if key != "measured_at"}
    with pytest.raises(TableError, match="no column measured_at"):
        read_node_power(write(tmp_path, short))
    text = ",".join([*ROW, "nodes"]) + "\n"
    with pytest.raises(TableError, match="nodes stands twice"):
        read_node_power(write(tmp_path, text=text))


@pytest.mark.parametrize(
    ("cut", "fault"), [(30, "line ends early"), (0, "holds no rows"), (-20, "unknown column")]
)
def test_a_file_that_ends_early_is_one_line(tmp_path, cut, fault):
    whole = write(tmp_path, ROW).read_text()
    header_end = whole.index("\n") + 1
    path = write(tmp_path, text=whole[: header_end + cut])
    with pytest.raises(TableError, match=fault):
        read_node_power(path)


def test_an_open_quote_and_bytes_that_are_no_text_are_refused(tmp_path):
    whole = write(tmp_path, ROW).read_text()
    with pytest.raises(TableError, match="not CSV"):
        read_node_power(write(tmp_path, text=whole + '"v4.0,'))
    path = tmp_path / "bytes.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="not UTF-8"):
        read_node_power(path)


def test_no_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(TableError, match="does not exist"):
        read_node_power(tmp_path / "absent.csv")
    with pytest.raises(TableError, match="is a folder"):
        read_node_power(tmp_path)
