"""Where the step time goes, what memory holds, what draws power: horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui.format import fixed
from tui.widgets.lines import Line
from twin.prediction import Prediction
from twin.quantities import quantity

__all__ = ["breakdown_lines", "breakdown_names", "memory_lines", "power_lines"]

LABELS = {
    "gemm_forward": "gemm fwd",
    "gemm_backward": "gemm bwd",
    "attention_forward": "attention fwd",
    "attention_backward": "attention bwd",
    "memory_bound": "memory-bound",
    "host_launch": "launches",
    "head_and_loss": "head, loss",
    "recompute": "recompute",
    "tp_communication": "tp comm",
    "cp_communication": "cp comm",
    "fsdp_communication": "fsdp comm",
    "overlap_slowdown": "overlap cost",
    "pp_bubble": "pp bubble",
    "pp_communication": "pp comm",
    "dp_communication": "dp comm",
    "optimizer": "optimizer",
    "host_step": "host step",
    "stragglers": "stragglers",
}

LABEL_WIDTH = 15
NUMBER_WIDTH = 9
SMALLEST_SHARE = 0.001
"""Causes below this share of the step are summed up in one line. [1]"""


def _bar(exposed: float, hidden: float, *, full: float, width: int) -> tuple[str, str]:
    if full <= 0.0 or width <= 0:
        return "", ""
    n_exposed = round(width * exposed / full)
    n_hidden = min(width - n_exposed, round(width * hidden / full))
    return "#" * n_exposed, "." * n_hidden


def breakdown_names(prediction: Prediction) -> list[str]:
    """Causes worth a line, longest exposed time first; hidden time counts for being shown."""
    step_s = prediction.step_time_s
    totals = {
        cause: seconds + prediction.hidden.get(cause, 0.0)
        for cause, seconds in prediction.breakdown.items()
    }
    shown = [cause for cause, seconds in totals.items() if seconds >= SMALLEST_SHARE * step_s]
    return sorted(shown, key=lambda cause: -prediction.breakdown[cause])


def breakdown_lines(
    prediction: Prediction, *, width: int, height: int, as_table: bool
) -> list[Line]:
    """Bars of the causes of time: ``#`` exposed, ``.`` hidden behind compute.

    The last line says what was left out.
    """
    names = breakdown_names(prediction)
    room = max(1, height - 1)
    shown = names[:room]
    step_s = prediction.step_time_s
    longest = max(
        (prediction.breakdown[n] + prediction.hidden.get(n, 0.0) for n in shown), default=0.0
    )
    bar_width = max(4, width - LABEL_WIDTH - NUMBER_WIDTH - 8)
    lines: list[Line] = []
    for name in shown:
        exposed_s = prediction.breakdown[name]
        hidden_s = prediction.hidden.get(name, 0.0)
        seconds = quantity("step_time_s").text(exposed_s, n_digits=3)
        share = f"{100.0 * exposed_s / step_s:5.1f} %"
        label = (fixed(f" {LABELS.get(name, name)}", LABEL_WIDTH), "dim")
        tail = [(fixed(seconds, NUMBER_WIDTH, align="right"), ""), (share, "dim")]
        if as_table:
            hidden = quantity("step_time_s").text(hidden_s, n_digits=3) if hidden_s else "-"
            lines.append([label, *tail, (f"   hidden {hidden}", "dim")])
            continue
        solid, dotted = _bar(exposed_s, hidden_s, full=longest, width=bar_width)
        lines.append(
            [
                label,
                (solid, _tone(name)),
                (dotted, "dim"),
                (" " * (bar_width - len(solid) - len(dotted)), ""),
                *tail,
            ]
        )
    lines.append(_rest(prediction, names, shown))
    return lines


def _rest(prediction: Prediction, names: Sequence[str], shown: Sequence[str]) -> Line:
    left = sum(
        seconds for cause, seconds in prediction.breakdown.items() if cause not in set(shown)
    )
    n_more = len(prediction.breakdown) - len(shown)
    text = quantity("step_time_s").text(left, n_digits=3) if left > 0 else "0 s"
    hint = "w shows all" if len(names) > len(shown) else "# exposed  . hidden"
    return [(f" {n_more} more: {text}   {hint}", "dim")]


def _tone(name: str) -> str:
    """Colour role of a cause: compute, communication, waiting."""
    if name.endswith("communication"):
        return "$secondary"
    if name in ("pp_bubble", "host_launch", "host_step", "stragglers", "overlap_slowdown"):
        return "$warning"
    return "$primary"


def _amounts(amounts: Mapping[str, float], *, name: str, width: int, full: float) -> list[Line]:
    bar_width = max(4, width - LABEL_WIDTH - NUMBER_WIDTH - 2)
    lines: list[Line] = []
    for label, amount in amounts.items():
        solid, _ = _bar(amount, 0.0, full=full, width=bar_width)
        number = quantity(name).text(amount, n_digits=3)
        lines.append(
            [
                (fixed(f" {label}", LABEL_WIDTH), "dim"),
                (solid.ljust(bar_width), "$primary"),
                (fixed(number, NUMBER_WIDTH + 1, align="right"), ""),
            ]
        )
    return lines


def memory_lines(prediction: Prediction, *, width: int) -> list[Line]:
    """Memory of the fullest device, by component, on the scale of its capacity."""
    use = prediction.memory
    amounts = {
        "weights": use.weights_bytes,
        "gradients": use.gradients_bytes,
        "optimizer": use.optimizer_bytes,
        "activations": use.activations_bytes,
        "buffers": use.buffers_bytes,
        "fragmentation": use.fragmentation_bytes,
        "overhead": use.overhead_bytes,
    }
    full = max(prediction.memory_capacity_bytes, prediction.memory_bytes_per_device)
    return _amounts(amounts, name="memory_bytes_per_device", width=width, full=full)


def power_lines(prediction: Prediction, *, width: int) -> list[Line]:
    """From the chip to the meter: device, node, all nodes, facility."""
    node = prediction.node_power_w
    rows = {
        "device": prediction.device_power_w,
        "node": node,
    }
    lines = _amounts(rows, name="node_power_w", width=width, full=node)
    for label, name in (("IT", "it_power_w"), ("facility", "facility_power_w")):
        text = quantity(name).text(getattr(prediction, name), n_digits=4)
        note = f"  PUE {prediction.pue:.2f}" if label == "facility" else ""
        lines.append([(fixed(f" {label}", LABEL_WIDTH), "dim"), (text + note, "")])
    energy = quantity("energy_per_step_j").text(prediction.energy_per_step_j)
    lines.append([(fixed(" energy/step", LABEL_WIDTH), "dim"), (energy, "")])
    return lines
