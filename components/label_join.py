"""Runs `labelling` over the files of an Examples artifact: the TFX shell of stage LabelJoin."""

import functools
import logging
import posixpath
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import LabelSnapshot, RuleReport, RuleSnapshot, TaxonomySnapshot
from components.example_rewriting import MergeCounts, RewriteTask, describe_like, rewrite_tasks
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

REPORT_FILE = "rule_report.json"

log = logging.getLogger(__name__)


class _Snapshots(NamedTuple):
    """Where the folders are of what is joined."""

    taxonomy: str
    rules: str
    labels: str


# Each worker reads the snapshots itself, once: to pickle the answers of a large shop takes longer than to label its products.
@functools.lru_cache(maxsize=1)
def _loaded(snapshots: _Snapshots) -> tuple[RuleMatcher, Answers]:
    taxonomy = read_taxonomy(snapshots.taxonomy)
    matcher = RuleMatcher(read_rules(snapshots.rules, taxonomy), taxonomy)
    return matcher, usable_answers(read_events(snapshots.labels), taxonomy)


class _FindSplits(beam.DoFn):
    """A task to (product id, split) of those products in its file that may answer for their group."""

    def __init__(self, product_ids: frozenset[str]) -> None:
        self._product_ids = product_ids

    def process(self, task: RewriteTask) -> Iterator[tuple[str, str]]:
        split, source, _ = task
        for product_id in products_in(source, self._product_ids):
            yield product_id, split


class _LabelFile(beam.DoFn):
    """A task to the counts of its file; the labelled file is the side effect, the same whenever it is done again."""

    def __init__(self, snapshots: _Snapshots) -> None:
        self._snapshots = snapshots

    def process(self, task: RewriteTask, splits: dict[str, str]) -> Iterator[LabelCounts]:
        matcher, answers = _loaded(self._snapshots)
        yield label_file(Labeller(matcher, answers, group_answers(answers, splits)), *task)


class LabelJoinExecutor(base_beam_executor.BaseBeamExecutor):
    """Labels the examples and writes the rule report."""

    def Do(self, input_dict: dict[str, list[Artifact]], output_dict: dict[str, list[Artifact]], exec_properties: dict[str, Any]) -> None:
        """Reads snapshots, calls `labelling` on every file, writes examples and report."""
        started = time.monotonic()
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        labelled = artifact_utils.get_single_instance(output_dict["labelled_examples"])
        report_uri = artifact_utils.get_single_instance(output_dict["rule_report"]).uri
        snapshots = _Snapshots(*(artifact_utils.get_single_uri(input_dict[name]) for name in _Snapshots._fields))
        matcher, answers = _loaded(snapshots)
        tasks = rewrite_tasks(examples, labelled)

        def write_report(counts: LabelCounts) -> None:
            rules, said = _loaded(snapshots)
            text = report_json(join_report(counts, said, rules))
            write_local(posixpath.join(report_uri, REPORT_FILE), lambda path: path.write_text(text, encoding="utf-8"))

        with self._make_beam_pipeline() as pipeline:
            files = pipeline | "Files" >> beam.Create(tasks) | "Spread" >> beam.Reshuffle()
            asked = tasks if answers.groups else []
            splits = (
                pipeline
                | "FilesOfAnswers" >> beam.Create(asked).with_output_types(RewriteTask)
                | "FindSplits" >> beam.ParDo(_FindSplits(frozenset(answers.groups)))
            )
            _ = (
                files
                | "LabelFiles" >> beam.ParDo(_LabelFile(snapshots), beam.pvalue.AsDict(splits))
                | "Count" >> beam.CombineGlobally(MergeCounts(functools.partial(LabelCounts.of, len(matcher.rules))))
                | "WriteReport" >> beam.Map(write_report)
            )
        describe_like(examples, labelled)
        _loaded.cache_clear()
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
