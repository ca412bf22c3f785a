"""Checks every input of a run without TensorFlow and without writing anything, and says what each holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from components.feeds.products import ProductBatch, read_batches
from components.rule_matching import RuleMatcher
from pipeline.encoder_inputs import fed_vectors, images_fingerprint, read_encoders, with_encoders
from pipeline.inputs import (
    NetworkFeeds,
    check_training,
    live_pair,
    network_feeds,
    read_events,
    read_features,
    read_rules,
    read_taxonomy,
    resolved,
)
from pipeline.sampling_inputs import check_sampling
from schemas.errors import AisleError
from schemas.features import FeatureConfig
from schemas.label_event import IS, RETRACT, LabelEvent, standing_events
from schemas.settings import Settings
from schemas.taxonomy import Taxonomy


@dataclass(frozen=True)
class Finding:
    """What one input holds.

    Attributes:
        name: of the input, such as `taxonomy`.
        text: what a person reads.
        counts: the same as data.
        hint: what to look at although a run wouldn't stop; empty for nothing.
    """

    name: str
    text: str
    counts: Mapping[str, Any]
    hint: str = ""


@dataclass
class CheckReport:
    """Every finding, and every error in the order of the inputs."""

    findings: list[Finding] = field(default_factory=list)
    errors: list[AisleError] = field(default_factory=list)

    def attempt(self, check: Callable[[], Any]) -> Any:
        """Returns what a check returns; None where it failed, its error kept."""
        try:
            return check()
        except AisleError as error:
            self.errors.append(error)
            return None


def check_inputs(settings: Settings) -> CheckReport:
    """Checks all inputs, going on after an error, so that one call shows everything there is to mend.

    Of each feed file the first `ingest.batch_rows` rows are read; the other inputs are read in full.
    """
    report = CheckReport()
    complete = report.attempt(lambda: resolved(settings))
    if complete is None:
        return report
    encoders = report.attempt(lambda: _encoders(complete, report)) or []
    features = report.attempt(lambda: _features(complete, encoders, report))
    for feeds in report.attempt(lambda: network_feeds(complete)) or ():
        for file in feeds.files:
            report.attempt(partial(_feed, complete, feeds, file, features, report))
    taxonomy = report.attempt(lambda: _taxonomy(complete, report))
    if taxonomy is not None:
        report.attempt(lambda: _rules(complete, taxonomy, report))
        report.attempt(lambda: check_sampling(complete, taxonomy))
    report.attempt(lambda: _events(complete, taxonomy, report))
    report.attempt(lambda: check_training(complete))
    report.attempt(lambda: _live(complete, report))
    return report


def _features(settings: Settings, encoders: list[dict[str, Any]], report: CheckReport) -> FeatureConfig:
    features = with_encoders(read_features(settings), encoders)
    kinds = Counter(feature.kind for feature in features)
    text = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    report.findings.append(Finding("features", f"{text} from {settings.model.features or 'the config that ships'}", dict(kinds)))
    return features


def _encoders(settings: Settings, report: CheckReport) -> list[dict[str, Any]]:
    encoders = read_encoders(settings)
    images_fingerprint(settings, encoders)
    for encoder in encoders:
        text = f"{encoder['name']}: {encoder['field']} by {encoder['kind']}, {encoder['size']} dimensions, weights {encoder['digest'][:12]}"
        report.findings.append(Finding("encoder", text, {"name": encoder["name"], "size": encoder["size"]}))
    return encoders


def _feed(settings: Settings, feeds: NetworkFeeds, file: str, features: FeatureConfig | None, report: CheckReport) -> None:
    dense = fed_vectors(features, [encoder.name for encoder in settings.encoders]) if features else {}
    batches = read_batches(feeds.network, feeds.settings, file, settings.ingest.batch_rows, dense)
    batch = next(islice(batches, 1), None)
    batches.close()  # type: ignore[attr-defined]
    if batch is None:
        report.findings.append(Finding("feed", f"{feeds.network} {file}: no rows", {"file": file, "rows": 0}, "this feed is empty"))
        return
    counts = {
        "network": feeds.network,
        "file": file,
        "rows": batch.rows,
        "refused": len(batch.refused),
        "left_out": len(batch.blanked),
    }
    more = f", {len(batch.blanked):,} values left out" if batch.blanked else ""
    text = f"{feeds.network} {file}: first {batch.rows:,} rows: {len(batch.products):,} products, {len(batch.refused):,} refused{more}"
    report.findings.append(Finding("feed", text, counts, _feed_hint(settings, batch)))


def _feed_hint(settings: Settings, batch: ProductBatch) -> str:
    if not batch.refused:
        return ""
    share, allowed = len(batch.refused) / batch.rows, settings.ingest.max_refused_share
    more = f"{share:.0%} of these rows are refused, ingest.max_refused_share is {allowed:.0%}; " if share > allowed else ""
    return f"{more}{batch.refused[0]}"


def _taxonomy(settings: Settings, report: CheckReport) -> Taxonomy:
    taxonomy = read_taxonomy(settings)
    counts = {"nodes": len(taxonomy), "exclusive": len(taxonomy.exclusive_ids), "depth": max(taxonomy.depths, default=0)}
    text = f"{counts['nodes']:,} nodes, {counts['exclusive']:,} of them exclusive, to depth {counts['depth']}"
    report.findings.append(Finding("taxonomy", text, counts))
    return taxonomy


def _rules(settings: Settings, taxonomy: Taxonomy, report: CheckReport) -> RuleMatcher:
    matcher = read_rules(settings, taxonomy)
    counts = {"rules": len(matcher.rules), "vetoes": sum(matcher.is_veto), "nodes": len(set(matcher.rule_nodes))}
    text = f"{counts['rules']:,} rules at {counts['nodes']:,} nodes, {counts['vetoes']:,} of them vetoes"
    hint = "" if len(matcher.rules) > counts["vetoes"] else "without rules that put products somewhere the rule_based head learns nothing"
    report.findings.append(Finding("rules", text, counts, hint))
    return matcher


def _events(settings: Settings, taxonomy: Taxonomy | None, report: CheckReport) -> list[LabelEvent]:
    events = read_events(settings)
    standing = standing_events(events).values()
    answers = [event for event in standing if event.kind == IS]
    unknown = sorted({event.node_id for event in answers} - set(taxonomy.ids)) if taxonomy else []
    contradicted = len(_contradicted(events))
    counts = {
        "events": len(events),
        "products": len(standing),
        "answers": len(answers),
        "unknown_nodes": len(unknown),
        "contradicted": contradicted,
    }
    text = f"{counts['events']:,} events; they put {counts['answers']:,} of {counts['products']:,} products at a node"
    report.findings.append(Finding("labels", text, counts, _events_hint(len(answers), unknown, contradicted)))
    return events


def _contradicted(events: list[LabelEvent]) -> set[str]:
    """Returns the products that answers nobody took back put at different nodes."""
    retracted = {event.retracts for event in events if event.kind == RETRACT}
    nodes: dict[str, set[str]] = {}
    for event in events:
        if event.kind == IS and event.event_id not in retracted:
            nodes.setdefault(event.product_id, set()).add(event.node_id)
    return {product_id for product_id, found in nodes.items() if len(found) > 1}


def _events_hint(num_answers: int, unknown: list[str], contradicted: int) -> str:
    if not num_answers:
        return "without answers the exclusive head goes by names and rules at most, and can't be judged"
    hints = []
    if unknown:
        hints.append(f"{len(unknown)} nodes of answers aren't in the taxonomy, such as {unknown[0]!r}; those answers are left out")
    if contradicted:
        hints.append(f"{contradicted:,} products have answers that differ; the latest counts")
    return "; ".join(hints)


def _live(settings: Settings, report: CheckReport) -> None:
    live = live_pair(settings)
    text = f"version {live.version} of {live.name}" if live else "nothing yet"
    report.findings.append(Finding("live", text, {"version": live.version if live else 0}))
