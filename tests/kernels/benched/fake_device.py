"""A CuPy whose device is the host: arrays are NumPy's, events read a clock, products are real."""

from __future__ import annotations

import ctypes
import time
from types import SimpleNamespace

import numpy as np

from kernels.backends import Device
from tests.kernels.gpu.fake_cupy import DeviceArray, on_device

__all__ = ["DEVICE", "make_cupy"]

DEVICE = Device(
    backend="cuda",
    vendor="nvidia",
    name="NVIDIA H200",
    framework="cupy",
    architecture="sm_80",
    n_units=2,
    memory_bytes=2**30,
    cache_bytes=2**10,
)
NUMBERS = {"CUDA_R_16BF": 14, "CUDA_R_16F": 2, "CUDA_R_32F": 0}
TYPES = {14: np.uint16, 2: np.float16, 0: np.float32}
NO_TRANSPOSE, TRANSPOSE = 0, 1


class Event:
    def record(self):
        self.time_s = time.perf_counter()


class Module:
    """What RawModule gives: the kernel that waits, and those that the test brings."""

    def __init__(self, functions):
        self.functions = functions

    def get_function(self, name):
        if name == "spin":
            return lambda _grid, _block, arguments: time.sleep(int(arguments[0]) * 1e-10)
        return self.functions(name)


def floats(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32) if bits.dtype == np.uint16 else bits


def column_major(address, kind, *, ld, columns):
    """The memory that BLAS is told of, as a matrix of `ld` rows."""
    n_bytes = ld * columns * np.dtype(TYPES[kind]).itemsize
    memory = (ctypes.c_ubyte * n_bytes).from_address(address)
    return np.frombuffer(memory, dtype=TYPES[kind]).reshape(columns, ld).T


def gemm_ex(  # the order of cublasGemmEx
    handle, op_a, op_b, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc,
    compute, algorithm,
):  # fmt: skip
    left = floats(column_major(a, a_kind, ld=lda, columns=m if op_a == TRANSPOSE else k))
    right = floats(column_major(b, b_kind, ld=ldb, columns=k if op_b == TRANSPOSE else n))
    left = left[:k, :].T if op_a == TRANSPOSE else left[:m, :]
    right = right[:n, :].T if op_b == TRANSPOSE else right[:k, :]
    product = left.astype(np.float64) @ right
    out = column_major(c, c_kind, ld=ldc, columns=n)
    out.flags.writeable = True
    product = product * ctypes.c_float.from_address(alpha).value
    factor = ctypes.c_float.from_address(beta).value
    if factor != 0.0:
        product = product + factor * floats(np.ascontiguousarray(out[:m, :]))
    if c_kind == NUMBERS["CUDA_R_16BF"]:
        bits = np.ascontiguousarray(product, dtype=np.float32).view(np.uint32)
        product = ((bits + 0x8000) >> 16).astype(np.uint16)
    out[:m, :] = product


def make_cupy(functions=lambda name: None, *, is_hip=False):
    random = np.random.default_rng(0)
    device = SimpleNamespace(
        id=0,
        compute_capability="80",
        attributes={"MultiProcessorCount": 2},
        synchronize=lambda: None,
    )
    names = {"CUBLAS_OP_N": NO_TRANSPOSE, "CUBLAS_OP_T": TRANSPOSE, "CUBLAS_GEMM_DEFAULT": -1}
    names |= {"CUBLAS_COMPUTE_32F": 68, "CUBLAS_COMPUTE_32F_FAST_TF32": 77}
    return SimpleNamespace(
        __version__="14.2.0",
        RawModule=lambda code="", path="": Module(functions),
        random=SimpleNamespace(
            standard_normal=lambda shape, dtype: on_device(random.standard_normal(shape, dtype))
        ),
        asarray=on_device,
        empty=lambda shape, dtype: on_device(np.full(shape, 1, dtype=dtype)),
        empty_like=lambda array: on_device(np.empty(array.shape, dtype=array.dtype)),
        ones=lambda shape, dtype: on_device(np.ones(shape, dtype=dtype)),
        arange=lambda n: np.arange(n).view(DeviceArray),
        copyto=np.copyto,
        matmul=np.matmul,
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
        cuda=SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda start, stop: (stop.time_s - start.time_s) * 1e3,
            Device=lambda *_: device,
            cublas=SimpleNamespace(gemmEx=gemm_ex, **names),
            device=SimpleNamespace(get_cublas_handle=lambda: 7),
            runtime=SimpleNamespace(
                is_hip=is_hip,
                getDeviceProperties=lambda _index: {"uuid": bytes(range(16))},
                **NUMBERS,
            ),
            function=SimpleNamespace(CNumpyArray=lambda value: value),
        ),
    )
