"""Checks of an SDP offer: bounds on its text before anything parses it, then what aiortc needs for a connection.

A hostile offer is cheap to write and expensive to parse: five thousand candidates block an event loop for ten seconds.
"""

import ipaddress
from dataclasses import dataclass

from aiortc.sdp import MediaDescription, SessionDescription

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.media_settings import PeerLimits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOPBACK = "127.0.0.1"
LOCAL_NAMES = {"localhost": LOOPBACK}
MEDIA_KINDS = ("audio", "video")
CANDIDATE_FIELDS = 8
MAX_PORT, PORT_DIGITS = 65535, 5
TRANSLATED = [ipaddress.IPv6Network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "::/96")]
"""IPv6 networks that stand for IPv4 addresses: 6to4, Teredo, NAT64 and IPv4-compatible."""


def is_loopback_host(host: str) -> bool:
    """Whether a bind address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(LOCAL_NAMES.get(host, host)).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class CandidatePolicy:
    """Which ICE candidates are used, depending on the server's bind address.

    Bound to loopback: only loopback on both sides, so that nothing leaves the machine. Bound elsewhere: only public
    addresses, so that an offer can't make this machine send anything to its own network or to itself. Names are never
    looked up. A browser on the same network, or one that hides its address behind a name, is found by its own
    connectivity checks.
    """

    bind_host: str
    """An address, or localhost."""

    @property
    def local_addresses(self) -> list[str] | None:
        """Addresses to offer; None: all but loopback."""
        address = ipaddress.ip_address(LOCAL_NAMES.get(self.bind_host, self.bind_host))
        return None if address.is_unspecified else [str(address)]

    def accepts(self, host: str) -> bool:
        """Whether a viewer's candidate at this address may be used."""
        try:
            address: Address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if is_loopback_host(self.bind_host):
            return address.is_loopback
        return address.is_global and not address.is_multicast and not _translated(address)


def _translated(address: Address) -> bool:
    """Whether an IPv6 address stands for an IPv4 address, which may be private, or is of the deprecated site scope."""
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return address.is_site_local or any(address in network for network in TRANSLATED)


def filter_offer(offer: str, limits: PeerLimits, policy: CandidatePolicy) -> str:
    """Check the offer's text, and remove the candidates that the policy refuses. Raises RequestError 400 or 413.

    The end-of-candidates mark is removed too: the viewer's own checks may still reveal an address that can be used.
    """
    if len(offer.encode("utf-8", "replace")) > limits.offer_bytes:
        raise RequestError(f"the offer is longer than {limits.offer_bytes} bytes", status=413)
    lines = offer.splitlines()
    if not lines or not lines[0].startswith("v="):
        raise RequestError("the offer is not SDP: it must start with v=", status=400)
    _check_sections([line[2:] for line in lines if line.startswith("m=")], limits)
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    if len(candidates) > limits.candidates:
        raise RequestError(f"the offer has {len(candidates)} candidates, at most {limits.candidates}", status=400)
    removed = {line for line in candidates if not _is_usable(line, policy)} | {"a=end-of-candidates"}
    return "\r\n".join(line for line in lines if line not in removed) + "\r\n"


def _check_sections(sections: list[str], limits: PeerLimits) -> None:
    kinds = [section.split(" ", 1)[0] for section in sections]
    if len(kinds) > limits.media_sections:
        raise RequestError(f"the offer has {len(kinds)} media sections, at most {limits.media_sections}", status=400)
    for kind in kinds:
        if kind not in MEDIA_KINDS:
            raise RequestError(f"the offer has a section {kind[:20]!r}; only audio and video are taken", status=400)
    if "video" not in kinds:
        raise RequestError("the offer has no video section", status=400)


def _is_usable(line: str, policy: CandidatePolicy) -> bool:
    fields = line.split()
    if len(fields) < CANDIDATE_FIELDS:
        raise RequestError("the offer has a malformed candidate", status=400)
    component, transport, host, port = fields[1], fields[2], fields[4], fields[5]
    return component == "1" and transport.lower() == "udp" and _is_port(port) and policy.accepts(host)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= PORT_DIGITS and 0 < int(text) <= MAX_PORT


def check_description(offer: str) -> None:
    """Raises RequestError 400 for a filtered offer that can't be parsed, or that breaks aiortc only after its answer.

    aiortc answers an offer without a fingerprint and fails later, in a task. A bundle of sections that don't exist, or
    two sections with the same name, leave a connection that can't be closed.
    """
    try:
        description = SessionDescription.parse(offer)
    except Exception as error:  # a request's boundary: the parser raises anything for a bad offer
        raise RequestError(f"the offer can't be read ({type(error).__name__})", status=400) from error
    for number, section in enumerate(description.media):
        missing = _missing(section)
        if missing:
            raise RequestError(f"section {number} of the offer has no {missing}", status=400)
    mids = [section.rtp.muxId for section in description.media]
    if len(set(mids)) < len(mids):
        raise RequestError("two sections of the offer have the same mid", status=400)
    bundled = [str(mid) for group in description.group if group.semantic == "BUNDLE" for mid in group.items]
    for number, mid in enumerate(bundled):
        if mid not in mids or mid in bundled[:number]:
            raise RequestError(f"the offer bundles {mid[:20]!r}, which is none of its sections, or twice", status=400)


def _missing(section: MediaDescription) -> str | None:
    if section.dtls is None or not section.dtls.fingerprints:
        return "fingerprint"
    if section.ice is None or not section.ice.usernameFragment or not section.ice.password:
        return "ICE credentials"
    return None
