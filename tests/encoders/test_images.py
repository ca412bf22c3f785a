"""Pictures of all kinds, whole, damaged and hostile: decoded within bounds, or left out for a reason."""

from __future__ import annotations

import time

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from encoders import image_decoding, image_files
from encoders.image_decoding import decoded
from encoders.image_files import decodable, read_picture
from encoders.kinds import describe_encoder
from encoders.registry import load_encoder
from schemas.errors import EncoderError
from tests.support.hostile_images import BAD, GOOD, JPEG, LARGEST_PNG, TRANSCODED, encoded, picture

SIDE = 64
IN_GRAPH = tf.function(lambda files: decoded(files, SIDE), input_signature=[tf.TensorSpec([None], tf.string)])


def pixels(*files):
    rows, found = IN_GRAPH(tf.constant(files, tf.string))
    return rows.numpy().tolist(), found.numpy()


def test_good_pictures_are_decoded_and_bad_ones_beside_them_left_out():
    bad = [content for content, _ in BAD.values()]
    files = [file for pair in zip(GOOD.values(), bad, strict=False) for file in pair]
    rows, found = pixels(*files)
    assert rows == list(range(0, len(files), 2))
    assert found.shape == (len(rows), SIDE, SIDE, 3) and found.min() >= 0 and found.max() <= 255


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_no_picture_in_little_time(name):
    pixels(JPEG)  # Traced once.
    content, reason = BAD[name]
    started = time.process_time()
    assert pixels(content)[0] == []
    found = decodable(content)
    assert found.reason == reason or (not found.reason and reason == "undecodable")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", GOOD)
def test_the_pipeline_hands_on_what_a_graph_decodes_as_it_is(name):
    assert decodable(GOOD[name]) == (GOOD[name], "")


@pytest.mark.parametrize("name", TRANSCODED)
def test_the_pipeline_transcodes_what_a_graph_cannot_decode(name):
    assert pixels(TRANSCODED[name])[0] == []
    found = decodable(TRANSCODED[name])
    assert found.reason == "" and pixels(found.content)[0] == [0]


def test_a_picture_is_fitted_into_a_white_square():
    rows, found = pixels(encoded(Image.new("RGB", (80, 40), (200, 0, 0)), "PNG"))
    assert rows == [0]
    np.testing.assert_allclose(found[0, SIDE // 2, SIDE // 2], [200, 0, 0], atol=1)
    np.testing.assert_allclose(found[0, [0, -1]], 255)
    assert (found[0, :, 0, 1] < 1).sum() == SIDE // 2


def test_what_is_transparent_is_white():
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    for file in (encoded(image, "PNG"), decodable(encoded(image, "WEBP", lossless=True)).content):
        np.testing.assert_allclose(pixels(file)[1], 255, atol=1)


def test_a_big_jpeg_looks_like_the_small_one():
    image = picture(64, 64)
    small, big = (encoded(image.resize((side, side), Image.Resampling.BICUBIC), "JPEG", quality=95) for side in (256, 2048))
    _, found = pixels(small, big)
    assert abs(found[0] - found[1]).mean() < 4


@pytest.mark.parametrize(("width", "height"), [(301, 207), (1, 900), (900, 1), (64, 64)])
def test_a_png_put_on_white_by_strips_is_the_same_to_the_bit(monkeypatch, width, height):
    image = picture(width, height, "RGBA")
    image.putalpha(picture(height, width, "L").resize((width, height)))
    file = encoded(image, "PNG")
    monkeypatch.setattr(image_decoding, "_PIXELS_AT_ONCE", 50)
    _, by_strips = tf.function(lambda files: decoded(files, SIDE))(tf.constant([file]))
    np.testing.assert_array_equal(by_strips, pixels(file)[1])


def test_the_most_pixels_of_a_png_are_decoded_and_one_row_more_is_too_many():
    assert pixels(LARGEST_PNG)[0] == [0] and decodable(LARGEST_PNG).reason == ""
    one_more = encoded(Image.new("1", (5000, 5001)), "PNG")
    assert pixels(one_more)[0] == [] and decodable(one_more).reason == "too_many_pixels"


def test_a_jpeg_that_shrinks_while_it_is_decoded_may_have_more_pixels():
    grey = Image.new("L", (5100, 5100), 90)
    thumbnail = b"Exif\x00\x00" + JPEG  # Has a scan of its own.
    for image, options in ((grey, {}), (grey.convert("RGB"), {"exif": thumbnail}), (grey.convert("CMYK"), {})):
        file = encoded(image, "JPEG", **options)
        assert pixels(file)[0] == [0] and decodable(file).reason == ""


def test_a_picture_is_read_only_from_inside_its_folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "sub").mkdir()
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "ring.jpg").symlink_to(folder / "ring.jpg")
    expected = {
        "a.jpg": "", None: "no_image", "": "no_image", "gone.jpg": "not_found", "sub": "not_found", "empty.jpg": "empty_file",
        "https://shop/a.jpg": "on_the_web", "//cdn/a.jpg": "on_the_web", "../secret.jpg": "outside_folder", "link.jpg": "outside_folder",
        str(tmp_path / "secret.jpg"): "outside_folder", "file:///etc/passwd": "outside_folder", "a\x00.jpg": "outside_folder",
    }  # fmt: skip
    assert {image: read_picture(folder, image).reason for image in expected} == expected
    assert read_picture(folder, "a.jpg").content == JPEG
    for image in ("ring.jpg", "x" * 5000):
        assert read_picture(folder, image).reason in ("not_found", "outside_folder")
    assert read_picture(None, "a.jpg").reason == "not_found"


def test_a_file_of_too_many_bytes_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 100)
    (tmp_path / "a.jpg").write_bytes(JPEG)
    assert read_picture(tmp_path, "a.jpg") == (b"", "too_many_bytes")


def test_weights_of_another_network_are_refused(tmp_path, mobilenet):
    assert describe_encoder("mobilenet_v2", mobilenet.weights).size == 1280
    with pytest.raises(EncoderError, match="410,208 weights aren't those of inception_v3 without its top. Expected 21,802,784"):
        describe_encoder("inception_v3", mobilenet.weights)
    with pytest.raises(EncoderError, match=r"expected one file of weights, \*.h5, found none"):
        describe_encoder("mobilenet_v2", tmp_path)
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(EncoderError, match="a.h5: this can't be read"):
        describe_encoder("mobilenet_v2", tmp_path)
    (tmp_path / "b.h5").write_bytes(b"")
    with pytest.raises(EncoderError, match="found a.h5, b.h5. Name the file to take"):
        describe_encoder("mobilenet_v2", tmp_path)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["numbers"] = np.zeros(410_208, np.float32)
    with pytest.raises(EncoderError, match="these weights don't fit mobilenet_v2"):
        load_encoder("mobilenet_v2", tmp_path / "c.h5")
