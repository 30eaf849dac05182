"""The headline: what the configuration delivers, in eight lines."""

from __future__ import annotations

from dataclasses import dataclass

from tui.format import class_marks, fixed, interval_text, number_text
from tui.widgets.lines import Line
from twin.prediction import Prediction

__all__ = ["HEADLINE", "HeadlineStyle", "headline_lines"]

HEADLINE = (
    ("tokens_per_s", "tokens/s"),
    ("tokens_per_s_per_device", "per device"),
    ("mfu", "MFU"),
    ("step_time_s", "step time"),
    ("memory_bytes_per_device", "memory"),
    ("device_power_w", "device power"),
    ("it_power_w", "IT power"),
    ("facility_power_w", "facility"),
    ("energy_per_token_j", "energy/token"),
)
"""Quantities of the headline and their labels."""

GIGABYTE = 1e9
LABEL_WIDTH = 14
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlineStyle:
    """How the headline is drawn."""

    has_intervals: bool = True
    is_ascii: bool = False
    is_stale: bool = False
    cursor: int | None = None
    """Row under the cursor, where the pane has focus."""


def _memory_words(prediction: Prediction) -> tuple[str, str]:
    used = prediction.memory_bytes_per_device / GIGABYTE
    capacity = prediction.memory_capacity_bytes / GIGABYTE
    if prediction.fits_memory:
        return f"{used:.1f} of {capacity:.1f} GB", "fits"
    return f"{used:.1f} of {capacity:.1f} GB", "too much"


def _row(prediction: Prediction, name: str, label: str, style: HeadlineStyle) -> Line:
    marks = class_marks(prediction.classes.get(name, ()), is_ascii=style.is_ascii)
    if name == "memory_bytes_per_device":
        number, verdict = _memory_words(prediction)
        tone = "$success" if prediction.fits_memory else "bold $error"
        return [
            (fixed(f" {label}", LABEL_WIDTH), "dim"),
            (fixed(number, 18), "bold"),
            (fixed(verdict, 10), tone),
            (marks, "dim"),
        ]
    number, unit = number_text(name, getattr(prediction, name))
    band = interval_text(name, prediction.interval.get(name)) if style.has_intervals else ""
    return [
        (fixed(f" {label}", LABEL_WIDTH), "dim"),
        (fixed(number, 7, align="right"), "bold"),
        (" " + fixed(unit.replace("tokens/s", "").strip() or unit, 3), ""),
        (fixed(f"[{band}]" if band else "", 17), "dim"),
        (marks, "dim"),
    ]


def headline_lines(prediction: Prediction, style: HeadlineStyle) -> list[Line]:
    """Rows of the headline; the run's time and energy where tokens are given."""
    rows: list[Line] = []
    for index, (name, label) in enumerate(HEADLINE):
        row = list(_row(prediction, name, label, style))
        if style.cursor == index:
            row = [(text, f"{tone} reverse".strip()) for text, tone in row]
        if style.is_stale:
            row = [(text, "dim italic") for text, _ in row]
        rows.append(row)
    if prediction.run_time_s is not None and prediction.run_energy_j is not None:
        days = prediction.run_time_s / SECONDS_PER_DAY
        energy, unit = number_text("run_energy_j", prediction.run_energy_j)
        rows.append(
            [
                (fixed(" whole run", LABEL_WIDTH), "dim"),
                (f"{days:.1f} days, {energy} {unit}", "bold"),
            ]
        )
    return rows
