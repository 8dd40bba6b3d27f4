"""One round at work: batches are sent, looked at and collected side by side.

One loop asks the run directory what is there, starts what can be started, and waits
for whatever comes first. What was finished here since it asked, it knows by itself: so
the calls to a run directory grow with the batches of a run, not with their square.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from batchkit_tasks.batch_numbers import batch_name
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import GaveUpWaitingError, MostRowsInvalidError
from batchkit_tasks.hosts import Host
from batchkit_tasks.limits import LONGEST_LOOK
from batchkit_tasks.plans.money import Purse, Question
from batchkit_tasks.records import Chunk, Submitted
from batchkit_tasks.running.queue_at_api import Queue
from batchkit_tasks.running.survey import Survey, mostly_invalid, survey_run
from batchkit_tasks.steps import Sent
from batchkit_tasks.steps.collecting import CollectedPart
from batchkit_tasks.waiting.polling import Look

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key

T = TypeVar("T")

SENDERS: Final = 4
"""Bodies under way at once: enough to fill a line, few enough for memory."""

COLLECTORS: Final = 2
"""Results read at once; decoding holds the interpreter, so more would not help."""


@dataclass
class RoundWork:
    """One round at work: sends, looks and collects side by side."""

    run: Run
    credentials: Key
    host: Host
    wake: threading.Event = field(default_factory=threading.Event)
    sending: dict[int, Future[Sent]] = field(default_factory=dict)
    collecting: dict[int, Future[CollectedPart | None]] = field(default_factory=dict)
    not_before: dict[int, Sent] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    queue: Queue = field(default_factory=Queue)
    purse: Purse = field(init=False)
    survey: Survey | None = None
    """Where the run stands; None: the run directory is to be asked (again)."""
    first_is_fine: bool = False
    """Whether the first chunk is known not to be mostly invalid."""

    def __post_init__(self) -> None:
        self.purse = Purse(self.run)

    def work_through(self) -> None:
        """Return when every chunk of the round is collected."""
        senders = ThreadPoolExecutor(SENDERS, "send")
        collectors = ThreadPoolExecutor(COLLECTORS, "collect")
        in_order = True
        try:
            while not self._step(senders, collectors):
                pass
        except BaseException as error:
            # Whoever ends this process does not wait for an upload; all others do, so
            # that nothing is sent any more once the error is heard of.
            in_order = isinstance(error, Exception)
            raise
        finally:
            for pool in (senders, collectors):
                pool.shutdown(wait=in_order, cancel_futures=True)

    def _step(
        self, senders: ThreadPoolExecutor, collectors: ThreadPoolExecutor
    ) -> bool:
        """Start what can be started, then wait for something; True when all is done."""
        self.wake.clear()  # before looking: what ends from here on sets it again
        # Other processes may have sent, collected or split chunks: nothing final is done
        # without having asked the run directory in this very step.
        is_new = self.survey is None
        survey = self._take_in()
        if not survey.open and not survey.unsent and not self._busy():
            self.survey = None
            return is_new
        stop = self._reason_to_stop(survey)
        for chunk in survey.open:
            if chunk.number in self.ended and chunk.number not in self.collecting:
                self._collect(collectors, chunk)
        for chunk in self._sendable(survey):
            # A create without an answer is settled in any case: it may be paid already.
            if stop is None or chunk.number in survey.unclear:
                self._send(senders, chunk)
        if stop and not (survey.open or survey.unclear or self._busy()):
            self.survey = None
            if is_new:
                self._stop(stop, survey)
            return False
        self._wait(survey)
        return False

    # ------------------------------------------------------------------ starting

    def _send(self, pool: ThreadPoolExecutor, chunk: Chunk) -> None:
        self.sending[chunk.number] = self._start(pool, lambda: self._submit(chunk))

    def _submit(self, chunk: Chunk) -> Sent:
        """Send a chunk, unless the API has just turned another one away."""
        if held := self.queue.closed_until():
            return Sent(chunk.number, None, again_at=held, why=self.queue.why)
        submit = self.host.steps.submit_chunk
        sent: Sent = submit(self.run.url, chunk.number, self.credentials)
        self.queue.learn(sent)
        return sent

    def _collect(self, pool: ThreadPoolExecutor, chunk: Chunk) -> None:
        collect = self.host.steps.collect_batch
        self.collecting[chunk.number] = self._start(
            pool, lambda: collect(self.run.url, chunk.number, self.credentials)
        )

    def _start(self, pool: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
        future = pool.submit(contextvars.copy_context().run, work)
        future.add_done_callback(lambda _: self._maybe_wake())
        return future

    def _maybe_wake(self) -> None:
        """End the wait when nothing is under way any more, or something went wrong."""
        done = [f for f in self._futures() if f.done()]
        failed = any(f.exception() for f in done if not f.cancelled())
        if failed or len(done) == len(self._futures()):
            self.wake.set()

    def _sendable(self, survey: Survey) -> list[Chunk]:
        """The next chunks that fit under the ceiling of requests in flight."""
        now = datetime.now(UTC)
        begun = survey.unclear | self.sending.keys()
        flying = sum(chunk.requests for chunk in survey.open)
        flying += sum(c.requests for c in survey.chunks if c.number in begun)
        free = [c for c in self._next(survey) if c.number not in self.sending]
        ready = [c for c in free if not self._is_held(c, now)]
        chosen = [c for c in ready if c.number in survey.unclear]
        ceiling = self.run.job.advanced.max_requests_in_flight
        for chunk in ready:
            if chunk.number in survey.unclear:
                continue
            if (flying and flying + chunk.requests > ceiling) or self.queue.is_full(
                under_way=len(self.sending)
            ):
                break
            flying += chunk.requests
            chosen.append(chunk)
            if self.queue.is_careful:
                break
        return chosen

    def _next(self, survey: Survey) -> list[Chunk]:
        """What may be sent now: only the request that primes the cache, until its
        answer is here, then all."""
        first = survey.chunks[0]
        primes = self.run.job.advanced.cache == "primed"
        if not primes or first.number in survey.collected:
            return survey.unsent
        return [chunk for chunk in survey.unsent if chunk.number == first.number]

    def _is_held(self, chunk: Chunk, now: datetime) -> bool:
        sent = self.not_before.get(chunk.number)
        return sent is not None and sent.again_at is not None and sent.again_at > now

    # ------------------------------------------------------------------- waiting

    def _wait(self, survey: Survey) -> None:
        """Wait until something has happened: here, or by giving the process back."""
        running = [c for c in survey.open if c.number not in self.collecting]
        if self._busy() and (not running or self._has_backlog()):
            # Nothing to look at until that is over, or no use in knowing of more.
            seconds = (self._next_event(survey) - datetime.now(UTC)).total_seconds()
            wait(self._futures(), timeout=seconds, return_when=FIRST_COMPLETED)
            return
        self.survey = None  # others may have been at work while this process slept
        if not survey.open:
            self._wait_to_send()
            return
        hold = self.host.holds_process or self._busy()
        if not hold and self._futures():
            return  # ended just now: is taken in before the process is given back
        look: Look = self.host.steps.poll_batches(
            self.run.url,
            self.credentials,
            hold=hold,
            being_collected=sorted(self.collecting),
            until=self._next_event(survey),
            wake=self.wake,
            show=self.host.looked,
        )
        self.ended.update(look.ended)
        self._give_up_on(survey.overdue(look, self._patience))
        if not look.ended and not hold:
            self.host.wait(
                min(look.next_look_at, self._next_event(survey)), look.message
            )

    def _next_event(self, survey: Survey) -> datetime:
        """When there is something to do even if no batch has ended by then."""
        now = datetime.now(UTC)
        held = [sent.again_at for sent in self.not_before.values() if sent.again_at]
        events = [*held, *(at for at, _ in survey.give_up_times(self._patience))]
        return min((at for at in events if at > now), default=now + LONGEST_LOOK)

    def _wait_to_send(self) -> None:
        """Nothing is open and nothing may be sent yet."""
        now = datetime.now(UTC)
        held = [s for s in self.not_before.values() if s.again_at and s.again_at > now]
        if held:
            first = min(held, key=lambda sent: sent.again_at or now)
            assert first.again_at is not None
            message = f"Nothing can be sent yet: {first.why}. "
            self.host.wait(
                first.again_at, message + f"Next try {first.again_at:%H:%M:%S} UTC."
            )

    # ------------------------------------------------------------------- looking

    def _busy(self) -> bool:
        return any(not future.done() for future in self._futures())

    def _has_backlog(self) -> bool:
        """Whether results wait to be collected that are known to be there."""
        return sum(not each.done() for each in self.collecting.values()) > COLLECTORS

    def _futures(self) -> list[Future[Any]]:
        return [*self.sending.values(), *self.collecting.values()]

    def _take_in(self) -> Survey:
        """Take in what was finished; errors of any piece of work are raised here.

        Returns:
            Where the run stands now.
        """
        sent, parts = _finished(self.sending), _finished(self.collecting)
        if self.survey is not None:
            self.survey = self._moved_on(self.survey, sent, parts)
        if self.survey is None:
            self.survey = survey_run(self.run)
        for number, each in sent.items():
            self._note_sent(number, each, self.survey.chunks)
        for number, part in parts.items():
            self._note_collected(number, part)
        return self.survey

    def _moved_on(
        self,
        survey: Survey,
        sent: dict[int, Sent],
        parts: dict[int, CollectedPart | None],
    ) -> Survey | None:
        """The survey after what was finished here; None: more than that has changed."""
        if None in parts.values() or not all(each.batch_id for each in sent.values()):
            return None
        records = {number: self.run.dir.latest_record(number)[1] for number in sent}
        submitted = {n: r for n, r in records.items() if isinstance(r, Submitted)}
        return (
            survey.and_then(submitted, parts) if len(submitted) == len(sent) else None
        )

    def _note_sent(self, number: int, sent: Sent, chunks: Sequence[Chunk]) -> None:
        self.not_before.pop(number, None)
        if sent.batch_id is None and sent.again_at is not None:
            self.not_before[number] = sent
        elif sent.batch_id is not None:
            self.host.log(_sent_in_words(number, sent.batch_id, chunks))

    def _note_collected(self, number: int, part: CollectedPart | None) -> None:
        self.ended.discard(number)
        if part is None:
            self.host.log(
                f"Batch {batch_name(number)} was not ours; looking for it again."
            )
            return
        self.host.collected(number, part.rows)
        self.host.log(_collected_in_words(number, part))

    # ------------------------------------------------------------------ stopping

    def _reason_to_stop(self, survey: Survey) -> MostRowsInvalidError | Question | None:
        """Why nothing more is sent."""
        if not self.first_is_fine and survey.has_first_attempts:
            if invalid := mostly_invalid(self.run, survey):
                rows, of, example = invalid
                return MostRowsInvalidError(rows, of, example, self.run.job.output)
            self.first_is_fine = survey.first.number in survey.collected
        waiting = {chunk.number for chunk in survey.unsent} - survey.unclear
        waiting -= self.sending.keys()
        if not waiting:
            return None
        return self.purse.question(survey.chunks, survey.collected, waiting)

    def _stop(self, reason: MostRowsInvalidError | Question, survey: Survey) -> None:
        """Write what there is and raise, unless a person says to go on."""
        if isinstance(reason, Question):
            if self.host.ask(self.run.url, reason):
                return
            if survey.collected:
                why = "not sent: the budget did not cover it"
                self.host.steps.write_output(self.run.url, "skipped", why)
            raise reason.error()
        why = "not sent: most rows of the first batch were invalid requests"
        self.host.steps.write_output(self.run.url, "skipped", why)
        raise reason

    @property
    def _patience(self) -> timedelta:
        return timedelta(hours=self.run.job.advanced.give_up_after_hours)

    def _give_up_on(self, overdue: list[str]) -> None:
        if overdue:
            reason = "its message batch had not ended in time"
            self.host.steps.write_output(self.run.url, "missing", reason)
            hours = self.run.job.advanced.give_up_after_hours
            raise GaveUpWaitingError(overdue, hours, self.run.job.output)


def _finished(futures: dict[int, Future[T]]) -> dict[int, T]:
    done = [number for number, future in futures.items() if future.done()]
    return {number: futures.pop(number).result() for number in done}


def _sent_in_words(number: int, batch_id: str, chunks: Sequence[Chunk]) -> str:
    rows = sum(chunk.requests for chunk in chunks if chunk.number == number)
    return (
        f"Batch {batch_name(number)} of {len(chunks):,} is at Anthropic: {rows:,} rows, "
        f"{batch_id}"
    )


def _collected_in_words(number: int, part: CollectedPart) -> str:
    by_count = sorted(part.by_status.items(), key=lambda kind: -kind[1])
    counts = ", ".join(f"{rows:,} {status}" for status, rows in by_count)
    message = f"Batch {batch_name(number)} is collected: {part.rows:,} rows, {counts}."
    odd = [
        f"{count:,} {what}"
        for count, what in (
            (part.foreign, "foreign lines"),
            (part.duplicates, "duplicate lines"),
        )
        if count
    ]
    return message + (f" Ignored: {', '.join(odd)}." if odd else "")
