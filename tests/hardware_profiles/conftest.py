"""Folders of small profiles, written by each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ACCELERATOR = """\
schema_version = 1
kind = "accelerator"
name = "{name}"
title = "A device"
vendor = "other"
architecture = "own"
{head}
[compute]
n_units = 100
boost_clock_mhz = 1000

[compute.peak_dense]
bf16_tflop_per_s = 204.8

[memory]
capacity_gib = 64
bandwidth_gb_per_s = 2000

[link]
name = "link"
bandwidth_gb_per_s = 400
peer_bandwidth_gb_per_s = 400

[power]
tdp_w = 500
idle_w = 50

[module]
n_devices = 1
form_factor = "OAM"

[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "a test"
{tail}
"""

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Write a file below the test's folder."""

    def writer(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return writer


@pytest.fixture
def device(write: Writer) -> Writer:
    """Write a complete accelerator, with texts replaced or added."""

    def writer(
        name: str = "own", *, head: str = "", tail: str = "", change: dict[str, str] | None = None
    ) -> Path:
        text = ACCELERATOR.format(name=name, head=head, tail=tail)
        for old, new in (change or {}).items():
            assert old in text
            text = text.replace(old, new)
        return write(name, text)

    return writer


@pytest.fixture
def child(write: Writer) -> Writer:
    """Write an accelerator that extends another one."""

    def writer(name: str, base: str, body: str = "") -> Path:
        head = f'schema_version = 1\nkind = "accelerator"\nextends = "{base}"\nname = "{name}"\n'
        return write(name, f'{head}title = "A child"\n{body}')

    return writer
