"""Which rows the GEMM parameters of each accelerator are fitted on, and what is taken over."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from hardware_profiles.calibration import GemmCalibration
from kernels.calibration.fit_gemm import (
    GEMM_BOUNDS,
    GEMM_COLUMNS,
    OVERHEAD_BOUNDS,
    GemmFit,
    GemmFitter,
)
from kernels.calibration.measurements import Mask, Table
from kernels.calibration.session import Session, library_mask
from kernels.calibration.simplex import Bound

__all__ = ["gemm_calibrations"]

NVIDIA_DEVICES = ("A100-SXM4-80GB", "H100-SXM5-80GB", "H200-SXM-141GB", "B200-SXM", "GB200")

AIC = "ai-dynamo/aiconfigurator tables (gemm.parquet), weight shapes (n, k) set aside: 1/5 by hash"

FP8_LIBRARY = ("trtllm",)
"""The smoother of two: the other picks from a hand-made table of kernels by m."""

FP8_LAUNCH_S = 2.3e-6
"""With conversions in the timing the launch is not visible; as bf16 on the same devices. [s]"""

UNKNOWN_SPREAD = 0.2
"""For parameters taken over from a sibling or judged on a handful of rows. [1]"""

MI300X_POWER_W = 750.0
MI325X_POWER_W = 1000.0


def _rows(session: Session, device: str, dtype: str) -> Table:
    table = session.table("gemm.parquet", GEMM_COLUMNS)
    return table.where(
        (table["device"] == device) & (table["dtype"] == dtype) & (table["batch"] == 1)
    )


def _large(rows: Table) -> Mask:
    return np.asarray(np.minimum(np.minimum(rows["m"], rows["n"]), rows["k"]) >= 1024)


def _pinned(parameters: dict[str, float], **free: Bound) -> dict[str, Bound]:
    held = {name: Bound(low=one, high=one, start=one) for name, one in parameters.items()}
    return held | free


def _calibration(
    session: Session, fit: GemmFit, source: str, *, figure_class: str = "fitted"
) -> GemmCalibration:
    spread = fit.heldout_large.log_spread if fit.heldout_large else UNKNOWN_SPREAD
    return GemmCalibration(
        **fit.parameters,
        provenance=session.provenance(
            source,
            figure_class=figure_class,
            n_samples=fit.n_samples,
            heldout=fit.heldout,
            spread=spread,
        ),
    )


def _taken_over(one: GemmCalibration, reason: str, *, spread: float = 0.0) -> GemmCalibration:
    provenance = msgspec.structs.replace(
        one.provenance,
        figure_class="inherited",
        source=f"{reason}; {one.provenance.source}",
        heldout_median_ape_fraction=None,
        relative_spread_fraction=max(one.provenance.relative_spread_fraction, spread),
    )
    return msgspec.structs.replace(one, provenance=provenance)


def _nvidia(session: Session, fitter: GemmFitter, device: str) -> dict[str, GemmCalibration]:
    figures = session.figures[device]
    fit = fitter.fit(_rows(session, device, "bf16"), figures, "bf16")
    session.report(f"GEMM {device} bf16", heldout=fit.heldout, large=fit.heldout_large)
    bf16 = _calibration(session, fit, AIC)
    found = {
        "bf16": bf16,
        "fp16": _taken_over(bf16, "as bf16: same tensor rate and traffic"),
        "tf32": _taken_over(bf16, "as bf16: share of its own peak", spread=0.15),
    }
    if "fp8" in figures.peak_flop_per_s:
        rows = _rows(session, device, "fp8")
        rows = rows.where(library_mask(rows, FP8_LIBRARY))
        launch = Bound(low=FP8_LAUNCH_S, high=FP8_LAUNCH_S, start=FP8_LAUNCH_S)
        fit = fitter.fit(
            rows, figures, "fp8", bounds=GEMM_BOUNDS | OVERHEAD_BOUNDS | {"launch_s": launch}
        )
        session.report(f"GEMM {device} fp8", heldout=fit.heldout, large=fit.heldout_large)
        found["fp8"] = _calibration(
            session,
            fit,
            f"{AIC}; TensorRT-LLM rows, conversion of the activations fitted beside the kernel "
            f"and left out ({fit.overhead['harness_s'] * 1e6:.1f} us and "
            f"{fit.overhead['conversion_bytes_per_element']:.1f} byte per element)",
        )
    return found


def _fp32(session: Session, fitter: GemmFitter, device: str) -> GemmCalibration:
    """True fp32 without tensor cores; the framework's host time is fitted and left out."""
    rows = _rows(session, device, "fp32")
    rows = rows.where(library_mask(rows, ("cublas", "rocblas")))
    launch = Bound(low=2.5e-6, high=2.5e-6, start=2.5e-6)
    fit = fitter.fit(
        rows,
        session.figures[device],
        "fp32",
        bounds=GEMM_BOUNDS | {"launch_s": launch, "harness_s": OVERHEAD_BOUNDS["harness_s"]},
    )
    session.report(f"GEMM {device} fp32", heldout=fit.heldout, large=fit.heldout_large)
    source = "sitar-lab/NeuSight torch.linear, weight shapes (n, k) set aside: 1/5 by hash"
    return _calibration(session, fit, f"{device}: {source}")


def _amd_family(session: Session, fitter: GemmFitter) -> GemmFit:
    rows = _rows(session, "MI355X", "bf16")
    fit = fitter.fit(rows, session.figures["MI355X"], "bf16")
    session.report("GEMM MI355X bf16 (family)", heldout=fit.heldout, large=fit.heldout_large)
    return fit


def _mi300x(
    session: Session, fitter: GemmFitter, family: GemmFit
) -> dict[str, dict[str, GemmCalibration]]:
    """Family constants; only the share of peak is fitted, on the large shapes of this part."""
    figures = session.figures["MI300X"]
    rows = _rows(session, "MI300X", "bf16")
    free = _pinned(
        family.parameters,
        tensor_efficiency_fraction=GEMM_BOUNDS["tensor_efficiency_fraction"],
    )
    fit = fitter.fit(rows.where(_large(rows)), figures, "bf16", bounds=free)
    fit = replace(fit, heldout=None, heldout_large=None)
    source = (
        "MI355X constants (ROCm/aiter tuned GEMM tables) with the share of peak fitted on the "
        "large MI300X shapes (ROCm/hipBLASLt logic files, stas00/ml-engineering)"
    )
    mi300x = _calibration(session, fit, source)
    gain = (MI325X_POWER_W / MI300X_POWER_W) ** 0.5
    efficiency = min(
        mi300x.tensor_efficiency_fraction * gain, family.parameters["tensor_efficiency_fraction"]
    )
    mi325x = _taken_over(
        msgspec.structs.replace(mi300x, tensor_efficiency_fraction=efficiency),
        "MI300X with the share of peak scaled by the root of the power limits; two public "
        "8192-cubed rows are 4 and 9 % below",
    )
    fp8_rows = _rows(session, "MI300X", "fp8_block128")
    fp8 = fitter.fit(fp8_rows, figures, "fp8")
    session.report("GEMM MI300X fp8", heldout=fp8.heldout, large=fp8.heldout_large)
    fp8_source = "ROCm/aiter tuned block-scaled fp8 GEMM, weight shapes set aside: 1/5 by hash"
    found = {}
    for name, bf16 in (("mi300x", mi300x), ("mi325x", mi325x)):
        one = _calibration(session, fp8, fp8_source)
        found[name] = {
            "bf16": bf16,
            "fp16": _taken_over(bf16, "as bf16"),
            "fp8": one if name == "mi300x" else _taken_over(one, "as MI300X", spread=0.15),
        }
    return found


def _mi250x(session: Session, fitter: GemmFitter, family: GemmFit) -> dict[str, GemmCalibration]:
    """MI210 rows: the same die with 104 of 110 units; their host time is left out."""
    rows = _rows(session, "MI210", "fp16")
    free = _pinned(
        family.parameters,
        tensor_efficiency_fraction=GEMM_BOUNDS["tensor_efficiency_fraction"],
        fill_depth=GEMM_BOUNDS["fill_depth"],
        feed_ratio=GEMM_BOUNDS["feed_ratio"],
        wave_smoothing_fraction=Bound(low=0.1, high=0.9, start=0.5),
        harness_s=OVERHEAD_BOUNDS["harness_s"],
    )
    found = {}
    for dtype in ("bf16", "fp16"):
        rows = _rows(session, "MI210", dtype)
        fit = fitter.fit(rows, session.figures["MI210"], dtype, bounds=free)
        session.report(f"GEMM MI210 {dtype}", heldout=fit.heldout, large=fit.heldout_large)
        source = (
            "MI210 rows (ROCm/hipBLASLt logic files of 2023, 104-unit die) on MI355X family "
            f"constants; {fit.overhead['harness_s'] * 1e6:.0f} us of host time per row left out"
        )
        one = _calibration(session, fit, source, figure_class="inherited")
        wide = msgspec.structs.replace(one.provenance, relative_spread_fraction=0.12)
        found[dtype] = msgspec.structs.replace(one, provenance=wide)
    found["fp32"] = _taken_over(_fp32(session, fitter, "MI210"), "MI210, same die")
    return found


def gemm_calibrations(session: Session) -> dict[str, dict[str, GemmCalibration]]:
    """GEMM parameters by accelerator and dtype."""
    fitter = GemmFitter()
    found: dict[str, dict[str, GemmCalibration]] = {}
    for device in NVIDIA_DEVICES:
        for accelerator in session.figures[device].accelerators:
            found[accelerator] = _nvidia(session, fitter, device)
    found["a100-sxm-40gb"] = {
        dtype: _taken_over(one, "A100 80 GB through its datasheet bandwidth")
        for dtype, one in found["a100-sxm-80gb"].items()
    }
    ampere = _taken_over(_fp32(session, fitter, "A100-PCIE-80GB"), "A100 PCIe, same chip")
    hopper = _fp32(session, fitter, "H100-SXM5-80GB")
    for accelerator in ("a100-sxm-40gb", "a100-sxm-80gb"):
        found[accelerator]["fp32"] = ampere
    found["h100-sxm"]["fp32"] = hopper
    for accelerator in ("h200-sxm", "b200-sxm", "gb200"):
        found[accelerator]["fp32"] = _taken_over(hopper, "H100", spread=UNKNOWN_SPREAD)
    family = _amd_family(session, fitter)
    found |= _mi300x(session, fitter, family)
    found["mi250x-gcd"] = _mi250x(session, fitter, family)
    return found
