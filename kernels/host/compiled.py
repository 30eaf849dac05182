"""Compiles the host's kernels before anything is timed: ``python -m kernels.host.compiled PART …``.

The first use on a machine compiles for a minute or two; later ones load what Numba has cached. A
second process takes half of the work, where there is a second core for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import kernels.attention
from kernels.gemm.cpu import n_host_cores
from kernels.host.calls import OPERATION_CALLS, Pool, case_call
from kernels.host.case import ATTENTION, GEMM, OPERATIONS, HostCase

__all__ = ["compile_all", "main"]

POOL_ELEMENTS = 2**16
OTHERS_SHARE = ("bwd", "rmsnorm-fwd", "rmsnorm-bwd", "layernorm-fwd", "layernorm-bwd")
"""About half of the time that everything takes."""


def _small_case(part: str) -> HostCase:
    if part in {"blas", "numba"}:
        return HostCase(family=GEMM, part=part, sizes=(32, 32, 32))
    if part in {"fwd", "bwd"}:
        return HostCase(family=ATTENTION, part=part, sizes=(1, 1, 1, 32, 32, 1))
    return HostCase(family=OPERATIONS, part=part, sizes=(8, 32))


def _call_once(parts: tuple[str, ...]) -> None:
    pool = Pool(POOL_ELEMENTS)
    for part in parts:
        case_call(_small_case(part), pool)()


def compile_all() -> None:
    """Call every kernel once, so that none is compiled inside a timing."""
    needs_help = n_host_cores() > 1 and not _has_cache()
    other = _started(OTHERS_SHARE) if needs_help else None
    own = ("fwd", "numba", "blas", *OPERATION_CALLS)
    try:
        _call_once(tuple(part for part in own if part not in OTHERS_SHARE))
        if other is not None:
            other.wait()
    finally:
        if other is not None and other.poll() is None:
            other.kill()
            other.wait()
    # From the cache; compiled here, where the other process has failed or cannot share it.
    _call_once(OTHERS_SHARE)


def _has_cache(environ: Mapping[str, str] | None = None) -> bool:
    """Whether Numba has kept the kernel that takes longest; it may be of older code."""
    variables = os.environ if environ is None else environ
    own = Path(kernels.attention.__path__[0]) / "__pycache__"
    folder = Path(variables.get("NUMBA_CACHE_DIR") or own)
    return any(folder.rglob("host_backward.*.nbi"))


def _started(parts: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", "kernels.host.compiled", *parts],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(parts: list[str] | None = None) -> int:
    """Compile the kernels of these parts into Numba's cache."""
    _call_once(tuple(sys.argv[1:] if parts is None else parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
