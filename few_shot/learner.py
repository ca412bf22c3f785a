"""Learns the exclusive head from any number of answers, none included: `learn`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from few_shot.evenness import evening
from few_shot.evidence import CENTROIDS, Products, RuleEvidence
from few_shot.frozen import FrozenFeatures
from few_shot.naive_bayes import TokenOdds, fit_token_odds
from few_shot.partial_answers import PartialAnswers, informative, no_partial_answers, weighed
from few_shot.softmax import softmax_in_place
from few_shot.sparse_expert import fit_separators
from few_shot.stacking import fit_trusts
from few_shot.tree_regression import OpenRows, fit_regression
from few_shot.unanswered import Unanswered, draw_unanswered

# Evidence learnt from answers, beside what names and rules say. The two that fade repeat all that was known without answers,
# in a node with a answers times 1 / (1 + a) and its root, so that names are trusted less where answers say more.
REGRESSION, EXPERT, EXPERT_ABOVE, FADING, FADING_SLOWLY, SEEN, ANSWERS, EVENNESS, BAYES = (
    "regression",
    "sparse expert",
    "sparse expert above",
    "fading",
    "fading slowly",
    "seen",
    "answers",
    "evenness",
    "naive Bayes",
)
LEARNT = (REGRESSION, EXPERT, EXPERT_ABOVE, FADING, FADING_SLOWLY, SEEN, ANSWERS, EVENNESS, BAYES)
# Until there are some answers a cosine or a margin can't count against a class; what corrects the others may. Thirty answers
# would turn evidence on its head by chance; several hundred know better than we do. Here and below answers are counted in groups of
# near-duplicates, each one answer however many offers it has.
_MAY_COUNT_AGAINST, _SOME = (FADING, FADING_SLOWLY, EVENNESS), 300
# Whether a node has answers, and how many, is not judged before. A fold sees fewer nodes than there will be, and strategies ask about
# what is hardest to tell from the nodes that have answers: believed, that empties the largest ones.
_JUDGED_LATE = (SEEN, ANSWERS)
# What a rule_based head makes of rules and a regression of node texts is believed in part before an answer, wholly from so many on.
# Answers move trusts in part as well until then.
_CONFIRMED_AT = 100
# Before answers the regression has node texts alone to go by. Sure of them, it drowns the cosines, which tell more of them.
_TEXTS_UNCONFIRMED = 1 / 3
_UNSEEN_MARGIN = -1.5
# From so many answers on a model learnt from two thirds of them judges trusts as well as one learnt from more.
_MANY, _FOLDS_OF_MANY = 3_000, 3
# Between two batches a model is wanted within a second: beyond these, near-duplicates that share an answer are left out.
_QUICK_PRODUCTS = 1_000
# Tokens aren't independent, as naive Bayes has it: their odds add up to too much.
_ODDS_SCALE = np.float32(0.25)
_BAYES_START = 0.3
# How common a token is shows in so many products.
_COUNTED = 20_000
_BLOCK = 1_000


@dataclass(frozen=True)
class FewShotParameters:
    """How `learn` learns.

    Attributes:
        penalty: on the weights of the tree-shared regression.
        node_text_weight: of the path and the name of a node as if they were answered products, from 100 answers on; a third of it without.
        regression_steps: of L-BFGS at most.
        expert_passes: over the answers. With some answers, but fewer than 3,000, half of both: as good, and quicker.
        folds: of near-duplicate groups, for evidence that hasn't seen the answer it is judged by. From 3,000 answers on three at most.
        max_stack_scores: answers times classes that the trusts are fitted on at most.
        balance: 0 weighs answers alike, 1 nodes alike, when trusts are fitted.
        expert_scale: margins are this much shorter than log-probabilities.
        propagation: weight in the regression of what answers say of unanswered products by way of their neighbours, all of them
            together beside all answers; 0 leaves them out.
        entropy_weight: in the regression, of the mean entropy of unanswered products beside the mean loss of an answer; 0 leaves
            them out.
        unanswered_products: drawn for the two at most.
        evenness: how far classes that names and rules draw too many products to are held back; 0 leaves them alone.
        evenness_products: drawn to see which these are, at most.
        member_weight: of a product whose group was answered, beside 1 for one that was answered itself.
        question_weight: of all products of such a group together.
    """

    penalty: float = 0.03
    node_text_weight: float = 0.3
    regression_steps: int = 30
    expert_passes: int = 10
    folds: int = 5
    max_stack_scores: int = 2_000_000
    balance: float = 0.35
    expert_scale: float = 4.0
    propagation: float = 0.0
    entropy_weight: float = 0.0
    unanswered_products: int = 2_000
    evenness: float = 0.25
    evenness_products: int = 1_000
    member_weight: float = 0.5
    question_weight: float = 5.0


DEFAULTS = FewShotParameters()


@dataclass(frozen=True)
class Opinions:
    """What models learnt from the other folds say of answers, a by-product of fitting trusts.

    Attributes:
        rows: int64 `[m]`, answered products, one of each near-duplicate group, a random part where there are thousands; none where
            trusts weren't fitted.
        logits: float32 `[m, C]`.
    """

    rows: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class FewShotModel:
    """The exclusive head as three tables: logits are `bag @ on_bag + latent @ on_latent + sum of rules * on_rules + bias`.

    Attributes:
        on_bag: float32 `[num_columns, C]`.
        on_latent: float32 `[d, C]`.
        on_rules: float32 `[C, P]`.
        bias: float32 `[C]`.
        trusts: name of each piece of evidence to the trust learnt in it.
        opinions: what models say that haven't seen the answers they are asked about.
    """

    on_bag: np.ndarray
    on_latent: np.ndarray
    on_rules: np.ndarray
    bias: np.ndarray
    trusts: dict[str, float]
    opinions: Opinions

    def logits(self, products: Products, rules: RuleEvidence, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C]`, added up in doubles and rounded once: to the bit what the model's graph says."""
        bag = products.bag[rows].astype(np.float64)
        columns, places = np.unique(bag.indices, return_inverse=True)
        narrow = sp.csr_matrix((bag.data, places, bag.indptr), shape=(len(rows), len(columns)))
        found: np.ndarray = narrow @ self.on_bag[columns].astype(np.float64)
        found += products.latent[rows].astype(np.float64) @ self.on_latent.astype(np.float64)
        found += self.bias
        said = rules.of(rows)
        for k in range(said.shape[2]):
            found += said[..., k].astype(np.float64) * self.on_rules[:, k]
        return found.astype(np.float32)

    def probabilities(self, products: Products, rules: RuleEvidence, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C]`, made block by block: what rules say of many products at once is large."""
        found = np.empty((len(rows), len(self.bias)), np.float32)
        for start in range(0, len(rows), _BLOCK):
            scores = self.logits(products, rules, rows[start : start + _BLOCK]).astype(np.float64)
            softmax_in_place(scores)
            found[start : start + _BLOCK] = scores
        return found


@dataclass(frozen=True)
class _Learnt:
    """What answers taught.

    Attributes:
        regression: float32 `[d + 1, C]`.
        columns: int `[K]`, the columns of the bag that answered products have.
        separators: float32 `[K + 1, C]`, of each class on those columns, the intercepts last.
        separators_above: float32 `[K + 1, C]`, those of the inner nodes that hold a class, summed.
        counts: int64 `[C]`, answers a class.
        token_odds: of naive Bayes.
    """

    regression: np.ndarray
    columns: np.ndarray
    separators: np.ndarray
    separators_above: np.ndarray
    counts: np.ndarray
    token_odds: TokenOdds


class _Learner:
    def __init__(self, features: FrozenFeatures, parameters: FewShotParameters, seed: int, unanswered: Unanswered | None = None) -> None:
        self.products, self.ancestry, self.known, self.rules = features.products, features.ancestry, features.known, features.rules
        self.parameters, self.seed, self._unanswered = parameters, seed, unanswered
        self.num_classes = features.num_classes
        self.names = [evidence.name for evidence in self.known] + list(self.rules.names) + list(LEARNT)
        self._without_answers = np.array([evidence.start for evidence in self.known] + list(self.rules.starts), np.float32)
        self._unconfirmed = np.array([1.0] * len(self.known) + list(self.rules.unconfirmed))
        self._evenness = np.zeros(self.num_classes, np.float32)
        self._token_shares = np.full(self.products.bag.shape[1], 1.0 / max(1, self.products.bag.shape[1]))
        nothing = sp.csr_matrix((self.products.bag.shape[1], self.num_classes), dtype=np.float32)
        self._typical = next((each.on_bag for each in self.known if each.name == CENTROIDS and each.on_bag is not None), nothing)
        self._inner = self.ancestry[self.ancestry.sum(axis=1) > 1]  # [inner nodes, C]
        self._texts = np.vstack([features.node_texts.paths, features.node_texts.names]).astype(np.float32)

    def starts(self, num_answers: int) -> np.ndarray:
        """Returns the trusts `[K]` before any answer has judged them."""
        confirmed = _confirmed(num_answers)
        known = self._without_answers.astype(np.float64) * (self._unconfirmed + (1.0 - self._unconfirmed) * confirmed)
        # Self-training was taught with common classes held back, and naive Bayes finds rare ones: to hold back once more is too much.
        taught = float(self._typical.nnz > 0)
        learnt = {
            REGRESSION: 0.25 + 0.25 * confirmed,
            EXPERT: 0.5 * confirmed,
            SEEN: -2.0,
            EVENNESS: 1.0 - taught,
            BAYES: _BAYES_START * taught,
        }
        return np.concatenate([known, [learnt.get(name, 0.0) for name in LEARNT]])

    def even_out(self, rows: np.ndarray) -> None:
        """Looks at these products for what draws too many: without answers, so that every fit sees the same."""
        starts = self.starts(0)[: len(self._without_answers)].astype(np.float32)
        latent, bag = self.products.latent[rows], self.products.bag[rows]
        scores = self.rules.of(rows) @ starts[len(self.known) :]
        for evidence, start in zip(self.known, starts, strict=False):
            scores += start * ((bag @ evidence.on_bag).toarray() if evidence.on_bag is not None else latent @ evidence.on_latent)
        self._evenness = evening(scores, self.parameters.evenness)

    def count_tokens(self, rows: np.ndarray) -> None:
        """Looks at these products for how common each token is."""
        # One more of each: a token that none of them has isn't impossible.
        sums = np.asarray(self.products.bag[rows].sum(axis=0), np.float64).ravel() + 1.0
        self._token_shares = sums / sums.sum()

    def learnt(self, rows: np.ndarray, classes: np.ndarray, partial: PartialAnswers | None = None) -> _Learnt:
        """Fits the regression and the expert to these answers."""
        vectors = np.vstack([self.products.latent[rows], self._texts])
        of_texts = np.tile(np.arange(self.num_classes), 2)
        confirmed = _confirmed(len(np.unique(self.products.groups[rows])))
        text_weight = self.parameters.node_text_weight * (_TEXTS_UNCONFIRMED + (1.0 - _TEXTS_UNCONFIRMED) * confirmed)
        weights = np.r_[np.ones(len(rows)), np.full(len(of_texts), text_weight)].astype(np.float32)
        steps = self._repeats(self.parameters.regression_steps, len(rows))
        weak = self._unanswered.weak_rows(rows, classes, self.num_classes) if self._unanswered else None
        regression = fit_regression(
            vectors, np.r_[classes, of_texts], weights, self.ancestry, self.parameters.penalty, steps, weak, self._open(partial)
        )
        counts = np.bincount(classes, minlength=self.num_classes)
        separated = rows if not partial else np.r_[rows, partial.rows]
        bag = self.products.bag[separated]
        columns = np.unique(bag.indices)
        sets, unknown, row_weights = self._sets(classes, partial)
        passes = self._repeats(self.parameters.expert_passes, len(rows))
        separators = fit_separators(bag[:, columns], sets, passes, self.seed, unknown=unknown, row_weights=row_weights)
        separators[-1] += np.where(sets.any(axis=0), 0.0, _UNSEEN_MARGIN)
        own, inner = separators[:, : self.num_classes], separators[:, self.num_classes :]
        different = _first_of_each(self.products.groups[rows])
        odds = fit_token_odds(self.products.bag[rows[different]], classes[different], self._token_shares, self._typical)
        return _Learnt(regression, columns, own, inner @ self._inner, counts, odds)

    def _sets(self, classes: np.ndarray, partial: PartialAnswers | None) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Returns in which sets answers are, the classes and then the inner nodes; where nobody knows; and their weights.

        "Somewhere under shoes" is in the set of shoes and of all above, in none beside them, and who knows in which below.
        """
        every = np.vstack([np.eye(self.num_classes, dtype=bool), self._inner > 0])
        sets = every[:, classes].T
        if not partial:
            return sets, None, None
        inside = partial.allowed.astype(np.float32) @ every.T.astype(np.float32)  # [m, S], classes that are left in the set
        all_inside = inside >= partial.allowed.sum(axis=1, keepdims=True)
        unknown = np.vstack([np.zeros_like(sets), (inside > 0) & ~all_inside])
        return np.vstack([sets, all_inside]), unknown, np.r_[np.ones(len(classes), np.float32), partial.weights]

    def _open(self, partial: PartialAnswers | None) -> OpenRows | None:
        if not partial:
            return None
        return OpenRows(self.products.latent[partial.rows].astype(np.float32), partial.allowed, partial.weights)

    def _repeats(self, most: int, num_answers: int) -> int:
        return (most + 1) // 2 if 0 < num_answers < _MANY else most

    def expert_scale(self, counts: np.ndarray) -> np.float32:
        """Returns what margins are multiplied by: of one class alone the expert has nothing to say."""
        return np.float32(self.parameters.expert_scale if (counts > 0).sum() > 1 else 0.0)

    def evidence(self, rows: np.ndarray, learnt: _Learnt) -> np.ndarray:
        """Returns every piece of evidence of these products, float32 `[len(rows), C, K]`."""
        bag, latent = self.products.bag[rows], self.products.latent[rows]
        found = np.empty((len(rows), self.num_classes, len(self.names)), np.float32)
        for k, evidence in enumerate(self.known):
            found[..., k] = (bag @ evidence.on_bag).toarray() if evidence.on_bag is not None else latent @ evidence.on_latent
        num_known = len(self._without_answers)
        found[..., len(self.known) : num_known] = self.rules.of(rows)
        without_answers = found[..., :num_known] @ self._without_answers
        scores = latent @ learnt.regression[:-1] + learnt.regression[-1]
        found[..., num_known] = scores - scores.max(axis=1, keepdims=True)
        scale, narrow = self.expert_scale(learnt.counts), bag[:, learnt.columns]
        for k, separators in ((1, learnt.separators), (2, learnt.separators_above)):
            found[..., num_known + k] = scale * (narrow @ separators[:-1] + separators[-1])
        fading, slowly = _fading(learnt.counts)
        found[..., num_known + 3] = without_answers * fading
        found[..., num_known + 4] = without_answers * slowly
        found[..., num_known + 5] = learnt.counts > 0
        found[..., num_known + 6] = np.log1p(learnt.counts)
        found[..., num_known + 7] = self._evenness
        found[..., num_known + 8] = _ODDS_SCALE * learnt.token_odds.scores(bag)
        return found

    def trusts(
        self, rows: np.ndarray, classes: np.ndarray, progress: Callable[[str], None], partial: PartialAnswers | None = None
    ) -> tuple[np.ndarray, Opinions]:
        """Returns the trusts `[K]`, judged by answers that the evidence hasn't seen, and what they make of that evidence."""
        groups = self.products.groups[rows]
        # Near-duplicates would count as so many answers that agree: one of each is judged.
        different = _first_of_each(groups)
        start = self.starts(len(different))
        counts = np.bincount(classes, minlength=self.num_classes)
        num_folds = self.parameters.folds if len(rows) < _MANY else min(self.parameters.folds, _FOLDS_OF_MANY)
        folds = _folds(groups, num_folds)
        if (counts > 0).sum() < 2:
            return start, self.no_opinions()
        per_fold = max(1, self.parameters.max_stack_scores // (self.num_classes * num_folds))
        rng = np.random.default_rng(self.seed)
        stacked, judged_rows, answers, weights = [], [], [], []
        partial = no_partial_answers(self.num_classes) if partial is None else partial
        open_folds = _folds(self.products.groups[partial.rows], num_folds)
        for fold in range(num_folds):
            inside, outside = np.flatnonzero(folds != fold), different[folds[different] == fold]
            if not len(inside) or not len(outside):
                continue
            judged = outside if len(outside) <= per_fold else np.sort(rng.choice(outside, per_fold, replace=False))
            progress(f"few_shot fold={fold + 1} of={num_folds}")
            learnt = self.learnt(rows[inside], classes[inside], partial.part(open_folds != fold))
            stacked.append(self.evidence(rows[judged], learnt))
            judged_rows.append(rows[judged])
            answers.append(classes[judged])
            weights.append(_unseen_weight(counts, learnt.counts)[classes[judged]])
        if not stacked:
            return start, self.no_opinions()
        judged_classes = np.concatenate(answers)
        row_weights = np.concatenate(weights)
        balanced = np.bincount(classes[different], minlength=self.num_classes)[judged_classes] ** -self.parameters.balance
        row_weights *= balanced * len(balanced) / balanced.sum()
        deviation, lowest = self._reach(start, len(different))
        evidence = np.concatenate(stacked)
        trusts = fit_trusts(evidence, judged_classes, row_weights.astype(np.float32), start, deviation, lowest, 60)
        return trusts, Opinions(np.concatenate(judged_rows), evidence @ trusts.astype(np.float32))

    def _reach(self, start: np.ndarray, num_answers: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns how far answers about so many different products move trusts, and how low: standard deviations and least values `[K]`."""
        deviation = np.maximum(np.abs(start), 1.0) * np.sqrt(_confirmed(num_answers))
        if num_answers >= _SOME:
            return deviation, np.full(len(start), -np.inf)
        deviation[np.isin(self.names, _JUDGED_LATE)] = 0.0
        return deviation, np.where(np.isin(self.names, _MAY_COUNT_AGAINST), -np.inf, np.minimum(start, 0.0))

    def no_opinions(self) -> Opinions:
        """Returns none."""
        return Opinions(np.zeros(0, np.int64), np.zeros((0, self.num_classes), np.float32))

    def compiled(self, learnt: _Learnt, trusts: np.ndarray, opinions: Opinions) -> FewShotModel:
        """Returns the sum of all evidence times trust as tables."""
        of = dict(zip(self.names, trusts, strict=True))
        fading, slowly = _fading(learnt.counts)
        fade = of[FADING] * fading + of[FADING_SLOWLY] * slowly  # [C]
        num_known, num_linear = len(self._without_answers), len(self.known)
        known = (trusts[:num_known, None] + self._without_answers[:, None] * fade[None]).astype(np.float32)  # [num_known, C]
        expert = self.expert_scale(learnt.counts) * (
            np.float32(of[EXPERT]) * learnt.separators + np.float32(of[EXPERT_ABOVE]) * learnt.separators_above
        )
        on_bag = np.zeros((self.products.bag.shape[1], self.num_classes), np.float32)
        on_bag[learnt.columns] = expert[:-1]
        on_latent = learnt.regression[:-1] * np.float32(of[REGRESSION])
        for evidence, weight in zip(self.known, known, strict=False):
            if evidence.on_bag is not None:
                _add_sparse(on_bag, evidence.on_bag, weight)
            else:
                on_latent = on_latent + evidence.on_latent * weight[None]
        bayes = np.float32(of[BAYES]) * _ODDS_SCALE
        on_bag += bayes * learnt.token_odds.on_any
        _add_sparse(on_bag, learnt.token_odds.on_tokens, np.full(self.num_classes, bayes, np.float32))
        bias = of[REGRESSION] * learnt.regression[-1] + expert[-1] + of[SEEN] * (learnt.counts > 0) + of[ANSWERS] * np.log1p(learnt.counts)
        bias += of[EVENNESS] * self._evenness
        return FewShotModel(
            np.asarray(on_bag, np.float32),
            on_latent.astype(np.float32),
            np.ascontiguousarray(known[num_linear:].T),
            bias.astype(np.float32),
            {name: round(float(trust), 4) for name, trust in of.items()},
            opinions,
        )


def _confirmed(num_answers: int) -> float:
    """Returns how far answers about so many different products confirm what was believed without them, 0 to 1."""
    return min(1.0, num_answers / _CONFIRMED_AT)


def _add_sparse(table: np.ndarray, rows: sp.csr_matrix, weight: np.ndarray) -> None:
    """Adds a sparse `[num_columns, C]` times a weight for each class `[C]` to a table."""
    places = rows.tocoo()  # Of a CSR matrix without duplicates, so that no place is named twice.
    table[places.row, places.col] += places.data * weight[places.col]


def _first_of_each(groups: np.ndarray) -> np.ndarray:
    """Returns the place of the first product of each group, in order."""
    return np.sort(np.unique(groups, return_index=True)[1])


def _fading(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fading = (1.0 / (1.0 + counts)).astype(np.float32)
    return fading, np.sqrt(fading)


def _unseen_weight(counts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the weight of a judged answer by its class `[C]`, given the answers there are and those inside the fold.

    A fold leaves nodes unseen that have an answer. Were these answers judged like others, trusts would be learnt for a world
    with more unseen nodes than there are; in the extreme, one answer a node, for one where every node is unseen.
    """
    unseen = inside == 0
    return np.where(unseen, (counts == 0).sum() / max(1, unseen.sum()), 1.0)


def _folds(groups: np.ndarray, folds: int) -> np.ndarray:
    mixed = (groups.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(folds)).astype(np.int64)


def learn(
    features: FrozenFeatures,
    answers: np.ndarray,
    seed: int,
    parameters: FewShotParameters = DEFAULTS,
    progress: Callable[[str], None] = lambda line: None,
    trusts: Mapping[str, float] | None = None,
    unanswered: np.ndarray | None = None,
    partial: PartialAnswers | None = None,
    quick: bool = False,
) -> FewShotModel:
    """Learns from the answers there are.

    Args:
        features: n products, answered or not, and what is known of them and of the nodes.
        answers: int64 `[n]`, a class, or -1 where nobody answered.
        seed: of the order of rows and of samples; the same seed gives the same model.
        parameters: how.
        progress: told one line a fold.
        trusts: of an earlier model, kept instead of learnt anew, which takes a quarter of the time. They change slowly: for a few
            more answers they are as good.
        unanswered: int64, numbers of the products that may be looked at without their answers; by default all. A study leaves
            out those it judges by.
        partial: answers that leave several classes open, such as "somewhere under shoes". One about a product whose class is
            in `answers` says nothing more. The regression and the expert learn from them; trusts are judged by answers that name a
            class alone, since what tells roots apart need not tell their nodes apart.
        quick: leaves near-duplicates that share an answer out where there are many, for a model between two batches.
    """
    rows = np.flatnonzero(answers >= 0)
    if quick:
        rows = _quick(rows, features.products.groups[rows], answers[rows], seed)
    drawn = None
    if parameters.propagation or parameters.entropy_weight:
        drawn = _drawn(features, rows, np.flatnonzero(answers < 0) if unanswered is None else unanswered, parameters, seed)
    learner = _Learner(features, parameters, seed, drawn)
    if parameters.evenness:
        learner.even_out(distinct_products(features.products.groups, unanswered, parameters.evenness_products, seed))
    learner.count_tokens(distinct_products(features.products.groups, unanswered, _COUNTED, seed))
    classes = answers[rows]
    said = no_partial_answers(features.num_classes)
    if partial is not None:
        said = weighed(informative(partial, answers), parameters.member_weight, parameters.question_weight)
    if trusts is None:
        found, opinions = learner.trusts(rows, classes, progress, said)
    else:
        found, opinions = np.array([trusts[name] for name in learner.names]), learner.no_opinions()
    return learner.compiled(learner.learnt(rows, classes, said), found, opinions)


def _quick(rows: np.ndarray, groups: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """Returns one product of each group and answer, and others of theirs until there are enough, in order."""
    _, first = np.unique(np.stack([groups.astype(np.int64), classes]), axis=1, return_index=True)
    others = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(len(rows)), first))
    kept: np.ndarray = rows[np.sort(np.concatenate([first, others[: max(0, _QUICK_PRODUCTS - len(first))]]))]
    return kept


def distinct_products(groups: np.ndarray, candidates: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Returns one product of each near-duplicate group, a sample where there are more than `count`."""
    rows = np.arange(len(groups)) if candidates is None else candidates
    first = np.sort(rows[_first_of_each(groups[rows])])
    return first if len(first) <= count else np.sort(np.random.default_rng(seed).choice(first, count, replace=False))


def _drawn(features: FrozenFeatures, answered: np.ndarray, candidates: np.ndarray, parameters: FewShotParameters, seed: int) -> Unanswered:
    return draw_unanswered(
        features.products,
        features.node_texts,
        answered,
        candidates,
        parameters.unanswered_products,
        seed,
        parameters.propagation,
        parameters.entropy_weight,
        parameters.node_text_weight,
    )
