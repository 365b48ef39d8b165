"""Certificates for the hosts of AWS that the practice cluster stands in for.

Knows X.509 and which hosts are AWS's. Never knows connections.
"""

from __future__ import annotations

import datetime
import os
import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "is_aws"]

_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "api.aws")
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:{'|'.join(map(re.escape, _DOMAINS))})")
_LONGEST_HOST = 253
_VALIDITY = datetime.timedelta(days=30)
_SLACK = datetime.timedelta(hours=1)  # for a client whose clock is slow
_KEPT = 256  # contexts; each bucket may be a host of its own


def is_aws(host: str) -> bool:
    """Whether a host, in small letters, is one of AWS's API endpoints."""
    return len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None


class Authority:
    """A certificate authority of one practice cluster's own, for hosts of AWS only.

    Its keys are in this process's memory and nowhere else.

    Attributes:
        pem: its certificate, for clients that are to trust it.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._host_key = ec.generate_private_key(ec.SECP256R1())
        title = "ecs-exec-magic practice cluster"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        self._began = datetime.datetime.now(datetime.timezone.utc)
        domains = [x509.DNSName(domain) for domain in _DOMAINS]
        certificate = (
            self._certificate(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(for_certificates=True), critical=True)
            .add_extension(x509.NameConstraints(domains, None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, host: str) -> ssl.SSLContext:
        """What a server needs to be this host of AWS.

        Raises:
            ValueError: the host is not AWS's.
        """
        if not is_aws(host):
            raise ValueError("the host is not AWS's")
        if host not in self._contexts:
            while len(self._contexts) >= _KEPT:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[host] = self._make_context(host)
        return self._contexts[host]

    def _make_context(self, host: str) -> ssl.SSLContext:
        certificate = (
            self._certificate(x509.Name([]), self._host_key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(for_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        key = self._host_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # OpenSSL reads them from files only; a pipe is one that never is on a disk.
        pipes = [_pipe(certificate.public_bytes(Encoding.PEM)), _pipe(key)]
        try:
            context.load_cert_chain(*(f"/dev/fd/{pipe}" for pipe in pipes))
        finally:
            for pipe in pipes:
                os.close(pipe)
        return context

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        """What all certificates have."""
        ours = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._began - _SLACK)
            .not_valid_after(self._began + _VALIDITY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )


def _usage(*, for_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=for_certificates,
        crl_sign=for_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pipe(content: bytes) -> int:
    """The end to read of a pipe that holds this and no more."""
    reader, writer = os.pipe()
    os.write(writer, content)  # far less than any pipe holds
    os.close(writer)
    return reader
