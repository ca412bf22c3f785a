"""Writes the wide metrics as TFMA's own files, and TFMA's viewer as one page without a server.

`tfma.load_eval_result(folder)` and `tfma.load_validation_result(folder)` read what is written here, and so do
model-analysis dashboards.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.metrics.metric_types import MetricKey, SubKey
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2
from tensorflow_model_analysis.view import util
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as metrics_writer

from components.evaluation.wide_metrics import clean
from schemas.product import CATEGORY_DEPTH, SHOP
from schemas.taxonomy import Taxonomy

ROOT = "root"
_WEIGHT = "weighted_example_count"
_PAGE = Path(__file__).parent / "pages" / "tfma.html"
_VIEWER = Path(tfma.__file__).parent / "static" / "vulcanized_tfma.js"

SliceKey = tuple[tuple[str, Any], ...]
SlicedMetrics = tuple[SliceKey, dict[MetricKey, float]]


def write_tfma_files(
    folder: Path,
    metrics: Mapping[str, Any],
    taxonomy: Taxonomy,
    validation: validation_result_pb2.ValidationResult | None = None,
    data_location: str = "",
    model_location: str = "",
) -> None:
    """Writes `metrics`, `plots`, `attributions`, `validations` and `eval_config.json` into `folder`.

    Slices: none, `category_depth`, `root` (name), `shop`, and `FIELD_missing` (1 or 0). Outputs: `exclusive` and
    `rule_based`; nodes are sub keys, class number of the first and node number of the second, of the slice of all.

    Args:
        folder: made when missing.
        metrics: as `wide_metrics.wide_metrics` returns it.
        taxonomy: the tree behind the metrics.
        validation: the gate's result; without one a result that says nothing was validated.
        data_location: of the examples, for dashboards.
        model_location: of the model, for dashboards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sliced = list(sliced_metrics(metrics, taxonomy))
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for row in sliced:
            writer.write(metrics_writer.convert_slice_metrics_to_proto(row, None).SerializeToString())
    for name in ("plots", "attributions"):  # Empty, but TFMA expects them.
        tf.io.TFRecordWriter(str(folder / f"{name}-00000-of-00001.tfrecord")).close()
    with tf.io.TFRecordWriter(str(folder / "validations.tfrecord")) as writer:
        result = validation or validation_result_pb2.ValidationResult(validation_ok=False, missing_thresholds=True)
        writer.write(result.SerializeToString())
    run = config_pb2.EvalRun(
        eval_config=_eval_config(sliced),
        version=tfma.__version__,
        data_location=data_location,
        file_format="tfrecords",
        model_locations={"": model_location},
    )
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run), encoding="utf-8")


def sliced_metrics(metrics: Mapping[str, Any], taxonomy: Taxonomy) -> Iterator[SlicedMetrics]:
    """Yields TFMA's slice keys with the metrics that are defined there."""
    overall = _head_metrics(metrics["exclusive"]) | _rule_metrics(metrics["rule_based"]) | _node_metrics(metrics["by_node"], taxonomy)
    yield (), overall
    for depth, row in metrics["by_depth"].items():
        yield ((CATEGORY_DEPTH, int(depth)),), _head_metrics(row)
    for row in metrics["by_root"].values():
        yield ((ROOT, row["name"]),), _head_metrics(row)
    for shop, row in metrics["by_shop"].items():
        yield ((SHOP, shop),), _head_metrics(row)
    for field, sides in metrics["by_missing_field"].items():
        yield ((f"{field}_missing", 1),), _head_metrics(sides["missing"])
        yield ((f"{field}_missing", 0),), _head_metrics(sides["present"])


def _key(name: str, output: str, number: int | None = None) -> MetricKey:
    # A single-model result is only found under the empty model name.
    sub_key = None if number is None else SubKey(class_id=number)
    return MetricKey(name=name, model_name="", output_name=output, sub_key=sub_key, example_weighted=None)


def _head_metrics(row: Mapping[str, Any]) -> dict[MetricKey, float]:
    found = {_key(name, "exclusive"): float(value) for name, value in row.items() if isinstance(value, (int, float)) and name != "judged"}
    # The viewer sorts and filters slices by this one.
    found |= {_key(_WEIGHT, output): float(row["judged"]) for output in ("exclusive", "rule_based")}
    if row.get("rule_based_f1") is not None:
        del found[_key("rule_based_f1", "exclusive")]
        found[_key("f1_against_people", "rule_based")] = float(row["rule_based_f1"])
    return found


def _rule_metrics(head: Mapping[str, Any]) -> dict[MetricKey, float]:
    found = {}
    for judge in ("rules", "people"):
        for name, value in head[f"against_{judge}"].items():
            if isinstance(value, float):  # The counts beside the scores are whole numbers.
                found[_key(f"{name}_against_{judge}", "rule_based")] = float(value)
    return found


def _node_metrics(nodes: Mapping[str, Any], taxonomy: Taxonomy) -> dict[MetricKey, float]:
    classes = {node_id: number for number, node_id in enumerate(taxonomy.exclusive_ids)}
    found = {}
    for node_id, row in nodes.items():
        for name in ("precision", "recall", "f1", "judged", "loss"):
            if node_id in classes and row[name] is not None:
                found[_key(f"class_{name}", "exclusive", classes[node_id])] = float(row[name])
        for name in ("average_precision_rules", "average_precision_people"):
            if row[name] is not None:
                found[_key(name, "rule_based", taxonomy.index(node_id))] = float(row[name])
    return found


def _eval_config(sliced: Sequence[SlicedMetrics]) -> config_pb2.EvalConfig:
    columns = dict.fromkeys(tuple(column for column, _ in key) for key, _ in sliced)
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec(signature_name="score_all")])
    config.slicing_specs.extend(config_pb2.SlicingSpec(feature_keys=list(key)) for key in columns)
    return config


def write_tfma_page(path: Path, folder: Path) -> None:
    """Writes TFMA's slicing viewer over the results in `folder` as one self-contained page.

    Metrics of single nodes are left out: hundreds of columns can't be read, and report.html shows them.
    """
    result = tfma.load_eval_result(str(folder))
    columns = dict.fromkeys(key[0][0] for key, _ in result.slicing_metrics if key)
    config = clean(util.get_slicing_config(result.config, _WEIGHT))
    views = []
    for title, column in [("All judged products", None), *((_title(column), column) for column in columns)]:
        slices = util.get_slicing_metrics(result.slicing_metrics, column, None)
        for output in ("exclusive", "rule_based"):
            rows = [_of_output(row, output) for row in slices]
            views.append({"title": f"{title}: {output} head", "data": clean(rows), "config": config})
    payload = base64.b64encode(json.dumps(views, allow_nan=False).encode()).decode()
    script = _VIEWER.read_text(encoding="utf-8").replace("</script", "<\\/script")
    page = jinja2.Environment(autoescape=True).from_string(_PAGE.read_text(encoding="utf-8"))
    path.write_text(page.render(payload=payload, script=script), encoding="utf-8")


def _title(column: str) -> str:
    names = {CATEGORY_DEPTH: "By depth of the category", ROOT: "By root category", SHOP: "By shop"}
    return names.get(column, f"By {column.removesuffix('_missing')}: missing (1) or there (0)")


def _of_output(row: Mapping[str, Any], output: str) -> dict[str, Any]:
    # Under an output's own name the viewer shows nothing until somebody picks the output from a menu.
    return {"slice": row["slice"], "metrics": {"": {"": row["metrics"].get(output, {}).get("", {})}}}
