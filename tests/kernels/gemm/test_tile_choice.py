"""The choice among tiles of several widths: never the slower by its own estimate."""

from __future__ import annotations

import itertools

import pytest

from kernels.gemm.launch import Operand, Product, entry_for
from kernels.gemm.sources import gemm_source
from kernels.gemm.tile_choice import relative_time

H200_UNITS = 132


def matrix(rows, columns, n_batches):
    return Operand(
        address=4096,
        itemsize_bytes=2,
        n_rows=rows,
        n_columns=columns,
        n_batches=n_batches,
        ld=columns,
        batch_stride=rows * columns,
        is_transposed=False,
    )


def chosen(m, n, *, n_batches=1, n_units=H200_UNITS):
    k = 64
    product = Product(
        a=matrix(m, k, n_batches),
        b=matrix(k, n, n_batches),
        out=matrix(m, n, n_batches),
        m=m,
        n=n,
        k=k,
        alpha=1.0,
        beta=0.0,
        dtype="bf16",
    )
    return entry_for(product, kernel="wgmma", n_units=n_units)[1]


@pytest.mark.parametrize(
    ("m", "n", "tile_n"),
    [
        (4096, 512, 128),  # 64 wide tiles would leave half of the units without one
        (8192, 768, 192),  # 256 of these are nearly two waves
        (8192, 1280, 128),
        (768, 4096, 192),  # 132 of these are one wave
        (8192, 4096, 256),
        (8192, 8192, 256),
        (8192, 128, 128),
        (8192, 64, 128),
    ],
)
def test_tiles_of_products_that_were_measured(m, n, tile_n):
    assert chosen(m, n).tile_n == tile_n


@pytest.mark.parametrize("n_units", [1, 2, 78, 114, 132])
def test_no_other_width_is_faster_by_the_estimate(n_units):
    widths = [
        entry
        for entry in gemm_source("gemm_wgmma").entries
        if (entry.element, entry.layout) == ("Bf16", "nn")
    ]
    assert len({entry.tile_n for entry in widths}) == len(widths) > 1
    sizes = (8, 128, 136, 256, 384, 1000, 4096, 8192)
    for m, n, n_batches in itertools.product(sizes, sizes, (1, 3, 32)):
        choice = {"m": m, "n": n, "n_batches": n_batches, "n_units": n_units}
        least = min(relative_time(entry, **choice) for entry in widths)
        entry = chosen(m, n, n_batches=n_batches, n_units=n_units)
        assert relative_time(entry, **choice) == least


def test_batches_count_as_tiles_of_the_same_waves():
    for n_batches in (1, 2, 3, 8):
        tall = chosen(1024 * n_batches, 512)
        assert chosen(1024, 512, n_batches=n_batches).tile_n == tall.tile_n
    assert chosen(512, 512).tile_n == 128
    assert chosen(512, 512, n_batches=16).tile_n == 256


def test_a_unit_alone_takes_wide_tiles_unless_they_are_empty():
    assert chosen(4096, 512, n_units=1).tile_n == 256
    assert chosen(4096, 128, n_units=1).tile_n == 128


@pytest.mark.parametrize("n_units", [1, 132])
def test_more_columns_or_rows_never_take_less_time(n_units):
    entry = gemm_source("gemm_wgmma").entries[0]
    times = [
        relative_time(entry, m=m, n=n, n_batches=1, n_units=n_units)
        for m, n in ((1, 1), (4096, 1), (4096, 512), (4096, 8192), (8192, 8192))
    ]
    assert times == sorted(times)
