"""Speed and memory of LoRA training, beside the loop of diffusers' `train_text_to_image_lora` example.

    python benchmarks/lora_training.py [--size mini|middle|sd15] [--steps 20] [--batch 4] [--threads 1]

Both train a rank-8 LoRA in the attention layers of the same model with AdamW, the same batch and precision
(fp32 on a processor). The other loop is an own minimal equivalent of what the example does in a step: read
pictures from disk, encode them with the VAE, encode the captions with the text encoder, draw noise, predict,
go back, clip, step; through accelerate. Ours reads cached latents and text embeddings.

On a processor with one thread, processor time counts (other programs hardly disturb it), else wall time.
Each loop runs in a process of its own, one after the other (A B A B …); peak memory is the process's largest
resident set, everything counted: Python, PyTorch, libraries, and for ours the making of the caches.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

# U-Net, VAE and text encoder: channels and widths of each size.
SIZES: dict[str, dict[str, Any]] = {
    "middle": {
        "unet": (64, 128, 256, 256),
        "heads": 8,
        "width": 256,
        "layers": 6,
        "vae": (64, 128, 256, 256),
    },
    "sd15": {
        "unet": (320, 640, 1280, 1280),
        "heads": 8,
        "width": 768,
        "layers": 12,
        "vae": (128, 256, 512, 512),
    },
}


def make_model(folder: Path, size: str) -> None:
    """A diffusers folder with SD 1.5's layout and random weights, in the perkins-10s format (512 × 512)."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from sonopaint.models.tokenizer import find_clip_tokenizer, save_tokenizer

    chosen = SIZES[size]
    torch.manual_seed(0)
    cross = ["CrossAttnDownBlock2D"] * 3
    unet = UNet2DConditionModel(
        block_out_channels=chosen["unet"],
        cross_attention_dim=chosen["width"],
        attention_head_dim=chosen["heads"],
        down_block_types=[*cross, "DownBlock2D"],
        up_block_types=["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    )
    unet.save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=chosen["vae"],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        layers_per_block=2,
        sample_size=512,
    ).save_pretrained(folder / "vae")
    tokenizer = find_clip_tokenizer(folder)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=chosen["width"],
        intermediate_size=4 * chosen["width"],
        num_hidden_layers=chosen["layers"],
        num_attention_heads=chosen["width"] // 64,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    save_tokenizer(tokenizer, folder / "tokenizer")
    (folder / "model_index.json").write_text("{}", encoding="utf-8")


def make_data(folder: Path, form: str, clips: int = 8) -> None:
    """Noise bursts as a dataset."""
    from sonoconvert.files.clip import Clip, write_clip
    from sonoconvert.pictures.format import get_format
    from sonotrain.data.build import build_dataset
    from sonotrain.data.options import DatasetOptions

    fmt = get_format(form)
    generator = torch.Generator().manual_seed(0)
    for number in range(clips):
        waveform = 0.3 * torch.randn(1, fmt.width * fmt.hop_length, generator=generator)
        waveform *= torch.linspace(1, 0, waveform.shape[1]) ** (number + 1)
        write_clip(Clip(waveform, fmt.sample_rate), folder / "sounds" / f"burst {number}.wav")
    options = DatasetOptions(format=form, trigger="burst", test=0.0, validation=0.0, duplicates="keep")
    build_dataset(folder / "sounds", folder / "data", options, workers=1)


def example_loop(model_path: str, data: Path, given: argparse.Namespace) -> dict[str, float]:
    """What diffusers' example does, step by step."""
    import numpy as np
    from accelerate import Accelerator
    from peft import LoraConfig
    from PIL import Image

    from sonopaint.models.loading import load_model
    from sonotrain.data.dataset import load_dataset
    from sonotrain.training.losses import min_snr_weights

    accelerator = Accelerator(cpu=given.device == "cpu", gradient_accumulation_steps=1)
    model = load_model(model_path, device=accelerator.device, dtype=given.dtype, format=given.format)
    unet, vae, text_encoder = model.unet, model.vae, model.text_encoder
    unet.add_adapter(
        LoraConfig(
            r=8,
            lora_alpha=8,
            init_lora_weights="gaussian",
            target_modules=["to_k", "to_q", "to_v", "to_out.0"],
        )
    )
    layers = [p for p in unet.parameters() if p.requires_grad]
    for parameter in layers:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(layers, lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    examples = load_dataset(data).train

    class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(examples)

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            with Image.open(examples[index].picture) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
            ids = model.tokenizer(examples[index].text, padding="max_length", truncation=True, max_length=77)
            return {
                "pixel_values": torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1,
                "input_ids": torch.tensor(ids.input_ids),
            }

    loader = torch.utils.data.DataLoader(Pictures(), shuffle=True, batch_size=given.batch, drop_last=True)
    unet, optimizer, loader = accelerator.prepare(unet.train(), optimizer, loader)
    schedule = model.alphas_cumprod.float().to(accelerator.device)
    times: list[float] = []
    while len(times) <= given.steps:
        for batch in loader:
            start = now(given)
            with accelerator.accumulate(unet), torch.autocast(given.device, given.dtype, enabled=given.half):
                latents = (
                    vae.encode(batch["pixel_values"].to(given.dtype)).latent_dist.sample() * model.vae_scale
                )
                noise = torch.randn_like(latents)
                steps = torch.randint(0, 1000, (len(latents),), device=latents.device)
                alpha = schedule[steps][:, None, None, None]
                noisy = (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).to(given.dtype)
                hidden = text_encoder(batch["input_ids"], return_dict=False)[0]
                predicted = unet(noisy, steps, hidden, return_dict=False)[0]
                errors = (predicted.float() - noise.float()).square().mean((1, 2, 3))
                loss = (min_snr_weights(schedule, steps) * errors).mean()
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(layers, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            loss.item()
            times.append(now(given) - start)
    return {"seconds_per_step": statistics.median(times[1:])}


def our_loop(model_path: str, data: Path, given: argparse.Namespace) -> dict[str, float]:
    """The steps of `sonotrain lora`, after its caches were made in the same process."""
    from sonotrain.trainers.lora.trainer import LoraTrainer
    from sonotrain.training.run import Run
    from sonotrain.training.run_folder import RunFolder

    options = {
        "model": model_path, "dataset": str(data), "format": given.format, "steps": given.steps,
        "batch": given.batch, "accumulation": 1, "rank": 8, "learning_rate": 1e-4, "preserve": 0.0,
        "preview_every": 0, "variants": 1,
        "caption_dropout": 0.0, "precision": "bf16" if given.half else "fp32",
        "gradient_checkpointing": given.checkpointing,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as opened:
        run = Run(opened, LoraTrainer.processes(torch.device(given.device)))
        trainer = run.prepare(LoraTrainer, options)
        times = []
        for number in range(given.steps + 1):
            start = now(given)
            trainer.step(number)["loss"].item()
            times.append(now(given) - start)
    return {"seconds_per_step": statistics.median(times[1:])}


def now(given: argparse.Namespace) -> float:
    """Seconds: of processor time with one thread on a processor, else wall time."""
    alone = given.device == "cpu" and given.threads == 1
    return time.process_time() if alone else time.monotonic()


def peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("mini", *SIZES), default="mini")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2, help="how often each loop runs, in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--half", action="store_true", help="bf16")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing (ours only)")
    parser.add_argument("--one", nargs=3, metavar=("LOOP", "MODEL", "DATA"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.format = "" if given.size == "mini" else "perkins-10s"
    given.dtype = torch.bfloat16 if given.half else torch.float32
    torch.set_num_threads(given.threads)
    if given.one:
        loop, model, data = given.one
        result = {"ours": our_loop, "example": example_loop}[loop](model, Path(data), given)
        print(json.dumps({**result, "peak_mb": peak_mb(given.device)}))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = "mini"
        if given.size != "mini":
            make_model(folder / "model", given.size)
            model = str(folder / "model")
        make_data(folder, given.format or "sonopaint-mini")
        results: dict[str, list[dict[str, float]]] = {"example": [], "ours": []}
        words = [sys.executable, __file__, *sys.argv[1:]]
        for _ in range(given.rounds):
            for loop, found in results.items():
                answer = subprocess.run(
                    [*words, "--one", loop, model, str(folder / "data")], capture_output=True, text=True
                )
                if answer.returncode:
                    print(answer.stderr[-2000:], file=sys.stderr)
                    return 1
                found.append(json.loads(answer.stdout.splitlines()[-1]))
    speed = {k: min(r["seconds_per_step"] for r in v) for k, v in results.items()}
    memory = {k: max(r["peak_mb"] for r in v) for k, v in results.items()}
    print(
        f"{given.size}, batch {given.batch}, {'bf16' if given.half else 'fp32'}, {given.device}, "
        f"{given.threads} thread(s), median of {given.steps} steps, best of {given.rounds} runs"
    )
    for loop in results:
        print(f"{loop:8} {speed[loop]:7.3f} s/step   peak {memory[loop]:7.0f} MB")
    faster, less = speed["example"] / speed["ours"], memory["ours"] / memory["example"]
    print(f"ours is {faster:.2f} times as fast, at {less:.2f} of the memory")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
