"""Tables of measured kernels, read batch by batch: our own, a survey's folder, a public collection.

What a table holds is told by its columns; files of other tools go through the importers. Of a table
of many devices only the rows of one device are kept, so that a million rows are a matter of seconds
and can be stopped at any batch.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    AttentionShape,
    attention_flop,
)
from kernels.calibration.split import is_heldout
from kernels.gemm.model import FLOP_PER_MULTIPLY_ADD, GemmShape, compulsory_traffic_bytes
from kernels.gemm.precision import PRECISIONS
from kernels.importers.formats import recognise
from kernels.importers.request import ImportRequest
from kernels.measurement_tables import MeasurementError, Table, column_names
from kernels.prediction.operations import matrix_sizes
from kernels.table_lines import has_torn_end, row_spot, torn_line
from twin.foreign_kernels import foreign_tables, is_foreign
from twin.kernel_columns import (
    COLLECTIVE,
    HOST_TRANSFERS,
    N_SIZES,
    STREAM,
    TEXTS,
    KernelColumns,
    concatenated,
)
from twin.kernel_times import KernelPredictors
from twin.roofline import DeviceRoofs, device_roofs
from twin.table_kinds import TableKind, kind_or_none

__all__ = ["Progress", "device_names", "read_kernels", "table_files"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

BATCH_ROWS = 65_536
"""Rows that are read, predicted and counted at a time. [1]"""

LARGEST = 1e15
"""Sizes and times beyond this are slips, and their products would leave the range of numbers."""

MAY_LACK = ("latency_us", "bytes")
"""Columns of numbers that a row may leave empty."""

MICROSECONDS = 1e-6
CAUSAL_FRACTION = 0.5
WIDTHS = {"fp64": 8.0, "fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
"""Bytes of an element by dtype; 2 for others. [byte]"""


def table_files(path: Path) -> tuple[Path, ...]:
    """The file that a path names, or all files of a folder that hold measured kernels.

    Raises
    ------
    MeasurementError
        Nothing there, or nothing of it holds kernels in a known format.
    """
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.is_file())
        kept = tuple(one for one in found if _holds_kernels(one))
        if kept:
            return kept
        msg = f"{path}: no table of kernels; expected files as of kernels.survey or its benches"
        raise MeasurementError(msg)
    if not path.is_file():
        msg = f"{path}: no such file or folder"
        raise MeasurementError(msg)
    if kind_or_none(path) is None:
        recognise(path)
    return (path,)


def _holds_kernels(path: Path) -> bool:
    """Whether a file of a folder is read; what is broken beyond recognition is not."""
    try:
        return kind_or_none(path) is not None or is_foreign(path)
    except MeasurementError:
        return False


def device_names(path: Path, request: ImportRequest) -> tuple[str, ...]:
    """Devices that the rows of a file or folder name; an empty text for rows that name none.

    Raises
    ------
    MeasurementError
        As `table_files` and the importers say.
    """
    found: set[str] = set()
    for file in table_files(path):
        if kind_or_none(file) is None:
            for _, table in foreign_tables(file, request):
                found.update(str(name) for name in set(table["device"].tolist()))
        elif "device" not in column_names(file):
            found.add("")
        else:
            for _, batch in _arrow_batches(file, ["device"]):
                found.update(str(name) for name in set(_array(batch.column("device")).tolist()))
    return tuple(sorted(found))


@dataclass(slots=True)
class Progress:
    """Rows looked at so far, for whoever waits."""

    n_read: int = 0
    n_rows: int = 0
    """Rows of the file; 0 where it does not say. [1]"""
    n_kept: int = 0
    path: Path | None = None
    parts: list[KernelColumns] = field(default_factory=list)

    @property
    def columns(self) -> KernelColumns:
        """The device's rows so far."""
        return concatenated(self.parts)


def read_kernels(
    paths: Sequence[Path],
    accelerator: Accelerator,
    predictors: KernelPredictors,
    *,
    request: ImportRequest,
    origin: str = "",
    also_called: Collection[str] = (),
) -> Iterator[Progress]:
    """Read the rows of one device and predict each of them.

    Yields after every batch; the caller stops by not asking again, and what was read until then
    stays.

    Parameters
    ----------
    paths
        Tables, as `table_files` finds them.
    accelerator
        Whose rows are kept: those under its name or one of its aliases.
    predictors
        Models that predict the rows.
    request
        What is said of files of other tools that do not say it themselves.
    origin
        What to say of where the rows come from; the name of the file by default.
    also_called
        Other names under which the device's rows stand in the tables.

    Raises
    ------
    MeasurementError
        A file that cannot be read, or a size or time in it that is no number above 0.
    """
    roofs = device_roofs(accelerator)
    wanted = {name.lower() for name in (accelerator.name, *accelerator.aliases, *also_called)}
    progress = Progress()
    for path in paths:
        for kind, n_batch, n_rows, rows in _rows_of(path, wanted, request):
            progress.n_read += n_batch
            progress.n_rows, progress.path = n_rows, path
            progress.n_kept += len(rows)
            if len(rows):
                predicted_s = predictors.times_s(kind.name, rows, accelerator)
                progress.parts.append(
                    _kernels(kind, rows, predicted_s, roofs=roofs, origin=origin or path.name)
                )
            yield progress


def _rows_of(
    path: Path, wanted: Collection[str], request: ImportRequest
) -> Iterator[tuple[TableKind, int, int, Table]]:
    """(kind, rows looked at, rows of the file, rows of the device) of each batch."""
    kind = kind_or_none(path)
    if kind is not None:
        for n_batch, n_rows, rows in _batches(path, kind, wanted):
            yield kind, n_batch, n_rows, rows
        return
    for foreign, table in foreign_tables(path, request):
        yield foreign, len(table), len(table), table.where(_of_device(table, wanted))


def _batches(
    path: Path, kind: TableKind, wanted: Collection[str]
) -> Iterator[tuple[int, int, Table]]:
    """(rows looked at, rows of the file, rows of the device) of each batch."""
    names = column_names(path)
    n_before = 0
    twice = next((name for name in kind.columns if names.count(name) > 1), None)
    if twice is not None:
        msg = f"{path}: column {twice!r} stands there twice; expected it once"
        raise MeasurementError(msg)
    present = [name for name in kind.columns if name in names]
    for n_rows, batch in _arrow_batches(path, present):
        n_batch = batch.num_rows
        columns: dict[str, Any] = {}
        for name in present:
            column = batch.column(name)
            if name in MAY_LACK:
                _require_not_nan(column, name, path=path, n_before=n_before)
            if column.null_count < n_batch or name not in kind.optional:
                columns[name] = _array(column, is_number=name in kind.numbers)
        for name, default in kind.optional.items():
            if name not in columns:
                dtype = object if isinstance(default, str) else None
                columns[name] = np.full(n_batch, default, dtype=dtype)
        table = Table(columns=columns)
        _require_numbers(table, kind, path=path, n_before=n_before)
        n_before += n_batch
        yield n_batch, n_rows, table.where(_of_device(table, wanted))


def _require_not_nan(column: Any, name: str, *, path: Path, n_before: int) -> None:  # noqa: ANN401
    """Refuse a written NaN: a row that was not timed has an empty cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):
        is_nan = pc.is_nan(column).fill_null(fill_value=False).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(is_nan)
        if len(wrong):
            msg = (
                f"{path}: {row_spot(path, n_before + int(wrong[0]))}: {name} = nan; expected a "
                f"number above 0 and at most {LARGEST:g}, or an empty cell where nothing was timed"
            )
            raise MeasurementError(msg)


def _require_numbers(table: Table, kind: TableKind, *, path: Path, n_before: int) -> None:
    """Refuse sizes and times that are no numbers above 0; a row without a time was not timed."""
    for name in kind.numbers:
        values = table[name]
        if values.dtype == object:
            rows = enumerate(values.tolist())
            row, text = next(((n, one) for n, one in rows if not _is_number(one)), (0, values[0]))
            msg = f"{path}: {row_spot(path, n_before + row)}: {name} = {text!r} is no number"
            raise MeasurementError(msg)
        is_right = (values > 0.0) & (values <= LARGEST)
        if name in MAY_LACK:
            is_right |= np.isnan(values) | ((values == 0.0) & (name == "bytes"))
        wrong = np.flatnonzero(~is_right)
        if len(wrong):
            row = int(wrong[0])
            msg = (
                f"{path}: {row_spot(path, n_before + row)}: {name} = {values[row]:g}; expected a "
                f"number above 0 and at most {LARGEST:g}"
            )
            raise MeasurementError(msg)
    for name in kind.choices:
        if table[name].dtype == object:
            msg = f"{path}: column {name!r}: {table[name][0]!r}; expected true or false"
            raise MeasurementError(msg)


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _of_device(table: Table, wanted: Collection[str]) -> npt.NDArray[np.bool_]:
    """Rows of the device that were timed; a table without a device column is all of it."""
    devices = table["device"]
    names = set(devices.tolist())
    chosen = {name for name in names if str(name).lower() in wanted or not name}
    mask = np.isin(devices.astype(str), list(chosen)) if chosen else np.zeros(len(table), bool)
    return np.asarray(mask & (table["latency_us"] > 0.0))


def _arrow_batches(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    # pyarrow takes long to import; nothing but measured tables needs it.
    import pyarrow as pa

    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pa_parquet

            file = pa_parquet.ParquetFile(path)
            n_rows = file.metadata.num_rows
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                yield n_rows, batch
        else:
            import pyarrow.csv as pa_csv

            if has_torn_end(path):
                logger.warning("%s: its last line has no end; the file may have been cut off", path)
            # Only an empty cell is none: Arrow would take nan, NA and null for one as well.
            options = pa_csv.ConvertOptions(include_columns=list(columns), null_values=[""])
            for batch in pa_csv.open_csv(path, convert_options=options):
                yield 0, batch
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        torn = None if path.suffix == ".parquet" else torn_line(path)
        msg = f"{path}: {torn or ' '.join(str(error).split())}"
        raise MeasurementError(msg) from error


def _array(column: Any, *, is_number: bool = False) -> npt.NDArray[Any]:  # noqa: ANN401
    """A column as numbers, truth values or texts; nothing but empty cells is what it should be."""
    import pyarrow as pa

    kind = column.type
    if is_number and pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if pa.types.is_null(kind):
        return np.full(len(column), "", dtype=object)
    encoded = column.cast(pa.string()).fill_null("").dictionary_encode()
    texts = np.array([*encoded.dictionary.to_pylist(), ""], dtype=object)
    return np.asarray(texts[encoded.indices.to_numpy(zero_copy_only=False)])


def _kernels(
    kind: TableKind, rows: Table, predicted_s: FloatArray, *, roofs: DeviceRoofs, origin: str
) -> KernelColumns:
    """Rows of a table as columns of kernels: work, traffic and roof of each."""
    n_rows = len(rows)
    widths = _widths(rows)
    sizes = np.zeros((n_rows, N_SIZES))
    flop, traffic = np.zeros(n_rows), np.zeros(n_rows)
    match kind.name:
        case "gemm":
            sizes[:, :4] = np.column_stack([rows[name] for name in ("m", "n", "k", "batch")])
            flop = FLOP_PER_MULTIPLY_ADD * sizes[:, :4].prod(axis=1)
            traffic = _gemm_traffic_bytes(sizes, rows)
        case "attention":
            flop, traffic = _attention_work(rows, sizes, widths)
        case "collective":
            sizes[:, :2] = np.column_stack([rows["ranks"], rows["message_bytes"]])
            passes = np.where(rows["op"] == "all_reduce", 2.0, 1.0)
            traffic = passes * sizes[:, 1] * (1.0 - 1.0 / np.maximum(sizes[:, 0], 2.0))
        case _:
            traffic = rows["bytes"].astype(np.float64)
            if kind.name == "operation":
                sizes[:, :2] = np.column_stack([rows["rows"], rows["cols"]])
                traffic = np.where(traffic > 0.0, traffic, _operation_traffic_bytes(rows, widths))
            else:
                sizes[:, 0] = traffic
    names = rows["op"] if "op" in rows.columns else np.full(n_rows, kind.name, dtype=object)
    columns = {"name": names, "origin": np.full(n_rows, origin, dtype=object)}
    columns |= {name: rows[name] for name in ("dtype", "direction", "library")}
    texts, codes = _encoded(columns)
    return KernelColumns(
        family=np.full(n_rows, kind.family, dtype=np.int8),
        sizes=sizes,
        codes=codes,
        texts=texts,
        measured_s=rows["latency_us"] * MICROSECONDS,
        predicted_s=predicted_s,
        flop=flop,
        traffic_bytes=traffic,
        roof_s=_roofs_s(kind, rows, flop, traffic, roofs),
        is_heldout=_heldout(kind, sizes),
    )


def _encoded(
    columns: Mapping[str, npt.NDArray[Any]],
) -> tuple[dict[str, tuple[str, ...]], dict[str, npt.NDArray[np.int32]]]:
    """Texts once, and the number of each row's."""
    texts: dict[str, tuple[str, ...]] = {}
    codes: dict[str, npt.NDArray[np.int32]] = {}
    for name in TEXTS:
        values = columns[name].astype(str)
        found, numbers = np.unique(values, return_inverse=True)
        texts[name], codes[name] = tuple(found.tolist()), numbers.astype(np.int32)
    return texts, codes


def _widths(rows: Table) -> FloatArray:
    table = {str(name): WIDTHS.get(str(name), 2.0) for name in set(rows["dtype"].tolist())}
    return np.array([table[str(name)] for name in rows["dtype"]])


def _operation_traffic_bytes(rows: Table, widths: FloatArray) -> FloatArray:
    """Least traffic of operations: their passes, else each element read and written once. [byte]"""
    passes = matrix_sizes(rows)[:, 3]
    return np.where(np.isnan(passes), 2.0, passes) * rows["rows"] * rows["cols"] * widths


def _gemm_traffic_bytes(sizes: FloatArray, rows: Table) -> FloatArray:
    """Operands once and result once. [byte]"""
    traffic = np.zeros(len(rows))
    dtypes = rows["dtype"]
    for name in set(dtypes.tolist()):
        chosen = dtypes == name
        precision = PRECISIONS.get(str(name), PRECISIONS["bf16"])
        m, n, k, batch = sizes[chosen, :4].T
        operand = precision.operand_bytes
        # The formula multiplies and adds: arrays serve as well as numbers.
        shape = GemmShape(m, n, k, operand, operand, precision.result_bytes, batch)
        traffic[chosen] = compulsory_traffic_bytes(shape)
    return traffic


def _attention_work(
    rows: Table, sizes: FloatArray, widths: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Matrix work and least traffic of attention; fills the sizes."""
    names = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "causal")
    sizes[:] = np.column_stack([rows[name].astype(np.float64) for name in names])
    batch, heads, kv_heads, query, key, width, causal = sizes.T
    visible = np.where(causal > 0.0, CAUSAL_FRACTION, 1.0)
    shape = AttentionShape(batch, heads, kv_heads, query, key, width, visible, widths)  # type: ignore[arg-type]
    is_backward, is_both = rows["direction"] == "bwd", rows["direction"] == "fwd_bwd"
    products = np.where(is_backward, BACKWARD_PRODUCTS, FORWARD_PRODUCTS)
    products = np.where(is_both, BACKWARD_PRODUCTS + FORWARD_PRODUCTS, products)
    once = 2.0 * batch * width * widths * (query * heads + key * kv_heads)
    passes = np.where(is_backward, 2.0, np.where(is_both, 3.0, 1.0))
    flop = attention_flop(shape, products)  # type: ignore[arg-type]  # arrays serve as well
    return np.asarray(flop), np.asarray(passes * once)


def _roofs_s(
    kind: TableKind, rows: Table, flop: FloatArray, traffic: FloatArray, roofs: DeviceRoofs
) -> FloatArray:
    """Least time under the roof; NaN where the device has none for it. [s]"""
    level = "link" if kind.family == COLLECTIVE else "memory"
    bandwidth = roofs.bytes_per_s(level)
    memory_s = traffic / bandwidth if bandwidth else np.full(len(rows), np.nan)
    if kind.family == STREAM:
        return np.where(np.isin(rows["op"].astype(str), HOST_TRANSFERS), np.nan, memory_s)
    if kind.family == COLLECTIVE:
        return memory_s
    peaks = {
        str(name): roofs.peak_flop_per_s(_peak_name(str(name)))
        for name in set(rows["dtype"].tolist())
    }
    rates = np.array([peaks[str(name)] or np.nan for name in rows["dtype"]])
    return np.asarray(np.maximum(flop / rates, memory_s))


def _peak_name(dtype: str) -> str:
    precision = PRECISIONS.get(dtype.split("/", maxsplit=1)[0])
    return precision.peak if precision else dtype


def _heldout(kind: TableKind, sizes: FloatArray) -> npt.NDArray[np.bool_]:
    """Which rows' shapes were set aside in the fits of their family."""
    places = {"gemm": (1, 2), "attention": (1, 2, 5)}.get(kind.name)
    if places is None or not len(sizes):
        return np.zeros(len(sizes), dtype=np.bool_)
    keys, where = np.unique(sizes[:, places], axis=0, return_inverse=True)
    aside = [is_heldout(kind.name, tuple(int(size) for size in key)) for key in keys]
    return np.asarray(np.array(aside, dtype=np.bool_)[where.reshape(-1)])
