"""Runs PoolScorer, IndexBuilder, SmokeTester, PairPusher and Sampler as one TFX pipeline on the toy model."""

import json
from pathlib import Path

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.artifacts import TaxonomySnapshot
from components.batch_files import read_batch
from components.index_builder import IndexBuilder
from components.pair_pusher import PairPusher
from components.pair_pushing import push_pair, read_live
from components.pair_rollback import kept_versions, roll_back
from components.pool_scorer import PoolScorer
from components.push_folder import PushFolder
from components.sampler import Sampler
from components.scored_pool import read_scored_pool
from components.smoke_tester import SmokeTester
from pipeline.lineage import Lineage
from pipeline.results import open_metadata
from schemas.taxonomy import write_taxonomy
from similarity.planner import load_index
from tests.components.toy_pair import make_pair
from tests.components.toy_pool import TREE, toy_products
from tests.support.examples import write_examples
from tests.support.toy_model import write_toy_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    write_taxonomy(folder / "taxonomy.tsv", TREE)
    write_toy_model(folder / "model" / "Format-Serving", TREE)
    write_examples(folder / "examples", toy_products(400))
    return folder


def run(
    given: Path, root: Path, blessed: int = 1, baseline_uri: str = "", baseline_version: int = 0, committee: str = "[]"
) -> dict[str, Path]:
    """Runs the five stages and returns the folder of each artifact written, by type."""

    def imported(name, kind, folder, **properties):
        node = Importer(source_uri=str(folder), artifact_type=kind, custom_properties=properties, reimport=True).with_id(name)
        return node.outputs["result"]

    examples = imported("Examples", standard_artifacts.Examples, given / "examples")
    model = imported("Model", standard_artifacts.Model, given / "model", tfx_version="1.16.0")
    blessing = imported("Blessing", standard_artifacts.ModelBlessing, given, blessed=blessed)
    taxonomy = imported("Taxonomy", TaxonomySnapshot, given)
    live = {"baseline_uri": baseline_uri, "baseline_version": baseline_version}
    scorer = PoolScorer(examples, model, blessing, block_products=64, committee=committee, **live)
    pool = scorer.outputs["scored_pool"]
    indexer = IndexBuilder(scored_pool=pool, taxonomy=taxonomy)
    tester = SmokeTester(model=model, examples=examples)
    pusher = PairPusher(model, blessing, tester.outputs["blessing"], indexer.outputs["index"], str(root / "serving"), "shop")
    sampler = Sampler(
        scored_pool=pool,
        taxonomy=taxonomy,
        pushed_model=pusher.outputs["pushed_model"],
        strategy="vote_entropy" if committee != "[]" else "margin",
        batch_size=20,
        audit_share=0.2,
        seed=3,
        subtree="Shoes" if committee != "[]" else "",
    )
    channels = (examples, model, blessing, taxonomy)
    nodes = [channel.producer_component for channel in channels] + [scorer, indexer, tester, pusher, sampler]
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(Pipeline("shop", str(root / "runs"), components=nodes, metadata_connection_config=connection))
    return _written(connection)


def _artifacts(root: Path, kind: str) -> list[metadata_store_pb2.Artifact]:
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))) as handle:
        return sorted(handle.store.get_artifacts_by_type(kind), key=lambda artifact: artifact.id)


def _written(connection: metadata_store_pb2.ConnectionConfig) -> dict[str, Path]:
    with metadata.Metadata(connection) as handle:
        found = handle.store.get_artifacts()
        types = {kind.id: kind.name for kind in handle.store.get_artifact_types()}
    return {types[artifact.type_id]: Path(artifact.uri) for artifact in sorted(found, key=lambda artifact: artifact.id)}


@pytest.fixture(scope="module")
def blessed_run(given, tmp_path_factory):
    root = tmp_path_factory.mktemp("blessed")
    push_pair(*make_pair(root / "earlier"), root / "serving", "shop", 100)
    return root, run(given, root)


def test_a_blessed_model_goes_live_with_its_index_under_one_version(blessed_run):
    root, _ = blessed_run
    live = read_live(root / "serving", "shop")
    index, manifest = load_index(live.index, live.version)
    assert (live.model / "saved_model.pb").is_file()
    assert manifest.num_products == 400
    assert index.search(index.products.vectors[:1], 1).ids[0, 0] in index.products.product_ids


def test_the_pool_holds_every_product_with_its_fields(blessed_run):
    pool = read_scored_pool(blessed_run[1]["components.ScoredPool"])
    rows = {product_id: row for row, product_id in enumerate(pool.product_ids)}
    assert len(pool) == 400
    assert pool.manifest.model == "candidate"
    assert pool.fields["brand"][rows["p1"]] == "Ünïcø"
    assert pool.fields["brand"][rows["p0"]] is None
    assert pool.splits[rows["p0"]] == "test"
    assert pool.answered[rows["p4"]]
    assert not pool.answered[rows["p5"]]
    assert pool.rule_ids[rows["p5"]] == ["r1", "r2"]
    assert np.allclose(np.linalg.norm(pool.embeddings, axis=1), 1, atol=1e-3)


def test_the_batch_names_the_version_that_went_live(blessed_run):
    root, written = blessed_run
    items, manifest = read_batch(written["components.SamplingBatch"])
    assert manifest.version == read_live(root / "serving", "shop").version
    assert len(items) == manifest.num_items == 20
    assert sum(item["stream"] == "audit" for item in items) == 4
    assert all(item["suggestions"][0]["path"] for item in items)
    assert any(item["reason"].startswith("torn between ") for item in items)


def test_the_smoke_test_writes_what_tfx_pusher_reads(blessed_run):
    assert (blessed_run[1]["InfraBlessing"] / "INFRA_BLESSED").is_file()


def test_the_same_pair_pushed_again_stays_at_its_version(given, blessed_run):
    root, _ = blessed_run
    before = json.loads((root / "serving" / "live.json").read_text())
    run(given, root)
    assert json.loads((root / "serving" / "live.json").read_text()) == before


def test_without_a_blessing_the_live_model_scores_and_nothing_is_pushed(given, blessed_run, tmp_path):
    live = read_live(blessed_run[0] / "serving", "shop")
    members = json.dumps([str(given / "model" / "Format-Serving"), str(live.model)])  # The live model is a member anyway.
    written = run(given, tmp_path, blessed=0, baseline_uri=str(live.model), baseline_version=live.version, committee=members)
    pool = read_scored_pool(written["components.ScoredPool"], ["committee_nodes", "exclusive_nodes"])
    assert pool.committee_nodes.shape == (400, 2, pool.exclusive_nodes.shape[1])
    assert (pool.committee_nodes[:, 0] == pool.exclusive_nodes).all()
    assert (pool.manifest.model, pool.manifest.version) == ("blessed", live.version)
    assert not (tmp_path / "serving").exists()
    items, manifest = read_batch(written["components.SamplingBatch"])
    assert (manifest.version, manifest.strategy, manifest.subtree) == (live.version, "vote_entropy", "Shoes")
    assert all("within Shoes" in item["reason"] for item in items)


def test_after_a_rollback_the_same_round_is_fine_but_its_model_stays_out_and_says_why(given, blessed_run):
    root, _ = blessed_run
    version = read_live(root / "serving", "shop").version
    assert roll_back(root / "serving", "shop", 1, "ann@shop").version == 100
    written = run(given, root)
    assert read_live(root / "serving", "shop").version == 100
    said = _artifacts(root, "PushedModel")[-1].custom_properties
    assert said["pushed"].int_value == 0
    assert f"the model of version {version}, which was rolled back" in said["reason"].string_value
    assert len(read_batch(written["components.SamplingBatch"])[0]) == 20


def test_the_metadata_tells_which_run_pushed_which_version(blessed_run):
    root, _ = blessed_run
    version = max(kept.version for kept in kept_versions(root / "serving", "shop"))
    lineage = Lineage(open_metadata(root))
    pushed = lineage.pushed(version)[0]
    assert lineage.run_of(pushed.stage) == lineage.runs()[0] == PushFolder(root / "serving", "shop").changes()[1].run
    assert lineage.model_of(pushed).kind == "Model"
    made = {artifact.name for artifact in lineage.descendants([lineage.model_of(pushed).number]).artifacts}
    assert {"PoolScorer.scored_pool", "IndexBuilder.index", "SmokeTester.blessing", "PairPusher.pushed_model", "Sampler.batch"} <= made
