"""The product of one thread: padding to tiles, layouts, caches."""

import pytest

from kernels.gemm.packed import PackedMachine, packed_gemm_time

THREAD = PackedMachine(
    flop_per_s=1e11,
    launch_s=1e-6,
    fill_depth=50.0,
    pack_a_s=5e-10,
    pack_b_s=1e-9,
    cached_pack_ratio=5.0,
    cached_fill_ratio=8.0,
    cache_bytes=4e6,
)
FOOTPRINT_BYTES = 4e7


def time_of(m, n, k, *, footprint_bytes=FOOTPRINT_BYTES, **changes):
    machine = THREAD._replace(**changes)
    return packed_gemm_time((float(m), float(n), float(k), 1.0), footprint_bytes, machine)


def test_a_row_beyond_a_tile_costs_the_arithmetic_of_a_whole_one():
    tiled = {"tile_rows": 14.0, "tile_columns": 32.0}
    assert time_of(1, 64, 512, **tiled).arithmetic_s == time_of(14, 64, 512, **tiled).arithmetic_s
    one, two = (time_of(m, 64, 512, **tiled).arithmetic_s for m in (14, 15))
    assert two == pytest.approx(2.0 * one)


def test_what_is_transposed_gains_from_the_cache_as_its_own_ratio_says():
    both = {"is_a_transposed": 1.0, "is_b_transposed": 1.0, "cached_transposed_ratio": 2.0}
    small, large = (
        time_of(64, 512, 512, footprint_bytes=size, **both).pack_s for size in (1e4, 1e9)
    )
    assert large == pytest.approx(2.0 * small, rel=0.05)
    small, large = (time_of(64, 512, 512, footprint_bytes=size).pack_s for size in (1e4, 1e9))
    assert large == pytest.approx(5.0 * small, rel=0.05)


def test_parts_of_a_batch_add_up_to_its_time():
    found = packed_gemm_time((64.0, 512.0, 256.0, 3.0), FOOTPRINT_BYTES, THREAD)
    assert found.time_s == pytest.approx(THREAD.launch_s + found.arithmetic_s + found.pack_s)
