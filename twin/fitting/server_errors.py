"""What the kernels that a source has published of its server are worth for its runs.

Most users have no such table: what is said of runs like theirs, and how wide their intervals are,
rests on the catalogue's device for these runs too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twin.predict import Predictor
from twin.validation.measured_servers import measured_servers, server_accelerator
from twin.validation.predicted_run import PredictedRun, predicted_run
from twin.validation.run_machines import RunMachines
from twin.validation.run_request import Unsupported, run_request
from twin.validation.runs_table import PublishedRun, read_runs
from twin.validation.statistics import ErrorSummary, summarise

__all__ = ["KnownErrors", "ServerErrors", "catalogued", "server_errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownErrors:
    """Left-out errors of runs, and how many of them lie between p10 and p90."""

    summary: ErrorSummary
    n_inside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerErrors:
    """Left-out errors of the runs of one server."""

    source_id: str
    device: str
    catalogued: KnownErrors
    """Predicted for the device of the catalogue."""
    own: KnownErrors
    """Predicted for the profile that was fitted to the server's kernels."""


def catalogued(
    runs: Sequence[PredictedRun], path: Path, predictor: Predictor
) -> list[PredictedRun]:
    """Runs of a table, those of measured servers predicted anew for the catalogue's device.

    Parameters
    ----------
    runs
        Predicted runs of the table.
    path
        The table.
    predictor
        Supplies the catalogues.
    """
    machines = RunMachines(predictor.catalogues.profiles)
    published = {run.run_id: run for run in read_runs(path)}
    return [_catalogued(run, published[run.run_id], machines) for run in runs]


def _catalogued(run: PredictedRun, published: PublishedRun, machines: RunMachines) -> PredictedRun:
    if server_accelerator(run.source_id, run.device) == run.device:
        return run
    request = run_request(published)
    if isinstance(request, Unsupported):
        return run
    return predicted_run(published, dataclasses.replace(request, accelerator=run.device), machines)


def server_errors(
    runs: Sequence[PredictedRun], catalogued_runs: Sequence[PredictedRun]
) -> tuple[ServerErrors, ...]:
    """Errors of each server's runs, with and without its own kernels.

    Parameters
    ----------
    runs
        Predicted runs; those of other machines are left aside.
    catalogued_runs
        The same as `catalogued` predicts them.
    """
    found = []
    for server in measured_servers():
        key = (server.source_id, server.device)
        own, others = (
            _errors([run for run in which if (run.source_id, run.device) == key])
            for which in (runs, catalogued_runs)
        )
        if own and others:
            found.append(
                ServerErrors(
                    source_id=server.source_id, device=server.device, catalogued=others, own=own
                )
            )
    return tuple(found)


def _errors(runs: Sequence[PredictedRun]) -> KnownErrors | None:
    summary = summarise([run.left_out_signed_error for run in runs])
    if summary is None:
        return None
    n_inside = sum(run.p10_s <= run.measured_step_time_s <= run.p90_s for run in runs)
    return KnownErrors(summary=summary, n_inside=n_inside)
