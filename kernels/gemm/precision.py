"""Which peak a GEMM dtype runs at, and how many bytes its elements take."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

__all__ = ["PRECISIONS", "SIBLING_DTYPES", "Precision", "nearest_dtype"]


class Precision(NamedTuple):
    """One dtype of measurement tables and calibrations."""

    peak: str
    """Key of the accelerator's dense peaks."""
    operand_bytes: float
    """One element of A or B, its share of block scales included. [byte]"""
    result_bytes: float
    """One element of C. [byte]"""


PRECISIONS = {
    "fp64": Precision("fp64", 8.0, 8.0),
    "fp32": Precision("fp32", 4.0, 4.0),
    "tf32": Precision("tf32", 4.0, 4.0),
    "bf16": Precision("bf16", 2.0, 2.0),
    "fp16": Precision("fp16", 2.0, 2.0),
    "int8": Precision("int8", 1.0, 2.0),
    "fp8": Precision("fp8", 1.0, 2.0),
    # An fp32 scale for 128 elements.
    "fp8_block128": Precision("fp8", 1.0 + 4.0 / 128.0, 2.0),
    # An 8-bit scale for 32 elements (Open Compute microscaling).
    "mxfp8": Precision("fp8", 1.0 + 1.0 / 32.0, 2.0),
    # An 8-bit scale for 16 elements (nvfp4) or 32 (mxfp4, Open Compute microscaling).
    "nvfp4": Precision("fp4", 0.5 + 1.0 / 16.0, 2.0),
    "mxfp4": Precision("fp4", 0.5 + 1.0 / 32.0, 2.0),
}
"""By the dtype's name in measurement tables."""

SIBLING_DTYPES = {
    "fp16": ("bf16",),
    "bf16": ("fp16",),
    "tf32": ("bf16", "fp16"),
    "fp8": ("fp8_block128", "int8", "bf16"),
    "int8": ("fp8", "fp8_block128", "bf16"),
    "fp8_block128": ("fp8",),
    "mxfp8": ("fp8", "fp8_block128"),
    "nvfp4": ("mxfp4", "fp8"),
    "mxfp4": ("nvfp4", "fp8"),
}
"""Dtypes whose constants stand in for one without its own, nearest first."""


def nearest_dtype(dtype: str, known: Container[str]) -> str | None:
    """The dtype itself where it is known, else the nearest sibling that is; None for neither."""
    for candidate in (dtype, *SIBLING_DTYPES.get(dtype, ())):
        if candidate in known:
            return candidate
    return None
