"""Which format a file of measurements has, told by its content and never by its name."""

from __future__ import annotations

import csv
import enum
from collections.abc import Callable
from pathlib import Path

from kernels.importers.aiconfigurator import is_aiconfigurator
from kernels.importers.mamf_finder import is_mamf
from kernels.importers.nccl_tests import is_nccl_tests
from kernels.importers.neusight import is_neusight
from kernels.importers.pytest_benchmark import is_pytest_benchmark
from kernels.importers.simumax import is_simumax
from kernels.importers.tidy_rows import family_of
from kernels.measurement_tables import MeasurementError, column_names

__all__ = ["Format", "recognise"]

HEAD_BYTES = 2**18
"""Beginning of a file that tells its format. [byte]"""

PARQUET_MAGIC = b"PAR1"
LFS_POINTER = "version https://git-lfs.github.com/spec/"


class Format(enum.StrEnum):
    """A format that can be imported, in the words of messages."""

    PYTEST_BENCHMARK = "pytest-benchmark JSON"
    NCCL_TESTS = "nccl-tests or rccl-tests output"
    MAMF_FINDER = "mamf-finder output"
    NEUSIGHT = "NeuSight table"
    AICONFIGURATOR = "AIConfigurator table"
    SIMUMAX = "SimuMax operator table"
    TIDY = "tidy table"


_BY_TEXT: tuple[tuple[Format, Callable[[str], bool]], ...] = (
    (Format.PYTEST_BENCHMARK, is_pytest_benchmark),
    (Format.NCCL_TESTS, is_nccl_tests),
    (Format.MAMF_FINDER, is_mamf),
    (Format.SIMUMAX, is_simumax),
)


def recognise(path: Path) -> Format:
    """Format of a file.

    Parameters
    ----------
    path
        The file; nothing but its beginning is read.

    Raises
    ------
    MeasurementError
        It cannot be read, is empty, or has no known format; the known ones are named.
    """
    head = _head(path)
    if head.startswith(PARQUET_MAGIC) or path.suffix == ".parquet":
        return _by_columns(path, column_names(path))
    text = head.decode("utf-8-sig", errors="replace")
    if text.startswith(LFS_POINTER):
        message = f"{path}: a pointer of Git LFS, not the file itself; fetch it with git lfs pull"
        raise MeasurementError(message)
    for kind, fits in _BY_TEXT:
        if fits(text):
            return kind
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        columns = [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error:
        columns = []
    return _by_columns(path, columns)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise MeasurementError(message) from error
    if not head.strip():
        message = f"{path}: is empty; expected measurements"
        raise MeasurementError(message)
    if head.startswith(PARQUET_MAGIC) and path.suffix != ".parquet":
        message = f"{path}: holds Parquet; give it a name that ends in .parquet"
        raise MeasurementError(message)
    return head


def _by_columns(path: Path, columns: tuple[str, ...] | list[str]) -> Format:
    if is_neusight(columns):
        return Format.NEUSIGHT
    if is_aiconfigurator(columns):
        return Format.AICONFIGURATOR
    if family_of(columns) is not None:
        return Format.TIDY
    message = f"{path}: is in no known format; known are {', '.join(Format)}"
    raise MeasurementError(message)
