"""Fits of the attention models for one device and implementation: forward, backward, decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    AttentionCalibration,
    AttentionDecode,
    Provenance,
    Residual,
)
from kernels.attention.machine import attention_machine, decode_machine
from kernels.calibration.fit_residual import GridAxis, ResidualFitter
from kernels.calibration.log_least_squares import FloatArray, LogFit, ParameterRange, fit_logs
from kernels.calibration.split import is_heldout
from kernels.measurement_tables import Mask, Table
from kernels.prediction.attention import PASSES, AttentionTimes, attention_sizes, peak_of
from kernels.residual import compiled_grid

__all__ = ["AttentionFitter", "Parameters", "heldout_mask", "large_mask", "parameter_ranges"]

Parameters = dict[str, float]

LARGE_SEQUENCE = 2048.0
"""Sequence length from which attention weighs in training. [tokens]"""

LARGE_HEADS = 16.0
"""Batch times heads that fill a device. [1]"""

N_FIT_ROWS = 2000
N_SEARCH_ROWS = 400
N_FIT_EVALUATIONS = 60
N_SEARCH_EVALUATIONS = 15

PRIOR_ROWS = 2.0
"""Weight of the prior of each parameter. [rows]"""

QUERY_BLOCKS = (64.0, 128.0, 192.0, 256.0)
LEAST_QUERY_BLOCKS = (16.0, 64.0, 256.0)
"""Least blocks tried; the last means that the block is fixed. [rows]"""

OTHER_BASINS: tuple[Parameters, ...] = (
    {"split_s": 3e-6},
    {"split_s": 3e-4},
    {"group_packing_fraction": 0.98},
    {"group_packing_fraction": 0.01},
)
"""Values between which a search finds no way by itself."""

NO_BLOCKS: Parameters = {
    "query_block": 128.0,
    "narrow_query_block": 128.0,
    "least_query_block": 64.0,
}

LEAST_RESIDUAL_ROWS = 400
"""Rows below which no correction is fitted. [rows]"""

N_RESIDUAL_ROWS = 12_000

HEAD_STEP_LOG2 = 0.5
LENGTH_STEP_LOG2 = 1.0
HEADS_STEP_LOG2 = 2.0
"""Steps of the correction's axes. [octaves]"""

UNKNOWN = Provenance(figure_class="fitted", source="", relative_spread_fraction=0.0)


@dataclass(frozen=True, slots=True)
class _Ranges:
    forward: dict[str, ParameterRange]
    backward: dict[str, ParameterRange]
    decode: dict[str, ParameterRange]


def parameter_ranges() -> _Ranges:
    """Ranges and priors by pass, from ``attention_parameters.toml`` beside this module."""
    text = (Path(__file__).parent / "attention_parameters.toml").read_bytes()
    tables = msgspec.toml.decode(text, type=dict[str, dict[str, ParameterRange]])
    return _Ranges(tables["forward"], tables["backward"], tables["decode"])


def heldout_mask(rows: Table) -> Mask:
    """Rows whose (heads, KV heads, head dim) are set aside on every device."""
    keys = np.column_stack([rows["heads_q"], rows["heads_kv"], rows["head_dim"]])
    heads, where = np.unique(keys, axis=0, return_inverse=True)
    chosen = np.array([is_heldout("attention", tuple(int(one) for one in key)) for key in heads])
    return chosen[where.ravel()] if len(rows) else np.zeros(0, dtype=bool)


def large_mask(rows: Table) -> Mask:
    """Rows of the sizes that weigh in training."""
    heads = rows["batch"] * rows["heads_q"]
    return np.asarray((rows["seq_q"] >= LARGE_SEQUENCE) & (heads >= LARGE_HEADS))


def starts(ranges: Mapping[str, ParameterRange]) -> Parameters:
    """First guess of each parameter."""
    return {name: one.start for name, one in ranges.items()}


def _struct(values: Mapping[str, float]) -> AttentionCalibration:
    filled: dict[str, Any] = {"backward_matrix_efficiency_fraction": 0.5} | dict(values)
    return AttentionCalibration(**filled, provenance=UNKNOWN, backward_provenance=UNKNOWN)


def _widths_tried(rows: Table) -> list[str]:
    """Names of the blocks that the rows can tell anything of."""
    is_narrow = rows["head_dim"] <= 96.0
    names = ["narrow_query_block"] if is_narrow.any() else []
    return names + (["query_block"] if (~is_narrow).any() else [])


@dataclass
class AttentionFitter:
    """Fits groups one after the other; keeps the compiled models between them."""

    times: AttentionTimes = field(default_factory=AttentionTimes)
    residuals: ResidualFitter = field(default_factory=ResidualFitter)
    seed: int = 0

    def __post_init__(self) -> None:
        self._ranges = parameter_ranges()

    def forward(
        self, rows: Table, accelerator: Accelerator, *, relative: Parameters | None = None
    ) -> Parameters:
        """Parameters of the forward pass.

        Parameters
        ----------
        rows
            Forward rows of one implementation and device that are free to be fitted.
        accelerator
            Figures of the device.
        relative
            Parameters of a relative: where the search starts and what the prior is centred on;
            blocks of queries are taken over from it. None: the search tries all blocks.
        """
        centre = starts(self._ranges.forward)
        if relative is not None:
            blocks = {name: relative[name] for name in NO_BLOCKS}
            start = {name: relative[name] for name in centre}
            return self._forward(rows, accelerator, blocks, start, centre=start).values | blocks
        blocks, start = self._searched(rows, accelerator, centre)
        return self._forward(rows, accelerator, blocks, start, centre=centre).values | blocks

    def _searched(
        self, rows: Table, accelerator: Accelerator, centre: Parameters
    ) -> tuple[Parameters, Parameters]:
        """Blocks of queries and a start near the best basin."""
        few = self._sample(rows, N_SEARCH_ROWS)
        found: list[tuple[float, Parameters, Parameters]] = []
        for least in LEAST_QUERY_BLOCKS:
            best = (np.inf, NO_BLOCKS | {"least_query_block": least}, centre)
            for name in _widths_tried(rows):
                best = min(
                    (
                        self._tried(few, accelerator, best[1] | {name: size}, centre, centre=centre)
                        for size in QUERY_BLOCKS
                    ),
                    key=lambda one: one[0],
                )
            found.append(best)
        best = min(found, key=lambda one: one[0])
        basins = [best] + [
            self._tried(few, accelerator, best[1], best[2] | change, centre=centre)
            for change in OTHER_BASINS
        ]
        _, blocks, start = min(basins, key=lambda one: one[0])
        return blocks, start

    def _tried(
        self,
        rows: Table,
        accelerator: Accelerator,
        blocks: Parameters,
        start: Parameters,
        *,
        centre: Parameters,
    ) -> tuple[float, Parameters, Parameters]:
        fit = self._forward(rows, accelerator, blocks, start, centre=centre, is_short=True)
        return fit.loss, blocks, fit.values

    def _forward(
        self,
        rows: Table,
        accelerator: Accelerator,
        blocks: Parameters,
        start: Parameters,
        *,
        centre: Parameters,
        is_short: bool = False,
    ) -> LogFit:
        chosen = rows if is_short else self._sample(rows, N_FIT_ROWS)
        predict = self._predictor(chosen, accelerator, blocks)
        return fit_logs(
            predict,
            chosen["latency_us"] * 1e-6,
            self._ranges.forward,
            start=start,
            centre=centre,
            prior_rows=PRIOR_ROWS,
            n_evaluations=N_SEARCH_EVALUATIONS if is_short else N_FIT_EVALUATIONS,
        )

    def backward(
        self,
        rows: Table,
        accelerator: Accelerator,
        forward: Parameters,
        *,
        relative: Parameters | None = None,
    ) -> Parameters:
        """Parameters of the backward pass, with those of the forward pass held."""
        centre = starts(self._ranges.backward) if relative is None else relative
        fit = fit_logs(
            self._predictor(rows, accelerator, forward),
            rows["latency_us"] * 1e-6,
            self._ranges.backward,
            start=centre,
            centre=centre,
            prior_rows=PRIOR_ROWS,
            n_evaluations=N_FIT_EVALUATIONS,
        )
        return fit.values

    def _predictor(
        self, rows: Table, accelerator: Accelerator, held: Parameters
    ) -> Callable[[Parameters], FloatArray]:
        """Times of rows from parameters, on top of those that are held. [s]"""
        parts = [
            (passes, number, np.ascontiguousarray(attention_sizes(rows)[number]), peak)
            for passes, number, peak in _parts(rows, accelerator)
        ]
        no_grid = compiled_grid(None)
        times_s = np.empty(len(rows))

        def predict(values: Parameters) -> FloatArray:
            fitted = _struct(held | values)
            for passes, number, sizes, peak in parts:
                machine = attention_machine(accelerator, fitted, peak_flop_per_s=peak)
                found = np.empty(len(number))
                self.times.fill(sizes, passes, machine, (no_grid, no_grid), found)
                times_s[number] = found
            return times_s

        return predict

    def decode(
        self, rows: Table, accelerator: Accelerator, *, relative: Parameters | None = None
    ) -> Parameters:
        """Parameters of decoding."""
        centre = starts(self._ranges.decode) if relative is None else relative
        chosen = self._sample(rows, N_FIT_ROWS)
        sizes = attention_sizes(chosen)
        peak = peak_of(accelerator, str(chosen["dtype"][0])) or 1.0
        times_s = np.empty(len(chosen))

        def predict(values: Parameters) -> FloatArray:
            fitted = AttentionDecode(**values, provenance=UNKNOWN)
            machine = decode_machine(accelerator, fitted, peak_flop_per_s=peak)
            self.times.fill_decode(sizes, machine, times_s)
            return times_s

        fit = fit_logs(
            predict,
            chosen["latency_us"] * 1e-6,
            self._ranges.decode,
            start=centre,
            centre=centre,
            prior_rows=PRIOR_ROWS,
            n_evaluations=N_FIT_EVALUATIONS,
        )
        return fit.values

    def predicted_s(self, rows: Table, accelerator: Accelerator, values: Parameters) -> FloatArray:
        """Times of forward and backward rows, whatever their library. [s]"""
        return self._predictor(rows, accelerator, values)({})

    def residual(
        self, rows: Table, accelerator: Accelerator, values: Parameters
    ) -> Residual | None:
        """Correction of rows of one direction, or none where unseen heads would not gain."""
        if len(rows) < LEAST_RESIDUAL_ROWS:
            return None
        chosen = self._sample(rows, N_RESIDUAL_ROWS)
        predicted_s = self.predicted_s(chosen, accelerator, values)
        errors = np.log(chosen["latency_us"] * 1e-6 / predicted_s)
        heads = np.column_stack([chosen["heads_q"], chosen["heads_kv"], chosen["head_dim"]])
        keys = np.unique(heads, axis=0, return_inverse=True)[1].ravel()
        sizes = np.column_stack(
            [chosen["batch"] * chosen["heads_q"], chosen["seq_q"], chosen["head_dim"]]
        )
        steps = (HEADS_STEP_LOG2, LENGTH_STEP_LOG2, HEAD_STEP_LOG2)
        axes = tuple(_axis(sizes[:, i], step) for i, step in enumerate(steps))
        return self.residuals.fit(np.ascontiguousarray(sizes), errors, keys, (axes,))

    def _sample(self, rows: Table, n_rows: int) -> Table:
        """At most so many rows, half of them large."""
        if len(rows) <= n_rows:
            return rows
        rng = np.random.default_rng(self.seed)
        large = large_mask(rows)
        groups = [np.flatnonzero(large), np.flatnonzero(~large)]
        half = n_rows // 2
        return rows.where(np.concatenate([rng.permutation(one)[:half] for one in groups]))


def _parts(
    rows: Table, accelerator: Accelerator
) -> Iterator[tuple[tuple[float, float], Mask, float]]:
    """Passes, row numbers and peak of the rows that share direction and dtype."""
    for direction, passes in PASSES.items():
        for dtype in sorted(set(rows["dtype"])):
            number = np.flatnonzero((rows["direction"] == direction) & (rows["dtype"] == dtype))
            peak = peak_of(accelerator, str(dtype))
            if len(number) and peak is not None:
                yield passes, number, peak


def _axis(sizes: FloatArray, step: float) -> GridAxis:
    """Nodes from the least to the greatest size of the rows."""
    low = float(np.floor(np.log2(sizes.min()) / step) * step)
    count = int(np.ceil((np.log2(sizes.max()) - low) / step)) + 1
    return GridAxis(start_log2=low, step_log2=step, count=count)
