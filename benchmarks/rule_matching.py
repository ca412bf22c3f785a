"""Measures rule matching on one core: `.venv/bin/python -m benchmarks.rule_matching` (about a minute, 1 GB).

Synthetic products and phrase rules from a seed. The one-pass matcher stands beside the loop a shop would write, one `in`
per rule, on the same folded text; the ratio is what holds on another machine. Expect 50,000 rules at well over 1,000
products/s: the cost is the text and what matches, not how many rules there are. The last row is the worst case: half the
rules are taken from titles word by word, frequent words and repetitions included, so that hundreds fire on every product.
Writes `benchmarks/results/rule_matching.md`.
"""

from __future__ import annotations

import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import tensorflow as tf

from components.labelling import Answers, Labeller, label_file
from components.rule_matching import RuleMatcher
from schemas.rules import Rule
from schemas.taxonomy import Node, Taxonomy
from schemas.text import fold

SEED = 7
NUM_RULES = (1_000, 10_000, 50_000)
NUM_PRODUCTS = 20_000
NUM_NODES = 500
NUM_WORDS = 60_000
LOOPED_PRODUCTS = 100
REPEATS = 3
RESULT = Path(__file__).parent / "results" / "rule_matching.md"
ABOUT = f"""\
`.venv/bin/python -m benchmarks.rule_matching`: CPU seconds of one core, {NUM_PRODUCTS:,} synthetic products, seed {SEED}.
*Whole join* reads a TFRecord file, matches, counts the report and writes the labelled file. *Loop* is one `in` per rule on
the same folded text. *Common words*: frequent words and repeated phrases are rules, too, so that hundreds fire on every product."""
LETTERS = "aabcdeeefghiijklmnoopqrsttuvwxyz"


def made_words(rng: random.Random) -> list[str]:
    """Returns the vocabulary, most frequent word first; one in fifty has an accent."""
    words = {"".join(rng.choices(LETTERS, k=rng.randint(3, 10))) for _ in range(NUM_WORDS)}
    return [word + "é" if i % 50 == 0 else word for i, word in enumerate(sorted(words))]


def made_products(rng: random.Random, words: Sequence[str]) -> list[dict[str, str]]:
    """Returns products with a title of 6 to 14 words and, one in ten, a description of 60; word frequencies follow Zipf."""
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))

    def text(length: int) -> str:
        return " ".join(word.title() for word in rng.choices(words, cum_weights=weights, k=length))

    products = []
    for i in range(NUM_PRODUCTS):
        row = {"id": f"p{i}", "title": text(rng.randint(6, 14))}
        products.append({**row, "description": text(60)} if i % 10 == 0 else row)
    return products


def made_tree() -> Taxonomy:
    """Returns a tree in which every node has at most eight children."""
    return Taxonomy([Node(f"n{i}", f"n{(i - 1) // 8}" if i else "", f"Node {i}", True) for i in range(NUM_NODES)])


def made_rules(rng: random.Random, words: Sequence[str], products: Sequence[dict[str, str]], count: int, *, common: bool) -> list[Rule]:
    """Returns phrase rules: half from titles, half of words at random; one in ten looks into descriptions, one in fifty is a veto.

    Analysts write each phrase once, and no rule for a word that every fifth product has; with `common` they do both.
    """
    frequent = set() if common else {word.lower() for word in words[:200]}
    rules: dict[object, Rule] = {}
    while len(rules) < count:
        i = len(rules)
        size = rng.choice((1, 2, 2, 3))
        title = rng.choice(products)["title"].split()
        start = rng.randrange(len(title) - 2)
        phrase = title[start : start + size] if i % 2 else rng.choices(words, k=size)
        if len(phrase) == 1 and phrase[0].lower() in frequent:
            continue
        field = "description" if i % 10 == 0 else "title"
        rule = Rule(f"r{i}", f"n{rng.randrange(NUM_NODES)}", field, " ".join(phrase), veto=i % 50 == 0)
        rules.setdefault(i if common else (field, fold(rule.phrase)), rule)
    return list(rules.values())


def looped(rules: Sequence[Rule]) -> Callable[[dict[str, str]], list[str]]:
    """Returns the matcher a shop would write: every rule's phrase looked up in the folded text."""
    phrases = [(rule.rule_id, rule.field, f" {fold(rule.phrase)} ") for rule in rules]

    def match(product: dict[str, str]) -> list[str]:
        texts = {field: f" {fold(product.get(field, ''))} " for field in ("title", "description")}
        return [rule_id for rule_id, field, phrase in phrases if phrase in texts[field]]

    return match


def best_seconds(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """Returns the CPU seconds of the fastest of some repeats."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        act()
        found.append(time.process_time() - started)
    return min(found)


def join_seconds(matcher: RuleMatcher, products: Sequence[dict[str, str]]) -> float:
    """Returns the CPU seconds of the whole join: read a TFRecord file, match, count, write."""
    with tempfile.TemporaryDirectory() as folder:
        source = str(Path(folder) / "in.gz")
        with tf.io.TFRecordWriter(source, options="GZIP") as writer:
            for row in products:
                example = tf.train.Example()
                for name, value in row.items():
                    example.features.feature[name].bytes_list.value.append(value.encode())
                writer.write(example.SerializeToString())
        labeller = Labeller(matcher, Answers())
        return best_seconds(lambda: label_file(labeller, "dev", source, str(Path(folder) / "out.gz")))


def measure(count: int, common: bool, words: Sequence[str], products: Sequence[dict[str, str]]) -> str:
    """Returns one row of the table, after checking that both matchers agree."""
    rules = made_rules(random.Random(SEED + count), words, products, count, common=common)
    tree = made_tree()
    matcher = RuleMatcher(rules, tree)
    loop = looped(rules)
    few = products[:LOOPED_PRODUCTS]
    if [list(matcher.match(row).rule_ids) for row in few] != [loop(row) for row in few]:
        raise SystemExit("the one-pass matcher and the loop disagree")
    building = best_seconds(lambda: RuleMatcher(rules, tree), 1)
    matching = len(products) / best_seconds(lambda: [matcher.match(row) for row in products])
    joining = len(products) / join_seconds(matcher, products)
    looping = len(few) / best_seconds(lambda: [loop(row) for row in few], 1)
    fired = sum(len(matcher.match(row).rule_ids) for row in products) / len(products)
    sys.stderr.write(f"rules={count} matching={matching:.0f}/s joining={joining:.0f}/s loop={looping:.0f}/s\n")
    name = f"{count:,}, common words" if common else f"{count:,}"
    return f"| {name} | {fired:.1f} | {building:.2f} | {matching:,.0f} | {joining:,.0f} | {looping:,.0f} | {matching / looping:,.0f} |"


def main() -> None:
    """Measures and writes the table."""
    rng = random.Random(SEED)
    words = made_words(rng)
    rng.shuffle(words)
    products = made_products(rng, words)
    rows = [measure(count, False, words, products) for count in NUM_RULES]
    rows.append(measure(NUM_RULES[-1], True, words, products))
    head = "| rules | fired per product | build, s | match, products/s | whole join, products/s | loop, products/s | match : loop |"
    table = "\n".join([head, "|---|---|---|---|---|---|---|", *rows])
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(
        f"# Rule matching\n\n{ABOUT}\n\nPython {platform.python_version()}, {platform.machine()}.\n\n{table}\n", encoding="utf-8"
    )
    sys.stdout.write(table + "\n")


if __name__ == "__main__":
    main()
