"""Writes and reads the SamplingBatch artifact: what labellers see of each product, and where the batch comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.batch_files import FORMAT_VERSION, ITEMS, KIND, MANIFEST, PRODUCT_KIND, QUESTION_KIND, BatchManifest
from components.sampling.batch import BatchItem, columns_for, group_numbers, open_rows, pick
from components.sampling.contract import find_strategy
from components.sampling.target import make_target
from components.scored_pool import (
    CANDIDATE,
    EMBEDDING,
    EXCLUSIVE_NODES,
    EXCLUSIVE_PROBABILITIES,
    GROUP,
    PRODUCT_ID,
    RULE_IDS,
    TEXT_FIELDS,
    PoolManifest,
    ScoredPool,
    StoredEmbeddings,
    read_pool_rows,
    read_scored_pool,
)
from schemas.product import PRICE
from schemas.taxonomy import Taxonomy

SUGGESTIONS = 5
_SHOWN = (PRODUCT_ID, GROUP, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, RULE_IDS, *TEXT_FIELDS, PRICE)


@dataclass(frozen=True)
class BatchSettings:
    """How a batch is drawn: `sampling.strategy`, `batch_size`, `audit_share`, `subtree` and `shop`, and `run.seed`."""

    strategy: str
    batch_size: int
    audit_share: float
    seed: int
    subtree: str = ""
    shop: str = ""


def node_names(taxonomy: Taxonomy) -> Callable[[str], str]:
    """Returns a function from a node id to its path; an id that left the taxonomy stands for itself."""
    known = set(taxonomy.ids)
    return lambda node_id: taxonomy.path(node_id) if node_id in known else node_id


def draw_batch(
    pool_folder: Path, taxonomy: Taxonomy, settings: BatchSettings, answers: Mapping[str, str | None] | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Returns the items of a batch as docs/contracts.md has them, and how many products could have been asked.

    Only the columns that rank are read for the whole pool, embeddings as they are asked for; texts are read for the chosen
    products alone.

    Args:
        pool_folder: of the artifact ScoredPool.
        taxonomy: gives nodes their paths.
        settings: how.
        answers: product id to the node of an answer that came after the pool was scored; None: an answer that names none.

    Raises:
        SettingsError: an unknown subtree.
        SamplingError: an unknown strategy or shop, or a pool that can't be read or ranked.
    """
    strategy, target = find_strategy(settings.strategy), make_target(taxonomy, settings.subtree, settings.shop)
    if len(taxonomy.exclusive) < 2:  # There is one answer to everything, and nothing to ask.
        return [], 0
    columns = columns_for(strategy, target)
    pool = read_scored_pool(pool_folder, [name for name in columns if name != EMBEDDING])
    if answers:
        pool = with_answers(pool, answers)
    if EMBEDDING in columns:
        pool = replace(pool, embeddings=StoredEmbeddings(pool_folder))
    rng = np.random.default_rng(settings.seed)
    items = pick(pool, strategy, settings.batch_size, settings.audit_share, rng, node_names(taxonomy), target)
    size = len(open_rows(pool, group_numbers(pool), target))
    return _with_fields(pool_folder, items, taxonomy), size


def with_answers(pool: ScoredPool, answers: Mapping[str, str | None]) -> ScoredPool:
    """Returns the pool with products answered since it was scored; see `draw_batch`."""
    later = np.array([product_id in answers for product_id in pool.need("product_ids")], bool)
    if pool.answer_nodes is None:
        return replace(pool, answered=pool.need("answered") | later)
    nodes = pool.answer_nodes.copy()
    nodes[later] = [answers[product_id] for product_id in pool.need("product_ids")[later]]
    return replace(pool, answered=pool.need("answered") | later, answer_nodes=nodes)


def _with_fields(folder: Path, items: Sequence[BatchItem], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    chosen = read_pool_rows(folder, [item.row for item in items], _SHOWN)
    return [_shown(chosen, place, item, taxonomy) for place, item in enumerate(items)]


def _shown(chosen: ScoredPool, place: int, item: BatchItem, taxonomy: Taxonomy) -> dict[str, Any]:
    product = _product(chosen, place, taxonomy)
    return {KIND: PRODUCT_KIND, "score": round(item.score, 6), "reason": item.reason, "stream": item.stream} | product


def shown_products(folder: Path, rows: Sequence[int], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Returns what a labeller sees of these products of a scored pool, in their order."""
    chosen = read_pool_rows(folder, rows, _SHOWN)
    return [_product(chosen, place, taxonomy) for place in range(len(rows))]


def _product(chosen: ScoredPool, place: int, taxonomy: Taxonomy) -> dict[str, Any]:
    about = {
        "product_id": chosen.need("product_ids")[place],
        "group": chosen.need("groups")[place],
        "suggestions": _suggestions(chosen, place, taxonomy),
        RULE_IDS: list(chosen.need("rule_ids")[place] or ()),
    }
    return about | {name: _value(column[place]) for name, column in chosen.fields.items() if column[place] is not None}


def _value(value: Any) -> Any:
    """Returns a price with the digits of the feed: 12.99, not the 12.989999771118164 that its float32 widens to."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _suggestions(chosen: ScoredPool, place: int, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Returns the best nodes a labeller can still choose."""
    nodes, probabilities = chosen.need(EXCLUSIVE_NODES)[place], chosen.need(EXCLUSIVE_PROBABILITIES)[place]
    pairs = [(str(node), float(probability)) for node, probability in zip(nodes, probabilities, strict=True) if node in taxonomy]
    return [{"node_id": node, "path": taxonomy.path(node), "probability": round(value, 6)} for node, value in pairs[:SUGGESTIONS]]


def batch_version(pool: PoolManifest, pushed_version: int) -> int:
    """Returns the live version whose scores chose the batch; 0 where a candidate chose that didn't go live.

    Args:
        pool: says who scored.
        pushed_version: the candidate's, 0 where it wasn't pushed.
    """
    return pushed_version if pool.model == CANDIDATE else pool.version


def write_batch(
    folder: Path, items: Sequence[Mapping[str, Any]], settings: BatchSettings, pool_size: int, version: int, model: str
) -> BatchManifest:
    """Writes `batch.jsonl`, then `manifest.json`, and returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(_lines(items))
    (folder / ITEMS).write_text(text, encoding="utf-8")
    manifest = BatchManifest(
        batch_id=hashlib.sha256(f"{settings.strategy}\n{text}".encode()).hexdigest()[:16],
        strategy=settings.strategy,
        seed=settings.seed,
        num_items=len(items),
        pool=pool_size,
        version=version,
        audit_share=settings.audit_share,
        model=model,
        subtree=settings.subtree,
        shop=settings.shop,
        num_questions=sum(item.get(KIND) == QUESTION_KIND for item in items),
        format_version=FORMAT_VERSION,
    )
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    return manifest


def _lines(items: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return (json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
