"""Replays a labelling campaign on a catalogue whose truth is known: batches, answers, refits, and scores on the test split."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from components.sampling.batch import pick
from components.sampling.contract import find_strategy
from components.scored_pool import CANDIDATE, COMMITTEE_NODES, PoolManifest, ScoredPool
from few_shot.evidence import NodeTexts, RuleEvidence
from few_shot.frozen import FrozenFeatures
from few_shot.learner import DEFAULTS, FewShotModel, FewShotParameters, learn
from few_shot.rule_evidence import NoRules
from pipeline.demo.labeller import SimulatedLabeller
from schemas.product import DEV
from schemas.settings import SamplingSettings, ScoringSettings
from schemas.text import fold
from studies.frozen_catalogue import NO_GOLD, FrozenCatalogue
from studies.judging import judge

ALL = "all"
DEFAULT = "default"  # The strategy that ships.
_BLOCK = 2048
_MAX_TABLED_BYTES = 512 << 20
_COMMITTEE = 3  # A committee is the model and those of the rounds before, as a shop has its earlier versions.
_SAMPLE, _PICK = 1, 2  # What a source of chance is for: seeds of each round are (seed, round, purpose).

Budget = int | str


@dataclass(frozen=True)
class ReplaySettings:
    """What the campaigns of a study share.

    Attributes:
        batches: size of the first batches; each later one is as large as the last.
        growth: or this share of the answers so far, if that is more: a refit is worth its time when answers grew noticeably.
        audit_share: of each batch, drawn at random.
        scored_products: unasked products scored in a round at most, drawn at random.
        wrong: share of wrong answers.
        with_rules, with_names: whether the learner may read them.
        within_dev: whether a part of dev is judged in the place of the test products, which nobody looks at then.
        learner: how it learns.
    """

    batches: tuple[int, ...] = (10, 15, 25)
    growth: float = 0.25
    audit_share: float = SamplingSettings().audit_share
    scored_products: int = 6000
    wrong: float = 0.0
    with_rules: bool = True
    with_names: bool = True
    within_dev: bool = False
    learner: FewShotParameters = DEFAULTS

    @property
    def variant(self) -> str:
        """How campaigns differ from plain ones, for people; empty where they don't."""
        said = (
            (f"{100 * self.wrong:g} % wrong", self.wrong > 0),
            ("without rules", not self.with_rules),
            ("without names", not self.with_names),
            ("within dev", self.within_dev),
            *((f"{name}={value}", value != getattr(DEFAULTS, name)) for name, value in asdict(self.learner).items()),
        )
        return ", ".join(text for text, holds in said if holds)


def totals(budgets: Sequence[int], settings: ReplaySettings) -> list[int]:
    """Returns how many answers there are at each refit, from 0 to the largest budget, every budget included.

    >>> totals([0, 30, 100], ReplaySettings(batches=(10, 20), growth=0.5))
    [0, 10, 30, 50, 75, 100]
    """
    found, rounds = [0], 0
    while found[-1] < max(budgets, default=0):
        size = max(settings.batches[min(rounds, len(settings.batches) - 1)], int(settings.growth * found[-1]))
        found.append(min(found[-1] + size, *(budget for budget in budgets if budget > found[-1])))
        rounds += 1
    return found


class ReplayCatalogue:
    """A frozen catalogue ready for any number of campaigns.

    Args:
        catalogue: what to replay on.
        settings: of the campaigns.
    """

    def __init__(self, catalogue: FrozenCatalogue, settings: ReplaySettings) -> None:
        self.catalogue, self.settings = catalogue, settings
        self.features = _seen(catalogue.features, settings)
        self.classes = catalogue.true_classes
        self.dev = np.flatnonzero(~catalogue.is_test)
        self.pool = self.dev[self.classes[self.dev] >= 0]
        self.test = np.flatnonzero(catalogue.is_test & (catalogue.true_nodes != NO_GOLD))
        self.groups = np.asarray(catalogue.features.products.groups)
        self.node_ids = np.array(catalogue.taxonomy.exclusive_ids, dtype=object)
        self.product_ids = np.array(catalogue.product_ids, dtype=object)
        self.title_keys = np.array([fold(title) or None for title in catalogue.titles], dtype=object)
        self.group_keys = np.array([str(group) for group in self.groups.tolist()], dtype=object)
        order = np.argsort(self.groups, kind="stable")
        dev = order[~catalogue.is_test[order]]
        self._members, self._group_of = dev, self.groups[dev]

    def mates(self, row: int) -> np.ndarray:
        """Returns the dev products of a product's group, which share its answer as `LabelJoin` has it; itself included."""
        first, last = (np.searchsorted(self._group_of, self.groups[row], side) for side in ("left", "right"))
        members: np.ndarray = self._members[first:last]
        return members

    def probabilities(self, model: FewShotModel, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C]`."""
        found = np.empty((len(rows), len(self.node_ids)), np.float32)
        for start in range(0, len(rows), _BLOCK):
            logits = model.logits(self.features.products, self.features.rules, rows[start : start + _BLOCK])
            logits -= logits.max(axis=1, keepdims=True)
            np.exp(logits, out=logits)
            found[start : start + _BLOCK] = logits / logits.sum(axis=1, keepdims=True)
        return found


def _seen(features: FrozenFeatures, settings: ReplaySettings) -> FrozenFeatures:
    """Returns the features as the learner may see them."""
    rules = _tabled(features.rules, features.products.bag.shape[0]) if settings.with_rules else NoRules(features.num_classes)
    if settings.with_names:
        return replace(features, rules=rules)
    texts = NodeTexts(np.zeros_like(features.node_texts.paths), np.zeros_like(features.node_texts.names))
    return replace(features, rules=rules, known=[], node_texts=texts)


@dataclass(frozen=True)
class _TabledRules:
    """What rules say of every product, read once: it's the same in every round."""

    table: np.ndarray
    names: Sequence[str]
    starts: Sequence[float]

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, len(names)]`."""
        read: np.ndarray = self.table[rows]
        return read


def _tabled(rules: RuleEvidence, num_products: int) -> RuleEvidence:
    first = rules.of(np.arange(min(1, num_products)))
    if not first.size or first.nbytes * num_products > _MAX_TABLED_BYTES:
        return rules
    table = np.empty((num_products, *first.shape[1:]), np.float32)
    for start in range(0, num_products, _BLOCK):
        table[start : start + _BLOCK] = rules.of(np.arange(start, min(start + _BLOCK, num_products)))
    return _TabledRules(table, rules.names, rules.starts)


def campaign(replayed: ReplayCatalogue, strategy: str, seed: int, budgets: Sequence[Budget]) -> Iterator[dict[str, Any]]:
    """Yields the scores at each budget, in rising order, `all` last.

    A budget beyond what can be asked is judged once all of it is asked; `answers` says how many decisions that took.

    Args:
        replayed: the catalogue.
        strategy: a strategy of `components.sampling`, or `default`.
        seed: of whatever is left to chance; campaigns of one seed score the same random products.
        budgets: decisions of a person, or `all` for every dev product's own answer.

    Raises:
        SamplingError: no strategy has this name, or it can't work with what a replay scores.
        LabelError: wrong answers are wanted where the truth has one node only.
    """
    one = _Campaign(replayed, strategy, seed)
    numbers = sorted({budget for budget in budgets if isinstance(budget, int)})
    for total in totals(numbers, replayed.settings) if numbers else ():
        before = one.num_asked
        one.ask(total - before)
        if one.num_asked > before or not total:  # Else nothing is left to ask, and nothing new to learn.
            one.refit()
        if total in numbers:
            yield one.point(total)
    if ALL in budgets:
        one.answer_everything()
        one.refit()
        yield one.point(ALL)


class _Campaign:
    def __init__(self, replayed: ReplayCatalogue, strategy: str, seed: int) -> None:
        self._started_s, self._started_cpu_s = time.monotonic(), time.process_time()
        self._replayed, self._seed, self._name = replayed, seed, strategy
        self._strategy = find_strategy(SamplingSettings().strategy if strategy == DEFAULT else strategy)
        ids, pool = replayed.product_ids, replayed.pool
        self._class_of = {node_id: k for k, node_id in enumerate(replayed.node_ids.tolist())}
        truth = {ids[row]: replayed.node_ids[replayed.classes[row]] for row in pool.tolist()}
        self._labeller = SimulatedLabeller(truth, replayed.settings.wrong, seed)
        self._named_classes = np.array([*replayed.node_ids, None], dtype=object)  # The last one is for -1.
        self._answers = np.full(len(ids), -1, np.int64)
        self._asked: list[int] = []
        self._models: list[FewShotModel] = []  # The newest first.
        self._rounds, self._learn_s, self._round_learn_s = 0, 0.0, 0.0

    @property
    def num_asked(self) -> int:
        """Decisions so far."""
        return len(self._asked)

    def ask(self, count: int) -> None:
        """Picks a batch and answers it."""
        unasked = self._replayed.pool[self._answers[self._replayed.pool] < 0]
        if count < 1 or not len(unasked):
            return
        rng = np.random.default_rng((self._seed, self._rounds, _SAMPLE))
        scored = unasked
        if len(unasked) > self._replayed.settings.scored_products:
            scored = rng.choice(unasked, self._replayed.settings.scored_products, replace=False)
        rows = np.sort(np.concatenate([scored, np.flatnonzero(self._answers >= 0)]))
        pool = self._scored(rows)
        rng = np.random.default_rng((self._seed, self._rounds, _PICK))
        items = pick(pool, self._strategy, count, self._replayed.settings.audit_share, rng)
        self._answer(rows[[item.row for item in items]])
        self._rounds += 1

    def _answer(self, rows: np.ndarray) -> None:
        ids = self._replayed.product_ids
        events = self._labeller.answer([{"product_id": ids[row]} for row in rows.tolist()], "", 0)
        for row, event in zip(rows.tolist(), events, strict=True):
            mates = self._replayed.mates(row)
            self._answers[mates] = np.where(self._answers[mates] < 0, self._class_of[event.node_id], self._answers[mates])
            self._asked.append(row)

    def answer_everything(self) -> None:
        """Gives every dev product with a truth an answer of its own."""
        rows = self._replayed.pool
        ids = self._replayed.product_ids
        events = self._labeller.answer([{"product_id": ids[row]} for row in rows.tolist()], "", 0)
        self._answers[rows] = [self._class_of[event.node_id] for event in events]
        self._asked = rows.tolist()

    def refit(self) -> None:
        """Learns from the answers there are."""
        started_s = time.process_time()
        replayed = self._replayed
        model = learn(replayed.features, self._answers, self._seed, replayed.settings.learner, unanswered=replayed.dev)
        self._models = [model, *self._models][:_COMMITTEE]
        self._round_learn_s = time.process_time() - started_s
        self._learn_s += self._round_learn_s

    def _scored(self, rows: np.ndarray) -> ScoredPool:
        replayed = self._replayed
        probabilities = replayed.probabilities(self._models[0], rows)
        best, likely = _best(probabilities)
        latent = replayed.features.products.latent[rows]
        answers = self._answers[rows]
        return ScoredPool(
            PoolManifest(len(rows), latent.shape[1], best.shape[1], len(replayed.catalogue.taxonomy), "", CANDIDATE, 0),
            product_ids=replayed.product_ids[rows],
            splits=np.full(len(rows), DEV, dtype=object),
            groups=replayed.group_keys[rows],
            answered=answers >= 0,
            answer_nodes=self._named_classes[answers],
            title_keys=replayed.title_keys[rows],
            exclusive_nodes=replayed.node_ids[best],
            exclusive_probabilities=likely,
            exclusive_entropy=_entropy(probabilities),
            embeddings=latent / np.maximum(np.linalg.norm(latent, axis=1, keepdims=True), 1e-12),
            **(self._committee(rows) if COMMITTEE_NODES in self._strategy.columns else {}),
        )

    def _committee(self, rows: np.ndarray) -> dict[str, Any]:
        # Two at least: with itself a model is of one mind, so that a first batch is drawn at random.
        members = self._models if len(self._models) > 1 else self._models * 2
        said = [_best(self._replayed.probabilities(model, rows)) for model in members]
        nodes = self._replayed.node_ids[np.stack([best for best, _ in said], 1)]
        return {"committee_nodes": nodes, "committee_probabilities": np.stack([likely for _, likely in said], 1)}

    def point(self, budget: Budget) -> dict[str, Any]:
        """Returns the scores of the model there is, as a line of the study."""
        replayed, model = self._replayed, self._models[0]
        scores = judge(
            replayed.probabilities(model, replayed.test), replayed.catalogue.true_nodes[replayed.test], replayed.catalogue.taxonomy
        )
        return {
            "case": replayed.catalogue.name,
            "strategy": self._name,
            "variant": replayed.settings.variant,
            "seed": self._seed,
            "budget": budget,
            "answers": self.num_asked,
            "nodes_seen": len(np.unique(self._answers[self._asked])),
            **scores,
            "rounds": self._rounds,
            "trusts": model.trusts,
            "learn_cpu_seconds": round(self._round_learn_s, 3),
            "all_learn_cpu_seconds": round(self._learn_s, 1),
            "cpu_seconds": round(time.process_time() - self._started_cpu_s, 1),
            "seconds": round(time.monotonic() - self._started_s, 1),
        }


def _best(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best classes `[n, k]`, most probable first, and their probabilities."""
    width = min(ScoringSettings().top_k, probabilities.shape[1])
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :width]
    return best, np.take_along_axis(probabilities, best, 1)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    found: np.ndarray = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=1)
    return found
