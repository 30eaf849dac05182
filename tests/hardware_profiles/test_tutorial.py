"""docs/add-a-gpu.md does what it says: its files are written and its commands run as they stand."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.check import check_files

BLOCK = re.compile(r"^```(sh|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MOST_LINES = 40


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "add-a-gpu.md").read_text(encoding="utf-8")


def steps(page):
    """Commands and files in their order: (kind of block, line or text)."""
    for language, body in BLOCK.findall(page):
        if language == "toml":
            yield "file", body
        else:
            yield from (("command", line) for line in body.splitlines())


@pytest.fixture(scope="module")
def done(page, repository, tmp_path_factory):
    """Follow the page in an empty folder; what each command printed, and the folder."""
    folder = tmp_path_factory.mktemp("tutorial")
    outputs = []
    for kind, text in steps(page):
        if kind == "file":
            name = re.search(r'^name = "(.*)"$', text, re.MULTILINE)[1]
            (folder / "mine" / f"{name}.toml").write_text(text, encoding="utf-8")
            continue
        words = shlex.split(text)
        if words[0] == "twin":
            words[:1] = [sys.executable, "-c", "from tui.command import main; main()"]
        answer = subprocess.run(
            words,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(repository), "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, (text, answer.stderr)
        outputs.append((text, answer.stdout))
    return outputs, folder


def test_every_file_of_the_page_is_short(page):
    files = [text for kind, text in steps(page) if kind == "file"]
    assert len(files) == 3
    assert all(len(text.splitlines()) < MOST_LINES for text in files)


def test_every_command_of_the_page_works(done):
    outputs, folder = done
    verbs = [text.split()[1] for text, _ in outputs if text.startswith("twin")]
    assert verbs.count("predict") == 2
    assert {"profiles", "predict", "explain"} == set(verbs)
    assert {path.name for path in (folder / "mine").iterdir()} == {
        "lyra-200.toml",
        "lyra-box.toml",
        "lyra-cluster.toml",
    }


def test_the_check_is_content_and_a_sparse_rate_would_be_doubted(done):
    _, folder = done
    files = sorted((folder / "mine").glob("*.toml"))
    assert check_files(files, Catalogue([folder / "mine"])) == ()
    sparse = folder / "lyra-200.toml"
    text = (folder / "mine" / "lyra-200.toml").read_text(encoding="utf-8")
    sparse.write_text(text.replace("688", "1376").replace("fp8_tflop_per_s = 1376", ""))
    (doubt,) = check_files([sparse], Catalogue())
    assert "4095 flop per cycle and unit" in doubt.message


def test_the_prediction_rests_on_the_datasheet_and_says_so(done):
    outputs, _ = done
    printed = [out for text, out in outputs if text.startswith("twin predict")]
    assert all("W_DATASHEET_ONLY" in out for out in printed)
    assert printed[0] != printed[1]


def test_the_source_of_a_figure_is_the_one_written(done, repository):
    _, folder = done
    words = [sys.executable, "-c", "from tui.command import main; main()", "profiles", "show"]
    words += ["lyra-200", "--profiles", str(folder / "mine"), "--json"]
    answer = subprocess.run(words, cwd=Path(repository), capture_output=True, check=True)
    figures = {row["key"]: row for row in json.loads(answer.stdout)["figures"]}
    assert figures["power.idle_w"]["figure_class"] == "assumed"
    assert figures["power.tdp_w"]["source"].startswith("Lyra 200 datasheet")
