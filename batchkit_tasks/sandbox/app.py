"""The application: every call passes one door, and every answer leaves by it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchkit_tasks.sandbox.access import Caller, identify
from batchkit_tasks.sandbox.catalogue import CATALOGUE_ENDPOINTS
from batchkit_tasks.sandbox.endpoints import BATCH_ENDPOINTS, Call, Endpoint
from batchkit_tasks.sandbox.store import Store
from batchkit_tasks.sandbox.wire import ApiError, add_headers, error_answer


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call that arrived, and how it was answered (0: not at all)."""

    at: float
    method: str
    path: str
    endpoint: str
    key: str
    body_bytes: int
    status: int


class Door:
    """Lets calls in, counts them, and gives answers their headers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: Counter[str] = Counter()
        self.recent: deque[CallRecord] = deque(maxlen=10_000)

    def guard(
        self, name: str, endpoint: Endpoint
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint as Starlette calls it."""

        async def guarded(request: Request) -> Response:
            self.calls[name] += 1
            caller: Caller | None = None
            body = b""
            try:
                caller = identify(request, self.store.settings)
                body = await request.body()
                answer = await endpoint(Call(request, caller, self.store, body))
            except ApiError as error:
                answer = error_answer(error)
            self._record(request, name, caller, len(body), answer.status_code)
            workspace = caller.workspace_id if caller else None
            add_headers(answer, now=self.store.clock.now(), workspace=workspace)
            return answer

        return guarded

    async def unknown(self, request: Request, error: Exception) -> Response:
        """Answer a path that does not exist."""
        answer = error_answer(ApiError(404, "Not Found"))
        add_headers(answer, now=self.store.clock.now(), workspace=None)
        return answer

    def _record(
        self,
        request: Request,
        name: str,
        caller: Caller | None,
        body_bytes: int,
        status: int,
    ) -> None:
        record = CallRecord(
            at=time.time(),
            method=request.method,
            path=request.url.path,
            endpoint=name,
            key=caller.key if caller else "",
            body_bytes=body_bytes,
            status=status,
        )
        self.recent.append(record)


def build_app(door: Door) -> Starlette:
    """Return the application with all routes."""
    endpoints = {**BATCH_ENDPOINTS, **CATALOGUE_ENDPOINTS}
    routes = [
        Route(path, door.guard(name, endpoint), methods=[method])
        for (method, path), (name, endpoint) in endpoints.items()
    ]
    app = Starlette(
        routes=routes, exception_handlers={404: door.unknown, 405: door.unknown}
    )
    # A doubled or trailing slash is a 404 there, not a redirect.
    app.router.redirect_slashes = False
    return app
