"""Finds the weights of a picture network and tells from their number which one it is, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py

from encoders.descriptions import IMAGE, Description, digest_of
from schemas.errors import EncoderError
from schemas.settings import INCEPTION_V3, MOBILENET_V2

_MAX_BYTES = 1_000_000_000
_MAX_ARRAYS = 10_000


class Network(NamedTuple):
    """A network without its top: its version here, its width where it comes in several, and the size of its vectors."""

    version: str
    width: float
    size: int


# Number of weights to the network that has them. Raise a version when a vector changes: caches go by it.
_MOBILENET_V2 = "mobilenet_v2 1"
NETWORKS: Mapping[str, Mapping[int, Network]] = {
    MOBILENET_V2: {
        410_208: Network(_MOBILENET_V2, 0.35, 1280),
        706_224: Network(_MOBILENET_V2, 0.5, 1280),
        1_382_064: Network(_MOBILENET_V2, 0.75, 1280),
        2_257_984: Network(_MOBILENET_V2, 1.0, 1280),
        3_766_048: Network(_MOBILENET_V2, 1.3, 1664),
        4_363_712: Network(_MOBILENET_V2, 1.4, 1792),
    },
    INCEPTION_V3: {21_802_784: Network("inception_v3 1", 1.0, 2048)},
}


def weights_file(path: Path) -> Path:
    """Returns the one `.h5` file of a folder, or the file itself.

    Raises:
        EncoderError: there is none, or several.
    """
    if path.is_file():
        return path
    found = sorted(path.glob("*.h5"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise EncoderError(f"{path}: expected one file of weights, *.h5, found {names}. Name the file to take.")
    return found[0]


def network_of(kind: str, file: Path) -> Network:
    """Returns which network the weights in a file are of.

    Raises:
        EncoderError: the file can't be read, or no network of this kind has as many weights.
    """
    count = _num_weights(file)
    if count not in NETWORKS[kind]:
        known = ", ".join(f"{number:,}" for number in NETWORKS[kind])
        raise EncoderError(f"{file}: {count:,} weights aren't those of {kind} without its top. Expected {known}.")
    return NETWORKS[kind][count]


def describe_image(kind: str, path: Path) -> Description:
    """Returns what the encoder of this kind would be with these weights.

    Raises:
        EncoderError: the weights can't be found, read or told.
    """
    file = weights_file(path)
    network = network_of(kind, file)
    return Description(kind, IMAGE, network.size, digest_of(network.version, [file]))


def _num_weights(file: Path) -> int:
    if file.stat().st_size > _MAX_BYTES:
        raise EncoderError(f"{file}: {file.stat().st_size:,} bytes are too many. Expected {_MAX_BYTES:,} at most.")
    sizes: list[int] = []

    def add(name: str, item: h5py.Group | h5py.Dataset) -> bool | None:
        if isinstance(item, h5py.Dataset):
            sizes.append(int(item.size or 0))
        return True if len(sizes) > _MAX_ARRAYS else None

    try:
        with h5py.File(file, "r") as content:
            content.visititems(add)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(f"{file}: this can't be read: {reason}. Expected weights in HDF5, as Keras saves them.") from None
    return sum(sizes)
