"""Everything of the survey that differs between a GPU and the CPU under torch, in one place.

The families call torch as if there were only one device; random operands, events, graphs,
memory and synchronisation come from here, so that all but these few lines runs without a GPU.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

from kernels.backends import Device
from kernels.survey.case import SkipError
from kernels.timing import EventTimer, HostTimer, Timer

__all__ = ["Tensor", "TorchDevice"]

Tensor: TypeAlias = Any
"""A torch tensor; torch is not a dependency of the project, so its types are not known here."""

ROTATION_CACHES = 3
"""Rotating operands together are at least this many times the last-level cache. [1]"""
N_SETS_MAX = 256
MEMORY_SHARE = 0.4
"""Share of the free memory that one case's operands may take. [1]"""
PROBE_CYCLES = 2_000_000


class TorchEvents:
    """Events on torch's current stream; AMD devices answer to the same names."""

    def __init__(self, torch: ModuleType) -> None:
        self._cuda: Any = torch.cuda
        self._cycles_per_s = self._measure_cycles_per_s()

    def _measure_cycles_per_s(self) -> float:
        # The cycle counter of the delay kernel has another rate than the clock on some devices.
        self._cuda._sleep(PROBE_CYCLES)
        start = self.record()
        self._cuda._sleep(PROBE_CYCLES)
        stop = self.record()
        self._cuda.synchronize()
        return PROBE_CYCLES / max(self.elapsed_s(start, stop), 1e-6)

    def record(self) -> Any:  # noqa: ANN401 -- torch's event
        """Put a new event into the stream and return it."""
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_s(self, start: Any, stop: Any) -> float:  # noqa: ANN401 -- torch's events
        """Device time between two events that have both passed. [s]."""
        return float(start.elapsed_time(stop)) * 1e-3

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        self._cuda.synchronize()

    def delay(self, seconds: float) -> None:
        """Keep the stream busy for about this long, without blocking the host."""
        self._cuda._sleep(max(1, int(seconds * self._cycles_per_s)))


class TorchDevice:
    """One device under torch."""

    def __init__(self, torch: ModuleType, device: Device, *, seed: int = 2718) -> None:
        self.torch: Any = torch
        self.device = device
        self.is_gpu = device.backend != "cpu"
        self.name = f"cuda:{device.index}" if self.is_gpu else "cpu"
        self._random = torch.Generator(device=self.name)
        self._random.manual_seed(seed)
        if self.is_gpu:
            torch.cuda.set_device(device.index)
        self.timer: Timer = EventTimer(TorchEvents(torch)) if self.is_gpu else HostTimer()

    @property
    def library(self) -> str:
        """Name and version for the library column."""
        return f"torch-{self.torch.__version__}"

    def dtype(self, name: str) -> Any:  # noqa: ANN401 -- torch's dtype
        """Return torch's dtype of a name such as bf16; fp8 is the format this device computes."""
        plain = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "tf32": "float32"}
        if name in plain:
            return getattr(self.torch, plain[name])
        is_old_amd = self.device.architecture.startswith("gfx94")
        return getattr(self.torch, "float8_e4m3fnuz" if is_old_amd else "float8_e4m3fn")

    def normal(self, *shape: int, dtype: str, scale: float = 1.0) -> Tensor:
        """Random normal values; what they are matters to power, and so to speed."""
        fp8 = dtype == "fp8"
        target = self.torch.bfloat16 if fp8 else self.dtype(dtype)
        values = self.torch.randn(shape, generator=self._random, device=self.name, dtype=target)
        if scale != 1.0:
            values.mul_(scale)
        return values.to(self.dtype("fp8")) if fp8 else values

    def zeros(self, *shape: int, dtype: str) -> Tensor:
        """Tensor of zeros."""
        return self.torch.zeros(shape, device=self.name, dtype=self.dtype(dtype))

    def empty(self, *shape: int, dtype: str) -> Tensor:
        """Tensor that is not yet written."""
        return self.torch.empty(shape, device=self.name, dtype=self.dtype(dtype))

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        if self.is_gpu:
            self.torch.cuda.synchronize()

    def mark(self) -> Callable[[], object]:
        """Return a function that waits for what has been queued up to now."""
        if not self.is_gpu:
            return lambda: None
        event = self.torch.cuda.Event()
        event.record()
        wait: Callable[[], object] = event.synchronize
        return wait

    def tidy(self, *, is_forced: bool = False) -> None:
        """Give cached memory back where much of it is held, since doing so stalls the device."""
        if not self.is_gpu:
            return
        if is_forced or self.torch.cuda.memory_reserved() > self.device.memory_bytes // 2:
            self.torch.cuda.empty_cache()

    def free_bytes(self) -> int:
        """Memory that can still be allocated. [byte]."""
        if self.is_gpu:
            free, _total = self.torch.cuda.mem_get_info()
            cached = self.torch.cuda.memory_reserved() - self.torch.cuda.memory_allocated()
            return int(free) + int(cached)
        return self.device.memory_bytes // 2

    def n_sets(self, bytes_per_set: int, *, cold: bool = True) -> int:
        """Return how many sets of operands to rotate among. [1].

        Cold: together they exceed the cache. Raises `SkipError` when one set does not fit.
        """
        room = int(self.free_bytes() * MEMORY_SHARE) // max(1, bytes_per_set)
        if room < 1:
            msg = f"needs {bytes_per_set / 1e9:.1f} GB, {self.free_bytes() / 1e9:.1f} GB are free"
            raise SkipError(msg)
        if not cold:
            return 1
        wanted = -(-ROTATION_CACHES * self.device.cache_bytes // max(1, bytes_per_set)) + 1
        return max(1, min(wanted, room, N_SETS_MAX)) if self.is_gpu else 1

    def graph_call(self, call: Callable[[int], object], *, n_calls: int) -> Callable[[int], object]:
        """Capture some calls into a graph; the function returned replays it."""
        if not self.is_gpu:
            msg = "graphs need a GPU"
            raise SkipError(msg)
        graph = self.torch.cuda.CUDAGraph()
        side = self.torch.cuda.Stream()
        side.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(side):
            call(0)  # lazy initialisation must not fall into the capture
        self.torch.cuda.current_stream().wait_stream(side)
        self.torch.cuda.synchronize()
        with self.torch.cuda.graph(graph):
            for index in range(n_calls):
                call(index)
        return lambda _index: graph.replay()

    def empty_kernel(self) -> Callable[[int], object]:
        """Return the launch of a kernel of one thread that returns at once."""
        if not self.is_gpu:
            msg = "kernels are launched on GPUs only"
            raise SkipError(msg)
        return lambda _index: self.torch.cuda._sleep(0)

    @contextlib.contextmanager
    def matmul_precision(self, dtype: str) -> Iterator[None]:
        """Let fp32 products use tensor cores inside the block only for tf32."""
        before = self.torch.get_float32_matmul_precision()
        self.torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        try:
            yield
        finally:
            self.torch.set_float32_matmul_precision(before)

    def sustain(self, call: Callable[[int], object], *, seconds: float, per_call_s: float) -> int:
        """Keep the device busy for some seconds; returns how often `call` ran. [1].

        Two batches are in flight at any time: the queue never runs dry, and the host never runs
        far ahead. Everything has finished when this returns.
        """
        n_batch = max(1, min(200, int(0.02 / max(per_call_s, 1e-6))))
        deadline = time.monotonic() + seconds
        n_calls = 0
        wait_for_previous: Callable[[], object] = self.synchronize
        while time.monotonic() < deadline:
            for index in range(n_batch):
                call(n_calls + index)
            n_calls += n_batch
            marked = self.mark()
            wait_for_previous()
            wait_for_previous = marked
        self.synchronize()
        return n_calls
