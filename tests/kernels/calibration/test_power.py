"""Power parameters from sustained loads."""

import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.calibration.power import (
    MEASURED,
    NAMES,
    SCALE,
    PowerLoad,
    fit_power,
    predicted_power_w,
    surveyed_loads,
)

TRUTH = np.array([160.0, 0.9, 100.0, 0.5])


def load(case, *, clock, running=1.0, flop=0.0, low=0.0, hbm=0.0, idle_w=70.0):
    return PowerLoad(
        device="round-100",
        case=case,
        idle_w=idle_w,
        power_w=1.0,
        clock_fraction=clock,
        running_fraction=running,
        flop_per_s=flop,
        low_precision_flop_per_s=low,
        hbm_bytes_per_s=hbm,
    )


LOADS = [
    load("gemm", clock=0.8, flop=6.6e14, hbm=2e11),
    load("layer", clock=0.9, flop=5.3e14, hbm=3e11),
    load("half", clock=1.0, running=0.5, flop=2.9e14, hbm=1.5e11),
    load("copy", clock=1.0, hbm=3e12),
    load("fp8", clock=0.78, low=1.26e15, hbm=3e11),
    load("small", clock=1.0, flop=1e14, hbm=1e12),
]


def measured(loads):
    from dataclasses import replace

    return [replace(one, power_w=predicted_power_w(TRUTH, one)) for one in loads]


def test_loads_that_follow_the_model_give_its_parameters_back():
    fit = fit_power(measured(LOADS))
    assert [fit.values[name] for name in NAMES] == pytest.approx(list(TRUTH * SCALE), rel=1e-3)
    assert max(map(abs, fit.errors.values())) < 1e-4


def test_power_rises_with_work_clock_and_time_at_work():
    base = load("base", clock=0.8, running=0.5, flop=3e14, hbm=1e11)
    for more in (
        load("more", clock=0.9, running=0.5, flop=3e14, hbm=1e11),
        load("more", clock=0.8, running=0.8, flop=3e14, hbm=1e11),
        load("more", clock=0.8, running=0.5, flop=4e14, hbm=1e11),
        load("more", clock=0.8, running=0.5, flop=3e14, hbm=2e11),
    ):
        assert predicted_power_w(TRUTH, more) > predicted_power_w(TRUTH, base)


def test_our_surveys_are_met_and_stand_in_the_profiles():
    catalogue = Catalogue(())
    folders = sorted(path.parent for path in MEASURED.glob("*/power.csv"))
    fit = fit_power(surveyed_loads(folders, catalogue))
    layers = [abs(error) for name, error in fit.errors.items() if " layer/" in name]
    assert max(layers) < 0.06
    assert np.mean([abs(error) for error in fit.errors.values()]) < 0.07
    for folder in folders:
        power = catalogue.accelerator(folder.name).calibration.power
        assert power is not None
        for name in ("busy_w", "energy_per_hbm_byte_j", "low_precision_energy_ratio"):
            assert getattr(power, name) == pytest.approx(fit.values[name], rel=0.01)
        # The energy of an operation was fitted on whole training runs: our loads agree with it.
        assert power.energy_per_flop_j == pytest.approx(fit.values["energy_per_flop_j"], rel=0.1)
