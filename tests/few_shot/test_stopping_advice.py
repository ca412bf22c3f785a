"""Advice on stopping: what curves of a known shape gain next, and how sure the interval is."""

import numpy as np
import pytest

from few_shot.stopping_advice import MOST_ANSWERS, advise
from schemas.errors import SamplingError

ANSWERS = np.array([0, 50, 100, 200, 300, 400, 500])


def quality(answers, floor=0.05, scale=0.5, power=0.5, worth=25):
    """Returns what a campaign of the usual shape reaches, where what is known without answers is worth so many."""
    return 1.0 - floor - scale * (1 + np.asarray(answers) / worth) ** -power


def test_a_curve_of_the_usual_shape_is_continued():
    advice = advise(ANSWERS, quality(ANSWERS), np.random.default_rng(0), more=250)
    assert advice.gain == pytest.approx(quality(750) - quality(500), abs=0.006)
    assert advice.quality == pytest.approx(quality(500), abs=0.006)
    assert (advice.answers, advice.more) == (500, 250)


@pytest.mark.parametrize("worth", [100, 200, 400])
def test_of_a_model_that_knows_much_without_answers_the_first_ones_are_not_taken_for_the_rule(worth):
    answers = np.array([0, 100, 250])
    reached = quality(np.append(answers, 500), floor=0.0, scale=0.33, worth=worth)
    advice = advise(answers, reached[:-1], np.random.default_rng(0))
    assert advice.gain == pytest.approx(reached[-1] - reached[-2], abs=0.012)


def test_a_campaign_that_has_stopped_growing_promises_little_and_less_than_a_growing_one():
    flat = advise(ANSWERS, np.array([0.5, 0.89, 0.9, 0.9, 0.9, 0.9, 0.9]), np.random.default_rng(0))
    growing = advise(ANSWERS, 0.5 + 0.08 * np.arange(7) ** 0.9, np.random.default_rng(0))
    assert 0 <= flat.gain < 0.01 < growing.gain


@pytest.mark.slow
def test_the_interval_holds_what_the_next_measurement_shows_about_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(12):
        noise = 0.01 * rng.standard_normal(len(ANSWERS) + 1)
        measured = quality(np.append(ANSWERS, 750)) + noise
        advice = advise(ANSWERS, measured[:-1], rng)
        held += advice.low <= measured[-1] - measured[-2] <= advice.high
    assert held >= 0.7 * 12


def test_noisy_measurements_widen_the_interval():
    steady, noisy = (advise(ANSWERS, quality(ANSWERS), np.random.default_rng(0), deviation=np.full(7, each)) for each in (0.01, 0.05))
    assert noisy.high - noisy.low > 2 * (steady.high - steady.low)


def test_equal_chance_gives_equal_advice():
    first, second = (advise(ANSWERS, quality(ANSWERS), np.random.default_rng(3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("answers", "measured", "message"),
    [
        ([0, 100], [0.5, 0.6], "at 2 different numbers of answers, expected 3"),
        ([0, 0, 0, 100], [0.5, 0.6, 0.5, 0.7], "at 2 different"),
        ([0, 50, 100], [0.5, 0.6, 1.2], "outside 0 to 1"),
        ([-5, 50, 100], [0.5, 0.6, 0.7], "below 0"),
        ([0, 50, 100], [0.5, float("nan"), 0.7], "outside 0 to 1"),
    ],
)
def test_measurements_that_say_nothing_are_refused(answers, measured, message):
    with pytest.raises(SamplingError, match=message):
        advise(np.array(answers), np.array(measured), np.random.default_rng(0))


@pytest.mark.parametrize("more", [-1, MOST_ANSWERS + 1, 10**330])
def test_a_number_of_answers_that_nobody_gives_is_refused(more):
    with pytest.raises(SamplingError, match="the number of answers to come is below 0 or above 1,000,000,000. Ask what fewer would gain"):
        advise(ANSWERS, quality(ANSWERS), np.random.default_rng(0), more=more)


def test_the_most_answers_gain_what_is_left_at_most():
    assert 0 <= advise(ANSWERS, quality(ANSWERS), np.random.default_rng(0), more=MOST_ANSWERS).gain <= 1
