"""The verb ``twin calibrate``: fit the kernel models and write profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twin.cli.calibrate_ways import Calibrated, fitted_from, measured_here
from twin.cli.import_options import import_options
from twin.cli.output import current_command, emit_json, progress_on_stderr, table
from twin.cli.output_folder import held_folder
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

COUNTS = ("n_fitted", "n_heldout")


@click.command()
@click.option(
    "--from",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Measure nothing: read a folder of measurement tables (gemm, attention, collectives, ops, "
    "membw) and of files of other tools, or one such file; may be given several times. See `twin "
    "measurements import --help`.",
)
@click.option(
    "--backend",
    metavar="auto|cpu|cuda|rocm",
    help="Hardware at hand that is measured; auto takes a GPU where one is found.  [default: auto]",
)
@click.option("--quick", "is_quick", is_flag=True, help="Measure for less than two minutes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("calibrated"),
    show_default=True,
    metavar="DIR",
    help="Folder for the profiles; what was measured and fitted is kept there when it is "
    "interrupted, and the same command goes on.",
)
@import_options
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def calibrate(
    *,
    paths: tuple[Path, ...],
    out: Path,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **said: Any,  # noqa: ANN401 -- options by name
) -> int:
    """Measure the device at hand, fit the kernel models, judge them, write profiles.

    Without --from the hardware here is measured: a GPU, else one thread of the processor. Progress
    goes to stderr. An accelerator, a node and a one-node cluster are written below DIR, which `twin
    predict --cluster NAME --profiles DIR` can use at once.

    With --from measurements are read. Profiles below DIR/accelerators can be used at once too;
    constants of whole architectures, for devices that nobody measured, go to DIR/families.
    """
    _require_fitting_options(paths, said)
    with held_folder(out), progress_on_stderr():
        if paths:
            done = fitted_from(paths, out=out, profile_dirs=profile_dirs, said=said)
        else:
            done = measured_here(
                said["backend"], out=out, profile_dirs=profile_dirs, is_quick=said["is_quick"]
            )
    if as_json:
        payload = {
            "devices": [_entry(report) for report in done.reports if not report.is_part],
            "parts": [_entry(report) for report in done.reports if report.is_part],
            "files": [str(file) for file in done.files],
            "cluster": done.cluster,
        }
        emit_json(payload, command=current_command(), profile_hashes=done.profile_hashes)
    else:
        click.echo("\n".join(_lines(done, out=out)))
    return 0


MEASURING_OPTIONS = {"backend": "--backend", "is_quick": "--quick"}
READING_OPTIONS = {"device": "--device", "operation": "--operation", "link": "--link"}


def _require_fitting_options(paths: tuple[Path, ...], said: dict[str, Any]) -> None:
    """Options of one way that are given with the other would do nothing: refuse them."""
    wrong, why = (
        (
            MEASURING_OPTIONS,
            "measures the device at hand, and --from reads measurements; leave one out",
        )
        if paths
        else (READING_OPTIONS, "says of files what they do not; give the files with --from")
    )
    for key, option in wrong.items():
        if said[key]:
            msg = f"{option}: {why}"
            raise click.UsageError(msg)


def _entry(report: FitReport) -> dict[str, Any]:
    return {
        "device": report.device,
        "family": report.family,
        "dtype": report.dtype,
        "part": report.part,
        "figure_class": report.provenance.figure_class,
        **_errors(report.provenance),
        "n_fitted": report.provenance.n_samples
        if report.is_part
        else report.provenance.n_samples or 0,
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


def _lines(done: Calibrated, *, out: Path) -> list[str]:
    header = ["device", "family", "dtype", "part", "fitted", "set aside"]
    header += ["median", "mean", "p90", "left out"]
    # What was derived without a row of its own has nothing to say here.
    told = [one for one in done.reports if one.provenance.n_samples or one.provenance.n_heldout]
    rows = [cells for one in told for cells in _rows(_entry(one), is_part=one.is_part)]
    said = [
        "errors on what was set aside; left out: all rows of a device, from its relatives alone;",
        "collectives: messages of 1 MiB and more; indented: libraries and parts, by themselves",
        "",
        *table(rows, align="llllrrrrrr", header=header),
        "",
        f"{len(done.files)} files in {out}; use them with --profiles {out}",
    ]
    return said + ([done.example] if done.example else [])


def _rows(entry: dict[str, Any], *, is_part: bool) -> list[list[str]]:
    """Cells of one report and, indented below it, of its libraries that have rows."""
    device, dtype = entry["device"] or "all", entry["dtype"] or ""
    part = ("  " if is_part else "") + (entry["part"] or "")
    names = [device, entry["family"], dtype]
    libraries = [one for one in entry["by_library"] if one["n_fitted"] or one["n_heldout"]]
    return [
        [*names, part, *_numbers(entry)],
        *([*names, f"  {one['library']}", *_numbers(one)] for one in libraries),
    ]


def _numbers(errors: dict[str, Any]) -> list[str]:
    counts = ["" if errors[name] is None else str(errors[name]) for name in COUNTS]
    return counts + [
        "" if errors[name] is None else f"{100.0 * errors[name]:.1f} %" for name in SHOWN
    ]
