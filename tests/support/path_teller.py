"""A stage that tells, as properties, where it found its input and what its parameters were."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model

from schemas.errors import ModelError


@component
def PathTeller(model: InputArtifact[Model], copied: OutputArtifact[Model], times: Parameter[int], refuse: Parameter[str] = "") -> None:
    """Copies every file of `model`; with `refuse`, stops halfway with that message."""
    folder = Path(copied.uri)
    for path in sorted(Path(model.uri).rglob("*")):
        if path.is_file():
            (folder / path.relative_to(model.uri)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(model.uri)).write_bytes(path.read_bytes())
        if refuse:
            raise ModelError(refuse)
    copied.set_string_custom_property("found_in", model.uri)
    copied.set_string_custom_property("file", f"{model.uri}/a/b.txt")
    copied.set_int_custom_property("times", times)
    copied.set_int_custom_property("version", model.get_int_custom_property("version") + 1)
