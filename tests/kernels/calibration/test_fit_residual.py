"""A correction is kept where unseen keys gain by it, and nowhere else."""

import numpy as np

from kernels.calibration.fit_residual import (
    LARGEST_LOG,
    PLAIN,
    SMOOTH,
    GridAxis,
    ResidualFitter,
)

RNG = np.random.default_rng(7)
AXES = (GridAxis(start_log2=0.0, step_log2=2.0, count=8),) * 3
SIZES = 2.0 ** RNG.uniform(0.0, 14.0, size=(3000, 3))
KEYS = RNG.integers(0, 100, size=3000)
FITTER = ResidualFitter()


def test_a_smooth_error_is_taken_out():
    errors = 0.1 * np.sin(np.log2(SIZES[:, 0]) / 3.0) + 0.05 * np.cos(np.log2(SIZES[:, 1]) / 2.0)
    residual = FITTER.fit(SIZES, errors, KEYS, (AXES,))
    left = errors - FITTER.logs(SIZES, residual)
    assert np.mean(np.abs(left)) < 0.5 * np.mean(np.abs(errors))


def test_noise_is_left_alone():
    assert FITTER.fit(SIZES, RNG.normal(0.0, 0.1, size=3000), KEYS, (AXES,)) is None


def test_what_another_correction_does_as_well_is_not_corrected_again():
    errors = 0.1 * np.sin(np.log2(SIZES[:, 0]) / 3.0)
    assert FITTER.fit(SIZES, errors, KEYS, (AXES,), rival=0.05 * errors) is None


def test_it_may_correct_and_never_carry():
    residual = FITTER.fit(SIZES, np.full(3000, 2.0), KEYS, (AXES,))
    assert residual is not None
    assert max(map(abs, residual.values)) <= 1000.0 * LARGEST_LOG


def test_a_finer_grid_must_earn_its_nodes():
    fine = (GridAxis(start_log2=0.0, step_log2=1.0, count=15), *AXES[1:])
    errors = 0.1 * np.log2(SIZES[:, 0]) / 14.0
    residual = FITTER.fit(SIZES, errors, KEYS, (AXES, fine))
    assert residual is not None
    assert residual.counts == (8, 8, 8)


def test_nodes_lean_on_their_neighbours_where_shapes_are_few():
    rng = np.random.default_rng(1)
    shapes = 2.0 ** rng.uniform(0.0, 14.0, size=(60, 3))
    keys = np.repeat(np.arange(60), 10)
    errors = 0.2 * np.sin(np.log2(shapes[:, 0]) / 4.0)[keys]
    unseen = 2.0 ** rng.uniform(2.0, 12.0, size=(500, 3))
    truth = 0.2 * np.sin(np.log2(unseen[:, 0]) / 4.0)
    plain, smooth = (
        np.mean(np.abs(truth - FITTER.logs(unseen, residual)))
        for residual in (
            FITTER.fit(shapes[keys], errors, keys, (AXES,), priors=(prior,))
            for prior in (PLAIN, SMOOTH)
        )
    )
    assert smooth < 0.8 * plain


def test_with_one_key_nothing_can_be_set_aside():
    assert FITTER.fit(SIZES, np.full(3000, 0.1), np.zeros(3000, dtype=int), (AXES,)) is None
