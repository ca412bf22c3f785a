"""Two stages that cost nothing, for tests of what runs them: one writes a text, one writes it in capitals."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components.artifacts import Quarantine, RuleReport


@component
def Writer(written: OutputArtifact[Quarantine], text: Parameter[str], note: Parameter[str] = "", code: Parameter[str] = "") -> None:
    """Writes the text to two files; the note is in the cache key alone, `!` makes it fail after the first file."""
    folder = Path(written.uri)
    (folder / "first.txt").write_text(text)
    if note == "!":
        raise OSError(28, "No space left on device", str(folder / "deep.txt"))
    (folder / "deep").mkdir()
    (folder / "deep" / "second.txt").write_text(text[::-1])
    written.set_string_custom_property("input_fingerprint", note)
    written.set_int_custom_property("rows", len(text))


@component
def Shouter(written: InputArtifact[Quarantine], shouted: OutputArtifact[RuleReport], mark: Parameter[str] = "!") -> None:
    """Writes the first file in capitals."""
    text = (Path(written.uri) / "first.txt").read_text()
    (Path(shouted.uri) / "shouted.txt").write_text(text.upper() + mark)
