"""The report that ``twin predict`` prints without ``--json``."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from twin.cli.output import bar, table
from twin.quantities import quantity, shown

if TYPE_CHECKING:
    from twin.prediction import Interval, Prediction
    from twin.scenario.scenario import PlanRequest
    from twin.training.plan import Plan

__all__ = ["plan_words", "predict_lines", "similar_words"]

HEADLINE = ("tokens_per_s", "tokens_per_s_per_device", "mfu", "step_time_s")
POWER = ("device_power_w", "node_power_w", "it_power_w", "facility_power_w")
ENERGY = ("energy_per_step_j", "energy_per_token_j")
RUN = ("run_time_s", "run_energy_j", "run_cost_eur")
TEXT_WIDTH = 98
"""Characters of a line of prose. [1]"""

SMALLEST_SHARE = 1e-3
"""Share of the step below which a cause is named without its figure. [1]"""
LABELS = {
    "tokens_per_s": "throughput",
    "tokens_per_s_per_device": "throughput per device",
    "mfu": "MFU",
    "it_power_w": "IT power",
}
MEMORY = (
    "weights_bytes",
    "gradients_bytes",
    "optimizer_bytes",
    "activations_bytes",
    "buffers_bytes",
    "fragmentation_bytes",
    "overhead_bytes",
)


def predict_lines(prediction: Prediction, *, command: str) -> list[str]:
    """Lines of the report.

    Parameters
    ----------
    prediction
        What the twin answered.
    command
        The command line in execution; the last line turns it into the question why.
    """
    blocks = [
        [_title(prediction), f"plan: {plan_words(prediction.plan, prediction.scenario.plan)}"],
        _figures(prediction, HEADLINE),
        _time(prediction),
        _memory(prediction),
        ["power and energy", *_figures(prediction, (*POWER, *ENERGY)), _pue(prediction)],
        _run(prediction),
        _similar(prediction),
        _warnings(prediction),
        [f"why: {_why(command)}"],
    ]
    return [line for block in blocks if block for line in (*block, "")][:-1]


def _groups(plan: Plan) -> str:
    return "" if plan.shard_group is None else f" in groups of {plan.shard_group}*"


def _layers(plan: Plan) -> str:
    return "" if plan.recompute_layers is None else f" of {plan.recompute_layers} layers*"


def similar_words(prediction: Prediction) -> str:
    """How far published runs of the same kind are missed, in one line."""
    similar = prediction.similar_runs
    if similar is None:
        return "no published run is known to compare with"
    return (
        f"{similar.n} published runs {similar.scope} are missed by {similar.median_ape:.1%} in the "
        f"median, 90 % of them by less than {similar.p90_ape:.0%} (their sources left out)"
    )


def _similar(prediction: Prediction) -> list[str]:
    return textwrap.wrap(similar_words(prediction), width=TEXT_WIDTH)


def plan_words(plan: Plan, pinned: PlanRequest) -> str:
    """The plan in one line; a star marks what the user pinned."""
    sizes = [
        f"{name} {getattr(plan, name)}{_star(pinned, name)}"
        for name in ("tp", "pp", "vpp", "cp", "ep", "dp")
        if getattr(plan, name) > 1 or _star(pinned, name)
    ]
    words = [
        *(sizes or ["one device"]),
        f"zero {plan.zero}{_star(pinned, 'zero')}{_groups(plan)}",
        f"micro-batch {plan.micro_batch}{_star(pinned, 'micro_batch')}",
        f"recompute {plan.recompute}{_star(pinned, 'recompute')}{_layers(plan)}",
        f"{plan.attention} attention{_star(pinned, 'attention')}",
        f"sequence parallel {'on' if plan.sequence_parallel else 'off'}"
        f"{_star(pinned, 'sequence_parallel')}",
    ]
    marks = "   (* given)" if any("*" in word for word in words) else ""
    return ", ".join(words) + marks


def _star(pinned: PlanRequest, name: str) -> str:
    return "*" if getattr(pinned, name, None) is not None else ""


def _title(prediction: Prediction) -> str:
    scenario = prediction.scenario
    return (
        f"{scenario.model} on {scenario.devices} devices of {scenario.cluster}: "
        f"{scenario.seq_len} tokens a sequence, {scenario.global_batch} sequences a step, "
        f"{scenario.precision}, {scenario.framework}"
    )


def _figures(prediction: Prediction, names: Iterable[str]) -> list[str]:
    """Name, value, unit and range of some quantities."""
    rows = []
    for name in names:
        number, unit = quantity(name).parts(getattr(prediction, name))
        rows.append([_words(name), number, unit, _range(name, prediction.interval.get(name))])
    return table(rows, align="lrll")


def _words(name: str) -> str:
    """Label of a quantity: its name in words, without the unit that the value shows."""
    if name in LABELS:
        return LABELS[name]
    stem = name
    for unit in ("_bytes", "_s", "_w", "_j", "_eur"):
        stem = stem.removesuffix(unit)
    return stem.replace("_", " ")


def _range(name: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    entry = quantity(name)
    low, high = (entry.text(value, n_digits=3) for value in (interval.p10, interval.p90))
    return f"p10 {low} .. p90 {high}"


def _time(prediction: Prediction) -> list[str]:
    """Exposed time by cause, longest first, and what runs behind it."""
    total_s = prediction.step_time_s
    causes = _longest_first(prediction.breakdown)
    rows = [
        [cause.replace("_", " "), *_share(seconds, total_s), bar(seconds / total_s)]
        for cause, seconds in causes
        if seconds >= SMALLEST_SHARE * total_s
    ]
    lines = ["step time, where it goes", *table(rows, align="lrrrl")]
    hidden = [
        f"{cause.replace('_', ' ')} {shown('step_time_s', seconds)}"
        for cause, seconds in _longest_first(prediction.hidden)
        if seconds >= SMALLEST_SHARE * total_s
    ]
    small = [
        cause.replace("_", " ")
        for cause, seconds in causes
        if 0 < seconds < SMALLEST_SHARE * total_s
    ]
    if small:
        lines.append(f"  less than {SMALLEST_SHARE:.1%} each: {', '.join(small)}")
    if hidden:
        lines.append(f"  hidden behind compute: {', '.join(hidden)}")
    return lines


def _longest_first(causes: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(causes.items(), key=lambda item: -item[1])


def _share(part: float, whole: float) -> tuple[str, str, str]:
    number, unit = quantity("step_time_s").parts(part)
    return number, unit, f"{100 * part / whole:.1f} %"


def _memory(prediction: Prediction) -> list[str]:
    used, capacity = prediction.memory_bytes_per_device, prediction.memory_capacity_bytes
    verdict = "fits" if prediction.fits_memory else "DOES NOT FIT"
    number, _ = quantity("memory_bytes_per_device").parts(used)
    rows = [
        [
            _words(name),
            *quantity(name).parts(getattr(prediction.memory, name)),
            bar(getattr(prediction.memory, name) / max(used, capacity)),
        ]
        for name in MEMORY
    ]
    return [
        f"memory per device: {number} of {shown('memory_capacity_bytes', capacity)}, {verdict}",
        *table(rows, align="lrll"),
    ]


def _pue(prediction: Prediction) -> str:
    cap_w = prediction.scenario.power_cap_w
    cap = "none" if cap_w is None else f"{cap_w:g} W per device"
    return f"  PUE {shown('pue', prediction.pue)}, power cap {cap}"


def _run(prediction: Prediction) -> list[str]:
    tokens = prediction.scenario.tokens
    if tokens is None:
        return []
    return [f"whole run of {tokens:g} tokens", *_figures(prediction, RUN)]


def _warnings(prediction: Prediction) -> list[str]:
    return [f"! {warning.message} ({warning.code})" for warning in prediction.warnings]


def _why(command: str) -> str:
    words = shlex.split(command)
    return shlex.join(["twin", "explain", *words[2:]]) if words[1:2] == ["predict"] else command
