"""Wires inside the nodes that collectives were measured on, by the text of the measurement."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Literal

import msgspec

from hardware_profiles.accelerator import Link

__all__ = [
    "Wires",
    "exchange_bandwidth_bytes_per_s",
    "measured_wires",
    "wire_bandwidth_bytes_per_s",
]


class Wires(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the devices of a measured node reach each other."""

    links: tuple[str, ...] = ()
    """Whole texts of the link column."""
    words: tuple[str, ...] = ()
    """Parts of a text that tell these wires where no whole text is listed."""
    kind: Literal["switch", "mesh", "rings"]
    """switch: full bandwidth to any peer; mesh: one link per peer; rings: as listed."""
    ring_bandwidth_bytes_per_s: dict[str, float] = {}
    """One-way bandwidth of one rank by the least number of ranks. [byte/s]"""
    exchange_bandwidth_bytes_per_s: dict[str, float] = {}
    """The same where every rank sends to all others, if it is another. [byte/s]"""
    source: str


@functools.cache
def _known() -> tuple[Wires, ...]:
    text = (Path(__file__).parent / "links.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, tuple[Wires, ...]])["wires"]


@functools.cache
def measured_wires(link: str) -> Wires | None:
    """Wires that the text of a link column stands for; None where nothing is known of them."""
    for wires in _known():
        if link in wires.links:
            return wires
    return next((wires for wires in _known() if any(word in link for word in wires.words)), None)


def wire_bandwidth_bytes_per_s(wires: Wires, n_ranks: int, link: Link | None) -> float:
    """One-way bandwidth of one rank to its peers, for a group of this size.

    Parameters
    ----------
    wires
        How the node is wired.
    n_ranks
        Ranks of the group in this node. [1]
    link
        Links of the accelerator; rings need none.

    Returns
    -------
    float
        NaN where the wires do not tell. [byte/s]
    """
    if wires.kind == "rings":
        return _listed_bytes_per_s(wires.ring_bandwidth_bytes_per_s, n_ranks)
    if link is None:
        return math.nan
    if wires.kind == "switch":
        return link.bandwidth_bytes_per_s
    return min(link.bandwidth_bytes_per_s, (n_ranks - 1) * link.peer_bandwidth_bytes_per_s)


def exchange_bandwidth_bytes_per_s(wires: Wires, n_ranks: int, link: Link | None) -> float:
    """The same where every rank sends to all others, instead of around rings. [byte/s]"""
    if wires.exchange_bandwidth_bytes_per_s:
        return _listed_bytes_per_s(wires.exchange_bandwidth_bytes_per_s, n_ranks)
    return wire_bandwidth_bytes_per_s(wires, n_ranks, link)


def _listed_bytes_per_s(bandwidth_bytes_per_s: dict[str, float], n_ranks: int) -> float:
    listed = [number for number in bandwidth_bytes_per_s if int(number) <= n_ranks]
    return bandwidth_bytes_per_s[max(listed, key=int)] if listed else math.nan
