"""The options that describe one training configuration, shared by predict and explain."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twin.cli.profile_folders import told_shadows
from twin.scenario.scenario import PlanRequest, Scenario

__all__ = [
    "finite_number",
    "one_of",
    "override",
    "profiles_option",
    "takes_scenario",
    "whole_number",
]

# Beyond these a value is a slip of the keyboard, and products of them would leave the range of
# floating-point numbers.
MAX_DEVICES = 10_000_000
MAX_SEQUENCE_TOKENS = 1_000_000_000
MAX_BATCH = 1_000_000_000
MAX_PLAN_SIZE = 10_000_000
MAX_TOKENS = 1e18
MAX_DEVICE_WATTS = 1e6


def finite_number(*, unit: str, maximum: float) -> Callable[[str], float]:
    """Make the converter of a positive number that is not greater than a limit.

    Parameters
    ----------
    unit
        What is expected, in words, for the message.
    maximum
        Greatest value accepted, in that unit.
    """

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            msg = f"{text!r} is not a number; expected {unit}"
            raise click.BadParameter(msg) from None
        if not math.isfinite(number) or not 0 < number <= maximum:
            msg = f"{text!r} is out of range; expected {unit}, above 0 and at most {maximum:g}"
            raise click.BadParameter(msg)
        return number

    return convert


def whole_number(*, minimum: int, maximum: int) -> Callable[[str], int]:
    """Make the converter of a whole number between two limits, both of them included."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            msg = f"{text!r}; expected a whole number from {minimum} to {maximum}"
            raise click.BadParameter(msg)
        return number

    return convert


def one_of(*words: str) -> Callable[[str], str]:
    """Make the converter of a listed word; a refusal names the nearest one."""

    def convert(text: str) -> str:
        if text in words:
            return text
        nearest = difflib.get_close_matches(text, words, n=1, cutoff=0.4)
        hint = f"; nearest is {nearest[0]}" if nearest else ""
        msg = f"{text!r} is not one of {', '.join(words)}{hint}"
        raise click.BadParameter(msg)

    return convert


def override(text: str) -> tuple[str, str]:
    """Split ``key=value``; the loader of profiles knows the keys and their units."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        example = "accelerator.memory.bandwidth_bytes_per_s=3.35e12"
        msg = f"{text!r}; expected key=value, such as {example}"
        raise click.BadParameter(msg)
    return key, value


profiles_option = click.option(
    "--profiles",
    "profile_dirs",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own profiles, found first; may be repeated.",
    callback=told_shadows,
)


def _size(limit: int) -> Callable[[str], int]:
    return whole_number(minimum=1, maximum=limit)


_CONFIGURATION = (
    click.option("--cluster", required=True, help="Name of the catalogue or a TOML file."),
    click.option(
        "--devices",
        required=True,
        type=_size(MAX_DEVICES),
        metavar="N",
        help="Devices as a framework sees them; an MI250X has two.",
    ),
    click.option("--model", required=True, help="Name of the catalogue or a TOML file."),
    click.option(
        "--seq-len",
        required=True,
        type=_size(MAX_SEQUENCE_TOKENS),
        metavar="S",
        help="Tokens per sequence.",
    ),
    click.option(
        "--global-batch",
        required=True,
        type=_size(MAX_BATCH),
        metavar="B",
        help="Sequences per optimizer step.",
    ),
    click.option("--precision", default="bf16", show_default=True, help="Of the matrix products."),
    click.option(
        "--framework", default="megatron-core", show_default=True, help="Training software."
    ),
)
_PLAN = (
    click.option(
        "--plan",
        type=one_of("auto"),
        metavar="auto",
        default="auto",
        show_default=True,
        help="What the options below leave open is chosen.",
    ),
    click.option(
        "--micro-batch", type=_size(MAX_PLAN_SIZE), metavar="b", help="Sequences at a time."
    ),
    click.option("--tp", type=_size(MAX_PLAN_SIZE), metavar="N", help="Tensor-parallel size."),
    click.option("--pp", type=_size(MAX_PLAN_SIZE), metavar="N", help="Pipeline stages."),
    click.option("--vpp", type=_size(MAX_PLAN_SIZE), metavar="N", help="Model chunks per stage."),
    click.option("--cp", type=_size(MAX_PLAN_SIZE), metavar="N", help="Context-parallel size."),
    click.option("--ep", type=_size(MAX_PLAN_SIZE), metavar="N", help="Expert-parallel size."),
    click.option(
        "--zero", type=whole_number(minimum=0, maximum=3), metavar="0..3", help="ZeRO stage."
    ),
    click.option(
        "--shard-group",
        type=_size(MAX_PLAN_SIZE),
        metavar="N",
        help="Ranks that share one copy of the sharded states; all data-parallel ones if left out.",
    ),
    click.option(
        "--sequence-parallel/--no-sequence-parallel",
        default=None,
        help="Norms and residuals split along the sequence.",
    ),
    click.option(
        "--recompute",
        type=one_of("none", "selective", "full"),
        metavar="none|selective|full",
        help="What the backward pass computes again.",
    ),
    click.option(
        "--recompute-layers",
        type=_size(MAX_PLAN_SIZE),
        metavar="N",
        help="With full recomputation: so many layers of the model.",
    ),
    click.option(
        "--attention",
        type=one_of("flash", "unfused"),
        metavar="flash|unfused",
        help="Implementation of attention.",
    ),
)
_SURROUNDINGS = (
    click.option(
        "--power-cap",
        type=finite_number(unit="watts per device", maximum=MAX_DEVICE_WATTS),
        metavar="W",
        help="Power cap per device in watts.",
    ),
    click.option(
        "--tokens",
        type=finite_number(unit="tokens", maximum=MAX_TOKENS),
        metavar="T",
        help="Tokens of the whole run, such as 15e12.",
    ),
    click.option("--site", help="Another site than the cluster's own."),
    click.option(
        "--set",
        "overrides",
        type=override,
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a figure of a profile for this once; may be repeated.",
    ),
    profiles_option,
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
)


def takes_scenario(function: Callable[..., int]) -> Callable[..., int]:
    """Give a verb the options of a configuration; it receives ``scenario`` instead of them."""

    @functools.wraps(function)
    def call(**given: object) -> int:
        scenario = _scenario(given)
        return function(scenario=scenario, **given)

    command: Callable[..., int] = call
    for option in reversed((*_CONFIGURATION, *_PLAN, *_SURROUNDINGS)):
        command = option(command)
    return command


def _scenario(given: dict[str, Any]) -> Scenario:
    """Take the options of a configuration out of what click collected."""
    given.pop("plan")
    plan = PlanRequest(**{name: given.pop(name) for name in PlanRequest.__dataclass_fields__})
    return Scenario(
        cluster=given.pop("cluster"),
        devices=given.pop("devices"),
        model=given.pop("model"),
        seq_len=given.pop("seq_len"),
        global_batch=given.pop("global_batch"),
        precision=given.pop("precision"),
        framework=given.pop("framework"),
        plan=plan,
        power_cap_w=given.pop("power_cap"),
        site=given.pop("site"),
        tokens=given.pop("tokens"),
        overrides=given.pop("overrides"),
    )
