"""How far predictions of similar published runs were, with their own source left out of the fit.

The table beside this module is written by ``python -m twin.fitting.document``. A cell holds runs of
one family of devices, framework and width of products; the most telling one with enough runs
answers.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from twin.prediction import SimilarRuns
from twin.training.job import LOW_PRECISIONS, TrainingJob

__all__ = ["SIMILAR_RUNS_FILE", "Cell", "similar_runs", "width_of"]

SIMILAR_RUNS_FILE = Path(__file__).parent / "similar_runs.toml"

FEWEST_RUNS = 5
"""Runs below which a cell says too little, and a wider one is asked. [1]"""


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors of one kind of runs; an empty text stands for all of them."""

    architecture: str
    framework: str
    width: str
    n: int
    median_ape: float
    p90_ape: float
    bias: float


def width_of(precision: str) -> str:
    """Width of the products in words."""
    return "low precision" if precision in LOW_PRECISIONS else "16 bits and more"


@functools.cache
def _cells() -> dict[tuple[str, str, str], Cell]:
    if not SIMILAR_RUNS_FILE.exists():
        return {}
    with SIMILAR_RUNS_FILE.open("rb") as file:
        cells = msgspec.convert(tomllib.load(file)["cell"], list[Cell])
    return {(cell.architecture, cell.framework, cell.width): cell for cell in cells}


def _scope(cell: Cell) -> str:
    words = [
        f"on {cell.architecture}" if cell.architecture else "on any device",
        *([f"with {cell.framework}"] if cell.framework else []),
        *([f"in {cell.width}"] if cell.width else []),
    ]
    return " ".join(words)


def similar_runs(job: TrainingJob) -> SimilarRuns | None:
    """Errors of the published runs most like a job; None where no table was written.

    First those of its family of devices, framework and width; then of the family and width, of
    the family, and of all.
    """
    family, name = job.machine.accelerator.architecture, job.framework.name
    width = width_of(job.precision)
    wanted = ((family, name, width), (family, "", width), (family, "", ""), ("", "", ""))
    cells = _cells()
    for key in wanted:
        cell = cells.get(key)
        if cell is not None and cell.n >= FEWEST_RUNS:
            return SimilarRuns(
                scope=_scope(cell),
                n=cell.n,
                median_ape=cell.median_ape,
                p90_ape=cell.p90_ape,
                bias=cell.bias,
            )
    return None
