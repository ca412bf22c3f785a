"""Compares products by the gradient their best guess would give, as two factors, so that no gradient is ever written out.

The gradient of a softmax layer is the outer product of (probabilities less the guess) and the embedding: 1,300 nodes times 256
numbers a product. What methods need of it are inner products, and those are products of the factors' inner products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray
from components.sampling.nodes import CodeArray, node_codes

_BLOCK_PRODUCTS = 256


def gradient_lengths(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Returns how long the gradient for the best guess is, for an embedding of length 1: 0 (certain) to almost root 2.

    >>> gradient_lengths(np.array([[1.0, 0.0], [0.5, 0.5]])).round(3)
    array([0.   , 0.707])

    Args:
        probabilities: float `[num_products, k]`, largest first; nodes beyond the k best count as 0.
    """
    lengths: FloatArray = np.sqrt((_factors(probabilities) ** 2).sum(axis=1))
    return lengths


def _factors(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    factors = np.array(probabilities, np.float64)
    factors[:, :1] -= 1
    return factors


@dataclass(frozen=True)
class GradientEmbeddings:
    """The gradients of some products.

    Attributes:
        codes: int32 `[n, k]`, nodes by number.
        factors: float32 `[n, k]`, probabilities of these nodes, less 1 at the best guess.
        vectors: float32 `[n, d]`.
        squared_lengths: float64 `[n]`.

    Source:
        Ash et al. 2020, ICLR, "Deep batch active learning by diverse, uncertain gradient lower bounds".
    """

    codes: CodeArray
    factors: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    squared_lengths: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    def inner_products(self, at: int) -> FloatArray:
        """Returns float64 `[n]`, of every gradient with one of them; O(n (d + k))."""
        table = np.zeros(int(self.codes.max()) + 1, np.float32)
        table[self.codes[at]] = self.factors[at]
        of_factors = np.einsum("nk,nk->n", table[self.codes], self.factors)
        return np.asarray(of_factors * (self.vectors @ self.vectors[at]), np.float64)

    def gram(self) -> npt.NDArray[np.float32]:
        """Returns float32 `[n, n]`, all inner products; meant for a few thousand."""
        found = np.empty((len(self), len(self)), np.float32)
        num_nodes = int(self.codes.max()) + 1
        for start in range(0, len(self), _BLOCK_PRODUCTS):
            codes, factors = self.codes[start : start + _BLOCK_PRODUCTS], self.factors[start : start + _BLOCK_PRODUCTS]
            table = np.zeros((len(codes), num_nodes), np.float32)
            np.put_along_axis(table, codes, factors, axis=1)
            block = np.zeros((len(codes), len(self)), np.float32)
            for rank in range(self.codes.shape[1]):
                block += table[:, self.codes[:, rank]] * self.factors[:, rank]
            found[start : start + len(codes)] = block * (self.vectors[start : start + len(codes)] @ self.vectors.T)
        return found


def gradient_embeddings(
    nodes: npt.NDArray[np.object_], probabilities: npt.NDArray[np.floating], vectors: npt.NDArray[np.floating]
) -> GradientEmbeddings:
    """Returns the gradients of products, for the guess that the model trusts most.

    Args:
        nodes: object (str) `[n, k]`, most probable first; no node twice in a row.
        probabilities: float `[n, k]`.
        vectors: float `[n, d]`, embeddings.
    """
    factors, wide = _factors(probabilities), np.asarray(vectors, np.float32)
    squared_lengths = (factors**2).sum(axis=1) * np.einsum("nd,nd->n", wide, wide, dtype=np.float64)
    return GradientEmbeddings(node_codes(nodes)[1], factors.astype(np.float32), wide, squared_lengths)
