"""Holds a catalogue whose truth is known, described once for many campaigns, in memory and as a folder; no TensorFlow."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from few_shot.frozen import FrozenFeatures, load_frozen, save_frozen
from schemas.errors import CatalogueError
from schemas.taxonomy import Taxonomy, load_taxonomy, write_taxonomy

# A product's true node where it has one, else why not.
NOT_IN_TREE, NO_GOLD = -1, -2
_FORMAT = 1
_ABOUT, _FEATURES, _TRUTH, _TAXONOMY = "catalogue.json", "features.npz", "truth.npz", "taxonomy.tsv"


@dataclass(frozen=True)
class FrozenCatalogue:
    """n products of both splits, what the learner knows of them without answers, and what is true.

    Attributes:
        name: of the catalogue, as the reference calls it: the folder's.
        digest: of all it is made from; equal for equal content and code.
        taxonomy: the category tree.
        features: of all products, in their order.
        product_ids: `n` ids.
        titles: `n` texts, empty where a product has none.
        is_test: bool `[n]`.
        true_nodes: int64 `[n]`, number of the true node in tree order, `NOT_IN_TREE`, or `NO_GOLD` where nobody knows.
        fields: name to `n` texts, of what else groups of products share; a catalogue frozen by an earlier release has none.
        missing: products of the gold file that the feed doesn't hold or whose row was refused.
    """

    name: str
    digest: str
    taxonomy: Taxonomy
    features: FrozenFeatures
    product_ids: Sequence[str]
    titles: Sequence[str]
    is_test: np.ndarray
    true_nodes: np.ndarray
    missing: int
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def true_classes(self) -> np.ndarray:
        """Int64 `[n]`, the class of the exclusive head that is true; -1 where there is none."""
        class_of = np.full(len(self.taxonomy) + 2, -1, np.int64)
        class_of[list(self.taxonomy.exclusive)] = np.arange(len(self.taxonomy.exclusive))
        classes: np.ndarray = class_of[self.true_nodes]
        return classes


def is_frozen(folder: Path) -> bool:
    """Returns whether a folder holds a whole frozen catalogue: its description is written last."""
    return (folder / _ABOUT).is_file()


def save_catalogue(catalogue: FrozenCatalogue, folder: Path) -> None:
    """Writes a catalogue; a folder that `is_frozen` is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ABOUT).unlink(missing_ok=True)
    save_frozen(catalogue.features, folder / _FEATURES)
    np.savez(folder / _TRUTH, is_test=catalogue.is_test, true_nodes=catalogue.true_nodes)
    write_taxonomy(folder / _TAXONOMY, catalogue.taxonomy)
    about = {
        "format": _FORMAT,
        "name": catalogue.name,
        "digest": catalogue.digest,
        "missing": catalogue.missing,
        "product_ids": list(catalogue.product_ids),
        "titles": list(catalogue.titles),
        "fields": {name: list(texts) for name, texts in catalogue.fields.items()},
    }
    unfinished = folder / f".{_ABOUT}"
    unfinished.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(folder / _ABOUT)


def load_catalogue(folder: Path) -> FrozenCatalogue:
    """Reads what `save_catalogue` wrote.

    Raises:
        CatalogueError: the folder isn't whole, damaged, or of another format.
        ModelError: its features can't be read.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise CatalogueError(f"{folder}: this is of format {about['format']!r}, expected {_FORMAT}. Remove it, and it is made again.")
        with np.load(folder / _TRUTH, allow_pickle=False) as truth:
            is_test, true_nodes = truth["is_test"], truth["true_nodes"]
        found = FrozenCatalogue(
            name=str(about["name"]),
            digest=str(about["digest"]),
            taxonomy=load_taxonomy(folder / _TAXONOMY),
            features=load_frozen(folder / _FEATURES),
            product_ids=about["product_ids"],
            titles=about["titles"],
            is_test=is_test,
            true_nodes=true_nodes,
            missing=int(about["missing"]),
            fields={str(name): texts for name, texts in about.get("fields", {}).items()},
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise CatalogueError(f"{folder}: this frozen catalogue can't be read: {error}. Remove it, and it is made again.") from None
    sizes = {
        *map(len, found.fields.values()),
        len(found.product_ids),
        len(found.titles),
        len(is_test),
        len(true_nodes),
        found.features.products.bag.shape[0],
    }
    if len(sizes) != 1:
        raise CatalogueError(f"{folder}: its files are of {sorted(sizes)} products. Remove it, and it is made again.")
    classes = {len(found.taxonomy.exclusive), found.features.num_classes}
    if len(classes) != 1 or true_nodes.max(initial=NOT_IN_TREE) >= len(found.taxonomy):
        raise CatalogueError(f"{folder}: its files are of different trees. Remove it, and it is made again.")
    return found
