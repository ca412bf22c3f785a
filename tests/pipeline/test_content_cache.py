"""Proves that a stage is taken from the cache exactly when the content of its inputs, its settings and code are the same."""

from __future__ import annotations

import inspect
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher

from pipeline import local_run
from pipeline.causes import find_cause
from pipeline.code_version import ROOT, STAGES, code_files
from pipeline.create_pipeline import create_pipeline
from pipeline.plan import plan_run
from pipeline.root_state import clear_unfinished
from schemas.settings_loader import load_settings
from tests.pipeline.shop import write_shop
from tests.support.toy_stages import Shouter, Writer

pytestmark = pytest.mark.slow  # TFX takes its time to load.


class Toy:
    """A pipeline of two stages below a folder."""

    def __init__(self, root):
        self.root = root

    def __call__(self, text="abc", note="", mark="!", code="1", name="toy"):
        """Runs it, and returns the stages that ran, not cached."""
        stream = io.StringIO()
        writer = Writer(text=text, note=note, code=code)
        shouter = Shouter(written=writer.outputs["written"], mark=mark)
        connection = metadata.sqlite_metadata_connection_config(str(self.root / "metadata.sqlite"))
        pipeline = Pipeline(name, str(self.root / "pipeline"), connection, [writer, shouter], enable_cache=True)
        with local_run.our_launcher(stream):
            LocalDagRunner().run(pipeline)
        events = map(json.loads, stream.getvalue().splitlines())
        return [event["name"] for event in events if event["event"] == "done" and not event["cached"]]

    def store(self):
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / "metadata.sqlite")
        return metadata_store.MetadataStore(config)

    def states(self):
        return [execution.last_known_state for execution in self.store().get_executions()]

    def folder(self, name):
        """Returns the newest folder of an output, as `Writer/written`."""
        return max((self.root / "pipeline" / name).iterdir(), key=lambda path: int(path.name))


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


BOTH = ["Writer", "Shouter"]


def test_tfx_has_its_own_launcher_again_after_a_run_that_failed():
    theirs = launcher.Launcher, launcher.cache_utils
    with pytest.raises(ValueError, match="stage"), local_run.our_launcher(io.StringIO()):
        assert launcher.Launcher is not theirs[0] and launcher.cache_utils is not theirs[1]
        raise ValueError("a stage failed")
    assert (launcher.Launcher, launcher.cache_utils) == theirs


def test_the_same_again_runs_nothing_and_a_change_runs_what_it_concerns(toy):
    assert toy() == BOTH
    assert toy() == []
    assert toy(mark="?") == ["Shouter"]
    assert toy(text="abd") == BOTH
    assert toy(code="2") == ["Writer"], "other code made the same bytes, so what follows is the same"
    assert toy() == []


def test_a_stage_that_ran_again_and_made_the_same_bytes_runs_nothing_after_it(toy):
    assert toy() == BOTH
    assert toy(note="read from another feed") == ["Writer"]
    assert (toy.folder("Shouter/shouted") / "shouted.txt").read_text() == "ABC!"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "deep" / "second.txt").unlink(),
        lambda folder: (folder / "first.txt").write_text("ab"),
        lambda folder: (folder / "first.txt").write_text("abx"),
        lambda folder: (folder / "new.txt").write_text(""),
    ],
    ids=["gone", "incomplete", "cut off", "changed", "more in it"],
)
def test_an_output_that_is_not_what_was_made_is_made_again(toy, damage):
    assert toy() == BOTH
    damage(toy.folder("Writer/written"))
    assert toy() == ["Writer"]
    assert (toy.folder("Writer/written") / "first.txt").read_text() == "abc"
    assert toy() == []


def test_an_output_whose_files_were_only_touched_is_trusted(toy):
    toy()
    for path in toy.folder("Writer/written").rglob("*.txt"):
        os.utime(path, (0, 0))
    assert toy() == []


def test_a_result_of_the_past_is_taken_again_when_the_settings_come_back(toy):
    toy()
    assert toy(text="other") == BOTH
    assert toy() == []
    assert (toy.folder("Shouter/shouted") / "shouted.txt").read_text() == "OTHER!"


def test_artifacts_of_a_release_without_digests_get_them_and_are_trusted(toy):
    toy()
    store = toy.store()
    for artifact in store.get_artifacts():
        del artifact.custom_properties["content_sha256"], artifact.custom_properties["content_stat"]
        store.put_artifacts([artifact])
    del store
    assert toy() == []
    written = toy.store().get_artifacts_by_type("components.Quarantine")
    assert all(len(artifact.custom_properties["content_sha256"].string_value) == 64 for artifact in written)


def test_a_failed_stage_leaves_no_output_and_is_the_users_to_mend(toy):
    with pytest.raises(OSError) as raised:
        toy(note="!")
    assert list((toy.root / "pipeline" / "Writer" / "written").iterdir()) == []
    assert "deep.txt: the disk is full. Make room, then give the same command again" in str(find_cause(raised.value))
    assert toy() == BOTH


def test_what_a_killed_run_left_is_cleared_and_what_it_finished_is_kept(toy):
    toy()
    store = toy.store()
    writer, shouter = sorted(store.get_executions(), key=lambda execution: execution.id)
    shouter.last_known_state = metadata_store_pb2.Execution.RUNNING
    store.put_executions([shouter])
    del store
    system = toy.root / "pipeline" / "Shouter" / ".system"
    working = system / "stateful_working_dir" / "abc"
    working.mkdir(parents=True, exist_ok=True)
    assert clear_unfinished(toy.root) == 1
    assert toy.states() == [metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CANCELED]
    assert not (toy.root / "pipeline" / "Shouter" / "shouted" / str(shouter.id)).exists() and not working.exists()
    assert (toy.root / "pipeline" / "Writer" / "written" / str(writer.id) / "first.txt").exists()
    assert toy() == ["Shouter"]
    assert clear_unfinished(toy.root) == 0


def test_nothing_is_cleared_where_nothing_ran(tmp_path):
    assert clear_unfinished(tmp_path) == 0
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.parametrize("overrides", [(), ("tuner.enabled=true", "model.warm_start=true", "neighbours.enabled=true")])
def test_every_stage_has_a_digest_of_the_code_that_runs_it(tmp_path, overrides):
    serving = tmp_path / "var" / "tiny" / "serving"
    row = {"name": "tiny", "version": 7, "model": "models/tiny/7", "index": "indexes/tiny/7"}
    for place in (row["model"], row["index"]):
        (serving / place).mkdir(parents=True)
    (serving / "live.json").write_text(json.dumps(row))
    plan = plan_run(load_settings(write_shop(tmp_path / "shop"), overrides, prefix=str(tmp_path / "var")))
    composed = create_pipeline(plan, local_run.write_schema(plan, tmp_path))
    ours = [component for component in composed.components if component.id not in ("StatisticsGen", "ExampleValidator")]
    assert {"BaselineModel", "Trainer", "Evaluator", "Sampler"} <= {component.id for component in ours}
    for component in ours:
        assert component.id in STAGES, f"{component.id} isn't in STAGES, so its code isn't in the cache key"
        running = Path(inspect.getmodule(component.executor_spec.executor_class).__file__)
        own = {running} if running.is_relative_to(ROOT / "components") else set()
        assert own <= set(code_files(*STAGES[component.id])), component.id
