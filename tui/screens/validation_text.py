"""Words of the Validation screen: errors of a table and of its groups. No widgets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tui.format import fixed
from tui.screens.run_text import MISSING, signed_percent
from tui.widgets.key_words import key_rows
from tui.widgets.lines import Line
from tui.widgets.row_list import ListRow

if TYPE_CHECKING:
    from twin.validation.runs import GroupErrors, RunsReport
    from twin.validation_view import Side

__all__ = ["group_head", "group_rows", "head_text", "help_text", "summary_text"]

NAME_WIDTH = 22
GAP = "  "
COUNT_WIDTH = 5
NUMBER_WIDTH = 6
N_REASONS = 8
"""Reasons for runs that are not predicted. [1]"""

FILTER_HELP = (
    "  vendor:amd source:llm_foundry scale:512 missed:yes  texts; a bare word finds any",
    "  err>15 out>15 in<5 devices>=512 batch<64 time>10s   errors in %, either direction",
    "  memory>60  memory:n/a  fits:no  why:network         memory in GB",
)


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f}"


# -- the table ----------------------------------------------------------------------------------


def head_text(name: str, report: RunsReport | None, *, progress: str) -> str:
    """The table, how much of it is predicted, and how well; what decides stands first."""
    if report is None:
        return f" [ ] {name}   {progress}"
    n_rows = report.predicted + len(report.unsupported)
    words = [f" [ ] {name}", f"{report.predicted} of {n_rows}"]
    if report.predicted:
        left = report.left_out
        words += [
            f"left out (decides) {_percent(left.median_ape)} % median {_percent(left.p90_ape)} p90",
            f"in-sample {_percent(report.median_ape)} % median {_percent(report.p90_ape)} p90",
            f"{_share(report.interval_coverage)} within p10 to p90",
        ]
    return "   ".join(words)


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f} %"


def group_head(grouping: str, side: Side, *, width: int) -> list[Line]:
    """Titles over the errors by group."""
    first = NAME_WIDTH + COUNT_WIDTH + 1
    four = 4 * NUMBER_WIDTH
    marks = [("* " if side == name else "  ") + name for name in ("left out", "in-sample")]
    above = " " * first + fixed(f"{marks[0]} % (decides)", four) + GAP + f"{marks[1]} %"
    titles = ("median", "mean", "p90", "bias")
    numbers = "".join(fixed(title, NUMBER_WIDTH, align="right") for title in titles)
    below = fixed(f" error by {grouping}", NAME_WIDTH) + fixed("n", COUNT_WIDTH, align="right")
    return [
        [(fixed(above, width), "$text-muted")],
        [(fixed(f"{below} {numbers}{GAP}{numbers}", width), "$text-muted bold")],
    ]


def group_rows(
    groups: Sequence[GroupErrors], glyphs: Mapping[str, tuple[str, str]]
) -> list[ListRow]:
    """One row per group, both columns side by side.

    Parameters
    ----------
    groups
        In the order shown.
    glyphs
        Glyph on the chart and its style, by the name of the group.
    """
    return [
        ListRow(key=group.name, line=_group_line(group, *glyphs.get(group.name, (" ", ""))))
        for group in groups
    ]


def _group_line(group: GroupErrors, glyph: str, tone: str) -> Line:
    left = (group.left_out_median_ape, group.left_out_mape, group.left_out_p90_ape)
    inside = (group.median_ape, group.mape, group.p90_ape)
    return [
        (f" {glyph}", tone),
        (fixed(f" {group.name}", NAME_WIDTH - 2), ""),
        (fixed(str(group.n), COUNT_WIDTH, align="right"), "dim"),
        (" " + _numbers(left, group.left_out_bias), "bold"),
        (GAP + _numbers(inside, group.bias), ""),
    ]


def _numbers(errors: Sequence[float], bias: float) -> str:
    texts = [*(f"{100 * error:.1f}" for error in errors), signed_percent(bias)]
    return "".join(fixed(text, NUMBER_WIDTH, align="right") for text in texts)


# -- the whole report ---------------------------------------------------------------------------


def summary_text(report: RunsReport) -> str:
    """A report in words: both errors, order, memory, what is not predicted."""
    left = report.left_out
    n_rows = report.predicted + len(report.unsupported)
    rows = [
        f"{report.predicted} of {n_rows} runs predicted, in {report.elapsed_s:.1f} s",
        "",
        f"{'absolute error, %':<26}{'median':>8}{'mean':>8}{'p90':>8}",
        f"{'source left out: decides':<26}"
        + "".join(f"{_percent(x):>8}" for x in (left.median_ape, left.mape, left.p90_ape)),
        f"{'in-sample':<26}"
        + "".join(f"{_percent(x):>8}" for x in (report.median_ape, report.mape, report.p90_ape)),
        "",
        f"measured within p10 to p90: {_share(report.interval_coverage)}",
    ]
    order = next((one for one in report.ordering if one.pairs), None)
    if order is not None:
        rows.append(
            f"pairs of like runs in the right order: {_share(order.left_out_ordered_share)} left"
            f" out, {_share(order.ordered_share)} in-sample, of {order.pairs}"
        )
    memory = report.memory
    if memory.rows:
        rows.append(
            f"memory of {memory.rows} runs that state it: {_percent(memory.median_ape)} % median;"
            f" {memory.n_predicted_not_to_fit} predicted not to fit"
        )
    rows.append(f"missed by more than 15 %: {len(report.missed)} runs, each with its reason")
    return "\n".join([*rows, *_unsupported_rows(report)])


def _unsupported_rows(report: RunsReport) -> list[str]:
    if not report.unsupported:
        return []
    counts = Counter(row["why"] for row in report.unsupported).most_common()
    rows = ["", "not predicted:", *(f"{n:5d}  {why}" for why, n in counts[:N_REASONS])]
    n_more = len(counts) - N_REASONS
    return [*rows, f"       {n_more} more reasons"] if n_more > 0 else rows


def help_text() -> str:
    """Keys, columns, filters, what the numbers mean."""
    rows = key_rows("validation")
    rows += [
        f"{'enter':<22} a run in full; on a group: only its runs",
        f"{'w':<22} on the groups: the whole report in words",
        f"{'o':<22} order by the column under the cursor; errors by size",
        "",
        "out: predicted by constants that were fitted without the source of the run and",
        "its sisters. That is the honest error, and the one that decides.",
        "in: in-sample, predicted by the constants that the twin ships with.",
        "bias: mean error with its sign; above zero is predicted too slow.",
        "Nothing is fitted to a run here. Missed: by more than 15 %, left out or in-sample.",
        "",
        "On the chart + and - or the wheel zoom, arrows then move, 0 shows all.",
        "",
        "Filter (/): terms parted by blanks, all have to hold; a minus turns one round",
        *FILTER_HELP,
    ]
    return "\n".join(rows)
