"""One kernel of flash attention, and what a launch must know of it."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gpu.kernel_source import Entry

__all__ = ["ELEMENTS", "ELEMENT_BYTES", "HEAD_DIMS", "FlashEntry", "launch_macros"]

ELEMENTS = {"bf16": "Bf16", "fp16": "Fp16"}
"""Types of the operands, and their names in the sources."""
ELEMENT_BYTES = 2
"""Size of an element. [byte]"""
HEAD_DIMS = (64, 128, 256)
"""Head dims that kernels are built for; smaller ones are filled up with zeros. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashEntry(Entry):
    """A kernel for one type and head dim."""

    dtype: str
    """bf16 or fp16."""
    head_dim: int
    """Columns that it is built for; 0 where any will do. [1]"""
    rows_per_block: int
    """Queries or keys that a block owns. [1]"""
    blocks_per_tile: int = 1
    """Blocks that share the columns of one tile. [1]"""
    mapped: tuple[tuple[str, int], ...] = ()
    """Operands that it reads through tensor maps, in the order of its parameters, and the rows that
    one copy of each brings. [1]"""


def launch_macros(body: str, *, n_threads: int, n_blocks: int) -> dict[str, str]:
    """Macros of an entry: the instance of its template, its threads, its blocks at once."""
    return {
        "ENTRY_THREADS": str(n_threads),
        "ENTRY_BLOCKS": str(n_blocks),
        "ENTRY_BODY": body,
    }
