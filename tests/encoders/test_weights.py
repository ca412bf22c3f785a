"""Weights are found in a folder, in a hub that is there, or refused with the way out."""

from __future__ import annotations

import sys
import types

import pytest

from encoders.weights import weights_path
from schemas.errors import EncoderError


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert weights_path(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("", "no weights are named"),
        ("/nowhere/at/all", "/nowhere/at/all: there is no such file or folder of weights"),
        ("hub://no-owner", "hub://no-owner: this names no model. Expected hub://OWNER/NAME"),
        ("hub://../etc", "this names no model"),
    ],
)
def test_what_cannot_be_found_is_refused(weights, message):
    with pytest.raises(EncoderError, match=message):
        weights_path(weights)


def test_a_hub_without_its_library_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EncoderError, match="huggingface_hub isn't installed. Install it, or download the model and name its folder"):
        weights_path("hub://owner/model")


def test_a_hub_is_asked_for_the_files_an_encoder_reads_and_its_troubles_are_one_line(monkeypatch, tmp_path):
    asked = []

    def snapshot_download(model, allow_patterns):
        asked.append((model, allow_patterns))
        if model == "owner/gone":
            raise ConnectionError("no such model\nwith a long story")
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert weights_path("hub://owner/model-1.0") == tmp_path
    assert asked == [("owner/model-1.0", ["*.safetensors", "vocab.txt", "config.json", "*.h5"])]
    with pytest.raises(EncoderError, match="this can't be downloaded: no such model. Download the model yourself"):
        weights_path("hub://owner/gone")
