"""Holds what the learner knows before anybody answers, in memory and as a file, so that answers alone change from fit to fit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from few_shot.evidence import LinearEvidence, NodeTexts, Products, RuleEvidence
from few_shot.rule_evidence import NoRules, RuleReadings
from schemas.errors import ModelError

_FORMAT = 3
_RULES = ("embedding", "weights", "bias", "exclusive", "parents")


@dataclass(frozen=True)
class FrozenFeatures:
    """n products and C classes, described once.

    Attributes:
        products: the products.
        ancestry: float32 `[N, C]`, 1 where the node is the class or one of its ancestors.
        known: what names say.
        node_texts: the nodes as rows to learn from.
        rules: what rules say.
    """

    products: Products
    ancestry: np.ndarray
    known: Sequence[LinearEvidence]
    node_texts: NodeTexts
    rules: RuleEvidence

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.ancestry.shape[1])


def save_frozen(features: FrozenFeatures, path: Path) -> None:
    """Writes the features as one compressed NumPy archive, without pickles.

    Raises:
        ModelError: rules of a kind that has no file form.
    """
    if not isinstance(features.rules, RuleReadings | NoRules):
        raise ModelError(f"{path}: rule evidence of kind {type(features.rules).__name__} can't be saved. Expected RuleReadings or NoRules.")
    arrays: dict[str, np.ndarray] = {
        "latent": features.products.latent,
        "groups": features.products.groups,
        "ancestry": features.ancestry,
        "paths": features.node_texts.paths,
        "names": features.node_texts.names,
        **_sparse("bag", features.products.bag),
    }
    known = []
    for k, evidence in enumerate(features.known):
        known.append({"name": evidence.name, "start": evidence.start, "on_bag": evidence.on_bag is not None})
        if evidence.on_bag is not None:
            arrays |= _sparse(f"known{k}", evidence.on_bag)
        elif evidence.on_latent is not None:
            arrays[f"known{k}"] = evidence.on_latent
    if isinstance(features.rules, RuleReadings):
        rules = features.rules
        arrays |= {f"rules_{name}": getattr(rules, name) for name in _RULES}
        arrays |= {} if rules.held is None else _sparse("rules_held", rules.held)
    arrays["about"] = np.array(json.dumps({"format": _FORMAT, "known": known}))
    np.savez(path, **arrays)


def load_frozen(path: Path) -> FrozenFeatures:
    """Reads what `save_frozen` wrote.

    Raises:
        ModelError: the file can't be read, or is of another format.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about.get("format") != _FORMAT:
                raise ModelError(f"{path}: this is of format {about.get('format')!r}, expected {_FORMAT}. Make it again.")
            return _read(arrays, about["known"])
    except (EOFError, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: these frozen features can't be read: {error}. Make them again.") from None


def _read(arrays: np.lib.npyio.NpzFile, about: list[dict]) -> FrozenFeatures:
    known = [
        LinearEvidence(
            one["name"],
            one["start"],
            on_bag=_csr(arrays, f"known{k}") if one["on_bag"] else None,
            on_latent=None if one["on_bag"] else arrays[f"known{k}"],
        )
        for k, one in enumerate(about)
    ]
    ancestry = arrays["ancestry"]
    rules: RuleEvidence = NoRules(ancestry.shape[1])
    if "rules_bias" in arrays:
        embedding, weights, bias, exclusive, parents = (arrays[f"rules_{name}"] for name in _RULES)
        held = _csr(arrays, "rules_held") if "rules_held_shape" in arrays else None
        rules = RuleReadings(embedding, weights, bias, exclusive, parents, held)
    products = Products(_csr(arrays, "bag"), arrays["latent"], arrays["groups"])
    return FrozenFeatures(products, ancestry, known, NodeTexts(arrays["paths"], arrays["names"]), rules)


def _sparse(name: str, matrix: sp.csr_matrix) -> dict[str, np.ndarray]:
    rows = matrix.tocsr()
    return {
        f"{name}_data": rows.data,
        f"{name}_indices": rows.indices,
        f"{name}_indptr": rows.indptr,
        f"{name}_shape": np.array(rows.shape, np.int64),
    }


def _csr(arrays: np.lib.npyio.NpzFile, name: str) -> sp.csr_matrix:
    parts = tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=tuple(arrays[f"{name}_shape"]))
