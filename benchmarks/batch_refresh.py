"""Times what stands between an answer and the next batch on a large invented catalogue: refit, scores of the pool, the pick."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.processes import figures_of, publish
from components.sampling.batch import pick
from components.sampling.contract import find_strategy
from components.scored_pool import CANDIDATE, PoolManifest, ScoredPool
from few_shot.calibration import softmax
from few_shot.evidence import LinearEvidence, NodeTexts, Products
from few_shot.frozen import FrozenFeatures
from few_shot.latent import unit_rows
from few_shot.learner import FewShotModel, learn
from few_shot.rule_evidence import RuleReadings
from few_shot.self_training import self_trained
from schemas.product import DEV
from schemas.settings import SamplingSettings, ScoringSettings
from schemas.taxonomy import Node, Taxonomy
from studies.frozen_catalogue import FrozenCatalogue
from studies.replay import ReplaySettings

ROOTS, GROUPS, LEAVES = 20, 4, 15  # 20 roots, 80 categories and 1,200 leaves: 1,300 nodes.
COLUMNS, TOKENS, DIMENSION, READ_BY_RULES, WORDS = 40_000, 12, 256, 64, 3
BATCH, BLOCK = 250, 2048
RESULTS = Path(__file__).parent / "results" / "batch_refresh.md"
SEED = 0


def invented_tree() -> Taxonomy:
    """Returns a tree of 1,300 nodes whose leaves are the answers."""
    nodes = []
    for root in range(ROOTS):
        nodes.append(Node(f"{root}", "", f"Root {root}", False))
        for group in range(GROUPS):
            nodes.append(Node(f"{root}.{group}", f"{root}", f"Category {group}", False))
            nodes += [Node(f"{root}.{group}.{leaf}", f"{root}.{group}", f"Leaf {leaf}", True) for leaf in range(LEAVES)]
    return Taxonomy(nodes)


def invented_catalogue(num_products: int) -> FrozenCatalogue:
    """Returns products whose titles hold a third of words of their node and its ancestors, and else words at random."""
    rng, tree = np.random.default_rng(SEED), invented_tree()
    classes = np.asarray(tree.exclusive)
    ancestry = np.zeros((len(tree), len(classes)), np.float32)
    for number, node_id in enumerate(tree.exclusive_ids):
        ancestry[tree.chain(node_id), number] = 1
    words = rng.integers(0, COLUMNS, (len(tree), WORDS))
    truth = rng.choice(len(classes), num_products, p=rng.dirichlet(np.full(len(classes), 0.3)))
    chains = np.array([tree.chain(node_id) for node_id in tree.exclusive_ids])  # [C, 3]
    own = words[chains[truth, rng.integers(0, 3, (TOKENS // 3, num_products))], rng.integers(0, WORDS, (TOKENS // 3, num_products))].T
    tokens = np.hstack([own, np.minimum(rng.zipf(1.3, (num_products, TOKENS - own.shape[1])), COLUMNS) - 1])
    bag = _bag(tokens)
    paths, names = _bag(words[chains].reshape(len(classes), -1)), _bag(words[classes])
    space = rng.standard_normal((COLUMNS, DIMENSION), dtype=np.float32)
    texts = NodeTexts(unit_rows(paths @ space), unit_rows(names @ space))
    features = FrozenFeatures(
        Products(bag, unit_rows(bag @ space), np.arange(num_products)),
        ancestry,
        [
            LinearEvidence("title ~ path", 2.5, on_bag=sp.csr_matrix(paths.T)),
            LinearEvidence("title ~ name", 2.0, on_bag=sp.csr_matrix(names.T)),
            LinearEvidence("latent ~ path", 4.0, on_latent=np.ascontiguousarray(texts.paths.T)),
            LinearEvidence("latent ~ name", 2.0, on_latent=np.ascontiguousarray(texts.names.T)),
        ],
        texts,
        _rules(tree, ancestry, truth, rng),
    )
    ids = [f"product-{number}" for number in range(num_products)]
    features = self_trained(features, np.arange(num_products), SEED)
    return FrozenCatalogue("invented", "", tree, features, ids, ids, np.zeros(num_products, bool), classes[truth], 0)


def _bag(tokens: np.ndarray) -> sp.csr_matrix:
    starts = np.arange(len(tokens) + 1) * tokens.shape[1]
    bag = sp.csr_matrix((np.ones(tokens.size, np.float32), tokens.reshape(-1), starts), shape=(len(tokens), COLUMNS))
    bag.sum_duplicates()
    lengths = np.sqrt(np.asarray(bag.multiply(bag).sum(axis=1))).ravel()
    return sp.csr_matrix(sp.diags(1.0 / lengths) @ bag, dtype=np.float32)


def _rules(tree: Taxonomy, ancestry: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> RuleReadings:
    weights = rng.standard_normal((READ_BY_RULES, len(tree)), dtype=np.float32)
    embedding = (ancestry.T @ weights.T)[truth] + 4 * rng.standard_normal((len(truth), READ_BY_RULES), dtype=np.float32)
    parents = np.array([len(tree) if parent < 0 else parent for parent in tree.parents])
    return RuleReadings(0.02 * embedding, weights, np.full(len(tree), -4.0, np.float32), np.asarray(tree.exclusive), parents)


def measure(num_products: int, num_answers: int, num_scored: int) -> dict[str, Any]:
    """Times one refresh in this process, wall and processor seconds of each step.

    Args:
        num_products: of the pool.
        num_answers: before the refresh; the model had nine tenths of them.
        num_scored: products of the pool that are scored, drawn at random; 0 for all.
    """
    catalogue = invented_catalogue(num_products)
    made_mb = _peak_mb()
    rng, classes = np.random.default_rng(SEED), catalogue.true_classes
    asked = rng.permutation(num_products)[:num_answers]
    answers, before = np.full(num_products, -1), np.full(num_products, -1)
    answers[asked], before[asked[: int(0.9 * num_answers)]] = classes[asked], classes[asked[: int(0.9 * num_answers)]]
    trusts = learn(catalogue.features, before, SEED).trusts
    unasked = np.flatnonzero(answers < 0)
    scored = rng.choice(unasked, num_scored, replace=False) if 0 < num_scored < len(unasked) else unasked
    rows = np.sort(np.concatenate([scored, asked]))
    steps: dict[str, tuple[float, float]] = {}
    model = _timed(steps, "refit", lambda: learn(catalogue.features, answers, SEED, trusts=trusts, quick=True))
    pool = _timed(steps, "scores", lambda: scored_pool(catalogue, model, rows, answers))
    strategy = find_strategy(SamplingSettings().strategy)
    items = _timed(steps, "pick", lambda: pick(pool, strategy, BATCH, SamplingSettings().audit_share, rng))
    return {"steps": steps, "peak_mb": _peak_mb(), "made_mb": made_mb, "items": len(items), "scored": len(rows)}


def scored_pool(catalogue: FrozenCatalogue, model: FewShotModel, rows: np.ndarray, answers: np.ndarray) -> ScoredPool:
    """Returns what a strategy reads of these products, scored block by block."""
    features, node_ids, top_k = (
        catalogue.features,
        np.array([*catalogue.taxonomy.exclusive_ids, None], dtype=object),
        ScoringSettings().top_k,
    )
    best, likely = np.empty((len(rows), top_k), np.int64), np.empty((len(rows), top_k), np.float32)
    entropy = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        shares = softmax(model.logits(features.products, features.rules, rows[block]))
        found = np.argpartition(-shares, top_k, axis=1)[:, :top_k]
        order = np.argsort(-np.take_along_axis(shares, found, 1), axis=1)
        best[block] = np.take_along_axis(found, order, 1)
        likely[block] = np.take_along_axis(shares, best[block], 1)
        entropy[block] = -(shares * np.log(np.maximum(shares, np.float32(1e-30)))).sum(axis=1)
    ids = np.array(catalogue.product_ids, dtype=object)[rows]
    return ScoredPool(
        PoolManifest(len(rows), DIMENSION, top_k, len(catalogue.taxonomy), "", CANDIDATE, 0),
        product_ids=ids,
        splits=np.full(len(rows), DEV, dtype=object),
        groups=ids,
        answered=answers[rows] >= 0,
        answer_nodes=node_ids[answers[rows]],
        title_keys=ids,
        exclusive_nodes=node_ids[best],
        exclusive_probabilities=likely,
        exclusive_entropy=entropy,
        embeddings=features.products.latent[rows],
    )


def _timed(steps: dict[str, tuple[float, float]], name: str, act: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    found = act()
    steps[name] = (time.perf_counter() - wall, time.process_time() - cpu)
    return found


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rows(found: dict[str, Any], label: str) -> Iterator[str]:
    walls, cpus = ([seconds[k] for seconds in found["steps"].values()] for k in (0, 1))
    cells = [f"{wall:.2f} / {cpu:.2f}" for wall, cpu in [*zip(walls, cpus, strict=True), (sum(walls), sum(cpus))]]
    yield f"| {label} | {found['scored']:,} | {' | '.join(cells)} | {found['peak_mb']:,.0f} |"


def main(arguments: Sequence[str]) -> int:
    """Measures each case in a process of its own and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--answers", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--scored", type=int, nargs="+", default=[ReplaySettings().scored_products, 0], help="0 for the whole pool")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        sys.stdout.write(json.dumps(measure(*given.one)))
        return 0
    lines = [
        "# From an answer to the next batch",
        "",
        "Command: `OPENBLAS_NUM_THREADS=1 python -m benchmarks.batch_refresh`",
        "",
        f"{os.cpu_count()} cores; {len(invented_tree()):,} nodes, {given.products:,} products, {DIMENSION} latent "
        f"dimensions, batches of {BATCH}. Seconds by the clock / of the processor. Trusts are kept from a model with nine tenths of the "
        "answers. Each row is a process of its own, whose peak includes the catalogue.",
        "",
        "| answers | products scored | refit | scores | pick | all | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for num_answers in given.answers:
        for num_scored in given.scored:
            words = (given.products, num_answers, num_scored)
            found = figures_of("benchmarks.batch_refresh", "--one", *words)
            sys.stderr.write(f"{words} {found}\n")
            lines += _rows(found, f"{num_answers:,}")
    publish(RESULTS, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
