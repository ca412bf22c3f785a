"""Times a fit of the few-answers learner, anew and with the trusts of the last model kept, on a catalogue that a replay froze.

An answer is a decision about a product that holds for all its near-duplicates, as in a shop.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from few_shot.learner import distinct_products, learn
from studies.frozen_catalogue import load_catalogue

_REPEATS = 5


def timed_fits(folder: Path, num_answers: int, seed: int) -> dict[str, list[float]]:
    """Returns seconds of processor time of each repeat, `anew` and `kept`."""
    catalogue = load_catalogue(folder)
    classes = catalogue.true_classes
    pool, groups = np.flatnonzero(~catalogue.is_test & (classes >= 0)), catalogue.features.products.groups
    asked = distinct_products(groups, np.random.default_rng(seed).permutation(pool), len(pool), seed)
    asked = np.random.default_rng(seed).permutation(asked)[:num_answers]
    answer_of = dict(zip(groups[asked].tolist(), classes[asked].tolist(), strict=True))
    answers = np.array([answer_of.get(group, -1) for group in groups.tolist()])
    answers[np.setdiff1d(np.arange(len(answers)), pool)] = -1
    before = np.where(np.isin(groups, groups[asked[: int(0.9 * num_answers)]]), answers, -1)
    trusts = learn(catalogue.features, before, seed).trusts
    found: dict[str, list[float]] = {"anew": [], "kept": []}
    for _ in range(_REPEATS):
        for name, given in (("anew", None), ("kept", trusts)):
            started = time.process_time()
            learn(catalogue.features, answers, seed, trusts=given, quick=given is not None)
            found[name].append(time.process_time() - started)
    return found


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frozen", type=Path, help="folder that aisle study replay froze")
    parser.add_argument("--answers", nargs="+", type=int, default=[100, 1000])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.stdout.write(f"threads of BLAS: {os.environ.get('OPENBLAS_NUM_THREADS', 'all')}\n")
    for num_answers in args.answers:
        for name, seconds in timed_fits(args.frozen, num_answers, args.seed).items():
            sys.stdout.write(f"{num_answers:6d} answers, trusts {name:5s} median {np.median(seconds):.2f} s, least {min(seconds):.2f} s\n")


if __name__ == "__main__":
    main()
