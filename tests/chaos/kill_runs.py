"""Kills runs at random moments, starts them again, and compares what comes out with a run nobody killed: `make test-chaos`.

The moments are spread evenly over the time a whole run takes, loading TensorFlow included, one at random in each share of it.
Each trial starts from the files of the undisturbed run without those of the stage that is to be killed and all after it: the
stages before come from the cache, the kill and all that follows it are real.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.killable_run import ALL, PROGRAM, WORKER, Ended, Shop, Stage

_START = "(start)"


@dataclass(frozen=True)
class Moment:
    """When and whom to kill.

    Attributes:
        stage: the stage that should be running, or `(start)` before the first.
        wait_s: after it began.
        whom: `program`, `worker` or `all`.
    """

    stage: str
    wait_s: float
    whom: str


@dataclass
class Trial:
    """What came of one kill.

    Attributes:
        number: of the trial, from 1.
        moment: what was planned.
        killed_in: the stage that was running in truth.
        finished: whether the same command, given again, ended well.
        same: the digests that are those of the undisturbed run.
        different: those that aren't.
        repeated: stages that were started twice.
        problems: what was left behind, in words.
        seconds: both runs took.
    """

    number: int
    moment: Moment
    killed_in: str
    finished: bool
    same: list[str]
    different: list[str]
    repeated: list[str]
    problems: list[str]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all is as if nothing had happened, but for one stage that was done again."""
        return self.finished and not self.different and not self.problems and len(self.repeated) <= 1


def moments(stages: list[Stage], count: int, seed: int) -> list[Moment]:
    """Returns random moments, one in each of `count` equal shares of the time the stages took from the program's start."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        at_s = stages[-1].ended_s * (number + rng.random()) / count
        stage = next(stage for stage in stages if at_s <= stage.ended_s)
        begun = at_s >= stage.started_s
        found.append(Moment(stage.name if begun else _START, at_s - stage.started_s if begun else at_s, rng.choice([PROGRAM, WORKER, ALL])))
    return found


def strike(moment: Moment, order: list[str]):
    """Returns the function that waits for a moment and then says whom to kill."""
    before = 0 if moment.stage == _START else order.index(moment.stage)

    def decide(program: subprocess.Popen[str], done: list[Stage]) -> str:
        if len(done) < before or (not done and before == 0 and moment.stage != _START):
            return ""
        time.sleep(moment.wait_s)
        return moment.whom

    return decide


def try_once(shop: Shop, template: Path, order: list[str], expected: dict[str, str], number: int, moment: Moment) -> Trial:
    """Kills one run, starts it again, and says what came of it."""
    started_s = time.monotonic()
    if shop.root.exists():
        shutil.rmtree(shop.root)
    shutil.copytree(template, shop.root)
    shop.forget(order[0 if moment.stage == _START else order.index(moment.stage) :])
    last = max(execution.id for execution in shop.executions())
    killed = shop.run(strike(moment, order))
    ended = shop.run()
    if killed.code == 0:
        raise SystemExit(f"trial {number}: the run was over before it was killed: {killed.said}")
    names = [stage.name for stage in killed.stages]
    digests = shop.digests() if ended.code == 0 else {}
    return Trial(
        number=number,
        moment=moment,
        killed_in=next((name for name in order if name not in names), "(end)") if _began(killed) else _START,
        finished=ended.code == 0,
        same=sorted(name for name, digest in expected.items() if digests.get(name) == digest),
        different=sorted(name for name, digest in expected.items() if digests.get(name) != digest),
        repeated=shop.repeated(last),
        problems=shop.problems() if ended.code == 0 else ended.said[-3:],
        seconds=round(time.monotonic() - started_s, 1),
    )


def _began(ended: Ended) -> bool:
    return bool(ended.stages)


def say(text: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def summary(stages: list[Stage], trials: list[Trial], seed: int) -> dict[str, object]:
    """Returns what is written as JSON."""
    return {
        "trials": len(trials),
        "passed": sum(trial.passed for trial in trials),
        "identical": sum(trial.finished and not trial.different for trial in trials),
        "repeated_at_most": max((len(trial.repeated) for trial in trials), default=0),
        "seed": seed,
        "undisturbed_seconds": round(stages[-1].ended_s, 1),
        "killed_in": dict(Counter(trial.killed_in for trial in trials)),
        "killed": dict(Counter(trial.moment.whom for trial in trials)),
        "each": [{**asdict(trial), "passed": trial.passed} for trial in trials],
    }


def table(trials: list[Trial]) -> list[str]:
    """Returns the trials by the stage that was killed, as a table in Markdown."""
    rows = ["| killed in | kills | program | worker | all | same digests | stages repeated at most |", "|---|---|---|---|---|---|---|"]
    for name in dict.fromkeys(trial.killed_in for trial in trials):
        of = [trial for trial in trials if trial.killed_in == name]
        whom = [str(sum(trial.moment.whom == w for trial in of)) for w in (PROGRAM, WORKER, ALL)]
        same = sum(trial.finished and not trial.different for trial in of)
        rows.append(f"| {name} | {len(of)} | {' | '.join(whom)} | {same} of {len(of)} | {max(len(trial.repeated) for trial in of)} |")
    return rows


def main() -> int:
    """Runs the trials; returns 0 if every one passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="numbers of the trials to do, as 1-10")
    parser.add_argument("--out", type=Path, default=Path("var/chaos.json"), help="where the summary goes, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aisle-chaos-") as folder:
        shop = Shop(Path(folder))
        say("the run nobody kills ...")
        reference = shop.run()
        if reference.code:
            raise SystemExit("\n".join(reference.said))
        order = [stage.name for stage in reference.stages]
        expected, template = shop.digests(), Path(folder) / "template"
        shutil.copytree(shop.root, template)
        say(f"{reference.stages[-1].ended_s:.0f} s, {len(order)} stages; problems: {shop.problems() or 'none'}")
        first, _, last = arguments.only.partition("-")
        wanted = range(int(first), int(last or first) + 1) if first else range(1, arguments.trials + 1)
        trials: list[Trial] = []
        for number, moment in enumerate(moments(reference.stages, arguments.trials, arguments.seed), 1):
            if number in wanted:
                trials.append(try_once(shop, template, order, expected, number, moment))
                say(_line(trials[-1], arguments.trials))
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(summary(reference.stages, trials, arguments.seed), indent=1) + "\n")
    say("\n".join(["", *table(trials), "", f"{sum(trial.passed for trial in trials)} of {len(trials)} passed; {arguments.out}"]))
    return 0 if all(trial.passed for trial in trials) else 1


def _line(trial: Trial, count: int) -> str:
    verdict = "same" if trial.passed else f"FAILED: different {trial.different}, problems {trial.problems}"
    repeated = ", ".join(trial.repeated) or "nothing"
    where = f"{trial.moment.whom} in {trial.killed_in} +{trial.moment.wait_s:.1f} s"
    return f"[{trial.number:2d}/{count}] {trial.seconds:5.0f} s  {where:44s} repeated {repeated:24s} {verdict}"


if __name__ == "__main__":
    sys.exit(main())
