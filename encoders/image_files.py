"""Reads pictures of a folder for encoding: bounded, in a format that graphs decode, or with a reason why there is none."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from schemas.image_place import image_file, is_on_the_web

NO_IMAGE, ON_THE_WEB, OUTSIDE, NOT_FOUND = "no_image", "on_the_web", "outside_folder", "not_found"
EMPTY, TOO_MANY_BYTES, TOO_MANY_PIXELS, UNDECODABLE = "empty_file", "too_many_bytes", "too_many_pixels", "undecodable"
MAX_BYTES, MAX_PIXELS = 20_000_000, 40_000_000
# Of what can't be shrunk while it is decoded, which is all but a JPEG in one scan: 100 MB in 4 bytes a pixel.
MAX_WHOLE_PIXELS = 25_000_000
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# What graphs can't decode, or not within bounds: of an animation they would unpack every frame.
_TRANSCODED = ("WEBP", "GIF", "BMP", "AVIF")
_QUALITY = 95
_WHITE = (255, 255, 255, 255)


class Picture(NamedTuple):
    """A picture's file, or why there is none.

    Attributes:
        content: a whole JPEG or PNG file; empty where there is no picture.
        reason: why not; empty where there is one.
    """

    content: bytes
    reason: str


def read_picture(folder: Path | None, image: str | None) -> Picture:
    """Returns the file that a product's field `image` names; nothing is ever fetched, and no value makes it fail."""
    if not image:
        return Picture(b"", NO_IMAGE)
    if is_on_the_web(image):
        return Picture(b"", ON_THE_WEB)
    if folder is None:
        return Picture(b"", NOT_FOUND)
    try:
        path = image_file(folder, image)
        if not path.is_file():
            return Picture(b"", NOT_FOUND)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except ValueError:  # Leaves the folder, or holds a NUL.
        return Picture(b"", OUTSIDE)
    except (OSError, RuntimeError):  # A name too long, no permission, a ring of links.
        return Picture(b"", NOT_FOUND)
    return decodable(content)


def decodable(content: bytes) -> Picture:
    """Returns a file as a graph can decode it: JPEG and PNG as they are, others as JPEG, animations by their first frame.

    A JPEG or PNG may still turn out damaged; only decoding tells.
    """
    if not content:
        return Picture(b"", EMPTY)
    if len(content) > MAX_BYTES:
        return Picture(b"", TOO_MANY_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of sizes between our bound and Pillow's own, and of damaged metadata.
            return _bounded(content) if content.startswith((JPEG, PNG)) else _transcoded(content)
    except Image.DecompressionBombError:
        return Picture(b"", TOO_MANY_PIXELS)
    except Exception:  # Whatever a hostile file makes Pillow raise: its plugins promise nothing.
        return Picture(b"", UNDECODABLE)


def _bounded(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:  # Reads the header alone.
        most = MAX_WHOLE_PIXELS if image.format == "PNG" or "progressive" in image.info else MAX_PIXELS
        return Picture(b"", TOO_MANY_PIXELS) if image.width * image.height > most else Picture(content, "")


def _transcoded(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content), formats=_TRANSCODED) as image:
        if image.width * image.height > MAX_WHOLE_PIXELS:
            return Picture(b"", TOO_MANY_PIXELS)
        layers = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", layers.size, _WHITE), layers).convert("RGB")
        file = io.BytesIO()
        flat.save(file, "JPEG", quality=_QUALITY)
    return Picture(file.getvalue(), "")
