"""Every command of `sonotrain`, in one table: its words, its help, and where its arguments are added.

That place is "module:name": a function that is given the parser, or a trainer, whose options they are.
Nothing is imported for a command that was not called.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Export:
    """A step that writes a run's weights where they are found.

    function: "module:name" of (run folder, folder, force) → file. out: the folder. then: what to do with it.
    """

    function: str
    out: str
    then: str


# Name: help, description, place.
COMMANDS = {
    "dataset": (
        "a dataset from a folder of sounds",
        "Makes a dataset to train on from a folder of sounds, or from a table that names them.",
        "sonotrain.data.cli:fill",
    ),
    "lora": (
        "a LoRA from a folder of sounds",
        "Trains a LoRA on a dataset, or on a folder of sounds.",
        "sonotrain.trainers.lora.cli:fill",
    ),
    "subject": (
        "one subject from a few clips, painted in one step",
        "Learns one subject from 4 to 6 clips; the result paints variations of it in one step.",
        "sonotrain.trainers.subject.cli:fill",
    ),
    "audioldm": (
        "AudioLDM, lightly fine-tuned on classes of sounds",
        "Fine-tunes AudioLDM on ESC-50 or a folder of classes; the rest of the pipeline stays as it is.",
        "sonotrain.trainers.audioldm.trainer:AudioldmTrainer",
    ),
    "sweep": (
        "LoRAs with one option varied, and a table",
        "Trains one LoRA for each value of an option, and writes a table and a plot.",
        "sonotrain.recipes.cli:fill_sweep",
    ),
    "distill": (
        "a model that paints in one step",
        "Distils a model to a student that paints in one step (DMD2).",
        "sonotrain.trainers.distill.trainer:Distillation",
    ),
    "evaluate": (
        "FID, FAD, IS, KL, CLAP score of generated sounds",
        "Measures generated sounds beside real ones; paints them first with --model.",
        "sonotrain.evaluation.cli:fill",
    ),
}
Steps = dict[str, tuple[str, str | Export]]
BASE: Steps = {
    "corpus": (
        "synthesises the foley corpus as pictures with captions",
        "sonotrain.data.cli:fill_corpus",
    ),
    "vae": ("trains the VAE: picture to latent and back", "sonotrain.trainers.mini.vae:VaeTrainer"),
    "text": (
        "learns the tokenizer and pre-trains the text encoder on captions",
        "sonotrain.trainers.mini.text:TextTrainer",
    ),
    "diffusion": (
        "trains U-Net and text encoder on the VAE's latents",
        "sonotrain.trainers.mini.diffusion:DiffusionTrainer",
    ),
    "inpaint": (
        "trains the adapter with which a model paints parts, on scenes",
        "sonotrain.trainers.mini.inpaint:InpaintTrainer",
    ),
    "grain": (
        "trains what knows how rough noise is where the VAE blurs it",
        "sonotrain.trainers.mini.grain:GrainTrainer",
    ),
    "classifier": (
        "trains the sound classifier that judges the model",
        "sonotrain.trainers.mini.classifier:ClassifierTrainer",
    ),
    "export": ("writes a finished run as the shipped model", "sonotrain.trainers.mini.cli:fill_export"),
    "evaluate": (
        "judges a model as sound: top-1, Fréchet distance, order of events",
        "sonotrain.evaluation.base.cli:fill_evaluate",
    ),
    "look": (
        "sheets of every kind, what prompts change, how seeds differ, with the evaluation",
        "sonotrain.evaluation.base.cli:fill_look",
    ),
    "sweep": (
        "compares samplers, steps and guidance on the same captions and noise",
        "sonotrain.evaluation.base.cli:fill_sweep",
    ),
    "realism": (
        "can a network tell painted clips from real ones? of several models, 50 % is perfect",
        "sonotrain.evaluation.base.cli:fill_realism",
    ),
    "all": (
        "runs every step in one folder; called again, it goes on where it stopped",
        "sonotrain.recipes.cli:fill_mini",
    ),
}
VOCODER: Steps = {
    "train": (
        "trains the learned decoder of a spectrogram format",
        "sonotrain.trainers.vocoder.train:VocoderTrainer",
    ),
    "export": (
        "writes a run's decoder where conversion finds it",
        Export(
            "sonotrain.trainers.vocoder.train:export_vocoder",
            "weights/vocoder",
            "compare it with: python benchmarks/vocoder.py --weights {path}",
        ),
    ),
    "all": (
        "trains and exports decoders for three formats; called again, it goes on",
        "sonotrain.recipes.cli:fill_vocoders",
    ),
}
HEAL: Steps = {
    "train": (
        "trains the bridge that heals gaps and missing bands",
        "sonotrain.trainers.bridge.train:BridgeTrainer",
    ),
    "export": (
        "writes a run's bridge where healing finds it",
        Export(
            "sonotrain.trainers.bridge.train:export_bridge",
            "weights/heal",
            "compare it with: python benchmarks/heal.py --weights {path}",
        ),
    ),
}
CURVES: Steps = {
    "train": (
        "trains the adapter with which a model follows curves",
        "sonotrain.trainers.curves.train:CurvesTrainer",
    ),
    "export": (
        "writes a run's adapter beside the model",
        Export(
            "sonotrain.trainers.curves.train:export_curves",
            "weights/mini",
            "judge it with: python benchmarks/curves.py --weights {path}",
        ),
    ),
    "tune": (
        "teaches a frozen model kinds of your own along curves: classes and FiLM layers learn",
        "sonotrain.trainers.curves.tune:TuneTrainer",
    ),
}
JINGLES: Steps = {
    "dataset": (
        "makes melodies of three instruments with their curves, in any representation",
        "sonotrain.trainers.jingles.cli:fill_dataset",
    ),
    "train": (
        "trains a model that plays along curves: EDM, DDPM or DiscDPM",
        "sonotrain.trainers.jingles.train:JingleTrainer",
    ),
    "sample": (
        "plays the held-out melodies of a dataset with a model, into a folder",
        "sonotrain.evaluation.jingles.cli:fill_sample",
    ),
    "table": (
        "trains and compares formalisms and representations",
        "sonotrain.evaluation.jingles.cli:fill_table",
    ),
}
MATCH: Steps = {
    "metrics": (
        "computes sounds and metrics that training reuses",
        "sonotrain.trainers.match.cli:fill_metrics",
    ),
    "draws": (
        "describes sounds of every synthesiser, near which matches begin",
        "sonotrain.trainers.match.cli:fill_draws",
    ),
    "train": (
        "trains an analyser: from a sound to a synthesiser's parameters",
        "sonotrain.trainers.match.train:MatchTrainer",
    ),
    "export": (
        "writes a run's analyser where matching finds it",
        Export(
            "sonotrain.trainers.match.train:export_analyser",
            "weights/match",
            "judge it with: sonotrain match evaluate",
        ),
    ),
    "evaluate": (
        "every synthesiser on held-out parameters, beside random draws",
        "sonotrain.evaluation.match.cli:fill_evaluate",
    ),
    "table": (
        "compares the four losses on a grid, as the document's table does",
        "sonotrain.evaluation.match.cli:fill_table",
    ),
}
BLEND: Steps = {
    "train": (
        "trains a model that blends: the pyramid stage by stage, or a baseline",
        "sonotrain.trainers.blend:BlendTrainer",
    ),
    "table": (
        "what each level holds: probes, swaps, reconstruction, maps; models and the bare codec",
        "sonotrain.evaluation.blend.cli:fill_table",
    ),
}
BENCH: Steps = {
    "subject-clips": (
        "writes the corpus's three subjects: five clips to learn from, and more",
        "sonotrain.evaluation.subject.cli:fill_clips",
    ),
    "subject": (
        "compares methods: identity, prompts, diversity, copies, cost",
        "sonotrain.evaluation.subject.cli:fill_bench",
    ),
    "subject-alpha": (
        "trains and compares weights of the target teacher",
        "sonotrain.recipes.alpha:fill",
    ),
    "variation": (
        "compares variations of sounds by any back-end, one protocol, one report",
        "sonotrain.evaluation.variation.cli:fill_variation",
    ),
    "requirements": (
        "which back-end serves a production requirement (R1 to R11) best",
        "sonotrain.evaluation.variation.cli:fill_requirements",
    ),
}
LISTEN: Steps = {
    "build": (
        "makes a blinded listening test: one offline page, and its key",
        "sonotrain.evaluation.listening.cli:fill_build",
    ),
    "score": (
        "turns listeners' answers into S-MOS with confidence intervals",
        "sonotrain.evaluation.listening.cli:fill_score",
    ),
}
GROUPS: dict[str, tuple[str, Steps]] = {
    "base": ("the shipped model, Sonopaint Mini, from nothing", BASE),
    "vocoder": ("the learned decoder: pictures to sound", VOCODER),
    "heal": ("the healing bridge: gaps and missing bands", HEAL),
    "curves": ("sound that follows loudness, pitch, brightness and onsets", CURVES),
    "jingles": ("melodies along curves: EDM, DDPM and DiscDPM on latents, constant-Q and codes", JINGLES),
    "match": ("the analysers of match and edit", MATCH),
    "blend": ("auto-encoders that take sounds apart by scale, and what each scale holds", BLEND),
    "bench": ("how well a subject was learnt, and how good variations are", BENCH),
    "listen": ("listening tests: which variations are still the same thing?", LISTEN),
}
