"""Small markets, learners and checkpoints, made on the spot."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from model import Allocator, Market, State, make_allocator
from model.learner import OnlineLearner
from settings import LearningSettings, ModelSettings, RunSettings, Settings

N, L, F, T = 12, 5, 3, 60

CHRONOS_CONFIG = {
    "tokenizer_class": "MeanScaleUniformBins",
    "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
    "context_length": 64,
    "prediction_length": 8,
    "n_tokens": 48,
    "n_special_tokens": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "use_eos_token": True,
    "model_type": "seq2seq",
    "num_samples": 4,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}


@pytest.fixture(autouse=True)
def one_thread():
    """The tests' tensors are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_market() -> Callable[..., Market]:
    def make(seed: int = 0, n: int = N, tradable: object = True) -> Market:
        features = np.random.default_rng(seed).uniform(-1, 1, (n, L, F))
        mask = np.broadcast_to(np.array(tradable), n)
        draw = np.random.default_rng(seed + 1000)
        past = draw.normal(0, 0.01, (1, T)) + draw.normal(0, 0.02, (n, T)) * draw.uniform(0.5, 1.5, (n, 1))
        return Market(
            datetime(2010, 1, 4, 9), tuple(f"S{i}" for i in range(n)), features, mask, draw.uniform(1, 9, n), past
        )

    return make


@pytest.fixture(scope="session")
def make_learner() -> Callable[..., Allocator]:
    def make(seed: int = 1, n_features: int = F, **chosen: object) -> Allocator:
        """chosen: settings of the model and of learning, by name."""
        names = {field.name for field in dataclasses.fields(ModelSettings)}
        defaults = {"backbone": "tiny-random", "device": "cpu", "precision": "fp32"}
        model = ModelSettings(**(defaults | {name: value for name, value in chosen.items() if name in names}))
        learning = LearningSettings(**{name: value for name, value in chosen.items() if name not in names})
        return make_allocator(Settings(RunSettings(seed=seed), model=model, learning=learning), n_features=n_features)

    return make


@pytest.fixture(scope="session")
def unsettle() -> Callable[[OnlineLearner], OnlineLearner]:
    """Gives a learner random parameters far from its start: adapters that act, and weights that are not equal."""

    def change(learner: OnlineLearner) -> OnlineLearner:
        rng = np.random.default_rng(5)
        arrays = {
            name: (rng.standard_normal(array.shape) / np.sqrt(array.shape[-1])).astype(np.float32)
            for name, array in learner.state().arrays.items()
        }
        learner.restore(State(arrays, step=0, decision=None))
        return learner

    return change


@pytest.fixture(scope="session")
def chronos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Chronos-T5 of a few kilobytes, as the real ones are laid out."""
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=48, d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=3, num_decoder_layers=2, pad_token_id=0,
        eos_token_id=1, decoder_start_token_id=0, dropout_rate=0.1, chronos_config=CHRONOS_CONFIG,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("chronos-t5-small-enough")
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder
