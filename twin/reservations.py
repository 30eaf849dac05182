"""Warnings that belong to a result: where a model leaves what it was fitted on."""

from __future__ import annotations

from twin.energy.step_energy import StepPower
from twin.intervals import MEMORY_SPREAD_FRACTION, interval
from twin.network_uncertainty import network_class
from twin.prediction import MemoryUse, PredictionWarning
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step

__all__ = ["figure_classes", "warnings_of"]

MOST_NODES_MEASURED = 512
"""Largest number of nodes in the collective measurements behind the fabric model. [1]"""

CAP_TOLERANCE = 1.005
"""Mean power over the cap above which the cap counts as exceeded. [1]"""

GIGABYTE = 1e9
CLASS_ORDER = ("measured", "fitted", "datasheet", "assumed", "user")


def _calibration_warnings(predictor: StepPredictor) -> list[PredictionWarning]:
    accelerator = predictor.job.machine.accelerator
    calibration = accelerator.calibration
    found = []
    if accelerator.status == "announced":
        found.append(
            PredictionWarning(
                code="W_ANNOUNCED",
                message=f"{accelerator.name} is announced: its figures are the vendor's preview "
                "or assumed, none measured",
            )
        )
    if not calibration.gemm:
        source = predictor.device.gemm_calibration(predictor.job.precision).provenance.source
        found.append(
            PredictionWarning(
                code="W_DATASHEET_ONLY",
                message=f"no product was measured on {accelerator.name}: its datasheet and "
                f"constants of relatives ({source})",
            )
        )
    backward = predictor.device.attention_calibration.backward_provenance
    if backward.figure_class in ("assumed", "inherited"):
        found.append(
            PredictionWarning(
                code="W_BACKWARD_ATTENTION",
                message=f"backward attention on {accelerator.name} is {backward.figure_class}, "
                "not measured",
            )
        )
    if calibration.power is None or calibration.power.provenance.figure_class == "assumed":
        found.append(
            PredictionWarning(
                code="W_POWER_ASSUMED",
                message=f"power parameters of {accelerator.name} are not fitted to measurements",
            )
        )
    return found


def _plan_warnings(predictor: StepPredictor, plan: Plan) -> list[PredictionWarning]:
    job = predictor.job
    node = job.machine.node
    found = []
    domain = node.intra_node.domain_n_devices or node.n_devices
    if plan.tp > domain:
        found.append(
            PredictionWarning(
                code="W_TENSOR_ACROSS_NODES",
                message=f"tp={plan.tp} crosses nodes of {domain} devices",
            )
        )
    if job.n_nodes > MOST_NODES_MEASURED:
        found.append(
            PredictionWarning(
                code="W_EXTRAPOLATED",
                message=f"{job.n_nodes} nodes: collectives are known up to "
                f"{MOST_NODES_MEASURED}, beyond is extrapolation",
            )
        )
    return found


def _network_warnings(predictor: StepPredictor) -> list[PredictionWarning]:
    job = predictor.job
    if job.n_nodes <= 1 or network_class(job.machine) not in ("assumed", "datasheet"):
        return []
    cluster = job.machine.cluster
    return [
        PredictionWarning(
            code="W_NETWORK_ASSUMED",
            message=f"collectives over {cluster.fabric.name} of {cluster.name} were not measured: "
            "shares and latencies of networks like it",
        )
    ]


def _cap_warnings(
    predictor: StepPredictor, step: Step, power: StepPower
) -> list[PredictionWarning]:
    """A cap that the clock cannot hold, or that the mean of a step exceeds.

    The clock follows the mix of a layer. A head in 16 bits behind layers in 4 draws more than they
    do, and its own clock is not predicted.
    """
    cap_w = predictor.job.power_cap_w
    clock_fraction = step.compute.clock_fraction
    exceeds = power.device_w > CAP_TOLERANCE * cap_w
    # A clock that is never lowered stands at its lowest whatever the cap: what it draws decides.
    is_lowest = clock_fraction <= predictor.power.minimum_clock_fraction * 1.001
    if is_lowest and (clock_fraction < 1.0 or exceeds):
        message = f"a cap of {cap_w:g} W is below what the lowest clock draws"
    elif exceeds:
        message = (
            f"the head draws more than the layers that set the clock: {power.device_w:.0f} W "
            f"on the mean, above the cap of {cap_w:g} W"
        )
    else:
        return []
    return [PredictionWarning(code="W_CAP_NOT_HELD", message=message)]


def warnings_of(
    predictor: StepPredictor, plan: Plan, *, step: Step, power: StepPower, memory: MemoryUse
) -> tuple[PredictionWarning, ...]:
    """All reservations about one prediction, most important first."""
    job = predictor.job
    found: list[PredictionWarning] = []
    capacity = job.machine.accelerator.memory.capacity_bytes
    if memory.total_bytes > capacity:
        found.append(
            PredictionWarning(
                code="W_DOES_NOT_FIT",
                message=f"needs {memory.total_bytes / GIGABYTE:.1f} GB of "
                f"{capacity / GIGABYTE:.1f} GB per device",
            )
        )
    elif interval(memory.total_bytes, MEMORY_SPREAD_FRACTION).p90 > capacity:
        found.append(
            PredictionWarning(
                code="W_MEMORY_TIGHT",
                message=f"fits with {memory.total_bytes / GIGABYTE:.1f} of "
                f"{capacity / GIGABYTE:.1f} GB, within the uncertainty of the memory model",
            )
        )
    found += _plan_warnings(predictor, plan)
    found += _calibration_warnings(predictor)
    found += _network_warnings(predictor)
    found += _cap_warnings(predictor, step, power)
    if job.machine.overridden_keys:
        keys = ", ".join(job.machine.overridden_keys)
        found.append(
            PredictionWarning(code="W_OVERRIDDEN", message=f"set by the user for this once: {keys}")
        )
    return tuple(found)


def _ordered(classes: set[str]) -> tuple[str, ...]:
    renamed = {"assumed" if c == "inherited" else c for c in classes}
    return tuple(c for c in CLASS_ORDER if c in renamed)


def figure_classes(predictor: StepPredictor) -> dict[str, tuple[str, ...]]:
    """Classes of the inputs behind each quantity, strongest first."""
    device = predictor.device
    time_classes = {
        "datasheet",
        device.gemm_calibration(predictor.job.precision).provenance.figure_class,
        device.attention_calibration.provenance.figure_class,
        device.attention_calibration.backward_provenance.figure_class,
        device.memory_bound_calibration.provenance.figure_class,
    }
    if predictor.job.n_nodes > 1:
        time_classes.add(network_class(predictor.job.machine))
    power_classes = {"datasheet", device.power_calibration.provenance.figure_class}
    if predictor.job.machine.overridden_keys:
        time_classes.add("user")
        power_classes.add("user")
    time = _ordered(time_classes)
    energy = _ordered(time_classes | power_classes)
    rates = ("step_time_s", "tokens_per_s", "tokens_per_s_per_device", "mfu", "hfu")
    powers = ("device_power_w", "node_power_w", "it_power_w", "facility_power_w")
    energies = ("energy_per_step_j", "energy_per_token_j")
    return {
        **dict.fromkeys((*rates, "model_flop_per_s_per_device"), time),
        **dict.fromkeys((*powers, *energies), energy),
        "memory_bytes_per_device": ("datasheet", "assumed"),
    }
