"""Holds an exported model to docs/contracts.md."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from schemas.taxonomy import node_fingerprint
from tests.support.examples import example
from tests.trainer_module.catalogue import EVERY_FEATURE, VECTOR_SIZE, products, taxonomy

pytestmark = pytest.mark.slow

TREE = taxonomy()
TOP_K = 4
NUM_CLASSES, NUM_NODES, DEPTH = len(TREE.exclusive), len(TREE), max(TREE.depths)
ROWS = products(20, seed=5)


@pytest.fixture(scope="module")
def signatures(trained):
    return tf.saved_model.load(str(trained.model)).signatures


def examples(rows=ROWS):
    return tf.constant([example(row).SerializeToString() for row in rows], tf.string)


def call(signatures, name, rows=ROWS):
    return {
        key: value.numpy() for key, value in signatures[name](**{"inputs" if name == "classify" else "examples": examples(rows)}).items()
    }


TOP = {
    "exclusive_nodes": (tf.string, [None, TOP_K]),
    "exclusive_probabilities": (tf.float32, [None, TOP_K]),
    "exclusive_entropy": (tf.float32, [None]),
    "rule_based_nodes": (tf.string, [None, TOP_K]),
    "rule_based_probabilities": (tf.float32, [None, TOP_K]),
    "embedding": (tf.float32, [None, 0]),
    "decision": (tf.string, [None]),
    "accepted_node": (tf.string, [None]),
    "confidence": (tf.float32, [None]),
}
LABELS = {
    "answer_class": (np.int64, (20,)),
    "answer_chain": (np.int64, (20, DEPTH)),
    "answer_weight": (np.float32, (20,)),
    "rule_targets": (np.float32, (20, NUM_NODES)),
    "rule_weight": (np.float32, (20,)),
}


def test_the_signatures_are_those_of_the_contract(signatures):
    assert set(signatures) == {"serving_default", "predict_products", "embed", "classify", "score_all", "transform_features"}


@pytest.mark.parametrize("name", ["serving_default", "predict_products"])
def test_the_top_of_both_heads_has_the_contracts_types_and_shapes(signatures, trained, name):
    model = json.loads((trained.model / "assets.extra" / "model.json").read_text(encoding="utf-8"))
    expected = {**TOP, "embedding": (tf.float32, [None, model["embedding_dimension"]])}
    assert {key: (spec.dtype, spec.shape.rank) for key, spec in signatures[name].structured_outputs.items()} == {
        key: (dtype, len(shape)) for key, (dtype, shape) in expected.items()
    }
    found = call(signatures, "serving_default")
    for key, (dtype, shape) in expected.items():
        assert found[key].shape == tuple(20 if size is None else size for size in shape), key
        assert dtype == tf.string or found[key].dtype == dtype.as_numpy_dtype, key


def test_named_inputs_are_the_fields_of_the_feature_config(signatures):
    specs = signatures["predict_products"].structured_input_signature[1]
    expected = {field: (tf.string, [None]) for field in EVERY_FEATURE.string_fields}
    expected |= {"price": (tf.float32, [None]), "image_vector": (tf.float32, [None, VECTOR_SIZE])}
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in specs.items()} == expected


def test_the_top_nodes_are_ids_best_first_and_agree_with_every_score(signatures):
    top, every = call(signatures, "serving_default"), call(signatures, "score_all")
    for head, ids in (("exclusive", TREE.exclusive_ids), ("rule_based", TREE.ids)):
        order = np.argsort(-every[head], axis=1, kind="stable")[:, :TOP_K]
        assert [[node.decode() for node in row] for row in top[f"{head}_nodes"]] == [[ids[i] for i in row] for row in order]
        np.testing.assert_allclose(top[f"{head}_probabilities"], np.take_along_axis(every[head], order, 1), rtol=1e-6)


def test_probabilities_of_the_exclusive_head_sum_to_one_and_give_the_entropy(signatures):
    top, every = call(signatures, "serving_default"), call(signatures, "score_all")
    assert every["exclusive"].shape == (20, NUM_CLASSES)
    assert every["rule_based"].shape == (20, NUM_NODES)
    np.testing.assert_allclose(every["exclusive"].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(top["exclusive_entropy"], -(every["exclusive"] * np.log(every["exclusive"])).sum(1), rtol=1e-4)
    assert ((every["rule_based"] >= 0) & (every["rule_based"] <= 1)).all()


def test_the_chain_of_the_best_node_is_fingerprints_padded_with_zeros(signatures):
    every = call(signatures, "score_all")
    assert every["exclusive_chain"].shape == (20, DEPTH)
    for row, best in zip(every["exclusive_chain"], every["exclusive"].argmax(1), strict=True):
        chain = [node_fingerprint(TREE[i].id) for i in TREE.chain(TREE.exclusive_ids[best])]
        assert row.tolist() == chain + [0] * (DEPTH - len(chain))


def test_embeddings_have_unit_length_and_are_the_same_everywhere(signatures):
    embedding = call(signatures, "embed")["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(embedding, call(signatures, "serving_default")["embedding"])
    np.testing.assert_array_equal(embedding, call(signatures, "score_all")["embedding"])


def test_classify_names_every_exclusive_node_with_its_probability(signatures, trained):
    found = call(signatures, "classify")
    assert set(found) == {"classes", "scores"}
    assert [[node.decode() for node in row] for row in found["classes"]] == [TREE.exclusive_ids] * 20
    np.testing.assert_array_equal(found["scores"], call(signatures, "score_all")["exclusive"])
    saved = saved_model_pb2.SavedModel.FromString((trained.model / "saved_model.pb").read_bytes())
    methods = {name: signature.method_name for name, signature in saved.meta_graphs[0].signature_def.items()}
    assert methods["classify"] == "tensorflow/serving/classify"
    assert methods["serving_default"] == methods["predict_products"] == "tensorflow/serving/predict"


def test_the_labels_are_those_tfma_reads(signatures):
    found = call(signatures, "transform_features")
    for name, (dtype, shape) in LABELS.items():
        assert (found[name].dtype, found[name].shape) == (dtype, shape), name
    for k, row in enumerate(ROWS):
        answer = row.get("answer_node")
        assert found["answer_weight"][k] == (answer is not None)
        assert found["answer_class"][k] == (TREE.exclusive_ids.index(answer) if answer else -1)
        assert [TREE.ids[i] for i in np.flatnonzero(found["rule_targets"][k])] == row.get("rule_nodes", [])
        assert found["rule_weight"][k] == ("rule_nodes" in row)
        if answer:
            assert [n for n in found["answer_chain"][k] if n] == [node_fingerprint(TREE[i].id) for i in TREE.chain(answer)]


def test_an_answer_at_a_node_the_model_does_not_know_counts_and_matches_nothing(signatures):
    found = call(
        signatures, "transform_features", [{"id": "x", "title": "t", "answer_node": "gone", "rule_nodes": ["gone", "bags", "bags"]}]
    )
    assert found["answer_class"].tolist() == [-1]
    assert found["answer_weight"].tolist() == [1]
    assert found["answer_chain"].tolist() == [[-1, 0, 0]]
    assert [TREE.ids[i] for i in np.flatnonzero(found["rule_targets"][0])] == ["bags"]


@pytest.mark.parametrize("rows", [[], [{"id": "x"}], [{}]], ids=["no product", "nothing but an id", "an empty example"])
def test_a_batch_with_nothing_in_it_is_answered(signatures, rows):
    for name in ("serving_default", "embed", "classify", "score_all", "transform_features"):
        for key, value in call(signatures, name, rows).items():
            assert len(value) == len(rows), key
            assert value.dtype == object or np.isfinite(value).all(), (name, key)


_FRESH = """
import sys
import numpy as np, tensorflow as tf
folder, records, out = sys.argv[1:]
assert not any("main" in path.split("/") for path in sys.path if path.endswith("/main")), sys.path
examples = tf.constant(list(tf.data.TFRecordDataset(records).as_numpy_iterator()))
found = {k: v.numpy() for k, v in tf.saved_model.load(folder).signatures["serving_default"](examples=examples).items()}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    signature = meta.signature_def["serving_default"]
    fetched = {k: v.name for k, v in signature.outputs.items()}
    one = session.run(fetched, {signature.inputs["examples"].name: examples.numpy()})
for name, value in found.items():
    np.testing.assert_array_equal(value, one[name], err_msg=name)
np.savez(out, **{k: v.astype("S") if v.dtype == object else v for k, v in found.items()})
assert not any(name.split(".")[0] in ("trainer_module", "schemas", "tensorflow_transform") for name in sys.modules)
"""


def test_a_fresh_process_without_our_code_loads_it_in_tf2_and_tf1_and_gets_the_same(signatures, trained, tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "examples")) as writer:
        for record in examples().numpy():
            writer.write(record)
    command = [sys.executable, "-I", "-c", _FRESH, str(trained.model), str(tmp_path / "examples"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "out.npz")
    for name, value in call(signatures, "serving_default").items():
        np.testing.assert_array_equal(found[name], value.astype("S") if value.dtype == object else value, err_msg=name)


def test_the_model_describes_itself(trained):
    extra = trained.model / "assets.extra"
    described = {"model.json", "hyperparameters.json", "acceptance.json"}
    assert {path.name for path in extra.iterdir()} == described | {"warm_start.npz", "warm_start.json"}
    model = json.loads((extra / "model.json").read_text(encoding="utf-8"))
    assert [(n["id"], n["parent_id"], n["name"], n["exclusive"]) for n in model["nodes"]] == [
        (n.id, n.parent_id, n.name, n.exclusive) for n in TREE
    ]
    assert (model["family"], model["top_k"]) == ("feed_forward", TOP_K)
    assert [feature["name"] for feature in model["features"]] == [feature.name for feature in EVERY_FEATURE]
    assert model["made_from"] == {"feeds_sha256": "f"}
