"""Contests on a GPU: the project's own kernels through CuPy, cuBLAS, and torch where it is.

Everything is queued on the default stream, which CuPy and torch share, and timed by CuPy's events.
CuPy and torch are imported when an arena is made. Random operands are normal values: zeros would
draw less power and so run faster.
"""

from __future__ import annotations

import importlib
import importlib.util
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import ModuleType
from typing import Any

from kernels.attention.gpu import attention_backward_gpu, attention_gpu, attention_unfused_gpu
from kernels.attention.launch import BACKWARD, FORWARD, kernel_for_heads
from kernels.attention.mask import Mask
from kernels.backends import BackendError, Device
from kernels.benched.case import KernelCase, stream_case
from kernels.benched.contender import (
    COPY,
    Contender,
    Contest,
    keeping_results,
    n_operand_sets,
    own_library,
)
from kernels.benched.device_arrays import DeviceArrays
from kernels.benched.device_check import check_flash, check_product
from kernels.benched.device_operations import device_operation, stream_calls
from kernels.benched.host_operations import torch_operation
from kernels.benched.shape import attention_shape
from kernels.gemm.gpu import gemm_gpu
from kernels.gemm.vendor_gpu import gemm_vendor
from kernels.gpu.cupy_module import require_cupy
from kernels.gpu.launch import architecture_of
from kernels.survey.attention import SDPA_BACKENDS, attention_call, check_attention
from kernels.survey.case import SkipError
from kernels.survey.cupy_device import CupyEvents
from kernels.survey.gemm import gemm_call
from kernels.survey.shapes import GemmShape
from kernels.survey.torch_device import TorchDevice
from kernels.timing import EventTimer, RepeatPolicy, Samples, Timer, measure_in_turn

__all__ = ["VENDOR_ATTENTION", "DeviceArena"]

SETS_MAX = 64
COPY_BYTES = 2**29
"""Each of the two vectors of the copy that others are held against: beyond every cache. [byte]"""
UUID_BYTES = 16
MEMORY_SHARE = 0.3
"""Share of the device's memory that the operands of one case may take. [1]"""

VENDOR_ATTENTION = ("sdpa-flash", "sdpa-cudnn")
"""What a flash kernel is measured up to; the fastest counts."""

OPERANDS_TRANSPOSED = {"NN": "", "TN": "b", "NT": "a"}
"""BLAS letters of the survey's shapes as operands stored transposed."""

FAILURES = (BackendError, SkipError, RuntimeError, ValueError, TypeError, NotImplementedError)
"""How frameworks say that they cannot run a case."""

Call = Callable[[int], object]


class DeviceArena:
    """The first GPU that CuPy sees."""

    def __init__(
        self,
        device: Device,
        *,
        cupy: Any = None,  # noqa: ANN401 -- module
        torch: ModuleType | None = None,
    ) -> None:
        self.device = device
        self.n_threads = 1
        self.clock = "events on the device"
        self._cupy = require_cupy() if cupy is None else cupy
        self._arrays = DeviceArrays(self._cupy)
        self._events = CupyEvents(self._cupy)
        self.timer: Timer = EventTimer(self._events)
        found = _torch() if torch is None else torch
        self._torch = None if found is None else TorchDevice(found, device)
        self._latest: Contest | None = None

    def contest(self, case: KernelCase) -> Contest:
        """Allocate operands of a case and say who can run it."""
        if self._latest is None or self._latest.case is not case:
            self._latest = None
            self._free()
            makers = {"gemm": self._gemm, "attention": self._attention, "ops": self._operation}
            makers["membw"] = self._stream
            self._latest = makers[case.family](case)
        return self._latest

    def measure(
        self, contest: Contest, names: tuple[str, ...], policy: RepeatPolicy
    ) -> dict[str, Samples]:
        """Time some contenders in turn by events on the device. [s]."""
        calls = {name: contest.contenders[name].call for name in names}
        return measure_in_turn(calls, timer=self.timer, policy=policy)

    @property
    def uuid(self) -> str | None:
        """Name under which NVML knows the device, whatever environment variables hide."""
        if self._is_hip:
            return None
        properties = self._cupy.cuda.runtime.getDeviceProperties(self.device.index)
        raw = bytes(properties.get("uuid", b""))
        return f"GPU-{uuid.UUID(bytes=raw)}" if len(raw) == UUID_BYTES else None

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        self._events.synchronize()

    def _free(self) -> None:
        """Give back what earlier cases held, so that torch and CuPy can take turns."""
        self._cupy.get_default_memory_pool().free_all_blocks()
        if self._torch is not None:
            self._torch.tidy(is_forced=True)

    def _n_sets(self, case: KernelCase, *, n_max: int = SETS_MAX) -> int:
        return n_operand_sets(
            case.traffic_bytes,
            cache_bytes=self.device.cache_bytes,
            room_bytes=MEMORY_SHARE * self.device.memory_bytes,
            n_max=n_max,
        )

    def _contest(self, case: KernelCase, makers: Mapping[str, Callable[[], Contender]]) -> Contest:
        """Everyone who can make a call and survives the first one."""
        contenders: dict[str, Contender] = {}
        absent: dict[str, str] = {}
        for name, make in makers.items():
            try:
                found = make()
                found.call(0)
                self.synchronize()
            except FAILURES as error:
                absent[name] = _one_line(error)
            else:
                contenders[name] = found
        return Contest(case=case, contenders=contenders, absent=absent)

    def _cupy_library(self, routine: str) -> str:
        return f"cupy-{self._cupy.__version__}:{routine}"

    def _torch_library(self, routine: str) -> str:
        return f"{self._torch.library}:{routine}" if self._torch is not None else routine

    def _gemm(self, case: KernelCase) -> Contest:
        m, n, k = (case.shape[name] for name in "mnk")
        transposed = OPERANDS_TRANSPOSED[case.details["layout"]]
        sets = [
            (
                self._arrays.normal((k, m) if "a" in transposed else (m, k), case.dtype),
                # Results then have variance one, which half precision can hold.
                self._arrays.normal(
                    (n, k) if "b" in transposed else (k, n), case.dtype, scale=k**-0.5
                ),
                self._arrays.empty((m, n), case.dtype),
            )
            for _ in range(self._n_sets(case))
        ]
        kernel = "mma" if case.dtype == "tf32" else "auto"

        def multiplied(index: int) -> object:
            a, b, out = sets[index % len(sets)]
            return gemm_gpu(a, b, out=out, transposed=transposed, kernel=kernel)

        def own() -> Contender:
            multiplied(0)
            self.synchronize()
            check_product(sets[0], dtype=case.dtype, transposed=transposed)
            return Contender(call=multiplied, library=own_library("gemm"), framework="cupy")

        def vendor(index: int) -> object:
            a, b, out = sets[index % len(sets)]
            if self._is_hip:
                a, b = (x.T if n in transposed else x for n, x in (("a", a), ("b", b)))
                return self._cupy.matmul(a, b, out=out)
            return gemm_vendor(self._cupy, a, b, out, dtype=case.dtype, transposed=transposed)

        def library() -> Contender:
            if self._is_hip and case.dtype not in ("fp16", "fp32"):
                msg = f"hipBLAS through CuPy multiplies no {case.dtype}; torch does"
                raise SkipError(msg)
            routine = self._cupy_library("matmul" if self._is_hip else "gemmEx")
            return Contender(call=vendor, library=routine, framework="cupy", is_vendor=True)

        return self._contest(
            case,
            {
                "own": own,
                "vendor": library,
                "torch": lambda: self._torch_product(case),
            },
        )

    @property
    def _is_hip(self) -> bool:
        return bool(self._cupy.cuda.runtime.is_hip)

    def _needed_torch(self) -> TorchDevice:
        if self._torch is None:
            msg = "torch is not installed, or sees no GPU"
            raise SkipError(msg)
        return self._torch

    def _torch_product(self, case: KernelCase) -> Contender:
        """torch.mm: the vendor's library by the choice of kernels that torch makes."""
        torch = self._needed_torch()
        shape = GemmShape(**{name: case.shape[name] for name in "mnk"}, **case.details)
        with torch.matmul_precision(case.dtype):
            product = gemm_call(
                torch, shape, dtype=case.dtype, data="normal", n_sets=self._n_sets(case)
            )

        def call(index: int) -> object:
            with torch.matmul_precision(case.dtype):
                return product.call(index)

        return Contender(
            call=call, library=self._torch_library("mm"), framework="torch", is_vendor=True
        )

    def _attention(self, case: KernelCase) -> Contest:
        s = case.shape
        mask = Mask(is_causal=s["causal"], window=s["window"])
        q_shape = (s["batch"], s["heads_q"], s["seq_q"], s["head_dim"])
        kv_shape = (s["batch"], s["heads_kv"], s["seq_kv"], s["head_dim"])
        sets = [
            [self._arrays.normal(x, case.dtype) for x in (q_shape, kv_shape, kv_shape, q_shape)]
            for _ in range(self._n_sets(case, n_max=8))
        ]
        results: dict[int, Any] = {}

        def forward(index: int) -> object:
            return attention_gpu(*sets[index % len(sets)][:3], mask=mask)

        def backward(index: int) -> object:
            i = index % len(sets)
            q, k, v, gradient = sets[i]
            if i not in results:
                results[i] = attention_gpu(q, k, v, mask=mask)
            return attention_backward_gpu((q, k, v), results[i], gradient, mask=mask)

        def unfused(index: int) -> object:
            return attention_unfused_gpu(*sets[index % len(sets)][:3], mask=mask)

        is_forward = case.direction == "fwd"

        def own() -> Contender:
            check_flash(self._arrays, head_dim=s["head_dim"], dtype=case.dtype)
            for index in range(0 if is_forward else len(sets)):
                backward(index)  # the forward passes run now, and are not timed
            call = keeping_results(forward if is_forward else backward, n_sets=len(sets))
            kernel = kernel_for_heads(
                s["head_dim"],
                FORWARD if is_forward else BACKWARD,
                architecture=architecture_of(self._cupy),
                dtype=case.dtype,
            )
            library = own_library(f"flash-{kernel}")
            return Contender(call=call, library=library, framework="cupy")

        makers: dict[str, Callable[[], Contender]] = {"own": own}
        if is_forward and case.dtype == "fp16":
            makers["unfused"] = lambda: Contender(
                call=unfused, library=self._cupy_library("unfused"), framework="cupy"
            )
        makers |= {name: self._sdpa(case, name) for name in VENDOR_ATTENTION}
        return self._contest(case, makers)

    def _sdpa(self, case: KernelCase, name: str) -> Callable[[], Contender]:
        def make() -> Contender:
            torch = self._needed_torch()
            if case.shape["window"] is not None:
                msg = "torch's attention takes no window without a mask of its size"
                raise SkipError(msg)
            check_attention(torch, library=name, dtype=case.dtype, head_dim=case.shape["head_dim"])
            n_sets = self._n_sets(case, n_max=8)
            calls = attention_call(
                torch, attention_shape(case), library=name, dtype=case.dtype, n_sets=n_sets
            )
            call = calls.forward
            if case.direction == "bwd":
                call = calls.backward
                for index in range(n_sets):
                    call(index)
            library, call = self._torch_library(name), keeping_results(call, n_sets=n_sets)
            return Contender(call=call, library=library, framework="torch", is_vendor=True)

        if name not in SDPA_BACKENDS:
            msg = f"{name} is none of {', '.join(SDPA_BACKENDS)}"
            raise ValueError(msg)
        return make

    def _operation(self, case: KernelCase) -> Contest:
        n_sets = self._n_sets(case, n_max=16)

        def own() -> Contender:
            calls = [device_operation(case, self._arrays) for _ in range(n_sets)]
            return Contender(
                call=keeping_results(lambda index: calls[index % n_sets](), n_sets=n_sets),
                library=own_library("memory_bound"),
                framework="cupy",
            )

        def vendor() -> Contender:
            device = self._needed_torch()
            calls = [torch_operation(case, device) for _ in range(n_sets)]
            return Contender(
                call=keeping_results(lambda index: calls[index % n_sets](), n_sets=n_sets),
                library=self._torch_library("eager"),
                framework="torch",
                is_vendor=True,
            )

        found = self._contest(case, {"own": own, "torch": vendor, COPY: lambda: self._copy})
        return replace(found, copy_bytes=2 * COPY_BYTES if COPY in found.contenders else 0.0)

    @cached_property
    def _copy(self) -> Contender:
        """The driver's copy, kept for all memory-bound cases."""
        case = stream_case(COPY, dtype="bf16", vector_bytes=COPY_BYTES)
        call = stream_calls(case, self._arrays, n_sets=1)["vendor"]
        return Contender(call=call, library=self._cupy_library(COPY), framework="cupy")

    def _stream(self, case: KernelCase) -> Contest:
        n_sets = self._n_sets(case)
        calls = stream_calls(case, self._arrays, n_sets=n_sets)
        makers: dict[str, Callable[[], Contender]] = {}
        makers["own"] = lambda: Contender(
            call=keeping_results(calls["own"], n_sets=n_sets),
            library=own_library(case.op),
            framework="cupy",
        )
        if "vendor" in calls:
            makers["vendor"] = lambda: Contender(
                call=calls["vendor"],
                library=self._cupy_library(case.op),
                framework="cupy",
                is_vendor=True,
            )
        return self._contest(case, makers)


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _torch() -> ModuleType | None:
    """Torch where it is installed for the drivers that are here and sees a GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError):
        return None
    return torch if torch.cuda.is_available() else None
