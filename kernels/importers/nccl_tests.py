"""Text output of nccl-tests and rccl-tests: collectives by message size.

Format: github.com/NVIDIA/nccl-tests (``src/util.cu``, ``writeDeviceReport`` and
``writeResultHeader``) and github.com/ROCm/rccl-tests. Comment lines name the test (new versions),
the ranks with host and device, and the columns; a data line per size holds the out-of-place timing
and then the in-place one, times in microseconds. Old versions have no root and an ``error`` column
in place of ``#wrong``. A log of several tests is read test by test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kernels.importers.cells import Place, count, positive, text_of
from kernels.importers.devices import Devices
from kernels.importers.dtypes import tidy_dtype
from kernels.importers.nccl_ranks import Group, Rank, rank_of, ranks_in
from kernels.importers.request import OPERATIONS, Aside, ImportRequest, Rows
from kernels.importers.tidy_rows import CollectiveRow, TidyRow
from kernels.measurement_tables import MeasurementError

__all__ = ["SOURCE", "import_nccl_tests", "is_nccl_tests"]

SOURCE = "NCCL-TESTS"

_TESTS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "sendrecv": "p2p",
}
_TITLE = re.compile(
    r"(?<![a-z_])(all_reduce|all_gather|reduce_scatter|alltoallv?|sendrecv|broadcast|reduce|gather"
    r"|scatter|hypercube)_perf(?:_mpi)?\b"
)
_LIBRARY_CODE = re.compile(r"nccl-library=(\d+)")
_LIBRARY_VERSION = re.compile(r"\b(N|R)CCL version\s*:? (\d+\.\d+\.\d+)")
_HALVES = ("oop", "ip")
"""Out of place and in place, as the library column of public tables says it."""


def is_nccl_tests(text: str) -> bool:
    """Whether a text looks like the output of one of these tests."""
    has_columns = any(_is_header(line) for line in text.splitlines())
    return has_columns or "# Collective test starting:" in text


def _is_header(line: str) -> bool:
    words = line.split()
    return words[:3] == ["#", "size", "count"] and "busbw" in words


@dataclass(slots=True, kw_only=True)
class _Test:
    """What the comment lines have said so far of the test whose lines are being read."""

    operation: str | None
    operation_said: str | None
    """What the user says where nothing else does."""
    ranks: list[Rank] = field(default_factory=list)
    group: Group | None = None
    columns: tuple[str, ...] = ()
    version: str = ""
    is_amd: bool = False
    is_open: bool = False
    """Whether sizes were read that no closing line follows yet."""

    @property
    def library(self) -> str:
        """Library with its version where the file tells."""
        name = "rccl" if self.is_amd or (self.group and self.group.is_amd) else "nccl"
        return f"{name}-{self.version}" if self.version else name


def import_nccl_tests(path: Path, request: ImportRequest) -> Rows:
    """Every size of every test of a log, out of place and in place.

    Raises
    ------
    MeasurementError
        Ranks, columns or operation are not told, a line is cut off or holds a wrong number, a
        result was wrong, or the last test has no closing line.
    """
    text, aside, devices = text_of(path), Aside(path), request.devices()
    test = _Test(operation=request.operation, operation_said=request.operation)
    rows: list[TidyRow] = []
    for number, line in enumerate(text.split("\n"), start=1):
        place = Place(path, f"line {number}")
        if line.split()[:1] and line.split()[0].isdigit():
            found = tuple(_data(line, test, place, devices=devices, request=request, aside=aside))
            test.is_open |= bool(found)
            rows += found
        else:
            _learn(line, test, place)
    if not rows:
        message = f"{path}: holds no sizes; expected data lines of nccl-tests"
        raise MeasurementError(message)
    if test.is_open:
        # Sizes may be missing, and the last time may have lost digits.
        complaint = "the log ends here without the closing line '# Out of bounds values : …'"
        complaint += "; expected the whole output of a run that came to its end"
        raise Place(path, f"line {len(text.splitlines())}").error(complaint)
    aside.report()
    return {"collectives": rows}


def _learn(line: str, test: _Test, place: Place) -> None:
    """Take in a comment, or the command line above the output."""
    rank = rank_of(line, place)
    if rank is not None:
        test.ranks.append(rank)
    elif line.startswith("# Using devices"):
        test.ranks, test.group, test.columns = [], None, ()
    elif _is_header(line):
        test.columns = tuple(line.split()[1:])
        for name in ("type", "time"):
            if name not in test.columns:
                aside = "; cputime is the host's, not the device's" if name == "time" else ""
                complaint = f"holds no column {name!r}{aside}"
                raise place.error(complaint)
        test.group = ranks_in(test.ranks, place)
    elif "Out of bounds values" in line:
        if "FAILED" in line:
            complaint = "the test says that its results are wrong"
            raise place.error(complaint)
        # What comes next is another test, whose operation this one does not tell.
        test.operation, test.is_open = test.operation_said, False
    else:
        _learn_names(line, test, place)


def _learn_names(line: str, test: _Test, place: Place) -> None:
    """Operation and library, wherever a line names them."""
    title = _TITLE.search(line)
    if title is not None and "concluded" not in line:
        if title[1] not in _TESTS:
            tests = ", ".join(f"{name}_perf" for name in _TESTS)
            complaint = f"{title[0]} is no test that the project models; known are {tests}"
            raise place.error(complaint)
        test.operation = _TESTS[title[1]]
    code = _LIBRARY_CODE.search(line)
    if code is not None:
        major, rest = divmod(int(code[1]), 10_000)
        test.version = f"{major}.{rest // 100}.{rest % 100}"
    version = _LIBRARY_VERSION.search(line)
    if version is not None:
        test.version = version[2]
    test.is_amd |= "rccl" in line.lower()


def _data(
    line: str,
    test: _Test,
    place: Place,
    *,
    devices: Devices,
    request: ImportRequest,
    aside: Aside,
) -> Iterator[CollectiveRow]:
    """Timings of one data line."""
    words = line.split()
    if not test.columns or test.group is None:
        # Other programs write into the same log, but not two whole numbers first.
        if words[1:2] and words[1].isdigit():
            complaint = "a data line without the header that names ranks and columns above it"
            raise place.error(complaint)
        return
    # A timestamp, where one was asked for, follows the last column.
    n_expected = sum(name != "timestamp" for name in test.columns)
    if len(words) < n_expected:
        complaint = f"{len(words)} values; expected {n_expected} ({' '.join(test.columns)})"
        raise place.error(complaint)
    if words[0] == "0":
        aside.count("sizes of 0 bytes")
        return
    yield from _timings(words, test, place, devices=devices, link=request.link)


def _timings(
    words: list[str], test: _Test, place: Place, *, devices: Devices, link: str
) -> Iterator[CollectiveRow]:
    if test.operation is None or test.group is None:
        complaint = f"nothing tells the operation; say --operation, one of {', '.join(OPERATIONS)}"
        raise place.error(complaint)
    columns, group = test.columns, test.group
    times = [number for number, name in enumerate(columns) if name == "time"]
    for half, first in zip(_HALVES, times, strict=False):
        _require_right(columns, words, first, place)
        if words[first] == "N/A":
            continue
        yield CollectiveRow(
            device=devices.profile(group.device, place),
            op=test.operation,
            dtype=tidy_dtype(words[columns.index("type")], "type", place),
            ranks=group.n_ranks,
            nodes=group.n_nodes,
            link=link,
            message_bytes=count(words[columns.index("size")], "size", place),
            latency_us=positive(words[first], f"time ({half})", place),
            library=f"{test.library}:{half}",
            source_id=SOURCE,
        )


def _require_right(columns: tuple[str, ...], words: list[str], first: int, place: Place) -> None:
    """Refuse a timing whose results were not those expected."""
    if "#wrong" not in columns[first:]:
        return
    wrong = words[columns.index("#wrong", first)]
    if wrong == "N/A":  # not checked
        return
    try:
        n_wrong = float(wrong)
    except ValueError:
        complaint = f"#wrong = {wrong!r}; expected a count or N/A"
        raise place.error(complaint) from None
    if n_wrong != 0.0:
        complaint = f"#wrong = {wrong}: the collective gave wrong results; its time is refused"
        raise place.error(complaint)
