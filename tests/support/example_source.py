"""Feeds ready-made files of examples into a pipeline under test."""

import shutil
from pathlib import Path

from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types.standard_artifacts import Examples


@component
def ExampleSource(examples: OutputArtifact[Examples], folder: Parameter[str]) -> None:
    """Copies `folder`, which holds Split-dev and Split-test."""
    shutil.copytree(folder, examples.uri, dirs_exist_ok=True)
    examples.split_names = '["dev", "test"]'
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)


def example_folder(root: Path) -> Path:
    """Returns where `ExampleSource` finds the files, with its split folders made."""
    for split in ("dev", "test"):
        (root / "examples" / f"Split-{split}").mkdir(parents=True)
    return root / "examples"
