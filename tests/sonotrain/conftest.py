"""Tiny models, corpora and datasets, and one finished run of every trainer on them, for tests in seconds."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

TRIGGER = "zorblat"
KINDS = ("rain", "siren", "dog_bark")
OFTEN = 1e-6  # minutes between checkpoints: after every step


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """Mini's configuration at a fraction of its size, with two levels: layers cost more than weights."""
    config["unet"] |= {
        "block_out_channels": [16, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
    }
    config["vae"] |= {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
    config["text_encoder"] |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return config


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mini of some ten thousand random weights, saved as the shipped one is."""
    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    size = train_tokenizer(["a dog barking in the rain", "a train horn", TRIGGER], folder / "tokenizer", 600)
    torch.manual_seed(0)
    parts = build_mini(shrink(mini_config(vocab_size=size)))
    defaults = {"steps": 2, "guidance_scale": 3.0}
    save_mini(folder, *parts, load_tokenizer(folder / "tokenizer"), {}, defaults=defaults, force=True)
    return folder


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_dataset(train, validation, columns)`: decaying tones in a dataset's layout."""
    from sonoconvert.conversion.convert import encode
    from sonoconvert.files.clip import Clip, write_clip
    from sonoconvert.pictures.format import get_format
    from sonoconvert.pictures.picture import Picture, save_picture

    fmt = get_format("sonopaint-mini")

    def make(train: int = 6, validation: int = 2, columns: int = 320) -> Path:
        folder = tmp_path_factory.mktemp("dataset")
        time = torch.arange(fmt.width * fmt.hop_length) / fmt.sample_rate
        for split, count in (("train", train), ("validation", validation)):
            (folder / split).mkdir()
            lines = []
            for number in range(count):
                waveform = torch.sin(6.283 * (300 + 150 * number) * time) * torch.exp(-2 * time)
                waveform[columns * fmt.hop_length :] = 0
                clip = Clip(waveform[None], fmt.sample_rate)
                picture = encode(clip, fmt)
                picture = Picture(picture.pixels[:, : fmt.width].copy(), fmt, picture.peak)
                save_picture(picture, folder / split / f"{number}.png")
                write_clip(clip, folder / split / f"{number}.flac")
                line = {"file_name": f"{number}.png", "audio": f"{number}.flac", "columns": columns}
                lines.append(
                    line | {"text": f"{TRIGGER}, a train horn", "label": "tone", "source": f"{number}.wav"}
                )
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / split / "metadata.jsonl").write_text(text, encoding="utf-8")
        about = {"version": 1, "format": fmt.to_dict(), "trigger": TRIGGER}
        (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_sounds(make_dataset: Callable[..., Path]) -> Path:
    """Six training and two validation clips."""
    return make_dataset()


@pytest.fixture(scope="session")
def student(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that says that it makes the tiny base a one-step student."""
    from sonoconvert.checkpoints.lora import save_lora
    from sonoconvert.checkpoints.nouns import LoraModule
    from sonopaint.models.loading import load_model

    unet = load_model(tiny_base, device="cpu").unet
    generator = torch.Generator().manual_seed(0)
    modules = {}
    for name, layer in unet.named_modules():
        if name.endswith("to_out.0"):
            down = torch.randn(2, layer.in_features, generator=generator) * 0.3
            up = torch.randn(layer.out_features, 2, generator=generator) * 0.3
            modules[f"unet.{name}"] = LoraModule(down, up, 2.0)
    path = tmp_path_factory.mktemp("student") / "tiny-one-step.safetensors"
    header = {"sonopaint.one_step": json.dumps({"timestep": 999})}
    save_lora(path, modules, names="ldm", unet_config=dict(unet.config), metadata=header)
    return path


def write_stripes(folder: Path, *, pairs: bool) -> Path:
    """A corpus of 72 pictures: stripes whose height is their kind, a third of them in sequence."""
    from sonotrain.data.corpus import Record, quantise, write_shard

    generator = torch.Generator().manual_seed(0)
    levels, records = torch.zeros(72, 128, 320), []
    for clip in range(72):
        first, second = torch.randint(3, (2,), generator=generator).tolist()
        pair = pairs and clip % 3 == 0
        levels[clip, 20 + 30 * first : 40 + 30 * first, : 160 if pair else 320] = 0.8
        if pair:
            levels[clip, 20 + 30 * second : 40 + 30 * second, 160:] = 0.8
        names = [KINDS[first], KINDS[second]] if pair else [KINDS[first]]
        said = [
            form.format(*names) for form in (("{}, then {}", "{} and then {}") if pair else ("{}", "a {}"))
        ]
        said += [f"{text} {word}" for text in said for word in ("nearby", "outside", f"number {clip}")]
        records.append(Record(said, names, "sequence" if pair else "single", ["distant"] if clip % 2 else []))
    write_shard(folder, 0, {"levels": quantise(levels[:40])}, records[:40])
    write_shard(folder, 1, {"levels": quantise(levels[40:])}, records[40:])
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures, some in sequence."""
    return write_stripes(tmp_path_factory.mktemp("corpus"), pairs=True)


@pytest.fixture(scope="session")
def curved_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures, with curves beside them as if they had been measured: how loud the columns are."""
    from safetensors.torch import save_file

    from sonotrain.data.corpus import Corpus

    folder = write_stripes(tmp_path_factory.mktemp("curved"), pairs=True)
    loud = Corpus(folder).levels.float().mean(1) / 255 * 60 - 60
    rows = {name: torch.zeros_like(loud).half() for name in ("pitch", "onsets")}
    rows |= {"loudness": loud.half(), "brightness": torch.full_like(loud, 1000.0).half()}
    (folder / "curves").mkdir()
    for index, part in enumerate((slice(40), slice(40, None))):  # as the pictures' shards
        shard = {name: values[part].contiguous() for name, values in rows.items()}
        save_file(shard, folder / "curves" / f"shard-{index:05d}.safetensors")
    return folder


@pytest.fixture(scope="session")
def kinds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of sound that nobody knows, four recordings of each, between one and two seconds long."""
    from sonoconvert.files.clip import Clip, write_clip

    folder = tmp_path_factory.mktemp("kinds")
    for number in range(8):
        kind = ("zorble_horn", "glimp")[number % 2]
        time = torch.arange(32_000 + 4_000 * number) / 32_000
        waveform = torch.sin(6.283 * (300 + 150 * number) * time * (1 + time * (number % 2)))
        (folder / kind).mkdir(exist_ok=True)
        clip = Clip((waveform * torch.exp(-number * time / 2))[None], 32_000)
        write_clip(clip, folder / kind / f"{number}.flac")
    return folder


@pytest.fixture(scope="session")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures of single events."""
    return write_stripes(tmp_path_factory.mktemp("singles"), pairs=False)


@contextmanager
def small_mini() -> Iterator[None]:
    """Within the block Mini's architecture has a fraction of its size, and 16 clips validate it."""
    from sonopaint.models import mini

    full = mini.mini_config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, "mini_config", lambda *args, **kwargs: shrink(full(*args, **kwargs)))
        for place in ("vae", "diffusion"):
            patch.setattr(f"sonotrain.trainers.mini.{place}.VALIDATION_CLIPS", 16)
        yield


@contextmanager
def short_sounds() -> Iterator[None]:
    """Within the block the vocoder learns from a second of tones and noise each; two are held out."""

    def made(clips: int, rate: int, seed: int, workers: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        pitch = 100 + 900 * torch.rand(clips, 1, generator=generator)
        sound = torch.sin(2 * torch.pi * pitch * torch.arange(rate) / rate)
        return (9000 * (sound + 0.1 * torch.randn(clips, rate, generator=generator))).to(torch.int16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonotrain.trainers.vocoder.train.waveforms", made)
        patch.setattr("sonotrain.trainers.vocoder.train.HELD_OUT", 2)
        yield


@contextmanager
def rough_sounds() -> Iterator[None]:
    """Within the block sounds have flat phases and one iteration of the search: nobody hears tiny models."""
    from sonoconvert.phase import search

    iterate = search.iterate

    def once(spectrum: Any, project: Any, win: int, hop: int, iterations: int, **more: Any) -> Any:
        return iterate(spectrum, project, win, hop, min(iterations, 1), **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "iterate", once)
        patch.setattr(search, "phase_gradient", lambda loudness, *_, **__: torch.ones_like(loudness) + 0j)
        yield


@pytest.fixture
def rough() -> Iterator[None]:
    """Sounds that nobody hears are made quickly."""
    with rough_sounds():
        yield


@pytest.fixture
def tiny_mini() -> Iterator[None]:
    """Mini's architecture at a fraction of its size."""
    with small_mini(), rough_sounds():
        yield


@pytest.fixture
def few_sounds() -> Iterator[None]:
    """Tones and noise in place of the vocoder's corpus."""
    with short_sounds():
        yield


@dataclass(frozen=True)
class Case:
    """A small run of one trainer; `crash`: a step in its middle."""

    place: str
    given: dict[str, Any]
    steps: int | None
    crash: int

    @property
    def kind(self) -> Any:
        module, _, name = self.place.partition(":")
        return getattr(import_module(f"sonotrain.trainers.{module}"), name)

    def train(self, out: Path, more: dict[str, Any] | None = None, **how: Any) -> bool:
        from sonotrain.training.loop import Budget
        from sonotrain.training.run import train

        budget = Budget(steps=self.steps) if self.steps else None
        with small_mini(), short_sounds(), rough_sounds():
            return train(self.kind, out, self.given | (more or {}), budget, device="cpu", **how)


TRAINERS = ("vae", "grain", "text", "diffusion", "inpaint", "curves", "tune", "classifier", "vocoder")
TRAINERS += ("distill", "lora", "subject", "blend")


@pytest.fixture(scope="session")
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Case]]:
    """`case(name)`: the smallest run of each of TRAINERS that does all that the trainer does."""
    found: dict[str, Case] = {}
    patch = pytest.MonkeyPatch()
    corpus = request.getfixturevalue("corpus")
    common = {"checkpoint_minutes": OFTEN, "threads": 1, "warmup": 2}

    def of(name: str) -> Case:
        if name not in found:
            found[name] = made(name)
        return found[name]

    def value(name: str) -> str:
        return str(request.getfixturevalue(name))

    def made(name: str) -> Case:
        if name == "vae":
            more = {"corpus": str(corpus), "batch": 2, "crop": 16, "adversarial_from": 0.4}
            return Case("mini.vae:VaeTrainer", common | more, 6, 4)
        if name == "grain":
            more = {"corpus": str(corpus), "model": str(request.getfixturevalue("whole")("vae"))}
            more |= {"clips": 8, "batch": 2, "crop": 16, "channels": 4}
            return Case("mini.grain:GrainTrainer", common | more, 6, 4)
        if name == "text":
            more = {"corpus": str(corpus), "vocab_size": 700, "batch": 16}
            return Case("mini.text:TextTrainer", common | more, 3, 2)
        if name == "diffusion":
            whole = request.getfixturevalue("whole")
            more = {"corpus": str(corpus), "vae": str(whole("vae")), "text": str(whole("text")), "batch": 2}
            more |= {"text_every": 2, "preview_steps": 1}
            return Case("mini.diffusion:DiffusionTrainer", common | more, 5, 3)
        if name == "inpaint":
            more = {"model": value("mini_folder"), "scenes": value("box_scenes"), "rank": 2, "conv_rank": 2}
            more |= {"batch": 4, "held_out": 4, "learning_rate": 3e-2}
            return Case("mini.inpaint:InpaintTrainer", common | more, 6, 4)
        if name == "curves":
            more = {
                "model": value("mini_folder"),
                "corpus": value("curved_corpus"),
                "batch": 4,
                "held_out": 8,
                "channels": 8,
                "learning_rate": 1e-3,
                "predictions": 64,
            }
            return Case("curves.train:CurvesTrainer", common | more, 6, 4)
        if name == "tune":
            more = {"model": value("mini_folder"), "sounds": value("kinds_folder"), "batch": 2, "channels": 8}
            return Case("curves.tune:TuneTrainer", common | more | {"vectors": 4}, 6, 4)
        if name == "classifier":
            more = {"corpus": value("singles"), "held_out": 4, "round_trip": 2, "batch": 4}
            return Case("mini.classifier:ClassifierTrainer", common | more, 3, 2)
        if name == "vocoder":
            more = {"format": "sonopaint-mini", "clips": 4, "batch": 1, "crop": 16, "width": 8, "deep": 8}
            return Case("vocoder.train:VocoderTrainer", common | more | {"blocks": 1}, 4, 3)
        if name == "blend":
            more = {"corpus": "", "notes": 20, "seconds": 1.1, "frames": 8, "batch": 2, "width": 8, "code": 4}
            more |= {"multipliers": (1, 1, 1, 1), "bottleneck": 4, "encoder": 2}
            more |= {"cache": str(tmp_path_factory.mktemp("kept"))}
            return Case("blend:BlendTrainer", common | more, 8, 5)
        given: dict[str, Any] = {"model": value("tiny_base"), "threads": 1}
        if name == "distill":
            more = {"dataset": value("tiny_sounds"), "checkpoint_minutes": OFTEN, "batch": 1, "ratio": 2}
            more |= {"pairs": 2, "pair_steps": 2, "rank": 4, "lessons": 0.5}
            return Case("distill.trainer:Distillation", given | more, 6, 4)
        given |= {"steps": 6, "checkpoint_every": 2, "preview_every": 0, "log_every": 1, "variants": 2}
        if name == "lora":
            patch.setattr("sonotrain.trainers.lora.learner.VALIDATION_TIMESTEPS", 2)
            more = {"dataset": value("tiny_sounds"), "cache": str(tmp_path_factory.mktemp("cache"))}
            more |= {"batch": 2, "rank": 4, "alpha": 2.0, "validate_every": 3, "preserve": 0.0}
            return Case("lora.trainer:LoraTrainer", given | more | {"tensorboard": False}, None, 4)
        patch.setattr("sonotrain.trainers.subject.trainer.SEEDS", 2)
        more = {"clips": value("tiny_sounds"), "noun": "train horn", "student": value("student"), "ratio": 2}
        more |= {"rank": 2, "targets": "attention", "prior_clips": 2, "adapt_steps": 3, "watch_every": 2}
        return Case("subject.trainer:SubjectTrainer", given | more | {"ema": 0.0}, None, 5)

    yield of
    patch.undo()


@pytest.fixture(scope="session")
def mini_folder(whole: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mini, exported from the run of a diffusion trainer."""
    from sonotrain.trainers.mini.export import export

    folder = tmp_path_factory.mktemp("mini") / "mini"
    run = whole("diffusion")
    with small_mini():
        export(run, folder)
    return folder


@pytest.fixture(scope="session")
def box_scenes(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of scenes: each clip of the tiny corpus painted into another one."""
    from sonotrain.data.corpus import Corpus, write_shard

    folder = tmp_path_factory.mktemp("scenes")
    pictures = Corpus(corpus)
    box = torch.tensor([[0, 16, 10, 20]]).repeat(len(pictures), 1).short()
    tensors = {"levels": pictures.levels, "before": pictures.levels.flip(0), "boxes": box}
    write_shard(folder, 0, tensors, pictures.records)
    return folder


@pytest.fixture(scope="session")
def whole(case: Callable[[str], Case], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`whole(name)`: the folder of that run, finished. Many tests read it; none changes it."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("whole") / name
            assert case(name).train(out)
            made[name] = out
        return made[name]

    return of


@pytest.fixture(autouse=True)
def no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that are marked so draw their run's curves, which takes longer than a tiny run."""
    if "draws_curves" not in request.keywords:
        monkeypatch.setattr("sonotrain.training.run.draw_curves", lambda *_: None)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a base model knows is painted in two steps: a tiny one knows nothing."""
    monkeypatch.setattr("sonotrain.training.inputs.prior.STEPS", 2)


@pytest.fixture(scope="module", autouse=True)
def settled() -> None:
    """What is alive already is no more looked through when garbage is collected, as each run does."""
    gc.collect()
    gc.freeze()
