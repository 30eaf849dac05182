"""Every device source compiles for what it declares, without spills, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernels.gpu.compile import main
from kernels.gpu.compiled import CompileError
from kernels.gpu.hip_clang import parse_remarks
from kernels.gpu.nvrtc import parse_ptxas
from kernels.gpu.occupancy import limits_of
from kernels.gpu.report import compile_row, table, why_skipped
from kernels.gpu.sources import SOURCES, source_of

# Compiling everything takes minutes; `python -m kernels.gpu.compile --every` does that. Here each
# source is compiled once for each architecture, in turn with another entry.
MATRIX = [
    (source, source.entries[(5 * i) % len(source.entries)], architecture)
    for source in SOURCES
    for i, architecture in enumerate(source.architectures)
]
# Those that are nearest to running out of registers.
MATRIX += [
    (source_of(name), source_of(name).entry(entry), architecture)
    for name, entry, architecture in (
        ("gemm_mma", "gemm_mma_tf32_tt", "sm_80"),
        ("flash_backward_wgmma", "flash_d_kv_wgmma_bf16_128", "sm_90a"),
        ("flash_backward_mfma", "flash_d_kv_mfma_bf16_64", "gfx942"),
        ("norms", "layer_norm_backward_bf16", "sm_80"),
        ("norms", "layer_norm_backward_fp16", "sm_90"),
    )
]

PTXAS = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90a'
ptxas info    : Function properties for first
ptxas         .     8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 8 bytes cumulative stack size, 4096 bytes smem
ptxas info    : Compiling entry function 'second' for 'sm_90a'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 14 registers
"""
REMARKS = """\
k.cu:3:0: remark: Function Name: first [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     SGPRs: 36 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     VGPRs: 66 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     AGPRs: 64 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     ScratchSize [bytes/lane]: 16 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     Dynamic Stack: False [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     Occupancy [waves/SIMD]: 3 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     SGPRs Spill: 0 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     VGPRs Spill: 2 [-Rpass-analysis=kernel-resource-usage]
k.cu:3:0: remark:     LDS Size [bytes/block]: 8256 [-Rpass-analysis=kernel-resource-usage]
"""


def compiled_or_skip(architecture):
    reason = why_skipped(architecture)
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("source", "entry", "architecture"),
    MATRIX,
    ids=[f"{entry.name}-{architecture}" for _, entry, architecture in MATRIX],
)
def test_a_source_compiles_for_what_it_declares_without_spills(source, entry, architecture):
    compiled_or_skip(architecture)
    row = compile_row(source, entry, architecture)
    assert row.failure == ""
    assert row.spill_bytes == 0
    assert row.n_blocks >= 1
    assert row.remark == ""


def test_all_entries_take_their_turn():
    """Short of every entry for every architecture, none of either is left out."""
    for source in SOURCES:
        n = len(source.architectures)
        turns = [source.entries[i % len(source.entries) :: n] for i in range(n)]
        assert {entry.name for turn in turns for entry in turn} == {
            entry.name for entry in source.entries
        }
        assert all(turns)


def test_every_architecture_of_the_plan_is_declared():
    declared = {name for source in SOURCES for name in source.architectures}
    assert {"sm_80", "sm_90a", "sm_100", "gfx90a", "gfx942"} <= declared
    for source in SOURCES:
        assert source.path.exists()
        for architecture in source.architectures:
            limits_of(architecture)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_wgmma_is_refused_where_there_is_none(architecture):
    compiled_or_skip(architecture)
    source = source_of("gemm_wgmma")
    with pytest.raises(CompileError, match=r"gemm_wgmma.cu does not compile"):
        source.compile(source.entries[0], architecture)


def test_products_of_warp_groups_run_in_parallel():
    """The assembler serialises wgmma when sums are touched in flight, and says so in its log."""
    compiled_or_skip("sm_90a")
    source = source_of("gemm_wgmma")
    row = compile_row(source, source.entry("gemm_wgmma256_bf16_nn"), "sm_90a")
    assert (row.registers_per_thread > 0, row.remark) == (True, "")
    assert list(table([replace(row, remark="products wait for each other")]))[1].endswith("other")


def test_occupancy_agrees_with_what_clang_reports():
    compiled_or_skip("gfx942")
    source = source_of("gemm_mfma")
    entry = source.entry("gemm_mfma_bf16_nt")
    reported = source.compile(entry, "gfx942").resources[0].waves_per_simd
    row = compile_row(source, entry, "gfx942")
    limits = limits_of("gfx942")
    waves = row.n_blocks * entry.n_threads // limits.wave_size
    assert waves // limits.n_partitions == reported


def test_the_assemblers_words_become_numbers():
    first, second = parse_ptxas(PTXAS)
    assert (first.entry, first.registers_per_thread) == ("first", 168)
    assert (first.spill_bytes, first.static_shared_bytes) == (28, 4096)
    assert (second.entry, second.registers_per_thread) == ("second", 14)
    assert (second.spill_bytes, second.static_shared_bytes) == (0, 0)


def test_clangs_words_become_numbers():
    (first,) = parse_remarks(REMARKS)
    assert first.entry == "first"
    assert first.registers_per_thread == 68 + 64
    assert (first.spill_bytes, first.static_shared_bytes, first.waves_per_simd) == (24, 8256, 3)


def test_the_report_has_a_line_for_each_row_and_fails_with_a_compiler(capsys, monkeypatch):
    compiled_or_skip("sm_80")
    source = source_of("gemm_wgmma")
    row = compile_row(source, source.entries[0], "sm_80")
    assert "FAILED: gemm_wgmma.cu does not compile for sm_80" in list(table([row]))[1]
    monkeypatch.setattr("kernels.gpu.compile.rows", lambda _wanted, *, every: iter([row]))
    assert main(["--arch", "sm_80"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_missing_compiler_is_one_line_and_no_failure(capsys, monkeypatch):
    monkeypatch.setattr("kernels.gpu.hip_clang.PAIRS", ())
    assert main(["--arch", "gfx942"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("skipped gfx942: clang-19 and lld-19 are not installed")
