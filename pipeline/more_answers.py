"""Says what more answers are expected to gain in a shop's own loop: the table of `aisle batch advice`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from few_shot.quality_estimate import quality_by_answers
from few_shot.stopping_advice import LEAST_POINTS, Advice, advise
from pipeline.inputs import read_events, read_taxonomy, resolved
from pipeline.run_records import RunRecord
from schemas.errors import SamplingError
from schemas.settings import Settings

AUDITS, RUNS = "audits", "runs"
SOURCES = (AUDITS, RUNS)
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Point:
    """How good a model of so many answers was.

    Attributes:
        answers: of people.
        quality: share of products whose node was right.
        deviation: of that share by the chance of which products were judged.
        judged: products; 0 where the source doesn't say.
    """

    answers: int
    quality: float
    deviation: float
    judged: int


def audited_points(settings: Settings) -> list[Point]:
    """Returns what audit answers say of each model, from the label events that a run would learn from.

    Raises:
        AisleError: events or tree can't be read.
    """
    inputs = resolved(settings)
    curve = quality_by_answers(list(read_events(inputs)), read_taxonomy(inputs))
    return [
        Point(each.answers, each.right.value, _deviation(each.right.value, each.right.effective), each.right.judged)
        for each in curve
        if each.right.judged
    ]


def run_points(records: Sequence[RunRecord]) -> list[Point]:
    """Returns what runs measured on their test products: the latest of those with as many answers, fewest answers first."""
    found = {each.answers: each.accuracy for each in reversed(records) if each.answers is not None and each.accuracy is not None}
    return [Point(answers, accuracy, 0.0, 0) for answers, accuracy in sorted(found.items())]


def advice_of(points: Sequence[Point], source: str, more: int, seed: int) -> Advice:
    """Returns what `few_shot.stopping_advice` reads from the points.

    Raises:
        SamplingError: there are too few, or too many answers to come.
    """
    if len({point.answers for point in points}) < LEAST_POINTS:
        found, other = len({point.answers for point in points}), SOURCES[1 - SOURCES.index(source)]
        raise SamplingError(
            f"{source} say how good models are at {found} different number{'s' * (found != 1)} of answers, expected {LEAST_POINTS}. "
            f"Answer another batch and run again, or pass --from {other}."
        )
    answers, quality, deviation = (np.array([getattr(point, name) for point in points]) for name in ("answers", "quality", "deviation"))
    return advise(answers, quality, np.random.default_rng(seed), more, deviation, CONFIDENCE)


def as_json(points: Sequence[Point], source: str, advice: Advice) -> dict[str, Any]:
    """Returns an object: `source`, `points`, `advice`, `confidence`."""
    return {"source": source, "points": [asdict(point) for point in points], "advice": asdict(advice), "confidence": CONFIDENCE}


def point_rows(points: Sequence[Point]) -> Iterator[tuple[str, ...]]:
    """Yields the rows of a table for people, headings first."""
    yield "answers", "right", "judged"
    for point in points:
        yield f"{point.answers:,}", f"{point.quality:.1%}", f"{point.judged:,}" if point.judged else "test split"


def advice_text(advice: Advice) -> str:
    """Returns what to expect, in two sentences."""
    gain, low, high = (100 * value for value in (advice.gain, advice.low, advice.high))
    return (
        f"The next {advice.more:,} answers are expected to gain {gain:+.1f} points (the next measurement: {low:+.1f} to {high:+.1f}, "
        f"{100 * CONFIDENCE:g} %). About {100 * advice.floor:.0f} of 100 products no number of answers would put right."
    )


def _deviation(share: float, effective: float) -> float:
    # As if one more product were right and one more wrong, so that three right ones in a row aren't certainty.
    smoothed = (share * effective + 1.0) / (effective + 2.0)
    return float(np.sqrt(smoothed * (1.0 - smoothed) / (effective + 2.0)))
