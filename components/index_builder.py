"""The TFX shell that builds the similarity index of a scored pool; index_building.py says how."""

import logging
import time
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components.artifacts import ScoredPool, SimilarityIndex, TaxonomySnapshot
from components.index_building import IndexPlan, build_pool_index
from schemas.taxonomy import load_taxonomy

log = logging.getLogger(__name__)


@component
def IndexBuilder(
    scored_pool: InputArtifact[ScoredPool],
    taxonomy: InputArtifact[TaxonomySnapshot],
    index: OutputArtifact[SimilarityIndex],
    exact_below: Parameter[int] = 200_000,
    neighbours: Parameter[int] = 10,
    min_recall: Parameter[float] = 0.9,
    storage: Parameter[str] = "float32",
    seed: Parameter[int] = 0,
    code: Parameter[str] = "",
) -> None:
    """Builds the index that goes live beside the model; refused under the recall floor."""
    del code  # In the cache key only.
    started_s = time.monotonic()
    plan = IndexPlan(int(exact_below), int(neighbours), float(min_recall), int(seed), str(storage))
    tree = load_taxonomy(Path(taxonomy.uri) / "taxonomy.tsv")
    manifest = build_pool_index(Path(scored_pool.uri), tree, Path(index.uri), plan)
    index.set_string_custom_property("kind", manifest.kind)
    index.set_int_custom_property("num_products", manifest.num_products)
    index.set_float_custom_property("recall", manifest.recall)
    seconds = time.monotonic() - started_s
    log.info("index_builder kind=%s products=%d recall=%.4f seconds=%.1f", manifest.kind, manifest.num_products, manifest.recall, seconds)
