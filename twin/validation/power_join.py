"""Which published run a row of measured server power belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from twin.validation.node_power_table import NodePowerRow
from twin.validation.runs_table import PublishedRun

__all__ = ["JoinedRun", "RunIndex", "same_runs", "with_stated_layout"]

SUBMISSION = re.compile(r"training_results_(v[\d.]+) ([^/\s]+)/results/([^/]+)/([^/]+)/")
"""Repository of a round, then submitter, system and benchmark, in the provenance of a run."""

SAME_RUN_TIME_FRACTION = 0.01
"""Two meters on the same runs state the same mean run time, rounded. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedRun:
    """A published run that a row of server power was measured on."""

    run: PublishedRun
    how: str
    """On which words the two were joined."""


Key = tuple[str, str, str, str]
"""Round, submitter, system, benchmark."""


class RunIndex:
    """Published runs by round, submitter, system and benchmark of their provenance."""

    def __init__(self, runs: Iterable[PublishedRun]) -> None:
        self._by_key: dict[Key, PublishedRun] = {}
        for run in runs:
            found = SUBMISSION.search(run.provenance)
            if found:
                self._by_key.setdefault((found[1], found[2], found[3], found[4]), run)

    def find(self, row: NodePowerRow, rows: Sequence[NodePowerRow]) -> JoinedRun | None:
        """Run of a row, or of the same runs at another meter; None where there is none.

        A submission behind the power supplies has a submitter of its own and the log of the same
        runs, so that it takes the run of the row that another meter measured.
        """
        run = self._by_key.get(_key(row))
        if run is not None:
            return JoinedRun(run=run, how="round, submitter, system and benchmark")
        for other in rows:
            run = self._by_key.get(_key(other))
            if run is not None and same_runs(row, other):
                how = f"round, system, benchmark and run time, measured by {other.submitter} too"
                return JoinedRun(run=run, how=how)
        return None


def _key(row: NodePowerRow) -> Key:
    return (row.mlperf_version, row.submitter, row.system, row.benchmark)


def same_runs(row: NodePowerRow, other: NodePowerRow) -> bool:
    """Whether two rows are of the same runs at different meters."""
    is_alike = (
        row.mlperf_version == other.mlperf_version
        and row.system == other.system
        and row.benchmark == other.benchmark
        and row.n_nodes == other.n_nodes
    )
    difference = abs(row.run_time_s / other.run_time_s - 1.0)
    return is_alike and row.meter != other.meter and difference <= SAME_RUN_TIME_FRACTION


def with_stated_layout(run: PublishedRun, others: Iterable[PublishedRun]) -> PublishedRun | None:
    """A run with the layout that all other runs of its kind state; None where none or several do.

    Of its kind are runs of the same round, task, model, device, device count and batch: MLPerf
    submitters share the code and its tuned settings.
    """
    stated = [
        other for other in others if _kind(other) == _kind(run) and None not in _layout(other)
    ]
    if not stated or len({_layout(other) for other in stated}) > 1:
        return None
    first = stated[0]
    return replace(
        run,
        tp=first.tp,
        pp=first.pp,
        vpp=first.vpp,
        cp=first.cp,
        micro_batch=first.micro_batch,
        precision=run.precision or first.precision,
        sharding=run.sharding or first.sharding,
        has_sequence_parallel=first.has_sequence_parallel,
    )


def _kind(run: PublishedRun) -> tuple[object, ...]:
    figures = (run.n_devices, run.n_devices_per_node, run.global_batch, run.seq_len)
    return (run.source_id, run.task, run.model_name, run.device, *figures)


def _layout(run: PublishedRun) -> tuple[int | None, ...]:
    return (run.tp, run.pp, run.vpp or 1, run.cp or 1, run.micro_batch)
