"""Proves what a plan depends on, and that whatever can't be used is refused before TensorFlow is loaded."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pipeline.plan import plan_run, read_plan
from schemas.errors import AisleError
from schemas.settings_loader import load_settings
from tests.pipeline.shop import FILES, write_shop


@pytest.fixture
def plan(tmp_path):
    def call(*overrides, **changed):
        config = write_shop(tmp_path / "shop", **changed)
        return plan_run(load_settings(config, overrides, prefix=str(tmp_path / "var")))

    return call


def test_a_plan_crosses_to_another_process_as_json(plan, tmp_path):
    made = plan()
    (tmp_path / "plan.json").write_text(made.to_json())
    assert json.loads(read_plan(tmp_path / "plan.json").to_json()) == json.loads(made.to_json())


def test_planning_twice_changes_nothing(plan):
    assert plan() == plan()


@pytest.mark.parametrize(
    ("file", "digest"),
    [
        ("a", "feeds_sha256"),
        ("b", "feeds_sha256"),
        ("taxonomy", "taxonomy_sha256"),
        ("rules", "rules_sha256"),
        ("answers", "labels_sha256"),
    ],
)
def test_a_changed_input_changes_its_own_digest_alone(plan, file, digest):
    content = next(text for name, text in FILES.items() if name.rpartition("/")[2].startswith(f"{file}."))
    changed = content.replace("Shoes", "Boots").replace("sneaker", "trainer").replace('"ann"', '"bob"').replace("Red", "Blue")
    before, after = plan(), plan(**{file: changed})
    assert {field.name for field in dataclasses.fields(before) if getattr(before, field.name) != getattr(after, field.name)} == {
        digest,
        "round",
    }


def test_nothing_is_written_but_the_events_of_a_catalogue_folder(plan, tmp_path):
    plan()
    assert not (tmp_path / "var").exists()


def test_no_live_model_is_no_baseline(plan):
    assert (plan().baseline_uri, plan().baseline_version) == ("", 0)


@pytest.fixture
def go_live(tmp_path):
    """Returns a function that makes a version live, as a round pushed it."""

    def call(version, **origin):
        folder = tmp_path / "var" / "tiny" / "serving"
        places = {"model": f"models/tiny/{version}", "index": f"indexes/tiny/{version}"}
        for place in places.values():
            (folder / place).mkdir(parents=True)
        (folder / "live.json").write_text(json.dumps({"name": "tiny", "version": version, **places, **origin}))
        return str(folder / places["model"])

    return call


def test_a_round_is_judged_against_the_live_model(plan, go_live):
    model = go_live(7)
    assert (plan().baseline_uri, plan().baseline_version) == (model, 7)
    model = go_live(8, round="another round's", baseline_version=7)
    assert (plan().baseline_uri, plan().baseline_version) == (model, 8)


def test_a_round_whose_own_model_is_live_is_judged_against_what_it_was_judged_against_then(plan, go_live):
    before = go_live(7)
    first = plan()
    model = go_live(8, round=first.round, baseline_version=7)
    assert plan() == first and first.baseline_uri == before
    assert plan("index.neighbours=3").baseline_uri == model


def test_the_first_round_again_has_no_baseline_again(plan, go_live):
    first = plan()
    go_live(7, round=first.round, baseline_version=0)
    assert plan() == first


def test_a_baseline_that_was_removed_gives_way_to_the_live_model(plan, go_live):
    model = go_live(8, round=plan().round, baseline_version=7)
    assert (plan().baseline_uri, plan().baseline_version) == (model, 8)


@pytest.mark.parametrize(
    ("override", "another"),
    [
        ("sampling.batch_size=7", False),
        ("sampling.strategy=entropy", False),
        ("run.cache=false", False),
        ("statistics.enabled=false", False),
        ("run.seed=5", True),
        ("evaluation.min_accuracy=0.1", True),
        ("model.family=linear", True),
        ("index.min_recall=0.5", True),
        ("scoring.top_k=3", True),
        ("ingest.max_refused_share=0.9", True),
    ],
)
def test_what_a_pair_is_made_from_makes_the_round(plan, override, another):
    assert (plan(override).round != plan().round) is another


@pytest.mark.parametrize(
    ("overrides", "changed", "code", "message"),
    [
        ([], {"aisle": "run: {name: x}"}, 2, "no feeds are named. Set networks, or catalogue.folder to a catalogue's folder."),
        ([], {"aisle": "networks: {a: {}}"}, 2, "networks.a.feeds: no feeds are named."),
        (["taxonomy.path="], {}, 2, "no taxonomy is named. Set taxonomy.path."),
        (["networks.awin.feeds=[none/*.csv]"], {}, 1, "networks.awin.feeds: "),
        ([], {"taxonomy": "id\tparent_id\tname\texclusive\ns\tzz\tShoes\t1\n"}, 1, "taxonomy.tsv"),
        ([], {"rules": "rule_id\tnode_id\tfield\tphrase\nr1\tzz\ttitle\tx\n"}, 1, "rules.tsv:2: node 'zz' isn't in the taxonomy."),
        ([], {"rules": "rule_id\tnode_id\tfield\tphrase\nr1\tk\ttitle\t...\n"}, 1, "rules.tsv: rule 'r1': phrase '...' has no letter"),
        ([], {"rules": "rule_id\tnode_id\tfield\tregex\nr1\tk\ttitle\t(\n"}, 1, "rules.tsv: rule 'r1': regex '(' can't be read"),
        ([], {"answers": "{}"}, 1, "answers.jsonl:1: "),
        (["labels.events=[gone.jsonl]"], {}, 1, "gone.jsonl: there is no such file of label events."),
        (["model.features=gone.yaml"], {}, 2, "gone.yaml: there is no such feature config. Set model.features."),
        (["model.parameters={dropuot: 1}"], {}, 2, "model.parameters: unknown hyper-parameter 'dropuot'. Did you mean 'dropout'?"),
        (["model.parameters={dropout: 2}"], {}, 2, "model.parameters.dropout: 2 must be a number in [0, 0.95]."),
        (["phases=[{rule_based: 0, exclusive: 0}]"], {}, 2, "phases.0: both heads have a share of 0."),
        (["push.folder=/etc/passwd/x"], {}, 1, "/etc/passwd/x: can't be read: Not a directory. Set push.folder"),
    ],
)
def test_what_is_refused_says_where_and_the_way_out(plan, overrides, changed, code, message):
    with pytest.raises(AisleError) as error:
        plan(*overrides, **changed)
    assert message in str(error.value)
    assert (error.value.exit_code, "\n" in str(error.value)) == (code, False)
