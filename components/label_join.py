"""Runs `labelling` over the files of an Examples artifact: the TFX shell of stage LabelJoin."""

import logging
import posixpath
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import LabelSnapshot, RuleReport, RuleSnapshot, TaxonomySnapshot
from components.labelling import (
    Answers,
    LabelCounts,
    Labeller,
    group_answers,
    join_report,
    label_file,
    products_in,
    report_json,
    usable_answers,
)
from components.rule_matching import RuleMatcher
from components.snapshot_files import read_events, read_rules, read_taxonomy, write_local
from schemas.errors import CatalogueError

REPORT_FILE = "rule_report.json"
# A file to label: its split, where it is, and where the labelled one goes.
LabelTask = tuple[str, str, str]

log = logging.getLogger(__name__)


class _FindSplits(beam.DoFn):
    """A task to (product id, split) of those products in its file that may answer for their group."""

    def __init__(self, product_ids: frozenset[str]) -> None:
        self._product_ids = product_ids

    def process(self, task: LabelTask) -> Iterator[tuple[str, str]]:
        split, source, _ = task
        for product_id in products_in(source, self._product_ids):
            yield product_id, split


class _LabelFile(beam.DoFn):
    """A task to the counts of its file; the labelled file is the side effect, the same whenever it is done again."""

    def __init__(self, matcher: RuleMatcher, answers: Answers) -> None:
        self._matcher = matcher
        self._answers = answers

    def process(self, task: LabelTask, splits: dict[str, str]) -> Iterator[LabelCounts]:
        by_group = group_answers(self._answers, splits)
        yield label_file(Labeller(self._matcher, self._answers, by_group), *task)


class _MergeCounts(beam.CombineFn):
    """Counts of files to the counts of all."""

    def __init__(self, num_rules: int) -> None:
        self._num_rules = num_rules

    def create_accumulator(self) -> LabelCounts:
        return LabelCounts.of(self._num_rules)

    def add_input(self, accumulator: LabelCounts, counts: LabelCounts) -> LabelCounts:
        accumulator.merge(counts)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[LabelCounts]) -> LabelCounts:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: LabelCounts) -> LabelCounts:
        return accumulator


def label_tasks(examples: Artifact, target: Artifact) -> list[LabelTask]:
    """Returns what there is to label: every file of every split, to a file of the same name.

    Raises:
        CatalogueError: a split has no file.
    """
    tasks = []
    for split in artifact_utils.decode_split_names(examples.split_names):
        source_dir = artifact_utils.get_split_uri([examples], split)
        target_dir = posixpath.join(target.uri, posixpath.basename(source_dir))
        names = sorted(fileio.listdir(source_dir)) if fileio.isdir(source_dir) else []
        if not names:
            raise CatalogueError(f"{source_dir}: the split {split!r} has no file of examples. Run ProductExampleGen again.")
        fileio.makedirs(target_dir)
        tasks.extend((split, posixpath.join(source_dir, name), posixpath.join(target_dir, name)) for name in names)
    return tasks


class LabelJoinExecutor(base_beam_executor.BaseBeamExecutor):
    """Labels the examples and writes the rule report."""

    def Do(self, input_dict: dict[str, list[Artifact]], output_dict: dict[str, list[Artifact]], exec_properties: dict[str, Any]) -> None:
        """Reads snapshots, calls `labelling` on every file, writes examples and report."""
        started = time.monotonic()
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        labelled = artifact_utils.get_single_instance(output_dict["labelled_examples"])
        report_uri = artifact_utils.get_single_instance(output_dict["rule_report"]).uri
        taxonomy = read_taxonomy(artifact_utils.get_single_uri(input_dict["taxonomy"]))
        matcher = RuleMatcher(read_rules(artifact_utils.get_single_uri(input_dict["rules"]), taxonomy), taxonomy)
        answers = usable_answers(read_events(artifact_utils.get_single_uri(input_dict["labels"])), taxonomy)
        tasks = label_tasks(examples, labelled)

        def write_report(counts: LabelCounts) -> None:
            text = report_json(join_report(counts, answers, matcher))
            write_local(posixpath.join(report_uri, REPORT_FILE), lambda path: path.write_text(text, encoding="utf-8"))

        with self._make_beam_pipeline() as pipeline:
            files = pipeline | "Files" >> beam.Create(tasks) | "Spread" >> beam.Reshuffle()
            asked = tasks if answers.groups else []
            splits = (
                pipeline
                | "FilesOfAnswers" >> beam.Create(asked).with_output_types(LabelTask)
                | "FindSplits" >> beam.ParDo(_FindSplits(frozenset(answers.groups)))
            )
            _ = (
                files
                | "LabelFiles" >> beam.ParDo(_LabelFile(matcher, answers), beam.pvalue.AsDict(splits))
                | "Count" >> beam.CombineGlobally(_MergeCounts(len(matcher.rules)))
                | "WriteReport" >> beam.Map(write_report)
            )
        labelled.split_names = examples.split_names
        labelled.span = examples.span
        examples_utils.set_file_format(labelled, examples_utils.get_file_format(examples) or "tfrecords_gzip")
        examples_utils.set_payload_format(labelled, examples_utils.get_payload_format(examples))
        log.info(
            "label_join files=%d rules=%d answers=%d left_out=%s seconds=%.1f",
            len(tasks), len(matcher.rules), len(answers.by_product), dict(answers.left_out), time.monotonic() - started,
        )  # fmt: skip


class LabelJoinSpec(ComponentSpec):
    """What LabelJoin reads and writes."""

    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "taxonomy": ChannelParameter(type=TaxonomySnapshot),
        "rules": ChannelParameter(type=RuleSnapshot),
        "labels": ChannelParameter(type=LabelSnapshot),
    }
    OUTPUTS = {
        "labelled_examples": ChannelParameter(type=standard_artifacts.Examples),
        "rule_report": ChannelParameter(type=RuleReport),
    }
    PARAMETERS = {"code": ExecutionParameter(type=str)}


class LabelJoin(base_beam_component.BaseBeamComponent):
    """Adds the targets of both heads to the examples.

    Args:
        examples: what ProductExampleGen wrote.
        taxonomy: a `TaxonomySnapshot`.
        rules: a `RuleSnapshot`.
        labels: a `LabelSnapshot`.
        code: hash of the code behind this stage, so that the cache knows when it changed.

    Outputs `labelled_examples` (files, names and order as in `examples`) and `rule_report`.
    """

    SPEC_CLASS = LabelJoinSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(LabelJoinExecutor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        taxonomy: channel.BaseChannel,
        rules: channel.BaseChannel,
        labels: channel.BaseChannel,
        code: str = "",
    ) -> None:
        super().__init__(
            spec=LabelJoinSpec(
                examples=examples,
                taxonomy=taxonomy,
                rules=rules,
                labels=labels,
                code=code,
                labelled_examples=channel.Channel(type=standard_artifacts.Examples),
                rule_report=channel.Channel(type=RuleReport),
            )
        )
