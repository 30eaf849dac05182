"""What the GPU path decides without a GPU, and its products against float64 where there is one."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from kernels.backends import BackendError
from kernels.gemm import tile_choice
from kernels.gemm.gpu import KERNELS, choose_kernel, gemm_gpu
from kernels.gemm.launch import ARGUMENTS, Operand, Product, entry_for
from kernels.gemm.reference import relative_error_fraction
from kernels.gemm.sources import gemm_source
from kernels.gpu.cupy_module import why_no_gpu
from tests.kernels.gpu.emulation import Arguments, bf16_bits, bf16_values

TOLERANCE = {"simt": 1e-5, "tf32": 1e-3, "bf16": 1e-2, "fp16": 2e-3}


class FakeArray:
    """As much of CuPy's array as a description of an operand needs."""

    def __init__(self, array: np.ndarray, address: int = 4096) -> None:
        self.shape, self.strides, self.ndim = array.shape, array.strides, array.ndim
        self.itemsize = array.itemsize
        self.data = type("Memory", (), {"ptr": address})()


def product(a, b, out, *, transposed="", dtype="bf16"):
    m, n = out.shape[-2:]
    k = a.shape[-2] if "a" in transposed else a.shape[-1]
    return Product(
        a=Operand.of(FakeArray(a), is_transposed="a" in transposed),
        b=Operand.of(FakeArray(b), is_transposed="b" in transposed),
        out=Operand.of(FakeArray(out), is_transposed=False),
        m=m,
        n=n,
        k=k,
        alpha=0.5,
        beta=2.0,
        dtype=dtype,
    )


def half(*shape):
    return np.zeros(shape, dtype=np.uint16)


@pytest.mark.parametrize(
    ("dtype", "architecture", "is_mappable", "expected"),
    [
        ("bf16", "sm_90", True, "wgmma"),
        ("fp16", "sm_90", False, "mma"),
        ("bf16", "sm_80", True, "mma"),
        ("fp16", "sm_100", True, "mma"),
        ("bf16", "gfx942", False, "mfma"),
        ("fp32", "sm_90", True, "simt"),
        ("fp32", "gfx90a", False, "simt"),
    ],
)
def test_the_fastest_kernel_that_takes_the_operands(dtype, architecture, is_mappable, expected):
    chosen = choose_kernel(dtype=dtype, architecture=architecture, is_mappable=is_mappable)
    assert chosen == expected


def test_a_device_before_ampere_is_told_what_it_can_do():
    with pytest.raises(BackendError, match="no kernel for bf16 on sm_70; use float32"):
        choose_kernel(dtype="bf16", architecture="sm_70", is_mappable=True)


def test_arguments_have_the_layout_of_the_sources():
    assert ARGUMENTS.itemsize == ctypes.sizeof(Arguments)
    names = ARGUMENTS.names
    assert names is not None
    for name in names:
        field = getattr(Arguments, name)
        assert ARGUMENTS.fields[name][1] == field.offset
        assert ARGUMENTS.fields[name][0].itemsize == field.size


def test_a_slice_of_batches_begins_at_its_own_matrices():
    whole = product(half(5, 16, 24), half(5, 24, 8), half(5, 16, 8))
    packed = whole.arguments(first_batch=3, n_batches=2)
    assert int(packed["a"]) == 4096 + 3 * 16 * 24 * 2
    assert int(packed["out"]) == 4096 + 3 * 16 * 8 * 2
    assert (int(packed["n_batches"]), int(packed["b_ld"]), float(packed["beta"])) == (2, 8, 2.0)


@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_boxes_along_k_are_as_high_as_the_tile_and_others_64_depths(transposed):
    a = half(64, 32) if "a" in transposed else half(32, 64)
    b = half(48, 64) if "b" in transposed else half(64, 48)
    of_a, of_b = product(a, b, half(32, 48), transposed=transposed).matrices(box_lines=(128, 256))
    assert of_a.box_rows == (64 if "a" in transposed else 128)
    assert of_b.box_rows == (256 if "b" in transposed else 64)
    assert (of_a.n_rows, of_a.n_columns) == a.shape
    assert (of_b.n_rows, of_b.n_columns) == b.shape


def test_operands_out_of_step_with_16_bytes_are_no_tensor_maps():
    assert product(half(16, 64), half(64, 32), half(16, 32)).why_not_mappable() is None
    odd = product(half(16, 63), half(63, 32), half(16, 32))
    assert "ld 63 is no positive multiple of 8 elements" in str(odd.why_not_mappable())
    with pytest.raises(BackendError, match="kernel mma takes any"):
        entry_for(odd, kernel="wgmma", n_units=132)
    fp32 = product(half(8, 8), half(8, 8), half(8, 8), dtype="fp32")
    with pytest.raises(BackendError, match="kernel mfma has no entry for fp32"):
        entry_for(fp32, kernel="mfma", n_units=132)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name not in {"auto", "vendor"}])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_every_kernel_has_an_entry_for_every_layout(kernel, transposed):
    dtype = "fp32" if kernel == "simt" else "bf16"
    narrow = product(half(64, 64), half(64, 64), half(64, 64), transposed=transposed, dtype=dtype)
    source, entry = entry_for(narrow, kernel=kernel, n_units=132)
    assert source is gemm_source(f"gemm_{kernel}")
    assert entry.layout == narrow.layout


def test_without_a_device_one_line_says_so():
    reason = why_no_gpu()
    if reason is None:
        pytest.skip("a GPU is here")
    with pytest.raises(BackendError) as error:
        gemm_gpu(None, None)
    assert str(error.value) == reason
    assert "\n" not in reason


SIZES = ((1, 1, 1), (64, 64, 64), (136, 264, 328), (257, 129, 77), (1000, 520, 1032), (8, 9, 0))


@pytest.mark.gpu
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize("n_batches", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        ("simt", "fp32"),
        ("mma", "fp32"),
        *((kernel, dtype) for kernel in ("wgmma", "mma", "mfma") for dtype in ("bf16", "fp16")),
        ("auto", "bf16"),
        ("vendor", "fp16"),
        ("vendor", "bf16"),
    ],
)
def test_products_agree_with_float64(kernel, dtype, n_batches, transposed):
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)
    import cupy

    key = "tf32" if (kernel, dtype) == ("mma", "fp32") else "simt" if dtype == "fp32" else dtype
    for m, n, k in SIZES:
        for alpha, beta in ((1.0, 0.0), (-0.5, 2.0)):
            case = Case(m, n, k, n_batches=n_batches, transposed=transposed, dtype=dtype)
            out = cupy.asarray(case.out if beta else case.poison)
            try:
                gemm_gpu(
                    cupy.asarray(case.a),
                    cupy.asarray(case.b),
                    out=out,
                    alpha=alpha,
                    beta=beta,
                    transposed=transposed,
                    kernel=kernel,
                )
            except BackendError as error:
                if "not for" in str(error):
                    pytest.skip(str(error))
                assert kernel == "wgmma"  # only tensor maps are particular about strides
                continue
            truth = alpha * case.product + beta * case.values(case.out).astype(np.float64)
            result = case.values(cupy.asnumpy(out))
            assert relative_error_fraction(result, truth) < TOLERANCE[key], (m, n, k, alpha, beta)


@pytest.mark.gpu
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("tile_n", [128, 192, 256])
def test_every_width_of_tile_agrees_wherever_the_result_lies(
    monkeypatch, tile_n, dtype, transposed
):
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)
    import cupy

    # Small products would all take the narrowest.
    costs = {width: 1.0 if width == tile_n else 1e9 for width in tile_choice.RELATIVE_COST}
    monkeypatch.setattr(tile_choice, "RELATIVE_COST", costs)
    for m, n, k in ((136, 264, 1032), (2056, 2056, 72)):
        case = Case(m, n, k, n_batches=2, transposed=transposed, dtype=dtype)
        for n_before, n_behind in ((0, 0), (1, 6), (2, 6), (0, 2), (8, 8)):
            for alpha, beta in ((1.0, 0.0), (-0.5, 2.0)):
                old = case.out if beta else case.poison
                room = np.pad(old, ((0, 0), (0, 0), (n_before, n_behind)))
                around = cupy.asarray(room)
                try:
                    gemm_gpu(
                        cupy.asarray(case.a),
                        cupy.asarray(case.b),
                        out=around[:, :, n_before : n_before + n],
                        alpha=alpha,
                        beta=beta,
                        transposed=transposed,
                        kernel="wgmma",
                    )
                except BackendError as error:
                    pytest.skip(str(error))
                found = cupy.asnumpy(around)
                inside = found[:, :, n_before : n_before + n].copy()
                truth = alpha * case.product + beta * case.values(case.out).astype(np.float64)
                error = relative_error_fraction(case.values(inside), truth)
                assert error < TOLERANCE[dtype], (m, n, k, n_before, n_behind, alpha, beta)
                found[:, :, n_before : n_before + n] = old
                np.testing.assert_array_equal(found.view(np.uint16), room.view(np.uint16))


class Case:
    """Random operands as they are stored, and their product in float64."""

    def __init__(self, m, n, k, *, n_batches, transposed, dtype):
        self.dtype = dtype
        random = np.random.default_rng(m + 3 * n + 7 * k)
        batch = () if n_batches == 1 else (n_batches,)
        shapes = ((k, m) if "a" in transposed else (m, k), (n, k) if "b" in transposed else (k, n))
        self.a, self.b, self.out = (
            self._stored(random.standard_normal((*batch, *shape))) for shape in (*shapes, (m, n))
        )
        self.poison = self._stored(np.full((*batch, m, n), np.nan))
        a, b = (self.values(matrix).astype(np.float64) for matrix in (self.a, self.b))
        a = a.swapaxes(-1, -2) if "a" in transposed else a
        b = b.swapaxes(-1, -2) if "b" in transposed else b
        self.product = a @ b

    def _stored(self, values):
        if self.dtype == "bf16":
            return bf16_bits(values.astype(np.float32))
        return values.astype(np.float16 if self.dtype == "fp16" else np.float32)

    def values(self, stored):
        return bf16_values(stored) if self.dtype == "bf16" else stored
