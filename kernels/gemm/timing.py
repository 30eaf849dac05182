"""What a benchmark of a matrix product reports: the kernel and what its library adds to it."""

from __future__ import annotations

import math
from typing import NamedTuple

from hardware_profiles.calibration import GemmCalibration, GemmImplementation, Residual
from kernels.gemm.blind_choice import blindly_chosen_gemm_s
from kernels.gemm.looked_up import NO_KERNEL, LookedUpKernel, looked_up_gemm_s
from kernels.gemm.model import GemmMachine, GemmShape, gemm_time
from kernels.residual import ResidualGrid, residual_log

__all__ = [
    "KERNEL_ALONE",
    "GemmLibrary",
    "gemm_library",
    "library_machine",
    "library_residual",
    "timed_gemm_s",
]


class GemmLibrary(NamedTuple):
    """What one library's timings hold besides the kernel."""

    overhead_s: float
    """Further launches and host time. [s]"""
    conversion_bytes_per_element: float
    """Traffic that converts one element of A. [byte]"""
    is_batch_seen: bool
    """Whether kernels are chosen for the whole batch, or as for one product of it."""


KERNEL_ALONE = GemmLibrary(0.0, 0.0, is_batch_seen=True)


def gemm_library(one: GemmImplementation | None) -> GemmLibrary:
    """The additions of an implementation profile; none adds nothing."""
    if one is None:
        return KERNEL_ALONE
    return GemmLibrary(one.overhead_s, one.conversion_bytes_per_element, one.is_batch_seen)


def library_machine(machine: GemmMachine, one: GemmImplementation | None) -> GemmMachine:
    """The device as one library uses it: its kernels reach other shares of the peaks."""
    if one is None:
        return machine
    return machine._replace(
        tensor_efficiency_fraction=machine.tensor_efficiency_fraction * one.rate_ratio,
        memory_efficiency_fraction=machine.memory_efficiency_fraction * one.memory_ratio,
        feed_bytes_per_s=machine.feed_bytes_per_s * one.supply_ratio * one.memory_ratio,
        fill_depth=machine.fill_depth * one.fill_ratio,
        lone_block_ratio=one.lone_block_ratio,
        cut_line_ratio=one.cut_line_ratio,
        pack_a_s=machine.pack_a_s * one.pack_a_ratio,
        pack_b_s=machine.pack_b_s * one.pack_b_ratio,
        cached_pack_ratio=max(1.0, machine.cached_pack_ratio * one.cached_pack_ratio),
        transposed_a_ratio=machine.transposed_a_ratio * one.transposed_a_ratio,
        transposed_b_ratio=machine.transposed_b_ratio * one.transposed_b_ratio,
        tile_m=one.tile_rows,
        tile_n=one.tile_columns,
    )


def library_residual(fitted: GemmCalibration, one: GemmImplementation | None) -> Residual | None:
    """The correction of a library's timings: its own, or the kernel's where both run the same."""
    if one is None:
        return fitted.residual
    adds = one.conversion_bytes_per_element > 0.0 or not one.is_batch_seen
    return one.residual if one.residual is not None or adds else fitted.residual


def timed_gemm_s(
    shape: GemmShape,
    machine: GemmMachine,
    library: GemmLibrary,
    residual: ResidualGrid,
    kernel: LookedUpKernel = NO_KERNEL,
) -> float:
    """Time of one call as a benchmark of the library sees it.

    Parameters
    ----------
    shape
        Sizes [elements] and operand widths [byte].
    machine
        The device as the library uses it, see `library_machine`.
    library
        What the timing holds besides the kernel: serving libraries convert the activations to
        8 or 4 bits first, frameworks launch from the host; and whether it chose its kernel
        without a look at the batch.
    residual
        Correction over (m, n, k).
    kernel
        What the table of a library without a look at the batch names, where it is known.

    Returns
    -------
    float
        Time of the call. [s]
    """
    rows = shape.m * shape.batch
    converted_bytes = library.conversion_bytes_per_element * rows * shape.k
    if library.is_batch_seen:
        kernel_s = gemm_time(shape, machine).time_s
    elif kernel.tile_m > 0.0:
        kernel_s = looked_up_gemm_s(shape, kernel, machine)
    else:
        kernel_s = blindly_chosen_gemm_s(shape, machine)
    plain_s = kernel_s + library.overhead_s + converted_bytes / machine.memory_bandwidth_bytes_per_s
    return plain_s * math.exp(residual_log(shape.m, shape.n, shape.k, residual))
