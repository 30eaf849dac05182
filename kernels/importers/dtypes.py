"""Number formats as benchmarks spell them, and as the project's tables do."""

from __future__ import annotations

from kernels.importers.cells import Place

__all__ = [
    "is_known_dtype",
    "is_of_collections",
    "is_tidy_dtype",
    "known_dtype",
    "tidy_dtype",
]

_NAMES = {
    "fp64": ("float64", "double"),
    "fp32": ("float32", "float"),
    "tf32": ("tfloat32",),
    "bf16": ("bfloat16",),
    "fp16": ("float16", "half"),
    "fp8": (
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "fp8_e4m3", "fp8_e5m2"),
        *("f8e4m3", "f8e5m2"),
    ),
    "fp8_block128": ("fp8_block",),
    "mxfp8": (),
    "mxfp4": (),
    "nvfp4": (),
    "int8": ("uint8", "char"),
    "int32": ("uint32", "int"),
    "int64": ("uint64",),
}
"""Name in the project's tables, and what PyTorch, NumPy, nccl-tests and others say for it."""

_TIDY = {other: name for name, others in _NAMES.items() for other in (name, *others)}


def is_tidy_dtype(text: str) -> bool:
    """Whether this is a name of a number format in the project's tables."""
    return text in _NAMES


def is_of_collections(text: str) -> bool:
    """Whether a format is one that public collections write and nothing is fitted on.

    They say ``fp16/bf16`` where a source tells no more, ``bf16->fp32`` of a product that widens its
    result, and ``unknown``.
    """
    parts = text.replace("->", "/").split("/")
    return text == "unknown" or (len(parts) > 1 and all(is_tidy_dtype(part) for part in parts))


def is_known_dtype(text: str) -> bool:
    """Whether a text names a format, in whatever spelling, or what collections write instead."""
    return known_dtype(text) is not None or is_of_collections(text)


def known_dtype(text: str) -> str | None:
    """Name of a number format in the project's tables, however spelled; None for no format."""
    return _TIDY.get(text.strip().lower().removeprefix("torch."))


def tidy_dtype(text: str, column: str, place: Place) -> str:
    """Name of a number format in the project's tables.

    Raises
    ------
    MeasurementError
        No known format; file, place, column and value are named.
    """
    found = known_dtype(text)
    if found is None:
        complaint = f"{column} = {text!r} is no known number format; known are {', '.join(_NAMES)}"
        raise place.error(complaint)
    return found
