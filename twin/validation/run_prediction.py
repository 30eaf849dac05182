"""One published run predicted: its training job, with the shipped constants or others."""

from __future__ import annotations

from twin.training.job import TrainingJob
from twin.training.plan_rules import check_plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step
from twin.validation.run_constants import SHIPPED, RunConstants
from twin.validation.run_machines import RunMachines
from twin.validation.run_request import RunRequest

__all__ = ["predict_run", "run_job"]


def run_job(
    request: RunRequest, machines: RunMachines, constants: RunConstants = SHIPPED
) -> TrainingJob:
    """The training job of a published run."""
    machine = machines.machine(
        request.accelerator,
        n_devices_per_node=request.devices_per_node,
        network_bytes_per_s=request.inter_node_bandwidth_bytes_per_s_per_node,
        n_network_cards=request.n_network_cards,
    )
    return TrainingJob(
        model=request.transformer,
        machine=constants.machine(machine),
        n_devices=request.n_devices,
        seq_len=request.seq_len,
        global_batch=request.global_batch,
        precision=request.precision,
        framework=constants.framework(request.framework),
        power_cap_w=machine.accelerator.power.tdp_w,
    )


def predict_run(
    request: RunRequest, machines: RunMachines, constants: RunConstants = SHIPPED
) -> tuple[StepPredictor, Step]:
    """Predict the step of one run, with the shipped constants or others.

    Raises
    ------
    TweelingError
        The plan breaks a rule, or the device is unknown.
    """
    predictor = StepPredictor(run_job(request, machines, constants))
    check_plan(predictor.job, request.plan)
    return predictor, predictor.step(request.plan)
