"""A device source: its file, its kernels, what it is compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from kernels.gpu.compiled import Object
from kernels.gpu.hip_clang import compile_hip
from kernels.gpu.nvrtc import compile_cuda

__all__ = ["Entry", "KernelSource"]

KERNELS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kernel of a source: the source compiled with its macros."""

    name: str
    """Its ``extern "C"`` name."""
    n_threads: int
    """Threads of a block. [1]"""
    dynamic_shared_bytes: int = 0
    """Shared memory given at launch. [byte]"""
    macros: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What chooses this entry when the source is compiled, besides its name."""

    @property
    def definitions(self) -> dict[str, str]:
        """All macros."""
        return {"ENTRY_NAME": self.name, **self.macros}


AnyEntry_co = TypeVar("AnyEntry_co", bound=Entry, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSource(Generic[AnyEntry_co]):
    """One ``.cu`` file."""

    name: str
    """Name of the file without ending."""
    folder: str
    """Folder under kernels/."""
    architectures: tuple[str, ...]
    """What it is compiled and checked for."""
    entries: tuple[AnyEntry_co, ...]
    """Its kernels."""

    @property
    def path(self) -> Path:
        """The file."""
        return KERNELS / self.folder / f"{self.name}.cu"

    @property
    def include_folders(self) -> tuple[Path, ...]:
        """Where the source finds what it includes."""
        return (KERNELS / "gpu", KERNELS / self.folder)

    def entry(self, name: str) -> AnyEntry_co:
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
