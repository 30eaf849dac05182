"""Does the twin predict a real training step on this host?

    twin calibrate --backend cpu --out calibrated
    pytest benches/bench_host_step.py --profiles calibrated --benchmark-only -s

Without `--profiles` a quick calibration comes first, two minutes. Each step is that of
kernels/host_step: forward, backward and optimizer of a few layers, one thread, CPU time. The
prediction is that of `twin predict` on the calibrated profile with framework `numpy`. A host
profile is of one thread: with more (`--threads`) steps are timed by the clock and not predicted.

`extra_info` follows the scheme of docs/benches.md. Since a shared machine may run at another pace
than while it was calibrated, it also has the pace now over the pace then (a fixed product beside
every step) and the error at equal pace. A step follows that product less than in proportion, so the
error of the prediction lies between the two.
"""

from __future__ import annotations

import contextlib
import csv
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from benches.record import Profile, bed_info, why_no_driver
from hardware_profiles.catalogue import Catalogue
from kernels.families.inheritance import completed_calibration
from kernels.gemm.cpu import blas_name, blas_threads
from kernels.host.calibrate import calibrate_host
from kernels.host.facts import host_facts
from kernels.host.measure import Anchors, single_thread
from kernels.host_step.step import HostTrainer
from kernels.host_step.weights import StepShape
from kernels.timing import thread_cpu_timer
from twin.predict import Predictor
from twin.scenario.scenario import PlanRequest, Scenario

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
def profiles(pytestconfig, tmp_path_factory):
    """Folders of profiles, the first with a cluster of this host's thread."""
    given = [Path(folder) for folder in pytestconfig.getoption("--profiles")]
    if given:
        require_cluster(given)
        return given
    out = tmp_path_factory.mktemp("calibrated")
    calibrate_host(out, is_quick=True)
    return [out]


def require_cluster(folders: list[Path]) -> None:
    """One line and exit code 2 where no folder has a cluster of this host."""
    name = host_facts().name
    if Catalogue(folders).find("cluster", name) is None:
        places = ", ".join(map(str, folders))
        msg = f"--profiles {places}: no cluster {name!r}; `twin calibrate --backend cpu` makes one"
        pytest.exit(msg, returncode=2)


@contextlib.contextmanager
def threads(n):
    """So many threads for the BLAS and for Numba."""
    if n == 1:
        with single_thread():
            yield
        return
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(n)
    try:
        with blas_threads(n):
            yield
    finally:
        numba.set_num_threads(before)


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


def predicted(shape: StepShape, folders: list[Path], model: Path):
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
    return Predictor(tuple(folders)).predict(scenario)


def calibrated_anchor_s(folders: list[Path]) -> float | None:
    """The fixed product while the host was calibrated; None where no folder holds it. [s]"""
    paths = [folder / "measured" / host_facts().name / "visits.csv" for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    rows = list(csv.DictReader(path.read_text().splitlines()[1:]))
    return median(float(row["arithmetic_anchor_s"]) for row in rows)


@pytest.fixture(scope="session")
def bed(pytestconfig, profiles):
    """Where the step runs: one thread, as the profile has, unless others are asked for."""
    n = pytestconfig.getoption("--threads") or 1
    accelerator = Catalogue(profiles).machine(host_facts().name).accelerator
    profile = Profile(accelerator=accelerator, calibration=completed_calibration(accelerator))
    clock = "CPU time of the thread" if n == 1 else "clock on the wall"
    return replace(pytestconfig.kernel_bench.bed, profile=profile, n_threads=n, clock=clock)


def measured(shape: StepShape, benchmark, *, n: int) -> tuple[list[float], list[float]]:
    """Times of the steps, and of the fixed product around each. [s]"""
    random = np.random.default_rng(2718)
    tokens, targets = random.integers(0, shape.vocabulary, (2, shape.batch, shape.seq_len))
    trainer = HostTrainer(shape)
    anchors = Anchors(timer=thread_cpu_timer())
    now_s = time.thread_time if n == 1 else time.perf_counter
    times_s, looks_s = [], []

    def step():
        before = anchors.look()[0]
        began_s = now_s()
        trainer.step(tokens, targets)
        times_s.append(now_s() - began_s)
        looks_s.append(0.5 * (before + anchors.look()[0]))

    with threads(n):
        trainer.step(tokens, targets)
        benchmark.pedantic(step, rounds=ROUNDS)
    return times_s, looks_s


def pace_info(folders, times_s, looks_s, *, predicted_s) -> tuple[dict, dict[str, str]]:
    """Pace of the machine over that of its calibration, and the error at equal pace. [1]"""
    keys = ("pace_fraction", "error_at_equal_pace_fraction")
    then_s = calibrated_anchor_s(folders)
    if predicted_s is None or then_s is None:
        why = "no prediction" if predicted_s is None else "no visits.csv beside the profiles"
        return dict.fromkeys(keys), dict.fromkeys(keys, why)
    equal_s = median(t * then_s / a for t, a in zip(times_s, looks_s, strict=True))
    return dict(zip(keys, (then_s / median(looks_s), predicted_s / equal_s - 1.0), strict=True)), {}


@pytest.mark.parametrize("name", SHAPES)
def bench_host_step(benchmark, bed, profiles, tmp_path, name):
    shape = SHAPES[name]
    (tmp_path / "bench.toml").write_text(model_text(shape))
    n_threads = bed.n_threads
    answer = predicted(shape, profiles, tmp_path / "bench.toml")
    times_s, looks_s = measured(shape, benchmark, n=n_threads)
    measured_s, predicted_s = median(times_s), answer.step_time_s if n_threads == 1 else None
    pace, reasons = pace_info(profiles, times_s, looks_s, predicted_s=predicted_s)
    reasons["driver"] = why_no_driver(bed)
    if predicted_s is None:
        why = f"profile {bed.profile.name} is of one thread; this ran on {n_threads}"
        reasons |= dict.fromkeys(("predicted_time_s", "prediction_error_fraction"), why)
    error = None if predicted_s is None else predicted_s / measured_s - 1.0
    benchmark.extra_info.update(
        bed_info(bed),
        framework="numpy",
        library=f"{blas_name()}, numba",
        n_inner=1,
        family="step",
        op="training step",
        dtype="fp32",
        role=name,
        **asdict(shape),
        measured_time_s=measured_s,
        predicted_time_s=predicted_s,
        prediction_error_fraction=error,
        **pace,
        breakdown_s={cause: s for cause, s in answer.breakdown.items() if s > 0.0},
        reasons=reasons,
    )
    said = ", ".join(f"{key} {one:+.3f}" for key, one in pace.items() if one is not None)
    print(
        f"\n{name}: measured {measured_s:.4f} s, predicted {predicted_s or 0.0:.4f} s, "
        f"error {error if error is None else f'{error:+.1%}'}; {said}"
    )
