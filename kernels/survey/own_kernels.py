"""The project's own kernels on a GPU, each timed in turn with the vendor's library.

Products against cuBLAS on the same operands, attention against torch's SDPA by flash and by cuDNN,
memory-bound operations against a copy and against eager torch. They need CuPy; what is compared
with torch needs torch too. The rows stand in the tables of the other cases, under keys that begin
with ``own/``; what ran beside has the key of its case with its own name behind.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kernels.benched.case import KernelCase, attention_case, gemm_case, operation_case
from kernels.benched.contender import COPY, Arena, Contest
from kernels.benched.host_operations import OWN_OPERATIONS
from kernels.measurements import (
    AttentionMeasurement,
    BandwidthMeasurement,
    GemmMeasurement,
    Measurement,
    OperationMeasurement,
)
from kernels.survey.case import Case, SkipError
from kernels.survey.setting import Setting
from kernels.survey.shapes import AttentionShape, GemmShape, training_gemms

__all__ = ["OWN", "own_cases_here", "own_kernel_cases"]

OWN = "own"
"""Beginning of the keys of these cases, and name of the project's contender."""

MODELS = ("llama-3-8b", "llama-3-70b", "gpt3-175b")
SQUARE_SIZES = (8192, 4096, 2048, 16384)
ONE_DIRECTION = ("adamw",)


def own_cases_here(setting: Setting) -> list[Case]:
    """Cases on the GPU at hand; without CuPy a line on stderr says that they are left out."""
    from kernels.gpu.cupy_module import why_no_gpu

    reason = why_no_gpu()
    if reason is not None:
        sys.stderr.write(f"the project's own kernels are not measured: {reason}\n")
        return []
    from kernels.benched.device import DeviceArena

    return own_kernel_cases(setting, DeviceArena(setting.device))


def own_kernel_cases(setting: Setting, arena: Arena) -> list[Case]:
    """Cases of the families gemm, attention and memory_bound.

    Parameters
    ----------
    setting
        What all cases of the survey share.
    arena
        The device with operands, contenders and a timer.

    Returns
    -------
    list
        The coarse ones hold what the project promises about its kernels.
    """
    cases: dict[str, Case] = {}
    for priority, case in (*_gemm(), *_attention(), *_operations()):
        layout = f"/{case.details['layout']}" if "layout" in case.details else ""
        key = f"{OWN}/{case.name}{layout}"
        family = "memory_bound" if case.family == "ops" else case.family
        run = _run(setting, arena, key=key, case=case)
        cases.setdefault(key, Case(key=key, family=family, priority=priority, run=run))
    return list(cases.values())


Choice = tuple[int, KernelCase]


def _gemm() -> Iterator[Choice]:
    """Square products, and those of the layers of the models."""
    for size in SQUARE_SIZES:
        shape = GemmShape(m=size, n=size, k=size, layout="TN", role="square")
        yield 0 if size == SQUARE_SIZES[0] else 1, gemm_case(shape, dtype="bf16")
    for priority, degrees in ((0, (1, 8)), (1, (2, 4))):
        for shape in training_gemms(models=MODELS, tp_degrees=degrees, tokens=(8192,)):
            yield priority, gemm_case(shape, dtype="bf16")
    for dtype in ("fp16", "tf32", "fp32"):
        for size in (4096, 8192):
            shape = GemmShape(m=size, n=size, k=size, layout="NN", role="square")
            yield 1, gemm_case(shape, dtype=dtype)


def _attention() -> Iterator[Choice]:
    """Causal heads of 128 at 8192 tokens, then other lengths, widths and masks."""
    base = {"batch": 2, "heads_q": 32, "seq": 8192, "head_dim": 128, "is_causal": True}
    variants: list[tuple[int, dict[str, Any]]] = [
        (0, {"heads_kv": 32}),
        (0, {"heads_kv": 8}),
        *((1, {"heads_kv": 8, "seq": seq, "batch": 16384 // seq}) for seq in (2048, 4096, 16384)),
        (1, {"heads_kv": 32, "head_dim": 64}),
        (1, {"heads_kv": 16, "heads_q": 16, "head_dim": 256}),
        (1, {"heads_kv": 32, "is_causal": False}),
    ]
    for priority, changed in variants:
        shape = AttentionShape(**{**base, **changed})
        for direction in ("bwd", "fwd"):
            yield priority, attention_case(shape, direction=direction, dtype="bf16")


def _operations() -> Iterator[Choice]:
    """Sizes of a layer of Llama 3 8B at 8192 tokens, and larger and smaller ones."""
    widths = {"swiglu": 14336, "gelu": 14336, "cross_entropy": 128256, "adamw": 16384}
    for op in OWN_OPERATIONS:
        for direction in ("fwd",) if op in ONE_DIRECTION else ("fwd", "bwd"):
            for priority, rows in ((0, 8192), (1, 2048), (1, 32768)):
                n_rows = rows // 2 if op == "cross_entropy" else rows
                yield (
                    priority,
                    operation_case(
                        op,
                        direction=direction,
                        dtype="fp32" if op == "adamw" else "bf16",
                        rows=n_rows,
                        cols=widths.get(op, 4096),
                    ),
                )


def _run(
    setting: Setting, arena: Arena, *, key: str, case: KernelCase
) -> Callable[[], Sequence[Measurement]]:
    def run() -> list[Measurement]:
        contest = arena.contest(case)
        if OWN not in contest.contenders:
            raise SkipError(contest.absent.get(OWN, "no kernel of the project runs this"))
        names = (OWN, *(name for name in contest.contenders if name != OWN))
        start_s = time.monotonic()
        samples = arena.measure(contest, names, setting.policy)
        rows = []
        for name in names:
            timing = samples[name].timing
            columns = setting.columns(timing, start_s=start_s, has_power=False)
            base = setting.base(
                key if name == OWN else f"{key}/{name}", contest.contenders[name].library
            )
            rows.append(_row(contest, name, {**base, **columns}))
        return rows

    return run


def _row(contest: Contest, name: str, columns: dict[str, Any]) -> Measurement:
    """One row of the table of its family; a copy's goes to the bandwidths."""
    case = contest.case
    if name == COPY:
        n_bytes = int(contest.copy_bytes)
        rate = n_bytes / columns["latency_us"] / 1e3
        return BandwidthMeasurement(**columns, op=COPY, bytes=n_bytes, GBps=rate)
    shape = dict(case.shape)
    if case.family == "gemm":
        return GemmMeasurement(
            **columns,
            **shape,
            dtype=case.dtype,
            layout=case.details["layout"],
            direction=case.direction,
            role=case.role,
        )
    if case.family == "attention":
        del shape["window"]
        return AttentionMeasurement(**columns, **shape, dtype=case.dtype, direction=case.direction)
    return OperationMeasurement(
        **columns,
        **shape,
        op=case.op,
        direction=case.direction,
        dtype=case.dtype,
        bytes=int(case.traffic_bytes),
    )
