"""Each cache policy against its rule, written anew over lists of frames that are never overwritten, in float64.

One token a frame; only time turns. The streams are long enough for every part to be replaced several times.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
import torch

from pp1_orchestrator.models.wan.cache_policies import CACHES, CacheOptions, EmaSink
from pp1_orchestrator.models.wan.cache_rules import CACHE_RULES
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache

HEADS, HEAD_DIM, LAYERS, TEXT_LEN = 2, 8, 2, 5
FREQUENCIES = 10000.0 ** -(np.arange(2) / 2)
"""Of a head of 8 channels, 4 pairs: 2 turn in time, 1 by row, 1 by column."""
FRAMES = 30
DECAY, THRESHOLD, BANK, EVERY = 0.9, 0.1, 2, 3


def turned(x, frame):
    """Keys [..., D] at a latent frame, by the definition of rotary positions."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    angles = np.concatenate([frame * FREQUENCIES, np.zeros(2)])
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 0] * sin + pairs[..., 1] * cos
    return np.stack([first, second], -1).reshape(x.shape)


def attention(q, keys, values):
    """q [Q, H, D] over [K, H, D] -> [Q, H·D]."""
    scores = np.einsum("qhd,khd->hqk", q, keys) / np.sqrt(HEAD_DIM)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, values).reshape(len(q), -1)


class Frames:
    """Keys before they are turned, values and text keys, by layer; similar within stretches of six frames."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        slow = rng.normal(size=(LAYERS, 2, FRAMES // 6 + 1, HEADS, HEAD_DIM)).repeat(6, 2)[:, :, :FRAMES]
        self.keys, self.values = (slow + 0.3 * rng.normal(size=slow.shape)).transpose(1, 0, 2, 3, 4)
        self.text = rng.normal(size=(LAYERS, TEXT_LEN, HEADS, HEAD_DIM))
        self.queries = rng.normal(size=(LAYERS, FRAMES, HEADS, HEAD_DIM))


def make_cache(name, chunk, window, sink, relative=False, **share):
    config = WanConfig(
        dim=HEADS * HEAD_DIM,
        ffn_dim=1,
        num_heads=HEADS,
        num_layers=LAYERS,
        chunk_frames=chunk,
        local_attn_size=window,
        sink_frames=sink,
    )
    options = CacheOptions(decay=DECAY, threshold=THRESHOLD, bank=BANK * (name == "memory_bank"), record_every=EVERY)
    policy = CACHES[name](options)
    assert CACHE_RULES[name](config, options.bank) is None
    return KVCache(config, (2, 2), relative=relative, policy=policy, dtype=torch.float64, **share)


def run(cache, frames, start=0, stop=FRAMES, passes=2):
    """Write each chunk some times and attend with its queries; the results by chunk and layer."""
    text = torch.from_numpy(frames.text)
    cache.text = [(layer[None], layer[None]) for layer in text]
    made = []
    for first in range(start, stop, cache.chunk):
        own = range(first, first + cache.chunk)
        for _ in range(passes):
            cache.begin(first)
            for layer in range(LAYERS):
                keys = np.stack([turned(frames.keys[layer, f], f) for f in own])
                for slot, new in zip(cache.slots(layer), (keys, frames.values[layer, list(own)]), strict=True):
                    slot.copy_(torch.from_numpy(new)[None])
        queries = [np.stack([turned(frames.queries[layer, f], f) for f in own]) for layer in range(LAYERS)]
        made.append([cache.attend(layer, torch.from_numpy(q)[None])[0].numpy() for layer, q in enumerate(queries)])
    return made


def expected(frames, layer, first, chunk, sink, rest):
    """Attention of the chunk at `first` over `sink`, a list of (key as turned, value), and over frames `rest`."""
    own = range(first, first + chunk)
    seen = [*sink, *((turned(frames.keys[layer, f], f), frames.values[layer, f]) for f in (*rest, *own))]
    q = np.stack([turned(frames.queries[layer, f], f) for f in own])
    return attention(q, np.stack([k for k, _ in seen]), np.stack([v for _, v in seen]))


def window_of(first, chunk, window, sink):
    """The frames after the sink that the chunk at `first` sees, without its own; empty while all are in the sink."""
    return range(max(sink, first + chunk - (window - sink)), first)


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("chunk", "window"), [(1, 4), (3, 9)])
def test_the_averaged_sink(chunk, window, relative):
    """Sink ← decay · sink + (1 − decay) · the frames that leave, before they are turned."""
    frames, sink = Frames(), chunk
    made = run(make_cache("ema_sink", chunk, window, sink, relative), frames)
    for layer in range(LAYERS):
        keys, values = frames.keys[layer, :sink].copy(), frames.values[layer, :sink].copy()
        for index, first in enumerate(range(0, FRAMES, chunk)):
            leaving = first - (window - sink)
            if first >= window:
                keys = DECAY * keys + (1 - DECAY) * frames.keys[layer, leaving : leaving + chunk]
                values = DECAY * values + (1 - DECAY) * frames.values[layer, leaving : leaving + chunk]
            rest = window_of(first, chunk, window, sink)
            shift = max(0, first + chunk - window) if relative else 0
            held = [(turned(keys[j], j + shift), values[j]) for j in range(sink)] if first >= sink else []
            assert_close(made[index][layer], expected(frames, layer, first, chunk, held, rest))


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("chunk", "window", "sink"), [(1, 6, 3), (3, 12, 6)])
def test_the_sink_that_adapts(chunk, window, sink, relative):
    """The part least like the finished chunk becomes a copy of it, if it is less like it than the threshold."""
    frames = Frames()
    made = run(make_cache("adaptive_sink", chunk, window, sink, relative), frames)
    parts, replaced = sink // chunk, 0
    held = [{part: part * chunk for part in range(parts)} for _ in range(LAYERS)]
    for index, first in enumerate(range(0, FRAMES, chunk)):
        finished = first - chunk
        shift = max(0, first + chunk - window) if relative else 0
        for layer in range(LAYERS):

            def stands(part, own, moved, layer=layer):
                """Keys of the chunk at `own` in the sink's part: where they were made, or at the part's place."""
                places = [part * chunk + moved + i if relative else own + i for i in range(chunk)]
                return np.stack([turned(frames.keys[layer, own + i], place) for i, place in enumerate(places)])

            def cosine(one, two):
                one, two = one.mean(0).ravel(), two.mean(0).ravel()
                return one @ two / np.linalg.norm(one) / np.linalg.norm(two)

            if finished >= sink:
                likeness = []
                for part in range(parts):
                    old, new = stands(part, held[layer][part], 0), stands(part, finished, 0)
                    old_v, new_v = (frames.values[layer, f : f + chunk] for f in (held[layer][part], finished))
                    likeness.append((cosine(old, new) + cosine(old_v, new_v)) / 2)
                if min(likeness) < THRESHOLD:
                    held[layer][int(np.argmin(likeness))] = finished
                    replaced += 1
            rest = window_of(first, chunk, window, sink)
            seen = [part for part in range(parts) if part * chunk < first]
            pairs = [
                (key, frames.values[layer, held[layer][part] + i])
                for part in seen
                for i, key in enumerate(stands(part, held[layer][part], shift))
            ]
            assert_close(made[index][layer], expected(frames, layer, first, chunk, pairs, rest))
    assert replaced >= 4


@pytest.mark.parametrize(("chunk", "window", "sink"), [(1, 4, 1), (3, 9, 3), (3, 9, 0)])
def test_the_memory_bank(chunk, window, sink):
    """Every third chunk's first frame; of a full bank the frame gives way to which the text attends least."""
    frames = Frames()
    made = run(make_cache("memory_bank", chunk, window, sink), frames)
    for layer in range(LAYERS):
        bank, gone = [], 0
        for index, first in enumerate(range(0, FRAMES, chunk)):
            if index and (index - 1) % EVERY == 0:
                if len(bank) == BANK:
                    keys = np.stack([turned(frames.keys[layer, f], f) for f in bank])
                    scores = np.einsum("lhd,khd->hlk", frames.text[layer], keys) / np.sqrt(HEAD_DIM)
                    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
                    bank.pop(int(weights.mean((0, 1)).argmin()))
                    gone += 1
                bank.append(first - chunk)
            rest = window_of(first, chunk, window, sink)
            kept = (*range(min(sink, first)), *bank)
            pairs = [(turned(frames.keys[layer, f], f), frames.values[layer, f]) for f in kept]
            assert_close(made[index][layer], expected(frames, layer, first, chunk, pairs, rest))
        assert gone >= 1


@pytest.mark.parametrize("name", CACHES)
def test_what_is_read_again_is_as_new(name):
    """After a recache from frame 0 nothing of the earlier history is left, in the bank or in an average."""
    chunk, window, sink = 3, 9, 3
    used, fresh = (make_cache(name, chunk, window, sink) for _ in range(2))
    run(used, Frames(1))
    for cache in (used, fresh):
        cache.rebase(0, read_again=6)
    for one, other in zip(run(used, Frames()), run(fresh, Frames()), strict=True):
        for found, wanted in zip(one, other, strict=True):
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", CACHES)
def test_the_sink_and_the_bank_survive_a_recache_that_keeps_them(name):
    chunk, window, sink, switch = 3, 9, 3, 21
    cache, frames = make_cache(name, chunk, window, sink), Frames()
    run(cache, frames, stop=switch)
    filled = cache.policy.filled
    before = [tensor.clone() for layer in range(LAYERS) for tensor in cache.sink(layer)]
    cache.rebase(switch - 6, keep_sink=True, read_again=6)
    run(cache, frames, switch - 6, switch)
    assert cache.policy.filled == filled
    after = [tensor for layer in range(LAYERS) for tensor in cache.sink(layer)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("name", CACHES)
def test_positions_repeat_once_the_cache_has_settled(name):
    cache = make_cache(name, 3, 9, 3)
    nothing = torch.zeros(1, 1, HEADS, HEAD_DIM, dtype=torch.float64)
    cache.text = [(nothing, nothing)] * LAYERS
    seen = []
    for start in range(0, 60, 3):
        cache.begin(start)
        seen.append(cache.position)
    settled = cache.settled // 3
    assert set(seen[settled:]) <= set(seen[:settled])


def test_what_a_rule_keeps_is_counted():
    """A frame is a token here; keys and values in float64, an average in float32."""
    token = 2 * LAYERS * HEADS * HEAD_DIM
    assert make_cache("ring", 3, 9, 3).nbytes == 9 * 8 * token
    assert make_cache("memory_bank", 3, 9, 3).nbytes == (9 + BANK) * 8 * token
    averaged = make_cache("ema_sink", 3, 9, 3)
    before = averaged.nbytes
    assert before == 9 * 8 * token + 3 * 4 * token
    run(averaged, Frames())
    assert isinstance(averaged.policy, EmaSink)
    assert sum(keys.nbytes + values.nbytes for keys, values in averaged.policy._average) == 3 * 4 * token
    assert averaged.nbytes == before


@pytest.mark.parametrize("name", ["adaptive_sink", "memory_bank"])
def test_ranks_with_half_of_the_heads_decide_alike(name):
    """Two ranks as threads, whose sums meet at a barrier."""
    frames, (chunk, window, sink) = Frames(), (3, 9, 3)
    whole = run(make_cache(name, chunk, window, sink), frames)
    barrier, given = threading.Barrier(2, timeout=60), [torch.empty(0), torch.empty(0)]

    def rank_of(rank):
        def all_reduce(tensor):
            given[rank] = tensor
            barrier.wait()
            total = given[0] + given[1]
            barrier.wait()
            return total

        part, half = Frames(), slice(rank, rank + 1)
        part.keys, part.values, part.queries = (x[:, :, half] for x in (frames.keys, frames.values, frames.queries))
        return run(make_cache(name, chunk, window, sink, degree=2, rank=rank, all_reduce=all_reduce), part)

    with ThreadPoolExecutor(2) as ranks:
        parts = list(ranks.map(rank_of, range(2)))
    assert given[0].numel()
    for index, layers in enumerate(whole):
        for layer, wanted in enumerate(layers):
            found = np.concatenate([parts[rank][index][layer] for rank in range(2)], -1)
            assert_close(found, wanted)


@pytest.mark.parametrize(
    ("name", "window", "said"),
    [
        ("ema_sink", (3, 9, 0), "model.window.sink must be 3"),
        ("pinned", (1, 4, 0), "model.window.sink must be 1 or more"),
        ("adaptive_sink", (3, 9, 0), "needs a sink"),
        ("memory_bank", (3, 9, 0), "cache.bank must be 1 or more"),
    ],
)
def test_a_window_that_a_rule_can_not_have_is_named(name, window, said):
    chunk, frames, sink = window
    small = WanConfig(dim=16, ffn_dim=1, num_heads=2, num_layers=1)
    config = msgspec.structs.replace(small, chunk_frames=chunk, local_attn_size=frames, sink_frames=sink)
    assert said in (CACHE_RULES[name](config, 0) or "")
