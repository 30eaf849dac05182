"""An accelerator: what a framework sees as one device."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_profiles.calibration import Calibration

__all__ = [
    "Accelerator",
    "Announcement",
    "Compute",
    "DevicePower",
    "Link",
    "Memory",
    "Module",
    "Source",
    "Vendor",
]

Vendor = Literal["nvidia", "amd", "intel", "arm", "other", "host"]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where figures come from; `keys` are dotted names, ``*`` stands for any run of names."""

    keys: tuple[str, ...]
    figure_class: Literal["measured", "fitted", "datasheet", "assumed"]
    text: str


class Compute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arithmetic: dense peaks only, never the sparse marketing rate."""

    n_units: int
    """Streaming multiprocessors, compute units or CPU cores. [1]"""
    boost_clock_hz: float
    """Clock that the datasheet peaks are quoted at. [Hz]"""
    peak_flop_per_s: dict[str, float]
    """Dense peak by dtype: fp64, fp32, tf32, bf16, fp16, fp8, fp6, fp4, int8. [flop/s]"""
    fp64_matrix_flop_per_s: float | None = None
    """Dense fp64 peak of the matrix units, where they are faster than the others. [flop/s]"""
    exponential_ratio: float | None = None
    """Exponentials of a unit in a clock, over its architecture's other parts; none: 1. [1]"""


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory attached to the device."""

    capacity_bytes: float
    bandwidth_bytes_per_s: float
    l2_bytes: float | None = None
    """Second-level cache; 4 MiB on each of eight dies make 32. [byte]"""
    last_level_cache_bytes: float | None = None
    """Cache between the second level and the memory, such as Infinity Cache. [byte]"""


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the device reaches its peers in a node, one direction: its links, or else its slot."""

    name: str
    bandwidth_bytes_per_s: float
    """Over all peers together. [byte/s]"""
    peer_bandwidth_bytes_per_s: float
    """Between two devices of a full node. [byte/s]"""


class DevicePower(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power limits of the device."""

    tdp_w: float
    """Board power limit as shipped. [W]"""
    idle_w: float
    """Power with a driver loaded and nothing running. [W]"""
    minimum_cap_w: float | None = None
    """Lowest power cap that the driver accepts. [W]"""
    same_silicon_as: str | None = None
    """Profile of a part of the same silicon, whose power constants hold here too."""


class Module(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is plugged in and draws power; an MI250X module holds two devices."""

    n_devices: int
    form_factor: str


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accelerator profile."""

    schema_version: int
    kind: Literal["accelerator"]
    name: str
    title: str
    vendor: Vendor
    architecture: str
    """Family whose units are alike: parts of one family share what nobody fitted on them."""
    status: Literal["available", "announced"] = "available"
    """announced: the vendor's preview; nobody has measured one."""
    aliases: tuple[str, ...] = ()
    launch_year: int | None = None
    compute: Compute
    memory: Memory
    link: Link | None = None
    power: DevicePower
    module: Module
    calibration: Calibration = Calibration()
    sources: tuple[Source, ...]


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """An announced accelerator of which not every figure is known yet.

    It can be shown and extended. Nothing can be predicted with it: that takes an `Accelerator`,
    whose figures are numbers, all of them.
    """

    schema_version: int
    kind: Literal["accelerator"]
    name: str
    title: str
    vendor: Vendor
    architecture: str
    status: Literal["announced"]
    aliases: tuple[str, ...] = ()
    launch_year: int | None = None
    missing_keys: tuple[str, ...]
    """Dotted keys of the figures that a prediction needs and nobody has published."""
    sources: tuple[Source, ...]

    @property
    def refusal(self) -> str:
        """Why nothing can be predicted with it, and what helps."""
        return (
            f"{self.name} is announced and lacks {', '.join(self.missing_keys)}; "
            "a prediction needs each of them: extend it with your own"
        )
