"""What describes a run on the command line, and the `Job` that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from batchkit_tasks.errors import AnswerError, ParameterError

if TYPE_CHECKING:
    from batchkit_tasks.parameters import Advanced, Answer, Job

ASKED = Group("What is asked", sort_key=1)
ANSWER = Group("What is added to each row", sort_key=2)
LIMITS = Group("Limits and sending", sort_key=3)

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""An option without a value."""

TYPES = ("string", "integer", "number", "boolean")


@Parameter(name="*")
@dataclass(frozen=True)
class JobOptions:
    """The options that `run` and `estimate` share."""

    prompt: Annotated[
        str,
        Parameter(
            show_default=False,
            group=ASKED,
            help="Sent once per row; {column} becomes the row's value, {{ }} are braces.",
        ),
    ] = ""
    prompt_file: Annotated[
        Path | None,
        Parameter(
            show_default=False,
            group=ASKED,
            help="A text file with the prompt, instead of --prompt.",
        ),
    ] = None
    system: Annotated[
        str,
        Parameter(
            show_default=False,
            group=ASKED,
            help="System prompt; may use {column} as well.",
        ),
    ] = ""
    model: Annotated[
        str, Parameter(group=ASKED, help="Batches cost half of the list price.")
    ] = "claude-haiku-5-5"
    max_tokens: Annotated[
        int, Parameter(group=ASKED, help="Longest answer per row, in tokens.")
    ] = 1024
    request: Annotated[
        str,
        Parameter(
            show_default=False,
            group=ASKED,
            help='JSON for every request, such as {"top_k": 5}.',
        ),
    ] = "{}"
    column: Annotated[
        str, Parameter(group=ANSWER, help="One text column of this name.")
    ] = "response"
    columns: Annotated[
        list[str],
        Parameter(
            show_default=False,
            group=ANSWER,
            negative="",
            help=(
                "A typed column, NAME:TYPE:DESCRIPTION; again for each. TYPE is string, "
                "integer, number, boolean, or choices: good|bad|mixed."
            ),
        ),
    ] = field(default_factory=list[str])
    schema: Annotated[
        Path | None,
        Parameter(
            show_default=False,
            group=ANSWER,
            help="A JSON Schema file; a column per property.",
        ),
    ] = None
    output: Annotated[
        str,
        Parameter(
            group=LIMITS, help="The Parquet to write; {source} and {date} are replaced."
        ),
    ] = "results/{source}.parquet"
    sample_rows: Annotated[
        int,
        Parameter(
            show_default=False,
            group=LIMITS,
            help="Only so many rows, spread over the table.",
        ),
    ] = 0
    budget_usd: Annotated[
        float,
        Parameter(
            show_default=False, group=LIMITS, help="Send nothing that could cost more."
        ),
    ] = 0.0
    rows_per_batch: Annotated[
        int, Parameter(group=LIMITS, help="Rows of one message batch, up to 10,000.")
    ] = 10_000
    attempts: Annotated[
        int,
        Parameter(group=LIMITS, help="How often a row is sent before it has failed."),
    ] = 3
    fail_above_percent: Annotated[
        float, Parameter(group=LIMITS, help="Failed rows above this fail the run.")
    ] = 5.0
    check_every_seconds: Annotated[
        float, Parameter(group=LIMITS, help="First wait between looks; it grows.")
    ] = 60.0
    reuse: Annotated[
        Literal["answers", "nothing"],
        Parameter(group=LIMITS, help="Take over what was paid for already, or not."),
    ] = "answers"

    def job(self, source: str, *, dry_run: bool = False) -> Job:
        """The job that these options ask for.

        Raises:
            InputError: Options that cannot work, or not together.
        """
        from datetime import UTC, datetime

        from batchkit_tasks.parameters import Job
        from batchkit_tasks.plans.naming import resolve_output

        now = datetime.now(UTC)
        day, run = now.astimezone().date(), f"{now:%Y%m%d-%H%M%S}"
        output = resolve_output(self.output, source=source, day=day, run=run)
        return Job(
            source=_absolute(source),
            prompt=self._prompt(),
            output=_absolute(output),
            model=self.model,
            answer=self._answer(),
            sample_rows=_at_least_0("--sample-rows", self.sample_rows),
            budget_usd=_at_least_0("--budget-usd", self.budget_usd),
            dry_run=dry_run,
            advanced=self._advanced(),
            output_pattern=_absolute(self.output),
        )

    def _prompt(self) -> str:
        if bool(self.prompt) == (self.prompt_file is not None):
            raise ParameterError(
                "--prompt", "give the prompt as --prompt or in a --prompt-file."
            )
        return self.prompt or _read("--prompt-file", self.prompt_file)

    def _answer(self) -> Answer:
        from batchkit_tasks.parameters import ColumnsAnswer, SchemaAnswer, TextAnswer

        asked = [bool(self.columns), self.schema is not None, self.column != "response"]
        if sum(asked) > 1:
            raise ParameterError(
                "--column", "take one of --column, --columns, --schema."
            )
        if self.columns:
            return ColumnsAnswer(columns=[output_column(c) for c in self.columns])
        if self.schema is not None:
            return SchemaAnswer(json_schema=_read("--schema", self.schema))
        if not self.column:
            raise AnswerError("the column has no name.")
        return TextAnswer(column=self.column)

    def _advanced(self) -> Advanced:
        from pydantic import ValidationError

        from batchkit_tasks.parameters import Advanced

        try:
            return Advanced(
                system=self.system,
                max_tokens=self.max_tokens,
                attempts=self.attempts,
                rows_per_batch=self.rows_per_batch,
                check_every_seconds=self.check_every_seconds,
                fail_above_percent=self.fail_above_percent,
                reuse=self.reuse,
                request=self.request,
            )
        except ValidationError as error:
            first = error.errors()[0]
            option = "--" + str(first["loc"][0]).replace("_", "-")
            raise ParameterError(option, f"{first['msg']}.") from None


def output_column(spec: str) -> Any:
    """Read `NAME:TYPE:DESCRIPTION`; the last two may be left out.

    Raises:
        AnswerError: It has no name, or a type that does not exist.
    """
    from batchkit_tasks.parameters import OutputColumn

    name, _, rest = spec.partition(":")
    kind, _, description = rest.partition(":")
    name, kind, description = name.strip(), kind.strip(), description.strip()
    if not name:
        raise AnswerError(
            f"--columns {spec!r} has no name; write NAME:TYPE:DESCRIPTION."
        )
    if "|" in kind:
        choices = [choice.strip() for choice in kind.split("|")]
        return OutputColumn(name=name, description=description, choices=choices)
    for known in TYPES:
        if kind in (known, ""):
            return OutputColumn(name=name, type=known, description=description)
    raise AnswerError(
        f"--columns {spec!r}: {kind!r} is no type; there are {', '.join(TYPES)}, and "
        "choices such as good|bad."
    )


def _read(option: str, path: Path | None) -> str:
    assert path is not None, "asked for only where it was given"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(option, f"{path} cannot be read ({error}).") from None


def _absolute(path: str) -> str:
    """A local path from the root: the run can then be gone on with from any folder."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _at_least_0(option: str, value: Any) -> Any:
    if value < 0:
        raise ParameterError(option, f"must be 0 or more, not {value}.")
    return value
