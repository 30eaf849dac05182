"""gemm_gpu from the call to the result, with the host in the place of CuPy and the device."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from kernels.backends import BackendError
from kernels.gemm import gpu, launch
from kernels.gemm.reference import relative_error_fraction
from kernels.gemm.sources import gemm_source
from kernels.gpu import launch as device_launch
from kernels.gpu import tensor_map
from tests.kernels.gpu.emulation import (
    Grid,
    bf16_bits,
    bf16_values,
    build,
    find_compiler,
)
from tests.kernels.gpu.fake_cupy import install_fake_cupy, on_device

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")
NAMES = ("gemm_simt_fp32_nt", "gemm_mma_bf16_tn", "gemm_wgmma_bf16_tn")


class HostFunction:
    """An entry that runs on the host instead of a device."""

    def __init__(self, name: str, library: ctypes.CDLL) -> None:
        self.name, self.library, self.kernel = name, library, 0
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, grid, block, values, shared_mem):
        self.calls.append((*grid, block[0], shared_mem))
        host = Grid(
            n_blocks=grid[0], n_batches=grid[2], n_threads=block[0], are_copies_late=1, stride=1
        )
        status = self.library.run(0, ctypes.c_void_p(values[-1].ctypes.data), ctypes.byref(host))
        assert status == 0


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    found = {}
    for name in NAMES:
        source = gemm_source("_".join(name.split("_")[:2]))
        entries = (source.entry(name),)
        library = build(source, tmp_path_factory.mktemp(name), entries=entries)
        found[name] = HostFunction(name, library)
    return found


@pytest.fixture
def device(monkeypatch, functions):
    """Make the host look like a device of some compute capability."""

    def pretend(capability: str) -> None:
        install_fake_cupy(monkeypatch, functions.__getitem__, capability=capability)

    yield pretend
    device_launch._function.cache_clear()


def test_a_product_in_float32_goes_through_the_simt_kernel(device, functions):
    device("80")
    random = np.random.default_rng(11)
    a = random.standard_normal((3, 40, 19)).astype(np.float32)
    b = random.standard_normal((3, 33, 19)).astype(np.float32)
    out = gpu.gemm_gpu(on_device(a), on_device(b), alpha=-2.0, transposed="b")
    assert relative_error_fraction(np.asarray(out), -2.0 * (a @ b.swapaxes(1, 2))) < 1e-5
    assert functions["gemm_simt_fp32_nt"].calls[-1] == (1, 1, 3, 256, 0)


@pytest.mark.parametrize(("capability", "kernel"), [("80", "mma"), ("90", "wgmma")])
def test_a_product_in_bf16_takes_the_tensor_cores(
    device, functions, monkeypatch, capability, kernel
):
    device(capability)
    mapped = []
    monkeypatch.setattr(
        launch, "encode_tensor_map", lambda matrix: mapped.append(matrix) or np.zeros(128, np.uint8)
    )
    random = np.random.default_rng(12)
    a, b, c = (random.standard_normal(shape) for shape in ((72, 136), (72, 48), (136, 48)))
    a_bits, b_bits, c_bits = (bf16_bits(matrix.astype(np.float32)) for matrix in (a, b, c))
    truth = bf16_values(a_bits).T.astype(np.float64) @ bf16_values(b_bits)
    truth = truth + 0.5 * bf16_values(c_bits)
    out = on_device(c_bits.copy())
    gpu.gemm_gpu(on_device(a_bits), on_device(b_bits), out=out, beta=0.5, transposed="a")
    assert relative_error_fraction(bf16_values(np.asarray(out)), truth) < 1e-2
    assert len(mapped) == (2 if kernel == "wgmma" else 0)
    assert functions[f"gemm_{kernel}_bf16_tn"].calls[-1][0] == 2


def test_an_out_that_lies_over_an_operand_is_refused(device):
    device("80")
    block = on_device(np.zeros((24, 16), np.float32))
    a, b = block[:16], on_device(np.ones((16, 16), np.float32))
    with pytest.raises(ValueError, match="out shares memory with a"):
        gpu.gemm_gpu(a, b, out=block[8:])
    with pytest.raises(ValueError, match="out shares memory with b"):
        gpu.gemm_gpu(b.copy(), a, out=a)


def test_a_kernel_on_the_wrong_device_is_refused_in_one_line(device):
    device("80")
    a = on_device(bf16_bits(np.ones((64, 64), np.float32)))
    with pytest.raises(BackendError, match="gemm_wgmma is for sm_90a, not for sm_80"):
        gpu.gemm_gpu(a, a, transposed="a", kernel="wgmma")


def test_operands_that_do_not_fit_are_named(device):
    device("80")
    a = on_device(np.ones((4, 6), np.float32))
    with pytest.raises(ValueError, match="k is 6 and 4"):
        gpu.gemm_gpu(a, a)
    with pytest.raises(ValueError, match="needs an out"):
        gpu.gemm_gpu(a, a, transposed="b", beta=1.0)
    with pytest.raises(ValueError, match="expected contiguous rows"):
        gpu.gemm_gpu(a.T, a)
    with pytest.raises(ValueError, match="type float64"):
        gpu.gemm_gpu(a.astype(np.float64), a)
    with pytest.raises(ValueError, match="expected"):
        gpu.gemm_gpu(a, a, transposed="c")


def test_a_tensor_map_hands_the_driver_what_the_copy_engine_wants(monkeypatch):
    seen = []

    def encode(*arguments):
        seen.append(arguments)
        return 0

    driver = SimpleNamespace(cuTensorMapEncodeTiled=encode)
    monkeypatch.setattr(tensor_map, "_driver", lambda: driver)
    matrix = tensor_map.MatrixInMemory(
        address=4096,
        dtype="bf16",
        n_columns=100,
        n_rows=30,
        n_batches=1,
        ld=104,
        batch_stride=0,
        box_rows=128,
    )
    encoded = tensor_map.encode_tensor_map(matrix)
    assert encoded.nbytes == 128
    assert encoded.ctypes.data % 64 == 0
    _, dtype, rank, address, extents, strides, box, *_ = seen[0]
    assert (dtype.value, rank.value, address.value) == (9, 3, 4096)
    assert list(extents) == [100, 30, 1]
    assert list(strides) == [208, 208 * 30]
    assert list(box) == [64, 128, 1]
