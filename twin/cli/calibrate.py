"""The verb ``twin calibrate``: fit the kernel models and write profiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardware_profiles.errors import ProfileError
from twin.cli.import_options import import_options, import_request, imported_from
from twin.cli.output import current_command, emit_json, progress_on_stderr, table
from twin.cli.scenario_options import profiles_option

if TYPE_CHECKING:
    from hardware_profiles.calibration import Provenance
    from kernels.calibration.report import FitReport

__all__ = ["calibrate"]

SHOWN = (
    "median_ape_heldout",
    "mape_heldout",
    "p90_ape_heldout",
    "median_ape_left_out",
)
"""Errors that the text lists."""


@click.command()
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder of measurement tables (gemm, attention, collectives, ops, membw) and of files of "
    "other tools, or one such file; see `twin measurements import --help`.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("calibrated"),
    show_default=True,
    metavar="DIR",
    help="Folder for the profiles; fits that are done are kept there when it is interrupted.",
)
@import_options
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def calibrate(
    *,
    folder: Path,
    out: Path,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **said: str | None,
) -> int:
    """Fit the kernel models on measurements, judge them on what was set aside, write profiles.

    The profiles below DIR/accelerators can be used at once: --profiles DIR. Constants of whole
    architectures, for devices that nobody measured, go to DIR/families.
    """
    from hardware_profiles.catalogue import Catalogue
    from kernels.calibration.profiles import write_calibrations, write_family_files
    from kernels.calibration.run import calibrate as run
    from kernels.calibration.session import Session
    from kernels.importers.files import joined_tables

    _require_writable(out)
    catalogue = Catalogue(profile_dirs)
    request = import_request(
        catalogue, device=said["device"], operation=said["operation"], link=said["link"] or ""
    )
    with progress_on_stderr():
        session = Session(
            folder=folder,
            catalogue=catalogue,
            cache=out / ".fits",
            imported=joined_tables(imported_from(folder, request)),
        )
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


def _require_writable(out: Path) -> None:
    """Refuse a folder that cannot be written before minutes are spent on fits."""
    nearest = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        msg = f"--out {out}: cannot be written: {nearest} is no folder that takes files"
        raise ProfileError(msg)


def _entry(report: FitReport) -> dict[str, Any]:
    return {
        "device": report.device,
        "family": report.family,
        "dtype": report.dtype,
        "part": report.part,
        "figure_class": report.provenance.figure_class,
        **_errors(report.provenance),
        "by_library": [
            {"library": name, **_errors(one)} for name, one in report.by_library.items()
        ],
    }


def _errors(provenance: Provenance) -> dict[str, Any]:
    return {
        "n_fitted": provenance.n_samples or 0,
        "n_heldout": provenance.n_heldout or 0,
        "median_ape_heldout": provenance.heldout_median_ape_fraction,
        "mape_heldout": provenance.heldout_mean_ape_fraction,
        "p90_ape_heldout": provenance.heldout_p90_ape_fraction,
        "median_ape_left_out": provenance.left_out_median_ape_fraction,
        "relative_spread_fraction": provenance.relative_spread_fraction,
    }


def _lines(reports: Sequence[FitReport], *, files: Sequence[Path], out: Path) -> list[str]:
    header = ["device", "family", "dtype", "part", "fitted", "set aside"]
    header += ["median", "mean", "p90", "left out"]
    rows = [_cells(_entry(report)) for report in reports]
    return [
        "errors on what was set aside; left out: all rows of a device, from its relatives alone",
        "",
        *table(rows, align="llllrrrrrr", header=header),
        "",
        f"{len(files)} files in {out}; use them with --profiles {out}",
    ]


def _cells(entry: dict[str, Any]) -> list[str]:
    names = [str(entry[key] or "") for key in ("device", "family", "dtype", "part")]
    percents = ["" if entry[name] is None else f"{100.0 * entry[name]:.1f} %" for name in SHOWN]
    return [*names, str(entry["n_fitted"]), str(entry["n_heldout"]), *percents]
