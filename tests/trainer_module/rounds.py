"""Runs TFX's own Transform, Tuner and Trainer on a few products, as a pipeline would; or only TFT, which is quicker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import metadata_io
from tfx.components import Trainer, Transform, Tuner
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx_bsl.tfxio import tf_example_record

import schemas
from schemas.features import FeatureConfig
from schemas.product import ANSWER_NODE, RULE_NODES
from schemas.rules import Rule, write_rules
from schemas.taxonomy import Taxonomy, write_taxonomy
from tests.support.example_source import ExampleSource
from tests.support.examples import example, write_examples
from trainer_module.preprocessing import config_for_transform, preprocessing_fn

PHASES = [{"epochs": 2, "rule_based": 1.0, "exclusive": 0.0}, {"epochs": 6, "rule_based": 0.25, "exclusive": 0.75}]


@dataclass(frozen=True)
class Round:
    """Where a round left its artifacts.

    Attributes:
        transform_graph: folder of the transform graph.
        transformed: folder of the transformed examples, `Split-dev` below it.
        model: folder of the SavedModel.
        tuned: folders of the best hyper-parameters and of the search's results, by type; empty without a Tuner.
    """

    transform_graph: Path
    transformed: Path
    model: Path
    tuned: Mapping[str, Path]


def schema_of(config: FeatureConfig) -> schema_pb2.Schema:
    """Returns the curated schema with the config's vector fields."""
    text = Path(schemas.__file__).with_name("products.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    for name in config.dense_fields:
        schema.feature.add(name=name, type=schema_pb2.FLOAT)
    return schema


def training_config(root: Path, config: FeatureConfig, tree: Taxonomy, **changes: Any) -> dict[str, Any]:
    """Writes the taxonomy and a rule for each name, and returns a `custom_config` as `pipeline.stages.learning` makes it."""
    root.mkdir(parents=True, exist_ok=True)
    write_taxonomy(root / "taxonomy.tsv", tree)
    write_rules(root / "rules.tsv", [Rule(f"r-{node.id}", node.id, "title", node.name) for node in tree])
    return {
        "taxonomy": str(root / "taxonomy.tsv"),
        "rules": str(root / "rules.tsv"),
        "features": config.to_json(),
        "family": "feed_forward",
        "parameters": {"embedding_size": 8, "batch_size": 32},
        "phases": PHASES,
        "seed": 0,
        "top_k": 4,
        "baseline": "",
        "tuner": {"enabled": False, "trials": 4, "space": {}},
        "made_from": {"feeds_sha256": "f"},
        "code": "",
        **changes,
    }


def run_round(root: Path, config: FeatureConfig, rows: Sequence[Mapping[str, Any]], custom_config: Mapping[str, Any]) -> Round:
    """Transforms, tunes if `custom_config` says so, and trains."""
    write_examples(root / "examples", rows)
    (root / "schema.pbtxt").write_text(text_format.MessageToString(schema_of(config)), encoding="utf-8")
    source = ExampleSource(folder=str(root / "examples"))
    schema = ImportSchemaGen(schema_file=str(root / "schema.pbtxt"))
    transform = Transform(
        examples=source.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["dev"], transform=["dev"]),
        custom_config=config_for_transform(config, (ANSWER_NODE, RULE_NODES)),
        disable_statistics=True,
    )
    training: dict[str, Any] = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=["dev"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["dev"]),
        "custom_config": dict(custom_config),
    }
    tuner = Tuner(tuner_fn="trainer_module.tuner.tuner_fn", **training) if custom_config["tuner"]["enabled"] else None
    tuned = {"hyperparameters": tuner.outputs["best_hyperparameters"]} if tuner else {}
    trainer = Trainer(run_fn="trainer_module.trainer.run_fn", **training, **tuned)
    nodes = [source, schema, transform, *([tuner] if tuner else []), trainer]
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(Pipeline("round", str(root / "runs"), components=nodes, metadata_connection_config=connection))
    with metadata.Metadata(connection) as handle:
        kinds = {kind.id: kind.name for kind in handle.store.get_artifact_types()}
        written = {kinds[artifact.type_id]: Path(artifact.uri) for artifact in sorted(handle.store.get_artifacts(), key=lambda a: a.id)}
    return Round(
        transform_graph=written["TransformGraph"],
        transformed=next((root / "runs" / "Transform" / "transformed_examples").iterdir()),
        model=written["Model"] / "Format-Serving",
        tuned={kind: written[kind] for kind in ("HyperParameters", "TunerResults") if kind in written},
    )


def analysed(root: Path, config: FeatureConfig, rows: Sequence[Mapping[str, Any]]) -> tft.TFTransformOutput:
    """Learns a transform graph with bare TFT."""
    source, records = _source(config), [example(row).SerializeToString() for row in rows]
    custom = config_for_transform(config, (ANSWER_NODE, RULE_NODES))
    with tft_beam.Context(temp_dir=str(root / "tmp")), beam.Pipeline() as pipeline:
        batches = pipeline | beam.Create(records, reshuffle=False) | source.BeamSource(batch_size=max(1, len(records)))
        raw = (batches, source.TensorAdapterConfig())
        transform_fn = raw | tft_beam.AnalyzeDataset(lambda inputs: preprocessing_fn(inputs, custom))
        transform_fn | tft_beam.WriteTransformFn(str(root))
    metadata_io.write_metadata(tft.DatasetMetadata(schema_of(config)), str(root / "metadata"))
    return tft.TFTransformOutput(str(root))


def transform(graph: Path, config: FeatureConfig, records: Sequence[bytes], out: Path) -> list[bytes]:
    """Transforms examples as the Transform component does, by Arrow and Beam; writes them to `out`, returned in any order."""
    source, output = _source(config), tft.TFTransformOutput(str(graph))
    coder = tft.coders.ExampleProtoCoder(output.transformed_metadata.schema)
    with tft_beam.Context(temp_dir=str(graph / "tmp")), beam.Pipeline() as pipeline:
        batches = pipeline | beam.Create(list(records), reshuffle=False) | source.BeamSource(batch_size=max(1, len(records)))
        transform_fn = pipeline | tft_beam.ReadTransformFn(str(graph))
        transformed, _ = ((batches, source.TensorAdapterConfig()), transform_fn) | tft_beam.TransformDataset()
        transformed | beam.Map(coder.encode) | beam.io.WriteToTFRecord(str(out / "examples"), file_name_suffix=".gz")
    return list(tf.data.TFRecordDataset(files_of(out), "GZIP").as_numpy_iterator())


def files_of(folder: Path) -> list[str]:
    """Returns the records of a folder, sorted."""
    return [str(path) for path in sorted(folder.glob("*.gz"))]


def _source(config: FeatureConfig) -> tf_example_record.TFExampleBeamRecord:
    return tf_example_record.TFExampleBeamRecord(["test"], schema=schema_of(config))
