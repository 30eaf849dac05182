"""Memory-bound operations of a layer, one by one, for frameworks whose calls are known."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kernels.memory_bound.machine import operation_machine, traffic_passes
from kernels.memory_bound.operation import Matrix, operation_time_s
from kernels.residual import residual_grid, residual_log
from twin.training.device_model import DeviceModel
from twin.training.framework import Counts
from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.workload.transformer import Transformer

__all__ = ["OperationCall", "operation_call_time_s", "operation_calls"]

UNDIRECTED = ("copy", "residual_add", "adamw")
"""Operations that are their own backward pass, or have none."""

ALIGNED, THIRD_AXIS = 1.0, 1.0
"""Rows of activations begin on 16 bytes. [1]"""

ELEMENT_BYTES = 4.0
"""Frameworks that count their calls keep everything in fp32. [byte]"""


class OperationCall:
    """Calls of one operation on matrices of one width."""

    __slots__ = ("n_calls", "n_columns", "n_rows", "name")

    def __init__(self, name: str, n_calls: float, n_rows: float, n_columns: float) -> None:
        self.name, self.n_calls = name, n_calls
        self.n_rows, self.n_columns = n_rows, n_columns

    @property
    def traffic_bytes(self) -> float:
        """Operands read and results written by all calls. [byte]"""
        one = self.n_rows * self.n_columns * ELEMENT_BYTES * traffic_passes(self.name)
        return self.n_calls * one


def _widths(model: Transformer, tp: float) -> dict[str, float]:
    """Columns by the words that frameworks use. [elements]"""
    return {
        "hidden": float(model.hidden),
        # Gated layers have two products, whose input gradients are added up.
        "gated_hidden": float(model.hidden) if model.is_gated_mlp else 0.0,
        "ffn": model.ffn_hidden / tp,
        "qkv": (model.n_heads + 2.0 * model.n_kv_heads) * model.head_dim / tp,
        "heads": model.n_heads * model.head_dim / tp,
        "vocabulary": model.vocabulary / tp,
    }


def _operation_name(word: str, model: Transformer, direction: str) -> str:
    """Name in operations.toml of what a framework calls norm, activation and so on."""
    name = {
        "norm": model.norm,
        "activation": "swiglu" if model.is_gated_mlp else "gelu",
    }.get(word, word)
    return f"{name}-{'fwd' if word in UNDIRECTED else direction}"


def operation_calls(
    job: TrainingJob, plan: Plan, counts: Counts, *, direction: str
) -> Iterator[OperationCall]:
    """The calls behind the counts of a framework, for one micro-batch."""
    widths = _widths(job.model, float(plan.tp))
    tokens = micro_batch_tokens(job, plan)
    for word, by_width in counts.items():
        name = _operation_name(word, job.model, direction)
        for width, n_calls in by_width.items():
            if widths[width] > 0.0:
                yield OperationCall(name, n_calls, tokens, widths[width])


def operation_call_time_s(call: OperationCall, device: DeviceModel) -> float:
    """Time of all calls; an operation that the device has no constants of is a plain stream. [s]"""
    streams = device.memory_bound_calibration
    fitted = streams.operations.get(call.name)
    machine = operation_machine(device.accelerator, streams, fitted)
    passes = traffic_passes(call.name)
    matrix = Matrix(call.n_rows, call.n_columns, ELEMENT_BYTES, passes, ALIGNED)
    one_s = operation_time_s(matrix, machine)
    grid = residual_grid(fitted.residual if fitted else None)
    log = residual_log(call.n_rows, call.n_columns, THIRD_AXIS, grid)
    return call.n_calls * one_s * math.exp(log)
