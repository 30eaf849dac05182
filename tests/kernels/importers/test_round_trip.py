"""A tidy table that was written and read again is the same table, whatever its rows are."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles.catalogue import Catalogue
from kernels.importers.export import tidy_csv
from kernels.importers.request import ImportRequest
from kernels.importers.tidy import read_tidy
from kernels.importers.tidy_rows import (
    AttentionRow,
    BandwidthRow,
    CollectiveRow,
    GemmRow,
    OperationRow,
    column_table,
)

REQUEST = ImportRequest(catalogue=Catalogue())
SIZE = st.integers(min_value=1, max_value=2**50)
TIME_US = st.floats(min_value=1e-3, max_value=1e12, allow_subnormal=False)
# A name begins with a letter: a column of digits alone is a column of numbers to any reader.
NAME = st.from_regex(r"[a-z][A-Za-z0-9 .:,_\"'()*+-]{0,12}[a-z0-9]", fullmatch=True)
FIELDS = {
    "device": NAME,
    "dtype": st.sampled_from(["bf16", "fp32", "fp8_block128"]),
    "layout": st.sampled_from(["", "NN", "TN", "NT"]),
    "library": NAME,
    "op": NAME,
    "direction": st.sampled_from(["fwd", "bwd"]),
    "link": NAME,
    "source_id": NAME,
    "flag": NAME,
    "causal": st.booleans(),
    "ranks": st.integers(min_value=2, max_value=10_000),
    "latency_us": TIME_US,
    "GBps": TIME_US,
}
KINDS = {
    "gemm": GemmRow,
    "attention": AttentionRow,
    "collectives": CollectiveRow,
    "ops": OperationRow,
    "membw": BandwidthRow,
}


def rows_of(family):
    kind = KINDS[family]
    fields = {name: FIELDS.get(name, SIZE) for name in kind.__dataclass_fields__}
    rows = st.lists(st.builds(kind, **fields), min_size=1, max_size=5)
    return st.tuples(st.just(family), rows)


@settings(max_examples=60)
@given(st.sampled_from(sorted(KINDS)).flatmap(rows_of))
def test_nothing_is_lost_between_writing_and_reading(case):
    family, rows = case
    table = column_table(family, rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_text(tidy_csv(family, table), encoding="utf-8")
        found, again = read_tidy(path, REQUEST)
    assert found == family
    for name, column in table.columns.items():
        assert again[name].tolist() == column.tolist()
