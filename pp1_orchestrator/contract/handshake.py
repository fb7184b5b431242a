"""What all ranks must agree on before weights are loaded, how a disagreement is told, and how a rank proves itself."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from pp1_orchestrator.contract.envelope import VERSION
from pp1_orchestrator.errors import ContractError

RankFingerprint = dict[str, Any]
SEAL_CHARS = hashlib.sha256().digest_size * 2


def facts(settings: msgspec.Struct, versions: Mapping[str, str], checkpoint: str) -> RankFingerprint:
    """Flat facts of one rank: versions of the contract and of what computes, what tells its weights from others, and
    every setting by its dotted key, but for those of the server."""
    shared = msgspec.to_builtins(settings)
    shared.pop("serving", None)
    return {"contract version": VERSION, **versions, "checkpoint": checkpoint} | _flat(shared, "")


def _flat(value: Any, prefix: str) -> RankFingerprint:
    if not isinstance(value, dict):
        return {prefix: value}
    out: RankFingerprint = {}
    for key, inner in value.items():
        out |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return out


def encode(own: RankFingerprint) -> bytes:
    return msgspec.json.encode(own, order="deterministic")


def compare(rank: int, own: RankFingerprint, other_rank: int, other: bytes) -> None:
    """Raise ContractError naming the first key that differs, and both values."""
    theirs = msgspec.json.decode(other)
    mine = msgspec.json.decode(encode(own))
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise ContractError(
                f"ranks disagree on {key}: {mine.get(key)!r} on rank {rank}, {theirs.get(key)!r} on rank {other_rank}"
            )


def seal(secret: bytes, place: str, value: bytes) -> bytes:
    """The value with a proof that whoever wrote it at `place` knows the run's secret."""
    return _proof(secret, place, value) + value


def unseal(secret: bytes, place: str, sealed: bytes) -> bytes:
    """Raises ContractError when the proof is wrong."""
    proof, value = sealed[:SEAL_CHARS], sealed[SEAL_CHARS:]
    if not hmac.compare_digest(proof, _proof(secret, place, value)):
        raise ContractError(f"{place} was not written by a rank of this run")
    return value


def _proof(secret: bytes, place: str, value: bytes) -> bytes:
    return hmac.new(secret, place.encode() + b"\0" + value, hashlib.sha256).hexdigest().encode()
