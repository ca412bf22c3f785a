"""Changes a live index without end from several threads and says what was acknowledged, until somebody kills it.

python -m tests.similarity.killed_writer FOLDER FIRST THREADS: writes one line a group, once it is acknowledged.
"""

import os
import sys
import threading
from pathlib import Path

from similarity.changes import Delete, Move
from similarity.live_index import LiveIndex
from tests.similarity.catalogue import upsert


def change(live, first, thread):
    """Adds three products a group, deletes the second and moves the third."""
    for number in range(first, first + 10**9):
        names = [f"{thread}/{number}/{letter}" for letter in "abc"]
        live.apply([*(upsert(name, number) for name in names), Delete(names[1]), Move(names[2], "n5")])
        os.write(1, f"{thread}/{number}\n".encode())


if __name__ == "__main__":
    index = LiveIndex.open(Path(sys.argv[1]), compact_above=300)
    workers = [threading.Thread(target=change, args=(index, int(sys.argv[2]), worker)) for worker in range(int(sys.argv[3]))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
