"""Questions about groups are items of a batch that a labeller can answer, and that are read again."""

import json
from dataclasses import asdict, replace

import pytest

from components.batch_files import ITEMS, MANIFEST, questions_of, read_batch
from components.question_batch import draw_questions
from components.sampling.target import make_target
from components.sampling_batch import BatchSettings, draw_batch, write_batch
from schemas.errors import SamplingError
from tests.components.toy_pool import TREE, toy_products, write_toy_pool

SETTINGS = BatchSettings("margin", 10, 0.2, 3)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_toy_pool(tmp_path_factory.mktemp("toy"), 400)


@pytest.fixture(scope="module")
def drawn(pool):
    return draw_questions(pool, TREE, 3, 0)


def test_a_question_shows_five_products_as_a_labeller_sees_them_and_names_all_its_members(drawn):
    products = {product["id"]: product for product in toy_products(400)}
    assert len(drawn) == 3
    for item in drawn:
        assert (item["kind"], item["stream"], len(item["examples"])) == ("group", "strategy", 5)
        assert len({example["product_id"] for example in item["examples"]}) == 5
        assert {example["product_id"] for example in item["examples"]} <= set(item["members"])
        assert all(products[member]["split"] == "dev" and not products[member]["answer_node"] for member in item["members"])
        assert all(example["suggestions"][0]["path"] for example in item["examples"])
        assert f"{len(item['members'])} products" in item["reason"]
    assert not set(drawn[0]["members"]) & set(drawn[1]["members"])


def test_the_same_seed_asks_the_same_and_what_was_asked_is_not_asked_again(pool, drawn):
    assert draw_questions(pool, TREE, 3, 0) == drawn
    others = draw_questions(pool, TREE, 3, 0, asked={drawn[0]["question"]}, spoken_for=drawn[1]["members"])
    assert drawn[0]["question"] not in {item["question"] for item in others}
    assert not any(set(item["members"]) & set(drawn[1]["members"]) for item in others)
    assert draw_questions(pool, TREE, 0, 0) == []


def test_products_answered_since_are_no_members(pool, drawn):
    member = drawn[0]["members"][0]
    again = draw_questions(pool, TREE, 3, 0, answers={member: None})
    assert not any(member in item["members"] for item in again)


def test_a_batch_of_both_kinds_is_read_as_it_was_written(pool, drawn, tmp_path):
    items = [*drawn, *draw_batch(pool, TREE, SETTINGS)[0]]
    manifest = write_batch(tmp_path, items, SETTINGS, 100, 7, "candidate")
    assert read_batch(tmp_path) == (items, manifest)
    assert (manifest.num_items, manifest.num_questions, manifest.format_version) == (13, 3, 2)
    asked = questions_of(tmp_path)
    assert [each.question for each in asked] == [item["question"] for item in drawn]
    assert asked[0].members == drawn[0]["members"]
    assert asked[0].examples == [example["product_id"] for example in drawn[0]["examples"]]
    assert (asked[0].batch, asked[0].version) == (manifest.batch_id, 7)


def test_a_batch_of_an_earlier_release_is_read_as_products_alone(tmp_path):
    item = {"product_id": "p", "title": "Boots"}
    about = {name: value for name, value in asdict(write_batch(tmp_path, [item], SETTINGS, 1, 1, "candidate")).items()}
    for name in ("num_questions", "format_version"):
        del about[name]
    (tmp_path / MANIFEST).write_text(json.dumps(about))
    items, manifest = read_batch(tmp_path)
    assert (items, manifest.format_version, manifest.num_questions) == ([item], 1, 0)
    assert questions_of(tmp_path) == []


def test_a_batch_of_a_later_release_is_refused(tmp_path):
    manifest = write_batch(tmp_path, [{"product_id": "p"}], SETTINGS, 1, 1, "candidate")
    (tmp_path / MANIFEST).write_text(json.dumps(asdict(replace(manifest, format_version=3))))
    with pytest.raises(SamplingError, match="this batch is of format 3, 1 to 2 are read. Use a later release."):
        read_batch(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [{"members": []}, {"members": "all"}, {"members": [1]}, {"examples": []}, {"examples": ["p"]}, {"question": None}, {"examples": None}],
)
def test_a_damaged_question_is_refused(drawn, tmp_path, damage):
    write_batch(tmp_path, [{**drawn[0], **damage}], SETTINGS, 1, 1, "candidate")
    with pytest.raises(SamplingError, match="item 1: a question about a group needs question, members and examples"):
        questions_of(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": "2"},
        {"format_version": None},
        {"format_version": 0},
        {"pool": "many"},
        {"num_items": True},
        {"surprise": 1},
        {"seed": ...},
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, changes):
    about = {**asdict(write_batch(tmp_path, [{"product_id": "p"}], SETTINGS, 1, 1, "candidate")), **changes}
    (tmp_path / MANIFEST).write_text(json.dumps({name: value for name, value in about.items() if value is not ...}))
    with pytest.raises(SamplingError, match="this isn't a sampling batch: manifest.json .* Run Sampler to its end."):
        read_batch(tmp_path)


def test_a_later_release_may_say_more(tmp_path):
    about = {**asdict(write_batch(tmp_path, [{"product_id": "p"}], SETTINGS, 1, 1, "candidate")), "format_version": 3, "surprise": 1}
    (tmp_path / MANIFEST).write_text(json.dumps(about))
    with pytest.raises(SamplingError, match="Use a later release."):
        read_batch(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "null",
        "[" * 100_000,
        '{"title": "Boots"}',
        '{"product_id": 7}',
        '{"product_id": "p", "title": "\\ud800"}',
        '{"product_id": "p", "suggestions": "boots"}',
        '{"product_id": "p", "suggestions": [3]}',
    ],
)
def test_an_item_nobody_can_show_is_refused(tmp_path, line):
    write_batch(tmp_path, [{"product_id": "p"}], SETTINGS, 1, 1, "candidate")
    (tmp_path / ITEMS).write_text(line + "\n")
    with pytest.raises(SamplingError, match=r"batch.jsonl:1: .* Let a run write the batch again."):
        read_batch(tmp_path)


def test_questions_keep_to_a_subtree(pool, drawn):
    def guesses(item):
        return {example["suggestions"][0]["node_id"] for example in item["examples"]}

    node = sorted(guesses(drawn[0]))[0]
    within = draw_questions(pool, TREE, 3, 0, target=make_target(TREE, node))
    assert within and all(guesses(item) == {node} for item in within)
    assert any(guesses(item) != {node} for item in drawn)
