"""The only door to the twin: predictions, explanations, alternatives.

Everything here is plain calls; which thread makes them is the app's business. The twin itself is
imported on first use, so that the first screen does not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hardware_profiles.errors import TweelingError

if TYPE_CHECKING:
    from twin.catalogue_view import CatalogueView
    from twin.explain.term import Term
    from twin.kernel_view import KernelView
    from twin.prediction import Prediction
    from twin.scenario.resolve import Catalogues
    from twin.scenario.scenario import Scenario
    from twin.validation_view import ValidationView

__all__ = ["Answer", "Compute", "MemoryRemedy", "RealTwin", "Twin"]

MOVING_AVERAGE_WEIGHT = 0.3
"""Weight of the newest prediction in the running mean of their times. [1]"""

N_REMEDIES = 3
"""Changes that are offered when a plan does not fit. [1]"""

MOST_RECOMPUTE = ("full",)


class Twin(Protocol):
    """What the screens ask; the tests answer with one of their own."""

    @property
    def catalogues(self) -> Catalogues:
        """Names and files that fields choose from."""
        ...

    @property
    def profile_dirs(self) -> tuple[Path, ...]:
        """The user's folders of profiles, the first one found first."""
        ...

    @property
    def catalogue_view(self) -> CatalogueView:
        """Looks through the catalogue."""
        ...

    @property
    def kernel_view(self) -> KernelView:
        """Answers about kernels."""
        ...

    @property
    def validation_view(self) -> ValidationView:
        """Predicts published runs."""
        ...

    def predict(self, scenario: Scenario) -> Prediction:
        """Predict one scenario."""
        ...

    def explain(self, scenario: Scenario) -> dict[str, Term]:
        """Trees of terms by quantity."""
        ...


class RealTwin:
    """The twin, imported when it is first asked."""

    def __init__(self, profile_dirs: Sequence[Path] = ()) -> None:
        from twin.predict import Predictor

        self._predictor = Predictor(profile_dirs)
        self.profile_dirs = tuple(Path(folder) for folder in profile_dirs)
        """The user's folders of profiles, the first one found first."""

    @cached_property
    def catalogue_view(self) -> CatalogueView:
        """Looks through the catalogue."""
        from twin.catalogue_view import CatalogueView

        return CatalogueView(self.catalogues)

    @cached_property
    def kernel_view(self) -> KernelView:
        """Answers about kernels."""
        from twin.kernel_view import KernelView

        return KernelView(self.catalogues)

    @cached_property
    def validation_view(self) -> ValidationView:
        """Predicts published runs."""
        from twin.validation_view import ValidationView

        return ValidationView(self._predictor)

    @property
    def catalogues(self) -> Catalogues:
        """Names and files that fields choose from."""
        return self._predictor.catalogues

    def predict(self, scenario: Scenario) -> Prediction:
        """Predict one scenario."""
        return self._predictor.predict(scenario)

    def explain(self, scenario: Scenario) -> dict[str, Term]:
        """Trees of terms by quantity."""
        return self._predictor.explain(scenario)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRemedy:
    """A change that makes a plan fit."""

    words: str
    scenario: Scenario
    tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one version of the scenario."""

    version: int
    scenario: Scenario
    prediction: Prediction | None
    refusal: str | None
    """Why the scenario is impossible, in one line."""
    elapsed_s: float
    remedies: tuple[MemoryRemedy, ...] = ()


class Compute:
    """Asks the twin and keeps how long it takes."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.mean_s: dict[bool, float] = {}
        """Running mean of prediction times, by whether the plan is searched. [s]"""

    def expected_s(self, scenario: Scenario) -> float | None:
        """Expected time of a prediction; None before the first one. [s]"""
        return self.mean_s.get(_is_searched(scenario))

    def answer(self, scenario: Scenario, version: int) -> Answer:
        """Predict; a refusal of the twin is an answer, a bug is raised."""
        started_s = time.perf_counter()
        prediction, refusal = None, None
        try:
            prediction = self.twin.predict(scenario)
        except TweelingError as error:
            refusal = str(error)
        elapsed_s = time.perf_counter() - started_s
        kind = _is_searched(scenario)
        before_s = self.mean_s.get(kind, elapsed_s)
        self.mean_s[kind] = before_s + MOVING_AVERAGE_WEIGHT * (elapsed_s - before_s)
        remedies: tuple[MemoryRemedy, ...] = ()
        if prediction is not None and not prediction.fits_memory:
            remedies = self.remedies(prediction)
        return Answer(
            version=version,
            scenario=scenario,
            prediction=prediction,
            refusal=refusal,
            elapsed_s=elapsed_s,
            remedies=remedies,
        )

    def device_limit_w(self, scenario: Scenario) -> float | None:
        """Power limit of the device as shipped; None where the cluster is unknown. [W]"""
        try:
            machine = self.twin.catalogues.profiles.machine(
                scenario.cluster, overrides=scenario.overrides
            )
        except TweelingError:
            return None
        return machine.accelerator.power.tdp_w

    def remedies(self, prediction: Prediction) -> tuple[MemoryRemedy, ...]:
        """The changes of one or two fields that make a plan fit, fastest first."""
        tried = [self._remedy(words, scenario) for words, scenario in _changes(prediction)]
        found = [remedy for remedy in tried if remedy is not None]
        found.sort(key=lambda remedy: -remedy.tokens_per_s)
        return tuple(found[:N_REMEDIES])

    def _remedy(self, words: str, scenario: Scenario) -> MemoryRemedy | None:
        """The change as a remedy; None if it breaks a rule or does not fit either."""
        try:
            changed = self.twin.predict(scenario)
        except TweelingError:
            return None
        if not changed.fits_memory:
            return None
        rate = changed.tokens_per_s
        return MemoryRemedy(words=words, scenario=scenario, tokens_per_s=rate)


def _is_searched(scenario: Scenario) -> bool:
    plan = scenario.plan
    return None in (plan.tp, plan.pp, plan.micro_batch, plan.zero, plan.recompute)


def _changes(prediction: Prediction) -> list[tuple[str, Scenario]]:
    scenario, plan = prediction.scenario, prediction.plan
    wished = scenario.plan
    changes = []
    if plan.recompute not in MOST_RECOMPUTE:
        changes.append(("recompute full", replace(wished, recompute="full")))
    if plan.micro_batch > 1:
        half = plan.micro_batch // 2
        changes.append((f"micro-batch {half}", replace(wished, micro_batch=half)))
    stages = [zero for zero in (1, 3) if plan.zero < zero]
    changes += [(f"ZeRO stage {zero}", replace(wished, zero=zero)) for zero in stages]
    double = plan.tp * 2
    changes.append((f"tensor tp {double}", replace(wished, tp=double)))
    changes.append((f"pipeline pp {plan.pp * 2}", replace(wished, pp=plan.pp * 2)))
    changes.append(("plan left to the twin", type(wished)()))
    found = [(words, replace(scenario, plan=request)) for words, request in changes]
    found.append(("twice the devices", replace(scenario, devices=scenario.devices * 2)))
    return [(words, changed) for words, changed in found if changed != scenario]
