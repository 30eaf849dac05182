"""Calibration structs as the formulas of collectives read them; light to import."""

from __future__ import annotations

from hardware_profiles.calibration import CollectiveCalibration, CollectiveImplementation
from kernels.all_reduce.groups import CollectiveMachine
from kernels.all_reduce.implementation import VENDOR, ImplementationMachine

__all__ = ["collective_machine", "implementation_machine"]


def collective_machine(fitted: CollectiveCalibration, *, switch_adds: bool) -> CollectiveMachine:
    """Fitted parameters as the formula reads them."""
    return CollectiveMachine(
        bandwidth_efficiency_fraction=fitted.bandwidth_efficiency_fraction,
        latency_s=fitted.latency_s,
        latency_per_rank_s=fitted.latency_per_rank_s,
        local_copy_fraction=fitted.local_copy_fraction,
        pipeline_exponent=fitted.pipeline_exponent,
        low_latency_fraction=fitted.low_latency_fraction,
        low_latency_slowdown=fitted.low_latency_slowdown,
        in_switch_gain=fitted.in_switch_gain if switch_adds else 1.0,
    )


def implementation_machine(
    fitted: CollectiveImplementation | None, memory_bandwidth_bytes_per_s: float
) -> ImplementationMachine:
    """A library's differences as the formula reads them; none is the vendor's own."""
    if fitted is None:
        return VENDOR
    return ImplementationMachine(
        host_s=fitted.host_s,
        copy_passes=fitted.copy_passes,
        latency_ratio=fitted.latency_ratio,
        bandwidth_ratio=fitted.bandwidth_ratio,
        kernel_latency_s=fitted.kernel_latency_s,
        kernel_latency_per_rank_s=fitted.kernel_latency_per_rank_s,
        kernel_efficiency_fraction=fitted.kernel_efficiency_fraction,
        kernel_limit_bytes=fitted.kernel_limit_bytes,
        memory_bandwidth_bytes_per_s=memory_bandwidth_bytes_per_s,
    )
