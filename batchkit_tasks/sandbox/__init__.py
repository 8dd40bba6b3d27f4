"""A server that speaks the Message Batches API, for tests, demos and dry runs.

It speaks real HTTP to the unmodified SDK, on this machine only. Its answers are made up
and say so; anyone can compute them again (`answer_text`). Nothing is paid.

    with Sandbox(batch_seconds=0.1) as sandbox:
        client = Anthropic(**sandbox.client_options)

or `python -m batchkit_tasks.sandbox --port 8123`. See `settings.Settings` for how it can
behave, `control.Control` for what can be done to it while it runs, and `control_routes`
for the same over HTTP.

**Markers.** A request whose user or system text holds one of these ends that way.

| marker | the request ends |
|---|---|
| `[[refusal]]` | succeeded, `refusal` with `stop_details` and no content (not billed) |
| `[[partial_refusal]]` | succeeded, `refusal` after half of the answer (billed) |
| `[[max_tokens]]` | succeeded, half of the answer, `max_tokens` |
| `[[needs:N]]` | like that if the request's `max_tokens` is below N, else whole |
| `[[context_window]]` | half of the answer, `model_context_window_exceeded` |
| `[[pause_turn]]` | succeeded, `pause_turn` with a server tool's call |
| `[[stop_sequence]]` | succeeded, `stop_sequence` with the request's first sequence |
| `[[tool_use]]` | succeeded, `tool_use` with `caller`; input fits the tool's schema |
| `[[thinking]]` | a thinking block before the text |
| `[[web_search]]` | search blocks before the text; three searches in `usage` |
| `[[cache]]` | 5-minute and 1-hour cache writes and cache reads in `usage` |
| `[[us]]` | `inference_geo` is `us` |
| `[[standard_tier]]` | `service_tier` is `standard`, as it should not be |
| `[[extra_usage]]`, `[[sparse_usage]]` | one usage key more; only the two certain ones |
| `[[unknown_block]]`, `[[unknown_stop]]` | a content block or stop reason nobody knows |
| `[[unknown_type]]` | a result type nobody knows (counted as errored) |
| `[[empty]]` | succeeded with empty content (billed) |
| `[[bad_json]]`, `[[not_json]]` | JSON that does not fit the schema; broken JSON |
| `[[long:N]]` | a text of N characters, some of three bytes |
| `[[line_separator]]` | a text with U+2028, U+2029, U+0085, CR LF and an emoji |
| `[[errored:TYPE]]` | errored with that type: `api_error`, `overloaded_error`, ... |
| `[[credit]]` | errored, `invalid_request_error` with the credit balance text |
| `[[fetch_failed]]` | errored while running: `request_id` is `workerreq_...` |
| `[[expired]]`, `[[canceled]]` | that |
| `[[missing]]` | counted as succeeded, but no line comes back |
| `[[duplicate]]` | its line comes twice |
| `[[foreign]]` | another line follows, with a custom_id that nobody sent |
| `[[once:X]]` | as `[[X]]` the first time this opening text runs, then succeeded |
| `[[times:N:X]]` | as `[[X]]` the first N times |

Markers of messages add up (`[[thinking]] [[cache]]`). What the API finds wrong with
`params` ends a request as there (`validation`), without a marker. A URL on a host that
ends in `.invalid`, and a `file_id` with `missing` in it, cannot be fetched.

`cache_control` in a request changes its usage as a bill would show it
(`prompt_cache`).

**Faults.** `sandbox.fault(ENDPOINT, KIND, times=1, after=0, batch=None, ...)`:

| kind | what the call meets |
|---|---|
| `bad_request`, `unauthorized`, `payment_required`, `forbidden` | 400, 401, 402, 403 |
| `api_usage_limit`, `workspace_usage_limit` | 400 with the text of a spend limit |
| `not_found`, `timeout`, `conflict` | 404, 408, 409 |
| `too_large_html`, `too_large_json` | 413 |
| `rate_limited`, `rate_limited_until`, `rate_limited_bare` | 429: seconds, date, none |
| `spend_cap`, `contract_spend_cap` | 429 without the header, with `error_code` |
| `server_error`, `server_error_final` | 500; with `x-should-retry: false` |
| `bad_gateway`, `unavailable`, `gateway_timeout` | 502 (HTML), 503, 504 |
| `overloaded` | 529 |
| `status` | any: `status=`, `message=`, `error_type=`, `page=True` for HTML |
| `reset_before_body`, `reset_after_body` | RST, nothing was done |
| `reset_during_body` (`bytes=`) | RST after so many bytes, nothing was done |
| `hang` (`seconds=`) | no answer, nothing was done |
| `slow` (`seconds=`) | done after a while, even if the client has left meanwhile |
| `half_answer` | done; half of the body, then RST |
| `accepted_then_reset`, `accepted_then_closed` | done, then RST or FIN, no answer |
| `accepted_then_slow`, `accepted_then_hang` (`seconds=`) | done; answered late or never |
| `reset` (only endpoint `connect`) | RST right after the connection was made |

The answers with a status also take `message=`, `headers=`, `retry_after=`, `error_code=`
and `when="afterwards"`: done, and then answered so. On `results` there are also:

| kind | the lines |
|---|---|
| `cut_mid_line`, `cut_at_line_end` (`share=`) | end early, properly |
| `reset_half_way`, `closed_half_way` (`share=`) | end early, with RST or FIN |
| `blank_lines`, `no_final_newline` | that |
| `gzip`, `gzip_members` (`members=`) | come compressed, in one or several members |
| `small_chunks`, `split_utf8` (`chunk_bytes=`) | come in pieces, cut inside characters |
| `line_separator` | have U+2028 and U+0085 in their texts |
| `broken_line`, `foreign_line` | begin with a line that is no JSON, or not ours |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchkit_tasks.sandbox.answers import answer_text
    from batchkit_tasks.sandbox.server import Sandbox, serve

__all__ = ["Sandbox", "answer_text", "serve"]

_HOMES = {"Sandbox": "server", "answer_text": "answers", "serve": "server"}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: the web server is not cheap."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
