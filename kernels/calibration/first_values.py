"""First values of the calibrated parameters, fitted from a folder of measured tables.

Writes the ``[calibration]`` tables of each measured accelerator as TOML, ready to be put at the
end of its profile. What has no rows is not written here: the profile says itself what it assumes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from kernels.all_reduce.model import IN_SWITCH_MINIMUM_RANKS
from kernels.calibration.device_figures import DeviceFigures
from kernels.calibration.fit_attention import ATTENTION_COLUMNS, AttentionFitter
from kernels.calibration.fit_collectives import (
    COLLECTIVE_BOUNDS,
    COLLECTIVE_COLUMNS,
    SWITCH_GAIN_BOUND,
    CollectiveFitter,
)
from kernels.calibration.fit_gemm import (
    GEMM_BOUNDS,
    GEMM_COLUMNS,
    OVERHEAD_BOUNDS,
    GemmFitter,
)
from kernels.calibration.measurements import Mask, Table, read_table
from kernels.calibration.simplex import FittedErrors

__all__ = ["calibration_tables"]

GEMM_DEVICES = {
    "A100-SXM4-80GB": ("a100-sxm-80gb", ("bf16",)),
    "H100-SXM5-80GB": ("h100-sxm", ("bf16", "fp8")),
    "H200-SXM-141GB": ("h200-sxm", ("bf16", "fp8")),
    "B200-SXM": ("b200-sxm", ("bf16", "fp8")),
    "GB200": ("gb200", ("bf16", "fp8")),
}
"""Measured device to its profile and the dtypes with many rows."""

FP8_LIBRARY = "trtllm"
"""Of two serving stacks the one whose rows follow the kernel smoothly; what it adds to convert
inputs is fitted and left out, since training fuses the conversion."""

ATTENTION_ROWS = {
    "H100-SXM5-80GB": ("h100-sxm", "flash-3", ("fa3", "flash_attention_v3")),
    "H200-SXM-141GB": ("h200-sxm", "flash-3", ("fa3", "flash_attention_v3")),
    "B200-SXM": ("b200-sxm", "cudnn", ("trtllm_mha", "trtllmprefill")),
}
"""Measured device to its profile, the implementation, and the libraries that hold it."""

COLLECTIVE_DEVICES = {
    "A100-SXM4-80GB": "a100-sxm-80gb",
    "H100-SXM5-80GB": "h100-sxm",
    "H200-SXM-141GB": "h200-sxm",
    "B200-SXM": "b200-sxm",
    "MI300X": "mi300x",
}

SWITCHES_THAT_ADD = ("h100-sxm", "h200-sxm", "b200-sxm")
"""Accelerators whose node switch reduces."""

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")

SIDE_TRAFFIC = {"launch_s": 6e-6, "traffic_factor": 1.0}
"""Serving frameworks time rotary embedding and the cache write with attention; a training step
counts those elsewhere, so launch and traffic are set back to the bare kernel's."""

SOURCE = "ai-dynamo/aiconfigurator measured tables"
BACKWARD_NOTE = "backward products at 0.8 of the forward rate: assumed, no public measurement"
BACKWARD_RATE = 0.8
BACKWARD_SPREAD = 0.15
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTable:
    """One ``[calibration.…]`` table."""

    accelerator: str
    name: str
    parameters: Mapping[str, float]
    provenance: str
    backward_provenance: str | None = None

    def text(self) -> str:
        """The table as TOML."""
        lines = [f"[calibration.{self.name}]"]
        lines += [f"{key} = {value:.{DIGITS}g}" for key, value in self.parameters.items()]
        lines.append(f"provenance = {self.provenance}")
        if self.backward_provenance:
            lines.append(f"backward_provenance = {self.backward_provenance}")
        return "\n".join(lines)


def device_figures(accelerator: Accelerator) -> DeviceFigures:
    """What fits need of a profile."""
    link = accelerator.link
    return DeviceFigures(
        accelerators=(accelerator.name,),
        n_units=accelerator.compute.n_units,
        clock_hz=accelerator.compute.boost_clock_hz,
        memory_bandwidth_bytes_per_s=accelerator.memory.bandwidth_bytes_per_s,
        link_bandwidth_bytes_per_s=link.bandwidth_bytes_per_s if link else None,
        peak_flop_per_s=accelerator.compute.peak_flop_per_s,
    )


def _provenance(source: str, n_samples: int, errors: FittedErrors | None, spread: float) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    held = ""
    if errors is not None:
        held = f", heldout_median_ape_fraction = {errors.median_ape_fraction:.3f}"
    return (
        f'{{ figure_class = "fitted", source = "{source}", date = "{today}", '
        f"n_samples = {n_samples}{held}, relative_spread_fraction = {spread:.3f} }}"
    )


def _contains(column: Mask, parts: tuple[str, ...]) -> Mask:
    return np.array([any(part in str(text) for part in parts) for text in column])


def gemm_tables(folder: Path, catalogue: Catalogue) -> Iterator[FittedTable]:
    """Fit matrix products of every device with many rows."""
    table = read_table(folder / "gemm.parquet", GEMM_COLUMNS)
    fitter = GemmFitter()
    plain = (table["batch"] <= 1) & (table["flag"] == "")
    for device, (profile, dtypes) in GEMM_DEVICES.items():
        for dtype in dtypes:
            chosen = plain & (table["device"] == device) & (table["dtype"] == dtype)
            bounds = GEMM_BOUNDS
            if dtype == "fp8":
                chosen = chosen & _contains(table["library"], (FP8_LIBRARY,))
                bounds = {**GEMM_BOUNDS, **OVERHEAD_BOUNDS}
            figures = device_figures(catalogue.accelerator(profile))
            fit = fitter.fit(table.where(chosen), figures, dtype, bounds=bounds)
            large = fit.heldout_large
            yield FittedTable(
                accelerator=profile,
                name=f"gemm.{dtype}",
                parameters=fit.parameters,
                provenance=_provenance(
                    f"{SOURCE}, {device} {dtype} GEMM; a fifth of the weight shapes set aside",
                    fit.n_samples,
                    fit.heldout,
                    large.log_spread if large else BACKWARD_SPREAD,
                ),
            )


def attention_tables(folder: Path, catalogue: Catalogue) -> Iterator[FittedTable]:
    """Fit fused attention, forward, of every implementation with many rows."""
    table = read_table(folder / "attention.parquet", ATTENTION_COLUMNS)
    fitter = AttentionFitter()
    for device, (profile, implementation, libraries) in ATTENTION_ROWS.items():
        chosen = (table["device"] == device) & (table["direction"] == "fwd")
        chosen = chosen & _contains(table["library"], libraries)
        figures = device_figures(catalogue.accelerator(profile))
        fit = fitter.fit_forward(table.where(chosen), figures, "bf16")
        forward = {**fit.parameters, **SIDE_TRAFFIC}
        backward = BACKWARD_RATE * forward["matrix_efficiency_fraction"]
        large = fit.heldout_large
        yield FittedTable(
            accelerator=profile,
            name=f"attention.{implementation}",
            parameters={**forward, "backward_matrix_efficiency_fraction": backward},
            provenance=_provenance(
                f"{SOURCE}, {device} prefill attention; a fifth of the head tuples set aside",
                fit.n_samples,
                fit.heldout,
                large.log_spread if large else BACKWARD_SPREAD,
            ),
            backward_provenance=(
                f'{{ figure_class = "assumed", source = "{BACKWARD_NOTE}", '
                f"relative_spread_fraction = {BACKWARD_SPREAD} }}"
            ),
        )


def _is_vendor_library(name: str) -> bool:
    return name.startswith(("nccl-2", "rccl"))


def collective_tables(folder: Path, catalogue: Catalogue) -> Iterator[FittedTable]:
    """Fit collectives of the vendor's library on one node."""
    table = read_table(folder / "collectives.csv", COLLECTIVE_COLUMNS)
    fitter = CollectiveFitter()
    vendor = np.array([_is_vendor_library(str(name)) for name in table["library"]])
    plain = vendor & (table["nodes"] == 1) & (table["latency_us"] > 0)
    for device, profile in COLLECTIVE_DEVICES.items():
        accelerator = catalogue.accelerator(profile)
        link = accelerator.link
        for operation in OPERATIONS:
            chosen = plain & (table["device"] == device) & (table["op"] == operation)
            if not chosen.any() or link is None:
                continue
            rows = table.where(chosen)
            bounds = dict(COLLECTIVE_BOUNDS)
            reaches_the_switch = max(rows["ranks"]) >= IN_SWITCH_MINIMUM_RANKS
            if operation == "all_reduce" and reaches_the_switch and profile in SWITCHES_THAT_ADD:
                bounds["in_switch_gain"] = SWITCH_GAIN_BOUND
            fit = fitter.fit(
                rows,
                operation,
                link_bandwidth_bytes_per_s=link.bandwidth_bytes_per_s,
                peer_bandwidth_bytes_per_s=link.peer_bandwidth_bytes_per_s,
                bounds=bounds,
            )
            yield FittedTable(
                accelerator=profile,
                name=f"collective.{operation}",
                parameters=fit.parameters,
                provenance=_provenance(
                    f"{device} {operation} on one node, messages up to the largest timed, vendor "
                    "library; groups of (operation, ranks) set aside for the error",
                    fit.n_samples,
                    fit.heldout_large,
                    max(fit.large.log_spread, 0.05),
                ),
            )


def calibration_tables(folder: Path) -> dict[str, str]:
    """Text of the calibration tables by accelerator profile.

    Parameters
    ----------
    folder
        Holds gemm.parquet, attention.parquet and collectives.csv in the documented columns.
    """
    catalogue = Catalogue()
    found: dict[str, list[str]] = {}
    for source in (gemm_tables, attention_tables, collective_tables):
        for table in source(folder, catalogue):
            found.setdefault(table.accelerator, []).append(table.text())
    return {name: "\n\n".join(texts) + "\n" for name, texts in found.items()}
