"""Predicted power of the servers of one published run, beside what a meter says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from hardware_profiles.cluster import Node
from hardware_profiles.errors import TweelingError
from twin.energy.node_power import NodeParts
from twin.energy.run_power import run_parts
from twin.energy.step_energy import (
    Activity,
    DevicePower,
    device_power,
    step_activity,
    waiting_power_w,
)
from twin.intervals import SERVER_SPREAD_W, interval
from twin.training.predictor import StepPredictor
from twin.validation.adapter_step import adapter_activity
from twin.validation.node_power_table import NodePowerRow
from twin.validation.power_join import JoinedRun, with_stated_layout
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run
from twin.validation.run_request import RunRequest, Unsupported, run_request
from twin.validation.runs_table import PublishedRun

__all__ = ["ServerPower", "UnpredictedError", "predicted_server_power"]

REST_SPREAD = 0.3
"""Standard deviation of the power between steps, over the distance from waiting to a step: it is
somewhere between the two, evenly. [1]"""

ADAPTER_ASSUMPTIONS = (
    "adapters (LoRA) on frozen weights: the mix of a full step without weight gradients, their "
    "reduction and the optimizer; its time is not modelled yet and not used",
)


class UnpredictedError(TweelingError):
    """A row of server power that is not predicted, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPower:
    """One row of measured server power beside its prediction."""

    mlperf_version: str
    submitter: str
    system: str
    benchmark: str
    device: str
    n_nodes: int
    meter: str
    """ac: at the inlet; dc: behind the power supplies."""
    run_id: str
    joined_on: str
    measured_power_w: float
    """Mean of one server over the run. [W]"""
    predicted_power_w: float
    p10_w: float
    p90_w: float
    signed_error: float
    """Predicted over measured, minus one. [1]"""
    ape: float
    is_inside: bool
    """Whether the measured power lies between p10 and p90."""
    run_time_s: float
    """As measured; both energies use it. [s]"""
    measured_energy_j: float
    """Of all servers over the run. [J]"""
    predicted_energy_j: float
    steps_fraction: float
    """Share of the run spent in steps, as the run states it. [1]"""
    occupied_fraction: float
    """Share of a step in which kernels run on the mean device. [1]"""
    step_device: dict[str, float]
    """Mean power of a device in a step: idle_w, busy_w, arithmetic_w, hbm_w, link_w, total_w."""
    waiting_device_w: float
    parts: dict[str, float]
    """Mean power of the server over the run: devices_w, host_w, fans_w, supply_loss_w; the last is
    0 behind the supplies. They sum to predicted_power_w. [W]"""
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a run does to a device, and on whose model it stands."""

    predictor: StepPredictor
    activity: Activity
    assumptions: tuple[str, ...]


def predicted_server_power(
    row: NodePowerRow,
    joined: JoinedRun,
    *,
    machines: RunMachines,
    published: Sequence[PublishedRun],
) -> ServerPower:
    """Predict the mean power of a server over its run.

    Parameters
    ----------
    row
        The measurement.
    joined
        Its published run.
    machines
        Machines of published runs.
    published
        All runs, for a layout that this one leaves open.

    Raises
    ------
    TweelingError
        The run cannot be predicted.
    """
    run = joined.run
    if run.steps_share_fraction is None:
        msg = f"run {run.run_id} states no steps_share_of_run"
        raise UnpredictedError(msg)
    _require_same_size(row, run)
    work = _adapter_work(run, machines, published) if _is_adapter(run) else _work(run, machines)
    machine = work.predictor.power
    node = work.predictor.job.machine.node
    device = _capped(device_power(work.activity, machine), work.predictor.job.power_cap_w)
    waiting_w = waiting_power_w(machine)
    share = min(1.0, run.steps_share_fraction)
    parts = run_parts(
        node, step_device_w=device.total_w, waiting_device_w=waiting_w, steps_fraction=share
    )
    if row.meter == "dc":
        parts = replace(parts, supply_loss_w=0.0)
    band = interval(parts.inlet_w, _spread(work, node, parts, waiting_w=waiting_w, share=share))
    signed = parts.inlet_w / row.node_power_w - 1.0
    return ServerPower(
        mlperf_version=row.mlperf_version,
        submitter=row.submitter,
        system=row.system,
        benchmark=row.benchmark,
        device=row.device,
        n_nodes=row.n_nodes,
        meter=row.meter,
        run_id=run.run_id,
        joined_on=joined.how,
        measured_power_w=row.node_power_w,
        predicted_power_w=parts.inlet_w,
        p10_w=band.p10,
        p90_w=band.p90,
        signed_error=signed,
        ape=abs(signed),
        is_inside=band.p10 <= row.node_power_w <= band.p90,
        run_time_s=row.run_time_s,
        measured_energy_j=row.energy_j,
        predicted_energy_j=parts.inlet_w * row.n_nodes * row.run_time_s,
        steps_fraction=share,
        occupied_fraction=min(1.0, work.activity.occupied_s / work.activity.period_s),
        step_device={**asdict(device), "total_w": device.total_w},
        waiting_device_w=waiting_w,
        parts=asdict(parts),
        assumptions=work.assumptions,
    )


def _require_same_size(row: NodePowerRow, run: PublishedRun) -> None:
    n_devices = row.n_nodes * row.n_devices_per_node
    if run.n_devices != n_devices:
        msg = f"{n_devices} devices were metered and run {run.run_id} has {run.n_devices}"
        raise UnpredictedError(msg)


def _is_adapter(run: PublishedRun) -> bool:
    return run.task.lower() == "lora"


def _request(run: PublishedRun) -> RunRequest:
    request = run_request(run)
    if isinstance(request, Unsupported):
        raise UnpredictedError(request.why)
    return request


def _work(run: PublishedRun, machines: RunMachines) -> _Work:
    """A run whose step is predicted: power and time both come from the twin."""
    predictor, step = predict_run(_request(run), machines)
    activity = step_activity(predictor.job, _request(run).plan, step, predictor.power)
    return _Work(predictor=predictor, activity=activity, assumptions=())


def _adapter_work(
    run: PublishedRun, machines: RunMachines, published: Sequence[PublishedRun]
) -> _Work:
    """A run that trains adapters: the mix of computing and waiting, without a step time."""
    assumptions: tuple[str, ...] = ADAPTER_ASSUMPTIONS
    stated = run
    if None in (run.tp, run.pp, run.micro_batch):
        found = with_stated_layout(run, published)
        if found is None:
            msg = "adapters (LoRA): no layout is stated, and no or several by runs of its kind"
            raise UnpredictedError(msg)
        stated = found
        layout = f"tp={found.tp} pp={found.pp} cp={found.cp or 1} micro-batch {found.micro_batch}"
        how = f"layout {layout}, {found.precision}: as all runs of its kind state it"
        assumptions = (*assumptions, how)
    request = _request(replace(stated, task="pretrain"))
    predictor, _step = predict_run(request, machines)
    activity = adapter_activity(predictor, request.plan)
    return _Work(predictor=predictor, activity=activity, assumptions=assumptions)


def _capped(device: DevicePower, cap_w: float) -> DevicePower:
    """The cap holds for the mean of a step, whatever rounding of the clock leaves above it."""
    scale = min(1.0, cap_w / device.total_w)
    return DevicePower(**{name: scale * value for name, value in asdict(device).items()})


def _spread(work: _Work, node: Node, parts: NodeParts, *, waiting_w: float, share: float) -> float:
    """Standard deviation of the logarithm of a server's mean power over a run. [1]

    Devices as their calibration says, other parts as servers differ, and the time between steps,
    of which a part is evaluation.
    """
    device = work.predictor.device.power_calibration.provenance.relative_spread_fraction
    server = SERVER_SPREAD_W / max(parts.inlet_w, SERVER_SPREAD_W)
    # Devices carry their part of fans and losses.
    through = parts.inlet_w / (parts.devices_w + parts.host_w)
    devices = parts.devices_w * through / parts.inlet_w
    step_w = (parts.devices_w / node.n_devices - (1.0 - share) * waiting_w) / share
    rest_w = (1.0 - share) * (step_w - waiting_w) * node.n_devices * through
    return math.hypot(device * devices, server, REST_SPREAD * rest_w / parts.inlet_w)
