"""Words of one published run beside its prediction, short and in full. No widgets here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui.format import fixed, short
from tui.widgets.breakdown import LABELS
from tui.widgets.lines import Line, plain
from twin.quantities import quantity
from twin.validation.measured_servers import device_text

if TYPE_CHECKING:
    from twin.validation.predicted_run import PredictedRun

__all__ = [
    "MISSING",
    "gigabytes",
    "run_lines",
    "run_text",
    "seconds",
    "sheet_lines",
    "signed_percent",
]

MISSING = "—"
GIGABYTE = 1e9
LABEL_WIDTH = 15
LEAST_SHARE = 0.005
"""Terms below this share of the step are summed up. [1]"""
BAR_FROM = 58
"""Columns from which terms are drawn as bars too. [1]"""
ROOMY = 110
"""Columns from which times are written with words and units. [1]"""

FIGURES = {
    "allocated": "allocated by tensors",
    "reserved": "held by the allocator",
    "device": "of the whole device",
}
"""What a publication's figure of memory counts."""


def seconds(value_s: float) -> str:
    """A step time in s with four digits, zeros included, so that columns line up."""
    if not math.isfinite(value_s):
        return MISSING
    return f"{value_s:.0f}" if value_s >= 1000.0 else f"{value_s:#.4g}"


def signed_percent(value: float) -> str:
    """An error in percent with its sign."""
    return f"{100 * value:+.1f}" if math.isfinite(value) else MISSING


def gigabytes(value_bytes: float | None) -> str:
    """Memory in GB; a dash where a publication states none."""
    if value_bytes is None or not math.isfinite(value_bytes):
        return MISSING
    return f"{value_bytes / GIGABYTE:.1f}"


def _time(value_s: float) -> str:
    return quantity("step_time_s").text(value_s)


def run_lines(run: PredictedRun | None, *, width: int) -> list[Line]:
    """The run under the cursor in four lines: what, times, where they go, the reason of a miss."""
    if run is None:
        return []
    terms = _terms(run)
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, _, share in terms)
    last, tone = (f" ! {run.why}", "$warning") if run.why else (f" {_not_missed(run)}", "dim")
    return [
        [(short(f" {_name(run)}", width), "bold")],
        [(short(f" {_times(run, width)}", width), "")],
        [(short(f" {_memory(run)}   {shares}", width), "")],
        [(short(last, width), tone)],
    ]


def _name(run: PredictedRun) -> str:
    words = (
        run.run_id,
        run.model_name,
        f"{run.n_devices} x {device_text(run.source_id, run.device)}",
        run.precision,
        run.framework,
        f"batch {run.global_batch}",
        run.sharding,
    )
    return "   ".join(words)


def _times(run: PredictedRun, width: int) -> str:
    if width < ROOMY:
        return (
            f"measured {seconds(run.measured_step_time_s)} s"
            f"  out {seconds(run.left_out_step_time_s)} {_off(run.left_out_signed_error)}"
            f"  in {seconds(run.predicted_step_time_s)} {_off(run.signed_error)}  {_band(run)}"
        )
    words = (
        f"measured {_time(run.measured_step_time_s)}",
        f"left out {_time(run.left_out_step_time_s)} {_off(run.left_out_signed_error)}",
        f"in-sample {_time(run.predicted_step_time_s)} {_off(run.signed_error)}",
        f"p10 to p90 {_band(run)}",
    )
    return "   ".join(words)


def _off(error: float) -> str:
    return f"{signed_percent(error)} %"


def _band(run: PredictedRun) -> str:
    """The interval, and whether what was measured lies in it."""
    where = "inside" if run.p10_s <= run.measured_step_time_s <= run.p90_s else "outside"
    low, high = (f"{value:#.3g}".rstrip(".") for value in (run.p10_s, run.p90_s))
    return f"{low} .. {high} s, {where}"


def _memory(run: PredictedRun) -> str:
    words = f"memory {gigabytes(run.predicted_memory_bytes)} GB"
    if run.measured_memory_bytes:
        error = run.predicted_memory_bytes / run.measured_memory_bytes - 1.0
        words += f", measured {gigabytes(run.measured_memory_bytes)}, {_off(error)}"
    return words if run.fits_memory else f"{words}, does not fit"


def _not_missed(run: PredictedRun) -> str:
    stated = "layout stated" if run.is_dense_stated else "layout not stated in full"
    return f"not missed by more than 15 %   {run.source_id}   {run.scale} devices   {stated}"


def _terms(run: PredictedRun) -> list[tuple[str, float, float]]:
    """Name, seconds and share of each term, the longest first, small ones summed up."""
    total_s = sum(run.breakdown.values())
    ordered = sorted(run.breakdown.items(), key=lambda item: -item[1])
    found = [
        (LABELS.get(cause, cause), time_s, time_s / total_s)
        for cause, time_s in ordered
        if time_s >= LEAST_SHARE * total_s
    ]
    left_s = total_s - sum(time_s for _, time_s, _ in found)
    if left_s > 0.0:
        found.append((f"{len(ordered) - len(found)} more", left_s, left_s / total_s))
    return found


def sheet_lines(run: PredictedRun | None, *, width: int, height: int) -> list[Line]:
    """One run in full, with bars; terms are left out where there is no room."""
    if run is None:
        return []
    head = _sheet_head(run, width)
    memory = [
        *_heading("memory per device" + ("" if run.fits_memory else ", which does not fit"), width),
        *_memory_lines(run, width),
    ]
    reason = _reason_lines(run, width)
    room = height - len(head) - len(memory) - len(reason) - 1
    shown = _terms(run)
    if len(shown) > max(room, 1):
        kept = shown[: max(room - 1, 1)]
        left_s = sum(time_s for _, time_s, _ in shown[len(kept) :])
        rest = ("all others", left_s, left_s / sum(run.breakdown.values()))
        shown = [*kept, rest]
    return [
        *head,
        *reason,
        *_heading("where the predicted time goes", width),
        *(_bar_line(name, _time(time_s), share, width) for name, time_s, share in shown),
        *memory,
    ]


def _heading(words: str, width: int) -> list[Line]:
    return [[(fixed(f" {words}", width), "$text-muted bold")]]


def _sheet_head(run: PredictedRun, width: int) -> list[Line]:
    where = (
        f"{run.n_devices} x {device_text(run.source_id, run.device)}",
        run.precision,
        f"batch {run.global_batch}",
        run.framework,
        run.sharding,
    )
    times = (
        ("measured", run.measured_step_time_s, ""),
        ("left out", run.left_out_step_time_s, f"{_off(run.left_out_signed_error)}   decides"),
        ("in-sample", run.predicted_step_time_s, _off(run.signed_error)),
    )
    lines: list[Line] = [
        [(fixed(f" {run.run_id}   {run.model_name}", width), "bold")],
        [(short(f" {'   '.join(where)}", width), "")],
    ]
    for name, value_s, aside in times:
        lines.append(
            [
                (fixed(f" {name}", LABEL_WIDTH), "dim"),
                (fixed(_time(value_s), 10, align="right"), "bold"),
                (f"   {aside}", ""),
            ]
        )
    lines.append([(fixed(" p10 .. p90", LABEL_WIDTH), "dim"), (f"   {_band(run)}", "")])
    return lines


def _bar_line(name: str, text: str, share: float, width: int) -> Line:
    room = width - LABEL_WIDTH - 20
    bar = "#" * round(room * share) if width >= BAR_FROM else ""
    return [
        (fixed(f" {name}", LABEL_WIDTH), "dim"),
        (fixed(text, 10, align="right"), ""),
        (f"{100 * share:6.1f} % ", "dim"),
        (bar, "$primary"),
    ]


def _memory_lines(run: PredictedRun, width: int) -> list[Line]:
    total_bytes = run.memory.total_bytes
    lines = [
        _bar_line(name, f"{amount / GIGABYTE:.1f} GB", amount / total_bytes, width)
        for name, amount in _components(run).items()
    ]
    stated = f"{gigabytes(run.predicted_memory_bytes)} GB {FIGURES[run.memory_figure]}"
    lines.append([(short(f" {stated}; {_published(run)}", width), "")])
    return lines


def _components(run: PredictedRun) -> Mapping[str, float]:
    """Memory in bytes by component."""
    use = run.memory
    return {
        name.removesuffix("_bytes"): getattr(use, name)
        for name in type(use).__dataclass_fields__
        if getattr(use, name) > 0.0
    }


def _published(run: PredictedRun) -> str:
    if run.measured_memory_bytes is None:
        return "none published"
    error = run.predicted_memory_bytes / run.measured_memory_bytes - 1.0
    return f"published {gigabytes(run.measured_memory_bytes)} GB, {_off(error)}"


def _reason_lines(run: PredictedRun, width: int) -> list[Line]:
    if not run.why:
        return [[(short(f" {_not_missed(run)}", width), "dim")]]
    wrapped = textwrap.wrap(f"! missed: {run.why}", max(20, width - 2))
    return [[(f" {text}", "$warning")] for text in wrapped]


def run_text(run: PredictedRun) -> str:
    """One run in full, as text to read and to copy."""
    lines = sheet_lines(run, width=72, height=10_000)
    aside = f"\n source {run.source_id}   vendor {run.vendor}   task {run.task}"
    return plain(lines) + aside
