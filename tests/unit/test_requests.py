"""The bytes of requests."""

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest

from batchkit_tasks.errors import (
    ColumnTypeError,
    InputError,
    ParameterError,
    PromptError,
    UnknownColumnError,
)
from batchkit_tasks.limits import CUSTOM_ID, RESERVED_PARAMS
from batchkit_tasks.prompts.requests import (
    BODY_START,
    BODY_STOP,
    RequestBuilder,
    body_bytes,
    custom_id,
    encode_item,
    encode_items,
    item_bytes,
    item_sizes,
    joined,
    request_hash,
    request_hashes,
)

NONCE = "0123456789abcdef"


def make_builder(**changes: Any) -> RequestBuilder:
    settings: dict[str, Any] = {
        "prompt": "Classify: {text}", "system": "", "model": "claude-haiku-5-5",
        "max_tokens": 1024, "output_schema": None, "request": "{}",
    }  # fmt: skip
    return RequestBuilder(**settings | changes)


def params_of(builder: RequestBuilder, **columns: Any) -> list[Any]:
    built = builder.build(pa.table(columns))
    return [None if p is None else json.loads(p) for p in built.params]


def invalid_utf8(*values: bytes) -> pa.Array:
    raw: Any = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), *raw.buffers()[1:])


def test_params_hold_exactly_what_was_asked_for():
    builder = make_builder(system="Be brief.", request='{"temperature": 0, "top_k": 5}')

    assert params_of(builder, text=["a\n“ü”\u2028😀"]) == [
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": "Classify: a\n“ü”\u2028😀"}],
            "system": "Be brief.",
            "temperature": 0,
            "top_k": 5,
        }
    ]


def test_without_a_system_prompt_none_is_sent():
    for system in ("", "  \n"):
        (params,) = params_of(make_builder(system=system), text=["a"])
        assert set(params) == {"model", "max_tokens", "messages"}


def test_the_system_prompt_may_use_columns_too():
    builder = make_builder(system="For {who}.")

    first, second = params_of(builder, text=["a", "b"], who=["x", '"y"'])

    assert builder.columns == ("text", "who")
    assert first["system"] == "For x."
    assert second["system"] == 'For "y".'


def test_a_row_whose_system_prompt_is_blank_has_none():
    builder = make_builder(system="{who}")

    first, second = params_of(builder, text=["a", "b"], who=[" ", "x"])

    assert "system" not in first
    assert second["system"] == "x"


def test_the_answers_format_is_merged_with_the_users_output_config():
    schema = {"type": "object", "properties": {}}
    request = '{"output_config": {"effort": "low"}}'

    (params,) = params_of(
        make_builder(output_schema=schema, request=request), text=["a"]
    )

    assert params["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": schema},
    }


def test_a_users_own_format_is_kept_when_the_answer_is_text():
    request = '{"output_config": {"format": {"type": "json_schema", "schema": {}}}}'

    (params,) = params_of(make_builder(request=request), text=["a"])

    assert params["output_config"]["format"]["schema"] == {}


@pytest.mark.parametrize(
    ("request_text", "says"),
    [
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{", "it is not JSON"),
        ('{"a": NaN}', "it is not JSON"),
        ('{"a": "\\ud800"}', "it is not JSON"),
        ('{"output_config": 1}', "must be a JSON object"),
        ('{"output_config": {"format": {}}}', "keep one of them"),
        *((f'{{"{key}": 1}}', why) for key, why in RESERVED_PARAMS.items()),
    ],
)
def test_request_fields_that_cannot_work_are_refused(request_text: str, says: str):
    with pytest.raises(ParameterError, match=says) as caught:
        make_builder(request=request_text, output_schema={"type": "object"})

    assert caught.value.parameter == "request"


def test_blank_request_fields_mean_none():
    assert make_builder(request=" \n").build(pa.table({"text": ["a"]})).reasons == {}


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_an_empty_prompt_is_refused(prompt: str):
    with pytest.raises(PromptError, match="it is empty"):
        make_builder(prompt=prompt)


def test_rows_that_cannot_be_sent_have_a_reason_and_stop_no_other():
    builder = make_builder(prompt="{a}{b}")
    rows = pa.table(
        {
            "a": invalid_utf8(b"x", b"", b"\xff", b"", b"ok"),
            "b": ["y", None, "z", " \u2003\n", ""],
        }
    )

    built = builder.build(rows)

    assert built.reasons == {
        1: "column 'b' is null",
        2: "column 'a' is not valid UTF-8",
        3: "the prompt is empty",
    }
    assert [p is None for p in built.params] == [False, True, True, True, False]
    assert builder.prompts(rows)[4] == "ok"


def test_a_null_in_the_system_prompts_column_is_named_too():
    built = make_builder(system="{s}").build(
        pa.table({"text": ["a"], "s": pa.array([None], pa.string())})
    )

    assert built.reasons == {0: "column 's' is null"}


def test_null_in_a_column_that_is_not_used_does_not_matter():
    rows = pa.table({"text": ["a"], "other": pa.nulls(1)})

    assert make_builder().build(rows).reasons == {}


def test_no_rows_give_no_requests():
    built = make_builder().build(pa.table({"text": pa.array([], pa.string())}))

    assert (built.params, built.reasons) == ([], {})


def test_prompts_are_what_is_sent():
    builder = make_builder(prompt="{{{text}}} {n}")
    rows = pa.table({"text": ["a", None, 'q"'], "n": [1.5, 2.0, 3.0]})

    prompts = builder.prompts(rows)

    assert prompts == ["{a} 1.5", None, '{q"} 3.0']
    sent = [
        p and json.loads(p)["messages"][0]["content"]
        for p in builder.build(rows).params
    ]
    assert sent == prompts


def test_another_max_tokens_changes_nothing_else():
    rows = pa.table({"text": ["a"]})
    builder = make_builder(system="s", request='{"top_k": 1}')

    (before,), (after,) = (
        b.build(rows).params for b in (builder, builder.with_max_tokens(2048))
    )

    assert json.loads(after or b"") == json.loads(before or b"") | {"max_tokens": 2048}


# ------------------------------------------------------------------- the table


def test_a_mistyped_column_is_named_with_its_nearest():
    with pytest.raises(UnknownColumnError, match=r"Did you mean \{text\}") as caught:
        make_builder(prompt="{txet}").check(pa.schema({"text": pa.string()}))

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_system_prompts_columns_are_checked_too():
    with pytest.raises(UnknownColumnError, match="The system prompt uses"):
        make_builder(system="{x}").check(pa.schema({"text": pa.string()}))


def test_binary_columns_are_refused_before_anything_is_sent():
    with pytest.raises(ColumnTypeError, match="Column text holds binary"):
        make_builder().check(pa.schema({"text": pa.binary()}))


def test_a_binary_column_that_is_not_used_does_not_matter():
    make_builder().check(pa.schema({"text": pa.string(), "image": pa.binary()}))


def test_doubled_braces_around_a_column_are_noticed():
    with pytest.raises(InputError, match=r"Write \{text\} for the column"):
        make_builder(prompt="Classify {{text}}").check(pa.schema({"text": pa.string()}))


# -------------------------------------------------------------- around the params


def test_an_item_is_the_json_that_the_api_takes():
    item = encode_item(NONCE, 12, b'{"model":"m"}')

    assert json.loads(item) == {"custom_id": f"{NONCE}-12", "params": {"model": "m"}}


def test_a_custom_id_fits_the_api_for_every_position():
    assert CUSTOM_ID.match(custom_id(NONCE, 2**63 - 1))


@pytest.mark.parametrize("position", [0, 9, 10, 99, 100, 10**9, 10**18, 2**63 - 1])
def test_sizes_are_exact(position: int):
    size = len(encode_item(NONCE, position, b"{}"))

    assert item_bytes(position, b"{}") == size
    assert item_sizes([position], [2]).tolist() == [size]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_bodys_size_counts_its_commas(count: int):
    items = [encode_item(NONCE, at, b"{}") for at in range(count)]
    body = BODY_START + b",".join(items) + BODY_STOP

    assert body_bytes([len(item) for item in items]) == len(body)
    assert len(json.loads(body)["requests"]) == count


def test_equal_params_have_equal_hashes_of_16_bytes():
    assert request_hash(b"a") == request_hash(b"a") != request_hash(b"b")
    assert len(request_hash(b"a")) == 16


@pytest.mark.parametrize(
    "pieces",
    [
        [[b'{"a":1}', b"{}", b'{"b":2}']],
        [b'{"a":', b'"', [b"x", b"", b"z"], b'"', b"}"],
        [
            b'{"a":',
            [b"1", b"2", b"3"],
            b',"b":',
            [b"4", b"5", b"6"],
            [b"}", b"}", b"}"],
        ],
        [b"{}"],
    ],
)
def test_many_items_are_the_single_items_joined_by_commas(pieces: list[Any]):
    places = [0, 7, 10_000]
    single = [
        encode_item(NONCE, at, params)
        for at, params in zip(places, joined(pieces, 3), strict=True)
    ]

    assert encode_items(NONCE, places, pieces) == b",".join(single)


def test_many_hashes_are_the_single_hashes_and_zeros_for_no_request():
    hashes = request_hashes([b"a", None, b"b"])

    assert hashes == [request_hash(b"a"), bytes(16), request_hash(b"b")]
