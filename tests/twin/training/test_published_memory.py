"""Memory per device against published figures, typed in with their source.

Layouts are those of the tables; framework constants are general, so that agreement here is
agreement of the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twin.predict import Predictor
from twin.training.memory import memory_use
from twin.training.plan import Plan
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import run_job
from twin.validation.run_request import RunRequest, Unsupported, run_request
from twin.validation.runs import validate_runs
from twin.validation.runs_table import PublishedRun, read_runs

GIB = 2.0**30
GIGABYTE = 1e9


@pytest.fixture(scope="module")
def machines() -> RunMachines:
    return RunMachines(Predictor().catalogues.profiles)


def predicted(run: PublishedRun, machines: RunMachines) -> float:
    """The figure that the run's framework reports. [byte]"""
    request = run_request(run)
    assert not isinstance(request, Unsupported), request
    job = run_job(request, machines)
    return memory_use(job, request.plan).figure_bytes(job.framework.memory.reported_figure)


def llama(name: str, *, n_layers: int, source_id: str, **layout: object) -> PublishedRun:
    """A run of a model with the widths of Llama 3; the step time plays no part."""
    widths = {
        "8b": (4096, 14336, 32, 8),
        "70b": (8192, 28672, 64, 8),
        "405b": (16384, 53248, 128, 8),
        "405b padded": (16384, 53248, 128, 16),
    }
    hidden, ffn_hidden, n_heads, n_kv_heads = widths[name]
    return PublishedRun(
        run_id=f"{source_id}-{name}",
        source_id=source_id,
        n_layers=n_layers,
        hidden=hidden,
        ffn_hidden=ffn_hidden,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        vocabulary=128_256,
        is_gated_mlp=True,
        step_time_s=1.0,
        **layout,  # type: ignore[arg-type]  # sizes of the layout, each of its field's type
    )


SIMUMAX = [
    # model, layers, tp, pp, cp, dp, sequence, allocated [GiB]
    ("70b", 12, 1, 2, 1, 4, 4096, 66.55),
    ("70b", 12, 2, 1, 1, 4, 4096, 60.68),
    ("70b", 12, 8, 1, 1, 1, 4096, 28.29),
    ("405b padded", 4, 1, 2, 1, 4, 4096, 87.08),
    ("405b padded", 4, 4, 1, 1, 2, 4096, 52.89),
    ("405b padded", 4, 1, 1, 8, 1, 32768, 139.22),
    ("70b", 12, 1, 1, 8, 1, 131_072, 147.99),
    ("405b padded", 4, 2, 1, 4, 1, 131_072, 118.13),
]


@pytest.mark.parametrize("case", SIMUMAX, ids=str)
def test_megatron_on_b200(case, machines):
    """MooreThreads/SimuMax docs/b200/b200_release_v1.2_summary.md, "real alloc GiB"."""
    name, n_layers, tp, pp, cp, dp, seq_len, allocated = case
    run = llama(
        name,
        n_layers=n_layers,
        source_id="simumax_b200",
        device="B200",
        n_devices=8,
        framework="Megatron-LM",
        sharding="megatron+zero1 (distributed optimizer)",
        precision="bf16",
        seq_len=seq_len,
        global_batch=4 * dp,
        micro_batch=1,
        tp=tp,
        pp=pp,
        cp=cp,
        dp=dp,
        vpp=1,
        has_sequence_parallel=True,
        recompute="none",
    )
    assert predicted(run, machines) == pytest.approx(allocated * GIB, rel=0.02)


MLPERF = [
    # device, devices, tp, dp, micro-batches, allocated [GB]
    ("H100", 8192, 8, 64, 24, 50.9),
    ("H200", 1024, 4, 16, 72, 104.8),
    ("GB200", 1024, 4, 16, 48, 92.1),
]


@pytest.mark.parametrize("case", MLPERF, ids=str)
def test_8_bit_training_of_405b(case, machines):
    """mlcommons/training_results_v5.0, result files of llama31_405b: max_memory_usage."""
    device, n_devices, tp, dp, n_micro_batches, allocated = case
    run = llama(
        "405b",
        n_layers=126,
        source_id="mlperf_v5.0",
        device=device,
        n_devices=n_devices,
        framework="NeMo (MLPerf)",
        sharding="megatron",
        precision="fp8",
        seq_len=8192,
        global_batch=dp * n_micro_batches,
        micro_batch=1,
        tp=tp,
        pp=8,
        vpp=8,
        cp=2,
        dp=dp,
        has_sequence_parallel=True,
        recompute="none",
    )
    assert predicted(run, machines) == pytest.approx(allocated * GIGABYTE, rel=0.05)


TORCHTITAN = [
    # devices, sequence, local batch, recompute, reserved [GiB]
    (8, 8192, 2, "selective", 77.0),
    (128, 8192, 2, "selective", 62.0),
    (8, 32_768, 1, "full", 83.9),
]


@pytest.mark.parametrize("case", TORCHTITAN, ids=str)
def test_fully_sharded_8b(case, machines):
    """pytorch/torchtitan benchmarks/llama3_h100_202412_torchtitan.md, tables 1, 2 and 3."""
    n_devices, seq_len, local_batch, recompute, reserved = case
    run = llama(
        "8b",
        n_layers=32,
        source_id="torchtitan_h100_202412",
        device="H100-96GB-HBM2e-500W",
        n_devices=n_devices,
        framework="torchtitan (FSDP2)",
        sharding="fsdp",
        precision="bf16",
        seq_len=seq_len,
        global_batch=n_devices * local_batch,
        micro_batch=local_batch,
        recompute=recompute,
        notes="torch.compile",
    )
    assert predicted(run, machines) == pytest.approx(reserved * GIB, rel=0.1)


def memory_rows(path: Path, machines: RunMachines) -> dict[str, list[tuple[RunRequest, float]]]:
    """Requests and signed errors by source of the rows that state memory."""
    found: dict[str, list[tuple[RunRequest, float]]] = {}
    for run in read_runs(path):
        request = run_request(run)
        if run.memory_bytes is None or isinstance(request, Unsupported):
            continue
        error = predicted(run, machines) / run.memory_bytes - 1.0
        found.setdefault(run.source_id, []).append((request, error))
    return found


@pytest.mark.parametrize(("source_id", "worst"), [("simumax_b200", 0.02), ("mlperf_v5.0", 0.06)])
def test_every_row_of_a_source_is_met(
    source_id: str, worst: float, machines: RunMachines, shared_data: Callable[[str], Path]
):
    rows = memory_rows(shared_data("published_runs/runs.csv"), machines)[source_id]
    assert len(rows) >= 12
    assert max(abs(error) for _, error in rows) < worst


@pytest.mark.parametrize("table", ["runs.csv", "runs_more.csv"])
def test_published_memory_is_met_in_the_middle(table: str, shared_data: Callable[[str], Path]):
    report = validate_runs(shared_data(f"published_runs/{table}"), predictor=Predictor()).memory
    assert report.median_ape is not None
    assert report.median_ape < 0.12
    assert report.n_predicted_not_to_fit <= 1


def test_a_bigger_layout_never_needs_less(machines):
    """One published row as the base: more micro-batches in flight, more memory."""
    run = llama(
        "70b",
        n_layers=80,
        source_id="simumax_b200",
        device="B200",
        n_devices=32,
        framework="Megatron-LM",
        sharding="megatron+zero1",
        precision="bf16",
        seq_len=4096,
        global_batch=64,
        micro_batch=1,
        tp=2,
        pp=4,
        recompute="none",
    )
    request = run_request(run)
    assert not isinstance(request, Unsupported), request
    job = run_job(request, machines)
    totals = [
        memory_use(job, Plan(tp=2, pp=4, dp=4, zero=1, micro_batch=size)).total_bytes
        for size in (1, 2, 4)
    ]
    assert totals == sorted(totals)
