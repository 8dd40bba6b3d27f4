"""Small files: whole or not at all, and claimed by one of many."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from batchkit_tasks.ground import storage
from batchkit_tasks.run_dir import RunDir


class WordyStore(MemoryFileSystem):
    """An object store that says "precondition failed" as s3fs does; a lossy one."""

    protocol = "wordy"
    store: dict[str, Any] = {}  # noqa: RUF012 - shared, as fsspec's own is
    pseudo_dirs = [""]  # noqa: RUF012
    loses_answers: type[OSError] | None = None
    """What its client raises then: it asks again, and hears that the file exists, or
    it gives up."""
    overtaken_by: bytes | None = None
    """What another writer puts there in the same moment."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:  # pyright: ignore
        if mode == "create" and self.exists(path):
            raise OSError(
                errno.EINVAL, "At least one of the pre-conditions did not hold"
            )
        super().pipe_file(path, value, mode="overwrite")
        if self.overtaken_by is not None:
            super().pipe_file(path, self.overtaken_by, mode="overwrite")
        if self.loses_answers:
            raise self.loses_answers(errno.EIO, "the answer was lost")


@pytest.fixture
def wordy() -> Iterator[type[WordyStore]]:
    """The store, empty."""
    fsspec.register_implementation("wordy", WordyStore, clobber=True)
    WordyStore.store.clear()
    yield WordyStore
    WordyStore.loses_answers = None
    WordyStore.overtaken_by = None


def test_of_many_who_claim_a_name_one_gets_it(tmp_path: Path) -> None:
    url = str(tmp_path / "claim.json")

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: storage.create(url, b"%d" % n), range(64)))

    assert won.count(True) == 1
    assert storage.read(url) == b"%d" % won.index(True)
    assert storage.names(str(tmp_path)) == ["claim.json"]


def test_a_store_that_refuses_in_other_words_is_understood(
    wordy: type[WordyStore],
) -> None:
    assert storage.create("wordy://bucket/claim.json", b"ours")

    assert not storage.create("wordy://bucket/claim.json", b"theirs")
    assert storage.read("wordy://bucket/claim.json") == b"ours"


@pytest.mark.parametrize("loses_answers", [OSError, FileExistsError])
def test_a_claim_whose_answer_was_lost_is_still_ours(
    wordy: type[WordyStore], loses_answers: type[OSError]
) -> None:
    wordy.loses_answers = loses_answers

    assert storage.create("wordy://bucket/claim.json", b"ours")
    assert not storage.create("wordy://bucket/claim.json", b"theirs")


def test_a_run_pauses_once_wherever_its_directory_is(
    wordy: type[WordyStore], tmp_path: Path
) -> None:
    for url in ("wordy://bucket/run", str(tmp_path)):
        assert RunDir(url).pause(1)
        assert not RunDir(url).pause(1)


def test_where_the_last_writer_wins_the_others_hear_of_it(
    wordy: type[WordyStore],
) -> None:
    """FTP, SFTP and WebHDFS cannot create what must not be there yet."""
    wordy.overtaken_by = b"theirs"

    assert not storage.create("wordy://bucket/claim.json", b"ours")
    assert storage.read("wordy://bucket/claim.json") == b"theirs"


def test_where_there_are_no_hard_links_a_name_is_claimed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links on this filesystem")

    monkeypatch.setattr(os, "link", refuse)
    url = str(tmp_path / "claim.json")

    assert storage.create(url, b"ours")
    assert not storage.create(url, b"theirs")
    assert storage.read(url) == b"ours"
    assert storage.names(str(tmp_path)) == ["claim.json"]


def test_a_lock_is_free_again_when_its_holder_leaves(tmp_path: Path) -> None:
    order: list[int] = []

    def count(_: int) -> None:
        with storage.locked(str(tmp_path)):
            order.append(len(order))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))

    assert order == list(range(40))


def test_hidden_and_temporary_files_are_not_listed(tmp_path: Path) -> None:
    for name in (".DS_Store", "a.json", "a.json.123.tmp", ".b.parquet.1.tmp"):
        (tmp_path / name).touch()

    assert storage.names(str(tmp_path)) == ["a.json"]
    assert storage.names(str(tmp_path / "nothing")) == []


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_many_files_are_read_at_once_whatever_their_names_look_like(
    tmp_path: Path, kind: str
) -> None:
    folder = str(tmp_path) if kind == "local" else f"memory://{tmp_path.name}"
    names = ["a[1]", "b*", "empty", "missing"]
    urls = [storage.join(folder, name) for name in names]
    for url, data in zip(urls, (b"one", b"two", b""), strict=False):
        storage.write(url, data)

    assert storage.read_all(urls) == [b"one", b"two", b"", None]
    assert storage.read_all([]) == []
    if kind == "local":
        (folder_read,) = storage.read_all([folder])
        assert isinstance(folder_read, OSError)
        below_a_file = storage.join(urls[2], "missing")
        assert storage.read(below_a_file) is None
        assert storage.read_all([below_a_file]) == [None]
