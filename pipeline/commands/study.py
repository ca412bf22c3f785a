"""Measures answers needed, what noise costs and what may be accepted, on catalogues whose truth is known: the verb `aisle study`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from pipeline.commands.options import add_settings, positive, share, up_to
from schemas.settings import SamplingSettings

EPILOG = """examples:
  aisle study replay --case CATALOGUE --strategies default random --seeds 20 --out replay.jsonl
  aisle study replay --case CATALOGUE --strategies default --budgets 0 250 1000 all --wrong 0.05 --out wrong.jsonl
  aisle study replay --case CATALOGUE --strategies default --unsure 0.3 --out unsure.jsonl
  aisle study replay --case CATALOGUE --strategies default --questions mixed --out mixed.jsonl
  aisle study replay --case CATALOGUE --learner propagation=0.5 --out replay.jsonl
  aisle study noise --case CATALOGUE --budgets 1000 all --out noise.jsonl
  aisle study fields --case CATALOGUE --fields brand description --out fields.jsonl
  aisle study objectives --case CATALOGUE --budgets 100 1000 --out objectives.jsonl
  aisle study acceptance --case CATALOGUE --budgets 1000 all --seeds 100 --out acceptance.jsonl
  aisle study advice replay.jsonl
  aisle study report replay.jsonl
  aisle study case --config shop.yaml --truth truth.tsv --out CATALOGUE

CATALOGUE is a folder with a feed, taxonomy.tsv, rules.tsv and gold.tsv. The same command again goes on where it was stopped.
Beside FILE.jsonl a study writes FILE.jsonl.html and FILE.jsonl.png."""
_BUDGETS = (0, 100, 250, 500, 1000, 2000)
_ALL = "all"
_WHOLE = up_to(999_999_999)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to the verb's parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="study_action", required=True, metavar="ACTION")
    _add_replay(actions.add_parser("replay", help="simulate labelling campaigns, and score the model at each budget of answers"))
    noisy = actions.add_parser("noise", help="spoil a catalogue's feed in known ways, and say what each costs in hierarchical F1")
    _add_noise(noisy)
    describing = actions.add_parser("fields", help="say what each field of the feed adds to the title")
    _add_fields(describing)
    _add_objectives(
        actions.add_parser("objectives", help="compare what rules are worth as prior, as pre-training, interleaved, or not used")
    )
    accepting = actions.add_parser("acceptance", help="promise a precision, and say how many predictions keep it without a person")
    _add_acceptance(accepting)
    advising = actions.add_parser("advice", help="test on replays what the advice to go on or to stop would have been worth")
    advising.add_argument("files", type=Path, nargs="+", metavar="FILE", help="JSON lines of replays with four budgets or more")
    advising.add_argument("--field", default="accuracy", metavar="NAME", help="score to look at (default accuracy)")
    advising.add_argument("--json", action="store_true", help="write a JSON line for each piece of advice")
    writing = actions.add_parser("case", help="write a configured catalogue whose truth is known as a folder that studies read")
    writing.add_argument("--truth", type=Path, required=True, metavar="FILE", help="TSV with product_id and node_id")
    writing.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to, empty or new")
    add_settings(writing)
    reporting = actions.add_parser("report", help="make table, page and plot of a study again")
    reporting.add_argument("file", type=Path, metavar="FILE", help="JSON lines of a study")


def _add_replay(parser: argparse.ArgumentParser) -> None:
    _add_case(parser)
    _add_frozen(parser)
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=["default"],
        metavar="NAME",
        help="default (the one that ships), random, or any other (default: default)",
    )
    parser.add_argument(
        "--budgets", nargs="+", type=_budget, default=list(_BUDGETS), metavar="N", help="answers to judge at; all for every one there is"
    )
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="campaigns of each strategy (default 3)")
    parser.add_argument("--first-seed", type=_WHOLE, default=0, metavar="N", help="the first of the seeds (default 0)")
    parser.add_argument("--wrong", type=share, default=0.0, metavar="R", help="share of wrong answers, 0 to 1 (default 0)")
    parser.add_argument(
        "--unsure", type=share, default=0.0, metavar="R", help="share of answers that say only under which node of depth 2 (default 0)"
    )
    parser.add_argument(
        "--yes-or-no",
        type=share,
        default=0.0,
        metavar="R",
        help="share of products of which is only asked whether the model's best node is right (default 0)",
    )
    parser.add_argument("--ignore-unsure", action="store_true", help="learn nothing from answers that name no node")
    parser.add_argument(
        "--questions",
        choices=("products", "mixed"),
        default="products",
        help="mixed: some decisions are about a group of products of which five are shown (default products)",
    )
    parser.add_argument(
        "--question-share",
        type=share,
        default=0.2,
        metavar="R",
        help="share of a batch that mixed asks about groups (default 0.2)",
    )
    parser.add_argument(
        "--seconds", nargs=2, type=positive, default=[3, 9], metavar="N", help="of a person for a product and for a group (default 3 9)"
    )
    parser.add_argument("--without-rules", action="store_true", help="hide the rules from the learner")
    parser.add_argument("--without-names", action="store_true", help="hide the names of the nodes from the learner")
    parser.add_argument(
        "--within-dev", action="store_true", help="judge on a fifth of the dev groups, to choose defaults without a look at test products"
    )
    parser.add_argument(
        "--learner",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="how the few-answers learner learns, such as propagation=0.5 or entropy_weight=0.1",
    )
    parser.add_argument("--reference", type=Path, metavar="SCRIPT", help="a program whose scores with random answers are put beside")
    parser.add_argument("--reference-seeds", type=positive, metavar="N", help="of the reference (default: as many as --seeds)")
    parser.add_argument(
        "--batch",
        nargs="+",
        type=positive,
        default=[10, 15, 25],
        metavar="N",
        help="sizes of the first batches, the last one for all later",
    )
    parser.add_argument(
        "--growth", type=share, default=0.25, metavar="R", help="or this share of the answers so far, if it is more (default 0.25)"
    )
    parser.add_argument(
        "--audit-share", type=share, default=SamplingSettings().audit_share, metavar="R", help="of a batch, drawn at random (default 0.1)"
    )
    parser.add_argument(
        "--scored-products", type=positive, default=6000, metavar="N", help="unasked products scored a round (default 6000)"
    )


def _add_noise(parser: argparse.ArgumentParser) -> None:
    _add_case(parser)
    parser.add_argument(
        "--budgets", nargs="+", type=_budget, default=[1000, _ALL], metavar="N", help="answers to judge at (default 1000 all)"
    )
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="campaigns on each copy (default 1)")
    parser.add_argument("--seed", type=_WHOLE, default=0, metavar="N", help="of the noise (default 0)")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="only these kinds of noise, as 'all together' (default: every kind)")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    _add_case(parser)
    parser.add_argument(
        "--budgets", nargs="+", type=_budget, default=[0, 250, 1000], metavar="N", help="answers to judge at (default 0 250 1000)"
    )
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="campaigns with each set of fields (default 3)")
    parser.add_argument("--strategy", default="default", metavar="NAME", help="what picks the products (default: the one that ships)")
    parser.add_argument("--fields", nargs="+", metavar="NAME", help="only these, each beside the title (default: all that features read)")


def _add_objectives(parser: argparse.ArgumentParser) -> None:
    _add_case(parser)
    parser.add_argument("--budgets", nargs="+", type=positive, default=[100, 1000], metavar="N", help="random answers (default 100 1000)")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="models of each (default 3)")
    parser.add_argument("--ways", nargs="+", metavar="NAME", help="only these, as 'feed_forward, pre-training' (default: all)")
    parser.add_argument(
        "--parameters",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hyper-parameters of model.parameters, such as mean_teacher_weight=1 or entropy_weight=0.1",
    )
    parser.add_argument(
        "--rule-products", type=positive, default=20_000, metavar="N", help="products that rules are learnt from at most (default 20000)"
    )


def _add_acceptance(parser: argparse.ArgumentParser) -> None:
    _add_case(parser)
    _add_frozen(parser)
    parser.add_argument(
        "--budgets", nargs="+", type=_budget, default=[1000, _ALL], metavar="N", help="answers to calibrate on (default 1000 all)"
    )
    parser.add_argument("--seeds", type=positive, default=10, metavar="N", help="re-draws of the answers (default 10)")
    parser.add_argument("--promised", type=share, default=0.95, metavar="R", help="precision of what is accepted (default 0.95)")
    parser.add_argument("--confidence", type=share, default=0.95, metavar="R", help="that the promise is kept (default 0.95)")


def _add_case(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", type=Path, required=True, metavar="DIR", help="catalogue folder with gold.tsv")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines, appended to")
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="processes, one core each (default 2)")
    parser.add_argument(
        "--work", type=Path, default=Path("var/studies"), metavar="DIR", help="what is made once of each catalogue (default var/studies)"
    )
    add_settings(parser)


def _add_frozen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frozen", type=Path, metavar="DIR", help="use what an earlier study froze of the catalogue, whatever changed since"
    )


def run(args: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code; tables go to standard output, progress to standard error.

    Raises:
        AisleError: an input, an option or a file can't be used.
    """
    module, function = _ACTIONS[args.study_action]
    return int(getattr(importlib.import_module(module), function)(args))


def _budget(text: str) -> int | str:
    return text if text == _ALL else _WHOLE(text)


_ACTIONS = {
    "replay": ("studies.replay_study", "replay"),
    "noise": ("studies.noise_study", "noise"),
    "fields": ("studies.fields_study", "fields"),
    "objectives": ("studies.objectives_study", "objectives"),
    "acceptance": ("studies.acceptance_study", "acceptance"),
    "advice": ("studies.advice_study", "advice"),
    "report": ("studies.replay_study", "report"),
    "case": ("studies.case_writing", "case"),
}
