"""Files that are there whole or not at all."""

import pytest

from hardware_profiles.whole_files import write_text_whole


def test_the_file_is_replaced_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("old")
    write_text_whole(path, "4 % café\n")
    assert path.read_text(encoding="utf-8") == "4 % café\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_part(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text_whole(path, "half \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
