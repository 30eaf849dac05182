"""Machine of the operation model from a profile, and traffic of operations; light to import."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    SOFT_ROW_SHARPNESS,
    MemoryBoundCalibration,
    OperationCalibration,
)
from kernels.memory_bound.operation import OperationMachine

__all__ = ["EagerPlan", "eager_plan", "operation_facts", "operation_machine", "traffic_passes"]


OF_OPERATION: dict[str, float] = {
    field.name: field.default
    for field in msgspec.structs.fields(OperationCalibration)
    if field.name in OperationMachine._fields
    and field.name not in ("launch_s", "cached_bandwidth_ratio")
}
"""Constants that only an operation has, as the formula names them, and a plain stream's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerPlan:
    """What an eager framework runs for one operation, by its source."""

    kernels: int
    """Kernels that it launches. [1]"""
    traffic_ratio: float
    """What they move over one read of every operand and one write of every result. [1]"""
    serial_row_s: float = 0.0
    """What a row takes in those that run in one block, however large the device. [s]"""
    block_s: float = 0.0
    """What a block takes for its part, where parts have a size of their own. [s]"""
    long_row_bytes: float = 0.0
    """Rows beyond this are read again. [byte]"""
    long_row_traffic_ratio: float | None = None
    """Traffic of such rows over that of others, where a library decides by the length; none where
    rows outgrow a cache, and how much they lose is left to the fit. [1]"""
    long_row_sharpness: float = SOFT_ROW_SHARPNESS
    """How sharply they do so. [1]"""
    held_row_columns: float = 0.0
    """Rows up to this stay in registers. [1]"""
    like: str = ""
    """Operation whose rows run through the same kernels, and tell what this one's do not."""
    plain_row_bytes: float = 0.0
    """Rows from this on are gone through again and again. [byte]"""
    row_element_ratio: float = 1.0
    """Width of the elements that rows are made of, over that of the operation's type. [1]"""
    row_traffic_share: float = 1.0
    """Share of the traffic that the kernel of those rows moves. [1]"""


@functools.cache
def operation_facts() -> dict[str, Any]:
    """What ``operations.toml`` says of every operation."""
    with (Path(__file__).parent / "operations.toml").open("rb") as file:
        return tomllib.load(file)


def traffic_passes(name: str) -> float:
    """Operands read plus results written by an operation, in matrices of its size. [1]"""
    return float(operation_facts()["passes"][name])


def eager_plan(name: str) -> EagerPlan | None:
    """The kernels behind an operation in an eager framework; none where nobody read them."""
    plan = operation_facts()["eager"].get(name)
    return EagerPlan(**plan) if plan else None


def operation_machine(
    accelerator: Accelerator,
    streams: MemoryBoundCalibration,
    operation: OperationCalibration | None,
) -> OperationMachine:
    """A class of operations on a device as the formula reads it; none is a plain stream."""
    launch_s, memory = streams.launch_s, accelerator.memory
    if operation is not None and operation.launch_s is not None:
        launch_s = operation.launch_s
    cached = operation or streams
    cache_bytes = memory.l2_bytes if streams.cache_bytes is None else streams.cache_bytes
    return OperationMachine(
        memory_bandwidth_bytes_per_s=memory.bandwidth_bytes_per_s,
        bandwidth_efficiency_fraction=streams.bandwidth_efficiency_fraction,
        cached_bandwidth_ratio=cached.cached_bandwidth_ratio,
        cache_bytes=cache_bytes or 0.0,
        n_units=float(accelerator.compute.n_units),
        launch_s=launch_s,
        **{name: getattr(operation, name, default) for name, default in OF_OPERATION.items()},
    )
