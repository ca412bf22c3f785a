"""Shows which evidence the few-answers learner trusts with how many answers, on a catalogue that a replay froze."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from few_shot.learner import BAYES, EXPERT, EXPERT_ABOVE, FADING, FADING_SLOWLY, LEARNT, REGRESSION, learn
from studies.dev_split import judged_within_dev
from studies.frozen_catalogue import FrozenCatalogue, load_catalogue

_SHOWN = (REGRESSION, EXPERT, EXPERT_ABOVE, BAYES, FADING, FADING_SLOWLY)


def row(catalogue: FrozenCatalogue, num_answers: int, seed: int) -> list[float]:
    """Returns the mean trust in names and rules, then those of `_SHOWN`, then the accuracy within dev, with random answers."""
    classes, rng = catalogue.true_classes, np.random.default_rng(seed)
    asked = rng.permutation(np.flatnonzero(~catalogue.is_test & (classes >= 0)))[:num_answers]
    answers = np.full(len(classes), -1)
    answers[asked] = classes[asked]
    model = learn(catalogue.features, answers, seed, unanswered=np.flatnonzero(~catalogue.is_test))
    judged = np.flatnonzero(catalogue.is_test & (classes >= 0))
    features = catalogue.features
    parts = [judged[k : k + 1000] for k in range(0, len(judged), 1000)]
    found = np.concatenate([model.logits(features.products, features.rules, part).argmax(axis=1) for part in parts])
    known = [trust for name, trust in model.trusts.items() if name not in LEARNT]
    return [float(np.mean(known)), *(model.trusts[name] for name in _SHOWN), float((found == classes[judged]).mean())]


def main() -> None:
    """Prints a table, a row for each number of answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frozen", type=Path, help="folder that aisle study replay froze")
    parser.add_argument("--answers", nargs="+", type=int, default=[0, 30, 100, 250, 500, 1000, 2000, 5000, 1_000_000])
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    catalogue = judged_within_dev(load_catalogue(args.frozen))
    sys.stdout.write(f"| answers | names and rules | {' | '.join(_SHOWN)} | accuracy |\n|{'---|' * (len(_SHOWN) + 3)}\n")
    for num_answers in args.answers:
        mean = np.mean([row(catalogue, num_answers, seed) for seed in range(args.seeds)], axis=0)
        cells = " | ".join(f"{value:.2f}" for value in mean[:-1])
        sys.stdout.write(f"| {num_answers:,} | {cells} | {mean[-1]:.3f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
