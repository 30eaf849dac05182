"""Words of the Compose screen: title, notes, status, help. No widgets here."""

from __future__ import annotations

import textwrap

from tui.compute import Answer
from tui.format import short
from tui.state import Session
from tui.widgets.headline import HEADLINE
from tui.widgets.key_words import key_rows
from tui.widgets.lines import Line
from twin.prediction import Prediction, SimilarRuns
from twin.quantities import quantity
from twin.scenario.fields import Field

__all__ = ["help_text", "notes_lines", "status_text", "table_text"]

REMEDY_KEYS = ("x", "z", "v")
"""Keys that take a change which makes a plan fit, the fastest first."""

FIRST_START = (
    " This is a ready example. e edits the value under the cursor, + and - step it.",
    " w shows why a number is what it is. p pins the scenario for comparison.",
)
GIGABYTE = 1e9


def notes_lines(
    answer: Answer | None, *, is_first_start: bool, width: int, n_lines: int
) -> list[Line]:
    """What the reader must know about the result, most important first."""
    if answer is None:
        return [[(" predicting …", "dim")]]
    if answer.refusal is not None:
        wrapped = textwrap.wrap(f"! {answer.refusal}", max(20, width - 2)) or ["!"]
        rest = short(" ".join(wrapped[n_lines - 1 :]), width - 2)
        texts = [*wrapped[: n_lines - 1], rest]
        return [[(f" {text}", "bold $error")] for text in texts if text]
    lines: list[Line] = []
    prediction = answer.prediction
    if prediction is not None and not prediction.fits_memory:
        need = prediction.memory_bytes_per_device / GIGABYTE
        have = prediction.memory_capacity_bytes / GIGABYTE
        text = f" does not fit: {need:.0f} of {have:.0f} GB per device"
        lines.append([(text, "bold $error")])
        if answer.remedies:
            pairs = zip(REMEDY_KEYS, answer.remedies, strict=False)
            words = "   ".join(f"{key} {remedy.words}" for key, remedy in pairs)
            lines.append([(short(f" would fit: {words}", width), "$warning")])
    if is_first_start and not lines:
        lines += [[(short(text, width), "dim")] for text in FIRST_START]
    if prediction is not None and prediction.similar_runs is not None:
        lines.append([(short(f" {_similar_words(prediction.similar_runs)}", width), "dim")])
    warnings = prediction.warnings if prediction is not None else ()
    for warning in warnings:
        if warning.code == "W_DOES_NOT_FIT":
            continue
        lines.append([(short(f" ! {warning.message}", width), "$warning")])
    n_more = len(lines) - n_lines
    if n_more > 0:
        kept = [list(line) for line in lines[:n_lines]]
        last, style = kept[-1][0]
        hint = f"  +{n_more} more"
        kept[-1] = [(short(last, width - len(hint)), style), (hint, "dim")]
        return list(kept)
    return lines


def _similar_words(similar: SimilarRuns) -> str:
    """How far published runs of the same kind are missed, the shortest words first."""
    return (
        f"{similar.n} published runs {similar.scope}: median error {similar.median_ape:.0%}, "
        f"90 % within {similar.p90_ape:.0%} (left out)"
    )


def status_text(session: Session, answer: Answer | None) -> str:
    """Edits, and how long the prediction took."""
    changes = f"changes {session.n_changes}"
    if answer is None:
        return f"{changes} "
    if answer.refusal is not None:
        return f"{changes}   refused, last result "
    return f"{changes}   predicted in {1e3 * answer.elapsed_s:.0f} ms "


def help_text(field: Field) -> str:
    """All keys, and what the field under the cursor means."""
    rows = [f"{field.label}: {field.help}", "", *key_rows("compose")]
    rows += [
        "x z v                  take a change that makes the plan fit",
        "",
        "■ measured  ◆ fitted  □ datasheet  ? assumed  † set by you",
        "The ids in brackets are what [keymap] in the settings file names.",
    ]
    return "\n".join(rows)


def table_text(prediction: Prediction) -> str:
    """All headline results as tab-separated text with base units."""
    rows = ["quantity\tvalue\tunit\tp10\tp90"]
    for name, _ in HEADLINE:
        band = prediction.interval.get(name)
        low, high = (repr(band.p10), repr(band.p90)) if band else ("", "")
        value = getattr(prediction, name)
        rows.append(f"{name}\t{value!r}\t{quantity(name).unit}\t{low}\t{high}")
    rows += [
        f"breakdown.{cause}\t{seconds!r}\ts\t\t" for cause, seconds in prediction.breakdown.items()
    ]
    return "\n".join(rows)
