"""Checks of an SDP offer: bounds on its text before anything parses it, then what aiortc needs for a connection.

A hostile offer is cheap to write and expensive to parse: five thousand candidates block an event loop for ten seconds.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aioice.ice import get_host_addresses
from aiortc.sdp import MediaDescription, SessionDescription

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.ice_servers import IceServer
from pp1_orchestrator.media.loopback import LOCAL_NAMES
from pp1_orchestrator.media.media_settings import PeerLimits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
CANDIDATE_FIELDS = 8
MAX_PORT, PORT_DIGITS = 65535, 5
TRANSLATED = [ipaddress.IPv6Network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "::/96")]
"""IPv6 networks that stand for IPv4 addresses: 6to4, Teredo, NAT64 and IPv4-compatible."""


@dataclass(frozen=True, slots=True)
class ViewerAddresses:
    """The addresses that one viewer's media may use.

    offered: local addresses to offer as candidates; None: all but loopback. own: the addresses of this machine, if
    packets must not leave it; None: they may. servers: STUN and TURN servers that are asked for more candidates.
    """

    offered: list[str] | None
    own: frozenset[str] | None
    servers: Sequence[IceServer] = ()

    @property
    def only_relays(self) -> bool:
        """Whether of the servers only relays are of use: what they find out of this machine's address is not."""
        return self.own is not None

    @property
    def relayed(self) -> bool:
        """Whether there is a TURN server."""
        return any(url.relays for server in self.servers for url in server.asked(self.only_relays))

    def accepts(self, host: str, relay: str | None = None) -> bool:
        """Whether a viewer's candidate at this address may be used.

        relay: the address of a relay, if packets go through it: they leave this machine for nobody but the TURN server.
        """
        address = _address(host)
        if address is None:
            return False
        if relay is not None:
            return address == _address(relay) or _is_public(address)
        if self.own is not None:
            return address.is_loopback or str(address) in self.own
        return _is_public(address)

    def keeps(self, host: str) -> bool:
        """Whether a viewer's candidate may stay in its offer. Where there is a relay, its address is not known yet."""
        return self.accepts(host) or (self.relayed and _address(host) is not None)

    def hears(self, host: str, relay: str | None = None) -> bool:
        """Whether a datagram from this address may be looked at."""
        return (relay is None and self.own is None) or self.accepts(host, relay)


@dataclass(frozen=True, slots=True)
class CandidatePolicy:
    """Which ICE candidates are used, depending on the server's bind address.

    Bound to loopback: only addresses of this machine on both sides, so that nothing leaves it. Loopback alone is not
    enough, because Firefox neither offers nor accepts it. Bound elsewhere: only public addresses, so that an offer
    can't make this machine send anything to its own network or to itself. Names are never looked up. A browser on the
    same network, or one that hides its address behind a name, is found by its own connectivity checks.

    With a TURN server, packets may also go through it, to public addresses and to relays at the same address.
    """

    bind_host: str
    """An address, or localhost."""
    servers: tuple[IceServer, ...] = ()

    def for_viewer(self) -> ViewerAddresses:
        """For a new viewer: this machine's addresses may change."""
        return replace(self._own_addresses(), servers=self.servers)

    def _own_addresses(self) -> ViewerAddresses:
        address = ipaddress.ip_address(LOCAL_NAMES.get(self.bind_host, self.bind_host))
        if not address.is_loopback:
            return ViewerAddresses(None if address.is_unspecified else [str(address)], None)
        own = list(map(str, map(ipaddress.ip_address, get_host_addresses(use_ipv4=True, use_ipv6=True))))
        return ViewerAddresses([str(address), *own], frozenset(own))


def _address(host: str) -> Address | None:
    """None for a name."""
    try:
        address: Address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not _translated(address)


def _translated(address: Address) -> bool:
    """Whether an IPv6 address stands for an IPv4 address, which may be private, or is of the deprecated site scope."""
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return address.is_site_local or any(address in network for network in TRANSLATED)


def filter_offer(offer: str, limits: PeerLimits, addresses: ViewerAddresses) -> str:
    """Check the offer's text, and remove the candidates that are refused. Raises RequestError 400 or 413.

    The end-of-candidates mark is removed too: the viewer's own checks may still reveal an address that can be used.
    """
    if len(offer.encode("utf-8", "replace")) > limits.offer_bytes:
        raise RequestError(f"the offer is longer than {limits.offer_bytes} bytes", status=413)
    lines = offer.splitlines()
    if not lines or not lines[0].startswith("v="):
        raise RequestError("the offer is not SDP: it must start with v=", status=400)
    sections = sum(line.startswith("m=") for line in lines)
    if sections > limits.media_sections:
        raise RequestError(f"the offer has {sections} media sections, at most {limits.media_sections}", status=400)
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    if len(candidates) > limits.candidates:
        raise RequestError(f"the offer has {len(candidates)} candidates, at most {limits.candidates}", status=400)
    removed = {line for line in candidates if not _is_usable(line, addresses)} | {"a=end-of-candidates"}
    return "\r\n".join(line for line in lines if line not in removed) + "\r\n"


def _is_usable(line: str, addresses: ViewerAddresses) -> bool:
    fields = line.split()
    if len(fields) < CANDIDATE_FIELDS:
        raise RequestError("the offer has a malformed candidate", status=400)
    component, transport, host, port = fields[1], fields[2], fields[4], fields[5]
    return component == "1" and transport.lower() == "udp" and _is_port(port) and addresses.keeps(host)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= PORT_DIGITS and 0 < int(text) <= MAX_PORT


def check_description(offer: str) -> None:
    """Raises RequestError 400 for an offer of one section that can't be parsed, or that breaks aiortc after its answer.

    aiortc answers an offer without a fingerprint and fails later, in a task.
    """
    try:
        description = SessionDescription.parse(offer)
    except Exception as error:  # a request's boundary: the parser raises anything for a bad offer
        raise RequestError(f"the offer can't be read ({type(error).__name__})", status=400) from error
    for section in description.media:
        missing = _missing(section)
        if missing:
            raise RequestError(f"the video section of the offer has no {missing}", status=400)


def _missing(section: MediaDescription) -> str | None:
    if section.dtls is None or not section.dtls.fingerprints:
        return "fingerprint"
    if section.ice is None or not section.ice.usernameFragment or not section.ice.password:
        return "ICE credentials"
    return None
