"""The GEMM kernels themselves, on the host, against float64: odd sizes, layouts, orders."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.gemm.reference import relative_error_fraction
from kernels.gemm.sources import gemm_source
from tests.kernels.gpu.emulated_gemm import Problem, emulated, emulated_error
from tests.kernels.gpu.emulation import SCHEDULES, build, find_compiler

TOLERANCE = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2, "fp16": 2e-3}
PROBLEMS = (
    Problem(m=1, n=1, k=1),
    Problem(m=17, n=137, k=45, padding=3),  # nothing aligned: element by element
    Problem(m=136, n=72, k=232, schedule=SCHEDULES[1]),
    Problem(m=72, n=130, k=104, alpha=-0.5, beta=2.0, n_batches=2, schedule=SCHEDULES[2]),
    Problem(m=130, n=9, k=23, alpha=0.25, beta=1.0, padding=1, schedule=SCHEDULES[3]),
    Problem(m=8, n=9, k=0, beta=0.5),
)
# Tensor maps want rows that begin at multiples of 16 bytes. Three persistent blocks share tiles.
ALIGNED = (
    Problem(m=8, n=8, k=16, schedule=SCHEDULES[3]),
    Problem(m=136, n=264, k=72, n_batches=2, schedule=SCHEDULES[0]),
    Problem(m=72, n=72, k=520, schedule=SCHEDULES[1]),
    Problem(m=72, n=136, k=200, alpha=-0.5, beta=2.0, schedule=SCHEDULES[2]),
    # Whole chunks of the result in one tile, a part of one in the next.
    Problem(m=129, n=265, k=65, padding=7, n_batches=2, alpha=0.5),
    Problem(m=129, n=265, k=65, padding=7, n_batches=2, beta=-1.0, schedule=SCHEDULES[1]),
)
# Where a result of whole chunks may lie: rows, results or all of it out of step with 16 bytes. The
# second and third are in step with pairs.
PLACES = (
    {},
    {"out_padding": 2},
    {"out_gap": 4},
    {"out_padding": 1},
    {"out_gap": 3},
    {"out_shift": 1},
)
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")


# Entries that make one library: of one source and with one size of tile. fp16 differs from bf16 in
# conversions and in one instruction, so one layout of it is enough.
SECOND_FP16 = ("fp16_nn", "fp16_nt", "fp16_tt")
FAMILIES = {
    prefix: [
        (gemm_source(source), entry)
        for entry in gemm_source(source).entries
        if entry.name.startswith(f"{prefix}_") and not entry.name.endswith(SECOND_FP16)
    ]
    for source, prefix in (
        ("gemm_simt", "gemm_simt"),
        ("gemm_mma", "gemm_mma"),
        ("gemm_wgmma", "gemm_wgmma"),
        ("gemm_wgmma", "gemm_wgmma192"),
        ("gemm_wgmma", "gemm_wgmma256"),
        ("gemm_mfma", "gemm_mfma"),
    )
}


@pytest.mark.parametrize("prefix", FAMILIES)
def test_every_layout_agrees_with_float64(tmp_path, prefix):
    members = FAMILIES[prefix]
    library = build(members[0][0], tmp_path, entries=tuple(entry for _, entry in members))
    for i_entry, (_, entry) in enumerate(members):
        dtype = entry.name.split("_")[2]
        for problem in ALIGNED if "wgmma" in prefix else PROBLEMS:
            error = emulated_error(library, i_entry, entry, problem)
            assert error < TOLERANCE[dtype], (entry.name, problem)


@pytest.mark.parametrize("name", ["gemm_wgmma_fp16_nn", "gemm_wgmma256_bf16_nt"])
def test_results_are_the_same_bits_wherever_they_lie(tmp_path, name):
    source = gemm_source("gemm_wgmma")
    entry = source.entry(name)
    library = build(source, tmp_path, entries=(entry,))
    for alpha, beta in ((1.0, 0.0), (-0.5, 2.0)):
        problems = [
            Problem(m=136, n=328, k=72, n_batches=2, alpha=alpha, beta=beta, **place)
            for place in PLACES
        ]
        ran = [emulated(library, 0, entry, problem) for problem in problems]
        results = [operands.result() for operands in ran]
        error = relative_error_fraction(results[0], ran[0].truth)
        assert error < TOLERANCE[name.split("_")[2]]
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])
