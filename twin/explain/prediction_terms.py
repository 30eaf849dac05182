"""The tree of terms behind each quantity of a prediction."""

from __future__ import annotations

from twin.energy.step_energy import StepPower, step_power
from twin.explain.inputs import ProfileInputs, computed, given, total
from twin.explain.step_terms import step_time_term
from twin.explain.term import Term
from twin.prediction import Prediction
from twin.training.predictor import StepPredictor
from twin.training.step import Step
from twin.workload.parameters import model_flop_per_token, total_parameters

__all__ = ["prediction_terms"]


def _power_terms(predictor: StepPredictor, power: StepPower) -> dict[str, Term]:
    job = predictor.job
    inputs = ProfileInputs(job.machine)
    fitted = predictor.device.power_calibration
    key = "accelerator.calibration.power"
    node = job.machine.node
    device = total(
        "device_power_w",
        "W",
        (
            inputs.figure("idle", power.idle_w, "W", "accelerator.power.idle_w"),
            computed(
                "occupied units",
                power.busy_w,
                "W",
                relation="formula",
                formula="busy power · clock · voltage²",
                children=(
                    inputs.parameter(
                        "busy power",
                        fitted.busy_w,
                        "W",
                        key=f"{key}.busy_w",
                        provenance=fitted.provenance,
                    ),
                ),
            ),
            computed(
                "arithmetic",
                power.arithmetic_w,
                "W",
                relation="formula",
                formula="energy per flop · work · voltage² / step time",
                children=(
                    inputs.parameter(
                        "energy per 16-bit flop",
                        fitted.energy_per_flop_j,
                        "J/flop",
                        key=f"{key}.energy_per_flop_j",
                        provenance=fitted.provenance,
                    ),
                ),
            ),
            computed(
                "memory traffic",
                power.hbm_w,
                "W",
                relation="formula",
                formula="energy per byte · bytes / step time",
            ),
            computed(
                "links", power.link_w, "W", relation="formula", formula="energy per byte · bytes"
            ),
        ),
    )
    parts = node.power
    node_term = computed(
        "node_power_w",
        power.node_w,
        "W",
        relation="formula",
        formula=(
            "(devices + processors + memory + cards + switches + storage) · (1 + fans) / supply"
        ),
        children=(
            computed(
                "devices",
                node.n_devices * power.device_w,
                "W",
                relation="product",
                children=(device,),
            ),
            inputs.figure("one processor", parts.cpu_training_w, "W", "node.power.cpu_training_w"),
            inputs.figure("memory", parts.memory_w, "W", "node.power.memory_w"),
            inputs.figure("one network card", parts.nic_w, "W", "node.power.nic_w"),
            inputs.figure("link switches", parts.switch_w, "W", "node.power.switch_w"),
            inputs.figure("storage", parts.storage_w, "W", "node.power.storage_w"),
            inputs.figure("fans", parts.fan_fraction, "1", "node.power.fan_fraction"),
            inputs.figure(
                "supply efficiency",
                parts.supply_efficiency_fraction,
                "1",
                "node.power.supply_efficiency_fraction",
            ),
        ),
    )
    it = total(
        "it_power_w",
        "W",
        (
            computed(
                "nodes",
                power.it_w - power.network_w,
                "W",
                relation="product",
                formula="nodes · node power",
                children=(given("nodes", job.n_nodes, "1", "scenario"), node_term),
            ),
            computed(
                "network", power.network_w, "W", relation="formula", formula="switches per card"
            ),
        ),
    )
    facility = computed(
        "facility_power_w",
        power.facility_w,
        "W",
        relation="product",
        formula="it power · pue",
        children=(it, inputs.figure("pue", power.pue, "1", "site.pue")),
    )
    return {
        "device_power_w": device,
        "node_power_w": node_term,
        "it_power_w": it,
        "facility_power_w": facility,
    }


def _memory_term(prediction: Prediction) -> Term:
    use = prediction.memory
    parts = (
        ("weights", use.weights_bytes),
        ("gradients", use.gradients_bytes),
        ("optimizer", use.optimizer_bytes),
        ("activations", use.activations_bytes),
        ("buffers", use.buffers_bytes),
        ("overhead", use.overhead_bytes),
    )
    children = tuple(computed(name, value, "byte", relation="formula") for name, value in parts)
    return total("memory_bytes_per_device", "byte", children)


def _rate_terms(prediction: Prediction, predictor: StepPredictor, step: Term) -> dict[str, Term]:
    job = predictor.job
    tokens = given("tokens per step", job.tokens_per_step, "token", "global batch · sequence")
    devices = given("devices", job.n_devices, "1", "scenario")
    tokens_per_s = computed(
        "tokens_per_s",
        prediction.tokens_per_s,
        "token/s",
        relation="quotient",
        formula="tokens per step / step time",
        children=(tokens, step),
    )
    per_device = computed(
        "tokens_per_s_per_device",
        prediction.tokens_per_s_per_device,
        "token/s",
        relation="quotient",
        formula="tokens per second / devices",
        children=(tokens_per_s, devices),
    )
    flop_per_token = computed(
        "work per token",
        model_flop_per_token(job.model, job.seq_len),
        "flop/token",
        relation="formula",
        formula="6 · matrix parameters + 12 · layers · width · sequence / 2 (causal half)",
        children=(
            given("parameters", total_parameters(job.model), "1", f"model {job.model.name}"),
        ),
    )
    model_flop = computed(
        "model_flop_per_s_per_device",
        prediction.model_flop_per_s_per_device,
        "flop/s",
        relation="product",
        formula="tokens per second and device · work per token",
        children=(per_device, flop_per_token),
    )
    peak_key = f"accelerator.compute.peak_flop_per_s.{job.precision}"
    peak = ProfileInputs(job.machine).figure(
        f"dense peak {job.precision}",
        predictor.device.peak_flop_per_s(job.precision),
        "flop/s",
        peak_key,
    )
    mfu = computed(
        "mfu",
        prediction.mfu,
        "1",
        relation="quotient",
        formula="model flop per second / dense peak",
        children=(model_flop, peak),
    )
    return {
        "tokens_per_s": tokens_per_s,
        "tokens_per_s_per_device": per_device,
        "model_flop_per_s_per_device": model_flop,
        "mfu": mfu,
    }


def prediction_terms(
    prediction: Prediction, predictor: StepPredictor, step: Step
) -> dict[str, Term]:
    """Trees by quantity; sums add up to their parent."""
    power = step_power(predictor.job, prediction.plan, step, predictor.power)
    step_term = step_time_term(predictor, prediction.plan, step)
    powers = _power_terms(predictor, power)
    energy = computed(
        "energy_per_step_j",
        prediction.energy_per_step_j,
        "J",
        relation="product",
        formula="it power · step time",
        children=(powers["it_power_w"], step_term),
    )
    tokens = given(
        "tokens per step", predictor.job.tokens_per_step, "token", "global batch · sequence"
    )
    return {
        "step_time_s": step_term,
        **_rate_terms(prediction, predictor, step_term),
        "memory_bytes_per_device": _memory_term(prediction),
        **powers,
        "energy_per_step_j": energy,
        "energy_per_token_j": computed(
            "energy_per_token_j",
            prediction.energy_per_token_j,
            "J/token",
            relation="quotient",
            formula="energy per step / tokens per step",
            children=(energy, tokens),
        ),
    }
