"""Does the twin predict a real training step on this host?

    twin calibrate --backend cpu --out calibrated
    TWEELING_HOST_PROFILES=calibrated pytest benches/bench_host_step.py --benchmark-only -s

Without the variable a quick calibration comes first, two minutes. Each step is that of
kernels/host_step: forward, backward and optimizer of a few layers, one thread, thread CPU time. The
prediction is that of `twin predict` on the calibrated profile with framework `numpy`.

`extra_info` has the measured median, the prediction and its error; and, since a shared machine
may run at another pace than while it was calibrated, the pace now over the pace then (a fixed
product beside every step) and the error at equal pace. A step follows that product less than in
proportion, so the error of the prediction lies between the two.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from kernels.host.calibrate import calibrate_host
from kernels.host.facts import host_facts
from kernels.host.measure import Anchors, single_thread
from kernels.host_step.step import HostTrainer
from kernels.host_step.weights import StepShape
from kernels.timing import thread_cpu_timer
from twin.predict import Predictor
from twin.scenario.scenario import PlanRequest, Scenario

PROFILES = "TWEELING_HOST_PROFILES"
ROUNDS = 12

GATED = StepShape(
    n_layers=3,
    hidden=384,
    ffn_hidden=1024,
    n_heads=6,
    n_kv_heads=2,
    head_dim=64,
    vocabulary=4096,
    batch=1,
    seq_len=512,
)
SHAPES = {
    "llama-like": GATED,
    "llama-like, short": replace(GATED, batch=4, seq_len=128, n_layers=2),
    "gpt-like": replace(
        GATED,
        hidden=256,
        ffn_hidden=1024,
        n_heads=4,
        n_kv_heads=4,
        seq_len=256,
        batch=2,
        is_gated_mlp=False,
        norm="layernorm",
    ),
    "long": replace(GATED, n_layers=1, hidden=256, n_heads=4, n_kv_heads=4, seq_len=1536),
}


@pytest.fixture(scope="session")
def profiles(tmp_path_factory):
    """Folder of a calibration of this host."""
    given = os.environ.get(PROFILES)
    if given:
        return Path(given)
    out = tmp_path_factory.mktemp("calibrated")
    calibrate_host(out, is_quick=True)
    return out


def model_text(shape: StepShape) -> str:
    """The model as a file that `twin predict --model` takes."""
    values = {
        "schema_version": 1,
        "n_layers": shape.n_layers,
        "hidden": shape.hidden,
        "ffn_hidden": shape.ffn_hidden,
        "n_heads": shape.n_heads,
        "n_kv_heads": shape.n_kv_heads,
        "head_dim": shape.head_dim,
        "vocabulary": shape.vocabulary,
    }
    lines = [f"{name} = {value}" for name, value in values.items()]
    lines += ['kind = "model"', 'name = "bench"', 'title = "bench"', f'norm = "{shape.norm}"']
    lines += [f"is_gated_mlp = {str(shape.is_gated_mlp).lower()}", "has_tied_embeddings = false"]
    return "\n".join(lines) + "\n"


def predicted(shape: StepShape, folder: Path, model: Path):
    """What `twin predict` says of the step."""
    scenario = Scenario(
        cluster=host_facts().name,
        devices=1,
        model=str(model),
        seq_len=shape.seq_len,
        global_batch=shape.batch,
        precision="fp32",
        framework="numpy",
        plan=PlanRequest(micro_batch=shape.batch, recompute="none", attention="flash"),
    )
    return Predictor((folder,)).predict(scenario)


def calibrated_anchor_s(folder: Path) -> float:
    """The fixed product while the host was calibrated. [s]"""
    path = folder / "measured" / host_facts().name / "visits.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()[1:]))
    return median(float(row["arithmetic_anchor_s"]) for row in rows)


@pytest.mark.parametrize("name", SHAPES)
def bench_host_step(benchmark, profiles, tmp_path, name):
    shape = SHAPES[name]
    (tmp_path / "bench.toml").write_text(model_text(shape))
    answer = predicted(shape, profiles, tmp_path / "bench.toml")
    random = np.random.default_rng(2718)
    tokens, targets = random.integers(0, shape.vocabulary, (2, shape.batch, shape.seq_len))
    trainer = HostTrainer(shape)
    anchors = Anchors(timer=thread_cpu_timer())
    times_s, looks_s = [], []

    def step():
        before = anchors.look()[0]
        began_s = time.thread_time()
        trainer.step(tokens, targets)
        times_s.append(time.thread_time() - began_s)
        looks_s.append(0.5 * (before + anchors.look()[0]))

    with single_thread():
        trainer.step(tokens, targets)
        benchmark.pedantic(step, rounds=ROUNDS)
    measured_s, predicted_s = median(times_s), answer.step_time_s
    then_s = calibrated_anchor_s(profiles)
    at_equal_pace_s = median(t * then_s / a for t, a in zip(times_s, looks_s, strict=True))
    info = {
        "device": host_facts().device.name,
        "what": f"{name}: {shape}",
        "n_threads": 1,
        "measured_s": measured_s,
        "predicted_s": predicted_s,
        "error": predicted_s / measured_s - 1.0,
        "pace": then_s / median(looks_s),
        "error_at_equal_pace": predicted_s / at_equal_pace_s - 1.0,
        "breakdown_s": {cause: s for cause, s in answer.breakdown.items() if s > 0.0},
    }
    benchmark.extra_info.update(info)
    print(
        f"\n{name}: measured {measured_s:.4f} s, predicted {predicted_s:.4f} s, "
        f"error {info['error']:+.1%}, at equal pace {info['error_at_equal_pace']:+.1%} "
        f"(pace {info['pace']:.2f})"
    )
