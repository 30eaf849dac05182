"""What was measured on the host, as the tidy tables that every other device has too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernels.host.case import ATTENTION, DTYPE, GEMM, HostCase
from kernels.host.facts import HostFacts
from kernels.host.levels import CaseTime
from kernels.measurements import (
    AttentionMeasurement,
    GemmMeasurement,
    Measurement,
    OperationMeasurement,
    write_measurements,
)

__all__ = ["write_tables"]


def write_tables(
    folder: Path, times: Sequence[CaseTime], *, facts: HostFacts, software: Mapping[str, str]
) -> list[Path]:
    """Write `gemm.csv`, `attention.csv` and `memory_bound.csv`; returns their paths."""
    rows: dict[str, list[Measurement]] = {}
    for one in times:
        rows.setdefault(one.case.family, []).append(_row(one, facts=facts, software=software))
    paths = []
    for family, own in rows.items():
        path = folder / f"{family}.csv"
        write_measurements(path, own)
        paths.append(path)
    return paths


def _row(one: CaseTime, *, facts: HostFacts, software: Mapping[str, str]) -> Measurement:
    case = one.case
    shared: dict[str, Any] = {
        "case": case.key,
        "device": facts.device.name,
        "vendor": facts.device.vendor,
        "software": ";".join(f"{name}-{version}" for name, version in software.items()),
        "latency_us": one.seconds * 1e6,
        "repeats": one.n_visits,
        "spread": one.spread_fraction,
        "flag": "set aside" if case.is_heldout else "",
    }
    numba = f"numba-{software['numba']}:threads1"
    blas = f"numpy-{software['numpy']}:{software['blas']}:threads1"
    if case.family == GEMM:
        m, n, k = case.sizes
        library = blas if case.part == "blas" else numba
        return GemmMeasurement(
            **shared, library=library, dtype=DTYPE, m=m, n=n, k=k, layout=case.layout, cache="warm"
        )
    if case.family == ATTENTION:
        return _attention(case, shared, numba)
    rows, columns = case.sizes
    op, _, direction = case.part.rpartition("-")
    return OperationMeasurement(
        **shared,
        library=numba,
        op=op,
        direction=direction,
        dtype=DTYPE,
        rows=rows,
        cols=columns,
        bytes=int(case.traffic_bytes),
    )


def _attention(case: HostCase, shared: Mapping[str, Any], library: str) -> Measurement:
    batch, heads, kv_heads, tokens, head_dim, is_causal = case.sizes
    return AttentionMeasurement(
        **shared,
        library=library,
        dtype=DTYPE,
        batch=batch,
        heads_q=heads,
        heads_kv=kv_heads,
        seq_q=tokens,
        seq_kv=tokens,
        head_dim=head_dim,
        causal=bool(is_causal),
        direction=case.part,
    )
