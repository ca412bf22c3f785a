"""Defines our artifact types. TYPE_NAME doubles as the import path that a Kubeflow container uses."""

from tfx.types.artifact import Artifact
from tfx.types.system_artifacts import Dataset, Metrics


class Quarantine(Artifact):
    """Refused rows: `quarantine.jsonl` and `summary.json`."""

    TYPE_NAME = "components.Quarantine"
    TYPE_ANNOTATION = Dataset


class TaxonomySnapshot(Artifact):
    """The category tree as it stood: `taxonomy.tsv`. Property: sha256, num_nodes."""

    TYPE_NAME = "components.TaxonomySnapshot"
    TYPE_ANNOTATION = Dataset


class RuleSnapshot(Artifact):
    """The rules as they stood: `rules.tsv`. Property: sha256, num_rules."""

    TYPE_NAME = "components.RuleSnapshot"
    TYPE_ANNOTATION = Dataset


class LabelSnapshot(Artifact):
    """The label events as they stood: `label_events.jsonl`. Property: sha256, num_events."""

    TYPE_NAME = "components.LabelSnapshot"
    TYPE_ANNOTATION = Dataset


class EncodingReport(Artifact):
    """What the encoders did: `encoding_report.json`."""

    TYPE_NAME = "components.EncodingReport"
    TYPE_ANNOTATION = Metrics


class RuleReport(Artifact):
    """What the rules did: `rule_report.json`."""

    TYPE_NAME = "components.RuleReport"
    TYPE_ANNOTATION = Metrics


class WideEvaluation(Artifact):
    """Both heads judged from every side: `metrics.json`, `report.html`, `tfma.html`, TFMA's files in `tfma/`."""

    TYPE_NAME = "components.WideEvaluation"
    TYPE_ANNOTATION = Metrics


class ScoredPool(Artifact):
    """Top-k probabilities and embeddings: `scored-*.parquet` and `manifest.json`."""

    TYPE_NAME = "components.ScoredPool"
    TYPE_ANNOTATION = Dataset


class SamplingBatch(Artifact):
    """The products people should label next: `batch.jsonl` and `manifest.json`."""

    TYPE_NAME = "components.SamplingBatch"
    TYPE_ANNOTATION = Dataset


class NeighbourLists(Artifact):
    """Every product's neighbours: `neighbours/*.parquet`, `documents/*.jsonl` and `manifest.json`."""

    TYPE_NAME = "components.NeighbourLists"
    TYPE_ANNOTATION = Dataset


class SimilarityIndex(Artifact):
    """A neighbour index with `manifest.json`."""

    TYPE_NAME = "components.SimilarityIndex"
    TYPE_ANNOTATION = Dataset
