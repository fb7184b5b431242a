"""Whether aiortc can work with an offer, found out before anything is opened for it.

Only for offers whose text `sdp.checked_offer` has passed: parsing is dear for long ones.
"""

from __future__ import annotations

from aiortc.sdp import MediaDescription, SessionDescription

from pp1_orchestrator.errors import RequestError


def check_parsed(offer: str) -> None:
    """Raises RequestError 400 when it can't be parsed, or lacks what a connection needs.

    aiortc answers an offer without a fingerprint, and fails in a task of its own when it is to connect. A bundle of
    sections that don't exist, or two sections of one name, leave it with a connection that it can't close.
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
