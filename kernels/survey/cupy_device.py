"""A GPU without torch: GEMM of the vendor's library, streams and launch gap through CuPy.

CuPy has no attention and no autograd, so those families need torch.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kernels.measurements import BandwidthMeasurement, GemmMeasurement, LaunchMeasurement
from kernels.survey.case import Case
from kernels.survey.setting import Setting, per_call_columns
from kernels.survey.shapes import GemmShape, training_gemms
from kernels.timing import EventTimer, HostTimer

__all__ = ["CupyEvents", "cupy_cases"]

TYPES = {"fp16": np.float16, "fp32": np.float32}
SQUARE_SIZES = (1024, 2048, 4096, 8192)
PROBE_CYCLES = 2_000_000
N_CALLS = 200


class CupyEvents:
    """Events on CuPy's current stream."""

    def __init__(self, cupy: ModuleType) -> None:
        self._cupy: Any = cupy
        source = (Path(__file__).parent / "spin.cu").read_text(encoding="utf-8")
        self._spin = cupy.RawModule(code=source).get_function("spin")
        self._cycles_per_s = self._measure_cycles_per_s()

    def _measure_cycles_per_s(self) -> float:
        self.launch(PROBE_CYCLES)
        self.synchronize()
        start_s = time.perf_counter()
        self.launch(PROBE_CYCLES)
        self.synchronize()
        return PROBE_CYCLES / (time.perf_counter() - start_s)

    def launch(self, n_cycles: int) -> None:
        """Launch the kernel that waits for some cycles."""
        self._spin((1,), (1,), (np.int64(n_cycles),))

    def record(self) -> Any:  # noqa: ANN401 -- CuPy's event
        """Put a new event into the stream and return it."""
        event = self._cupy.cuda.Event()
        event.record()
        return event

    def elapsed_s(self, start: Any, stop: Any) -> float:  # noqa: ANN401 -- CuPy's events
        """Device time between two events that have both passed. [s]."""
        return float(self._cupy.cuda.get_elapsed_time(start, stop)) * 1e-3

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        self._cupy.cuda.Device().synchronize()

    def delay(self, seconds: float) -> None:
        """Keep the stream busy for about this long, without blocking the host."""
        self.launch(max(1, int(seconds * self._cycles_per_s)))


def cupy_cases(setting: Setting, cupy: ModuleType | None = None) -> list[Case]:
    """Cases of the families gemm, bandwidth and launch."""
    module = importlib.import_module("cupy") if cupy is None else cupy
    events = CupyEvents(module)
    library = f"cupy-{module.__version__}"
    on = (setting, module, events, library)
    return [*_gemm_cases(on), *_bandwidth_cases(on), *_launch_cases(on)]


On = tuple[Setting, Any, CupyEvents, str]


def _gemm_cases(on: On) -> list[Case]:
    squares = [GemmShape(m=s, n=s, k=s, layout="NN", role="square") for s in SQUARE_SIZES]
    layers = training_gemms(models=("llama-3-8b", "llama-3-70b"), tp_degrees=(1, 8), tokens=(8192,))
    cases: dict[str, Case] = {}
    for priority, shapes in ((0, squares), (1, layers)):
        for shape in shapes:
            for dtype in TYPES if priority == 0 else ("fp16",):
                key = f"{dtype}/{shape.layout}/{shape.m}x{shape.n}x{shape.k}/cold"
                run = _gemm_run(on, key, shape, dtype)
                cases.setdefault(key, Case(key=key, family="gemm", priority=priority, run=run))
    return list(cases.values())


def _gemm_run(
    on: On, key: str, shape: GemmShape, dtype: str
) -> Callable[[], list[GemmMeasurement]]:
    setting, cupy, events, library = on

    def matrix(rows: int, cols: int) -> Any:  # noqa: ANN401 -- CuPy's array
        values = cupy.random.standard_normal((rows, cols), dtype=np.float32)
        return (values * np.float32(shape.k**-0.25)).astype(TYPES[dtype])

    def run() -> list[GemmMeasurement]:
        m, n, k = shape.m, shape.n, shape.k
        n_bytes = np.dtype(TYPES[dtype]).itemsize * (m * k + k * n + m * n)
        n_sets = max(2, min(64, 3 * setting.device.cache_bytes // n_bytes + 1))
        sets = [
            (
                matrix(k, m).T if shape.layout == "NT" else matrix(m, k),
                matrix(n, k).T if shape.layout == "TN" else matrix(k, n),
                cupy.empty((m, n), dtype=TYPES[dtype]),
            )
            for _ in range(n_sets)
        ]

        def call(index: int) -> None:
            a, b, out = sets[index % n_sets]
            cupy.matmul(a, b, out=out)

        _timing, columns = setting.timed(call, timer=EventTimer(events))
        row = GemmMeasurement(
            **setting.base(key, f"{library}:matmul"),
            **columns,
            dtype=dtype,
            m=m,
            n=n,
            k=k,
            layout=shape.layout,
            direction=shape.direction,
            role=shape.role,
        )
        return [row]

    return run


def _bandwidth_cases(on: On) -> list[Case]:
    sizes = [(0, 2**30), *((1, 2**power) for power in (20, 22, 24, 26, 28))]
    return [
        Case(
            key=f"copy/{n_bytes}",
            family="bandwidth",
            priority=priority,
            run=_copy_run(on, f"copy/{n_bytes}", n_bytes),
        )
        for priority, n_bytes in sizes
    ]


def _copy_run(on: On, key: str, vector_bytes: int) -> Callable[[], list[BandwidthMeasurement]]:
    setting, cupy, events, library = on

    def run() -> list[BandwidthMeasurement]:
        n_sets = max(1, min(64, 2 * setting.device.cache_bytes // vector_bytes + 1))
        shape = (vector_bytes // 4,)
        sets = [
            tuple(cupy.random.standard_normal(shape, dtype=np.float32) for _ in range(2))
            for _ in range(n_sets)
        ]

        def call(index: int) -> None:
            target, source = sets[index % n_sets]
            cupy.copyto(target, source)

        timing, columns = setting.timed(call, timer=EventTimer(events))
        n_bytes = 2 * vector_bytes
        row = BandwidthMeasurement(
            **setting.base(key, f"{library}:copy"),
            **columns,
            op="copy",
            bytes=n_bytes,
            GBps=n_bytes / timing.median_s / 1e9,
        )
        return [row]

    return run


def _launch_cases(on: On) -> list[Case]:
    return [
        Case(key=f"empty/{mode}", family="launch", priority=0, run=_launch_run(on, mode))
        for mode in ("stream", "host")
    ]


def _launch_run(on: On, mode: str) -> Callable[[], list[LaunchMeasurement]]:
    setting, _cupy, events, library = on

    def repeated(_index: int) -> None:
        for _ in range(N_CALLS):
            events.launch(0)

    def run() -> list[LaunchMeasurement]:
        host = HostTimer(prepare=events.synchronize)
        timer = EventTimer(events) if mode == "stream" else host
        timing, columns = setting.timed(repeated, timer=timer)
        row = LaunchMeasurement(
            **setting.base(f"empty/{mode}", f"{library}:empty"),
            **per_call_columns(columns, n_calls=N_CALLS),
            op="empty",
            mode=mode,
            n_calls=N_CALLS * timing.n,
        )
        return [row]

    return run
