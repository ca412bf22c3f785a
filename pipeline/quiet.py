"""Keeps libraries' chatter off a person's terminal; imported before TensorFlow is."""

from __future__ import annotations

import logging
import os
import warnings

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GLOG_minloglevel": "2",
    "GRPC_VERBOSITY": "ERROR",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONWARNINGS": "ignore::FutureWarning,ignore::DeprecationWarning,ignore::UserWarning,ignore::RuntimeWarning",
}
_LOUD = ("tensorflow", "apache_beam", "google", "urllib3", "h5py", "absl")


def setup() -> None:
    """Sets what must be set before the first import of TensorFlow; what the environment already says stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for category in (FutureWarning, DeprecationWarning, UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)


setup()
