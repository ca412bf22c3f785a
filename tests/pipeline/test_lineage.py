"""Asks a store of metadata, written as TFX writes it, where versions come from and what became of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.evaluation.judgements import Judgement, write_judgements
from components.pair_pushing import Origin, push_pair
from components.pair_rollback import roll_back
from components.push_folder import PushFolder
from pipeline.cli import main
from pipeline.lineage import Lineage
from pipeline.results import open_metadata
from pipeline.run_records import list_runs
from pipeline.version_comparison import changed_products
from pipeline.version_origins import find_target, origins
from schemas.errors import StoreError
from tests.components.toy_pair import make_pair

COMPLETE, CACHED, FAILED, RUNNING = (getattr(mlmd.Execution, name) for name in ("COMPLETE", "CACHED", "FAILED", "RUNNING"))
FIRST, SECOND, THIRD = (f"2026-05-0{day}T12:00:00.000001" for day in (1, 2, 3))


class History:
    """Runs of a tiny pipeline: real metadata, real folders, real pushes."""

    def __init__(self, folder):
        self.root = folder / "var" / "shop"
        self.pairs = folder / "pairs"
        self.place = PushFolder(self.root / "serving", "shop")
        (self.root / "logs").mkdir(parents=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / "metadata.sqlite")
        self.store = metadata_store.MetadataStore(config)
        self.types: dict[tuple[str, str], int] = {}
        self.numbers = 0

    def _type(self, what, name):
        if (what, name) not in self.types:
            kind = {"context": mlmd.ContextType, "execution": mlmd.ExecutionType, "artifact": mlmd.ArtifactType}[what]
            self.types[what, name] = getattr(self.store, f"put_{what}_type")(kind(name=name))
        return self.types[what, name]

    def _context(self, kind, name):
        found = self.store.get_context_by_type_and_name(kind, name) if ("context", kind) in self.types else None
        if found:
            return found
        [number] = self.store.put_contexts([mlmd.Context(type_id=self._type("context", kind), name=name)])
        return self.store.get_contexts_by_id([number])[0]

    def stage(self, run, node, inputs: Mapping[str, int], outputs: Mapping[str, object], state=COMPLETE, **parameters):
        """Adds an execution; an output is (kind, properties) or the id of one from the cache. Returns ids by key."""
        contexts = [self._context("pipeline_run", run), self._context("node", f"shop.{node}")]
        execution = mlmd.Execution(type_id=self._type("execution", f"components.{node}"), last_known_state=state)
        _set(execution.custom_properties, parameters)
        pairs = [(self.store.get_artifacts_by_id([number])[0], _event(mlmd.Event.INPUT, key)) for key, number in inputs.items()]
        for key, output in outputs.items():
            pairs.append((self._artifact(node, key, output), _event(mlmd.Event.OUTPUT, key)))
        _, ids, _ = self.store.put_execution(execution, pairs, contexts)
        return dict(zip([*inputs, *outputs], ids, strict=True))

    def _artifact(self, node, key, output):
        if isinstance(output, int):
            return self.store.get_artifacts_by_id([output])[0]
        self.numbers += 1
        folder = self.root / "pipeline" / node / key / str(self.numbers)
        folder.mkdir(parents=True)
        kind, properties = output
        artifact = mlmd.Artifact(type_id=self._type("artifact", kind), uri=str(folder))
        _set(artifact.custom_properties, properties)
        return artifact

    def folder(self, number):
        return self.root.parent / self.store.get_artifacts_by_id([number])[0].uri

    def round(self, run, version, rules, settings, said, events=(1_000,)):
        """A whole run that pushes a version; returns the ids of what it made."""
        moment = run[:19].replace("-", "").replace(":", "").replace("T", "-")
        (self.root / "logs" / f"{moment}.plan.json").write_text(json.dumps({"settings": settings}))
        made = self.stage(
            run,
            "ProductExampleGen",
            {},
            {"examples": ("Examples", {}), "quarantine": ("components.Quarantine", {"rows": 40, "refused": 2})},
            feeds=json.dumps([{"network": "awin", "files": ["a.csv"]}]),
            fingerprint="f" * 64,
            code="c1",
        )
        made |= self.stage(
            run, "RuleSnapshotGen", {}, {"rules": ("components.RuleSnapshot", {"sha256": f"r{version}", "num_rules": len(rules)})}
        )
        made |= self.stage(
            run, "LabelSnapshotGen", {}, {"labels": ("components.LabelSnapshot", {"sha256": f"l{version}", "num_events": len(events)})}
        )
        inputs = {name: made[name] for name in ("examples", "rules", "labels")}
        made |= self.stage(run, "LabelJoin", inputs, {"labelled": ("Examples", {})}, code="c2")
        made |= self.stage(
            run, "Trainer", {"labelled": made["labelled"]}, {"model": ("Model", {})}, custom_config=json.dumps({"code": f"t{version}"})
        )
        made |= self.stage(run, "Evaluator", {"model": made["model"]}, {"blessing": ("ModelBlessing", {"blessed": 1})})
        made |= self.stage(run, "CategoryEvaluator", {"model": made["model"]}, {"evaluation": ("components.WideEvaluation", {})})
        made |= self.stage(run, "IndexBuilder", {"model": made["model"]}, {"index": ("components.SimilarityIndex", {"recall": 1.0})})
        self._write(made, rules, said, events)
        pair = make_pair(self.pairs / str(version), f"weights {version}")
        push_pair(*pair, self.place.folder, "shop", version, Origin(run=run), by="ann@shop")
        pushed = {"pushed": 1, "pushed_version": str(version)}
        made |= self.stage(run, "PairPusher", {"model": made["model"], "index": made["index"]}, {"pushed_model": ("PushedModel", pushed)})
        return made | self.stage(
            run, "Sampler", {"pushed_model": made["pushed_model"]}, {"batch": ("components.SamplingBatch", {"num_items": 5})}
        )

    def _write(self, made, rules, said, events):
        rows = ["rule_id\tnode_id\tfield\tphrase", *(f"{rule}\tn\ttitle\t{phrase}" for rule, phrase in rules.items())]
        (self.folder(made["rules"]) / "rules.tsv").write_text("\n".join(rows) + "\n")
        lines = [json.dumps({"event_id": f"e{at_ms}", "answered_at_ms": at_ms}) for at_ms in events]
        (self.folder(made["labels"]) / "label_events.jsonl").write_text("\n".join(lines) + "\n")
        right = sum(answer == predicted for answer, predicted in said.values()) / len(said)
        scores = {"judged": len(said), "accuracy": right, "hierarchical_f1": right, "macro_f1": None}
        metrics = {"exclusive": scores, "by_depth": {"2": scores}, "blessed": True, "reasons": []}
        (self.folder(made["evaluation"]) / "metrics.json").write_text(json.dumps(metrics))
        write_judgements(self.folder(made["evaluation"]) / "judgements.parquet", [judged(*row) for row in said.items()])
        extra = self.folder(made["model"]) / "Format-Serving" / "assets.extra"
        extra.mkdir(parents=True)
        (extra / "hyperparameters.json").write_text(json.dumps({"fit": {"num_answers": len(events)}}))

    def lineage(self):
        return Lineage(open_metadata(self.root))

    def origins(self, text):
        return origins(self.lineage(), self.root, self.place, find_target(self.lineage(), self.place, text))


def judged(product, pair):
    answer, predicted = pair
    paths = {"s": "Shoes", "k": "Shoes > Sneakers", "b": "Bags"}
    return Judgement(product, f"title of {product}", answer, paths[answer], paths[answer].split(" > ")[0], predicted, paths[predicted], 0.5)


def _set(properties, values):
    for name, value in values.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(properties[name], kind, value)


def _event(kind, key):
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))


@pytest.fixture
def history(tmp_path):
    found = History(tmp_path)
    settings = {"run": {"name": "shop", "seed": 0}}
    found.first = found.round(FIRST, 100, {"r1": "shoe", "r2": "bag"}, settings, {"p1": ("k", "s"), "p2": ("b", "b"), "p3": ("s", "b")})
    changed = {"run": {"name": "shop", "seed": 7}}
    said = {"p1": ("k", "k"), "p2": ("b", "s"), "p3": ("s", "k"), "p4": ("b", "b")}
    found.second = found.round(SECOND, 200, {"r1": "shoes", "r3": "boot"}, changed, said, (1_000, 3_000, 2_000))
    return found


@pytest.fixture
def aisle(history, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path / "var"))

    def call(*words, code=0):
        assert main([*words, "--set", "run.name=shop"]) == code
        return capsys.readouterr()

    return call


def test_a_version_is_followed_to_its_rules_answers_feeds_and_settings(history):
    found = history.origins("200")
    assert found["run"] == SECOND and found["is_live"]
    assert (found["rules"]["sha256"], found["rules"]["num_rules"]) == ("r200", 2)
    assert (found["labels"]["num_events"], found["labels"]["newest_ms"], found["answers"]) == (3, 3_000, 3)
    assert found["data"]["feeds"] == [{"network": "awin", "files": ["a.csv"]}]
    assert (found["data"]["rows"], found["data"]["refused"], found["data"]["sha256"]) == (40, 2, "f" * 64)
    assert found["settings"]["run"]["seed"] == 7
    assert {stage["node"]: stage["code"] for stage in found["stages"]}["Trainer"] == "t200"
    assert found["notes"] == []


def test_what_was_made_from_it_is_found_with_its_scores(history):
    found = history.origins("100")
    made = {row["name"] for row in found["made"]}
    assert {"CategoryEvaluator.evaluation", "IndexBuilder.index", "PairPusher.pushed_model", "Sampler.batch"} <= made
    assert not made & {"RuleSnapshotGen.rules", "Trainer.model"}
    assert [row["accuracy"] for row in found["metrics"]] == [pytest.approx(1 / 3)]
    assert not found["is_live"] and [change["version"] for change in found["history"]] == [100]


def test_live_a_run_and_the_beginning_of_its_id_name_the_same_version(history):
    assert history.origins("live") == history.origins("200") == history.origins(SECOND) == history.origins("2026-05-02")


def test_a_cached_run_that_names_a_version_again_did_not_make_it(history):
    model, pushed = history.second["model"], history.second["pushed_model"]
    history.stage(THIRD, "Trainer", {}, {"model": model}, CACHED)
    history.stage(THIRD, "PairPusher", {"model": model}, {"pushed_model": pushed}, CACHED)
    assert history.origins("200")["run"] == SECOND
    assert {stage["state"] for stage in history.origins("200")["stages"]} == {"ran"}


def test_later_runs_that_were_judged_against_it_are_named(history):
    copy = history.stage(THIRD, "BaselineModel", {}, {"baseline": ("Model", {"version": 200})})["baseline"]
    history.stage(THIRD, "Evaluator", {"baseline_model": copy}, {})
    assert history.origins("200")["judged_against_it"] == [THIRD]


def test_what_was_removed_is_said_and_its_digest_kept(history):
    shutil.rmtree(history.folder(history.second["rules"]))
    found = history.origins("200")
    assert (found["rules"]["sha256"], found["rules"]["is_there"]) == ("r200", False)
    assert found["notes"] == ["Removed since: RuleSnapshotGen.rules. Digests and counts are kept in the metadata."]


def test_an_interrupted_run_shows_how_far_it_came(history):
    made = history.stage(THIRD, "ProductExampleGen", {}, {"examples": ("Examples", {})}, feeds="[]", fingerprint="g")
    history.stage(THIRD, "Trainer", {"examples": made["examples"]}, {}, RUNNING)
    found = history.origins(THIRD)
    assert (found["version"], found["data"]["sha256"]) == (0, "g")
    assert found["notes"][0] == "The run made no model."
    assert any(note.startswith("Trainer ") for note in found["notes"])


def test_without_metadata_the_push_still_tells_its_run(history):
    (history.root / "metadata.sqlite").unlink()
    found = origins(None, history.root, history.place, find_target(None, history.place, "100"))
    assert (found["run"], found["stages"]) == (FIRST, [])
    assert found["settings"]["run"]["seed"] == 0
    assert found["notes"] == ["The metadata of the run is gone, so its lineage is unknown beyond what the push recorded."]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("300", "version 300 was never pushed here. See the versions with aisle rollback --list"),
        ("2027", "version 2027 was never pushed here"),
        ("nothing", "there is no run 'nothing'. See them with aisle runs."),
        ("2026-05", "2 runs begin with '2026-05': 2026-05-01T12:00:00.000001, 2026-05-02"),
    ],
)
def test_what_nobody_knows_is_refused(history, text, told):
    with pytest.raises(StoreError, match=told):
        history.origins(text)


def test_runs_are_listed_newest_first_however_they_ended(history):
    history.stage(THIRD, "Trainer", {}, {}, FAILED)
    (history.root / "logs" / "20260504-120000.plan.json").write_text(json.dumps({"settings": {"run": {"name": "shop"}}}))
    records = list_runs(history.lineage(), history.root, 200, 10)
    assert [(row.run, row.state, row.stopped_at, row.version, row.is_live) for row in records] == [
        ("20260504-120000", "interrupted", "", 0, False),
        (THIRD, "failed", "Trainer", 0, False),
        (SECOND, "finished", "", 200, True),
        (FIRST, "finished", "", 100, False),
    ]
    assert (records[2].answers, records[2].accuracy, records[2].blessed, records[2].name) == (3, 0.5, True, "shop")
    assert records[1].accuracy is records[1].blessed is None


def test_products_are_sorted_into_gained_lost_and_changed_by_root():
    before = [judged(*row) for row in {"p1": ("k", "s"), "p2": ("b", "b"), "p3": ("s", "b"), "p5": ("s", "s"), "p6": ("b", "s")}.items()]
    after = [judged(*row) for row in {"p1": ("k", "k"), "p2": ("b", "s"), "p3": ("s", "k"), "p4": ("b", "b"), "p6": ("s", "s")}.items()]
    found = changed_products(before, after, 1)
    assert {name: found[name] for name in ("compared", "only_before", "only_after", "answer_changed", "gained", "lost", "changed")} == {
        "compared": 3, "only_before": 1, "only_after": 1, "answer_changed": 1, "gained": 1, "lost": 1, "changed": 1,
    }  # fmt: skip
    assert {root: (row["gained"], row["lost"], row["changed"]) for root, row in found["by_root"].items()} == {
        "Shoes": (1, 0, 1), "Bags": (0, 1, 0),
    }  # fmt: skip
    assert found["by_root"]["Bags"]["examples"]["lost"] == [
        {"id": "p2", "title": "title of p2", "answer": "Bags", "before": "Bags", "after": "Shoes"}
    ]


def test_diff_shows_settings_data_code_scores_and_products(aisle):
    found = json.loads(aisle("diff", "100", "live", "--json").out)
    assert found["settings"] == {"run.seed": [0, 7]}
    assert found["code"] == {"Trainer": ["t100", "t200"]}
    rules = found["data"]["rules"]
    assert (rules["added"], rules["removed"], rules["changed"], rules["sha256"]) == (["r3"], ["r2"], ["r1"], ["r100", "r200"])
    assert found["data"]["labels"]["added"] == ["e2000", "e3000"] and found["data"]["data"] == {}
    assert found["scores"]["depth 2"]["accuracy"] == [pytest.approx(1 / 3), 0.5]
    assert (found["products"]["compared"], found["products"]["only_after"]) == (3, 1)
    text = aisle("diff", "100", "200").out
    assert "  run.seed: 0 -> 7\n" in text and "rules: 1 added: r3" in text
    assert "0.3333 -> 0.5000 +0.1667" in text
    assert "of 3 products judged in both: 1 gained, 1 lost, 1 changed from wrong to wrong" in text
    assert "gained   p1  title of p1" in text and "answer Shoes > Sneakers; before Shoes; after Shoes > Sneakers" in text


def test_diff_says_what_it_cannot_compare(aisle, history):
    (history.folder(history.first["evaluation"]) / "judgements.parquet").unlink()
    shutil.rmtree(history.folder(history.first["rules"]))
    found = json.loads(aisle("diff", "100", "200", "--json").out)
    assert found["products"] is None and "added" not in found["data"]["rules"]
    assert any("judgements.parquet: there is no such file" in note for note in found["notes"])
    assert "A snapshot of the rules is gone, so what was added and removed can't be told." in found["notes"]


def test_the_verbs_tell_people_what_they_tell_machines(aisle):
    text, runs = aisle("runs").out, json.loads(aisle("runs", "--json").out)
    assert runs["live"] == 200 and all(row["run"] in text for row in runs["runs"]) and "200 *" in text
    text, found = aisle("lineage", "live").out, json.loads(aisle("lineage", "live", "--json").out)
    assert text.startswith(f"version 200 (live), made by run {SECOND}\n")
    assert "2 rules, sha256 r200" in text and found["rules"]["folder"] in text and "run.seed = 7" in text


def test_rollback_lists_tries_goes_back_and_says_how_to_undo(aisle, history):
    assert "200" in aisle("rollback", "--list").out
    assert "version 100 would go live in place of 200" in aisle("rollback", "--dry-run").out
    said = aisle("rollback", "--reason", "shoes went to bags").out
    assert said == "version 100 of model and index is live in place of 200; undo with aisle rollback --to 200\n"
    assert history.origins("200")["is_rolled_back"] and history.origins("100")["is_live"]
    assert "rollback version 100, before it 200 by" in aisle("lineage", "200").out
    listed = json.loads(aisle("rollback", "--list", "--json").out)
    assert [row["is_rolled_back"] for row in listed["versions"]] == [True, False]
    assert listed["history"][-1]["reason"] == "shoes went to bags"
    assert "error: " in aisle("rollback", code=1).err
    assert json.loads(aisle("rollback", "--to", "200", "--json").out) == {"before": 100, "version": 200, "changed": True, "dry_run": False}


def test_damaged_metadata_is_one_line_with_a_way_out(aisle, history):
    history.store = None
    (history.root / "metadata.sqlite").write_bytes(b"no database" * 100)
    for words in (("runs",), ("lineage", "live"), ("diff", "100", "200")):
        told = aisle(*words, code=1).err
        assert told.startswith("error: ") and "metadata.sqlite" in told and len(told.splitlines()) == 1


def test_where_nothing_has_run_the_way_out_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path))
    assert main(["runs", "--set", "run.name=new"]) == 1
    assert "nothing has run here yet. Start with aisle run" in capsys.readouterr().err


def test_a_rolled_back_version_is_not_said_to_be_live(history):
    roll_back(history.place.folder, "shop", 1, "ann@shop")
    records = list_runs(history.lineage(), history.root, history.place.pointed().version, 10)
    assert [(row.version, row.is_live) for row in records] == [(200, False), (100, True)]
