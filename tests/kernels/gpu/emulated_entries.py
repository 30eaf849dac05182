"""Entries of a source compiled for the host into one library, and run there."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernels.gpu.kernel_source import Entry, KernelSource
from kernels.gpu.tensor_map import BOX_INNER, TensorInMemory
from tests.kernels.gpu.emulation import HOST, SCHEDULES, Grid, Schedule, find_compiler

__all__ = ["EmulatedSource", "HostFunction", "emulated_map"]

# TensorMap of emulated_wgmma.h.
TENSOR_MAP = np.dtype(
    [("base", np.uint64), ("extent", np.int64, 4), ("stride", np.int64, 4), ("box", np.int32, 4)]
)


def emulated_map(tensor: TensorInMemory) -> np.ndarray:
    """What the emulated copy engine must know of a tensor of four axes."""
    box = (BOX_INNER, tensor.box_rows, 1, 1)
    return np.array((tensor.address, tensor.extents, (1, *tensor.strides), box), dtype=TENSOR_MAP)


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
            "ENTRY_MAP": "TensorMap" if "maps" in call else "void",
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

    def run(
        self,
        name: str,
        arguments: np.ndarray,
        *,
        n_blocks: int,
        schedule: Schedule,
        maps: Sequence[np.ndarray] = (),
    ) -> None:
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
        mapped = np.concatenate([np.atleast_1d(one) for one in maps]) if maps else np.zeros(1)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (packed, mapped)]
        status = self.library.run(self.numbers[name], *pointers, ctypes.byref(grid))
        assert status == 0, "the threads wait for each other for ever, or left a copy behind"


class HostFunction:
    """An entry that a launch runs on the host instead of a device."""

    kernel = 0

    def __init__(self, source: EmulatedSource, name: str) -> None:
        self.source, self.name = source, name
        self.n_calls = 0

    def __call__(self, grid, block, values, shared_mem=0):
        entry = self.source.entries[self.name]
        assert (block, shared_mem) == ((entry.n_threads, 1, 1), entry.dynamic_shared_bytes)
        *maps, given = values
        self.n_calls += 1
        self.source.run(self.name, given, n_blocks=grid[0], schedule=SCHEDULES[0], maps=tuple(maps))
