"""Measure the device at hand: ``python -m kernels.survey``.

Needs numpy, and torch (or at least cupy) for a GPU; nothing else of the project's dependencies.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hardware_profiles.errors import TweelingError
from kernels.backends import BACKENDS
from kernels.survey.case import FAMILIES
from kernels.survey.standing import tell_standings
from kernels.survey.survey import SurveyRequest, chosen_families, survey_device

__all__ = ["main"]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.survey",
        description="Measure kernels, bandwidth, launch gaps and power of the device at hand. "
        "Settings of the device are never changed.",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: measured/<device>")
    parser.add_argument("--quick", action="store_true", help="fewer cases and repeats")
    parser.add_argument("--backend", default="auto", help=f"auto, {', '.join(BACKENDS)}")
    parser.add_argument("--families", default="all", help=f"of {','.join(FAMILIES)}")
    parser.add_argument("--resume", action="store_true", help="keep what --out already holds")
    parser.add_argument("--time-limit", type=float, metavar="S", help="stop in time [s]")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the survey; returns the exit status: 0 done or out of time, 2 bad input, 130 stopped."""
    began_s = time.monotonic()
    options = parse_arguments(arguments)
    try:
        request = SurveyRequest(
            folder=options.out,
            backend=options.backend,
            is_quick=options.quick,
            families=chosen_families(options.families),
            resumes=options.resume,
            time_limit_s=options.time_limit,
        )
        done = survey_device(request, began_s=began_s)
    except TweelingError as error:
        print(f"kernels.survey: {error}", file=sys.stderr)
        return 2
    print(f"{done.ending}: {done.counts} in {done.store.folder}")
    tell_standings(done.store)
    return 130 if done.ending == "interrupted" else 0


if __name__ == "__main__":
    sys.exit(main())
