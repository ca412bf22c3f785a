"""Decodes JPEG and PNG files inside a graph, each on its own, so that a bad one is left out and no batch fails."""

from __future__ import annotations

import tensorflow as tf

from encoders.image_files import JPEG, MAX_BYTES, MAX_PIXELS, PNG

_WHITE = 255.0
_SCAN = b"\xff\xda"  # Begins a scan of a JPEG; in a scan's own data 0xff is always escaped.
# A progressive JPEG goes over all its pixels once a scan, and ten are usual: more pixels than these are an attack on time.
_MAX_SCANNED_PIXELS = 10 * MAX_PIXELS


def decoded(files: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the pictures that can be decoded, fitted into a white square.

    Args:
        files: string `[n]`, whole files; an empty one is no picture.
        side: of the square, in pixels.

    Returns:
        the rows of `files` that are pictures, int64 `[m]`, rising; and their pixels, float32 `[m, side, side, 3]` in [0, 255].
    """
    num_rows = tf.shape(files, tf.int64)[0]
    # An error inside a dataset leaves out the element it hit, the only such isolation that a graph has.
    pictures = (
        tf.data.Dataset.from_tensor_slices(files)
        .enumerate()
        .filter(lambda _, file: tf.strings.length(file) > 0)
        .map(lambda row, file: (row, _picture(file, side)), deterministic=True)
        .ignore_errors(log_warning=False)
    )
    # One more element at the end, taken off again: a batch of nothing couldn't be made.
    end = tf.data.Dataset.from_tensors((num_rows, tf.zeros([side, side, 3])))
    rows, pixels = pictures.concatenate(end).batch(num_rows + 1).get_single_element()
    return rows[:-1], pixels[:-1]


def _picture(file: tf.Tensor, side: int) -> tf.Tensor:
    is_jpeg = tf.strings.substr(file, 0, len(JPEG)) == JPEG
    is_png = tf.strings.substr(file, 0, len(PNG)) == PNG
    known = tf.debugging.Assert((is_jpeg | is_png) & (tf.strings.length(file) <= MAX_BYTES), ["no JPEG or PNG, or too big"])
    with tf.control_dependencies([known]):
        pixels = tf.cond(is_jpeg, lambda: _jpeg(file, side), lambda: _png(file))
    return _fitted(tf.ensure_shape(pixels, [None, None, 3]), side)


def _fitted(pixels: tf.Tensor, side: int) -> tf.Tensor:
    """Returns a picture with its longer side as long as the square's, in the middle, white around it."""
    size = tf.cast(tf.shape(pixels)[:2], tf.float32)
    # A very narrow picture keeps one row of pixels.
    height, width = tf.unstack(tf.maximum(1, tf.cast(tf.round(size * side / tf.reduce_max(size)), tf.int32)))
    inside = tf.image.resize(pixels, tf.stack([height, width]), antialias=True)
    # What is added around a picture is 0, so white must be.
    padded = tf.image.pad_to_bounding_box(inside - _WHITE, (side - height) // 2, (side - width) // 2, side, side)
    return tf.ensure_shape(tf.clip_by_value(padded + _WHITE, 0.0, _WHITE), [side, side, 3])


def _jpeg(file: tf.Tensor, side: int) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(file, tf.int64)
    longest, pixels = tf.reduce_max(shape[:2]), shape[0] * shape[1]
    scans = tf.size(tf.strings.split([file], _SCAN).values, tf.int64) - 1
    bounded = tf.debugging.Assert((pixels <= MAX_PIXELS) & (pixels * scans <= _MAX_SCANNED_PIXELS), ["too many pixels"])

    def at(ratio: int) -> tf.Tensor:
        with tf.control_dependencies([bounded]):
            return tf.cast(tf.io.decode_jpeg(file, channels=3, ratio=ratio), tf.float32)

    # libjpeg leaves out what isn't needed far quicker than it can be shrunk later; twice the square's side is kept.
    fine = 2 * side
    return tf.case(
        [(longest >= ratio * fine, lambda ratio=ratio: at(ratio)) for ratio in (8, 4, 2)],  # type: ignore[misc]
        default=lambda: at(1),
        exclusive=False,
    )


def _png(file: tf.Tensor) -> tf.Tensor:
    width, height = (_big_endian(tf.strings.substr(file, place, 4)) for place in (16, 20))
    bounded = tf.debugging.Assert((width > 0) & (height > 0) & (width * height <= MAX_PIXELS), ["too many pixels"])
    with tf.control_dependencies([bounded]):
        layers = tf.cast(tf.io.decode_png(file, channels=4), tf.float32)
    opacity = layers[:, :, 3:] / 255.0
    return layers[:, :, :3] * opacity + _WHITE * (1.0 - opacity)


def _big_endian(four_bytes: tf.Tensor) -> tf.Tensor:
    numbers = tf.cast(tf.io.decode_raw(four_bytes, tf.uint8), tf.int64)
    return tf.reduce_sum(numbers * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64))
