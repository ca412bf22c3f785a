"""Makes pictures that feeds really hold, and files that were made to do harm."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Returns a picture of many colours."""
    pixels = np.indices((height, width)).sum(0)[:, :, None] * [1, 2, 3] % 256
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the file of a picture."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of_size(width: int, height: int, num_zeros: int = 100_000) -> bytes:
    """Returns a small PNG whose header says any size: a bomb where that is large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, zlib.compress(bytes(num_zeros)), b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def jpeg_of_size(width: int, height: int) -> bytes:
    """Returns a small JPEG whose header says another size than its data has."""
    file = bytearray(JPEG)
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(file)


def gif_of_size(width: int, height: int) -> bytes:
    """Returns a small GIF whose header says any size."""
    screen, frame = struct.pack("<HHBBB", width, height, 0x80, 0, 0), struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + screen + bytes(6) + b"," + frame + b"\x02\x02\x4c\x01\x00;"


def jpeg_in_scans(width: int, height: int) -> bytes:
    """Returns a flat JPEG that isn't progressive, and has a scan for each of its three colours all the same."""
    grey = encoded(Image.new("L", (width, height), 90), "JPEG", optimize=True)
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    colours = (1, 2, 3)
    new_frame = b"\xff\xc0\x00\x11" + grey[frame + 4 : frame + 9] + b"\x03" + b"".join(bytes([colour, 0x11, 0]) for colour in colours)
    scans = (b"\xff\xda\x00\x08\x01" + bytes([colour, 0, 0, 63, 0]) + grey[scan + 10 : -2] for colour in colours)
    return grey[:frame] + new_frame + grey[frame + 13 : scan] + b"".join(scans) + grey[-2:]


JPEG = encoded(picture(300, 200), "JPEG")
_PNG = encoded(picture(200, 300), "PNG")
# The most pixels of a PNG that are decoded, in 3 kB.
LARGEST_PNG = encoded(Image.new("1", (5000, 5000)), "PNG")
# What a graph decodes.
GOOD = {
    "jpeg": JPEG,
    "progressive": encoded(picture(300, 300), "JPEG", progressive=True),
    "grey jpeg": encoded(picture(60, 60, "L"), "JPEG"),
    "cmyk": encoded(picture(90, 90, "CMYK"), "JPEG"),
    "a scan for each colour": jpeg_in_scans(80, 60),
    "a big jpeg": encoded(picture(4000, 3000), "JPEG", quality=20),
    "png": _PNG,
    "png with transparency": encoded(picture(50, 50, "RGBA"), "PNG"),
    "a big png": encoded(picture(1700, 1300, "RGBA"), "PNG"),
    "palette": encoded(picture(50, 50, "P"), "PNG"),
    "16 bit": encoded(Image.fromarray((np.arange(2500).reshape(50, 50) * 20).astype(np.uint16)), "PNG"),
    "one pixel": encoded(picture(1, 1), "PNG"),
    "a line": encoded(picture(1, 2000), "PNG"),
}
# What only the pipeline decodes.
TRANSCODED = {
    "webp": encoded(picture(60, 60), "WEBP"),
    "webp with transparency": encoded(picture(60, 60, "RGBA"), "WEBP"),
    "gif": encoded(picture(60, 60), "GIF"),
    "animation": encoded(picture(60, 60), "GIF", save_all=True, append_images=[picture(60, 60, "L")] * 3),
    "bmp": encoded(picture(60, 60), "BMP"),
}
# What nobody decodes, and why the pipeline says so.
BAD = {
    "empty": (b"", "empty_file"),
    "html": (b"<html>404</html>", "undecodable"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], "undecodable"),
    "the start of a jpeg": (JPEG[:100], "undecodable"),
    "half a png": (_PNG[:500], "undecodable"),
    "three bytes": (JPEG[:3], "undecodable"),
    "eight bytes": (_PNG[:8], "undecodable"),
    "a png bomb": (png_of_size(20_000, 20_000), "too_many_pixels"),
    "an endless png": (png_of_size(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    "a whole png of 40 megapixels": (encoded(Image.new("1", (6300, 6300)), "PNG"), "too_many_pixels"),
    "a png of nothing": (png_of_size(0, 0), "undecodable"),
    "a jpeg bomb": (jpeg_of_size(65_000, 65_000), "too_many_pixels"),
    "a whole progressive jpeg of 26 megapixels": (encoded(Image.new("L", (5100, 5100)), "JPEG", progressive=True), "too_many_pixels"),
    "a scan for each colour of 26 megapixels": (jpeg_in_scans(5100, 5100), "undecodable"),
    "endless scans": (JPEG[:-2] + b"\xff\xda\x00\x02" * 100_000, "undecodable"),
    "a gif of 40 megapixels": (gif_of_size(6300, 6300), "too_many_pixels"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "undecodable"),
    "half a webp": (TRANSCODED["webp"][:60], "undecodable"),
    "a webp header alone": (b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f" + struct.pack("<I", 0x0FFFFFFF) + bytes(8), "undecodable"),
}
