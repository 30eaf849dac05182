"""Tables of NeuSight and AIConfigurator."""

import pytest

from kernels.measurement_tables import MeasurementError


def first(found, family):
    return {name: column[0] for name, column in found.tables[family].columns.items()}


def test_neusight_products_swap_n_and_k(samples, imported, caplog):
    found = imported(samples.all["neusight"])
    assert found.n_rows == {"gemm": 2}
    row = first(found, "gemm")
    assert (row["m"], row["k"], row["n"], row["batch"]) == (1024.0, 2560.0, 512.0, 1.0)
    assert (row["latency_us"], row["library"]) == (1250.0, "cublas:torch.linear")
    assert "1 rows of operator 'conv2d'" in caplog.text


def test_neusight_vectors_are_operations(samples, imported):
    found = imported(samples.all["neusight_vectors"])
    table = found.tables["ops"]
    assert table["op"].tolist() == ["layernorm", "addu"]
    assert table["device"].tolist() == ["mi210"] * 2
    assert table["latency_us"].tolist() == [750.0, 250.0]
    assert (table["rows"][0], table["cols"][0]) == (4096.0, 1600.0)


def test_products_of_a_framework(samples, imported, caplog):
    found = imported(samples.all["aic_gemm"])
    row = first(found, "gemm")
    assert (row["m"], row["n"], row["k"]) == (128.0, 4096.0, 8192.0)
    assert (row["dtype"], row["latency_us"]) == ("fp8_block128", 50.0)
    assert row["library"] == "trtllm-1.0.0:torch_flow"
    assert "1 rows of int4_wo" in caplog.text


def test_prefill_is_causal_and_what_no_model_describes_is_left_aside(samples, imported, caplog):
    found = imported(samples.all["aic_context"])
    assert found.n_rows == {"attention": 1}
    row = first(found, "attention")
    assert (row["batch"], row["heads_q"], row["heads_kv"]) == (2.0, 32.0, 8.0)
    assert (row["seq_q"], row["seq_kv"], row["direction"]) == (4096.0, 4096.0, "fwd")
    assert row["causal"]
    assert "1 rows with a sliding window" in caplog.text
    assert "1 rows whose cache has another format" in caplog.text


def test_decoding_is_one_token_against_all_before_it(samples, imported):
    row = first(imported(samples.all["aic_generation"]), "attention")
    assert (row["seq_q"], row["seq_kv"], row["direction"]) == (1.0, 1024.0, "fwd_decode")
    assert row["heads_kv"] == 32.0  # 0 stands for as many as heads


def test_messages_are_counted_in_elements(samples, imported):
    found = imported(samples.all["aic_nccl"], device="h100-sxm", link="NVLink4+NVSwitch")
    row = first(found, "collectives")
    assert (row["message_bytes"], row["op"], row["ranks"]) == (1048576.0, "all_to_all", 8.0)
    assert (row["library"], row["link"]) == ("nccl", "NVLink4+NVSwitch")
    row = first(imported(samples.all["aic_all_reduce"]), "collectives")
    assert row["message_bytes"] == 256.0
    assert row["library"] == "sglang-0.5.10:SGLang_CustomAllReduce_graph"


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("neusight", "linear,1.25", "linear,-1.25", "line 2: Latency = '-1.25'; expected a finite"),
        ("neusight", "linear,1.25", "linear,abc", "line 2: Latency = 'abc'"),
        ("neusight", "1,1024,2560,512", "1,1024,2560", "line 2: 8 values; expected 9"),
        ("neusight", "1,1024,2560,512", "1,10.5,2560,512", "line 2: M = '10.5'"),
        ("neusight", ",B,M,N,K", ",B,M,N,L", "line 2: column 'K' is missing, which linear needs"),
        ("neusight", '"ampere_sgemm<4, 5>"', '"ampere', "line 4: not CSV text"),
        ("aic_gemm", ",128,4096,8192,0.05", ",128,0,8192,0.05", "line 2: n = '0'"),
        ("aic_gemm", ",0.05", ",-0.05", "line 2: latency = '-0.05'"),
        ("aic_gemm", ",0.05", "", "line 2: 9 values; expected 10"),
        ("aic_gemm", "fp8_block", "fp3", "line 2: gemm_dtype = 'fp3' is no known number format"),
        ("aic_context", "context_attention", "attention", "line 2: op_name = 'attention'"),
        ("aic_generation", ",1023,", ",x,", "line 2: step = 'x'"),
        ("aic_all_reduce", ",2,128,", ",1,128,", "line 2: num_gpus = 1"),
        ("aic_all_reduce", "all_reduce", "shuffle", "line 2: op_name = 'shuffle'"),
        ("aic_nccl", "latency", "time", "in no known format"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(samples, imported, name, old, new, complaint):
    text = samples.all[name]
    assert old in text
    with pytest.raises(MeasurementError, match=complaint):
        imported(text.replace(old, new, 1), device="h100-sxm")


@pytest.mark.parametrize("name", ["neusight", "aic_gemm"])
def test_a_header_alone_holds_no_rows(samples, imported, name):
    with pytest.raises(MeasurementError, match="holds no rows"):
        imported(samples.all[name].splitlines()[0] + "\n")


def test_a_column_that_stands_there_twice_is_refused(samples, imported):
    text = samples.all["neusight"].replace("Torch Version", "Latency")
    with pytest.raises(MeasurementError, match="column 'Latency' stands there twice"):
        imported(text)
