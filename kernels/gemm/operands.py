"""What every GEMM takes: shapes of a product, its batch and its transposed operands."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["TRANSPOSED", "ProductShape", "product_shape", "require_operand", "require_product"]

TRANSPOSED = ("", "a", "b", "ab")
"""Which operands are stored transposed."""


class ProductShape(NamedTuple):
    """Sizes of one product or of each of a batch."""

    batch: tuple[int, ...]
    """Number of products, or nothing for a single one. [1]"""
    m: int
    """Rows of the result. [1]"""
    n: int
    """Columns of the result. [1]"""
    k: int
    """Depth of the sums. [1]"""

    @property
    def out(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (*self.batch, self.m, self.n)


def product_shape(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], *, transposed: str
) -> ProductShape:
    """Sizes of op(a) op(b).

    Parameters
    ----------
    a_shape, b_shape
        Two axes, or three with the number of products in front. [1]
    transposed
        One of `TRANSPOSED`.

    Raises
    ------
    ValueError
        When the shapes do not fit each other.
    """
    if transposed not in TRANSPOSED:
        msg = f"transposed {transposed!r}: expected one of {TRANSPOSED}"
        raise ValueError(msg)
    is_batch_alike = len(a_shape) == len(b_shape) and a_shape[:-2] == b_shape[:-2]
    if len(a_shape) not in {2, 3} or not is_batch_alike:
        msg = f"shapes {a_shape} and {b_shape}: expected two or three axes, the same batch"
        raise ValueError(msg)
    m, k = a_shape[:-3:-1] if "a" in transposed else a_shape[-2:]
    k_of_b, n = b_shape[:-3:-1] if "b" in transposed else b_shape[-2:]
    if k != k_of_b:
        msg = f"shapes {a_shape} and {b_shape}, transposed {transposed!r}: k is {k} and {k_of_b}"
        raise ValueError(msg)
    return ProductShape(tuple(a_shape[:-2]), m, n, k)


def require_operand(
    array: Any,  # noqa: ANN401 -- NumPy's or CuPy's
    *,
    name: str,
    dtype: object,
    shape: tuple[int, ...],
    dtypes: tuple[str, ...],
) -> None:
    """An array of a known type, the same for all operands, and of the shape that it must have.

    Raises
    ------
    ValueError
        In one line that names the operand.
    """
    if str(array.dtype) not in dtypes or array.dtype != dtype:
        msg = f"{name}: type {array.dtype}; expected {', '.join(dtypes)}, the same for all"
        raise ValueError(msg)
    if tuple(array.shape) != tuple(shape):
        msg = f"{name}: shape {array.shape}; expected {shape}"
        raise ValueError(msg)


def require_product(
    a: Any,  # noqa: ANN401 -- as above
    b: Any,  # noqa: ANN401
    out: Any | None,  # noqa: ANN401
    *,
    beta: float,
    transposed: str,
    dtypes: tuple[str, ...],
) -> ProductShape:
    """Sizes of a product of NumPy's arrays that fit each other, into an out that can be written.

    Raises
    ------
    ValueError
        In one line, what does not fit.
    """
    for name, operand in (("a", a), ("b", b)):
        require_operand(operand, name=name, dtype=a.dtype, shape=operand.shape, dtypes=dtypes)
    shape = product_shape(a.shape, b.shape, transposed=transposed)
    if out is None:
        if beta != 0:
            msg = f"beta {beta} needs an out to be added to"
            raise ValueError(msg)
        return shape
    require_operand(out, name="out", dtype=a.dtype, shape=shape.out, dtypes=dtypes)
    if not out.flags.writeable:
        msg = "out: it is read-only"
        raise ValueError(msg)
    return shape
