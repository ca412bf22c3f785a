"""Tests stopping advice on replayed campaigns: what it said before each budget, against what the budget then gained."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from few_shot.stopping_advice import LEAST_POINTS, advise
from schemas.errors import SettingsError
from studies.result_lines import Line, read_lines


@dataclass(frozen=True)
class Tested:
    """One piece of advice, and what came of it.

    Attributes:
        case, strategy: of the campaign.
        seed: of the campaign.
        answers, more: answers when it was given, and the answers it was about.
        gain, low, high: as advised.
        came: what was gained.
    """

    case: str
    strategy: str
    seed: int
    answers: int
    more: int
    gain: float
    low: float
    high: float
    came: float


def back_test(lines: Sequence[Line], field: str) -> Iterator[Tested]:
    """Yields, for each campaign and budget with three earlier ones, the advice that those would have given.

    Args:
        lines: of replays.
        field: the score to look at, such as accuracy.
    """
    campaigns: dict[tuple[str, str, str, int], dict[int, float]] = {}
    for line in lines:
        if isinstance(line.get(field), (int, float)):
            key = (line["case"], line["strategy"], line.get("variant", ""), line["seed"])
            campaigns.setdefault(key, {})[int(line["answers"])] = float(line[field])
    for (case, strategy, _, seed), scores in campaigns.items():
        budgets = sorted(scores)
        for number in range(LEAST_POINTS, len(budgets)):
            known, following = np.array(budgets[:number]), budgets[number]
            more = following - budgets[number - 1]
            said = advise(known, np.array([scores[budget] for budget in budgets[:number]]), np.random.default_rng(seed), more)
            came = scores[following] - scores[budgets[number - 1]]
            yield Tested(case, strategy, seed, said.answers, more, said.gain, said.low, said.high, came)


def advice(args: argparse.Namespace) -> int:
    """Does what `aisle study advice` was asked, and returns the exit code.

    Raises:
        SettingsError: no campaign has four budgets.
    """
    tested = list(back_test([line for file in args.files for line in read_lines(file)], args.field))
    if not tested:
        raise SettingsError(f"{args.files[0]}: no campaign has {args.field} at four budgets. Replay with more --budgets.")
    sys.stdout.write("".join(json.dumps(asdict(each)) + "\n" for each in tested) if args.json else table(tested))
    return 0


def table(tested: Sequence[Tested]) -> str:
    """Returns a table for people, a row for each catalogue and budget."""
    found = [f"{'case':<16}{'answers':>8}{'more':>7}{'campaigns':>10}{'gained':>9}{'advised':>9}{'mean error':>11}{'in interval':>12}"]
    for case, answers, more in sorted({(each.case, each.answers, each.more) for each in tested}):
        ours = [each for each in tested if (each.case, each.answers, each.more) == (case, answers, more)]
        came, said = (np.array([getattr(each, name) for each in ours]) for name in ("came", "gain"))
        inside = sum(each.low <= each.came <= each.high for each in ours)
        found.append(
            f"{case:<16}{answers:>8}{more:>7}{len(ours):>10}{came.mean():>9.4f}{said.mean():>9.4f}{np.abs(said - came).mean():>11.4f}"
            f"{f'{inside} of {len(ours)}':>12}"
        )
    return "\n".join([*found, ""])
