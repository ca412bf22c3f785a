"""Measures encoders: how exact they are, and how many texts and pictures a second they encode.

`.venv/bin/python -m benchmarks.encoders --minilm FOLDER --feed FILE.jsonl.gz` (about five minutes), and with
`--original PYTHON`, a Python with the package `tokenizers` that reads FOLDER/tokenizer.json; `--mobilenet FILE --images FOLDER`.
Expect no text cut in another way than the original cuts it, vectors within 1e-6 of plain float64 arithmetic, and word pieces at a
hundred times the speed of the network. Writes `benchmarks/results/encoders.md`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

from encoders.batch_encoding import BatchEncoder, encode_texts
from encoders.bert_checkpoint import BertArrays, read_vocabulary
from encoders.contract import Encoder
from encoders.image_files import read_picture
from encoders.registry import load_encoder
from encoders.vector_cache import VectorCache
from encoders.wordpiece import FIRST, LAST, WordPiece
from tests.support.plain_bert import sentence_vector

SEED = 7
RESULT = Path(__file__).parent / "results" / "encoders.md"
NUM_EXACT, NUM_HOSTILE, NUM_CHECKED = 20_000, 20_000, 200
NUM_TITLES, NUM_DESCRIPTIONS, NUM_IMAGES = 3_000, 300, 300
_LETTERS = [
    *"abcXYZ019 \t\n.,-#[]$~'\"éÜñİıŞßÆﬁ½²™€漢字かカﾊ한नमस्तअعربไท🙂\u200d\u0301\u0308\x00\x07\u00ad\ufeff\u2028\u0085\u00a0Ａ①–…„",
    *("[CLS]", "[SEP]", "[MASK]", "[cls]", "\ue000", "the", "running", "shoes", "##ing"),
]
# Run by the other Python: texts as JSON in, ids without the marks out.
_ORIGINAL = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_padding()
tokenizer.no_truncation()
json.dump([found.ids[1:-1] for found in tokenizer.encode_batch(json.load(open(sys.argv[2])))], open(sys.argv[3], "w"))
"""
ABOUT = """\
`.venv/bin/python -m benchmarks.encoders --minilm FOLDER --feed FILE --original PYTHON --mobilenet FILE --images FOLDER`.
Speeds are per CPU second of one core, so that a busy machine changes them little."""
Row = tuple[str, str, str]


def texts_of(feed: Path) -> tuple[list[str], list[str]]:
    """Returns the titles and the descriptions of a feed of JSON lines."""
    with gzip.open(feed, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["title"] for row in rows if row.get("title")], [row["description"] for row in rows if row.get("description")]


def hostile_texts() -> list[str]:
    """Returns random strings of letters of all scripts, control characters and marks."""
    rng = random.Random(SEED)
    found = ["".join(rng.choices(_LETTERS, k=rng.randint(0, 40))) for _ in range(NUM_HOSTILE)]
    return [*found, "", "x" * 100, "x" * 101, "é" * 100, "é" * 101, "[CLS", "[C\ue000LS]"]


def code_points() -> list[str]:
    """Returns every code point of planes 0 to 2 between two letters."""
    return [f"a{chr(number)}b" for number in range(0x30000) if not 0xD800 <= number < 0xE000]


def exactness(folder: Path, original: str, texts: dict[str, list[str]]) -> Iterator[Row]:
    """Yields how many texts are cut in another way than the original cuts them."""
    tokenizer = WordPiece(read_vocabulary(folder))
    cut = tf.function(tokenizer, input_signature=[tf.TensorSpec([None], tf.string)])
    for name, part in texts.items():
        expected = _original_ids(folder, original, part)
        found: list[list[int]] = []
        for start in range(0, len(part), 1024):
            found += cut(tf.constant([text.encode() for text in part[start : start + 1024]])).to_list()
        different = sum(left != right for left, right in zip(found, expected, strict=True))
        yield f"{name} cut otherwise than the original", f"{different:,} of {len(part):,}", ""


def _original_ids(folder: Path, original: str, texts: list[str]) -> list[list[int]]:
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch, "texts.json"), Path(scratch, "ids.json")
        given.write_text(json.dumps(texts), encoding="utf-8")
        command = [original, "-c", _ORIGINAL, str(folder / "tokenizer.json"), str(given), str(made)]
        subprocess.run(command, check=True)
        found: list[list[int]] = json.loads(made.read_text(encoding="utf-8"))
    return found


def vector_exactness(encoder: Encoder, folder: Path, titles: Sequence[str]) -> Iterator[Row]:
    """Yields how far vectors are from plain arithmetic in float64, and how much a batch changes them."""
    arrays, heads, vocabulary = load_file(str(folder / "model.safetensors")), BertArrays(folder).sizes.heads, read_vocabulary(folder)
    marks = [vocabulary.index(FIRST)], [vocabulary.index(LAST)]
    part = list(dict.fromkeys(titles))[:NUM_CHECKED]
    ids = WordPiece(vocabulary)(tf.constant([title.encode() for title in part])).to_list()
    expected = np.array([sentence_vector(arrays, [[*marks[0], *row, *marks[1]]], heads) for row in ids])
    found = encode_texts(encoder, part)
    cosine = (found * expected).sum(1).min()
    yield f"{len(part)} titles beside float64: greatest difference", f"{abs(found - expected).max():.1e}", f"least cosine {cosine:.7f}"
    alone = np.concatenate([encoder(tf.constant([title.encode()])).numpy() for title in part[:50]])
    yield "the same title alone and in a batch: greatest difference", f"{abs(found[:50] - alone).max():.1e}", ""


def text_speed(encoder: Encoder, folder: Path, titles: Sequence[str], descriptions: Sequence[str]) -> Iterator[Row]:
    """Yields texts a CPU second of the tokenizer, the whole encoder, and the cache."""
    rng = random.Random(SEED)
    titles, descriptions = (
        rng.sample(list(dict.fromkeys(texts)), size) for texts, size in ((titles, NUM_TITLES), (descriptions, NUM_DESCRIPTIONS))
    )
    cut = tf.function(WordPiece(read_vocabulary(folder)), input_signature=[tf.TensorSpec([None], tf.string)])
    batches = [tf.constant([title.encode() for title in titles[start : start + 256]]) for start in range(0, len(titles), 256)]
    encode = BatchEncoder(encoder)
    encode([b"a", b"b"])
    raw = [title.encode() for title in titles]
    whole = _per_cpu_second(len(titles), lambda: encode(raw))
    yield "titles, word pieces alone", _speed(_per_cpu_second(len(titles), lambda: [cut(batch) for batch in batches])), ""
    yield "titles, strings to vectors", _speed(whole), "1"
    longer = _per_cpu_second(len(descriptions), lambda: encode([text.encode() for text in descriptions]))
    yield "descriptions, strings to vectors, 128 word pieces", _speed(longer), f"{longer / whole:.2f}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "vectors.sqlite")
        BatchEncoder(encoder, VectorCache(path))(raw)
        known = BatchEncoder(encoder, VectorCache(path))
        cached = _per_cpu_second(len(titles), lambda: known(raw))
    yield "titles from the cache", _speed(cached), f"{cached / whole:,.0f}"


def image_speed(weights: Path, images: Path) -> Iterator[Row]:
    """Yields pictures a CPU second, files in and vectors out."""
    encoder = load_encoder("mobilenet_v2", weights)
    paths = sorted(path for path in images.rglob("*") if path.is_file())[:NUM_IMAGES]
    files = [found.content for path in paths if (found := read_picture(images, str(path.relative_to(images)))).content]
    encode = BatchEncoder(encoder, at_once=32)
    encode(files[:2])
    speed = _per_cpu_second(len(files), lambda: encode(files))
    yield f"pictures, files to vectors ({len(files)} of {sum(map(len, files)) // max(1, len(files)) // 1000} kB)", _speed(speed), ""


def _per_cpu_second(count: int, act: Callable[[], object]) -> float:
    act()
    started = time.process_time()
    act()
    return count / (time.process_time() - started)


def _speed(per_second: float) -> str:
    return f"{per_second:,.0f}"


def _table(columns: tuple[str, str, str], rows: Sequence[Row]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ("---", "---", "---"), *rows))


def main(arguments: Sequence[str]) -> int:
    """Measures what it is given the files for, and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument("--minilm", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--feed", type=Path, required=True, metavar="FILE", help="JSON lines with title and description, gzip")
    parser.add_argument("--original", metavar="PYTHON", help="a Python that has the package tokenizers")
    parser.add_argument("--mobilenet", type=Path, metavar="FILE")
    parser.add_argument("--images", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    titles, descriptions = texts_of(given.feed)
    encoder = load_encoder("minilm", given.minilm)
    exact: list[Row] = []
    if given.original:
        texts = {"titles": titles[:NUM_EXACT], "descriptions": descriptions[: NUM_EXACT // 4], "hostile texts": hostile_texts()}
        exact += exactness(given.minilm, given.original, {**texts, "code points of planes 0 to 2": code_points()})
    exact += vector_exactness(encoder, given.minilm, titles)
    speed = list(text_speed(encoder, given.minilm, titles, descriptions))
    if given.mobilenet and given.images:
        speed += image_speed(given.mobilenet, given.images)
    page = f"# Encoders\n\n{ABOUT} Python {platform.python_version()}, TensorFlow {tf.__version__}, {platform.machine()}.\n\n"
    page += _table(("exactness", "found", ""), exact) + "\n\n" + _table(("speed", "a CPU second", "times titles"), speed) + "\n"
    given.out.write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
