"""Typed JSON, decoded for the first time by many threads at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
from batchkit_tasks.ground.decoding import decode
from batchkit_tasks.batches import BatchPage
from batchkit_tasks.records import ChunkRecord, Round
import msgspec
start = threading.Barrier(8)
def work():
    start.wait()
    decode(b'{"data": []}', BatchPage)
    decode(b'{"number": 1, "chunks": []}', Round)
    try:
        decode(b'{}', ChunkRecord)
    except msgspec.DecodeError:
        pass
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_many_threads_may_decode_a_type_for_the_first_time() -> None:
    """msgspec by itself crashes the interpreter here, one time in some."""
    for _ in range(5):
        subprocess.run([sys.executable, "-c", PROGRAM], check=True)
