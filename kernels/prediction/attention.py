"""Predicted times of measured attention calls: one class for fits, judgements and validation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, Calibration, Residual
from kernels.attention.decode import DecodeMachine, attention_decode_time
from kernels.attention.machine import attention_machine, decode_machine
from kernels.attention.model import (
    AttentionMachine,
    AttentionShape,
    attention_backward_time,
    attention_forward_time,
)
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.families.inheritance import GENERIC, family_calibration
from kernels.measurement_tables import Table
from kernels.prediction.entries import UNFUSED, attention_entry, attention_name
from kernels.residual import ResidualGrid, residual_grid, residual_log

__all__ = ["PASSES", "AttentionTimes", "attention_names", "attention_sizes", "peak_of"]

FloatArray = npt.NDArray[np.float64]

SIZE_COLUMNS = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim")

VISIBLE_CAUSAL_FRACTION = 0.5

ELEMENT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0}
"""Width of the tensors; the work stays in the tensor units of the same dtype. [byte]"""

PASSES = {"fwd": (1.0, 0.0), "bwd": (0.0, 1.0), "fwd_bwd": (1.0, 1.0)}
"""Forward and backward calls in one timing."""


def _shape(sizes: FloatArray, row: int) -> AttentionShape:
    """The call of one row; compiled code cannot unpack an array."""
    return AttentionShape(
        sizes[row, 0],
        sizes[row, 1],
        sizes[row, 2],
        sizes[row, 3],
        sizes[row, 4],
        sizes[row, 5],
        sizes[row, 6],
        sizes[row, 7],
    )


def fill_times(
    sizes: FloatArray,
    passes: tuple[float, float],
    machine: AttentionMachine,
    grids: tuple[ResidualGrid, ResidualGrid],
    times_s: FloatArray,
) -> None:
    """Fill the times of forward and backward calls; compiled before use."""
    for row in range(len(times_s)):
        shape = _shape(sizes, row)
        heads = shape.batch * shape.n_heads
        time_s = 0.0
        if passes[0] > 0.0:
            log = residual_log(heads, shape.query_len, shape.head_dim, grids[0])
            time_s += attention_forward_time(shape, machine).time_s * np.exp(log)
        if passes[1] > 0.0:
            log = residual_log(heads, shape.query_len, shape.head_dim, grids[1])
            time_s += attention_backward_time(shape, machine).time_s * np.exp(log)
        times_s[row] = time_s


def fill_decode_times(sizes: FloatArray, machine: DecodeMachine, times_s: FloatArray) -> None:
    """Fill the times of decoding calls; compiled before use."""
    for row in range(len(times_s)):
        shape = _shape(sizes, row)
        times_s[row] = attention_decode_time(shape, machine).time_s


def attention_sizes(rows: Table) -> FloatArray:
    """Batch, heads, KV heads, lengths, head dim, visible share and element width of each row."""
    visible = np.where(rows["causal"], VISIBLE_CAUSAL_FRACTION, 1.0)
    widths = np.array([ELEMENT_BYTES.get(_dtype(name), 2.0) for name in rows["dtype"]])
    columns = [*(rows[name] for name in SIZE_COLUMNS), visible, widths]
    return np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)


def attention_names(rows: Table) -> npt.NDArray[np.object_]:
    """Name of the implementation behind each row; empty where none is listed."""
    known: dict[tuple[str, bool], str] = {}
    names = []
    for library, causal in zip(rows["library"], rows["causal"], strict=True):
        key = (str(library), bool(causal))
        if key not in known:
            known[key] = attention_name(key[0], is_causal=key[1])
        names.append(known[key])
    return np.array(names, dtype=object)


def _dtype(text: str) -> str:
    """One dtype of a column that may say ``fp16/bf16``."""
    return str(text).split("/", maxsplit=1)[0]


def peak_of(accelerator: Accelerator, dtype: str) -> float | None:
    """Dense peak of a dtype; the 16-bit ones stand in for each other. [flop/s]"""
    peaks = accelerator.compute.peak_flop_per_s
    for name in (_dtype(dtype), *(("bf16", "fp16") if dtype.startswith(("bf16", "fp16")) else ())):
        if name in peaks:
            return peaks[name]
    return None


def _array_grid(residual: Residual | None) -> ResidualGrid:
    return ResidualGrid(*(np.array(part, dtype=np.float64) for part in residual_grid(residual)))


class AttentionTimes:
    """Predicts tables of attention timings; compiled on first use, then fast.

    Keep one and use it for all devices: what it compiles is independent of them.
    """

    def __init__(self, compiler: FormulaCompiler | PlainFormulas | None = None) -> None:
        compiler = compiler or FormulaCompiler()
        self._fill = compiler.compile(fill_times)
        self._fill_decode = compiler.compile(fill_decode_times)

    def times_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted time of every row, for the library that made it.

        Parameters
        ----------
        rows
            Timings of one device: dtype, batch, heads_q, heads_kv, seq_q, seq_kv, head_dim,
            causal, direction, library.
        accelerator
            Figures of the device.
        calibration
            Its fitted parameters, or those of its family.

        Returns
        -------
        numpy.ndarray
            Time by row. NaN where the device has no rate for the dtype, where the direction is
            none of fwd, bwd, fwd_bwd and fwd_decode, for decoding where no entry of the device
            has parameters of it, and for libraries that keep the scores in memory. [s]

        Notes
        -----
        A library that the device has no entry of is predicted with the first of cudnn, flash-4,
        flash-3, flash-2, aiter and ck that it has, else with its first entry, else with the middle
        values over all devices.
        """
        times_s = np.full(len(rows), np.nan)
        sizes = attention_sizes(rows)
        for name, dtype, direction, chosen in _groups(rows):
            peak_flop_per_s = peak_of(accelerator, dtype)
            if peak_flop_per_s is None or name == UNFUSED:
                continue
            fitted = _entry(calibration, name, direction)
            found = np.full(len(chosen), np.nan)
            part = np.ascontiguousarray(sizes[chosen])
            if direction in PASSES:
                machine = attention_machine(accelerator, fitted, peak_flop_per_s=peak_flop_per_s)
                grids = (_array_grid(fitted.residual), _array_grid(fitted.backward_residual))
                self.fill(part, PASSES[direction], machine, grids, found)
            elif direction == "fwd_decode" and fitted.decode is not None:
                decoder = decode_machine(
                    accelerator, fitted.decode, peak_flop_per_s=peak_flop_per_s
                )
                self.fill_decode(part, decoder, found)
            times_s[chosen] = found
        return times_s

    def fill(
        self,
        sizes: FloatArray,
        passes: tuple[float, float],
        machine: AttentionMachine,
        grids: tuple[ResidualGrid, ResidualGrid],
        times_s: FloatArray,
    ) -> None:
        """Fill the times of forward and backward calls of one machine. [s]"""
        self._fill(sizes, passes, machine, grids, times_s)

    def fill_decode(self, sizes: FloatArray, machine: DecodeMachine, times_s: FloatArray) -> None:
        """Fill the times of decoding calls of one machine. [s]"""
        self._fill_decode(sizes, machine, times_s)


def _groups(rows: Table) -> Iterator[tuple[str, str, str, npt.NDArray[np.int64]]]:
    """Implementation, dtype, direction and numbers of the rows that share them."""
    keys = list(zip(attention_names(rows), rows["dtype"], rows["direction"], strict=True))
    numbers: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(keys):
        numbers.setdefault(key, []).append(row)
    for (name, dtype, direction), chosen in numbers.items():
        yield name, str(dtype), str(direction), np.array(chosen, dtype=np.int64)


def _entry(calibration: Calibration, name: str, direction: str) -> AttentionCalibration:
    """The entry of an implementation or its stand-in; for decoding, one that can decode."""
    known = calibration.attention
    decoders = [one for one, fitted in known.items() if fitted.decode is not None]
    entry = attention_entry(name, direction, list(known), decoders)
    if entry is not None:
        return known[entry]
    generic = family_calibration(GENERIC)
    if generic is None:
        message = "the middle values over all devices are missing"
        raise RuntimeError(message)
    return next(iter(generic.attention.values()))
