"""Memory-bound operations on a GPU through CuPy: the package's own kernels.

Arrays are CuPy's and contiguous: float32, float16, or bfloat16 kept in uint16; sums are float32.
CuPy is imported when the first call asks for it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kernels.gpu.cupy_module import require_cupy
from kernels.gpu.launch import by_value, function_of, n_units_of
from kernels.memory_bound import arguments
from kernels.memory_bound.arguments import adamw_factors, packed
from kernels.memory_bound.reference import AdamW
from kernels.memory_bound.sources import memory_bound_source

__all__ = [
    "adamw_gpu",
    "copy_gpu",
    "cross_entropy_backward_gpu",
    "cross_entropy_gpu",
    "gelu_backward_gpu",
    "gelu_gpu",
    "layer_norm_backward_gpu",
    "layer_norm_gpu",
    "rms_norm_backward_gpu",
    "rms_norm_gpu",
    "swiglu_backward_gpu",
    "swiglu_gpu",
    "triad_gpu",
]

Array = Any
"""CuPy's array."""

DTYPES = {"float32": "fp32", "float16": "fp16", "uint16": "bf16", "bfloat16": "bf16"}
VECTOR_BYTES = 16
THREADS = 256
VECTORS_PER_THREAD = 4
"""Of kernels that go through an array in strides. Blocks are many and short: as many as a
multiprocessor holds at once would have to be known for each kernel, and one too many waits for all
the others. [1]"""
NORM_BLOCKS_PER_UNIT = 2
"""Blocks of a norm's backward pass, each of which keeps sums of its own. [1]"""
SUM_COLUMNS = 32
"""Columns that a block of `sum_rows` adds up. [1]"""


def rms_norm_gpu(x: Array, weight: Array, *, epsilon: float = 1e-6) -> Array:
    """Rows over their root mean square, times the weights of the columns.

    Parameters
    ----------
    x
        Matrix (n_rows, n_columns).
    weight
        Row of n_columns, same type.
    epsilon
        Added to the mean square. [1]
    """
    return _norm("rms_norm", x, weight, None, epsilon)


def layer_norm_gpu(x: Array, weight: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Rows less their mean over their standard deviation, scaled and shifted by column.

    Parameters
    ----------
    x
        Matrix (n_rows, n_columns).
    weight, bias
        Rows of n_columns, same type.
    epsilon
        Added to the variance. [1]
    """
    return _norm("layer_norm", x, weight, bias, epsilon)


def rms_norm_backward_gpu(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-6
) -> tuple[Array, Array]:
    """Gradients (d_x, d_weight) of `rms_norm_gpu`."""
    d_x, d_weight, _none = _norm_backward("rms_norm", d_y, x, weight, epsilon)
    return d_x, d_weight


def layer_norm_backward_gpu(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients (d_x, d_weight, d_bias) of `layer_norm_gpu`."""
    return _norm_backward("layer_norm", d_y, x, weight, epsilon)


def swiglu_gpu(gate: Array, value: Array) -> Array:
    """Value times SiLU of the gate."""
    return _by_element("swiglu_forward", (gate, value))[0]


def swiglu_backward_gpu(d_y: Array, gate: Array, value: Array) -> tuple[Array, Array]:
    """Gradients (d_gate, d_value) of `swiglu_gpu`."""
    return _by_element("swiglu_backward", (d_y, gate, value))


def gelu_gpu(x: Array) -> Array:
    """Gaussian error linear unit in its tanh form."""
    return _by_element("gelu_forward", (x,))[0]


def gelu_backward_gpu(d_y: Array, x: Array) -> Array:
    """Gradient d_x of `gelu_gpu`."""
    return _by_element("gelu_backward", (d_y, x))[0]


def copy_gpu(source: Array) -> Array:
    """Copy, the yardstick of memory bandwidth."""
    return _by_element("copy", (source,))[0]


def triad_gpu(first: Array, second: Array) -> Array:
    """First plus three times second."""
    return _by_element("triad", (first, second))[0]


def cross_entropy_gpu(logits: Array, target: Array) -> tuple[Array, Array]:
    """Loss of each row, and the logarithm of the sum of its exponentials, in float32.

    Parameters
    ----------
    logits
        Matrix (n_rows, n_classes).
    target
        Class of each row, int32, 0 to n_classes - 1; not looked at before the kernel reads by it.
    """
    cupy = require_cupy()
    _require(logits)
    _require_targets(target, logits)
    loss = cupy.empty(len(logits), dtype="float32")
    log_sum_exp = cupy.empty_like(loss)
    given = packed(
        arguments.CROSS_ENTROPY_ARGUMENTS,
        logits=_address(logits),
        target=_address(target),
        loss=_address(loss),
        log_sum_exp=_address(log_sum_exp),
        n_classes=logits.shape[1],
    )
    _launch("cross_entropy", f"cross_entropy_forward_{_by_row(logits)}", given, len(logits))
    return loss, log_sum_exp


def cross_entropy_backward_gpu(
    d_loss: Array, logits: Array, target: Array, log_sum_exp: Array
) -> Array:
    """Gradient d_logits of `cross_entropy_gpu`; `d_loss`, float32, weights each row."""
    cupy = require_cupy()
    _require(logits)
    _require_targets(target, logits)
    for values in (d_loss, log_sum_exp):
        if values.shape != logits.shape[:1] or str(values.dtype) != "float32":
            msg = (
                f"values of shape {values.shape}, {values.dtype}: "
                f"expected {logits.shape[:1]}, float32"
            )
            raise ValueError(msg)
    d_logits = cupy.empty_like(logits)
    given = packed(
        arguments.CROSS_ENTROPY_ARGUMENTS,
        logits=_address(logits),
        target=_address(target),
        log_sum_exp=_address(log_sum_exp),
        d_loss=_address(d_loss),
        d_logits=_address(d_logits),
        n_classes=logits.shape[1],
    )
    _launch("cross_entropy", f"cross_entropy_backward_{_by_row(logits)}", given, len(logits))
    return d_logits


def adamw_gpu(
    weight: Array, gradient: Array, moments: tuple[Array, Array], rule: AdamW
) -> Array | None:
    """One step of AdamW; weight and moments, float32, are changed in place.

    Parameters
    ----------
    weight
        Weights in float32.
    gradient
        Their gradient, in any of the types.
    moments
        First and second moment, float32.
    rule
        Constants of the step.

    Returns
    -------
    cupy.ndarray or None
        The new weights in the gradient's type, where that has 16 bits.
    """
    cupy = require_cupy()
    _require(gradient)
    _require(weight, *moments)
    if weight.shape != gradient.shape or str(weight.dtype) != "float32":
        msg = (
            f"weights of shape {weight.shape}, {weight.dtype}: "
            f"expected {gradient.shape} as the gradient has, float32"
        )
        raise ValueError(msg)
    copy = None if str(gradient.dtype) == "float32" else cupy.empty_like(gradient)
    given = packed(
        arguments.ADAMW_ARGUMENTS,
        weight=_address(weight),
        gradient=_address(gradient),
        first_moment=_address(moments[0]),
        second_moment=_address(moments[1]),
        weight_copy=0 if copy is None else _address(copy),
        n=weight.size,
        **adamw_factors(rule),
    )
    name = f"adamw_{DTYPES[str(gradient.dtype)]}"
    _launch("adamw", name, given, _n_strided_blocks(weight.size // 4))
    return copy


def _norm(name: str, x: Array, weight: Array, bias: Array | None, epsilon: float) -> Array:
    cupy = require_cupy()
    _require(x)
    _require_rows(x, weight, *(() if bias is None else (bias,)))
    out = cupy.empty_like(x)
    given = packed(
        arguments.NORM_ARGUMENTS,
        x=_address(x),
        weight=_address(weight),
        bias=0 if bias is None else _address(bias),
        out=_address(out),
        n_rows=x.shape[0],
        n_columns=x.shape[1],
        epsilon=epsilon,
    )
    _launch("norms", f"{name}_forward_{_by_row(x)}", given, x.shape[0])
    return out


def _norm_backward(
    name: str, d_y: Array, x: Array, weight: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    cupy = require_cupy()
    _require(x, d_y)
    _require_rows(x, weight)
    units = n_units_of(cupy)
    # A block without a row would leave its share of the sums unwritten.
    n_parts = min(x.shape[0], NORM_BLOCKS_PER_UNIT * units)
    d_x = cupy.empty_like(x)
    parts = cupy.empty((2, n_parts, x.shape[1]), dtype="float32")
    given = packed(
        arguments.NORM_ARGUMENTS,
        x=_address(x),
        weight=_address(weight),
        d_out=_address(d_y),
        d_x=_address(d_x),
        d_weight_parts=_address(parts[0]),
        d_bias_parts=_address(parts[1]),
        n_rows=x.shape[0],
        n_columns=x.shape[1],
        epsilon=epsilon,
    )
    _launch("norms", f"{name}_backward_{_by_row(x)}", given, n_parts)
    d_weight, d_bias = (cupy.empty(x.shape[1], dtype=x.dtype) for _ in range(2))
    sums = packed(
        arguments.SUM_ARGUMENTS,
        parts=_address(parts),
        out=_address(d_weight),
        other_out=_address(d_bias),
        n_parts=n_parts,
        n_columns=x.shape[1],
    )
    n_matrices = 2 if name == "layer_norm" else 1
    n_blocks = n_matrices * -(-x.shape[1] // SUM_COLUMNS)
    _launch("sum_rows", f"sum_rows_{DTYPES[str(x.dtype)]}", sums, n_blocks)
    return d_x, d_weight, d_bias


def _by_element(name: str, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    cupy = require_cupy()
    _require(*operands)
    first = operands[0]
    outputs = tuple(cupy.empty_like(first) for _ in range(2 if name == "swiglu_backward" else 1))
    names = zip(("first", "second", "third"), operands, strict=False)
    places = {place: _address(array) for place, array in names}
    places |= {
        place: _address(array) for place, array in zip(("out", "other_out"), outputs, strict=False)
    }
    given = packed(arguments.ELEMENT_ARGUMENTS, n=first.size, **places)
    n_vectors = first.size * first.itemsize // VECTOR_BYTES
    blocks = _n_strided_blocks(n_vectors)
    _launch("elementwise", f"{name}_{DTYPES[str(first.dtype)]}", given, blocks)
    return outputs


def _launch(source_name: str, entry_name: str, given: NDArray[Any], n_blocks: int) -> None:
    """Queue one kernel on CuPy's current stream."""
    if n_blocks == 0:
        return
    cupy = require_cupy()
    source = memory_bound_source(source_name)
    entry = source.entry(entry_name)
    function = function_of(cupy, source, entry)
    function((n_blocks, 1, 1), (entry.n_threads, 1, 1), (by_value(cupy, given),))


def _n_strided_blocks(n_vectors: int) -> int:
    return max(1, -(-n_vectors // (THREADS * VECTORS_PER_THREAD)))


def _address(array: Array) -> int:
    return int(array.data.ptr)


def _by_row(matrix: Array) -> str:
    """End of an entry's name: type, and whether rows begin on 16 bytes."""
    dtype = DTYPES[str(matrix.dtype)]
    is_aligned = matrix.shape[1] * matrix.itemsize % VECTOR_BYTES == 0
    return dtype if is_aligned else f"{dtype}_unaligned"


def _require(first: Array, *others: Array) -> None:
    for array in (first, *others):
        if str(array.dtype) not in DTYPES or array.dtype != first.dtype:
            msg = f"type {array.dtype}: expected {', '.join(DTYPES)}, the same for all operands"
            raise ValueError(msg)
        if array.shape != first.shape:
            msg = f"shape {array.shape}: expected {first.shape} as the first operand has"
            raise ValueError(msg)
        if not array.flags.c_contiguous or _address(array) % VECTOR_BYTES:
            msg = f"array of shape {array.shape} is not contiguous from {VECTOR_BYTES} bytes on"
            raise ValueError(msg)


def _require_rows(matrix: Array, *rows: Array) -> None:
    for row in rows:
        if row.shape != matrix.shape[1:] or row.dtype != matrix.dtype:
            msg = (
                f"row of shape {row.shape} and type {row.dtype}: "
                f"expected {matrix.shape[1:]} and {matrix.dtype}"
            )
            raise ValueError(msg)


def _require_targets(target: Array, logits: Array) -> None:
    if target.shape != logits.shape[:1] or str(target.dtype) != "int32":
        msg = f"targets of shape {target.shape}, {target.dtype}: expected {logits.shape[:1]}, int32"
        raise ValueError(msg)
