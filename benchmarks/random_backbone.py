"""Write a T5 encoder of Chronos-T5's shape with random weights into a folder, to measure what a size costs.

    python benchmarks/random_backbone.py FOLDER [--size large]

It knows nothing about time series: use it for time and memory, never for results.
"""

import json
from pathlib import Path

import click
import torch
from safetensors.torch import save_file
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

# (d_model, d_ff, layers, heads) of the published Chronos-T5 checkpoints; d_kv is 64 in all of them.
SIZES = {
    "tiny": (256, 1024, 4, 4),
    "mini": (384, 1536, 4, 8),
    "small": (512, 2048, 6, 8),
    "base": (768, 3072, 12, 12),
    "large": (1024, 4096, 24, 16),
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--size", type=click.Choice(list(SIZES)), default="large", show_default=True)
def main(folder: Path, size: str) -> None:
    d_model, d_ff, layers, heads = SIZES[size]
    shape = {"d_model": d_model, "d_ff": d_ff, "d_kv": 64, "num_layers": layers, "num_heads": heads}
    config = T5Config(**shape, is_encoder_decoder=False, use_cache=False)
    torch.manual_seed(0)
    encoder = T5Stack(config)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "t5", "vocab_size": 4096, **shape}), encoding="utf-8")
    count = sum(tensor.numel() for tensor in tensors.values())
    click.echo(f"{count / 1e6:.0f}M random parameters in the shape of Chronos-T5-{size.capitalize()} are in {folder}")


if __name__ == "__main__":
    main()
