"""Which file is what, and what all importers have in common."""

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import TweelingError
from kernels.importers.export import tidy_csv, write_tables
from kernels.importers.files import import_file, joined_tables
from kernels.importers.formats import Format, recognise
from kernels.importers.request import ImportRequest
from kernels.measurement_tables import MeasurementError

SAID = {"device": "h100-sxm", "operation": "all_reduce", "link": "NVLink4+NVSwitch"}
FORMATS = {
    "nccl": Format.NCCL_TESTS,
    "old_rccl": Format.NCCL_TESTS,
    "mamf": Format.MAMF_FINDER,
    "mamf_1": Format.MAMF_FINDER,
    "mamf_4": Format.MAMF_FINDER,
    "neusight": Format.NEUSIGHT,
    "neusight_vectors": Format.NEUSIGHT,
    "aic_gemm": Format.AICONFIGURATOR,
    "aic_context": Format.AICONFIGURATOR,
    "aic_generation": Format.AICONFIGURATOR,
    "aic_nccl": Format.AICONFIGURATOR,
    "aic_all_reduce": Format.AICONFIGURATOR,
    "pytest": Format.PYTEST_BENCHMARK,
    "simumax": Format.SIMUMAX,
    "tidy": Format.TIDY,
}


def rows_of(table):
    return list(zip(*(column.tolist() for column in table.columns.values()), strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_told_by_content_whatever_the_name(samples, tmp_path, name):
    path = tmp_path / "no-name.bin"
    path.write_text(samples.all[name])
    assert recognise(path) is FORMATS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_imported_written_and_read_again_is_the_same(samples, imported, tmp_path, name):
    found = imported(samples.all[name], **SAID)
    for family, table in found.tables.items():
        path = tmp_path / f"{family}.csv"
        path.write_text(tidy_csv(family, table))
        again = import_file(path, ImportRequest(catalogue=Catalogue()))
        assert again.format is Format.TIDY
        assert list(again.tables[family].columns) == list(table.columns)
        assert rows_of(again.tables[family]) == rows_of(table)


@pytest.mark.parametrize("name", FORMATS)
def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(samples, imported, name):
    text = samples.all[name]
    plain = imported(text, **SAID)
    other = imported(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), **SAID)
    assert plain.n_rows == other.n_rows
    for family, table in plain.tables.items():
        assert rows_of(other.tables[family]) == rows_of(table)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "tidy"])
def test_a_file_cut_off_anywhere_gives_whole_rows_or_an_error(samples, imported, caplog, name):
    """Never a row that is not in the whole file; digits that a last cell lost are warned of."""
    text = samples.all[name].rstrip("\n")
    whole = imported(text, **SAID)
    known = {family: set(rows_of(table)) for family, table in whole.tables.items()}
    for end in range(0, len(text), max(1, len(text) // 60)):
        caplog.clear()
        try:
            part = imported(text[:end], **SAID)
        except MeasurementError:
            continue
        is_whole = all(set(rows_of(t)) <= known[family] for family, t in part.tables.items())
        assert is_whole or "may have been cut off" in caplog.text


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "tidy"])
def test_bytes_that_are_no_text_are_named_by_line(samples, imported, name):
    content = samples.all[name].encode()
    middle = content.rindex(b"\n", 0, len(content) - 2)
    with pytest.raises(MeasurementError, match=r"measured\.dat: line \d+: byte 0xff is no UTF-8"):
        imported(content[:middle] + b"\n\xff\xfe" + content[middle:], **SAID)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"hello, world\n", "in no known format; known are pytest-benchmark JSON, nccl-tests"),
        (b"\xff\xfeh\x00i\x00", "in no known format"),
        (b"x" * 2**18, "in no known format"),
        (b'{"benchmarks": [' + b"9" * 5000 + b"]}", "number too long"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"PAR1", "name that ends in .parquet"),
    ],
)
def test_what_is_no_measurement_is_one_clear_line(imported, content, complaint):
    with pytest.raises(MeasurementError, match=complaint) as refusal:
        imported(content)
    assert "\n" not in str(refusal.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(MeasurementError, match="cannot be read"):
        recognise(tmp_path)


@pytest.mark.parametrize("name", ["aic_gemm", "aic_context", "neusight", "tidy"])
def test_parquet_says_the_same_as_text(samples, imported, tmp_path, name):
    text = samples.all[name]
    path = tmp_path / "same.parquet"
    pq.write_table(pa_csv.read_csv(pa.py_buffer(text.encode())), path)
    from_parquet = import_file(path, ImportRequest(catalogue=Catalogue()))
    for family, table in imported(text).tables.items():
        assert rows_of(from_parquet.tables[family]) == rows_of(table)


def test_a_device_without_a_profile_is_named_and_can_be_named(samples, imported):
    text = samples.all["neusight"].replace("NVIDIA L4", "NVIDIA H100")
    with pytest.raises(MeasurementError, match=r"line 2: device 'NVIDIA H100'.*--device PROFILE"):
        imported(text)
    found = imported(text, device="H100-SXM5-80GB")
    assert set(found.tables["gemm"]["device"]) == {"h100-sxm"}


def test_one_name_does_not_stand_for_two_devices(samples, imported):
    text = samples.all["neusight"].replace("bmm,0.5,NVIDIA L4", "bmm,0.5,Other")
    assert set(imported(text, device="t4").tables["gemm"]["device"]) == {"l4", "t4"}
    with pytest.raises(MeasurementError, match="line 3: neither device 'Other' nor 'New'"):
        imported(text.replace("linear,1.25,NVIDIA L4", "linear,1.25,New"), device="t4")


def test_a_user_s_device_that_is_unknown_is_the_user_s_mistake(samples, imported):
    with pytest.raises(TweelingError, match='--device: accelerator "h1000"'):
        imported(samples.all["aic_nccl"], device="h1000")


@pytest.mark.parametrize("said", [{"operation": "broadcast"}, {"link": "a piece of string"}])
def test_options_that_mean_nothing_are_refused(said):
    with pytest.raises(TweelingError, match="expected"):
        ImportRequest(catalogue=Catalogue(), **said)


def test_tables_are_written_whole_or_not_at_all(samples, imported, tmp_path):
    tables = joined_tables([imported(samples.all["pytest"]), imported(samples.all["tidy"])])
    out = tmp_path / "out"
    files = write_tables(tables, out, may_replace=False)
    assert sorted(file.name for file in out.iterdir()) == ["gemm.csv", "ops.csv"]
    (out / "ops.csv").unlink()
    before = files[0].read_text()
    with pytest.raises(MeasurementError, match=r"gemm\.csv is there already.*--replace"):
        write_tables(tables, out, may_replace=False)
    assert [file.name for file in out.iterdir()] == ["gemm.csv"]
    write_tables(tables, out, may_replace=True)
    assert files[0].read_text() == before
    (out / "gemm.csv").rename(out / "gemm.parquet")
    with pytest.raises(MeasurementError, match="which is read first"):
        write_tables(tables, out, may_replace=True)
