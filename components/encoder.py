"""Runs `encoding` over the files of an Examples artifact: the TFX shell of stage Encoder."""

import json
import logging
import posixpath
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import EncodingReport
from components.encoding import EncodingCounts, ExampleEncoder, encode_file, encoding_report, load_field_encoders
from components.example_rewriting import MergeCounts, RewriteTask, describe_like, rewrite_tasks
from components.snapshot_files import write_local
from encoders.vector_cache import VectorCache

REPORT_FILE = "encoding_report.json"
_BYTES_A_GB = 1_000_000_000

log = logging.getLogger(__name__)


class _Loaded(ExampleEncoder):
    """What a process keeps; `Shared` needs a class of our own that can be referred to weakly."""


class _EncodeFile(beam.DoFn):
    """Files to the counts of one; the file with vectors is the side effect, the same whenever it is done again."""

    def __init__(self, plans: str, images: str, cache: str, cache_bytes: int, shared: Shared) -> None:
        self._plans, self._images, self._cache, self._cache_bytes, self._shared = plans, images, cache, cache_bytes, shared

    def setup(self) -> None:
        """Loads the encoders, once in a process however many threads encode."""
        self._encoder = self._shared.acquire(self._load, tag=self._plans)

    def _load(self) -> _Loaded:
        cache = VectorCache(Path(self._cache), self._cache_bytes) if self._cache else None
        return _Loaded(load_field_encoders(json.loads(self._plans), cache), Path(self._images) if self._images else None)

    def process(self, task: RewriteTask) -> Iterator[EncodingCounts]:
        """Encodes one file."""
        _, source, target = task
        yield encode_file(self._encoder, source, target)


class EncoderExecutor(base_beam_executor.BaseBeamExecutor):
    """Adds the vectors and writes the report."""

    def Do(self, input_dict: dict[str, list[Artifact]], output_dict: dict[str, list[Artifact]], exec_properties: dict[str, Any]) -> None:
        """Calls `encoding` on every file, then writes the report; see `Encoder` for inputs, outputs and parameters."""
        started = time.monotonic()
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        encoded = artifact_utils.get_single_instance(output_dict["encoded_examples"])
        report_uri = artifact_utils.get_single_instance(output_dict["encoding_report"]).uri
        plans, tasks = json.loads(exec_properties["encoders"]), rewrite_tasks(examples, encoded)
        cache_bytes = int(float(exec_properties["cache_gb"]) * _BYTES_A_GB)
        encode = _EncodeFile(exec_properties["encoders"], exec_properties["images"], exec_properties["cache"], cache_bytes, Shared())

        def write_report(counts: EncodingCounts) -> None:
            text = encoding_report(plans, counts)
            write_local(posixpath.join(report_uri, REPORT_FILE), lambda path: path.write_text(text, encoding="utf-8"))
            for name, of_encoder in counts.by_name.items():
                log.info("encoder name=%s %s", name, " ".join(f"{key}={number}" for key, number in of_encoder.items()))

        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Files" >> beam.Create(tasks)
                | "Spread" >> beam.Reshuffle()
                | "EncodeFiles" >> beam.ParDo(encode)
                | "Count" >> beam.CombineGlobally(MergeCounts(EncodingCounts))
                | "WriteReport" >> beam.Map(write_report)
            )
        describe_like(examples, encoded)
        log.info("encoder files=%d encoders=%d seconds=%.1f", len(tasks), len(plans), time.monotonic() - started)


class EncoderSpec(ComponentSpec):
    """What Encoder reads and writes."""

    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {
        "encoded_examples": ChannelParameter(type=standard_artifacts.Examples),
        "encoding_report": ChannelParameter(type=EncodingReport),
    }
    PARAMETERS = {
        "encoders": ExecutionParameter(type=str),
        "images": ExecutionParameter(type=str),
        "images_sha256": ExecutionParameter(type=str),
        "cache": ExecutionParameter(type=str),
        "cache_gb": ExecutionParameter(type=float),
        "code": ExecutionParameter(type=str),
    }


class Encoder(base_beam_component.BaseBeamComponent):
    """Adds a vector for each encoder to the examples.

    Args:
        examples: what ProductExampleGen wrote.
        encoders: JSON list of planned encoders.
        images: folder that paths of pictures start at; empty for none.
        images_sha256: says when to look at the pictures again; in the cache key only.
        cache: file that keeps vectors between runs; empty for none.
        cache_gb: its size at most.
        code: hash of the code behind this stage, so that the cache knows when it changed.

    Outputs `encoded_examples` (files, names and order as in `examples`) and `encoding_report`.
    """

    SPEC_CLASS = EncoderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EncoderExecutor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        encoders: str,
        images: str,
        images_sha256: str,
        cache: str,
        cache_gb: float,
        code: str = "",
    ) -> None:
        super().__init__(
            spec=EncoderSpec(
                examples=examples,
                encoders=encoders,
                images=images,
                images_sha256=images_sha256,
                cache=cache,
                cache_gb=cache_gb,
                code=code,
                encoded_examples=channel.Channel(type=standard_artifacts.Examples),
                encoding_report=channel.Channel(type=EncodingReport),
            )
        )


def vector_cache_path(root: str) -> str:
    """Returns where the runs below a root keep their vectors; empty where the root isn't a local folder."""
    return "" if "://" in root else posixpath.join(root, "cache", "vectors.sqlite")
