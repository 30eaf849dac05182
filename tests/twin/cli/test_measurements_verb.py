"""`twin measurements import`, and other tools' files given to calibrate and validate.

The figures in these files are invented.
"""

import json

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.calibration.session import Session
from kernels.calibration.stream_rows import OPERATION_COLUMNS
from kernels.importers.files import joined_tables
from kernels.importers.request import ImportRequest
from twin.cli.import_options import imported_from

NEUSIGHT = """\
OPName,Latency,Device,B,M,N,K
linear,1.25,NVIDIA L4,1,1024,2560,512
bmm,0.5,NVIDIA L4,32,128,64,256
"""
NCCL = """\
# Collective test starting: all_reduce_perf
# Using devices
#  Rank  0 Group  0 Pid  1 on example device  0 [0000:0f:00] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid  2 on example device  1 [0000:15:00] NVIDIA H100 80GB HBM3
#       size  count  type  redop  root  time  algbw  busbw  #wrong  time  algbw  busbw  #wrong
     1048576  262144  float  sum  -1  20.25  51.8  51.8  0  20.50  51.1  51.1  0
# Out of bounds values : 0 OK
"""
TIDY = (
    "device,dtype,m,n,k,library,latency_us\nH100-SXM5-80GB,bf16,4096,4096,4096,vllm-0.24.0:x,190\n"
)
LINK = ("--link", "NVLink4+NVSwitch")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "measured"
    folder.mkdir()
    (folder / "products.txt").write_text(NEUSIGHT)
    (folder / "nccl.log").write_text(NCCL)
    (folder / "gemm.csv").write_text(TIDY)
    (folder / "README.md").write_text("notes\n")
    return folder


def test_files_become_tables(twin, folder, tmp_path):
    out = tmp_path / "out"
    files = [str(folder / name) for name in ("products.txt", "nccl.log", "gemm.csv")]
    answer = twin("measurements", "import", *files, "--out", str(out), *LINK, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert [one["format"] for one in document["imported"]] == [
        "NeuSight table",
        "nccl-tests or rccl-tests output",
        "tidy table",
    ]
    assert [one["rows"] for one in document["imported"]] == [
        {"gemm": 2},
        {"collectives": 2},
        {"gemm": 1},
    ]
    assert document["files"] == [str(out / "gemm.csv"), str(out / "collectives.csv")]
    assert set(document["profile_hashes"]) == {"accelerator/l4", "accelerator/h100-sxm"}
    assert len((out / "gemm.csv").read_text().splitlines()) == 4
    assert sorted(file.name for file in out.iterdir()) == ["collectives.csv", "gemm.csv"]


def test_the_text_says_what_was_read_and_written(twin, folder, tmp_path):
    answer = twin("measurements", "import", str(folder / "nccl.log"), "--out", str(tmp_path / "o"))
    assert answer.code == 0
    assert "nccl-tests or rccl-tests output  collectives     2" in answer.out
    assert "--link" in answer.err


def test_one_wrong_file_leaves_nothing_behind(twin, folder, tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(NEUSIGHT.replace("0.5", "-0.5"))
    out = tmp_path / "out"
    answer = twin("measurements", "import", str(folder / "gemm.csv"), str(wrong), "--out", str(out))
    assert answer.code == 2
    assert "wrong.csv: line 3: Latency = '-0.5'" in answer.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere.csv", "--out", "{out}"), "nowhere.csv: cannot be read"),
        (("{folder}", "--out", "{out}"), "cannot be read"),
        (("{folder}/README.md", "--out", "{out}"), "in no known format"),
        (("{folder}/gemm.csv", "--out", "{folder}"), "is there already"),
        (("{folder}/gemm.csv", "--out", "{folder}/README.md"), "--out"),
        (("{folder}/gemm.csv",), "--out"),
        (("--out", "{out}"), "FILE"),
        (("{folder}/nccl.log", "--out", "{out}", "--link", "string"), "--link 'string'"),
        (("{folder}/nccl.log", "--out", "{out}", "--operation", "x"), "--operation x"),
    ],
)
def test_bad_input_is_one_line_and_exit_two(twin, folder, tmp_path, words, complaint):
    places = {"folder": folder, "out": tmp_path / "out"}
    answer = twin("measurements", "import", *(word.format(**places) for word in words))
    assert answer.code == 2
    assert complaint in answer.err
    assert answer.out == ""
    assert len(answer.err_lines) == 1


def test_validation_takes_a_file_of_another_tool(twin, folder):
    answer = twin("validate", "kernels", str(folder / "nccl.log"), *LINK, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert (document["rows"], document["covered"]) == (2, 2)
    (entry,) = document["by_device"]
    assert (entry["device"], entry["family"]) == ("h100-sxm", "collectives")


def test_validation_takes_them_in_a_folder_beside_tidy_tables(twin, folder):
    answer = twin("validate", "kernels", str(folder), *LINK, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert document["rows"] == 5
    assert {entry["device"] for entry in document["by_device"]} == {
        "l4",
        "h100-sxm",
        "H100-SXM5-80GB",
    }
    assert "left aside, no measured kernels: README.md" in answer.err


def test_validation_and_conversion_agree(twin, folder, tmp_path):
    out = tmp_path / "out"
    twin("measurements", "import", str(folder / "products.txt"), "--out", str(out))
    documents = [
        json.loads(twin("validate", "kernels", str(path), "--json").out)
        for path in (folder / "products.txt", out)
    ]
    assert documents[0]["by_device"] == documents[1]["by_device"]


@pytest.mark.parametrize("verb", [("validate", "kernels"), ("calibrate", "--from")])
def test_a_wrong_file_stops_a_verb_with_one_line(twin, folder, tmp_path, verb, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "products.txt").write_text(NEUSIGHT.replace(",1024,", ",x,"))
    answer = twin(*verb, str(folder))
    assert answer.code == 2
    assert "products.txt: line 2: M = 'x'" in answer.err_lines[-1]
    assert answer.out == ""


@pytest.fixture
def streams(tmp_path):
    """A table as NeuSight writes them, alone in a folder: additions at 250 GB/s."""
    rows = ["OPName,Latency,Device,B,H"]
    for n_rows in range(512, 4096, 64):
        for columns in (1024, 4096):
            time_ms = 0.004 + 3 * 4 * n_rows * columns / 0.25e9
            rows.append(f"add,{time_ms!r},NVIDIA L4,{n_rows},{columns}")
    path = tmp_path / "theirs" / "vec.csv"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n")
    return path


def test_calibration_fits_what_another_tool_measured(twin, streams, tmp_path):
    out = tmp_path / "fitted"
    answer = twin("calibrate", "--from", str(streams), "--out", str(out), "--json")
    assert answer.code == 0, answer.err
    (entry,) = json.loads(answer.out)["devices"]
    assert (entry["device"], entry["family"]) == ("l4", "ops")
    assert entry["n_fitted"] > 50
    assert entry["median_ape_heldout"] < 0.02


def test_calibration_sees_the_same_rows_in_file_folder_and_tidy_table(twin, streams, tmp_path):
    request = ImportRequest(catalogue=Catalogue())
    tidy = tmp_path / "tidy"
    assert twin("measurements", "import", str(streams), "--out", str(tidy)).code == 0
    (tidy / "notes.txt").write_text("not measured\n")
    found = []
    for path in (streams, streams.parent, tidy):
        files = imported_from(path, request) if path != tidy else []
        session = Session(folder=path, imported=joined_tables(files))
        assert session.has_table("ops.csv")
        table = session.table("ops.csv", OPERATION_COLUMNS)
        found.append([table[name].tolist() for name in OPERATION_COLUMNS])
    assert found[0] == found[1] == found[2]


def test_imported_rows_join_those_of_a_tidy_table(folder):
    files = imported_from(folder, ImportRequest(catalogue=Catalogue()))
    session = Session(folder=folder, imported=joined_tables(files))
    table = session.table("gemm.parquet", ("device", "m", "latency_us"))
    assert table["device"].tolist() == ["H100-SXM5-80GB", "l4", "l4"]
    assert table["latency_us"].tolist() == [190.0, 1250.0, 500.0]


def test_a_named_device_stands_for_the_unknown_one_of_a_tidy_table(folder, tmp_path):
    (folder / "gemm.csv").write_text(TIDY.replace("H100-SXM5-80GB", "Foo 9000"))
    (folder / "bandwidth.csv").write_text("device,op,GBps\nFoo 9000,copy,3000\n")
    request = ImportRequest(catalogue=Catalogue(), device="H100")
    session = Session(folder=folder, request=request)
    assert session.table("gemm.parquet", ("device", "m"))["device"].tolist() == ["h100-sxm"]
    own = session.survey_tables("bandwidth.csv", ("device", "op", "GBps"))[-1]
    assert own["device"].tolist() == ["h100-sxm"]


def test_a_path_that_holds_nothing_is_told_by_calibrate(twin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = twin("calibrate", "--from", "nowhere")
    assert answer.code == 2
    assert "--from nowhere: no such" in answer.err
