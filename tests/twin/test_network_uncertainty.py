"""Widths by the network between nodes, and what says that it was not measured."""

from __future__ import annotations

import math

import msgspec
import pytest

from hardware_profiles.accelerator import Source
from tests.twin.machines import SOURCES, job, machine
from twin.explain.term import Term
from twin.network_uncertainty import network_class, network_spread, slower_fabric
from twin.predict import Predictor
from twin.scenario.scenario import PlanRequest, Scenario
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

PLAN = Plan(dp=64, zero=3)


def known_as(figure_class):
    """The round machine with its network's figures of this class."""
    where = machine(nic=1.25e10)
    own = Source(keys=("fabric.*",), figure_class=figure_class, text="for a test")
    cluster = msgspec.structs.replace(where.cluster, sources=(*SOURCES, own))
    return msgspec.structs.replace(where, cluster=cluster)


def spread_of(where, *, n_devices=64, plan=PLAN):
    predictor = StepPredictor(job(where, n_devices=n_devices))
    return network_spread(predictor, plan, predictor.step(plan))


def test_an_assumed_network_is_wider_than_a_measured_one_and_no_network_adds_nothing():
    assumed, fitted = (spread_of(known_as(one)) for one in ("assumed", "fitted"))
    assert 0.0 < fitted < assumed <= 0.4
    assert spread_of(known_as("assumed"), n_devices=8, plan=Plan(dp=8, zero=3)) == 0.0


def test_the_spread_is_what_the_slower_network_makes_of_the_step():
    where = known_as("assumed")
    cluster = msgspec.structs.replace(
        where.cluster, fabric=slower_fabric(where.cluster.fabric, 0.4)
    )
    slower = msgspec.structs.replace(where, cluster=cluster)
    times_s = [StepPredictor(job(one)).step(PLAN).time_s for one in (where, slower)]
    assert times_s[1] > times_s[0]
    assert spread_of(where) == pytest.approx(math.log(times_s[1] / times_s[0]))


def test_a_figure_that_the_user_sets_is_taken_at_its_word():
    where = known_as("assumed")
    key = "cluster.fabric.bandwidth_efficiency_fraction"
    told = msgspec.structs.replace(where, overridden_keys=(key,))
    assert network_class(told) == "user"
    assert spread_of(told) < spread_of(where)


def scenario(n_devices):
    return Scenario(
        cluster="dgx-b200",
        devices=n_devices,
        model="llama-3-8b",
        seq_len=8192,
        global_batch=512,
        plan=PlanRequest(zero=3),
    )


def names_of(term: Term) -> set[str]:
    return {term.source, *(name for child in term.children for name in names_of(child))}


@pytest.mark.parametrize(("n_devices", "is_told"), [(8, False), (64, True)])
def test_predictions_say_that_a_network_was_not_measured(n_devices, is_told):
    predictor = Predictor()
    codes = {one.code for one in predictor.predict(scenario(n_devices)).warnings}
    assert ("W_NETWORK_ASSUMED" in codes) is is_told
    sources = names_of(predictor.explain(scenario(n_devices))["step_time_s"])
    fabric = {one for one in sources if one and "cluster.fabric.bandwidth_eff" in one}
    assert bool(fabric) is is_told
