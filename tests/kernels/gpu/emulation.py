"""Kernels compiled for the host: the very sources, with threads as fibres."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernels.gemm.sources import GemmEntry
from kernels.gpu.kernel_source import KernelSource

HOST = Path(__file__).parent / "host"
COMPILERS = ("clang++-19", "clang++", "g++")


class Arguments(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("a", "b", "out")),
        *((f"{name}_ld", ctypes.c_longlong) for name in ("a", "b", "out")),
        *((f"{name}_batch_stride", ctypes.c_longlong) for name in ("a", "b", "out")),
        *((name, ctypes.c_int) for name in ("m", "n", "k", "n_batches")),
        ("alpha", ctypes.c_float),
        ("beta", ctypes.c_float),
    )


class Grid(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in (
            *("n_blocks", "n_batches", "n_threads"),
            *("are_copies_late", "are_products_late", "stride"),
        )
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One of many orders in which a device might do things."""

    are_copies_late: bool
    """Whether asynchronous copies land only when they are waited for, or at once."""
    are_products_late: bool
    """The same for asynchronous matrix products."""
    stride: int
    """Thread i x stride comes i-th; without a factor of the number of threads."""


SCHEDULES = (
    Schedule(are_copies_late=True, are_products_late=True, stride=1),
    Schedule(are_copies_late=False, are_products_late=True, stride=77),
    Schedule(are_copies_late=True, are_products_late=False, stride=77),
    Schedule(are_copies_late=False, are_products_late=False, stride=383),
)


def find_compiler() -> str | None:
    return next((path for path in map(shutil.which, COMPILERS) if path), None)


def build(
    source: KernelSource[GemmEntry], folder: Path, *, entries: tuple[GemmEntry, ...]
) -> ctypes.CDLL:
    """Compile entries of a source, all with one size of tile, into one library."""
    compiler = find_compiler()
    assert compiler is not None
    is_wgmma = source.name == "gemm_wgmma"
    arguments, harness = ("a_map, b_map, g", "wgmma.cpp") if is_wgmma else ("g", "tiled.cpp")
    library = folder / f"{entries[0].name}.so"
    calls = (f"{_instance(entry)}({arguments})" for entry in entries)
    cases = "".join(f"case {i}: {call}; return; " for i, call in enumerate(calls))
    definitions = {
        **entries[0].definitions,
        "ENTRY_SOURCE": f'"{source.path}"',
        "ENTRY_CASES": cases,
        "ENTRY_LAYOUTS": '"' + "".join(entry.layout for entry in entries) + '"',
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
    return ctypes.CDLL(str(library))


def _instance(entry: GemmEntry) -> str:
    values = entry.definitions
    element = "" if entry.element == "float" else f"{entry.element}, "
    return f"gemm<{element}{values['ENTRY_TRANSPOSE_A']}, {values['ENTRY_TRANSPOSE_B']}>"


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values as an element type holds them, in float32."""
    if dtype == "bf16":
        return bf16_values(bf16_bits(values))
    if dtype == "fp16":
        return values.astype(np.float16).astype(np.float32)
    return values.astype(np.float32)


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """The bits that a kernel reads."""
    if dtype == "bf16":
        return bf16_bits(values)
    return values.astype(np.float16 if dtype == "fp16" else np.float32)


def loaded(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Float32 values of what a kernel wrote."""
    return bf16_values(bits) if dtype == "bf16" else bits.astype(np.float32)


def bf16_bits(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def bf16_values(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
