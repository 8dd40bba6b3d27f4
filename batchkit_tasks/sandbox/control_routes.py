"""The control handle over HTTP, for processes other than the sandbox's own.

| call | JSON body or query | answer |
|---|---|---|
| `GET /sandbox` | | `{"now", "batches", "calls"}` |
| `POST /sandbox/faults` | the arguments of `Control.fault` | the orders that wait |
| `GET`, `DELETE /sandbox/faults` | | the orders that wait |
| `POST /sandbox/clock` | `{"advance_seconds"}`, `{"set": "…Z"}`, `{"frozen": true}` | now |
| `POST /sandbox/settings` | any field of `Settings` | all settings |
| `POST /sandbox/keys` | `{"key", "status": 401 or null, "workspace"}` | `{}` |
| `POST /sandbox/batches` | the arguments of `create_foreign` | `{"id"}` |
| `POST /sandbox/batches/{id}/end`, `/cancel` | | its ledger entry |
| `POST /sandbox/batches/{id}/hold` | `{"progress"}` | its ledger entry |
| `POST /sandbox/end_all` | | `{}` |
| `GET /sandbox/ledger` | `?batch=&detail=` as `Ledger.dump` | the ledger |
| `GET /sandbox/calls` | | the last calls |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batchkit_tasks.sandbox.clock import timestamp
from batchkit_tasks.sandbox.control import Control
from batchkit_tasks.sandbox.wire import json_answer

Body = dict[str, Any]


def control_routes(control: Control) -> list[BaseRoute]:
    """Return the routes under `/sandbox`."""
    routes = _Routes(control)
    table: list[tuple[str, str, Callable[[Request, Body], Any]]] = [
        ("GET", "/sandbox", routes.overview),
        ("POST", "/sandbox/faults", routes.order_fault),
        ("GET", "/sandbox/faults", routes.faults),
        ("DELETE", "/sandbox/faults", routes.clear_faults),
        ("POST", "/sandbox/clock", routes.move_clock),
        ("GET", "/sandbox/clock", routes.clock),
        ("POST", "/sandbox/settings", routes.change_settings),
        ("POST", "/sandbox/keys", routes.change_key),
        ("POST", "/sandbox/batches", routes.create_foreign),
        ("POST", "/sandbox/batches/{batch_id}/{action}", routes.act_on_batch),
        ("POST", "/sandbox/end_all", routes.end_all),
        ("GET", "/sandbox/ledger", routes.ledger),
        ("GET", "/sandbox/calls", routes.calls),
    ]
    return [Route(path, _json(act), methods=[method]) for method, path, act in table]


def _json(
    act: Callable[[Request, Body], Any],
) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a function of a JSON body; what it objects to is a 400, unknown ids 404."""

    async def answer(request: Request) -> Response:
        try:
            body = await request.body()
            decoded = msgspec.json.decode(body) if body else {}
            # Reading a large ledger takes long: not on the event loop.
            return json_answer(await asyncio.to_thread(act, request, decoded))
        except KeyError as error:
            return json_answer({"error": f"unknown: {error}"}, 404)
        except (TypeError, ValueError, OSError) as error:
            return json_answer({"error": str(error)}, 400)

    return answer


class _Routes:
    """The functions behind the routes."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def overview(self, request: Request, body: Body) -> Body:
        return {
            **self.clock(request, body),
            "batches": len(self._control.store.all()),
            "calls": dict(self._control.calls.counts),
        }

    def order_fault(self, request: Request, body: Body) -> Body:
        self._control.fault(**body)
        return self.faults(request, body)

    def faults(self, request: Request, body: Body) -> Body:
        pending = self._control.faults.pending()
        return {"faults": [asdict(fault) for fault in pending]}

    def clear_faults(self, request: Request, body: Body) -> Body:
        self._control.faults.clear()
        return self.faults(request, body)

    def clock(self, request: Request, body: Body) -> Body:
        return {"now": timestamp(self._control.clock.now())}

    def move_clock(self, request: Request, body: Body) -> Body:
        clock = self._control.clock
        if "set" in body:
            clock.set(datetime.fromisoformat(body["set"]))
        clock.advance(float(body.get("advance_seconds", 0)))
        if "frozen" in body:
            (clock.freeze if body["frozen"] else clock.resume)()
        return self.clock(request, body)

    def change_settings(self, request: Request, body: Body) -> Body:
        settings = self._control.settings
        settings.change(**body)
        shown = asdict(settings)
        if callable(settings.batch_seconds):
            shown["batch_seconds"] = "a function"
        # Somebody may have used a real key.
        return {**shown, "workspaces": "not shown", "refused_keys": "not shown"}

    def change_key(self, request: Request, body: Body) -> Body:
        if body.get("status"):
            self._control.refuse_key(body["key"], body["status"])
        else:
            self._control.accept_key(body["key"], workspace=body.get("workspace"))
        return {}

    def create_foreign(self, request: Request, body: Body) -> Body:
        return {"id": self._control.create_foreign(**body)}

    def act_on_batch(self, request: Request, body: Body) -> Body:
        batch_id = request.path_params["batch_id"]
        acts = {
            "end": self._control.end,
            "hold": self._control.hold,
            "cancel": self._control.cancel,
        }
        acts[request.path_params["action"]](batch_id, **body)
        return asdict(self._control.ledger().batch(batch_id))

    def end_all(self, request: Request, body: Body) -> Body:
        self._control.end_all()
        return {}

    def ledger(self, request: Request, body: Body) -> Body:
        query = request.query_params
        return self._control.ledger().dump(
            batch_id=query.get("batch"), detail=query.get("detail", "summary")
        )

    def calls(self, request: Request, body: Body) -> Body:
        return {"calls": [asdict(call) for call in self._control.calls.recent]}
