"""``python -m twin.fitting.spread --from DIR``: how wide intervals of step times have to be.

The spread of a framework is what kernels and links leave unexplained: software versions, hosts,
settings that a source does not state. It is judged like everything else with the source left out:
the width at which 80 % of the measured times lie between p10 and p90, every source weighing the
same, since a user's machine is one more source and not one more row, and servers whose kernels are
published being the catalogue's devices, since few users have such a table. Run it after
``python -m twin.fitting``; it writes the value into each framework file that states one of its own
and that enough sources speak of.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hardware_profiles.errors import TweelingError
from hardware_profiles.toml_numbers import write_constants
from twin.fitting.homes import FRAMEWORKS
from twin.fitting.parameters import source_trust
from twin.fitting.rows import FIT_TABLES
from twin.fitting.server_errors import catalogued
from twin.intervals import NORMAL_P90
from twin.predict import Predictor
from twin.training.framework import framework, home_of
from twin.validation.predicted_run import PredictedRun
from twin.validation.runs import validate_runs

__all__ = ["Deviation", "deviations", "width"]

KEY = "relative_spread_fraction"
WANTED_SHARE = 0.8
"""Share of measured values between p10 and p90, by the meaning of the words. [1]"""
FEWEST_SOURCES = 3
"""Of fewer sources no spread between sources can be told. [1]"""
NARROWEST = 0.03
"""Two libraries differ by as much on the same products of one device (1 to 5 % in the median,
public tables of three frameworks): a framework's version does no less, also where other widths
cover its runs. [1]"""
WIDEST = 1.0
BISECTIONS = 40
EXIT_BAD_INPUT = 2


class Deviation(NamedTuple):
    """One run: how far off it is, and what its kernels and links account for."""

    source_id: str
    log_error: float
    """Logarithm of predicted over measured, the source left out. [1]"""
    known_variance: float
    """Variance of that logarithm which the interval has without the framework's spread. [1]"""


def deviations(runs: Iterable[PredictedRun]) -> dict[str, list[Deviation]]:
    """Runs by the framework file that states their spread."""
    found = defaultdict(list)
    for run in runs:
        whole = math.log(run.p90_s / run.predicted_step_time_s) / NORMAL_P90
        own = framework(run.framework).relative_spread_fraction
        found[home_of(run.framework, KEY)].append(
            Deviation(
                source_id=run.source_id,
                log_error=math.log(run.left_out_step_time_s / run.measured_step_time_s),
                known_variance=max(0.0, whole**2 - own**2),
            )
        )
    return dict(found)


def _share_inside(runs: Iterable[Deviation], trust: Mapping[str, float], spread: float) -> float:
    """Share of runs between p10 and p90, the mean over sources by their trust. [1]"""
    inside = defaultdict(list)
    for run in runs:
        limit = NORMAL_P90 * math.sqrt(run.known_variance + spread**2)
        inside[run.source_id].append(abs(run.log_error) <= limit)
    weights = {source: trust.get(source, 1.0) for source in inside}
    held = sum(weights[source] * sum(rows) / len(rows) for source, rows in inside.items())
    return held / sum(weights.values())


def width(runs: Sequence[Deviation], trust: Mapping[str, float]) -> float:
    """Smallest spread at which the wanted share of runs lies inside, every source alike. [1]

    Never below `NARROWEST`.

    Parameters
    ----------
    runs
        At least one.
    trust
        Weight of sources that deserve less than one. [1]
    """
    low, high = NARROWEST, WIDEST
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if _share_inside(runs, trust, middle) >= WANTED_SHARE:
            high = middle
        else:
            low = middle
    return high


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the spreads; exit 2 with one line for bad input."""
    parser = argparse.ArgumentParser(prog="python -m twin.fitting.spread", description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="folder of tables")
    parser.add_argument("--dry-run", action="store_true", help="print and write nothing")
    options = parser.parse_args(arguments)
    trust = source_trust()
    try:
        predictor = Predictor()
        tables = [options.folder / name for name in FIT_TABLES]
        predicted = [
            run
            for path in tables
            for run in catalogued(validate_runs(path, predictor=predictor).runs, path, predictor)
        ]
        for home, runs in sorted(deviations(predicted).items()):
            n_sources = len({run.source_id for run in runs})
            text = f"{home:20s} {len(runs):5d} runs of {n_sources:2d} sources"
            if n_sources < FEWEST_SOURCES:
                sys.stdout.write(f"{text}: too few, left as it is\n")
                continue
            spread = round(width(runs, trust), 3)
            sys.stdout.write(f"{text}: {KEY} = {spread}\n")
            if not options.dry_run:
                write_constants(FRAMEWORKS / f"{home}.toml", {KEY: spread})
    except (OSError, TweelingError) as refusal:
        sys.stderr.write(f"twin.fitting.spread: {refusal}\n")
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
