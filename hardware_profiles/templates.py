"""Text of a new profile: every key that is needed, with what to put there."""

from __future__ import annotations

from typing import get_args

from hardware_profiles.accelerator import Vendor
from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.schema import KINDS

__all__ = ["derived", "skeleton"]

_SOURCE = """
[[sources]] # one entry for each document; the last one that names a figure counts
keys = ["*"]
figure_class = "assumed" # measured, fitted, datasheet or assumed
text = "placeholder of twin profiles new: name here the document behind these figures"
"""

_ACCELERATOR = """vendor = "{vendor}"
architecture = "{architecture}" # family: fits of its parts are taken over, peaks compared

[compute]
n_units = 128 # streaming multiprocessors or compute units
boost_clock_mhz = 2000 # the clock at which the peaks are quoted

[compute.peak_dense] # half of what a datasheet gives "with sparsity"
fp32_tflop_per_s = 64
bf16_tflop_per_s = {bf16_tflop_per_s:.1f}

[memory]
capacity_gib = 96
bandwidth_gb_per_s = 4000
l2_mib = 64

[link] # one direction; for a card without links its slot, such as 63 GB/s of PCIe 5 x16
name = "link"
bandwidth_gb_per_s = 450 # to all peers together
peer_bandwidth_gb_per_s = 450 # to one peer; a share of the above without a switch

[power]
tdp_w = 700
idle_w = 70

[module]
n_devices = 1 # devices that a framework sees on one module
form_factor = "OAM"
"""

_NODE = """accelerator = "h100-sxm"
n_devices = 8

[intra_node]
topology = "switch" # switch, mesh (a fixed link for each pair) or none (one device)

[network]
n_nics = 8
nic_bandwidth_gbit_per_s = 400 # one direction

[power] # everything but the accelerators
n_cpus = 2
cpu_idle_w = 195 # one processor
cpu_training_w = 250
memory_w = 160
nic_w = 25 # one network card
switch_w = 320 # all link switches
storage_w = 100
fan_fraction = 0.11 # of all other parts under load; about 0.01 with liquid cooling
supply_efficiency_fraction = 0.95
"""

_CLUSTER = """status = "proposal" # operating, announced, proposal; a template is of any size
site = "unspecified"

[[partitions]] # one table for each kind of node; the first is the default
name = "all"
node = "dgx-h100"
n_nodes = 16

[fabric]
name = "InfiniBand NDR, 400 Gbit/s"
topology = "fat-tree" # fat-tree, dragonfly, rail-optimized or none
oversubscription = 1 # injection over bisection bandwidth
bandwidth_efficiency_fraction = 0.85 # of the line rate, for large collectives
latency_us = 18 # start-up of a collective on two nodes
latency_per_node_us = 7 # added by each doubling of nodes
switch_power_per_nic_w = 50
"""

_SITE = """country = "NL"
pue = 1.2 # facility power over power of the machines, mean of a year
"""

_BODY = {"accelerator": _ACCELERATOR, "node": _NODE, "cluster": _CLUSTER, "site": _SITE}

_DIFFERENCE = {
    "accelerator": ("[memory]", "capacity_gib = 96", "memory.capacity_gib"),
    "node": ("[network]", "n_nics = 4", "network.n_nics"),
    "cluster": ("[fabric]", "oversubscription = 2", "fabric.oversubscription"),
    "site": ("", "pue = 1.1", "pue"),
}

_VENDORS = get_args(Vendor)

# What the round figures of a new accelerator make of its 16-bit peak.
_N_UNITS = 128
_CLOCK_HZ = 2e9
_FLOP_PER_CYCLE_PER_UNIT = 4096.0


def skeleton(
    kind: str,
    *,
    name: str,
    vendor: str = "other",
    architecture: str | None = None,
    flop_per_cycle_per_unit: float | None = None,
) -> str:
    """A whole profile with round figures, whose source says that it is a placeholder.

    Parameters
    ----------
    kind
        accelerator, node, cluster or site.
    name
        Name of the thing and of its file.
    vendor
        Maker of an accelerator.
    architecture
        Family of an accelerator.
    flop_per_cycle_per_unit
        Dense 16-bit operations of one unit of that family in a cycle. [flop]
    """
    _require("kind", kind, tuple(KINDS))
    _require("vendor", vendor, _VENDORS)
    peak = _N_UNITS * _CLOCK_HZ * (flop_per_cycle_per_unit or _FLOP_PER_CYCLE_PER_UNIT)
    body = _BODY[kind].format(
        vendor=vendor, architecture=architecture or "unnamed", bf16_tflop_per_s=peak / 1e12
    )
    return _head(kind, name=name) + body + _SOURCE


def derived(kind: str, *, name: str, base: str) -> str:
    """A profile that is as `base` until something different is written into it."""
    _require("kind", kind, tuple(KINDS))
    table, figure, key = _DIFFERENCE[kind]
    example = [table, figure, "", "[[sources]]", f'keys = ["{key}"]']
    example += ['figure_class = "datasheet"', 'text = "the document, its table and its date"']
    lines = [f"# {line}".rstrip() for line in example if line or table]
    return (
        _head(kind, name=name, base=base)
        + f"# All is as in {base}, but for what stands below. Each figure here needs a source\n"
        + "# here; measured and fitted parameters count as inherited. For example:\n#\n"
        + "\n".join(lines)
        + "\n"
    )


def _head(kind: str, *, name: str, base: str | None = None) -> str:
    extends = f'extends = "{base}"\n' if base else ""
    return (
        f'schema_version = 1\nkind = "{kind}"\n{extends}name = "{name}" # as the file is called\n'
        f'title = "{name}" # as people write it\naliases = []\n'
    )


def _require(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        close = nearest(value, choices, n=1)
        hint = f"; nearest is {close[0]}" if close else ""
        msg = f'--{option} "{value}": expected one of {", ".join(choices)}{hint}'
        raise ProfileError(msg)
