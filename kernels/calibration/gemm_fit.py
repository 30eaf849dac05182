"""Fit of the GEMM model for one device and dtype: kernel, libraries, correction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    GemmCalibration,
    GemmImplementation,
    Provenance,
    Residual,
)
from kernels.calibration.fit_residual import LEAST_GAIN, PLAIN, SMOOTH, GridAxis, ResidualFitter
from kernels.calibration.gemm_rows import (
    GemmRows,
    balanced_sample,
    balanced_weights,
    merged_over_libraries,
)
from kernels.calibration.simplex import Bound, FloatArray, fit_parameters, robust_loss
from kernels.gemm.looked_up import tuned_sizes
from kernels.gemm.machine import (
    gemm_machine,
    scaled_droop_fraction,
    scaled_feed_bytes_per_clock,
)
from kernels.gemm.timing import gemm_library, library_machine, library_residual
from kernels.measurement_tables import Mask
from kernels.prediction.gemm import GemmTimes, looked_up_kernels

__all__ = [
    "GEMM_PARAMETERS",
    "GemmFitter",
    "device_constants",
    "gemm_bounds",
    "library_constants",
]

N_FIT_SHAPES = 3000
"""Shapes that one search uses, half of them large. [1]"""

N_LIBRARY_SHAPES = 1500

SEED = 0

LEAST_SHAPES = 25
"""Shapes that a library needs for constants of its own. [1]"""

LEAST_RESIDUAL_SHAPES = 400
"""Shapes from which a correction on a grid is tried. [1]"""

GEMM_BOUNDS: dict[str, Bound] = {
    "tensor_efficiency_fraction": Bound(low=0.2, high=1.0, start=0.8),
    "memory_efficiency_fraction": Bound(low=0.4, high=0.95, start=0.8),
    "launch_s": Bound(low=0.5e-6, high=6e-6, start=2e-6),
    "fill_depth": Bound(low=8.0, high=2000.0, start=120.0),
    "fill_repeat_fraction": Bound(low=0.01, high=1.0, start=0.5),
    "wave_smoothing_fraction": Bound(low=0.05, high=1.0, start=0.85),
    "split_s": Bound(low=0.3e-6, high=8e-6, start=2.5e-6),
    "droop_fraction": Bound(low=0.005, high=0.6, start=0.15),
    "droop_time_s": Bound(low=4e-3, high=4e-3, start=4e-3),
    "overlap_exponent": Bound(low=6.0, high=6.0, start=6.0),
}
"""Ranges: shares below one; launch inside a tight loop; the rest as seen over the families."""

FEED_OVER_MEMORY = Bound(low=0.4, high=15.0, start=4.0)
"""Range of the supply of operands over the memory bandwidth. [1]"""

SUPPLY_EXPONENT_SIGMA = 0.4
"""How far the power by which supply follows the rate of a unit lies from the one that is used: what
suits single pairs of devices best, 66 of them, is anywhere between 0 and 1. [1]"""

GEMM_PARAMETERS = (*GEMM_BOUNDS, "feed_bytes_per_clock")
"""Constants of a device, as profiles name them."""

STRIDE_BOUNDS: dict[str, Bound] = {
    "stride_conflict_ratio": Bound(low=0.1, high=100.0, start=5.0),
    "stride_period_bytes": Bound(low=32e3, high=512e3, start=131072.0),
}
"""Fitted where shapes show it and unseen keys gain by it; the period is channels times interleave,
or cache sets times lines."""

ALIGNED_BYTES = 65536.0
"""Rows this far apart, or a multiple, share channels on devices where any do. [byte]"""

LEAST_ALIGNED_SHAPES = 50
"""Shapes with such rows from which the effect is tried. [1]"""

LEAST_ALIGNED_LOSS = 0.1
"""How much slower than without the effect they must be at the median, as a logarithm. [1]"""

N_HALVES = 2
"""Parts of the keys, each predicted from the others, that decide on it. [1]"""

HARNESS_BOUNDS: dict[str, Bound] = {
    "rate_ratio": Bound(low=0.5, high=2.0, start=1.0),
    "memory_ratio": Bound(low=0.5, high=2.0, start=1.0),
    "supply_ratio": Bound(low=0.2, high=5.0, start=1.0),
    "fill_ratio": Bound(low=0.1, high=10.0, start=1.0),
    "lone_block_ratio": Bound(low=1.0, high=4.0, start=1.5),
    "cut_line_ratio": Bound(low=0.02, high=4.0, start=0.4),
    "overhead_s": Bound(low=0.02e-6, high=60e-6, start=1e-6),
    "conversion_bytes_per_element": Bound(low=0.01, high=30.0, start=4.0),
}
"""Constants of one library: ratios to the device's own, and what the timing adds."""

BATCH_BLIND_LIBRARIES = ("rocblas-bmm",)
"""Libraries that look their kernels up by rows, columns and depth of one product, whatever the
batch: tried where their rows show it."""

BLIND_CONSTANT = "supply_ratio"
"""Fitted for those alone: small tiles live on the supply of operands."""

KERNEL_CONSTANTS = ("lone_block_ratio", "cut_line_ratio")
"""Fitted beside it where the library's table says which kernel runs."""

LEAST_BATCHED_SHAPES = 100
"""Batched shapes of a library from which that is tried. [1]"""

CONVERTED_DTYPES = ("fp8", "fp8_block128", "nvfp4")
"""Dtypes to which serving libraries convert 16-bit activations inside the timing."""

CONVERTING_LIBRARIES = ("trtllm", "vllm", "sglang")
"""The one whose times are smoothest in the sizes first."""

HOSTED_LIBRARIES = ("torch-linear", "torch-bmm", "rocblas-bmm", "torch-graph", "hipblaslt")
"""Libraries whose timings hold the framework's launch from the host."""

FALLBACK_LIBRARIES = ("aiter-triton",)
"""Generic kernels that a tuner falls back on; a device's constants come from the tuned ones."""

HIDDEN_LAUNCH_S = 2.3e-6
"""Launch floor where conversions or host time hide it: as 16-bit products in a tight loop. [s]"""

SEARCH_EFFORT = {"n_restarts": 3, "n_evaluations": 600, "n_scattered": 150}
LIBRARY_EFFORT = {"n_restarts": 2, "n_evaluations": 220}
"""A library has at most five constants, and they start near their values. [1]"""

PRIOR_SIGMA = 0.15
"""How far a device's constants lie from its family's, in the natural log. [1]"""

RESIDUAL_GRIDS = (
    (
        GridAxis(start_log2=0.0, step_log2=2.0, count=9),
        GridAxis(start_log2=5.0, step_log2=2.0, count=7),
        GridAxis(start_log2=5.0, step_log2=2.0, count=7),
    ),
    (
        GridAxis(start_log2=0.0, step_log2=1.0, count=17),
        GridAxis(start_log2=5.0, step_log2=2.0, count=7),
        GridAxis(start_log2=5.0, step_log2=2.0, count=7),
    ),
    (
        GridAxis(start_log2=0.0, step_log2=2.0, count=9),
        GridAxis(start_log2=5.0, step_log2=2.0, count=7),
        GridAxis(start_log2=5.0, step_log2=1.0, count=13),
    ),
    (GridAxis(start_log2=6.0, step_log2=1.0, count=7),) * 3,
)
"""Tokens from 1 to 65536, weight sizes from 32 to 131072: a node every factor of four, or two for
libraries that choose their kernel by the tokens and for devices whose channels collide at some
depths; or 64 to 4096 each way by factors of two, for
products of heads."""

HEAVIEST_ROW = 3.0
"""Most that a large shape counts in a correction, over the mean row. [1]"""

UNJUDGED = Provenance(figure_class="fitted", source="", relative_spread_fraction=0.0)


def device_constants(
    values: Mapping[str, float], *, provenance: Provenance = UNJUDGED
) -> GemmCalibration:
    """Constants of a device from values by name; others among them are left aside."""
    names = (*GEMM_PARAMETERS, *(name for name in STRIDE_BOUNDS if name in values))
    chosen = {name: values[name] for name in names}
    return msgspec.convert({**chosen, "provenance": provenance}, GemmCalibration)


def library_constants(
    values: Mapping[str, float], *, provenance: Provenance = UNJUDGED
) -> GemmImplementation:
    """Constants of a library from values by name; those not among them add nothing."""
    chosen = {name: values[name] for name in HARNESS_BOUNDS if name in values}
    is_batch_seen = BLIND_CONSTANT not in values
    return msgspec.convert(
        {**chosen, "is_batch_seen": is_batch_seen, "provenance": provenance}, GemmImplementation
    )


def holds_conversion(dtype: str, library: str) -> bool:
    """Whether timings of this library convert the activations first."""
    return dtype in CONVERTED_DTYPES and library in CONVERTING_LIBRARIES


def adds_to_kernel(rows: GemmRows) -> Mask:
    """Rows whose timings hold something besides the kernel."""
    names = [str(name) for name in rows.libraries]
    adds = [holds_conversion(rows.dtype, name) or name in HOSTED_LIBRARIES for name in names]
    return np.array(adds, dtype=bool)


def _reference(rows: GemmRows) -> tuple[GemmRows, str]:
    """Rows that show the kernel best, and one library whose additions they hold; "" for none.

    Libraries that time the bare kernel are merged; where most timings hold something besides it,
    the additions are fitted with the kernel, so that they do not end up in its parameters; the
    first of the lists above stands for the device, and the others differ from it.
    """
    rows = rows.where(~np.isin(rows.libraries.astype(str), FALLBACK_LIBRARIES))
    adds = adds_to_kernel(rows)
    if 3 * (~adds).sum() >= adds.sum():
        return merged_over_libraries(rows.where(~adds)), ""
    names = set(rows.libraries[adds])
    ranked = [name for name in (*CONVERTING_LIBRARIES, *HOSTED_LIBRARIES) if name in names]
    return rows.where(rows.libraries == ranked[0]), ranked[0]


def _peak_flop_per_s(rows: GemmRows, accelerator: Accelerator) -> float:
    peak = accelerator.compute.peak_flop_per_s.get(rows.precision.peak)
    if peak is None:
        msg = f"{accelerator.name} has no peak for {rows.dtype}"
        raise ValueError(msg)
    return peak


def gemm_bounds(accelerator: Accelerator) -> dict[str, Bound]:
    """Ranges of a device's constants: those that depend on its figures, and the others."""
    clocks_per_s = accelerator.compute.n_units * accelerator.compute.boost_clock_hz
    memory = accelerator.memory.bandwidth_bytes_per_s / clocks_per_s
    feed = Bound(
        low=FEED_OVER_MEMORY.low * memory,
        high=FEED_OVER_MEMORY.high * memory,
        start=FEED_OVER_MEMORY.start * memory,
    )
    return {**GEMM_BOUNDS, "feed_bytes_per_clock": feed}


def _seen_at(rows: GemmRows, accelerator: Accelerator) -> dict[str, float]:
    """Figures of the device that its constants are told beside when others take them over."""
    compute, peak = accelerator.compute, _peak_flop_per_s(rows, accelerator)
    return {
        "feed_flop_per_clock": peak / (compute.n_units * compute.boost_clock_hz),
        "droop_limit_j_per_flop": accelerator.power.tdp_w / peak,
    }


def _base_bounds(
    rows: GemmRows,
    accelerator: Accelerator,
    prior: GemmCalibration | None,
    *,
    hides_launch: bool,
) -> dict[str, Bound]:
    bounds = gemm_bounds(accelerator)
    if hides_launch:
        bounds["launch_s"] = Bound(low=HIDDEN_LAUNCH_S, high=HIDDEN_LAUNCH_S, start=HIDDEN_LAUNCH_S)
    if prior is None:
        return bounds
    own = _seen_at(rows, accelerator)
    known = msgspec.structs.replace(
        prior,
        feed_bytes_per_clock=scaled_feed_bytes_per_clock(prior, own["feed_flop_per_clock"]),
        droop_fraction=scaled_droop_fraction(
            prior.droop_fraction,
            limit_j_per_flop=prior.droop_limit_j_per_flop,
            own_limit_j_per_flop=own["droop_limit_j_per_flop"],
        ),
    )
    sigmas = dict.fromkeys(bounds, PRIOR_SIGMA)
    sigmas["feed_bytes_per_clock"] = _feed_sigma(prior, own["feed_flop_per_clock"])
    return {
        name: Bound(
            low=bound.low,
            high=bound.high,
            start=min(max(float(getattr(known, name)), bound.low), bound.high),
            prior_sigma=sigmas[name],
        )
        for name, bound in bounds.items()
    }


def _feed_sigma(prior: GemmCalibration, flop_per_clock: float) -> float:
    """How far the supply of units of another rate is from that of these, in the natural log. [1]"""
    if prior.feed_flop_per_clock is None:
        return PRIOR_SIGMA
    rate_ratio = flop_per_clock / prior.feed_flop_per_clock
    return math.hypot(PRIOR_SIGMA, SUPPLY_EXPONENT_SIGMA * math.log(rate_ratio))


def _harness_bounds(dtype: str, library: str, *, is_reference: bool) -> dict[str, Bound]:
    """Which constants of a library can be told apart."""
    names = [] if is_reference else ["rate_ratio", "memory_ratio", "fill_ratio"]
    names += ["overhead_s"]
    if holds_conversion(dtype, library):
        names += ["conversion_bytes_per_element"]
    return {name: HARNESS_BOUNDS[name] for name in names}


def _blind_bounds(dtype: str, accelerator: Accelerator) -> dict[str, Bound]:
    """Further constants of a library that does not look at the batch."""
    has_table = tuned_sizes(dtype, accelerator.architecture) is not None
    names = (BLIND_CONSTANT, *(KERNEL_CONSTANTS if has_table else ()))
    return {name: HARNESS_BOUNDS[name] for name in names}


@dataclass(slots=True)
class GemmFitter:
    """Fits devices one after the other; keeps the compiled model between them."""

    times: GemmTimes = field(default_factory=GemmTimes)
    residuals: ResidualFitter = field(default_factory=ResidualFitter)

    def fit(
        self, rows: GemmRows, accelerator: Accelerator, *, prior: GemmCalibration | None = None
    ) -> GemmCalibration:
        """Parameters from the rows that are not set aside; the caller judges and names sources.

        Parameters
        ----------
        rows
            Rows of one device and dtype.
        accelerator
            Its datasheet figures.
        prior
            Constants of the family, towards which thin tables are pulled.

        Returns
        -------
        GemmCalibration
            Device constants, constants of each library, and corrections where they help.
        """
        free = rows.where(~rows.is_heldout)
        reference, library = _reference(free)
        bounds = _base_bounds(free, accelerator, prior, hides_launch=bool(library))
        if library:
            bounds |= _harness_bounds(rows.dtype, library, is_reference=True)
        found = self._search(reference, accelerator, bounds, n_shapes=N_FIT_SHAPES)
        if self._has_stride_conflicts(reference, accelerator, bounds, found=found):
            bounds |= STRIDE_BOUNDS
            found = self._search(reference, accelerator, bounds, n_shapes=N_FIT_SHAPES)
        base = msgspec.structs.replace(device_constants(found), **_seen_at(rows, accelerator))
        if library:
            implementations = {library: library_constants(found)}
            base = msgspec.structs.replace(base, implementations=implementations)
        base = self.with_libraries(free, accelerator, base)
        return self._with_residuals(free, accelerator, base)

    def rows_times_s(
        self, rows: GemmRows, accelerator: Accelerator, fitted: GemmCalibration
    ) -> FloatArray:
        """Predicted times of rows, each for its library. [s]"""
        times_s = np.full(len(rows.sizes), np.nan)
        peak = accelerator.compute.peak_flop_per_s.get(rows.precision.peak)
        if peak is None:
            return times_s
        machine = gemm_machine(accelerator, fitted, peak_flop_per_s=peak, fitted_dtype=rows.dtype)
        for name in set(rows.libraries):
            one = fitted.implementations.get(str(name))
            chosen, library = rows.libraries == name, gemm_library(one)
            sizes = rows.sizes[chosen]
            times_s[chosen] = self.times.kernel_times_s(
                sizes,
                rows.precision,
                library_machine(machine, one),
                library=library,
                residual=library_residual(fitted, one),
                kernels=looked_up_kernels(sizes, rows.dtype, accelerator, library),
            )
        return times_s

    def _search(
        self,
        rows: GemmRows,
        accelerator: Accelerator,
        bounds: Mapping[str, Bound],
        *,
        n_shapes: int,
        base: GemmCalibration | None = None,
    ) -> dict[str, float]:
        """Device constants, or with a base given those of a library, that fit rows best."""
        # The same sample however many fits came before: a resumed calibration finds what an
        # uninterrupted one finds.
        sample = balanced_sample(rows, n_shapes, np.random.default_rng(SEED))
        weights = balanced_weights(sample)
        has_prior = any(bound.prior_sigma is not None for bound in bounds.values())

        def loss(values: dict[str, float]) -> float:
            times_s = self._times_s(sample, accelerator, values, base=base)
            return robust_loss(times_s, sample.measured_s, weights)

        prior_weight = 1.0 / max(len(sample.sizes), 1) if has_prior else 0.0
        # Where tiles are chosen for one product, the choice has more than one valley.
        is_hard = base is None or BLIND_CONSTANT in bounds
        effort = SEARCH_EFFORT if is_hard else LIBRARY_EFFORT
        return fit_parameters(loss, bounds, prior_weight=prior_weight, **effort)

    def _times_s(
        self,
        rows: GemmRows,
        accelerator: Accelerator,
        values: Mapping[str, float],
        *,
        base: GemmCalibration | None = None,
    ) -> FloatArray:
        """Times of rows under constants by name, of a device or of a library on a base. [s]"""
        machine = gemm_machine(
            accelerator,
            base or device_constants(values),
            peak_flop_per_s=_peak_flop_per_s(rows, accelerator),
            fitted_dtype=rows.dtype,
        )
        one = library_constants(values)
        return self.times.kernel_times_s(
            rows.sizes,
            rows.precision,
            library_machine(machine, one),
            library=gemm_library(one),
            residual=None,
            kernels=looked_up_kernels(rows.sizes, rows.dtype, accelerator, gemm_library(one)),
        )

    def _has_stride_conflicts(
        self,
        rows: GemmRows,
        accelerator: Accelerator,
        bounds: Mapping[str, Bound],
        *,
        found: Mapping[str, float],
    ) -> bool:
        """Whether rows a power of two apart are slow in a way that holds for unseen keys."""
        strides_bytes = rows.sizes[:, 2] * rows.precision.operand_bytes
        aligned = rows.where(strides_bytes % ALIGNED_BYTES == 0.0)
        if len(aligned.sizes) < LEAST_ALIGNED_SHAPES:
            return False
        losses = np.log(aligned.measured_s / self._times_s(aligned, accelerator, found))
        if np.median(losses) < LEAST_ALIGNED_LOSS:
            return False
        without = self._unseen_loss(rows, accelerator, bounds)
        fitted = self._unseen_loss(rows, accelerator, {**bounds, **STRIDE_BOUNDS})
        return fitted < (1.0 - LEAST_GAIN) * without

    def _chooses_blindly(
        self,
        rows: GemmRows,
        accelerator: Accelerator,
        bounds: Mapping[str, Bound],
        *,
        base: GemmCalibration,
    ) -> bool:
        """Whether a library's batches run as if kernels were chosen for one product of them."""
        batched = rows.where(rows.sizes[:, 3] > 1.0)
        if len(batched.sizes) < LEAST_BATCHED_SHAPES:
            return False
        blind = {**bounds, **_blind_bounds(rows.dtype, accelerator)}
        seeing_loss = self._unseen_loss(batched, accelerator, bounds, base=base)
        blind_loss = self._unseen_loss(batched, accelerator, blind, base=base)
        return blind_loss < (1.0 - LEAST_GAIN) * seeing_loss

    def _unseen_loss(
        self,
        rows: GemmRows,
        accelerator: Accelerator,
        bounds: Mapping[str, Bound],
        *,
        base: GemmCalibration | None = None,
    ) -> float:
        """Mean loss of each part of the keys under constants from the others. [1]"""
        n_shapes = N_FIT_SHAPES if base is None else N_LIBRARY_SHAPES
        losses = []
        for part in range(N_HALVES):
            unseen = rows.keys % N_HALVES == part
            seen, rest = rows.where(~unseen), rows.where(unseen)
            found = self._search(seen, accelerator, bounds, n_shapes=n_shapes, base=base)
            times_s = self._times_s(rest, accelerator, found, base=base)
            losses.append(robust_loss(times_s, rest.measured_s, balanced_weights(rest)))
        return float(np.mean(losses))

    def with_libraries(
        self, rows: GemmRows, accelerator: Accelerator, base: GemmCalibration
    ) -> GemmCalibration:
        """A base with the constants of each further library of the rows."""
        implementations = dict(base.implementations)
        for name in sorted({str(name) for name in rows.libraries} - {"", *implementations}):
            own = rows.where(rows.libraries == name)
            if len(own.sizes) < LEAST_SHAPES:
                continue
            bounds = _harness_bounds(rows.dtype, name, is_reference=False)
            tried = name in BATCH_BLIND_LIBRARIES
            if tried and self._chooses_blindly(own, accelerator, bounds, base=base):
                bounds |= _blind_bounds(rows.dtype, accelerator)
            found = self._search(own, accelerator, bounds, n_shapes=N_LIBRARY_SHAPES, base=base)
            implementations[name] = library_constants(found)
        return msgspec.structs.replace(base, implementations=implementations)

    def _with_residuals(
        self, rows: GemmRows, accelerator: Accelerator, base: GemmCalibration
    ) -> GemmCalibration:
        """A correction of the kernel, and one of its own for each library that gains by it.

        The kernel's is fitted on timings of the bare kernel alone: what conversions and hosts leave
        over says nothing about it. Where kernels are chosen without a look at the batch, the
        nearest tuned size decides and neighbours on a grid say nothing of it: with whole keys left
        out of both the choice of a grid and its fit, corrections do harm there.
        """
        if len(rows.sizes) < LEAST_RESIDUAL_SHAPES:
            return base
        errors = np.log(rows.measured_s / self.rows_times_s(rows, accelerator, base))
        bare = ~adds_to_kernel(rows) & ~np.isin(rows.libraries.astype(str), FALLBACK_LIBRARIES)
        shared = self._residual(rows.where(bare), errors[bare])
        left = errors - self.residuals.logs(rows.sizes[:, :3], shared)
        implementations = {}
        for name, one in base.implementations.items():
            if not one.is_batch_seen:
                implementations[name] = one
                continue
            chosen = rows.libraries == name
            rival = errors if adds_to_kernel(rows.where(chosen)).any() else left
            own = self._residual(rows.where(chosen), errors[chosen], rival=rival[chosen])
            implementations[name] = msgspec.structs.replace(one, residual=own)
        return msgspec.structs.replace(base, residual=shared, implementations=implementations)

    def _residual(
        self, rows: GemmRows, errors: FloatArray, *, rival: FloatArray | None = None
    ) -> Residual | None:
        if len(rows.sizes) < LEAST_RESIDUAL_SHAPES:
            return None
        sizes = rows.sizes[:, :3]
        weights = np.minimum(balanced_weights(rows) * len(sizes), HEAVIEST_ROW)
        return self.residuals.fit(
            sizes,
            errors,
            rows.keys,
            RESIDUAL_GRIDS,
            priors=(PLAIN, SMOOTH),
            rival=rival,
            weights=weights,
        )
