"""One server and one worker for all tests here, and stories that are told at once.

Waiting is most of what these tests do. So each story (`@pytest.mark.story(of=f)`) is a
function that is run in a thread, all of them at the same time, and the tests look at
what it returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack

SECONDS = 900
"""For one test: the first one waits for the server, and for its story among others."""

Story = Callable[[Stack], Any]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give the tests of this folder the time that they need on a busy machine."""
    if item.path.parent == Path(__file__).parent:
        item.add_marker(pytest.mark.timeout(SECONDS))


AT_ONCE = 3
"""Stories told at a time. Each is a few Python processes, and two cores and one SQLite
file serve them all: with more at a time, pages and the server come too late."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server and a worker, with everything deployed."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def _stories(
    request: pytest.FixtureRequest, stack: Stack
) -> Iterator[dict[Story, Future[Any]]]:
    wanted = [
        mark.kwargs["of"]
        for item in request.session.items
        for mark in item.iter_markers("story")
    ]
    with ThreadPoolExecutor(AT_ONCE, "story") as pool:
        yield {story: pool.submit(story, stack) for story in dict.fromkeys(wanted)}


@pytest.fixture
def told(request: pytest.FixtureRequest, _stories: dict[Story, Future[Any]]) -> Any:
    """What the story of this test returned."""
    mark = request.node.get_closest_marker("story")
    return _stories[mark.kwargs["of"]].result()
