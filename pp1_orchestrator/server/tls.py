"""The server's own TLS: a certificate and key from files, or a self-signed pair that is made on request."""

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.user_paths import user_path

Tls = Literal["self_signed"]
VALID = datetime.timedelta(days=397)
CERT, KEY = "tls_cert.pem", "tls_key.pem"
PEM = serialization.Encoding.PEM


def tls_context(tls: Tls | None, cert: str | None, key: str | None, host: str, out: Path) -> ssl.SSLContext | None:
    """What `serving.tls…` asks for; None: plain HTTP. A pair that is made is for `host`, and new in each run's folder
    `out`. Raises ConfigError that names the key, its value and what is wrong."""
    if tls == "self_signed":
        if cert or key:
            raise ConfigError("serving.tls=self_signed: makes a pair; not with serving.tls_cert or serving.tls_key")
        return _load(*make_pair(host, out), "serving.tls=self_signed")
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        given, missing = ("tls_cert", "tls_key") if key is None else ("tls_key", "tls_cert")
        raise ConfigError(f"serving.{missing}=null: needed together with serving.{given}")
    paths = user_path(cert), user_path(key)
    for name, path in zip(("tls_cert", "tls_key"), paths, strict=True):
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a device has no end, and a pipe is read once
                raise ConfigError(f"serving.{name}={path}: can't be read: not a file")
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"serving.{name}={path}: can't be read: {error.strerror}") from error
    return _load(*paths, f"serving.tls_cert={cert}, serving.tls_key={key}")


def _load(cert: Path, key: Path, named: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:  # without it, OpenSSL would ask for a passphrase on the terminal, and wait
        raise ConfigError(f"{named}: the key must not need a passphrase")

    try:
        context.load_cert_chain(cert, key, refuse)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"{named}: no certificate and key in PEM that belong together ({_reason(error)})") from error
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__


def make_pair(host: str, folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for a host and this machine's names, and its key, which only its owner reads."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "PP1 Orchestrator")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + VALID)
    builder = builder.add_extension(x509.SubjectAlternativeName(list(_names(host))), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        with open(folder / KEY, "wb", opener=_private) as file:
            file.write(secret)
        (folder / CERT).write_bytes(certificate.public_bytes(PEM))
    except OSError as error:
        raise ConfigError(f"serving.tls=self_signed: {folder} can't be written: {error.strerror}") from error
    return folder / CERT, folder / KEY


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _names(host: str) -> Iterator[x509.GeneralName]:
    """Names under which this machine may be asked: `host`, its own name, and the addresses of its interfaces."""
    interfaces = [each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found]
    for text in dict.fromkeys([host, "localhost", socket.gethostname(), *interfaces]):
        with contextlib.suppress(ValueError):
            yield x509.IPAddress(ipaddress.ip_address(text))
            continue
        with contextlib.suppress(ValueError):  # not ASCII
            if ":" not in text and text:  # no hardware address
                yield x509.DNSName(text)
