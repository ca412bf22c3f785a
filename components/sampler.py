"""The TFX shell that picks the next labelling batch; sampling/ says how, sampling_batch.py writes it."""

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import PushedModel

from components.artifacts import SamplingBatch, ScoredPool, TaxonomySnapshot
from components.sampling_batch import BatchSettings, batch_version, draw_batch, write_batch
from components.scored_pool import read_pool_manifest
from schemas.taxonomy import load_taxonomy

log = logging.getLogger(__name__)


@component
def Sampler(
    scored_pool: InputArtifact[ScoredPool],
    taxonomy: InputArtifact[TaxonomySnapshot],
    pushed_model: InputArtifact[PushedModel],
    batch: OutputArtifact[SamplingBatch],
    strategy: Parameter[str],
    batch_size: Parameter[int],
    audit_share: Parameter[float],
    seed: Parameter[int] = 0,
    subtree: Parameter[str] = "",
    shop: Parameter[str] = "",
    code: Parameter[str] = "",
) -> None:
    """Picks the products people should label next; runs after the push, so that the batch names the live version."""
    del code  # In the cache key only.
    settings = BatchSettings(strategy, int(batch_size), float(audit_share), int(seed), subtree, shop)
    folder = Path(scored_pool.uri)
    pool = read_pool_manifest(folder)
    items, pool_size = draw_batch(folder, load_taxonomy(Path(taxonomy.uri) / "taxonomy.tsv"), settings)
    pushed = int(pushed_model.get_string_custom_property("pushed_version") or 0)
    manifest = write_batch(Path(batch.uri), items, settings, pool_size, batch_version(pool, pushed), pool.model)
    batch.set_string_custom_property("batch_id", manifest.batch_id)
    batch.set_int_custom_property("num_items", manifest.num_items)
    log.info("sampler picked=%d pool=%d strategy=%s seed=%d batch=%s", len(items), pool_size, strategy, seed, manifest.batch_id)
