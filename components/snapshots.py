"""Freezes the taxonomy, the rules and the label events of a run as artifacts, so that lineage can answer for them."""

import logging

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components.artifacts import LabelSnapshot, RuleSnapshot, TaxonomySnapshot
from components.frozen_events import frozen_events
from components.rule_matching import RuleMatcher
from components.snapshot_files import LABELS_FILE, RULES_FILE, TAXONOMY_FILE, read_local, read_taxonomy, write_local
from schemas.label_event import events_sha256, read_label_events, write_label_events
from schemas.rules import load_rules, rules_sha256, write_rules
from schemas.taxonomy import load_taxonomy, write_taxonomy

log = logging.getLogger(__name__)


@component
def TaxonomySnapshotGen(
    taxonomy: OutputArtifact[TaxonomySnapshot],
    path: Parameter[str],
    sha256: Parameter[str] = "",
    code: Parameter[str] = "",
) -> None:
    """Freezes the category tree. `sha256`, of the file, and `code` only tell the cache when to run this again."""
    tree = read_local(path, load_taxonomy)
    write_local(f"{taxonomy.uri}/{TAXONOMY_FILE}", lambda local: write_taxonomy(local, tree))
    taxonomy.set_string_custom_property("sha256", tree.sha256)
    taxonomy.set_int_custom_property("num_nodes", len(tree))
    log.info("taxonomy_snapshot nodes=%d exclusive=%d sha256=%s", len(tree), len(tree.exclusive), tree.sha256[:12])


@component
def RuleSnapshotGen(
    taxonomy: InputArtifact[TaxonomySnapshot],
    rules: OutputArtifact[RuleSnapshot],
    path: Parameter[str] = "",
    sha256: Parameter[str] = "",
    code: Parameter[str] = "",
) -> None:
    """Freezes the rules, none where `path` is empty; rules that can't be matched with are refused here.

    `sha256`, of the file, and `code` only tell the cache when to run this again.
    """
    tree = read_taxonomy(taxonomy.uri)
    loaded = read_local(path, lambda local: load_rules(local, tree)) if path else []
    RuleMatcher(loaded, tree)
    write_local(f"{rules.uri}/{RULES_FILE}", lambda local: write_rules(local, loaded))
    rules.set_string_custom_property("sha256", rules_sha256(loaded))
    rules.set_int_custom_property("num_rules", len(loaded))
    log.info("rule_snapshot rules=%d sha256=%s", len(loaded), rules_sha256(loaded)[:12])


@component
def LabelSnapshotGen(
    labels: OutputArtifact[LabelSnapshot],
    events: Parameter[str] = "[]",
    store: Parameter[str] = "",
    sha256: Parameter[str] = "",
    code: Parameter[str] = "",
) -> None:
    """Freezes the label events of a store and of files.

    `events` is a JSON list of files. `store` is a SQLite file: empty, or a file that isn't there yet, holds no events.
    `sha256`, of the events, and `code` only tell the cache when to run this again.
    """
    frozen = frozen_events(store, events, lambda path: read_local(path, lambda local: list(read_label_events(local))))
    write_local(f"{labels.uri}/{LABELS_FILE}", lambda local: write_label_events(local, frozen))
    digest = events_sha256(frozen)
    labels.set_string_custom_property("sha256", digest)
    labels.set_int_custom_property("num_events", len(frozen))
    log.info("label_snapshot events=%d sha256=%s", len(frozen), digest[:12])
