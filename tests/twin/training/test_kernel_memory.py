"""What predictions share changes none of them, and does not grow without end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.twin.machines import accelerator, job, machine, model
from twin.training import kernel_memory
from twin.training.kernel_memory import KernelMemory
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

BASE = job(what=model(n_layers=4), n_devices=8, power_cap_w=400.0)
PLAN = Plan(tp=2, dp=4)

RELATED = {
    "batch": replace(BASE, global_batch=512),
    "cap": replace(BASE, power_cap_w=300.0),
    "length": replace(BASE, seq_len=1024),
    "precision": replace(BASE, precision="fp8"),
    "device": job(machine(accelerator(tdp_w=500.0)), what=model(n_layers=4), n_devices=8),
    "framework": job(what=model(n_layers=4), n_devices=8, framework_name="torchtitan"),
}


@pytest.mark.parametrize("what", RELATED)
def test_a_prediction_is_the_same_after_any_other(what):
    memory, case = KernelMemory(), RELATED[what]
    StepPredictor(BASE, memory).step(PLAN)
    assert StepPredictor(case, memory).step(PLAN) == StepPredictor(case).step(PLAN)


def test_batch_and_cap_keep_the_kernels_and_other_subjects_do_not():
    memory = KernelMemory()
    known = memory.kernels_of(BASE)
    shared = {what for what, case in RELATED.items() if memory.kernels_of(case) is known}
    assert shared == {"batch", "cap"}


def test_equal_subjects_read_anew_share_their_kernels():
    memory = KernelMemory()
    again = job(what=model(n_layers=4), n_devices=8)
    assert memory.kernels_of(again) is memory.kernels_of(BASE)


def test_subjects_and_kernels_are_bounded(monkeypatch):
    memory = KernelMemory()
    first = memory.kernels_of(BASE)
    for seq_len in range(1024, 1024 + kernel_memory.MOST_SUBJECTS):
        memory.kernels_of(replace(BASE, seq_len=seq_len))
    assert memory.kernels_of(BASE) is not first

    monkeypatch.setattr(kernel_memory, "MOST_KERNELS", 1)
    StepPredictor(BASE, memory).step(PLAN)
    assert memory.kernels_of(BASE) == {}
