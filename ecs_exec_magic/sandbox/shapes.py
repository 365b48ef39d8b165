"""Values held to botocore's service models: parameters that came, answers that go.

Knows shapes, constraints and AWS's texts about them. Never knows a wire form or an operation.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Models", "problem", "shaped"]

_MOST_SHOWN = 10


class Models:
    """botocore's service models by signing name; each is read once, at its first use."""

    _NAMES = {  # noqa: RUF012
        "monitoring": "cloudwatch",
        "servicequotas": "service-quotas",
        "tagging": "resourcegroupstaggingapi",
    }

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._loader: Any = None

    def __contains__(self, service: str) -> bool:
        return service in self._known

    def get(self, service: str) -> Any:
        """The ServiceModel, or None when botocore knows no such service."""
        if service not in self._known:
            from botocore.exceptions import DataNotFoundError, UnknownServiceError
            from botocore.loaders import Loader
            from botocore.model import ServiceModel

            self._loader = self._loader or Loader()
            name = self._NAMES.get(service, service)
            model = None
            if re.fullmatch(r"[a-z0-9-]+", name):
                try:
                    description = self._loader.load_service_model(name, "service-2")
                    model = ServiceModel(description, name)
                except (DataNotFoundError, UnknownServiceError):
                    model = None
            self._known[service] = model
        return self._known[service]

    def operation(self, service: str, name: str) -> Any:
        """The OperationModel, or None when there is no such operation."""
        model = self.get(service)
        if model is None or not name or name not in model.operation_names:
            return None
        return model.operation_model(name)


def problem(given: dict[str, Any], shape: Any, *, strict: bool = True) -> str:
    """What is wrong with an operation's parameters, in AWS's form; empty when nothing is.

    Args:
        given: the parameters.
        shape: the operation's input.
        strict: whether enums, lengths and patterns count too, or types and required members only.
    """
    if shape is None:
        return ""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(_with_bytes(given, shape), shape)
    if report.has_errors():
        return str(report.generate_report())
    if not strict:
        return ""
    found = []
    for text in _violations(given, shape, ""):
        found.append(text)
        if len(found) == _MOST_SHOWN:
            break
    if not found:
        return ""
    noun = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {noun} detected: " + "; ".join(found)


def _with_bytes(value: Any, shape: Any) -> Any:
    """Blobs travel as base64 text; botocore's validator wants bytes."""
    if shape.type_name == "structure" and isinstance(value, dict):
        known = shape.members
        return {k: _with_bytes(v, known[k]) if k in known else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_with_bytes(v, shape.member) for v in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {k: _with_bytes(v, shape.value) for k, v in value.items()}
    return value.encode() if shape.type_name == "blob" and isinstance(value, str) else value


def _violations(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Constraints of the model that botocore's own validator does not check."""
    kind = shape.type_name
    if kind == "structure":
        for name, member in shape.members.items():
            if value.get(name) is not None:
                inner = name[:1].lower() + name[1:]
                yield from _violations(value[name], member, f"{path}.{inner}" if path else inner)
        return
    if kind == "list":
        yield from _size(len(value), value, shape, path, "length")
        for index, item in enumerate(value, 1):
            yield from _violations(item, shape.member, f"{path}.{index}.member")
    elif kind == "map":
        yield from _size(len(value), value, shape, path, "length")
        for key, item in value.items():
            yield from _violations(key, shape.key, f"{path}.key")
            yield from _violations(item, shape.value, f"{path}.{key}.member")
    elif kind == "string":
        if getattr(shape, "enum", None):
            if value not in shape.enum:
                known = ", ".join(shape.enum)
                yield _failed(value, path, f"satisfy enum value set: [{known}]", shape)
            return
        yield from _size(len(value), value, shape, path, "length")
        pattern = shape.metadata.get("pattern")
        if pattern and not _matches(pattern, value):
            yield _failed(value, path, f"satisfy regular expression pattern: {pattern}", shape)
    elif kind in ("integer", "long", "float", "double"):
        yield from _size(value, value, shape, path, "value")


def _size(size: float, value: Any, shape: Any, path: str, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _failed(value, path, f"have {what} greater than or equal to {least}", shape)
    if most is not None and size > most:
        yield _failed(value, path, f"have {what} less than or equal to {most}", shape)


def _failed(value: Any, path: str, rule: str, shape: Any) -> str:
    secret = shape.metadata.get("sensitive")
    shown = "Value" if secret else f"Value '{str(value)[:200]}'"
    return f"{shown} at '{path}' failed to satisfy constraint: Member must {rule}"


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None  # Java's own syntax, that Python does not have


def _matches(pattern: str, value: str) -> bool:
    """A pattern without anchors means the whole value, as AWS takes it."""
    found = _compiled(pattern)
    if found is None:
        return True
    anchored = pattern.startswith(("^", "(^"))
    return (found.search(value) if anchored else found.fullmatch(value)) is not None


_PLAIN = {
    "string": (str,),
    "character": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


def shaped(value: Any, shape: Any, path: str) -> Any:
    """An answer as JSON has it, held to the model.

    Raises:
        TypeError: the answer has an unknown member or a value of a wrong type: an error of ours.
    """
    kind = shape.type_name
    if kind == "structure":
        unknown = set(value) - set(shape.members)
        if unknown:
            raise TypeError(f"{path} has no member {', '.join(sorted(unknown))}")
        members = shape.members
        return {k: shaped(v, members[k], f"{path}.{k}") for k, v in value.items() if v is not None}
    if kind == "list":
        return [shaped(v, shape.member, f"{path}[]") for v in value]
    if kind == "map":
        return {k: shaped(v, shape.value, f"{path}.{k}") for k, v in value.items()}
    if kind == "timestamp":
        if isinstance(value, datetime):
            value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return round(value.timestamp(), 3)
        return round(float(value), 3)
    if kind == "blob":
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        kind = "string"
    wanted = _PLAIN.get(kind)
    if wanted is not None and not (
        isinstance(value, wanted) and isinstance(value, bool) is (kind == "boolean")
    ):
        raise TypeError(f"{path} must be {kind}, not {type(value).__name__}")
    return value
