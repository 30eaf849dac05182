"""The device sources of this package: entries, launch sizes and architectures they are for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernels.gpu.compiled import Object
from kernels.gpu.hip_clang import compile_hip
from kernels.gpu.nvrtc import compile_cuda

__all__ = ["LAYOUTS", "SOURCES", "Entry", "KernelSource", "source_of"]

KERNELS = Path(__file__).resolve().parent.parent
LAYOUTS = ("nn", "nt", "tn", "tt")
"""Transposition of a and of b: n as stored, t transposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kernel of a source: the source compiled with a type and a transposition."""

    name: str
    """Its ``extern "C"`` name."""
    element: str
    """Type of the operands in the source: Bf16, Fp16, Tf32 or float."""
    layout: str
    """One of `LAYOUTS`."""
    n_threads: int
    """Threads of a block. [1]"""
    dynamic_shared_bytes: int
    """Shared memory given at launch. [byte]"""
    tile_m: int
    """Rows of the result that a block owns. [1]"""
    tile_n: int
    """Columns of the result that a block owns. [1]"""

    @property
    def definitions(self) -> dict[str, str]:
        """Macros that choose this entry when the source is compiled."""
        truth = {"n": "false", "t": "true"}
        return {
            "ENTRY_NAME": self.name,
            "ENTRY_TYPE": self.element,
            "ENTRY_TRANSPOSE_A": truth[self.layout[0]],
            "ENTRY_TRANSPOSE_B": truth[self.layout[1]],
            "ENTRY_TILE_N": str(self.tile_n),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSource:
    """One ``.cu`` file."""

    name: str
    """Name of the file without ending."""
    folder: str
    """Folder under kernels/."""
    architectures: tuple[str, ...]
    """What it is compiled and checked for."""
    entries: tuple[Entry, ...]
    """Its kernels."""

    @property
    def path(self) -> Path:
        """The file."""
        return KERNELS / self.folder / f"{self.name}.cu"

    @property
    def include_folders(self) -> tuple[Path, ...]:
        """Where the source finds what it includes."""
        return (KERNELS / "gpu", KERNELS / self.folder)

    def entry(self, name: str) -> Entry:
        """Look an entry up by its name."""
        return next(entry for entry in self.entries if entry.name == name)

    def compile(self, entry: Entry, architecture: str) -> Object:
        """Compile one entry for an architecture by the compiler of its vendor.

        One at a time, because a program needs few of them and each takes up to seconds.

        Raises
        ------
        CompileError
            When the source is not for this architecture, or wrong.
        CompilerMissingError
            When the compiler is not installed.
        """
        compiler = compile_hip if architecture.startswith("gfx") else compile_cuda
        options = [
            *(f"-I{folder}" for folder in self.include_folders),
            *(f"-D{name}={value}" for name, value in entry.definitions.items()),
        ]
        return compiler(self.path, architecture, options=options)


ELEMENTS = {"bf16": "Bf16", "fp16": "Fp16", "tf32": "Tf32", "fp32": "float"}


def _entries(
    prefix: str, dtypes: tuple[str, ...], *, n_threads: int, shared_bytes: int, tile_n: int = 128
) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            name=f"{prefix}_{dtype}_{layout}",
            element=ELEMENTS[dtype],
            layout=layout,
            n_threads=n_threads,
            dynamic_shared_bytes=shared_bytes,
            tile_m=128,
            tile_n=tile_n,
        )
        for dtype in dtypes
        for layout in LAYOUTS
    )


RING_BYTES = 192 * 1024 + 1024 + 128
"""Stages of the wgmma kernel, room to align them, and their barriers. [byte]"""

SOURCES = (
    KernelSource(
        name="gemm_simt",
        folder="gemm",
        architectures=("sm_80", "sm_90", "sm_100", "gfx90a", "gfx942"),
        entries=_entries("gemm_simt", ("fp32",), n_threads=256, shared_bytes=0),
    ),
    KernelSource(
        name="gemm_wgmma",
        folder="gemm",
        architectures=("sm_90a",),
        entries=(
            *_entries("gemm_wgmma", ("bf16", "fp16"), n_threads=384, shared_bytes=RING_BYTES),
            *_entries(
                "gemm_wgmma256",
                ("bf16", "fp16"),
                n_threads=384,
                shared_bytes=RING_BYTES,
                tile_n=256,
            ),
        ),
    ),
    KernelSource(
        name="gemm_mma",
        folder="gemm",
        architectures=("sm_80", "sm_90", "sm_100"),
        entries=_entries(
            "gemm_mma", ("bf16", "fp16", "tf32"), n_threads=256, shared_bytes=4 * 2 * 128 * 64
        ),
    ),
    KernelSource(
        name="gemm_mfma",
        folder="gemm",
        architectures=("gfx90a", "gfx942"),
        entries=_entries("gemm_mfma", ("bf16", "fp16"), n_threads=256, shared_bytes=0),
    ),
)


def source_of(name: str) -> KernelSource:
    """Look a source up by its name."""
    return next(source for source in SOURCES if source.name == name)
