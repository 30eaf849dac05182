"""The checks of sizes and unit names: they find what they shall.

`make check` runs them on the repository itself.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest


def load(path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sizes(repository):
    return load(repository / ".ci" / "check_sizes.py")


@pytest.fixture(scope="module")
def units(repository):
    return load(repository / ".ci" / "check_units.py")


def write(root, name: str, text: str):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def long_function(n_lines: int, *, docstring: str = "") -> str:
    body = "\n".join(f"    x{i} = {i}" for i in range(n_lines))
    return f"def f():\n{docstring}{body}\n"


def test_a_file_of_601_lines_is_refused_and_one_of_600_is_not(sizes, tmp_path):
    write(tmp_path, "twin/a.py", "x = 1\n" * 600)
    assert not list(sizes.offences(tmp_path))
    write(tmp_path, "twin/a.py", "x = 1\n" * 601)
    assert list(sizes.offences(tmp_path)) == ["twin/a.py: 601 lines; at most 600"]


def test_a_function_of_61_lines_is_refused_without_its_docstring(sizes, tmp_path):
    docstring = '    """' + "Words.\n" * 50 + '    """\n'
    write(tmp_path, "twin/a.py", long_function(60, docstring=docstring))
    assert not list(sizes.offences(tmp_path))
    write(tmp_path, "twin/a.py", long_function(61))
    assert len(list(sizes.offences(tmp_path))) == 1


def test_a_method_inside_a_class_is_counted_too(sizes, tmp_path):
    text = "class C:\n" + "".join(f"    {line}\n" for line in long_function(61).splitlines())
    write(tmp_path, "tui/a.py", text)
    assert len(list(sizes.offences(tmp_path))) == 1


@pytest.mark.parametrize(
    ("signature", "n_offences"),
    [
        ("a, b, *, c, d, e, f, g", 0),
        ("a, b, *, c, d, e, f, g, h", 1),
        ("self, a, b, *, c, d, e, f, g", 0),
    ],
)
def test_parameters_are_counted(sizes, tmp_path, signature, n_offences):
    write(tmp_path, "twin/a.py", f"def f({signature}):\n    return 1\n")
    assert len(list(sizes.offences(tmp_path))) == n_offences


@pytest.mark.parametrize("name", ["utils", "common", "helpers"])
def test_names_that_say_nothing_are_refused(sizes, tmp_path, name):
    write(tmp_path, f"kernels/{name}.py", "")
    assert "says nothing" in next(sizes.offences(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["step_time_s", "peak_flop_per_s", "bandwidth_bytes_per_s", "n_ranks", "mfu", "idle_w"],
)
def test_names_with_units_pass(units, name):
    assert units.says_unit(name)


@pytest.mark.parametrize("name", ["time", "bandwidth", "power_limit", "time_ms", "energy_kwh"])
def test_names_without_base_units_do_not(units, name):
    assert not units.says_unit(name)


def test_fields_and_parameters_are_read(units, tmp_path):
    write(
        tmp_path,
        "twin/energy/a.py",
        "class Cap:\n    limit: float | None\n    name: str\n\n"
        "def power(load: float, *, idle_w: float) -> float:\n    return load * idle_w\n\n"
        "def _private(x: float) -> float:\n    return x\n",
    )
    found = list(units.offences(tmp_path))
    assert len(found) == 2
    assert "Cap: limit" in found[0]
    assert "power: load" in found[1]
