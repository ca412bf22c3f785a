"""Reads the text files people write by hand, of bounded size, and names what is wrong with one in a line."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import AisleError


def read_text_file(path: Path, what: str, way_out: str, error: type[AisleError], max_bytes: int) -> str:
    """Returns the text of a UTF-8 file, without a byte order mark.

    Args:
        path: the file; a pipe will do.
        what: kind of file, for the error, such as `taxonomy`.
        way_out: what to do where there is none, such as `Set taxonomy.path`.
        error: what is raised.
        max_bytes: a longer file is refused; no more than that is ever read.

    Raises:
        AisleError: the one asked for: the file is missing, too long, can't be read or isn't UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise error(f"{path}: over {max_bytes:,} bytes are too many for a {what} file. {way_out} to a smaller one.")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise error(f"{path}: there is no such {what} file. {way_out}.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path}: byte {problem.start} isn't UTF-8. Save the file as UTF-8.") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path}: the {what} file can't be read: {reason}. {way_out} to one you may read.") from None
