"""Stops a run when the feeds' fields don't fit the schema, with a message a person can act on."""

import logging
import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies

from schemas.errors import CatalogueError

log = logging.getLogger(__name__)


@component
def AnomalyGate(anomalies: InputArtifact[ExampleAnomalies], code: Parameter[str] = "") -> None:
    """Raises a CatalogueError that names every field that is off, and how."""
    del code  # In the cache key only.
    found = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = os.path.join(artifact_utils.get_split_uri([anomalies], split), "SchemaDiff.pb")  # noqa: PTH118 - may be a URI
        with fileio.open(path, "rb") as file:
            found += anomaly_messages(anomalies_pb2.Anomalies.FromString(file.read()), split)
    if found:
        raise CatalogueError(f"the feeds don't fit schemas/products.pbtxt: {'; '.join(found)}. Mend the feed mapping, or the schema.")
    log.info("anomaly_gate anomalies=0")


def anomaly_messages(anomalies: anomalies_pb2.Anomalies, split: str) -> list[str]:
    """Returns one short text per error-level anomaly of a split, by field."""
    messages = []
    for field, info in sorted(anomalies.anomaly_info.items()):
        if info.severity == anomalies_pb2.AnomalyInfo.ERROR:
            messages.append(f"{field} ({split}): {info.description.rstrip('.')}")
    return messages
