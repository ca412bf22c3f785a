"""Wires the stages that use a blessed model: pool scores, index, neighbours, the push, the next batch."""

from __future__ import annotations

import json

from tfx.dsl.components.base.base_component import BaseComponent

from components.index_builder import IndexBuilder
from components.neighbour_lister import NeighbourLister
from components.pair_pusher import PairPusher
from components.pool_scorer import PoolScorer
from components.sampler import Sampler
from pipeline.code_version import stage_code
from pipeline.plan import RunPlan
from pipeline.sampling_inputs import committee_uris
from pipeline.stages.judging import Judging
from pipeline.stages.learning import Learning
from pipeline.stages.reading import Reading


def publishing_stages(
    plan: RunPlan, reading: Reading, learning: Learning, judging: Judging, looked_up: dict[str, object]
) -> list[BaseComponent]:
    """Returns the stages after the verdict in order; `looked_up` as for `judging_stages`."""
    settings = plan.settings
    model, blessing, taxonomy = learning.trainer.outputs["model"], judging.gate.outputs["blessing"], reading.taxonomy.outputs["taxonomy"]
    pool = PoolScorer(
        examples=reading.labelled.outputs["labelled_examples"],
        model=model,
        model_blessing=blessing,
        baseline_uri=plan.baseline_uri,
        baseline_version=plan.baseline_version,
        block_products=settings["scoring"]["block_products"],
        committee=json.dumps(committee_uris(settings["scoring"]["committee"], settings["push"]["folder"], settings["run"]["name"])),
        code=stage_code("PoolScorer"),
        **looked_up,
    )
    index = IndexBuilder(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy,
        **settings["index"],
        seed=settings["run"]["seed"],
        code=stage_code("IndexBuilder"),
    )
    pusher = PairPusher(
        model=model,
        model_blessing=blessing,
        infra_blessing=judging.smoke.outputs["blessing"],
        index=index.outputs["index"],
        push_folder=settings["push"]["folder"],
        name=settings["run"]["name"],
        round=plan.round,
        baseline_version=plan.baseline_version,
        keep=settings["push"]["keep"],
        code=stage_code("PairPusher"),
        **looked_up,
    )
    sampler = Sampler(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy,
        pushed_model=pusher.outputs["pushed_model"],
        **settings["sampling"],
        seed=settings["run"]["seed"],
        code=stage_code("Sampler"),
    )
    return [pool, index, *_neighbour_lister(plan, pool, reading.taxonomy), pusher, sampler]


def _neighbour_lister(plan: RunPlan, pool: BaseComponent, taxonomy: BaseComponent) -> list[BaseComponent]:
    told = dict(plan.settings["neighbours"])
    if not told.pop("enabled"):
        return []
    code = stage_code("NeighbourLister")
    return [NeighbourLister(pool.outputs["scored_pool"], taxonomy.outputs["taxonomy"], **told, code=code)]
