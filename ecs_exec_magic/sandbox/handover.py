"""Requests handed over to the account, and its answers made ready for the wire.

Knows which headers and fields belong to one hop only, and S3's chunked bodies. Never knows what an
operation means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from .account import Unserved
from .protocols import ApiError, Reply
from .uploads import BadChunk, is_chunked, unwrap

if TYPE_CHECKING:
    from .account import Account
    from .front import Aim, Received

__all__ = ["Handover", "identify"]

_HOP = {"host", "connection", "content-length", "transfer-encoding", "expect", "accept-encoding"}
_HOP |= {"te", "upgrade", "keep-alive", "x-moto-account-id", "authorization"}
_SIGNED_QUERY = {"awsaccesskeyid", "signature", "expires"} | {
    f"x-amz-{name}"
    for name in "algorithm credential date expires signedheaders signature security-token".split()
}
_REPLY_HOP = {"content-length", "connection", "transfer-encoding", "date", "server", "status"}
_REPLY_HOP |= {"x-amzn-requestid", "x-amz-request-id", "x-amz-id-2"}
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_REQUEST_ID = re.compile(rb"<([rR]equestI[dD])>[^<]*</")

_S3_UNSERVED = re.compile(
    "Abac|Analytics|Annotation|BucketMetadata|CreateSession|DirectoryBuckets|IntelligentTiering|"
    "Metrics|ObjectEncryption|ObjectRetention|RenameObject|RequestPayment|SelectObject|Torrent"
)


class Handover:
    """Passes requests on to the account.

    Args:
        account: who answers.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    async def pass_on(self, received: Received, aim: Aim, path: str) -> Reply:
        """The account's answer.

        Args:
            received: the request.
            aim: what it asks for.
            path: with the bucket in it, for S3.

        Raises:
            Unserved: the account has no answer.
            ApiError: the framing of a chunked body is broken.
        """
        if aim.service == "s3" and _S3_UNSERVED.search(aim.operation):
            raise Unserved("moto would answer as if the object itself were asked for")
        if aim.service == "ec2":
            await self._account.prepare(aim.region)
        headers, body = _request(received, aim)
        query = "&".join(
            part
            for part in received.target.partition("?")[2].split("&")
            if part
            and not (
                aim.presigned and unquote_plus(part.partition("=")[0]).lower() in _SIGNED_QUERY
            )
        )
        target = (path or received.path or "/") + (f"?{query}" if query else "")
        found = await self._account.relay(
            aim.service, aim.region, received.method, target, headers, body
        )
        kept = {k: v for k, v in found.headers.items() if k.lower() not in _REPLY_HOP}
        if received.method == "HEAD":
            for name, value in found.headers.items():
                if name.lower() == "content-length":
                    kept["Content-Length"] = value
        return Reply(found.status, found.body, kept)


def identify(reply: Reply, aim: Aim, request_id: str) -> None:
    """Put our request id where the client of this protocol looks for it."""
    reply.headers["x-amzn-RequestId"] = request_id
    if aim.service == "s3":
        reply.headers["x-amz-request-id"] = request_id
        reply.headers["x-amz-id-2"] = "sandbox/" + request_id.lower()
    if aim.protocol in ("query", "ec2") or (aim.protocol == "rest-xml" and reply.status >= 400):
        ours = b"<\\1>" + request_id.encode() + b"</"
        reply.body = _REQUEST_ID.sub(ours, reply.body)


def _request(received: Received, aim: Aim) -> tuple[dict[str, str], bytes]:
    headers = {k: v for k, v in received.headers.items() if k.lower() not in _HOP}
    body = received.body
    if aim.service == "s3" and headers.get("content-type", "").startswith(_FORMS):
        headers["content-type"] = "binary/octet-stream"  # moto would take a form's body apart
    if is_chunked(received.headers):
        try:
            upload = unwrap(body)
        except BadChunk as error:
            text = f"The request body terminated unexpectedly: {error}"
            raise ApiError("IncompleteBody", text) from None
        body = upload.body
        headers.update(upload.trailers)
        headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        rest = [
            word.strip()
            for word in headers.pop("content-encoding", "").split(",")
            if word.strip() not in ("", "aws-chunked")
        ]
        if rest:
            headers["content-encoding"] = ",".join(rest)
        for name in ("x-amz-decoded-content-length", "x-amz-trailer"):
            headers.pop(name, None)
    headers["content-length"] = str(len(body))
    # A signature in the query is stated in a header instead: the account reads the key there.
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={aim.access_key}/20200101/{aim.region}/{aim.service}/"
        "aws4_request, SignedHeaders=host, Signature=0"
    )
    return headers, body
