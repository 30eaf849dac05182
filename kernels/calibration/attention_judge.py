"""Judgement of attention entries on rows set aside, and the provenance that says so."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, Calibration, Provenance
from kernels.calibration.fit_attention import heldout_mask
from kernels.calibration.session import Session
from kernels.calibration.simplex import FittedErrors, judge
from kernels.measurement_tables import Table
from kernels.prediction.attention import AttentionTimes

__all__ = ["AttentionJudge"]

FITTED_SPREAD = 0.08
"""Least spread where only fitted rows can be judged. [1]"""


@dataclass(frozen=True, slots=True)
class AttentionJudge:
    """Predicts rows with one entry, whatever their library, and compares."""

    session: Session
    times: AttentionTimes

    def sources(self, rows: Table) -> str:
        """Sources and libraries of rows, as a provenance names them."""
        libraries = ", ".join(sorted(set(rows["library"])))
        return f"{self.session.sources(rows['source_id'])}: {libraries}"

    def errors(
        self, accelerator: Accelerator, rows: Table, entry: AttentionCalibration
    ) -> FittedErrors:
        """Errors of an entry on rows that it can predict."""
        calibration = Calibration(attention={"only": entry})
        alone = rows.columns | {"library": np.full(len(rows), "", dtype=object)}
        return self.errors_by_library(accelerator, Table(columns=alone), calibration)

    def errors_by_library(
        self, accelerator: Accelerator, rows: Table, calibration: Calibration
    ) -> FittedErrors:
        """Errors of rows that can be predicted, each under the entry its library stands for."""
        predicted_s = self.times.times_s(rows, accelerator, calibration)
        known = np.isfinite(predicted_s)
        return judge(predicted_s[known], (rows["latency_us"] * 1e-6)[known])

    def provenance(
        self, what: str, accelerator: Accelerator, rows: Table, entry: AttentionCalibration
    ) -> Provenance:
        """Provenance of a fit: errors on rows set aside; in words, those on all where none is.

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
            else f"nothing set aside; the rows fitted: {errors.in_words}"
        )
        spread = errors.log_spread if has_aside else max(errors.log_spread, FITTED_SPREAD)
        return msgspec.structs.replace(
            self.session.provenance(
                f"{self.sources(rows)}; {how}",
                n_samples=int((~aside).sum()),
                heldout=errors if has_aside else None,
                spread=spread,
            ),
            n_heldout=int(aside.sum()),
        )
