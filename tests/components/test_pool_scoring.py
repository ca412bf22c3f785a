"""Scoring a pool: what the SavedModel says of each product, with its fields, in blocks."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.pool_scoring import ChosenModel, Scorer, choose_model, read_model_description, score_file, split_files
from components.scored_pool import COLUMNS, SCHEMA
from schemas.errors import ModelError
from schemas.taxonomy import Node, Taxonomy
from tests.components.toy_pool import TREE, toy_products, write_toy_pool
from tests.support.examples import example, write_examples
from tests.support.toy_model import write_toy_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("toy")
    write_toy_pool(found, 200)
    return found


@pytest.fixture(scope="module")
def scorer(folder):
    return Scorer(str(folder / "model"))


def scored(scorer, folder, split="dev", block_products=64) -> pa.Table:
    file = BytesIO()
    count = score_file(scorer, split_files(folder / "examples", split)[0], split, file, block_products)
    table = pq.read_table(BytesIO(file.getvalue()))
    assert table.num_rows == count
    return table


def serialized(*products) -> np.ndarray:
    return np.array([example(product).SerializeToString() for product in products], dtype=object)


def test_scores_are_those_of_the_signature(scorer, folder):
    products = [product for product in toy_products(200) if product["split"] == "dev"]
    outputs = tf.saved_model.load(str(folder / "model")).signatures["serving_default"](examples=tf.constant(serialized(*products)))
    table = scored(scorer, folder)
    assert table["product_id"].to_pylist() == [product["id"] for product in products]
    assert table["exclusive_nodes"].to_pylist() == [[node.decode() for node in row] for row in outputs["exclusive_nodes"].numpy()]
    for name in ("exclusive_probabilities", "rule_based_probabilities", "embedding"):
        assert np.allclose(np.array(table[name].to_pylist()), outputs[name].numpy(), atol=1e-6)
    assert np.allclose(table["exclusive_entropy"].to_numpy(), outputs["exclusive_entropy"].numpy(), atol=1e-6)


def test_a_model_that_promises_nothing_asks_about_everything(scorer, folder):
    table = scored(scorer, folder)
    assert set(table["decision"].to_pylist()) == {"ask"} and set(table["accepted_node"].to_pylist()) == {""}
    assert table["confidence"].to_pylist() == [row[0] for row in table["exclusive_probabilities"].to_pylist()]


@pytest.mark.parametrize("block_products", [1, 7, 1000])
def test_the_size_of_a_block_changes_nothing(scorer, folder, block_products):
    expected, found = scored(scorer, folder), scored(scorer, folder, block_products=block_products)
    for name in COLUMNS:
        if pa.types.is_list(SCHEMA.field(name).type) and pa.types.is_float32(SCHEMA.field(name).type.value_type):
            assert np.allclose(np.array(found[name].to_pylist()), np.array(expected[name].to_pylist()), atol=1e-6)
        elif name != "exclusive_entropy":
            assert found[name].to_pylist() == expected[name].to_pylist()


def test_columns_are_those_of_the_contract(scorer, folder):
    assert scored(scorer, folder).schema.equals(SCHEMA)


def test_fields_that_a_product_lacks_are_null(scorer):
    batch = scorer.score(serialized({"id": "p", "title": "Boots", "group": "g"}), "dev")
    row = {name: batch.column(i)[0].as_py() for i, name in enumerate(batch.schema.names)}
    assert (row["product_id"], row["title"], row["group"], row["split"]) == ("p", "Boots", "g", "dev")
    assert (row["brand"], row["price"], row["answered"], row["rule_ids"]) == (None, None, False, [])


def test_a_field_with_several_values_gives_the_first(scorer):
    batch = scorer.score(serialized({"id": ["p", "q"], "title": "Boots", "group": "g", "price": [2.5, 3.5]}), "dev")
    table = pa.Table.from_batches([batch])
    assert (table["product_id"].to_pylist(), table["price"].to_pylist()) == (["p"], [2.5])


def test_text_that_is_not_utf8_is_replaced_not_fatal(scorer):
    broken = example({"id": "p", "group": "g"})
    broken.features.feature["title"].bytes_list.value.append(b"caf\xe9 boots")
    batch = scorer.score(np.array([broken.SerializeToString()], dtype=object), "dev")
    assert batch.column(batch.schema.get_field_index("title")).to_pylist() == ["caf\ufffd boots"]


def test_an_answer_marks_the_product_answered(scorer):
    batch = scorer.score(serialized({"id": "p", "title": "x", "group": "g", "answer_node": "k"}), "dev")
    assert batch.column(batch.schema.get_field_index("answered")).to_pylist() == [True]


def test_a_file_without_examples_gives_an_empty_file(scorer, tmp_path):
    write_examples(tmp_path / "examples", [])
    assert scored(scorer, tmp_path).num_rows == 0


def test_files_of_a_split_come_in_order_without_hidden_ones(tmp_path):
    (tmp_path / "Split-dev").mkdir()
    first, second = "examples-00000-of-00002.gz", "examples-00001-of-00002.gz"
    for name in (second, first, ".partial"):
        (tmp_path / "Split-dev" / name).touch()
    assert [path.rpartition("/")[2] for path in split_files(tmp_path, "dev")] == [first, second]


def test_the_candidate_scores_if_blessed_or_alone():
    assert choose_model("new", True, "live", 7) == ChosenModel("new", "candidate", 0)
    assert choose_model("new", False, "live", 7) == ChosenModel("live", "blessed", 7)
    assert choose_model("new", False, "", 0) == ChosenModel("new", "candidate", 0)


def test_a_committee_stands_beside_with_the_model_that_scores_first(folder, tmp_path):
    small = Taxonomy([Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True)])
    write_toy_model(tmp_path / "other", TREE, seed=1, top_k=4)
    write_toy_model(tmp_path / "small", small, top_k=4)
    uris = [str(folder / "model"), str(tmp_path / "other"), str(tmp_path / "small")]
    products = toy_products(30)
    table = pa.Table.from_batches([Scorer(uris[0], uris[1:]).score(serialized(*products), "dev")])
    alone = [pa.Table.from_batches([Scorer(uri).score(serialized(*products), "dev")]) for uri in uris]
    nodes = np.array(table["committee_nodes"].to_pylist(), dtype=object).reshape(30, 3, 4)
    likely = np.array(table["committee_probabilities"].to_pylist()).reshape(30, 3, 4)
    for member, width in ((0, 4), (1, 4), (2, 2)):
        assert nodes[:, member, :width].tolist() == alone[member]["exclusive_nodes"].to_pylist()
        assert np.allclose(likely[:, member, :width], alone[member]["exclusive_probabilities"].to_pylist(), atol=1e-6)
    assert set(nodes[:, 2, 2:].ravel()) == {""} and likely[:, 2, 2:].sum() == 0
    assert table["exclusive_nodes"].to_pylist() == alone[0]["exclusive_nodes"].to_pylist()


def test_a_member_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(ModelError, match=f"{tmp_path / 'none'}: there is no SavedModel to score with"):
        Scorer(str(folder / "model"), [str(tmp_path / "none")])


def test_titles_that_differ_in_case_and_signs_share_a_key(scorer):
    titles = ["Crème Shoe!", "creme SHOE", "creme shoes", "***", None]
    batch = scorer.score(serialized(*({"id": "p", "title": title, "group": "g"} for title in titles)), "dev")
    keys = batch.column(batch.schema.get_field_index("title_key")).to_pylist()
    assert keys[0] == keys[1] != keys[2]
    assert keys[3:] == [None, None]


def test_a_model_without_a_description_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"assets.extra/model.json: there is no such file"):
        read_model_description(str(tmp_path))


def test_a_model_without_the_signature_is_refused(tmp_path):
    class Bare(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def embed(self, examples):
            return {"embedding": tf.zeros([tf.size(examples), 2])}

    bare = Bare()
    tf.saved_model.save(bare, str(tmp_path / "bare"), signatures={"embed": bare.embed})
    with pytest.raises(ModelError, match="no signature 'serving_default'. Found embed"):
        Scorer(str(tmp_path / "bare"))


def test_every_node_is_one_of_the_model(scorer, folder):
    found = {node for row in scored(scorer, folder)["rule_based_nodes"].to_pylist() for node in row}
    assert found <= set(TREE.ids)
