"""A contest whose own kernel is the very device source, run on the host."""

from __future__ import annotations

import sys

import pytest

from kernels.benched import device as benched
from kernels.benched.case import gemm_case
from kernels.benched.device import DeviceArena
from kernels.gemm.sources import gemm_source
from kernels.gpu import cupy_module
from kernels.gpu import launch as device_launch
from kernels.gpu.compiled import Object
from kernels.gpu.kernel_source import KernelSource
from kernels.survey.shapes import GemmShape
from kernels.timing import RepeatPolicy
from tests.kernels.benched.fake_device import DEVICE, make_cupy
from tests.kernels.gpu.emulation import build, find_compiler
from tests.kernels.gpu.fake_cupy import Hashable
from tests.kernels.gpu.test_launch import HostFunction

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")
POLICY = RepeatPolicy(n_warmup=1, n_min=3, n_max=3, n_inner_max=1)
PRODUCT = "gemm_simt_fp32_nt"


@pytest.fixture
def arena(monkeypatch, tmp_path):
    source = gemm_source("gemm_simt")
    library = build(source, tmp_path, entries=(source.entry(PRODUCT),))
    functions = {PRODUCT: HostFunction(PRODUCT, library)}
    cupy = Hashable(make_cupy(functions.__getitem__))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cupy_module, "why_no_gpu", lambda: None)
    monkeypatch.setattr(benched, "_torch", lambda: None)
    empty = Object(architecture="", code=b"", resources=(), log="")
    monkeypatch.setattr(KernelSource, "compile", lambda *_: empty)
    device_launch._function.cache_clear()
    yield DeviceArena(DEVICE)
    device_launch._function.cache_clear()


def test_a_product_runs_through_launch_check_and_timing(arena):
    case = gemm_case(GemmShape(m=40, n=24, k=16, layout="TN"), dtype="fp32")
    contest = arena.contest(case)
    assert set(contest.contenders) == {"own", "vendor"}, contest.absent
    samples = arena.measure(contest, ("own", "vendor"), POLICY)
    assert all(found.timing.median_s > 0.0 for found in samples.values())
