"""The picture of published runs: what is on it, that it is the same each time, what is refused."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

from twin.picture_file import PictureError
from twin.validation.runs_plot import check_plot, write_runs_plot

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Run:
    vendor: str
    architecture: str
    measured_step_time_s: float
    predicted_step_time_s: float
    left_out_step_time_s: float


RUNS = [
    Run("Nvidia", "hopper", 1.0, 1.02, 1.05),
    Run("Nvidia", "hopper", 10.0, 9.0, 8.0),
    Run("AMD", "cdna3", 3.0, 3.3, 3.6),
]


@pytest.fixture
def drawn(tmp_path):
    pytest.importorskip("matplotlib")

    def draw(runs=RUNS, name="runs.csv", ending=".svg"):
        path = tmp_path / f"plot{ending}"
        write_runs_plot(runs, name=name, path=path)
        return path

    return draw


def groups_of(root):
    return {one.get("id"): one for one in root.iter(f"{SVG}g") if one.get("id")}


def texts_of(root):
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def test_each_panel_has_a_marker_for_each_run_of_each_family(drawn):
    groups = groups_of(ElementTree.parse(drawn()).getroot())
    for panel in ("left-out", "in-sample"):
        found = [len(list(groups[f"{panel}-{place}"].iter(f"{SVG}use"))) for place in (0, 1)]
        assert found == [2, 1]
    assert {"band", "diagonal"} <= set(groups)


def test_words_are_text_and_say_the_errors_of_both_sides(drawn):
    said = texts_of(ElementTree.parse(drawn()).getroot())
    assert "Step time of 3 published training runs: runs.csv" in said
    assert any("left out" in words and "decides" in words for words in said)
    assert any("median 20.0 %" in words and "bias +1.7 %" in words for words in said)
    assert any("median 10.0 %" in words for words in said)
    assert {"2 Nvidia hopper", "1 AMD cdna3", "within 15 % of measured"} <= set(said)


def test_markers_stand_where_the_times_are(drawn):
    groups = groups_of(ElementTree.parse(drawn()).getroot())
    places = [
        [(float(use.get("x")), float(use.get("y"))) for use in groups[name].iter(f"{SVG}use")]
        for name in ("in-sample-0", "in-sample-1")
    ]
    (fast, slow), (middle,) = places
    assert fast[0] < middle[0] < slow[0]
    assert fast[1] > middle[1] > slow[1]


def test_equal_runs_make_equal_files_without_a_date(drawn):
    first = drawn().read_bytes()
    assert drawn().read_bytes() == first
    assert not re.search(rb"20\d\d-\d\d-\d\d", first)


@pytest.mark.parametrize(
    ("ending", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_other_endings_are_other_kinds_of_picture(drawn, ending, start):
    first = drawn(ending=ending).read_bytes()
    assert first.startswith(start)
    assert drawn(ending=ending).read_bytes() == first


@pytest.mark.parametrize(
    "name", ["a<b>&c", "$x^2$ costs $5", "_hidden", 'quote"', "tab\tand\x0bbell"]
)
def test_names_are_text_whatever_they_hold(drawn, name):
    odd = [Run(name, "hopper", 1.0, 1.1, 1.2)]
    said = texts_of(ElementTree.parse(drawn(runs=odd, name=name)).getroot())
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    assert f"1 {shown} hopper" in said
    assert any(words.endswith(shown) for words in said)


def test_a_table_without_a_predicted_run_is_an_empty_picture(drawn):
    said = texts_of(ElementTree.parse(drawn(runs=[])).getroot())
    assert said.count("no run is predicted") == 2


def test_nothing_but_the_picture_is_left(drawn, tmp_path):
    drawn()
    assert [path.name for path in tmp_path.iterdir()] == ["plot.svg"]


@pytest.mark.parametrize("name", ["plot.txt", "plot", "plot.SVGZ", "no/such/folder.svg"])
def test_a_name_that_cannot_be_is_refused_at_once(tmp_path, name):
    with pytest.raises(PictureError, match=r"--plot .*(expected a name|no such folder)"):
        check_plot(tmp_path / name)


def test_a_folder_is_refused(tmp_path):
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        check_plot(folder)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PictureError, match=r"pip install 'tweeling\[report\]'"):
        check_plot(tmp_path / "plot.svg")


def test_a_file_that_cannot_be_written_keeps_the_old_one(drawn, tmp_path, monkeypatch):
    path = drawn()
    before = path.read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twin.picture_file.write_bytes_whole", full)
    with pytest.raises(PictureError, match="No space left"):
        drawn(name="other.csv")
    assert path.read_bytes() == before
