"""HIP sources to code objects of AMD GPUs through clang; no GPU and no ROCm are needed.

The sources bring what they need in port.h, so clang compiles them freestanding, and its remarks
say what each kernel needs. Debian's clang-19 knows gfx90a and gfx942.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kernels.gpu.compiled import CompileError, CompilerMissingError, KernelResources, Object

__all__ = ["compile_hip", "find_clang", "parse_remarks", "why_no_clang"]

# A compiler and its linker: Debian's, or ROCm's own on a machine that has it.
PAIRS = (
    ("clang++-19", "ld.lld-19"),
    ("/usr/lib/llvm-19/bin/clang++", "/usr/lib/llvm-19/bin/ld.lld"),
    ("/opt/rocm/llvm/bin/clang++", "/opt/rocm/llvm/bin/ld.lld"),
)
MISSING = "clang-19 and lld-19 are not installed; apt-get install clang-19 lld-19 brings them"
FREESTANDING = (
    "-x",
    "hip",
    "--cuda-device-only",
    "--no-gpu-bundle-output",
    "-nogpuinc",
    "-nogpulib",
    "-O3",
    "-std=c++17",
    "-Rpass-analysis=kernel-resource-usage",
)


def find_clang() -> str | None:
    """Path of a clang that compiles for AMD GPUs, or None."""
    found = (shutil.which(compiler) for compiler, linker in PAIRS if shutil.which(linker))
    return next((path for path in found if path is not None), None)


def why_no_clang() -> str | None:
    """Say in one line why HIP sources cannot be compiled here; None when they can."""
    return None if find_clang() else MISSING


def compile_hip(path: Path, architecture: str, *, options: Sequence[str] = ()) -> Object:
    """Compile a source for one architecture.

    Parameters
    ----------
    path
        The ``.cu`` source.
    architecture
        Such as ``gfx942``.
    options
        Further options of clang, include folders among them.

    Returns
    -------
    Object
        Code object, and registers, spills and shared memory of each entry.

    Raises
    ------
    CompileError
        With clang's messages, when the source or the architecture is wrong.
    CompilerMissingError
        When clang is not installed.
    """
    clang = find_clang()
    if clang is None:
        raise CompilerMissingError(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "code.hsaco"
        arguments = [f"--offload-arch={architecture}", *options, "-o", str(target), str(path)]
        result = subprocess.run(
            [clang, *FREESTANDING, *arguments], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            msg = f"{path.name} does not compile for {architecture}:\n{result.stderr.strip()}"
            raise CompileError(msg)
        code = target.read_bytes()
    log = result.stderr
    return Object(architecture=architecture, code=code, resources=parse_remarks(log), log=log)


def parse_remarks(text: str) -> tuple[KernelResources, ...]:
    """Resources of each entry, from clang's kernel-resource-usage remarks. Sizes in [byte]."""
    found = []
    for part in re.split(r"remark: .*?Function Name: ", text)[1:]:
        values = dict(re.findall(r"remark: \S*\s*([A-Za-z][^:\n]*): (\d+)", part))
        vector = int(values["VGPRs"])
        accumulation = int(values.get("AGPRs", 0))
        # Accumulation registers begin at a multiple of four behind the vector registers.
        total = -(-vector // 4) * 4 + accumulation if accumulation else vector
        found.append(
            KernelResources(
                entry=part.split()[0],
                registers_per_thread=total,
                spill_bytes=4 * int(values.get("VGPRs Spill", 0))
                + int(values.get("ScratchSize [bytes/lane]", 0)),
                static_shared_bytes=int(values.get("LDS Size [bytes/block]", 0)),
                waves_per_simd=int(values["Occupancy [waves/SIMD]"]),
            )
        )
    return tuple(found)
