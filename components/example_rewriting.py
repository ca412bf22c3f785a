"""What the stages share that write every file of an Examples artifact anew: its tasks, their counts, the new artifact's description."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from schemas.errors import CatalogueError

# A file to write anew: its split, where it is, and where the new one goes.
RewriteTask = tuple[str, str, str]


class Counts(Protocol):
    """What was counted in a file; of the same class `merge` takes another."""

    def merge(self, other: Any, /) -> None:
        """Adds what another file gave."""


CountsType = TypeVar("CountsType", bound=Counts)


class MergeCounts(beam.CombineFn, Generic[CountsType]):
    """Counts of files to the counts of all; `empty` makes those of no file."""

    def __init__(self, empty: Callable[[], CountsType]) -> None:
        self._empty = empty

    def create_accumulator(self) -> CountsType:
        """Returns the counts of no file."""
        return self._empty()

    def add_input(self, accumulator: CountsType, counts: CountsType) -> CountsType:
        """Adds those of one file."""
        accumulator.merge(counts)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[CountsType]) -> CountsType:
        """Adds those of several workers."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: CountsType) -> CountsType:
        """Returns the counts of all."""
        return accumulator


def rewrite_tasks(examples: Artifact, target: Artifact) -> list[RewriteTask]:
    """Returns every file of every split, to a file of the same name below the target; makes the splits' folders there.

    Raises:
        CatalogueError: a split has no file.
    """
    tasks: list[RewriteTask] = []
    for split in artifact_utils.decode_split_names(examples.split_names):
        source_dir = artifact_utils.get_split_uri([examples], split)
        target_dir = posixpath.join(target.uri, posixpath.basename(source_dir))
        names = sorted(fileio.listdir(source_dir)) if fileio.isdir(source_dir) else []
        if not names:
            raise CatalogueError(f"{source_dir}: the split {split!r} has no file of examples. Run ProductExampleGen again.")
        fileio.makedirs(target_dir)
        tasks.extend((split, posixpath.join(source_dir, name), posixpath.join(target_dir, name)) for name in names)
    return tasks


def describe_like(examples: Artifact, target: Artifact) -> None:
    """Gives the target artifact the splits, span and formats of the examples that its files were made from."""
    target.split_names = examples.split_names
    target.span = examples.span
    examples_utils.set_file_format(target, examples_utils.get_file_format(examples) or "tfrecords_gzip")
    examples_utils.set_payload_format(target, examples_utils.get_payload_format(examples))
