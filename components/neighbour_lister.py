"""The TFX shell that lists every product's neighbours with Beam, a part at a time; neighbour_lists.py says how."""

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import NeighbourLists, ScoredPool, TaxonomySnapshot
from components.index_building import pool_vectors
from components.neighbour_lists import NeighbourPlan, Part, planned_parts, vector_tokens, write_list_manifest, write_part
from components.scored_pool import read_pool_manifest
from schemas.taxonomy import load_taxonomy
from similarity.vector_tokens import VectorTokens
from similarity.vectors import load_vectors, save_vectors

log = logging.getLogger(__name__)
_VECTORS = ".vectors"


class ListNeighbours(beam.DoFn):
    """Writes the files of one part, and says how many products they hold. A part may be tried again."""

    def __init__(self, folder: str, plan: NeighbourPlan, tokens: VectorTokens | None, version: int, shared: Shared) -> None:
        self._folder, self._plan, self._tokens, self._version, self._shared = Path(folder), plan, tokens, version, shared

    def setup(self) -> None:
        """Maps the vectors, once in a process however many threads compare them."""
        self._products = self._shared.acquire(lambda: load_vectors(self._folder / _VECTORS), tag=str(self._folder))

    def process(self, part: Part) -> Iterator[int]:
        """Writes one part."""
        yield write_part(self._folder, self._products, part, self._plan, self._tokens, self._version)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Puts the vectors in tree order where every worker can map them, lists every part, then writes the manifest."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Runs the stage; see `NeighbourLister` for its inputs, output and parameters."""
        started_s = time.monotonic()
        pool = Path(artifact_utils.get_single_instance(input_dict["scored_pool"]).uri)
        tree = load_taxonomy(Path(artifact_utils.get_single_instance(input_dict["taxonomy"]).uri) / "taxonomy.tsv")
        lists = artifact_utils.get_single_instance(output_dict["neighbour_lists"])
        plan = NeighbourPlan(int(exec_properties["neighbours"]), int(exec_properties["depth"]), str(exec_properties["tokens"]))
        folder, described = Path(lists.uri), read_pool_manifest(pool)
        (folder / _VECTORS).mkdir(parents=True, exist_ok=True)
        products = pool_vectors(pool, tree)
        save_vectors(folder / _VECTORS, products)
        list_part = ListNeighbours(str(folder), plan, vector_tokens(products, plan), described.version, Shared())
        parts = planned_parts(products, tree, plan)
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | "Parts" >> beam.Create(parts) | "Spread" >> beam.Reshuffle() | "List" >> beam.ParDo(list_part)
        shutil.rmtree(folder / _VECTORS)
        write_list_manifest(folder, plan, len(products), described.version, described.model_sha256)
        lists.set_int_custom_property("num_products", len(products))
        log.info("neighbour_lister products=%d parts=%d seconds=%.1f", len(products), len(parts), time.monotonic() - started_s)


class NeighbourListerSpec(ComponentSpec):
    """What the stage reads, is told and writes."""

    INPUTS = {"scored_pool": ChannelParameter(type=ScoredPool), "taxonomy": ChannelParameter(type=TaxonomySnapshot)}
    OUTPUTS = {"neighbour_lists": ChannelParameter(type=NeighbourLists)}
    PARAMETERS = {
        "neighbours": ExecutionParameter(type=int),
        "depth": ExecutionParameter(type=int),
        "tokens": ExecutionParameter(type=str),
        "code": ExecutionParameter(type=str),
    }


class NeighbourLister(base_beam_component.BaseBeamComponent):
    """Writes the neighbours of every product within its category, exactly.

    Args:
        scored_pool: whose embeddings are compared.
        taxonomy: whose categories they are compared within.
        neighbours: of each product, at most.
        depth: of the categories, 1 for roots, 2 for the second level.
        tokens: how vectors become words for a full-text engine; empty for not at all.
        code: digest of the code, so that the cache notices a change.
    """

    SPEC_CLASS = NeighbourListerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, scored_pool: BaseChannel, taxonomy: BaseChannel, neighbours: int = 100, depth: int = 2, tokens: str = "", code: str = ""
    ) -> None:
        spec = NeighbourListerSpec(
            scored_pool=scored_pool,
            taxonomy=taxonomy,
            neighbours=neighbours,
            depth=depth,
            tokens=tokens,
            code=code,
            neighbour_lists=Channel(type=NeighbourLists),
        )
        super().__init__(spec=spec)
