"""`twin profiles`: what stands where, and whether a file can be trusted."""

import itertools
import json
import shutil

import pytest
from click.testing import CliRunner

from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.errors import ProfileError
from hardware_profiles.plausibility import flop_per_cycle_per_unit
from hardware_profiles.schema import KINDS
from kernels.families.inheritance import FOLDER
from twin.cli.profiles import profiles

HEADER = ["tweeling_version", "command", "profile_hashes"]


def outcome(*words):
    return CliRunner().invoke(profiles, [str(word) for word in words], catch_exceptions=False)


def text(*words):
    result = outcome(*words)
    assert result.exit_code == 0
    return result.stdout


def document(*words, exit_code=0):
    result = outcome(*words, "--json")
    assert result.exit_code == exit_code
    answer = json.loads(result.stdout)
    assert list(answer)[:3] == HEADER
    return answer


def refused(*words):
    with pytest.raises(ProfileError) as caught:
        outcome(*words)
    line = str(caught.value)
    assert "\n" not in line
    return line


class TestList:
    @pytest.mark.parametrize("kind", KINDS)
    def test_one_kind_lists_its_names(self, kind):
        title, _, *lines = text("list", "--kind", kind).splitlines()
        assert sorted(line.split()[0] for line in lines) == list(Catalogue().names(kind))
        assert title == f"{kind}s ({len(lines)})"

    def test_accelerators_stand_together_by_vendor_and_family(self):
        lines = text("list", "--kind", "accelerator").splitlines()[2:]
        families = [tuple(line.split()[1:3]) for line in lines]
        starts = [family for family, _ in itertools.groupby(families)]
        assert len(starts) == len(set(starts)) > 3

    def test_announced_parts_say_so(self, announced, tmp_path):
        announced()
        line = next(
            line
            for line in text("list", "--profiles", tmp_path).splitlines()
            if " preview " in line
        )
        assert " announced " in line
        entries = document("list", "--profiles", tmp_path)["profiles"]
        entry = next(entry for entry in entries if entry["name"] == "preview")
        assert (entry["status"], entry["is_broken"]) == ("announced", False)

    def test_all_kinds_as_json_with_a_hash_for_each(self):
        answer = document("list")
        assert {entry["kind"] for entry in answer["profiles"]} == set(KINDS)
        keys = {f"{entry['kind']}/{entry['name']}" for entry in answer["profiles"]}
        assert keys == set(answer["profile_hashes"])

    def test_own_files_stand_there_even_when_broken(self, tmp_path):
        (tmp_path / "mine.toml").write_text('kind = "site"\nname = [')
        line = next(
            line for line in text("list", "--profiles", tmp_path).splitlines() if " mine " in line
        )
        assert "not valid TOML" in line
        entries = document("list", "--profiles", tmp_path)["profiles"]
        assert [entry["name"] for entry in entries if entry["is_broken"]] == ["mine"]

    def test_an_unknown_kind_is_refused(self):
        assert "expected one of accelerator, node, cluster, site" in refused("list", "--kind", "x")


class TestShow:
    def test_every_number_has_class_and_source(self):
        answer = document("show", "h100-sxm")
        figures = {row["key"]: row for row in answer["figures"]}
        assert figures["power.tdp_w"]["value"] == 700
        assert figures["compute.peak_flop_per_s.bf16"]["figure_class"] == "datasheet"
        assert figures["calibration.gemm.bf16.launch_s"]["figure_class"] == "fitted"
        assert all(row["source"] and row["figure_class"] for row in answer["figures"])
        assert answer["profile"]["memory"]["bandwidth_bytes_per_s"] == 3.35e12

    def test_text_shows_figures_and_fits(self):
        lines = text("show", "H100").splitlines()
        assert lines[0].startswith("Nvidia H100 SXM5 80 GB (accelerator h100-sxm)")
        assert any("power.idle_w" in line and " measured " in line for line in lines)
        assert any(line.strip().startswith("gemm bf16") for line in lines)

    def test_a_name_of_two_kinds_shows_the_cluster_and_names_the_node(self):
        assert document("show", "dgx-h100")["kind"] == "cluster"
        assert document("show", "dgx-h100")["also_kinds"] == ["node"]
        assert document("show", "dgx-h100", "--kind", "node")["profile"]["n_devices"] == 8
        assert "--kind node" in text("show", "dgx-h100")

    def test_hashes_name_what_the_profile_extends(self):
        hashes = document("show", "h200-sxm")["profile_hashes"]
        assert set(hashes) == {"accelerator/h200-sxm", "accelerator/h100-sxm"}

    def test_a_file_can_be_shown_by_its_path(self, tmp_path):
        document("new", "mine", "--extends", "h100-sxm", "--out", tmp_path)
        assert document("show", tmp_path / "mine.toml")["name"] == "mine"

    def test_an_unknown_name_lists_the_nearest(self):
        assert 'profile "dgx-h10": unknown; nearest dgx-h100' in refused("show", "dgx-h10")
        assert 'node "h100-sxm": unknown' in refused("show", "h100-sxm", "--kind", "node")

    def test_figures_nobody_has_published_are_null_and_never_zero(self, announced, tmp_path):
        announced()
        answer = document("show", "preview", "--profiles", tmp_path)
        figures = {row["key"]: row for row in answer["figures"]}
        unknown = {"key": "power.tdp_w", "value": None, "figure_class": None, "source": None}
        assert figures["power.tdp_w"] == unknown
        assert answer["profile"]["power"]["tdp_w"] is None
        assert answer["profile"]["memory"]["capacity_bytes"] == 288 * 2**30
        lines = text("show", "preview", "--profiles", tmp_path).splitlines()
        assert any("power.tdp_w" in line and "unknown" in line for line in lines)
        assert any("announced" in line for line in lines)


class TestCheck:
    def test_the_shipped_catalogue_passes(self):
        answer = document("check")
        n_profiles = sum(len(Catalogue().names(kind)) for kind in KINDS)
        assert (answer["ok"], answer["n_checked"]) == (True, n_profiles)
        assert {finding["severity"] for finding in answer["findings"]} <= {"note"}
        assert len(answer["profile_hashes"]) == n_profiles

    def test_all_failures_are_listed_and_the_exit_code_is_1(self, tmp_path):
        (tmp_path / "broken.toml").write_text('kind = "site"\nname = [')
        site = 'schema_version = 1\nkind = "site"\nname = "mine"\ntitle = "T"\n'
        (tmp_path / "mine.toml").write_text(site + 'country = "NL"\npue = 0.5\n')
        (tmp_path / "stray.toml").write_text("a = 1\n")
        result = outcome("check", tmp_path)
        assert result.exit_code == 1
        assert result.stdout.splitlines()[-1] == "3 files checked, 3 with errors"
        assert "mine.toml: pue = 0.5: expected a number of at least 1" in result.stdout
        assert "stray.toml: kind = missing" in result.stdout
        answer = document("check", tmp_path, exit_code=1)
        assert (answer["ok"], answer["n_failed"]) == (False, 3)
        assert {finding["severity"] for finding in answer["findings"]} == {"error"}

    def test_without_arguments_the_users_folder_is_checked_too(self, tmp_path):
        (tmp_path / "broken.toml").write_text('kind = "site"\nname = [')
        assert document("check", "--profiles", tmp_path, exit_code=1)["n_failed"] == 1

    def test_files_of_a_folder_may_refer_to_each_other(self, tmp_path):
        document("new", "part", "--extends", "h100-sxm", "--out", tmp_path)
        document("new", "box", "--kind", "node", "--out", tmp_path)
        box = tmp_path / "box.toml"
        box.write_text(box.read_text().replace('"h100-sxm"', '"part"'))
        assert document("check", tmp_path)["n_failed"] == 0
        assert document("check", box)["n_failed"] == 0

    def test_a_path_to_nothing_is_bad_input(self, tmp_path):
        assert "no such file or folder" in refused("check", tmp_path / "absent.toml")

    def test_a_folder_without_profiles_is_bad_input(self, tmp_path):
        document("new", "part", "--extends", "h100-sxm", "--out", tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("kind")
        for named in ([tmp_path / "empty"], [tmp_path, tmp_path / "empty"]):
            assert f"{tmp_path / 'empty'}: holds no profile" in refused("check", *named)
        assert document("check", "--profiles", tmp_path / "empty")["ok"]

    def test_models_of_the_users_folder_are_read_as_models(self, tmp_path):
        pytest.importorskip("twin.workload.catalogue")
        (tmp_path / "mine.toml").write_text('schema_version = 1\nkind = "model"\nname = "mine"\n')
        answer = document("check", tmp_path, exit_code=1)
        assert answer["n_failed"] == 1
        assert "expected one of accelerator" not in answer["findings"][0]["message"]


class TestCheckOfFamilies:
    """Constants of architectures lie among the profiles that `twin calibrate` writes."""

    @pytest.fixture
    def written(self, tmp_path):
        families = tmp_path / "out" / "families"
        families.mkdir(parents=True)
        for name in ("ada", "cdna3", "relatives"):
            shutil.copy(FOLDER / f"{name}.toml", families)
        (tmp_path / "out" / "accelerators").mkdir()
        shutil.copy(SHIPPED / "accelerators/nvidia/l4.toml", tmp_path / "out" / "accelerators")
        return tmp_path / "out"

    def test_they_pass_as_what_they_are(self, written):
        answer = document("check", written)
        assert (answer["ok"], answer["n_checked"]) == (True, 3)
        assert set(answer["profile_hashes"]) == {"accelerator/l4", "family/ada", "family/cdna3"}
        assert document("check", written / "families" / "ada.toml")["n_checked"] == 1
        everything = document("check", "--profiles", written)
        assert everything["ok"]
        assert everything["n_checked"] == document("check")["n_checked"] + 3

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            ("launch_s = 2.3e-06", "launch_s = 'x'", 'gemm.fp32.launch_s = "x": expected a number'),
            ("launch_s = 2.3e-06", "lunch_s = 2.3e-06", "gemm.fp32.lunch_s = 2.3e-06: unknown key"),
            ("launch_s = 2.3e-06", "", "gemm.fp32.launch_s: missing; the profile needs it"),
            ("[gemm.fp32]", "[gemm.fp32", "not valid TOML"),
        ],
    )
    def test_what_is_wrong_is_named(self, written, old, new, complaint):
        path = written / "families" / "ada.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        (finding,) = document("check", written, exit_code=1)["findings"]
        assert finding["message"].startswith(f"{path}: ")
        assert complaint in finding["message"]


def test_a_verb_says_which_of_the_users_files_hides_which(tmp_path):
    document("new", "mine", "--extends", "h100-sxm", "--out", tmp_path)
    path = tmp_path / "mine.toml"
    assert not outcome("show", "mine", "--profiles", tmp_path).stderr
    text = path.read_text()
    assert "aliases = []" in text
    path.write_text(text.replace("aliases = []", 'aliases = ["H100-SXM5-80GB"]'))
    result = outcome("show", "H100-SXM5-80GB", "--profiles", tmp_path)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"twin: {path} shadows hardware_profiles/")
    assert "mine" in result.stdout.splitlines()[0]


class TestNew:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_new_profile_is_short_complete_and_says_it_is_a_placeholder(self, tmp_path, kind):
        document("new", "mine", "--kind", kind, "--out", tmp_path)
        path = tmp_path / "mine.toml"
        assert len(path.read_text().splitlines()) < 40
        assert "TODO" not in path.read_text()
        answer = document("check", path)
        assert [finding["severity"] for finding in answer["findings"]] == ["warning"]
        assert "placeholder" in answer["findings"][0]["message"]

    @pytest.mark.parametrize(
        ("base", "kind"),
        [
            ("h100-sxm", "accelerator"),
            ("MI300X", "accelerator"),
            ("lumi-g-node", "node"),
            ("lumi-g", "cluster"),
            ("groningen", "site"),
        ],
    )
    def test_a_derived_profile_is_as_its_base(self, tmp_path, base, kind):
        words = ("new", "mine", "--extends", base, "--kind", kind, "--out", tmp_path)
        assert document(*words)["kind"] == kind
        path = tmp_path / "mine.toml"
        assert len(path.read_text().splitlines()) < 40
        assert document("check", path)["findings"] == []
        mine = Catalogue([tmp_path]).load(kind, "mine").table
        like = Catalogue().load(kind, base).table
        same = set(mine) - {"name", "title", "aliases", "calibration"}
        assert {key: mine[key] for key in same} == {key: like[key] for key in same}

    def test_the_example_in_a_derived_profile_is_valid(self, tmp_path):
        document("new", "mine", "--extends", "h100-sxm", "--out", tmp_path)
        path = tmp_path / "mine.toml"
        head, example = path.read_text().split("#\n", 1)
        path.write_text(head + "\n".join(line[2:] for line in example.splitlines()))
        assert document("check", path)["findings"] == []
        assert Catalogue([tmp_path]).accelerator("mine").memory.capacity_bytes == 96 * 2**30

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["accelerator", "--name", "h100"], "already stands for accelerator h100-sxm"),
            (["h100", "--extends", "h100"], "already stands for accelerator h100-sxm"),
            (["h100-sxm"], "h100-sxm.toml is accelerator h100-sxm already; expected another name"),
            (["h100-sxm", "--extends", "h200-sxm"], "or --extends h100-sxm for a file that takes"),
            (["lumi", "--kind", "cluster"], "already stands for cluster lumi-"),
        ],
    )
    def test_a_name_in_use_is_refused(self, tmp_path, words, complaint):
        line = refused("new", *words, "--out", tmp_path)
        assert complaint in line
        assert str(SHIPPED) not in line
        assert list(tmp_path.iterdir()) == []

    def test_a_name_of_the_users_is_in_use_too(self, tmp_path):
        document("new", "mine", "--out", tmp_path)
        (tmp_path / "more").mkdir()
        words = ("new", "mine", "--profiles", tmp_path, "--out", tmp_path / "more")
        assert f"{tmp_path / 'mine.toml'} is accelerator mine already" in refused(*words)
        document(*words, "--kind", "site")

    def test_what_extends_its_own_name_takes_its_place_and_that_is_said(self, tmp_path):
        document("new", "h100-sxm", "--extends", "H100", "--out", tmp_path)
        path = tmp_path / "h100-sxm.toml"
        assert document("check", path)["ok"]
        result = outcome("show", "H100", "--profiles", tmp_path)
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"twin: {path} takes the place of hardware_profiles/accelerators/")

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_kind_may_come_first(self, tmp_path, kind):
        answer = document("new", kind, "--name", "mine", "--out", tmp_path)
        assert (answer["kind"], answer["name"]) == (kind, "mine")
        assert document("check", tmp_path / "mine.toml")["n_failed"] == 0

    def test_a_family_gives_vendor_and_width_of_units(self, tmp_path):
        words = ("new", "accelerator", "--name", "mine", "--architecture", "hopper")
        document(*words, "--out", tmp_path)
        mine = Catalogue([tmp_path]).accelerator("mine")
        assert (mine.vendor, mine.architecture) == ("nvidia", "hopper")
        assert flop_per_cycle_per_unit(mine) == pytest.approx(4096, rel=0.01)
        findings = document("check", tmp_path / "mine.toml")["findings"]
        assert [finding["severity"] for finding in findings] == ["warning"]  # the placeholder

    def test_a_family_of_its_own_is_taken_as_written(self, tmp_path):
        words = ("new", "mine", "--architecture", "lyra", "--vendor", "intel", "--out", tmp_path)
        document(*words)
        mine = Catalogue([tmp_path]).accelerator("mine")
        assert (mine.vendor, mine.architecture) == ("intel", "lyra")

    def test_what_a_new_profile_rests_on_has_a_hash(self, tmp_path):
        words = ("new", "mine", "--extends", "h200-sxm", "--out", tmp_path)
        assert document(*words)["profile_hashes"] == Catalogue().load("accelerator", "H200").hashes
        like = ("new", "other", "--architecture", "hopper", "--out", tmp_path)
        assert "accelerator/h100-sxm" in document(*like)["profile_hashes"]
        assert document("new", "third", "--out", tmp_path)["profile_hashes"] == {}

    def test_a_vendor_is_written_down(self, tmp_path):
        document("new", "mine", "--vendor", "amd", "--out", tmp_path / "mine.toml")
        assert Catalogue([tmp_path]).accelerator("mine").vendor == "amd"

    def test_a_file_is_never_overwritten_and_no_half_of_one_stays(self, tmp_path):
        document("new", "mine", "--out", tmp_path)
        before = (tmp_path / "mine.toml").read_text()
        assert "exists already" in refused("new", "mine", "--kind", "site", "--out", tmp_path)
        assert (tmp_path / "mine.toml").read_text() == before
        assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["Mine One"], "expected a name of small letters"),
            (["../mine"], "expected a name of small letters"),
            (["mine", "--kind", "model"], "expected one of accelerator, node, cluster, site"),
            (["mine", "--vendor", "nvida"], "nearest is nvidia"),
            (["accelerator"], "accelerator: expected --name NAME too"),
            (["acelerator", "--name", "mine"], "expected one of accelerator, node, cluster, site"),
            (["node", "--name", "mine", "--kind", "site"], "--kind site: expected none, or node"),
            (["mine", "--extends", "h100-sx"], "nearest h100-sxm"),
            (["mine", "--extends", "dgx-h100"], "expected --kind too"),
            (["mine", "--out", "other.toml"], "expected a file called mine.toml"),
            (["mine", "--out", "no/such/folder/mine.toml"], "cannot be written"),
        ],
    )
    def test_bad_input_is_one_line(self, words, complaint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert complaint in refused("new", *words)
        assert list(tmp_path.iterdir()) == []
