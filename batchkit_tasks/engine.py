"""What the steps of one run share: its directory, its plan, and the API.

A step receives names (the run's URL, a chunk's number) and opens the rest here, so
that it can run in any process.
"""

from __future__ import annotations

from functools import cached_property

import pyarrow as pa

from batchkit_tasks.answers.formats import AnswerFormat, answer_format
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.parameters import Job
from batchkit_tasks.pricing import Prices
from batchkit_tasks.pricing.table import read_price_table
from batchkit_tasks.prompts.caching import CachedBuilder
from batchkit_tasks.prompts.requests import RequestBuilder
from batchkit_tasks.records import Chunk, Plan, Round
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.tables import sources


class Run:
    """A planned run, read from its directory when needed."""

    def __init__(self, url: str) -> None:
        self.dir = RunDir(url)

    @property
    def url(self) -> str:
        """The run directory."""
        return self.dir.url

    @cached_property
    def plan(self) -> Plan:
        """What was planned."""
        plan = self.dir.plan()
        if plan is None:
            raise RecordUnreadableError(f"{self.url}/plan.json", "it is not there")
        return plan

    @cached_property
    def job(self) -> Job:
        """What the run was asked to do."""
        return Job.model_validate(self.plan.job)

    @cached_property
    def answer(self) -> AnswerFormat:
        """The new columns."""
        return answer_format(self.job.answer)

    @cached_property
    def requests(self) -> RequestBuilder:
        """Makes the requests of the first round."""
        return request_builder(self.job, self.answer)

    @cached_property
    def plain_requests(self) -> RequestBuilder:
        """The same requests without marks for the cache: what is asked is the same."""
        return request_builder(self.job, self.answer, plain=True)

    @cached_property
    def prices(self) -> Prices:
        """What models cost: the job's own table first."""
        return Prices(read_price_table(self.job.advanced.prices))

    def requests_for(self, chunk: Chunk) -> RequestBuilder:
        """Makes the requests of a chunk, whose max_tokens may have been raised."""
        if chunk.max_tokens in (0, self.job.advanced.max_tokens):
            return self.requests
        return self.requests.with_max_tokens(chunk.max_tokens)

    def rows(self) -> sources.Rows:
        """The table, by position."""
        return sources.Rows(self.plan.table)

    def rounds(self) -> list[Round]:
        """The rounds so far."""
        return self.dir.rounds()

    def chunk(self, number: int) -> Chunk:
        """One chunk of any round."""
        for round_ in self.rounds():
            for chunk in round_.chunks:
                if chunk.number == number:
                    return chunk
        raise RecordUnreadableError(f"{self.url}/rounds", f"no chunk {number}")

    def check_source(self) -> None:
        """Refuse to go on with another table than the one planned.

        Raises:
            SourceChangedError: The source is not what it was.
        """
        if self.plan.table == self.plan.source.files:
            sources.check_unchanged(self.plan.source, self.url)


def request_builder(
    job: Job, answer: AnswerFormat, *, plain: bool = False
) -> RequestBuilder:
    """The builder of a job's requests.

    Raises:
        PromptError: A template cannot be read.
        ParameterError: `request` is not a JSON object or sets a reserved key, or there
            is nothing to cache.
    """
    kind = RequestBuilder if plain or job.advanced.cache == "off" else CachedBuilder
    return kind(
        prompt=job.prompt,
        system=job.advanced.system,
        model=job.model,
        max_tokens=job.advanced.max_tokens,
        output_schema=answer.output_schema,
        request=job.advanced.request,
    )


def used_columns(builder: RequestBuilder, schema: pa.Schema) -> list[str]:
    """The columns to read for the requests; one of them at least, to count the rows."""
    return list(builder.columns) or schema.names[:1]
