"""An accelerator: what a framework sees as one device."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_profiles.calibration import Calibration

__all__ = ["Accelerator", "Compute", "DevicePower", "Link", "Memory", "Module", "Source"]


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


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory attached to the device."""

    capacity_bytes: float
    bandwidth_bytes_per_s: float
    l2_bytes: float | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device's own links to its peers in a node, one direction."""

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
    vendor: Literal["nvidia", "amd", "intel", "arm", "other", "host"]
    architecture: str
    aliases: tuple[str, ...] = ()
    launch_year: int | None = None
    compute: Compute
    memory: Memory
    link: Link | None = None
    power: DevicePower
    module: Module
    calibration: Calibration = Calibration()
    sources: tuple[Source, ...]
