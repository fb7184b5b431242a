"""What the outside sees is what it was when `expected/` was recorded; see README.md."""

import pytest

from . import capture, describe, expected, internals

pytestmark = pytest.mark.timeout(600)


def assert_unchanged(part: str, texts: capture.Texts) -> None:
    assert texts.keys() == expected.names(part)
    if changed := expected.difference(texts):
        pytest.fail(
            f"\n{changed}\n\nIf this is on purpose: {expected.RECORD}, and commit what it writes", pytrace=False
        )


def test_wire():
    assert_unchanged("wire.json", capture.wire())


def test_settings(folder):
    assert_unchanged("settings/", capture.settings(folder))


def test_bench(bench):
    assert_unchanged("bench/", bench[1])


def test_serve(serve):
    assert_unchanged("serve/", serve)


def test_all_routings_and_overlaps_give_the_same_video(digests):
    pairs = {job[:2]: digest for job, digest in digests.items() if job[2] == capture.CONTEXTS[0]}
    assert pairs.keys() == {(routing, overlap) for routing in capture.ROUTINGS for overlap in capture.OVERLAPS}
    first = next(iter(pairs.values()))
    assert {pair: digest for pair, digest in pairs.items() if digest != first} == {}


def test_each_context_gives_a_video_of_its_own(digests):
    latents = {job[2]: digest["latents_sha256"] for job, digest in digests.items()}
    assert latents.keys() == set(capture.CONTEXTS)
    assert len(set(latents.values())) == len(latents)


def test_digests(digests, bench):
    stored = expected.digests()
    machine = internals.machine_key()
    key = next((key for key in stored if machine.startswith(key)), None)
    if key is None:
        pytest.skip(f"no digests are recorded for {machine}; add them with {expected.RECORD} digests")
    now = stored | {key: capture.digest_values(digests, bench[0])}
    assert_unchanged("digests.json", {"digests.json": describe.as_json(now)})
