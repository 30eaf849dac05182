"""Kernels that predictions share: an edit of a scenario leaves most of them as they are.

Every plan is sampled at the same two clocks, and kernels there depend on what stands in `_Subject`,
on the shares of a plan and on nothing else; neither number of devices, global batch nor power cap
changes them. Subjects are compared by value, so a profile, an override or a constant that differs
is another subject.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from hardware_profiles.accelerator import Accelerator
from twin.training.framework import Framework
from twin.training.job import TrainingJob
from twin.training.layer_time import KnownKernels
from twin.workload.transformer import Transformer

__all__ = ["KernelMemory"]

MOST_SUBJECTS = 8
"""Scenarios that a user goes back and forth between. [1]"""

MOST_KERNELS = 2_000
"""Of one subject, ten times what a search evaluates; about 2 MB. [1]"""


class _Subject(NamedTuple):
    """What kernels depend on besides the plan and the clock."""

    model: Transformer
    accelerator: Accelerator
    framework: Framework
    seq_len: int
    precision: str


class KernelMemory:
    """Kernels of the subjects asked for last; threads may share it."""

    def __init__(self) -> None:
        self._recent: list[tuple[_Subject, KnownKernels]] = []
        """The one asked for last stands first."""
        self._lock = threading.Lock()

    def kernels_of(self, job: TrainingJob) -> KnownKernels:
        """Known kernels of a job's subject, to be read and added to."""
        subject = _Subject(
            job.model, job.machine.accelerator, job.framework, job.seq_len, job.precision
        )
        with self._lock:
            found = next((known for one, known in self._recent if one == subject), {})
            others = [pair for pair in self._recent if pair[1] is not found]
            # A new dictionary: another thread may still be adding to the full one.
            kept = found if len(found) <= MOST_KERNELS else {}
            self._recent = [(subject, kept), *others[: MOST_SUBJECTS - 1]]
        return kept
