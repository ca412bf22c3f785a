"""`aisle study replay` on a shop whose nodes are named in another script than its feed is written in: names say nothing, answers all."""

import contextlib
import gzip
import io
import json
import random
from collections import Counter

import pytest

from pipeline.cli import main
from studies.result_lines import read_lines
from tests.studies.catalogues import write_case

NAMES = {
    **{"Shoes": "ザメト類", "Sneakers": "Δρομάλια", "Boots": "Κνημαρίδες ψηλές", "Sandals": "Πελμάτινα"},
    **{"Bags": "Φόρτια", "Backpacks": "せおいブル", "Wallets": "コゼニ入れ", "Suitcases": "たびバコ"},
    **{"Home": "イエノ物", "Lamps": "Φεγγολίδες", "Chairs": "スワリ台", "Vases": "Ανθόκανες"},
}
# A node that neither comes first nor last, which a learner that knows nothing could name by chance.
FREQUENT = "wallets"


def write_foreign_case(folder):
    """Writes a case without rules of which words alone tell a node, and returns it with the true nodes of the products to judge."""
    case = write_case(folder, num_products=540)
    tree = (case / "taxonomy.tsv").read_text(encoding="utf-8")
    for name, other in NAMES.items():
        tree = tree.replace(f"\t{name}\t", f"\t{other}\t")
    (case / "taxonomy.tsv").write_text(tree, encoding="utf-8")
    (case / "rules.tsv").write_text("rule_id\tnode_id\tfield\tphrase\tveto\n", encoding="utf-8")
    head, *rows = (case / "gold.tsv").read_text(encoding="utf-8").splitlines()
    rng, nodes = random.Random(0), [row.split("\t")[1] for row in rows]
    words = {node_id: [made_up_word(rng) for _ in range(8)] for node_id in sorted({*nodes, "noise"})}
    with gzip.open(case / "feed.jsonl.gz", "wt", encoding="utf-8") as feed:
        for number, node_id in enumerate(nodes):
            said = [*rng.choices(words[node_id], k=rng.choice((1, 2, 2))), *rng.choices(words["noise"], k=2)]
            rng.shuffle(said)
            feed.write(json.dumps({"id": f"p{number}", "title": " ".join(said), "brand": rng.choice(words["noise"])}) + "\n")
    # Of all other nodes the truth is known of a third of the products, as many of them to judge as of this one.
    kept = [row for number, row in enumerate(rows) if nodes[number] == FREQUENT or number // 9 % 9 in (0, 1, 5)]
    (case / "gold.tsv").write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    return case, [node_id for _, node_id, split in (row.split("\t") for row in kept) if split == "test"]


def made_up_word(rng):
    return "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(3))


@pytest.mark.slow
def test_a_shop_whose_names_share_nothing_with_its_feed_learns_from_answers(tmp_path):
    case, truth = write_foreign_case(tmp_path / "case")
    with gzip.open(case / "feed.jsonl.gz", "rt", encoding="utf-8") as feed:
        assert not set(feed.read()) & set("".join(NAMES.values())) - {" "}
    assert not any(f"\t{name}\t" in (case / "taxonomy.tsv").read_text(encoding="utf-8") for name in NAMES)
    said, told = io.StringIO(), io.StringIO()
    words = ["study", "replay", "--case", case, "--work", tmp_path / "work", "--set", "statistics.enabled=false", "--workers", 1]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main([str(word) for word in [*words, "--seeds", 1, "--budgets", 0, 10, 60, "--out", tmp_path / "a.jsonl"]])
    assert code == 0, told.getvalue()
    none, few, many = read_lines(tmp_path / "a.jsonl")
    most_frequent = max(Counter(truth).values()) / len(truth)
    assert (none["answers"], few["answers"], many["answers"]) == (0, 10, 60)
    assert none["judged"] == many["judged"] == len(truth) and most_frequent > 0.25
    assert none["accuracy"] < most_frequent  # Else the names told something, and nothing is proved.
    assert few["accuracy"] > most_frequent
    assert many["accuracy"] > 0.75 and many["macro_f1"] > 0.7
    assert many["hierarchical_f1"] > few["hierarchical_f1"] + 0.1 > none["hierarchical_f1"] + 0.2
