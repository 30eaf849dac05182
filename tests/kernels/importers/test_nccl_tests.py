"""Output of nccl-tests and rccl-tests."""

import pytest

from kernels.measurement_tables import MeasurementError

LINK = "NVLink4+NVSwitch"


def column(found, name):
    return found.tables["collectives"][name].tolist()


def test_ranks_nodes_operation_and_library_come_from_the_header(samples, imported):
    found = imported(samples.all["nccl"], link=LINK)
    assert found.n_rows == {"collectives": 4}
    assert column(found, "ranks") == [4.0] * 4
    assert column(found, "nodes") == [2.0] * 4
    assert column(found, "op") == ["all_reduce"] * 4
    assert column(found, "device") == ["h100-sxm"] * 4
    assert column(found, "link") == [LINK] * 4
    assert column(found, "library") == ["nccl-2.25.1:oop", "nccl-2.25.1:ip"] * 2
    assert column(found, "dtype") == ["fp32", "fp32", "bf16", "bf16"]
    assert column(found, "latency_us") == [61.25, 60.5, 91.0, 90.0]
    assert column(found, "message_bytes") == [1048576.0] * 2 + [2097152.0] * 2


def test_old_output_without_title_and_root_needs_its_operation(samples, imported):
    text = samples.all["old_rccl"]
    with pytest.raises(MeasurementError, match=r"line 9: nothing tells the operation.*--operation"):
        imported(text)
    found = imported(text, operation="all_gather")
    assert column(found, "op") == ["all_gather"] * 2
    assert column(found, "library") == ["rccl:oop", "rccl:ip"]
    assert column(found, "latency_us") == [48.1, 47.2]
    assert column(found, "device") == ["mi300x"] * 2


@pytest.mark.parametrize(
    ("test", "operation"),
    [
        ("all_gather_perf", "all_gather"),
        ("reduce_scatter_perf", "reduce_scatter"),
        ("alltoall_perf_mpi", "all_to_all"),
        ("sendrecv_perf", "p2p"),
    ],
)
def test_the_command_line_above_tells_the_operation(samples, imported, test, operation):
    text = f"$ mpirun -np 2 ./build/{test} -b 1M\n{samples.all['old_rccl']}"
    assert column(imported(text), "op") == [operation] * 2


def test_a_log_of_two_tests_is_read_test_by_test(samples, imported):
    second = samples.all["old_rccl"].replace(
        "# nThread", "# Collective test starting: sendrecv_perf\n#"
    )
    found = imported(samples.all["nccl"] + second)
    assert column(found, "op") == ["all_reduce"] * 4 + ["p2p"] * 2
    assert column(found, "ranks") == [4.0] * 4 + [2.0] * 2


def test_a_log_without_its_end_is_refused(samples, imported):
    whole = samples.all["nccl"]
    for text in (whole.split("# Out of")[0], whole + whole.split("# Out of")[0]):
        last = len(text.splitlines())
        with pytest.raises(MeasurementError, match=rf"line {last}: .* without the closing line"):
            imported(text)


def test_sizes_of_nothing_and_missing_wires_are_told(samples, imported, caplog):
    text = samples.all["nccl"].replace("     1048576        262144", "           0             0")
    assert imported(text).n_rows == {"collectives": 2}
    assert "1 sizes of 0 bytes" in caplog.text
    assert "--link" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("25.68       0", "25.68      12", r"line 15: #wrong = 12: .* refused"),
        ("25.68       0", "25.68     abc", r"line 15: #wrong = 'abc'"),
        ("61.25", "-61.25", r"line 15: time \(oop\) = '-61.25'; expected a finite number above 0"),
        ("61.25", "0.00", r"line 15: time \(oop\) = '0.00'"),
        ("60.50", "nan", r"line 15: time \(ip\) = 'nan'"),
        ("60.50", "6_0", r"line 15: time \(ip\) = '6_0'"),
        ("     float", "   complex", "line 15: type = 'complex' is no known number format"),
        ("   34.95     N/A\n", "\n", r"line 16: 11 values; expected 13 \(size count type"),
        ("values : 0 OK", "values : 3 FAILED", "line 17: the test says that its results are wrong"),
        ("#  Rank  2 ", "#  Tank  2 ", "line 13: rank 2 has no line in the header"),
        (" NVIDIA H100 80GB HBM3\n#  Rank  3", "\n#  Rank  3", "line 8: .* no whole rank line"),
        ("[0000:0f:00] NVIDIA H100 80GB HBM3", "[0] Other", "ranks on different devices"),
        ("all_reduce_perf", "broadcast_perf", "line 2: broadcast_perf is no test"),
        ("count      type   redop", "count      tyqe   redop", "line 13: holds no column 'type'"),
        ("root     time ", "root  cputime ", None),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(samples, imported, old, new, complaint):
    text = samples.all["nccl"]
    assert old in text
    if complaint is None:  # times of the host's processor, in both halves
        text, complaint = text.replace(" time ", " cputime "), "line 13: .* no column 'time'"
    with pytest.raises(MeasurementError, match=complaint):
        imported(text.replace(old, new, 1))


def test_data_without_a_header_is_refused(samples, imported):
    lines = samples.all["nccl"].splitlines(keepends=True)
    text = "".join(lines[:2] + lines[14:])
    with pytest.raises(MeasurementError, match="line 3: a data line without the header"):
        imported(text)


def test_one_rank_exchanges_nothing(samples, imported):
    text = samples.all["old_rccl"].replace("#   Rank  1", "#   Tank  1")
    with pytest.raises(MeasurementError, match="one rank exchanges nothing"):
        imported(text, operation="all_reduce")


def test_a_split_run_counts_the_ranks_of_one_group(samples, imported):
    text = samples.all["nccl"]
    for rank in (2, 3):
        text = text.replace(f"Rank  {rank} Group  0", f"Rank  {rank} Group  1")
    found = imported(text)
    assert column(found, "ranks") == [2.0] * 4
    assert column(found, "nodes") == [1.0] * 4
    uneven = text.replace("Rank  3 Group  1", "Rank  3 Group  0")
    with pytest.raises(MeasurementError, match="groups of different sizes"):
        imported(uneven)


def test_more_columns_and_timestamps_change_nothing(samples, imported):
    """Reports of single iterations, and the time of day after each line."""
    lines = samples.all["nccl"].split("\n")
    for number, line in enumerate(lines):
        words = line.split()
        if words[:3] == ["#", "size", "count"]:
            more = [*words[1:10], "i_min", "i_max", *words[10:], "i_min", "i_max", "timestamp"]
            lines[number] = "# " + " ".join(more)
        elif words and words[0].isdigit():
            more = [*words[:9], "1.0", "2.0", *words[9:], "1.0", "2.0", "2026-01-01", "00:00:00"]
            lines[number] = " ".join(more)
    found = imported("\n".join(lines))
    assert column(found, "latency_us") == [61.25, 60.5, 91.0, 90.0]


def test_a_version_in_the_library_s_own_words(samples, imported):
    text = samples.all["nccl"].replace("# nccl-tests", "NCCL version 2.29.3+cuda13.1\n#")
    text = text.replace("nccl-library=22501", "")
    assert set(column(imported(text), "library")) == {"nccl-2.29.3:oop", "nccl-2.29.3:ip"}


def test_a_second_test_without_a_title_does_not_inherit_the_first_one_s(samples, imported):
    text = samples.all["nccl"] + samples.all["old_rccl"]
    with pytest.raises(MeasurementError, match="nothing tells the operation"):
        imported(text)
    assert column(imported(text, operation="p2p"), "op") == ["all_reduce"] * 4 + ["p2p"] * 2


def test_other_programs_with_such_a_name_are_none_of_ours(samples, imported):
    text = "loaded /opt/gemm_perf/lib.so\n" + samples.all["nccl"]
    assert column(imported(text), "op") == ["all_reduce"] * 4
