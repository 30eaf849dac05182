"""Predicted runs with round figures, so that views and screens never follow real ones."""

from __future__ import annotations

from twin.prediction import MemoryUse
from twin.validation.predicted_run import PredictedRun
from twin.validation.run_memory import memory_report
from twin.validation.run_ordering import ordering
from twin.validation.runs import LeftOutErrors, RunsReport, grouped_errors
from twin.validation.statistics import summarise

GB = 1e9
VENDORS = {"alpha-80": "Nvidia", "beta-192": "AMD"}
FAMILIES = {"alpha-80": "hopper", "beta-192": "cdna3"}


def run(number, *, error=0.02, left_out=None, device="alpha-80", source="lab_one", **more):
    """One run; the measured time grows with its number. [s]"""
    measured_s = 0.5 * 1.6**number
    left_out = 1.5 * error if left_out is None else left_out
    predicted_s = measured_s * (1.0 + error)
    scale = 1.0 + 0.1 * number
    values = {
        "run_id": f"{source}-{number:04d}",
        "source_id": source,
        "vendor": VENDORS[device],
        "device": device,
        "accelerator": device,
        "architecture": FAMILIES[device],
        "n_devices": 8 * 2 ** (number % 4),
        "scale": "to 8 devices" if number % 4 == 0 else "9 to 64",
        "model_name": "llama-3-8b",
        "precision": "bf16",
        "framework": "megatron-core",
        "sharding": "megatron",
        "global_batch": 512,
        "is_dense_stated": True,
        "measured_step_time_s": measured_s,
        "predicted_step_time_s": predicted_s,
        "left_out_step_time_s": measured_s * (1.0 + left_out),
        "signed_error": error,
        "ape": abs(error),
        "left_out_signed_error": left_out,
        "left_out_ape": abs(left_out),
        "p10_s": 0.9 * predicted_s,
        "p90_s": 1.1 * predicted_s,
        "why": "a network under repair" if abs(error) > 0.15 else None,
        "measured_memory_bytes": 50 * GB * scale if number % 2 else None,
        "predicted_memory_bytes": 48 * GB * scale,
        "memory_figure": "reserved",
        "memory": MemoryUse(
            weights_bytes=10 * GB * scale,
            gradients_bytes=10 * GB * scale,
            optimizer_bytes=15 * GB * scale,
            activations_bytes=10 * GB * scale,
            buffers_bytes=2 * GB * scale,
            fragmentation_bytes=1 * GB * scale,
            overhead_bytes=3 * GB,
        ),
        "fits_memory": number != 3,
        "task": "pretrain",
        "breakdown": {
            "gemm_forward": 0.25 * predicted_s,
            "gemm_backward": 0.5 * predicted_s,
            "tp_communication": 0.15 * predicted_s,
            "pp_bubble": 0.0999 * predicted_s,
            "host_step": 0.0001 * predicted_s,
        },
    }
    return PredictedRun(**values | more)


RUNS = (
    run(0),
    run(1, error=-0.04),
    run(2, error=0.01, source="lab_two"),
    run(3, error=0.30, source="lab_two"),
    run(4, error=-0.08, source="lab_two", precision="fp8"),
    run(5, error=0.05, device="beta-192", source="lab_three", sharding="fsdp (zero3)"),
    run(6, error=-0.20, left_out=-0.10, device="beta-192", source="lab_three"),
    run(7, error=0.0, left_out=0.09),
)


def report_of(runs):
    """A report over some runs, as the validation makes it."""
    summary = summarise([one.signed_error for one in runs])
    left = summarise([one.left_out_signed_error for one in runs])
    return RunsReport(
        predicted=len(runs),
        coverage=len(runs) / (len(runs) + 1),
        mape=summary.mape if summary else None,
        median_ape=summary.median_ape if summary else None,
        p90_ape=summary.p90_ape if summary else None,
        interval_coverage=0.75 if runs else None,
        left_out=LeftOutErrors(
            mape=left.mape if left else None,
            median_ape=left.median_ape if left else None,
            p90_ape=left.p90_ape if left else None,
            bias=left.bias if left else None,
            by_source=[],
        ),
        dense={},
        dense_core={},
        by_vendor=grouped_errors(runs, "vendor"),
        by_device=[],
        by_source=[],
        by_sharding=[],
        by_framework=[],
        by_precision=[],
        by_scale=[],
        ordering=ordering(runs),
        memory=memory_report(runs),
        missed=[{"run_id": one.run_id, "why": one.why} for one in runs if one.why],
        unsupported=[{"run_id": "lab_four-0001", "why": "mixture of experts"}],
        runs=list(runs),
        elapsed_s=0.5,
        profile_hashes={},
    )
