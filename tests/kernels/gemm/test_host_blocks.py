"""Blocks of the host's GEMM: within the caches, and rectangles that keep all threads busy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.gemm.host_blocks import Caches, choose_blocks, host_caches

TILES = st.sampled_from([(14, 32), (14, 16), (6, 16), (6, 4)])


def blocks(sizes, *, tile=(14, 32), n_threads=1, caches=None, itemsize_bytes=4):
    return choose_blocks(
        sizes,
        tile=tile,
        itemsize_bytes=itemsize_bytes,
        n_threads=n_threads,
        caches=caches or Caches(),
    )


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 5000), st.integers(1, 5000)),
    TILES,
    st.integers(1, 64),
)
def test_rectangles_of_whole_tiles_cover_the_result(sizes, tile, n_threads):
    found = blocks(sizes, tile=tile, n_threads=n_threads)
    assert found.n_rows % tile[0] == found.task_rows % tile[0] == 0
    assert found.n_columns % tile[1] == found.task_columns % tile[1] == 0
    assert min(found) > 0
    down, across = -(-sizes[1] // found.task_rows), -(-sizes[2] // found.task_columns)
    assert down * across <= n_threads


def test_blocks_fit_the_caches_that_they_are_for():
    caches = Caches(l1_bytes=48 * 2**10, l2_bytes=2 * 2**20, l3_bytes=4 * 2**20)
    found = blocks((1, 8192, 8192), caches=caches)
    assert found.n_depths * 32 * 4 <= caches.l1_bytes
    assert found.n_rows * found.n_depths * 4 <= caches.l2_bytes // 2
    assert found.n_columns * found.n_depths * 4 <= caches.l3_bytes // 2


@pytest.mark.parametrize(
    ("sizes", "n_threads", "n_tasks"),
    [((1, 2048, 2048), 4, 4), ((1, 8, 4096), 4, 4), ((6, 512, 512), 4, 12), ((8, 512, 512), 4, 8)],
)
def test_every_thread_gets_as_many_rectangles(sizes, n_threads, n_tasks):
    found = blocks(sizes, n_threads=n_threads)
    down, across = -(-sizes[1] // found.task_rows), -(-sizes[2] // found.task_columns)
    assert sizes[0] * down * across == n_tasks


def test_caches_are_read_as_linux_writes_them(tmp_path):
    names = ("level", "type", "size", "shared_cpu_map")
    caches = [
        ("1", "Data", "48K", "1"),
        ("1", "Instruction", "32K", "1"),
        ("2", "Unified", "2048K", "1"),
        ("3", "Unified", "32768K", "00000000,0000000f"),
    ]
    for index, texts in enumerate(caches):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in zip(names, texts, strict=True):
            (folder / name).write_text(text + "\n")
    assert host_caches(tmp_path) == Caches(48 * 2**10, 2 * 2**20, 8 * 2**20)
    assert host_caches(tmp_path / "nothing") == Caches()
