"""Mean power of a node over a whole run: steps, and evaluation, start-up and saving around them."""

from __future__ import annotations

from hardware_profiles.cluster import Node
from twin.energy.node_power import (
    NodeParts,
    node_parts,
    server_parts_w,
    waiting_server_parts_w,
)

__all__ = ["run_parts"]


def run_parts(
    node: Node, *, step_device_w: float, waiting_device_w: float, steps_fraction: float
) -> NodeParts:
    """Mean power of a fully used node over a run, by part.

    The node draws its training power in steps. Between them devices wait with a context and
    processors idle, which is low for the share of evaluation in that time and right for the rest.

    Parameters
    ----------
    node
        The server; all its devices belong to the run.
    step_device_w
        Mean power of a device in a step. [W]
    waiting_device_w
        Power of a device outside steps. [W]
    steps_fraction
        Steps times step time over the run time. [1]
    """
    device_w = steps_fraction * step_device_w + (1.0 - steps_fraction) * waiting_device_w
    training_w, waiting_w = server_parts_w(node), waiting_server_parts_w(node)
    host_w = steps_fraction * training_w + (1.0 - steps_fraction) * waiting_w
    return node_parts(node, node.n_devices * device_w, host_w)
