"""``python -m kernels.calibration --from DIR --out FILE``: fit all families, write tables."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import msgspec

from hardware_profiles.calibration import (
    AttentionCalibration,
    Calibration,
    MemoryBoundCalibration,
)
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.attention import attention_calibrations
from kernels.calibration.attention_family import inherited_attention
from kernels.calibration.attention_rules import load_rules
from kernels.calibration.fit_streams import STREAM_COLUMNS, fit_streams
from kernels.calibration.recipe_collectives import collective_calibrations
from kernels.calibration.recipe_gemm import gemm_calibrations
from kernels.calibration.render import rendered_tables
from kernels.calibration.session import Session

__all__ = ["calibrations", "main"]

ACCELERATORS = (
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "h100-sxm",
    "h200-sxm",
    "b200-sxm",
    "gb200",
    "mi250x-gcd",
    "mi300x",
    "mi325x",
)

SURVEYS = (Path(__file__).parents[2] / "benches" / "measured" / "h200-sxm",)
"""Surveys of our own whose rows join the public ones."""


def calibrations(folder: Path) -> dict[str, Calibration]:
    """Fit every family on the tables of a folder; add what is assumed."""
    session = Session(folder=folder)
    text = (Path(__file__).parent / "assumed.toml").read_bytes()
    assumed = msgspec.toml.decode(text, type=dict[str, Calibration])
    gemm = gemm_calibrations(session)
    attention = _attention(session)
    collective = collective_calibrations(session)
    assumed |= _with_fitted_streams(session, assumed)
    return {
        name: msgspec.structs.replace(
            assumed[name],
            gemm=gemm[name],
            attention=attention[name],
            collective=collective[name],
        )
        for name in ACCELERATORS
    }


def _attention(session: Session) -> dict[str, dict[str, AttentionCalibration]]:
    """Attention of all accelerators; those without rows inherit."""
    catalogue = Catalogue()
    own = attention_calibrations(session, survey_folders=SURVEYS, catalogue=catalogue)
    members = [(catalogue.accelerator(name), entries) for name, entries in own.items()]
    nearest = load_rules().nearest
    return {
        name: own.get(name) or inherited_attention(catalogue.accelerator(name), members, nearest)
        for name in ACCELERATORS
    }


def _with_fitted_streams(
    session: Session, assumed: dict[str, Calibration]
) -> dict[str, Calibration]:
    """Replace the stream parameters of the A100 with 80 GB: the one with enough sizes."""
    device = "A100-PCIE-80GB"
    fit = fit_streams(session.table("ops.csv", STREAM_COLUMNS), device, session.figures[device])
    session.report(f"streams {device}", heldout=fit.heldout)
    name = "a100-sxm-80gb"
    floor = assumed[name].memory_bound
    if floor is None:
        return {}
    source = (
        f"{device} element-wise operations (sitar-lab/NeuSight), sizes set aside: 1/5 by hash; "
        f"{fit.harness_s * 1e6:.0f} us of framework time left out; floor as short GEMM"
    )
    provenance = session.provenance(
        source,
        n_samples=fit.n_samples,
        heldout=fit.heldout,
        spread=floor.provenance.relative_spread_fraction,
    )
    streams = MemoryBoundCalibration(
        bandwidth_efficiency_fraction=fit.bandwidth_efficiency_fraction,
        launch_s=floor.launch_s,
        provenance=provenance,
    )
    return {name: msgspec.structs.replace(assumed[name], memory_bound=streams)}


def main() -> None:
    """Entry of ``python -m kernels.calibration``."""
    parser = argparse.ArgumentParser(prog="python -m kernels.calibration", description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.write_text(rendered_tables(calibrations(options.folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
