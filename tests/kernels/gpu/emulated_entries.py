"""Entries of a source compiled for the host into one library, and run there."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from kernels.gpu.kernel_source import Entry, KernelSource
from tests.kernels.gpu.emulation import HOST, Grid, Schedule, find_compiler

__all__ = ["EmulatedSource"]


class EmulatedSource:
    """All entries of one source, by name."""

    def __init__(
        self,
        source: KernelSource[Entry],
        folder: Path,
        *,
        arguments: str,
        call: str = "{body}(g)",
        names: tuple[str, ...] = (),
        harness: str = "entries.cpp",
        n_threads: int = 0,
    ) -> None:
        compiler = find_compiler()
        assert compiler is not None
        self.entries = {e.name: e for e in source.entries if not names or e.name in names}
        self.numbers = {name: number for number, name in enumerate(self.entries)}
        cases = "".join(
            f"case {self.numbers[name]}: {call.format(body=entry.macros['ENTRY_BODY'])}; return; "
            for name, entry in self.entries.items()
        )
        library = folder / f"{source.name}.so"
        definitions = {
            **next(iter(self.entries.values())).definitions,
            "ENTRY_SOURCE": f'"{source.path}"',
            "ENTRY_ARGUMENTS": arguments,
            "ENTRY_CASES": cases,
            **({"ENTRY_THREADS": str(n_threads)} if n_threads else {}),
        }
        subprocess.run(
            [
                compiler,
                *("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-fno-strict-aliasing"),
                *(f"-I{path}" for path in (HOST, *source.include_folders)),
                *(f"-D{name}={value}" for name, value in definitions.items()),
                *("-o", str(library), str(HOST / harness)),
            ],
            check=True,
        )
        self.library = ctypes.CDLL(str(library))

    def run(self, name: str, arguments: np.ndarray, *, n_blocks: int, schedule: Schedule) -> None:
        """Run one entry over a grid; threads that wait for each other for ever are a failure."""
        grid = Grid(
            n_blocks=n_blocks,
            n_batches=1,
            n_threads=self.entries[name].n_threads,
            are_copies_late=schedule.are_copies_late,
            are_products_late=schedule.are_products_late,
            stride=schedule.stride,
        )
        packed = np.ascontiguousarray(arguments)
        pointer = ctypes.c_void_p(packed.ctypes.data)
        status = self.library.run(self.numbers[name], pointer, ctypes.byref(grid))
        assert status == 0, "the threads wait for each other for ever"
