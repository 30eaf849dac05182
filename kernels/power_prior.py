"""Power parameters of a device that nobody has measured.

Parts of one architecture are taken for one silicon: an operation costs the same energy, less at a
lower boost clock for its lower voltage, and their units draw the same each. A card with half the
board limit of another is then held to a lower clock, as such cards are: an H100 of 500 W trains at
the rate that the constants of the 700 W part say (18 published runs, docs/validation.md). Other
devices are taken to demand somewhat more than their limit, as every measured part does.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import PowerCalibration, Provenance
from hardware_profiles.catalogue import Catalogue

__all__ = ["WAITING_FRACTION", "PowerPrior", "power_prior"]

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
    representatives: dict[str, str]
    """Profile whose power constants stand for its architecture's silicon."""


@functools.cache
def _power_prior() -> PowerPrior:
    with (FOLDER / "power_prior.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), PowerPrior)


@functools.cache
def _representative(architecture: str) -> Accelerator | None:
    name = _power_prior().representatives.get(architecture)
    return None if name is None else Catalogue().accelerator(name)


def power_prior(accelerator: Accelerator) -> PowerCalibration:
    """Power parameters of a device without power measurements.

    Those of its architecture's silicon where a part of it is known, else from its board limit and
    its peak.
    """
    relative = _representative(accelerator.architecture)
    if relative is None or relative.calibration.power is None:
        return _from_datasheet(accelerator)
    return _from_silicon(accelerator, relative, relative.calibration.power)


def _from_silicon(
    accelerator: Accelerator, relative: Accelerator, known: PowerCalibration
) -> PowerCalibration:
    """The relative's constants at this device's clock and number of units."""
    clock_ratio = accelerator.compute.boost_clock_hz / relative.compute.boost_clock_hz
    units_ratio = accelerator.compute.n_units / relative.compute.n_units
    # Energy goes with the square of the voltage, which falls with the clock.
    energy_ratio = (1.0 - known.voltage_slope * (1.0 - clock_ratio)) ** 2
    provenance = Provenance(
        figure_class="inherited",
        source=f"the same silicon as {relative.name}: {known.provenance.source}",
        relative_spread_fraction=max(
            known.provenance.relative_spread_fraction, _power_prior().relative_spread_fraction
        ),
    )
    return msgspec.structs.replace(
        known,
        busy_w=known.busy_w * units_ratio * clock_ratio * energy_ratio,
        energy_per_flop_j=known.energy_per_flop_j * energy_ratio,
        provenance=provenance,
    )


def _from_datasheet(accelerator: Accelerator) -> PowerCalibration:
    """Full tensor load at boost demands somewhat more than the limit, as on measured parts."""
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
