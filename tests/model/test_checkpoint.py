import contextlib
import dataclasses
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from model import Decision, Market, State, checkpoint
from model.checkpoint import CheckpointError, NewerCheckpointError, pack, unpack
from tests.conftest import ROOT

N = 12  # the stocks of make_market
EXTRA = {"selection": {"kept": ["RSI", "ADX"], "vif": [1.5, 2.25]}, "fingerprint": "ab12", "note": "0" * 64}


@pytest.fixture(scope="module")
def state(make_market) -> State:
    weights = np.random.default_rng(0).dirichlet(np.ones(N))
    arrays = {
        "parameter/a": np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32),
        "exp_avg/a": np.array([[np.float32(1e-40)]]),  # denormal
        "other": np.arange(6).reshape(2, 3).T,  # not contiguous
    }
    rng = np.random.default_rng(2)
    market = dataclasses.replace(
        make_market(tradable=np.arange(N) > 2),
        caps=np.where(np.arange(N) == 1, np.nan, rng.random(N)),
        past=rng.normal(0, 0.01, (N, 4)),
    )
    return State(arrays, 7, Decision(market, weights, True), EXTRA)


@pytest.fixture(scope="module")
def data(state: State) -> bytes:
    return pack(state)


def test_everything_returns_to_the_bit(state: State, data: bytes) -> None:
    back = unpack(data)
    assert back.step == 7
    assert back.extra == EXTRA
    assert back.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        assert back.arrays[name].dtype == array.dtype
        assert np.array_equal(back.arrays[name], array)
    assert back.decision is not None
    assert state.decision is not None
    assert back.decision.fell_back
    assert np.array_equal(back.decision.weights, state.decision.weights)
    for field in dataclasses.fields(Market):
        one, other = (np.asarray(getattr(of.decision.market, field.name)) for of in (back, state))
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist() or np.array_equal(one, other, equal_nan=True)
    assert pack(back) == data


def test_a_state_without_a_decision_returns(state: State) -> None:
    back = unpack(pack(State({}, 0, None)))
    assert (back.arrays, back.step, back.decision, back.extra) == ({}, 0, None, {})


def test_any_safetensors_reader_opens_a_checkpoint(data: bytes, state: State, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(data)
    with safe_open(tmp_path / "state.safetensors", framework="np") as file:
        assert np.array_equal(file.get_tensor("state/parameter/a"), state.arrays["parameter/a"])
        assert json.loads(file.metadata()["checkpoint"])["schema"] == 2


def test_every_flipped_bit_is_noticed(data: bytes) -> None:
    rng = np.random.default_rng(0)
    for position in {*range(600), *rng.integers(0, len(data), 400).tolist(), len(data) - 1}:
        broken = bytearray(data)
        broken[position] ^= 1 << rng.integers(8)
        with pytest.raises(CheckpointError):
            unpack(bytes(broken))


def test_truncated_and_lengthened_checkpoints_are_refused(data: bytes) -> None:
    for length in [*range(200), *range(200, len(data), 97), len(data) - 1]:
        with pytest.raises(CheckpointError):
            unpack(data[:length])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        unpack(data + b"\0")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(CheckpointError):
        unpack(noise)
    header = len(noise).to_bytes(8, "little") + noise
    with pytest.raises(CheckpointError):
        unpack(header)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was executed",)


def test_a_pickle_is_refused_unread() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        unpack(pickle.dumps(Bomb()))
    arrays = {"parameter/a": np.array([Bomb()], dtype=object)}
    with pytest.raises(SafetensorError, match="dtype"):
        pack(State(arrays, 0, None))


def test_another_schema_is_refused_by_its_number(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SCHEMA", 9)
    newer = pack(state)
    monkeypatch.undo()
    with pytest.raises(NewerCheckpointError, match="has schema 9 and this program reads 1 to 2: use the version that"):
        unpack(newer)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_checkpoint_of_each_schema_is_read(schema: int) -> None:
    data = (ROOT / "tests" / "fixtures" / "states" / f"schema-{schema}.safetensors").read_bytes()
    state = unpack(data)
    assert state.step == 1
    assert state.decision is not None
    market = state.decision.market
    assert market.features.shape == (6, 3, 4)
    assert f"{market.instant}" == "2011-02-01 09:00:00"
    assert abs(state.decision.weights.sum() - 1) < 1e-12
    assert market.past.shape == (6, 0 if schema == 1 else 252)
    assert np.isnan(market.caps).all() == (schema == 1)
    again = unpack(pack(state))  # an older one is written as the newest
    assert again.arrays.keys() == state.arrays.keys()
    assert again.extra == state.extra
    assert (pack(state) == data) == (schema == checkpoint.SCHEMA)


def test_weights_of_another_number_of_stocks_are_refused(state: State) -> None:
    assert state.decision is not None
    spoilt = dataclasses.replace(state, decision=dataclasses.replace(state.decision, weights=np.ones(3) / 3))
    with pytest.raises(CheckpointError, match="intact but not of schema 2"):
        unpack(pack(spoilt))


@pytest.mark.parametrize("content", [{"step": -1}, {"step": "2"}, {"extra": [1]}, {"decision": 5}, {"decision": {}}])
def test_an_intact_checkpoint_with_other_content_is_refused(content: dict[str, object], state: State) -> None:
    with pytest.raises(CheckpointError, match="intact but not of schema 2"):
        unpack(altered(pack(state), content))


def altered(data: bytes, content: dict[str, object]) -> bytes:
    """The same arrays beside other content, with the digest right."""
    arrays = safetensors.numpy.load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    old = json.loads(header["__metadata__"]["checkpoint"])
    text = json.dumps({"sha256": "0" * 64} | {key: value for key, value in (old | content).items() if key != "sha256"})
    made = safetensors.numpy.save(arrays, metadata={"checkpoint": text})
    return made.replace(b"0" * 64, hashlib.sha256(made).hexdigest().encode(), 1)


@given(
    st.dictionaries(
        st.sampled_from(["schema", "step", "decision", "extra", "sha256"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_content_is_read_or_refused(content: dict[str, object]) -> None:
    data = altered(pack(State({"a": np.ones(2)}, 1, None)), content)
    with contextlib.suppress(CheckpointError):
        assert isinstance(unpack(data), State)


def test_what_is_too_large_is_refused(state: State, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(data) - 1)
    with pytest.raises(CheckpointError, match="lower lora_r"):
        pack(state)
    with pytest.raises(CheckpointError, match="more than any state"):
        unpack(data)


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000])
def test_deeply_nested_json_is_refused(nested: str) -> None:
    header = json.dumps({"__metadata__": {"checkpoint": nested}}).encode()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        unpack(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        unpack(len(nested).to_bytes(8, "little") + nested.encode())


@pytest.mark.parametrize("extra", [{"a": float("nan")}, {"a": object()}])
def test_what_json_cannot_hold_is_not_saved(extra: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        pack(State({}, 0, None, extra))


def test_a_learner_goes_on_from_bytes_as_if_nothing_had_happened(make_learner, make_market) -> None:
    returns = np.random.default_rng(2).normal(0, 0.05, N)
    one = make_learner()
    one.decide(make_market())
    one.learn(returns)
    one.decide(make_market(1))
    other = make_learner(seed=50)
    other.restore(unpack(pack(one.state())))
    assert one.learn(returns) == other.learn(returns)
    assert pack(one.state()) == pack(other.state())
