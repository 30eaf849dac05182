"""What every device source costs on every architecture: registers, spills, memory, occupancy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kernels.gpu.compiled import CompileError
from kernels.gpu.hip_clang import why_no_clang
from kernels.gpu.kernel_source import Entry, KernelSource
from kernels.gpu.nvrtc import why_no_nvrtc
from kernels.gpu.occupancy import limits_of, occupancy_fraction, resident_blocks
from kernels.gpu.sources import SOURCES

__all__ = ["Row", "architectures", "compile_row", "rows", "table", "why_skipped"]

HEADINGS = ("source", "entry", "arch", "regs", "spill B", "shared B", "blocks", "occupancy")
FORM = "{:<22}{:<40}{:<9}{:>5}{:>9}{:>10}{:>8}{:>11}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry on one architecture."""

    source: str
    """Name of the source."""
    entry: str
    """Name of the kernel."""
    architecture: str
    """Such as sm_90a or gfx942."""
    registers_per_thread: int = 0
    """Registers of 32 bits. [1]"""
    spill_bytes: int = 0
    """Spilled stores and loads, or scratch. [byte]"""
    shared_bytes: int = 0
    """Static and dynamic shared memory of a block. [byte]"""
    n_blocks: int = 0
    """Blocks that one multiprocessor or compute unit holds. [1]"""
    occupancy_fraction: float = 0.0
    """Resident waves over the most there could be. [1]"""
    remark: str = ""
    """What the assembler says against its speed, in a few words."""
    failure: str = ""
    """What the compiler said, when it refused."""


def architectures() -> tuple[str, ...]:
    """Every architecture that some source declares."""
    return tuple(dict.fromkeys(name for source in SOURCES for name in source.architectures))


def why_skipped(architecture: str) -> str | None:
    """Say in one line why nothing can be compiled for an architecture here; None when it can."""
    return why_no_clang() if architecture.startswith("gfx") else why_no_nvrtc()


def compile_row(source: KernelSource[Entry], entry: Entry, architecture: str) -> Row:
    """Compile one entry; a refusal becomes a row, too."""
    try:
        compiled = source.compile(entry, architecture)
    except CompileError as error:
        return Row(
            source=source.name, entry=entry.name, architecture=architecture, failure=str(error)
        )
    limits = limits_of(architecture)
    need = compiled.resources[0]
    shared_bytes = need.static_shared_bytes + entry.dynamic_shared_bytes
    n_blocks = resident_blocks(
        limits,
        n_threads=entry.n_threads,
        registers_per_thread=need.registers_per_thread,
        shared_bytes=shared_bytes,
    )
    return Row(
        source=source.name,
        entry=entry.name,
        architecture=architecture,
        registers_per_thread=need.registers_per_thread,
        spill_bytes=need.spill_bytes,
        shared_bytes=shared_bytes,
        n_blocks=n_blocks,
        occupancy_fraction=occupancy_fraction(limits, n_threads=entry.n_threads, n_blocks=n_blocks),
        # The assembler waits for each wgmma where sums are touched in flight, and says so.
        remark="products wait for each other" if "serializ" in compiled.log.lower() else "",
    )


def rows(wanted: Iterable[str], *, every: bool = False) -> Iterator[Row]:
    """Compile the entries of all sources for those of the architectures that they declare.

    Parameters
    ----------
    wanted
        Architectures to compile for.
    every
        Whether each entry is compiled for each architecture; otherwise for one of them in turn, so
        that all entries and all architectures have their share.
    """
    chosen = set(wanted)
    for source in SOURCES:
        for i, architecture in enumerate(source.architectures):
            if architecture in chosen and why_skipped(architecture) is None:
                step = 1 if every else len(source.architectures)
                for entry in source.entries[0 if every else i % len(source.entries) :: step]:
                    yield compile_row(source, entry, architecture)


def table(found: Iterable[Row]) -> Iterator[str]:
    """Lines of text, one for each row, under a line of headings."""
    yield FORM.format(*HEADINGS)
    for row in found:
        if row.failure:
            yield f"{row.source:<22}{row.entry:<40}{row.architecture:<9} FAILED: {row.failure}"
            continue
        line = FORM.format(
            row.source,
            row.entry,
            row.architecture,
            row.registers_per_thread,
            row.spill_bytes,
            row.shared_bytes,
            row.n_blocks,
            f"{row.occupancy_fraction:.0%}",
        )
        yield f"{line}  {row.remark}".rstrip()
