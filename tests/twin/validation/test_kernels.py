"""`validate_kernels`: which table is what, what is covered, and how errors are counted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.importers.request import ImportRequest
from kernels.measurement_tables import MeasurementError
from twin.validation.kernel_tables import find_tables
from twin.validation.kernels import validate_kernels

GEMM = "device,dtype,m,n,k,batch,library,latency_us\n"
REQUEST = ImportRequest(catalogue=Catalogue())


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def gemm_rows(*, device="H100-SXM5-80GB", latency_us=200.0, dtype="bf16"):
    sizes = [(4096, 4096, 4096), (8192, 4096, 4096), (64, 4096, 4096)]
    rows = [f"{device},{dtype},{m},{n},{k},1,vllm-0.24.0:x,{latency_us}" for m, n, k in sizes]
    return GEMM + "\n".join(rows) + "\n"


def report_of(path):
    return validate_kernels(path, request=REQUEST).report


def test_errors_are_those_of_the_rows(tmp_path):
    path = written(tmp_path, "mine.csv", gemm_rows())
    first = validate_kernels(path, request=REQUEST)
    predicted = first.tables[0].predicted
    (entry,) = first.report["by_device"]
    errors = sorted(abs(value / 200.0 - 1.0) for value in predicted)
    assert entry["median_ape"] == pytest.approx(errors[1])
    assert entry["mape"] == pytest.approx(sum(errors) / 3.0)
    assert (entry["n"], entry["covered"], entry["large"]["n"]) == (3, 3, 2)
    assert entry["by_library"][0]["library"] == "vllm-0.24.0:x"


def test_a_perfect_measurement_has_no_error(tmp_path):
    path = written(tmp_path, "mine.csv", gemm_rows())
    predicted = validate_kernels(path, request=REQUEST).tables[0].predicted
    lines = path.read_text().splitlines()
    cells = [line.rsplit(",", 1)[0] for line in lines[1:]]
    perfect = [f"{cell},{float(value)!r}" for cell, value in zip(cells, predicted, strict=True)]
    again = written(tmp_path, "again.csv", "\n".join([lines[0], *perfect]) + "\n")
    assert report_of(again)["mape"] == pytest.approx(0.0, abs=1e-9)


def test_a_device_without_a_profile_is_counted_and_not_covered(tmp_path):
    path = written(
        tmp_path, "mine.csv", gemm_rows() + gemm_rows(device="Unheard-Of").split("\n", 1)[1]
    )
    report = report_of(path)
    by_device = {entry["device"]: entry for entry in report["by_device"]}
    assert by_device["Unheard-Of"]["covered"] == 0
    assert by_device["Unheard-Of"]["median_ape"] is None
    assert report["unknown_devices"] == ["Unheard-Of"]
    assert report["covered"] == 3


def test_the_user_s_device_stands_for_the_unknown_one_of_a_tidy_table(tmp_path):
    text = gemm_rows(device="H900") + gemm_rows().split("\n", 1)[1]
    path = written(tmp_path, "gemm.csv", text)
    named = ImportRequest(catalogue=Catalogue(), device="h100-sxm")
    for place in (path, tmp_path):
        report = validate_kernels(place, request=named).report
        assert (report["covered"], report["unknown_devices"]) == (6, [])
        assert [entry["device"] for entry in report["by_device"]] == ["H100-SXM5-80GB", "h100-sxm"]
    more = written(tmp_path, "more.csv", text + gemm_rows(device="H901").split("\n", 1)[1])
    complaint = r"more\.csv: line 8: neither device 'H901' nor 'H900' has a profile"
    with pytest.raises(MeasurementError, match=complaint):
        validate_kernels(more, request=named)


def test_the_user_s_wires_stand_for_those_that_a_tidy_table_does_not_tell(tmp_path):
    head = "device,op,dtype,ranks,nodes,link,message_bytes,library,latency_us\n"
    row = "H100-SXM5-80GB,all_reduce,bf16,8,1,{},16777216,NCCL,120\n"
    path = written(tmp_path, "mine.csv", head + row.format("") + row.format("warp drive"))
    assert report_of(path)["covered"] == 0
    named = ImportRequest(catalogue=Catalogue(), link="NVLink4+NVSwitch")
    found = validate_kernels(path, request=named)
    assert found.report["covered"] == 1
    assert found.tables[0].table.rows["link"].tolist() == ["NVLink4+NVSwitch", "warp drive"]


def test_a_precision_the_device_lacks_is_not_covered(tmp_path):
    path = written(tmp_path, "mine.csv", gemm_rows(device="A100-SXM4-80GB", dtype="fp8"))
    assert report_of(path)["covered"] == 0


def test_products_of_an_unknown_dtype_or_layout_are_named_and_not_covered(tmp_path, caplog):
    head, *rows = gemm_rows().splitlines()
    head = head.replace("library", "layout,library")
    rows = [row.replace(",vllm", ",{},vllm") for row in rows]
    text = [row.format("TN") for row in rows] + [row.format("XY") for row in rows[:2]]
    text += [rows[0].replace("bf16", "bf17").format("NN"), rows[0].format("")]
    report = report_of(written(tmp_path, "mine.csv", "\n".join([head, *text]) + "\n"))
    assert (report["rows"], report["covered"]) == (7, 4)
    assert (report["unknown_dtypes"], report["unknown_layouts"]) == (["bf17"], ["XY"])
    (said,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "2 products of unknown layout 'XY', 1 products of unknown dtype 'bf17'" in said


HEADS = {
    "gemm": GEMM,
    "attention": "device,dtype,batch,heads_q,heads_kv,seq_q,seq_kv,head_dim,causal,direction,"
    "library,latency_us\n",
    "collectives": "device,op,dtype,ranks,nodes,link,message_bytes,library,latency_us\n",
    "ops": "device,op,dtype,rows,cols,library,latency_us\n",
    "membw": "device,op,GBps,library\n",
}


@pytest.mark.parametrize(
    ("family", "row", "why"),
    [
        ("gemm", "L4,nvfp4,64,64,64,1,x,5", "l4 has no peak for nvfp4"),
        ("gemm", "L4,bf17,64,64,64,1,x,5", "unknown dtype 'bf17'"),
        ("attention", "H100,fp8x,1,8,8,64,64,128,1,fwd,fa3,5", "unknown dtype 'fp8x'"),
        ("attention", "V100,fp8,1,8,8,64,64,128,1,fwd,fa2,5", "v100-sxm2-32gb has no peak for fp8"),
        ("attention", "H100,bf16,1,8,8,64,64,128,1,up,fa3,5", "unknown direction 'up'"),
        (
            "attention",
            "H100,bf16,1,8,8,64,64,128,1,fwd,torch-2.9:sdpa-math,5",
            "library 'torch-2.9:sdpa-math' keeps the scores in memory",
        ),
        ("collectives", "H100,all_redduce,bf16,8,1,NVSwitch,1024,NCCL,5", "unknown operation"),
        ("collectives", "H100,all_reduce,bf16,8,1,warp drive,1024,NCCL,5", "unknown wires 'warp"),
        ("collectives", "H100,all_reduce,bf16,16,2,warp drive,1024,NCCL,5", "unknown wires 'warp"),
        ("collectives", "H100,all_reduce,bf16,8,1,,1024,NCCL,5", "nothing tells the wires"),
        ("collectives", "H100,all_reduce,bf16,5,2,,1024,NCCL,5", "do not spread evenly"),
        ("collectives", "H100,all_reduce,bf16,2,2,,1024,NCCL,5", "no network was fitted between"),
        ("ops", "H100,rmsnorm,fp8,64,64,x,5", "unknown operation 'rmsnorm'"),
        ("ops", "H100,add,bf17,64,64,x,5", "unknown dtype 'bf17'"),
        ("ops", "H100,add,int8,64,64,x,5", "no operations are known in 'int8'"),
        (
            "membw",
            "V100-SXM2,h2d_mem_bw,12,x",
            "kernel 'h2d_mem_bw' was fitted neither on v100-sxm2",
        ),
        ("membw", "MI430X,copy,12,x", "is announced, and its profile lacks figures"),
        ("membw", "H900,copy,12,x", "no profile carries device 'H900'"),
    ],
)
def test_what_is_not_predicted_has_a_reason(tmp_path, family, row, why):
    path = written(tmp_path, "mine.csv", f"{HEADS[family]}{row}\n{row}\n")
    found = validate_kernels(path, request=REQUEST)
    (entry,) = found.report["unpredicted"]
    assert (entry["family"], entry["n"], found.report["covered"]) == (family, 2, 0)
    assert why in entry["why"]
    assert found.tables[0].why.tolist() == [entry["why"]] * 2


def test_every_row_is_predicted_or_has_a_reason_and_unknown_words_are_listed(tmp_path, caplog):
    rows = ["{},bf16,8,1,NVSwitch", "all_reduce,bf16,8,1,warp drive", "all_reduce,b16,8,1,NVSwitch"]
    rows = ["all_reduce,bf16,8,1,NVSwitch", rows[0].format("all_redduce"), *rows[1:]]
    text = "".join(f"H100,{row},1048576,NCCL,50\n" for row in rows)
    report = report_of(written(tmp_path, "mine.csv", HEADS["collectives"] + text))
    n_unpredicted = sum(entry["n"] for entry in report["unpredicted"])
    assert (report["rows"], report["covered"], n_unpredicted) == (4, 2, 2)
    assert report["unknown_operations"] == ["all_redduce"]
    assert report["unknown_links"] == ["warp drive"]
    assert report["unknown_dtypes"] == ["b16"]
    assert "1 collectives of unknown dtype 'b16': predicted as one that no switch" in caplog.text
    assert "1 collectives over unknown wires 'warp drive'" in caplog.text


def test_number_formats_are_known_as_they_are_to_the_importers(tmp_path, caplog):
    report = report_of(written(tmp_path, "mine.csv", gemm_rows(dtype="torch.bfloat16")))
    assert (report["covered"], report["by_device"][0]["dtype"]) == (3, "bf16")
    assert not caplog.records


def test_a_device_that_nobody_measured_is_covered_by_its_family(tmp_path):
    path = written(tmp_path, "mine.csv", gemm_rows(device="L40S"))
    found = validate_kernels(path, request=REQUEST)
    assert found.report["covered"] == 3
    assert {"accelerator/l40s", "family/ada"} <= set(found.profile_hashes)


def test_an_unknown_library_is_the_kernel_alone(tmp_path):
    path = written(tmp_path, "mine.csv", gemm_rows().replace("vllm-0.24.0:x", "never-heard-of"))
    assert report_of(path)["covered"] == 3


def test_batch_may_be_left_out(tmp_path):
    rows = gemm_rows().replace("batch,", "").replace(",1,vllm", ",vllm")
    assert report_of(written(tmp_path, "mine.csv", rows))["covered"] == 3


def test_parquet_is_read_like_csv(tmp_path):
    csv = written(tmp_path, "mine.csv", gemm_rows())
    names, *rows = [line.split(",") for line in csv.read_text().splitlines()]
    columns = {
        name: [
            row[number] if name in ("device", "dtype", "library") else float(row[number])
            for row in rows
        ]
        for number, name in enumerate(names)
    }
    parquet = tmp_path / "mine.parquet"
    pq.write_table(pa.table(columns), parquet)
    assert report_of(parquet)["by_device"] == report_of(csv)["by_device"]


def test_a_folder_is_read_by_the_names_of_its_files(tmp_path, caplog):
    written(tmp_path, "gemm.csv", gemm_rows())
    written(tmp_path, "gemm_more.csv", gemm_rows(device="A100-SXM4-80GB"))
    written(tmp_path, "README.md", "words")
    written(tmp_path, "power.csv", "device,power_w\nx,1\n")
    report = report_of(tmp_path)
    assert report["rows"] == 6
    assert {entry["family"] for entry in report["by_device"]} == {"gemm"}
    assert "README.md" in caplog.text
    assert "power.csv" in caplog.text


def test_a_survey_is_read_whole(tmp_path):
    """Tables as `make gpu` names them: its memory-bound operations are those of any other table."""
    written(tmp_path, "gemm.csv", gemm_rows())
    row = "H100-SXM5-80GB,rmsnorm,fwd,bf16,8192,4096,torch-2.11.0+cu130:eager,60.0"
    head = "device,op,direction,dtype,rows,cols,library,latency_us"
    written(tmp_path, "memory_bound.csv", f"{head}\n{row}\n")
    assert {entry["family"] for entry in report_of(tmp_path)["by_device"]} == {"gemm", "ops"}


@pytest.mark.parametrize(
    ("columns", "family"),
    [
        ("device,dtype,m,n,k,latency_us", "gemm"),
        ("device,dtype,batch,heads_q,heads_kv,seq_q,seq_kv,head_dim,causal,direction", "attention"),
        ("device,op,dtype,ranks,nodes,message_bytes,latency_us", "collectives"),
        ("device,op,dtype,rows,cols,latency_us", "ops"),
        ("device,op,GBps", "membw"),
    ],
)
def test_a_file_is_told_by_its_columns(tmp_path, columns, family):
    ((_, found),) = find_tables(written(tmp_path, "any.csv", columns + "\n"))
    assert found.name == family


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "x,y\n1,2\n", "in no known format"),
        ("a.csv", "", "is empty"),
        ("a.txt", "x\n", "in no known format"),
        ("a.parquet", "not parquet", "not a Parquet table"),
        ("a.csv", GEMM, "holds no rows"),
        ("a.csv", GEMM + "d,bf16,64,64,64,1,l,-1\n", r"line 2: latency_us = -1.*above 0"),
        ("a.csv", GEMM + "d,bf16,64,64,nan,1,l,5\n", "line 2: k = "),
        ("a.csv", GEMM + "d,bf16,0,64,64,1,l,5\n", r"line 2: m = 0"),
        ("a.csv", GEMM + "d,bf16,64.5,64,64,1,l,5\n", r"line 2: m = 64.5; expected a whole number"),
        (
            "a.csv",
            GEMM + "d,bf16,1e30,64,64,1,l,5\n",
            r"line 2: m = 1e\+30; expected a whole number",
        ),
        ("a.csv", GEMM + "d,bf16,64,64,64,1,l,fast\n", r"line 2: latency_us = fast"),
        ("a.csv", GEMM + "d,bf16,64,64\n", "a.csv: "),
        ("a.csv", "device,m,n,k,latency_us\nd,1,1,1,1\n", "'dtype' is missing"),
        ("a.csv", GEMM + "d,bf16,1_024,64,64,1,l,5\n", "line 2: m = 1_024"),
        ("a.csv", GEMM + "7,bf16,64,64,64,1,l,5\n", "'device' holds numbers; expected text"),
        ("a.csv", GEMM.replace("n,k", "n,n") + "d,bf16,1,1,1,1,l,5\n", "in no known format"),
        ("a.csv", "m," + GEMM + "1,d,bf16,1,1,1,1,l,5\n", "'m' stands there twice"),
        (
            "a.csv",
            "device,op,dtype,ranks,message_bytes,latency_us\nd,all_reduce,fp16,1,8,5\n",
            "ranks = 1.0; expected a finite number of at least 2",
        ),
    ],
)
def test_bad_input_names_file_row_and_value(tmp_path, name, text, complaint):
    with pytest.raises(MeasurementError, match=complaint) as refusal:
        report_of(written(tmp_path, name, text))
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(MeasurementError, match=r"gemm\.parquet"):
        report_of(tmp_path)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(MeasurementError, match="no such file or folder"):
        report_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("latency_us", ["5.0"], "holds text; expected numbers"),
        ("m", [[1, 2]], "holds list"),
        ("device", [1], "holds numbers; expected text"),
    ],
)
def test_parquet_columns_of_the_wrong_sort_are_named(tmp_path, column, values, complaint):
    row = {"device": ["H100"], "dtype": ["bf16"], "m": [64], "n": [64], "k": [64]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({**row, "latency_us": [5.0], column: values}), path)
    with pytest.raises(MeasurementError, match=complaint) as refusal:
        report_of(path)
    assert column in str(refusal.value)


def test_a_file_of_a_familys_name_must_have_its_columns(tmp_path):
    written(tmp_path, "gemm.csv", "device,dtype,latency_us\nH100,bf16,5\n")
    with pytest.raises(MeasurementError, match=r"gemm\.csv: column 'm' is missing"):
        report_of(tmp_path)
