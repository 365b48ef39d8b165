"""AWS's wire forms: parameters out of requests, answers and errors into them.

Knows JSON, the query protocol and its EC2 kind, REST paths, XML and the one CBOR map of an error.
Never knows what an operation does or who calls.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .front import Aim, Received

__all__ = [
    "ApiError",
    "Reply",
    "answer",
    "failure",
    "match_rest",
    "query_parameters",
    "rest_parameters",
    "told",
]

_DEEPEST = 12
_VALUE = "."
"""Where a node of a form's tree keeps its own text: no part of a name has a dot."""
_XMLNS = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
}
_NUMBER = re.compile("[0-9]{1,6}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class ApiError(Exception):
    """An error answer.

    Args:
        code: AWS's error code.
        message: AWS's own wording where it is known.
        status: the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def told(error: Any) -> ApiError:
    """A ClientError of botocore as an error answer of the same words."""
    said = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return ApiError(str(said["Code"]), str(said.get("Message", "")), status)


@dataclass(slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


# what came


def query_parameters(form: Mapping[str, str], shape: Any) -> dict[str, Any]:
    """Parameters of the query protocol and of its EC2 kind, as the input shape has them.

    Fields that the shape does not know are left out. Numbers stay text where they are none, for
    the validation to name.
    """
    tree: dict[str, Any] = {}
    for name, value in form.items():
        if name in ("Action", "Version"):
            continue
        node, parts = tree, name.split(".")
        for part in parts[:_DEEPEST]:
            node = node.setdefault(part, {})
        node[_VALUE] = value
    found = _from_tree(tree, shape)
    return found if isinstance(found, dict) else {}


def _from_tree(node: dict[str, Any], shape: Any) -> Any:
    if shape.type_name == "structure":
        found = {}
        for name, member in shape.members.items():
            for wire in _wire_names(name, member):
                if wire in node:
                    found[name] = _from_tree(node[wire], member)
                    break
        return found
    if shape.type_name == "list":
        inner = shape.member.serialization.get("name", "member")
        if not shape.serialization.get("flattened"):
            node = node.get(inner, node)
        numbered = sorted((int(k), v) for k, v in node.items() if _NUMBER.fullmatch(k))
        return [_from_tree(v, shape.member) for _, v in numbered]
    if shape.type_name == "map":
        return _map_from_tree(node, shape)
    return _scalar(str(node.get(_VALUE, "")), shape.type_name)


def _wire_names(name: str, member: Any) -> list[str]:
    """The query protocol's name of a member first, then EC2's, which starts with a capital."""
    given = member.serialization.get("name", name)
    queried = member.serialization.get("queryName", "")
    names = [queried, given, given[:1].upper() + given[1:], name]
    if member.type_name == "list" and member.serialization.get("flattened"):
        names.insert(0, member.member.serialization.get("name", ""))
    return [n for n in names if n]


def _map_from_tree(node: dict[str, Any], shape: Any) -> dict[str, Any]:
    key = shape.key.serialization.get("name", "key")
    value = shape.value.serialization.get("name", "value")
    entries = node.get("entry", node)
    return {
        str(entry[key].get(_VALUE, "")): _from_tree(entry[value], shape.value)
        for number, entry in entries.items()
        if _NUMBER.fullmatch(number) and isinstance(entry, dict) and key in entry and value in entry
    }


def _scalar(text: str, kind: str) -> Any:
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        return text
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def match_rest(model: Any, method: str, path: str, query: Mapping[str, str], headers: Any) -> str:
    """The REST operation that a request means, or an empty name.

    Of all operations whose method, path and required fields fit, the one that asks for most wins.
    """
    if query.get("x-id") in model.operation_names:  # some SDKs say it in so many words
        return query["x-id"]
    best, choice = (-1, False, 0), ""
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.http["method"] != method:
            continue
        wanted_path, _, wanted_query = operation.http["requestUri"].partition("?")
        literal = _path_fits(wanted_path, path)
        if literal is None:
            continue
        wanted = dict(part.partition("=")[::2] for part in wanted_query.split("&") if part)
        wanted.pop("x-id", None)
        if any(k not in query or (v and query[k] != v) for k, v in wanted.items()):
            continue
        needed = _needed(operation)
        if any(n not in (query if place == "querystring" else headers) for place, n in needed):
            continue
        score = (literal + 2 * len(wanted) + len(needed), not operation.deprecated, -len(name))
        if score > best:
            best, choice = score, name
    return choice


def _needed(operation: Any) -> list[tuple[str, str]]:
    """Required members of an operation that travel in its query or its headers."""
    shape = operation.input_shape
    found = []
    for name in shape.required_members if shape is not None else ():
        place = shape.members[name].serialization.get("location")
        wire = shape.members[name].serialization.get("name", name)
        if place in ("querystring", "header"):
            found.append((place, wire if place == "querystring" else wire.lower()))
    return found


def _path_fits(wanted: str, path: str) -> int | None:
    """How many literal parts two paths share, or None when they do not fit."""
    parts = wanted.strip("/").split("/")
    if parts[-1].endswith("+}"):
        given = path.lstrip("/").split("/", len(parts) - 1)
    else:
        given = path.strip("/").split("/")
    if len(parts) != len(given):
        return None
    literal = 0
    for part, value in zip(parts, given, strict=True):
        if part.startswith("{"):
            if not value:
                return None
        elif part != value:
            return None
        else:
            literal += bool(part)
    return literal


def rest_parameters(operation: Any, received: Received, path: str) -> dict[str, Any]:
    """What a REST request says in its path, query and headers; the body is left alone."""
    shape = operation.input_shape
    if shape is None:
        return {}
    wanted = operation.http["requestUri"].partition("?")[0].strip("/").split("/")
    greedy = wanted[-1].endswith("+}")
    given = (path.lstrip("/") if greedy else path.strip("/")).split("/", len(wanted) - 1)
    in_path = {
        w.strip("{}+"): unquote(g)
        for w, g in zip(wanted, given, strict=False)
        if w.startswith("{") and g
    }
    query, found = received.query, {}
    for name, member in shape.members.items():
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        source: Mapping[str, str] = {}
        if place == "uri":
            source = in_path
        elif place == "querystring":
            source = query
        elif place == "header":
            source, wire = received.headers, wire.lower()
        if wire in source:
            found[name] = _scalar(source[wire], member.type_name)
    return found


# what goes


def answer(aim: Aim, output: dict[str, Any], shape: Any, request_id: str) -> Reply:
    """A successful answer of a service of ours, from values as JSON has them."""
    if aim.protocol == "query":
        inner = _xml(output, shape) if shape is not None else ""
        name, space = aim.operation, _XMLNS.get(aim.service, "")
        text = (
            f'<{name}Response xmlns="{space}"><{name}Result>{inner}</{name}Result>'
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
            f"</{name}Response>"
        )
        return _reply(200, text, "text/xml", request_id)
    return _reply(200, json.dumps(output), "application/x-amz-json-1.1", request_id)


def _xml(value: Any, shape: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        return "".join(
            f"<{wire}>{_xml(v, member)}</{wire}>"
            for k, v in value.items()
            for member in (shape.members[k],)
            for wire in (member.serialization.get("name", k),)
        )
    if kind == "list":
        wire = shape.member.serialization.get("name", "member")
        return "".join(f"<{wire}>{_xml(v, shape.member)}</{wire}>" for v in value)
    if kind == "map":
        return "".join(
            f"<entry><key>{_text(k)}</key><value>{_xml(v, shape.value)}</value></entry>"
            for k, v in value.items()
        )
    if kind == "timestamp":
        moment = datetime.fromtimestamp(value, timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if kind == "boolean":
        return "true" if value else "false"
    return _text(value)


def _text(value: Any) -> str:
    return escape(_CONTROL.sub("", str(value)))


def failure(aim: Aim, error: ApiError, request_id: str) -> Reply:
    """An error in the form that the caller's SDK reads."""
    code, message = _text(error.code), _text(error.message)
    if aim.protocol == "query":
        kind = "Sender" if error.status < 500 else "Receiver"
        text = (
            f'<ErrorResponse xmlns="{_XMLNS.get(aim.service, "")}"><Error><Type>{kind}</Type>'
            f"<Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _reply(error.status, text, "text/xml", request_id)
    if aim.protocol == "ec2":
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
            f"<Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return _reply(error.status, text, "text/xml", request_id)
    if aim.protocol == "rest-xml":
        inner = f"<Code>{code}</Code><Message>{message}</Message>"
        text = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
        if aim.service != "s3":
            text = (
                f"<ErrorResponse><Error>{inner}</Error><RequestId>{request_id}</RequestId>"
                "</ErrorResponse>"
            )
        text = '<?xml version="1.0" encoding="UTF-8"?>\n' + text
        return _reply(error.status, text, "application/xml", request_id)
    if aim.protocol == "cbor":
        body = _cbor({"__type": error.code, "message": error.message})
        headers = {"smithy-protocol": "rpc-v2-cbor", "x-amzn-RequestId": request_id}
        return Reply(error.status, body, {"Content-Type": "application/cbor", **headers})
    content = json.dumps({"__type": error.code, "message": error.message})
    if aim.protocol == "rest-json":
        reply = _reply(error.status, content, "application/json", request_id)
        reply.headers["x-amzn-ErrorType"] = error.code
        return reply
    return _reply(error.status, content, "application/x-amz-json-1.1", request_id)


def _cbor(fields: dict[str, str]) -> bytes:
    """A CBOR map of texts: all that an error needs."""
    found = bytearray([0xA0 | len(fields)])
    for text in (t for pair in fields.items() for t in pair):
        data = text.encode()
        found += b"\x79" + len(data).to_bytes(2, "big") + data
    return bytes(found)


def _reply(status: int, text: str, content_type: str, request_id: str) -> Reply:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": request_id}
    return Reply(status, text.encode(), headers)
