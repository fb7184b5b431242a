"""A real nginx with the lines that docs/api.md gives, for one server."""

import contextlib
import datetime
import ipaddress
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.documented import blocks
from tests.system.program import free_port
from tests.timing import scaled

BINARY = shutil.which("nginx", path=f"{Path(__file__).parents[2] / '.venv' / 'bin'}:/usr/sbin:/usr/bin")
COMMON, ROOT, SUB_PATH, OWN_PAGE = (block.code for block in blocks() if block.language == "nginx")
CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/pair.pem; ssl_certificate_key {folder}/pair.pem;
    {lines}
  }}
}}
"""


def make_pair(path: Path) -> None:
    """A key and its certificate for 127.0.0.1, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))


@contextlib.contextmanager
def nginx(folder: Path, server_port: int, *lines: str) -> Iterator[str]:
    """The origin of an nginx with TLS that has these blocks. Skips the test if there is none."""
    if BINARY is None:
        pytest.skip("there is no nginx; scripts/setup.sh test fetches it")
    make_pair(folder / "pair.pem")
    port, text = free_port(), "\n".join(lines).replace("127.0.0.1:7860", f"127.0.0.1:{server_port}")
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, lines=text))
    process = subprocess.Popen([BINARY, "-p", folder, "-c", config, "-e", "stderr"], stderr=subprocess.PIPE, text=True)
    try:
        _await_port(process, port)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def _await_port(process: subprocess.Popen[str], port: int) -> None:
    for _ in range(int(scaled(20) / 0.05)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(process.communicate()[1])
    raise AssertionError("nginx does not listen")
