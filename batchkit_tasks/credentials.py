"""The credentials block: an API key, and the client that is made with it.

What is done with the key, and how it is kept secret, stands in `keys`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl

from batchkit_tasks.keys import Address, ApiKey, KeyText

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic


class AnthropicCredentials(Block):
    """
    An API key for [Anthropic](https://platform.claude.com), and where to send it.

    Attributes:
        api_key: The API key.
        base_url: Another address than Anthropic's own.
        workspace_id: The workspace to act in, for keys that can act in several.
        extra_headers: Headers that are sent with every call.

    Example:
        Load stored credentials and list the newest message batches:

        ```python
        from batchkit_tasks import AnthropicCredentials

        credentials = AnthropicCredentials.load("BLOCK_NAME")
        with credentials.get_client() as client:
            print(client.messages.batches.list(limit=5).data)
        ```
    """

    _block_type_name = "Anthropic Credentials"
    _block_type_slug = "anthropic-credentials"
    _logo_url = HttpUrl("https://github.com/anthropics.png?size=250")
    _documentation_url = HttpUrl(
        "https://platform.claude.com/docs/en/build-with-claude/batch-processing"
    )

    model_config = ConfigDict(hide_input_in_errors=True)

    # Required: a block without a required field cannot be picked in a run form.
    api_key: KeyText = Field(
        default=...,
        title="API key",
        description="A key from the Anthropic Console.",
    )
    base_url: Address = Field(
        default="",
        title="Base URL",
        description=(
            "Address of a gateway or of the batchkit sandbox; empty means "
            "ANTHROPIC_BASE_URL where that is set, else Anthropic's own API."
        ),
    )
    workspace_id: str = Field(
        default="",
        title="Workspace id",
        description="Only for keys that can act in several workspaces; else empty.",
    )
    extra_headers: dict[str, str] = Field(
        default={},
        repr=False,
        title="Extra headers",
        description="Headers for a gateway, sent with every call; stored readably.",
    )

    @classmethod
    def from_env(cls) -> Self:
        """Take `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`.

        With an address but no key a placeholder is sent: the sandbox needs none.

        Raises:
            MissingKeyError: Neither is set. Nothing was sent.
        """
        found = ApiKey.from_env()
        return cls(api_key=found.api_key, base_url=found.base_url)

    def get_client(self, **options: Any) -> Anthropic:
        """Make a client that never sends twice by itself; close it with `with`.

        Args:
            options: Passed on to `anthropic.Anthropic`, over the defaults here.
        """
        return self._key().get_client(**options)

    def get_async_client(self, **options: Any) -> AsyncAnthropic:
        """Make the asynchronous twin of `get_client()`; close it with `async with`."""
        return self._key().get_async_client(**options)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal characters that tell keys apart and reveal none."""
        return self._key().fingerprint()

    def _key(self) -> ApiKey:
        return ApiKey(
            api_key=self.api_key,
            base_url=self.base_url,
            workspace_id=self.workspace_id,
            extra_headers=self.extra_headers,
        )
