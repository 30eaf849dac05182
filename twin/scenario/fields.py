"""The fields of a scenario: what each may hold, how it steps, and how text becomes a value.

The terminal UI builds its form from this table and the command line writes its options in the
same order, so that both speak of the same things by the same names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from twin.scenario.resolve import Catalogues
from twin.scenario.scenario import PlanRequest, Scenario
from twin.training.framework import framework_names
from twin.training.job import PRECISIONS

__all__ = ["FIELDS", "Field", "Invalid", "Ok", "Value", "field_named"]

Value = int | float | str | bool | None
Kind = Literal["name", "count", "power_of_two", "watts", "tokens", "choice", "flag"]

AUTO = "auto"
"""What a field that the twin decides shows and accepts."""

WATT_STEP = 25.0
"""Step of a power cap. [W]"""

TOKEN_STEP = 2.0
"""Factor between sensible numbers of training tokens. [1]"""

DEFAULT_TOKENS = 1e12
"""First number of tokens when a run is asked for. [token]"""

LARGEST_COUNT = 10_000_000


@dataclass(frozen=True, slots=True)
class Ok:
    """A value that the field can hold."""

    value: Value


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a text is no value of the field, and what is expected."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a scenario."""

    name: str
    """Attribute of `Scenario`, or of its plan request where `is_plan`."""
    option: str
    """Option of the command line, without dashes."""
    label: str
    kind: Kind
    unit: str = ""
    is_plan: bool = False
    is_optional: bool = False
    """May be left to the twin."""
    none_text: str = "none"
    """What stands for no value of one's own."""
    choices: Callable[[Catalogues], tuple[str, ...]] | None = None
    help: str = ""

    def of(self, scenario: Scenario) -> Value:
        """The field's value in a scenario; None where the twin decides."""
        holder: Scenario | PlanRequest = scenario.plan if self.is_plan else scenario
        value: Value = getattr(holder, self.name)
        return value

    def put(self, scenario: Scenario, value: Value) -> Scenario:
        """The scenario with this field changed."""
        change: dict[str, object] = {self.name: value}
        if self.is_plan:
            return replace(scenario, plan=replace(scenario.plan, **change))  # type: ignore[arg-type]
        return replace(scenario, **change)  # type: ignore[arg-type]

    def text(self, value: Value) -> str:
        """How a value stands in the form."""
        if value is None:
            return AUTO if self.is_plan else self.none_text
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            return f"{value:g}"
        return str(value)

    def parse(self, text: str, catalogues: Catalogues) -> Ok | Invalid:
        """Turn typed text into a value, or say what is expected."""
        words = text.strip()
        known = self.choices(catalogues) if self.choices else ()
        blank = ("", AUTO, "none", "-", self.none_text)
        if self.is_optional and words.lower() in blank and words not in known:
            return Ok(None)
        if self.kind == "flag":
            answers = {"on": True, "off": False, "yes": True, "no": False}
            answer = answers.get(words.lower())
            return Invalid(f"{self.label}: expected on or off") if answer is None else Ok(answer)
        if self.kind in ("name", "choice"):
            return self._parse_name(words, catalogues)
        return self._parse_number(words)

    def _parse_name(self, words: str, catalogues: Catalogues) -> Ok | Invalid:
        known = self.choices(catalogues) if self.choices else ()
        if words in known or (self.kind == "name" and words):
            return Ok(words)
        return Invalid(f"{self.label} {words or 'is empty'}: expected one of {', '.join(known)}")

    def _parse_number(self, words: str) -> Ok | Invalid:
        try:
            number = float(words.replace("_", "").replace("\u2009", ""))
        except ValueError:
            return Invalid(f"{self.label} {words}: expected a number")
        if not math.isfinite(number) or number < 0:
            return Invalid(f"{self.label} {words}: expected a number above 0")
        if self.kind in ("watts", "tokens"):
            return Ok(number) if number > 0 else Invalid(f"{self.label}: expected above 0")
        lowest = 0 if self.name == "zero" else 1
        if number != int(number) or not lowest <= number <= LARGEST_COUNT:
            return Invalid(f"{self.label} {words}: expected a whole number of at least {lowest}")
        return Ok(int(number))

    def stepped(self, value: Value, direction: int, catalogues: Catalogues) -> Value:
        """The next sensible value up (+1) or down (-1); the same where there is none.

        An undecided field steps to its first sensible value, and below that it is undecided again.
        """
        if self.kind in ("name", "choice", "flag"):
            return self._neighbour(value, direction, catalogues)
        if self.kind == "watts":
            start = float(value) if isinstance(value, (int, float)) else None
            return None if start is None else max(WATT_STEP, start + direction * WATT_STEP)
        if self.kind == "tokens":
            start = float(value) if isinstance(value, (int, float)) else None
            return DEFAULT_TOKENS if start is None else start * TOKEN_STEP**direction
        return self._stepped_count(value, direction)

    def _stepped_count(self, value: Value, direction: int) -> Value:
        lowest = 0 if self.name == "zero" else 1
        if value is None:
            return lowest if direction > 0 else None
        number = int(value)
        if self.name == "zero":
            moved = number + direction
            highest = 3
        elif self.kind == "power_of_two":
            exponent = math.floor(math.log2(number))
            exact = 2**exponent == number
            moved = 2 ** (exponent + 1) if direction > 0 else 2 ** (exponent - (1 if exact else 0))
            moved = int(moved)
            highest = LARGEST_COUNT
        else:
            moved, highest = number + direction, LARGEST_COUNT
        if moved < lowest:
            return None if self.is_optional else lowest
        return min(moved, highest)

    def _neighbour(self, value: Value, direction: int, catalogues: Catalogues) -> Value:
        values: list[Value] = [True, False] if self.kind == "flag" else []
        if self.choices is not None:
            values = list(self.choices(catalogues))
        if self.is_optional:
            values = [None, *values]
        if not values:
            return value
        position = values.index(value) if value in values else 0
        return values[(position + direction) % len(values)]


def _clusters(catalogues: Catalogues) -> tuple[str, ...]:
    return tuple(catalogues.profiles.names("cluster"))


def _sites(catalogues: Catalogues) -> tuple[str, ...]:
    return tuple(catalogues.profiles.names("site"))


def _models(catalogues: Catalogues) -> tuple[str, ...]:
    return tuple(catalogues.models.names())


def _frameworks(catalogues: Catalogues) -> tuple[str, ...]:
    return tuple(framework_names())


def _fixed(*values: str) -> Callable[[Catalogues], tuple[str, ...]]:
    return lambda catalogues: values


FIELDS: tuple[Field, ...] = (
    Field(name="cluster", option="cluster", label="cluster", kind="name", choices=_clusters,
          help="nodes and network; a name of the catalogue or a TOML file"),
    Field(name="devices", option="devices", label="devices", kind="power_of_two",
          help="accelerators as a framework sees them"),
    Field(name="model", option="model", label="model", kind="name", choices=_models,
          help="what is trained"),
    Field(name="seq_len", option="seq-len", label="sequence", kind="power_of_two", unit="tokens",
          help="tokens per sequence"),
    Field(name="global_batch", option="global-batch", label="batch", kind="power_of_two",
          unit="seqs", help="sequences per optimizer step"),
    Field(name="precision", option="precision", label="precision", kind="choice",
          choices=_fixed(*PRECISIONS), help="of the matrix products"),
    Field(name="framework", option="framework", label="framework", kind="choice",
          choices=_frameworks, help="training software"),
    Field(name="tp", option="tp", label="tensor tp", kind="power_of_two", is_plan=True,
          is_optional=True, help="devices that share each layer"),
    Field(name="pp", option="pp", label="pipeline pp", kind="power_of_two", is_plan=True,
          is_optional=True, help="stages of layers"),
    Field(name="vpp", option="vpp", label="chunks vpp", kind="count", is_plan=True,
          is_optional=True, help="model chunks per stage"),
    Field(name="cp", option="cp", label="context cp", kind="power_of_two", is_plan=True,
          is_optional=True, help="devices that share a sequence"),
    Field(name="micro_batch", option="micro-batch", label="micro-batch", kind="power_of_two",
          is_plan=True, is_optional=True, help="sequences at a time"),
    Field(name="zero", option="zero", label="ZeRO stage", kind="count", is_plan=True,
          is_optional=True, help="0 replicated, 1 optimizer, 2 gradients, 3 parameters sharded"),
    Field(name="sequence_parallel", option="sequence-parallel", label="sequence par.", kind="flag",
          is_plan=True, is_optional=True, help="norms split over tensor ranks"),
    Field(name="recompute", option="recompute", label="recompute", kind="choice", is_plan=True,
          is_optional=True, choices=_fixed("none", "selective", "full"),
          help="computed again instead of kept"),
    Field(name="attention", option="attention", label="attention", kind="choice", is_plan=True,
          is_optional=True, choices=_fixed("flash", "unfused"), help="implementation"),
    Field(name="power_cap_w", option="power-cap", label="power cap", kind="watts", unit="W",
          is_optional=True,
        none_text="device limit", help="per device; none is the device's own limit"),
    Field(name="site", option="site", label="site", kind="name", is_optional=True,
        none_text="cluster's own",
          choices=_sites, help="overrides the cluster's site"),
    Field(name="tokens", option="tokens", label="run", kind="tokens", unit="tokens",
          is_optional=True,
        none_text="one step", help="tokens of the whole training run"),
)  # fmt: skip
"""Every field, in the order of the form."""


def field_named(name: str) -> Field:
    """The field of that name."""
    return next(field for field in FIELDS if field.name == name)
