"""The frozen encoder: found, read, typed, and given its LoRA adapters.

Only the encoder of a T5 checkpoint is read (306M of the 710M parameters of Chronos-T5-Large), tensor by tensor, so
loading needs little more memory than what is kept. There is no token embedding either: features come in through
`inputs_embeds`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import huggingface_hub
import torch
from huggingface_hub.errors import CacheNotFound, EntryNotFoundError, LocalEntryNotFoundError
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from model.encoder import AdaptedLinear, Encoder

TINY_RANDOM = "tiny-random"
ADAPTED = ["q", "k", "v", "o"]  # the attention's linear maps, as T5 names them

Reader = Callable[[str], Tensor]  # parameter name within the encoder -> its tensor; KeyError where there is none

# The frozen tensors that some encoder in this process uses, by backbone, type, device and name: a second encoder takes
# the same ones, so that K seeds of a model hold one backbone, and the last to go frees it.
_in_use: WeakValueDictionary[tuple[str, torch.dtype, torch.device, str], nn.Parameter] = WeakValueDictionary()


class BackboneError(RuntimeError):
    """A backbone that cannot be found or read; the message says which names would work."""


def load(name: str, dtype: torch.dtype, device: torch.device) -> Encoder:
    """The encoder of a T5 checkpoint, frozen.

    name: a repository on the Hugging Face hub (`amazon/chronos-t5-large`), whose local cache is looked at first; a
        folder with config.json and safetensors; or `tiny-random`, two small layers from a fixed seed: a control
        without any pretrained knowledge that needs no download.
    dtype: type of the large matrices. Layer norms and the relative position bias stay in fp32, and so does `wo` under
        fp16, where its sums overflow.
    Its frozen tensors are those of every other encoder that this process has of this name, type and device.
    Raises BackboneError where the checkpoint is missing, is not a T5, or is broken.
    """
    config, read = _open(name)
    encoder = _architecture(config)
    for key, empty in list(encoder.named_parameters()):
        place = (name, dtype, device, key)
        weight = _in_use.get(place)
        if weight is None:
            tensor = _checked(read, key, name, empty.shape).to(device, _kept_type(key, dtype), copy=True)
            weight = _in_use[place] = nn.Parameter(tensor, requires_grad=False)
        owner, _, leaf = key.rpartition(".")
        setattr(encoder.get_submodule(owner), leaf, weight)
    return encoder


def n_parameters(name: str) -> int:
    """How many numbers the encoder `name` has. Reads its config alone; raises as `load` does."""
    return sum(empty.numel() for empty in _architecture(_open(name)[0]).parameters())


def add_adapters(encoder: Encoder, *, r: int, alpha: int, use_rslora: bool, use_dora: bool) -> None:
    """Put LoRA adapters of rank r beside q, k, v and o of every layer, in place.

    use_rslora: scale by alpha / sqrt(r) instead of alpha / r (rank-stabilised LoRA, arXiv:2312.03732).
    use_dora: a trained magnitude for each output besides (weight-decomposed LoRA, arXiv:2402.09353).

    Their tensors are left on the meta device, for the policy to fill in fp32 from the run's seed.
    """
    lora = LoraConfig(
        r=r,
        lora_alpha=alpha,
        use_rslora=use_rslora,
        use_dora=use_dora,
        init_lora_weights=False,
        target_modules=ADAPTED,
        lora_dropout=0.0,
        bias="none",
    )
    lora._register_custom_module({nn.Linear: AdaptedLinear})  # peft's documented way to a layer of one's own
    inject_adapter_in_model(lora, encoder, low_cpu_mem_usage=True)


def _architecture(config: T5Config) -> Encoder:
    with torch.device("meta"):  # shapes, no memory
        return Encoder(config)


def _checked(read: Reader, key: str, name: str, shape: torch.Size) -> Tensor:
    try:
        tensor = read(key)
    except KeyError:
        raise BackboneError(f"backbone {name!r} has no tensor encoder.{key}: it is not a T5 encoder") from None
    if tensor.shape != shape:
        raise BackboneError(
            f"backbone {name!r}: encoder.{key} has shape {tuple(tensor.shape)} where its config.json says "
            f"{tuple(shape)}: the two files do not belong together"
        )
    return tensor


def _kept_type(key: str, dtype: torch.dtype) -> torch.dtype:
    wo_overflows = dtype == torch.float16 and key.endswith(".wo.weight")
    small = "layer_norm" in key or "relative_attention_bias" in key
    return torch.float32 if wo_overflows or small else dtype


def _encoder_config(config: dict[str, Any]) -> T5Config:
    config = config | {"is_encoder_decoder": False, "use_cache": False}
    return T5Config(**config)  # type: ignore[no-untyped-call]


def _open(name: str) -> tuple[T5Config, Reader]:
    return _tiny_random() if name == TINY_RANDOM else _checkpoint(name)


def _tiny_random() -> tuple[T5Config, Reader]:
    config = _encoder_config({"d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4, "num_layers": 2})
    with torch.random.fork_rng(devices=[]):  # its own seed, whatever the run's is, and the caller's stream untouched
        torch.manual_seed(0)
        weights = T5Stack(config).state_dict()  # type: ignore[no-untyped-call]
    return config, weights.__getitem__


def _checkpoint(name: str) -> tuple[T5Config, Reader]:
    """The config of a checkpoint, and a reader that opens its file anew for each tensor."""
    try:
        config = json.loads(_file(name, "config.json").read_text())
        if config.get("model_type") != "t5":
            raise BackboneError(f"backbone {name!r} is of model type {config.get('model_type')!r}: only T5 will do")
        if config.get("feed_forward_proj", "relu") != "relu":
            raise BackboneError(
                f"backbone {name!r} has feed-forward layers of kind {config['feed_forward_proj']!r}: only those of "
                "Chronos-T5, 'relu', will do"
            )
        paths = _paths_by_tensor(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:  # the hub's own errors are among the first two
        if Path(name).is_dir():
            raise BackboneError(f"backbone {name!r} cannot be read: {error}") from error
        unreachable = isinstance(error, LocalEntryNotFoundError)
        reason = "it cannot be reached" if unreachable else str(error).splitlines()[0]
        raise BackboneError(
            f"backbone {name!r} is neither a folder nor cached, and the hub does not give it ({reason}): "
            f"without a connection these work: {', '.join([TINY_RANDOM, 'a local folder', *_cached_names()])}"
        ) from error

    def read(key: str) -> Tensor:
        # An open safetensors file is a memory map: every page read through it counts as resident until it is closed.
        with safe_open(paths[f"encoder.{key}"], framework="pt") as file:
            tensor: Tensor = file.get_tensor(f"encoder.{key}")
            return tensor

    return _encoder_config(config), read


def _paths_by_tensor(name: str) -> dict[str, Path]:
    """Tensor name -> the safetensors file that holds it; of a sharded checkpoint only the encoder's shards."""
    try:
        path = _file(name, "model.safetensors")
    except EntryNotFoundError:
        index = json.loads(_file(name, "model.safetensors.index.json").read_text())["weight_map"]
        return {tensor: _file(name, shard) for tensor, shard in index.items() if tensor.startswith("encoder.")}
    with safe_open(path, framework="pt") as file:
        return dict.fromkeys(file.keys(), path)


def _file(name: str, file: str) -> Path:
    """A file of a checkpoint: in the folder `name`, in the hub's local cache, or downloaded, in this order.

    Raises EntryNotFoundError where the checkpoint has no such file, and its subclass LocalEntryNotFoundError where that
    cannot be known because the hub cannot be reached.
    """
    if Path(name).is_dir():
        if not (Path(name) / file).is_file():
            raise EntryNotFoundError(f"no {file} in the folder, and pickled weights are never read")
        return Path(name) / file
    try:
        return Path(huggingface_hub.hf_hub_download(name, file, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(huggingface_hub.hf_hub_download(name, file))


def _cached_names() -> list[str]:
    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(repository.repo_id for repository in repositories if "chronos-t5" in repository.repo_id)
