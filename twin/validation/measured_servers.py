"""Profiles of servers whose own kernels a source of runs has published."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

__all__ = ["MeasuredServer", "device_text", "measured_servers", "server_accelerator"]

TABLE = Path(__file__).parent / "measured_servers.toml"


class MeasuredServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``measured_servers.toml``."""

    source_id: str
    device: str
    """As the source names it in its runs."""
    accelerator: str
    """Profile that was fitted to its kernels."""
    kernels: str
    """Where they are published."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: tuple[MeasuredServer, ...]


@functools.cache
def measured_servers() -> tuple[MeasuredServer, ...]:
    """All entries."""
    return msgspec.toml.decode(TABLE.read_bytes(), type=_Table).server


def server_accelerator(source_id: str, device: str) -> str:
    """Name under which the device of a source's runs is looked up in the catalogue."""
    own = (
        server.accelerator
        for server in measured_servers()
        if (server.source_id, server.device) == (source_id, device)
    )
    return next(own, device)


def device_text(source_id: str, device: str) -> str:
    """Device of a run, with the profile that stands for it where its source has its own."""
    accelerator = server_accelerator(source_id, device)
    return device if accelerator == device else f"{device} ({accelerator})"
