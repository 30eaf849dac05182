"""The tree of terms behind each quantity of a prediction."""

from __future__ import annotations

from twin.energy.step_energy import step_power
from twin.explain.inputs import ProfileInputs, computed, given, total
from twin.explain.power_terms import power_terms
from twin.explain.step_terms import step_time_term
from twin.explain.term import Term
from twin.prediction import Prediction
from twin.training.predictor import StepPredictor
from twin.training.step import Step
from twin.workload.parameters import model_flop_per_token, total_parameters

__all__ = ["prediction_terms"]


def _memory_term(prediction: Prediction) -> Term:
    use = prediction.memory
    parts = (
        ("weights", use.weights_bytes, "parameters of the fullest device · stored width"),
        ("gradients", use.gradients_bytes, "parameters · width of the gradient buffer"),
        ("optimizer", use.optimizer_bytes, "parameters · (master copy + moments) / shards"),
        ("activations", use.activations_bytes, "kept per layer · layers · micro-batches in flight"),
        ("buffers", use.buffers_bytes, "gathered parameters + the fuller of loss and one layer"),
        ("fragmentation", use.fragmentation_bytes, "share of (activations + buffers)"),
        ("overhead", use.overhead_bytes, "driver, libraries and communication of the framework"),
    )
    children = tuple(
        computed(name, value, "byte", relation="formula", formula=formula)
        for name, value, formula in parts
    )
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
    return {
        "tokens_per_s": tokens_per_s,
        "tokens_per_s_per_device": per_device,
        "model_flop_per_s_per_device": model_flop,
        **_utilisation_terms(prediction, predictor, model_flop),
    }


def _utilisation_terms(
    prediction: Prediction, predictor: StepPredictor, model_flop: Term
) -> dict[str, Term]:
    """Shares of the dense peak: counted once, and with what recomputation repeats."""
    precision = predictor.job.precision
    peak = ProfileInputs(predictor.job.machine).figure(
        f"dense peak {precision}",
        predictor.device.peak_flop_per_s(precision),
        "flop/s",
        f"accelerator.compute.peak_flop_per_s.{precision}",
    )
    mfu = computed(
        "mfu",
        prediction.mfu,
        "1",
        relation="quotient",
        formula="model flop per second / dense peak",
        children=(model_flop, peak),
    )
    repeated = computed(
        "work executed over work counted once",
        prediction.hfu / prediction.mfu,
        "1",
        relation="formula",
        formula="1 + what recomputation repeats",
    )
    hfu = computed(
        "hfu",
        prediction.hfu,
        "1",
        relation="product",
        formula="mfu · work executed / work counted once",
        children=(mfu, repeated),
    )
    return {"mfu": mfu, "hfu": hfu}


def prediction_terms(
    prediction: Prediction, predictor: StepPredictor, step: Step
) -> dict[str, Term]:
    """Trees by quantity; sums add up to their parent."""
    power = step_power(predictor.job, prediction.plan, step, predictor.power)
    step_term = step_time_term(predictor, prediction.plan, step)
    powers = power_terms(predictor, power)
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
