"""Scenarios as TOML files: only what differs from the defaults, readable and written whole."""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path

from hardware_profiles.whole_files import write_text_whole
from twin.scenario.fields import FIELDS, Field, Invalid, Value
from twin.scenario.resolve import Catalogues, ScenarioError
from twin.scenario.scenario import PlanRequest, Scenario

__all__ = ["read_scenario", "scenario_text", "write_scenario"]

SCHEMA_VERSION = 1
REQUIRED = ("cluster", "devices", "model", "seq_len", "global_batch")


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a valid basic TOML string.
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def scenario_text(scenario: Scenario) -> str:
    """The scenario as TOML, undecided fields left out."""
    own = [f for f in FIELDS if not f.is_plan and f.of(scenario) is not None]
    plan = [f for f in FIELDS if f.is_plan and f.of(scenario) is not None]
    lines = [f"schema_version = {SCHEMA_VERSION}", 'kind = "scenario"']
    lines += [f"{field.name} = {_literal(field.of(scenario))}" for field in own]
    if plan:
        lines += ["", "[plan]", *(f"{f.name} = {_literal(f.of(scenario))}" for f in plan)]
    if scenario.overrides:
        lines += ["", "[set]"]
        lines += [f"{_literal(key)} = {_literal(value)}" for key, value in scenario.overrides]
    return "\n".join(lines) + "\n"


def write_scenario(scenario: Scenario, path: Path) -> None:
    """Save a scenario.

    Raises
    ------
    ScenarioError
        The file cannot be written.
    """
    try:
        write_text_whole(path, scenario_text(scenario))
    except OSError as refusal:
        msg = f"{path}: cannot be written ({refusal.strerror or refusal})"
        raise ScenarioError(msg) from refusal


def _document(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as refusal:
        msg = f"{path}: not valid TOML: {refusal}"
        raise ScenarioError(msg) from refusal
    except UnicodeDecodeError as refusal:
        msg = f"{path}: not UTF-8 text; expected a scenario in TOML"
        raise ScenarioError(msg) from refusal
    except OSError as refusal:
        msg = f"{path}: {refusal.strerror or refusal}"
        raise ScenarioError(msg) from refusal


def _refuse_unknown(path: Path, table: dict[str, object], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"; nearest is {near[0]}" if near else f"; known: {', '.join(sorted(known))}"
            msg = f"{path}: {where}{key}: unknown key{hint}"
            raise ScenarioError(msg)


def _value(path: Path, field: Field, raw: object, catalogues: Catalogues) -> Value:
    shown = ("on" if raw else "off") if isinstance(raw, bool) else str(raw)
    if not isinstance(raw, (bool, int, float, str)):
        msg = f"{path}: {field.name}: expected a single value"
        raise ScenarioError(msg)
    parsed = field.parse(shown, catalogues)
    if isinstance(parsed, Invalid):
        msg = f"{path}: {field.name} = {raw}: {parsed.message}"
        raise ScenarioError(msg)
    return parsed.value


def _overrides(path: Path, raw: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict):
        msg = f"{path}: set: expected a table of profile keys and values"
        raise ScenarioError(msg)
    return tuple((str(key), str(value)) for key, value in raw.items())


def read_scenario(path: Path, catalogues: Catalogues) -> Scenario:
    """Load a scenario file.

    Raises
    ------
    ScenarioError
        File, key, value and what was expected, in one line.
    """
    document = _document(path)
    plan_table = document.pop("plan", {})
    overrides = _overrides(path, document.pop("set", {}))
    kind = document.pop("kind", "scenario")
    version = document.pop("schema_version", SCHEMA_VERSION)
    if kind != "scenario" or version != SCHEMA_VERSION or not isinstance(plan_table, dict):
        msg = f'{path}: expected kind = "scenario" and schema_version = {SCHEMA_VERSION}'
        raise ScenarioError(msg)
    own = {field.name: field for field in FIELDS if not field.is_plan}
    plan_fields = {field.name: field for field in FIELDS if field.is_plan}
    _refuse_unknown(path, document, set(own), "")
    _refuse_unknown(path, plan_table, set(plan_fields), "plan.")
    for name in REQUIRED:
        if name not in document:
            msg = f"{path}: {name}: missing; a scenario needs {', '.join(REQUIRED)}"
            raise ScenarioError(msg)
    values = {k: _value(path, own[k], v, catalogues) for k, v in document.items()}
    plan = {k: _value(path, plan_fields[k], v, catalogues) for k, v in plan_table.items()}
    return Scenario(
        **values,  # type: ignore[arg-type]  # parse gives each field its type
        plan=PlanRequest(**plan),  # type: ignore[arg-type]
        overrides=overrides,
    )
