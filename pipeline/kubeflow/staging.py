"""Brings artifacts from object storage to local folders and back, so that every stage sees files."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from schemas.errors import StoreError

# Where Kubeflow's launcher, which starts our command, has put inputs already and takes outputs from.
LAUNCHER_FOLDERS = {"minio": "minio", "s3": "s3", "gs": "gcs"}
_TRANSFERS = 8
_MINIO_ENDPOINT = "http://minio-service.kubeflow:9000"

log = logging.getLogger(__name__)


def split_uri(uri: str) -> tuple[str, str]:
    """Returns the scheme, empty for a path, and what comes after it.

    >>> split_uri("s3://bucket/a"), split_uri("/tmp/a"), split_uri("file:///tmp/a")
    (('s3', 'bucket/a'), ('', '/tmp/a'), ('', '/tmp/a'))

    Raises:
        StoreError: an unknown scheme, or a way out of the folder.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme == "file":
        scheme, rest = "", rest if mark else uri
    if scheme and scheme not in LAUNCHER_FOLDERS:
        raise StoreError(f"{uri}: artifacts on {scheme}:// can't be read. Use minio://, s3://, gs:// or a mounted folder as pipeline root.")
    if not rest.strip("/") or ".." in Path(rest).parts or (not scheme and not rest.startswith("/")):
        raise StoreError(f"{uri!r}: expected a bucket and a key, or an absolute path without '..'. Look at the pipeline root.")
    return scheme, rest.rstrip("/")


def object_store(scheme: str, environment: Mapping[str, str] = os.environ) -> fs.FileSystem:
    """Returns the file system of a scheme, with the credentials and the endpoint of the usual AWS variables."""
    if scheme == "gs":
        return fs.GcsFileSystem()
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    endpoint = endpoint or (_MINIO_ENDPOINT if scheme == "minio" else "")
    if not endpoint:
        return fs.S3FileSystem()
    protocol, _, host = endpoint.rpartition("://")
    return fs.S3FileSystem(endpoint_override=host, scheme=protocol or "http")


class Staging:
    """The local places of a step's artifacts.

    A path, and `file://`, is used in place. An artifact on object storage is where Kubeflow's launcher has put it; where no
    launcher was, it is transferred through `scratch`.

    Args:
        scratch: folder for copies, empty.
        launcher: folder that holds the launcher's own; None where there is no launcher.
        open_store: returns the file system of a scheme.
    """

    def __init__(self, scratch: Path, launcher: Path | None, open_store: Callable[[str], fs.FileSystem] = object_store) -> None:
        self._scratch, self._launcher, self._open_store = scratch, launcher, open_store

    def place(self, uri: str) -> Path:
        """Returns where an artifact's files are, or belong.

        Raises:
            StoreError: the URI can't be used.
        """
        scheme, rest = split_uri(uri)
        if not scheme:
            return Path(rest)
        if self._launcher:
            return self._launcher / LAUNCHER_FOLDERS[scheme] / rest
        return self._scratch / hashlib.sha256(uri.encode()).hexdigest()[:16] / Path(rest).name

    def fetch(self, uri: str) -> Path:
        """Returns the local place of an input, with everything in it; an artifact without files is an empty folder.

        Raises:
            StoreError: it can't be read.
        """
        place = self.place(uri)
        if self._is_transferred(uri) and not place.exists():
            with _explained(uri, "read"):
                _download(self._open_store, uri, place)
        if not place.exists():
            place.mkdir(parents=True)
        return place

    def deliver(self, uris: Iterable[str]) -> None:
        """Uploads outputs: all of them whole, or none.

        Raises:
            StoreError: one can't be written; what was written is taken back.
        """
        begun: list[str] = []
        try:
            for uri in uris:
                if self._is_transferred(uri) and self.place(uri).exists():
                    begun.append(uri)
                    with _explained(uri, "written"):
                        _upload(self._open_store, self.place(uri), uri)
        except BaseException:
            for uri in begun:
                with suppress(OSError, pa.ArrowException):
                    _remove(self._open_store, uri)
            raise

    def _is_transferred(self, uri: str) -> bool:
        return bool(split_uri(uri)[0]) and self._launcher is None


def launcher_folder(inputs: Iterable[str], outputs: Iterable[str], root: Path = Path("/")) -> Path | None:
    """Returns `root` where Kubeflow's launcher has been: it makes the folders of outputs before it starts a step.

    Args:
        inputs: URIs the step reads; the launcher has fetched them.
        outputs: URIs it writes.
        root: what the launcher's folders are in.
    """
    staging = Staging(root, root)
    made = [staging.place(uri).parent for uri in outputs if split_uri(uri)[0]]
    made += [staging.place(uri) for uri in inputs if split_uri(uri)[0]]
    return root if any(place.exists() for place in made) else None


@contextmanager
def _explained(uri: str, verb: str) -> Iterator[None]:
    """Turns what a store says into one line."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{uri}: can't be {verb}: {reason}. Check bucket, endpoint and credentials.") from error


def _download(open_store: Callable[[str], fs.FileSystem], uri: str, place: Path) -> None:
    scheme, key = split_uri(uri)
    store = open_store(scheme)
    if store.get_file_info(key).type == fs.FileType.NotFound:
        return
    partial = place.with_name(f".{place.name}.partial")
    _copy(store, key, fs.LocalFileSystem(), str(partial))
    partial.rename(place)
    log.info("staging fetched=%s", uri)


def _upload(open_store: Callable[[str], fs.FileSystem], place: Path, uri: str) -> None:
    scheme, key = split_uri(uri)
    _copy(fs.LocalFileSystem(), str(place), open_store(scheme), key)
    log.info("staging delivered=%s", uri)


def _copy(source: fs.FileSystem, path: str, target: fs.FileSystem, to: str) -> None:
    """Copies a file, or all files in a folder.

    Threads are ours: those of `copy_files` are the ones that S3 uploads wait for, and more than eight files wait for ever.
    """
    is_folder = source.get_file_info(path).type == fs.FileType.Directory
    found = source.get_file_info(fs.FileSelector(path, recursive=True)) if is_folder else []
    files = {info.path: to + info.path[len(path) :] for info in found if info.type == fs.FileType.File} if is_folder else {path: to}
    for folder in sorted({name.rpartition("/")[0] for name in files.values()} | ({to} if is_folder else set())):
        target.create_dir(folder)

    def copy(names: tuple[str, str]) -> None:
        fs.copy_files(*names, source_filesystem=source, destination_filesystem=target, use_threads=False)

    with ThreadPoolExecutor(_TRANSFERS) as threads:
        list(threads.map(copy, files.items()))


def _remove(open_store: Callable[[str], fs.FileSystem], uri: str) -> None:
    scheme, key = split_uri(uri)
    store = open_store(scheme)
    if store.get_file_info(key).type == fs.FileType.Directory:
        store.delete_dir(key)
    else:
        store.delete_file(key)
