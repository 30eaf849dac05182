"""The workflows of continuous integration: they parse, and what they run is there."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from types import SimpleNamespace

import pytest
import yaml

from twin.cli.main import VERBS

PYTHON = ".venv/bin/python"
SHELL_WORDS = {"if", "else", "fi", "then"}
MADE_BY_A_STEP = "measured"


@pytest.fixture(scope="module")
def workflow(repository):
    document = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())
    document["on"] = document.pop(True)  # YAML 1.1 reads the key as a truth value
    return document


@pytest.fixture(scope="module")
def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(scope="module")
def commands(steps):
    """Every simple command of every step, as words."""
    lines = [line for step in steps if "run" in step for line in step["run"].splitlines()]
    parts = [part for line in lines for part in re.split(r"&&|\|\||;", line)]
    found = []
    for part in parts:
        text = re.sub(r"^\s*if\s+file=\$\((.*)\)\s*$", r"\1", part)
        words = shlex.split(text, comments=True)
        if words and words[0] not in SHELL_WORDS:
            found.append(words)
    return found


def test_every_step_does_something(steps):
    assert all(("run" in step) != ("uses" in step) for step in steps)
    used = {step["uses"] for step in steps if "uses" in step}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)


def test_every_command_exists(commands, repository):
    make_targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.M))
    verbs = {verb.name for verb in VERBS}
    for words in commands:
        match words:
            case ["bash" | "sh", script, *_]:
                assert (repository / script).is_file(), words
            case ["make", target, *_]:
                assert target in make_targets, words
            case [program, "-m", module, *_] if program == PYTHON:
                assert importlib.util.find_spec(module) is not None, words
            case [".venv/bin/twin", verb, *_]:
                assert verb in verbs, words
            case ["mkdir", "-p", *_] | ["echo", *_]:
                pass
            case _:
                pytest.fail(f"nothing is known of {words}")


@pytest.fixture(scope="module")
def benchmark_options():
    """Options of pytest-benchmark, without the beginning that all share."""
    plugin = importlib.import_module("pytest_benchmark.plugin")
    found = []
    plugin.pytest_addoption(
        SimpleNamespace(
            getgroup=lambda *_: SimpleNamespace(addoption=lambda *names, **_: found.extend(names)),
            addini=lambda *_, **__: None,
        )
    )
    return set(found)


def test_folders_and_options_of_pytest_exist(commands, repository, benchmark_options):
    known = (repository / "benches" / "conftest.py").read_text()
    runs = [words[3:] for words in commands if words[:3] == [PYTHON, "-m", "pytest"]]
    assert len(runs) == 3
    for words in runs:
        assert {"tests", "benches"} & set(words), words
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert option in benchmark_options or f'"{option}"' in known, option


def test_the_environment_of_the_gpu_has_what_its_steps_need(workflow, repository):
    job = workflow["jobs"]["gpu"]
    install = next(step["run"] for step in job["steps"] if ".ci/install" in step.get("run", ""))
    extras = re.search(r"\[(.*)\]", install)[1].split(",")
    assert {"dev", "cudacheck", "$EXTRA"} == set(extras)
    assert job["env"]["EXTRA"] == "${{ vars.GPU_EXTRA || 'cuda13' }}"
    text = (repository / "pyproject.toml").read_text()
    assert "pytest-asyncio" in text
    assert "nvidia-ml-py" in text


def test_a_forks_pull_request_never_reaches_the_gpu(workflow):
    condition = workflow["jobs"]["gpu"]["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in condition
    assert "pull_request_target" not in workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}


def test_the_gpu_job_compares_calibrates_and_keeps_results(workflow):
    job = workflow["jobs"]["gpu"]
    runs = " ".join(step.get("run", "") for step in job["steps"])
    assert "--benchmark-compare-fail=median:15%" in runs
    assert "-m pytest -m gpu" in runs
    assert "twin calibrate --from measured/benches.json" in runs
    assert "No baseline yet" in runs
    kept = job["steps"][-1]
    assert kept["with"]["path"] == MADE_BY_A_STEP
    assert kept["if"] == "always()"
    assert "self-hosted" in job["runs-on"]
    assert "gpu" in job["runs-on"]
    assert job["concurrency"]["cancel-in-progress"] is False
