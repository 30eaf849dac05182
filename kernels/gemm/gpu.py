"""GEMM on a GPU through CuPy: the package's own kernels, and the vendor's library beside them.

Arrays are CuPy's. Numbers of 16 bits are float16 or, as CuPy may have no type for them, bfloat16 in
uint16. CuPy is imported when the first product is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends import BackendError
from kernels.gemm.launch import Operand, Product, launch
from kernels.gemm.operands import product_shape, require_operand
from kernels.gemm.vendor_gpu import gemm_vendor
from kernels.gpu.cupy_module import require_cupy
from kernels.gpu.launch import architecture_of

__all__ = ["KERNELS", "choose_kernel", "gemm_gpu"]

KERNELS = ("auto", "vendor", "wgmma", "mma", "mfma", "simt")
"""auto is the fastest of the package's own kernels that takes the operands."""
DTYPES = {"float32": "fp32", "float16": "fp16", "uint16": "bf16", "bfloat16": "bf16"}
WGMMA_CAPABILITY = 90
"""Compute capability whose code alone has wgmma. [1]"""
MMA_CAPABILITY = 80
"""Compute capability from which on mma.sync takes bf16. [1]"""


def choose_kernel(*, dtype: str, architecture: str, is_mappable: bool) -> str:
    """Fastest of the package's own kernels for operands on a device.

    Parameters
    ----------
    dtype
        bf16, fp16 or fp32; the last keeps all its bits, so it never goes to matrix cores unasked.
    architecture
        Such as ``sm_90`` or ``gfx942``.
    is_mappable
        Whether tensor maps can describe the operands.

    Returns
    -------
    str
        One of `KERNELS` other than auto and vendor.

    Raises
    ------
    BackendError
        When no kernel takes this type on this device.
    """
    if dtype == "fp32":
        return "simt"
    if architecture.startswith("gfx9"):
        return "mfma"
    capability = int(architecture.removeprefix("sm_"))
    if capability == WGMMA_CAPABILITY and is_mappable:
        return "wgmma"
    if capability >= MMA_CAPABILITY:
        return "mma"
    msg = f"no kernel for {dtype} on {architecture}; use float32, or kernel='vendor'"
    raise BackendError(msg)


def gemm_gpu(
    a: Any,  # noqa: ANN401 -- CuPy's array
    b: Any,  # noqa: ANN401 -- CuPy's array
    *,
    out: Any = None,  # noqa: ANN401 -- CuPy's array
    alpha: float = 1.0,
    beta: float = 0.0,
    transposed: str = "",
    kernel: str = "auto",
) -> Any:  # noqa: ANN401 -- CuPy's array
    """Alpha op(a) op(b) + beta out, summed in float32.

    Parameters
    ----------
    a
        Of shape (m, k), or (k, m) when transposed; with a batch axis in front, for each product.
        float32, float16, or bfloat16 kept in uint16; rows contiguous.
    b
        Of shape (k, n), or (n, k) when transposed; same type and same batch axis.
    out
        Of shape (m, n), same type and batch axis; made when it is not given. Read only where beta
        is not zero.
    alpha, beta
        Factors of the product and of what is in out. [1]
    transposed
        Which operands are stored transposed: ``""``, ``"a"``, ``"b"`` or ``"ab"``.
    kernel
        One of `KERNELS`. ``mma`` rounds float32 operands to 19 bits (tf32).

    Returns
    -------
    cupy.ndarray
        out.

    Raises
    ------
    BackendError
        In one line, when CuPy or a device is missing or the kernel cannot run on it.
    ValueError
        When shapes, types or strides do not fit, or out shares memory with an operand.
    """
    cupy = require_cupy()
    if kernel not in KERNELS:
        msg = f"kernel {kernel!r}: expected one of {KERNELS}"
        raise ValueError(msg)
    for name, operand in (("a", a), ("b", b)):
        _require(operand, name=name, like=a, shape=operand.shape)
    shapes = product_shape(tuple(a.shape), tuple(b.shape), transposed=transposed)
    if out is None:
        if beta != 0:
            msg = f"beta {beta} needs an out to be added to"
            raise ValueError(msg)
        out = cupy.empty(shapes.out, dtype=a.dtype)
    _require(out, name="out", like=a, shape=shapes.out)
    for name, operand in (("a", a), ("b", b)):
        if _overlap(out, operand):
            msg = f"out shares memory with {name}; expected an array of its own"
            raise ValueError(msg)
    if kernel == "vendor":
        return _vendor(cupy, (a, b, out), factors=(alpha, beta), transposed=transposed)
    product = Product(
        a=Operand.of(a, is_transposed="a" in transposed),
        b=Operand.of(b, is_transposed="b" in transposed),
        out=Operand.of(out, is_transposed=False),
        m=shapes.m,
        n=shapes.n,
        k=shapes.k,
        alpha=alpha,
        beta=beta,
        dtype=DTYPES[str(a.dtype)],
    )
    if shapes.m and shapes.n and product.n_batches:
        launch(cupy, product, kernel=_resolve(cupy, product, kernel=kernel))
    return out


def _require(array: Any, *, name: str, like: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401
    require_operand(array, name=name, dtype=like.dtype, shape=shape, dtypes=tuple(DTYPES))
    # CuPy says strides of 0 where there are no elements.
    has_rows = array.ndim >= 2 and array.shape[-1] > 1 and array.size > 0
    if has_rows and array.strides[-1] != array.itemsize:
        msg = f"{name}: strides {array.strides}; expected contiguous rows; say transposed instead"
        raise ValueError(msg)


def _overlap(first: Any, second: Any) -> bool:  # noqa: ANN401 -- CuPy's arrays
    """Whether the bytes between the first and the last element of two arrays meet."""
    low, high = _extent(first)
    other_low, other_high = _extent(second)
    return low < other_high and other_low < high


def _extent(array: Any) -> tuple[int, int]:  # noqa: ANN401 -- CuPy's array
    """Addresses of the first byte and of the one behind the last; equal where it is empty."""
    low = high = int(array.data.ptr)
    if array.size == 0:
        return low, high
    for size, stride in zip(array.shape, array.strides, strict=True):
        reach = (size - 1) * stride
        low, high = low + min(0, reach), high + max(0, reach)
    return low, high + array.itemsize


def _resolve(cupy: Any, product: Product, *, kernel: str) -> str:  # noqa: ANN401 -- module
    if kernel != "auto":
        return kernel
    return choose_kernel(
        dtype=product.dtype,
        architecture=architecture_of(cupy),
        is_mappable=product.why_not_mappable() is None,
    )


def _vendor(
    cupy: Any,  # noqa: ANN401 -- module
    arrays: tuple[Any, Any, Any],
    *,
    factors: tuple[float, float],
    transposed: str,
) -> Any:  # noqa: ANN401 -- CuPy's array
    """Let the vendor's library multiply; factors other than one cost passes of their own.

    CuPy's matmul knows no bfloat16: the library is asked for each product of a batch by itself.
    """
    a, b, out = arrays
    alpha, beta = factors
    if DTYPES[str(a.dtype)] == "bf16":
        for index in np.ndindex(*out.shape[:-2]):
            gemm_vendor(
                cupy,
                *(one[index] if one.ndim > 2 else one for one in (a, b, out)),
                dtype="bf16",
                transposed=transposed,
                factors=factors,
            )
        return out
    a = a.swapaxes(-1, -2) if "a" in transposed else a
    b = b.swapaxes(-1, -2) if "b" in transposed else b
    if alpha == 1 and beta == 0:
        return cupy.matmul(a, b, out=out)
    scaled = cupy.matmul(a, b).astype(np.float32) * np.float32(alpha)
    if beta != 0:
        scaled += np.float32(beta) * out.astype(np.float32)
    out[...] = scaled.astype(out.dtype)
    return out
