"""Backward passes that were not measured: from the measured one of a relative."""

from __future__ import annotations

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration
from kernels.attention.machine import attention_machine
from kernels.attention.model import AttentionShape, attention_backward_time, attention_forward_time
from kernels.prediction.attention import peak_of

__all__ = ["BORROWED_SPREAD", "pass_ratio", "with_pass_ratio"]

BORROWED_SPREAD = 0.12
"""Spread of a backward pass that stands for that of another library, device or fit. [1]"""

REFERENCE = AttentionShape(1.0, 32.0, 8.0, 8192.0, 8192.0, 128.0, 0.5, 2.0)
"""Shape of present-day training at which passes are compared."""

N_HALVINGS = 40


def pass_ratio(accelerator: Accelerator, fitted: AttentionCalibration) -> float:
    """Backward over forward time at the shape of present-day training. [1]"""
    peak = peak_of(accelerator, "bf16") or max(accelerator.compute.peak_flop_per_s.values())
    machine = attention_machine(accelerator, fitted, peak_flop_per_s=peak)
    backward_s = attention_backward_time(REFERENCE, machine).time_s
    return backward_s / attention_forward_time(REFERENCE, machine).time_s


def with_pass_ratio(
    accelerator: Accelerator, fitted: AttentionCalibration, ratio: float
) -> AttentionCalibration:
    """The entry with the backward efficiency that makes its passes differ by a ratio."""
    low, high = 0.01, 1.0
    for _ in range(N_HALVINGS):
        middle = 0.5 * (low + high)
        one = msgspec.structs.replace(fitted, backward_matrix_efficiency_fraction=middle)
        low, high = (middle, high) if pass_ratio(accelerator, one) > ratio else (low, middle)
    return msgspec.structs.replace(fitted, backward_matrix_efficiency_fraction=high)
