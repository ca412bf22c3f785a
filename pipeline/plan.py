"""Works out everything a run depends on, before TensorFlow is loaded: files, digests, and what is live."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.feeds.fingerprint import feeds_fingerprint
from components.pair_pushing import MODELS, Live
from pipeline.case_folder import write_case_events
from pipeline.code_version import STAGES, stage_code
from pipeline.encoder_inputs import images_fingerprint, images_folder, read_encoders, with_encoders
from pipeline.inputs import check_training, live_pair, network_feeds, read_events, read_features, read_rules, read_taxonomy, resolved
from pipeline.sampling_inputs import check_sampling
from schemas.label_event import events_sha256
from schemas.rules import rules_sha256
from schemas.settings import Settings

# Settings and stages a pair of model and index doesn't depend on: what checks, what picks the batch, and where it is run.
_NOT_OF_A_PAIR = ("beam", "catalogue", "kubeflow", "push", "sampling", "serving", "similar", "statistics")
_STAGES_AFTER = ("AnomalyGate", "Sampler")


@dataclass(frozen=True)
class RunPlan:
    """A run, ready to be composed; every field is plain data, so that it crosses to another process as JSON.

    Attributes:
        settings: the settings in force, as nested plain data.
        feeds: `{network, settings, files}` in the order in which later rows win.
        feeds_sha256: digest of the feeds' and the split file's content.
        features: the feature config as JSON.
        taxonomy, rules: files; `rules` is empty for none.
        taxonomy_sha256, rules_sha256, labels_sha256: digests of the content.
        events: files of label events read beside the store.
        round: digest of everything a pair of model and index is made from, but the baseline.
        baseline_uri: folder of the SavedModel this round is judged against; empty when nothing is live.
        baseline_version: its version, 0 when nothing is live.
        encoders: what `encoder_inputs.read_encoders` says of each encoder.
        images: folder that paths of pictures start at; empty for none.
        images_sha256: digest of the names, sizes and times of its files; empty where no encoder reads pictures.
    """

    settings: dict[str, Any]
    feeds: list[dict[str, Any]]
    feeds_sha256: str
    features: str
    taxonomy: str
    taxonomy_sha256: str
    rules: str
    rules_sha256: str
    events: list[str]
    labels_sha256: str
    round: str
    baseline_uri: str
    baseline_version: int
    encoders: list[dict[str, Any]] = field(default_factory=list)
    images: str = ""
    images_sha256: str = ""

    def to_json(self) -> str:
        """Returns the plan as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False)


def plan_run(settings: Settings) -> RunPlan:
    """Reads and checks the inputs of a run; writes nothing but the label events of a catalogue folder.

    Raises:
        AisleError: whatever input can't be used, by file and row.
    """
    settings = resolved(settings)
    feeds = network_feeds(settings)
    taxonomy = read_taxonomy(settings)
    rules = read_rules(settings, taxonomy).rules
    label_events = read_events(settings)
    encoders = read_encoders(settings)
    features = with_encoders(read_features(settings), encoders)
    check_training(settings)
    check_sampling(settings, taxonomy)
    split = [settings.ingest.split] if settings.ingest.split else []
    events = list(settings.labels.events)
    case_events = Path(settings.run.root) / "inputs" / "label_events.jsonl"
    if settings.catalogue.folder and write_case_events(settings, case_events):
        events.append(str(case_events))
    plan = RunPlan(
        settings=dataclasses.asdict(settings),
        feeds=[feed.plain() for feed in feeds],
        feeds_sha256=feeds_fingerprint([*(file for feed in feeds for file in feed.files), *split]),
        features=features.to_json(),
        taxonomy=settings.taxonomy.path,
        taxonomy_sha256=taxonomy.sha256,
        rules=settings.rules.path,
        rules_sha256=rules_sha256(rules),
        events=events,
        labels_sha256=events_sha256(label_events),
        round="",
        baseline_uri="",
        baseline_version=0,
        encoders=encoders,
        images=images_folder(settings),
        images_sha256=images_fingerprint(settings, encoders),
    )
    plan = dataclasses.replace(plan, round=_round_digest(plan))
    model, version = _baseline(Path(settings.push.folder), live_pair(settings), plan.round)
    return dataclasses.replace(plan, baseline_uri=model, baseline_version=version)


def _round_digest(plan: RunPlan) -> str:
    """Returns a digest of all a pair is made from, so that a round knows the pair it made, whatever is live by now."""
    settings = {name: section for name, section in plan.settings.items() if name not in _NOT_OF_A_PAIR}
    settings["run"] = {name: value for name, value in settings["run"].items() if name != "cache"}
    row = dataclasses.asdict(dataclasses.replace(plan, settings=settings))
    row["code"] = stage_code(*(stage for stage in STAGES if stage not in _STAGES_AFTER))
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:32]


def _baseline(folder: Path, live: Live | None, round_digest: str) -> tuple[str, int]:
    """Returns the model a round is judged against, and its version.

    That is the live one; but where the live one was made by this very round, it is the one the round was judged against
    then. Otherwise the same command, given again, would judge a model against itself.
    """
    if live is None:
        return "", 0
    if live.origin.round != round_digest:
        return str(live.model), live.version
    before = live.origin.baseline_version
    if not before:
        return "", 0
    model = folder / MODELS / live.name / str(before)
    return (str(model), before) if model.is_dir() else (str(live.model), live.version)


def read_plan(path: Path) -> RunPlan:
    """Reads what `RunPlan.to_json` wrote."""
    return RunPlan(**json.loads(path.read_text(encoding="utf-8")))
