"""Says what a compiled pipeline is told when a run starts: digests of its inputs, which Kubeflow's cache goes by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from components.feeds.fingerprint import feeds_fingerprint
from components.pair_pushing import LIVE
from pipeline.inputs import network_feeds, read_events, read_rules, read_taxonomy
from schemas.label_event import events_sha256
from schemas.rules import rules_sha256
from schemas.settings import Settings

# Name to what it says. All are texts and none has a default: a forgotten one must not serve yesterday's inputs.
PARAMETERS = {
    "feeds_sha256": "digest of the feeds and the split file, or a value never used before",
    "taxonomy_sha256": "digest of the taxonomy, or a value never used before",
    "rules_sha256": "digest of the rules, or a value never used before",
    "labels_sha256": "digest of the label events, or a value never used before",
    "live": "digest of live.json, or a value never used before",
}


def parameter_values(settings: Settings, unknown: str) -> dict[str, str]:
    """Returns a value for each parameter: digests of the inputs as they stand, or `unknown` where the volume isn't mounted here.

    A stage that is told anything else than a digest looks for itself, so its artifact says the truth; but Kubeflow takes
    a stage that is told the same twice from its cache. `unknown` must therefore differ from run to run: the time of the
    start, or `[[ScheduledTime]]`, which Kubeflow fills in for a recurring run.

    Args:
        settings: those the pipeline was compiled from.
        unknown: what stands for inputs that this machine can't see.

    Raises:
        AisleError: the volume is here, and an input on it can't be used.
    """
    if not Path(settings.kubeflow.mount_path).is_dir():
        return unknown_values(unknown)
    taxonomy = read_taxonomy(settings)
    return {
        "feeds_sha256": _feeds(settings),
        "taxonomy_sha256": taxonomy.sha256,
        "rules_sha256": rules_sha256(read_rules(settings, taxonomy).rules),
        "labels_sha256": events_sha256(read_events(settings)),
        "live": _live(settings),
    }


def unknown_values(unknown: str) -> dict[str, str]:
    """Returns `unknown` for every parameter, which makes a run read all its inputs anew."""
    return dict.fromkeys(PARAMETERS, unknown)


def _feeds(settings: Settings) -> str:
    split = [settings.ingest.split] if settings.ingest.split else []
    return feeds_fingerprint([*(file for feed in network_feeds(settings) for file in feed.files), *split])


def _live(settings: Settings) -> str:
    path = Path(settings.push.folder) / LIVE
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()
