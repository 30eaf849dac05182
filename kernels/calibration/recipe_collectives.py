"""Which rows the collective parameters of each accelerator are fitted on."""

from __future__ import annotations

import msgspec
import numpy as np

from hardware_profiles.calibration import CollectiveCalibration
from kernels.calibration.fit_collectives import (
    COLLECTIVE_BOUNDS,
    COLLECTIVE_COLUMNS,
    CollectiveFit,
    CollectiveFitter,
    vendor_library_rows,
)
from kernels.calibration.measurements import Table
from kernels.calibration.session import Session, library_mask
from kernels.calibration.simplex import Bound

__all__ = ["collective_calibrations"]

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")

SWITCHED = ("A100-SXM4-80GB", "H100-SXM5-80GB", "H200-SXM-141GB", "B200-SXM", "GB200")

ADDING_SWITCHES = ("H100-SXM5-80GB", "H200-SXM-141GB", "B200-SXM", "GB200")

IN_SWITCH_GAIN = Bound(low=1.0, high=2.5, start=1.3)

ONE_GROUP_BOUNDS = {
    "local_copy_fraction": Bound(low=0.5, high=0.5, start=0.5),
    "latency_per_rank_s": Bound(low=1e-6, high=1e-6, start=1e-6),
}
"""With one group size the terms that depend on it cannot be told apart: family values."""

POINT_TO_POINT_EFFICIENCY = 0.75
"""Sends between pairs on A100 and H100 reach 0.76 to 0.91 of the link (microsoft/vidur). [1]"""

SWITCHED_SOURCE = (
    "nccl-tests rows on one node (ai-dynamo/aiconfigurator, VIA-Research/vTrain, SuperBench, Azure "
    "guide); errors from a fit without the (operation, ranks) groups set aside, 1/5 by hash, "
    "messages of 1 MiB and more; values from a fit on all"
)


def _calibration(session: Session, fit: CollectiveFit, source: str) -> CollectiveCalibration:
    spread = max(fit.fitted.log_spread, 0.05)
    if fit.heldout is not None:
        spread = max(spread, fit.heldout.median_ape_fraction)
    return CollectiveCalibration(
        **fit.parameters,
        provenance=session.provenance(
            source, n_samples=fit.n_samples, heldout=fit.heldout, spread=spread
        ),
    )


def _derived(
    one: CollectiveCalibration, reason: str, *, spread: float, **changes: float
) -> CollectiveCalibration:
    provenance = msgspec.structs.replace(
        one.provenance,
        figure_class="assumed",
        source=reason,
        heldout_median_ape_fraction=None,
        n_samples=None,
        relative_spread_fraction=spread,
    )
    return msgspec.structs.replace(one, provenance=provenance, **changes)


def _fit(session: Session, fitter: CollectiveFitter, rows: Table, device: str) -> CollectiveFit:
    link = session.figures[device].link_bandwidth_bytes_per_s
    bounds = dict(COLLECTIVE_BOUNDS)
    adds = rows["ranks"].max() >= 8 and rows["op"][0] == "all_reduce"
    if len(set(rows["ranks"])) == 1:
        bounds |= ONE_GROUP_BOUNDS
    if device in ADDING_SWITCHES and adds:
        bounds["in_switch_gain"] = IN_SWITCH_GAIN
    fit = fitter.fit(rows, np.full(len(rows), link), bounds=bounds)
    session.report(f"{rows['op'][0]} {device}", heldout=fit.heldout, fitted=fit.fitted)
    return fit


def _with_point_to_point(
    found: dict[str, CollectiveCalibration], source: str
) -> dict[str, CollectiveCalibration]:
    found["point_to_point"] = _derived(
        found["all_to_all"],
        f"share of the link from {source}; start-up as all-to-all",
        spread=0.15,
        bandwidth_efficiency_fraction=POINT_TO_POINT_EFFICIENCY,
        local_copy_fraction=0.02,
    )
    return found


def _switched(
    session: Session, fitter: CollectiveFitter, device: str
) -> dict[str, CollectiveCalibration]:
    table = session.table("collectives.csv", COLLECTIVE_COLUMNS)
    found = {}
    for operation in OPERATIONS:
        rows = vendor_library_rows(table, device, operation)
        found[operation] = _calibration(
            session, _fit(session, fitter, rows, device), SWITCHED_SOURCE
        )
    return _with_point_to_point(found, "send/receive rows on A100 and H100 (microsoft/vidur)")


def _with_gain(one: CollectiveCalibration, gain: float) -> CollectiveCalibration:
    """Eight ranks of the vendor library are not measured on Blackwell: gain of the H200."""
    source = f"in-switch gain taken over from H200; {one.provenance.source}"
    provenance = msgspec.structs.replace(one.provenance, source=source)
    return msgspec.structs.replace(one, in_switch_gain=gain, provenance=provenance)


def _from_all_reduce(
    session: Session, fit: CollectiveFit, source: str
) -> dict[str, CollectiveCalibration]:
    """Where only all-reduce is measured: the other operations share its links and start-up."""
    all_reduce = _calibration(session, fit, source)
    found = {"all_reduce": all_reduce}
    half = 0.5 * all_reduce.latency_s
    for operation in ("all_gather", "reduce_scatter"):
        found[operation] = _derived(
            all_reduce,
            "same links as the all-reduce fit, half of its start-up (one phase of two)",
            spread=0.15,
            latency_s=half,
            in_switch_gain=1.0,
        )
    found["all_to_all"] = _derived(
        all_reduce,
        "0.85 of the all-reduce's share of the links, as on switched machines",
        spread=0.25,
        bandwidth_efficiency_fraction=0.85 * all_reduce.bandwidth_efficiency_fraction,
        latency_s=half,
        in_switch_gain=1.0,
    )
    return _with_point_to_point(found, "A100 and H100 pairs, no data on this part")


def collective_calibrations(session: Session) -> dict[str, dict[str, CollectiveCalibration]]:
    """Collective parameters by accelerator and operation."""
    fitter = CollectiveFitter()
    found: dict[str, dict[str, CollectiveCalibration]] = {}
    for device in SWITCHED:
        for accelerator in session.figures[device].accelerators:
            found[accelerator] = _switched(session, fitter, device)
    gain = found["h200-sxm"]["all_reduce"].in_switch_gain
    for accelerator in ("b200-sxm", "gb200"):
        one = found[accelerator]["all_reduce"]
        found[accelerator]["all_reduce"] = _with_gain(one, gain)
    found["a100-sxm-40gb"] = found["a100-sxm-80gb"]
    table = session.table("collectives.csv", COLLECTIVE_COLUMNS)
    rows = vendor_library_rows(table, "MI300X", "all_reduce")
    mesh = _fit(session, fitter, rows.where(rows["ranks"] == 8), "MI300X")
    source = "rccl-tests rows of 8 MI300X (hisohara/ai-scripts, copy of the Azure guide)"
    for accelerator in ("mi300x", "mi325x"):
        found[accelerator] = _from_all_reduce(session, mesh, source)
    more = session.table("collectives_more.csv", COLLECTIVE_COLUMNS)
    rows = vendor_library_rows(more, "MI250X", "all_reduce")
    rows = rows.where(library_mask(rows, ("rccl 2.20.5 rccl-tests",)))
    frontier = _fit(session, fitter, rows, "MI250X")
    source = "rccl-tests on the 8 dies of one Frontier node (ggracelii/mpich-rccl)"
    found["mi250x-gcd"] = _from_all_reduce(session, frontier, source)
    return found
