"""A made-up value that fits a JSON Schema.

A schema is turned into nested makers once and these are kept, because a batch sends
the same schema with each of its requests. What structured outputs do not allow (`not`,
`if`, arbitrary patterns) is passed over: the value then fits the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from batchkit_tasks.sandbox.formats import fitting_string
from batchkit_tasks.sandbox.seeds import Seed

Maker = Callable[[Seed, int], Any]
"""Makes one value; the number is how deep the value is nested."""

DEEPEST: Final = 6
"""Nesting at which optional parts are left out, so that recursive schemas end."""


def fitting_value(schema: Mapping[str, Any], seed: Seed) -> Any:
    """Return a value of the schema: the same for the same seed."""
    return _maker_of_json(msgspec.json.encode(schema))(seed, 0)


@lru_cache(maxsize=256)
def _maker_of_json(written: bytes) -> Maker:
    """Return the maker of a whole schema."""
    root = msgspec.json.decode(written)
    return _Makers(root).maker(root)


class _Makers:
    """Builds the makers of one root schema, each `$ref` once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._of_ref: dict[str, Maker] = {}

    def maker(self, schema: Any) -> Maker:
        """Return the maker of one subschema."""
        if not isinstance(schema, dict):  # `true` and nonsense: anything fits
            return _text_maker({})
        if "$ref" in schema:
            return self._ref(str(schema["$ref"]))
        if "const" in schema:
            return _constant(schema["const"])
        if schema.get("enum"):
            return _choice(list(schema["enum"]))
        if schema.get("allOf"):
            return self.maker(self._merged(schema))
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self._union(schema, list(schema[union]))
        return self._typed(schema)

    def _ref(self, ref: str) -> Maker:
        """Return a maker that looks its target up when it is first used."""

        def make(seed: Seed, depth: int) -> Any:
            if ref not in self._of_ref:
                self._of_ref[ref] = self.maker(self._resolve(ref))
            return self._of_ref[ref](seed, depth + 1)

        return make

    def _resolve(self, ref: str) -> Any:
        """Follow a local pointer (`#/$defs/Name`)."""
        target = self._root
        for step in ref.lstrip("#").strip("/").split("/"):
            if step:
                name = step.replace("~1", "/").replace("~0", "~")
                target = target[name] if isinstance(target, dict) else {}
        return target

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Fold `allOf` into one schema: properties add up, other keywords override."""
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            while isinstance(part, dict) and "$ref" in part:
                part = self._resolve(str(part["$ref"]))
            if not isinstance(part, dict):
                continue
            if "allOf" in part:
                part = self._merged(part)
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _union(self, schema: dict[str, Any], branches: list[Any]) -> Maker:
        """Choose a branch; when deep, the flattest one."""
        shared = {
            key: value
            for key, value in schema.items()
            if key not in ("anyOf", "oneOf", "$defs", "definitions")
        }
        makers = [self.maker(_with_shared(shared, branch)) for branch in branches]
        flattest = min(range(len(branches)), key=lambda at: _weight(branches[at]))

        def make(seed: Seed, depth: int) -> Any:
            at = seed.below(len(makers))
            return makers[flattest if depth >= DEEPEST else at](seed, depth)

        return make

    def _typed(self, schema: dict[str, Any]) -> Maker:
        """Return the maker for a schema's `type`; without one, what its keys say."""
        schema = {**described_bounds(schema.get("description")), **schema}
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union({}, [{**schema, "type": one} for one in kind])
        if kind is None:
            kind = _guessed_type(schema)
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "integer":
                return _integer_maker(schema)
            case "number":
                return _number_maker(schema)
            case "boolean":
                return lambda seed, depth: seed.below(2) == 1
            case "null":
                return _constant(None)
            case _:
                return _text_maker(schema)

    def _object(self, schema: dict[str, Any]) -> Maker:
        """Make every property; when deep, only the required ones."""
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        named = {name: self.maker(sub) for name, sub in properties.items()}
        for name in sorted(required - named.keys()):
            named[name] = _text_maker({})

        def make(seed: Seed, depth: int) -> Any:
            return {
                name: maker(seed, depth + 1)
                for name, maker in named.items()
                if depth < DEEPEST or name in required
            }

        return make

    def _array(self, schema: dict[str, Any]) -> Maker:
        """Make one to three elements within the limits; when deep, the fewest."""
        fewest = int(schema.get("minItems", 0))
        most = max(fewest, int(schema.get("maxItems", max(3, fewest))))
        first = [self.maker(sub) for sub in schema.get("prefixItems") or ()]
        rest = self.maker(schema.get("items", {}))
        unique = bool(schema.get("uniqueItems"))
        if schema.get("items") is False:
            most = min(most, len(first))

        def make(seed: Seed, depth: int) -> Any:
            usual = max(fewest, min(most, max(len(first), 1) + seed.below(3)))
            length = fewest if depth >= DEEPEST else usual
            made: list[Any] = []
            for at in range(length * 20 if unique else length):
                value = (first[at] if at < len(first) else rest)(seed, depth + 1)
                if not (unique and value in made):
                    made.append(value)
                if len(made) == length:
                    break
            return made

        return make


_BOUNDS: Final = re.compile(r"\{([A-Za-z]+: [^{}]*)\}\s*$")
_BOUND: Final = re.compile(r'([A-Za-z]+): ("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^,]+)(?:, |$)')


def described_bounds(description: object) -> dict[str, Any]:
    """Read the bounds that clients put at the end of a description.

    Structured outputs take no `minimum`, `maxLength` and the like, so the SDK moves
    them there as `{minimum: 0, maximum: 1}`: a model reads and mostly keeps them.
    """
    found = _BOUNDS.search(description) if isinstance(description, str) else None
    bounds: dict[str, Any] = {}
    for key, value in _BOUND.findall(found[1]) if found else ():
        try:
            bounds[key] = msgspec.json.decode(value.encode())
        except msgspec.DecodeError:
            return {}
    return bounds


def _with_shared(shared: dict[str, Any], branch: Any) -> Any:
    """Give a union's branch the keywords that stand beside the union."""
    if not shared or not isinstance(branch, dict) or "$ref" in branch:
        return branch
    merged = {**shared, **branch}
    if "properties" in shared and "properties" in branch:
        merged["properties"] = {**shared["properties"], **branch["properties"]}
        merged["required"] = [*shared.get("required", []), *branch.get("required", [])]
    return merged


def _weight(branch: Any) -> int:
    """Order branches by how much deeper they can go."""
    if not isinstance(branch, dict):
        return 1
    if "$ref" in branch:
        return 3
    return {"object": 3, "array": 2, "null": 0}.get(str(branch.get("type")), 1)


def _guessed_type(schema: dict[str, Any]) -> str:
    """Name the type of a schema that has none, by its keywords."""
    for kind, keywords in (
        ("object", ("properties", "required", "additionalProperties")),
        ("array", ("items", "prefixItems", "minItems", "maxItems")),
        ("number", ("minimum", "maximum", "multipleOf", "exclusiveMinimum")),
    ):
        if any(keyword in schema for keyword in keywords):
            return kind
    return "string"


def _constant(value: Any) -> Maker:
    return lambda seed, depth: value


def _choice(values: list[Any]) -> Maker:
    return lambda seed, depth: values[seed.below(len(values))]


def _text_maker(schema: dict[str, Any]) -> Maker:
    fewest = int(schema.get("minLength", 0))
    most = schema.get("maxLength")
    named, pattern = schema.get("format"), schema.get("pattern")
    return lambda seed, depth: fitting_string(seed, fewest, most, named, pattern)


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    """Return the smallest and largest value; exclusive limits are one step inside."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = above + step if low is None else max(low, above + step)
    if (under := schema.get("exclusiveMaximum")) is not None:
        high = under - step if high is None else min(high, under - step)
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    if high is None:
        high = max(100, low + 100)
    return low, high


def _integer_maker(schema: dict[str, Any]) -> Maker:
    step = max(1, math.ceil(schema.get("multipleOf") or 1))
    low, high = _bounds(schema, 1)
    first, last = math.ceil(low / step), math.floor(high / step)
    return lambda seed, depth: (first + seed.below(last - first + 1)) * step


def _number_maker(schema: dict[str, Any]) -> Maker:
    if multiple := schema.get("multipleOf"):
        low, high = _bounds(schema, multiple)
        first, last = math.ceil(low / multiple), math.floor(high / multiple)
        return lambda seed, depth: (first + seed.below(last - first + 1)) * multiple
    low, high = _bounds(schema, 0)
    width = high - low

    def make(seed: Seed, depth: int) -> float:
        # 1 to 999 thousandths of the way: never on an exclusive limit.
        value = low + width * ((1 + seed.below(999)) / 1000)
        return round(value, 4) if width >= 0.01 else value

    return make
