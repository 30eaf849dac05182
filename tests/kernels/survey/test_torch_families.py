"""The torch families with events, memory and synchronisation of a fake GPU, on the CPU.

What these tests cannot see is the device itself; the last one needs it.
"""

import dataclasses
import time
import types

import pytest

from kernels.backends import Device, find_device
from kernels.survey import attention, bandwidth, gemm, launch, loads, memory_bound, power
from kernels.survey.case import Case, SkipError
from kernels.survey.reading import NoSensor
from kernels.survey.sampler import Sampler
from kernels.survey.setting import Setting
from kernels.survey.shapes import AttentionShape, GemmShape
from kernels.survey.torch_device import TorchDevice

torch = pytest.importorskip("torch", reason="torch is not installed")

H200 = Device(
    backend="cuda",
    vendor="nvidia",
    name="Fake H200",
    framework="torch",
    architecture="sm_90",
    n_units=132,
    memory_bytes=141 * 2**30,
    cache_bytes=60 * 2**20,
)
SHAPE = GemmShape(m=64, n=48, k=32, layout="TN", direction="fwd", role="test")
HEADS = AttentionShape(batch=1, heads_q=4, heads_kv=2, seq=64, head_dim=32, is_causal=True)


class Event:
    def __init__(self, enable_timing=False):
        self.time_s = 0.0

    def record(self):
        self.time_s = time.perf_counter()

    def elapsed_time(self, other):
        return (other.time_s - self.time_s) * 1e3

    def synchronize(self):
        pass


class FakeTorch(types.ModuleType):
    """The installed torch with a GPU that is the host."""

    cuda = types.SimpleNamespace(
        Event=Event,
        _sleep=lambda cycles: time.sleep(cycles * 1e-9),
        synchronize=lambda: None,
        set_device=lambda _index: None,
        empty_cache=lambda: None,
        mem_get_info=lambda: (2**30, 2**30),
        memory_reserved=lambda: 0,
        memory_allocated=lambda: 0,
    )

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def gpu():
    device = dataclasses.replace(H200, cache_bytes=2**16)
    return TorchDevice(FakeTorch("torch"), device, name="cpu")


@pytest.fixture
def setting():
    return Setting(
        device=H200, software="test", sampler=Sampler(NoSensor()), is_quick=True, load_s=0.02
    )


@pytest.mark.parametrize("layout", ["TN", "NN", "NT"])
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", "tf32", "fp8"])
def test_products_are_right_in_every_layout(gpu, setting, layout, dtype):
    shape = dataclasses.replace(SHAPE, layout=layout)
    (row,) = gemm.run_gemm(shape, key="k", dtype=dtype, cache="cold", on=(setting, gpu))
    assert row.latency_us > 0
    assert (row.m, row.n, row.k) == (64, 48, 32)


def test_a_wrong_product_is_refused(gpu):
    product = gemm.gemm_call(gpu, SHAPE, dtype="fp32", data="normal", n_sets=1)
    product.call(0)
    gemm.check_product(gpu, product, dtype="fp32")
    product.result()[1, 1] += 1.0
    with pytest.raises(SkipError, match="wrong result"):
        gemm.check_product(gpu, product, dtype="fp32")


def test_cold_operands_exceed_the_cache_and_fit_the_memory(gpu):
    n_bytes = gemm.gemm_bytes(SHAPE, "bf16")
    assert gpu.n_sets(n_bytes) * n_bytes > 2 * gpu.device.cache_bytes
    assert gpu.n_sets(n_bytes, cold=False) == 1
    with pytest.raises(SkipError, match="GB are free"):
        gpu.n_sets(2**31)


@pytest.mark.parametrize("direction", ["fwd", "bwd"])
@pytest.mark.parametrize("library", ["sdpa-flash", "sdpa-math"])
@pytest.mark.parametrize("is_causal", [True, False])
def test_attention_runs_in_both_directions(gpu, setting, library, direction, is_causal):
    shape = dataclasses.replace(HEADS, is_causal=is_causal)
    choice = attention.Choice(priority=0, library=library, direction=direction, shape=shape)
    (row,) = attention.run_attention(choice, setting, gpu)
    assert row.latency_us > 0
    assert row.direction == direction


def test_backward_gives_the_gradients_of_the_forward_pass(gpu):
    calls = attention.attention_call(gpu, HEADS, library="sdpa-math", dtype="fp32", n_sets=2)
    first, again = calls.backward(0), calls.backward(2)
    assert [tuple(g.shape) for g in first] == [(1, 64, 4, 32), (1, 64, 2, 32), (1, 64, 2, 32)]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
        assert float(one.norm()) > 0


@pytest.mark.parametrize("op", ["copy", "triad", "read", "init"])
def test_streams_count_their_vectors(gpu, setting, op):
    (row,) = bandwidth.run_stream(op, key="k", vector_bytes=4096, on=(setting, gpu))
    assert row.bytes == 4096 * bandwidth.N_VECTORS[op]
    assert row.GBps == pytest.approx(row.bytes / row.latency_us / 1e3)


@pytest.mark.parametrize("name", memory_bound.OPERATIONS)
def test_operations_run_in_their_directions(gpu, setting, name):
    operand = memory_bound.Operand(rows=8, cols=32, dtype=memory_bound.OPERATIONS[name].dtype)
    for direction in memory_bound.PASSES.get(name, memory_bound.BOTH):
        choice = memory_bound.Choice(name=name, direction=direction, operand=operand)
        (row,) = memory_bound.run_operation(choice, key="k", on=(setting, gpu))
        assert row.latency_us > 0
        assert row.bytes > 0


@pytest.mark.parametrize("name", ["softmax", "layernorm"])
@pytest.mark.parametrize("direction", ["fwd", "bwd"])
def test_another_type_moves_more_bytes(gpu, setting, name, direction):
    rows = [
        memory_bound.run_operation(
            memory_bound.Choice(
                name=name,
                direction=direction,
                operand=memory_bound.Operand(rows=8, cols=32, dtype=dtype),
            ),
            key="k",
            on=(setting, gpu),
        )[0]
        for dtype in ("bf16", "fp32")
    ]
    assert [row.dtype for row in rows] == ["bf16", "fp32"]
    assert rows[1].bytes == 2 * rows[0].bytes


def test_launches_are_per_call(gpu, setting):
    for case in launch.launch_cases(setting, gpu):
        if not case.key.endswith("/graph"):
            (row,) = case.run()
            assert row.n_calls >= 20
            assert 0 < row.latency_us < 1e6


def test_a_load_keeps_its_duty_and_counts_its_work(gpu, setting):
    work = loads.Work(call=lambda _index: time.sleep(1e-3), flop=1e6, n_bytes=1e3)
    for duty in (1.0, 0.5):
        load = loads.Load(workload="w", dtype="bf16", shape="s", make=lambda _d: work, duty=duty)
        patient = dataclasses.replace(setting, load_s=0.2)
        row, *samples = power.run_load(load, key="w", on=(patient, gpu))
        assert row.tflops * 1e12 == pytest.approx(1e6 * row.repeats / row.duration_s)
        assert row.GBps * 1e9 == pytest.approx(1e3 * row.repeats / row.duration_s)
        assert samples == []


def test_a_layer_does_six_flop_per_weight_and_token_besides_attention(gpu):
    make = loads.layer_work("llama-3-8b", tp=8, tokens=16)
    work = make(gpu)
    attention_flop = 3.5 * 4 * 4 * 16**2 * 128 / 2
    weights = 4096 * (4 + 2 + 4) * 128 + 3 * 4096 * 14336 // 8
    assert work.flop == pytest.approx(6 * 16 * weights + attention_flop)
    work.call(0)


def test_every_family_has_coarse_cases_with_names_of_their_own(gpu, setting):
    makers = (
        attention.attention_cases,
        power.power_cases,
        gemm.gemm_cases,
        bandwidth.bandwidth_cases,
        launch.launch_cases,
        memory_bound.memory_bound_cases,
    )
    for make in makers:
        cases: list[Case] = make(setting, gpu)
        assert len({case.key for case in cases}) == len(cases)
        assert any(case.priority == 0 for case in cases)


@pytest.mark.gpu
def test_a_short_survey_of_the_gpu_here(tmp_path):
    from kernels.survey.__main__ import main

    if find_device("auto", environ={}).backend == "cpu":
        pytest.skip("no GPU is visible")
    assert main(["--out", str(tmp_path), "--quick", "--time-limit", "60"]) == 0
    assert (tmp_path / "environment.json").exists()
