"""From finished runs to the shipped folder: fp16 safetensors, tokenizer, model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from sonoconvert.checkpoints.files import read_header
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.atomic import atomic_path, write_text
from sonotrain.data.knowledge import knowledge
from sonotrain.files.json_files import read_json
from sonotrain.trainers.mini.diffusion import load_diffusion
from sonotrain.trainers.mini.vae import load_vae
from sonotrain.training.compute import choose_device
from sonotrain.training.weights import our_header

NO_METRICS = ("steps", "seconds", "peak_memory_mb")
BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"


def export(
    run: str | Path,
    out: str | Path,
    *,
    decoder: str | Path | None = None,
    force: bool = False,
    defaults: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the averaged weights of a diffusion run, and the VAE it was trained with, by save_mini.

    `decoder`: a VAE run (``--decoder-of``) whose decoder takes the place of the first one's.
    Returns the facts that went into headers and card. Raises SonopaintError for an unfinished run, or where
    `out` holds a model and `force` is not set.
    """
    from sonopaint.models.mini import save_mini

    facts = gather_facts(run, decoder)
    options = read_json(Path(run) / "config.json")["options"]
    unet, text_encoder, tokenizer = load_diffusion(run)
    vae, factor = load_vae(options["vae"], choose_device("cpu"))
    if decoder:
        _take_decoder(vae, decoder)
    vae.register_to_config(scaling_factor=factor)
    metadata = our_header("Paints 5.12 s mel spectrograms of sound effects from a caption.", facts)
    save_mini(
        out, unet, vae, text_encoder, tokenizer, metadata, defaults=defaults, knows=knowledge(), force=force,
        prediction=options.get("prediction", "epsilon"),  # runs of before 2026-11-29 say nothing
    )  # fmt: skip
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder))
    }
    write_text(Path(out) / "README.md", model_card(facts, counts), force=True)
    return facts


def export_decoder(model: str | Path, run: str | Path, out: str | Path, *, force: bool = False) -> None:
    """Writes an exported model with the decoder of a VAE run (``--decoder-of``) in place of its own.

    Only vae.safetensors is another file then: what was learnt on the model stays valid. Raises
    SonopaintError for an unfinished run, one with another encoder, or where `out` holds a model and `force`
    is not set.
    """
    from sonopaint.models.mini import load_mini, part_header, stored_state_dict

    model, out = Path(model), Path(out)
    _, vae, _, _, config = load_mini(model)
    _take_decoder(vae, run)
    if (out / "config.json").exists() and not force:
        raise SonopaintError(f"{out} already holds a model; choose another folder or force overwriting.")
    _, metadata = read_header(model / "vae.safetensors")
    facts = json.loads(metadata.get("sonopaint.training", "{}"))
    machine = read_json(Path(run) / "environment.json")
    stages = facts.setdefault("stages", {})
    _add_stage(stages, "decoder", run)
    facts |= {"hardware": machine["gpu"] or f"{machine['processor']}, {machine['cores']} cores"}
    said = {
        name: text for name, text in metadata.items() if name in ("modelspec.author", "modelspec.description")
    }
    tensors = {name: value.half().contiguous() for name, value in stored_state_dict(vae).items()}
    if model.resolve() != out.resolve():
        shutil.copytree(model, out, dirs_exist_ok=True)
    with atomic_path(out / "vae.safetensors", force=True) as path:
        told = part_header("vae", config, save(tensors), {**said, "sonopaint.training": json.dumps(facts)})
        path.write_bytes(save(tensors, metadata=told))


def _add_stage(stages: dict[str, Any], name: str, folder: str | Path) -> None:
    """Adds what a finished run says of itself, numbered where the model has had such a stage."""
    result = read_json(Path(folder) / f"{'vae' if name == 'decoder' else name}.json")
    config = read_json(Path(folder) / "config.json")["options"]
    times = sum(stage.split()[0] == name for stage in stages)
    stages[f"{name} {times + 1}" if times else name] = {
        "steps": result["steps"],
        "minutes": round(result["seconds"] / 60, 1),
        "batch": config["batch"],
        "clips": config["clips"],
        "metrics": {k: round(v, 5) for k, v in result.items() if k not in NO_METRICS},
    }


def _take_decoder(vae: Any, run: str | Path) -> None:
    """Gives `vae` the decoder of another run; SonopaintError when that run's encoder is not the same."""
    other, _ = load_vae(run, choose_device("cpu"))
    encoder = {k: v for k, v in other.state_dict().items() if k.startswith(("encoder.", "quant_conv."))}
    own = vae.state_dict()
    # as files hold them: an exported model has them in fp16
    if not all(torch.equal(value.half(), own[name].half()) for name, value in encoder.items()):
        raise SonopaintError(
            f"{run} has another encoder; train it with {setting('decoder_of')} the model's VAE run."
        )
    vae.load_state_dict({**other.state_dict(), **{name: own[name] for name in encoder}})


def gather_facts(run: str | Path, decoder: str | Path | None = None) -> dict[str, Any]:
    """Data, steps, wall time, hardware and losses of a finished run, from the run folders."""
    run = Path(run)
    options = read_json(run / "config.json")["options"]
    start = options.get("start")  # runs of before 2026-11-21 have none
    stages = earlier_stages(start) if start else {}
    folders: dict[str, str | Path] = {"diffusion": run}
    if not start:
        folders = {"vae": options["vae"], "text": options["text"], **folders}
    if decoder:
        folders["decoder"] = decoder
    for name, folder in folders.items():
        _add_stage(stages, name, folder)
    machine = read_json(run / "environment.json")
    corpus = Path(options["corpus"]) / "corpus.json"
    return {
        "data": "Sonopaint's foley corpus (procedural, free of rights)",
        "corpus_seed": read_json(corpus)["seed"] if corpus.exists() else None,
        "hardware": machine["gpu"] or f"{machine['processor']}, {machine['cores']} cores",
        "torch": machine["torch"],
        "stages": stages,
    }


def earlier_stages(start: str) -> dict[str, Any]:
    """What the header of the model that a run went on from says of its stages; {} where it says nothing."""
    _, metadata = read_header(Path(start) / "unet.safetensors")
    return dict(json.loads(metadata.get("sonopaint.training", "{}")).get("stages", {}))


def model_card(facts: dict[str, Any], counts: dict[str, int]) -> str:
    """The card as Markdown, with a place for the evaluation."""
    rows = "\n".join(
        f"| {name} | {stage['steps']} | {stage['batch']} | {stage['clips']} | {stage['minutes']} | "
        + ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in stage["metrics"].items())
        + " |"
        for name, stage in facts["stages"].items()
    )
    size = sum(counts.values()) * 2 / 1e6
    return f"""# Sonopaint Mini

Paints 5.12 s of sound (32 kHz, mono) as a mel spectrogram from a caption. Stable Diffusion 1's architecture,
small: U-Net {counts["unet"] / 1e6:.1f} M, VAE {counts["vae"] / 1e6:.1f} M, CLIP text encoder
{counts["text_encoder"] / 1e6:.1f} M parameters; {size:.0f} MB in fp16. Licence: MIT, weights included.

- **Data:** {facts["data"]}, seed {facts["corpus_seed"]}: single events with attributes, two at once, two in
  sequence. No recording was used.
- **Hardware:** {facts["hardware"]}; PyTorch {facts["torch"]}.
- **Format:** `sonopaint-mini`: 128 mel bins, 20 Hz to 16 kHz, 80 dB, 320 columns of 16 ms.

| stage | steps | batch | clips | minutes | measured on held-out clips |
|---|---|---|---|---|---|
{rows}

Made with `sonotrain base corpus`, `vae`, `text`, `diffusion` and `export`; the headers of the files hold the
same facts as JSON (`sonopaint.training`).

## How good it is

`sonotrain base evaluate --model weights/mini` prints and stores the following.

{BEGIN}
Not evaluated yet.
{END}

## What it cannot do

It knows the kinds in the table above and little else: other words are read, but have no sound, and
are named with the result (`sonopaint models --kinds` lists what it knows). It has
learnt from synthetic sounds, so it sounds like them. Words of speech, melodies on demand and stereo are
out of reach.
"""


def quote_evaluation(card: Path, table: str) -> None:
    """Puts an evaluation's table between the card's markers."""
    text = card.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SonopaintError(
            f"{card} has no place for an evaluation ({BEGIN} … {END}); export the model again."
        )
    before, after = text.split(BEGIN)[0], text.split(END, 1)[1]
    write_text(card, f"{before}{BEGIN}\n{table.strip()}\n{END}{after}", force=True)
