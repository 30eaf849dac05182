"""Cells of the table of similar runs, from left-out errors of predicted runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from twin.similar_runs import Cell, width_of
from twin.validation.predicted_run import PredictedRun
from twin.validation.statistics import summarise

__all__ = ["similar_cells", "similar_text"]

HEADING = (
    "# Errors of published runs by kind, each predicted with its own source left out of the fit.\n"
    "# Servers with kernels of their own are predicted as the catalogue's device here.\n"
    "# An empty text stands for all. Written by: python -m twin.fitting.document\n"
)
DIGITS = 3


def similar_cells(runs: Sequence[PredictedRun]) -> list[Cell]:
    """A cell per kind of runs: family of devices, framework, width, and wider ones."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        names = (run.architecture, run.framework, width_of(run.precision))
        for mask in product((True, False), repeat=3):
            key = tuple(name if keeps else "" for name, keeps in zip(names, mask, strict=True))
            groups.setdefault((key[0], key[1], key[2]), []).append(run.left_out_signed_error)
    cells = []
    for (architecture, framework, width), errors in sorted(groups.items()):
        summary = summarise(errors)
        if summary is None:
            continue
        cells.append(
            Cell(
                architecture=architecture,
                framework=framework,
                width=width,
                n=summary.n,
                median_ape=float(f"{summary.median_ape:.{DIGITS}g}"),
                p90_ape=float(f"{summary.p90_ape:.{DIGITS}g}"),
                bias=float(f"{summary.bias:.{DIGITS}g}"),
            )
        )
    return cells


def similar_text(cells: Sequence[Cell]) -> str:
    """The table as TOML."""
    lines = [HEADING]
    for cell in cells:
        lines.append("\n[[cell]]\n")
        for name in cell.__struct_fields__:
            value = getattr(cell, name)
            lines.append(
                f'{name} = "{value}"\n' if isinstance(value, str) else f"{name} = {value}\n"
            )
    return "".join(lines)
