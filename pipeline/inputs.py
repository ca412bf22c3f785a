"""Finds and reads the inputs that settings name, each on its own, without writing anything."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.feeds.files import find_feeds
from components.frozen_events import frozen_events, read_local_events
from components.pair_pushing import Live, read_live
from components.rule_matching import RuleMatcher
from pipeline.case_folder import case_events, with_case_folder
from schemas.errors import PushError, RuleError, SettingsError
from schemas.features import FeatureConfig, load_features
from schemas.label_event import LabelEvent
from schemas.rules import Rule, load_rules
from schemas.settings import HEADS, NetworkSettings, Settings
from schemas.taxonomy import Taxonomy, load_taxonomy
from trainer_module.hyperparameters import hyperparameters

# Stands for the events of a catalogue folder until a run writes them to a file.
CASE_EVENTS = "events of catalogue.folder"


@dataclass(frozen=True)
class NetworkFeeds:
    """The files of one network, in the order in which later rows win."""

    network: str
    settings: NetworkSettings
    files: list[str]

    def plain(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return dataclasses.asdict(self)


def resolved(settings: Settings) -> Settings:
    """Returns the settings with those of a catalogue folder laid over them, if one is named.

    Raises:
        CatalogueError: the folder isn't in the case format.
    """
    return with_case_folder(settings) if settings.catalogue.folder else settings


def network_feeds(settings: Settings) -> list[NetworkFeeds]:
    """Returns the feed files of every network.

    Raises:
        SettingsError: no network, or one without feeds.
        CatalogueError: a pattern that names no file.
    """
    if not settings.networks:
        raise SettingsError("no feeds are named. Set networks, or catalogue.folder to a catalogue's folder.")
    for name, network in settings.networks.items():
        if not network.feeds:
            raise SettingsError(f"networks.{name}.feeds: no feeds are named. Set it to a list of files, as in [feeds/*.csv.gz].")
    return [
        NetworkFeeds(name, network, find_feeds(network.feeds, Path.cwd(), f"networks.{name}.feeds"))
        for name, network in settings.networks.items()
    ]


def read_taxonomy(settings: Settings) -> Taxonomy:
    """Returns the category tree.

    Raises:
        SettingsError: none is named.
        TaxonomyError: it can't be used. Names file and row.
    """
    if not settings.taxonomy.path:
        raise SettingsError("no taxonomy is named. Set taxonomy.path.")
    return load_taxonomy(Path(settings.taxonomy.path))


def read_rules(settings: Settings, taxonomy: Taxonomy) -> RuleMatcher:
    """Returns the rules, ready to match; none where no file is named.

    Raises:
        RuleError: a rule can't be used, or nothing could ever match it. Names the file and the row or rule.
    """
    rules: list[Rule] = load_rules(Path(settings.rules.path), taxonomy) if settings.rules.path else []
    try:
        return RuleMatcher(rules, taxonomy)
    except RuleError as error:
        raise RuleError(f"{settings.rules.path}: {error}") from None


def read_events(settings: Settings) -> list[LabelEvent]:
    """Returns the label events a run would learn from: the store's, those of files, and those of a catalogue folder.

    Raises:
        LabelError: an event can't be used. Names file and line.
        StoreError: the store can't be read.
        CatalogueError: the folder's gold.tsv can't be read.
    """
    files = [*settings.labels.events, *([CASE_EVENTS] if settings.catalogue.folder else [])]

    def read(path: str) -> list[LabelEvent]:
        return case_events(settings) if path == CASE_EVENTS else read_local_events(path)

    return frozen_events(settings.labels.store, json.dumps(files), read)


def read_features(settings: Settings) -> FeatureConfig:
    """Returns the feature config.

    Raises:
        FeatureError: it can't be used.
    """
    return load_features(Path(settings.model.features) if settings.model.features else None)


def live_pair(settings: Settings) -> Live | None:
    """Returns the model and index that are live; None where nothing is yet.

    Raises:
        PushError: what is live can't be told.
    """
    try:
        return read_live(Path(settings.push.folder), settings.run.name)
    except OSError as error:
        raise PushError(f"{settings.push.folder}: can't be read: {error.strerror}. Set push.folder to a folder you may use.") from None


def check_training(settings: Settings) -> None:
    """Checks the settings of training as far as it goes without TensorFlow, so that a typing error shows at once.

    Raises:
        SettingsError: a hyper-parameter or a phase that can't be used.
    """
    hyperparameters(settings.model.parameters)
    for name, values in settings.tuner.space.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"tuner.space.{name}: {values!r} must be a list of values to choose from.")
        for value in values:
            hyperparameters({name: value}, "tuner.space")
    for number, phase in enumerate(settings.phases):
        if not any(getattr(phase, head) > 0 for head in HEADS):
            raise SettingsError(f"phases.{number}: both heads have a share of 0. Give {' or '.join(HEADS)} a share.")
