"""Where the project's own kernels stand against the libraries, from the rows of a survey.

The figures are those that the project promises of an H200; `own_kernels.json` keeps them with
device, driver, libraries and date beside the raw rows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from kernels.benched.contender import COPY
from kernels.measurements import (
    AttentionMeasurement,
    BandwidthMeasurement,
    GemmMeasurement,
    Measurement,
    OperationMeasurement,
    write_json,
)
from kernels.survey.own_kernels import OWN
from kernels.survey.store import Store

__all__ = ["FILE", "Standing", "own_standings", "standing_document", "tell_standings"]

FILE = "own_kernels.json"
SQUARE = 8192
PROMISED_DTYPE = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Speed of own kernels over that of what they are measured up to."""

    what: str
    ratio: float
    """Geometric mean over the cases; above 1 where ours are faster. [1]"""
    least_ratio: float
    """Of the worst case. [1]"""
    target_ratio: float
    """What the project promises on an H200. [1]"""
    n_cases: int

    @property
    def words(self) -> str:
        """The figure in one line."""
        worst = f", worst {self.least_ratio:.2f}" if self.n_cases > 1 else ""
        cases = "1 case" if self.n_cases == 1 else f"{self.n_cases} cases"
        return f"{self.what}: {self.ratio:.2f}, {cases}{worst} (target {self.target_ratio:g})"


def own_standings(rows: Iterable[Measurement]) -> list[Standing]:
    """Figures that the rows of a survey allow; none of a family that was not measured."""
    known = {row.case: row for row in rows}
    own = [
        row for case, row in known.items() if case.startswith(f"{OWN}/") and _is_own(case, known)
    ]
    gemm = [r for r in own if isinstance(r, GemmMeasurement) and r.dtype == PROMISED_DTYPE]
    attention = [r for r in own if isinstance(r, AttentionMeasurement) and _is_promised(r)]
    operations = [r for r in own if isinstance(r, OperationMeasurement)]
    found = [
        _standing(
            f"bf16 product of {SQUARE}^3 against the vendor's library",
            [_speed_ratio(r, known) for r in gemm if r.role == "square" and r.m == SQUARE],
            target_ratio=0.85,
        ),
        _standing(
            "bf16 products of the models' layers against the vendor's library",
            [_speed_ratio(r, known) for r in gemm if r.role != "square"],
            target_ratio=0.8,
        ),
        *(
            _standing(
                f"attention {direction}, causal, 8192 tokens, heads of 128, against the fastest",
                [_speed_ratio(r, known) for r in attention if r.direction == direction],
                target_ratio=target,
            )
            for direction, target in (("fwd", 0.7), ("bwd", 0.6))
        ),
        _standing(
            "memory-bound operations against the bandwidth of a copy",
            [_bandwidth_ratio(r, known) for r in operations],
            target_ratio=0.9,
        ),
    ]
    return [standing for standing in found if standing is not None]


def standing_document(
    standings: Sequence[Standing], environment: Mapping[str, object]
) -> dict[str, object]:
    """What ``own_kernels.json`` holds: the figures, and on what they were measured and when."""
    kept = ("date", "device", "software")
    return {
        **{key: environment[key] for key in kept if key in environment},
        "figures": [asdict(standing) for standing in standings],
    }


def tell_standings(store: Store) -> None:
    """Print where the project's own kernels stand, and write it beside the rows of a survey.

    Nothing happens where none was measured.
    """
    standings = own_standings(store.all_rows())
    if standings:
        write_json(store.folder / FILE, standing_document(standings, store.environment))
    for standing in standings:
        sys.stdout.write(f"{standing.words}\n")


def _is_own(case: str, known: Mapping[str, Measurement]) -> bool:
    """Whether a key is that of an own kernel, and not of what ran beside one."""
    return case.startswith(f"{OWN}/") and case.rsplit("/", 1)[0] not in known


def _is_promised(row: AttentionMeasurement) -> bool:
    return row.causal and row.head_dim == 128 and row.seq_q == SQUARE


def _rivals(row: Measurement, known: Mapping[str, Measurement]) -> list[Measurement]:
    beside = f"{row.case}/"
    return [other for case, other in known.items() if case.startswith(beside)]


def _speed_ratio(row: Measurement, known: Mapping[str, Measurement]) -> float | None:
    """Time of the fastest rival over ours; None where nobody ran beside. [1]"""
    times = [other.latency_us for other in _rivals(row, known) if other.latency_us]
    if not times or not row.latency_us:
        return None
    return min(times) / row.latency_us


def _bandwidth_ratio(row: OperationMeasurement, known: Mapping[str, Measurement]) -> float | None:
    """Our bandwidth over that of the copy in the same rounds; None without one. [1]"""
    copy = known.get(f"{row.case}/{COPY}")
    if not isinstance(copy, BandwidthMeasurement) or not row.latency_us:
        return None
    return row.bytes / row.latency_us / 1e3 / copy.GBps


def _standing(what: str, ratios: Iterable[float | None], *, target_ratio: float) -> Standing | None:
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return None
    return Standing(
        what=what,
        ratio=math.exp(sum(map(math.log, known)) / len(known)),
        least_ratio=min(known),
        target_ratio=target_ratio,
        n_cases=len(known),
    )
