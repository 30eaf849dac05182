"""What a fit found joined with what a profile knew: nothing measured gives way to a guess."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    AttentionCalibration,
    Calibration,
    CollectiveCalibration,
    GemmCalibration,
    GemmImplementation,
    MemoryBoundCalibration,
    Provenance,
    Residual,
)
from kernels.calibration.attention_backward import BORROWED_SPREAD, pass_ratio, with_pass_ratio
from kernels.gemm.machine import scaled_feed_bytes_per_clock
from kernels.gemm.timing import library_residual

__all__ = ["joined_calibration"]

TRUST = {"assumed": 0, "inherited": 1, "fitted": 2, "measured": 2}
"""A figure gives way to one of its own rank or above. [1]"""

LIBRARY_RATIOS = {
    "rate_ratio": "tensor_efficiency_fraction",
    "memory_ratio": "memory_efficiency_fraction",
    "supply_ratio": "feed_bytes_per_clock",
    "fill_ratio": "fill_depth",
}
"""Constants of a library of products, and of which of the device's own each is a multiple."""

NO_CORRECTION = Residual(
    starts_log2=(0.0,) * 3, steps_log2=(1.0,) * 3, counts=(1,) * 3, values_permille="0"
)


def joined_calibration(
    accelerator: Accelerator, own: Calibration, fitted: Calibration
) -> Calibration:
    """Constants of a profile with those of a fit in their place.

    A fit also derives what its rows do not show (implementations of relatives, operations from the
    all-reduce, backward from forward passes). That fills gaps and replaces no better figure. What
    the fit has no rows of (an implementation, an operation) is predicted as it was.

    Parameters
    ----------
    accelerator
        The device, for the ratio of its passes.
    own
        What the profile's own file says.
    fitted
        What the fit found.
    """
    return Calibration(
        gemm=own.gemm | _gemm(own.gemm, fitted.gemm),
        attention=own.attention | _attention(accelerator, own.attention, fitted.attention),
        collective=own.collective | _collective(own.collective, fitted.collective),
        memory_bound=_memory_bound(own.memory_bound, fitted.memory_bound),
        power=fitted.power or own.power,
    )


def _is_worse(new: Provenance, known: Provenance) -> bool:
    return TRUST[new.figure_class] < TRUST[known.figure_class]


def _gemm(
    own: Mapping[str, GemmCalibration], fitted: Mapping[str, GemmCalibration]
) -> dict[str, GemmCalibration]:
    return {
        dtype: _with_other_libraries(new, own[dtype]) if dtype in own else new
        for dtype, new in fitted.items()
    }


def _with_other_libraries(new: GemmCalibration, known: GemmCalibration) -> GemmCalibration:
    """A fit with the libraries that it has no rows of, at the times that they took.

    Up to what the constants that all libraries share (waves, splits, droop) change in them.
    """
    if (new.pack_a_s > 0.0) != (known.pack_a_s > 0.0):
        return new  # constants of two formulas: those of one mean nothing beside the other
    kept = {
        name: _on_another_base(one, known, new)
        for name, one in known.implementations.items()
        if name not in new.implementations
    }
    return msgspec.structs.replace(new, implementations=kept | new.implementations)


def _on_another_base(
    one: GemmImplementation, before: GemmCalibration, after: GemmCalibration
) -> GemmImplementation:
    """A library's constants, which say how it differs from the device's own, beside others."""
    ratios = {
        name: getattr(one, name) * getattr(before, base) / getattr(after, base)
        for name, base in LIBRARY_RATIOS.items()
    }
    if after.feed_flop_per_clock is not None:
        known = scaled_feed_bytes_per_clock(before, after.feed_flop_per_clock)
        ratios["supply_ratio"] *= known / before.feed_bytes_per_clock
    # What the memory ratio does to the supply besides is undone.
    ratios["supply_ratio"] *= one.memory_ratio / ratios["memory_ratio"]
    residual = library_residual(before, one)
    if residual is None and library_residual(after, one) is not None:
        residual = NO_CORRECTION
    return msgspec.structs.replace(
        one,
        **ratios,
        overhead_s=max(0.0, one.overhead_s + before.launch_s - after.launch_s),
        residual=residual,
    )


def _attention(
    accelerator: Accelerator,
    own: Mapping[str, AttentionCalibration],
    fitted: Mapping[str, AttentionCalibration],
) -> dict[str, AttentionCalibration]:
    joined = {}
    for name, new in fitted.items():
        known = own.get(name)
        if known is None:
            joined[name] = new
        elif not _is_worse(new.provenance, known.provenance):
            joined[name] = _with_other_passes(accelerator, new, known)
    return joined


def _with_other_passes(
    accelerator: Accelerator, new: AttentionCalibration, known: AttentionCalibration
) -> AttentionCalibration:
    """A forward pass with what is known of backward passes and decoding that it lacks."""
    decode = new.decode
    if known.decode is not None and (
        decode is None or _is_worse(decode.provenance, known.decode.provenance)
    ):
        decode = known.decode
    joined = msgspec.structs.replace(new, decode=decode)
    backward = known.backward_provenance
    if not _is_worse(new.backward_provenance, backward):
        return joined
    provenance = msgspec.structs.replace(
        backward,
        figure_class="assumed" if backward.figure_class == "assumed" else "inherited",
        source=f"backward over forward time as known before: {backward.source}",
        relative_spread_fraction=float(
            np.hypot(backward.relative_spread_fraction, BORROWED_SPREAD)
        ),
        n_samples=None,
        n_heldout=None,
        heldout_median_ape_fraction=None,
        heldout_mean_ape_fraction=None,
        heldout_p90_ape_fraction=None,
        left_out_median_ape_fraction=None,
    )
    joined = msgspec.structs.replace(
        joined,
        backward_latency_ratio=known.backward_latency_ratio,
        backward_side_ratio=known.backward_side_ratio,
        backward_launch_s=known.backward_launch_s,
        backward_residual=known.backward_residual,
        backward_provenance=provenance,
    )
    return with_pass_ratio(accelerator, joined, pass_ratio(accelerator, known))


def _collective(
    own: Mapping[str, CollectiveCalibration], fitted: Mapping[str, CollectiveCalibration]
) -> dict[str, CollectiveCalibration]:
    return {
        name: _with_other_implementations(new, own[name]) if name in own else new
        for name, new in fitted.items()
        if name not in own or not _is_worse(new.provenance, own[name].provenance)
    }


def _with_other_implementations(
    new: CollectiveCalibration, known: CollectiveCalibration
) -> CollectiveCalibration:
    """The vendor's library with what is known better of others than this fit shows."""
    kept = {
        name: one
        for name, one in known.implementations.items()
        if name not in new.implementations
        or _is_worse(new.implementations[name].provenance, one.provenance)
    }
    return msgspec.structs.replace(new, implementations=new.implementations | kept)


def _memory_bound(
    own: MemoryBoundCalibration | None, fitted: MemoryBoundCalibration | None
) -> MemoryBoundCalibration | None:
    """Streams of a fit; operations that it has no rows of take the time that they took."""
    if own is None or fitted is None:
        return fitted or own
    bandwidth = own.bandwidth | fitted.bandwidth
    if own.operations and not fitted.operations:
        # Bandwidths alone tell less of a stream than operations did.
        return msgspec.structs.replace(own, bandwidth=bandwidth)
    rate_ratio = fitted.bandwidth_efficiency_fraction / own.bandwidth_efficiency_fraction
    kept = {
        name: msgspec.structs.replace(one, traffic_ratio=one.traffic_ratio * rate_ratio)
        for name, one in own.operations.items()
        if name not in fitted.operations
    }
    return msgspec.structs.replace(fitted, operations=kept | fitted.operations, bandwidth=bandwidth)
