"""Limits a batch to a part of the catalogue: a subtree, a shop, or what both share."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from components.sampling.contract import IntArray
from components.scored_pool import ScoredPool
from schemas.errors import SamplingError, SettingsError
from schemas.product import SHOP
from schemas.taxonomy import Taxonomy
from schemas.text import fold

_SHOPS_SHOWN = 5


@dataclass(frozen=True)
class Target:
    """A part of the catalogue; the default is all of it.

    Attributes:
        nodes: ids of a subtree's nodes; a product is in it where its best guess is. Empty: anywhere.
        path: what people call the subtree.
        shop: name; empty: any.
    """

    nodes: frozenset[str] = frozenset()
    path: str = ""
    shop: str = ""

    @property
    def words(self) -> str:
        """How reasons name it; empty for the whole catalogue.

        >>> Target(frozenset({"b"}), "Shoes > Boots", "acme").words
        'within Shoes > Boots, shop acme'
        """
        parts = [f"within {self.path}" if self.nodes else "", f"shop {self.shop}" if self.shop else ""]
        return ", ".join(part for part in parts if part)


EVERYTHING = Target()


def make_target(taxonomy: Taxonomy, subtree: str = "", shop: str = "") -> Target:
    """Returns the target a person named.

    Args:
        taxonomy: of the shop.
        subtree: id or path of a node, which is in it with all below; empty: anywhere.
        shop: as the feeds name it, whatever its case; empty: any.

    Raises:
        SettingsError: there is no such node.
    """
    if not subtree:
        return Target(shop=shop)
    node = _node_named(taxonomy, subtree)
    return Target(frozenset(taxonomy.ids[at] for at in taxonomy.subtree(node)), taxonomy.path(node), shop)


def _node_named(taxonomy: Taxonomy, name: str) -> str:
    if name in set(taxonomy.ids):
        return taxonomy.resolve(name)
    paths = {taxonomy.path(node): node for node in taxonomy.ids}
    if name in paths:
        return paths[name]
    close = difflib.get_close_matches(name, [*paths, *taxonomy.ids], 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise SettingsError(f"sampling.subtree {name!r} isn't a node.{hint} Name the id or the whole path of one in the taxonomy.")


def rows_in_target(pool: ScoredPool, rows: IntArray, target: Target) -> IntArray:
    """Returns those of the rows that are in the target, in their order.

    Raises:
        SamplingError: no product of the pool is of the shop, or a column wasn't read.
    """
    if target.shop:
        rows = rows[_of_shop(pool, target.shop)[rows]]
    if target.nodes:
        best = pool.need("exclusive_nodes")[rows, :1]
        rows = rows[np.array([node in target.nodes for node in best.reshape(-1)], bool)] if best.size else rows[:0]
    return rows


def _of_shop(pool: ScoredPool, shop: str) -> np.ndarray:
    found = pool.field(SHOP)
    known = sorted({name for name in found.tolist() if name})
    same = {name for name in known if fold(name) == fold(shop)}
    if len(found) and not same:
        shown = ", ".join(known[:_SHOPS_SHOWN]) + (f" and {len(known) - _SHOPS_SHOWN} more" if len(known) > _SHOPS_SHOWN else "")
        raise SamplingError(
            f"sampling.shop {shop!r}: the pool has no product of this shop. Name one of {shown or 'none: no product has a shop'}."
        )
    return np.array([name in same for name in found.tolist()], bool)
