"""Our encoder beside transformers' T5 with peft's layers, which define it."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from transformers import T5EncoderModel

from model import backbone
from model.encoder import Encoder

CPU = torch.device("cpu")
D, INNER, D_FF, HEADS, LAYERS = 32, 32, 48, 4, 3  # of `chronos_folder`
VARIANTS = {
    "lora": {"lora_alpha": 16},
    "rslora": {"lora_alpha": 8, "use_rslora": True},
    "dora": {"lora_alpha": 16, "use_dora": True},
}


def inputs(length: int, stocks: int = 4) -> torch.Tensor:
    return torch.randn(stocks, length, D, generator=torch.Generator().manual_seed(length))


def theirs(folder: Path, options: dict[str, object]) -> PeftModel:
    """The obvious code, its adapters about as large as some steps of AdamW make them."""
    lora = LoraConfig(r=4, target_modules=["q", "k", "v", "o"], lora_dropout=0.0, **options)
    torch.manual_seed(0)
    model = get_peft_model(T5EncoderModel.from_pretrained(folder), lora).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 0.05, generator=generator)
            elif ".lora_magnitude_vector." in name:
                parameter *= 1 + 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    named = {name.removeprefix("base_model.model.encoder."): p for name, p in model.named_parameters()}
    return {name: parameter for name, parameter in named.items() if parameter.requires_grad}


def ours(folder: Path, options: dict[str, object], dtype: torch.dtype = torch.float32) -> Encoder:
    encoder = backbone.load(str(folder), dtype, CPU)
    chosen = {"use_rslora": False, "use_dora": False} | options
    backbone.add_adapters(encoder, r=4, alpha=chosen.pop("lora_alpha"), **chosen)
    for name, tensor in trainable(theirs(folder, options)).items():
        owner, _, leaf = name.rpartition(".")
        setattr(encoder.get_submodule(owner), leaf, torch.nn.Parameter(tensor.detach().clone()))
    return encoder


@pytest.mark.parametrize("length", [1, 2, 21, 300])  # distances of every bucket, and beyond the last
@torch.no_grad()
def test_the_frozen_encoder_agrees_with_transformers_at_the_last_session(chronos_folder: Path, length: int) -> None:
    expected = T5EncoderModel.from_pretrained(chronos_folder)(inputs_embeds=inputs(length)).last_hidden_state[:, -1]
    hidden = backbone.load(str(chronos_folder), torch.float32, CPU)(inputs(length))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 21])
def test_hidden_states_and_every_gradient_agree_with_peft_on_transformers(
    chronos_folder: Path, variant: str, length: int
) -> None:
    model, encoder = theirs(chronos_folder, VARIANTS[variant]), ours(chronos_folder, VARIANTS[variant])
    slope = torch.randn(4, D, generator=torch.Generator().manual_seed(2))
    steps, our_steps = (inputs(length).requires_grad_() for _ in range(2))
    expected = model(inputs_embeds=steps).last_hidden_state[:, -1]
    expected.backward(slope)
    hidden = encoder(our_steps)
    hidden.backward(slope)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=2e-6)  # of numbers up to 4
    gradients = {name: parameter.grad for name, parameter in trainable(encoder).items()} | {"input": our_steps.grad}
    wanted = {name: parameter.grad for name, parameter in trainable(model).items()} | {"input": steps.grad}
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        # With one session attention has no choice: q and k have no gradient.
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-9, name


def test_peft_reads_the_trained_tensors_by_their_names(chronos_folder: Path) -> None:
    encoder = ours(chronos_folder, VARIANTS["lora"])
    fresh = get_peft_model(
        T5EncoderModel.from_pretrained(chronos_folder),
        LoraConfig(r=4, lora_alpha=16, target_modules=["q", "k", "v", "o"]),
    ).eval()
    file = {f"base_model.model.encoder.{n.replace('.default', '')}": t.detach() for n, t in trainable(encoder).items()}
    assert not set_peft_model_state_dict(fresh, file).unexpected_keys
    with torch.no_grad():
        expected = fresh(inputs_embeds=inputs(21)).last_hidden_state[:, -1]
        torch.testing.assert_close(encoder(inputs(21)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_residual_stream_and_gradients_stay_in_fp32(chronos_folder: Path, dtype: torch.dtype) -> None:
    encoder = ours(chronos_folder, VARIANTS["lora"], dtype)
    seen = []
    for block in encoder.block:
        for layer in block.layer:
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    steps = inputs(21).requires_grad_()
    encoder(steps).sum().backward()
    assert seen == [torch.float32] * 2 * LAYERS
    assert {steps.grad.dtype, *(p.grad.dtype for p in trainable(encoder).values())} == {torch.float32}


def layer_bytes(size: int, length: int, queries: int, r: int = 4) -> int:
    """What docs/gpu.md says that a layer keeps for a stock, in a number type of `size` bytes."""
    of_sessions = 4 * D + 2 * size * INNER + 3 * 4 * r  # input, k and v, what A of q, k and v put out
    shares = HEADS * length * (4 if size == 4 else 4 + size)  # of the attention, after and before rounding
    of_queries = size * INNER + shares + 4 * INNER + 4 * r + 4 * D + size * D_FF  # q, mixed, A of o, input, ReLU
    return length * of_sessions + queries * of_queries


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_graph_keeps_what_the_documentation_says_and_no_more(chronos_folder: Path, dtype: torch.dtype) -> None:
    encoder = ours(chronos_folder, VARIANTS["lora"], dtype)
    weights = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    stocks, length = 64, 21
    steps = inputs(length, stocks).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = encoder(steps)
    size = torch.empty(0, dtype=dtype).element_size()
    layers = (LAYERS - 1) * layer_bytes(size, length, length) + layer_bytes(size, length, 1)
    assert hidden.requires_grad
    # Besides: the norms' scales, 4 bytes a session, and A of q, k and v stacked, once for all stocks.
    assert stocks * layers < sum(kept.values()) < 1.03 * stocks * layers
