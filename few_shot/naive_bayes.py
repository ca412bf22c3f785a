"""Scores classes by the tokens their answered products have: a naive Bayes that starts from what products look like by names and rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

# Both in sums of a product's roots of weights; a title of ten words has some twenty. What names and rules say of a class weighs about as
# much as an answer, a token's share in all products as much as several: what one answer says of a word is hearsay.
_TYPICAL, _ORDINARY = 3.0, 100.0


@dataclass(frozen=True)
class TokenOdds:
    """How much each token speaks for each class: scores are `bag @ on_tokens + (sum of the bag) * on_any`.

    Attributes:
        on_tokens: float32 `[num_columns, C]`, of tokens that products of the class are known to have.
        on_any: float32 `[C]`, of every token: the more is known of a class, the more a token it was never seen with speaks against it.
    """

    on_tokens: sp.csr_matrix
    on_any: np.ndarray

    def scores(self, bag: sp.csr_matrix) -> np.ndarray:
        """Returns float32 `[n, C]`, in log-odds."""
        found: np.ndarray = (bag @ self.on_tokens).toarray()
        found += np.asarray(bag.sum(axis=1), np.float32) * self.on_any
        return found


def fit_token_odds(bag: sp.csr_matrix, classes: np.ndarray, shares: np.ndarray, typical: sp.csr_matrix) -> TokenOdds:
    """Returns the log of a token's share in the products of each class over its share in all products.

    Separators of a class with one answer know what that product looks like, and not which of its words are ordinary; shares in all
    products do. Where a class has no answer, what products that were taken for it look like speaks alone.

    Args:
        bag: float32 `[n, num_columns]`, of answered products, none a near-duplicate of another.
        classes: int64 `[n]`, the answers.
        shares: float64 `[num_columns]`, above 0, of each token in all products; their sum is 1.
        typical: float32 `[num_columns, C]`, at least 0, what products of a class look like without answers; nothing where nobody knows.

    Source:
        Nigam, McCallum, Thrun and Mitchell 2000, Machine Learning 39, for counts that begin with unanswered products; Ng and Jordan 2001,
        NIPS, for why a generative model needs fewer answers.
    """
    of_answers = sp.csr_matrix((np.ones(len(classes)), (np.arange(len(classes)), classes)), shape=(len(classes), typical.shape[1]))
    counts = (bag.T @ of_answers + _TYPICAL * typical).tocoo()
    totals = np.asarray(counts.sum(axis=0)).ravel()
    odds = np.log1p(counts.data / (_ORDINARY * shares[counts.row]))
    on_tokens = sp.csr_matrix((odds.astype(np.float32), (counts.row, counts.col)), shape=counts.shape)
    return TokenOdds(on_tokens, np.log(_ORDINARY / (totals + _ORDINARY)).astype(np.float32))
