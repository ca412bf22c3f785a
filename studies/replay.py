"""Replays a labelling campaign on a catalogue whose truth is known: batches, answers, refits, and scores on the test split."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from components.sampling.batch import group_numbers, open_rows, pick
from components.sampling.contract import find_strategy
from components.sampling.group_questions import find_groups, pick_groups
from components.scored_pool import CANDIDATE, COMMITTEE_NODES, EXCLUSIVE_NODES, PoolManifest, ScoredPool
from few_shot.evidence import NodeTexts, RuleEvidence
from few_shot.frozen import FrozenFeatures
from few_shot.learner import DEFAULTS, FewShotModel, FewShotParameters, learn
from few_shot.partial_answers import PartialAnswers, partial_answers
from few_shot.rule_evidence import NoRules
from few_shot.self_training import self_trained
from pipeline.demo.labeller import SimulatedLabeller, broader_nodes, group_answer
from schemas.group_answers import GroupQuestion, member_events, question_records
from schemas.label_event import NOT, UNDER, LabelEvent
from schemas.product import DEV, TITLE
from schemas.settings import SamplingSettings, ScoringSettings
from schemas.taxonomy import Taxonomy
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
        unsure: share of answers that only say `under` a broader node, of depth 2 at most.
        yes_or_no: share of products of which is only asked whether the model's best node is right; where it isn't, the answer is `not`.
        learns_unsure: whether the learner reads answers that name no node.
        question_share: of each batch's decisions, about groups of products in the place of one.
        product_seconds, question_seconds: what a person takes for a decision about a product, and about a group.
        with_rules, with_names: whether the learner may read them.
        within_dev: whether a part of dev is judged in the place of the test products, which nobody looks at then.
        learner: how it learns.
    """

    batches: tuple[int, ...] = (10, 15, 25)
    growth: float = 0.25
    audit_share: float = SamplingSettings().audit_share
    scored_products: int = 6000
    wrong: float = 0.0
    unsure: float = 0.0
    yes_or_no: float = 0.0
    learns_unsure: bool = True
    question_share: float = 0.0
    product_seconds: float = 3.0
    question_seconds: float = 9.0
    with_rules: bool = True
    with_names: bool = True
    within_dev: bool = False
    learner: FewShotParameters = DEFAULTS

    @property
    def variant(self) -> str:
        """How campaigns differ from plain ones, for people; empty where they don't."""
        said = (
            (f"{100 * self.wrong:g} % wrong", self.wrong > 0),
            (f"{100 * self.unsure:g} % unsure", self.unsure > 0),
            (f"{100 * self.yes_or_no:g} % yes or no", self.yes_or_no > 0),
            ("ignored", self.unsure + self.yes_or_no > 0 and not self.learns_unsure),
            (f"{100 * self.question_share:g} % group questions", self.question_share > 0),
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
        self.dev = np.flatnonzero(~catalogue.is_test)
        self.features = _seen(catalogue.features, self.dev, settings)
        self.classes = catalogue.true_classes
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

        self.fields = {name: np.array([text or None for text in texts], dtype=object) for name, texts in catalogue.fields.items()}
        self.fields[TITLE] = np.array([title or None for title in catalogue.titles], dtype=object)

    def mates(self, row: int) -> np.ndarray:
        """Returns the dev products of a product's group, which share its answer as `LabelJoin` has it; itself included."""
        first, last = (np.searchsorted(self._group_of, self.groups[row], side) for side in ("left", "right"))
        members: np.ndarray = self._members[first:last]
        return members

    def classes_said(self, kind: str, node_id: str) -> np.ndarray:
        """Returns bool `[C]`, the classes that an answer about a group leaves; none where it is mixed."""
        if kind == UNDER:
            return self.classes_under(node_id)
        named: np.ndarray = self.node_ids == node_id
        return named

    def classes_under(self, node_id: str) -> np.ndarray:
        """Returns bool `[C]`, which classes lie at a node or below."""
        taxonomy = self.catalogue.taxonomy
        within: np.ndarray = np.isin(taxonomy.exclusive, taxonomy.subtree(node_id))
        return within

    def probabilities(self, model: FewShotModel, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C]`."""
        return model.probabilities(self.features.products, self.features.rules, rows)


def _seen(features: FrozenFeatures, dev: np.ndarray, settings: ReplaySettings) -> FrozenFeatures:
    """Returns the features as the learner may see them."""
    rules = _tabled(features.rules, features.products.bag.shape[0]) if settings.with_rules else NoRules(features.num_classes)
    if settings.with_names and settings.with_rules and not settings.within_dev:
        return replace(features, rules=rules)
    texts, known = features.node_texts, features.known
    if not settings.with_names:
        known, texts = [], NodeTexts(np.zeros_like(texts.paths), np.zeros_like(texts.names))
    # What products taught came from names and rules, too, and within dev from products that are judged now.
    return self_trained(replace(features, rules=rules, known=known, node_texts=texts), dev, 0)


@dataclass(frozen=True)
class _TabledRules:
    """What rules say of every product, read once: it's the same in every round."""

    table: np.ndarray
    names: Sequence[str]
    starts: Sequence[float]
    unconfirmed: Sequence[float]

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
    return _TabledRules(table, rules.names, rules.starts, rules.unconfirmed)


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


@dataclass(frozen=True)
class AskedGroup:
    """A question about a group, and its answer.

    Attributes:
        id: of the question.
        kind: of the group.
        rows: its products.
        allowed: bool `[C]`, the classes the answer leaves; none where it was mixed.
        events: the answer's, by product, as the label store would keep them.
    """

    id: str
    kind: str
    rows: np.ndarray
    allowed: np.ndarray
    events: Mapping[str, LabelEvent]

    @property
    def tells(self) -> bool:
        """Whether it says anything."""
        return bool(self.allowed.any())


def refuted(questions: Iterable[AskedGroup], own: Mapping[str, LabelEvent], taxonomy: Taxonomy) -> set[str]:
    """Returns the ids of the questions whose answers are dropped, by what was said of members alone.

    Args:
        questions: answered.
        own: product id to what was said of the product itself.
        taxonomy: the tree.
    """
    # Members that nobody was asked about are no witnesses: a question of thousands is judged by the few that count.
    said = [event for question in questions for product_id, event in question.events.items() if product_id in own]
    return {question for question, record in question_records([*own.values(), *said], taxonomy).items() if record.dropped}


class _Campaign:
    def __init__(self, replayed: ReplayCatalogue, strategy: str, seed: int) -> None:
        self._started_s, self._started_cpu_s = time.monotonic(), time.process_time()
        self._replayed, self._seed, self._name = replayed, seed, strategy
        self._strategy = find_strategy(SamplingSettings().strategy if strategy == DEFAULT else strategy)
        ids, pool = replayed.product_ids, replayed.pool
        self._class_of = {node_id: k for k, node_id in enumerate(replayed.node_ids.tolist())}
        truth = {ids[row]: replayed.node_ids[replayed.classes[row]] for row in pool.tolist()}
        unsure = replayed.settings.unsure
        broader = broader_nodes(replayed.catalogue.taxonomy) if unsure else None
        self._labeller = SimulatedLabeller(
            truth, replayed.settings.wrong, seed, unsure_rate=unsure, broader=broader, yes_or_no_rate=replayed.settings.yes_or_no
        )
        self._open: dict[int, np.ndarray] = {}  # Product to the classes that are left.
        self._closed = np.zeros(len(ids), bool)  # Answered, if only in part: not to be asked again.
        self._named_classes = np.array([*replayed.node_ids, None], dtype=object)  # The last one is for -1.
        self._answers = np.full(len(ids), -1, np.int64)
        self._asked: list[int] = []
        self._questions: list[AskedGroup] = []
        self._events: dict[str, LabelEvent] = {}  # Of the products asked about, near-duplicates that share their answers left out.
        self._models: list[FewShotModel] = []  # The newest first.
        self._rounds, self._learn_s, self._round_learn_s = 0, 0.0, 0.0

    @property
    def num_asked(self) -> int:
        """Decisions so far."""
        return len(self._asked) + len(self._questions)

    def ask(self, count: int) -> None:
        """Picks a batch and answers it."""
        before = self.num_asked
        unasked = self._replayed.pool[~self._closed[self._replayed.pool]]
        if count < 1 or not len(unasked):
            return
        rng = np.random.default_rng((self._seed, self._rounds, _SAMPLE))
        scored = unasked
        if len(unasked) > self._replayed.settings.scored_products:
            scored = rng.choice(unasked, self._replayed.settings.scored_products, replace=False)
        rows = np.sort(np.concatenate([scored, np.flatnonzero(self._closed)]))
        pool = self._scored(rows)
        rng = np.random.default_rng((self._seed, self._rounds, _PICK))
        self._ask_groups(rows, pool, int(count * self._replayed.settings.question_share + 0.5), rng)
        items = pick(pool, self._strategy, count - (self.num_asked - before), self._replayed.settings.audit_share, rng)
        picked = [item.row for item in items]
        self._answer(rows[picked], pool.need(EXCLUSIVE_NODES)[picked, 0] if self._replayed.settings.yes_or_no else None)
        self._rounds += 1

    def _ask_groups(self, rows: np.ndarray, pool: ScoredPool, count: int, rng: np.random.Generator) -> None:
        if not count:
            return
        titles, taxonomy = group_numbers(pool), self._replayed.catalogue.taxonomy
        spoken_for = np.isin(rows, [row for question in self._questions if question.tells for row in question.rows.tolist()])
        candidates = open_rows(pool, titles)
        candidates = candidates[~spoken_for[candidates]]
        groups = find_groups(pool, candidates, titles[candidates], rng)
        asked = frozenset(question.id for question in self._questions)
        for picked in pick_groups(pool, groups, titles, count, rng, taxonomy.path, asked):
            ids = [{"product_id": self._replayed.product_ids[row]} for row in rows[picked.examples].tolist()]
            kind, node_id = group_answer([event.node_id for event in self._labeller.answer(ids, "", 0)], taxonomy)
            members = rows[picked.group.rows]
            question = GroupQuestion(picked.group.question, self._replayed.product_ids[members], [each["product_id"] for each in ids])
            answer = {"event_id": question.question, "answered_at_ms": 0, "labeller": "simulated", "kind": kind, "node_id": node_id}
            events = {event.product_id: event for event in member_events(answer, question)}
            allowed = self._replayed.classes_said(kind, node_id)
            self._questions.append(AskedGroup(question.question, picked.group.kind, members, allowed, events))

    def _answer(self, rows: np.ndarray, suggested: np.ndarray | None) -> None:
        items: list[dict[str, Any]] = [{"product_id": product_id} for product_id in self._replayed.product_ids[rows]]
        for item, node_id in zip(items, () if suggested is None else suggested, strict=False):
            item["suggestions"] = [{"node_id": node_id}]
        events = self._labeller.answer(items, "", 0)
        for row, event in zip(rows.tolist(), events, strict=True):
            self._note(self._replayed.mates(row), event)
            self._asked.append(row)
            self._events[event.product_id] = event

    def _note(self, rows: np.ndarray, event: LabelEvent) -> None:
        self._closed[rows] = True
        if event.kind in (UNDER, NOT):
            under = self._replayed.classes_under(event.node_id)
            self._open |= dict.fromkeys(rows.tolist(), under if event.kind == UNDER else ~under)
        else:
            self._answers[rows] = np.where(self._answers[rows] < 0, self._class_of[event.node_id], self._answers[rows])

    def answer_everything(self) -> None:
        """Gives every dev product with a truth an answer of its own."""
        rows = self._replayed.pool
        ids = self._replayed.product_ids
        events = self._labeller.answer([{"product_id": ids[row]} for row in rows.tolist()], "", 0)
        self._open, self._events = {}, {}
        for row, event in zip(rows.tolist(), events, strict=True):
            self._answers[row] = -1
            self._note(np.array([row]), event)
            self._events[event.product_id] = event
        self._asked = rows.tolist()

    def refit(self) -> None:
        """Learns from the answers there are."""
        started_s = time.process_time()
        replayed = self._replayed
        partial = self._partial() if self._open or self._questions else None
        model = learn(replayed.features, self._answers, self._seed, replayed.settings.learner, unanswered=replayed.dev, partial=partial)
        self._models = [model, *self._models][:_COMMITTEE]
        self._round_learn_s = time.process_time() - started_s
        self._learn_s += self._round_learn_s

    def _partial(self) -> PartialAnswers:
        said = {row: (allowed, 0) for row, allowed in self._open.items() if self._replayed.settings.learns_unsure}
        dropped = refuted(self._questions, self._events, self._replayed.catalogue.taxonomy)
        for number, question in enumerate(self._questions, 1):
            if question.tells and question.id not in dropped:
                said = {**{row: (question.allowed, number) for row in question.rows.tolist() if not self._closed[row]}, **said}
        rows = np.array(sorted(said), np.int64)
        num_classes = len(self._replayed.node_ids)
        allowed = np.array([said[row][0] for row in rows.tolist()], bool).reshape(-1, num_classes)
        return partial_answers(rows, allowed, np.array([said[row][1] for row in rows.tolist()], np.int64))

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
            answered=self._closed[rows],
            answer_nodes=self._named_classes[answers],
            title_keys=replayed.title_keys[rows],
            exclusive_nodes=replayed.node_ids[best],
            exclusive_probabilities=likely,
            exclusive_entropy=_entropy(probabilities),
            embeddings=latent / np.maximum(np.linalg.norm(latent, axis=1, keepdims=True), 1e-12),
            fields={name: column[rows] for name, column in replayed.fields.items()} if replayed.settings.question_share else {},
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
        named = self._answers[self._asked]
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
            "nodes_seen": len(np.unique(named[named >= 0])),
            **scores,
            **self._about_questions(),
            "rounds": self._rounds,
            "trusts": model.trusts,
            "learn_cpu_seconds": round(self._round_learn_s, 3),
            "all_learn_cpu_seconds": round(self._learn_s, 1),
            "cpu_seconds": round(time.process_time() - self._started_cpu_s, 1),
            "seconds": round(time.monotonic() - self._started_s, 1),
        }

    def _about_questions(self) -> dict[str, Any]:
        if not self._replayed.settings.question_share:
            return {}
        telling = [question for question in self._questions if question.tells]
        dropped = refuted(telling, self._events, self._replayed.catalogue.taxonomy)
        truth = self._replayed.classes
        right = sum(int(question.allowed[truth[question.rows]].sum()) for question in telling)
        settings = self._replayed.settings
        return {
            "person_seconds": round(len(self._asked) * settings.product_seconds + len(self._questions) * settings.question_seconds, 1),
            "questions": len(self._questions),
            "questions_told": len(telling),
            "questions_dropped": len(dropped),
            "questions_by_kind": dict(sorted(Counter(question.kind for question in telling).items())),
            "members": sum(len(question.rows) for question in telling),
            "members_right": right,
        }


def _best(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best classes `[n, k]`, most probable first, and their probabilities."""
    width = min(ScoringSettings().top_k, probabilities.shape[1])
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :width]
    return best, np.take_along_axis(probabilities, best, 1)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    found: np.ndarray = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=1)
    return found
