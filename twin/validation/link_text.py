"""Bandwidth between nodes, read from the free text in which sources state it."""

from __future__ import annotations

import re

__all__ = ["inter_node_bandwidth_bytes_per_s", "n_inter_node_links"]

GBIT_BYTES = 1e9 / 8

LINK_GENERATION_GBIT_PER_S = {"HDR": 200.0, "NDR": 400.0, "XDR": 800.0}
"""InfiniBand with four lanes; used where a text breaks off before the rate. [Gbit/s]"""

COUNTED_RATE = re.compile(
    r"(?:(\d+)\s*(?:x|links of)\s*(?:[^,;:+]*?\s|[^,;:+]*?\()?)?"
    r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:Gb/[sS]|Gbit/s|Gbps)",
)
COUNTED_GENERATION = re.compile(r"(\d+)\s*x\b[^,;:+]*\b(HDR|NDR|XDR)\b")
NOT_FOR_COMPUTE = re.compile(r"^\s*(?:Storage|Management|Storage\s*\+\s*Management)\s*:")


def inter_node_bandwidth_bytes_per_s(text: str, *, devices_per_node: int) -> float | None:
    """Bandwidth of one node into the network, one direction, where a text states it.

    The fastest group of links counts, since slower ones beside it carry storage and management.
    A rate that does not say whether a node or a device has it is left out.

    Parameters
    ----------
    text
        Such as ``8x400 Gb/s InfiniBand per node`` or ``RDMA 400 Gb/s per GPU``.
    devices_per_node
        Devices that share a node, for rates per device. [1]

    Returns
    -------
    float or None
        Bandwidth per node. [byte/s]
    """
    parts = [part for part in text.split(",") if not NOT_FOR_COMPUTE.match(part)]
    # A part may depend on its neighbour for "per node", so the sharing is read from the whole.
    is_per_device = re.search(r"per (?:GPU|device)", text) is not None
    is_sharing_stated = is_per_device or "per node" in text
    rates = [rate for part in parts for rate in _rates(part, is_bare_rate_known=is_sharing_stated)]
    if not rates:
        return None
    return max(rates) * GBIT_BYTES * (devices_per_node if is_per_device else 1)


def n_inter_node_links(text: str) -> int | None:
    """Links of one node into the network where a text counts them; None elsewhere. [1]"""
    parts = [part for part in text.split(",") if not NOT_FOR_COMPUTE.match(part)]
    counted = [
        (float(rate) * int(count), int(count))
        for part in parts
        for count, rate in COUNTED_RATE.findall(part)
        if count
    ]
    return max(counted)[1] if counted and "per GPU" not in text else None


def _rates(part: str, *, is_bare_rate_known: bool) -> list[float]:
    """Summed rate of each group of links in one part of a text. [Gbit/s]"""
    found = [
        float(rate) * int(count or 1)
        for count, rate in COUNTED_RATE.findall(part)
        if count or is_bare_rate_known
    ]
    if found:
        return found
    return [
        int(count) * LINK_GENERATION_GBIT_PER_S[generation]
        for count, generation in COUNTED_GENERATION.findall(part)
    ]
