"""Runs the examples of the README's part on serving as they are written, but for the ports."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import classification_pb2

from serving.model_server.model_config import ModelConfig
from tests.support.shop import shop_taxonomy
from tests.support.toy_model import write_toy_model

ROOT = Path(__file__).parents[2]


def section_blocks(language):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Serving")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def examples(start, tmp_path):
    """Shell lines and Python of the README, asking a real server of a model with the pipeline's signatures."""
    write_toy_model(tmp_path / "demo" / "1", shop_taxonomy())
    server = start(ModelConfig("demo", tmp_path / "demo")).server
    places = {"127.0.0.1:8500": server.grpc_address, "127.0.0.1:8501": server.rest_address.removeprefix("http://")}

    def placed(text):
        for written, real in places.items():
            text = text.replace(written, real)
        return text

    lines = [shlex.split(placed(line)) for block in section_blocks("bash") for line in block.splitlines()]
    return lines, [placed(block) for block in section_blocks("python")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl isn't installed, so the examples of the README aren't run")
def test_the_examples_of_the_readme_answer_as_written(examples):
    lines, (code,) = examples
    curls = [words for words in lines if words[0] == "curl"]
    assert len(curls) == 3
    for words in curls:
        done = subprocess.run([*words[:1], "--silent", "--show-error", *words[1:]], capture_output=True, text=True, timeout=20, check=True)
        assert "error" not in json.loads(done.stdout), done.stdout
    # grpcurl isn't on every machine: what it would send is sent by its words.
    ((body, address, method),) = [words[3:] for words in lines if words[0] == "grpcurl"]
    request = json_format.Parse(body, classification_pb2.ClassificationRequest())
    with grpc.insecure_channel(address) as channel:
        kinds = classification_pb2.ClassificationRequest.SerializeToString, classification_pb2.ClassificationResponse.FromString
        answer = channel.unary_unary(f"/{method}", *kinds)(request, timeout=20)
    best = max(answer.result.classifications[0].classes, key=lambda one: one.score)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    label, score, version = done.stdout.split()
    assert (label, version) == (best.label, "1")
    assert float(score) == pytest.approx(best.score, abs=1e-5)
