"""The command line that asks the same as a scenario."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from twin.scenario.fields import FIELDS, Field
from twin.scenario.scenario import Scenario

__all__ = ["predict_command"]

WITHOUT_FIELD = ("ep", "shard_group", "recompute_layers")
"""Parts of a plan that have an option and no field in the form."""

REQUIRED = ("cluster", "devices", "model", "seq_len", "global_batch")


def _words(field: Field, scenario: Scenario) -> list[str]:
    value = field.of(scenario)
    if field.name not in REQUIRED and value == _default(field):
        return []
    if isinstance(value, bool):
        return [f"--{field.option}" if value else f"--no-{field.option}"]
    # repr of a float reads back to the same number.
    text = repr(value) if isinstance(value, float) else str(value)
    return [f"--{field.option}", text]


def _default(field: Field) -> object:
    blank = Scenario(cluster="", devices=1, model="", seq_len=1, global_batch=1)
    return field.of(blank)


def predict_command(
    scenario: Scenario, verb: str = "predict", *, profile_dirs: Sequence[Path] = ()
) -> str:
    """The ``twin predict`` command of a scenario, quoted for a shell; only what is not default."""
    words = ["twin", verb]
    for field in FIELDS:
        words += _words(field, scenario)
    for name in WITHOUT_FIELD:
        value = getattr(scenario.plan, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for key, value in scenario.overrides:
        words += ["--set", f"{key}={value}"]
    for folder in profile_dirs:
        words += ["--profiles", str(folder)]
    return shlex.join(words)
