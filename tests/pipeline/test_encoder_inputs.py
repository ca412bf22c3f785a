"""Encoders that settings name are checked before anything runs."""

from __future__ import annotations

import os

import pytest

from pipeline.encoder_inputs import fed_vectors, images_fingerprint, images_folder, read_encoders, with_encoders
from schemas.errors import AisleError, SettingsError
from schemas.features import load_features
from schemas.settings_loader import load_settings
from tests.support.tiny_bert import HIDDEN, write_tiny_bert


@pytest.fixture
def settings(tmp_path):
    """Makes settings of a YAML text beside a folder `bert` of weights."""
    write_tiny_bert(tmp_path / "bert")

    def make(text):
        (tmp_path / "shop.yaml").write_text(text)
        return load_settings(tmp_path / "shop.yaml")

    return make


def test_an_encoder_is_described_with_weights_beside_the_configuration(settings, tmp_path):
    found = read_encoders(settings("encoders: [{name: title_vector, weights: bert}, {name: b, field: description, weights: bert}]"))
    assert [(item["name"], item["kind"], item["field"], item["size"], item["reads"]) for item in found] == [
        ("title_vector", "minilm", "title", HIDDEN, "text"),
        ("b", "minilm", "description", HIDDEN, "text"),
    ]
    assert {item["weights"] for item in found} == {str(tmp_path / "bert")}
    features = with_encoders(load_features(), found)
    assert features.dense_fields == {"title_vector": HIDDEN, "b": HIDDEN}
    assert fed_vectors(features, ["title_vector"]) == {"b": HIDDEN}


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ("[{weights: bert}]", "encoders.0.name '' can't be used"),
        ("[{name: title, weights: bert}]", "encoders.0.name 'title' can't be used"),
        ("[{name: a b, weights: bert}]", "encoders.0.name 'a b' can't be used"),
        ("[{name: a, weights: bert}, {name: a, weights: bert}]", "encoders.1.name 'a' is there twice"),
        ("[{name: a}]", "encoders.0.weights: no weights are named"),
        ("[{name: a, weights: gone}]", "gone: there is no such file or folder of weights"),
        ("[{name: a, weights: .}]", "there is no model.safetensors"),
        ("[{name: a, weights: bert, field: price}]", "encoders.0.field 'price' is unknown for kind minilm. Known: shop, network, title"),
        ("[{name: a, weights: bert, field: image}]", "encoders.0.field 'image' is unknown for kind minilm"),
        ("[{name: a, weights: bert, kind: word2vec}]", "encoders.0.kind 'word2vec' is unknown"),
        ("[{name: a, weights: bert, max_tokens: 0}]", "encoders.0.max_tokens 0 is out of range"),
        ("[{name: a, weights: 'hub://x'}]", "hub://x: this names no model"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(settings, encoders, message):
    with pytest.raises(AisleError) as caught:
        read_encoders(settings(f"encoders: {encoders}"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_pictures_are_looked_at_again_when_a_file_changes(settings, tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "sub" / "a.jpg").write_bytes(b"1")
    shop = settings("encoding: {images: images}")
    assert images_folder(shop) == str(tmp_path / "images")
    pictures = [{"reads": "image"}]
    first = images_fingerprint(shop, pictures)
    assert first == images_fingerprint(shop, pictures) != ""
    os.utime(tmp_path / "images" / "sub" / "a.jpg", (1, 1))
    assert images_fingerprint(shop, pictures) != first
    assert images_fingerprint(shop, [{"reads": "text"}]) == ""
    with pytest.raises(SettingsError, match="encoding.images: .*gone is no folder"):
        images_fingerprint(settings("encoding: {images: gone}"), pictures)
