"""Answers about groups go through the program: answered, imported, listed, dropped and retracted."""

import argparse
import json
import time

import pytest

from components.sampling_batch import BatchSettings, write_batch
from pipeline.commands import batch, labels
from schemas.errors import LabelError, SettingsError
from schemas.label_event import LabelEvent, write_label_events

MEMBERS = [f"p{number}" for number in range(12)]
QUESTION = {
    "kind": "group", "question": "q-boots", "grouping": "head_noun", "key": "boots", "score": 1.5, "reason": "12 products alike",
    "stream": "strategy", "members": MEMBERS, "examples": [{"product_id": each, "title": f"Boots {each}"} for each in MEMBERS[:5]],
}  # fmt: skip
PRODUCT = {"kind": "product", "product_id": "alone", "title": "Lamp", "score": 0.5, "reason": "torn", "stream": "strategy"}


@pytest.fixture
def shop(tmp_path):
    """A folder with a batch, a truth, a tree and settings."""
    write_batch(tmp_path / "batch", [QUESTION, PRODUCT], BatchSettings("margin", 2, 0.1, 0), 99, 3, "candidate")
    truth = {**dict.fromkeys(MEMBERS, "boots"), "alone": "lamps"}
    (tmp_path / "truth.tsv").write_text("product_id\tnode_id\n" + "".join(f"{each}\t{node}\n" for each, node in truth.items()))
    tree = ["id\tparent_id\tname\texclusive", "shoes\t\tShoes\t0", "boots\tshoes\tBoots\t1", "kids\tshoes\tKids\t1", "lamps\t\tLamps\t1"]
    (tmp_path / "tree.tsv").write_text("\n".join(tree) + "\n")
    store = tmp_path / "labels.sqlite"
    (tmp_path / "aisle.yaml").write_text(f"taxonomy:\n  path: {tmp_path / 'tree.tsv'}\nlabels:\n  store: {store}\n")
    return tmp_path


@pytest.fixture
def aisle(shop, capsys):
    def call(verb, *words):
        module = {"batch": batch, "labels": labels}[verb]
        parser = argparse.ArgumentParser(prog=f"aisle {verb}")
        module.add_arguments(parser)
        args = parser.parse_args([*map(str, words), "--config", str(shop / "aisle.yaml")])
        assert module.run(args) == 0
        return capsys.readouterr().out

    return call


def single(shop, product, node, number=1):
    path = shop / f"single-{product}.jsonl"
    write_label_events(path, [LabelEvent(f"own-{product}-{number}", 2_000_000_000_000, "bob", product, "is", node)])
    return path


def test_a_batch_shows_a_group_beside_products(aisle, shop):
    shown = aisle("batch", "show", shop / "batch").splitlines()
    assert shown[2].startswith("q-boots")
    assert "12 products, as Boots p0" in shown[2]
    assert shown[3].startswith("alone")


def test_the_simulated_labeller_answers_groups_and_import_takes_it(aisle, shop):
    said = aisle("batch", "answer", shop / "batch", "--truth", shop / "truth.tsv", "--out", shop / "answers.jsonl")
    times = [json.loads(line)["answered_at_ms"] for line in (shop / "answers.jsonl").read_text().splitlines()]
    assert max(times) <= time.time_ns() // 1_000_000
    assert said.startswith("answered 13 items (is 13)")
    assert aisle("labels", "import", shop / "answers.jsonl").startswith("added 13, already there 0")
    assert aisle("labels", "list", "--questions").strip().split("\t") == [
        "q-boots", "is boots", "12 products", "0 agree, 0 contradict", "stands",
    ]  # fmt: skip
    lines = [line.split("\t") for line in aisle("labels", "list", "--question", "q-boots").splitlines()]
    assert [line[3] for line in lines] == MEMBERS
    assert {(line[6], line[7]) for line in lines} == {("stands", "q-boots")}


def answered(shop, **changes):
    line = {"event_id": "e1", "answered_at_ms": 1000, "labeller": "ann", "question": "q-boots", "kind": "is", "node_id": "boots"}
    path = shop / "group.jsonl"
    path.write_text(json.dumps({**line, **changes}) + "\n")
    return path


def test_a_persons_answer_about_a_group_is_imported_with_its_batch_and_can_be_repeated(aisle, shop):
    path = answered(shop)
    assert aisle("labels", "import", path, "--batch", shop / "batch").startswith("added 12, already there 0")
    assert aisle("labels", "import", path, "--batch", shop / "batch").startswith("added 0, already there 12")
    with pytest.raises(LabelError, match=r"group.jsonl:1: question 'q-boots' isn't in a batch that was named."):
        aisle("labels", "import", path)


def test_a_mixed_group_is_remembered_and_says_nothing(aisle, shop):
    aisle("labels", "import", answered(shop, kind="mixed", node_id=""), "--batch", shop / "batch")
    (about,) = map(json.loads, aisle("labels", "list", "--questions", "--json").splitlines())
    assert (about["kind"], about["members"], about["state"]) == ("mixed", 5, "stands")


def test_single_answers_drop_a_groups_and_the_list_says_so(aisle, shop):
    aisle("labels", "import", answered(shop), "--batch", shop / "batch")
    aisle("labels", "import", single(shop, "p7", "kids"))
    assert "0 agree, 1 contradict\tstands" in aisle("labels", "list", "--questions")
    aisle("labels", "import", single(shop, "p8", "lamps"))
    assert "0 agree, 2 contradict\tdropped" in aisle("labels", "list", "--questions")
    states = [line.split("\t")[6] for line in aisle("labels", "list", "--question", "q-boots").splitlines()]
    assert states.count("dropped") == 10
    assert states.count("superseded") == 2


def test_a_question_is_retracted_as_a_whole(aisle, shop):
    aisle("labels", "import", answered(shop), "--batch", shop / "batch")
    aisle("labels", "import", single(shop, "p7", "kids"))
    assert aisle("labels", "retract", "--question", "q-boots", "--labeller", "ann") == "retracted the answer to q-boots: 12 products\n"
    assert aisle("labels", "retract", "--question", "q-boots", "--labeller", "ann").startswith("nothing was left to retract: ")
    assert "retracted" in aisle("labels", "list", "--questions")
    assert "stands" in aisle("labels", "list", "--product", "p7")
    assert "stands" not in aisle("labels", "list", "--product", "p6")


def test_retract_wants_one_event_or_one_question_that_is_there(aisle, shop):
    aisle("labels", "import", single(shop, "p7", "kids"))
    with pytest.raises(SettingsError, match="Pass EVENT_ID, or --question ID"):
        aisle("labels", "retract", "--labeller", "ann")
    with pytest.raises(LabelError, match="there is no answer to a question 'q-gone'. See aisle labels list --questions"):
        aisle("labels", "retract", "--question", "q-gone", "--labeller", "ann")
