"""Reads the networks' feeds into examples: the TFX shell of `product_ingest.py`."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import BeamComponentParameter, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.artifacts import Quarantine
from components.feeds.files import find_feeds
from components.feeds.fingerprint import feeds_fingerprint
from components.product_ingest import Feed, ingest
from schemas.product import SPLITS
from schemas.settings import IngestSettings, NetworkSettings

_DIGEST = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@component(use_beam=True)
def ProductExampleGen(
    examples: OutputArtifact[standard_artifacts.Examples],
    quarantine: OutputArtifact[Quarantine],
    feeds: Parameter[str],
    ingest: Parameter[str],
    seed: Parameter[int] = 0,
    dense: Parameter[str] = "{}",
    fingerprint: Parameter[str] = "",
    code: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Reads feeds into the splits dev and test, and keeps refused rows aside.

    Args:
        examples: gets `Split-dev` and `Split-test`.
        quarantine: gets `quarantine.jsonl` and `summary.json`.
        feeds: JSON list of `{network, settings, files}`, the files by name or glob pattern; later files win.
        ingest: JSON of `IngestSettings`.
        seed: draws the split.
        dense: JSON object of vector fields and their sizes.
        fingerprint: content hash of all feed files and of the split file, so that the cache goes by content; anything that
            isn't one, such as a value never used before, makes the stage compute it.
        code: hash of the code, so that the cache notices new code.
        beam_pipeline: given by TFX.
    """
    fingerprint = true_fingerprint(feeds, ingest, fingerprint)
    summary = run_ingest(feeds, ingest, seed, dense, examples.uri, quarantine.uri, beam_pipeline)
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples.set_string_custom_property("input_fingerprint", fingerprint)
    quarantine.set_string_custom_property("input_fingerprint", fingerprint)
    for name in ("rows", "refused", "duplicates", "groups"):
        quarantine.set_int_custom_property(name, summary[name])
    log.info("product_example_gen rows=%d refused=%d fingerprint=%s", summary["rows"], summary["refused"], fingerprint[:12])


def run_ingest(
    feeds: str, settings: str, seed: int, dense: str, examples: str, quarantine: str, beam_pipeline: beam.Pipeline
) -> dict[str, Any]:
    """Unpacks the component's parameters and runs the stage; each of its two pipelines is made like `beam_pipeline`."""
    options = beam_pipeline.options
    return ingest(
        parse_feeds(feeds),
        IngestSettings(**json.loads(settings)),
        seed=seed,
        examples=examples,
        quarantine=quarantine,
        dense=json.loads(dense),
        make_pipeline=lambda: beam.Pipeline(options=options),
    )


def parse_feeds(feeds: str) -> list[Feed]:
    """Returns the files of the parameter `feeds`, numbered in their order."""
    networks = [(entry["network"], _network_settings(entry["settings"]), entry["files"]) for entry in json.loads(feeds)]
    files = [(network, settings, path) for network, settings, paths in networks for path in find_feeds(paths, Path.cwd(), network)]
    return [Feed(number, network, settings, path) for number, (network, settings, path) in enumerate(files)]


def true_fingerprint(feeds: str, settings: str, fingerprint: str) -> str:
    """Returns `fingerprint` where it is a digest, else the digest of what the files hold now."""
    if _DIGEST.fullmatch(fingerprint):
        return fingerprint
    split = json.loads(settings)["split"]
    return feeds_fingerprint([*(feed.path for feed in parse_feeds(feeds)), *([split] if split else [])])


def _network_settings(values: dict[str, Any]) -> NetworkSettings:
    return NetworkSettings(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
