"""An example to copy: a flow of your own, with two prompts in a row.

Many files go in as one table. The first prompt finds the mood of every review; the
second writes a reply to the angry ones, of the answers of the first. What lies between
the two is ordinary pandas; it could as well be a query of a database:

    reviews = pd.read_sql("select id, text from reviews", connection)
    reviews.to_parquet("reviews.parquet")

Each prompt is a run with a directory of its own. Started again, be it by a retry or
tomorrow, the flow finds what is done: nothing is sent twice. As it is, it waits in its
process; deployed, start `batch-table` for each prompt instead, which gives it back.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pandas as pd
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from batchkit_tasks import (
    Advanced,
    AnthropicCredentials,
    ColumnsAnswer,
    Job,
    OutputColumn,
    RunSummary,
    TextAnswer,
    collect_batch,
    plan_chunks,
    plan_rerun,
    poll_batches,
    stage_input,
    submit_chunk,
    write_output,
)

MODEL = "claude-haiku-5-5"

MOOD = OutputColumn(name="mood", choices=["happy", "neutral", "angry"])


@flow(name="two-prompts", persist_result=False)
def two_prompts(
    source: str,
    credentials: AnthropicCredentials,
    folder: str = "results",
    check_every_seconds: float = 60.0,
) -> str:
    """Find the mood of every review, then write a reply to the angry ones.

    Args:
        source: The reviews, with a column `text`: a file, a folder or a glob.
        folder: Where `moods.parquet`, `angry.parquet` and `replies.parquet` go.

    Returns:
        The path of the replies.
    """
    advanced = Advanced(check_every_seconds=check_every_seconds)
    moods = Job(
        source=source,
        prompt="What does this customer think of us?\n\n{text}",
        output=f"{folder}/moods.parquet",
        model=MODEL,
        answer=ColumnsAnswer(columns=[MOOD]),
        advanced=advanced,
    )
    angry = only_angry(ask(moods, credentials).output, f"{folder}/angry.parquet")
    replies = Job(
        source=angry,
        prompt="Write a kind and short reply to this review:\n\n{text}",
        output=f"{folder}/replies.parquet",
        model=MODEL,
        answer=TextAnswer(column="reply"),
        advanced=advanced,
    )
    return ask(replies, credentials).output


@task(cache_policy=NO_CACHE, persist_result=False)
def only_angry(moods: str, output: str) -> str:
    """Take the rows for which a reply is wanted, without the bookkeeping columns."""
    table = pd.read_parquet(moods)
    table = table[table["mood"] == "angry"]
    table.drop(columns=["_status", "_error", "_meta"]).to_parquet(output)
    return output


def ask(job: Job, credentials: AnthropicCredentials) -> RunSummary:
    """Bring one prompt to its end, with every step a task on the run's page."""
    run = stage_input(job)
    chunks = plan_chunks(run)
    while chunks:
        for chunk in chunks:
            submit(run, chunk, credentials)
        collect_all(run, credentials)
        chunks = plan_rerun(run)  # rows that expired or met an error that passes
    return write_output(run)


def submit(run: str, chunk: int, credentials: AnthropicCredentials) -> None:
    """Create the batch of a chunk, however busy the API is."""
    sent = submit_chunk(run, chunk, credentials)
    while sent.batch_id is None and sent.again_at is not None:
        time.sleep(max(0.0, (sent.again_at - datetime.now(UTC)).total_seconds()))
        sent = submit_chunk(run, chunk, credentials)


def collect_all(run: str, credentials: AnthropicCredentials) -> None:
    """Wait for all batches, and collect each as it ends."""
    while (look := poll_batches(run, credentials)).running or look.ended:
        for chunk in look.ended:
            collect_batch(run, chunk, credentials)
        if not look.ended:
            poll_batches(run, credentials, hold=True)
