"""Spreads of predicted HPL rates and powers."""

from __future__ import annotations

import math
from typing import NamedTuple

from twin.hpl.constants import HplConstants
from twin.hpl.fit import HplCase, predicted
from twin.intervals import SERVER_SPREAD_W

__all__ = ["HplSpreads", "hpl_spreads"]

MODEL_SPREAD = 0.08
"""Of the rate, from the model itself: blocks, grids and tuning that nobody publishes. [1]"""

DEVICES_OF_A_SERVER = 8.0
"""Servers whose parts differ by `SERVER_SPREAD_W` hold eight devices. [1]"""


class HplSpreads(NamedTuple):
    """Standard deviations of logarithms. [1]"""

    flop_per_s: float
    power: float
    flop_per_j: float


def hpl_spreads(case: HplCase, constants: HplConstants) -> HplSpreads:
    """Spreads of one system, propagated from the power calibration of its device.

    What an operation costs decides the clock under the cap and the power where the cap does not
    bind; the other parts of a server differ as they do in training.
    """
    run, power = predicted(case, constants)
    relative = case.power_spread_fraction
    dearer = constants._replace(fp64_energy_ratio=constants.fp64_energy_ratio * (1.0 + relative))
    other_run, other_power = predicted(case, dearer)
    rate = math.log(other_run.flop_per_s / run.flop_per_s)
    watts = math.log(other_power.system_w / power.system_w)
    n_devices = case.system.n_devices
    server = SERVER_SPREAD_W / DEVICES_OF_A_SERVER * n_devices / power.system_w
    return HplSpreads(
        flop_per_s=math.hypot(rate, MODEL_SPREAD),
        power=math.hypot(watts, server),
        flop_per_j=math.hypot(rate - watts, MODEL_SPREAD, server),
    )
