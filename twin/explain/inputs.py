"""Input terms: figures of profiles, plans and frameworks, with their class and source.

The source of a profile figure begins with ``profile key: KEY``, so that a reader can go to the
figure and override it.
"""

from __future__ import annotations

from typing import cast

from hardware_profiles.accelerator import Accelerator, Source
from hardware_profiles.calibration import Provenance
from hardware_profiles.cluster import Cluster, Machine, Node, Site
from hardware_profiles.sources import figure_source
from twin.explain.term import FigureClass, Relation, Term

__all__ = ["PROFILE_KEY", "ProfileInputs", "computed", "given", "total"]

PROFILE_KEY = "profile key: "


def computed(
    name: str,
    value: float,
    unit: str,
    *,
    relation: Relation,
    formula: str = "",
    children: tuple[Term, ...] = (),
) -> Term:
    """A term made of others."""
    return Term(
        name=name, value=value, unit=unit, relation=relation, formula=formula, children=children
    )


def total(name: str, unit: str, children: tuple[Term, ...], formula: str = "") -> Term:
    """A term whose children add up to it."""
    value = sum(child.value for child in children)
    return computed(name, value, unit, relation="sum", formula=formula, children=children)


def given(name: str, value: float, unit: str, source: str) -> Term:
    """An input that the scenario, the plan or the model states: exact, so without a class."""
    return Term(name=name, value=value, unit=unit, source=source)


def _known_class(name: str) -> FigureClass:
    if name == "inherited":
        return "assumed"
    if name in ("measured", "fitted", "datasheet", "assumed", "user"):
        return cast("FigureClass", name)
    return "assumed"


class ProfileInputs:
    """Makes input terms from the profiles of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def _things(self) -> dict[str, Accelerator | Node | Cluster | Site]:
        machine = self._machine
        return {
            "accelerator": machine.accelerator,
            "node": machine.node,
            "cluster": machine.cluster,
            "site": machine.site,
        }

    def figure(self, name: str, value: float, unit: str, key: str) -> Term:
        """A figure of a profile by its dotted key, ``accelerator.memory.capacity_bytes``."""
        kind, _, inner = key.partition(".")
        source: Source | None = figure_source(self._things()[kind], inner)
        is_overridden = key in self._machine.overridden_keys
        text = source.text if source else "no source stated"
        figure_class = _known_class(source.figure_class if source else "assumed")
        return Term(
            name=name,
            value=value,
            unit=unit,
            figure_class="user" if is_overridden else figure_class,
            source=f"{PROFILE_KEY}{key}; {'set for this once' if is_overridden else text}",
        )

    def parameter(
        self, name: str, value: float, unit: str, *, key: str, provenance: Provenance
    ) -> Term:
        """A calibrated parameter with what it was fitted on."""
        is_overridden = key in self._machine.overridden_keys
        details = [provenance.source]
        # A parameter that stands in for a missing calibration is in no profile to be set.
        inner = key.removeprefix("accelerator.")
        is_in_profile = figure_source(self._machine.accelerator, inner) is not None
        if provenance.n_samples is not None:
            details.append(f"{provenance.n_samples} samples")
        if provenance.heldout_median_ape_fraction is not None:
            percent = 100.0 * provenance.heldout_median_ape_fraction
            details.append(f"{percent:.1f} % median error on held-out rows")
        return Term(
            name=name,
            value=value,
            unit=unit,
            figure_class="user" if is_overridden else _known_class(provenance.figure_class),
            source=f"{PROFILE_KEY}{key}; {', '.join(details)}" if is_in_profile else details[0],
        )
