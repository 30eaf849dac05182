"""Which constants predict a row: one rule for the predictors and for whoever cites them.

Light to import: names only, no arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kernels.libraries import implementation

__all__ = [
    "UNFUSED",
    "attention_entry",
    "attention_name",
    "collective_library",
    "collective_operation",
    "is_fused",
    "operation_class_name",
]

UNFUSED = "unfused"
"""Implementation that keeps the scores in memory, which no model of fused kernels describes."""

DEFAULTS = ("cudnn", "flash-4", "flash-3", "flash-2", "aiter", "ck")
"""What stands in for a library that a device has no entry of, in this order."""

FUSED = "fused"
"""Implementation of kernels of one pass, in libraries.toml."""

VENDOR_LIBRARY = "vendor"

COLLECTIVE_NAMES = {"p2p": "point_to_point"}
"""Operations that tables name otherwise than calibrations."""


def attention_name(library: str, *, is_causal: bool) -> str:
    """Name of the implementation behind a library; empty where none is listed."""
    full = None if is_causal else implementation("attention-full", library)
    return full or implementation("attention", library) or ""


def attention_entry(
    name: str, direction: str, known: Sequence[str], decoders: Collection[str]
) -> str | None:
    """The entry that predicts an implementation.

    Parameters
    ----------
    name
        Implementation, as `attention_name` finds it.
    direction
        fwd, bwd, fwd_bwd or fwd_decode.
    known
        Entries of the completed calibration, in its order.
    decoders
        Those of them that have parameters of decoding.

    Returns
    -------
    str or None
        The implementation's own entry, else the first of `DEFAULTS`, else the first of all; for
        decoding the first of these that can decode, where any can. None without an entry.
    """
    wanted = [one for one in (name, *DEFAULTS) if one in known]
    wanted += known
    if direction == "fwd_decode":
        wanted = [one for one in wanted if one in decoders] or wanted
    return wanted[0] if wanted else None


def operation_class_name(operation: str, direction: str) -> str:
    """Name of an operation in calibrations: with its direction where a row states one."""
    return f"{operation}-{direction}" if direction else operation


def is_fused(library: str) -> bool:
    """Whether a library goes over the operands once, so that its kernels are plain streams."""
    return implementation("ops", library) == FUSED


def collective_operation(text: str) -> str:
    """Operation of a table row, as calibrations name it."""
    return COLLECTIVE_NAMES.get(text, text)


def collective_library(library: str) -> str:
    """Implementation behind the library of a collective; the vendor's where none is listed."""
    return implementation("collectives", library) or VENDOR_LIBRARY
