"""The application: every call passes one door, and every answer leaves by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batchkit_tasks.sandbox import fault_connections
from batchkit_tasks.sandbox.access import identify, key_label, key_of
from batchkit_tasks.sandbox.calls import CallLog
from batchkit_tasks.sandbox.catalogue import CATALOGUE_ENDPOINTS
from batchkit_tasks.sandbox.endpoints import BATCH_ENDPOINTS, Call, Endpoint
from batchkit_tasks.sandbox.fault_answers import ANSWERS, canned_answer
from batchkit_tasks.sandbox.fault_connections import CONNECTION_KINDS, NoAnswer
from batchkit_tasks.sandbox.faults import Fault, FaultBook
from batchkit_tasks.sandbox.store import Store
from batchkit_tasks.sandbox.uploads import GoneError, TooLargeError, read_body
from batchkit_tasks.sandbox.wire import (
    ApiError,
    add_headers,
    error_answer,
    html_answer,
)


class Door:
    """Lets calls in, notes them, lets faults happen, gives answers their headers."""

    def __init__(self, store: Store, faults: FaultBook, calls: CallLog) -> None:
        self._store = store
        self._faults = faults
        self._calls = calls

    def guard(
        self, name: str, endpoint: Endpoint
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint as Starlette calls it."""

        async def guarded(request: Request) -> Response:
            record = self._calls.begin(name, request, key_label(key_of(request)))
            call = Call(request, self._store)
            fault = self._faults.take(name, request.path_params.get("batch_id"))
            try:
                answer = await self._answer(call, endpoint, fault)
            except (GoneError, ClientDisconnect):
                answer = NoAnswer()
            record.body_bytes = len(call.body)
            record.status = answer.status_code
            return self._labelled(answer, call.workspace_id)

        return guarded

    async def unknown(self, request: Request, error: Exception) -> Response:
        """Answer a path that does not exist."""
        self._calls.begin("unknown", request, key_label(key_of(request))).status = 404
        return self._labelled(error_answer(ApiError(404, "Not Found")), None)

    async def _answer(
        self, call: Call, endpoint: Endpoint, fault: Fault | None
    ) -> Response:
        """Do what was asked, or what the fault wants."""

        async def proceed() -> Response:
            return await self._proceed(call, endpoint)

        if fault is None:
            return await proceed()
        if fault.kind in ANSWERS:
            # The body is read in any case: an answer ahead of it may be lost.
            if fault.options.get("when") == "afterwards":
                await proceed()
            else:
                await call.request.body()
            now = self._store.clock.now()
            return canned_answer(fault.kind, fault.options, now)
        if fault.kind in CONNECTION_KINDS:
            meet = fault_connections.meet
            return await meet(fault.kind, fault.options, call.request, proceed)
        call.stream_fault = (fault.kind, fault.options)
        return await proceed()

    async def _proceed(self, call: Call, endpoint: Endpoint) -> Response:
        try:
            call.caller = identify(call.request, call.settings)
            call.body = await read_body(call.request, call.settings)
            return await endpoint(call)
        except ApiError as error:
            return error_answer(error)
        except TooLargeError:
            if call.settings.too_large == "html":
                return html_answer(413, "Request Entity Too Large")
            return error_answer(ApiError(413, "Request exceeds the maximum size"))

    def _labelled(self, answer: Response, workspace_id: str | None) -> Response:
        if not isinstance(answer, NoAnswer):
            now = self._store.clock.now()
            add_headers(answer, now=now, workspace_id=workspace_id)
        return answer


def build_app(door: Door, control: list[BaseRoute]) -> Starlette:
    """Return the application with all routes."""
    endpoints = {**BATCH_ENDPOINTS, **CATALOGUE_ENDPOINTS}
    routes: list[BaseRoute] = [
        Route(path, door.guard(name, endpoint), methods=[method])
        for (method, path), (name, endpoint) in endpoints.items()
    ]
    app = Starlette(
        routes=routes + control,
        exception_handlers={404: door.unknown, 405: door.unknown},
    )
    # A doubled or trailing slash is a 404 there, not a redirect.
    app.router.redirect_slashes = False
    return app
