"""The report of a run: what it says while the run waits, and when it is over."""

from __future__ import annotations

import base64
import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.report import card, report
from batchkit_tasks.report.pictures import draw
from batchkit_tasks.report.text import (
    bar,
    code,
    duration,
    histogram,
    percent,
    quote,
)
from batchkit_tasks.report.values import (
    BatchLine,
    FailedKind,
    FailedRow,
    PartDigest,
    ReportFacts,
    add_up_kinds,
    rounded_tokens,
    with_look,
)

ROOT = Path(__file__).parents[2]

SENT = datetime(2026, 11, 22, 7, 51, tzinfo=UTC)
NOW = SENT + timedelta(minutes=29)

REFUSED = FailedKind("refused", "refused", 3, (FailedRow(17, "rev-17", "declined"),))


def line(chunk: int, rows: int, **more: Any) -> BatchLine:
    """A batch that runs."""
    given: dict[str, Any] = {
        "chunk": chunk,
        "round": 1,
        "rows": rows,
        "state": "in_progress",
        "batch_id": f"msgbatch_{chunk}",
        "created_at": SENT,
        "expires_at": SENT + timedelta(hours=24),
        **more,
    }
    return BatchLine(**given)


def facts(**changes: Any) -> ReportFacts:
    """A run of which one of two batches is back."""
    back = line(
        0, 100, state="collected", ended_at=SENT + timedelta(minutes=13),
        succeeded=97, failed={"refused": 3}, cost_usd=1.92,
    )  # fmt: skip
    digest = PartDigest(
        succeeded=97,
        failed=(REFUSED,),
        output_tokens={12: 60, 300: 37},
        tokens={"input_tokens": 5000, "output_tokens": 11_820},
        cost_usd=1.92,
        list_usd=3.84,
    )
    known = ReportFacts(
        source="s3://shop/reviews.parquet",
        output="s3://shop/labels.parquet",
        run="s3://shop/_batchkit/labels.parquet/1f2e",
        model="claude-haiku-5-5",
        max_tokens=1024,
        answer_columns=("mood",),
        id_column="id",
        budget_usd=10.0,
        rows=151,
        unsent={"skipped": 1},
        lines=(back, line(1, 50)),
        digests={0: digest},
        kinds=(REFUSED,),
        looked_at=NOW,
        next_look_at=NOW + timedelta(minutes=5),
    )
    return replace(known, **changes)


def test_a_waiting_report_says_how_far_it_is_and_that_nothing_need_be_done() -> None:
    text = report(facts(), now=NOW)

    assert text.startswith(
        "**Waiting for Anthropic** · 100 of 150 rows back · 3 did not succeed · "
        "$1.92 spent of $10.00 · 2 message batches"
    )
    assert f"`{bar(100 / 150)}` 66 % of the rows" in text
    assert "1 of 2 batches ended" in text
    assert "all end by **23 Nov 2026, 07:51 UTC**" in text
    assert "22 Nov 2026, 08:25 UTC, by itself: nothing need be done" in text
    assert "Read the result" not in text


def test_each_batch_has_a_line_with_its_state_rows_and_cost() -> None:
    text = report(facts(), now=NOW)

    first = "| 1 | `msgbatch_0` | ended in 13 min | 100 | 97 | 3 | $1.92 |"
    assert first in text
    assert "| 2 | `msgbatch_1` | in progress, 29 min | 50 | – | – | – |" in text


def test_failed_rows_come_by_kind_with_examples_and_what_to_do() -> None:
    text = report(facts(), now=NOW)

    assert "## Rows that did not succeed: 3" in text
    assert "| `refused` | 3 | the model declined; look at these prompts |" in text
    assert "| 17 | `rev-17` | `refused` | `declined` |" in text


def test_money_says_what_was_spent_and_what_was_saved() -> None:
    text = report(facts(duplicates=97, estimate="~$3.00"), now=NOW)

    assert "| Estimate | ~$3.00 |" in text
    assert (
        "| Spent | **$1.92** for 5,000 input tokens and 11,820 output tokens |" in text
    )
    assert "| Saved by the batch price | $1.92 |" in text
    assert "| Saved by sending equal rows once | about $1.92 (97 rows) |" in text


def test_a_final_report_says_exactly_what_equal_rows_saved() -> None:
    over = facts(
        stage="completed",
        duplicates=97,
        written={"succeeded": 147, "refused": 3, "skipped": 1},
        saved_by_sharing_usd=1.83,
    )

    text = report(over, now=NOW)

    assert "| Saved by sending equal rows once | $1.83 (97 rows) |" in text


def test_an_unknown_price_is_unknown_and_never_nothing() -> None:
    digest = PartDigest(succeeded=100, unpriced=100)

    text = report(facts(digests={0: digest}), now=NOW)

    assert "unknown spent" in text
    assert "$0.00" not in text


def test_a_final_report_says_how_to_read_the_result() -> None:
    over = facts(
        stage="completed",
        written={"succeeded": 147, "refused": 3, "skipped": 1},
        failed_output="s3://shop/labels.failed.parquet",
    )

    text = report(over, now=NOW)

    assert text.startswith("**Completed** · 147 of 151 rows succeeded")
    assert 'df = pd.read_parquet("s3://shop/labels.parquet")' in text
    assert 'df[["id", "mood", "_status", "_error"]]' in text
    assert "All of them are in `s3://shop/labels.failed.parquet`." in text
    assert "Next look" not in text


def test_a_failed_report_says_why() -> None:
    text = report(facts(stage="failed", message="The credit is used up."), now=NOW)

    assert text.startswith("**Failed**")
    assert "The credit is used up." in text


def test_the_card_begins_with_the_most_important() -> None:
    assert card(facts()) == (
        "**66 %** · 100 of 150 rows back · 3 failed · $1.92 spent of $10.00"
    )
    assert card(facts(stage="asking")).startswith("**Waiting for you** · 100 of 150")


def test_a_look_moves_states_and_moments_and_nothing_else() -> None:
    ended = MessageBatch(
        id="msgbatch_1",
        processing_status="ended",
        created_at=SENT,
        ended_at=SENT + timedelta(minutes=30),
    )
    later = NOW + timedelta(minutes=2)

    seen = with_look(facts(), {"msgbatch_1": ended}, now=NOW, next_look_at=later)

    assert [each.state for each in seen.lines] == ["collected", "ended"]
    assert seen.lines[1].ended_at == ended.ended_at
    assert seen.next_look_at == later
    assert seen.digests == facts().digests


def test_rows_of_one_kind_are_added_up_over_batches_with_three_examples() -> None:
    kinds = [replace(REFUSED, rows=rows) for rows in (1, 2, 3, 4)]
    rarer = FailedKind("errored", "api_error", 2)

    added = add_up_kinds([rarer, *kinds])

    assert [(kind.kind, kind.rows) for kind in added] == [
        ("refused", 10),
        ("api_error", 2),
    ]
    assert len(added[0].examples) == 3


@pytest.mark.parametrize(
    "message",
    ["a | b", "`code`", "line\nbreak", "| --- |\n| x |", "<script>", "x" * 5000],
)
def test_messages_from_outside_cannot_break_the_tables(message: str) -> None:
    kind = replace(REFUSED, examples=(FailedRow(1, message, message),))

    lines = report(facts(kinds=(kind,)), now=NOW).splitlines()
    row = next(
        line for line in lines if line.startswith("| 1 | `") and "`refused`" in line
    )

    assert row.count("|") == 5
    assert row.count("`") == 6
    assert len(row) < 500


def test_prose_from_outside_is_no_markdown() -> None:
    assert quote("uses {a_b} *not* [x](y)\n# z") == (
        r"uses {a\_b} \*not\* \[x\](y) \# z"
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0 %"), (0.001, "under 1 %"), (0.999, "99 %"), (1, "100 %")],
)
def test_shares_are_never_rounded_up_to_all_or_down_to_nothing(
    share: float, said: str
) -> None:
    assert percent(share) == said
    assert (bar(share).count("░") == 0) == (share == 1)


def test_small_amounts_and_long_times_are_readable() -> None:
    assert [dollars(each) for each in (None, 0.0, 0.00001, 0.0042, 1234.5)] == [
        "unknown",
        "$0.00",
        "under $0.0001",
        "$0.0042",
        "$1,234.50",
    ]
    assert duration(timedelta(hours=2, minutes=5)) == "2 h 05 min"
    assert code("") == ""


def test_lengths_are_kept_to_two_digits() -> None:
    assert [rounded_tokens(each) for each in (0, 7, 99, 128, 64_321)] == [
        0, 7, 99, 120, 64_000,
    ]  # fmt: skip


def test_the_histogram_of_text_counts_every_answer() -> None:
    lines = histogram({3: 5, 18: 1, 250: 94}, 1024)

    counts = [int(found[1].replace(",", "")) for each in lines
              if (found := re.search(r"–\s+[\d,]+\s+([\d,]+)", each))]  # fmt: skip
    assert sum(counts) == 100
    assert lines[-1] == " max_tokens 1,024"


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="without the extra `report`"
)
def test_pictures_are_small_png_data_in_place_of_text() -> None:
    shown = replace(facts(), pictures=draw(facts(), NOW))

    text = report(shown, now=NOW)

    found = re.findall(r"\(data:image/png;base64,([^)]+)\)", text)
    assert len(found) == 2
    assert all(base64.b64decode(each).startswith(b"\x89PNG") for each in found)
    assert "```text" not in text
    assert len(text) < 60_000


def test_a_run_that_only_waits_writes_its_report_without_arrow(tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    kept.write_bytes(msgspec.json.encode(facts()))
    program = f"""
import sys, msgspec
from datetime import UTC, datetime
from pathlib import Path
from batchkit_tasks.report.artifact import ReportFacts, report, with_look
facts = msgspec.json.decode(Path({str(kept)!r}).read_bytes(), type=ReportFacts)
now = datetime(2026, 11, 22, 9, tzinfo=UTC)
text = report(with_look(facts, {{}}, now=now, next_look_at=now))
heavy = ("pyarrow", "numpy", "pandas")
print(text.count("msgbatch_"), [name for name in heavy if name in sys.modules])
"""

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.strip() == "2 []"
