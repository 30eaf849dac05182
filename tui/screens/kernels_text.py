"""Words of the Kernels screen: device, kernel in full, quality of calibration. No widgets here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tui.charts.axes import Axis
from tui.charts.axes import short as si
from tui.format import ASCII_MARKS, MARKS, fixed, short, short_inside
from tui.widgets.key_words import key_rows
from tui.widgets.lines import Line, Span
from tui.widgets.row_list import ListRow
from twin.calibration_view import BASIS_CLASS, best_fits

if TYPE_CHECKING:
    from kernels.own_measurements import Measured
    from twin.calibration_view import FitRow
    from twin.kernel_columns import KernelPoint
    from twin.kernel_tables import Progress
    from twin.roofline import DeviceRoofs

__all__ = [
    "LETTERS",
    "basis_head",
    "basis_rows",
    "device_text",
    "fit_lines",
    "help_text",
    "kernel_lines",
    "microseconds",
    "percent",
    "progress_text",
    "roof_lines",
    "signed_percent",
]

LETTERS = {"gemm": "G", "attention": "A", "stream": "N", "collective": "C"}
"""Letter of each family on the chart and in the table."""

MISSING = "—"
MICRO = 1e6
MILLION = 1e6
RATE = Axis(name="rate", unit="FLOP/s")
BYTE_RATE = Axis(name="rate", unit="B/s")
INTENSITY = Axis(name="intensity", unit="flop/B")
LEAST_NAME_WIDTH = 24
MARK_WIDTH = 2
SAMPLES_WIDTH = 7
NUMBER_WIDTH = 6
DATE_WIDTH = 12
"""A day with two blanks before it. [1]"""
WORDS_WIDTH, LEAST_WORDS_WIDTH = 24, 9
"""Room for what a fit rests on beside its day, and below which nothing of it is said. [1]"""
ERRORS = ("med%", "mean", "p90", "out", "sprd")
ROOM_OF_NUMBERS = MARK_WIDTH + SAMPLES_WIDTH + NUMBER_WIDTH * len(ERRORS)

FILTER_HELP = (
    "  family:gemm dtype:bf16 lib:cudnn from:llama dir:bwd  texts; a bare word finds any",
    "  err>10 share<50 m>=4096 k<1024 heads>16 seq>8192     err and share in %, err in size",
    "  time>1ms  measured:n/a  predicted:n/a  heldout=1     times in µs unless they say more",
)


def microseconds(value_s: float) -> str:
    """A time in µs, at most nine characters; a dash where there is none."""
    if not math.isfinite(value_s):
        return MISSING
    value = value_s * MICRO
    if value >= 100 * MILLION:
        return f"{value / MILLION:.4g} s"
    return f"{value:.2f}" if value < 100 else f"{value:.1f}" if value < 10_000 else f"{value:.0f}"


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f}" if math.isfinite(value) else MISSING


def signed_percent(value: float) -> str:
    """An error in percent with its sign."""
    return f"{100 * value:+.1f}" if math.isfinite(value) else MISSING


def _maybe(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def progress_text(name: str, progress: Progress) -> str:
    """How far a table was read."""
    if progress.n_rows:
        share = f"{100 * progress.n_read / progress.n_rows:.0f} %"
    else:
        share = f"{progress.n_read:,} rows"
    return f"{name} {share}, {progress.n_kept:,} of this device   esc stops"


def device_text(title: str, roofs: DeviceRoofs | None, own: Measured | None, name: str) -> str:
    """The device, its highest roofs, and when it was measured."""
    words = [f" [ ] {name}", title]
    if roofs is not None:
        peak = next((one for one in roofs.peaks if one.dtype == "bf16"), roofs.peaks[0])
        words.append(f"{peak.dtype} {si(peak.flop_per_s, RATE)}")
        memory = roofs.bytes_per_s("memory")
        words.append(f"memory {si(memory or 0.0, BYTE_RATE)}")
    if own is not None:
        words.append(f"measured by us {own.date}")
    return "   ".join(words)


def kernel_lines(
    point: KernelPoint | None, fit: FitRow | None, *, width: int, is_ascii: bool = False
) -> list[Line]:
    """The kernel under the cursor in full, and on what its prediction rests."""
    if point is None:
        return []
    words = [f"{LETTERS[point.family]} {point.name}", point.shape, point.dtype, point.direction]
    head = " ".join(word for word in words if word)
    where = "   ".join(word for word in (point.library, point.origin) if word)
    times = [f"predicted {_time(point.predicted_s)}", f"measured {_time(point.measured_s)}"]
    if point.error_fraction is not None:
        times.append(f"error {signed_percent(point.error_fraction)} %")
    time_s = point.measured_s or point.predicted_s
    if time_s:
        axis, work = (RATE, point.flop) if point.flop else (BYTE_RATE, point.traffic_bytes)
        times.append(si(work / time_s, axis))
    if point.roof_share_fraction is not None:
        times.append(f"{100 * point.roof_share_fraction:.1f} % of the roof")
    if point.flop:
        times.append(si(point.flop / point.traffic_bytes, INTENSITY))
    lines: list[Line] = [
        [(short(f" {head}   {where}", width), "bold")],
        [(short(" " + "   ".join(times), width), "")],
    ]
    if fit is not None:
        mark = (ASCII_MARKS if is_ascii else MARKS)[BASIS_CLASS[fit.basis]]
        aside = "   of a shape that was set aside" if point.is_heldout else ""
        error = (
            f", spread {_maybe(fit.spread_fraction)} %"
            if fit.median_fraction is None
            else f", held-out median {_maybe(fit.median_fraction)} %"
        )
        text = f" {mark} {fit.name}: {fit.words}{error}{aside}"
        lines.append([(short(text, width), "$text-muted")])
    return lines


def _time(value_s: float | None) -> str:
    return MISSING if value_s is None else f"{microseconds(value_s)} µs"


def basis_head(fits: Sequence[FitRow], width: int) -> Line:
    """Titles over the rows of the calibration's quality."""
    name_width, has_date = _basis_layout(fits, width)
    text = fixed(" calibration", name_width + MARK_WIDTH) + _numbers(("samples", *ERRORS))
    text += fixed("  date", DATE_WIDTH) if has_date else ""
    text += "  on what" if width - len(text) >= LEAST_WORDS_WIDTH else ""
    return [(fixed(text, width), "$text-muted bold")]


def _basis_layout(fits: Sequence[FitRow], width: int) -> tuple[int, bool]:
    """Width of the names, as far as they need it and there is room, and whether days fit too.

    On what a fit rests goes before its day; the lines below have both.
    """
    needed = max((len(fit.name) + 2 for fit in fits), default=0)
    room = width - ROOM_OF_NUMBERS
    name_width = min(max(needed, LEAST_NAME_WIDTH), max(room, LEAST_NAME_WIDTH))
    return name_width, name_width + DATE_WIDTH + WORDS_WIDTH <= room


def _numbers(texts: Sequence[str]) -> str:
    """Samples, then errors and spread, aligned to the right."""
    samples, *errors = texts
    cells = [fixed(samples, SAMPLES_WIDTH, align="right")]
    return "".join([*cells, *(fixed(text, NUMBER_WIDTH, align="right") for text in errors)])


def basis_rows(fits: Sequence[FitRow], *, width: int, is_ascii: bool = False) -> list[ListRow]:
    """One row per family, dtype and implementation."""
    marks = ASCII_MARKS if is_ascii else MARKS
    name_width, has_date = _basis_layout(fits, width)
    rows = []
    for place, fit in enumerate(fits):
        samples = MISSING if fit.n_samples is None else f"{fit.n_samples}"
        errors = (
            fit.median_fraction,
            fit.mean_fraction,
            fit.p90_fraction,
            fit.left_out_fraction,
            fit.spread_fraction,
        )
        numbers = _numbers([samples, *(_maybe(value) for value in errors)])
        date = fixed(f"  {fit.date or MISSING}", DATE_WIDTH) if has_date else ""
        used = name_width + MARK_WIDTH + len(numbers) + len(date)
        line: list[Span] = [
            (fixed(f" {short_inside(fit.name, name_width - 2)}", name_width), ""),
            (f"{marks[BASIS_CLASS[fit.basis]]} ", "$accent"),
            (numbers, "bold"),
            (date, "dim"),
        ]
        if width - used >= LEAST_WORDS_WIDTH:
            line.append((fixed(f"  {fit.words}", width - used), "dim"))
        rows.append(ListRow(key=place, line=line))
    return rows


def fit_lines(fit: FitRow, *, width: int, n_lines: int, hint: str = "  w shows all") -> list[Line]:
    """One fit in full: on what it rests, when, by which version, from which source."""
    words = [fit.name, fit.words]
    if fit.n_samples is not None:
        aside = f", {fit.n_heldout} set aside" if fit.n_heldout is not None else ""
        words.append(f"{fit.n_samples} samples{aside}")
    words += [fit.date, f"code {fit.code_version}" if fit.code_version else ""]
    head = "   ".join(word for word in words if word)
    wrapped = textwrap.wrap(fit.source, max(20, width - 2))
    lines: list[Line] = [[(short(f" {head}", width), "bold")]]
    for place, text in enumerate(wrapped[: n_lines - 1]):
        is_cut = place == n_lines - 2 and len(wrapped) > n_lines - 1
        cut = short(text, width - len(hint) - 1) + hint
        lines.append([(f" {cut if is_cut else text}", "")])
    return lines


def roof_lines(roofs: DeviceRoofs, *, width: int, is_ascii: bool = False) -> Iterator[Line]:
    """The roofs as a table: what the chart draws, with class and source."""
    marks = ASCII_MARKS if is_ascii else MARKS
    yield [(fixed(" roof", 14) + fixed("", 18) + "source", "$text-muted bold")]
    roofed = [
        (one.dtype, si(one.flop_per_s, RATE), one.figure_class, one.source) for one in roofs.peaks
    ]
    roofed += [
        (one.level, si(one.bytes_per_s, BYTE_RATE), one.figure_class, one.source)
        for one in roofs.memories
    ]
    for name, value, figure_class, source in roofed:
        mark = marks.get(figure_class, " ")
        yield [
            (fixed(f" {name}", 12), ""),
            (fixed(value, 16, align="right"), "bold"),
            (f" {mark}  ", "$accent"),
            (fixed(source, max(0, width - 32)), "dim"),
        ]


def help_text(fits: Sequence[FitRow]) -> str:
    """Keys, letters, filters, what the numbers mean."""
    rows = key_rows("kernels")
    rows += [
        f"{'enter':<22} predicted against measured of the family under the cursor",
        f"{'o':<22} order by the column under the cursor",
        f"{'click, wheel':<22} the kernel there; closer and farther; arrows move a part",
        "",
        "G gemm  A attention  N norms and other streams  C collectives",
        "A small letter: not fitted on this device. The best of each family:",
        *(f"  {fit.name}: {fit.words}" for fit in best_fits(fits).values()),
        "",
        "Streams and collectives do no matrix work: they stand at 1 flop/B, and their",
        "height is bytes per second. The roof of a collective is the link.",
        "Kernels of layers are as the step model sees them, at full clock.",
        "",
        "Filter (/): terms parted by blanks, all have to hold; a minus turns one round",
        *FILTER_HELP,
        "",
        "calibration: samples of the fit; errors on rows set aside (median, mean, p90),",
        "out: median error when the whole device is left out; spread: what intervals use",
        "■ measured  ◆ fitted, both on this device  ? inherited or assumed  □ datasheet only",
    ]
    return "\n".join(rows)
