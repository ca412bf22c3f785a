"""Says every setting: its default, its unit and its range. `schemas/settings_loader.py` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FEED_FORMATS = ("csv", "tsv", "jsonl", "google_xml", "parquet")
HEADS = ("rule_based", "exclusive")
MODEL_FAMILIES = ("few_shot", "linear", "feed_forward", "wide_and_deep")
MINILM, MOBILENET_V2, INCEPTION_V3 = "minilm", "mobilenet_v2", "inception_v3"
ENCODER_KINDS = (MINILM, MOBILENET_V2, INCEPTION_V3)
DEFAULT_MAX_TOKENS = 128
LOGGED = ("all", "errors", "none")
_MAX_MESSAGE = 2**31 - 1  # What gRPC counts bytes of a message with.


def setting(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declares one setting with what help, docs and range checks need."""
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum, "choices": choices}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunSettings:
    """Where a run writes, and what makes it repeatable."""

    name: str = setting("aisle", "Name of the pipeline and of the model: lower case letters, digits, dashes. Template: :catalogue.")
    root: str = setting(":prefix/:name", "Folder everything is written under. Templates: :prefix, :name, :catalogue.")
    seed: int = setting(0, "Seed of every random choice.", minimum=0, maximum=2**31 - 1)
    cache: bool = setting(True, "Take stages whose inputs didn't change from the cache.")


@dataclass(frozen=True)
class NetworkSettings:
    """One affiliate network: where its feeds are and which column is which field."""

    format: str = setting("csv", "Format of the feeds; .gz files are unpacked.", choices=FEED_FORMATS)
    feeds: tuple[str, ...] = setting((), "Files or glob patterns, relative to the configuration file.")
    columns: Mapping[str, str] = setting({}, "Field to column. Empty: columns are named like the fields.")
    constants: Mapping[str, str] = setting({}, "Field to a value that holds for every row, such as a shop.")
    encoding: str = setting("utf-8", "Encoding of the feeds. Rows that don't decode are refused.")
    delimiter: str = setting("", "Column delimiter of csv and tsv. Empty: comma and tab.")
    category_separator: str = setting(">", "What stands between the levels of a category path.")
    decimal_comma: bool = setting(False, "Prices are written 1.234,56.")


@dataclass(frozen=True)
class CatalogueSettings:
    """A catalogue folder in the case format, which replaces networks, taxonomy, rules, labels and split."""

    folder: str = setting("", "Folder with feed.jsonl.gz, taxonomy.tsv, rules.tsv and gold.tsv. Empty: use the sections below.")
    answers: int = setting(-1, "How many random dev answers of gold.tsv become label events; -1 for all.", minimum=-1)


@dataclass(frozen=True)
class TaxonomySettings:
    """The shop's category tree."""

    path: str = setting("", "TSV with id, parent_id, name, exclusive; or one path a line.")


@dataclass(frozen=True)
class RuleSettings:
    """The analysts' rules."""

    path: str = setting("", "TSV or YAML of rules. Empty: no rules.")


@dataclass(frozen=True)
class LabelSettings:
    """People's answers."""

    store: str = setting(":root/label_events.sqlite", "SQLite file of label events. Templates: :prefix, :name, :root.")
    events: tuple[str, ...] = setting((), "JSON-lines files of label events read beside the store.")


@dataclass(frozen=True)
class IngestSettings:
    """How feeds become examples."""

    test_share: float = setting(0.1, "Share of product groups kept for judging.", minimum=0.01, maximum=0.5)
    split: str = setting("", "TSV with product_id and split (dev or test) that replaces the random split.")
    max_refused_share: float = setting(0.1, "A run stops when a larger share of rows is refused.", minimum=0.0, maximum=1.0)
    batch_rows: int = setting(1000, "Rows cleaned at once.", minimum=1, maximum=100_000)
    shard_rows: int = setting(50_000, "Rows in one file of examples at most.", minimum=1, maximum=10_000_000)


@dataclass(frozen=True)
class StatisticsSettings:
    """Checks on the fields of the feeds."""

    enabled: bool = setting(True, "Compute statistics and stop on anomalies of the schema.")


@dataclass(frozen=True)
class PhaseSettings:
    """One phase of the objective schedule."""

    epochs: float = setting(1.0, "Length, in passes over the leading head's rows.", minimum=0.01, maximum=1000)
    rule_based: float = setting(0.5, "Share of a batch that trains the rule_based head.", minimum=0.0, maximum=1.0)
    exclusive: float = setting(0.5, "Share of a batch that trains the exclusive head.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class EvaluationSettings:
    """The gate a model must pass to go live."""

    min_accuracy: float = setting(0.0, "Lowest accuracy of the exclusive head.", minimum=0.0, maximum=1.0)
    min_hierarchical_f1: float = setting(0.05, "Lowest hierarchical F1 of the exclusive head.", minimum=0.0, maximum=1.0)
    max_hierarchical_f1_loss: float = setting(0.01, "Most hierarchical F1 lost against the blessed model.", minimum=0.0, maximum=1.0)
    max_depth_loss: float = setting(0.05, "Most hierarchical F1 lost at any one depth against the blessed model.", minimum=0.0, maximum=1.0)
    min_depth_products: int = setting(50, "Judged products a depth needs before it can stop a model.", minimum=1)


@dataclass(frozen=True)
class AcceptanceSettings:
    """Which predictions need no person."""

    precision: float = setting(
        0.95, "Promised share of accepted predictions that are right; 0: everything is asked.", minimum=0.0, maximum=0.999
    )
    confidence: float = setting(
        0.95, "How sure it is that the promise is kept, over the chance of which answers were given.", minimum=0.5, maximum=0.999
    )
    folds: int = setting(
        5, "Parts of the answers held out in turn; families with gradient steps are trained once more for each.", minimum=2, maximum=20
    )


@dataclass(frozen=True)
class SamplingSettings:
    """How the next products to label are chosen."""

    strategy: str = setting(
        "typical_then_margin",
        "Strategy of the sampler; docs/sampling.md says what each does.",
        choices=(
            *("random", "least_confidence", "margin", "entropy", "balanced_margin", "vote_entropy", "consensus_divergence"),
            *("gradient_length", "information_density", "typical_points", "typical_then_margin", "badge"),
            *("gradient_kmeans", "rare_nodes"),
        ),
    )
    batch_size: int = setting(250, "Products in a batch.", minimum=1, maximum=1_000_000)
    audit_share: float = setting(0.1, "Share of the batch drawn at random, for an unbiased score.", minimum=0.0, maximum=1.0)
    subtree: str = setting("", "Id or path of a node: only products whose best guess is there or below are asked. Empty: all.")
    shop: str = setting("", "Only products of this shop are asked. Empty: all.")


@dataclass(frozen=True)
class ScoringSettings:
    """How the pool is scored."""

    top_k: int = setting(10, "Nodes kept for each product and head.", minimum=1, maximum=1000)
    block_products: int = setting(512, "Products scored at once.", minimum=1, maximum=65_536)
    committee: tuple[str, ...] = setting((), "Pushed versions, or SavedModels, that score beside, to ask where models differ.")


@dataclass(frozen=True)
class IndexSettings:
    """The similarity index."""

    exact_below: int = setting(200_000, "Products from which ScaNN takes over from exact search, in the index or a subtree.", minimum=0)
    neighbours: int = setting(10, "Neighbours that recall is measured on.", minimum=1, maximum=1000)
    min_recall: float = setting(0.9, "An index with less recall is refused.", minimum=0.0, maximum=1.0)
    storage: str = setting(
        "float32", "What a search holds in memory: int8 takes a quarter, and answers the same.", choices=("float32", "int8")
    )


@dataclass(frozen=True)
class NeighbourSettings:
    """Lists of every product's neighbours within its category, for who looks them up instead of searching."""

    enabled: bool = setting(False, "Write them.")
    neighbours: int = setting(100, "Neighbours of each product, at most.", minimum=1, maximum=1000)
    depth: int = setting(2, "Depth of the categories that products are compared within; 1 is a root.", minimum=1, maximum=64)
    tokens: str = setting("", "Vectors as words: rounding:DECIMALS or percentile:LEVELS, and :WORDS for the largest numbers. Empty: none.")


@dataclass(frozen=True)
class PushSettings:
    """Where a blessed model and its index go live."""

    folder: str = setting(":root/serving", "Folder that holds models/, indexes/ and live.json. Templates: :prefix, :name, :root.")
    keep: int = setting(5, "Versions kept; the live one and the one before it always are.", minimum=2, maximum=1000)


@dataclass(frozen=True)
class BeamSettings:
    """The data processing engine."""

    args: tuple[str, ...] = setting((), "Beam pipeline arguments, such as --runner=FlinkRunner. Empty: in this process.")


@dataclass(frozen=True)
class ModelSettings:
    """The model family and how it is fitted."""

    family: str = setting("few_shot", "Model family.", choices=MODEL_FAMILIES)
    features: str = setting("", "Feature config, relative to the configuration file. Empty: the one that ships.")
    parameters: Mapping[str, Any] = setting({}, "Hyper-parameters of the family that differ from its defaults.")
    compare_with: tuple[str, ...] = setting(
        (),
        "Families to compare it with on held-out answers; the most accurate is trained. Empty: none, since each is trained once"
        " more, and so far `few_shot` has won; docs/architecture.md says more.",
    )
    compare_above: int = setting(20_000, "Answers from which the families of `compare_with` are compared.", minimum=1)
    warm_start: bool = setting(False, "Start from the weights of the latest blessed model.")


@dataclass(frozen=True)
class TunerSettings:
    """The search for hyper-parameters."""

    enabled: bool = setting(False, "Search before training.")
    trials: int = setting(8, "Settings tried.", minimum=1, maximum=1000)
    space: Mapping[str, Any] = setting({}, "Hyper-parameter to a list of values to choose from.")


@dataclass(frozen=True)
class KubeflowSettings:
    """How the pipeline runs on Kubeflow; a run on one machine needs none of it."""

    image: str = setting("", "Container image of every stage, with a tag that names its content.")
    root: str = setting("", "Object storage for artifacts: minio://, s3:// or gs:// with a bucket. Empty: the cluster's own.")
    volume_claim: str = setting("aisle", "Claim of the volume that holds inputs, label store and push folder. Empty: no volume.")
    mount_path: str = setting("/aisle", "Where the volume is mounted; every path of the settings is under it.")
    cpus: float = setting(2.0, "CPU cores a stage may use.", minimum=0.1, maximum=1000)
    memory_gb: float = setting(8.0, "Memory a stage may use, in GB.", minimum=0.1, maximum=10_000)


@dataclass(frozen=True)
class EncoderSettings:
    """One encoder: a frozen network that turns a field of every product into a vector, which features may read."""

    name: str = setting("", "Name of the vector: letters, digits and underscores. A dense feature reads it by this name.")
    kind: str = setting(MINILM, "Kind of the encoder.", choices=ENCODER_KINDS)
    field: str = setting("title", "Field of the product that is encoded; `image` for a kind that reads pictures.")
    weights: str = setting("", "Folder with the weights, or hub://OWNER/NAME of a model hub.")
    max_tokens: int = setting(DEFAULT_MAX_TOKENS, "Word pieces read of a text; longer texts are cut.", minimum=1, maximum=4096)


@dataclass(frozen=True)
class EncodingSettings:
    """What the encoders share."""

    images: str = setting("", "Folder that paths of pictures start at. Empty: catalogue.folder.")
    cache_gb: float = setting(4.0, "Size of the cache of vectors under run.root, in GB.", minimum=0.001, maximum=100_000)


@dataclass(frozen=True)
class ServingSettings:
    """The model server, `aisle serve`: each is an option of it, too, and the option wins. A run needs none of it."""

    model_base_path: str = setting("", "Folder of one model's version folders. Empty: what the run made live.")
    model_name: str = setting("", "What requests call it. Empty: as it was pushed, or the name of that folder.")
    model_config_file: str = setting("", "ModelServerConfig in text format, in place of both: models, version policies, labels.")
    model_config_file_poll_wait_seconds: float = setting(0.0, "Seconds to another look at it; 0: never.", minimum=0, maximum=1_000_000)
    model_root: tuple[str, ...] = setting((), "More folders that a reload may load models from.")
    host: str = setting("127.0.0.1", "Address to listen on, by default this machine's own.")
    port: int = setting(8500, "Port of gRPC; 0: a free one.", minimum=0, maximum=65_535)
    rest_api_port: int = setting(8501, "Port of REST and metrics; 0: a free one.", minimum=0, maximum=65_535)
    rest_api_timeout_in_ms: int = setting(30_000, "Milliseconds a REST request may wait.", minimum=1, maximum=1_000_000_000)
    file_system_poll_wait_seconds: float = setting(
        1.0, "Seconds to another look for versions; 0: none after the start.", minimum=0, maximum=1_000_000
    )
    max_num_load_retries: int = setting(5, "Retries of a version that can't be loaded.", minimum=0, maximum=1_000_000)
    load_retry_interval_micros: int = setting(60_000_000, "Microseconds between two of them.", minimum=0, maximum=1_000_000_000_000)
    enable_batching: bool = setting(False, "Run rows of requests together.")
    batching_parameters_file: str = setting("", "How, in text format: max_batch_size, batch_timeout_micros and so on.")
    ssl_config_file: str = setting("", "TLS on both ports, in text format: server_key, server_cert, custom_ca, client_verify.")
    monitoring_config_file: str = setting("", "Whether and where Prometheus finds metrics, in text format.")
    tensorflow_intra_op_parallelism: int = setting(0, "Threads of one operation; 0: all cores.", minimum=0, maximum=10_000)
    tensorflow_inter_op_parallelism: int = setting(0, "Operations at a time; 0: all cores.", minimum=0, maximum=10_000)
    max_message_bytes: int = setting(64_000_000, "Bytes of one request.", minimum=1, maximum=_MAX_MESSAGE)
    max_answer_bytes: int = setting(64_000_000, "Bytes of one answer, about.", minimum=1, maximum=_MAX_MESSAGE)
    max_in_flight: int = setting(64, "Requests answered at a time; more are refused.", minimum=1, maximum=10_000)
    max_body_bytes: int = setting(512_000_000, "Bytes of open REST requests, together.", minimum=1, maximum=10**12)
    max_connections: int = setting(512, "Connections of REST, open at a time; more are refused.", minimum=1, maximum=1_000_000)
    grace_seconds: float = setting(30.0, "Seconds that open requests have to end after a stop.", minimum=0, maximum=1_000_000)
    log_requests: str = setting("all", "Which requests get a line in the log.", choices=LOGGED)


@dataclass(frozen=True)
class SimilarSettings:
    """The similarity server, `aisle similar`: each is an option of it, too, and the option wins. A run needs none of it."""

    folder: str = setting("", "Folder that keeps index and changes. Empty: similarity_server below run.root.")
    model_server: str = setting("", "REST address of the model server, to embed new products. Empty: they can't be.")
    model_name: str = setting("", "What the model server calls the model. Empty: as it was pushed.")
    host: str = setting("127.0.0.1", "Address to listen on, by default this machine's own.")
    port: int = setting(8600, "Port of gRPC; 0: a free one.", minimum=0, maximum=65_535)
    rest_port: int = setting(8601, "Port of REST and metrics; 0: a free one.", minimum=0, maximum=65_535)
    ssl_config_file: str = setting("", "TLS on both ports, in text format, as aisle serve takes it.")
    poll_seconds: float = setting(1.0, "Seconds to another look for a version; 0: none after the start.", minimum=0, maximum=1_000_000)
    max_k: int = setting(1_000, "Neighbours of one query.", minimum=1, maximum=1_000_000_000)
    max_message_bytes: int = setting(16_000_000, "Bytes of one request.", minimum=1, maximum=_MAX_MESSAGE)
    max_in_flight: int = setting(64, "Requests answered at a time; more are refused.", minimum=1, maximum=10_000)
    max_body_bytes: int = setting(512_000_000, "Bytes of open REST requests, together.", minimum=1, maximum=10**12)
    max_connections: int = setting(512, "Connections of REST, open at a time; more are refused.", minimum=1, maximum=1_000_000)
    timeout_seconds: float = setting(
        10.0, "Seconds that a REST request, or a question to another server, may take.", minimum=0.001, maximum=1_000_000
    )
    grace_seconds: float = setting(30.0, "Seconds that open requests have to end after a stop.", minimum=0, maximum=1_000_000)
    log_requests: str = setting("all", "Which requests get a line in the log.", choices=LOGGED)


@dataclass(frozen=True)
class Settings:
    """Everything a run is told, and the servers of what it pushed."""

    run: RunSettings = field(default_factory=RunSettings)
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    networks: Mapping[str, NetworkSettings] = field(default_factory=dict)
    taxonomy: TaxonomySettings = field(default_factory=TaxonomySettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)
    encoders: tuple[EncoderSettings, ...] = ()
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    phases: tuple[PhaseSettings, ...] = ()
    tuner: TunerSettings = field(default_factory=TunerSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    acceptance: AcceptanceSettings = field(default_factory=AcceptanceSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    push: PushSettings = field(default_factory=PushSettings)
    beam: BeamSettings = field(default_factory=BeamSettings)
    kubeflow: KubeflowSettings = field(default_factory=KubeflowSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    similar: SimilarSettings = field(default_factory=SimilarSettings)
