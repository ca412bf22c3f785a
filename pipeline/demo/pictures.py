"""Draws a picture for an article: shape and marks carry the category, fill carries the colour, with noise over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.demo.articles import Article
from pipeline.demo.tree import DemoTree
from pipeline.demo.vocabulary import COLOURS

SIDE_PIXELS = 96
_JPEG_QUALITY = 78
_NO_COLOUR = (176, 168, 160)
# Shares of the picture files that are spoilt on purpose.
MISSING_RATE, TRUNCATED_RATE = 0.004, 0.004
Points = list[tuple[float, float]]


def draw_pictures(folder: Path, pictures: Mapping[str, Article], tree: DemoTree, rng: np.random.Generator) -> int:
    """Draws each article at its path below `folder`, spoils a few files, and returns how many there are."""
    shapes = {node_id: _shape_numbers(tree, node_id) for node_id in tree.answers}
    count = 0
    for path, article in pictures.items():
        fate = rng.random()
        if fate < MISSING_RATE:
            continue
        file = folder / path
        picture(shapes[article.node_id], article.colour, rng).save(file, format="JPEG", quality=_JPEG_QUALITY)
        if fate < MISSING_RATE + TRUNCATED_RATE:
            file.write_bytes(file.read_bytes()[:200])
        count += 1
    return count


def _shape_numbers(tree: DemoTree, node_id: str) -> tuple[int, int, int]:
    """Number of the node's root among roots, of its branch at depth 2 below it, and its own below that."""
    taxonomy = tree.taxonomy
    chain = taxonomy.chain(node_id)
    roots = [taxonomy.index(root.id) for root in tree.roots]
    branch = chain[1] if len(chain) > 1 else chain[0]
    branches = [i for i in taxonomy.subtree(taxonomy[chain[0]].id) if taxonomy.depths[i] == 2]
    return roots.index(chain[0]), branches.index(branch) if branch in branches else 0, chain[-1] - branch


def picture(shape: tuple[int, int, int], colour: str, rng: np.random.Generator) -> Image.Image:
    """Returns one drawn picture; the root gives the outline, the branch its stretch and turn, the leaf its marks."""
    root, branch, leaf = shape
    light = 226 + int(rng.integers(28))
    image = Image.new("RGB", (SIDE_PIXELS, SIDE_PIXELS), (light, light, light - int(rng.integers(12))))
    draw = ImageDraw.Draw(image)
    fill = COLOURS[colour][2] if colour else _NO_COLOUR
    edge = tuple(max(0, channel - 60) if sum(fill) > 200 else channel + 90 for channel in fill)
    centre = SIDE_PIXELS / 2 + rng.normal(0, 3, size=2)
    radius = SIDE_PIXELS * (0.34 + 0.03 * float(rng.normal()))
    draw.polygon(_outline(root, branch, centre, radius, float(rng.normal(0, 0.08))), fill=fill, outline=edge, width=2)
    _draw_marks(draw, leaf, centre, radius, edge)
    return _with_noise(image, rng)


def _outline(root: int, branch: int, centre: np.ndarray, radius: float, turn: float) -> Points:
    """A closed line with `root + 3` corners or waves, stretched and turned as the branch says."""
    wide = (1.0, 0.62, 1.25, 0.8)[branch % 4]
    lean = turn + (0.0, math.pi / 5)[branch // 4 % 2]
    waves, depth = root + 2, 0.12 + 0.16 * (branch % 3)
    points: Points = []
    for step in range(72):
        angle = 2 * math.pi * step / 72
        distance = radius * (1 - depth + depth * _wave(waves * angle, root))
        x, y = distance * math.cos(angle) * wide, distance * math.sin(angle)
        points.append((centre[0] + x * math.cos(lean) - y * math.sin(lean), centre[1] + x * math.sin(lean) + y * math.cos(lean)))
    return points


def _wave(angle: float, root: int) -> float:
    """Round waves at even roots, steps at odd ones."""
    height = math.cos(angle)
    return height if root % 2 == 0 else math.copysign(1.0, height)


def _draw_marks(draw: ImageDraw.ImageDraw, leaf: int, centre: np.ndarray, radius: float, edge: tuple[int, ...]) -> None:
    """Dots for the leaf's number modulo 5, bars for the rest."""
    for dot in range(leaf % 5):
        x, y = centre[0] + (dot - 1.5) * radius * 0.28, centre[1] - radius * 0.2
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=edge)
    for bar in range(leaf // 5 % 4):
        y = centre[1] + radius * (0.1 + 0.2 * bar)
        draw.line((centre[0] - radius * 0.5, y, centre[0] + radius * 0.5, y), fill=edge, width=3)


def _with_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.int16)
    coarse = rng.integers(-14, 15, size=(SIDE_PIXELS // 4, SIDE_PIXELS // 4, 1)).repeat(4, axis=0).repeat(4, axis=1)
    return Image.fromarray(np.clip(pixels + coarse, 0, 255).astype(np.uint8), "RGB")
