"""Results read many at a time are the results read line by line, to the last bit."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.answers.formats import answer_format
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn, TextAnswer
from batchkit_tasks.pricing import Prices
from batchkit_tasks.results import Collected, ResultReader
from tests.made_results import NONCE, USAGE, errored, line, message, text_block

PRICES = Prices()
LABELS = ColumnsAnswer(columns=[OutputColumn(name="label", choices=["a", "b"])])
TORN = b'{"custom_id":\n'
"""Before a line, it makes the reader look at each line of the block by itself."""
FORMATS = (answer_format(TextAnswer()), answer_format(LABELS))

counts = st.sampled_from([0, 1, 7, 1_234, 199_999, 200_001, 3_000_000, None, -1, 1.0])
usages = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": counts,
        "output_tokens": counts,
        "cache_read_input_tokens": counts,
        "cache_creation": st.sampled_from(
            [
                None,
                {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 9},
                {"ephemeral_5m_input_tokens": 5},
            ]
        ),
        "inference_geo": st.sampled_from(["us", "global", None]),
        "service_tier": st.sampled_from(["batch", "new", None]),
        "server_tool_use": st.sampled_from([None, {"web_search_requests": 2}]),
    },
)
texts = st.sampled_from(
    ['{"label":"a"}', '{"label":"z"}', "", " ", 'said "so"\n', "\u2028 🦊 \x00 漢字"]
)
contents = st.one_of(
    texts.map(lambda text: [text_block(text)]),
    texts.map(lambda text: [text_block(text), text_block("more")]),
    st.sampled_from([[], [{"type": "tool_use", "input": {}}], "a string"]),
)
models = st.sampled_from(["claude-haiku-4-5-20251001", "claude-sonnet-4-5", "new"])
stops = st.sampled_from(
    ["end_turn", "stop_sequence", "max_tokens", "refusal", "pause_turn", "new", None]
)


@st.composite
def results(draw: Any) -> dict[str, Any]:
    if draw(st.integers(0, 5)) == 0:
        other = errored("api_error", "It broke.")
        return draw(st.sampled_from([other, {"type": "expired"}, {"type": "new"}]))
    changes = {
        "content": draw(contents),
        "model": draw(models),
        "stop_reason": draw(stops),
        "usage": USAGE | draw(usages),
    }
    return {"type": "succeeded", "message": message(**changes)}


@st.composite
def lines(draw: Any) -> bytes:
    position, nonce = (
        draw(st.integers(0, 12)),
        draw(st.sampled_from([NONCE] * 9 + ["f"])),
    )
    whole = line(position, draw(results()), nonce=nonce)
    return draw(st.sampled_from([whole] * 8 + [whole[:-2], b"", whole + b"\r"]))


def read(blocks: list[bytes], which: int) -> tuple[Collected, list[dict[str, Any]]]:
    import numpy as np

    reader = ResultReader(
        nonce=NONCE,
        positions=np.arange(10, dtype=np.int64),
        answer=FORMATS[which],
        price=PRICES.cost,
        price_many=PRICES.costs,
        max_tokens=1024,
    )
    for block in blocks:
        reader.feed(block)
    collected = reader.finish()
    return collected, collected.part.to_pylist()


@given(st.lists(lines(), max_size=14), st.integers(1, 9), st.sampled_from([0, 1]))
@settings(max_examples=300, deadline=None)
def test_many_lines_at_once_give_the_rows_of_one_line_at_a_time(
    found: list[bytes], at_once: int, which: int
):
    single = [each + b"\n" for each in found]
    groups = [b"".join(single[i : i + at_once]) for i in range(0, len(single), at_once)]

    many, many_rows = read(groups, which)
    one_by_one, rows = read([TORN + each for each in single], which)

    assert many_rows == rows
    assert many.types == one_by_one.types
    assert many.torn == one_by_one.torn - len(single)
    for name in ("lines", "foreign", "duplicates", "unknown", "missing"):
        assert getattr(many, name) == getattr(one_by_one, name), name
