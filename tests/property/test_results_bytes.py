"""However the bytes are cut and whatever lines hold: one row per position, the same."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn, TextAnswer
from batchkit_tasks.results import Collected
from batchkit_tasks.results.lines import decode_leniently, decode_typed
from tests.made_results import NONCE, USAGE, collect, errored, line, message, succeeded

POSITIONS = [0, 3, 4, 10]
TYPED = ColumnsAnswer(
    columns=[
        OutputColumn(name="label", choices=["a", "b"]),
        OutputColumn(name="status"),
    ]
)
ANSWERS = st.sampled_from([TextAnswer(), TYPED])

nasty = st.sampled_from(
    [
        "",
        "A",
        "数据 🦊",
        "a\u2028b\u2029\x85",
        "line\nbreak\r",
        '{"label":"a","status":"x"}',
    ]
)
blocks = st.one_of(
    nasty.map(lambda text: {"type": "text", "text": text}),
    st.just({"type": "thinking", "thinking": "Hm", "signature": "s"}),
    st.just({"type": "tool_use", "id": "t", "name": "f", "input": {"k": [1, "\n"]}}),
    st.just({"type": "hologram", "text": 5}),
)
messages = st.builds(
    lambda content, reason: message(content=content, stop_reason=reason),
    st.lists(blocks, max_size=3),
    st.sampled_from(["end_turn", "max_tokens", "refusal", "pause_turn", "new", None]),
)
results = st.one_of(
    nasty.map(succeeded),
    messages.map(lambda made: {"type": "succeeded", "message": made}),
    st.sampled_from(["expired", "canceled", "postponed"]).map(
        lambda kind: {"type": kind}
    ),
    st.just(errored("overloaded_error", "Overloaded")),
)
lines = st.one_of(
    st.builds(line, st.sampled_from([*POSITIONS, 5]), results),
    st.builds(
        lambda p: line(p, succeeded(), nonce="f" * 16), st.sampled_from(POSITIONS)
    ),
    st.sampled_from([b"", b" ", b"\r", b"<html>", b"{}", b'{"custom_id":"']),
)
bodies = st.builds(
    lambda some, end: b"\n".join(some) + end,
    st.lists(lines, max_size=8),
    st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
)


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    body = draw(bodies)
    cuts = draw(st.lists(st.integers(0, len(body)), max_size=20))
    edges = [0, *sorted(cuts), len(body)]
    return body, [body[start:stop] for start, stop in pairwise(edges)]


def counts(found: Collected) -> tuple[Any, ...]:
    return (
        found.lines,
        found.foreign,
        found.duplicates,
        found.torn,
        found.unknown,
        found.missing,
        found.types,
    )


@settings(max_examples=300)
@given(cut_bodies(), ANSWERS)
def test_every_way_to_cut_the_bytes_gives_the_same_part(
    cut: tuple[bytes, list[bytes]], answer: Any
):
    body, pieces = cut
    whole = collect(body, POSITIONS, answer=answer)

    found = collect(pieces, POSITIONS, answer=answer)
    by_byte = collect([bytes([each]) for each in body], POSITIONS, answer=answer)

    assert found.part.equals(whole.part)
    assert by_byte.part.equals(whole.part)
    assert counts(found) == counts(by_byte) == counts(whole)


@given(bodies, ANSWERS)
def test_every_position_has_one_row_and_every_line_is_counted(body: bytes, answer: Any):
    found = collect(body, POSITIONS, answer=answer)

    read = [part for part in body.split(b"\n") if part.strip()]
    rows = found.part.to_pylist()
    assert [row["position"] for row in rows] == POSITIONS
    assert found.lines + found.torn == len(read)
    arrived = found.lines - found.foreign - found.duplicates
    assert arrived == sum(found.types.values()) == len(rows) - found.missing
    for row in rows:
        assert (row["status"] == "succeeded") == (row["error"] is None)
        assert (row["error"] is None) == (row["error_type"] is None)
        assert row["error"] != ""


@given(bodies, st.integers(1, 40))
def test_a_cut_off_end_never_changes_the_rows_before_it(body: bytes, cut: int):
    short = body[:-cut]
    kept = short[: short.rfind(b"\n") + 1]

    found, before = collect(short, POSITIONS), collect(kept, POSITIONS)

    pairs = zip(found.part.to_pylist(), before.part.to_pylist(), strict=True)
    assert all(old in (new, new | {"status": "missing"}) or old["status"] == "missing"
               for new, old in pairs)  # fmt: skip


# --------------------------------------------------------------- both ways to read

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**54),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.sampled_from(["type", "x"]), st.integers(), max_size=1),
)


def with_odd_values(value: Any) -> st.SearchStrategy[Any]:
    """The value with any part left out, odd, or as it is."""
    if isinstance(value, dict):
        keys: dict[str, Any] = {
            str(key): with_odd_values(each)
            for key, each in value.items()  # pyright: ignore[reportUnknownVariableType]
        }
        made = st.fixed_dictionaries(
            {key: keys[key] for key in keys if key == "custom_id"},
            optional={key: keys[key] for key in keys if key != "custom_id"},
        )
        plain = st.just(value)  # pyright: ignore[reportUnknownArgumentType]
        return st.one_of(plain, plain, made, odd)
    return st.one_of(st.just(value), st.just(value), odd)


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    usage = USAGE | {"server_tool_use": {"web_search_requests": 1}, "extra": 1}
    made = message(
        usage=draw(with_odd_values(usage)),
        content=draw(st.one_of(st.lists(blocks, max_size=2), odd)),
    )
    result = draw(
        st.sampled_from(
            [
                {"type": "succeeded", "message": made},
                errored("api_error", "Oh"),
                {"type": "expired"},
            ]
        )
    )
    value = draw(with_odd_values({"custom_id": f"{NONCE}-0", "result": result}))
    ascii_only = draw(st.booleans())
    return json.dumps(value, ensure_ascii=ascii_only).encode()


@settings(max_examples=500)
@given(odd_lines())
def test_what_the_fast_way_reads_the_lenient_way_reads_the_same(data: bytes):
    try:
        fast = decode_typed(data)
    except msgspec.DecodeError:
        return

    assert decode_leniently(data) == fast


@settings(max_examples=300)
@given(odd_lines())
def test_no_line_that_names_a_row_is_lost(data: bytes):
    value = json.loads(data)
    named = isinstance(value, dict) and value.get("custom_id") == f"{NONCE}-0"  # pyright: ignore[reportUnknownMemberType]

    found = collect(data)

    assert found.missing == (0 if named else 1)


@given(st.binary(max_size=60))
def test_no_bytes_bring_the_reader_down(data: bytes):
    found = collect(data + b"\n" + line(0, succeeded("A")))

    assert found.part["response"].to_pylist() == ["A"]
