"""Laws of templates and requests, for hostile names and values."""

import json
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batchkit_tasks.errors import PromptError
from batchkit_tasks.prompts import Placeholder, Template
from batchkit_tasks.prompts.requests import (
    BODY_START,
    BODY_STOP,
    RequestBuilder,
    body_bytes,
    encode_item,
    item_bytes,
    item_sizes,
    request_hash,
)

HOSTILE = st.sampled_from(
    ['"', "\\", "\n", "\r\n", "\x00", "\x1f", "\x7f", "\u2028", "\u2029", "\ufeff", "😀",
     "{", "}", "{{", "}}", "{a}", "</script>", "%s", "$x", "'", " ", ""]
)  # fmt: skip
ENCODABLE = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.lists(HOSTILE | ENCODABLE, max_size=5).map("".join)
NAMES = VALUES.map(lambda text: text.replace("{", "").replace("}", "")).filter(bool)
PARTS = st.lists(st.tuples(VALUES, NAMES), min_size=1, max_size=4)


def write(parts: list[tuple[str, str]]) -> str:
    """Write a template with these texts, each followed by a column."""
    return "".join(
        text.replace("{", "{{").replace("}", "}}") + f"{{{name}}}"
        for text, name in parts
    )


def builder_for(prompt: str, system: str = "") -> RequestBuilder:
    return RequestBuilder(
        prompt=prompt, system=system, model='m"\\', max_tokens=7, output_schema=None,
        request='{"metadata": {"user_id": "ü"}}',
    )  # fmt: skip


@given(PARTS)
def test_a_template_reads_back_as_it_was_meant(parts: list[tuple[str, str]]):
    template = Template.parse(write(parts))

    assert [p.column for p in template.parts if isinstance(p, Placeholder)] == [
        name for _, name in parts
    ]
    assert template.literals == tuple(text for text, _ in parts if text)


@given(st.lists(HOSTILE | st.text(), max_size=6).map("".join))
def test_any_text_is_a_template_or_a_prompt_error(text: str):
    try:
        template = Template.parse(text)
    except PromptError:
        return

    again = "".join(
        f"{{{part.column}}}"
        if isinstance(part, Placeholder)
        else part.replace("{", "{{").replace("}", "}}")
        for part in template.parts
    )
    assert again == text


@given(PARTS, PARTS, st.data())
def test_what_is_sent_is_the_template_with_the_values_in_it(
    prompt: list[tuple[str, str]], system: list[tuple[str, str]], data: st.DataObject
):
    names = list(dict.fromkeys(name for _, name in prompt + system))
    values = {name: data.draw(st.none() | VALUES) for name in names}
    rows = pa.table(
        {name: pa.array([value], pa.string()) for name, value in values.items()}
    )
    builder = builder_for(write(prompt), write(system))

    built = builder.build(rows)

    if None in values.values():
        first = next(name for name in names if values[name] is None)
        assert built.params == [None]
        assert built.reasons == {0: f"column {first!r} is null"}
        return
    filled = [
        "".join(text + str(values[name]) for text, name in parts)
        for parts in (prompt, system)
    ]
    if not filled[0].strip():
        assert (built.params, built.reasons) == ([None], {0: "the prompt is empty"})
        return
    expected: dict[str, Any] = {
        "model": 'm"\\',
        "max_tokens": 7,
        "messages": [{"role": "user", "content": filled[0]}],
        "metadata": {"user_id": "ü"},
    }
    if filled[1].strip():
        expected["system"] = filled[1]
    assert json.loads(built.params[0] or b"") == expected


@given(st.lists(st.none() | VALUES | st.binary(), max_size=8))
def test_every_row_is_sent_or_has_a_reason_whatever_its_bytes(
    values: list[str | bytes | None],
):
    raw: Any = pa.array(
        [v.encode() if isinstance(v, str) else v for v in values], pa.binary()
    )
    bitmap, offsets, data = raw.buffers()
    column = pa.StringArray.from_buffers(len(values), offsets, data, bitmap)

    built = builder_for("{a}").build(pa.table({"a": column}))

    assert len(built.params) == len(values)
    assert {at for at, p in enumerate(built.params) if p is None} == set(built.reasons)
    for params in filter(None, built.params):
        json.loads(params.decode())


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_equal_prompts_have_equal_bytes_and_different_ones_different_hashes(
    values: list[str],
):
    values = [f"x{value}" for value in values]
    built = builder_for("{a}").build(pa.table({"a": values}))

    hashes = [request_hash(params or b"") for params in built.params]

    assert len(set(hashes)) == len(set(values))
    assert dict(zip(values, hashes, strict=True)) == {
        value: hashes[values.index(value)] for value in values
    }


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), VALUES), max_size=6))
def test_sizes_are_the_bytes_that_go_out(rows: list[tuple[int, str]]):
    params = [json.dumps({"a": value}).encode() for _, value in rows]
    places = [position for position, _ in rows]
    items = [
        encode_item("f" * 16, at, text) for at, text in zip(places, params, strict=True)
    ]

    sizes = item_sizes(places, [len(text) for text in params])

    assert sizes.tolist() == [len(item) for item in items]
    assert sizes.tolist() == [
        item_bytes(a, p) for a, p in zip(places, params, strict=True)
    ]
    assert body_bytes(sizes) == len(BODY_START + b",".join(items) + BODY_STOP)
