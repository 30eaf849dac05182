"""One training step on one thread of the host, out of the kernels that the host is calibrated with.

Products are those of the BLAS behind NumPy, everything else is a Numba kernel of this repository or
a copy or sum of NumPy. It is the reference for what the twin predicts with framework `numpy`:
twin/training/frameworks/numpy.toml counts the calls below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.attention.cpu import attention_backward_numba, attention_numba
from kernels.attention.mask import CAUSAL
from kernels.attention.operands import Result
from kernels.host_step.weights import StepShape, Weights, new_weights
from kernels.memory_bound.cpu_activations import (
    gelu_backward_numba,
    gelu_numba,
    swiglu_backward_numba,
    swiglu_numba,
)
from kernels.memory_bound.cpu_adamw import adamw_numba
from kernels.memory_bound.cpu_cross_entropy import (
    cross_entropy_backward_numba,
    cross_entropy_numba,
)
from kernels.memory_bound.cpu_norms import (
    layer_norm_backward_numba,
    layer_norm_numba,
    rms_norm_backward_numba,
    rms_norm_numba,
)
from kernels.memory_bound.reference import AdamW

__all__ = ["HostTrainer"]

Array = NDArray[np.floating]
Tokens = NDArray[np.int64]


class _Kept(NamedTuple):
    """What a layer's backward pass needs of its forward pass."""

    x: Array
    normed: Array
    heads: tuple[Array, Array, Array]
    result: Result
    attended: Array
    middle: Array
    normed_middle: Array
    up: Array
    activated: Array


class HostTrainer:
    """A transformer with its weights, gradients and moments; `step` trains it on one batch."""

    def __init__(self, shape: StepShape, weights: Weights | None = None) -> None:
        self.shape = shape
        self.weights = new_weights(shape) if weights is None else weights
        self.gradients = self.weights.zeros()
        self._moments = (self.weights.zeros(), self.weights.zeros())
        self._n_steps = 0
        self._touched: Tokens = np.zeros(0, np.int64)

    def step(self, tokens: Tokens, targets: Tokens) -> float:
        """Forward, backward and optimizer on one batch.

        Parameters
        ----------
        tokens, targets
            Numbers below the vocabulary, in (batch, seq_len).

        Returns
        -------
        float
            Mean loss over the tokens, before the step. [1]
        """
        loss = self.loss_and_gradients(tokens, targets)
        self._n_steps += 1
        rule = AdamW(n_step=self._n_steps)
        first, second = self._moments
        for name in self.weights:
            adamw_numba(self.weights[name], self.gradients[name], (first[name], second[name]), rule)
        return loss

    def loss_and_gradients(self, tokens: Tokens, targets: Tokens) -> float:
        """Mean loss; leaves the gradients of all weights in `gradients`. [1]"""
        ids, wanted = tokens.ravel(), targets.ravel()
        x = self.weights["embedding"][ids]
        kept = []
        for layer in range(self.shape.n_layers):
            x, one = self._forward(layer, x)
            kept.append(one)
        loss, d_x = self._head(x, wanted)
        for layer in reversed(range(self.shape.n_layers)):
            d_x = self._backward(layer, kept.pop(), d_x)
        self._embedding_gradient(ids, d_x)
        return loss

    def _forward(self, layer: int, x: Array) -> tuple[Array, _Kept]:
        weights = self.weights
        normed = self._norm(f"{layer}.norm_1", x)
        heads = self._split(normed @ weights[f"{layer}.qkv"])
        result = attention_numba(*heads, mask=CAUSAL)
        attended = self._joined(result.out)
        middle = np.add(x, attended @ weights[f"{layer}.out"])
        normed_middle = self._norm(f"{layer}.norm_2", middle)
        up = np.matmul(normed_middle, weights[f"{layer}.up"])
        activated = swiglu_numba(up[0], up[1]) if self.shape.is_gated_mlp else gelu_numba(up[0])
        output = np.add(middle, activated @ weights[f"{layer}.down"])
        kept = _Kept(x, normed, heads, result, attended, middle, normed_middle, up, activated)
        return output, kept

    def _backward(self, layer: int, kept: _Kept, d_output: Array) -> Array:
        weights, gradients = self.weights, self.gradients
        np.matmul(kept.activated.T, d_output, out=gradients[f"{layer}.down"])
        d_activated = d_output @ weights[f"{layer}.down"].T
        d_up = self._activation_backward(d_activated, kept.up)
        d_normed = d_up[0] @ weights[f"{layer}.up"][0].T
        np.matmul(kept.normed_middle.T, d_up[0], out=gradients[f"{layer}.up"][0])
        if self.shape.is_gated_mlp:
            d_normed += d_up[1] @ weights[f"{layer}.up"][1].T
            np.matmul(kept.normed_middle.T, d_up[1], out=gradients[f"{layer}.up"][1])
        d_middle = self._norm_backward(f"{layer}.norm_2", d_normed, kept.middle)
        d_middle += d_output
        np.matmul(kept.attended.T, d_middle, out=gradients[f"{layer}.out"])
        d_out = self._apart(d_middle @ weights[f"{layer}.out"].T, self.shape.n_heads)
        d_heads = attention_backward_numba(*kept.heads, kept.result, d_out, mask=CAUSAL)
        d_qkv = np.concatenate([self._joined(part) for part in d_heads], axis=1)
        np.matmul(kept.normed.T, d_qkv, out=gradients[f"{layer}.qkv"])
        d_x = self._norm_backward(f"{layer}.norm_1", d_qkv @ weights[f"{layer}.qkv"].T, kept.x)
        d_x += d_middle
        return d_x

    def _head(self, x: Array, targets: Tokens) -> tuple[float, Array]:
        weights, gradients = self.weights, self.gradients
        normed = self._norm("norm", x)
        logits = normed @ weights["head"]
        losses, log_sum_exp = cross_entropy_numba(logits, targets)
        shares = np.full(len(losses), 1.0 / len(losses), dtype=losses.dtype)
        d_logits = cross_entropy_backward_numba(shares, logits, targets, log_sum_exp)
        np.matmul(normed.T, d_logits, out=gradients["head"])
        d_normed = d_logits @ weights["head"].T
        return float(losses.mean()), self._norm_backward("norm", d_normed, x)

    def _embedding_gradient(self, ids: Tokens, d_x: Array) -> None:
        """Sum the gradients of each token's rows; rows of the step before become zero again."""
        gradient = self.gradients["embedding"]
        gradient[self._touched] = 0
        order = np.argsort(ids, kind="stable")
        self._touched, starts = np.unique(ids[order], return_index=True)
        gradient[self._touched] = np.add.reduceat(d_x[order], starts, axis=0)

    def _norm(self, name: str, x: Array) -> Array:
        if self.shape.norm == "layernorm":
            return layer_norm_numba(x, self.weights[name], self.weights[f"{name}.shift"])
        return rms_norm_numba(x, self.weights[name])

    def _norm_backward(self, name: str, d_y: Array, x: Array) -> Array:
        if self.shape.norm == "layernorm":
            d_x, d_scale, d_shift = layer_norm_backward_numba(d_y, x, self.weights[name])
            self.gradients[f"{name}.shift"][:] = d_shift
        else:
            d_x, d_scale = rms_norm_backward_numba(d_y, x, self.weights[name])
        self.gradients[name][:] = d_scale
        return d_x

    def _activation_backward(self, d_activated: Array, up: Array) -> tuple[Array, ...]:
        if self.shape.is_gated_mlp:
            return swiglu_backward_numba(d_activated, up[0], up[1])
        return (gelu_backward_numba(d_activated, up[0]),)

    def _split(self, qkv: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values by heads: (batch, heads, seq_len, head_dim)."""
        shape = self.shape
        n_kv = shape.n_kv_heads * shape.head_dim
        q = self._apart(qkv[:, : shape.heads_width], shape.n_heads)
        k = self._apart(qkv[:, shape.heads_width : shape.heads_width + n_kv], shape.n_kv_heads)
        v = self._apart(qkv[:, shape.heads_width + n_kv :], shape.n_kv_heads)
        return q, k, v

    def _apart(self, rows: Array, n_heads: int) -> Array:
        shape = self.shape
        by_token = rows.reshape(shape.batch, shape.seq_len, n_heads, shape.head_dim)
        return np.ascontiguousarray(by_token.transpose(0, 2, 1, 3))

    def _joined(self, heads: Array) -> Array:
        """Heads side by side in the rows of their tokens."""
        return np.ascontiguousarray(heads.transpose(0, 2, 1, 3)).reshape(self.shape.n_tokens, -1)
