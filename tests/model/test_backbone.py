import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from chronos import ChronosPipeline
from safetensors.torch import load_file, save_file

from model import backbone

CPU = torch.device("cpu")


@torch.no_grad()
def test_encoder_agrees_with_the_chronos_pipeline(chronos_folder: Path) -> None:
    embeddings = torch.randn(4, 21, 32, generator=torch.Generator().manual_seed(0))
    pipeline = ChronosPipeline.from_pretrained(chronos_folder)
    theirs = pipeline.model.model.encoder(inputs_embeds=embeddings).last_hidden_state[:, -1]
    ours = backbone.load(str(chronos_folder), torch.float32, CPU)(embeddings)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_only_the_layers_of_the_encoder_are_kept(chronos_folder: Path) -> None:
    encoder = backbone.load(str(chronos_folder), torch.float32, CPU)
    names = load_file(chronos_folder / "model.safetensors").keys()
    kept = {f"encoder.{name}" for name, _ in encoder.named_parameters()}
    assert kept == {n for n in names if n.startswith("encoder.")} - {"encoder.embed_tokens.weight"}
    assert not list(encoder.buffers())


def test_a_sharded_checkpoint_gives_the_same_encoder_without_its_decoder_shards(
    chronos_folder: Path, tmp_path: Path
) -> None:
    weights = load_file(chronos_folder / "model.safetensors")
    shards = {name: f"{name.split('.')[0]}-{hash(name) % 2}.safetensors" for name in weights}
    for shard in {s for s in shards.values() if s.startswith("encoder")}:  # the others are not even there
        save_file({name: weights[name] for name in weights if shards[name] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (tmp_path / "config.json").write_text((chronos_folder / "config.json").read_text())
    whole = backbone.load(str(chronos_folder), torch.float32, CPU).state_dict()
    sharded = backbone.load(str(tmp_path), torch.float32, CPU).state_dict()
    assert whole.keys() == sharded.keys()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_the_number_of_parameters_is_known_before_they_are_read(chronos_folder: Path) -> None:
    encoder = backbone.load(str(chronos_folder), torch.float32, CPU)
    assert backbone.n_parameters(str(chronos_folder)) == sum(weight.numel() for weight in encoder.parameters())


def test_encoders_in_use_share_their_tensors_by_type(chronos_folder: Path) -> None:
    one, other, half = (backbone.load(str(chronos_folder), t, CPU) for t in [torch.float32] * 2 + [torch.bfloat16])
    for (name, weight), shared, converted in zip(
        one.named_parameters(), other.parameters(), half.parameters(), strict=True
    ):
        assert weight is shared, name
        assert weight.data_ptr() != converted.data_ptr(), name


@pytest.mark.parametrize(
    ("dtype", "wo"), [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)]
)
def test_types_of_the_frozen_weights(chronos_folder: Path, dtype: torch.dtype, wo: torch.dtype) -> None:
    for name, weight in backbone.load(str(chronos_folder), dtype, CPU).named_parameters():
        small = "layer_norm" in name or "relative_attention_bias" in name
        assert weight.dtype == (torch.float32 if small else wo if ".wo." in name else dtype), name
        assert not weight.requires_grad


def test_tiny_random_is_the_same_whatever_the_seed_and_leaves_the_callers_stream_alone() -> None:
    torch.manual_seed(1)
    first = backbone.load("tiny-random", torch.float32, CPU).state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    torch.manual_seed(2)
    second = backbone.load("tiny-random", torch.float32, CPU).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def offline_cache(chronos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, and a hub cache that holds amazon/chronos-t5-tiny alone."""
    repository = tmp_path / "models--amazon--chronos-t5-tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("0" * 40)).symlink_to(chronos_folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for module in ("constants", "utils._cache_manager"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("offline_cache")
def test_a_hub_name_is_read_from_the_local_cache_without_a_connection() -> None:
    assert backbone.load("amazon/chronos-t5-tiny", torch.float32, CPU).config.d_model == 32


@pytest.mark.usefixtures("offline_cache")
@pytest.mark.parametrize("name", ["amazon/chronos-t5-large", "no/such/folder"])
def test_a_backbone_that_cannot_be_downloaded_names_those_that_work(name: str) -> None:
    with pytest.raises(backbone.BackboneError) as error:
        backbone.load(name, torch.float32, CPU)
    assert str(error.value).startswith(f"backbone '{name}' is neither a folder nor cached")
    assert str(error.value).endswith("these work: tiny-random, a local folder, amazon/chronos-t5-tiny")


def test_a_folder_without_safetensors_is_refused_and_pickled_weights_are_not_read(
    chronos_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text((chronos_folder / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(backbone.BackboneError, match="pickled weights are never read"):
        backbone.load(str(tmp_path), torch.float32, CPU)


def test_broken_checkpoints_are_refused_with_the_reason(chronos_folder: Path, tmp_path: Path) -> None:
    config = json.loads((chronos_folder / "config.json").read_text())
    weights = load_file(chronos_folder / "model.safetensors")

    def refused(config: dict[str, object], weights: dict[str, torch.Tensor], message: str) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(backbone.BackboneError, match=message):
            backbone.load(str(tmp_path), torch.float32, CPU)

    refused(config | {"model_type": "bert"}, weights, "of model type 'bert'")
    refused(config | {"feed_forward_proj": "gated-gelu"}, weights, "only those of Chronos-T5, 'relu', will do")
    refused(config | {"d_ff": 40}, weights, "do not belong together")
    refused(config | {"num_layers": 4}, weights, "no tensor encoder.block.3")
    (tmp_path / "model.safetensors").write_bytes((chronos_folder / "model.safetensors").read_bytes()[:-5])
    with pytest.raises(backbone.BackboneError, match="cannot be read"):
        backbone.load(str(tmp_path), torch.float32, CPU)


PEAK = r"""
import re, sys, torch
from model import backbone
def peak():  # of this process alone: ru_maxrss would count the parent's
    return int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]) * 1024
backbone.load("tiny-random", torch.float32, "cpu")
before = peak()
encoder = backbone.load(sys.argv[1], torch.bfloat16, "cpu")  # the file has fp32
print((peak() - before) / sum(w.numel() * w.element_size() for w in encoder.parameters()))
"""


@pytest.mark.slow
def test_loading_needs_less_than_1_3_times_the_memory_that_is_kept(tmp_path: Path) -> None:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Stack

    config = T5Config(d_model=1024, d_kv=64, d_ff=4096, num_heads=16, num_layers=3, use_cache=False)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in T5Stack(config).named_parameters()}
    weights = {f"{part}.{name}": torch.ones(shape) for part in ("encoder", "decoder") for name, shape in shapes.items()}
    config.save_pretrained(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0.9 < float(run.stdout) < 1.3
