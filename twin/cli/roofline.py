"""The verb ``twin roofline``: kernels against the roofs of a device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardware_profiles.errors import TweelingError
from hardware_profiles.own_version import tweeling_version
from twin.cli.import_options import file_options, import_request
from twin.cli.output import current_command, emit_json, progress_on_stderr
from twin.cli.roofline_text import roofline_lines
from twin.cli.scenario_options import profiles_option, whole_number

if TYPE_CHECKING:
    from twin.filter_expression import Filter
    from twin.kernel_view import KernelView
    from twin.layer_kernels import LayerSetting
    from twin.roofline_report import RooflineReport
    from twin.scenario.resolve import Catalogues

__all__ = ["RooflineError", "roofline"]

logger = logging.getLogger(__name__)

EXAMPLE_HOST = "host-cpu"
"""What is drawn where neither files nor a GPU say of which device; no row counts as its by that."""

NO_MODEL = "none"
OUT_OPTION = "--out"
MAX_TENSOR_SIZE = 1024
MAX_SEQUENCE_TOKENS = 2**27


class RooflineError(TweelingError):
    """A roofline that cannot be made of what was asked."""


@click.command()
@click.option(
    "--device",
    metavar="PROFILE",
    help="Accelerator; the one of the files, else the one at hand. Rows whose own device no "
    "profile carries are taken as its.",
)
@click.option(
    "--from",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Measurements: a file that `twin measurements import` reads, or a folder of them; may be "
    "repeated. Without it those that come with the twin.",
)
@click.option(
    "--model",
    default="llama-3-8b",
    show_default=True,
    help="Model whose layer's predicted kernels are shown; none for no model.",
)
@click.option(
    "--tp",
    type=whole_number(minimum=1, maximum=MAX_TENSOR_SIZE),
    default="1",
    show_default=True,
    metavar="N",
    help="Devices that share the layer.",
)
@click.option(
    "--seq-len",
    type=whole_number(minimum=1, maximum=MAX_SEQUENCE_TOKENS),
    default="8192",
    show_default=True,
    metavar="S",
    help="Tokens of the one sequence that the layer computes.",
)
@click.option("--precision", help="Of the layer; bf16, or fp32 where the device lacks it.")
@click.option(
    "--filter",
    "expression",
    default="",
    metavar="TEXT",
    help="Only some kernels, as the Kernels screen filters: 'gemm bf16 m>=4096 share<50'.",
)
@click.option(
    OUT_OPTION,
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Draw the roofline; .png and .pdf too.",
)
@file_options
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def roofline(
    *,
    device: str | None,
    paths: tuple[Path, ...],
    expression: str,
    out: Path | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **said: object,
) -> int:
    """Show how far kernels are from the roofline of a device.

    Measured kernels come from files or from the twin's own measurements, predicted ones from a
    layer of a model. The terminal gets a table, the kernel farthest below its roof first.
    """
    from kernels.families.inheritance import family_hashes
    from twin.kernel_view import KernelView
    from twin.picture_file import check_picture
    from twin.roofline_report import device_of_files, roofline_kernels, roofline_report
    from twin.scenario.resolve import Catalogues

    if out is not None:
        check_picture(out, option=OUT_OPTION)
    wanted = _filter(expression)
    catalogues = Catalogues.with_folders(profile_dirs)
    view = KernelView(catalogues)
    with progress_on_stderr():
        request = import_request(
            catalogues.profiles,
            device=device,
            operation=_text(said["operation"]),
            link=_text(said["link"]) or "",
        )
        if device is not None:
            name = _profile(catalogues, device)
        elif paths:
            name = device_of_files(view, paths, request)
        else:
            name = _at_hand(view)
        setting = _setting(catalogues, name, said)
        report = roofline_report(view, name, paths=paths, request=request, setting=setting)
    _tell_aside(report)
    report = _filtered(report, wanted)
    files = []
    if out is not None:
        from twin.roofline_picture import write_roofline

        made_by = f"Tweeling {tweeling_version()}"
        write_roofline(report, path=out, option=OUT_OPTION, made_by=made_by)
        files.append(str(out))
    if as_json:
        payload = {
            "device": report.device,
            "ceilings": {"arithmetic": report.roofs.peaks, "traffic": report.roofs.memories},
            "sources": report.sources,
            "layer": report.layer or None,
            "kernels": list(roofline_kernels(report.columns, report.roofs)),
            "files": files,
        }
        loaded = catalogues.profiles.load("accelerator", name)
        hashes = {**family_hashes(catalogues.profiles.accelerator(name)), **loaded.hashes}
        if setting is not None:
            model = catalogues.models.model(setting.model).name
            hashes[f"model/{model}"] = catalogues.models.hash_of(setting.model)
        emit_json(payload, command=current_command(), profile_hashes=hashes)
    else:
        lines = roofline_lines(report)
        click.echo("\n".join([*lines, *(["", f"written: {out}"] if files else [])]))
    return 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _profile(catalogues: Catalogues, device: str) -> str:
    path = catalogues.profiles.find("accelerator", device)
    if path is None:
        msg = f"--device: {catalogues.profiles.unknown(device, 'accelerator')}"
        raise RooflineError(msg)
    return path.stem


def _at_hand(view: KernelView) -> str:
    """Profile of the device that is here, and a line that says which it is."""
    from kernels.backends import find_device

    here = find_device()
    name = view.profile_of(here.name)
    if name is None and here.backend != "cpu":
        msg = (
            f"the device at hand, {here.name!r}, is no name or alias of a profile; say which it is "
            "with --device PROFILE, or add one (docs/add-a-gpu.md)"
        )
        raise RooflineError(msg)
    if name is None:
        logger.info(
            "no profile carries the name of this processor, %r: this is %s, another one; "
            "--device names any",
            *(here.name, EXAMPLE_HOST),
        )
        return EXAMPLE_HOST
    logger.info("%s, the device at hand; --device names another", name)
    return name


def _setting(catalogues: Catalogues, device: str, said: dict[str, object]) -> LayerSetting | None:
    from twin.layer_kernels import LayerSetting, default_precisions

    model = str(said["model"])
    if model == NO_MODEL:
        return None
    accelerator = catalogues.profiles.accelerator(device)
    precision = _text(said["precision"]) or default_precisions(accelerator)[0]
    from twin.training.job import PRECISIONS

    if precision not in PRECISIONS:
        msg = f"--precision {precision}: expected one of {', '.join(PRECISIONS)}"
        raise RooflineError(msg)
    return LayerSetting(
        model=model, tp=int(str(said["tp"])), seq_len=int(str(said["seq_len"])), precision=precision
    )


def _tell_aside(report: RooflineReport) -> None:
    for source in report.sources:
        if source.n_aside:
            total = source.n_rows + source.n_aside
            words = f"{source.n_rows:,} of {total:,} rows are timings of {report.device}"
            click.echo(f"twin: {source.words}: {words}", err=True)


def _filter(expression: str) -> Filter:
    from twin.kernel_columns import kernel_filter

    wanted = kernel_filter(expression)
    if wanted.problem is not None:
        msg = f"--filter {expression!r}: {wanted.problem}"
        raise RooflineError(msg)
    return wanted


def _filtered(report: RooflineReport, wanted: Filter) -> RooflineReport:
    from dataclasses import replace

    from twin.kernel_columns import mask_of

    if not wanted.terms:
        return report
    return replace(report, columns=report.columns.where(mask_of(report.columns, wanted)))
