"""Makes the taxonomy, model, examples and scored pool that tests of the stages after training share."""

from io import BytesIO
from pathlib import Path

import numpy as np

from components.pool_scoring import Scorer, read_model_description, score_file, split_files
from components.scored_pool import PoolManifest, pool_files, write_pool_manifest
from schemas.product import SPLITS
from schemas.taxonomy import Node, Taxonomy
from tests.support.examples import write_examples
from tests.support.toy_model import write_toy_model

TREE = Taxonomy(
    [
        Node("s", "", "Shoes", True),
        Node("k", "s", "Sneakers", True),
        Node("o", "s", "Boots", True),
        Node("b", "", "Bags", False),
        Node("h", "b", "Handbags", True),
        Node("r", "b", "Backpacks", True),
    ]
)
WORDS = ("red", "blue", "sneakers", "boots", "handbags", "backpacks", "shoes", "leather")


def toy_products(count: int) -> list[dict]:
    """Returns products p0, p1, ... two of a group, one in ten of split test, one in ten answered, one in twelve without a title."""
    rng = np.random.default_rng(0)
    titles = [" ".join(rng.choice(WORDS, 3)) for _ in range(count)]
    return [
        {
            "id": f"p{i}",
            "title": title if i % 12 != 7 else None,
            "brand": "Ünïcø" if i % 3 else None,
            "price": 12.99 if i % 2 else None,
            "group": f"g{i // 2}",
            "split": "test" if i % 20 < 2 else "dev",
            "answer_node": "k" if i % 10 == 4 else None,
            "rule_ids": ["r1", "r2"] if i % 5 == 0 else None,
        }
        for i, title in enumerate(titles)
    ]


def write_toy_pool(folder: Path, count: int, block_products: int = 64) -> Path:
    """Writes model, examples and a scored pool below `folder`, and returns the pool's folder."""
    write_toy_model(folder / "model", TREE, top_k=4)
    write_examples(folder / "examples", toy_products(count))
    scorer, pool = Scorer(str(folder / "model")), folder / "pool"
    pool.mkdir()
    for number, split in enumerate(SPLITS):
        for path in split_files(folder / "examples", split):
            file = BytesIO()
            score_file(scorer, path, split, file, block_products)
            (pool / f"scored-{number:05d}-of-{len(SPLITS):05d}.parquet").write_bytes(file.getvalue())
    described = read_model_description(str(folder / "model"))
    manifest = PoolManifest(count, described["embedding_dimension"], 4, len(TREE), str(folder / "model"), "candidate", 0, "digest")
    write_pool_manifest(pool, manifest)
    assert len(pool_files(pool)) == len(SPLITS)
    return pool
