"""CUDA sources to device binaries through NVRTC; no GPU and no driver are needed.

NVRTC comes from the wheels of the extra `cudacheck` (cuda-bindings) or with CuPy, whichever is
installed. A real architecture (``sm_…``) is always asked for: only then does the assembler run,
refuse what the architecture lacks and count registers.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kernels.gpu.compiled import CompileError, CompilerMissingError, KernelResources, Object

__all__ = ["compile_cuda", "parse_ptxas", "why_no_nvrtc"]

MISSING = "NVRTC is not installed; pip install '.[cudacheck]' brings it"
Compile = Callable[[str, str, Sequence[str]], tuple[bytes | None, str]]


def why_no_nvrtc() -> str | None:
    """Say in one line why CUDA sources cannot be compiled here; None when they can."""
    try:
        _compiler()
    except CompilerMissingError as error:
        return str(error)
    return None


def compile_cuda(path: Path, architecture: str, *, options: Sequence[str] = ()) -> Object:
    """Compile a source for one architecture.

    Parameters
    ----------
    path
        The ``.cu`` source.
    architecture
        A real one, such as ``sm_90a``.
    options
        Further options of NVRTC, include folders among them.

    Returns
    -------
    Object
        CUBIN, and registers, spills and shared memory of each entry.

    Raises
    ------
    CompileError
        With NVRTC's log, when the source or the architecture is wrong.
    CompilerMissingError
        When NVRTC is not installed.
    """
    # Lambdas carry no annotation: without one a function counts as the host's.
    target = (f"-arch={architecture}", "-std=c++17", "-default-device")
    arguments = [*target, "--ptxas-options=-v", *options]
    code, log = _compiler()(path.read_text(encoding="utf-8"), path.name, arguments)
    if code is None:
        msg = f"{path.name} does not compile for {architecture}:\n{log.strip()}"
        raise CompileError(msg)
    return Object(architecture=architecture, code=code, resources=parse_ptxas(log), log=log)


def parse_ptxas(log: str) -> tuple[KernelResources, ...]:
    """Resources of each entry, as the verbose assembler prints them. Sizes in [byte]."""
    found = []
    for part in re.split(r"Compiling entry function ", log)[1:]:
        name = re.match(r"'([^']+)'", part)
        used = re.search(r"Used (\d+) registers", part)
        if name is None or used is None:
            continue
        spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
        shared = re.search(r"(\d+) bytes smem", part)
        found.append(
            KernelResources(
                entry=name.group(1),
                registers_per_thread=int(used.group(1)),
                spill_bytes=sum(map(int, spills)),
                static_shared_bytes=int(shared.group(1)) if shared else 0,
            )
        )
    return tuple(found)


def _compiler() -> Compile:
    for module, make in (("cuda.bindings.nvrtc", _with_bindings), ("cupy.cuda.nvrtc", _with_cupy)):
        try:
            nvrtc = importlib.import_module(module)
            compiler = make(nvrtc)
        except (ImportError, OSError, RuntimeError):
            continue
        return compiler
    raise CompilerMissingError(MISSING)


def _with_bindings(nvrtc: Any) -> Compile:  # noqa: ANN401 -- module without types
    nvrtc.nvrtcVersion()  # raises RuntimeError where the library itself cannot be found

    def run(source: str, name: str, options: Sequence[str]) -> tuple[bytes | None, str]:
        _, program = nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, [], [])
        encoded = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        _, n_log = nvrtc.nvrtcGetProgramLogSize(program)
        log = bytes(n_log)
        nvrtc.nvrtcGetProgramLog(program, log)
        code = None
        if int(status) == 0:
            _, n_code = nvrtc.nvrtcGetCUBINSize(program)
            code = bytes(n_code)
            nvrtc.nvrtcGetCUBIN(program, code)
        nvrtc.nvrtcDestroyProgram(program)
        return code, log.rstrip(b"\0").decode(errors="replace")

    return run


def _with_cupy(nvrtc: Any) -> Compile:  # noqa: ANN401 -- module without types
    nvrtc.getVersion()

    def run(source: str, name: str, options: Sequence[str]) -> tuple[bytes | None, str]:
        program = nvrtc.createProgram(source, name, (), ())
        try:
            nvrtc.compileProgram(program, tuple(options))
        except nvrtc.NVRTCError:
            return None, str(nvrtc.getProgramLog(program))
        else:
            return bytes(nvrtc.getCUBIN(program)), str(nvrtc.getProgramLog(program))
        finally:
            nvrtc.destroyProgram(program)

    return run
