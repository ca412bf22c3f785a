"""Decides, from what reading all feeds found, which rows are superseded and which rows share a file. NumPy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import CatalogueError
from schemas.product import DEV, TEST


@dataclass(frozen=True)
class ChunkReport:
    """One spilled file of `rows` cleaned rows."""

    feed: int
    number: int
    rows: int

    @property
    def name(self) -> str:
        """The file it is in; names sort as feeds and rows do."""
        return chunk_name(self.feed, self.number)


@dataclass(frozen=True)
class RowKeys:
    """What the decision needs of each row, all of shape `[num_rows]`, in the order of feeds and rows.

    `ids` and `groups` are hashes of 64 bits; `tests` is True in the test split.
    """

    ids: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.uint64]
    tests: npt.NDArray[np.bool_]


# A column that isn't the shop's, mapped as if it were, would make every row a shop.
_MAX_SHOPS = 10_000
OTHER_SHOPS = "(other shops)"


@dataclass
class FeedReport:
    """What one feed held. `shops` counts rows and refused rows; `reasons` counts (shop, field, expected).

    From the 10,000th on, shops are counted together as `OTHER_SHOPS`.
    """

    feed: int
    path: str
    rows: int = 0
    refused: int = 0
    shops: dict[str, list[int]] = field(default_factory=dict)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    blanked: Counter[str] = field(default_factory=Counter)
    blanked_examples: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def only_shop(self) -> str:
        """The shop of all rows that say one, `''` if there are several: it answers for rows too broken to say theirs too."""
        named = [shop for shop in self.shops if shop]
        rows, refused = self.shops.get("", (0, 0))
        return named[0] if len(named) == 1 and rows == refused else ""

    def count_shop(self, shop: str, refused: bool) -> str:
        """Counts one row, and returns the shop it is counted for."""
        counts = self.shops.get(shop)
        if counts is None:
            if len(self.shops) >= _MAX_SHOPS:
                shop = OTHER_SHOPS
            counts = self.shops.setdefault(shop, [0, 0])
        counts[0] += 1
        counts[1] += refused
        return shop


def chunk_name(feed: int, number: int) -> str:
    """Returns the name of a spilled file."""
    return f"chunk-{feed:05d}-{number:07d}.arrow"


def sorted_chunks(reports: Iterable[ChunkReport | FeedReport]) -> list[ChunkReport]:
    """Returns the chunks in the order of feeds and rows."""
    return sorted((report for report in reports if isinstance(report, ChunkReport)), key=lambda chunk: (chunk.feed, chunk.number))


def make_plan(reports: Sequence[ChunkReport | FeedReport], keys: RowKeys, shard_rows: int) -> dict[str, Any]:
    """Returns what to do with the spilled rows, and what there was, as JSON holds it.

    Of the rows with one id the last wins, by feed, then by row. An id is known by 64 bits of its hash: among ten million
    ids, two share one with a chance of 1 in 370,000.

    Args:
        reports: of all feeds and chunks, in any order.
        keys: of all rows, in the order of `sorted_chunks(reports)`.
        shard_rows: rows in one file of one split at most, as far as chunks can be told apart.

    Returns:
        `shards`: for each file to write, a list of `[chunk name, positions of superseded rows]`; `summary`: the counts of
        `summary.json`; `errors`: why feeds couldn't be read, empty where all could; `reasons`: why rows were refused, most
        frequent first.
    """
    feeds = sorted((report for report in reports if isinstance(report, FeedReport)), key=lambda feed: feed.feed)
    tests, superseded = keys.tests, superseded_rows(keys.ids)
    kept = ~superseded
    return {
        "errors": [feed.error for feed in feeds if feed.error],
        "shards": _shards(sorted_chunks(reports), superseded, tests, shard_rows),
        "summary": {
            "rows": sum(feed.rows for feed in feeds),
            "refused": sum(feed.refused for feed in feeds),
            "duplicates": int(superseded.sum()),
            "groups": int(np.unique(keys.groups[kept]).size),
            "by_split": {DEV: int((kept & ~tests).sum()), TEST: int((kept & tests).sum())},
            "by_feed": _summed((feed.path, feed.rows, feed.refused) for feed in feeds),
            "by_shop": _summed(
                (shop or feed.only_shop, counts[0], counts[1]) for feed in feeds for shop, counts in sorted(feed.shops.items())
            ),
            "blanked": _blanked(feeds),
        },
        "reasons": _reasons(feeds),
    }


def superseded_rows(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Returns True for each row whose id comes again later.

    >>> superseded_rows(np.array([7, 8, 7, 9, 7], dtype=np.uint64))
    array([ True, False,  True, False, False])
    """
    order = np.argsort(ids, kind="stable")
    found = np.zeros(len(ids), dtype=bool)
    found[order[:-1]] = ids[order[1:]] == ids[order[:-1]]
    return found


def _shards(
    chunks: Sequence[ChunkReport],
    superseded: npt.NDArray[np.bool_],
    tests: npt.NDArray[np.bool_],
    shard_rows: int,
) -> list[list[list[Any]]]:
    """Puts neighbouring chunks together until a split's file would have more than `shard_rows` rows."""
    shards: list[list[list[Any]]] = [[]]
    in_dev = in_test = start = 0
    for chunk in chunks:
        gone = superseded[start : start + chunk.rows]
        test = int((tests[start : start + chunk.rows] & ~gone).sum())
        dev = int((~gone).sum()) - test
        start += chunk.rows
        if shards[-1] and max(in_dev + dev, in_test + test) > shard_rows:
            shards.append([])
            in_dev = in_test = 0
        shards[-1].append([chunk.name, np.flatnonzero(gone).tolist()])
        in_dev, in_test = in_dev + dev, in_test + test
    return shards


def _summed(counts: Iterable[Sequence[Any]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for name, rows, refused in counts:
        entry = total.setdefault(name, {"rows": 0, "refused": 0})
        entry["rows"] += rows
        entry["refused"] += refused
    return total


def _blanked(feeds: Iterable[FeedReport]) -> dict[str, dict[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for feed in feeds:
        for name, count in sorted(feed.blanked.items()):
            entry = total.setdefault(name, {"values": 0, "example": feed.blanked_examples.get(name, "")})
            entry["values"] += count
    return total


def _reasons(feeds: Iterable[FeedReport]) -> list[list[Any]]:
    """Returns [count, shop or feed, field, expected], most frequent first."""
    counted = [
        [count, shop or feed.only_shop or feed.path, name, expected]
        for feed in feeds
        for (shop, name, expected), count in feed.reasons.items()
    ]
    return sorted(counted, key=lambda entry: (-entry[0], entry[1:]))


def check_refused_share(plan: dict[str, Any], max_refused_share: float, quarantine: str) -> None:
    """Stops where too many rows were refused, or no row is left.

    Raises:
        CatalogueError: names the share, the limit, the worst shops (feeds, where the shop isn't known), the commonest reason,
            the quarantine file and the way out.
    """
    rows, refused = plan["summary"]["rows"], plan["summary"]["refused"]
    if rows == 0:
        feeds = ", ".join(plan["summary"]["by_feed"]) or "none"
        raise CatalogueError(f"the feeds hold no rows at all. Feeds read: {feeds[:400]}. Check the networks' feeds.")
    if refused == rows or refused / rows > max_refused_share:
        raise CatalogueError(
            f"{refused:,} of {rows:,} rows ({refused / rows:.1%}) were refused, more than ingest.max_refused_share allows"
            f" ({max_refused_share:.1%}). Worst: {_worst(plan)}. Commonest reason: {_commonest(plan['reasons'])}."
            f" Every refused row is in {quarantine}. Correct the feeds or the networks' columns, or raise ingest.max_refused_share."
        )


def _worst(plan: dict[str, Any]) -> str:
    refused: Counter[str] = Counter()
    for count, where, _, _ in plan["reasons"]:
        refused[where] += count
    known = {**plan["summary"]["by_feed"], **plan["summary"]["by_shop"]}
    return ", ".join(f"{where} ({count:,} of {known[where]['rows']:,})" for where, count in refused.most_common(3))


def _commonest(reasons: Sequence[Sequence[Any]]) -> str:
    counted: Counter[tuple[str, str]] = Counter()
    for count, _, name, expected in reasons:
        counted[name, expected] += count
    (name, expected), count = counted.most_common(1)[0]
    return f"{name} should be {expected} ({count:,} rows)"
