"""The verb ``twin calibrate``: fit the kernel models and write profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twin.cli.output import current_command, emit_json, progress_on_stderr, table
from twin.cli.scenario_options import profiles_option

if TYPE_CHECKING:
    from kernels.calibration.report import FitReport

__all__ = ["calibrate"]

SHOWN = (
    "median_ape_heldout",
    "mape_heldout",
    "p90_ape_heldout",
    "median_ape_heldout_large",
    "median_ape_left_out",
)
"""Errors that the text lists."""


@click.command()
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of measurement tables: gemm, attention, collectives, ops, membw.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("calibrated"),
    show_default=True,
    metavar="DIR",
    help="Folder for the profiles; fits that are done are kept there when it is interrupted.",
)
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def calibrate(*, folder: Path, out: Path, profile_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Fit the kernel models on measurements, judge them on what was set aside, write profiles.

    The profiles below DIR/accelerators can be used at once: --profiles DIR. Constants of whole
    architectures, for devices that nobody measured, go to DIR/families.
    """
    from hardware_profiles.catalogue import Catalogue
    from kernels.calibration.profiles import write_calibrations, write_family_files
    from kernels.calibration.run import calibrate as run
    from kernels.calibration.session import Session

    catalogue = Catalogue(profile_dirs)
    session = Session(folder=folder, catalogue=catalogue, cache=out / ".fits")
    with progress_on_stderr():
        result = run(session)
    files = write_calibrations(result.fitted, catalogue=catalogue, out=out)
    files += write_family_files(result.families, out=out)
    session.drop_cache()
    if as_json:
        payload = {
            "devices": [_entry(report) for report in result.reports],
            "files": [str(file) for file in files],
        }
        emit_json(payload, command=current_command(), profile_hashes=session.profile_hashes)
    else:
        click.echo("\n".join(_lines(result.reports, files=files, out=out)))
    return 0


def _entry(report: FitReport) -> dict[str, Any]:
    heldout, large = report.heldout, report.heldout_large
    return {
        "device": report.device,
        "family": report.family,
        "dtype": report.dtype,
        "n_fitted": report.n_fitted,
        "n_heldout": heldout.n_rows if heldout else 0,
        "median_ape_heldout": heldout.median_ape_fraction if heldout else None,
        "mape_heldout": heldout.mean_ape_fraction if heldout else None,
        "p90_ape_heldout": heldout.p90_ape_fraction if heldout else None,
        "median_ape_heldout_large": large.median_ape_fraction if large else None,
        "median_ape_left_out": report.left_out_median_ape_fraction,
        "by_library": [
            {
                "library": name or None,
                "n_heldout": errors.n_rows,
                "median_ape_heldout": errors.median_ape_fraction,
                "mape_heldout": errors.mean_ape_fraction,
                "p90_ape_heldout": errors.p90_ape_fraction,
            }
            for name, errors in report.by_library.items()
        ],
    }


def _lines(reports: Sequence[FitReport], *, files: Sequence[Path], out: Path) -> list[str]:
    header = ["device", "family", "dtype", "fitted", "set aside", "median", "mean", "p90"]
    header += ["large", "left out"]
    rows = [_cells(_entry(report)) for report in reports]
    return [
        "errors on what was set aside; left out: all rows of a device, from its relatives alone",
        "",
        *table(rows, align="lllrrrrrrr", header=header),
        "",
        f"{len(files)} files in {out}; use them with --profiles {out}",
    ]


def _cells(entry: dict[str, Any]) -> list[str]:
    percents = ["" if entry[name] is None else f"{100.0 * entry[name]:.1f} %" for name in SHOWN]
    names = [entry["device"], entry["family"], entry["dtype"]]
    return [*names, str(entry["n_fitted"]), str(entry["n_heldout"]), *percents]
