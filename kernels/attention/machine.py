"""Machines of the attention models from a profile's figures and its calibration."""

from __future__ import annotations

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, AttentionDecode
from kernels.attention.decode import DecodeMachine
from kernels.attention.model import AttentionMachine

__all__ = ["TAKEN_OVER", "attention_machine", "decode_machine"]

TAKEN_OVER = (
    "matrix_efficiency_fraction",
    "memory_efficiency_fraction",
    "join_exponent",
    "item_latency_fixed_fraction",
    "diagonal_blocks",
    "wave_smoothing_fraction",
    "lone_item_ratio",
    "split_s",
    "query_block",
    "narrow_query_block",
    "least_query_block",
    "group_packing_fraction",
    "token_packing_fraction",
    "head_96_over_64_ratio",
    "head_128_over_96_ratio",
    "head_192_over_128_ratio",
    "head_256_over_192_ratio",
    "head_512_over_256_ratio",
    "unaligned_head_ratio",
    "launch_s",
    "traffic_factor",
    "side_query_ratio",
    "side_key_ratio",
    "droop_fraction",
    "backward_matrix_efficiency_fraction",
    "backward_latency_ratio",
    "backward_side_ratio",
    "key_block",
    "least_head_dim",
)
"""Parameters that do not depend on the clock: the machine has them as the profile does."""


def _cache_bytes(accelerator: Accelerator) -> float:
    """Last-level cache, where it is known. [byte]"""
    memory = accelerator.memory
    return memory.last_level_cache_bytes or memory.l2_bytes or 0.0


def attention_machine(
    accelerator: Accelerator,
    fitted: AttentionCalibration,
    *,
    peak_flop_per_s: float,
    clock_fraction: float = 1.0,
) -> AttentionMachine:
    """The machine of fused attention; arithmetic and latencies follow the clock, memory does not.

    Parameters
    ----------
    accelerator
        Figures of the device.
    fitted
        Parameters of the implementation.
    peak_flop_per_s
        Dense peak of the dtype at the boost clock. [flop/s]
    clock_fraction
        Clock over the boost clock. [1]

    Returns
    -------
    AttentionMachine
        What the formulas read.
    """
    backward_launch_s = fitted.backward_launch_s
    return AttentionMachine(
        n_units=float(accelerator.compute.n_units),
        clock_hz=accelerator.compute.boost_clock_hz * clock_fraction,
        peak_flop_per_s=peak_flop_per_s * clock_fraction,
        memory_bandwidth_bytes_per_s=accelerator.memory.bandwidth_bytes_per_s,
        cache_bytes=fitted.cache_share_ratio * _cache_bytes(accelerator),
        exponentials_per_clock_per_unit=fitted.exponentials_per_clock_per_unit
        * (accelerator.compute.exponential_ratio or 1.0),
        block_latency_s=fitted.block_latency_s / clock_fraction,
        item_latency_s=fitted.item_latency_s / clock_fraction,
        backward_launch_s=fitted.launch_s if backward_launch_s is None else backward_launch_s,
        **{name: getattr(fitted, name) for name in TAKEN_OVER},
    )


def decode_machine(
    accelerator: Accelerator, fitted: AttentionDecode, *, peak_flop_per_s: float
) -> DecodeMachine:
    """The machine of decoding at the boost clock."""
    return DecodeMachine(
        n_units=float(accelerator.compute.n_units),
        peak_flop_per_s=peak_flop_per_s,
        memory_bandwidth_bytes_per_s=accelerator.memory.bandwidth_bytes_per_s,
        cache_bytes=fitted.cache_share_ratio * _cache_bytes(accelerator),
        memory_efficiency_fraction=fitted.memory_efficiency_fraction,
        unit_bandwidth_ratio=fitted.unit_bandwidth_ratio,
        part_tokens=fitted.part_tokens,
        matrix_efficiency_fraction=fitted.matrix_efficiency_fraction,
        item_latency_s=fitted.item_latency_s,
        launch_s=fitted.launch_s,
    )
