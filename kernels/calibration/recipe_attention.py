"""Which rows the attention parameters of each accelerator come from, by implementation."""

from __future__ import annotations

import msgspec
import numpy as np

from hardware_profiles.calibration import AttentionCalibration
from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    AttentionShape,
    attention_backward_time,
    attention_flop,
    attention_forward_time,
)
from kernels.calibration.device_figures import DeviceFigures
from kernels.calibration.fit_attention import (
    ATTENTION_BOUNDS,
    ATTENTION_COLUMNS,
    AttentionFit,
    AttentionFitter,
    attention_machine,
)
from kernels.calibration.measurements import Table
from kernels.calibration.session import Session
from kernels.calibration.simplex import Bound

__all__ = ["attention_calibrations"]

REFERENCE = AttentionShape(1.0, 32.0, 8.0, 8192.0, 8192.0, 128.0, 0.5, 2.0)
"""Shape of present-day training at which rates are compared."""

BACKWARD_RATE_RATIO = 0.8
"""Rate per flop of a tuned backward pass over the forward one. [1]"""

BACKWARD_SPREAD = 0.15

BACKWARD_BOUND = Bound(low=0.1, high=1.0, start=0.5)

THIN_BOUNDS = {
    "launch_s": Bound(low=5e-6, high=60e-6, start=20e-6),
    "traffic_factor": Bound(low=1.5, high=1.5, start=1.5),
    "diagonal_blocks": Bound(low=0.1, high=2.0, start=0.8),
}
"""Tables without small shapes: what they cannot tell stays near the values of other devices."""

CALL_LAUNCH_S = 10e-6
"""Launch of a bare flash call as on the other devices, where a timing holds more. [s]"""

CUDNN_SHARE = {"hopper": 0.53, "blackwell": 0.54}
"""Share of peak of forward and backward together in training, at infinite length. [1]"""

HALF_RATE_TOKENS = 800.0
"""Sequence length at which that share is halved. [tokens]"""

AIC = (
    "ai-dynamo/aiconfigurator bare flash rows (attention.parquet), (heads, KV heads, head dim) "
    "set aside: 1/5 by hash"
)

ASSUMED_BACKWARD = (
    "0.8 of the forward rate per flop at 8,192 tokens and head dim 128: tuned kernels on AMD and "
    "FlashAttention-2 on A100 lie at 0.75 to 0.9"
)


def _combined_share(figures: DeviceFigures, parameters: dict[str, float]) -> float:
    machine = attention_machine(figures, "bf16", parameters)
    flop = attention_flop(REFERENCE, FORWARD_PRODUCTS + BACKWARD_PRODUCTS)
    time_s = attention_forward_time(REFERENCE, machine).time_s
    time_s += attention_backward_time(REFERENCE, machine).time_s
    return flop / time_s / machine.peak_flop_per_s


def _rate_ratio(figures: DeviceFigures, parameters: dict[str, float]) -> float:
    machine = attention_machine(figures, "bf16", parameters)
    forward_s = attention_forward_time(REFERENCE, machine).time_s
    backward_s = attention_backward_time(REFERENCE, machine).time_s
    return BACKWARD_PRODUCTS / FORWARD_PRODUCTS * forward_s / backward_s


def _with_backward_ratio(figures: DeviceFigures, parameters: dict[str, float]) -> dict[str, float]:
    """Backward efficiency such that the rate per flop is the assumed share of the forward's."""
    low, high = 0.02, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        trial = parameters | {"backward_matrix_efficiency_fraction": middle}
        is_slow = _rate_ratio(figures, trial) < BACKWARD_RATE_RATIO
        low, high = (middle, high) if is_slow else (low, middle)
    return parameters | {"backward_matrix_efficiency_fraction": low}


def _scaled_to(
    figures: DeviceFigures, parameters: dict[str, float], share: float
) -> dict[str, float]:
    """All rates scaled until forward and backward together reach a share of peak."""
    low, high = 0.3, 3.0
    for _ in range(50):
        factor = 0.5 * (low + high)
        reached = _combined_share(figures, _faster(parameters, factor))
        low, high = (factor, high) if reached < share else (low, factor)
    return _faster(parameters, low)


def _faster(parameters: dict[str, float], factor: float) -> dict[str, float]:
    """Efficiencies, exponentials and dependency latency scaled together."""
    changed = dict(parameters)
    for name in (
        "matrix_efficiency_fraction",
        "backward_matrix_efficiency_fraction",
        "exponentials_per_clock_per_unit",
    ):
        changed[name] = parameters[name] * factor
    changed["block_latency_s"] = parameters["block_latency_s"] / factor
    return changed


def _rows(
    session: Session, device: str, libraries: tuple[str, ...], directions: tuple[str, ...]
) -> Table:
    parts = []
    for name in ("attention.parquet", "attention_more.csv"):
        table = session.table(name, ATTENTION_COLUMNS)
        keep = (table["device"] == device) & np.isin(table["library"], libraries)
        parts.append(table.where(keep & np.isin(table["direction"], directions)))
    return Table(
        columns={name: np.concatenate([part[name] for part in parts]) for name in ATTENTION_COLUMNS}
    )


def _pinned(parameters: dict[str, float], **free: Bound) -> dict[str, Bound]:
    held = {name: Bound(low=one, high=one, start=one) for name, one in parameters.items()}
    return held | free


def _calibration(
    session: Session,
    parameters: dict[str, float],
    forward: tuple[str, str, AttentionFit | None, float],
    backward: tuple[str, str, AttentionFit | None, float],
) -> AttentionCalibration:
    """Struct from parameters and (class, source, fit, spread) of both directions."""
    provenances = []
    for figure_class, source, fit, spread in (forward, backward):
        heldout = fit.heldout if fit else None
        n_samples = fit.n_samples if fit else None
        provenances.append(
            session.provenance(
                source,
                figure_class=figure_class,
                n_samples=n_samples,
                heldout=heldout,
                spread=spread,
            )
        )
    return AttentionCalibration(
        **parameters, provenance=provenances[0], backward_provenance=provenances[1]
    )


def _large_spread(fit: AttentionFit) -> float:
    return fit.heldout_large.log_spread if fit.heldout_large else 0.15


def _bare_flash(
    session: Session, fitter: AttentionFitter, device: str, rows: Table
) -> tuple[AttentionCalibration, dict[str, float]]:
    figures = session.figures[device]
    fit = fitter.fit(rows, figures)
    session.report(f"attention {device}", heldout=fit.heldout, large=fit.heldout_large)
    parameters = _with_backward_ratio(figures, fit.parameters)
    one = _calibration(
        session,
        parameters,
        ("fitted", AIC, fit, _large_spread(fit)),
        ("assumed", ASSUMED_BACKWARD, None, BACKWARD_SPREAD),
    )
    return one, parameters


def _cudnn(
    session: Session, figures: DeviceFigures, parameters: dict[str, float], family: str
) -> AttentionCalibration:
    share = CUDNN_SHARE[family] * REFERENCE.key_len / (REFERENCE.key_len + HALF_RATE_TOKENS)
    scaled = _scaled_to(figures, parameters, share)
    source = (
        f"flash parameters of this device scaled to {CUDNN_SHARE[family]} of peak, forward and "
        "backward together at infinite length, fitted on published TransformerEngine training runs"
    )
    both = ("assumed", source, None, BACKWARD_SPREAD)
    return _calibration(session, scaled, both, both)


def _flash_2_ampere(session: Session, fitter: AttentionFitter) -> AttentionCalibration:
    figures = session.figures["A100-SXM4-80GB"]
    rows = _rows(session, "A100-SXM4-80GB", ("sglang-0.5.10:flash_attention",), ("fwd",))
    forward = fitter.fit(rows, figures)
    session.report("attention A100 flash-2", heldout=forward.heldout, large=forward.heldout_large)
    rows = _rows(session, "A100-SXM4-80GB", ("flash-attention-2",), ("bwd",))
    free = _pinned(forward.parameters, backward_matrix_efficiency_fraction=BACKWARD_BOUND)
    backward = fitter.fit(rows, figures, bounds=free, keeps_all=True)
    session.report("attention A100 flash-2 backward (fitted rows)", fitted=backward.heldout)
    paper = "FlashAttention-2 paper, figures 4 to 7, second hand; error on the fitted rows"
    return _calibration(
        session,
        backward.parameters,
        ("fitted", AIC, forward, _large_spread(forward)),
        ("fitted", paper, backward, 0.08),
    )


def _flash_2_hopper(
    session: Session, fitter: AttentionFitter, ampere: AttentionCalibration
) -> AttentionCalibration:
    """Forward and backward are only timed together: both keep the proportion of the A100."""
    figures = session.figures["H100-SXM5-80GB"]
    rows = _rows(
        session, "H100-SXM5-80GB", ("flash-attention-2 (no Hopper features)",), ("fwd_bwd",)
    )
    known = {name: float(getattr(ampere, name)) for name in ATTENTION_BOUNDS}
    free = _pinned(
        known,
        block_latency_s=Bound(low=0.02e-6, high=1e-6, start=known["block_latency_s"]),
        matrix_efficiency_fraction=Bound(low=0.1, high=1.0, start=0.5, prior_sigma=0.1),
        backward_matrix_efficiency_fraction=Bound(
            low=0.08,
            high=0.8,
            start=0.5
            * known["backward_matrix_efficiency_fraction"]
            / known["matrix_efficiency_fraction"],
            prior_sigma=0.1,
        ),
    )
    fit = fitter.fit(rows, figures, bounds=free, keeps_all=True, prior_weight=1e-4)
    session.report(
        "attention H100 flash-2 (fitted rows)", heldout=fit.heldout, large=fit.heldout_large
    )
    source = (
        "FlashAttention-2 paper, forward and backward together on H100, second hand; split "
        "between them as on A100; error on the fitted rows"
    )
    return _calibration(
        session, fit.parameters, ("fitted", source, fit, 0.1), ("fitted", source, fit, 0.12)
    )


def _hopper_rows(session: Session, device: str) -> Table:
    libraries = ("sglang-0.5.14:flash_attention_v3", "sglang-0.5.14:fa3")
    return _rows(session, device, libraries, ("fwd",))


def _blackwell_rows(session: Session, device: str) -> Table:
    """Version 4 is timed at narrow heads only; wide heads from the vendor's kernel."""
    narrow = ("sglang-0.5.14:flash_attention_v4", "vllm-0.24.0:vllm_vit_flash_attn_fa4")
    rows = _rows(session, device, (*narrow, "sglang-0.5.14:trtllm_mha"), ("fwd",))
    return rows.where(np.isin(rows["library"], narrow) | (rows["head_dim"] == 128))


def _aiter(session: Session, fitter: AttentionFitter) -> dict[str, AttentionCalibration]:
    """MI355X kernels of head dim 128; grouped backward fell back to a slow path and is left out."""
    figures = session.figures["MI355X"]
    rows = _rows(session, "MI355X", ("aiter",), ("fwd", "bwd"))
    tuned = (rows["heads_q"] == rows["heads_kv"]) | (rows["direction"] == "fwd")
    rows = rows.where(tuned & (rows["head_dim"] == 128))
    forward = fitter.fit(
        rows.where(rows["direction"] == "fwd"),
        figures,
        bounds=ATTENTION_BOUNDS | THIN_BOUNDS,
        keeps_all=True,
    )
    session.report("attention MI355X aiter forward", fitted=forward.heldout)
    # Timed through automatic differentiation, with host time of its own.
    free = _pinned(
        forward.parameters,
        backward_matrix_efficiency_fraction=BACKWARD_BOUND,
        launch_s=Bound(low=5e-6, high=300e-6, start=60e-6),
    )
    backward = rows.where(rows["direction"] == "bwd")
    fit = fitter.fit(backward, figures, bounds=free, keeps_all=True)
    session.report("attention MI355X aiter backward", fitted=fit.heldout)
    found = {}
    for accelerator, share in (("mi300x", 0.76), ("mi325x", 0.88)):
        source = (
            f"MI355X rows (HazyResearch/HipKittens, AITER kernels) times {share}, the ratio of "
            "the GEMM shares of peak (power limit)"
        )
        both = ("inherited", source, None, 0.2)
        scaled = _faster(fit.parameters, share) | {"launch_s": CALL_LAUNCH_S}
        found[accelerator] = _calibration(session, scaled, both, both)
    return found


def _ck(
    session: Session, fitter: AttentionFitter, aiter: AttentionCalibration
) -> tuple[AttentionCalibration, AttentionCalibration]:
    """MI300X from three shapes with backward; MI250X assumed from it."""
    rows = _rows(session, "MI300X", ("flash-attn-2-rocm(ck)",), ("fwd", "bwd"))
    known = {name: float(getattr(aiter, name)) for name in ATTENTION_BOUNDS}
    known["exponentials_per_clock_per_unit"] = 16.0
    free = _pinned(
        known,
        matrix_efficiency_fraction=Bound(low=0.1, high=1.0, start=0.4),
        backward_matrix_efficiency_fraction=Bound(low=0.05, high=1.0, start=0.25),
    )
    fit = fitter.fit(rows, session.figures["MI300X"], bounds=free, keeps_all=True)
    session.report(
        "attention MI300X ck (fitted rows)", heldout=fit.heldout, large=fit.heldout_large
    )
    source = "ROCm/flash-attention issue 142: three shapes of 16,384 tokens; error on them"
    both = ("fitted", source, fit, 0.2)
    mi300x = _calibration(session, fit.parameters, both, both)
    assumed = (
        "assumed",
        "MI300X parameters of the same library on the narrower units of the MI250X die",
        None,
        0.3,
    )
    return mi300x, _calibration(session, fit.parameters, assumed, assumed)


def attention_calibrations(session: Session) -> dict[str, dict[str, AttentionCalibration]]:
    """Attention parameters by accelerator and implementation."""
    fitter = AttentionFitter()
    ampere = _flash_2_ampere(session, fitter)
    found = {name: {"flash-2": ampere} for name in ("a100-sxm-40gb", "a100-sxm-80gb")}
    flash_2 = _flash_2_hopper(session, fitter, ampere)
    for device, accelerator in (("H100-SXM5-80GB", "h100-sxm"), ("H200-SXM-141GB", "h200-sxm")):
        flash, parameters = _bare_flash(session, fitter, device, _hopper_rows(session, device))
        cudnn = _cudnn(session, session.figures[device], parameters, "hopper")
        found[accelerator] = {"flash-2": flash_2, "flash-3": flash, "cudnn": cudnn}
    for device, accelerator in (("B200-SXM", "b200-sxm"), ("GB200", "gb200")):
        flash, parameters = _bare_flash(session, fitter, device, _blackwell_rows(session, device))
        cudnn = _cudnn(session, session.figures[device], parameters, "blackwell")
        found[accelerator] = {"flash-4": flash, "cudnn": cudnn}
    aiter = _aiter(session, fitter)
    mi300x_ck, mi250x_ck = _ck(session, fitter, aiter["mi300x"])
    for accelerator, one in aiter.items():
        found[accelerator] = {"aiter": one, "ck": mi300x_ck}
    found["mi250x-gcd"] = {"ck": mi250x_ck}
    old = found["a100-sxm-40gb"]["flash-2"]
    source = f"A100 80 GB through its datasheet bandwidth; {old.provenance.source}"
    moved = msgspec.structs.replace(old.provenance, figure_class="inherited", source=source)
    found["a100-sxm-40gb"] = {"flash-2": msgspec.structs.replace(old, provenance=moved)}
    return found
