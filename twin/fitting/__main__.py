"""``python -m twin.fitting --from DIR``: fit framework constants on published runs.

Writes the fitted values into the files that hold them (frameworks and accelerator profiles) and the
values without each group of sources into ``twin/validation/left_out.toml``. Takes some minutes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import TweelingError
from hardware_profiles.toml_numbers import rounded
from hardware_profiles.whole_files import write_text_whole
from twin.fitting.fit import FittedConstants, fit_constants
from twin.fitting.homes import current_constants, write_to_homes
from twin.fitting.parameters import FitParameter, fit_parameters, source_trust
from twin.fitting.rows import fit_rows
from twin.training.framework import Constants
from twin.validation.left_out import LEFT_OUT_FILE, left_out_text
from twin.validation.run_machines import RunMachines

ROUNDS = 2
MOST_ROUNDS = 20
"""Rounds after which a fit that still moves will not settle. [1]"""
EXIT_BAD_INPUT = 2


class FitError(TweelingError):
    """There is nothing to fit on."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m twin.fitting", description=__doc__)
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        required=True,
        help="folder with runs.csv and runs_more.csv",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        choices=range(1, MOST_ROUNDS + 1),
        metavar="N",
        default=ROUNDS,
        help="how often derivatives are computed anew",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the constants and write nothing"
    )
    return parser


def _lines(parameters: Sequence[FitParameter], values: Constants) -> list[str]:
    return [
        f"{parameter.name:56s} prior {parameter.prior:<9.4g} fitted {values[parameter.place]:.4g}"
        for parameter in parameters
    ]


def _write(found: FittedConstants) -> None:
    write_to_homes(found.values)
    left_out = {
        group: {place: rounded(value) for place, value in values.items()}
        for group, values in found.left_out.items()
    }
    write_text_whole(LEFT_OUT_FILE, left_out_text(left_out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fit; exit 2 with one line for bad input."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parameters = fit_parameters()
    try:
        machines = RunMachines(Catalogue(()))
        rows = fit_rows(options.folder, machines)
        if not rows:
            msg = f"{options.folder}: no run of its tables can be predicted; nothing to fit"
            raise FitError(msg)
        found = fit_constants(
            rows,
            machines,
            parameters,
            start=current_constants(parameters),
            trust=source_trust(),
            rounds=options.rounds,
        )
        if not options.dry_run:
            _write(found)
    except (OSError, TweelingError) as refusal:
        sys.stderr.write(f"twin.fitting: {refusal}\n")
        return EXIT_BAD_INPUT
    sys.stdout.write("\n".join(_lines(parameters, found.values)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
