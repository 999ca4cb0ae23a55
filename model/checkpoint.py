"""A state as bytes and back: one safetensors payload with a block of JSON in its metadata. Never pickle, no torch.

The bytes are a valid safetensors file. Its metadata holds a single entry, `checkpoint`, a JSON text with the schema
version, a SHA-256 digest, and everything that is not an array. The digest covers every byte of the payload, with zeros
in its own place.

Parameters and both of AdamW's moments are kept to the bit in fp32, which is 12 bytes a trained number.

Schema 1 is older: its open decision has neither ETF weights nor past returns, and its strategy kept less in `extra`.
It is read as a state that does not know these.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from model.allocator import Decision, Market, State

SCHEMA = 2
MAX_BYTES = 1 << 30  # far above any state; what is larger is not one
MAX_HEADER_BYTES = 1 << 22

_BLANK = "0" * 64  # where the digest goes


class CheckpointError(ValueError):
    """Bytes that are no checkpoint, or not one that can be used; the message says why."""


class NewerCheckpointError(CheckpointError):
    """An intact checkpoint of a schema that only a later version of this program reads."""


def pack(state: State) -> bytes:
    """The checkpoint of a state. Equal states give equal bytes.

    Raises CheckpointError where the state is too large, ValueError or TypeError where `extra` is not JSON.
    """
    arrays: dict[str, NDArray[Any]] = {f"state/{name}": array for name, array in state.arrays.items()}
    content: dict[str, Any] = {
        "sha256": _BLANK,  # first, see `_digest`
        "schema": SCHEMA,
        "step": state.step,
        "decision": None,
        "extra": dict(state.extra),
    }
    if state.decision is not None:
        market = state.decision.market
        arrays |= {
            "decision/features": market.features,
            "decision/tradable": market.tradable,
            "decision/caps": market.caps,
            "decision/past": market.past,
            "decision/weights": state.decision.weights,
        }
        content["decision"] = {
            "instant": market.instant.isoformat(),
            "stocks": market.stocks,
            "fell_back": state.decision.fell_back,
        }
    text = json.dumps(content, allow_nan=False)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(contiguous, metadata={"checkpoint": text})
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"the state takes {len(data):,} bytes, more than {MAX_BYTES:,}: lower lora_r")
    return data.replace(_BLANK.encode(), _digest(data, _BLANK).encode(), 1)


def unpack(data: bytes) -> State:
    """The state in a checkpoint.

    Raises CheckpointError for anything that `pack` of this schema has not made: truncated, altered, foreign, too large.
    """
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"the checkpoint has {len(data):,} bytes, more than any state: it is something else")
    try:
        content = json.loads(_header(data)["__metadata__"]["checkpoint"])
        schema, stored = content["schema"], content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError("the bytes are no checkpoint, or its beginning is damaged: use an older one") from None
    if not isinstance(stored, str) or _digest(data, stored) != stored:
        raise CheckpointError("the checkpoint is truncated or altered (its SHA-256 differs): use an older one")
    if schema not in range(1, SCHEMA + 1):
        raise NewerCheckpointError(
            f"the checkpoint has schema {schema!r} and this program reads 1 to {SCHEMA}: use the version that wrote it"
        )
    try:
        arrays = safetensors.numpy.load(data)
        kept = {name.removeprefix("state/"): arrays[name] for name in arrays if name.startswith("state/")}
        decision = None
        if content["decision"] is not None:
            market = Market(
                instant=datetime.fromisoformat(content["decision"]["instant"]),
                stocks=tuple(content["decision"]["stocks"]),
                features=arrays["decision/features"],
                tradable=arrays["decision/tradable"],
                **({"caps": arrays["decision/caps"], "past": arrays["decision/past"]} if schema > 1 else {}),
            )
            weights = arrays["decision/weights"]
            if weights.shape != (len(market.stocks),):
                raise ValueError(f"weights {weights.shape} for {len(market.stocks)} stocks")
            if weights.dtype != np.float64 or not np.isfinite(weights).all():
                raise ValueError("weights that are no finite numbers of double precision")
            if not all(type(stock) is str for stock in market.stocks) or market.instant.tzinfo is not None:
                raise ValueError("stocks that are no texts, or an instant with a time zone")
            decision = Decision(market, weights, bool(content["decision"]["fell_back"]))
        step, extra = content["step"], content["extra"]
        if type(step) is not int or step < 0 or not isinstance(extra, dict):
            raise ValueError("step is not a number of steps, or extra no object")
        json.dumps(extra, allow_nan=False)  # what reads as infinite could not be saved again
        return State(kept, step, decision, extra)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint is intact but not of schema {schema} ({error}): use another") from error


def _header(data: bytes) -> Any:
    """The JSON header of a safetensors payload: its length as 8 bytes, little-endian, and then its text."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("the header is longer than the payload")
    return json.loads(data[8 : 8 + length])


def _digest(data: bytes, stored: str) -> str:
    """SHA-256 of the payload with zeros where its digest is stored: the first such text, as it opens the metadata."""
    return hashlib.sha256(data.replace(stored.encode(), _BLANK.encode(), 1)).hexdigest()
