"""Everything tunable, as LEAN parameters.

LEAN parameters are texts: `config.json` holds them, `lean backtest --parameter KEY VALUE` and `lean optimize` replace
them. `Settings.from_parameters` turns them into one frozen dataclass per concern and refuses what it does not know.
The field metadata is the documentation: help text, range or choices, and where the default comes from.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any


class SettingsError(ValueError):
    """A parameter that cannot be used; the message says which, why, and what would do."""


def _setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class RunSettings:
    """The period, the money and the seed of a run."""

    start: date = _setting(date(2009, 6, 1), "first day of the backtest, yyyy-mm-dd (paper: 2009-06-01)")
    end: date = _setting(date(2019, 12, 31), "last day of the backtest, yyyy-mm-dd (paper: 2019-12-31)")
    cash: float = _setting(1e9, "starting cash in US dollars (paper: 1,000,000,000)", low=1.0)
    seed: int = _setting(
        1, "seed of every random number: two runs with one seed give the same bits", low=0, high=2**31 - 1
    )
    resume: str = _setting(
        "auto",
        "go on from the state in the Object Store: live, where there is one (auto); never; or stop where there is none "
        "(require)",
        choices=("auto", "never", "require"),
    )


@dataclass(frozen=True)
class UniverseSettings:
    """Which stocks can be held."""

    etf: str = _setting("SPY", "the ETF whose constituents are the universe (paper: SPY)")
    n_stocks: int = _setting(100, "largest constituents by weight that are considered (paper: 100)", low=2, high=500)
    min_stocks: int = _setting(
        5, "with fewer usable stocks than this the month is sat out with the positions as they are", low=2
    )
    max_weight: float = _setting(
        1.0, "a decision that gives one stock more than this is not ordered; 1 allows everything", low=0.0, high=1.0
    )


@dataclass(frozen=True)
class IndicatorSettings:
    """What the model sees of each stock."""

    window: int = _setting(21, "sessions in the window, L (paper: one month)", low=2, high=252)
    n_indicators: int = _setting(41, "indicators kept of the 61 by VIF, F (paper: 41)", low=1, high=61)
    max_vif: float = _setting(
        0.0,
        "drop indicators until no VIF exceeds this, in place of a fixed n_indicators; 0 switches it off",
        low=0.0,
    )
    scaling: str = _setting(
        "rank",
        "rank across the stocks at each date; robust z-score across them; or z-score along the window as in the paper",
        choices=("rank", "robust", "paper"),
    )


@dataclass(frozen=True)
class ModelSettings:
    """What turns features into weights."""

    allocator: str = _setting(
        "t5",
        "what decides: a T5 encoder with adapters (t5, paper), a linear map of the same features that learns the same "
        "way (linear), or a rule to compare with, which learns nothing or only from returns",
        choices=(
            "t5",
            "linear",
            "equal",
            "cap",
            "inverse_volatility",
            "minimum_variance",
            "momentum",
            "eg",
            "ons",
        ),
    )
    ensemble: int = _setting(
        1, "learners with seeds of their own, seed, seed + 1 and so on, whose weights are averaged", low=1, high=100
    )
    prior: str = _setting(
        "equal",
        "weights that the learner starts from and is drawn back to: logits = log prior + score, concentration = "
        "KL(weights, prior) (paper: equal)",
        choices=("equal", "cap", "inverse_volatility", "minimum_variance"),
    )
    backbone: str = _setting(
        "amazon/chronos-t5-large",
        "a Chronos-T5 name on the Hugging Face hub, a local folder, or tiny-random (a control without pretraining)",
    )
    lora_r: int = _setting(8, "rank of the LoRA adapters on q, k, v and o", low=1, high=256)
    lora_alpha: int = _setting(16, "scale of the LoRA adapters (effective scale: alpha / r)", low=1)
    use_rslora: bool = _setting(False, "rank-stabilised LoRA: the effective scale is alpha / sqrt(r)")
    use_dora: bool = _setting(False, "DoRA: a trained magnitude for each output of q, k, v and o besides")
    init_lora_weights: str = _setting(
        "true",
        "how adapters start: A uniform and B 0 (true), A normal and B 0 (gaussian), or both drawn and B A = 0 "
        "(orthogonal, which needs an even lora_r). The first decision is the frozen encoder's own in each",
        choices=("true", "gaussian", "orthogonal"),
    )
    trained: str = _setting(
        "lora",
        "what learns: adapters, projection and head (lora, paper), or the head alone on frozen random features (head)",
        choices=("lora", "head"),
    )
    cross_attention: bool = _setting(
        False, "attention across the stocks in front of the head, so that a score can depend on the others"
    )
    device: str = _setting(
        "auto", "where the model runs; auto takes CUDA when it is there", choices=("auto", "cpu", "cuda")
    )
    precision: str = _setting(
        "auto",
        "type of the frozen weights; auto is fp16 on CUDA (paper); on a CPU bf16 where the processor has it natively "
        "and the encoder has a million parameters or more, which smaller ones gain nothing by, else fp32",
        choices=("auto", "fp16", "bf16", "fp32"),
    )
    micro_batch: int = _setting(
        20,
        "stocks that pass through the network at a time: memory grows with it, and weights agree to 1e-6 in fp32",
        low=1,
    )


@dataclass(frozen=True)
class LearningSettings:
    """The loss and the one step a month."""

    entropy: str = _setting(
        "diversify",
        "sign of the concentration term: its prose (diversify), its printed formula (as_printed), or none (off)",
        choices=("diversify", "as_printed", "off"),
    )
    eta: float = _setting(0.01, "weight of the concentration term (paper: 0.01)", low=0.0)
    learning_rate: float = _setting(0.01, "AdamW learning rate (paper: 0.01)", low=0.0)
    weight_decay: float = _setting(0.01, "AdamW weight decay (torch's default)", low=0.0)
    reward: str = _setting(
        "simple",
        "what is maximised: the month's return (simple, paper), its log growth (log), or the differential Sharpe ratio "
        "of Moody and Saffell (sharpe)",
        choices=("simple", "log", "sharpe"),
    )
    variance_aversion: float = _setting(
        0.0,
        "weight of w' S w in the loss, S the shrunk covariance of the past year's returns, a month's worth",
        low=0.0,
    )
    turnover_cost: float = _setting(
        0.0, "cost in the loss of a unit of turnover against the drifted weights of the month before", low=0.0
    )
    replay: int = _setting(0, "months before the last that each step also learns from", low=0, high=240)
    replay_decay: float = _setting(0.9, "weight of a replayed month against the one after it", low=0.0, high=1.0)
    max_step_kl: float = _setting(
        0.0, "shorten a step that would move the month's weights further than this in KL; 0 allows every step", low=0.0
    )


@dataclass(frozen=True)
class Settings:
    """All settings of a run; attribute names are the parameter names of `config.json`."""

    run: RunSettings = RunSettings()
    universe: UniverseSettings = UniverseSettings()
    indicators: IndicatorSettings = IndicatorSettings()
    model: ModelSettings = ModelSettings()
    learning: LearningSettings = LearningSettings()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "Settings":
        """Read LEAN parameters.

        parameters: name -> text, as `QCAlgorithm.get_parameters` and `config.json` have them; missing names keep
            their defaults, an empty text counts as missing.
        Raises SettingsError for an unknown name (with the nearest known one), a text that is not of the
            setting's type, a value out of its range, or values that contradict each other.
        """
        groups: dict[str, Any] = {f.name: type(f.default) for f in fields(cls)}
        known = {f.name: (group, f) for group, kind in groups.items() for f in fields(kind)}
        chosen: dict[str, dict[str, Any]] = {group: {} for group in groups}
        for name, text in parameters.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
                raise SettingsError(f"unknown parameter {name!r}: {hint}")
            group, setting = known[name]
            if str(text).strip():
                chosen[group][name] = _parse(name, str(text).strip(), setting.type, setting.metadata)
        settings = cls(**{group: kind(**chosen[group]) for group, kind in groups.items()})
        if settings.run.end < settings.run.start:
            raise SettingsError(f"end = {settings.run.end} lies before start = {settings.run.start}")
        if settings.universe.min_stocks > settings.universe.n_stocks:
            raise SettingsError(
                f"min_stocks = {settings.universe.min_stocks} exceeds n_stocks = {settings.universe.n_stocks}"
            )
        if settings.model.init_lora_weights == "orthogonal" and settings.model.lora_r % 2:
            raise SettingsError(f"init_lora_weights = orthogonal needs an even lora_r, not {settings.model.lora_r}")
        return settings

    def as_parameters(self) -> dict[str, str]:
        """Every setting as the text that reads back to it; what `config.json` lists."""
        groups = [getattr(self, f.name) for f in fields(self)]
        flat = {f.name: getattr(group, f.name) for group in groups for f in fields(group)}
        return {name: _text(value) for name, value in flat.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _parse(name: str, text: str, kind: Any, metadata: Mapping[str, Any]) -> Any:
    try:
        readers = {
            date: date.fromisoformat,
            bool: {"true": True, "false": False}.__getitem__,
            int: lambda number: int(number.removesuffix(".0")),  # LEAN's optimizer writes 1 as 1.0
        }
        value: Any = readers.get(kind, kind)(text)
    except (ValueError, KeyError):
        wanted = {int: "a whole number", float: "a number", date: "a date, yyyy-mm-dd", bool: "true or false"}[kind]
        raise SettingsError(f"{name} = {text!r} is not {wanted}") from None
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    if choices and value not in choices:
        raise SettingsError(f"{name} = {text!r} is not one of {', '.join(choices)}")
    if kind is float and not math.isfinite(value):
        raise SettingsError(f"{name} = {text} is not finite")
    if kind in (int, float) and abs(value) >= 2**63:
        raise SettingsError(f"{name} = {text} is too large")
    if (low is not None and value < low) or (high is not None and value > high):
        raise SettingsError(f"{name} = {text} is out of range: it must be {_range(low, high)}")
    return value


def _range(low: float | None, high: float | None) -> str:
    return f"at least {_text(low)}" if high is None else f"from {_text(low)} to {_text(high)}"


def _tables() -> str:
    """docs/settings.md: a table for each group, from the field metadata."""
    lines = [
        "# Settings",
        "",
        "Every setting is a LEAN parameter: `config.json` lists them all, and `--parameter KEY VALUE` sets one.",
        "This file is written by `python settings.py > docs/settings.md`.",
    ]
    for group in fields(Settings):
        kind: Any = type(group.default)
        title = kind.__doc__.rstrip(".")
        lines += ["", f"## {title}", "", "| parameter | default | values | meaning |", "|---|---|---|---|"]
        for setting in fields(kind):
            low, high, choices = (setting.metadata[key] for key in ("low", "high", "choices"))
            plain: dict[Any, str] = {date: "a date", bool: "true, false", str: "text"}
            values = ", ".join(choices) or (plain[setting.type] if low is None else _range(low, high))
            meaning = setting.metadata["help"].replace("|", r"\|")
            lines.append(f"| `{setting.name}` | `{_text(setting.default)}` | {values} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(_tables(), end="")
