"""`batchkit sandbox`."""

from __future__ import annotations


def sandbox(
    *, port: int = 8123, batch_seconds: float = 2.0, stop_after: float | None = None
) -> int:
    """Serve the Message Batches API on this machine: made-up answers, no key, no cost.

    Everything that talks to Anthropic talks to it unmodified. Ctrl-C stops it.

    ```
    batchkit sandbox
    # in another terminal:
    export ANTHROPIC_BASE_URL=http://127.0.0.1:8123
    batchkit run reviews.csv --prompt "Summarize: {text}" --check-every-seconds 1
    ```

    Parameters
    ----------
    port
        0 takes a free one; the address is the first line on standard output.
    batch_seconds
        How long a batch runs.
    stop_after
        Stop by itself after so many seconds.
    """
    from batchkit_tasks.cli.screen import say, talk
    from batchkit_tasks.sandbox import serve

    say(
        talk(),
        "A sandbox of the Message Batches API: its answers are made up, nothing is sent "
        "to Anthropic.\nSet ANTHROPIC_BASE_URL to the address below. Ctrl-C stops it.",
        style="dim",
    )
    try:
        serve(
            port=port,
            batch_seconds=batch_seconds,
            stop_after=stop_after,
            retry_after=max(1, min(10, round(batch_seconds))),
        )
    except OSError as error:
        from batchkit_tasks.errors import ParameterError

        raise ParameterError("--port", f"{port} cannot be used ({error}).") from None
    return 0
