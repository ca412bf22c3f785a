"""The TFX shell that scores the pool with Beam, one file of examples at a time; pool_scoring.py says how."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.utils.shared import Shared
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.artifacts import ScoredPool
from components.baseline_artifact import baseline_folder, baseline_version
from components.folder_digest import folder_sha256
from components.pool_scoring import ChosenModel, Scorer, choose_model, read_model_description, score_file, split_files
from components.scored_pool import PoolManifest, pool_files, write_pool_manifest
from schemas.errors import ModelError
from schemas.product import SPLITS

log = logging.getLogger(__name__)
_Files = tuple[str, str, str]  # examples, split, Parquet file


class ScoreFiles(beam.DoFn):
    """Turns one file of examples into one Parquet file, and says how many products it holds.

    A file is written under a hidden name and renamed when whole, so that a bundle may be tried again.
    """

    def __init__(self, model_uri: str, committee: tuple[str, ...], block_products: int, shared: Shared) -> None:
        self._model_uri, self._committee, self._block_products, self._shared = model_uri, committee, block_products, shared

    def setup(self) -> None:
        """Loads the models, once in a process however many threads score."""
        uris = "\n".join((self._model_uri, *self._committee))
        self._scorer = self._shared.acquire(lambda: Scorer(self._model_uri, self._committee), tag=uris)

    def process(self, files: _Files) -> Iterator[int]:
        """Scores one file."""
        examples, split, output = files
        partial = Path(output).with_name(f".{Path(output).name}.partial")
        with partial.open("wb") as file:
            num_products = score_file(self._scorer, examples, split, file, self._block_products)
        partial.replace(output)
        yield num_products


class Executor(base_beam_executor.BaseBeamExecutor):
    """Chooses the model, scores every file of both splits, then writes the manifest."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Runs the stage; see `PoolScorer` for its inputs, output and parameters."""
        started_s = time.monotonic()
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        pool = artifact_utils.get_single_instance(output_dict["scored_pool"])
        chosen = _chosen(input_dict, exec_properties)
        committee = tuple(uri for uri in json.loads(exec_properties.get("committee") or "[]") if uri != chosen.uri)
        folder = Path(pool.uri)
        folder.mkdir(parents=True, exist_ok=True)
        files = _planned_files(Path(examples.uri), folder)
        score = ScoreFiles(chosen.uri, committee, int(exec_properties["block_products"]), Shared())
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | "Files" >> beam.Create(files) | "Spread" >> beam.Reshuffle() | "Score" >> beam.ParDo(score)
        manifest = _manifest(folder, chosen, committee)
        write_pool_manifest(folder, manifest)
        pool.set_string_custom_property("model", manifest.model)
        pool.set_int_custom_property("num_products", manifest.num_products)
        seconds = time.monotonic() - started_s
        log.info("pool_scorer products=%d files=%d model=%s seconds=%.1f", manifest.num_products, len(files), manifest.model, seconds)


def _chosen(input_dict: dict[str, Any], exec_properties: dict[str, Any]) -> ChosenModel:
    model = artifact_utils.get_single_instance(input_dict["model"])
    blessing = artifact_utils.get_single_instance(input_dict["model_blessing"])
    found = input_dict.get("baseline")
    baseline = artifact_utils.get_single_instance(found) if found else None
    return choose_model(
        path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
        model_utils.is_model_blessed(blessing),
        str(baseline_folder(baseline) or exec_properties.get("baseline_uri") or ""),
        baseline_version(baseline) or int(exec_properties.get("baseline_version") or 0),
    )


def _planned_files(examples: Path, folder: Path) -> list[_Files]:
    found = [(path, split) for split in SPLITS for path in split_files(examples, split)]
    if not found:
        raise ModelError(f"{examples}: there are no examples in {', '.join(SPLITS)} to score. Run LabelJoin first.")
    names = [f"scored-{number:05d}-of-{len(found):05d}.parquet" for number in range(len(found))]
    return [(path, split, str(folder / name)) for (path, split), name in zip(found, names, strict=True)]


def _manifest(folder: Path, chosen: ChosenModel, committee: tuple[str, ...]) -> PoolManifest:
    described = read_model_description(chosen.uri)
    return PoolManifest(
        num_products=sum(pq.read_metadata(path).num_rows for path in pool_files(folder)),
        embedding_dimension=int(described["embedding_dimension"]),
        top_k=int(described["top_k"]),
        num_nodes=len(described["nodes"]),
        model_uri=chosen.uri,
        model=chosen.model,
        version=chosen.version,
        model_sha256=folder_sha256(Path(chosen.uri)),
        committee=1 + len(committee) if committee else 0,
    )


class PoolScorerSpec(ComponentSpec):
    """What the stage reads, is told and writes."""

    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "baseline": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"scored_pool": ChannelParameter(type=ScoredPool)}
    PARAMETERS = {
        "baseline_uri": ExecutionParameter(type=str),
        "baseline_version": ExecutionParameter(type=int),
        "block_products": ExecutionParameter(type=int),
        "committee": ExecutionParameter(type=str),
        "code": ExecutionParameter(type=str),
    }


class PoolScorer(base_beam_component.BaseBeamComponent):
    """Writes top-k probabilities and the embedding of every product, made by the model that may go live.

    Args:
        examples: labelled examples, both splits.
        model: the run's candidate.
        model_blessing: the candidate scores if it is blessed, or if there is no live model.
        baseline: the live model, where it was looked up while the run goes.
        baseline_uri: otherwise folder of the live SavedModel; empty: none.
        baseline_version: its version.
        block_products: products scored at once.
        committee: JSON list of further SavedModels whose best nodes stand beside, for strategies that ask where members disagree.
        code: digest of the code, so that the cache notices a change.
    """

    SPEC_CLASS = PoolScorerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        model_blessing: BaseChannel,
        baseline_uri: str = "",
        baseline_version: int = 0,
        block_products: int = 512,
        code: str = "",
        baseline: BaseChannel | None = None,
        committee: str = "[]",
    ) -> None:
        spec = PoolScorerSpec(
            examples=examples,
            model=model,
            model_blessing=model_blessing,
            baseline=baseline,
            baseline_uri=baseline_uri,
            baseline_version=baseline_version,
            block_products=block_products,
            committee=committee,
            code=code,
            scored_pool=Channel(type=ScoredPool),
        )
        super().__init__(spec=spec)
