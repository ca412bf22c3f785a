"""Decodes JPEG and PNG files inside a graph, each on its own, so that a bad one is left out and no batch fails."""

from __future__ import annotations

import tensorflow as tf

from encoders.image_files import JPEG, MAX_BYTES, MAX_PIXELS, MAX_WHOLE_PIXELS, PNG

_WHITE = 255.0
# In floats a picture takes nine times what its file decodes to, so that a large one is put on white by strips.
_PIXELS_AT_ONCE = 1 << 20
_SCAN = b"\xff\xda"  # Begins a scan of a JPEG; in a scan's own data 0xff is always escaped.
# How a scan of all colours begins, and what makes a JPEG progressive, plain or in arithmetic coding; by the number of colours.
_SCANS_OF_ALL = [_SCAN + bytes([0, 6 + 2 * colours, colours]) for colours in range(5)]
_PROGRESSIVE = [[marker + bytes([0, 8 + 3 * colours, 8]) for marker in (b"\xff\xc2", b"\xff\xca")] for colours in range(5)]
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
        pixels = tf.cond(is_jpeg, lambda: _shrunk(_jpeg(file, side), side), lambda: _shrunk_on_white(_png(file), side))
    return _centred(pixels, side)


def _shrunk(pixels: tf.Tensor, side: int) -> tf.Tensor:
    return tf.image.resize(pixels, _new_size(pixels, side), antialias=True)


def _new_size(pixels: tf.Tensor, side: int) -> tf.Tensor:
    size = tf.cast(tf.shape(pixels)[:2], tf.float32)
    # A very narrow picture keeps one row of pixels.
    return tf.maximum(1, tf.cast(tf.round(size * side / tf.reduce_max(size)), tf.int32))


def _shrunk_on_white(layers: tf.Tensor, side: int) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(layers)[:2])
    return tf.cond(height * width <= _PIXELS_AT_ONCE, lambda: _shrunk(_on_white(layers), side), lambda: _shrunk_by_strips(layers, side))


def _shrunk_by_strips(layers: tf.Tensor, side: int) -> tf.Tensor:
    """Returns the same bits as if all were put on white and shrunk at once, which shrinks the columns first, too."""
    height, width = tf.unstack(tf.shape(layers)[:2])
    new_height, new_width = tf.unstack(_new_size(layers, side))
    at_once = tf.maximum(1, _PIXELS_AT_ONCE // height)

    def step(start: tf.Tensor, strips: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        strip = _on_white(layers[:, start : start + at_once])
        shrunk = tf.image.resize(strip, tf.stack([new_height, tf.shape(strip)[1]]), antialias=True)
        return start + at_once, strips.write(start // at_once, tf.transpose(shrunk, [1, 0, 2]))

    num_strips = (width + at_once - 1) // at_once
    strips = tf.TensorArray(tf.float32, num_strips, infer_shape=False, element_shape=[None, None, 3])
    _, strips = tf.while_loop(lambda start, _: start < width, step, (tf.constant(0), strips), parallel_iterations=1)
    columns = strips.concat()  # [width, new height, 3]
    return tf.transpose(tf.image.resize(columns, tf.stack([new_width, new_height]), antialias=True), [1, 0, 2])


def _on_white(layers: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(layers, tf.float32)
    opacity = pixels[:, :, 3:] / 255.0
    return pixels[:, :, :3] * opacity + _WHITE * (1.0 - opacity)


def _centred(pixels: tf.Tensor, side: int) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(pixels)[:2])
    # What is added around a picture is 0, so white must be.
    padded = tf.image.pad_to_bounding_box(pixels - _WHITE, (side - height) // 2, (side - width) // 2, side, side)
    return tf.ensure_shape(tf.clip_by_value(padded + _WHITE, 0.0, _WHITE), [side, side, 3])


def _jpeg(file: tf.Tensor, side: int) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(file, tf.int64)
    longest, pixels = tf.reduce_max(shape[:2]), shape[0] * shape[1]
    scans = _count(file, _SCAN)
    fits = tf.cond(pixels > MAX_WHOLE_PIXELS, lambda: _shrinks(file, shape[2], scans), lambda: True)
    bounded = tf.debugging.Assert((pixels <= MAX_PIXELS) & (pixels * scans <= _MAX_SCANNED_PIXELS) & fits, ["too many pixels"])

    def at(ratio: int) -> tf.Tensor:
        with tf.control_dependencies([bounded]):
            return tf.io.decode_jpeg(file, channels=3, ratio=ratio)

    # libjpeg leaves out what isn't needed far quicker than it can be shrunk later; twice the square's side is kept.
    fine = 2 * side
    return tf.case(
        [(longest >= ratio * fine, lambda ratio=ratio: at(ratio)) for ratio in (8, 4, 2)],  # type: ignore[misc]
        default=lambda: at(1),
        exclusive=False,
    )


def _shrinks(file: tf.Tensor, colours: tf.Tensor, scans: tf.Tensor) -> tf.Tensor:
    """Returns whether libjpeg shrinks a JPEG row by row. One that's progressive, or has a scan for each colour, it keeps whole."""
    plain, arithmetic = tf.unstack(tf.gather(_PROGRESSIVE, colours))
    progressive = _count(file, plain) + _count(file, arithmetic) > 0
    return ~progressive & (_count(file, tf.gather(_SCANS_OF_ALL, colours)) == scans)


def _count(file: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    return tf.size(tf.strings.split([file], part).values, tf.int64) - 1


def _png(file: tf.Tensor) -> tf.Tensor:
    width, height = (_big_endian(tf.strings.substr(file, place, 4)) for place in (16, 20))
    bounded = tf.debugging.Assert((width > 0) & (height > 0) & (width * height <= MAX_WHOLE_PIXELS), ["too many pixels"])
    with tf.control_dependencies([bounded]):
        return tf.io.decode_png(file, channels=4)


def _big_endian(four_bytes: tf.Tensor) -> tf.Tensor:
    numbers = tf.cast(tf.io.decode_raw(four_bytes, tf.uint8), tf.int64)
    return tf.reduce_sum(numbers * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64))
