"""Requests of real products that a server runs before a model takes any; the same products give the same bytes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.folder_digest import folder_sha256
from components.warmup_requests import WARMUP_FILE, write_warmup
from serving.model_server.model_config import ModelConfig
from serving.model_server.server import ModelServer, ServerOptions
from tests.support.examples import write_examples
from tests.support.shop import judged_products, shop_taxonomy
from tests.support.toy_model import write_toy_model


def written(tmp_path, count=12):
    write_toy_model(tmp_path / "models" / "toy" / "1", shop_taxonomy())
    write_examples(tmp_path / "examples", [{**row, "split": "dev"} for row in judged_products(shop_taxonomy(), count)])
    return tmp_path / "models" / "toy" / "1", tmp_path / "examples" / "Split-dev"


def test_a_server_answers_every_request_before_the_model_is_available(tmp_path):
    model, folder = written(tmp_path)
    assert write_warmup(model, folder) == 7
    logs = [
        prediction_log_pb2.PredictionLog.FromString(one) for one in tf.data.TFRecordDataset(str(model / WARMUP_FILE)).as_numpy_iterator()
    ]
    named = {log.predict_log.request.model_spec.signature_name: log.predict_log.request for log in logs if log.HasField("predict_log")}
    assert set(named) == {"serving_default", "predict_products", "embed"}
    titles = tf.make_ndarray(named["predict_products"].inputs["title"])
    assert len(titles) == 8
    assert all(titles)
    assert np.isnan(tf.make_ndarray(named["predict_products"].inputs["price"])).any()
    examples = [tf.train.Example.FromString(raw) for raw in tf.make_ndarray(named["serving_default"].inputs["examples"])]
    assert {name for example in examples for name in example.features.feature} & {"answer_node", "rule_nodes", "rule_ids"} == set()
    server = ModelServer(ServerOptions(models=(ModelConfig("toy", model.parent),), port=0, rest_api_port=0))
    server.start()
    assert server.models.used_signatures("toy") == {"serving_default", "predict_products", "embed", "classify"}
    server.stop(1)


def test_the_same_model_and_products_give_the_same_bytes(tmp_path):
    model, folder = written(tmp_path)
    write_warmup(model, folder)
    digest = folder_sha256(model)
    write_warmup(model, folder)
    assert folder_sha256(model) == digest


def test_without_products_there_is_no_file(tmp_path):
    model, _ = written(tmp_path)
    assert write_warmup(model, tmp_path / "none") == 0
    assert not (model / WARMUP_FILE).exists()
