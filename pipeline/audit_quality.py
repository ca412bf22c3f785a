"""Shows how good the model is by the audit answers there are: the table of `aisle batch quality`."""

from __future__ import annotations

from collections.abc import Iterator

from few_shot.proportions import Share
from few_shot.quality_estimate import QualityEstimate, estimate_quality, read_audit_answers
from pipeline.inputs import read_events, read_taxonomy, resolved
from schemas.settings import Settings


def audit_quality(settings: Settings) -> QualityEstimate:
    """Returns the estimate from the label events that a run would learn from.

    Raises:
        AisleError: events or tree can't be read.
    """
    inputs = resolved(settings)
    taxonomy = read_taxonomy(inputs)
    return estimate_quality(read_audit_answers(read_events(inputs), taxonomy))


def quality_rows(found: QualityEstimate) -> Iterator[tuple[str, ...]]:
    """Yields the rows of a table for people, headings first."""
    yield "what", "right", "95 % interval", "judged"
    yield _row("at the answer", found.at_answer)
    for depth, share in found.by_depth.items():
        yield _row(f"at depth {depth}", share)
    for version, share in found.by_version.items():
        pooled = "" if version in found.versions else ", not pooled"
        yield _row(f"version {version}{pooled}", share)


def _row(what: str, share: Share) -> tuple[str, ...]:
    if not share.judged:
        return what, "-", "-", "0"
    return what, f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}", f"{share.judged:,}"


def notes(found: QualityEstimate) -> Iterator[str]:
    """Yields a line each, where there are any, about products of which people said too little to tell and about those not judged."""
    undecided = [f"{found.undecided} at the answer"] * bool(found.undecided)
    undecided += [f"{count} at depth {depth}" for depth, count in found.undecided_by_depth.items()]
    if undecided:
        yield f"too little said to tell: {', '.join(undecided)}, counted by half; intervals hold both ends"
    if found.left_out:
        yield f"not judged: {', '.join(f'{count} {why}' for why, count in found.left_out.items())}"
