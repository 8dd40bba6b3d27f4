"""The credentials block: what it shows, what it hides, and the client it makes."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys

import httpx2
import pytest
from anthropic import APIStatusError, Timeout
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.errors import MissingKeyError
from batchkit_tasks.keys import PLACEHOLDER_KEY

KEY = "sk-ant-api03-very-secret"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)


def credentials(**fields: object) -> AnthropicCredentials:
    return AnthropicCredentials.model_validate({"api_key": KEY, **fields})


class TestPrefectsStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return AnthropicCredentials

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """The suite's own check downloads the picture."""
        logo_url = vars(block)["_logo_url"]
        assert str(logo_url).startswith("https://")


def test_the_block_type_is_named_for_people_and_for_programs():
    assert AnthropicCredentials.get_block_type_name() == "Anthropic Credentials"
    assert AnthropicCredentials.get_block_type_slug() == "anthropic-credentials"


def test_the_form_requires_the_key_and_hides_it_and_has_no_optional_field():
    schema = AnthropicCredentials.model_json_schema()

    assert schema["required"] == ["api_key"]
    assert schema["secret_fields"] == ["api_key"]
    assert schema["properties"]["api_key"]["format"] == "password"
    assert not any("anyOf" in field for field in schema["properties"].values())
    assert all(field["title"] for field in schema["properties"].values())


def test_the_card_in_the_catalogue_shows_one_short_paragraph():
    description = AnthropicCredentials.get_description()

    assert description is not None
    assert "\n" not in description
    assert len(description) < 120


def test_the_key_is_in_no_repr_text_or_dump():
    block = credentials(extra_headers={"x-gateway": "also-private"})

    shown = f"{block!r} {block} {block.model_dump_json()}"

    assert KEY not in shown
    assert "also-private" not in repr(block)


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": f"{KEY}\nexport MORE=1"},
        {"api_key": f"{KEY}é"},
        {"api_key": [KEY]},
        {"api_key": {"value": KEY}},
        {"api_key": KEY.encode() + b" "},
        {"base_url": "ftp://elsewhere"},
        {"extra_headers": "no mapping"},
    ],
)
def test_a_refused_block_does_not_show_its_key(fields: dict[str, object]):
    with pytest.raises(ValidationError) as caught:
        credentials(**fields)

    errors = caught.value.errors()
    shown = f"{caught.value!s} {caught.value!r} {errors} {caught.value.json()}"
    assert KEY not in shown


@pytest.mark.parametrize("key", ["", "   ", "\n"])
def test_an_empty_key_is_refused_with_advice(key: str):
    with pytest.raises(ValidationError, match="copy it again from the Console"):
        credentials(api_key=key)


def test_blanks_around_a_pasted_key_and_address_do_not_matter():
    block = credentials(api_key=f" {KEY}\r\n", base_url=" https://gateway.test/a/ \n")

    assert block.api_key.get_secret_value() == KEY
    assert block.base_url == "https://gateway.test/a"


def test_the_client_sends_once_and_waits_long():
    with credentials().get_client() as client:
        assert client.api_key == KEY
        assert client.max_retries == 0
        assert str(client.base_url) == "https://api.anthropic.com"
        assert client.timeout == Timeout(600.0, connect=10.0)


def test_a_create_that_fails_goes_out_once_and_to_a_clean_address():
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(500, json={"type": "error"})

    wire = httpx2.Client(transport=httpx2.MockTransport(answer))
    block = credentials(base_url="http://127.0.0.1:9/v/")

    with block.get_client(http_client=wire) as client, pytest.raises(APIStatusError):
        client.messages.batches.create(requests=[])

    assert [str(request.url) for request in seen] == [
        "http://127.0.0.1:9/v/v1/messages/batches"
    ]
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"


def test_options_of_the_caller_win():
    with credentials().get_client(max_retries=1, timeout=5.0) as client:
        assert (client.max_retries, client.timeout) == (1, 5.0)


def test_workspace_and_extra_headers_are_sent_with_every_call():
    block = credentials(workspace_id="wrkspc_1", extra_headers={"x-team": "data"})

    with block.get_client() as client:
        headers = client.default_headers

    assert headers["anthropic-workspace-id"] == "wrkspc_1"
    assert headers["x-team"] == "data"
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_an_address_in_the_environment_counts_unless_the_block_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/")

    with credentials().get_client() as client:
        assert str(client.base_url) == "http://127.0.0.1:9"
    with credentials(base_url="http://127.0.0.1:8").get_client() as client:
        assert str(client.base_url) == "http://127.0.0.1:8"


def test_the_asynchronous_client_has_the_same_manners():
    async def settings() -> tuple[str | None, int, str]:
        async with credentials(base_url="http://127.0.0.1:9").get_async_client() as a:
            return a.api_key, a.max_retries, str(a.base_url)

    assert asyncio.run(settings()) == (KEY, 0, "http://127.0.0.1:9")


def test_the_environment_gives_key_and_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/")

    block = AnthropicCredentials.from_env()

    assert block.api_key.get_secret_value() == KEY
    assert block.base_url == "http://127.0.0.1:9"


def test_an_address_without_a_key_gets_a_placeholder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

    block = AnthropicCredentials.from_env()

    assert block.api_key.get_secret_value() == PLACEHOLDER_KEY


@pytest.mark.parametrize("value", ["", "  "])
def test_without_key_and_address_the_program_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, value: str
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", value)

    with pytest.raises(MissingKeyError, match="set ANTHROPIC_API_KEY"):
        AnthropicCredentials.from_env()


def test_the_fingerprint_tells_keys_apart_and_reveals_none():
    one, same, other = credentials(), credentials(), credentials(api_key="sk-other")

    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert len(one.fingerprint()) == 16
    assert one.fingerprint() not in KEY


def test_a_block_travels_to_another_process_with_its_key():
    block = AnthropicCredentials(api_key=SecretStr(KEY), base_url="http://127.0.0.1:9")

    again = pickle.loads(pickle.dumps(block))

    assert again.api_key.get_secret_value() == KEY
    assert again.base_url == block.base_url


def test_importing_the_block_imports_no_sdk_and_no_pandas():
    code = (
        "import sys, batchkit_tasks.credentials; "
        "print([m for m in ('anthropic', 'pandas', 'pyarrow') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
