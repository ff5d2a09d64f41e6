"""How much memory and time a large checkpoint takes on its way from a pickle to safetensors, and to a folder.

    python benchmarks/checkpoints.py [--gigabytes 1] [--folder /tmp]

Writes a model with SD 1.5's layout, about as large as asked, in both of torch.save's formats, converts it in
processes of their own, and prints their peak memory beside that of the obvious way (torch.load, save_file).
Linux only: the peak is VmHWM of /proc/self/status, which counts pages of mapped files too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OBVIOUS = """
import sys, torch
from safetensors.torch import save_file
tensors = torch.load(sys.argv[1], weights_only=True)["state_dict"]
save_file({name: t.contiguous() for name, t in tensors.items()}, sys.argv[2])
"""
OURS = "import sys; from sonoconvert.cli import main; sys.exit(main(['checkpoint', *sys.argv[1:]]))"
NOTHING = "import sys, torch, safetensors.torch, sonoconvert.checkpoints.layouts"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where the files go; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        size = write_model(folder, options.gigabytes)
        base, _ = measure(NOTHING)
        print(f"a model of {size / 1e6:.0f} MB; {base:.0f} MB are Python and PyTorch themselves\n")
        print("| conversion | seconds | peak memory beyond that | per byte of the model |")
        print("|---|---|---|---|")
        for label, code, source, target in (
            ("torch.load + save_file", OBVIOUS, "new.ckpt", "a.safetensors"),
            ("sonoconvert, zip pickle", OURS, "new.ckpt", "b.safetensors"),
            ("sonoconvert, old pickle", OURS, "old.ckpt", "c.safetensors"),
            ("sonoconvert, to a diffusers folder", OURS, "b.safetensors", "folder"),
            ("sonoconvert, back to one file", OURS, "folder", "d.safetensors"),
        ):
            peak, seconds = measure(code, folder / source, folder / target)
            extra = peak - base
            print(f"| {label} | {seconds:.1f} | {extra:.0f} MB | {extra * 1e6 / size:.2f} |")
        same = (folder / "a.safetensors").stat().st_size, (folder / "d.safetensors").stat().st_size
        print(f"\nsizes of the first and the last file: {same[0]} and {same[1]} bytes")


def write_model(folder: Path, gigabytes: float) -> int:
    """A complete model with SD 1.5's names and widths in proportion; returns its bytes."""
    import torch

    from sonoconvert.checkpoints import ldm

    width = max(32, int(320 * (gigabytes / 3.2) ** 0.5) // 32 * 32)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator) / 50
        for name, shape in shapes(width, ldm.SD1_LEVELS).items()
    }
    torch.save({"state_dict": tensors}, folder / "new.ckpt")
    torch.save({"state_dict": tensors}, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def shapes(width: int, levels: dict) -> dict[str, tuple[int, ...]]:
    """The weights (no norms) of a U-Net, a VAE and a text encoder with Stable Diffusion 1's names."""
    from sonoconvert.checkpoints import ldm

    unet, vae, text = ldm.UNET_PREFIX, ldm.VAE_PREFIX, ldm.TEXT_PREFIX + "text_model."
    found: dict[str, tuple[int, ...]] = {}
    for block, name in ldm.unet_modules(levels).items():
        wide = width * (1 if ".0." in name[:14] else 2 if ".1." in name[:14] else 4)
        if ".resnets." in name:
            found[f"{unet}{block}.in_layers.0.weight"] = (wide,)
            found[f"{unet}{block}.in_layers.2.weight"] = (wide, wide, 3, 3)
            found[f"{unet}{block}.out_layers.3.weight"] = (wide, wide, 3, 3)
        elif ".attentions." in name:
            inner = f"{unet}{block}.transformer_blocks.0"
            found[f"{unet}{block}.norm.weight"] = (wide,)
            found[f"{inner}.attn2.to_k.weight"] = (wide, 768)
            found[f"{inner}.ff.net.0.proj.weight"] = (8 * wide, wide)
            found[f"{inner}.ff.net.2.weight"] = (wide, 4 * wide)
    found[f"{unet}input_blocks.0.0.weight"] = (width, 4, 3, 3)
    found[f"{unet}out.2.weight"] = (4, width, 3, 3)
    found[f"{vae}encoder.conv_in.weight"] = (32, 3, 3, 3)
    found[f"{vae}decoder.conv_out.weight"] = (3, 32, 3, 3)
    found[f"{vae}post_quant_conv.weight"] = (4, 4, 1, 1)
    found[f"{vae}encoder.down.0.block.0.conv2.weight"] = (32, 32, 3, 3)
    found[f"{text}embeddings.token_embedding.weight"] = (49408, 768)
    found[f"{text}embeddings.position_embedding.weight"] = (77, 768)
    found[f"{text}encoder.layers.0.mlp.fc1.weight"] = (3072, 768)
    return found


def measure(code: str, *arguments: Path) -> tuple[float, float]:
    """(peak resident megabytes, seconds) of Python code in a process of its own."""
    report = "\nprint(*[line for line in open('/proc/self/status') if 'VmHWM' in line], file=sys.stderr)"
    if "sys.exit(" in code:
        code = code.replace("sys.exit(", "code = (")
    begun = time.monotonic()
    command = [sys.executable, "-c", code + report, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-2]) / 1024, time.monotonic() - begun


if __name__ == "__main__":
    main()
