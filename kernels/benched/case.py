"""What is timed: one kernel with its sizes, work and least traffic, whoever runs it.

Benches and the survey of a GPU's own kernels speak of the same cases. Sizes go by the names of the
columns of measurement tables (`kernels.measurements`). Nothing beyond the standard library and
NumPy is imported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kernels.all_reduce.bandwidth import bus_factor
from kernels.attention.mask import Mask
from kernels.survey.shapes import AttentionShape, GemmShape

__all__ = [
    "ITEMSIZE_BYTES",
    "KernelCase",
    "attention_case",
    "collective_case",
    "gemm_case",
    "operation_case",
    "stream_case",
]

ITEMSIZE_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
"""Size of an element of each number format. [byte]"""

STREAM_VECTORS = {"copy": 2, "triad": 3}
"""Vectors that a stream reads or writes. [1]"""

TABLE_OPERATIONS = {"point_to_point": "p2p"}
"""Collectives that tables name otherwise than the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCase:
    """One kernel at one size."""

    family: str
    """gemm, attention, ops, membw or collectives: the table that its row belongs to."""
    op: str
    """gemm, attention, or the name of the operation."""
    direction: str
    """fwd, dgrad or wgrad of a product; fwd or bwd of others; empty where there is none."""
    dtype: str
    shape: Mapping[str, Any]
    """Sizes under the names of the table's columns."""
    flop: float
    """Work of matrix products; 0 for kernels that only move data. [flop]"""
    traffic_bytes: float
    """Least traffic: every operand once and every result once; of a collective, what crosses one
    rank's wire. [byte]"""
    role: str = ""
    """Model, tensor-parallel degree and layer that the sizes come from; sweep otherwise."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the implementations need besides, such as the layout of a product."""

    @property
    def size(self) -> str:
        """Sizes in short, for names of benches and groups."""
        s = self.shape
        if self.family == "gemm":
            return f"{s['m']}x{s['n']}x{s['k']}"
        if self.family == "attention":
            mask = "causal" if s["causal"] else "full"
            window = f"-window{s['window']}" if s["window"] else ""
            heads = f"hq{s['heads_q']}-hkv{s['heads_kv']}-d{s['head_dim']}"
            return f"b{s['batch']}-s{s['seq_q']}-{heads}-{mask}{window}"
        if self.family == "collectives":
            return f"{s['ranks']}ranks-{s['message_bytes']}B"
        if self.family == "membw":
            return f"{s['bytes']}B"
        return f"{s['rows']}x{s['cols']}"

    @property
    def name(self) -> str:
        """Operation, direction, format and sizes in one word."""
        return "-".join(part for part in (self.op, self.direction, self.dtype, self.size) if part)


def gemm_case(shape: GemmShape, *, dtype: str) -> KernelCase:
    """A matrix product; the result has the type of the operands."""
    elements = shape.m * shape.k + shape.k * shape.n + shape.m * shape.n
    return KernelCase(
        family="gemm",
        op="gemm",
        direction=shape.direction,
        dtype=dtype,
        shape={"m": shape.m, "n": shape.n, "k": shape.k, "batch": 1},
        flop=2.0 * shape.m * shape.n * shape.k,
        traffic_bytes=float(ITEMSIZE_BYTES[dtype] * elements),
        role=shape.role,
        details={"layout": shape.layout},
    )


def attention_case(
    shape: AttentionShape, *, direction: str, dtype: str, window: int | None = None
) -> KernelCase:
    """One pass of attention; a causal mask counts as half the work, a window by its pairs.

    The forward pass reads q, k and v and writes the output; the backward pass reads these four and
    the output's gradient and writes three gradients.
    """
    work = shape.flop if direction == "fwd" else shape.backward_flop
    if window is not None:
        seen = Mask(is_causal=shape.is_causal, window=window).n_visible_pairs(shape.seq, shape.seq)
        work *= seen / (shape.seq**2 * (0.5 if shape.is_causal else 1.0))
    return KernelCase(
        family="attention",
        op="attention",
        direction=direction,
        dtype=dtype,
        shape={
            "batch": shape.batch,
            "heads_q": shape.heads_q,
            "heads_kv": shape.heads_kv,
            "seq_q": shape.seq,
            "seq_kv": shape.seq,
            "head_dim": shape.head_dim,
            "causal": shape.is_causal,
            "window": window,
        },
        flop=work,
        traffic_bytes=float(
            ITEMSIZE_BYTES[dtype] * shape.n_elements * (2 if direction == "bwd" else 1)
        ),
        role=shape.role,
    )


@cache
def _passes() -> dict[str, float]:
    path = Path(__file__).parents[1] / "memory_bound" / "operations.toml"
    return dict(tomllib.loads(path.read_text(encoding="utf-8"))["passes"])


def operation_case(
    op: str, *, direction: str, dtype: str, rows: int, cols: int, role: str = ""
) -> KernelCase:
    """A memory-bound operation on a matrix, of those that ``operations.toml`` lists.

    Raises
    ------
    KeyError
        For an operation or direction that is not listed.
    """
    passes = _passes()[f"{op}-{direction}"]
    return KernelCase(
        family="ops",
        op=op,
        direction=direction,
        dtype=dtype,
        shape={"rows": rows, "cols": cols},
        flop=0.0,
        traffic_bytes=passes * ITEMSIZE_BYTES[dtype] * rows * cols,
        role=role,
    )


def stream_case(op: str, *, dtype: str, vector_bytes: int) -> KernelCase:
    """A copy or a triad over vectors of this length. [byte]"""
    n_bytes = STREAM_VECTORS[op] * vector_bytes
    return KernelCase(
        family="membw",
        op=op,
        direction="",
        dtype=dtype,
        shape={"bytes": n_bytes},
        flop=0.0,
        traffic_bytes=float(n_bytes),
        role="sweep",
        details={"n_elements": vector_bytes // ITEMSIZE_BYTES[dtype]},
    )


def collective_case(
    operation: str, *, dtype: str, n_ranks: int, message_bytes: int, link: str, role: str = ""
) -> KernelCase:
    """A collective inside one node, its message counted as nccl-tests does.

    Parameters
    ----------
    operation
        A key of `kernels.all_reduce.groups.PATTERNS`.
    dtype
        Name of the number format in tables.
    n_ranks
        Ranks that take part. [1]
    message_bytes
        Message. [byte]
    link
        Wires, in the words of ``links.toml``; empty where nobody knows them.
    role
        Where in training the message comes from.
    """
    return KernelCase(
        family="collectives",
        op=TABLE_OPERATIONS.get(operation, operation),
        direction="",
        dtype=dtype,
        shape={"ranks": n_ranks, "nodes": 1, "link": link, "message_bytes": message_bytes},
        flop=0.0,
        traffic_bytes=bus_factor(operation, n_ranks) * message_bytes,
        role=role,
        details={"operation": operation},
    )
