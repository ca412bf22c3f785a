"""Calls every signature of a SavedModel in a fresh process, as TF Serving will, and says what is wrong.

Command: python -m components.smoke_testing MODEL EXAMPLES_FILE... writes one JSON object on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schemas.errors import AisleError, ModelError
from schemas.product import BRAND, ID, TITLE

SIGNATURES = ("serving_default", "predict_products", "embed", "classify", "score_all", "transform_features")
PRODUCTS = 8
_TIMEOUT_S = 300
_IMAGE = "image"
_TOLERANCE = 1e-4
_ODD_TITLES = ("\u202e\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U0001f45f e\u0301 \u0000 ẞ", "", "x" * 5000, None)
Outputs = Mapping[str, npt.NDArray[Any]]
Call = Callable[[str, Mapping[str, npt.NDArray[Any]]], Outputs]


@dataclass(frozen=True)
class SmokeReport:
    """What a smoke test found.

    Attributes:
        problems: one sentence each; none: the model may go live.
        products: how many products every signature was called with.
        seconds: taken by the child process without its imports.
    """

    problems: tuple[str, ...]
    products: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def smoke_test_in_fresh_process(model: Path, example_files: Sequence[str], products: int = PRODUCTS) -> SmokeReport:
    """Returns what a new Python process finds; one that dies or hangs is a finding too, not an error.

    Args:
        model: folder of the SavedModel.
        example_files: GZIP TFRecords of labelled examples; the first `products` are used.
        products: how many, at least 1.
    """
    command = [sys.executable, "-m", "components.smoke_testing", str(model), *example_files, "--products", str(products)]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=os.environ | quiet, check=False)
    except subprocess.TimeoutExpired:
        return SmokeReport((f"the process was still busy after {_TIMEOUT_S} s",), 0, float(_TIMEOUT_S))
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return SmokeReport(tuple(found["problems"]), found["products"], found["seconds"])
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return SmokeReport((f"the process ended with code {done.returncode}: {last[:300]}",), 0, 0.0)


def smoke_test(model: Path, serialized: Sequence[bytes]) -> list[str]:
    """Returns what is wrong with a SavedModel, in sentences; nothing for one that may go live.

    Every signature is called through both loaders: `tf.saved_model.load`, and the TF1 loader into a session, which finds
    variables and assets the way TF Serving does.

    Args:
        model: folder of the SavedModel.
        serialized: labelled examples to call it with.
    """
    description = json.loads((model / "assets.extra" / "model.json").read_text(encoding="utf-8"))
    loaded = tf.saved_model.load(str(model))
    missing = [name for name in SIGNATURES if name not in loaded.signatures]
    if missing:
        return [f"signature {name!r} is missing" for name in missing]
    inputs = {name: _inputs(loaded.signatures[name], serialized) for name in SIGNATURES}
    eager = {name: _call_eagerly(loaded.signatures[name], inputs[name]) for name in SIGNATURES}
    problems = list(_problems(eager, description, len(serialized)))
    alone = _call_eagerly(loaded.signatures[SIGNATURES[0]], _inputs(loaded.signatures[SIGNATURES[0]], serialized[:1]))
    problems += _differences("serving_default with one product", {k: v[:1] for k, v in eager["serving_default"].items()}, alone)
    problems += _differences("predict_products beside serving_default", *_both_ways(loaded.signatures, description, serialized, eager))
    for name, outputs in _call_in_session(model, inputs).items():
        problems += _differences(f"{name} through the TF1 loader", eager[name], outputs)
    return problems


def odd_products(serialized: Sequence[bytes]) -> list[bytes]:
    """Returns the examples with fields missing and text that feeds really hold, in place of the last of them.

    The first half stays as it is; then come odd titles in turn, none at all among them, each with most other fields gone.
    """
    found = list(serialized[: max(1, len(serialized) // 2)])
    for number, raw in enumerate(serialized[len(found) :]):
        example = tf.train.Example.FromString(raw)
        odd = tf.train.Example()
        for name in (ID, BRAND) if number % 2 else (ID,):
            if name in example.features.feature:
                odd.features.feature[name].CopyFrom(example.features.feature[name])
        title = _ODD_TITLES[number % len(_ODD_TITLES)]
        if title is not None:
            odd.features.feature[TITLE].bytes_list.value.append(title.encode())
        found.append(odd.SerializeToString())
    return found


def read_examples(paths: Sequence[str], count: int) -> list[bytes]:
    """Returns the first examples of GZIP TFRecords.

    Raises:
        ModelError: there are none.
    """
    found = list(islice(tf.data.TFRecordDataset(list(paths), compression_type="GZIP").as_numpy_iterator(), count))
    if not found:
        raise ModelError(f"{', '.join(paths) or 'no files'}: there are no examples to call the model with. Run LabelJoin first.")
    return found


def _inputs(signature: Any, serialized: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    specs = signature.structured_input_signature[1]
    if len(specs) == 1 and next(iter(specs)) in ("examples", "inputs"):
        return {next(iter(specs)): np.array(list(serialized), dtype=object)}
    examples = [tf.train.Example.FromString(raw) for raw in serialized]
    rows = {name: [_field(example, name, spec) for example in examples] for name, spec in specs.items()}
    return {name: np.array(rows[name], spec.dtype.as_numpy_dtype) for name, spec in specs.items()}


def _field(example: tf.train.Example, name: str, spec: tf.TensorSpec) -> Any:
    """Returns a product's value of one input: empty text, NaN or a vector of zeros where the product has none."""
    feature = example.features.feature.get(name, None)
    if spec.dtype == tf.string:
        return feature.bytes_list.value[0] if feature and feature.bytes_list.value else b""
    values = list(feature.float_list.value) if feature else []
    if spec.shape.rank == 1:
        return np.float32(values[0] if values else np.nan)
    return np.array(values or np.zeros(spec.shape[1]), np.float32)


def _both_ways(
    signatures: Mapping[str, Any], description: Mapping[str, Any], serialized: Sequence[bytes], eager: Mapping[str, Outputs]
) -> tuple[Outputs, Outputs]:
    """Returns what serving_default and predict_products say of the products that can be told to both alike.

    An example holds the vector of its text, which predict_products makes anew: the two must agree. It holds the vector of its
    picture, too, but not the picture, so that vector is left out.
    """
    pictures = [encoder["name"] for encoder in description.get("encoders", ()) if encoder["reads"] == _IMAGE]
    served, direct = eager["serving_default"], eager["predict_products"]
    if pictures:
        served = _call_eagerly(
            signatures["serving_default"], _inputs(signatures["serving_default"], [_without(raw, pictures) for raw in serialized])
        )
    rows = _comparable(signatures["predict_products"], serialized)
    return {name: value[rows] for name, value in served.items()}, {name: value[rows] for name, value in direct.items()}


def _without(serialized: bytes, names: Sequence[str]) -> bytes:
    example = tf.train.Example.FromString(serialized)
    for name in names:
        example.features.feature.pop(name, None)
    return bytes(example.SerializeToString())


def _comparable(signature: Any, serialized: Sequence[bytes]) -> list[int]:
    """Returns the products whose dense fields are all there: only they say the same through both signatures."""
    dense = [name for name, spec in signature.structured_input_signature[1].items() if spec.shape.rank == 2]
    examples = [tf.train.Example.FromString(raw) for raw in serialized]
    return [row for row, example in enumerate(examples) if all(name in example.features.feature for name in dense)]


def _call_eagerly(signature: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
    return {name: value.numpy() for name, value in signature(**{name: tf.constant(value) for name, value in inputs.items()}).items()}


def _call_in_session(model: Path, inputs: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> dict[str, Outputs]:
    found: dict[str, Outputs] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(model))
        for name, given in inputs.items():
            signature = meta.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in given.items()}
            found[name] = session.run({key: info.name for key, info in signature.outputs.items()}, feed)
    return found


def _problems(found: Mapping[str, Outputs], description: Mapping[str, Any], num_products: int) -> Iterator[str]:
    for name, outputs in found.items():
        for key, value in outputs.items():
            if not value.shape or value.shape[0] != num_products:
                yield f"{name}: {key} has the shape {list(value.shape)}, expected {num_products} rows"
            elif value.dtype.kind == "f" and not np.isfinite(value).all():
                yield f"{name}: {key} holds numbers that aren't finite"
    exclusive = [node["id"] for node in description["nodes"] if node["exclusive"]]
    nodes = [node["id"] for node in description["nodes"]]
    yield from _classify_problems(found["classify"], exclusive)
    yield from _score_problems(found["score_all"], len(exclusive), len(nodes))
    for name in ("serving_default", "predict_products"):
        yield from _head_problems(name, found[name], "exclusive", exclusive, int(description["top_k"]))
        yield from _head_problems(name, found[name], "rule_based", nodes, int(description["top_k"]))
        yield from _embedding_problems(name, found[name], int(description["embedding_dimension"]))
    yield from _top_problems(found["serving_default"], found["score_all"], exclusive)


def _classify_problems(outputs: Outputs, exclusive: list[str]) -> Iterator[str]:
    classes = outputs["classes"].astype(bytes)
    if classes.shape[1:] != (len(exclusive),) or not (classes == np.array([node.encode() for node in exclusive])).all():
        yield f"classify: classes aren't the {len(exclusive)} exclusive nodes of model.json in tree order"
    if not _sums_to_one(outputs["scores"]):
        yield "classify: scores of a product don't sum to 1"


def _score_problems(outputs: Outputs, num_exclusive: int, num_nodes: int) -> Iterator[str]:
    for head, width in (("exclusive", num_exclusive), ("rule_based", num_nodes)):
        if outputs[head].shape[1:] != (width,):
            yield f"score_all: {head} has the shape {list(outputs[head].shape)}, expected {width} nodes"
        if not ((outputs[head] >= 0) & (outputs[head] <= 1 + _TOLERANCE)).all():
            yield f"score_all: {head} holds a probability outside 0 to 1"
    if not _sums_to_one(outputs["exclusive"]):
        yield "score_all: exclusive probabilities of a product don't sum to 1"


def _sums_to_one(scores: npt.NDArray[Any]) -> bool:
    return bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def _head_problems(name: str, outputs: Outputs, head: str, known: list[str], top_k: int) -> Iterator[str]:
    nodes, probabilities = outputs[f"{head}_nodes"], outputs[f"{head}_probabilities"]
    width = min(top_k, len(known))
    if nodes.shape[1:] != (width,) or probabilities.shape != nodes.shape:
        yield f"{name}: {head} has the shapes {list(nodes.shape)} and {list(probabilities.shape)}, expected {width} nodes of each product"
    unknown = set(nodes.reshape(-1).tolist()) - {node.encode() for node in known}
    if unknown:
        yield f"{name}: {head}_nodes holds {sorted(unknown)[0]!r}, which isn't in model.json"
    if (np.diff(probabilities, axis=1) > _TOLERANCE).any():
        yield f"{name}: {head}_probabilities aren't in falling order"


def _embedding_problems(name: str, outputs: Outputs, dimension: int) -> Iterator[str]:
    embedding = outputs["embedding"]
    if embedding.shape[1:] != (dimension,):
        yield f"{name}: embedding has the shape {list(embedding.shape)}, model.json says dimension {dimension}"
    norms = np.linalg.norm(embedding, axis=1)
    if not (np.isclose(norms, 1, atol=1e-3) | (norms == 0)).all():
        yield f"{name}: an embedding has length {norms[np.argmax(np.abs(norms - 1))]:.4f}, expected 1"


def _top_problems(served: Outputs, scores: Outputs, exclusive: list[str]) -> Iterator[str]:
    """Compares the best nodes and the entropy with the scores of all nodes."""
    places = {node.encode(): place for place, node in enumerate(exclusive)}
    columns = np.array([[places.get(node, 0) for node in row] for row in served["exclusive_nodes"].tolist()], np.int64)
    probabilities = np.take_along_axis(scores["exclusive"], columns, axis=1)
    best = -np.sort(-scores["exclusive"], axis=1)[:, : columns.shape[1]]
    pairs = ((served["exclusive_probabilities"], probabilities), (probabilities, best))
    if not all(np.allclose(left, right, atol=_TOLERANCE) for left, right in pairs):
        yield "serving_default: exclusive_nodes and their probabilities aren't the best of score_all"
    safe = np.maximum(scores["exclusive"].astype(np.float64), 1e-30)
    if not np.allclose(served["exclusive_entropy"], -(safe * np.log(safe)).sum(axis=1), atol=1e-2):
        yield "serving_default: exclusive_entropy isn't the entropy of score_all's exclusive probabilities"


def _differences(what: str, expected: Outputs, found: Outputs) -> list[str]:
    if set(expected) != set(found):
        return [f"{what}: has the outputs {', '.join(sorted(found))}, expected {', '.join(sorted(expected))}"]
    return [f"{what}: {name} differs" for name in sorted(expected) if not _same(name, expected, found)]


def _same(name: str, expected: Outputs, found: Outputs) -> bool:
    if expected[name].shape != found[name].shape:
        return False
    if expected[name].dtype.kind != "O":
        return bool(np.allclose(expected[name], found[name], atol=_TOLERANCE, equal_nan=True))
    differs = expected[name] != found[name]
    probabilities = expected.get(name.replace("_nodes", "_probabilities"))
    return not differs.any() or (name.endswith("_nodes") and probabilities is not None and bool(_tied(probabilities)[differs].all()))


def _tied(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns where a probability is as good as that of the next or the last rank, so that either node may stand there."""
    close = np.abs(np.diff(probabilities, axis=1)) <= _TOLERANCE
    edge = np.ones((len(probabilities), 1), bool)  # The last rank may tie with the first that isn't shown.
    first = np.zeros((len(probabilities), 1), bool)
    return np.asarray(np.concatenate([close, edge], axis=1) | np.concatenate([first, close], axis=1), np.bool_)


def main(arguments: Sequence[str]) -> int:
    """Runs the smoke test and prints its report; the exit code is 0 however it ends, as long as there is a report."""
    parser = argparse.ArgumentParser(prog="python -m components.smoke_testing", description=__doc__)
    parser.add_argument("model", type=Path, help="folder of the SavedModel")
    parser.add_argument("examples", nargs="+", help="GZIP TFRecords of labelled examples")
    parser.add_argument("--products", type=int, default=PRODUCTS, help="how many products to call it with")
    given = parser.parse_args(arguments)
    started_s = time.monotonic()
    serialized: list[bytes] = []
    try:
        serialized = odd_products(read_examples(given.examples, given.products))
        problems = smoke_test(given.model, serialized)
    except (AisleError, tf.errors.OpError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        problems = [f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else 'no message'}"]
    report = SmokeReport(tuple(problems), len(serialized), round(time.monotonic() - started_s, 3))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
