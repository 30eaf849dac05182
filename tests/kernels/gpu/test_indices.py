"""Index arithmetic of the GEMM kernels, every index of it, against the vendors' tables."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from kernels.gemm.sources import gemm_source
from tests.kernels.gpu.emulation import bf16_bits, build, find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")
BANKS, BANK_BYTES = 32, 4


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> ctypes.CDLL:
    source = gemm_source("gemm_simt")
    return build(source, tmp_path_factory.mktemp("tiles"), entries=source.entries[:1])


def conflict_free(addresses: list[int], *, width_bytes: int) -> bool:
    """Whether accesses of one phase, 128 bytes together, touch every bank once."""
    banks = [
        (address + offset) // BANK_BYTES % BANKS
        for address in addresses
        for offset in range(0, width_bytes, BANK_BYTES)
    ]
    return len(set(banks)) == len(banks) == BANKS


def test_swizzles_along_k_and_across_k_move_every_chunk_to_a_place_of_its_own(tiles):
    along = {tiles.place_along_k_of(row, chunk) for row in range(128) for chunk in range(4)}
    assert along == set(range(0, 128 * 64, 16))
    for size, depths in ((2, 32), (4, 16)):
        across = {
            tiles.place_across_k_of(depth, chunk, 128 * size, size)
            for depth in range(depths)
            for chunk in range(8 * size)
        }
        assert across == set(range(0, 128 * 64, 16))
    fours = {tiles.place_of_four_of(line, four) for line in range(128) for four in range(8)}
    assert fours == set(range(0, 128 * 32, 4))


def test_matrix_loads_and_stores_never_conflict(tiles):
    for first, chunk in itertools.product(range(0, 128, 8), range(4)):
        rows = [tiles.place_along_k_of(first + i, chunk) for i in range(8)]
        assert conflict_free(rows, width_bytes=16)
    for first, chunk in itertools.product(range(0, 32, 8), range(16)):
        rows = [tiles.place_across_k_of(first + i, chunk, 256, 2) for i in range(8)]
        assert conflict_free(rows, width_bytes=16)
    for depth, line in itertools.product(range(0, 16, 4), range(0, 128, 8)):
        words = [
            tiles.place_across_k_of(depth + lane % 4, (line + lane // 4) // 4, 512, 4)
            + (line + lane // 4) % 4 * 4
            for lane in range(32)
        ]
        assert conflict_free(words, width_bytes=4)
    for first, four in itertools.product(range(0, 128, 16), range(8)):
        lines = [2 * tiles.place_of_four_of(first + i, four) for i in range(16)]
        assert conflict_free(lines, width_bytes=8)


def test_the_128_byte_swizzle_is_its_own_inverse_and_free_of_conflicts(tiles):
    assert all(tiles.swizzle_128_of(tiles.swizzle_128_of(i)) == i for i in range(0, 8192, 16))
    for chunk in range(8):
        rows = [tiles.swizzle_128_of(row * 128 + chunk * 16) for row in range(8)]
        assert conflict_free(rows, width_bytes=16)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 20])
@pytest.mark.parametrize("columns", [1, 5, 16])
def test_the_rasteriser_visits_every_tile_once_and_stays_in_its_group(tiles, rows, columns):
    place = (ctypes.c_int * 2)()
    seen = []
    for index in range(rows * columns):
        tiles.tile_of_index(index, rows, columns, 8, place)
        seen.append(tuple(place))
    assert sorted(seen) == list(itertools.product(range(rows), range(columns)))
    groups = [row // 8 for row, _ in seen]
    assert groups == sorted(groups)


def test_valid_bytes_end_where_the_row_ends(tiles):
    for size, first, extent in itertools.product((2, 4), range(0, 64, 4), range(70)):
        inside = sum(first + i < extent for i in range(16 // size))
        assert tiles.valid_bytes_of(first, extent, size) == inside * size


def test_fragments_follow_the_tables_of_ptx(tiles):
    # PTX ISA 9.0, "Matrix fragments for mma.m16n8k16 with floating point type", c and d.
    for lane, i in itertools.product(range(32), range(4)):
        group, within = lane >> 2, lane % 4
        assert tiles.accumulator_row_of(lane, i) == (group if i < 2 else group + 8)
        assert tiles.accumulator_column_of(lane, i) == within * 2 + (i & 1)
    # PTX ISA 9.0, "Register fragments for wgmma.mma_async.m64nNk16", d.
    for thread, i in itertools.product(range(128), range(128)):
        row = 16 * (thread // 32) + (thread % 32) // 4 + 8 * ((i // 2) % 2)
        assert tiles.wgmma_row_of(thread, i) == row
        assert tiles.wgmma_column_of(thread, i) == 8 * (i // 4) + 2 * (thread % 4) + i % 2


def test_accumulators_cover_their_product_once(tiles):
    shapes = (
        (tiles.accumulator_row_of, tiles.accumulator_column_of, 32, 4, (16, 8)),
        (tiles.wgmma_row_of, tiles.wgmma_column_of, 128, 128, (64, 256)),
        (tiles.mfma_row_of, tiles.mfma_column_of, 64, 16, (32, 32)),
    )
    for row_of, column_of, n_threads, n_registers, (n_rows, n_columns) in shapes:
        owned = [
            (row_of(thread, i), column_of(thread, i))
            for thread in range(n_threads)
            for i in range(n_registers)
        ]
        assert sorted(owned) == list(itertools.product(range(n_rows), range(n_columns)))


def test_the_emulated_conversions_round_like_numpy(tiles):
    tiles.fp16_bits_of.argtypes = tiles.bf16_bits_of.argtypes = [ctypes.c_float]
    tiles.fp16_value_of.restype = ctypes.c_float
    values = np.random.default_rng(5).standard_normal(400).astype(np.float32)
    scaled = np.concatenate([values * scale for scale in (1, 1e-5, 1e-8, 3e4, 0)])
    with np.errstate(over="ignore"):
        halves = scaled.astype(np.float16).view(np.uint16)
    assert [tiles.fp16_bits_of(float(v)) & 0xFFFF for v in scaled] == halves.tolist()
    assert [tiles.bf16_bits_of(float(v)) & 0xFFFF for v in scaled] == bf16_bits(scaled).tolist()
    back = [tiles.fp16_value_of(int(bits)) for bits in halves]
    np.testing.assert_array_equal(back, halves.view(np.float16).astype(np.float32))
