"""Attention and memory-bound operations from the call to the result, with emulated kernels."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention import gpu as attention
from kernels.attention.launch import BACKWARD, FORWARD, kernel_for_heads
from kernels.attention.sources import flash_source
from kernels.backends import BackendError
from kernels.gemm.reference import relative_error_fraction
from kernels.gpu import cupy_module
from kernels.gpu import launch as device_launch
from kernels.memory_bound import gpu as memory_bound
from kernels.memory_bound import reference
from kernels.memory_bound.sources import memory_bound_source
from tests.kernels.gpu.emulated_entries import EmulatedSource, HostFunction
from tests.kernels.gpu.emulated_flash import agree_with_float64, flash_call_form
from tests.kernels.gpu.emulation import bf16_bits, bf16_values, find_compiler
from tests.kernels.gpu.fake_cupy import install_fake_cupy, on_device

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")

FLASH = ("flash_forward_bf16_64", "flash_delta_bf16", "flash_d_kv_bf16_64", "flash_d_q_bf16_64")
SOURCES = {
    "flash_forward": (flash_source, "FlashArguments", FLASH),
    "flash_backward": (flash_source, "FlashArguments", FLASH),
    "flash_delta": (flash_source, "FlashArguments", FLASH),
    "norms": (memory_bound_source, "NormArguments", ()),
    "sum_rows": (memory_bound_source, "SumArguments", ()),
    "elementwise": (memory_bound_source, "ElementArguments", ()),
    "adamw": (memory_bound_source, "AdamWArguments", ()),
    "cross_entropy": (memory_bound_source, "CrossEntropyArguments", ()),
}


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("launched"), {}
    for name, (find, structure, names) in SOURCES.items():
        source = find(name)
        call = flash_call_form(source) if structure == "FlashArguments" else "{body}(g)"
        source = EmulatedSource(source, folder, arguments=structure, call=call, names=names)
        found |= {entry: HostFunction(source, entry) for entry in source.entries}
    return found


@pytest.fixture(autouse=True)
def device(monkeypatch, functions):
    """Make the host look like a device of compute capability 8.0."""
    install_fake_cupy(monkeypatch, functions.__getitem__, capability="80")
    yield
    device_launch._function.cache_clear()


def test_attention_in_both_directions():
    agree_with_float64()


def test_heads_that_no_kernel_takes_are_refused_in_one_line():
    wide = on_device(np.zeros((1, 1, 4, 264), dtype=np.uint16))
    with pytest.raises(ValueError, match="head_dim 264: expected at most 256"):
        attention.attention_gpu(wide, wide, wide)
    odd = on_device(np.zeros((1, 1, 4, 12), dtype=np.uint16))
    with pytest.raises(ValueError, match="multiples of 16 bytes"):
        attention.attention_gpu(odd, odd, odd)
    single = on_device(np.zeros((1, 1, 4, 8), dtype=np.float32))
    with pytest.raises(ValueError, match="type float32"):
        attention.attention_gpu(single, single, single)


def test_without_a_device_one_line_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(cupy_module, "why_no_gpu", lambda: "cupy is not installed")
    nothing = on_device(np.zeros((1, 1, 4, 8), dtype=np.uint16))
    with pytest.raises(BackendError, match="cupy is not installed"):
        attention.attention_gpu(nothing, nothing, nothing)
    with pytest.raises(BackendError, match="cupy is not installed"):
        memory_bound.gelu_gpu(nothing)


@pytest.mark.parametrize("shape", [(5, 64), (7, 33)])
def test_norms(shape):
    random = np.random.default_rng(4)
    x, d_y = random.standard_normal((2, *shape)).astype(np.float32)
    weight, bias = random.standard_normal((2, shape[1])).astype(np.float32)
    placed = {
        name: on_device(array)
        for name, array in {"x": x, "d_y": d_y, "w": weight, "b": bias}.items()
    }
    close(
        memory_bound.rms_norm_gpu(placed["x"], placed["w"]),
        reference.rms_norm_reference(x, weight),
    )
    close(
        memory_bound.layer_norm_gpu(placed["x"], placed["w"], placed["b"]),
        reference.layer_norm_reference(x, weight, bias),
    )
    close(
        memory_bound.rms_norm_backward_gpu(placed["d_y"], placed["x"], placed["w"]),
        reference.rms_norm_backward_reference(d_y, x, weight),
    )
    close(
        memory_bound.layer_norm_backward_gpu(placed["d_y"], placed["x"], placed["w"]),
        reference.layer_norm_backward_reference(d_y, x, weight),
    )


def test_operations_by_element():
    random = np.random.default_rng(5)
    a, b, c = random.standard_normal((3, 6, 50)).astype(np.float32)
    x, y, z = (on_device(array) for array in (a, b, c))
    close(memory_bound.swiglu_gpu(x, y), reference.swiglu_reference(a, b))
    close(memory_bound.swiglu_backward_gpu(x, y, z), reference.swiglu_backward_reference(a, b, c))
    close(memory_bound.gelu_gpu(x), reference.gelu_reference(a))
    close(memory_bound.gelu_backward_gpu(x, y), reference.gelu_backward_reference(a, b))
    close(memory_bound.copy_gpu(x), a.astype(np.float64))
    close(memory_bound.triad_gpu(x, y), a.astype(np.float64) + 3.0 * b)


def test_loss_and_optimizer():
    random = np.random.default_rng(6)
    logits = random.standard_normal((4, 100)).astype(np.float32)
    target, d_loss = np.array([0, 99, 5, 5], dtype=np.int32), np.ones(4, dtype=np.float32)
    placed = on_device(logits)
    loss, log_sum_exp = memory_bound.cross_entropy_gpu(placed, on_device(target))
    close((loss, log_sum_exp), reference.cross_entropy_reference(logits, target))
    found = memory_bound.cross_entropy_backward_gpu(
        on_device(d_loss), placed, on_device(target), log_sum_exp
    )
    close(found, reference.cross_entropy_backward_reference(d_loss, logits, target))
    gradient = bf16_bits(logits)
    state = [on_device(array) for array in (logits, 0.1 * logits, logits**2)]
    rule = reference.AdamW(n_step=2)
    truth = reference.adamw_reference(logits, bf16_values(gradient), (state[1], state[2]), rule)
    copy = memory_bound.adamw_gpu(state[0], on_device(gradient), (state[1], state[2]), rule)
    close(tuple(state), truth)
    assert relative_error_fraction(bf16_values(np.asarray(copy)), truth[0]) < 1e-2


def test_operands_that_do_not_fit_are_refused_in_one_line():
    x = on_device(np.zeros((3, 8), dtype=np.float32))
    with pytest.raises(ValueError, match=r"shape \(2, 8\): expected \(3, 8\)"):
        memory_bound.swiglu_gpu(x, on_device(np.zeros((2, 8), dtype=np.float32)))
    with pytest.raises(ValueError, match=r"row of shape \(4,\)"):
        memory_bound.rms_norm_gpu(x, on_device(np.zeros(4, dtype=np.float32)))
    with pytest.raises(ValueError, match="expected \\(3,\\), int32"):
        memory_bound.cross_entropy_gpu(x, on_device(np.zeros(3, dtype=np.int64)))
    few = on_device(np.zeros(2, dtype=np.float32))
    target = on_device(np.zeros(3, dtype=np.int32))
    with pytest.raises(ValueError, match=r"values of shape \(2,\), float32: expected \(3,\)"):
        memory_bound.cross_entropy_backward_gpu(few, x, target, few)
    with pytest.raises(ValueError, match=r"weights of shape \(2,\), float32: expected \(3, 8\)"):
        memory_bound.adamw_gpu(few, x, (few, few), reference.AdamW())
    with pytest.raises(ValueError, match="type float64"):
        memory_bound.gelu_gpu(on_device(np.zeros((3, 8))))


def close(found, truth):
    found = found if isinstance(found, tuple) else (found,)
    truth = truth if isinstance(truth, tuple) else (truth,)
    for ours, theirs in zip(found, truth, strict=True):
        assert relative_error_fraction(np.asarray(ours), theirs) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "head_dim", "forward", "backward"),
    [
        ("sm_90", 128, "wgmma", "wgmma"),
        ("sm_90", 256, "wgmma", "mma"),
        ("sm_80", 64, "mma", "mma"),
        ("gfx942", 128, "mfma", "mfma"),
    ],
)
def test_the_kernel_that_heads_of_a_width_take(architecture, head_dim, forward, backward):
    found = [
        kernel_for_heads(head_dim, passes, architecture=architecture, dtype="bf16")
        for passes in (FORWARD, BACKWARD)
    ]
    assert found == [forward, backward]
