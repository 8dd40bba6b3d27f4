"""Running a batch: from the requests on disk to the result lines on disk.

One worker thread does it for all batches, in the order in which they were created, as
soon as they are: the work is over when a short batch ends, and `once` markers count in
that order. Memory holds one batch's requests at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from batchkit_tasks.sandbox.batches import Batch, final_kinds
from batchkit_tasks.sandbox.envelope import Request, decode_requests
from batchkit_tasks.sandbox.results import (
    CANCELED,
    EXPIRED,
    MISSING,
    SUCCEEDED,
    TWO_LINES,
    FixedLines,
    Outcomes,
    bare_line,
    custom_id_of,
)


class StoppedError(Exception):
    """The sandbox is being stopped; the batch was not run to its end."""


class Runner:
    """Writes each batch's result lines, in the background."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outcomes = Outcomes()
        self._stopping = threading.Event()
        self._unfinished: dict[str, Batch] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sandbox-runner")

    def resume(
        self, batch: Batch, *, fixed: Sequence[str] | None, keep_requests: bool
    ) -> None:
        """Take a batch of an earlier sandbox: run it, unless that was done."""
        kinds = self._kinds_path(batch.id)
        if kinds.exists():
            batch.kinds.set_result(kinds.read_bytes())
        else:
            self.submit(batch, fixed=fixed, keep_requests=keep_requests)

    def submit(
        self, batch: Batch, *, fixed: Sequence[str] | None, keep_requests: bool
    ) -> None:
        """Begin to run a batch whose body is on disk; `batch.kinds` is its end."""
        self._unfinished[batch.id] = batch
        self._worker.submit(self._run, batch, fixed, keep_requests)

    def stop(self) -> None:
        """Leave what is not yet run, and wait for the worker."""
        self._stopping.set()
        self._worker.shutdown(wait=True, cancel_futures=True)
        for batch in self._unfinished.values():
            if not batch.kinds.done():  # nobody shall wait for it for ever
                batch.kinds.set_exception(StoppedError(batch.id))

    def body_path(self, batch_id: str) -> Path:
        return self._folder / f"{batch_id}.body.json"

    def _kinds_path(self, batch_id: str) -> Path:
        return self._folder / f"{batch_id}.kinds"

    def whole_path(self, batch_id: str) -> Path:
        """Return the file with the lines of a batch that runs to its end."""
        return self._folder / f"{batch_id}.results.jsonl"

    def results_path(self, batch: Batch) -> Path:
        """Return the file with the final lines of an ended batch, written if need be.

        Slow for a large batch that was cut off: call it outside the event loop.
        """
        whole = self.whole_path(batch.id)
        kinds = batch.kinds.result()
        ending = batch.ending()
        if ending.reason == "finished" or ending.requests_run >= len(kinds):
            return whole
        cut = self._folder / f"{batch.id}.{ending.reason}-{ending.requests_run}.jsonl"
        if not cut.exists():
            lines = _cut_lines(whole, kinds, final_kinds(batch))
            beside = cut.with_suffix(f".{threading.get_ident()}")
            with beside.open("wb") as file:
                file.writelines(lines)
            beside.replace(cut)
        return cut

    def _run(
        self, batch: Batch, fixed: Sequence[str] | None, keep_requests: bool
    ) -> None:
        try:
            kinds = self._write(batch, fixed)
        except BaseException as error:
            batch.kinds.set_exception(error)
            raise
        self._kinds_path(batch.id).write_bytes(kinds)
        if not keep_requests:
            self.body_path(batch.id).unlink()
        batch.kinds.set_result(kinds)
        del self._unfinished[batch.id]

    def _write(self, batch: Batch, fixed: Sequence[str] | None) -> bytes:
        """Write the result lines, and return their kinds."""
        requests = decode_requests(self.body_path(batch.id).read_bytes())
        kinds = bytearray()
        self._outcomes.batch_id = batch.id
        drain = FixedLines(fixed) if fixed else None
        with self.whole_path(batch.id).open("wb", buffering=1 << 20) as file:
            for at in completion_order(batch.id, len(requests)):
                kind, lines = self._end(at, requests[at], batch, drain)
                kinds.append(kind)
                file.write(lines)
                if self._stopping.is_set():
                    raise StoppedError(batch.id)
        return bytes(kinds)

    def _end(
        self, number: int, request: Request, batch: Batch, drain: FixedLines | None
    ) -> tuple[int, bytes]:
        if drain is not None:
            return SUCCEEDED, drain.line(number, request.custom_id)
        return self._outcomes.of(request.custom_id, bytes(request.params), batch.rules)


def completion_order(batch_id: str, requests: int) -> list[int]:
    """Return the order in which a batch's requests complete: never the order sent."""
    order = list(range(requests))
    Random(batch_id).shuffle(order)
    if requests > 1 and order == sorted(order):
        order.reverse()
    return order


def _cut_lines(whole: Path, kinds: bytes, final: bytes) -> Iterator[bytes]:
    """Yield the lines, those of requests that did not run rewritten."""
    names = {CANCELED: "canceled", EXPIRED: "expired"}
    with whole.open("rb") as file:
        for before, after in zip(kinds, final, strict=True):
            if before == MISSING:
                continue
            line = file.readline()
            more = file.readline() if before == TWO_LINES else b""
            if after in names:
                yield bare_line(custom_id_of(line), names[after])
            else:
                yield line + more
