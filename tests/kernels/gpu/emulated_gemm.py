"""One product of random matrices by an emulated kernel, and the truth about it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np

from kernels.gemm.reference import relative_error_fraction
from kernels.gemm.sources import GemmEntry
from tests.kernels.gpu.emulation import (
    SCHEDULES,
    Arguments,
    Grid,
    Schedule,
    loaded,
    round_to,
    stored,
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Sizes, factors and how the matrices lie in memory."""

    m: int
    n: int
    k: int
    n_batches: int = 1
    alpha: float = 1.0
    beta: float = 0.0
    padding: int = 8
    """Elements behind each row that no product may touch."""
    out_padding: int = 0
    """More such elements behind the rows of the result alone."""
    out_gap: int = 0
    """Elements between one result and the next, besides a row."""
    out_shift: int = 0
    """Elements from a multiple of 128 bytes to the result."""
    schedule: Schedule = field(default=SCHEDULES[0])


class Operands:
    """Matrices inside larger ones that are NaN everywhere else."""

    def __init__(self, problem: Problem, entry: GemmEntry, dtype: str) -> None:
        random = np.random.default_rng(problem.m * 7919 + problem.n * 131 + problem.k)
        p, self.problem, self.dtype = problem, problem, dtype
        shapes = {
            "a": (p.k, p.m) if entry.layout[0] == "t" else (p.m, p.k),
            "b": (p.n, p.k) if entry.layout[1] == "t" else (p.k, p.n),
            "out": (p.m, p.n),
        }
        self.values, self.memory, self.whole, self.shapes = {}, {}, {}, shapes
        for name, (rows, columns) in shapes.items():
            values = random.standard_normal((p.n_batches, rows, columns)).astype(np.float32)
            room = self._room(name, rows, columns)
            if name != "out" or p.beta != 0:
                room[:, :rows, :columns] = stored(values, dtype)
            self.values[name] = round_to(values, dtype).astype(np.float64)
            self.memory[name] = room
        a, b = self.values["a"], self.values["b"]
        a = a.transpose(0, 2, 1) if entry.layout[0] == "t" else a
        b = b.transpose(0, 2, 1) if entry.layout[1] == "t" else b
        self.truth = p.alpha * (a @ b)
        if p.beta != 0:
            self.truth = self.truth + p.beta * self.values["out"]

    def _room(self, name: str, rows: int, columns: int) -> np.ndarray:
        """Matrices of NaN with a row and some columns more than asked for."""
        p, is_out = self.problem, name == "out"
        ld = columns + p.padding + (p.out_padding if is_out else 0)
        stride = (rows + 1) * ld + (p.out_gap if is_out else 0)
        shift = p.out_shift if is_out else 0
        flat = np.full(p.n_batches * stride + shift, np.nan, dtype=np.float32)
        self.whole[name] = memory = aligned(stored(flat, self.dtype))
        size = memory.itemsize
        return np.lib.stride_tricks.as_strided(
            memory[shift:], (p.n_batches, rows + 1, ld), (stride * size, ld * size, size)
        )

    def arguments(self) -> Arguments:
        values = {}
        for name, array in self.memory.items():
            values[name] = array.ctypes.data
            values[f"{name}_ld"] = array.strides[1] // array.itemsize
            values[f"{name}_batch_stride"] = array.strides[0] // array.itemsize
        p = self.problem
        return Arguments(
            m=p.m, n=p.n, k=p.k, n_batches=p.n_batches, alpha=p.alpha, beta=p.beta, **values
        )

    def result(self) -> np.ndarray:
        """What was written; nothing may have been written around it."""
        rows, columns = self.shapes["out"]
        inside = self.memory["out"][:, :rows, :columns]
        found = loaded(inside.copy(), self.dtype)
        inside[...] = stored(np.full(inside.shape, np.nan, dtype=np.float32), self.dtype)
        assert np.isnan(loaded(self.whole["out"], self.dtype)).all()
        return found


def aligned(array: np.ndarray) -> np.ndarray:
    """The same values beginning at a multiple of 128 bytes."""
    memory = np.empty(array.nbytes + 128, dtype=np.uint8)
    offset = -memory.ctypes.data % 128
    view = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def emulated(library: ctypes.CDLL, i_entry: int, entry: GemmEntry, problem: Problem) -> Operands:
    """Operands after an entry has run on the host."""
    operands = Operands(problem, entry, entry.name.split("_")[2])
    tiles = -(-problem.m // entry.tile_m) * -(-problem.n // entry.tile_n)
    grid = Grid(
        n_blocks=tiles,
        n_batches=problem.n_batches,
        n_threads=entry.n_threads,
        are_copies_late=problem.schedule.are_copies_late,
        are_products_late=problem.schedule.are_products_late,
        stride=problem.schedule.stride,
    )
    status = library.run(i_entry, ctypes.byref(operands.arguments()), ctypes.byref(grid))
    assert status == 0, "the threads wait for each other for ever, or left a copy behind"
    return operands


def emulated_error(library: ctypes.CDLL, i_entry: int, entry: GemmEntry, problem: Problem) -> float:
    """Norm-wise error of an entry on the host against float64. [1]."""
    operands = emulated(library, i_entry, entry, problem)
    return relative_error_fraction(operands.result(), operands.truth)
