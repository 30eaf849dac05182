"""The command as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.measurements import GemmMeasurement, LaunchMeasurement, read_measurements
from kernels.survey.__main__ import main
from kernels.survey.survey import chosen_families, load_seconds

ROOT = Path(__file__).parents[3]
HOST = ["--backend", "cpu"]


def survey(out, *options):
    return main([*HOST, "--out", str(out), *options])


def test_the_host_is_surveyed_and_not_surveyed_twice(tmp_path, capsys):
    out = tmp_path / "host"
    assert survey(out, "--quick", "--families", "launch") == 0
    rows = read_measurements(out / "launch.csv", LaunchMeasurement)
    assert {"python_call/host", "add/host", "gemm8/host"} <= {row.case for row in rows}
    assert all(row.latency_us > 0 for row in rows)
    assert survey(out, "--quick", "--families", "launch") == 2
    assert "--resume" in capsys.readouterr().err
    before = (out / "launch.csv").read_text()
    assert survey(out, "--quick", "--families", "launch", "--resume") == 0
    assert (out / "launch.csv").read_text() == before


def test_a_time_limit_too_short_for_anything_still_leaves_a_valid_folder(tmp_path):
    assert survey(tmp_path, "--time-limit", "1") == 0
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["ending"] == "time limit"
    assert environment["schema_version"] == 1


def test_a_resumed_survey_refuses_rows_of_another_device(tmp_path, capsys):
    assert survey(tmp_path, "--quick", "--families", "launch") == 0
    path = tmp_path / "launch.csv"
    lines = path.read_text().splitlines()
    device = lines[1].split(",")[1]
    path.write_text("\n".join(line.replace(device, "Other") for line in lines) + "\n")
    assert survey(tmp_path, "--quick", "--families", "launch", "--resume") == 2
    assert "'Other'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--families", "gemm,dance"], "'dance' is unknown; use attention"),
        (["--families", ","], "nothing is named"),
        (["--time-limit", "0"], "is no time"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, options, said):
    assert survey(tmp_path, *options) == 2
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == 1


def test_an_unknown_backend_is_one_line(capsys):
    assert main(["--backend", "abacus"]) == 2
    assert "use auto, cuda, rocm, cpu" in capsys.readouterr().err


def test_families_keep_the_order_of_their_worth():
    assert chosen_families("gemm, attention") == ("attention", "gemm")


def test_loads_last_five_seconds_where_there_is_time():
    assert load_seconds(is_quick=False, time_limit_s=None) == 5.0
    assert load_seconds(is_quick=False, time_limit_s=480.0) == 5.0
    assert load_seconds(is_quick=False, time_limit_s=60.0) < 1.0
    assert load_seconds(is_quick=True, time_limit_s=None) < 2.0


def test_nothing_beyond_numpy_is_imported():
    code = (
        "import sys, pkgutil, importlib, kernels.survey\n"
        "for m in pkgutil.iter_modules(kernels.survey.__path__, 'kernels.survey.'):\n"
        "    importlib.import_module(m.name)\n"
        "tops = {n.split('.')[0] for n in sys.modules}\n"
        "bad = tops & {'msgspec', 'click', 'textual', 'numba', 'scipy', 'xarray', 'pandas',"
        " 'pyarrow', 'pydantic', 'torch', 'cupy'}\n"
        "sys.exit(f'imported: {sorted(bad)}' if bad else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_setting_of_a_device_is_ever_written():
    words = (
        "nvmlDeviceSet",
        "SetPowerManagementLimit",
        "amdsmi_set",
        "--power-limit",
        "-pl",
        "--lock-gpu-clocks",
        "--setpoweroverdrive",
        "-pm",
        "Reset",
    )
    for path in (ROOT / "kernels" / "survey").glob("*.py"):
        text = path.read_text()
        assert not [word for word in words if f'"{word}' in text or f".{word}" in text], path


MEASURED = ROOT / "kernels" / "measured" / "host-cpu"


def test_the_committed_survey_of_a_host_can_be_read_and_names_no_machine():
    rows = read_measurements(MEASURED / "gemm.csv", GemmMeasurement)
    assert len(rows) > 20
    environment = json.loads((MEASURED / "environment.json").read_text())
    assert environment["device"]["backend"] == "cpu"
    text = json.dumps(environment).lower()
    assert not [word for word in ("uuid", "serial", "hostname", "/home", "/tmp") if word in text]  # noqa: S108, RUF100
    assert sum(path.stat().st_size for path in MEASURED.iterdir()) < 50_000
