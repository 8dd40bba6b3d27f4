"""The bytes of results as the wire brings them, in large blocks.

HTTP clients decode the first member of a gzip body and drop the others without a
word, which would make paid results look missing. So gzip is undone here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from batchkit_tasks.api.errors import describe

if TYPE_CHECKING:
    import httpx2

BLOCK_BYTES: Final = 1 << 20
"""Results are read in pieces of this size: small ones cost a hundred times the CPU."""


class TornResults(Exception):  # noqa: N818 - an event of the wire, not a verdict
    """The connection ended before the results did."""


def read_blocks(response: httpx2.Response) -> Iterator[bytes]:
    """Yield the body of a response that is being streamed.

    Raises:
        TornResults: It ended early, or cannot be decoded.
    """
    import httpx2

    try:
        if response.headers.get("content-encoding", "").strip().lower() == "gzip":
            yield from _gunzip(response.iter_raw(BLOCK_BYTES))
        else:
            yield from response.iter_bytes(BLOCK_BYTES)
    except (httpx2.HTTPError, zlib.error) as error:
        raise TornResults(describe(error)) from error


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo gzip, with as many members as there are, in pieces of bounded size."""
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    fresh = True
    for block in blocks:
        data = block
        while data:
            plain = member.decompress(data, BLOCK_BYTES)
            fresh = False
            if plain:
                yield plain
            if member.eof:
                data = member.unused_data.lstrip(b"\0")  # members may be padded
                member, fresh = zlib.decompressobj(zlib.MAX_WBITS | 16), True
            else:
                data = member.unconsumed_tail
    yield member.flush()
    if not fresh and not member.eof:
        raise zlib.error("the last gzip member is cut")
