"""Power parameters of a device that nobody has measured."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import PowerCalibration, Provenance

__all__ = ["WAITING_FRACTION", "PowerPrior", "datasheet_power_calibration"]

FOLDER = Path(__file__).parent

WAITING_FRACTION = 0.35
"""Power above idle of a device that holds a context and waits, over its busy power. Measured:
H100 and H200 draw 133 and 128 W so (kernels/measured, power.csv, idle), 65 and 80 W without a
context, which is 0.40 and 0.28 of the 170 W of the profiles. [1]"""


class PowerPrior(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the power of an unmeasured device follows from its board limit and peak."""

    sustained_load_fraction: float
    """Demand of full tensor load at the boost clock over the board limit. [1]"""
    busy_share_fraction: float
    """Share of the board limit that occupied units draw without arithmetic. [1]"""
    least_dynamic_fraction: float
    """Least share of the board limit that arithmetic draws. [1]"""
    sustained_peak_fraction: float
    """Share of the dense peak at which that demand is reached. [1]"""
    energy_per_hbm_byte_j: float
    energy_per_link_byte_j: float
    voltage_slope: float
    minimum_clock_fraction: float
    relative_spread_fraction: float
    source: str


@functools.cache
def _power_prior() -> PowerPrior:
    with (FOLDER / "power_prior.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), PowerPrior)


def datasheet_power_calibration(accelerator: Accelerator) -> PowerCalibration:
    """Power parameters of a device without power measurements, from its limit and peak.

    Full tensor load at the boost clock is taken to demand somewhat more than the board limit,
    as every measured part of this class does.
    """
    prior = _power_prior()
    tdp_w = accelerator.power.tdp_w
    peaks = accelerator.compute.peak_flop_per_s
    peak = peaks.get("bf16") or peaks.get("fp16") or max(peaks.values())
    busy_w = prior.busy_share_fraction * tdp_w
    dynamic_w = prior.sustained_load_fraction * tdp_w - accelerator.power.idle_w - busy_w
    dynamic_w = max(dynamic_w, prior.least_dynamic_fraction * tdp_w)
    return PowerCalibration(
        busy_w=busy_w,
        energy_per_flop_j=dynamic_w / (prior.sustained_peak_fraction * peak),
        energy_per_hbm_byte_j=prior.energy_per_hbm_byte_j,
        energy_per_link_byte_j=prior.energy_per_link_byte_j,
        voltage_slope=prior.voltage_slope,
        minimum_clock_fraction=prior.minimum_clock_fraction,
        provenance=Provenance(
            figure_class="assumed",
            source=prior.source,
            relative_spread_fraction=prior.relative_spread_fraction,
        ),
    )
