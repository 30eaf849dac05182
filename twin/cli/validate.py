"""The verbs ``twin validate …``: predictions against published measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hardware_profiles.errors import TweelingError
from twin.cli.import_options import import_options, import_request
from twin.cli.output import current_command, emit_json, plain, progress_on_stderr
from twin.cli.scenario_options import finite_number, profiles_option
from twin.cli.validate_kernels import kernel_failures, kernel_lines, write_kernel_rows
from twin.cli.validate_power import power_failures, power_lines
from twin.cli.validate_report import (
    check_rows_file,
    failures,
    read_baseline,
    report_lines,
    write_rows,
)
from twin.cli.validate_systems import systems_failures, systems_lines
from twin.validation.data_folder import DATA_DIR_VARIABLE, data_folder

__all__ = ["ValidateError", "validate"]

EXIT_PASSED = 0
EXIT_FAILED = 1


class ValidateError(TweelingError):
    """A file to validate against is not there."""


@click.group()
def validate() -> None:
    """Predictions against published measurements."""


def _rows_file(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Refused before anything is predicted."""
    if path is not None:
        check_rows_file(path)
    return path


OUT_OPTION = click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=_rows_file,
    metavar="FILE.parquet",
    help="Write each row with its prediction.",
)
BASELINE_OPTION = click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="OLD.json",
    help="Exit 1 when an error is larger, or the coverage smaller, than in this report.",
)


@validate.command()
@click.argument("path", type=click.Path(path_type=Path))
@OUT_OPTION
@click.option(
    "--fail-above",
    type=finite_number(unit="a fraction such as 0.1", maximum=1e6),
    metavar="X",
    help="Exit 1 when the median error of any device, family and dtype is above this fraction.",
)
@BASELINE_OPTION
@import_options
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def kernels(
    *,
    path: Path,
    out: Path | None,
    fail_above: float | None,
    baseline: Path | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **said: str | None,
) -> int:
    """Compare kernel models with measured kernels.

    PATH is a table of GEMM, attention, collectives, memory-bound operations or memory bandwidth
    (told by its columns), a file of another tool that `twin measurements import` reads, or a folder
    of tables named gemm, attention, collectives, ops, membw and of such files.
    """
    from hardware_profiles.catalogue import Catalogue
    from twin.validation.kernels import validate_kernels

    old = (
        None
        if baseline is None
        else read_baseline(baseline, verb="kernels", key="by_device", names=("device", "family"))
    )
    request = import_request(
        Catalogue(profile_dirs),
        device=said["device"],
        operation=said["operation"],
        link=said["link"] or "",
    )
    with progress_on_stderr():
        found = validate_kernels(path, request=request)
    if out is not None:
        write_kernel_rows(found.tables, path=out)
    if as_json:
        emit_json(found.report, command=current_command(), profile_hashes=found.profile_hashes)
    else:
        click.echo("\n".join(kernel_lines(found.report, path=path)))
    return _verdict(kernel_failures(found.report, fail_above=fail_above, old=old))


@validate.command()
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE.csv]")
@OUT_OPTION
@click.option(
    "--fail-above",
    type=finite_number(unit="a fraction such as 0.15", maximum=1e6),
    metavar="X",
    help="Exit 1 when the median error, in-sample or left out, is above this fraction.",
)
@BASELINE_OPTION
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Draw predicted against measured times; .png and .pdf too.",
)
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def runs(
    *,
    file: Path | None,
    out: Path | None,
    fail_above: float | None,
    baseline: Path | None,
    plot: Path | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Compare predicted step times with published training runs.

    FILE.csv has the columns of the collection of published runs; without it the table of a
    hundred published figures that comes with the twin is taken. Every run is predicted twice: with
    the shipped constants, and with constants that were fitted without its source.
    """
    from twin.predict import Predictor
    from twin.validation.published import built_in_table
    from twin.validation.runs import validate_runs
    from twin.validation.runs_plot import check_plot, write_runs_plot

    path = built_in_table() if file is None else _existing(file)
    old = None if baseline is None else read_baseline(baseline, verb="runs")
    if plot is not None:
        check_plot(plot)
    found = validate_runs(path, predictor=Predictor(profile_dirs))
    if plot is not None:
        write_runs_plot(found.runs, name=path.name if file else "built-in table", path=plot)
    report = _plain_report(found)
    hashes = report.pop("profile_hashes", {})
    if out is not None:
        write_rows(report["runs"], path=out)
    if as_json:
        emit_json(report, command=current_command(), profile_hashes=hashes)
    else:
        click.echo("\n".join(report_lines(report, path=path)))
    return _verdict(failures(report, fail_above=fail_above, old=old))


@validate.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="NODE_POWER.csv")
@click.argument("runs_file", required=False, type=click.Path(path_type=Path), metavar="[RUNS.csv]")
@OUT_OPTION
@click.option(
    "--fail-above",
    type=finite_number(unit="a fraction such as 0.12", maximum=1e6),
    metavar="X",
    help="Exit 1 when the median error of any device and benchmark is above this fraction.",
)
@BASELINE_OPTION
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def power(
    *,
    file: Path,
    runs_file: Path | None,
    out: Path | None,
    fail_above: float | None,
    baseline: Path | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Compare predicted server power and energy with metered training runs.

    NODE_POWER.csv has the mean power of servers over MLPerf runs; its rows are joined to the runs
    of RUNS.csv (by default those of TWEELING_DATA_DIR) by round, submitter, system and benchmark.
    """
    from twin.predict import Predictor
    from twin.validation.power import validate_power

    runs_path = _existing(runs_file)
    old = (
        None
        if baseline is None
        else read_baseline(baseline, verb="power", key="by_device", names=("device", "workload"))
    )
    report = _plain_report(validate_power(file, runs_path, predictor=Predictor(profile_dirs)))
    hashes = report.pop("profile_hashes")
    if out is not None:
        write_rows(report["servers"], path=out)
    if as_json:
        emit_json(report, command=current_command(), profile_hashes=hashes)
    else:
        click.echo("\n".join(power_lines(report, path=file, runs_path=runs_path)))
    return _verdict(power_failures(report, fail_above=fail_above, old=old))


@validate.command()
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE.csv]")
@OUT_OPTION
@click.option(
    "--fail-above",
    type=finite_number(unit="a fraction such as 0.1", maximum=1e6),
    metavar="X",
    help="Exit 1 when the median error of rate, power or rate over power is above this fraction.",
)
@BASELINE_OPTION
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def systems(
    *,
    file: Path | None,
    out: Path | None,
    fail_above: float | None,
    baseline: Path | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Compare predicted rate and power of HPL with the lists of public systems.

    FILE.csv has a system a row: system, and where known cluster, nodes, power_cap_w, hpl_pflops,
    hpl_power_kw, sources. Without it the table that comes with the twin is taken.
    """
    from hardware_profiles.catalogue import Catalogue
    from twin.validation.systems import validate_systems

    old = (
        None
        if baseline is None
        else read_baseline(baseline, verb="systems", key="by_quantity", names=("name",))
    )
    report = _plain_report(validate_systems(file, catalogue=Catalogue(profile_dirs)))
    hashes = report.pop("profile_hashes")
    if out is not None:
        write_rows(report["systems"], path=out)
    if as_json:
        emit_json(report, command=current_command(), profile_hashes=hashes)
    else:
        source = "public systems" if file is None else str(file)
        click.echo("\n".join(systems_lines(report, source=source)))
    return _verdict(systems_failures(report, fail_above=fail_above, old=old))


def _plain_report(report: object) -> dict[str, Any]:
    """A report as its JSON has it."""
    document = plain(report)
    if not isinstance(document, dict):
        msg = f"{type(report).__name__} is no report"
        raise TypeError(msg)
    return document


def _verdict(complaints: Sequence[str]) -> int:
    """Say why the answer is no; the exit code."""
    for complaint in complaints:
        click.echo(f"twin: {complaint}", err=True)
    return EXIT_FAILED if complaints else EXIT_PASSED


def _existing(file: Path | None) -> Path:
    """The file that was named, or the one of the data folder."""
    path = data_folder() / "published_runs" / "runs.csv" if file is None else file
    if path.is_file():
        return path
    state = "is a folder" if path.is_dir() else "does not exist"
    hint = "" if file is not None else f"; name a file or set {DATA_DIR_VARIABLE}"
    msg = f"{path} {state}; expected a CSV file of published runs{hint}"
    raise ValidateError(msg)
