"""The least-squares step of the fit of framework constants, on problems with known answers."""

import numpy as np
import pytest

from twin.fitting.solve import Linearised, Prior, minimum, objective


def prior(n, *, sigma, mean=0.0):
    return Prior(
        mean=np.full(n, mean), sigma=np.full(n, sigma), low=np.full(n, -9.0), high=np.full(n, 9.0)
    )


def linear(slopes, truth, *, at=None):
    at = np.zeros(slopes.shape[1]) if at is None else at
    return Linearised(at=at, errors=slopes @ (at - truth), slopes=slopes)


@pytest.fixture
def slopes():
    return np.random.default_rng(1).normal(size=(60, 3))


def test_a_loose_prior_lets_the_rows_decide(slopes):
    truth = np.array([0.3, -0.2, 0.1])
    found = minimum(linear(slopes, truth), np.ones(60), prior(3, sigma=1e3))
    assert found == pytest.approx(truth, abs=1e-3)


def test_a_firm_prior_keeps_the_constants(slopes):
    truth = np.array([0.3, -0.2, 0.1])
    found = minimum(linear(slopes, truth), np.ones(60), prior(3, sigma=1e-6))
    assert found == pytest.approx(np.zeros(3), abs=1e-6)


def test_a_constant_that_no_row_feels_stays_at_its_prior(slopes):
    slopes[:, 2] = 0.0
    truth = np.array([0.3, -0.2, 0.0])
    found = minimum(linear(slopes, truth), np.ones(60), prior(3, sigma=0.5, mean=0.7))
    assert found[2] == pytest.approx(0.7, abs=1e-3)


def test_a_few_wild_rows_do_not_decide(slopes):
    truth = np.array([0.3, -0.2, 0.1])
    problem = linear(slopes, truth)
    problem.errors[:5] += 3.0
    found = minimum(problem, np.ones(60), prior(3, sigma=10.0))
    assert found == pytest.approx(truth, abs=0.05)


def test_rows_of_no_weight_are_not_seen(slopes):
    truth = np.array([0.3, -0.2, 0.1])
    problem = linear(slopes, truth)
    problem.errors[:20] = 5.0
    weights = np.ones(60)
    weights[:20] = 0.0
    found = minimum(problem, weights, prior(3, sigma=1e3))
    assert found == pytest.approx(truth, abs=1e-3)


def test_limits_hold(slopes):
    limits = Prior(
        mean=np.zeros(3), sigma=np.full(3, 1e3), low=np.full(3, -0.1), high=np.full(3, 0.1)
    )
    found = minimum(linear(slopes, np.array([5.0, -5.0, 0.05])), np.ones(60), limits)
    assert np.all(np.abs(found) <= 0.1)


def test_the_minimum_is_below_its_neighbours(slopes):
    problem = linear(slopes, np.array([0.3, -0.2, 0.1]))
    problem.errors[:] += np.random.default_rng(2).normal(scale=0.1, size=60)
    weights, firm = np.ones(60), prior(3, sigma=0.3)
    best = minimum(problem, weights, firm)

    def value(x):
        return objective(problem.errors + problem.slopes @ (x - problem.at), x, weights, firm)

    for axis in range(3):
        for change in (-0.02, 0.02):
            moved = best.copy()
            moved[axis] += change
            assert value(best) < value(moved)
