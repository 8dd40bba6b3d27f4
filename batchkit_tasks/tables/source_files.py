"""Which files make up a source, of which kind they are, and whether they have changed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast

from batchkit_tasks.errors import SourceError
from batchkit_tasks.ground import storage
from batchkit_tasks.records import SourceFile

KINDS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".parq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""The kinds that are read, by suffix."""

_COMPRESSIONS: Final[dict[str, Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""What CSV and JSON Lines may be compressed with, by a second suffix."""

_READABLE: Final = (
    "Parquet (.parquet, .pq), CSV (.csv, .tsv) and JSON Lines (.jsonl, .ndjson) are read, "
    "the last two also with .gz, .bz2 or .xz."
)

_VERSION_KEYS: Final = ("ETag", "etag", "e_tag", "md5Hash", "mtime", "LastModified")
_MAGIC: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a source, as they are now."""

    url: str
    """Absolute."""
    kind: str
    files: tuple[SourceFile, ...]
    """In the order of their names; `rows` is -1."""
    fs: Any
    paths: tuple[str, ...]


def list_source(url: str, options: dict[str, Any] | None = None) -> Listing:
    """Find the files that are one table: a file, a folder's files, or a glob's.

    Hidden names and names that start with `_` are passed over, as Spark and Arrow do.

    Raises:
        SourceError: There is no such file, or the files are not of one known kind.
    """
    try:
        fs, path = storage.filesystem(url, options)
        fs.invalidate_cache()
        paths = _paths(fs, path, url)
        kind = _common_kind(paths, url)
        files = tuple(_source_file(fs, path) for path in paths)
    except SourceError:
        raise
    except ImportError as error:
        raise SourceError(url, f"its filesystem is not installed: {error}.") from None
    except Exception as error:  # the libraries of stores raise errors of their own
        raise SourceError(url, f"it cannot be opened: {error}.") from error
    return Listing(storage.full_url(fs, path), kind, files, fs, tuple(paths))


def open_text(fs: Any, path: str) -> IO[bytes]:
    """Open a CSV or JSON Lines file for reading, without its compression."""
    raw = fs.open(path, "rb")
    opener = _COMPRESSIONS.get(PurePosixPath(path).suffix.lower())
    return raw if opener is None else opener(raw, "rb")


def delimiter(path: str) -> str:
    """Give what separates the fields of a CSV file, by its name."""
    return "\t" if ".tsv" in PurePosixPath(path.lower()).suffixes else ","


def _paths(fs: Any, path: str, url: str) -> list[str]:
    if fs.isfile(path):
        return [path]
    if fs.isdir(path):
        return _folder_paths(fs, path, url)
    if _MAGIC.isdisjoint(path):
        raise SourceError(
            url,
            "there is no such file or folder, seen from where the run is; check the path.",
        )
    base = _fixed_part(path)
    found = cast("list[str]", fs.glob(path))
    paths = sorted(p for p in found if not _is_hidden(p[len(base) :]) and fs.isfile(p))
    if not paths:
        raise SourceError(url, "no file matches.")
    return paths


def _folder_paths(fs: Any, path: str, url: str) -> list[str]:
    entries = cast("list[dict[str, Any]]", fs.ls(path, detail=True))
    here = path.rstrip("/")
    seen = [e for e in entries if e["name"].rstrip("/") != here]
    seen = [e for e in seen if not _is_hidden(_name(e["name"]))]
    for entry in seen:
        if fs.isdir(entry["name"]):
            raise SourceError(
                url,
                f"it holds the folder {_name(entry['name'])}, and folders in folders are "
                f"not one table. Name the files: {url.rstrip('/')}/*.parquet, or "
                "**/*.parquet for those below too.",
            )
    if not seen:
        raise SourceError(url, "the folder holds no files.")
    return sorted(e["name"] for e in seen)


def _fixed_part(path: str) -> str:
    """Give the folders of a glob before its first wildcard."""
    first = min(path.index(sign) for sign in _MAGIC if sign in path)
    return path[: path.rfind("/", 0, first) + 1]


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/") if part)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _common_kind(paths: list[str], url: str) -> str:
    kinds = {path: _kind(path, url) for path in paths}
    first = paths[0]
    for path, kind in kinds.items():
        if kind != kinds[first]:
            raise SourceError(
                url,
                f"it mixes kinds: {_name(first)} is {kinds[first]}, {_name(path)} is "
                f"{kind}. Name the files of one kind by a glob, such as *.{kind}.",
            )
    return kinds[first]


def _kind(path: str, url: str) -> str:
    name = PurePosixPath(_name(path).lower())
    plain = PurePosixPath(name.stem) if name.suffix in _COMPRESSIONS else name
    kind = KINDS.get(plain.suffix)
    if kind is None or (kind == "parquet" and plain != name):
        raise SourceError(url, f"{_name(path)} is of an unknown kind. {_READABLE}")
    return kind


def _source_file(fs: Any, path: str) -> SourceFile:
    info = cast("dict[str, Any]", fs.info(path))
    size = -1 if info.get("size") is None else int(info["size"])
    return SourceFile(storage.full_url(fs, path), size, _version(fs, path, info), -1)


def _version(fs: Any, path: str, info: dict[str, Any]) -> str:
    for key in _VERSION_KEYS:
        if info.get(key):
            return str(info[key])
    try:
        return fs.modified(path).isoformat()
    except (NotImplementedError, AttributeError, KeyError):
        return ""
