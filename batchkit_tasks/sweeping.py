"""One pass over all runs: wake, restart, and clean up behind those that are over.

A run needs none of this to end right: it wakes by itself and goes on from wherever it
was. A sweep makes it quicker, and does what no process of a run can do once there is
none. It is idempotent, may run beside itself, and may be late.

- A waiting run whose batch has ended is woken, unless it is about to start anyway.
- A run that was left between two states by a dying process is scheduled again: still
  Suspended under a key of our own waits, or Pending for long. One that a person
  suspended is left alone.
- A run that crashed is started again, a few times.
- Behind a run that was canceled, or has been Failed or Crashed for so long that
  nobody will start it again, the batches are canceled and what had finished is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging.loggers import flow_run_logger

from batchkit_tasks.api import Api, Later
from batchkit_tasks.flow_run import events, suspension
from batchkit_tasks.flow_run.tracking import Tracked, Tracker
from batchkit_tasks.report.artifact import report_canceled
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.running import settling
from batchkit_tasks.waiting import looking

if TYPE_CHECKING:
    from batchkit_tasks.credentials import AnthropicCredentials
    from batchkit_tasks.records import Submitted

ABOUT_TO_START: Final = timedelta(seconds=60)
"""A run that is due sooner is left alone: a worker may be starting it, and Prefect
would let a second process start beside the first."""

STILL_LEAVING: Final = timedelta(seconds=60)
"""A run that came into its state less than this ago may still have a process, which
exits within seconds, or within half a minute on a machine that is overrun."""

STUCK_PENDING: Final = timedelta(minutes=20)
"""A run that is Pending for longer was taken by a worker that is no more."""

AFTER_CRASH: Final = timedelta(seconds=60)
"""A worker reports a crash again up to 9 seconds later, over whatever came between."""

MAX_RESTARTS: Final = 3
"""What crashes that often is not the machine's fault."""

LOOK_BACK: Final = timedelta(days=3)
"""Batches end within a day; runs that were over before are left alone."""

CANCELING_PATIENCE: Final = timedelta(seconds=45)
"""How long a pass waits for canceled batches to end; the next pass goes on."""


@dataclass(slots=True)
class Swept:
    """What a pass did, by the names of the flow runs."""

    waiting: int = 0
    woken: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    cleaned_up: list[str] = field(default_factory=list)
    canceling: list[str] = field(default_factory=list)
    """Batches of these have not ended yet: the next pass goes on."""
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(slots=True)
class Sweep:
    """One pass."""

    tracker: Tracker
    log: Callable[[str], None]
    dead_after: timedelta = timedelta(hours=1)
    """A run that is Failed or Crashed for longer is dead."""
    wakes_at_most: int = 50
    """Each wake-up is a process: more than this per pass would stampede."""
    swept: Swept = field(default_factory=Swept)
    _alive: set[str] = field(default_factory=set[str])
    """Run directories that a flow run goes on with: nothing of theirs is canceled."""

    def everything(self) -> Swept:
        """Sweep over all flow runs that have a run directory."""
        now = datetime.now(UTC)
        live = self.tracker.live()
        over = self.tracker.over(now - LOOK_BACK)
        self._alive = {run.run for run in live}
        for run in live:
            self._guarded(run, lambda run=run: self._pick_up(run, now))
        for run in over:
            self._guarded(run, lambda run=run: self._restart(run, now))
        self._clean_up([r for r in over if r.run and self._is_dead(r, now)])
        self._wake([run for run in live if _sleeps(run, now)])
        return self.swept

    def behind(self, flow_run_id: UUID) -> Swept:
        """Clean up behind one flow run, if it is canceled."""
        if run := self._canceled(flow_run_id):
            self._clean_up([run])
        return self.swept

    def cancel_batches_of(self, flow_run_id: UUID) -> Swept:
        """Only cancel the batches of one flow run, if it is canceled."""
        run = self._canceled(flow_run_id)
        if run and run.run not in self._alive and not settling.is_settled(run.run):
            self._guarded(run, lambda: self._stop(run))
        return self.swept

    def _canceled(self, flow_run_id: UUID) -> Tracked | None:
        run = self.tracker.read(flow_run_id)
        if run is None or run.state not in (StateType.CANCELLED, StateType.CANCELLING):
            return None
        self._alive = {other.run for other in self.tracker.live() if other.id != run.id}
        return run

    # ---------------------------------------------------------------- picking up

    def _pick_up(self, run: Tracked, now: datetime) -> None:
        """Schedule a run that a dying process left behind between two states."""
        ours = run.pause_key.startswith(suspension.KEY_PREFIX)
        if run.state == StateType.PAUSED and ours and run.age(now) > STILL_LEAVING:
            self._start(run, "It was left Suspended by a process that died.")
            self._goes_on(run)
        if run.state == StateType.PENDING and run.age(now) > STUCK_PENDING:
            self._start(run, "The worker that had taken it never started it.")
            self._goes_on(run)

    def _restart(self, run: Tracked, now: datetime) -> None:
        """Start a crashed run again."""
        crashed = run.state == StateType.CRASHED and run.restarts < MAX_RESTARTS
        if not crashed or run.age(now) < AFTER_CRASH:
            return
        if run.run and settling.is_settled(run.run):
            return
        self.tracker.label(run, restarts=str(run.restarts + 1))
        self._start(run, f"It crashed; restart {run.restarts + 1} of {MAX_RESTARTS}.")
        self._goes_on(run)

    def _goes_on(self, run: Tracked) -> None:
        self._alive.add(run.run)
        self.swept.restarted.append(run.name)

    def _start(self, run: Tracked, why: str) -> None:
        """Have a worker start a run now."""
        self.tracker.start(run, why)
        self.log(f"{run.name}: {why} It starts again now.")

    # -------------------------------------------------------------------- waking

    def _wake(self, runs: list[Tracked]) -> None:
        """Wake the runs of which a batch has ended: one listing for each workspace."""
        self.swept.waiting = len(runs)
        groups: dict[tuple[str, ...], _Group] = {}
        for run in runs:
            self._guarded(run, lambda run=run: self._group(run, groups))
        ended = [run for g in groups.values() for run in self._ended_of(g)]
        ended.sort(key=lambda run: run.since)
        for run in ended[: self.wakes_at_most]:
            self._guarded(run, lambda run=run: self._wake_one(run))

    def _group(self, run: Tracked, groups: dict[tuple[str, ...], _Group]) -> None:
        """Put a waiting run to those whose batches the same key can see."""
        records = list(looking.open_batches(RunDir(run.run)).values())
        if not records:
            return
        key = self.tracker.credentials_of(run)
        seen_by = (key.fingerprint(), key.base_url, key.workspace_id)
        groups.setdefault(seen_by, _Group(key)).open.append((run, records))

    def _ended_of(self, group: _Group) -> list[Tracked]:
        by_id = {
            record.batch_id: run for run, records in group.open for record in records
        }
        if not by_id:
            return []
        oldest = min(r.created_at for _, records in group.open for r in records)
        with Api(group.credentials) as api:
            seen = api.look(set(by_id), oldest)
        if isinstance(seen, Later):
            self.swept.problems.append(f"the API does not answer: {seen.why}")
            return []
        found = {
            by_id[b.id].id: by_id[b.id] for b in seen.batches.values() if b.has_ended
        }
        return list(found.values())

    def _wake_one(self, run: Tracked) -> None:
        current = self.tracker.read(run.id)
        if current is None or not _sleeps(current, datetime.now(UTC)):
            return
        self._start(run, "A message batch has ended.")
        self.swept.woken.append(run.name)

    # --------------------------------------------------------------- cleaning up

    def _is_dead(self, run: Tracked, now: datetime) -> bool:
        if run.state == StateType.CANCELLING:
            return run.age(now) > AFTER_CRASH
        return run.state == StateType.CANCELLED or run.age(now) > self.dead_after

    def _clean_up(self, runs: Iterable[Tracked]) -> None:
        """Cancel the batches of runs that are over, and keep what had finished."""
        left: list[tuple[Tracked, AnthropicCredentials]] = []
        for run in runs:
            if run.run in self._alive or settling.is_settled(run.run):
                self._settled(run)
            else:
                self._guarded(run, lambda run=run: left.append(self._stop(run)))
        give_up = time.monotonic() + CANCELING_PATIENCE.total_seconds()
        while left:
            left = [(run, key) for run, key in left if not self._try_settle(run, key)]
            if not left or time.monotonic() > give_up:
                break
            time.sleep(2)
        self.swept.canceling += [run.name for run, _ in left]

    def _stop(self, run: Tracked) -> tuple[Tracked, AnthropicCredentials]:
        credentials = self.tracker.credentials_of(run)
        for batch_id in settling.stop(run.run, credentials, by=run.name):
            events.batch_canceled(run.run, batch_id)
        return run, credentials

    def _try_settle(self, run: Tracked, credentials: AnthropicCredentials) -> bool:
        """Whether a run needs no more attention in this pass."""
        reason = f"the run was {_OVER_IN_WORDS.get(run.state, 'stopped')}"

        def settle() -> bool:
            done = settling.settle(run.run, credentials, reason=reason)
            if done:
                self.log(f"{run.name}: its batches are canceled, its results kept.")
                self.swept.cleaned_up.append(run.name)
                report_canceled(run.run, run.id, reason)
                self._settled(run)
            return done

        return self._guarded(run, settle) is not False

    def _settled(self, run: Tracked) -> None:
        if run.state != StateType.CANCELLING:
            self.tracker.label(run, settled=str(run.state_id))

    # -------------------------------------------------------------------- inside

    def _guarded(self, run: Tracked, work: Callable[[], Any]) -> Any:
        """Do it; one run's trouble must not keep the others waiting."""
        try:
            return work()
        except Exception as error:
            problem = f"{run.name}: {type(error).__name__}: {error}"
            self.swept.problems.append(problem)
            return None


_OVER_IN_WORDS: Final = {
    StateType.CANCELLED: "canceled",
    StateType.CANCELLING: "canceled",
    StateType.FAILED: "failed, and nobody started it again",
    StateType.CRASHED: "crashed, and nobody started it again",
}


@dataclass(slots=True)
class _Group:
    """Waiting runs whose batches one key can see."""

    credentials: AnthropicCredentials
    open: list[tuple[Tracked, list[Submitted]]] = field(default_factory=list)


def _sleeps(run: Tracked, now: datetime) -> bool:
    """Whether a run waits without a process, and will for a while."""
    return (
        run.state == StateType.SCHEDULED
        and run.state_name == suspension.STATE_NAME
        and run.due is not None
        and run.due - now > ABOUT_TO_START
        and run.age(now) > STILL_LEAVING
    )


def clean_up_after_cancel(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """A hook for flows: clean up behind a run that is canceled while it runs.

    Prefect calls it when the run's process is gone. A run that is canceled while it
    waits has no process, and nobody calls its hooks: that is what sweeps are for.
    """
    logger = flow_run_logger(flow_run, flow)
    with get_client(sync_client=True) as client:
        swept = Sweep(Tracker(client), logger.info).behind(flow_run.id)
    for problem in swept.problems:
        logger.warning(problem)


def cancel_batches_of(flow_run_id: UUID, log: Callable[[str], None]) -> None:
    """Cancel the batches of the flow run that this process runs, if it is canceled.

    Does nothing if only the process is ended: its machine stops, its worker restarts.
    """
    with get_client(sync_client=True) as client:
        swept = Sweep(Tracker(client), log).cancel_batches_of(flow_run_id)
    for problem in swept.problems:
        log(problem)
