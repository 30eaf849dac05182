"""Datasheet figures that fitted shares refer to, by the device names of measurement tables."""

from __future__ import annotations

from pathlib import Path

import msgspec

__all__ = ["DeviceFigures", "load_device_figures"]


class DeviceFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model needs of a device besides fitted parameters."""

    accelerators: tuple[str, ...]
    """Accelerator profiles that take over what is fitted on this device."""
    n_units: int
    clock_hz: float
    memory_bandwidth_bytes_per_s: float
    link_bandwidth_bytes_per_s: float | None = None
    peak_flop_per_s: dict[str, float]


def load_device_figures() -> dict[str, DeviceFigures]:
    """Figures by device name, from ``devices.toml`` beside this module."""
    text = (Path(__file__).parent / "devices.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, DeviceFigures])
