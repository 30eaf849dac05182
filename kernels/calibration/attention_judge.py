"""Judgement of attention entries on rows set aside, and the provenance that says so."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, Calibration, Provenance
from kernels.calibration.fit_attention import heldout_mask
from kernels.calibration.measurements import Table
from kernels.calibration.session import Session
from kernels.calibration.simplex import FittedErrors, judge
from kernels.prediction.attention import AttentionTimes

__all__ = ["AttentionJudge", "sources_of"]

FITTED_SPREAD = 0.08
"""Least spread where only fitted rows can be judged. [1]"""


def sources_of(rows: Table) -> str:
    """Sources and libraries of rows, as a provenance names them."""
    libraries = ", ".join(sorted(set(rows["library"])))
    return f"{', '.join(sorted(set(rows['source_id'])))}: {libraries}"


@dataclass(frozen=True, slots=True)
class AttentionJudge:
    """Predicts rows with one entry, whatever their library, and compares."""

    session: Session
    times: AttentionTimes

    def errors(
        self, accelerator: Accelerator, rows: Table, entry: AttentionCalibration
    ) -> FittedErrors:
        """Errors of an entry on rows that it can predict."""
        calibration = Calibration(attention={"only": entry})
        alone = rows.columns | {"library": np.full(len(rows), "", dtype=object)}
        predicted_s = self.times.times_s(Table(columns=alone), accelerator, calibration)
        known = np.isfinite(predicted_s)
        return judge(predicted_s[known], (rows["latency_us"] * 1e-6)[known])

    def provenance(
        self, what: str, accelerator: Accelerator, rows: Table, entry: AttentionCalibration
    ) -> Provenance:
        """Provenance of a fit: errors on rows set aside, or on all where none is.

        Parameters
        ----------
        what
            Name of the fit in the log.
        accelerator
            Figures of the device.
        rows
            Rows of one pass, fitted ones and those set aside.
        entry
            The fitted entry.
        """
        aside = heldout_mask(rows)
        has_aside = bool(aside.any())
        errors = self.errors(accelerator, rows.where(aside) if has_aside else rows, entry)
        kind = "heldout" if has_aside else "fitted rows"
        self.session.report(f"attention {accelerator.name} {what}", **{kind: errors})
        how = (
            "(heads, KV heads, head dim) set aside: 1/5 by hash"
            if has_aside
            else "nothing set aside, error on the fitted rows"
        )
        spread = errors.log_spread if has_aside else max(errors.log_spread, FITTED_SPREAD)
        return msgspec.structs.replace(
            self.session.provenance(
                f"{sources_of(rows)}; {how}",
                n_samples=int((~aside).sum()),
                heldout=errors,
                spread=spread,
            ),
            code_version=version("tweeling"),
            n_heldout=int(aside.sum()),
            heldout_mean_ape_fraction=errors.mean_ape_fraction,
            heldout_p90_ape_fraction=errors.p90_ape_fraction,
        )
