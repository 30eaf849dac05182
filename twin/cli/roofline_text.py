"""Text of ``twin roofline``: ceilings, then kernels, the one farthest below its roof first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from twin.cli.output import table

if TYPE_CHECKING:
    from twin.kernel_columns import KernelColumns
    from twin.roofline import DeviceRoofs
    from twin.roofline_report import RooflineKernel, RooflineReport

__all__ = ["roofline_lines"]

N_SHOWN = 30
"""Kernels of each part of the text. [1]"""

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MICRO = 1e6
HEADER = ("kernel", "shape", "type", "measured", "predicted", "error", "roofline", "of roof", "by",
          "library", "source")  # fmt: skip
ALIGN = "lllrrrrrlll"


def roofline_lines(report: RooflineReport) -> list[str]:
    """Lines of the text report."""
    import numpy as np

    columns, roofs = report.columns, report.roofs
    is_measured = ~np.isnan(columns.measured_s)
    measured, predicted = columns.where(is_measured), columns.where(~is_measured)
    lines = [f"{report.device}: {report.title}", "", *_ceilings(roofs)]
    if len(measured):
        said = "; ".join(f"{one.words} ({one.date})" for one in report.sources)
        lines += ["", f"{len(measured):,} measured kernels: {said}", "", *_families(measured), ""]
        lines += _kernels(measured, roofs)
    if len(predicted):
        layer = f" of a layer of {report.layer}" if report.layer else ""
        lines += ["", f"{len(predicted):,} predicted kernels{layer}", ""]
        lines += _kernels(predicted, roofs)
    if not len(columns):
        lines += ["", "no kernels: nothing was measured on it, or the filter hides all"]
    return lines


def _ceilings(roofs: DeviceRoofs) -> list[str]:
    cells = [
        [one.dtype, _si(one.flop_per_s, "flop/s"), one.figure_class, one.source]
        for one in roofs.peaks
    ]
    cells += [
        [one.level, _si(one.bytes_per_s, "byte/s"), one.figure_class, one.source]
        for one in roofs.memories
    ]
    return table([[*cell[:3], _cut(cell[3], 60)] for cell in cells], align="lrll")


def _families(columns: KernelColumns) -> list[str]:
    """Shares of the roof and errors of the predictions, by family and dtype."""
    import numpy as np

    from twin.roofline_report import family_rows

    cells = []
    for family, dtype, rows in family_rows(columns):
        shares, errors = rows.share_fraction, np.abs(rows.error_fraction)
        shares, errors = shares[np.isfinite(shares)], errors[np.isfinite(errors)]
        cells.append(
            [
                family,
                dtype,
                f"{len(rows):,}",
                _percent(float(np.median(shares)) if len(shares) else None),
                _percent(float(shares.max()) if len(shares) else None),
                _percent(float(np.median(errors)) if len(errors) else None),
            ]
        )
    header = ("family", "type", "kernels", "of roof: median", "best", "prediction: median error")
    return table(cells, align="llrrrr", header=header)


def _kernels(columns: KernelColumns, roofs: DeviceRoofs) -> list[str]:
    """A table of the first kernels, and what of them is left out."""
    from twin.roofline_report import roofline_kernels

    shown = islice(roofline_kernels(columns, roofs), N_SHOWN)
    lines = table([_cells(kernel) for kernel in shown], align=ALIGN, header=HEADER)
    left = len(columns) - N_SHOWN
    if left > 0:
        lines.append(f"  {left:,} nearer to their roof: --json has all, --filter chooses")
    return lines


def _cells(kernel: RooflineKernel) -> list[str]:
    name = " ".join(part for part in (kernel.name, kernel.direction) if part)
    return [
        _cut(name, 28),
        kernel.shape,
        kernel.dtype or "",
        _microseconds(kernel.measured_time_s),
        _microseconds(kernel.predicted_time_s),
        _percent(kernel.prediction_error_fraction, sign="+"),
        _microseconds(kernel.roofline_time_s),
        _percent(kernel.roofline_fraction),
        kernel.roofline_limit or "",
        _cut(kernel.library or "", 28),
        _cut(kernel.source, 22),
    ]


def _microseconds(value_s: float | None) -> str:
    if value_s is None:
        return "n/a"
    value = MICRO * value_s
    return f"{value:.2f} µs" if value < 100 else f"{value:.0f} µs"


def _percent(fraction: float | None, *, sign: str = "") -> str:
    return "n/a" if fraction is None else f"{100.0 * fraction:{sign}.1f} %"


def _si(value: float, unit: str) -> str:
    """A rate in four digits with a prefix."""
    pairs: Iterable[tuple[float, str]] = (*PREFIXES, (1.0, ""))
    factor, prefix = next(pair for pair in pairs if value >= pair[0] or pair[0] == 1.0)
    return f"{value / factor:.4g} {prefix}{unit}"


def _cut(text: str, longest: int) -> str:
    kept = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"
