"""SDP offers: checked, and answered by a real connection, which is then closed.

The only error is RequestError 400 or 413.
"""

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from tests.fault.sdp_offers import mutants
from tests.fault.sdp_offers import seeds as real_offers
from tests.fuzz.event_loop import PersistentLoop
from tests.fuzz.oracle import Finding, check_line
from tests.media.numbered_frames import SIZE, Counted

LOOP = PersistentLoop()
FIGURES = Counted()
PEERS = WhepPeers(
    Broadcaster(VideoSettings(SIZE, SIZE, 24), FIGURES), "vp8", PeerLimits(), CandidatePolicy("127.0.0.1"), FIGURES
)
STATUSES = (400, 413)


def seeds() -> list[bytes]:
    damaged = [offer.encode("utf-8", "replace") for offer in mutants(20, seed=1)]
    return [offer.encode() for offer in real_offers()] + damaged


def fuzz_one(data: bytes) -> None:
    LOOP.run(_offer(data.decode("utf-8", "replace")))


def still_works() -> None:
    for offer in real_offers():
        if not LOOP.run(_offer(offer)):
            raise Finding("a browser's offer is refused")


async def _offer(sdp: str) -> bool:
    """Whether it was answered."""
    answered = False
    try:
        viewer_id, answer = await PEERS.offer(sdp)
    except RequestError as error:
        check_line(error)
        if error.status not in STATUSES:
            raise Finding(f"an offer is refused with status {error.status}: {error}") from error
    else:
        answered = True
        if not answer.startswith("v=0\r\n"):
            raise Finding(f"an answer begins with {answer[:20]!r}")
        await PEERS.close(viewer_id)
    await LOOP.settle(0)
    if PEERS.count:
        raise Finding(f"{PEERS.count} viewers are left")
    return answered
