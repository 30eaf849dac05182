"""Which profiles hide which others under an alias."""

import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.shadows import replacements, shadows

SHIPPED = "hardware_profiles/accelerators/nvidia/h100-sxm.toml"
ALIAS = "H100-SXM5-80GB"


@pytest.fixture
def written(tmp_path):
    """A file that is as the H100 under another name."""

    def write(name, *aliases, extends="h100-sxm"):
        path = tmp_path / f"{name}.toml"
        names = ", ".join(f'"{alias}"' for alias in aliases)
        path.write_text(
            f'schema_version = 1\nkind = "accelerator"\nname = "{name}"\nextends = "{extends}"\n'
            f'title = "Mine"\naliases = [{names}]\n'
        )
        return path

    return write


def test_an_alias_of_a_shipped_profile_is_hidden_by_one_of_the_users(tmp_path, written):
    mine = written("mine", "mine-too", ALIAS)
    assert list(shadows([tmp_path])) == [f'{mine} shadows {SHIPPED}: both are called "{ALIAS}"']
    assert Catalogue([tmp_path]).find("accelerator", ALIAS) == mine


def test_a_name_of_the_users_hides_an_alias(tmp_path, written):
    mine = written(ALIAS.lower())
    assert list(shadows([tmp_path])) == [f'{mine} shadows {SHIPPED}: both are called "{ALIAS}"']


def test_a_shipped_name_hides_an_alias_of_the_users(tmp_path, written):
    mine = written("mine", "h100-sxm")
    assert list(shadows([tmp_path])) == [f'{SHIPPED} shadows {mine}: both are called "h100-sxm"']
    assert Catalogue([tmp_path]).find("accelerator", "h100-sxm") != mine


def test_files_of_the_user_hide_each_other(tmp_path, written):
    first, second = written("a", "Both"), written("b", "both")
    assert list(shadows([tmp_path])) == [f'{first} shadows {second}: both are called "Both"']


def test_a_file_under_a_shipped_name_takes_its_place_and_hides_nothing(tmp_path, written):
    written("h100-sxm", ALIAS)
    written("mine", "mine-too")
    assert not list(shadows([tmp_path]))
    assert not list(shadows([]))


def test_shipped_profiles_that_a_folder_replaces_are_named_in_one_line(tmp_path, written):
    written("mine", ALIAS)
    assert not list(replacements([tmp_path]))
    mine = written("h100-sxm")
    assert list(replacements([tmp_path])) == [f"{mine} takes the place of {SHIPPED}"]
    written("a40")
    (line,) = replacements([tmp_path])
    assert line == (
        f"{tmp_path}: 2 accelerators take the place of shipped ones of their name: a40, h100-sxm"
    )


def test_other_kinds_may_have_the_same_aliases(tmp_path):
    (tmp_path / "place.toml").write_text(f'kind = "site"\naliases = ["{ALIAS}"]\n')
    assert not list(shadows([tmp_path]))
