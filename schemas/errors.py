"""The one family of errors a user can cause or mend; anything else is a bug and keeps its traceback."""

from __future__ import annotations

_MAX_MESSAGE = 4_000


class AisleError(Exception):
    """Says in one line where something is wrong, what was found, what was expected and the way out.

    Messages quote what untrusted files hold, so what would break the line or steer a terminal is written as an escape, and a
    very long message loses its middle.
    """

    exit_code = 1
    http_status = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


def one_line(text: str, max_length: int = _MAX_MESSAGE) -> str:
    r"""Returns text that a terminal shows as one line, of `max_length` characters at most, which are 10 or more.

    >>> print(one_line("two\nlines, \x1b[31mred"), one_line("a" * 50, 20), one_line("\n" * 50, 20))
    two\nlines, \x1b[31mred aaaaaaa ... aaaaaaaa \n\n\n\ ... \n\n\n\n
    """
    text = _without_middle(text, max_length)  # Before the escapes, so that a huge text isn't escaped whole; they make it longer.
    return text if text.isprintable() else _without_middle("".join(map(_shown, text)), max_length)


def _without_middle(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    head = max_length // 2 - 3
    return f"{text[:head]} ... {text[head + 5 - max_length :]}"


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


class SettingsError(AisleError):
    """A configuration file or `--set` override that can't be used."""

    exit_code = 2
    http_status = 400


class CatalogueError(AisleError):
    """A feed, a feed mapping or a share of refused rows that can't be worked with."""

    http_status = 422


class TaxonomyError(AisleError):
    """A taxonomy file with a cycle, an orphan, a duplicate id or a missing column."""

    http_status = 422


class RuleError(AisleError):
    """A rule file, or one rule in it, that can't be used."""

    http_status = 422


class LabelError(AisleError):
    """A label event that can't be read, or that contradicts the store."""

    http_status = 422


class FeatureError(AisleError):
    """A feature config that names an unknown kind, field or option."""

    exit_code = 2
    http_status = 400


class ModelError(AisleError):
    """A model that can't be trained, loaded or trusted to serve."""


class EncoderError(AisleError):
    """An encoder whose weights can't be found, read or used."""


class EvaluationError(AisleError):
    """Scores that can't be judged."""


class SamplingError(AisleError):
    """Scores a batch can't be drawn from."""


class NeighbourIndexError(AisleError):
    """A similarity index that can't be built, read or trusted."""


class IndexWriteError(NeighbourIndexError):
    """Changes that a similarity index can't keep now, though nothing is wrong with them: a failed disk, a closed index."""

    http_status = 503


class IndexSwappedError(NeighbourIndexError):
    """Changes meant for another version of a similarity index than the one that is there now."""

    http_status = 409


class StoreError(AisleError):
    """A store that can't be opened, read or appended to."""

    http_status = 503


class PushError(AisleError):
    """A model and index pair that can't go live."""


class SubmissionError(AisleError):
    """A pipeline that can't be submitted to Kubeflow, or a run of it that failed there."""

    http_status = 502
