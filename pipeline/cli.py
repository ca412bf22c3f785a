"""The program `aisle`: finds the verb's module and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from schemas.errors import AisleError

# Verb to its module in pipeline.commands and what it does. Modules are loaded only when asked for, so help stays quick.
VERBS = {
    "demo-catalogue": ("demo_catalogue", "write a made-up catalogue to try everything on"),
    "check": ("check", "show the settings in force and check every input; touches nothing"),
    "run": ("run", "run one round: feeds in, a judged model, its index and the next batch out"),
    "batch": ("batch", "show the products to label next, or answer them with a simulated labeller"),
    "labels": ("labels", "import, export, list or retract label events"),
    "predict": ("predict", "put the products of a feed into categories with the live model"),
    "evaluate": ("evaluate", "show the scores of the latest run"),
    "export": ("export", "copy the live model and its index into a folder"),
    "runs": ("runs", "list the runs: how they ended, how good they are, what they pushed"),
    "lineage": ("lineage", "show what a version comes from and what was made from it"),
    "diff": ("diff", "show how two versions differ, down to the products that changed"),
    "rollback": ("rollback", "make the previous pair of model and index live again"),
    "serve": ("serve", "answer over TensorFlow Serving's gRPC and REST protocol"),
    "similar": ("similar", "answer which products are similar, over gRPC and REST"),
    "compile": ("compile", "write the pipeline as a specification for Kubeflow"),
    "submit": ("submit", "submit the pipeline to Kubeflow, as a run or on a schedule"),
    "study": ("study", "measure how many answers a catalogue needs, by replaying the labelling of one whose truth is known"),
}
# Requests already keep every core busy: a search that splits its sums over them as well waits for the others.
_ONE_THREAD_VERBS = ("similar",)
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
EPILOG = """examples:
  aisle demo-catalogue demo && aisle run --config demo/aisle.yaml
  aisle check --config configs/case.yaml --set catalogue.folder=CATALOGUE
  aisle batch show --config demo/aisle.yaml
  aisle predict feed.csv --config demo/aisle.yaml --network alpha

Every verb has its own --help. Exit codes: 0 done, 1 failed, 2 wrong settings."""


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """Returns the parser; only the asked verb's options are loaded."""
    parser = argparse.ArgumentParser(
        prog="aisle",
        description="Puts noisy affiliate-feed products into a shop's category tree with few human answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, summary) in VERBS.items():
        one = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == verb:
            importlib.import_module(f"pipeline.commands.{module}").add_arguments(one)
    return parser


def use_one_thread(verb: str | None) -> None:
    """Has NumPy's BLAS sum in one thread where that serves a verb better, unless the user says how many it has.

    BLAS reads the environment while NumPy is loaded, which a verb's module does.
    """
    if verb in _ONE_THREAD_VERBS and "numpy" not in sys.modules and not any(name in os.environ for name in _THREADS):
        os.environ.update(dict.fromkeys(_THREADS[:2], "1"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in words if word in VERBS), None)
    use_one_thread(verb)
    try:
        args = build_parser(verb).parse_args(words)
        code = int(importlib.import_module(f"pipeline.commands.{VERBS[args.verb][0]}").run(args))
        sys.stdout.flush()
        return code
    except AisleError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped by the user. Start the same command again to go on.\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
