"""The cache keeps whole vectors, stays within bounds, and never stops a run."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from encoders.vector_cache import VectorCache, content_key

ROOT = Path(__file__).parents[2]


def vector(number, size=8):
    return np.full(size, number, np.float32)


def keys(*numbers):
    return [content_key(str(number).encode()) for number in numbers]


def put(cache, *numbers, size=8, encoder="e"):
    cache.put(encoder, dict(zip(keys(*numbers), (vector(number, size) for number in numbers), strict=True)))


def got(cache, *numbers, size=8, encoder="e"):
    found = cache.get(encoder, keys(*numbers), size)
    for number, key in zip(numbers, keys(*numbers), strict=True):
        if key in found:
            np.testing.assert_array_equal(found[key], vector(number, size))
    return [number for number, key in zip(numbers, keys(*numbers), strict=True) if key in found]


def test_vectors_come_back_whole_to_the_same_encoder_alone(tmp_path):
    put(VectorCache(tmp_path / "a" / "cache.sqlite"), 1, 2)
    again = VectorCache(tmp_path / "a" / "cache.sqlite")
    assert got(again, 1, 2, 3) == [1, 2]
    assert got(again, 1, encoder="other") == []
    assert got(again, 1, size=9) == []


def test_thousands_of_keys_are_found_at_once(tmp_path):
    cache = VectorCache(tmp_path / "cache.sqlite")
    put(cache, *range(3000))
    assert got(cache, *range(0, 6000, 2)) == list(range(0, 3000, 2))


def test_the_longest_unused_vectors_make_room(tmp_path):
    day = [0]
    cache = VectorCache(tmp_path / "cache.sqlite", max_bytes=400_000, today=lambda: day[0])
    put(cache, *range(100), size=256)
    day[0] = 1
    assert got(cache, *range(50), size=256) == list(range(50))  # Used again on day 1.
    for start in range(100, 1000, 100):
        put(cache, *range(start, start + 100), size=256)
    assert (tmp_path / "cache.sqlite").stat().st_size < 600_000
    assert got(cache, *range(900, 1000), size=256) == list(range(900, 1000))
    assert got(cache, *range(50, 100), size=256) == []


def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path, caplog):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 100)
    cache = VectorCache(path)
    put(cache, 1)
    assert got(cache, 1) == [1]
    assert (tmp_path / "cache.sqlite.damaged").exists()
    assert "is damaged, beginning anew" in caplog.text


def test_pages_damaged_in_the_middle_cost_vectors_not_the_run(tmp_path):
    path = tmp_path / "cache.sqlite"
    cache = VectorCache(path)
    put(cache, *range(200), size=256)
    cache.close()
    with path.open("r+b") as file:
        for page in range(2, 30):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    again = VectorCache(path)
    again.get("e", keys(*range(200)), 256)
    put(again, 500, size=256)
    assert set(got(again, 500, size=256)) <= {500}


@pytest.mark.parametrize("place", ["a file is in the way", "the file is a folder"])
def test_a_cache_that_cannot_be_is_done_without_and_said_once(tmp_path, place, caplog):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    cache = VectorCache(tmp_path / "file" / "cache.sqlite" if place == "a file is in the way" else tmp_path / "folder")
    with caplog.at_level(logging.WARNING):
        put(cache, 1)
        assert got(cache, 1) == []
    assert caplog.text.count("going on without") == 1


_WRITER = """
import sys
import numpy as np
from encoders.vector_cache import VectorCache, content_key
from pathlib import Path
cache = VectorCache(Path(sys.argv[1]))
number = 0
while True:
    cache.put("e", {content_key(str(k).encode()): np.full(256, k, np.float32) for k in range(number, number + 50)})
    number += 50
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_vectors(tmp_path):
    path = tmp_path / "cache.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    written = [int(writer.stdout.readline()) for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    cache = VectorCache(path)
    assert got(cache, *range(written[-1]), size=256) == list(range(written[-1]))
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_threads_with_caches_of_their_own_share_the_file(tmp_path):
    failed = []

    def work(first):
        cache = VectorCache(tmp_path / "cache.sqlite")
        for start in range(first, first + 300, 30):
            put(cache, *range(start, start + 30))
            if got(cache, *range(start, start + 30)) != list(range(start, start + 30)):
                failed.append(start)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 150, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
