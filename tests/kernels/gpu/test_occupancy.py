"""Resident blocks against the worked numbers of the vendors' documents."""

import pytest

from kernels.gpu.occupancy import (
    ArchitectureError,
    limits_of,
    occupancy_fraction,
    resident_blocks,
)


def blocks(architecture, n_threads, registers, shared_bytes):
    return resident_blocks(
        limits_of(architecture),
        n_threads=n_threads,
        registers_per_thread=registers,
        shared_bytes=shared_bytes,
    )


@pytest.mark.parametrize(
    ("architecture", "n_threads", "registers", "shared_bytes", "expected"),
    [
        ("sm_80", 256, 32, 0, 8),  # 64 warps of 32 registers fill 65536 registers exactly
        ("sm_80", 256, 33, 0, 6),  # 33 registers are given as 40, so 48 warps fit
        ("sm_80", 32, 16, 0, 32),  # no more than 32 blocks
        ("sm_80", 128, 32, 48 * 1024, 3),  # 164 KiB hold three of 48 + 1 KiB
        ("sm_80", 128, 32, 163 * 1024, 1),
        ("sm_80", 128, 32, 163 * 1024 + 1, 0),
        ("sm_90a", 384, 168, 227 * 1024, 1),
        ("sm_90", 384, 256, 0, 0),  # more registers than a thread can have
        ("gfx90a", 256, 128, 0, 4),
        ("gfx90a", 256, 129, 0, 3),  # 129 registers are given as 136
        ("gfx942", 256, 64, 36864, 1),  # 64 KiB of local memory
    ],
)
def test_the_scarcest_resource_decides(architecture, n_threads, registers, shared_bytes, expected):
    assert blocks(architecture, n_threads, registers, shared_bytes) == expected


def test_more_registers_or_memory_never_bring_more_blocks():
    by_registers = [blocks("sm_100", 256, registers, 1024) for registers in range(16, 256)]
    by_memory = [blocks("sm_100", 256, 32, 1024 * kib) for kib in range(227)]
    assert by_registers == sorted(by_registers, reverse=True)
    assert by_memory == sorted(by_memory, reverse=True)


def test_occupancy_is_waves_over_waves():
    assert occupancy_fraction(limits_of("sm_90"), n_threads=384, n_blocks=1) == 12 / 64


def test_an_unknown_architecture_gets_the_nearest_name():
    with pytest.raises(ArchitectureError, match="gfx942"):
        limits_of("gfx941")
