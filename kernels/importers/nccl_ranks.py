"""Rank lines above the output of nccl-tests: how many devices took part, on how many hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kernels.importers.cells import Place

__all__ = ["Group", "Rank", "rank_of", "ranks_in"]

_RANK = re.compile(
    r"#\s+Rank\s+(?P<rank>\d+)\s+(?:Group\s+(?P<group>\d+)\s+)?Pid\s+\d+\s+on\s+(?P<host>\S+)"
    r"\s+device\s+\d+\s+\[[^\]]*\]\s+(?P<device>\S.*)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One line of the header."""

    rank: int
    group: int
    host: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The devices that exchange one message."""

    n_ranks: int
    n_nodes: int
    device: str

    @property
    def is_amd(self) -> bool:
        """Whether the library is RCCL, which reports itself as NCCL in places."""
        return self.device.startswith("AMD")


def rank_of(line: str, place: Place) -> Rank | None:
    """Rank that a header line tells; None for any other line.

    Raises
    ------
    MeasurementError
        The line begins as such a one and is cut off.
    """
    if not re.match(r"#\s+Rank\s", line):
        return None
    found = _RANK.fullmatch(line.strip())
    if found is None:
        complaint = f"{line.strip()!r} is no whole rank line (rank, host and device)"
        raise place.error(complaint)
    return Rank(
        rank=int(found["rank"]),
        group=int(found["group"] or 0),
        host=found["host"],
        device=found["device"].strip(),
    )


def ranks_in(ranks: Sequence[Rank], place: Place) -> Group:
    """Size of the groups in which these ranks exchange messages.

    Raises
    ------
    MeasurementError
        Ranks are missing, there are fewer than two to a group, or groups or devices differ.
    """
    missing = set(range(max((one.rank for one in ranks), default=-1) + 1))
    missing -= {one.rank for one in ranks}
    if missing or not ranks:
        complaint = (
            f"rank {min(missing)} has no line in the header" if missing else "no rank lines above"
        )
        complaint += "; the number of ranks cannot be told"
        raise place.error(complaint)
    devices = {one.device for one in ranks}
    if len(devices) > 1:
        complaint = f"ranks on different devices ({', '.join(sorted(devices))}); expected one kind"
        raise place.error(complaint)
    members = [[one for one in ranks if one.group == group] for group in {r.group for r in ranks}]
    shapes = {(len(one), len({rank.host for rank in one})) for one in members}
    if len(shapes) > 1:
        complaint = "groups of different sizes; expected them alike"
        raise place.error(complaint)
    ((n_ranks, n_nodes),) = shapes
    if n_ranks == 1:
        complaint = "one rank exchanges nothing; expected at least two"
        raise place.error(complaint)
    return Group(n_ranks=n_ranks, n_nodes=n_nodes, device=devices.pop())
