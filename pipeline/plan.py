"""Works out everything a run depends on, before TensorFlow is loaded: files, digests, and what is live."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.feeds.files import find_feeds
from components.feeds.fingerprint import feeds_fingerprint
from components.frozen_events import frozen_events
from components.pair_pushing import read_live
from components.rule_matching import RuleMatcher
from pipeline.case_folder import with_case_folder, write_case_events
from schemas.errors import SettingsError
from schemas.features import load_features
from schemas.label_event import events_sha256
from schemas.rules import load_rules, rules_sha256
from schemas.settings import Settings
from schemas.taxonomy import load_taxonomy


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
        baseline_uri: folder of the live SavedModel; empty when nothing is live.
        baseline_version: its version, 0 when nothing is live.
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
    baseline_uri: str
    baseline_version: int

    def to_json(self) -> str:
        """Returns the plan as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False)


def plan_run(settings: Settings) -> RunPlan:
    """Reads and checks the inputs of a run; writes nothing but the label events of a catalogue folder.

    Raises:
        AisleError: whatever input can't be used, by file and row.
    """
    events = list(settings.labels.events)
    if settings.catalogue.folder:
        settings = with_case_folder(settings)
        case_events = Path(settings.run.root) / "inputs" / "label_events.jsonl"
        if write_case_events(settings, case_events):
            events.append(str(case_events))
    if not settings.networks:
        raise SettingsError("no feeds are named. Set networks, or catalogue.folder to a catalogue's folder.")
    if not settings.taxonomy.path:
        raise SettingsError("no taxonomy is named. Set taxonomy.path.")
    feeds = [
        {"network": name, "settings": dataclasses.asdict(network), "files": find_feeds(network.feeds, Path.cwd(), f"networks.{name}.feeds")}
        for name, network in settings.networks.items()
    ]
    taxonomy = load_taxonomy(Path(settings.taxonomy.path))
    rules = load_rules(Path(settings.rules.path), taxonomy) if settings.rules.path else []
    RuleMatcher(rules, taxonomy)  # Refuses a phrase or an expression nothing could match.
    features = load_features(Path(settings.model.features) if settings.model.features else None)
    live = read_live(Path(settings.push.folder), settings.run.name)
    split = [settings.ingest.split] if settings.ingest.split else []
    return RunPlan(
        settings=dataclasses.asdict(settings),
        feeds=feeds,
        feeds_sha256=feeds_fingerprint([*(file for feed in feeds for file in feed["files"]), *split]),
        features=features.to_json(),
        taxonomy=settings.taxonomy.path,
        taxonomy_sha256=taxonomy.sha256,
        rules=settings.rules.path,
        rules_sha256=rules_sha256(rules),
        events=events,
        labels_sha256=events_sha256(frozen_events(settings.labels.store, json.dumps(events))),
        baseline_uri=str(live.model) if live else "",
        baseline_version=live.version if live else 0,
    )


def plan_sha256(plan: RunPlan) -> str:
    """Returns a digest of everything a plan holds."""
    return hashlib.sha256(plan.to_json().encode()).hexdigest()


def read_plan(path: Path) -> RunPlan:
    """Reads what `RunPlan.to_json` wrote."""
    return RunPlan(**json.loads(path.read_text(encoding="utf-8")))
