"""Networks that collectives were measured on: facts and fitted parameters, by link text."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from hardware_profiles.calibration import Provenance
from kernels.all_reduce.groups import NetworkMachine

__all__ = [
    "NETWORKS_FILE",
    "MeasuredNetwork",
    "NetworkParameters",
    "known_networks",
    "measured_network",
]

NETWORKS_FILE = Path(__file__).parent / "networks.toml"


class NetworkParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fitted parameters of one network in the hands of one library."""

    ring_efficiency_fraction: float
    tree_efficiency_fraction: float
    latency_s: float
    latency_per_doubling_s: float
    latency_per_hop_s: float
    chunk_ratio: float
    decline_exponent: float
    provenance: Provenance

    def machine(self) -> NetworkMachine:
        """The parameters as the formula reads them."""
        return NetworkMachine(
            self.ring_efficiency_fraction,
            self.tree_efficiency_fraction,
            self.latency_s,
            self.latency_per_doubling_s,
            self.latency_per_hop_s,
            self.chunk_ratio,
            self.decline_exponent,
        )


class MeasuredNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured network and software path."""

    devices: tuple[str, ...]
    """Names of the device column."""
    link: str
    """Whole text of the link column."""
    libraries: tuple[str, ...]
    """Beginnings of the library column; an empty text takes any library."""
    node_n_devices: int
    """Devices of a node that share its network cards. [1]"""
    node_bandwidth_bytes_per_s: float
    """One-way line rate of all network cards of a node. [byte/s]"""
    is_staged: bool = False
    """Whether the node reduces first and the network follows, instead of both at once."""
    fitted: NetworkParameters


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    networks: tuple[MeasuredNetwork, ...]


@functools.cache
def known_networks() -> tuple[MeasuredNetwork, ...]:
    """Every network of ``networks.toml``."""
    return msgspec.toml.decode(NETWORKS_FILE.read_bytes(), type=_File).networks


@functools.lru_cache(maxsize=4096)
def measured_network(device: str, link: str, library: str) -> MeasuredNetwork | None:
    """The network and software path of one row; None where none is known.

    Parameters
    ----------
    device, link, library
        Texts of the row's columns; the longest beginning of the library counts.

    Returns
    -------
    MeasuredNetwork or None
        None for host memory, faulty runs and networks that nobody fitted.
    """
    best, length = None, -1
    for network in known_networks():
        if device not in network.devices or link != network.link:
            continue
        for beginning in network.libraries:
            if library.startswith(beginning) and len(beginning) > length:
                best, length = network, len(beginning)
    return best
