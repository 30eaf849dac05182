"""Numbers in TOML files are replaced where they stand; everything else stays."""

import tomllib

import pytest

from hardware_profiles.toml_numbers import HomeError, rounded, text_with, write_constants

TEXT = """# a heading
step = 1.0
name = "step"

[host] # of the framework
step = 2.0 # a reason
kernel_step = 3.0

[host.deep]
step = 4.0
"""


@pytest.mark.parametrize(
    ("key", "old"), [("step", 1.0), ("host.step", 2.0), ("host.deep.step", 4.0)]
)
def test_only_the_key_changes(key, old):
    text = text_with(TEXT, key, 9.5)
    assert text == TEXT.replace(f"step = {old}", "step = 9.5", 1) or text.count("9.5") == 1
    document = tomllib.loads(text)
    for name in key.split("."):
        document = document[name]
    assert document == 9.5
    assert "# a reason" in text


@pytest.mark.parametrize("key", ["nothing", "host.nothing", "other.step"])
def test_a_key_that_is_not_there_is_refused(key):
    with pytest.raises(HomeError, match=key):
        text_with(TEXT, key, 1.0)


def test_a_file_is_written_as_a_whole_or_not(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    write_constants(path, {"step": 0.12345, "host.deep.step": 7.0})
    assert tomllib.loads(path.read_text())["step"] == rounded(0.12345) == 0.123
    before = path.read_text()
    with pytest.raises(HomeError, match=str(path)):
        write_constants(path, {"step": 5.0, "gone.step": 5.0})
    assert path.read_text() == before
