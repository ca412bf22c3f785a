"""The smoke test passes a sound model and names what is wrong with every other."""

import json
import shutil

import pytest
import tensorflow as tf

from components.smoke_testing import main, odd_products, read_examples, smoke_test, smoke_test_in_fresh_process
from schemas.errors import ModelError
from tests.components.toy_pool import TREE, toy_products
from tests.support import toy_model
from tests.support.examples import write_examples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("toy")
    toy_model.write_toy_model(found / "model", TREE, top_k=4)
    write_examples(found / "examples", toy_products(40))
    return found


@pytest.fixture(scope="module")
def files(folder):
    return sorted(str(path) for path in (folder / "examples").rglob("*.gz"))


def broken_model(folder, monkeypatch, method, change):
    """Writes a toy model whose signature `method` has its outputs changed."""
    real = getattr(toy_model._ToyModel, method).python_function

    def changed(self, *arguments):
        return {name: tf.identity(value) for name, value in change(real(self, *arguments)).items()}

    specs = getattr(toy_model._ToyModel, method).function_spec.input_signature
    monkeypatch.setattr(toy_model._ToyModel, method, tf.function(changed, input_signature=specs))
    toy_model.write_toy_model(folder / "broken", TREE, top_k=4)
    return folder / "broken"


def problems_of(model, files):
    return smoke_test(model, odd_products(read_examples(files, 8)))


def test_a_sound_model_has_no_problems(folder, files):
    assert problems_of(folder / "model", files) == []


def test_half_of_the_products_are_odd(files):
    raw = read_examples(files, 8)
    found = [tf.train.Example.FromString(example).features.feature for example in odd_products(raw)]
    titles = [features["title"].bytes_list.value[0].decode() for features in found if "title" in features]
    assert len(titles) == 7 and "title" not in found[7]
    assert odd_products(raw)[:4] == raw[:4]
    assert "" in titles and any(len(title) == 5000 for title in titles) and any("\U0001f45f" in title for title in titles)


def test_a_single_product_is_enough(folder, files):
    assert smoke_test(folder / "model", odd_products(read_examples(files, 1))) == []


@pytest.mark.slow
def test_a_fresh_process_passes_a_sound_model_and_stays_quiet(folder, files):
    report = smoke_test_in_fresh_process(folder / "model", files)
    assert report.passed
    assert report.products == 8


@pytest.mark.slow
def test_a_process_that_finds_no_model_is_a_finding(tmp_path, files):
    report = smoke_test_in_fresh_process(tmp_path, files)
    assert not report.passed
    assert "model.json" in report.problems[0]


def test_a_missing_variable_file_is_a_finding(folder, files, tmp_path, capsys):
    shutil.copytree(folder / "model", tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "variables")
    assert main([str(tmp_path / "model"), *files]) == 0
    assert json.loads(capsys.readouterr().out)["problems"]


def _with(name, act):
    return lambda outputs: {**outputs, name: act(outputs[name])}


BROKEN = {
    "finite": ("embed", _with("embedding", lambda x: x / 0.0), "embed: embedding holds numbers that aren't finite"),
    "sum": ("classify", _with("scores", lambda x: x * 0.9), "classify: scores of a product don't sum to 1"),
    "classes": ("classify", _with("classes", lambda x: tf.reverse(x, [1])), "classify: classes aren't the 5 exclusive nodes"),
    "rows": ("embed", _with("embedding", lambda x: x[:-1]), "embed: embedding has the shape [7, 8], expected 8 rows"),
    "length": ("serving_default", _with("embedding", lambda x: x * 2.0), "serving_default: an embedding has length 2.0000, expected 1"),
    "order": (
        "serving_default",
        _with("exclusive_probabilities", lambda x: tf.reverse(x, [1])),
        "_probabilities aren't in falling order",
    ),
    "unknown": ("serving_default", _with("rule_based_nodes", lambda x: tf.strings.join([x, "?"])), "which isn't in model.json"),
    "best": ("serving_default", _with("exclusive_nodes", lambda x: tf.reverse(x, [1])), "aren't the best of score_all"),
    "entropy": ("serving_default", _with("exclusive_entropy", lambda x: x + 1.0), "exclusive_entropy isn't the entropy"),
    "skew": (
        "predict_products",
        _with("embedding", lambda x: tf.reverse(x, [1])),
        "beside serving_default: embedding differs",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named(case, tmp_path, monkeypatch, files):
    method, change, expected = BROKEN[case]
    found = problems_of(broken_model(tmp_path, monkeypatch, method, change), files)
    assert any(expected in problem for problem in found), found


def test_a_model_that_depends_on_its_neighbours_in_the_batch_is_noticed(tmp_path, monkeypatch, files):
    def centred(outputs):
        moved = outputs["embedding"] - tf.reduce_mean(outputs["embedding"], 0, keepdims=True)
        return {**outputs, "embedding": tf.math.l2_normalize(moved, 1)}

    found = problems_of(broken_model(tmp_path, monkeypatch, "serving_default", centred), files)
    assert "serving_default with one product: embedding differs" in found


def test_no_examples_at_all_is_refused(tmp_path):
    write_examples(tmp_path, [])
    with pytest.raises(ModelError, match="there are no examples to call the model with"):
        read_examples([str(path) for path in tmp_path.rglob("*.gz")], 8)


def test_missing_signatures_are_named(tmp_path, files):
    class Bare(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def embed(self, examples):
            return {"embedding": tf.zeros([tf.size(examples), 2])}

    bare = Bare()
    tf.saved_model.save(bare, str(tmp_path / "bare"), signatures={"embed": bare.embed})
    (tmp_path / "bare" / "assets.extra").mkdir()
    (tmp_path / "bare" / "assets.extra" / "model.json").write_text('{"nodes": [], "embedding_dimension": 2, "top_k": 1}')
    found = problems_of(tmp_path / "bare", files)
    assert "signature 'serving_default' is missing" in found
    assert len(found) == 5
