"""Attention on a GPU through CuPy: the package's own flash kernels, and the unfused form.

Arrays are CuPy's, (batch, heads, sequence, head_dim), of float16 or of bfloat16 kept in uint16.
CuPy is imported when the first call asks for it.
"""

from __future__ import annotations

from typing import Any

from kernels.attention.flash_arguments import FlashCall, placed
from kernels.attention.flash_entry import HEAD_DIMS
from kernels.attention.launch import BACKWARD, FORWARD, KERNELS, launch
from kernels.attention.mask import FULL, Mask
from kernels.attention.operands import (
    Gradients,
    Result,
    require_gradient,
    require_operands,
    softmax_scale,
)
from kernels.gpu.cupy_module import require_cupy

__all__ = ["KERNELS", "attention_backward_gpu", "attention_gpu", "attention_unfused_gpu"]

DTYPES = {"float16": "fp16", "uint16": "bf16", "bfloat16": "bf16"}
ALIGNMENT_BYTES = 16
"""Rows begin at multiples of this, and hold whole ones. [byte]"""


def attention_gpu(
    q: Any,  # noqa: ANN401 -- CuPy's array
    k: Any,  # noqa: ANN401 -- CuPy's array
    v: Any,  # noqa: ANN401 -- CuPy's array
    *,
    mask: Mask = FULL,
    scale: float | None = None,
    kernel: str = "auto",
) -> Result:
    """Flash attention forward.

    Parameters
    ----------
    q
        (batch, heads, query_len, head_dim); head_dim a multiple of 8 up to 256.
    k, v
        (batch, kv heads, key_len, head_dim), kv heads dividing heads.
    mask
        Which keys a query sees.
    scale
        Factor on the scores; one over the root of head_dim where it is not given. [1]
    kernel
        One of `KERNELS`: wgmma for Hopper, mma for sm_80 and later, mfma for AMD's CDNA; auto is
        the fastest that the device has and the operands fit.

    Returns
    -------
    Result
        Output like q, and the log-sum-exp of its rows in float32.

    Raises
    ------
    BackendError
        When CuPy, a device or a kernel for it is missing, or the kernel does not take the
        operands.
    ValueError
        When shapes, types or strides do not fit.
    """
    cupy = require_cupy()
    require_operands(q, k, v)
    _require_layout(q, k, v)
    out = cupy.empty(q.shape, dtype=q.dtype)
    lse = cupy.empty(q.shape[:3], dtype="float32")
    call = FlashCall(
        query_shape=q.shape,
        key_shape=k.shape,
        mask=mask,
        scale=softmax_scale(scale, q.shape[3]),
        heads={name: placed(array) for name, array in zip("qkv", (q, k, v), strict=True)}
        | {"out": placed(out)},
        lse=_address(lse),
    )
    launch(cupy, call, FORWARD, kernel=kernel, dtype=DTYPES[str(q.dtype)])
    return Result(out, lse)


def attention_backward_gpu(
    operands: tuple[Any, Any, Any],
    result: Result,
    gradient: Any,  # noqa: ANN401 -- CuPy's array
    *,
    mask: Mask = FULL,
    scale: float | None = None,
    kernel: str = "auto",
) -> Gradients:
    """Gradients of `attention_gpu`, the same whatever the order of blocks.

    Parameters
    ----------
    operands
        q, k and v of the forward pass.
    result
        What it returned.
    gradient
        Gradient by the output, laid out as q.
    mask, scale
        As in the forward pass.
    kernel
        As in the forward pass; wgmma takes heads up to 128 wide.

    Returns
    -------
    Gradients
        By q, k and v, in their type.

    Raises
    ------
    BackendError
        When CuPy, a device or a kernel for it is missing, or the kernel does not take the
        operands.
    ValueError
        When shapes, types or strides do not fit.
    """
    cupy = require_cupy()
    q, k, v = operands
    require_operands(q, k, v)
    require_gradient(q, result.out)
    require_gradient(q, gradient)
    _require_layout(q, k, v, result.out, gradient)
    if result.lse.shape != q.shape[:3] or str(result.lse.dtype) != "float32":
        msg = (
            f"lse of shape {result.lse.shape}, {result.lse.dtype}: expected {q.shape[:3]}, float32"
        )
        raise ValueError(msg)
    found = Gradients(*(cupy.empty(array.shape, dtype=array.dtype) for array in operands))
    delta = cupy.empty(q.shape[:3], dtype="float32")
    arrays = {"q": q, "k": k, "v": v, "out": result.out, "d_out": gradient}
    arrays |= {"d_q": found.dq, "d_k": found.dk, "d_v": found.dv}
    call = FlashCall(
        query_shape=q.shape,
        key_shape=k.shape,
        mask=mask,
        scale=softmax_scale(scale, q.shape[3]),
        heads={name: placed(array) for name, array in arrays.items()},
        lse=_address(result.lse),
        delta=_address(delta),
    )
    launch(cupy, call, BACKWARD, kernel=kernel, dtype=DTYPES[str(q.dtype)])
    return found


def attention_unfused_gpu(
    q: Any,  # noqa: ANN401 -- CuPy's array
    k: Any,  # noqa: ANN401 -- CuPy's array
    v: Any,  # noqa: ANN401 -- CuPy's array
    *,
    mask: Mask = FULL,
    scale: float | None = None,
) -> Any:  # noqa: ANN401 -- CuPy's array
    """Attention with all scores in memory, by CuPy's products: the baseline. float16 only.

    Parameters
    ----------
    q, k, v, mask, scale
        As for `attention_gpu`.

    Returns
    -------
    cupy.ndarray
        Output like q.
    """
    cupy = require_cupy()
    require_operands(q, k, v)
    if str(q.dtype) != "float16":
        msg = f"unfused attention: type {q.dtype}; expected float16"
        raise ValueError(msg)
    n_sharing = q.shape[1] // k.shape[1]
    k, v = (cupy.repeat(array, n_sharing, axis=1) for array in (k, v))
    scores = cupy.matmul(q, k.swapaxes(-1, -2)).astype("float32")
    scores *= softmax_scale(scale, q.shape[3])
    scores = cupy.where(cupy.asarray(mask.visible(q.shape[2], k.shape[2])), scores, -cupy.inf)
    top = scores.max(axis=-1, keepdims=True)
    scores -= cupy.where(cupy.isinf(top), 0.0, top)
    cupy.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    scores /= cupy.where(total == 0, 1.0, total)
    return cupy.matmul(scores.astype(q.dtype), v)


def _address(array: Any) -> int:  # noqa: ANN401 -- CuPy's array
    return int(array.data.ptr)


def _require_layout(*arrays: Any) -> None:  # noqa: ANN401 -- CuPy's arrays
    for array in arrays:
        if str(array.dtype) not in DTYPES or array.dtype != arrays[0].dtype:
            msg = f"type {array.dtype}: expected {', '.join(DTYPES)}, the same for all operands"
            raise ValueError(msg)
        steps_bytes = (*array.strides[:3], array.shape[3] * array.itemsize, array.data.ptr)
        # CuPy says strides of 0 where there are no elements.
        is_contiguous = array.size == 0 or array.strides[3] == array.itemsize
        if not is_contiguous or any(step % ALIGNMENT_BYTES for step in steps_bytes):
            msg = (
                f"array of shape {array.shape} and strides {array.strides}: expected contiguous "
                f"rows of whole multiples of {ALIGNMENT_BYTES} bytes"
            )
            raise ValueError(msg)
        if array.shape[3] > HEAD_DIMS[-1]:
            msg = f"head_dim {array.shape[3]}: expected at most {HEAD_DIMS[-1]}"
            raise ValueError(msg)
