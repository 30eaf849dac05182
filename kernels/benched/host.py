"""Contests on the host: the project's Numba kernels, the BLAS behind NumPy, torch where it is.

Several threads are timed by the clock on the wall; one thread by the CPU time of the process, which
other load on the machine does not disturb. Numba and torch are imported when a case needs them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import TweelingError
from kernels.attention.mask import Mask
from kernels.backends import host_device
from kernels.benched.case import KernelCase
from kernels.benched.contender import (
    COPY,
    Contender,
    Contest,
    n_operand_sets,
    own_library,
)
from kernels.benched.host_operations import host_operation, torch_operation
from kernels.benched.shape import attention_shape
from kernels.gemm.cpu import blas_name, blas_threads, gemm_blas, gemm_numba
from kernels.survey.attention import attention_call
from kernels.survey.torch_device import TorchDevice
from kernels.timing import (
    HostTimer,
    RepeatPolicy,
    Samples,
    Timer,
    measure_in_turn,
    process_cpu_timer,
)

__all__ = ["HostArena", "HostArenaError", "random_array"]

TYPES = {"fp32": np.float32, "fp64": np.float64}
SETS_MAX = 64
COPY_BYTES = 2**26
"""Each of the two vectors of the copy that others are held against: beyond most caches. [byte]"""
ROOM_BYTES = 2.0**29
"""Memory that the operands of one case may take together. [byte]"""
RANDOM_ELEMENTS = 2**20
"""Distinct random values; larger arrays repeat them, as drawing takes longer than timing. [1]"""

Array = NDArray[Any]
Call = Callable[[int], object]


class HostArenaError(TweelingError):
    """The host cannot be used in the way that was asked for."""


def random_array(shape: tuple[int, ...], dtype: str, *, seed: int = 2718) -> Array:
    """Standard normal values; beyond a million of them they repeat."""
    n_elements = int(np.prod(shape))
    random = np.random.default_rng(seed)
    values = random.standard_normal(min(n_elements, RANDOM_ELEMENTS), dtype=np.float32)
    return np.resize(values.astype(TYPES[dtype]), n_elements).reshape(shape)


class HostArena:
    """The host's processor with some of its threads."""

    def __init__(self, *, n_threads: int | None = None) -> None:
        import numba

        self.device = host_device()
        most = min(self.device.n_units, int(numba.get_num_threads()))
        self.n_threads = most if n_threads is None else n_threads
        if not 1 <= self.n_threads <= most:
            msg = (
                f"--threads {n_threads}: expected 1 to {most}, the threads that Numba may use here"
            )
            raise HostArenaError(msg)
        is_alone = self.n_threads == 1
        self.timer: Timer = process_cpu_timer() if is_alone else HostTimer()
        self.clock = "CPU time of the process" if is_alone else "clock on the wall"
        self._latest: Contest | None = None

    def contest(self, case: KernelCase) -> Contest:
        """Allocate operands of a case and say who can run it."""
        if self._latest is None or self._latest.case is not case:
            self._latest = None  # its operands go before the next ones are made
            makers = {"gemm": self._gemm, "attention": self._attention, "ops": self._operation}
            makers["membw"] = self._stream
            self._latest = makers[case.family](case)
        return self._latest

    def measure(
        self, contest: Contest, names: tuple[str, ...], policy: RepeatPolicy
    ) -> dict[str, Samples]:
        """Time some contenders in turn, each on the arena's threads. [s]."""
        calls = {name: contest.contenders[name].call for name in names}
        with self._threads():
            return measure_in_turn(calls, timer=self.timer, policy=policy)

    def synchronize(self) -> None:
        """The host waits for itself."""

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        import numba

        before = numba.get_num_threads()
        numba.set_num_threads(self.n_threads)
        try:
            with blas_threads(self.n_threads):
                yield
        finally:
            numba.set_num_threads(before)

    def _n_sets(self, case: KernelCase) -> int:
        return n_operand_sets(
            case.traffic_bytes,
            cache_bytes=self.device.cache_bytes,
            room_bytes=min(ROOM_BYTES, self.device.memory_bytes / 8 or ROOM_BYTES),
            n_max=SETS_MAX,
        )

    def _own(self) -> str:
        return own_library(f"numba:threads{self.n_threads}")

    def _blas(self) -> str:
        return f"numpy-{np.__version__}:{blas_name()}:threads{self.n_threads}"

    def _gemm(self, case: KernelCase) -> Contest:
        m, n, k = (case.shape[name] for name in "mnk")
        layout = case.details["layout"]
        sets = []
        for i_set in range(self._n_sets(case)):
            a = random_array((k, m) if layout == "NT" else (m, k), case.dtype, seed=2 * i_set)
            b = random_array((n, k) if layout == "TN" else (k, n), case.dtype, seed=2 * i_set + 1)
            out = np.empty((m, n), dtype=TYPES[case.dtype])
            sets.append((a.T if layout == "NT" else a, b.T if layout == "TN" else b, out))

        def product_by(function: Callable[..., object]) -> Call:
            def call(index: int) -> object:
                a, b, out = sets[index % len(sets)]
                return function(a, b, out=out)

            return call

        own, blas = product_by(gemm_numba), product_by(gemm_blas)
        return Contest(
            case=case,
            contenders={
                "numba": Contender(call=own, library=self._own(), framework="numba"),
                "blas": Contender(
                    call=blas, library=self._blas(), framework="numpy", is_vendor=True
                ),
            },
        )

    def _attention(self, case: KernelCase) -> Contest:
        from kernels.attention.cpu import (
            attention_backward_numba,
            attention_numba,
            attention_unfused,
        )

        s = case.shape
        mask = Mask(is_causal=s["causal"], window=s["window"])
        q_shape = (s["batch"], s["heads_q"], s["seq_q"], s["head_dim"])
        kv_shape = (s["batch"], s["heads_kv"], s["seq_kv"], s["head_dim"])
        sets = []
        for i_set in range(min(8, self._n_sets(case))):
            seeds = range(4 * i_set, 4 * i_set + 4)
            shapes = (q_shape, kv_shape, kv_shape, q_shape)
            sets.append(
                [random_array(x, case.dtype, seed=i) for x, i in zip(shapes, seeds, strict=True)]
            )
        contenders = {}
        if case.direction == "bwd":
            results = [attention_numba(q, k, v, mask=mask) for q, k, v, _ in sets]

            def backward(index: int) -> object:
                i = index % len(sets)
                q, k, v, gradient = sets[i]
                return attention_backward_numba(q, k, v, results[i], gradient, mask=mask)

            contenders["numba"] = Contender(call=backward, library=self._own(), framework="numba")
        else:
            calls: dict[str, Callable[..., object]]
            calls = {"numba": attention_numba, "unfused": attention_unfused}
            for name, function in calls.items():

                def forward(index: int, run: Callable[..., object] = function) -> object:
                    return run(*sets[index % len(sets)][:3], mask=mask)

                library = self._own() if name == "numba" else f"{self._blas()}:unfused"
                framework = "numba" if name == "numba" else "numpy"
                contenders[name] = Contender(call=forward, library=library, framework=framework)
        absent = {"unfused": "the unfused form has no backward pass"}
        return self._with_torch(case, contenders, absent if case.direction == "bwd" else {})

    def _with_torch(
        self, case: KernelCase, contenders: dict[str, Contender], absent: dict[str, str]
    ) -> Contest:
        """Add torch's attention where torch is installed."""
        torch = _torch()
        why = "torch is not installed" if torch is None else ""
        if case.shape["window"] is not None:
            why = why or "torch's attention takes no window without a mask of its size"
        if why or torch is None:
            return Contest(case=case, contenders=contenders, absent={**absent, "sdpa": why})
        torch.set_num_threads(self.n_threads)
        calls = attention_call(
            TorchDevice(torch, self.device),
            attention_shape(case),
            library="sdpa-flash",
            dtype=case.dtype,
            n_sets=min(8, self._n_sets(case)),
        )
        contenders["sdpa"] = Contender(
            call=calls.backward if case.direction == "bwd" else calls.forward,
            library=f"torch-{torch.__version__}:sdpa:threads{self.n_threads}",
            framework="torch",
            is_vendor=True,
        )
        return Contest(case=case, contenders=contenders, absent=absent)

    def _operation(self, case: KernelCase) -> Contest:
        n_sets = self._n_sets(case)
        rows, cols = case.shape["rows"], case.shape["cols"]
        calls = [
            host_operation(
                case.op, case.direction, x=random_array((rows, cols), case.dtype, seed=i)
            )
            for i in range(n_sets)
        ]
        contenders = {
            "numba": Contender(
                call=lambda index: calls[index % n_sets](), library=self._own(), framework="numba"
            )
        }
        contenders[COPY] = self._copy
        torch = _torch()
        if torch is None:
            return Contest(
                case=case,
                contenders=contenders,
                absent={"torch": "torch is not installed"},
                copy_bytes=2 * COPY_BYTES,
            )
        torch.set_num_threads(self.n_threads)
        device = TorchDevice(torch, self.device)
        theirs = [torch_operation(case, device) for _ in range(n_sets)]
        contenders["torch"] = Contender(
            call=lambda index: theirs[index % n_sets](),
            library=f"torch-{torch.__version__}:eager:threads{self.n_threads}",
            framework="torch",
            is_vendor=True,
        )
        return Contest(case=case, contenders=contenders, copy_bytes=2 * COPY_BYTES)

    @functools.cached_property
    def _copy(self) -> Contender:
        """A copy on all threads, kept for all memory-bound cases."""
        from kernels.memory_bound.cpu import parallel_streams

        copy = parallel_streams()["copy"]
        target, source = (random_array((COPY_BYTES // 8,), "fp64", seed=i) for i in range(2))
        return Contender(
            call=lambda _index: copy(target, source), library=self._own(), framework="numba"
        )

    def _stream(self, case: KernelCase) -> Contest:
        from kernels.memory_bound.cpu import copy_numpy, parallel_streams, triad_numpy

        n_vectors, n_elements = (2 if case.op == "copy" else 3), case.details["n_elements"]
        sets = [
            [random_array((n_elements,), case.dtype, seed=i) for i in range(n_vectors)]
            for _ in range(self._n_sets(case))
        ]
        serial: dict[str, Callable[..., None]] = {"copy": copy_numpy, "triad": triad_numpy}
        by_name = {"numba": parallel_streams()[case.op], "numpy": serial[case.op]}
        libraries = {"numba": self._own(), "numpy": f"numpy-{np.__version__}:threads1"}
        contenders = {}
        for name, function in by_name.items():

            def stream(index: int, run: Callable[..., object] = function) -> object:
                return run(*sets[index % len(sets)])

            contenders[name] = Contender(call=stream, library=libraries[name], framework=name)
        return Contest(case=case, contenders=contenders)


def _torch() -> Any:  # noqa: ANN401 -- module, or None
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None  # built for libraries that are not here
