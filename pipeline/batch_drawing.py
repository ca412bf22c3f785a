"""Draws another batch from the scores of the latest run, without the products that people answered since."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from components.batch_files import ITEMS, BatchManifest
from components.question_batch import draw_questions
from components.sampling.target import make_target
from components.sampling_batch import BatchSettings, batch_version, draw_batch, write_batch
from components.scored_pool import read_pool_manifest
from pipeline.inputs import read_events, resolved
from pipeline.results import latest_artifacts
from schemas.errors import SamplingError, StoreError
from schemas.label_event import GROUP, IS, SKIP, standing_events
from schemas.settings import Settings
from schemas.taxonomy import load_taxonomy

_POOL, _TAXONOMY, _PUSHED = "PoolScorer.scored_pool", "TaxonomySnapshotGen.taxonomy", "PairPusher.pushed_model"


@dataclass(frozen=True)
class DrawnBatch:
    """A batch on disk, and where."""

    folder: Path
    manifest: BatchManifest


def draw_from_latest_run(settings: Settings, draw: BatchSettings, folder: Path | None = None, questions: int = 0) -> DrawnBatch:
    """Draws and writes a batch; questions about groups come first.

    Args:
        settings: of the runs.
        draw: how.
        folder: where the batch goes; None: below `run.root`, in `batches/` and its id.
        questions: items of the batch about groups of products, as far as there are groups worth asking about.

    Raises:
        AisleError: no run has scored a pool, the draw isn't possible, or the batch can't be written.
    """
    if folder is not None and (folder / ITEMS).exists():
        raise SamplingError(f"{folder}: there is a batch here, and people may be answering it. Name another folder, or remove this one.")
    root = Path(settings.run.root)
    artifacts = latest_artifacts(root, _PUSHED)
    pool, taxonomy = Path(artifacts[_POOL].uri), Path(artifacts[_TAXONOMY].uri) / "taxonomy.tsv"
    if not pool.is_dir() or not taxonomy.is_file():
        raise StoreError(f"{pool}: the scores of the latest run are gone. Run again: aisle run.")
    events = read_events(resolved(settings))
    standing = standing_events(events)
    # A member of a group that was answered may be asked about itself: only so can it speak against the group's answer.
    own = {product_id: event for product_id, event in standing.items() if event.source != GROUP}
    answers = {product_id: event.node_id if event.kind == IS else None for product_id, event in own.items()}
    tree = load_taxonomy(taxonomy)
    asked = {event.question for event in events if event.source == GROUP}
    spoken_for = {product_id for product_id, event in standing.items() if event.source == GROUP and event.kind != SKIP}
    target = make_target(tree, draw.subtree, draw.shop)
    groups = draw_questions(pool, tree, min(questions, draw.batch_size - 1), draw.seed, answers, asked, spoken_for, target)
    products, pool_size = draw_batch(pool, tree, replace(draw, batch_size=draw.batch_size - len(groups)), answers)
    items = [*groups, *products]
    scored = read_pool_manifest(pool)
    said = artifacts[_PUSHED].custom_properties
    version = batch_version(scored, int(said["pushed_version"].string_value or 0) if "pushed_version" in said else 0)
    try:
        return _written(root, folder, items, draw, pool_size, version, scored.model)
    except OSError as error:
        raise SamplingError(f"{folder or root}: can't be written: {error.strerror}. Name a folder you may write to.") from None


def _written(
    root: Path, folder: Path | None, items: list[dict[str, object]], draw: BatchSettings, pool_size: int, version: int, model: str
) -> DrawnBatch:
    if folder is not None:
        return DrawnBatch(folder, write_batch(folder, items, draw, pool_size, version, model))
    unnamed = root / "batches" / f".new-{os.getpid()}"
    manifest = write_batch(unnamed, items, draw, pool_size, version, model)
    named = unnamed.with_name(manifest.batch_id)
    if named.exists():  # An id is a digest: what is there is the same batch.
        shutil.rmtree(unnamed)
    else:
        unnamed.replace(named)
    return DrawnBatch(named, manifest)
