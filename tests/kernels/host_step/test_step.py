"""The training step on the host: gradients against differences, and a loss that falls."""

import numpy as np
import pytest

from kernels.host_step.step import HostTrainer
from kernels.host_step.weights import StepShape, new_weights

SHAPE = StepShape(
    n_layers=1,
    hidden=12,
    ffn_hidden=16,
    n_heads=4,
    n_kv_heads=2,
    head_dim=4,
    vocabulary=11,
    batch=2,
    seq_len=6,
)


def batch_of(shape, seed=3):
    random = np.random.default_rng(seed)
    return random.integers(0, shape.vocabulary, (2, shape.batch, shape.seq_len))


@pytest.mark.parametrize(("is_gated_mlp", "norm"), [(True, "rmsnorm"), (False, "layernorm")])
def test_gradients_are_the_slopes_of_the_loss(is_gated_mlp, norm):
    shape = StepShape(
        **{
            **{name: getattr(SHAPE, name) for name in SHAPE.__slots__},
            "is_gated_mlp": is_gated_mlp,
            "norm": norm,
        }
    )
    weights = new_weights(shape, dtype=np.float64)
    for name in weights:
        weights[name][...] *= 8.0  # far from the flat start, so that no slope is tiny
    trainer = HostTrainer(shape, weights)
    tokens, targets = batch_of(shape)
    trainer.loss_and_gradients(tokens, targets)
    random = np.random.default_rng(5)
    for name in list(weights):
        direction = random.standard_normal(weights[name].shape)
        slope = float((trainer.gradients[name] * direction).sum())
        losses = []
        for sign in (1.0, -1.0):
            moved = {other: weights[other].copy() for other in weights}
            moved[name] += sign * 1e-5 * direction
            other = HostTrainer(shape, type(weights)(moved))
            losses.append(other.loss_and_gradients(tokens, targets))
        assert slope == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=2e-4, abs=1e-7), name


def test_the_loss_falls_from_that_of_guessing():
    trainer = HostTrainer(SHAPE, new_weights(SHAPE, dtype=np.float64))
    tokens, targets = batch_of(SHAPE)
    losses = [trainer.step(tokens, targets) for _ in range(30)]
    assert losses[0] == pytest.approx(np.log(SHAPE.vocabulary), rel=0.05)
    assert losses[-1] < losses[0] - 0.05


def test_rows_of_tokens_that_are_gone_have_no_gradient():
    trainer = HostTrainer(SHAPE, new_weights(SHAPE, dtype=np.float64))
    tokens, targets = batch_of(SHAPE)
    trainer.loss_and_gradients(np.zeros_like(tokens), targets)
    trainer.loss_and_gradients(np.ones_like(tokens), targets)
    assert not trainer.gradients["embedding"][0].any()
    assert trainer.gradients["embedding"][1].any()
