"""Kernels of one device as columns: what they do, how long they took and should take.

A million measurements are columns and not objects; `KernelColumns.point` makes one row a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from twin.figures import FigureError
from twin.filter_expression import COMPARE, Filter, Term, holds, parse_filter

__all__ = [
    "FAMILIES",
    "HOST_TRANSFERS",
    "KernelColumns",
    "KernelKind",
    "KernelPoint",
    "concatenated",
    "kernel_filter",
    "kinds_of",
    "mask_of",
    "no_kernels",
    "shape_text",
]

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

FAMILIES = ("gemm", "attention", "stream", "collective")
"""Kernel families; a row holds the number of its own."""

N_SIZES = 7
"""Sizes that a row may have. [1]"""

GEMM, ATTENTION, STREAM, COLLECTIVE = range(len(FAMILIES))

HOST_TRANSFERS = ("h2d", "d2h")
"""Streams over the bus to the host and back: neither memory nor link of a device bounds them."""

TEXTS = ("name", "dtype", "direction", "library", "origin")
"""Columns of texts, each held once and named by number."""

FIELDS: Mapping[str, str] = {
    "family": "family",
    "name": "name",
    "op": "name",
    "dtype": "dtype",
    "dir": "direction",
    "lib": "library",
    "library": "library",
    "from": "origin",
    "err": "error",
    "error": "error",
    "share": "share",
    "time": "time",
    "measured": "measured",
    "predicted": "predicted",
    "flop": "flop",
    "bytes": "bytes",
    "intensity": "intensity",
    **{name: name for name in ("m", "n", "k", "batch", "heads", "seq", "d", "rows", "cols")},
    "heldout": "heldout",
}
"""What may be typed in a filter over kernels."""

_SIZE_PLACES = {
    "m": (GEMM, 0), "n": (GEMM, 1), "k": (GEMM, 2),
    "heads": (ATTENTION, 1), "seq": (ATTENTION, 3), "d": (ATTENTION, 5),
    "rows": (STREAM, 0), "cols": (STREAM, 1),
}  # fmt: skip
_SCALES = {"time": 1e-6, "measured": 1e-6, "predicted": 1e-6, "error": 1e-2, "share": 1e-2}
_PREFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPoint:
    """One kernel of one shape."""

    family: str
    name: str
    """Operation, or layer of a model."""
    shape: str
    dtype: str
    direction: str
    library: str
    origin: str
    """Model and plan that it belongs to, or the measurement that it comes from."""
    flop: float
    traffic_bytes: float
    """Each operand read once and each result written once. [byte]"""
    predicted_s: float | None
    measured_s: float | None
    error_fraction: float | None
    """Predicted over measured, minus one. [1]"""
    roof_share_fraction: float | None
    """Least time under the roof over the time it takes. [1]"""
    is_heldout: bool
    """Whether rows of this shape were set aside when the model was fitted."""


class KernelKind(NamedTuple):
    """What decides which constants predict a kernel, whatever its shape."""

    family: str
    name: str
    """Operation, or layer of a model."""
    dtype: str
    direction: str
    library: str
    is_causal: bool
    """Whether attention has a causal mask."""
    is_operation: bool
    """Whether a stream is an operation on rows and columns, and no plain stream of bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelColumns:
    """Rows of kernels of one device, by column."""

    family: npt.NDArray[np.int8]
    sizes: FloatArray
    """As the family has them: m, n, k, batch; batch, heads, KV heads, lengths, head dim, causal;
    rows, columns; ranks. [1]"""
    codes: Mapping[str, Codes]
    """Numbers of texts, by the names in `TEXTS`."""
    texts: Mapping[str, tuple[str, ...]]
    measured_s: FloatArray
    """NaN where nobody measured it."""
    predicted_s: FloatArray
    """NaN where the model does not cover it."""
    flop: FloatArray
    traffic_bytes: FloatArray
    roof_s: FloatArray
    """Least time under the roof."""
    is_heldout: Mask

    def __len__(self) -> int:
        return len(self.family)

    @property
    def time_s(self) -> FloatArray:
        """Measured time, predicted where there is none. [s]"""
        return np.where(np.isnan(self.measured_s), self.predicted_s, self.measured_s)

    @property
    def error_fraction(self) -> FloatArray:
        """Predicted over measured, minus one. [1]"""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.predicted_s / self.measured_s - 1.0)

    @property
    def share_fraction(self) -> FloatArray:
        """Share of the roof. [1]"""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.roof_s / self.time_s)

    @property
    def intensity_flop_per_byte(self) -> FloatArray:
        """Arithmetic over traffic; 1 where there is no matrix work, so that rates are bytes. [1]"""
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = self.flop / self.traffic_bytes
        return np.where(self.flop > 0.0, intensity, 1.0)

    @property
    def rate_flop_per_s(self) -> FloatArray:
        """Arithmetic rate; bytes per second for what does no matrix work. [flop/s]"""
        work = np.where(self.flop > 0.0, self.flop, self.traffic_bytes)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(work / self.time_s)

    def text(self, column: str, row: int) -> str:
        """A text of one row."""
        return self.texts[column][int(self.codes[column][row])]

    def where(self, mask: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> KernelColumns:
        """The rows at which a mask holds, or those of an index array."""
        return KernelColumns(
            family=self.family[mask],
            sizes=self.sizes[mask],
            codes={name: codes[mask] for name, codes in self.codes.items()},
            texts=self.texts,
            measured_s=self.measured_s[mask],
            predicted_s=self.predicted_s[mask],
            flop=self.flop[mask],
            traffic_bytes=self.traffic_bytes[mask],
            roof_s=self.roof_s[mask],
            is_heldout=self.is_heldout[mask],
        )

    def point(self, row: int) -> KernelPoint:
        """One row as a value."""
        measured, predicted = self.measured_s[row], self.predicted_s[row]
        time = predicted if np.isnan(measured) else measured
        return KernelPoint(
            family=FAMILIES[self.family[row]],
            name=self.text("name", row),
            shape=shape_text(int(self.family[row]), self.sizes[row]),
            dtype=self.text("dtype", row),
            direction=self.text("direction", row),
            library=self.text("library", row),
            origin=self.text("origin", row),
            flop=float(self.flop[row]),
            traffic_bytes=float(self.traffic_bytes[row]),
            predicted_s=_known(predicted),
            measured_s=_known(measured),
            error_fraction=_known(predicted / measured - 1.0),
            roof_share_fraction=_known(self.roof_s[row] / time),
            is_heldout=bool(self.is_heldout[row]),
        )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def shape_text(family: int, sizes: FloatArray) -> str:
    """Sizes of one kernel as people write them."""
    s = [f"{size:.0f}" if size == round(size) else f"{size:.4g}" for size in sizes.tolist()]
    if family == GEMM:
        return f"{s[0]} x {s[1]} x {s[2]}" + (f" b{s[3]}" if sizes[3] > 1 else "")
    if family == ATTENTION:
        heads = s[1] if s[1] == s[2] else f"{s[1]}/{s[2]}"
        length = s[3] if s[3] == s[4] else f"{s[3]}:{s[4]}"
        return f"b{s[0]} h{heads} s{length} d{s[5]}" + ("" if sizes[6] else " full")
    if family == STREAM:
        return f"{s[0]} x {s[1]}" if sizes[1] > 0 else f"{float(s[0]) / 1e6:.4g} MB"
    return f"{s[0]} ranks {float(sizes[1]) / 1e6:.4g} MB"


def kinds_of(columns: KernelColumns) -> tuple[tuple[KernelKind, ...], npt.NDArray[np.intp]]:
    """The kinds among the rows, and the number of each row's kind."""
    is_causal = (columns.family == ATTENTION) & (columns.sizes[:, 6] > 0.0)
    is_operation = (columns.family == STREAM) & (columns.sizes[:, 1] > 0.0)
    numbers = 2 * columns.family.astype(np.int64) + (is_causal | is_operation)
    for name in ("name", "dtype", "direction", "library"):
        keys = numbers * max(len(columns.texts[name]), 1) + columns.codes[name]
        # Renumbered at each step, so that no product of many texts leaves the range of numbers.
        _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    kinds = tuple(
        KernelKind(
            family=FAMILIES[columns.family[row]],
            name=columns.text("name", row),
            dtype=columns.text("dtype", row),
            direction=columns.text("direction", row),
            library=columns.text("library", row),
            is_causal=bool(is_causal[row]),
            is_operation=bool(is_operation[row]),
        )
        for row in first.tolist()
    )
    return kinds, numbers


def concatenated(parts: Sequence[KernelColumns]) -> KernelColumns:
    """Several sets of rows as one; texts are sorted, so that ordering by number is by text."""
    if not parts:
        return no_kernels()
    texts: dict[str, tuple[str, ...]] = {}
    codes: dict[str, Codes] = {}
    for name in TEXTS:
        merged = tuple(sorted({text for part in parts for text in part.texts[name]}))
        places = {text: number for number, text in enumerate(merged)}
        renumbered = []
        for part in parts:
            table = np.array([places[text] for text in part.texts[name]] or [0], dtype=np.int32)
            renumbered.append(table[part.codes[name]])
        texts[name], codes[name] = merged, np.concatenate(renumbered)
    return KernelColumns(
        family=np.concatenate([part.family for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        codes=codes,
        texts=texts,
        measured_s=np.concatenate([part.measured_s for part in parts]),
        predicted_s=np.concatenate([part.predicted_s for part in parts]),
        flop=np.concatenate([part.flop for part in parts]),
        traffic_bytes=np.concatenate([part.traffic_bytes for part in parts]),
        roof_s=np.concatenate([part.roof_s for part in parts]),
        is_heldout=np.concatenate([part.is_heldout for part in parts]),
    )


def no_kernels() -> KernelColumns:
    """Columns without a row."""
    empty = np.zeros(0)
    return KernelColumns(
        family=np.zeros(0, dtype=np.int8),
        sizes=np.zeros((0, N_SIZES)),
        codes={name: np.zeros(0, dtype=np.int32) for name in TEXTS},
        texts=dict.fromkeys(TEXTS, ()),
        measured_s=empty,
        predicted_s=empty,
        flop=empty,
        traffic_bytes=empty,
        roof_s=empty,
        is_heldout=np.zeros(0, dtype=np.bool_),
    )


def kernel_filter(text: str) -> Filter:
    """Read a filter over kernels: times in µs, errors and shares in percent."""
    return parse_filter(text, fields=FIELDS, parse=_parse)


def _parse(field: str, text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzµ%")
    unit = text[len(number) :].strip()
    try:
        value = float(number)
    except ValueError:
        msg = f'"{text}": expected a number'
        raise FigureError(msg) from None
    scale = _SCALES.get(field, 1.0)
    if field in ("time", "measured", "predicted") and unit in _TIMES:
        scale = _TIMES[unit]
    elif unit in _PREFIXES:
        scale *= _PREFIXES[unit]
    elif unit not in ("", "%"):
        msg = f'unit "{unit}" does not fit {field}'
        raise FigureError(msg)
    return value * scale


def mask_of(columns: KernelColumns, wanted: Filter) -> Mask:
    """Which rows satisfy every term of a filter."""
    mask = np.ones(len(columns), dtype=np.bool_)
    for term in wanted.terms:
        mask &= _term_mask(columns, term) ^ term.is_negated
    return mask


def _term_mask(columns: KernelColumns, term: Term) -> Mask:
    if term.field is None:
        found = _family_mask(columns, term)
        for name in TEXTS:
            found |= _text_mask(columns, name, term)
        return found
    if term.field in TEXTS:
        return _text_mask(columns, term.field, term)
    if term.field == "family":
        return _family_mask(columns, term)
    return _number_mask(columns, term)


def _family_mask(columns: KernelColumns, term: Term) -> Mask:
    table = np.array([holds(term, family) for family in FAMILIES])
    return np.asarray(table[columns.family])


def _text_mask(columns: KernelColumns, name: str, term: Term) -> Mask:
    table = np.array([holds(term, text) for text in columns.texts[name]] or [False])
    return np.asarray(table[columns.codes[name]])


def _number_mask(columns: KernelColumns, term: Term) -> Mask:
    values = _values(columns, str(term.field))
    if values is None:
        return np.zeros(len(columns), dtype=np.bool_)
    if term.number is None:
        is_unknown = np.isnan(values)
        return np.asarray(is_unknown if holds(term, None) else np.zeros_like(is_unknown))
    if term.field == "error" and term.comparison in (">", ">="):
        values = np.abs(values)  # an error of more than ten percent, in either direction
    return np.asarray(COMPARE[term.comparison](values, term.number))


def _values(columns: KernelColumns, field: str) -> FloatArray | None:
    if field in _SIZE_PLACES:
        family, place = _SIZE_PLACES[field]
        return np.where(columns.family == family, columns.sizes[:, place], np.nan)
    if field == "batch":
        batch = np.where(columns.family == GEMM, columns.sizes[:, 3], columns.sizes[:, 0])
        return np.where(columns.family <= ATTENTION, batch, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "error": lambda: columns.error_fraction,
            "share": lambda: columns.share_fraction,
            "time": lambda: columns.time_s,
            "measured": lambda: columns.measured_s,
            "predicted": lambda: columns.predicted_s,
            "flop": lambda: columns.flop,
            "bytes": lambda: columns.traffic_bytes,
            "intensity": lambda: np.asarray(columns.flop / columns.traffic_bytes),
            "heldout": lambda: columns.is_heldout.astype(np.float64),
        }.get(field, lambda: None)()
