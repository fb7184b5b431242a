"""Which hosts are this machine alone. Imports nothing of WebRTC: it is asked before anything slow."""

import ipaddress

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = {"localhost": LOOPBACK}


def is_loopback_host(host: str) -> bool:
    """Whether a bind address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(LOCAL_NAMES.get(host, host)).is_loopback
    except ValueError:
        return False
