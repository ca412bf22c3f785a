"""Draws another batch from the scores of the latest run, without the products that people answered since."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.sampling_batch import BatchManifest, BatchSettings, batch_version, draw_batch, write_batch
from components.scored_pool import read_pool_manifest
from pipeline.inputs import read_events, resolved
from pipeline.results import latest_artifacts
from schemas.errors import SamplingError, StoreError
from schemas.label_event import IS, standing_events
from schemas.settings import Settings
from schemas.taxonomy import load_taxonomy

_POOL, _TAXONOMY, _PUSHED = "PoolScorer.scored_pool", "TaxonomySnapshotGen.taxonomy", "PairPusher.pushed_model"


@dataclass(frozen=True)
class DrawnBatch:
    """A batch on disk, and where."""

    folder: Path
    manifest: BatchManifest


def draw_from_latest_run(settings: Settings, draw: BatchSettings, folder: Path | None = None) -> DrawnBatch:
    """Draws and writes a batch.

    Args:
        settings: of the runs.
        draw: how.
        folder: where the batch goes; None: below `run.root`, in `batches/` and its id.

    Raises:
        AisleError: no run has scored a pool, the draw isn't possible, or the batch can't be written.
    """
    root = Path(settings.run.root)
    artifacts = latest_artifacts(root, _PUSHED)
    pool, taxonomy = Path(artifacts[_POOL].uri), Path(artifacts[_TAXONOMY].uri) / "taxonomy.tsv"
    if not pool.is_dir() or not taxonomy.is_file():
        raise StoreError(f"{pool}: the scores of the latest run are gone. Run again: aisle run.")
    standing = standing_events(read_events(resolved(settings)))
    answers = {product_id: event.node_id if event.kind == IS else None for product_id, event in standing.items()}
    items, pool_size = draw_batch(pool, load_taxonomy(taxonomy), draw, answers)
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
