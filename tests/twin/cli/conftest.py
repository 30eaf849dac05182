"""A stand-in for the library, so that these tests judge the command line alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from twin.cli.main import run
from twin.explain.term import Term
from twin.prediction import Interval, MemoryUse, Prediction, PredictionWarning
from twin.scenario.scenario import Scenario
from twin.training.plan import Plan

GIGABYTE = 1e9
BASE = (
    *("--cluster", "dgx-h100", "--devices", "64", "--model", "llama-3-8b"),
    *("--seq-len", "8192", "--global-batch", "512"),
)


def sample_prediction(scenario: Scenario) -> Prediction:
    """A consistent answer with unround numbers."""
    step_time_s = 10.0 / 3.0
    it_power_w = 61_234.567
    memory = MemoryUse(
        weights_bytes=16.1 * GIGABYTE,
        gradients_bytes=16.1 * GIGABYTE,
        optimizer_bytes=1.5 * GIGABYTE,
        activations_bytes=20.2 * GIGABYTE,
        buffers_bytes=2.1 * GIGABYTE,
        fragmentation_bytes=1.0 * GIGABYTE,
        overhead_bytes=3.0 * GIGABYTE,
    )
    n_tokens = scenario.seq_len * scenario.global_batch
    energy_per_step_j = it_power_w * step_time_s
    return Prediction(
        scenario=scenario,
        plan=Plan(tp=2, dp=scenario.devices // 2, zero=1),
        step_time_s=step_time_s,
        tokens_per_s=n_tokens / step_time_s,
        tokens_per_s_per_device=n_tokens / step_time_s / scenario.devices,
        model_flop_per_s_per_device=412.3e12,
        mfu=0.417,
        hfu=0.417,
        memory_bytes_per_device=memory.total_bytes,
        memory_capacity_bytes=80.0 * GIGABYTE,
        memory=memory,
        fits_memory=True,
        device_power_w=654.3,
        node_power_w=7_123.4,
        it_power_w=it_power_w,
        facility_power_w=1.1 * it_power_w,
        energy_per_step_j=energy_per_step_j,
        energy_per_token_j=energy_per_step_j / n_tokens,
        pue=1.1,
        breakdown={"gemm": 2.5, "attention": step_time_s - 2.5, "data_parallel": 0.0},
        hidden={"data_parallel": 0.4},
        interval={"step_time_s": Interval(p10=3.1, p50=step_time_s, p90=3.7)},
        classes={"step_time_s": ("datasheet", "fitted")},
        warnings=(PredictionWarning(code="W_DATASHEET_ONLY", message="no measured network"),),
        profile_hashes={"cluster/dgx-h100": "ab" * 32},
        run_time_s=None if scenario.tokens is None else scenario.tokens * step_time_s / n_tokens,
        run_energy_j=None if scenario.tokens is None else 1e12,
    )


def sample_terms() -> dict[str, Term]:
    """A small tree whose sum is right."""
    peak = Term(
        name="peak_flop_per_s",
        value=989e12,
        unit="flop/s",
        figure_class="datasheet",
        source="NVIDIA H100 datasheet",
    )
    gemm = Term(
        name="gemm_s", value=2.5, unit="s", relation="quotient", formula="f/p", children=(peak,)
    )
    rest = Term(name="rest_s", value=0.5, unit="s", figure_class="assumed", source="test")
    return {
        "step_time_s": Term(
            name="step_time_s", value=3.0, unit="s", relation="sum", children=(gemm, rest)
        ),
        "mfu": Term(name="mfu", value=0.417, unit="1", relation="formula", formula="a / b"),
    }


class FakePredictor:
    """Answers at once and remembers what it was asked."""

    asked: Scenario
    change: Callable[[Prediction], Prediction] = staticmethod(lambda prediction: prediction)

    def __init__(self, profile_dirs: tuple[Path, ...] = ()) -> None:
        type(self).profile_dirs = profile_dirs

    def predict(self, scenario: Scenario) -> Prediction:
        type(self).asked = scenario
        return type(self).change(sample_prediction(scenario))

    def explain(self, scenario: Scenario) -> dict[str, Term]:
        type(self).asked = scenario
        return sample_terms()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePredictor]:
    """Put a fresh stand-in where the verbs look for the library."""
    predictor = type("Predictor", (FakePredictor,), {})
    module = ModuleType("twin.predict")
    module.Predictor = predictor
    monkeypatch.setitem(sys.modules, "twin.predict", module)
    return predictor


@pytest.fixture
def too_large(fake: type[FakePredictor]) -> type[FakePredictor]:
    """The same with an answer that does not fit."""
    fake.change = staticmethod(lambda prediction: replace(prediction, fits_memory=False))
    return fake


class Outcome:
    """Exit code and streams of one command line."""

    def __init__(self, code: int, *, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def err_lines(self) -> list[str]:
        return self.err.splitlines()


@pytest.fixture
def twin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Run a command line in this process; crash files go to the test's own folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def call(*words: str) -> Outcome:
        capsys.readouterr()
        code = run(words)
        streams = capsys.readouterr()
        return Outcome(code, out=streams.out, err=streams.err)

    return call


@pytest.fixture
def base() -> tuple[str, ...]:
    """The options that a configuration cannot do without."""
    return BASE
