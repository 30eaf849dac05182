"""HPL on the round machines of the tests."""

from __future__ import annotations

import msgspec

from tests.twin.machines import accelerator, machine
from twin.hpl import HplSystem, hpl_system


def hpl_machine(**figures):
    """The round machine with fp64 units; its device takes the figures."""
    device = accelerator(**figures)
    compute = msgspec.structs.replace(
        device.compute,
        peak_flop_per_s={**device.compute.peak_flop_per_s, "fp64": 30e12},
        fp64_matrix_flop_per_s=60e12,
    )
    return machine(msgspec.structs.replace(device, compute=compute))


def system(*, n_nodes=64, power_cap_w=None, **figures) -> HplSystem:
    """Its figures for HPL."""
    return hpl_system(hpl_machine(**figures), n_nodes=n_nodes, power_cap_w=power_cap_w)
