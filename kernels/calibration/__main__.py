"""``python -m kernels.calibration --from DIR --out FILE``: fit all families, write tables."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import msgspec

from hardware_profiles.calibration import Calibration
from kernels.calibration.collectives import collective_calibrations
from kernels.calibration.recipe_attention import attention_calibrations
from kernels.calibration.recipe_gemm import gemm_calibrations
from kernels.calibration.render import rendered_tables
from kernels.calibration.session import Session
from kernels.calibration.streams import memory_bound_calibrations

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


def calibrations(folder: Path) -> dict[str, Calibration]:
    """Fit every family on the tables of a folder; add what is assumed."""
    session = Session(folder=folder)
    text = (Path(__file__).parent / "assumed.toml").read_bytes()
    assumed = msgspec.toml.decode(text, type=dict[str, Calibration])
    gemm = gemm_calibrations(session)
    attention = attention_calibrations(session)
    collective = collective_calibrations(session)
    streams = memory_bound_calibrations(session)
    return {
        name: msgspec.structs.replace(
            assumed[name],
            gemm=gemm[name],
            attention=attention[name],
            collective=collective[name],
            memory_bound=streams.get(name, assumed[name].memory_bound),
        )
        for name in ACCELERATORS
    }


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
