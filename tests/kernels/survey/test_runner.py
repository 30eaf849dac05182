"""The loop over cases: order, time limit, interruption, resume, failures."""

import io
import json

import pytest

from kernels.measurements import LaunchMeasurement, read_measurements
from kernels.survey.case import FAMILIES, Case, SkipError, in_order
from kernels.survey.runner import Hooks, Limits, Progress, run_cases
from kernels.survey.store import Store


class World:
    """Cases on a clock that only they move."""

    def __init__(self, folder):
        self.folder = folder
        self.now_s = 0.0
        self.ran = []

    def case(self, key, *, seconds=1.0, error=None, priority=0, estimate_s=None):
        def run():
            self.ran.append(key)
            self.now_s += seconds
            if error is not None:
                raise error
            row = LaunchMeasurement(
                case=key, device="D", vendor="v", library="l", op="add", mode="host", n_calls=1
            )
            return [row]

        return Case(key=key, family="launch", priority=priority, run=run, estimate_s=estimate_s)

    def run(self, cases, *, limit_s=None, hooks=None):
        store = Store(self.folder, environment={"kind": "survey"})
        store.load()
        limits = Limits(deadline_s=limit_s, clock=lambda: self.now_s)
        ending = run_cases(
            cases, store=store, limits=limits, progress=Progress(io.StringIO()), hooks=hooks
        )
        return ending

    def measured(self):
        return [
            row.case for row in read_measurements(self.folder / "launch.csv", LaunchMeasurement)
        ]

    def environment(self):
        return json.loads((self.folder / "environment.json").read_text())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_everything_is_run_and_written(world):
    assert world.run([world.case(f"c{i}") for i in range(5)]) == "finished"
    assert world.measured() == ["c0", "c1", "c2", "c3", "c4"]
    assert world.environment()["ending"] == "finished"
    assert world.environment()["rows"] == {"launch": 5}


def test_the_time_limit_is_kept(world):
    cases = [world.case(f"c{i}", seconds=3.0) for i in range(100)]
    assert world.run(cases, limit_s=60.0) == "time limit"
    assert 45.0 < world.now_s <= 60.0
    assert len(world.measured()) == len(world.ran)


def test_a_case_known_to_be_too_long_makes_room_for_shorter_ones(world):
    cases = [world.case("long", seconds=50.0, estimate_s=50.0), world.case("short")]
    assert world.run(cases, limit_s=20.0) == "time limit"
    assert world.ran == ["short"]


def test_an_interrupted_survey_is_resumed_where_it_stopped(world):
    names = ["a", "b", "c", "d"]
    stop = KeyboardInterrupt()
    first = [world.case(n, error=stop if n == "c" else None) for n in names]
    assert world.run(first) == "interrupted"
    assert world.measured() == ["a", "b"]
    assert world.run([world.case(n) for n in names]) == "finished"
    assert world.ran == ["a", "b", "c", "c", "d"]
    assert world.measured() == names
    (earlier,) = world.environment()["earlier"]
    assert (earlier["ending"], earlier["rows"]) == ("interrupted", {"launch": 2})
    assert world.environment()["rows"] == {"launch": 4}


@pytest.mark.parametrize(
    "error", [SkipError("no such kernel"), RuntimeError("out of memory\nframe 1"), TypeError("x")]
)
def test_what_cannot_run_is_noted_once_and_never_tried_again(world, error):
    cases = [world.case("bad", error=error), world.case("good")]
    assert world.run(cases) == "finished"
    assert world.run(cases) == "finished"
    assert world.ran == ["bad", "good"]
    (entry,) = world.environment()["skipped"]
    assert (entry["family"], entry["case"]) == ("launch", "bad")
    assert "\n" not in entry["why"]


def test_a_lost_device_ends_the_survey_with_valid_files(world):
    def lost():
        msg = "device lost"
        raise ConnectionError(msg)

    cases = [world.case("a"), world.case("b", error=RuntimeError("bad")), world.case("c")]
    with pytest.raises(ConnectionError):
        world.run(cases, hooks=Hooks(after_failure=lost))
    assert world.measured() == ["a"]
    assert world.environment()["ending"] == "stopped by an error"
    assert world.run(cases) == "finished"
    assert world.measured() == ["a", "c"]


def make(family, key, priority):
    return Case(key=key, family=family, priority=priority, run=list)


def test_coarse_cases_of_every_family_come_before_any_other():
    cases = [make(f, f"{f}{p}{i}", p) for f in FAMILIES for p in (2, 1, 0) for i in range(7)]
    ordered = in_order(cases)
    assert [c.priority for c in ordered] == sorted(c.priority for c in ordered)
    assert sorted(c.key for c in ordered) == sorted(c.key for c in cases)
    assert [c.family for c in ordered[:42:7]] == list(FAMILIES)


def test_any_cut_of_the_usual_cases_covers_every_family_in_proportion():
    sizes = dict(zip(FAMILIES, (100, 10, 200, 20, 4, 40), strict=True))
    cases = [make(f, f"{f}{i}", 1) for f, n in sizes.items() for i in range(n)]
    half = in_order(cases)[: len(cases) // 2]
    for family, n in sizes.items():
        assert abs(sum(c.family == family for c in half) - n / 2) <= 1
