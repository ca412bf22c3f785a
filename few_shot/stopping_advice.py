"""Says what the next answers are expected to gain, from how quality grew with the answers so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from schemas.errors import SamplingError

NEXT_ANSWERS = 250
# More than anybody gives; a float still tells such numbers apart.
MOST_ANSWERS = 1_000_000_000
LEAST_POINTS = 3
# Measurements count the more, the more answers they were made with beside these.
_FIRST_ANSWERS = 25.0
_RESAMPLES = 100
# What a curve is before it is seen: names and rules are worth some two hundred answers, so that the first ones gain less than the root
# says, then errors fall with the root of answers, and some are never mended. Power and logarithm of that worth, and how far each is
# usually off.
_USUAL, _SPREAD = np.array([0.5, np.log(200.0)]), np.array([0.2, 0.7])
_LOWEST, _HIGHEST = np.array([0.0, 0.0, 0.02, np.log(5.0)]), np.array([1.0, 2.0, 2.0, np.log(5_000.0)])
# A curve that fits to a point is fitted well; from batch to batch quality wobbles by some two, whatever it is measured on.
_LEAST_NOISE, _WOBBLE = 0.01, 0.02


@dataclass(frozen=True)
class Advice:
    """What more answers are expected to gain.

    Attributes:
        answers: so far.
        more: answers the gain is of.
        quality: now, as the curve has it.
        gain: expected, in the unit of the quality; never below 0.
        low, high: interval of what the next measurement will show, its own noise included; a gain may show as a loss.
        floor: share of errors that no number of answers mends, as far as the curve tells.
    """

    answers: int
    more: int
    quality: float
    gain: float
    low: float
    high: float
    floor: float


def advise(
    answers: np.ndarray,
    quality: np.ndarray,
    rng: np.random.Generator,
    more: int = NEXT_ANSWERS,
    deviation: np.ndarray | None = None,
    confidence: float = 0.9,
) -> Advice:
    """Fits `1 - quality = floor + scale * (1 + answers / worth) ** -power` and reads the gain of more answers from it.

    `worth` is how many answers it would take to know what is known without any. The interval comes from fits to the curve plus noise, of
    the measurements where they say so and at least of what the curve leaves over, each with another opinion of what is usual.

    Args:
        answers: `[n]`, three different numbers at least, when quality was measured.
        quality: float `[n]`, from 0 to 1, such as accuracy on audit or held-out answers.
        rng: of the noise.
        more: answers to come, at most `MOST_ANSWERS`.
        deviation: float `[n]`, standard deviation of each measurement; None: as much as the curve leaves over.
        confidence: of the interval.

    Raises:
        SamplingError: too few measurements, one that can't be, or too many answers to come.

    Source:
        Figueroa et al. 2012, BMC Medical Informatics 12:8 (inverse power law of active learning, weighted fit); Bardsley et al. 2014, SIAM
        Journal on Scientific Computing 36:4 (noise on measurements and prior alike gives the interval). The worth is ours.
    """
    counts, errors = np.asarray(answers, np.float64), 1.0 - np.asarray(quality, np.float64)
    if len(np.unique(counts)) < LEAST_POINTS or len(counts) != len(errors):
        raise SamplingError(
            f"found quality at {len(np.unique(counts))} different numbers of answers, expected {LEAST_POINTS}. Answer another batch first."
        )
    if not ((counts >= 0) & (errors >= 0) & (errors <= 1)).all():
        raise SamplingError("an answer count is below 0, or a quality outside 0 to 1. Give counts, and shares such as 0.87.")
    if not 0 <= more <= MOST_ANSWERS:
        raise SamplingError(
            f"the number of answers to come is below 0 or above {MOST_ANSWERS:,}. Ask what fewer would gain, such as {NEXT_ANSWERS}."
        )
    noise = np.full(len(counts), _LEAST_NOISE) if deviation is None else np.maximum(deviation, _LEAST_NOISE)
    fitted = _fit(counts, errors, noise, _USUAL)
    left = errors - _curve(fitted, counts)
    # Four parameters, held by what is usual, take about two measurements' worth of freedom.
    spread = np.maximum(np.maximum(noise, _WOBBLE), np.sqrt((left**2).sum() / max(1, len(counts) - 2)))
    now = float(counts.max())
    found = [_resampled_gain(fitted, counts, spread, noise, more, rng) for _ in range(_RESAMPLES)]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    gain = _gain(fitted, now, more)
    quality_now = float(1.0 - _curve(fitted, np.array([now]))[0])
    return Advice(int(now), more, quality_now, gain, float(min(low, gain)), float(max(high, gain)), float(fitted[0]))


def _curve(parameters: np.ndarray, counts: np.ndarray) -> np.ndarray:
    floor, scale, power, log_worth = parameters
    found: np.ndarray = floor + scale * (1.0 + counts / np.exp(log_worth)) ** -power
    return found


def _resampled_gain(
    fitted: np.ndarray, counts: np.ndarray, spread: np.ndarray, noise: np.ndarray, more: int, rng: np.random.Generator
) -> float:
    usual = _USUAL + _SPREAD * rng.standard_normal(len(_USUAL))
    drawn = _fit(counts, _curve(fitted, counts) + spread * rng.standard_normal(len(counts)), noise, usual)
    return _gain(drawn, float(counts.max()), more) + float(spread[counts.argmax()] * rng.standard_normal())


def _gain(parameters: np.ndarray, now: float, more: int) -> float:
    before, after = _curve(parameters, np.array([now, now + more]))
    return float(before - after)


def _fit(counts: np.ndarray, errors: np.ndarray, noise: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Returns floor, scale, power and logarithm of the worth; the latest measurements count most: the gain is read at the curve's end."""
    weights = np.sqrt((1.0 + counts / _FIRST_ANSWERS) / (1.0 + counts.max() / _FIRST_ANSWERS)) / noise

    def misfit(parameters: np.ndarray) -> np.ndarray:
        return np.append(weights * (_curve(parameters, counts) - errors), (parameters[2:] - usual) / _SPREAD)

    start = np.array([max(1e-4, 0.5 * errors.min()), max(1e-3, np.ptp(errors)), *usual])
    found: np.ndarray = least_squares(misfit, np.clip(start, _LOWEST + 1e-6, _HIGHEST - 1e-6), bounds=(_LOWEST, _HIGHEST), max_nfev=50).x
    return found
