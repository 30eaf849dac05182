"""What the kernels that a source has published of its server are worth for its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from twin.validation.left_out import constants_without
from twin.validation.measured_servers import MeasuredServer, measured_servers
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run
from twin.validation.run_request import RunRequest
from twin.validation.statistics import ErrorSummary, summarise

__all__ = ["ServerErrors", "server_errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerErrors:
    """Left-out errors of the runs of one server."""

    source_id: str
    device: str
    catalogued: ErrorSummary
    """Predicted for the device of the catalogue."""
    own: ErrorSummary
    """Predicted for the profile that was fitted to the server's kernels."""


def server_errors(
    requests: Sequence[RunRequest], machines: RunMachines
) -> tuple[ServerErrors, ...]:
    """Errors of each server's runs, with and without its own kernels.

    Parameters
    ----------
    requests
        Runs that can be predicted; those of other machines are left aside.
    machines
        Where their machines come from.
    """
    found = []
    for server in measured_servers():
        runs = [one for one in requests if one.accelerator == server.accelerator]
        if not runs:
            continue
        catalogued = [dataclasses.replace(one, accelerator=server.device) for one in runs]
        found.append(_compared(server, catalogued, runs, machines))
    return tuple(found)


def _compared(
    server: MeasuredServer,
    catalogued: Sequence[RunRequest],
    own: Sequence[RunRequest],
    machines: RunMachines,
) -> ServerErrors:
    return ServerErrors(
        source_id=server.source_id,
        device=server.device,
        catalogued=_left_out(catalogued, machines),
        own=_left_out(own, machines),
    )


def _left_out(requests: Sequence[RunRequest], machines: RunMachines) -> ErrorSummary:
    errors = []
    for request in requests:
        _, step = predict_run(request, machines, constants_without(request.source_id))
        errors.append(step.time_s / request.measured_step_time_s - 1.0)
    summary = summarise(errors)
    if summary is None:
        msg = "no runs to judge"
        raise ValueError(msg)
    return summary
