"""The m-sections of an offer: one of them gets the stream, and the answer rejects the others with port 0.

aiortc only sees the one that is wanted: it would open transports and data channels for the others, and it can't reject
a section. RFC 3264 and RFC 8829 have the rules. RFC 9143 has one more: the first section of a bundle can't be rejected
while others use its transport. Such a section is accepted, and nothing is ever sent in it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pp1_orchestrator.errors import RequestError

NOT_RECEIVING = frozenset({"a=sendonly", "a=inactive"})
TRANSPORT = ("a=ice-", "a=fingerprint:", "a=setup:", "a=candidate:")
"""What a section that is only valid in its bundle leaves to the bundle's first section."""
M_LINE_FIELDS = 4
ANY_PORT = 9
"""Of a section whose addresses are candidates."""


@dataclass(frozen=True, slots=True)
class Section:
    """Its lines, of which the first is `m=kind port protocol formats`."""

    lines: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.lines[0][2:].split(" ", 1)[0]

    @property
    def mid(self) -> str | None:
        return self.value("mid")

    @property
    def rejected(self) -> bool:
        """Whether its own side does not want it. In a bundle, port 0 may also stand for the port of another section."""
        return self.lines[0].split(" ")[1] == "0" and "a=bundle-only" not in self.lines

    @property
    def receives(self) -> bool:
        return not NOT_RECEIVING.intersection(self.lines)

    def value(self, attribute: str) -> str | None:
        """Of an attribute's first line; None without one."""
        prefix = f"a={attribute}:"
        return next((line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)), None)

    def with_port(self, port: int) -> str:
        """Its m-line."""
        kind, _, rest = self.lines[0].split(" ", 2)
        return f"{kind} {port} {rest}"

    def rejection(self) -> list[str]:
        """Its place in the answer."""
        return [self.with_port(0), *self._unused()]

    def carrier(self, transport: Sequence[str]) -> list[str]:
        """Its place in the answer if others use its transport, of which these are our attributes."""
        kind, _, protocol, formats = self.lines[0].split(" ", 3)
        first = formats.split(" ")[0]
        codec = [line for line in self.lines if line.startswith((f"a=rtpmap:{first} ", "a=sctp-port:", "a=rtcp-mux"))]
        return [f"{kind} {ANY_PORT} {protocol} {first}", *self._unused(), *codec, *transport]

    def _unused(self) -> list[str]:
        return ["c=IN IP4 0.0.0.0", "a=inactive", *(f"a=mid:{mid}" for mid in (self.mid,) if mid is not None)]


class OfferedSections:
    """Splits an offer. Raises RequestError 400 for one without a video section that can be answered.

    wanted: an offer of nothing but the section that gets the stream.
    """

    def __init__(self, offer: str) -> None:
        lines = offer.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
        self._sections = [Section(tuple(lines[a:b])) for a, b in itertools.pairwise([*starts, len(lines)])]
        for number, section in enumerate(self._sections):
            if len(section.lines[0].split(" ", M_LINE_FIELDS - 1)) < M_LINE_FIELDS:
                raise RequestError(f"section {number} of the offer is malformed", status=400)
        mids = [section.mid for section in self._sections if section.mid is not None]
        if len(set(mids)) < len(mids):
            raise RequestError("two sections of the offer have the same mid", status=400)
        self._chosen = self._choose()
        above = lines[: starts[0]]
        group = self._bundle(above)
        self._carrier = self._find_carrier(group)
        session = [line for line in above if not line.startswith("a=group:")]
        self._bundled = bool(group)
        names = [f"a=group:BUNDLE {self._chosen.mid}"] if group else []
        self.wanted = _text([*session, *names, *self._with_transport()])

    def answer(self, answer: str) -> str:
        """The answer to the whole offer, from the answer to what is wanted of it."""
        lines = answer.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("m="))
        ours = lines[start:]
        transport = [line for line in ours if line.startswith(TRANSPORT)]
        whole = [line for line in lines[:start] if not line.startswith("a=group:")]
        if self._bundled:
            mids = dict.fromkeys(section.mid for section in (self._carrier, self._chosen))
            whole.append(f"a=group:BUNDLE {' '.join(map(str, mids))}")
        for section in self._sections:
            if section is self._chosen:
                whole += ours
            else:
                whole += section.carrier(transport) if section is self._carrier else section.rejection()
        return _text(whole)

    def _choose(self) -> Section:
        """The first video section that receives; else the first one: its answer says that nothing will be sent."""
        videos = [section for section in self._sections if section.kind == "video" and not section.rejected]
        if not videos:
            raise RequestError("the offer has no video section, or only rejected ones", status=400)
        return next((section for section in videos if section.receives), videos[0])

    def _bundle(self, session: list[str]) -> list[Section]:
        """The sections that share the chosen one's transport, itself included; empty if it is not bundled."""
        by_mid = {section.mid: section for section in self._sections if not section.rejected}
        groups = [line.split()[1:] for line in session if line.startswith("a=group:BUNDLE")]
        ours = [mids for mids in groups if self._chosen.mid in mids]
        return [by_mid[mid] for mids in ours[:1] for mid in mids if mid in by_mid]

    def _find_carrier(self, bundle: list[Section]) -> Section:
        """The section whose transport the chosen one uses: the bundle's first, or itself."""
        own = self._chosen.value("ice-ufrag")
        return bundle[0] if bundle and own in (None, bundle[0].value("ice-ufrag")) else self._chosen

    def _with_transport(self) -> list[str]:
        """The chosen section's lines, with the transport that it uses."""
        chosen, carrier = self._chosen, self._carrier
        if carrier is chosen:
            return [*chosen.lines]
        own = [line for line in chosen.lines[1:] if not line.startswith((*TRANSPORT, "a=bundle-only"))]
        return [chosen.with_port(ANY_PORT), *own, *(line for line in carrier.lines if line.startswith(TRANSPORT))]


def _text(lines: list[str]) -> str:
    return "\r\n".join(lines) + "\r\n"
