"""Tidy tables that are wrong, cut off, or of devices that nobody has a profile of."""

import pytest

from hardware_profiles.errors import TweelingError
from kernels.measurement_tables import MeasurementError

HEAD = "device,dtype,m,n,k,batch,library,latency_us\n"
ROW = "H200,bf16,64,32,16,1,mm,5\n"


def test_an_unknown_device_is_said_and_the_user_s_word_stands_for_it(imported, caplog):
    text = HEAD + ROW + ROW.replace("H200", "Foo 9000")
    assert imported(text).tables["gemm"]["device"].tolist() == ["H200", "Foo 9000"]
    assert "no profile carries 'Foo 9000'" in caplog.text
    caplog.clear()
    table = imported(text, device="H100").tables["gemm"]
    assert table["device"].tolist() == ["H200", "h100-sxm"]
    assert "no profile" not in caplog.text
    with pytest.raises(MeasurementError, match="line 4: neither device 'Foo 9001' nor 'Foo 9000'"):
        imported(text + ROW.replace("H200", "Foo 9001"), device="H100")
    with pytest.raises(MeasurementError, match="line 3: the file does not name its device"):
        imported(HEAD + ROW + ROW.replace("H200", ""))
    with pytest.raises(TweelingError, match='--device: accelerator "Nope": unknown'):
        imported(HEAD + ROW, device="Nope")


COLLECTIVES = "device,op,dtype,ranks,nodes,link,message_bytes,latency_us\n"


def test_the_user_s_wires_stand_for_those_that_a_tidy_table_does_not_tell(imported, caplog):
    told, untold = "H200,all_reduce,bf16,8,1,xgmi,1024,5\n", "H200,all_reduce,bf16,8,1,,1024,5\n"
    found = imported(COLLECTIVES + told + untold, link="NVLink4+NVSwitch")
    assert found.tables["collectives"]["link"].tolist() == ["xgmi", "NVLink4+NVSwitch"]
    assert not caplog.records
    text = COLLECTIVES.replace("link,", "") + untold.replace(",,", ",")
    without = imported(text, link="NVLink4+NVSwitch")
    assert without.tables["collectives"]["link"].tolist() == ["NVLink4+NVSwitch"]


def test_wires_that_nothing_tells_are_said_of_tidy_tables_too(imported, caplog):
    one_a_node = "H200,all_reduce,bf16,2,2,,1024,5\n"
    imported(COLLECTIVES + one_a_node)
    assert "wires" not in caplog.text
    imported(COLLECTIVES + one_a_node + one_a_node.replace("2,2", "8,1"))
    assert "nothing tells the wires of 1 of its collectives" in caplog.text
    with pytest.raises(MeasurementError, match="column 'link' holds numbers; expected text"):
        imported(COLLECTIVES + one_a_node.replace(",,", ",4,"))


def test_a_file_without_the_end_of_its_last_line_may_have_been_cut_off(imported, caplog):
    imported(HEAD + ROW)
    assert "cut off" not in caplog.text
    imported(HEAD + ROW.removesuffix("\n"))
    assert "its last line has no end; the file may have been cut off" in caplog.text


def test_other_spellings_of_a_number_format_are_taken(imported):
    found = imported(HEAD + ROW.replace("bf16", "torch.bfloat16"))
    assert found.tables["gemm"]["dtype"].tolist() == ["bf16"]


def test_a_layout_that_is_none_is_refused(imported):
    head, row = HEAD.replace("latency_us", "layout,latency_us"), ROW.replace("mm,5", "mm,{},5")
    found = imported(head + "".join(row.format(one) for one in ("NN", "TN", "NT", "TT", "")))
    assert found.tables["gemm"]["layout"].tolist() == ["NN", "TN", "NT", "TT", ""]
    complaint = "line 3: layout = 'XY'; expected one of NN, TN, NT, TT"
    with pytest.raises(MeasurementError, match=complaint):
        imported(head + row.format("NN") + row.format("XY"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("H200,bf16,64,32\n", "line 5: 4 values; expected 8; 'k' is missing"),
        ("H200,bf16,64,32,16,1,mm,5,6\n", "line 5: 9 values; expected 8"),
        ("H200,bf16,64,32,16,1,mm,\n", "line 5: latency_us = nan"),
        ("H200,bf17,64,32,16,1,mm,5\n", "line 5: dtype = 'bf17' is no known number format"),
        ("H200,,64,32,16,1,mm,5\n", "line 5: dtype is missing"),
        ("H200,bf16,1.5,32,16,1,mm,5\n", "line 5: m = 1.5; expected a whole number"),
        ("H200,bf16,64,x,16,1,mm,5\n", "line 5: n = x; expected a finite number"),
        ("H200,bf16,64,0,16,1,mm,5\n", "line 5: n = 0.0; expected a finite number"),
    ],
)
def test_what_is_wrong_is_named_by_the_line_that_an_editor_counts(imported, line, complaint):
    # An empty line is no row and an editor counts it.
    with pytest.raises(MeasurementError, match=complaint):
        imported(HEAD + ROW + "\n" + ROW + line + ROW)
