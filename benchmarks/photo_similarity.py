"""Measures how well vectors of photos find similar products: frozen networks, plain baselines, and projections learnt from few labels.

python -m benchmarks.photo_similarity [--fashion FOLDER] [--weights FILE ...] [--cache FILE] [--photos N]

FOLDER holds products.jsonl.gz and tar files of photos (images-*.tar, images_alt-*.tar); FILEs are MobileNetV2 without its top. Without
them it says so and measures nothing. Writes photo_similarity.md into benchmarks/results/. Twelve thousand photos take about six minutes
for each network on one core, the second time seconds with --cache. Expect the larger network at the top of the frozen ones, and
discriminant directions to add to it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoders.batch_encoding import BatchEncoder
from encoders.registry import load_encoder
from encoders.vector_cache import VectorCache
from similarity.exact_index import ExactIndex
from similarity.vectors import in_tree_order

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULT = Path(__file__).parent / "results" / "photo_similarity.md"
K = 10
LABELS = (200, 1_000, 0)  # 0: all of the half that is learnt from.
_SHRINKAGES = (0.03, 0.1, 0.3, 0.6)
_LIKELY_TYPES = 30  # Photos a type needs for a line of its own.
_UPRIGHT = 3 / 4  # Width by height of every photo before some were pressed into squares.
_THUMBNAIL, _BINS, _WHITE = (24, 32), 8, 0.94
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """Products with a photo, and for some of them another rendition of the same photo.

    Attributes:
        main: image file of each product.
        category: root and second level of each.
        kind: article type of each, with its category.
        half: 0 or 1 of each; near-duplicates by title are in one half.
        others: row and other image file of the known pairs.
    """

    main: list[bytes]
    category: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    half: npt.NDArray[np.int64]
    others: list[tuple[int, bytes]]


def read_photos(folder: Path, count: int) -> Photos:
    """Returns the photos of a folder, the first of those that are equal byte by byte; `count`: at most, 0 for all."""
    files = {name: _unpacked(folder.glob(f"{name}-*.tar")) for name in ("images", "images_alt")}
    with gzip.open(folder / "products.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["image"]]
    seen: set[bytes] = set()
    kept = []
    for row in rows[: count or None]:
        digest = hashlib.sha256(files["images"][row["image"]]).digest()
        if digest not in seen:
            seen.add(digest)
            kept.append(row)
    names = [f"{row['id']}.jpg" for row in kept]
    return Photos(
        [files["images"][row["image"]] for row in kept],
        np.array([" > ".join(row["category_path"][:2]) for row in kept]),
        np.array([" > ".join(row["category_path"]) for row in kept]),
        np.array([hashlib.sha256(row["title"].casefold().encode()).digest()[0] % 2 for row in kept]),
        [(place, files["images_alt"][name]) for place, name in enumerate(names) if name in files["images_alt"]],
    )


def _unpacked(paths: Iterable[Path]) -> dict[str, bytes]:
    found = {}
    for path in sorted(paths):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    found[Path(member.name).name] = content.read()
    return found


def upright(image: bytes) -> Image.Image:
    """Returns a photo in the shape it was taken in: a square one was pressed into it."""
    photo = Image.open(io.BytesIO(image)).convert("RGB")
    width, height = photo.size
    return photo.resize((round(height * _UPRIGHT), height), Image.Resampling.BICUBIC) if width == height else photo


def pixels(images: Sequence[bytes]) -> Vectors:
    """Returns every photo's darkness in thumbnails; white, which is the background, is nothing."""
    return np.stack([1 - np.asarray(upright(image).resize(_THUMBNAIL), np.float32).ravel() / 255 for image in images])


def colours(images: Sequence[bytes]) -> Vectors:
    """Returns the square root of each photo's histogram of colours without its white background: cosine is Bhattacharyya's coefficient."""
    found = np.zeros((len(images), _BINS**3), np.float32)
    for row, image in zip(found, images, strict=True):
        values = np.asarray(upright(image).resize((96, 128)), np.float32).reshape(-1, 3) / 256
        values = values[values.min(axis=1) < _WHITE] if (values.min(axis=1) < _WHITE).any() else values
        places = (values * _BINS).astype(np.int64) @ np.array([_BINS * _BINS, _BINS, 1])
        row += np.sqrt(np.bincount(places, minlength=_BINS**3) / len(places))
    return found


def network(weights: Path, cache: Path | None) -> Callable[[Sequence[bytes]], Vectors]:
    """Returns what encodes photos with a frozen MobileNetV2, in the shape they were taken in."""
    encode = BatchEncoder(load_encoder("mobilenet_v2", weights), VectorCache(cache) if cache else None, at_once=32)

    def encoded(images: Sequence[bytes]) -> Vectors:
        return np.asarray(encode([_file(upright(image)) for image in images]).vectors)

    return encoded


def as_they_are(weights: Path, cache: Path | None) -> Callable[[Sequence[bytes]], Vectors]:
    """Returns the same for photos as they were found, some of them pressed into squares."""
    encode = BatchEncoder(load_encoder("mobilenet_v2", weights), VectorCache(cache) if cache else None, at_once=32)
    return lambda images: np.asarray(encode(list(images)).vectors)


def _file(photo: Image.Image) -> bytes:
    found = io.BytesIO()
    photo.save(found, "PNG", compress_level=1)
    return found.getvalue()


@dataclass(frozen=True)
class Scores:
    """How well vectors find similar products.

    Attributes:
        hits: share of the first 10 of each product, within its second-level category, that are of its article type.
        everywhere: the same among all products.
        pairs: for each known pair, the place of the other rendition's product within its second-level category, from 0.
    """

    hits: npt.NDArray[np.float64]
    everywhere: npt.NDArray[np.float64]
    pairs: npt.NDArray[np.int64]


def scores(photos: Photos, main: Vectors, others: Vectors) -> Scores:
    """Returns the scores of vectors `[num_products, dimension]` and `[num_pairs, dimension]`.

    Products are searched as the similarity server does it: exactly, in the slice of a category.
    """
    nodes, numbers = np.unique(photos.category, return_inverse=True)
    ids = [str(row) for row in range(len(main))]
    index = ExactIndex(in_tree_order(_told(main), ids, numbers, nodes.tolist(), range(1, len(nodes) + 1)))
    hits, everywhere = np.zeros(len(main)), np.zeros(len(main))
    pairs = np.zeros(len(others), np.int64)
    of_pair = np.array([row for row, _ in photos.others], np.int64)
    for number in range(len(nodes)):
        rows = np.flatnonzero(numbers == number)
        subtree = range(number, number + 1)
        hits[rows] = _hits(photos, rows, index.search(main[rows], K + 1, subtree).ids)
        everywhere[rows] = _hits(photos, rows, index.search(main[rows], K + 1).ids)
        asked = np.flatnonzero(np.isin(of_pair, rows))
        if len(asked):
            found = index.search(others[asked], len(rows), subtree).ids
            pairs[asked] = (found == of_pair[asked].astype(str)[:, None]).argmax(axis=1)
    return Scores(hits, everywhere, pairs)


def _told(vectors: Vectors) -> Vectors:
    """Returns vectors none of which is zero: a white photo is like no other."""
    empty = ~vectors.any(axis=1)
    return np.where(empty[:, None], np.float32(1), vectors)


def _hits(photos: Photos, rows: npt.NDArray[np.int64], ids: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    found = np.zeros(len(rows))
    for place, (row, named) in enumerate(zip(rows.tolist(), ids, strict=True)):
        near = [int(name) for name in named if int(name) != row][:K]
        found[place] = np.mean(photos.kind[near] == photos.kind[row]) if near else np.nan
    return found


def whitened(vectors: Vectors, kinds: npt.NDArray[np.str_], shrinkage: float) -> Callable[[Vectors], Vectors]:
    """Returns a linear projection in which products of one kind are alike: the inverse root of the scatter within kinds.

    Args:
        vectors: float32 `[num_products, dimension]`.
        kinds: of each.
        shrinkage: share of an even scatter mixed in, for what few labels can't say.

    Source:
        Bar-Hillel et al. 2003, ICML, "Learning distance functions using equivalence relations" (relevant component analysis).
    """
    centre = vectors.mean(axis=0)
    rest = np.concatenate([vectors[kinds == kind] - vectors[kinds == kind].mean(axis=0) for kind in np.unique(kinds)]).astype(np.float64)
    scatter = rest.T @ rest / len(rest)
    even = np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    values, directions = np.linalg.eigh((1 - shrinkage) * scatter + shrinkage * even)
    projection = (directions / np.sqrt(values)) @ directions.T
    return lambda given: np.asarray((given - centre) @ projection, np.float32)


def discriminant(vectors: Vectors, kinds: npt.NDArray[np.str_], shrinkage: float) -> Callable[[Vectors], Vectors]:
    """Returns `whitened` without the directions in which kinds don't differ (Fisher 1936, Annals of Eugenics 7)."""
    white = whitened(vectors, kinds, shrinkage)
    found = white(vectors)
    names, places = np.unique(kinds, return_inverse=True)
    means = np.stack([np.sqrt((places == number).sum()) * found[places == number].mean(axis=0) for number in range(len(names))])
    _, sizes, directions = np.linalg.svd(means, full_matrices=False)
    kept = directions[sizes > 1e-6 * sizes[0]]
    return lambda given: white(given) @ kept.T


PROJECTIONS = {"whitening within kinds": whitened, "discriminant directions": discriminant}


def part_of(photos: Photos, rows: npt.NDArray[np.int64]) -> tuple[Photos, npt.NDArray[np.int64]]:
    """Returns some of the products, and which of the known pairs are theirs."""
    places = {row: place for place, row in enumerate(rows.tolist())}
    pairs = np.array([number for number, (row, _) in enumerate(photos.others) if row in places], np.int64)
    others = [(places[photos.others[number][0]], photos.others[number][1]) for number in pairs.tolist()]
    return Photos([photos.main[row] for row in rows], photos.category[rows], photos.kind[rows], photos.half[rows], others), pairs


def learnt(photos: Photos, main: Vectors, others: Vectors, seed: int) -> list[tuple[str, Scores]]:
    """Returns the scores in the half that nothing was learnt from: frozen, and with each projection and number of labels."""
    rng = np.random.default_rng(seed)
    mine, rest = rng.permutation(np.flatnonzero(photos.half == 0)), np.flatnonzero(photos.half == 1)
    judged, pairs = part_of(photos, rest)
    found = [("frozen", scores(judged, main[rest], others[pairs]))]
    for count in LABELS:
        rows = mine[: count or None]
        for name, project in PROJECTIONS.items():
            shrinkage = _chosen(photos, main, rows, project)
            learn = project(main[rows], photos.kind[rows], shrinkage)
            found.append((f"{name}, {len(rows):,} labels", scores(judged, learn(main[rest]), learn(others[pairs]))))
    return found


def _chosen(photos: Photos, main: Vectors, rows: npt.NDArray[np.int64], project: Callable[..., Callable[[Vectors], Vectors]]) -> float:
    """Returns the shrinkage that does best on the second half of the labels, learnt from the first."""
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    judged, _ = part_of(photos, second)
    nothing = np.empty((0, main.shape[1]), np.float32)
    alone = Photos(judged.main, judged.category, judged.kind, judged.half, [])

    def precision(shrinkage: float) -> float:
        learn = project(main[first], photos.kind[first], shrinkage)
        return float(np.nanmean(scores(alone, learn(main[second]), nothing).everywhere))

    return max(_SHRINKAGES, key=precision)


def by_chance(photos: Photos) -> float:
    """Returns the precision of products drawn at random from the category."""
    found = np.zeros(len(photos.kind))
    for row, (category, kind) in enumerate(zip(photos.category, photos.kind, strict=True)):
        found[row] = ((photos.kind == kind).sum() - 1) / max(1, (photos.category == category).sum() - 1)
    return float(found.mean())


def contested(photos: Photos) -> npt.NDArray[np.bool_]:
    """Returns which products are in a category of more than one article type: elsewhere nothing can go wrong."""
    single = {category for category in np.unique(photos.category) if len(np.unique(photos.kind[photos.category == category])) == 1}
    return np.array([category not in single for category in photos.category])


def line(name: str, photos: Photos, found: Scores) -> str:
    """Returns one row of a table."""
    macro = np.mean([np.nanmean(found.hits[photos.kind == kind]) for kind in np.unique(photos.kind) if (photos.kind == kind).sum() > 1])
    inside = found.hits[contested(photos)]
    pairs = (np.mean(found.pairs < K), np.mean(found.pairs == 0)) if len(found.pairs) else (np.nan, np.nan)
    return (
        f"| {name} | {np.nanmean(found.hits):.3f} | {np.nanmean(inside):.3f} | {macro:.3f} | {np.nanmean(found.everywhere):.3f} "
        f"| {pairs[0]:.3f} | {pairs[1]:.3f} |"
    )


HEAD = [
    "| vectors | in the category | where types compete | mean of types | everywhere | pairs in the first 10 | pairs first |",
    "|---|---|---|---|---|---|---|",
]


def of_types(photos: Photos, columns: dict[str, Scores]) -> list[str]:
    """Returns the table of article types that compete within their category, the hardest for the last column first."""
    names = [kind for kind in np.unique(photos.kind[contested(photos)]) if (photos.kind == kind).sum() >= _LIKELY_TYPES]
    last = list(columns.values())[-1]
    names.sort(key=lambda kind: np.nanmean(last.hits[photos.kind == kind]))
    rows = ["| article type | photos | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for kind in names:
        cells = [f"{np.nanmean(found.hits[photos.kind == kind]):.3f}" for found in columns.values()]
        rows.append(f"| {kind} | {(photos.kind == kind).sum():,} | {' | '.join(cells)} |")
    return rows


def mistaken(photos: Photos, main: Vectors) -> list[str]:
    """Returns which article types stand in for which within a category, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    nodes, numbers = np.unique(photos.category, return_inverse=True)
    for number in range(len(nodes)):
        rows = np.flatnonzero(numbers == number)
        unit = _told(main[rows])
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        near = np.argsort(2 * np.eye(len(rows)) - unit @ unit.T, axis=1)[:, : min(K, len(rows) - 1)]
        for row, found in zip(rows, near, strict=True):
            for other in photos.kind[rows[found]]:
                if other != photos.kind[row]:
                    pair = (photos.kind[row].rpartition(" > ")[2], other.rpartition(" > ")[2])
                    counts[pair] = counts.get(pair, 0) + 1
    total = sum(counts.values())
    most = sorted(counts.items(), key=lambda item: -item[1])[:8]
    return [f"{one} answered with {other}: {count / total:.0%}" for (one, other), count in most]


def report(given: argparse.Namespace, photos: Photos) -> str:
    """Measures, and returns the page."""
    kinds: dict[str, Callable[[Sequence[bytes]], Vectors]] = {"raw pixels": pixels, "colours": colours}
    for weights in given.weights:
        name = (
            weights.name.split(".weights")[0].removesuffix(".h5").replace("_224_no_top", "").replace("_bnfolded_from_int8", ", from int8")
        )
        kinds[f"{name}, photos as found"] = as_they_are(weights, given.cache)
        kinds[name] = network(weights, given.cache)
    other_files = [image for _, image in photos.others]
    vectors = {}
    for name, encode in kinds.items():
        vectors[name] = (encode(photos.main), encode(other_files))
        sys.stderr.write(f"{name}: {len(photos.main):,} photos\n")
    found = {name: scores(photos, *pair) for name, pair in vectors.items()}
    best = list(kinds)[-1]
    half = part_of(photos, np.flatnonzero(photos.half == 1))[0]
    trained = learnt(photos, *vectors[best], given.seed)
    plain = learnt(photos, *vectors["raw pixels"], given.seed)
    lines = [
        "# Similar photos",
        "",
        "`python -m benchmarks.photo_similarity`",
        "",
        f"{len(photos.main):,} photos of fashion products on white, {len(np.unique(photos.kind))} article types in",
        f"{len(np.unique(photos.category))} second-level categories; {len(photos.others)} have another rendition of the same photo.",
        "Equal files are left out but for the first. Share of the 10 nearest photos that show the same article type: within the",
        "second-level category, there in categories of several types alone, the mean of all types, and among all photos; then the",
        "share of the other renditions whose own product is among the first 10 of its category, and the very first.",
        "",
        "## Nothing learnt",
        "",
        *HEAD,
        f"| drawn at random | {by_chance(photos):.3f} | | | | | |",
        *(line(name, photos, one) for name, one in found.items()),
        "",
        "## A projection learnt from labels",
        "",
        f"Half of the products by title, {len(half.main):,}, is searched and judged; labels are drawn from the other half, seed",
        f"{given.seed}, the shrinkage chosen within them. Vectors of {best}, and last raw pixels.",
        "",
        *HEAD,
        *(line(name, half, one) for name, one in trained),
        line(f"raw pixels, {plain[0][0]}", half, plain[0][1]),
        line(f"raw pixels, {plain[-1][0]}", half, plain[-1][1]),
        "",
        "## By article type",
        "",
        f"Within the second-level category, types with at least {_LIKELY_TYPES} photos, nothing learnt.",
        "",
        *of_types(photos, {name: found[name] for name in ("raw pixels", "colours", best)}),
        "",
        f"Of the wrong ones of {best}: {'; '.join(mistaken(photos, vectors[best][0]))}.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo_similarity", description=__doc__)
    parser.add_argument("--fashion", type=Path, default=SHARED / "fashion", metavar="FOLDER")
    parser.add_argument(
        "--weights", type=Path, nargs="+", metavar="FILE", default=sorted((SHARED / "weights").glob("mobilenet_v2_*.weights.h5"))
    )
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the networks' vectors here")
    parser.add_argument("--photos", type=int, default=0, metavar="N", help="the first N alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    missing = [str(path) for path in (given.fashion / "products.jsonl.gz", *given.weights) if not path.is_file()]
    if missing or not given.weights:
        sys.stderr.write(f"skipped: nothing is measured without {', '.join(missing) or 'weights of MobileNetV2'}. See --help.\n")
        return 0
    text = report(given, read_photos(given.fashion, given.photos))
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
