"""Batched products whose kernel stands in a table of tuned sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles.calibration import GemmImplementation, Provenance
from hardware_profiles.catalogue import Catalogue
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.gemm.blind_choice import blindly_chosen_gemm_s
from kernels.gemm.looked_up import (
    NO_KERNEL,
    LookedUpKernel,
    TunedSizes,
    looked_up_gemm_s,
    tuned_sizes,
)
from kernels.gemm.model import GemmMachine, GemmShape
from kernels.gemm.timing import gemm_library, library_machine, timed_gemm_s
from kernels.measurement_tables import Table
from kernels.prediction.gemm import GemmTimes, looked_up_kernels
from kernels.residual import NO_RESIDUAL

CDNA2 = GemmMachine(
    n_units=104.0,
    peak_flop_per_s=45.3e12,
    memory_bandwidth_bytes_per_s=1.638e12,
    tensor_efficiency_fraction=0.72,
    memory_efficiency_fraction=0.55,
    launch_s=2.3e-6,
    feed_bytes_per_s=3.6e12,
    fill_depth=20.0,
    fill_repeat_fraction=0.9,
    wave_smoothing_fraction=0.5,
    split_s=3e-6,
    droop_fraction=0.1,
    droop_time_s=4e-3,
    overlap_exponent=6.0,
    stride_conflict_ratio=0.0,
    stride_period_bytes=131072.0,
    lone_block_ratio=2.0,
    cut_line_ratio=0.4,
)
LARGE = LookedUpKernel(128.0, 64.0, 16.0, 1.0, 2048.0, 1.0)
LONE = LookedUpKernel(32.0, 32.0, 32.0, 1.0, 256.0, 1.0)
BLIND = GemmImplementation(
    is_batch_seen=False,
    lone_block_ratio=2.0,
    provenance=Provenance(figure_class="fitted", source="test", relative_spread_fraction=0.05),
)


def shape(m, n, k, batch=1):
    return GemmShape(float(m), float(n), float(k), 4.0, 4.0, 4.0, float(batch))


def kernel_of(architecture, m, n, k):
    found = tuned_sizes("fp32", architecture).kernels(np.array([[m, n, k, 1.0]]))
    return LookedUpKernel(*found[0])


def test_the_nearest_size_decides_and_of_equally_near_ones_the_fastest():
    table = np.array(
        [
            [64.0, 64.0, 64.0, *LARGE],
            [96.0, 64.0, 64.0, *LONE],
            [512.0, 512.0, 64.0, *LONE],
        ]
    )
    sizes = np.array([[64.0, 80.0, 64.0, 7.0], [500.0, 500.0, 96.0, 1.0], [64.0, 90.0, 64.0, 1.0]])
    found = TunedSizes(table).kernels(sizes)
    assert found.tolist() == [list(LARGE), list(LONE), list(LONE)]


def test_shipped_tables_name_small_tiles_for_small_products():
    assert kernel_of("cdna2", 512.0, 512.0, 128.0).wave_results == 256.0
    assert kernel_of("cdna2", 4096.0, 4096.0, 256.0) == LARGE
    # The nearest size of a product of a column with a row: a kernel without matrix units.
    assert kernel_of("cdna", 4096.0, 4096.0, 128.0).has_matrix_units == 0.0
    assert tuned_sizes("fp32", "hopper") is None
    assert tuned_sizes("bf16", "cdna2") is None


@given(
    m=st.integers(1, 4096),
    n=st.integers(1, 4096),
    k=st.integers(1, 4096),
    batch=st.integers(1, 10_000),
    more=st.integers(0, 10_000),
)
@settings(max_examples=50)
def test_more_products_are_never_faster(m, n, k, batch, more):
    fewer_s = looked_up_gemm_s(shape(m, n, k, batch), LARGE, CDNA2)
    assert looked_up_gemm_s(shape(m, n, k, batch + more), LARGE, CDNA2) >= fewer_s * (1 - 1e-12)


def test_a_lone_block_a_cut_line_and_a_lack_of_matrix_units_cost_time():
    one = shape(1024, 1024, 1024, 64)
    free = CDNA2._replace(lone_block_ratio=1.0)
    lone_s = looked_up_gemm_s(one, LONE, CDNA2)
    assert lone_s > 1.5 * looked_up_gemm_s(one, LONE, free)
    vector = LARGE._replace(has_matrix_units=0.0)
    large_s = looked_up_gemm_s(one, LARGE, CDNA2)
    assert looked_up_gemm_s(one, vector, CDNA2) == pytest.approx(2.0 * large_s, rel=0.1)
    supplied = CDNA2._replace(feed_bytes_per_s=4.5e11)
    cut, whole = shape(1024, 1028, 1024, 64), shape(1024, 1056, 1024, 64)
    assert looked_up_gemm_s(cut, LONE, supplied) > looked_up_gemm_s(whole, LONE, supplied)


def test_parts_of_the_depth_add_their_results_in_memory():
    one = shape(512, 512, 512, 256)
    parted = LARGE._replace(depth_parts=8.0)
    assert looked_up_gemm_s(one, parted, CDNA2) > looked_up_gemm_s(one, LARGE, CDNA2)


def test_a_library_that_overlooks_the_batch_looks_up_where_there_is_a_table():
    one, library = shape(512, 512, 128, 512), gemm_library(BLIND)
    machine = library_machine(CDNA2, BLIND)
    assert machine.lone_block_ratio == 2.0
    looked_up_s = timed_gemm_s(one, machine, library, NO_RESIDUAL, LONE)
    assert looked_up_s == pytest.approx(looked_up_gemm_s(one, LONE, machine))
    guessed_s = timed_gemm_s(one, machine, library, NO_RESIDUAL, NO_KERNEL)
    assert guessed_s == pytest.approx(blindly_chosen_gemm_s(one, machine))
    catalogue, sizes = Catalogue(), np.array([[512.0, 512.0, 128.0, 512.0]])
    mi210, h100 = catalogue.accelerator("mi210"), catalogue.accelerator("h100-sxm")
    assert looked_up_kernels(sizes, "fp32", mi210, gemm_library(None)) is None
    assert looked_up_kernels(sizes, "fp32", h100, library) is None
    assert looked_up_kernels(sizes, "fp32", mi210, library).shape == (1, len(NO_KERNEL))


def test_the_compiled_formula_is_the_plain_one():
    compiled = FormulaCompiler().compile(looked_up_gemm_s)
    one = shape(64, 196, 196, 1000)
    assert compiled(one, LONE, CDNA2) == pytest.approx(looked_up_gemm_s(one, LONE, CDNA2), 1e-12)


def test_the_shipped_mi210_runs_batches_at_the_rate_of_the_tuned_size_next_to_them():
    mi210 = Catalogue().accelerator("mi210")
    sizes = {"m": [512.0] * 2, "n": [512.0] * 2, "k": [64.0, 128.0], "batch": [4096.0] * 2}
    columns = {name: np.array(column) for name, column in sizes.items()}
    columns["dtype"] = np.array(["fp32"] * 2, dtype=object)
    columns["library"] = np.array(["rocblas:torch.bmm"] * 2, dtype=object)
    times_s = GemmTimes(PlainFormulas()).times_s(Table(columns=columns), mi210, mi210.calibration)
    # Twice the depth takes more than twice the time: its tiles are smaller.
    assert times_s[1] > 2.3 * times_s[0]
