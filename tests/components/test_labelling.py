"""Proves what is joined to an example, what is left out, and that its other bytes stay."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_bytes import read_records, with_features, without_features
from components.labelling import (
    SKIP_ANSWERS,
    Answer,
    LabelCounts,
    Labeller,
    group_answers,
    join_report,
    label_file,
    products_in,
    usable_answers,
)
from components.rule_matching import RuleMatcher
from schemas.allowed_nodes import AllowedNodes
from schemas.errors import CatalogueError
from schemas.label_event import LabelEvent
from schemas.product import LABEL_FEATURES
from schemas.rules import Rule
from schemas.taxonomy import Node, Taxonomy

TREE = Taxonomy(
    [
        Node("shoes", "", "Shoes", False), Node("sneakers", "shoes", "Sneakers", True), Node("boots", "shoes", "Boots", True),
        Node("old", "", "Trainers", False, replaced_by="sneakers"),
    ]
)  # fmt: skip
RULES = [Rule("r1", "sneakers", "title", "sneaker"), Rule("r2", "boots", "title", "boot"), Rule("no", "boots", "brand", "dolls", veto=True)]
MATCHER = RuleMatcher(RULES, TREE)


def example(**fields):
    made = tf.train.Example()
    for name, value in fields.items():
        feature = made.features.feature[name]
        if isinstance(value, float):
            feature.float_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.extend(part.encode() for part in ([value] if isinstance(value, str) else value))
    return made.SerializeToString()


def fields_of(record):
    features = tf.train.Example.FromString(record).features.feature
    found = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value)
        found[name] = [value.decode() for value in values] if kind == "bytes_list" else values
    return found


def answered(product, node, at=1, kind="is", group="", event_id=""):
    return LabelEvent(event_id or f"e-{product}-{at}", at, "ann", product, kind, node, group=group)


def labelled(records, events=(), split="dev", splits=None):
    answers = usable_answers(events, TREE)
    counts = LabelCounts.of(len(RULES))
    labeller = Labeller(MATCHER, answers, group_answers(answers, splits or {}))
    found = labeller.label(records, split, counts)
    return [fields_of(record) for record in found], join_report(counts, answers, MATCHER)


def test_rules_and_answers_are_joined_with_who_said_so():
    (found,), report = labelled([example(id="p", title="Boot or sneaker", price=1.5)], [answered("p", "boots")])
    assert found == {
        "id": ["p"], "title": ["Boot or sneaker"], "price": [1.5], "rule_ids": ["r1", "r2"], "rule_nodes": ["shoes", "sneakers", "boots"],
        "answer_node": ["boots"], "answer_event": ["e-p-1"], "category_depth": [2], "answer_kind": ["is"],
    }  # fmt: skip
    assert report["labels"]["joined"] == 1


def test_a_product_that_nobody_and_no_rule_speaks_of_keeps_its_very_bytes():
    record = example(id="p", title="car")
    assert Labeller(MATCHER, usable_answers([], TREE)).label([record], "dev", LabelCounts.of(3)) == [record]


def test_a_vetoed_match_leaves_its_ids_and_no_nodes():
    (found,), _ = labelled([example(id="p", title="boot", brand="Dolls")])
    assert found["rule_ids"] == ["r2", "no"]
    assert "rule_nodes" not in found


def test_labels_of_an_earlier_join_are_replaced_not_mixed():
    before = example(
        id="p", title="boot", answer_node="sneakers", answer_event="e0", category_depth=2, rule_ids=["x", "y"], rule_nodes=["z"]
    )
    (found,), _ = labelled([before])
    assert found == {"id": ["p"], "title": ["boot"], "rule_ids": ["r2"], "rule_nodes": ["shoes", "boots"]}


def test_answers_that_cannot_be_joined_are_counted_by_reason():
    events = [
        answered("a", "boots"), answered("gone", "boots"), answered("b", "nowhere"), answered("c", "shoes"),
        answered("d", "", kind="cannot_tell"), answered("e", "", kind="skip"),
    ]  # fmt: skip
    _, report = labelled([example(id=name, title="x") for name in "abcde"], events)
    assert report["labels"] == {
        "joined": 1, "joined_by_group": 0, "unknown_product": 1, "unknown_node": 1, "not_exclusive": 1, "other_kind": 2,
        "contradicted": 0, "dropped": 0, "partial": 0, "group_members": 0,
    }  # fmt: skip


def test_an_answer_at_a_replaced_node_moves_to_the_new_one():
    (found,), _ = labelled([example(id="p", title="x")], [answered("p", "old")])
    assert found["answer_node"] == ["sneakers"]


def test_an_answer_that_names_its_group_answers_the_group_within_its_split():
    records = [example(id=name, title="x", group="g") for name in "abc"]
    events = [answered("a", "boots", group="g"), answered("c", "sneakers")]
    found, report = labelled(records, events, splits={"a": "dev"})
    assert [row["answer_node"] for row in found] == [["boots"], ["boots"], ["sneakers"]]
    assert found[1]["answer_event"] == ["e-a-1"]
    assert (report["labels"]["joined"], report["labels"]["joined_by_group"]) == (2, 1)
    assert "answer_node" not in labelled(records, events, split="test", splits={"a": "dev"})[0][1]


def test_an_answer_that_names_no_group_answers_its_product_only():
    found, _ = labelled([example(id="b", title="x", group="g")], [answered("a", "boots")], splits={"a": "dev"})
    assert "answer_node" not in found[0]


@pytest.mark.parametrize(("kind", "taken"), [("skip", True), ("bad_data", False), ("cannot_tell", False)])
def test_a_products_own_word_keeps_its_groups_answer_away_unless_it_was_a_skip(kind, taken):
    events = [answered("a", "boots", group="g"), answered("b", "sneakers", kind=kind)]
    found, _ = labelled([example(id="b", title="x", group="g")], events, splits={"a": "dev"})
    assert ("answer_node" in found[0]) is taken


def test_of_a_groups_answers_the_latest_counts():
    answers = usable_answers([answered("a", "boots", at=5, group="g"), answered("b", "sneakers", at=4, group="g")], TREE)
    assert group_answers(answers, {"a": "dev", "b": "dev"}) == {("dev", "g"): Answer(2, "e-a-5", 5, AllowedNodes(2))}


WIDE = RuleMatcher(
    [],
    Taxonomy(
        [
            Node("shoes", "", "Shoes", True), Node("sneakers", "shoes", "Sneakers", True), Node("boots", "shoes", "Boots", False),
            Node("high", "boots", "High", True), Node("low", "boots", "Low", True), Node("bags", "", "Bags", True),
        ]
    ),
)  # fmt: skip


def said(*words, ids="p", split="dev", groups=("",)):
    """Returns the label features of products of which a person said (kind, node) after (kind, node), and the report."""
    events = [answered(ids[0], node, at, kind, groups[0]) for at, (kind, node) in enumerate(words, 1)]
    return joined(events, [example(id=each, title="x", **({"group": groups[0]} if groups[0] else {})) for each in ids], split)


def joined(events, records, split="dev"):
    answers, counts = usable_answers(events, WIDE.taxonomy), LabelCounts.of(0)
    everywhere = {event.product_id: "dev" for event in events}
    found = Labeller(WIDE, answers, group_answers(answers, everywhere)).label(records, split, counts)
    rows = [fields_of(record) for record in found]
    told = [{name: row[name] for name in LABEL_FEATURES if name in row and name not in ("answer_event", "category_depth")} for row in rows]
    return told, join_report(counts, answers, WIDE)["labels"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([("under", "boots")], {"answer_under": ["boots"], "answer_kind": ["under"]}),
        ([("not", "boots")], {"answer_not": ["boots"], "answer_kind": ["not"]}),
        ([("under", "shoes"), ("not", "boots")], {"answer_under": ["shoes"], "answer_not": ["boots"], "answer_kind": ["not"]}),
        ([("not", "high"), ("not", "boots")], {"answer_not": ["boots"], "answer_kind": ["not"]}),
        ([("under", "boots"), ("under", "shoes")], {"answer_under": ["boots"], "answer_kind": ["under"]}),
        ([("under", "boots"), ("not", "high")], {"answer_node": ["low"], "answer_kind": ["not"]}),
        ([("is", "high"), ("under", "boots")], {"answer_node": ["high"], "answer_kind": ["under"]}),
        ([("not", "bags"), ("is", "high")], {"answer_node": ["high"], "answer_kind": ["is"]}),
    ],
)
def test_answers_that_agree_narrow_each_other(words, expected):
    (found,), labels = said(*words)
    assert found == expected
    assert labels["contradicted"] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([("is", "bags"), ("under", "boots")], {"answer_under": ["boots"], "answer_kind": ["under"]}),
        ([("under", "boots"), ("is", "bags")], {"answer_node": ["bags"], "answer_kind": ["is"]}),
        ([("is", "high"), ("not", "boots")], {"answer_not": ["boots"], "answer_kind": ["not"]}),
        ([("not", "low"), ("under", "bags"), ("under", "boots")], {"answer_node": ["high"], "answer_kind": ["under"]}),
    ],
)
def test_of_answers_that_contradict_each_other_the_latest_counts_and_the_others_are_counted(words, expected):
    (found,), labels = said(*words)
    assert found == expected
    assert labels["contradicted"] == 1


@pytest.mark.parametrize("kind", ["cannot_tell", "bad_data"])
def test_who_cannot_tell_takes_back_what_was_said_and_the_product_is_not_asked_again(kind):
    (found,), labels = said(("is", "high"), (kind, ""))
    assert found == {"answer_kind": [kind]}
    assert labels["joined"] == 0


def test_a_skipped_product_is_asked_again_after_many_later_answers():
    others = [answered(f"o{k}", "high", at=10 + k) for k in range(SKIP_ANSWERS)]
    skipped, record = answered("p", "", at=5, kind="skip"), [example(id="p", title="x")]
    assert joined([skipped, *others[1:]], record)[0] == [{"answer_kind": ["skip"]}]
    assert joined([skipped, *others], record)[0] == [{}]


def test_a_partial_answer_holds_for_near_duplicates_and_a_whole_one_before_it():
    found, labels = said(("under", "boots"), ids="ab", groups=("g",))
    assert found == [{"answer_under": ["boots"], "answer_kind": ["under"]}, {"answer_under": ["boots"]}]
    assert (labels["joined"], labels["joined_by_group"], labels["partial"]) == (1, 1, 2)
    events = [answered("a", "high", 1, group="g"), answered("b", "boots", 2, "under", "g")]
    assert joined(events, [example(id="c", title="x", group="g")])[0] == [{"answer_node": ["high"]}]


def of_group(node, ids, at=1, kind="is", question="q1"):
    return [LabelEvent(f"{question}.{k}", at, "ann", each, kind, node, source="group", question=question) for k, each in enumerate(ids)]


def test_members_of_an_answered_group_say_so_and_stay_open_to_questions():
    found, labels = joined(of_group("high", "abcdef"), [example(id=each, title="x") for each in "az"])
    assert found == [{"group_node": ["high"], "answer_question": ["q1"]}, {}]
    assert (labels["group_members"], labels["joined"]) == (1, 0)
    found, _ = joined(of_group("boots", "abcdef", kind="under"), [example(id="a", title="x")])
    assert found == [{"answer_under": ["boots"], "answer_question": ["q1"]}]


def test_a_products_own_answer_counts_before_its_groups_however_old():
    events = [answered("a", "bags", at=1), *of_group("high", "abcdef", at=9)]
    assert joined(events, [example(id="a", title="x")])[0] == [{"answer_node": ["bags"], "answer_kind": ["is"]}]


def test_an_answer_about_a_group_judges_nothing():
    assert joined(of_group("high", "abcdef"), [example(id="a", title="x")], split="test")[0] == [{}]


def test_a_group_that_single_answers_contradict_is_dropped_by_itself():
    group = of_group("high", "abcdef")
    against = [answered(each, "bags", at=2) for each in "ab"]
    for witnesses, expected in ((against[:1], [{"group_node": ["high"], "answer_question": ["q1"]}]), (against, [{}])):
        found, labels = joined([*group, *witnesses], [example(id="f", title="x")])
        assert found == expected
        assert labels["dropped"] == (0 if expected[0] else 6)
    agreeing = [answered(each, "high", at=2) for each in "cde"]
    assert joined([*group, *against, *agreeing], [example(id="f", title="x")])[0][0]["group_node"] == ["high"]


def test_rules_are_not_judged_on_the_test_split():
    record, events = example(id="p", title="boot"), [answered("p", "boots")]
    dev, test = (labelled([record], events, split=split)[1]["rules"][1] for split in ("dev", "test"))
    assert (dev["judged"], dev["right"]) == (1, 1)
    assert (test["judged"], test["matches"]) == (0, 1)


def test_an_example_without_id_or_of_another_type_is_refused_by_file():
    with pytest.raises(CatalogueError, match="examples: an example has no 'id'. Expected the examples that ProductExampleGen writes."):
        labelled([example(title="x")])
    with pytest.raises(CatalogueError, match="examples: an example can't be read: .*Expected tf.train.Example with text fields."):
        labelled([example(id="p", title=3)])
    with pytest.raises(CatalogueError, match="an example can't be read"):
        labelled([b"\xff\xff"])


names = st.sampled_from(["id", "title", "x", *LABEL_FEATURES])
plain = st.dictionaries(names, st.one_of(st.text(max_size=200), st.integers(0, 2**60), st.floats(width=32, allow_nan=False)), max_size=6)


@given(plain, plain)
@settings(deadline=None)
def test_features_added_without_parsing_are_features_added_by_parsing(old, new):
    base, extra = example(**old), tf.train.Example.FromString(example(**new)).features
    joined = with_features(base, extra.SerializeToString())
    assert fields_of(joined) == {**fields_of(base), **fields_of(example(**new))}
    expected = without_features(base, list(new))
    assert fields_of(without_features(joined, list(new))) == fields_of(expected)


def test_every_reader_of_examples_reads_added_features():
    extra = tf.train.Example.FromString(example(rule_ids=["r1", "r2"], category_depth=2)).features.SerializeToString()
    joined = with_features(example(id="p", title="t" * 300, price=2.0), extra)
    spec = {
        "id": tf.io.FixedLenFeature([], tf.string), "price": tf.io.FixedLenFeature([], tf.float32),
        "rule_ids": tf.io.RaggedFeature(tf.string), "category_depth": tf.io.FixedLenFeature([], tf.int64),
    }  # fmt: skip
    parsed = tf.io.parse_example([joined], spec)
    assert parsed["rule_ids"].to_list() == [[b"r1", b"r2"]]
    assert (parsed["id"].numpy(), parsed["price"].numpy(), parsed["category_depth"].numpy()) == ([b"p"], [2.0], [2])
    batch = ExamplesToRecordBatchDecoder().DecodeBatch([joined]).to_pydict()
    assert batch["rule_ids"] == [[b"r1", b"r2"]]
    assert batch["category_depth"] == [[2]]


def test_records_laid_out_in_another_way_are_joined_all_the_same():
    twice = example(id="p") + example(title="t")
    extra = tf.train.Example.FromString(example(rule_ids=["r1"])).features.SerializeToString()
    assert fields_of(with_features(twice, extra)) == {"id": ["p"], "title": ["t"], "rule_ids": ["r1"]}
    assert fields_of(with_features(b"", extra)) == {"rule_ids": ["r1"]}


def write_file(path, records):
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for record in records:
            writer.write(record)


def test_a_file_keeps_its_order_and_its_number_of_records(tmp_path):
    records = [example(id=f"p{i}", title="boot" if i % 3 else "car") for i in range(1300)]
    write_file(tmp_path / "in.gz", records)
    labeller = Labeller(MATCHER, usable_answers([answered("p7", "boots")], TREE))
    counts = label_file(labeller, "dev", str(tmp_path / "in.gz"), str(tmp_path / "out.gz"))
    found = [fields_of(record) for batch in read_records(str(tmp_path / "out.gz")) for record in batch]
    assert [row["id"][0] for row in found] == [f"p{i}" for i in range(1300)]
    assert [row["id"][0] for row in found if "answer_node" in row] == ["p7"]
    assert (counts.rules.products, counts.rules.covered, counts.joined) == (1300, 866, 1)
    assert products_in(str(tmp_path / "in.gz"), frozenset({"p7", "p1299", "q"})) == {"p7", "p1299"}


def test_a_file_cut_short_is_refused_by_name(tmp_path):
    write_file(tmp_path / "in.gz", [example(id=f"p{i}", title="boot") for i in range(500)])
    whole = (tmp_path / "in.gz").read_bytes()
    assert sum(map(len, read_records(str(tmp_path / "in.gz")))) == 500
    # At one cut of seven what is left ends with a whole record, and TensorFlow alone finds nothing wrong.
    for cut in (*range(1, 20), *range(20, len(whole), 97), len(whole)):
        (tmp_path / "in.gz").write_bytes(whole[:-cut])
        with pytest.raises(CatalogueError, match=r"in.gz: the examples can't be read: .*run the stage before again."):
            list(read_records(str(tmp_path / "in.gz")))


def test_a_file_without_records_is_read_as_one(tmp_path):
    write_file(tmp_path / "in.gz", [])
    assert list(read_records(str(tmp_path / "in.gz"))) == []
