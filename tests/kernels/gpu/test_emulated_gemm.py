"""The GEMM kernels themselves, on the host, against float64: every entry, odd sizes, every order."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from kernels.gpu.sources import source_of
from tests.kernels.gpu.emulated_gemm import Problem, emulated_error
from tests.kernels.gpu.emulation import SCHEDULES, build, find_compiler

TOLERANCE = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2, "fp16": 2e-3}
PROBLEMS = (
    Problem(m=1, n=1, k=1),
    Problem(m=17, n=137, k=45, padding=3),  # nothing aligned: element by element
    Problem(m=136, n=72, k=264, n_batches=2, schedule=SCHEDULES[1]),
    Problem(m=72, n=130, k=104, alpha=-0.5, beta=2.0, n_batches=2, schedule=SCHEDULES[2]),
    Problem(m=130, n=129, k=23, alpha=0.25, beta=1.0, padding=1, schedule=SCHEDULES[3]),
    Problem(m=8, n=9, k=0, beta=0.5),
)
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> dict[str, ctypes.CDLL]:
    return {}


@pytest.fixture
def library_of(libraries, tmp_path_factory):
    def find(name: str) -> ctypes.CDLL:
        if name not in libraries:
            folder: Path = tmp_path_factory.mktemp(name)
            libraries[name] = build(source_of(name), folder)
        return libraries[name]

    return find


ENTRIES = [
    (name, i, entry)
    for name in ("gemm_simt", "gemm_mma")
    for i, entry in enumerate(source_of(name).entries)
]


@pytest.mark.parametrize(
    ("name", "i_entry", "entry"), ENTRIES, ids=[entry.name for _, _, entry in ENTRIES]
)
def test_an_entry_agrees_with_float64(library_of, name, i_entry, entry):
    dtype = entry.name.split("_")[2]
    for problem in PROBLEMS:
        error = emulated_error(library_of(name), i_entry, entry, problem)
        assert error < TOLERANCE[dtype], problem
