"""The fit that is cited for a kernel is the one that predicts it."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.compiled_formula import PlainFormulas
from kernels.families.inheritance import completed_calibration
from kernels.measurement_tables import Table
from kernels.prediction.attention import AttentionTimes
from kernels.prediction.gemm import GemmTimes
from twin.kernel_bases import kernel_bases
from twin.kernel_columns import KernelKind
from twin.kernel_view import KernelView
from twin.layer_kernels import STEP_MODEL
from twin.scenario.resolve import Catalogues

LIBRARIES = (
    "torch-2.11.0:sdpa-flash",
    "torch-2.11.0:sdpa-cudnn",
    "trtllm-1.3.0rc20:torch_flow",
    "flash-attn-3",
    "nobody's",
)


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue()


@pytest.fixture(scope="module")
def view():
    return KernelView(Catalogues.with_folders(()))


def kind(family, *, name="", dtype="bf16", direction="", library="", **more):
    given = {"is_causal": True, "is_operation": False, **more}
    return KernelKind(
        family=family, name=name, dtype=dtype, direction=direction, library=library, **given
    )


def table(**columns):
    return Table(columns={name: np.array([value]) for name, value in columns.items()})


def attention_rows(library, direction):
    return table(
        dtype="bf16",
        batch=2,
        heads_q=32,
        heads_kv=8,
        seq_q=1 if direction == "fwd_decode" else 4096,
        seq_kv=4096,
        head_dim=128,
        causal=True,
        direction=direction,
        library=library,
    )


@pytest.mark.parametrize("device", ["h100-sxm", "a100-pcie-40gb", "b200-sxm", "mi300x", "t4"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("direction", ["fwd", "bwd", "fwd_decode"])
def test_attention_is_predicted_by_the_entry_that_is_cited(catalogue, device, library, direction):
    accelerator = catalogue.accelerator(device)
    calibration = completed_calibration(accelerator)
    cited = kernel_bases(accelerator).fit_of(
        kind("attention", direction=direction, library=library)
    )
    times = AttentionTimes(PlainFormulas())
    rows = attention_rows(library, direction)
    predicted_s = times.times_s(rows, accelerator, calibration)[0]
    if cited is None:
        assert np.isnan(predicted_s)
        return
    entry, _, _ = cited.variant.partition(" ")
    # Without what is cited for them, the rows are predicted otherwise.
    alone = {entry: calibration.attention[entry]}
    others = {name: one for name, one in calibration.attention.items() if name != entry}
    with_it = msgspec.structs.replace(calibration, attention=alone)
    without = msgspec.structs.replace(calibration, attention=others)
    assert times.times_s(rows, accelerator, with_it)[0] == predicted_s
    assert times.times_s(rows, accelerator, without)[0] != predicted_s


@pytest.mark.parametrize("device", ["h100-sxm", "a100-pcie-40gb", "b200-sxm", "a100-sxm-80gb"])
@pytest.mark.parametrize("dtype", ["fp32", "tf32", "bf16", "fp16", "int8", "fp8"])
@pytest.mark.parametrize("library", ["vllm-0.24.0:linear", "cublas:torch.bmm", "cublas"])
def test_products_are_predicted_by_the_entry_that_is_cited(catalogue, device, dtype, library):
    accelerator = catalogue.accelerator(device)
    calibration = completed_calibration(accelerator)
    cited = kernel_bases(accelerator).fit_of(kind("gemm", dtype=dtype, library=library))
    rows = table(dtype=dtype, m=512, n=4096, k=4096, batch=1, library=library, layout="")
    predicted_s = GemmTimes(PlainFormulas()).times_s(rows, accelerator, calibration)[0]
    if np.isnan(predicted_s):
        return
    assert cited is not None
    entry, _, implementation = cited.variant.partition(" ")
    gemm = calibration.gemm[entry]
    one = gemm.implementations.get(implementation)
    kept = msgspec.structs.replace(gemm, implementations={implementation: one} if one else {})
    alone = msgspec.structs.replace(calibration, gemm={entry: kept})
    assert GemmTimes(PlainFormulas()).times_s(rows, accelerator, alone)[0] == predicted_s
    held = one if one is not None else gemm
    assert cited.spread_fraction == held.provenance.relative_spread_fraction


def test_products_of_another_dtype_than_the_measured_one_are_inherited(view):
    bases = view.bases("a100-pcie-40gb")
    for library in (STEP_MODEL, "cublas"):
        fit = bases.fit_of(kind("gemm", library=library))
        assert (fit.name, fit.basis, fit.origin) == ("gemm bf16", "inherited", "ampere")
        assert fit.spread_fraction == pytest.approx(0.1886)
    own = bases.fit_of(kind("gemm", dtype="fp32"))
    assert (own.name, own.basis) == ("gemm fp32", "fitted")


def test_library_and_direction_choose_the_fit_of_attention(view):
    bases = view.bases("h100-sxm")
    for direction in ("fwd", "bwd"):
        fit = bases.fit_of(kind("attention", direction=direction, library=LIBRARIES[0]))
        assert fit.name == f"attention flash-2 {direction}"
    # Both in one timing rest on the weaker of the two.
    both = bases.fit_of(kind("attention", direction="fwd_bwd", library="flash-attn-3"))
    assert (both.name, both.basis) == ("attention flash-3 bwd", "inherited")
    full = kind("attention", direction="fwd", library="trtllm-1.0.0:x", is_causal=False)
    assert bases.fit_of(full).name == "attention trtllm-full fwd"
    assert bases.fit_of(kind("attention", direction="fwd", library="numpy-2:unfused")) is None


def test_the_operation_chooses_the_fit_of_streams_and_collectives(view):
    bases = view.bases("h100-sxm")
    norm = kind("stream", name="rmsnorm", direction="bwd", library="torch", is_operation=True)
    assert bases.fit_of(norm).name == "memory_bound rmsnorm-bwd"
    # Kernels of one pass and bare streams are predicted as streams.
    assert bases.fit_of(norm._replace(library="tweeling-0.1:cuda")).name == "memory_bound"
    assert bases.fit_of(norm._replace(is_operation=False)).name == "memory_bound"
    exchange = kind("collective", name="p2p", library="nccl")
    assert bases.fit_of(exchange).name == "collective point_to_point"
    reduction = kind("collective", name="all_reduce", library="vllm-0.24.0:x_graph")
    assert bases.fit_of(reduction).name == "collective all_reduce vllm-graph"


def test_fits_are_found_without_compilers():
    program = (
        "import sys, twin.kernel_bases; "
        "print(sorted({'numba', 'scipy', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
