"""Small files on any fsspec filesystem: whole or not at all, and claimed only once.

Local files are written beside their name, flushed to disk and moved into place.
Object stores put a file whole by themselves; there a claim is a conditional put, as
far as the filesystem offers one (`mode="create"`).
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


_LOCAL: Any = LocalFileSystem()

OBJECT_STORES: Final = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2")
)
"""Protocols of stores that put a file whole by themselves and have no folders."""

_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)
"""There is no such file, nor can there be one below a file."""


def filesystem(url: str, options: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The filesystem of a path or URL, and the path on it."""
    if not options and "://" not in url and "::" not in url:
        return _LOCAL, _LOCAL._strip_protocol(url)  # fsspec takes longer than a reading
    fs, path = cast("tuple[Any, str]", fsspec.core.url_to_fs(url, **options or {}))
    return fs, path


def full_url(fs: Any, path: str) -> str:
    """Give a URL that means the same file in every process and folder."""
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def join(url: str, *names: str) -> str:
    """Append names to a path or URL."""
    return "/".join([url.rstrip("/"), *names])


def parent(url: str) -> str:
    """The folder of a path or URL; `.` for a bare file name."""
    head, slash, _ = url.rstrip("/").rpartition("/")
    return head if slash else "."


def read(url: str) -> bytes | None:
    """The file's bytes; None only if there is no such file."""
    fs, path = filesystem(url)
    try:
        return cast(bytes, fs.cat_file(path))
    except _NOT_THERE:
        return None


def read_all(urls: Sequence[str]) -> list[bytes | Exception | None]:
    """Read many files of one filesystem, many at once where it can.

    Returns:
        As `read` for each; an error in its place.
    """
    if not urls:
        return []
    fs, _ = filesystem(urls[0])
    paths = [filesystem(url)[1] for url in urls]
    everything = [None] * len(paths)
    found = fs.cat_ranges(paths, everything, everything, on_error="return")
    return [None if isinstance(data, _NOT_THERE) else data for data in found]


def exists(url: str) -> bool:
    """Whether the file is there, asked of the filesystem and not of a cached list."""
    fs, path = filesystem(url)
    fs.invalidate_cache()
    return bool(fs.exists(path))


def names(url: str) -> list[str]:
    """The names in a folder, sorted; none if there is no such folder.

    Hidden and temporary files are left out: desktops and killed processes leave some.
    """
    fs, path = filesystem(url)
    fs.invalidate_cache()
    try:
        if isinstance(fs, LocalFileSystem):
            # fsspec would ask for the facts of every file.
            listed = [entry.name for entry in Path(path).iterdir()]
        else:
            listed = cast("list[str]", fs.ls(path, detail=False))
    except _NOT_THERE:
        return []
    found = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in listed)
    return sorted(n for n in found if not n.endswith(".tmp") and not n.startswith("."))


def is_object_store(fs: Any) -> bool:
    """Whether a filesystem is a store of objects in buckets."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return not OBJECT_STORES.isdisjoint(protocols)


def make_folder(url: str) -> None:
    """Create a folder and its parents where the filesystem has folders."""
    fs, path = filesystem(url)
    if not is_object_store(fs):  # there it would create a bucket whose name is mistyped
        fs.makedirs(path, exist_ok=True)


def write(url: str, data: bytes) -> None:
    """Put the file there whole, replacing what was there."""
    fs, path = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        with _local_temporary(path, data) as temporary:
            temporary.replace(path)
        _flush_folder(path)
    else:
        fs.pipe_file(path, data)


def create(url: str, data: bytes) -> bool:
    """Put the file there whole unless one is there.

    Returns:
        Whether it is what this caller has put there: of several callers that put
        different data, one gets True.
    """
    fs, path = filesystem(url)
    try:
        if isinstance(fs, LocalFileSystem):
            with _local_temporary(path, data) as temporary:
                _link(temporary, path)
            _flush_folder(path)
        else:
            fs.pipe_file(path, data, mode="create")
            # Some filesystems (FTP, SFTP, WebHDFS) look and then write, so that the
            # last of two writers wins: at least the others must hear of it.
            return read(url) == data
    except OSError as error:
        # An answer can be lost; the clients of stores then ask again, and hear that the
        # file exists. Some say so in other words. What is there tells who was first.
        found = read(url)
        if found is None and not isinstance(error, FileExistsError):
            raise
        return found == data
    return True


def _link(temporary: Path, path: str) -> None:
    """Give a file a second name, unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some mounts): claim the name, then write
        with Path(path).open("xb") as file:
            file.write(temporary.read_bytes())
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def locked(url: str) -> Generator[None]:
    """Keep the other processes and threads that ask for it out of a folder.

    Only on local files, where the system frees the lock of a process that dies.
    Elsewhere nothing is locked, and two processes that act within one round trip of
    the store can both go on; what that can cost is said where it is used.
    """
    fs, path = filesystem(url)
    if fcntl is None or not isinstance(fs, LocalFileSystem):
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a mount without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def remove(url: str) -> None:
    """Delete the file if it is there."""
    fs, path = filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


@contextlib.contextmanager
def _local_temporary(path: str, data: bytes) -> Any:
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(path: str) -> None:
    """Make the new name itself durable, where the platform can."""
    with contextlib.suppress(OSError):
        folder = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
