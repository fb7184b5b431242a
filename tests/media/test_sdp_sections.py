"""Offers with several sections: which one gets the stream, and what the answer says of the others."""

import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.sdp_sections import OfferedSections

OURS = ("a=ice-ufrag:ours", "a=setup:active")
ANSWER = "\r\n".join(
    ("v=0", "a=group:BUNDLE 1", "m=video 5000 UDP/TLS/RTP/SAVPF 96", "a=mid:1", *OURS, "a=sendonly", "")
)


def keys(name: int | str) -> tuple[str, ...]:
    """Of a transport."""
    return (f"a=ice-ufrag:{name}", "a=ice-pwd:p", "a=fingerprint:sha-256 AA", "a=setup:actpass")


KEYS = keys("u")
FORMATS = {"audio": "UDP/TLS/RTP/SAVPF 111", "video": "UDP/TLS/RTP/SAVPF 96 97", "application": "UDP/DTLS/SCTP webrtc"}


def section(kind: str, mid: str | None, *lines: str, port: int = 9) -> tuple[str, ...]:
    names = () if mid is None else (f"a=mid:{mid}",)
    return (f"m={kind} {port} {FORMATS.get(kind, 'UDP/TLS/RTP/SAVPF 98')}", *names, *lines)


def offered(*sections: tuple[str, ...], bundle: str | None = None) -> OfferedSections:
    group = () if bundle is None else (f"a=group:BUNDLE {bundle}",)
    lines = ("v=0", *group, *(line for section in sections for line in section))
    return OfferedSections("\r\n".join(lines) + "\r\n")


def ports(answer: str) -> list[tuple[str, str]]:
    return [(line.split()[0][2:], line.split()[1]) for line in answer.splitlines() if line.startswith("m=")]


@pytest.mark.parametrize(
    ("before", "after"),
    [([], ["audio"]), (["audio"], []), (["application"], ["audio"]), (["text", "image"], ["application", "video"])],
)
def test_each_other_section_is_rejected_in_its_place(before, after):
    kinds = [*before, "video", *after]
    sections = offered(*(section(kind, str(mid), *keys(mid)) for mid, kind in enumerate(kinds)), bundle="0 1 2 3 4")
    answer = sections.answer(ANSWER)
    assert ports(answer) == [*((kind, "0") for kind in before), ("video", "5000"), *((kind, "0") for kind in after)]
    assert [line for line in answer.splitlines() if line.startswith("m=")][len(before)] in ANSWER
    assert sections.wanted.count("m=") == 1
    assert f"a=group:BUNDLE {len(before)}\r\n" in sections.wanted


def test_a_rejection_keeps_what_identifies_its_section():
    sections = offered(section("application", "data", *KEYS), section("video", "1", *KEYS))
    rejected = sections.answer(ANSWER).splitlines()[1:5]
    assert rejected == ["m=application 0 UDP/DTLS/SCTP webrtc", "c=IN IP4 0.0.0.0", "a=inactive", "a=mid:data"]


def test_the_first_video_that_receives_is_taken():
    sections = offered(
        section("video", "0", *KEYS, port=0),
        section("video", "1", "a=sendonly", *KEYS),
        section("video", "2", "a=recvonly", *KEYS),
        section("video", "3", *KEYS),
    )
    assert "a=mid:2\r\n" in sections.wanted
    assert ports(sections.answer(ANSWER)) == [("video", "0"), ("video", "0"), ("video", "5000"), ("video", "0")]


def test_a_viewer_that_only_sends_is_answered_too():
    assert "a=mid:0\r\n" in offered(section("video", "0", "a=sendonly", *KEYS)).wanted


def test_a_section_that_only_exists_in_its_bundle_gets_the_bundle_s_transport():
    """With the bundle policy max-bundle, RFC 8829 has the transport in the first section alone."""
    candidate = "a=candidate:1 1 udp 1 127.0.0.1 5000 typ host"
    audio = section("audio", "0", *KEYS, candidate)
    sections = offered(audio, section("video", "1", "a=bundle-only", "a=recvonly", port=0), bundle="0 1")
    lines = sections.wanted.splitlines()
    assert lines[2:] == ["m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=mid:1", "a=recvonly", *KEYS, candidate]


@pytest.mark.parametrize(
    ("kind", "codec", "m_line"),
    [
        ("audio", "a=rtpmap:111 opus/48000/2", "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        ("application", "a=sctp-port:5000", "m=application 9 UDP/DTLS/SCTP webrtc"),
    ],
)
def test_a_section_whose_transport_the_video_uses_is_accepted_and_unused(kind, codec, m_line):
    others = section("audio", "2", *KEYS)
    sections = offered(section(kind, "0", codec, *KEYS), section("video", "1", *KEYS), others, bundle="0 1 2")
    answer = sections.answer(ANSWER)
    assert answer.splitlines()[1] == "a=group:BUNDLE 0 1"
    assert answer.splitlines()[2:8] == [m_line, "c=IN IP4 0.0.0.0", "a=inactive", "a=mid:0", codec, OURS[0]]
    assert [port for _, port in ports(answer)] == ["9", "5000", "0"]


def test_a_section_with_a_transport_of_its_own_keeps_it():
    own = ("a=ice-ufrag:other", "a=ice-pwd:q", "a=fingerprint:sha-256 BB")
    sections = offered(section("audio", "0", *KEYS), section("video", "1", *own), bundle="0 1")
    assert sections.wanted.splitlines()[-3:] == [*own]


def test_an_answer_has_no_bundle_that_was_not_offered():
    assert "a=group" not in offered(section("video", None, *KEYS)).answer(ANSWER)


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ([section("audio", "0")], "no video section"),
        ([section("video", "0", port=0)], "no video section, or only rejected"),
        ([section("video", "0"), section("audio", "0")], "same mid"),
        ([("m=video 9",)], "section 0 of the offer is malformed"),
        ([section("video", "0"), ("m=",)], "section 1 of the offer is malformed"),
        ([], "no video section"),
    ],
)
def test_what_is_refused(sections, says):
    with pytest.raises(RequestError, match=says) as refused:
        offered(*sections)
    assert refused.value.status == 400
