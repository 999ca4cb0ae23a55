"""Settings: what config.json and --parameter may say."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import Settings, SettingsError

ROOT = Path(__file__).parents[1]
CONFIG = json.loads((ROOT / "config.json").read_text(encoding="utf-8"))


def test_config_json_lists_every_setting_with_its_default():
    assert CONFIG["parameters"] == Settings().as_parameters()


def test_the_documentation_lists_every_setting_as_it_is():
    done = subprocess.run([sys.executable, "settings.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == done.stdout, "run: python settings.py > docs/settings.md"


def test_the_papers_values_are_the_defaults():
    settings = Settings.from_parameters(CONFIG["parameters"])
    assert settings.universe.n_stocks == 100
    assert settings.indicators.n_indicators == 41
    assert settings.model.backbone == "amazon/chronos-t5-large"
    assert settings.learning.eta == 0.01
    assert settings.learning.learning_rate == 0.01
    assert (settings.run.start.isoformat(), settings.run.end.isoformat()) == ("2009-06-01", "2019-12-31")


def test_texts_read_back_to_the_same_settings():
    changed = {"eta": "0.5", "seed": "7", "backbone": "tiny-random", "start": "2011-02-03", "max_vif": "12.25"}
    settings = Settings.from_parameters(changed)
    assert Settings.from_parameters(settings.as_parameters()) == settings
    assert settings.as_parameters()["max_vif"] == "12.25"


def test_an_empty_text_keeps_the_default():
    assert Settings.from_parameters({"eta": " "}) == Settings()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rat": "1"}, "unknown parameter 'learning_rat': did you mean 'learning_rate'?"),
        ({"zzz": "1"}, "unknown parameter 'zzz': known are allocator, backbone, "),
        ({"seed": "x"}, "seed = 'x' is not a whole number"),
        ({"seed": "1.5"}, "seed = '1.5' is not a whole number"),
        ({"eta": "much"}, "eta = 'much' is not a number"),
        ({"eta": "nan"}, "eta = nan is not finite"),
        ({"eta": "-1"}, "eta = -1 is out of range: it must be at least 0"),
        ({"n_stocks": "1"}, "n_stocks = 1 is out of range: it must be from 2 to 500"),
        ({"entropy": "maximise"}, "entropy = 'maximise' is not one of diversify, as_printed, off"),
        ({"start": "June 2009"}, "start = 'June 2009' is not a date, yyyy-mm-dd"),
        ({"start": "2020-01-01"}, "end = 2019-12-31 lies before start = 2020-01-01"),
        ({"min_stocks": "101"}, "min_stocks = 101 exceeds n_stocks = 100"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(parameters, message):
    with pytest.raises(SettingsError) as caught:
        Settings.from_parameters(parameters)
    assert str(caught.value).startswith(message)


NAMES = st.sampled_from(sorted(Settings().as_parameters())) | st.text(max_size=12)


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=4))
def test_any_text_gives_settings_in_range_or_one_sentence(parameters):
    try:
        settings = Settings.from_parameters(parameters)
    except SettingsError as error:
        assert len(str(error)) > 10  # the reason is checked above; here: nothing but SettingsError comes out
        return
    for group in dataclasses.fields(settings):
        for setting in dataclasses.fields(getattr(settings, group.name)):
            value, low = getattr(getattr(settings, group.name), setting.name), setting.metadata["low"]
            assert low is None or value >= low
            assert not setting.metadata["choices"] or value in setting.metadata["choices"]
