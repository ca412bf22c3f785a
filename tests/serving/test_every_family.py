"""Every signature of every model family loads and answers through TensorFlow's C library, with stock operations only."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tfx.components.trainer.fn_args_utils import FnArgs

from schemas.features import CATEGORICAL, DENSE, NUMERIC, TEXT, Feature, FeatureConfig
from serving.model_server.c_library import CSession
from tests.support.examples import example
from tests.trainer_module.catalogue import VECTOR_SIZE, products, taxonomy
from tests.trainer_module.rounds import analysed, files_of, training_config, transform
from trainer_module.trainer import run_fn
from trainer_module.zoo.registry import FAMILIES

pytestmark = pytest.mark.slow

CONFIG = FeatureConfig(
    (
        Feature("title", TEXT, ("title",)),
        Feature("brand", CATEGORICAL, ("brand",), dimensions=3),
        Feature("price", NUMERIC, ("price",)),
        Feature("picture", DENSE, ("image_vector",), dimensions=VECTOR_SIZE),
    )
)
ROWS = [example(row).SerializeToString() for row in products(5, seed=9)]
SHORT = [{"epochs": 0.1, "rule_based": 0.5, "exclusive": 0.5}]
SIGNATURES = {"serving_default", "predict_products", "embed", "classify", "score_all", "transform_features"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    root, rows = tmp_path_factory.mktemp("graph"), products(40)
    analysed(root, CONFIG, rows)
    transform(root, CONFIG, [example(row).SerializeToString() for row in rows], root / "transformed")
    return root


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def model(request, graph, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param) / "model"
    config = training_config(graph, CONFIG, taxonomy(), family=request.param, phases=SHORT)
    run_fn(
        FnArgs(
            train_files=files_of(graph / "transformed"), transform_graph_path=str(graph), serving_model_dir=str(out), custom_config=config
        )
    )
    return out


def inputs_of(signature):
    if set(signature.inputs) <= {"examples", "inputs"}:
        return {name: np.array(ROWS, object) for name in signature.inputs}
    empty = {
        name: np.array([b""] * 5, object)
        if info.dtype == 7
        else np.full([5, *(d.size for d in info.tensor_shape.dim[1:])], 0.5, np.float32)
        for name, info in signature.inputs.items()
    }
    return {**empty, "title": np.array([b"Nice Boots", b"", "ÄÖÜ".encode(), b"Dress", b"Bag"], object)}


def test_every_signature_answers_through_the_c_library(model):
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # Seconds for each signature, and nothing to be tested here.
    session = CSession(model, config)
    assert set(session.meta_graph.signature_def) - {"__saved_model_init_op"} == SIGNATURES
    found = {name: call(session, name) for name in SIGNATURES}
    session.close()
    assert all(len(array) == 5 and finite(array) for outputs in found.values() for array in outputs.values())
    scores = found["score_all"]
    np.testing.assert_allclose(scores["exclusive"].sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(found["classify"]["scores"], scores["exclusive"], atol=1e-5)
    np.testing.assert_allclose(found["embed"]["embedding"], scores["embedding"], atol=1e-5)
    best = np.sort(scores["exclusive"], axis=1)[:, ::-1][:, :4]
    np.testing.assert_allclose(found["serving_default"]["exclusive_probabilities"], best, atol=1e-5)
    assert found["predict_products"].keys() == found["serving_default"].keys()


def call(session, name):
    signature = session.meta_graph.signature_def[name]
    inputs, fetches = inputs_of(signature), list(signature.outputs)
    feeds = [session.output(signature.inputs[key].name) for key in inputs]
    places = [session.output(signature.outputs[key].name) for key in fetches]
    return dict(zip(fetches, session.run(name, feeds, list(inputs.values()), places), strict=True))


def finite(array):
    return array.dtype.kind == "O" or bool(np.isfinite(array).all())


@pytest.mark.parametrize("model", ["few_shot"], indirect=True)
def test_a_product_gets_the_same_to_the_bit_alone_as_among_others(model):
    session = CSession(model, config_pb2.ConfigProto())
    for name in ("serving_default", "classify", "score_all", "predict_products"):
        signature = session.meta_graph.signature_def[name]
        inputs, fetches = inputs_of(signature), list(signature.outputs)
        feeds = [session.output(signature.inputs[key].name) for key in inputs]
        places = [session.output(signature.outputs[key].name) for key in fetches]
        together = session.run(name, feeds, list(inputs.values()), places)
        for row in range(5):
            alone = session.run(name, feeds, [array[row : row + 1] for array in inputs.values()], places)
            for key, one, whole in zip(fetches, alone, together, strict=True):
                np.testing.assert_array_equal(one, whole[row : row + 1], err_msg=f"{name} {key}")
    session.close()


def test_a_loaded_model_answers_when_its_folder_is_gone(model, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    session = CSession(copy, config_pb2.ConfigProto())
    before = call(session, "score_all")
    shutil.rmtree(copy)
    for name, array in call(session, "score_all").items():
        np.testing.assert_array_equal(array, before[name])
    session.close()


def test_every_operation_is_one_that_stock_tensorflow_serving_has(model):
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    used = {node.op for node in graph.node} | {node.op for function in graph.library.function for node in function.node_def}
    functions = {function.signature.name for function in graph.library.function}
    core = {name for name in dir(tf.raw_ops) if not name.startswith("_")} | {"NoOp", "Placeholder", "StatefulPartitionedCall"}
    assert used - functions - core == set()
    # What another library registers when it is imported is in raw_ops for nobody; a call out of the graph is, and can't be served.
    assert not used & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "NumpyFunction"}
