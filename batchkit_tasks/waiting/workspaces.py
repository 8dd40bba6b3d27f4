"""Which batches are this run's to look at; light enough for every wake-up."""

from __future__ import annotations

from msgspec.structs import replace

from batchkit_tasks.api import Api
from batchkit_tasks.errors import WrongWorkspaceError
from batchkit_tasks.records import ChunkRecord, Submitted, intent_of
from batchkit_tasks.run_dir import RunDir


def let_go(run: RunDir, record: Submitted) -> None:
    """Give back a batch that turned out not to be ours: its chunk is looked for again."""
    foreign = (*record.intent.foreign, record.batch_id)
    run.move_on(record, replace(record.intent, foreign=foreign))


def check_workspace(record: ChunkRecord, api: Api) -> None:
    """Refuse to go on with a key that cannot see what was sent.

    Raises:
        WrongWorkspaceError: The key acts in another workspace.
    """
    sent_in = intent_of(record).workspace
    if sent_in and api.workspace and sent_in != api.workspace:
        raise WrongWorkspaceError(sent_in, api.workspace)
