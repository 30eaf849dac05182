"""Constants that stand in for the shipped ones while runs are predicted.

A fit tries values, and a validation leaves out what a judged source has taught; both predict runs
with other constants than those of the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from hardware_profiles.cluster import Machine
from twin.training.framework import Constants, Framework, framework

__all__ = ["ARCHITECTURE", "SHIPPED", "RunConstants"]

ARCHITECTURE = "architecture:"
"""Beginning of a home that is no framework file but the silicon of a family of devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConstants:
    """Values by (home, dotted key); nothing means what the files say."""

    values: Constants = field(default_factory=dict)

    def framework(self, name: str) -> Framework:
        """A framework with these constants."""
        return framework(name, self.values)

    def machine(self, machine: Machine) -> Machine:
        """A machine whose accelerator's power model has these constants."""
        home = ARCHITECTURE + machine.accelerator.architecture
        own = {key: value for (place, key), value in self.values.items() if place == home}
        power = machine.accelerator.calibration.power
        if not own or power is None:
            return machine
        # Constants of this device from here on: nothing of its silicon comes before them.
        provenance = msgspec.structs.replace(power.provenance, figure_class="fitted")
        power = msgspec.structs.replace(power, provenance=provenance, **own)
        calibration = msgspec.structs.replace(machine.accelerator.calibration, power=power)
        accelerator = msgspec.structs.replace(machine.accelerator, calibration=calibration)
        return msgspec.structs.replace(machine, accelerator=accelerator)

    @classmethod
    def of(cls, values: Mapping[tuple[str, str], float]) -> RunConstants:
        """Constants from a plain mapping."""
        return cls(values=dict(values))


SHIPPED = RunConstants()
"""What the files say."""
