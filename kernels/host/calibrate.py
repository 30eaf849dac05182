"""A calibration of the host from start to end: measure, fit, judge, write."""

from __future__ import annotations

import importlib.metadata
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hardware_profiles.calibration import Provenance
from hardware_profiles.own_version import tweeling_version
from kernels.calibration.one_node import cluster_text, node_text, write_profile
from kernels.calibration.profiles import calibrated_profile
from kernels.calibration.report import FitReport
from kernels.gemm.cpu import blas_name
from kernels.host.compiled import compile_all
from kernels.host.facts import HostFacts, host_facts
from kernels.host.fit import FittedPart, fit_host
from kernels.host.journal import Journal
from kernels.host.levels import case_times
from kernels.host.measure import Measuring, measure_plan, single_thread
from kernels.host.plan import HostPlan, host_plan
from kernels.host.profile import accelerator_text, host_calibration, host_reports
from kernels.host.tables import write_tables

__all__ = ["HostOutcome", "calibrate_host"]

logger = logging.getLogger(__name__)

SMALLEST_SPREAD = 0.03
"""The same call differs by this from one minute to the next. [1]"""

RULE = "sizes set aside: drawn by rule before measuring (kernels/host/plan.py)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutcome:
    """What a calibration of the host leaves."""

    cluster: str
    """Name of the accelerator, of its node and of their cluster."""
    reports: tuple[FitReport, ...]
    files: tuple[Path, ...]


def calibrate_host(
    out: Path,
    *,
    is_quick: bool,
    plan: HostPlan | None = None,
    how: Measuring | None = None,
    prepare: Callable[[], None] = compile_all,
) -> HostOutcome:
    """Measure one thread of the host, fit the kernel models, write profile, node and cluster.

    Parameters
    ----------
    out
        Folder for profiles and, below ``measured``, for what was measured. A journal of an
        unfinished calibration that stands there is taken up.
    is_quick
        Fewer sizes and rounds: less than two minutes.
    plan, how, prepare
        Other sizes, timers and preparations than the real ones.

    Raises
    ------
    MeasurementError
        The journal that is there is broken, or of another device or software.
    KeyboardInterrupt
        Passed on once it is said where the rest can go on.
    """
    how = how or Measuring.on_this_thread()
    began_s = how.clock()
    facts, software = host_facts(), _software()
    plan = plan or host_plan(is_quick=is_quick)
    folder = out / "measured" / facts.name
    journal = Journal(
        folder / "journal.csv",
        identity={"device": facts.device.name, **software},
    )
    n_before = journal.open()
    if n_before:
        logger.info("going on: %d measurements are in %s", n_before, journal.path)
    try:
        logger.info("preparing: the first use on a machine compiles the kernels, a minute or two")
        with single_thread():
            prepare()
            measure_plan(plan, journal, how, began_s=began_s)
    except KeyboardInterrupt:
        logger.warning(
            "interrupted: %d measurements are in %s; the same command goes on from there",
            len(journal.visits),
            journal.path,
        )
        raise
    outcome = _finished(out, plan, journal, facts=facts, software=software)
    journal.close(keep_as=folder / "visits.csv")
    return outcome


def _software() -> dict[str, str]:
    return {
        "numpy": np.__version__,
        "blas": blas_name(),
        "numba": importlib.metadata.version("numba"),
    }


def _finished(
    out: Path, plan: HostPlan, journal: Journal, *, facts: HostFacts, software: dict[str, str]
) -> HostOutcome:
    started_s = time.monotonic()
    times = case_times(plan.cases, journal.visits)
    fit = fit_host(times, clock_hz=facts.clock_hz, l2_bytes=facts.l2_bytes)
    logger.info("fitted in %.0f s", time.monotonic() - started_s)
    date = datetime.now(UTC).date().isoformat()
    judged = _provenance(facts, date=date)
    name, title = facts.name, f"{facts.device.name}, one thread"
    profile = calibrated_profile(
        accelerator_text(facts, fit, date=date), host_calibration(fit, judged)
    )
    files = [
        *write_tables(out / "measured" / facts.name, times, facts=facts, software=software),
        write_profile(out / "accelerators" / f"{name}.toml", profile),
        write_profile(
            out / "nodes" / f"{name}.toml",
            node_text(name=name, title=title, accelerator=name, is_host=True),
        ),
        write_profile(out / "clusters" / f"{name}.toml", cluster_text(name=name, title=title)),
    ]
    return HostOutcome(cluster=name, reports=host_reports(name, fit, judged), files=tuple(files))


def _provenance(facts: HostFacts, *, date: str) -> Callable[[FittedPart], Provenance]:
    version = tweeling_version()

    def judged(part: FittedPart) -> Provenance:
        errors = part.heldout or part.fitted
        heldout = part.heldout
        return Provenance(
            figure_class="fitted",
            source=f"{facts.device.name}, one thread, CPU time, {part.part}; {RULE}",
            date=date,
            code_version=version,
            n_samples=part.n_fitted,
            n_heldout=heldout.n_rows if heldout else None,
            heldout_median_ape_fraction=heldout.median_ape_fraction if heldout else None,
            heldout_mean_ape_fraction=heldout.mean_ape_fraction if heldout else None,
            heldout_p90_ape_fraction=heldout.p90_ape_fraction if heldout else None,
            relative_spread_fraction=max(errors.log_spread, SMALLEST_SPREAD),
        )

    return judged
