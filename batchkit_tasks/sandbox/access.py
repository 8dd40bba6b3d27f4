"""Who asks: the key, and the workspace that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.wire import ApiError

DEFAULT_WORKSPACE: Final = "default"

_REFUSALS: Final = {
    401: "invalid x-api-key",
    402: "Your account has a billing problem. Please check Plans & Billing.",
    403: "Your API key does not have permission to use the specified resource.",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The key of a call and its workspace."""

    key: str
    workspace: str

    @property
    def workspace_id(self) -> str:
        """The workspace as headers name it."""
        return f"wrkspc_{self.workspace}"


NOBODY: Final = Caller("", "")
"""The caller before the key was looked at."""


def identify(request: Request, settings: Settings) -> Caller:
    """Return who asks.

    Raises:
        ApiError: 400 without a version; 401, 402 or 403 for the key.
    """
    key = key_of(request)
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if status := settings.refused_keys.get(key):
        raise ApiError(status, _REFUSALS.get(status, "refused"))
    if not request.headers.get("anthropic-version"):
        raise ApiError(400, "anthropic-version: header is required")
    wanted = request.headers.get("anthropic-workspace-id", "").removeprefix("wrkspc_")
    own = settings.workspaces.get(key)
    if own is None:
        if settings.unknown_keys == "refused":
            raise ApiError(401, "invalid x-api-key")
        return Caller(key, wanted or DEFAULT_WORKSPACE)
    if wanted and wanted != own:
        raise ApiError(403, "The API key does not belong to this workspace.")
    return Caller(key, own)


def key_label(key: str) -> str:
    """Return what is kept of a key: its end. Somebody may try a real one here."""
    return f"…{key[-4:]}" if key else ""


def key_of(request: Request) -> str:
    """Return the key of either header form; empty when there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key", "").strip()
