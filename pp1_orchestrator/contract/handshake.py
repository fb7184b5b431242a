"""What all ranks must have in common before they load weights, and signatures for values in a shared store."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from pp1_orchestrator.contract.envelope import VERSION
from pp1_orchestrator.errors import ContractError

RankFingerprint = dict[str, Any]
SIGNATURE_CHARS = hashlib.sha256().digest_size * 2


def make_fingerprint(settings: msgspec.Struct, versions: Mapping[str, str], checkpoint: str) -> RankFingerprint:
    """Everything that must be equal on all ranks, as a flat mapping.

    settings: enter by their dotted keys, except those of the server. versions: of the libraries that compute.
    checkpoint: identifies the weights.
    """
    shared = msgspec.to_builtins(settings)
    shared.pop("serving", None)
    return {"contract version": VERSION, **versions, "checkpoint": checkpoint} | _flat(shared, "")


def _flat(value: dict[str, Any] | str | float | None, prefix: str) -> RankFingerprint:
    if not isinstance(value, dict):
        return {prefix: value}
    out: RankFingerprint = {}
    for key, inner in value.items():
        out |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return out


def compare(rank: int, own: RankFingerprint, other_rank: int, other: RankFingerprint) -> None:
    """Raise ContractError with the first key that differs, and both values. other: as decoded from JSON."""
    mine, theirs = msgspec.json.decode(msgspec.json.encode(own)), other
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise ContractError(
                f"ranks disagree on {key}: {mine.get(key)!r} on rank {rank}, {theirs.get(key)!r} on rank {other_rank}"
            )


def sign(secret: bytes, key: str, value: bytes) -> bytes:
    """The value of a store's key, preceded by a signature that needs the run's secret."""
    return _signature(secret, key, value) + value


def verify(secret: bytes, key: str, signed: bytes) -> bytes:
    """The value that was signed for `key`. Raises ContractError if the signature is wrong."""
    signature, value = signed[:SIGNATURE_CHARS], signed[SIGNATURE_CHARS:]
    if not hmac.compare_digest(signature, _signature(secret, key, value)):
        raise ContractError(f"{key} was not written by a rank of this run")
    return value


def _signature(secret: bytes, key: str, value: bytes) -> bytes:
    return hmac.new(secret, key.encode() + b"\0" + value, hashlib.sha256).hexdigest().encode()
