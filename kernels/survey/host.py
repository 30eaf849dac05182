"""The host itself, through NumPy: GEMM of its BLAS, memory streams, call overhead.

These cases need no torch. One-thread cases are timed by the thread's CPU time, which other load
on the machine does not disturb. All-thread cases can only be timed by the clock on the wall, and
where other work shares the cores a whole round can be slow with hardly any spread; of several
rounds, moments apart, the fastest is kept.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.gemm.cpu import blas_name, blas_threads, gemm_blas, n_host_cores
from kernels.gemm.reference import gemm_reference, relative_error_fraction
from kernels.measurements import BandwidthMeasurement, GemmMeasurement, LaunchMeasurement
from kernels.memory_bound.cpu import (
    copy_bytes,
    copy_numpy,
    parallel_streams,
    triad_bytes,
    triad_numpy,
)
from kernels.survey.case import Case, SkipError
from kernels.survey.setting import Setting, per_call_columns
from kernels.timing import HostTimer, Timer, Timing, thread_cpu_timer

__all__ = ["host_cases"]

TYPES = {"fp32": np.float32, "fp64": np.float64}
TOLERANCE = {"fp32": 1e-5, "fp64": 1e-12}
SIZES = (1024, 256, 2048, 512, 128)
SKINNY = ((2048, 4096, 64), (64, 4096, 4096), (1, 4096, 4096), (4096, 512, 512))
STREAM_BYTES = (2**27, 2**29, 2**24, 2**20)
LAUNCH_CALLS = 1000
N_ROUNDS = 4
ROUND_PAUSE_S = 0.1


def host_cases(setting: Setting) -> list[Case]:
    """Cases of the host: the families gemm, bandwidth and launch."""
    threads = sorted({1, n_host_cores()})
    return [
        *_gemm_cases(setting, threads),
        *_bandwidth_cases(setting, threads),
        *_launch_cases(setting),
    ]


def _timed(
    setting: Setting, call: Callable[[int], object], timer: Timer, *, n_threads: int
) -> tuple[Timing, dict[str, Any]]:
    """Time a call; with several threads, keep the round with the smallest median."""
    if n_threads == 1:
        return setting.timed(call, timer=timer)
    rounds = []
    for _ in range(N_ROUNDS):
        rounds.append(setting.timed(call, timer=timer))
        time.sleep(ROUND_PAUSE_S)
    timing, columns = min(rounds, key=lambda pair: pair[0].median_s)
    return timing, {**columns, "flag": f"fastest of {N_ROUNDS} rounds"}


def _gemm_cases(setting: Setting, threads: list[int]) -> list[Case]:
    squares = [(size, size, size) for size in SIZES]
    larger = [(4096, 4096, 4096)]
    cases = []
    for shape in (*squares, *SKINNY, *larger):
        for dtype in TYPES:
            for n_threads in threads:
                m, n, k = shape
                key = f"{dtype}/{m}x{n}x{k}/threads{n_threads}"
                run = _gemm_run(setting, key, shape, (dtype, n_threads))
                priority = 1 if shape in larger else 0
                cases.append(Case(key=key, family="gemm", priority=priority, run=run))
    return cases


def _gemm_run(
    setting: Setting, key: str, shape: tuple[int, int, int], how: tuple[str, int]
) -> Callable[[], list[GemmMeasurement]]:
    (m, n, k), (dtype, n_threads) = shape, how

    def run() -> list[GemmMeasurement]:
        random = np.random.default_rng(2718)
        a = random.standard_normal((m, k)).astype(TYPES[dtype])
        b = random.standard_normal((k, n)).astype(TYPES[dtype])
        out = np.empty((m, n), dtype=TYPES[dtype])
        timer = thread_cpu_timer() if n_threads == 1 else HostTimer()
        with blas_threads(n_threads):
            _timing, columns = _timed(
                setting, lambda _index: gemm_blas(a, b, out=out), timer, n_threads=n_threads
            )
        error = relative_error_fraction(out[:8], gemm_reference(a[:8], b))
        if not error <= TOLERANCE[dtype]:
            msg = f"wrong result: relative error {error:.2g}"
            raise SkipError(msg)
        library = f"numpy-{np.__version__}:{blas_name()}:threads{n_threads}"
        row = GemmMeasurement(
            **setting.base(key, library),
            **columns,
            dtype=dtype,
            m=m,
            n=n,
            k=k,
            layout="NN",
            cache="warm",
        )
        return [row]

    return run


def _bandwidth_cases(setting: Setting, threads: list[int]) -> list[Case]:
    sizes = (*STREAM_BYTES, 2**30, 2**22, 2**18)
    cases = []
    for vector_bytes in sizes:
        for op in ("copy", "triad"):
            for n_threads in threads:
                key = f"{op}/{vector_bytes}/threads{n_threads}"
                run = _stream_run(setting, key, (op, vector_bytes, n_threads))
                priority = 0 if vector_bytes in STREAM_BYTES else 1
                cases.append(Case(key=key, family="bandwidth", priority=priority, run=run))
    return cases


def _stream_run(
    setting: Setting, key: str, choice: tuple[str, int, int]
) -> Callable[[], list[BandwidthMeasurement]]:
    op, vector_bytes, n_threads = choice

    def run() -> list[BandwidthMeasurement]:
        if n_threads > 1 and importlib.util.find_spec("numba") is None:
            msg = "parallel streams need numba"
            raise SkipError(msg)
        n = vector_bytes // 8
        vectors = [np.full(n, 1.5 + i) for i in range(2 if op == "copy" else 3)]
        serial: dict[str, Callable[..., None]] = {"copy": copy_numpy, "triad": triad_numpy}
        stream = serial[op] if n_threads == 1 else parallel_streams()[op]
        timing, columns = _timed(
            setting, lambda _index: stream(*vectors), HostTimer(), n_threads=n_threads
        )
        n_bytes = copy_bytes(n) if op == "copy" else triad_bytes(n)
        tool = "numpy" if n_threads == 1 else "numba"
        row = BandwidthMeasurement(
            **setting.base(key, f"{tool}:threads{n_threads}"),
            **columns,
            op=op,
            bytes=n_bytes,
            GBps=n_bytes / timing.median_s / 1e9,
        )
        return [row]

    return run


def _launch_cases(setting: Setting) -> list[Case]:
    one, small = np.zeros(1), np.zeros((8, 8))
    out = np.empty_like(small)
    calls: dict[str, Callable[[], object]] = {
        "python_call": lambda: None,
        "add": lambda: np.add(one, one, out=one),
        "gemm8": lambda: np.matmul(small, small, out=out),
    }
    return [
        Case(key=f"{op}/host", family="launch", priority=0, run=_launch_run(setting, op, call))
        for op, call in calls.items()
    ]


def _launch_run(
    setting: Setting, op: str, call: Callable[[], object]
) -> Callable[[], list[LaunchMeasurement]]:
    def repeated(_index: int) -> None:
        for _ in range(LAUNCH_CALLS):
            call()

    def run() -> list[LaunchMeasurement]:
        timing, columns = setting.timed(repeated, timer=thread_cpu_timer())
        row = LaunchMeasurement(
            **setting.base(f"{op}/host", f"numpy-{np.__version__}:{op}"),
            **per_call_columns(columns, n_calls=LAUNCH_CALLS),
            op=op,
            mode="host",
            n_calls=LAUNCH_CALLS * timing.n,
        )
        return [row]

    return run
