"""The newest two states of a run in LEAN's Object Store, so that whatever happens to one there is a good one. No torch.

Two keys take turns: a save replaces the older of the two states and counts only once it has been read back. A save that
fails, at whatever byte, therefore leaves the newest good state untouched. A third key keeps the last broken state that
was found, for whoever wants to know what happened to it, for as long as there is room.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from model.allocator import State
from model.checkpoint import CheckpointError, NewerCheckpointError, pack, unpack
from settings import Settings

MAY_CHANGE = frozenset(
    ("start", "end", "cash", "resume", "min_stocks", "max_weight", "device", "precision", "micro_batch")
)
"""Settings that do not decide what is learnt, so that a state can go on with others. All the rest must be the same."""

_OR_ANEW = "or start anew with resume = never"


class StateError(ValueError):
    """There is no state that can be gone on from; the message says why and what to do."""


class ObjectStore(Protocol):
    """What is used of `QCAlgorithm.object_store`."""

    def contains_key(self, key: str) -> bool: ...
    def read_bytes(self, key: str) -> Any: ...
    def save_bytes(self, key: str, content: bytes) -> bool: ...
    def delete(self, key: str) -> bool: ...


class StateStore:
    """Keeps the states of one run.

    objects: LEAN's Object Store.
    name: of the states; their keys are NAME-a, NAME-b and NAME-broken.
    settings: the run's.
    log: takes a sentence about a state that is broken.

    `extra` of a state gets the entries "settings" and "generation"; states that are loaded have them no more.
    """

    def __init__(self, objects: ObjectStore, name: str, settings: Settings, log: Callable[[str], object]) -> None:
        self._objects = objects
        self._keys = f"{name}-a", f"{name}-b"
        self._broken_key = f"{name}-broken"
        self._settings = settings.as_parameters()
        self._log = log
        self._newest = 1  # which key the newest good state has; the other one is written next
        self._generation: int | None = None  # of that state; None until the store was looked at

    def save(self, state: State) -> str:
        """Store a state in the place of the older one. Returns why it was not stored, or an empty text."""
        if self._generation is None:
            self._look()
        generation = (self._generation or 0) + 1
        data = pack(replace(state, extra={**state.extra, "settings": self._settings, "generation": generation}))
        key = self._keys[1 - self._newest]
        problem = self._put(key, data)
        if problem and self._make_room():
            problem = self._put(key, data)
        if not problem:
            self._newest, self._generation = 1 - self._newest, generation
        return problem

    def load(self) -> State | None:
        """The newest good state; None where nothing was ever stored, or only a first state that was cut short.

        A broken one is logged, and kept under NAME-broken.
        Raises StateError where all are broken, the store cannot be read, or the newest belongs to other settings or was
        written by a later version of this program.
        """
        good, broken = self._look()
        for key, (error, data) in broken.items():
            if data is None or isinstance(error, NewerCheckpointError):
                raise StateError(f"{key}: {error}, {_OR_ANEW}")
        if not good and (len(broken) > 1 or self._keys[1] in broken):
            reasons = "; ".join(f"{key}: {error}" for key, (error, _) in broken.items())
            raise StateError(
                f"no state in the Object Store can be used ({reasons}): put a copy back under {self._keys[0]}, "
                f"{_OR_ANEW}"
            )
        for key, (error, data) in broken.items():
            instead = "the one before it is used" if good else "it was the first, so that starting anew loses nothing"
            kept = not self._put(self._broken_key, data or b"")
            self._log(f"{key}: {error}; {instead}" + (f"; it is kept as {self._broken_key}" if kept else ""))
        if not good:
            return None
        state = good[self._newest]
        extra = dict(state.extra)
        differing = _differing(extra.pop("settings"), self._settings)
        if differing:
            raise StateError(
                f"the saved state belongs to other settings: {', '.join(differing)}: set them back, {_OR_ANEW}"
            )
        extra.pop("generation", None)
        return replace(state, extra=extra)

    def _look(self) -> tuple[dict[int, State], dict[str, tuple[Exception, bytes | None]]]:
        """Find out which state is the newest. Returns the good ones by place, and the others by key: what is wrong, and
        their bytes, None where they could not even be read."""
        good: dict[int, State] = {}
        broken: dict[str, tuple[Exception, bytes | None]] = {}
        for place, key in enumerate(self._keys):
            data = None
            try:
                content = self._objects.read_bytes(key) if self._objects.contains_key(key) else None
                if content is None:
                    continue
                data = bytes(content)
                good[place] = unpack(data)
                _generation(good[place])
            except CheckpointError as error:
                good.pop(place, None)
                broken[key] = error, data
            except Exception as error:  # .NET's, whose classes only LEAN has
                broken[key] = _unreadable(error), None
        if good:
            self._newest = max(good, key=lambda place: _generation(good[place]))
        self._generation = _generation(good[self._newest]) if good else 0
        return good, broken

    def _put(self, key: str, data: bytes) -> str:
        """Write and read back; why that failed, or an empty text."""
        try:
            if not self._objects.save_bytes(key, data):
                return f"it did not take {len(data):,} bytes: is it full?"
            if bytes(self._objects.read_bytes(key)) != data:
                return "it gives back other bytes than it was given"
        except Exception as error:  # the text of a foreign exception may hold what does not belong in a log
            return f"it failed with {type(error).__name__}"
        return ""

    def _make_room(self) -> bool:
        """Give up the broken state that is kept; whether there was one."""
        try:
            return self._objects.contains_key(self._broken_key) and bool(self._objects.delete(self._broken_key))
        except Exception:
            return False


def _unreadable(error: Exception) -> StateError:
    return StateError(f"the Object Store cannot be read ({type(error).__name__}): see that it can")


def _generation(state: State) -> int:
    """How many states were stored before this one; 0 in schema 1, which does not say."""
    generation = state.extra.get("generation", 0)
    if type(generation) is not int or not isinstance(state.extra.get("settings"), dict):
        raise CheckpointError("the checkpoint is intact but was not made by this strategy: use another")
    return generation


def _differing(saved: Mapping[str, object], now: Mapping[str, str]) -> list[str]:
    """What differs between two runs' settings; one that the older program did not know had its default."""
    defaults = Settings().as_parameters()
    pairs = {name: (str(saved.get(name, defaults[name])), value) for name, value in now.items()}
    return [
        f"{name} is {then} there and {value} here"
        for name, (then, value) in pairs.items()
        if then != value and name not in MAY_CHANGE
    ]
