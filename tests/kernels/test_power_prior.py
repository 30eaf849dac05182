"""Power constants of devices that nobody metered."""

import msgspec
import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import ProfileError
from kernels.power_prior import device_power, power_hashes


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue()


def demand_w(device, power):
    """Full load of 16-bit products at the boost clock, at three quarters of the peak. [W]"""
    rate_flop_per_s = 0.75 * device.compute.peak_flop_per_s["bf16"]
    return device.power.idle_w + power.busy_w + power.energy_per_flop_j * rate_flop_per_s


def test_what_was_fitted_on_a_device_comes_first(catalogue):
    h100, card = (catalogue.accelerator(name) for name in ("h100-sxm", "h100-pcie-80gb"))
    assert device_power(h100) == h100.calibration.power
    fitted = msgspec.structs.replace(card.calibration, power=h100.calibration.power)
    metered = msgspec.structs.replace(card, calibration=fitted)
    assert device_power(metered) == h100.calibration.power
    assert power_hashes(metered) == power_hashes(h100) == {}
    assert power_hashes(card) == catalogue.load("accelerator", "h100-sxm").hashes


def test_a_card_of_half_the_limit_is_the_same_silicon(catalogue):
    h100, card = (catalogue.accelerator(name) for name in ("h100-sxm", "h100-pcie-80gb"))
    found, known = device_power(card), h100.calibration.power
    assert found.provenance.figure_class == "inherited"
    assert found.provenance.relative_spread_fraction >= 0.2
    # A lower boost clock, so a lower voltage, and fewer units.
    assert 0.85 * known.energy_per_flop_j < found.energy_per_flop_j < known.energy_per_flop_j
    assert found.busy_w < known.busy_w
    overload = demand_w(card, found) / card.power.tdp_w
    assert overload > 1.2 * demand_w(h100, known) / h100.power.tdp_w


def test_a_part_with_a_quarter_of_the_units_keeps_a_quarter_of_them_busy(catalogue):
    whole, part = (catalogue.accelerator(name) for name in ("mi300x", "mi308x"))
    found, known = device_power(part), device_power(whole)
    units = part.compute.n_units / whole.compute.n_units
    assert found.busy_w == pytest.approx(units * known.busy_w, rel=0.05)
    # Nobody metered the whole either.
    assert found.provenance.figure_class == known.provenance.figure_class == "assumed"


def test_silicon_that_nobody_metered_follows_its_limit(catalogue):
    for name in ("l40s", "a40", "mi355x"):
        device = catalogue.accelerator(name)
        power = device_power(device)
        assert power.provenance.figure_class == "assumed"
        assert demand_w(device, power) == pytest.approx(1.15 * device.power.tdp_w)


def test_an_unknown_silicon_is_named(catalogue):
    card = catalogue.accelerator("h100-pcie-80gb")
    power = msgspec.structs.replace(card.power, same_silicon_as="h100-sxn")
    with pytest.raises(ProfileError, match=r"same_silicon_as = .h100-sxn.: .*nearest h100-sxm"):
        device_power(msgspec.structs.replace(card, power=power))
