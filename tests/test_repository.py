"""The repository itself: what a reader relies on before any code runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from itertools import chain

import pytest

from twin.scenario.command import predict_command
from twin.scenario.example import example_scenario

TOP_LEVEL = {"twin", "kernels", "hardware_profiles", "tui", "tests", "docs"}
PACKAGES = ("twin", "kernels", "hardware_profiles", "tui")
TEXTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"),
    *("docs/add-a-profile.md", "docs/add-a-gpu.md", "docs/benches.md", "docs/measuring-a-gpu.md"),
)


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def test_the_top_level_is_there(repository):
    missing = [name for name in TOP_LEVEL if not (repository / name).is_dir()]
    assert not missing


def test_names_of_distribution_and_command_stand(project):
    assert project["name"] == "tweeling"
    assert project["scripts"] == {"twin": "tui.command:main"}
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"


def test_extras_are_those_of_the_design(project):
    extras = {"cuda13", "rocm", "dist", "report", "web", "mpi", "cudacheck", "dev"}
    assert set(project["optional-dependencies"]) == extras


def test_pandas_is_no_dependency_of_ours(project):
    wanted = list(chain(project["dependencies"], *project["optional-dependencies"].values()))
    assert not [name for name in wanted if name.startswith("pandas")]


def test_first_files_of_packages_import_nothing(repository):
    """The console script tells a foreign package of the same name by its imports."""
    for package in PACKAGES:
        text = (repository / package / "__init__.py").read_text()
        assert not re.search(r"^(import|from) ", text, re.MULTILINE), package


@pytest.mark.parametrize("name", TEXTS)
def test_links_between_documents_lead_somewhere(repository, name):
    page = repository / name
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_the_licence_is_apache_and_the_notice_names_the_largest_source(repository):
    assert "Version 2.0, January 2004" in (repository / "LICENSE").read_text()
    assert "aiconfigurator" in (repository / "NOTICE").read_text()


def test_pins_name_no_host_and_cover_every_dependency(repository, project):
    text = (repository / ".ci" / "constraints.txt").read_text()
    assert "://" not in text
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!\[ ;]", name, maxsplit=1)[0] for name in wanted}
    assert names <= pinned


def test_exact_pins_of_the_dev_extra_agree_with_the_constraints(repository, project):
    pins = (repository / ".ci" / "constraints.txt").read_text().splitlines()
    exact = [name for name in project["optional-dependencies"]["dev"] if "==" in name]
    assert exact
    assert not [name for name in exact if name not in pins]


def make_variable(repository, name: str) -> str:
    text = (repository / "Makefile").read_text().replace("\\\n", " ")
    return re.search(rf"^{name} :?=(.*)$", text, re.MULTILINE)[1].strip()


def test_make_run_prints_what_the_terminal_ui_opens_on(repository):
    words = shlex.split(make_variable(repository, "EXAMPLE"))
    assert words == shlex.split(predict_command(example_scenario()))[2:]


def test_no_text_names_a_path_of_one_machine(repository):
    pattern = re.compile(r"(/home/\w+|/root/|/Users/\w+)")
    for name in (*TEXTS, "NOTICE", "Makefile", ".ci/run", ".ci/install"):
        assert not pattern.search((repository / name).read_text()), name
