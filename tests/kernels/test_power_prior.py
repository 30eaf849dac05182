"""Power constants of devices that nobody metered."""

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.power_prior import power_prior


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue()


def demand_w(device, power):
    """Full load of 16-bit products at the boost clock, at three quarters of the peak. [W]"""
    rate_flop_per_s = 0.75 * device.compute.peak_flop_per_s["bf16"]
    return device.power.idle_w + power.busy_w + power.energy_per_flop_j * rate_flop_per_s


def test_a_part_stands_for_itself(catalogue):
    h100 = catalogue.accelerator("h100-sxm")
    prior, own = power_prior(h100), h100.calibration.power
    assert prior.energy_per_flop_j == pytest.approx(own.energy_per_flop_j)
    assert prior.busy_w == pytest.approx(own.busy_w)
    assert prior.provenance.figure_class == "inherited"


def test_a_card_of_half_the_limit_is_the_same_silicon(catalogue):
    h100, card = (catalogue.accelerator(name) for name in ("h100-sxm", "h100-pcie-80gb"))
    assert card.calibration.power is None
    prior, own = power_prior(card), h100.calibration.power
    # A lower boost clock, so a lower voltage, and fewer units.
    assert 0.85 * own.energy_per_flop_j < prior.energy_per_flop_j < own.energy_per_flop_j
    assert prior.busy_w < own.busy_w
    overload = demand_w(card, prior) / card.power.tdp_w
    assert overload > 1.2 * demand_w(h100, own) / h100.power.tdp_w


def test_silicon_that_nobody_metered_follows_its_limit(catalogue):
    for name in ("l40s", "mi355x"):
        device = catalogue.accelerator(name)
        prior = power_prior(device)
        assert prior.provenance.figure_class == "assumed"
        assert demand_w(device, prior) == pytest.approx(1.15 * device.power.tdp_w)
