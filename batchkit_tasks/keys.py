"""An API key, where to send it, and the client that is made with it.

Two laws. The key is never shown: not in a repr, a log line, a validation error or a
record (records hold `fingerprint()`). And the client never sends twice by itself:
the API has no idempotency key, and the SDK's own retries would buy a batch again.
Nothing here needs Prefect: the command line and scripts start in half the time.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from batchkit_tasks.errors import MissingKeyError

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic

PLACEHOLDER_KEY: Final = "no-key"
"""Sent where there is a server but no key: the sandbox asks for none."""

READ_TIMEOUT_SECONDS: Final = 600.0
"""The longest silence of the API within one answer (the SDK's own default)."""

WRITE_TIMEOUT_SECONDS: Final = 600.0
"""The longest stop while a body goes out; bodies may have 255 MB."""

CONNECT_TIMEOUT_SECONDS: Final = 10.0

_UNUSABLE: Final = "\0"


def _only_usable_keys(value: Any) -> SecretStr:
    """Trim a key; put a mark in place of one that cannot be sent.

    Pydantic's errors carry the value they complain about, so a bad key is exchanged
    before anything can complain. A pasted line break would otherwise come back in the
    HTTP client's own error, with the key around it.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return SecretStr(_UNUSABLE)
    text = text.strip()
    sendable = text and all("!" <= character <= "~" for character in text)
    return SecretStr(text if sendable else _UNUSABLE)


def _refuse_unusable_key(key: SecretStr) -> SecretStr:
    if key.get_secret_value() == _UNUSABLE:
        raise ValueError(
            "the key is empty or holds characters that no key has (blanks, line "
            "breaks, accents); copy it again from the Console"
        )
    return key


def _clean_base_url(value: str) -> str:
    """Trim blanks and the trailing slash: the API answers a doubled slash with 404."""
    url = value.strip().rstrip("/")
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("the address must start with https:// or http://")
    return url


KeyText = Annotated[
    SecretStr,
    AfterValidator(_refuse_unusable_key),
    BeforeValidator(_only_usable_keys),
]
"""A key as a secret, trimmed."""

Address = Annotated[str, AfterValidator(_clean_base_url)]
"""A base URL, without blanks and the trailing slash."""


class Key(Protocol):
    """What is asked of a key: `ApiKey` and the block `AnthropicCredentials` have it."""

    def get_client(self, **options: Any) -> Anthropic: ...

    def fingerprint(self) -> str: ...


class ApiKey(BaseModel):
    """A key that is kept nowhere."""

    model_config = ConfigDict(hide_input_in_errors=True)

    api_key: KeyText
    base_url: Address = ""
    workspace_id: str = ""
    extra_headers: dict[str, str] = Field(default={}, repr=False)

    @classmethod
    def from_env(cls) -> Self:
        """Take `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`.

        With an address but no key a placeholder is sent: the sandbox needs none.

        Raises:
            MissingKeyError: Neither is set. Nothing was sent.
        """
        key = os.environ.get("ANTHROPIC_API_KEY", "").strip()
        base_url = os.environ.get("ANTHROPIC_BASE_URL", "").strip()
        if not key and not base_url:
            raise MissingKeyError
        return cls(api_key=SecretStr(key or PLACEHOLDER_KEY), base_url=base_url)

    def get_client(self, **options: Any) -> Anthropic:
        """Make a client that never sends twice by itself; close it with `with`.

        Args:
            options: Passed on to `anthropic.Anthropic`, over the defaults here.
        """
        from anthropic import Anthropic

        return Anthropic(**{**self._client_options(), **options})

    def get_async_client(self, **options: Any) -> AsyncAnthropic:
        """Make the asynchronous twin of `get_client()`; close it with `async with`."""
        from anthropic import AsyncAnthropic

        return AsyncAnthropic(**{**self._client_options(), **options})

    def fingerprint(self) -> str:
        """Return 16 hexadecimal characters that tell keys apart and reveal none."""
        key = self.api_key.get_secret_value().encode()
        return hashlib.blake2b(key, digest_size=8, person=b"batchkit").hexdigest()

    def _client_options(self) -> dict[str, Any]:
        from anthropic import Timeout

        headers = dict(self.extra_headers)
        if self.workspace_id:
            headers["anthropic-workspace-id"] = self.workspace_id
        return {
            "api_key": self.api_key.get_secret_value(),
            "base_url": self.base_url or _address_from_env(),
            "default_headers": headers,
            "max_retries": 0,
            "timeout": Timeout(
                READ_TIMEOUT_SECONDS,
                connect=CONNECT_TIMEOUT_SECONDS,
                write=WRITE_TIMEOUT_SECONDS,
            ),
        }


def _address_from_env() -> str | None:
    return os.environ.get("ANTHROPIC_BASE_URL", "").strip().rstrip("/") or None
