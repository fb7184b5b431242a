"""The images' health check: `python healthcheck.py [PORT]` exits 0 if /healthz says yes, over HTTP or HTTPS.

Python's standard library alone. The certificate is not checked: it is asked whether the server works, not who it is.
"""

import contextlib
import http.client
import ssl
import sys

PORT = 7860
"""The default of `serving.port`."""
TIMEOUT_S = 2.0
OK = 200


def answers(port: int, tls: bool) -> bool:
    """Whether /healthz says yes in this way."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == OK
    return False


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    sys.exit(not any(answers(wanted, tls) for tls in (False, True)))
