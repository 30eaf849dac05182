"""Text of a node with the device that was calibrated, and of a cluster of that node."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles.errors import ProfileError
from hardware_profiles.whole_files import write_text_whole

__all__ = ["cluster_text", "node_text", "write_profile"]

_NODE = """schema_version = 1
kind = "node"
name = "{name}"
title = "{title}"
accelerator = "{accelerator}"
n_devices = {n_devices}

[intra_node]
topology = "{topology}"

[network]
n_nics = 1
nic_bandwidth_gbit_per_s = 10

[power] # everything but the device
n_cpus = {n_cpus}
cpu_idle_w = {cpu_idle_w}
cpu_training_w = {cpu_training_w}
memory_w = 20
nic_w = 5
switch_w = 0
storage_w = 10
fan_fraction = 0.05
supply_efficiency_fraction = 0.9

[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "a common server around the device that twin calibrate measured; replace what you know"
"""

_CLUSTER = """schema_version = 1
kind = "cluster"
name = "{name}"
title = "{title}"
status = "operating"
site = "unspecified"

[[partitions]]
name = "all"
node = "{name}"
n_nodes = 1

[fabric]
name = "none"
topology = "none"
oversubscription = 1.0
bandwidth_efficiency_fraction = 0.5
latency_us = 50
latency_per_node_us = 10
switch_power_per_nic_w = 5

[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "one node, written by twin calibrate"
"""


def node_text(*, name: str, title: str, accelerator: str, is_host: bool) -> str:
    """A node with one device; the processor is the device itself where it is the host."""
    return _NODE.format(
        name=name,
        title=title,
        accelerator=accelerator,
        n_devices=1,
        topology="none",
        n_cpus=0 if is_host else 1,
        cpu_idle_w=0 if is_host else 60,
        cpu_training_w=0 if is_host else 120,
    )


def cluster_text(*, name: str, title: str) -> str:
    """A cluster of one such node."""
    return _CLUSTER.format(name=name, title=title)


def write_profile(path: Path, text: str) -> Path:
    """Write one profile whole.

    Raises
    ------
    ProfileError
        The place takes no files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, text)
    except OSError as refusal:
        msg = f"--out {path.parent}: cannot be written: {refusal.strerror or refusal}"
        raise ProfileError(msg) from refusal
    return path
