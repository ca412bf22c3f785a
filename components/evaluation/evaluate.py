"""Judges a model on one split, beside the blessed one where there is one, as the content of `metrics.json`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.acceptance_metrics import acceptance_metrics
from components.evaluation.comparison import changes, pick_examples
from components.evaluation.judgements import Judgement, write_judgements
from components.evaluation.scoring import EXTRA, JudgedProducts, ScoringModel, score_split, scores_of
from components.evaluation.wide_metrics import BoolArray, ProductFacts, clean, product_facts, wide_metrics
from few_shot.acceptance_file import ACCEPTANCE_FILE, read_acceptance
from schemas.taxonomy import Taxonomy

FORMAT_VERSION = 1
WORST_NODES = 15
EXAMPLES_OF_NODE = 4
EXAMPLES_OF_CHANGE = 10
# What of the blessed model is kept beside the candidate's: its pages were written when it was the candidate.
_OF_BASELINE = ("exclusive", "rule_based", "by_depth", "by_root", "by_shop", "by_missing_field")


def evaluate(
    split: Path, model: Path, baseline: Path | None, taxonomy: Taxonomy, block_products: int, judgements: Path | None = None
) -> dict[str, Any]:
    """Scores a split once with one or two models and returns everything that `metrics.json` holds but the blessing.

    Each model is judged in its own tree, the one its `assets.extra/model.json` names; the answers are the same node
    ids. Beyond `wide_metrics` there are `format_version`, `products` (how many were read, judged and ruled), `notes`
    (sentences a reader must know), `acceptance` (as `acceptance_metrics`, or None where the model says nothing of it),
    `baseline` (the other model's metrics or None), `changes` (as `comparison.changes`, or None) and `examples`: `worst_nodes`
    (node id to products), `became_right`, `became_wrong`.

    Args:
        split: folder of labelled examples, such as `Split-test`.
        model: SavedModel of the candidate.
        baseline: SavedModel of the model that is live, if any.
        taxonomy: the tree as it stands now.
        block_products: products scored at once.
        judgements: file to write what the candidate said of each answered product to; None: nowhere.

    Raises:
        EvaluationError: there are no examples.
        ModelError: a model that can't be loaded or has other outputs than its tree.
    """
    candidate = ScoringModel(model)
    models = [candidate, *([ScoringModel(baseline)] if baseline else [])]
    with tempfile.TemporaryDirectory(prefix="aisle-evaluation-") as spool:
        products, found = score_split(split, models, block_products, Path(spool))
        scores = [scores_of(products, heads, scorer.taxonomy) for heads, scorer in zip(found, models, strict=True)]
        facts = [product_facts(part, scorer.taxonomy) for part, scorer in zip(scores, models, strict=True)]
        wide = [wide_metrics(*parts) for parts in zip(scores, (scorer.taxonomy for scorer in models), facts, strict=True)]
        acceptance = read_acceptance(model / EXTRA / ACCEPTANCE_FILE)
        accepting = acceptance_metrics(acceptance, scores[0], products.groups, candidate.taxonomy) if acceptance else None
    result: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "products": {"read": products.read, "judged": int(facts[0].answered.sum()), "ruled": int((facts[0].rule_true > 0).sum())},
        **wide[0],
        "acceptance": accepting,
        "notes": list(_notes(facts[0], models, taxonomy)),
        "baseline": {name: wide[1][name] for name in _OF_BASELINE} if baseline else None,
        "changes": _changes(facts, candidate.taxonomy) if baseline else None,
    }
    describe = _Describer(products, facts, models, taxonomy)
    result["examples"] = _examples(products, facts, describe, wide[0])
    if judgements:
        write_judgements(judgements, [describe.judgement(row) for row in np.flatnonzero(facts[0].answered).tolist()])
    return dict(clean(result))


def _notes(facts: ProductFacts, models: Sequence[ScoringModel], taxonomy: Taxonomy) -> Iterator[str]:
    if not facts.answered.any():
        yield "Nobody has answered for any product of the judged split, so the model can't be judged. Answer a batch and run again."
    unknown = int((facts.answered & (facts.true_nodes < 0)).sum())
    if unknown:
        yield f"{unknown} answers name a category the model doesn't know; they count as mistakes."
    for name, model in zip(("model", "blessed model"), models, strict=False):
        if model.taxonomy.ids != taxonomy.ids:
            yield f"The {name} was made for another version of the category tree; it is judged in its own."


def _changes(facts: Sequence[ProductFacts], taxonomy: Taxonomy) -> dict[str, Any]:
    rows = facts[0].answered
    return changes(facts[0].correct[rows], facts[1].correct[rows], facts[0].true_nodes[rows], taxonomy)


def _examples(
    products: JudgedProducts,
    facts: Sequence[ProductFacts],
    describe: _Describer,
    wide: Mapping[str, Any],
) -> dict[str, Any]:
    own = facts[0]
    wrong = own.answered & ~own.correct
    found: dict[str, Any] = {"worst_nodes": {}, "became_right": [], "became_wrong": []}
    for node_id in worst_nodes(wide["by_node"]):
        involved = wrong & describe.involving(node_id)
        found["worst_nodes"][node_id] = [
            describe(row) for row in pick_examples(involved, own.confidence, products.titles, EXAMPLES_OF_NODE)
        ]
    if len(facts) > 1:
        before = facts[1].correct
        for name, flags in (("became_right", own.correct & ~before), ("became_wrong", before & ~own.correct)):
            rows = pick_examples(flags & own.answered, own.confidence, products.titles, EXAMPLES_OF_CHANGE)
            found[name] = [describe(row) for row in rows]
    return found


def worst_nodes(by_node: Mapping[str, Mapping[str, Any]], count: int = WORST_NODES) -> list[str]:
    """Returns the ids of the nodes that cost most weighted F1, worst first, without those that cost none."""
    ranked = sorted((node_id for node_id, row in by_node.items() if row["loss"]), key=lambda node_id: -by_node[node_id]["loss"])
    return ranked[:count]


class _Describer:
    """Says of a product number what a reader wants to see: title, answer, prediction, and how sure."""

    def __init__(self, products: JudgedProducts, facts: Sequence[ProductFacts], models: Sequence[ScoringModel], taxonomy: Taxonomy) -> None:
        self._products, self._facts, self._models = products, facts, models
        trees = [model.taxonomy for model in models]
        self._classes = [tree.exclusive_ids for tree in trees]
        self._holders = [[(holder, frozenset(holder.ids)) for holder in (taxonomy, tree)] for tree in trees]

    def involving(self, node_id: str) -> BoolArray:
        tree, facts = self._models[0].taxonomy, self._facts[0]
        number = tree.index(node_id)
        predicted = np.asarray(tree.exclusive)[facts.predicted]
        return np.asarray((facts.true_nodes == number) | (predicted == number))

    def __call__(self, row: int) -> dict[str, Any]:
        predictions = [self._predicted(row, number) for number in range(len(self._models))]
        return {
            "id": self._products.ids[row],
            "title": self._products.titles[row],
            "shop": self._products.shops[row],
            "answer": self._path(self._products.answers[row], 0),
            "prediction": predictions[0],
            "probability": float(self._facts[0].confidence[row]),
            "before": predictions[1] if len(predictions) > 1 else None,
        }

    def judgement(self, row: int) -> Judgement:
        """Returns what the candidate said of a product that a person answered."""
        answer, predicted = self._products.answers[row], self._classes[0][self._facts[0].predicted[row]]
        return Judgement(
            product_id=self._products.ids[row],
            title=self._products.titles[row],
            answer=answer,
            answer_path=self._path(answer, 0),
            root=self._root(answer),
            predicted=predicted,
            predicted_path=self._path(predicted, 0),
            probability=float(self._facts[0].confidence[row]),
        )

    def _root(self, node_id: str) -> str:
        holder = self._holder(node_id, 0)
        return str(holder[holder.chain(node_id)[0]].name) if holder else node_id

    def _predicted(self, row: int, number: int) -> str:
        return self._path(self._classes[number][self._facts[number].predicted[row]], number)

    def _path(self, node_id: str, number: int) -> str:
        holder = self._holder(node_id, number)
        return holder.path(node_id) if holder else node_id

    def _holder(self, node_id: str, number: int) -> Taxonomy | None:
        """Returns the tree that has a node: as it stands now, else as the model knows it."""
        return next((holder for holder, ids in self._holders[number] if node_id in ids), None)
