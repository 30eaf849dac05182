"""Contests on a GPU, on a CuPy whose device is the host."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention.operands import Gradients, Result
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.backends import BackendError
from kernels.benched import device as benched
from kernels.benched import device_check, device_operations
from kernels.benched.case import attention_case, gemm_case, operation_case, stream_case
from kernels.benched.contender import COPY, keeping_results
from kernels.benched.device import DeviceArena
from kernels.benched.device_arrays import DeviceArrays, host_values
from kernels.gemm.reference import relative_error_fraction
from kernels.gemm.vendor_gpu import gemm_vendor
from kernels.survey.shapes import AttentionShape, GemmShape
from kernels.timing import RepeatPolicy
from tests.kernels.benched.fake_device import DEVICE, floats, make_cupy
from tests.kernels.gpu.fake_cupy import on_device

POLICY = RepeatPolicy(n_warmup=1, n_min=3, n_max=3, n_inner_max=2)
HEADS = AttentionShape(batch=1, heads_q=2, heads_kv=1, seq=64, head_dim=16, is_causal=True)


def product_on_the_host(a, b, *, out, transposed, kernel):
    left = floats(a).T if "a" in transposed else floats(a)
    right = floats(b).T if "b" in transposed else floats(b)
    bits = np.ascontiguousarray(left @ right, dtype=np.float32).view(np.uint32)
    out[...] = (bits + 0x8000) >> 16 if out.dtype == np.uint16 else left @ right
    return out


def rounded(values):
    return DeviceArrays(make_cupy()).placed(np.asarray(values), "bf16")


def flash_on_the_host(q, k, v, *, mask):
    found = attention_reference(*(floats(x).astype(np.float64) for x in (q, k, v)), mask=mask)
    return Result(rounded(found.out), found.lse)


def gradients_on_the_host(operands, result, gradient, *, mask):
    exact = [floats(x).astype(np.float64) for x in (*operands, gradient)]
    return Gradients(*(rounded(x) for x in attention_backward_reference(*exact, mask=mask)))


@pytest.fixture
def arena(monkeypatch):
    """A device whose own kernels are NumPy's."""
    monkeypatch.setattr(benched, "gemm_gpu", product_on_the_host)
    for module in (benched, device_check):
        monkeypatch.setattr(module, "attention_gpu", flash_on_the_host)
        monkeypatch.setattr(module, "attention_backward_gpu", gradients_on_the_host)
    monkeypatch.setattr(benched, "_torch", lambda: None)
    monkeypatch.setattr(benched, "COPY_BYTES", 2**12)
    fake = type("Kernels", (), {})
    fake.rms_norm_gpu = staticmethod(lambda x, weight: x)
    fake.copy_gpu = staticmethod(lambda source: source.copy())
    fake.triad_gpu = staticmethod(lambda first, second: first)
    monkeypatch.setattr(device_operations, "gpu", fake)
    device_check._checked_flash.cache_clear()
    return DeviceArena(DEVICE, cupy=make_cupy())


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", "tf32"])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_the_vendors_product_is_asked_for_rightly(dtype, transposed):
    cupy, random = make_cupy(), np.random.default_rng(1)
    arrays = DeviceArrays(cupy)
    m, n, k = 5, 7, 3
    a = arrays.placed(random.standard_normal((k, m) if "a" in transposed else (m, k)), dtype)
    b = arrays.placed(random.standard_normal((n, k) if "b" in transposed else (k, n)), dtype)
    out = arrays.empty((m, n), dtype)
    gemm_vendor(cupy, a, b, out, dtype=dtype, transposed=transposed)
    left, right = host_values(a, dtype), host_values(b, dtype)
    truth = (left.T if "a" in transposed else left) @ (right.T if "b" in transposed else right)
    assert relative_error_fraction(host_values(out, dtype), truth) < 5e-3


def test_the_vendor_scales_the_product_and_adds_to_what_is_there():
    cupy, random = make_cupy(), np.random.default_rng(2)
    arrays = DeviceArrays(cupy)
    a, b, out = (
        arrays.placed(random.standard_normal(shape), "bf16") for shape in ((4, 3), (3, 6), (4, 6))
    )
    before = host_values(out, "bf16")
    gemm_vendor(cupy, a, b, out, dtype="bf16", factors=(-0.5, 2.0))
    truth = 2.0 * before - 0.5 * (host_values(a, "bf16") @ host_values(b, "bf16"))
    assert relative_error_fraction(host_values(out, "bf16"), truth) < 5e-3


def test_amd_is_told_that_its_library_is_not_asked_this_way():
    a = on_device(np.zeros((2, 2), np.uint16))
    with pytest.raises(BackendError, match="torch runs it"):
        gemm_vendor(make_cupy(is_hip=True), a, a, a, dtype="bf16")


@pytest.mark.parametrize("layout", ["NN", "TN", "NT"])
def test_products_are_timed_beside_the_vendors(arena, layout):
    case = gemm_case(GemmShape(m=24, n=32, k=16, layout=layout), dtype="bf16")
    contest = arena.contest(case)
    assert set(contest.contenders) == {"own", "vendor"}
    assert set(contest.vendors()) == {"vendor"}
    samples = arena.measure(contest, ("own", "vendor"), POLICY)
    assert all(len(found.times_s) == 3 for found in samples.values())
    assert contest.contenders["own"].library.startswith("tweeling-")
    assert arena.contest(case) is contest


def test_amd_multiplies_through_cupy_what_it_can(arena):
    on_amd = DeviceArena(DEVICE, cupy=make_cupy(is_hip=True))
    for dtype, runs in (("fp16", True), ("bf16", False)):
        shape = GemmShape(m=24, n=32, k=16, layout="TN")
        contest = on_amd.contest(gemm_case(shape, dtype=dtype))
        assert ("vendor" in contest.contenders) == runs, contest.absent
    assert on_amd.uuid is None
    assert arena.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_wrong_product_is_not_timed(arena, monkeypatch):
    monkeypatch.setattr(benched, "gemm_gpu", lambda a, b, *, out, **_: out)
    case = gemm_case(GemmShape(m=24, n=32, k=16, layout="NN"), dtype="bf16")
    contest = arena.contest(case)
    assert set(contest.contenders) == {"vendor"}
    assert "wrong product" in contest.absent["own"]


@pytest.mark.parametrize("direction", ["fwd", "bwd"])
def test_attention_is_checked_and_says_what_is_missing_beside_it(arena, direction):
    case = attention_case(HEADS, direction=direction, dtype="bf16")
    contest = arena.contest(case)
    assert set(contest.contenders) == {"own"}
    assert "torch is not installed" in contest.absent["sdpa-cudnn"]
    assert arena.measure(contest, ("own",), POLICY)["own"].timing.median_s > 0


def test_wrong_attention_is_not_timed(arena, monkeypatch):
    wrong = lambda q, k, v, *, mask: Result(q, np.zeros(q.shape[:3]))  # noqa: E731
    monkeypatch.setattr(device_check, "attention_gpu", wrong)
    contest = arena.contest(attention_case(HEADS, direction="fwd", dtype="bf16"))
    assert "wrong output" in contest.absent["own"]


def test_operations_are_timed_beside_a_copy(arena):
    case = operation_case("rmsnorm", direction="fwd", dtype="bf16", rows=8, cols=16)
    contest = arena.contest(case)
    assert set(contest.contenders) == {"own", COPY}
    assert contest.copy_bytes == 2**13
    assert set(arena.measure(contest, ("own", COPY), POLICY)) == {"own", COPY}


def test_an_operation_without_a_kernel_is_a_reason(arena):
    case = operation_case("softmax", direction="fwd", dtype="bf16", rows=8, cols=16)
    contest = arena.contest(case)
    assert contest.absent["own"] == "no kernel of the project does softmax"


@pytest.mark.parametrize(("op", "names"), [("copy", {"own", "vendor"}), ("triad", {"own"})])
def test_streams(arena, op, names):
    contest = arena.contest(stream_case(op, dtype="bf16", vector_bytes=2**10))
    assert set(contest.contenders) == names


def test_bits_of_bf16_are_the_nearest():
    arrays = DeviceArrays(make_cupy())
    values = arrays.normal((64, 64), "bf16")
    assert values.dtype == np.uint16
    assert abs(float(floats(np.asarray(values)).std()) - 1.0) < 0.05
    exact = np.array([1.0, -2.5, 1.00390625], np.float32)
    assert host_values(arrays.placed(exact, "bf16"), "bf16").tolist() == [1.0, -2.5, 1.0078125]


def test_results_are_kept_so_that_their_memory_rotates():
    made, freed = [], []

    class Block:
        def __init__(self):
            self.number = len(made)
            made.append(self.number)

        def __del__(self):
            freed.append(self.number)

    call = keeping_results(lambda _index: Block(), n_sets=3)
    for index in range(7):
        call(index)
    assert freed == [0, 1, 2, 3]
