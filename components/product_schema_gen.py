"""Makes the fields' schema an artifact from its own text, so that no stage needs a file outside the run."""

import logging
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Schema

log = logging.getLogger(__name__)


@component
def ProductSchemaGen(schema: OutputArtifact[Schema], text: Parameter[str], code: Parameter[str] = "") -> None:
    """Writes `schema.pbtxt`, where TFX's ImportSchemaGen would have copied it."""
    del code  # In the cache key only.
    found = text_format.Parse(text, schema_pb2.Schema())
    folder = Path(schema.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(found), encoding="utf-8")
    log.info("product_schema fields=%d", len(found.feature))
