"""One living report per flow run: a Markdown artifact that is updated in place.

Any process can go on with it: the run that woke up, a retry, the sweep. The artifact is
found by its flow run, and the facts by the run directory (`report.json`). A report is
there to be read, and never stops a run: what cannot be published is logged.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec.structs import replace
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from batchkit_tasks.ground import storage
from batchkit_tasks.report import card, report
from batchkit_tasks.report.values import ReportFacts, with_look
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.run_dir.stopping import read_stop

if TYPE_CHECKING:
    from batchkit_tasks.batches import MessageBatch
    from batchkit_tasks.flow_run import FlowRun
    from batchkit_tasks.summary import RunSummary
    from batchkit_tasks.waiting.polling import Look

T = TypeVar("T")

KEY_PREFIX: Final = "batch-report-"

SHORTEST_INTERVAL: Final = 5.0
"""Seconds between two updates while a run is busy; a page shows them on reload only."""

LARGEST_SHARE: Final = 0.01
"""Of the time of a busy run that its report may take."""

TRIES: Final = 5


@dataclass(slots=True)
class LiveReport:
    """The report of one flow run over one run directory."""

    run_url: str
    flow_run_id: Any
    name: Callable[[], str | None]
    """Of the deployment, or of the flow where there is none; asked once per run."""
    warn: Callable[[str], object] = field(default=logging.getLogger("batchkit").warning)
    _artifact_id: Any = None
    _look: Look | None = None
    _seen: dict[str, MessageBatch] = field(default_factory=dict[str, "MessageBatch"])
    """All batches that looks have shown, as they were last."""
    _published: float = float("-inf")
    _took: float = 0.0
    """Seconds that the last update took."""
    _said: str = ""

    @classmethod
    def of(cls, flow_run: FlowRun, run_url: str) -> LiveReport:
        """The report of the flow run in which this code runs."""
        from prefect.runtime import deployment
        from prefect.runtime import flow_run as runtime

        def name() -> str | None:
            return deployment.name or runtime.flow_name

        return cls(run_url, flow_run.id, name, get_run_logger().warning)

    # ------------------------------------------------------------ what happened

    def planned(self) -> None:
        """Batches are about to be sent."""
        self._careful(lambda: self._publish(self._read("sending")))

    def looked(self, look: Look, *, more_to_come: bool = False) -> None:
        """The batches were looked at."""
        self._look = look
        self._seen.update(look.batches)
        if not more_to_come and not self._is_early():
            self._careful(lambda: self._publish(self._with_look(look)))

    def progressed(self) -> None:
        """Something was collected."""
        if not self._is_early():
            self._careful(lambda: self._publish(self._read("waiting")))

    def waiting(self, until: datetime, message: str = "") -> None:
        """The process is given back, or sleeps, until then."""
        is_news = self._look is None or self._look.message != message
        self._careful(lambda: self._wait("waiting", message if is_news else "", until))

    def asking(self, message: str) -> None:
        """The run stops until a person decides."""
        self._careful(lambda: self._wait("asking", message, None))

    def to_the_end(self, work: Callable[[], RunSummary]) -> RunSummary:
        """Do the work of the run, and report how it ended.

        Raises:
            Exception: Whatever the work raises.
        """
        try:
            summary = work()
        except Exception as error:
            self.failed(str(error))
            raise
        self.completed(summary)
        return summary

    def completed(self, summary: RunSummary) -> None:
        """Everything is written."""
        self._end("completed", summary.message, summary)

    def failed(self, why: str) -> None:
        """The run has failed; what it has written is in the report all the same."""
        self._end("failed", why, None)

    def canceled(self, why: str) -> None:
        """The run was canceled, and what had finished is kept."""
        self._end("canceled", why, None)

    def tried_out(self, summary: RunSummary) -> None:
        """Nothing was sent: say what would be."""
        from batchkit_tasks.report.dry_run import dry_report

        self._careful(lambda: self._show(dry_report(summary), f"**{summary.message}**"))

    # --------------------------------------------------------------------- facts

    def _end(self, stage: str, message: str, summary: RunSummary | None) -> None:
        def update() -> None:
            written = summary.as_dict() if summary else self._written()
            facts = self._read(stage)
            if written is not None:
                facts = replace(
                    facts,
                    written=dict(written["by_status"]),
                    failed_output=written["failed_output"] or "",
                    saved_by_sharing_usd=written["duplicates_saved_usd"],
                    saved_by_cache_usd=written["cache_saved_usd"],
                )
            self._publish(replace(facts, message=message, next_look_at=None))

        self._careful(update)

    def _written(self) -> dict[str, Any] | None:
        """The summary of what was written, of a run that was stopped as well."""
        stopped = read_stop(self.run_url)
        return RunDir(self.run_url).summary() or (stopped and stopped.written) or None

    def _wait(self, stage: str, message: str, until: datetime | None) -> None:
        facts = self._with_look(self._look) if self._look else self._read(stage)
        self._publish(replace(facts, stage=stage, message=message, next_look_at=until))

    def _read(self, stage: str) -> ReportFacts:
        """Bring the facts up to date; loads Arrow, as parts may have to be read."""
        from batchkit_tasks.engine import Run
        from batchkit_tasks.report.facts import read_facts
        from batchkit_tasks.report.pictures import draw

        before = self._known()
        read = read_facts(Run(self.run_url), before, self._seen)
        facts = replace(read, stage=stage, message="")
        is_new = before is None or before.digests.keys() != facts.digests.keys()
        return (
            replace(facts, pictures=draw(facts)) if is_new or facts.is_over else facts
        )

    def _with_look(self, look: Look) -> ReportFacts:
        """What a look has shown, over what is known; nothing more is read for that,
        unless something was sent or collected since."""
        known = self._known()
        if known is None or not _covers(known, look):
            known = self._read("waiting")
        now, at = datetime.now(UTC), look.next_look_at
        seen = with_look(known, self._seen, now=now, next_look_at=at)
        return replace(seen, stage="waiting", message="")

    @property
    def _facts_url(self) -> str:
        return storage.join(self.run_url, "report.json")

    def _known(self) -> ReportFacts | None:
        """The facts of the last report; None if there are none that can be used."""
        data = storage.read(self._facts_url)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=ReportFacts)
        except msgspec.DecodeError:
            return None  # of another version: everything is read again

    # ----------------------------------------------------------------- publishing

    def _is_early(self) -> bool:
        least = max(SHORTEST_INTERVAL, self._took / LARGEST_SHARE)
        return time.monotonic() - self._published < least

    def _publish(self, facts: ReportFacts) -> None:
        storage.write(self._facts_url, msgspec.json.encode(facts))
        self._show(report(facts), card(facts))

    def _show(self, text: str, line: str) -> None:
        with get_client(sync_client=True) as client:
            _patiently(lambda: self._put(client, text, line))
        self._published = time.monotonic()

    def _put(self, client: SyncPrefectClient, text: str, line: str) -> None:
        if self._artifact_id is None:
            self._artifact_id = self._find(client)
        if self._artifact_id is None:
            made = ArtifactCreate(
                key=report_key(self.name() or "run"),
                type="markdown",
                data=text,
                description=line,
                flow_run_id=self.flow_run_id,
            )
            self._artifact_id = client.create_artifact(made).id
        else:
            changed = ArtifactUpdate(data=text, description=line)
            client.update_artifact(self._artifact_id, changed)

    def _find(self, client: SyncPrefectClient) -> Any:
        """The report that another process of this run has created."""
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[self.flow_run_id]),
                key=ArtifactFilterKey(like_=f"{KEY_PREFIX}%"),
            )
        )
        return found[0].id if found else None

    def _careful(self, update: Callable[[], None]) -> None:
        """A report never stops a run: say once what is wrong with it."""
        started = time.monotonic()
        try:
            update()
        except Exception as error:
            said = f"The report was not updated ({type(error).__name__}: {error})."
            if said != self._said:
                self._said = said
                self.warn(said)
        self._took = time.monotonic() - started


def report_canceled(run_url: str, flow_run_id: Any, reason: str) -> None:
    """Close the report of a flow run that has no process any more."""
    live = LiveReport(run_url, flow_run_id, lambda: None)
    live.canceled(
        f"{reason[:1].upper()}{reason[1:]}: its message batches are canceled; what had "
        "finished is kept and billed, the rest is not."
    )


def _covers(facts: ReportFacts, look: Look) -> bool:
    """Whether these facts know the batches that a look has found open."""
    known = {line.batch_id for line in facts.lines if line.is_open and line.batch_id}
    return len(known) == look.running + len(look.ended) and look.batches.keys() <= known


def report_key(name: str) -> str:
    """The artifact's key; its page shows the reports of all runs with this name."""
    return KEY_PREFIX + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run")


def _patiently(call: Callable[[], T]) -> T:
    """Repeat a call that the server was too busy for."""
    for attempt in range(TRIES):
        try:
            return call()
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 503 or attempt == TRIES - 1:
                raise
            time.sleep(2.0**attempt / 2)
    raise AssertionError("unreachable")
