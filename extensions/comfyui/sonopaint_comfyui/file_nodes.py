"""Save Sound, Load Sound, Example Sound and Preview Sounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from sonoconvert.conversion.convert import mix_to
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import read_clip
from sonopaint_comfyui.files import KINDS, save_sound, temporary_wav, unknown_in
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import schema
from sonopaint_comfyui.sounds import audio_of, clips_of, with_settings
from sonopaint_comfyui.views import drawn, view

EXAMPLES = Path(__file__).parent / "examples"


class SaveSound(io.ComfyNode):
    """Sounds into the output folder, with the workflow inside."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintSaveAudio",
            "Save Sound",
            description="Saves sounds as WAV, FLAC or OGG with workflow and settings inside: drop the file "
            "on the page to get the workflow back.",
            search_aliases=["save audio", "save wav", "export audio", "write wav", "ogg", "flac"],
            is_output_node=True,
            inputs=[
                io.Audio.Input("audio"),
                io.String.Input(
                    "filename_prefix",
                    default="audio/sonopaint",
                    tooltip="Name in the output folder; folders and %date% variables may be in it.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(KINDS),
                    default="WAV 16 bit",
                    tooltip="24 bit and float keep more than 16 bit; OGG is small and lossy.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls, audio: Any, filename_prefix: str, format: str) -> io.NodeOutput:
        from comfy.cli_args import args

        clips = clips_of(audio)
        suffix, subtype = KINDS[format]
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        graph = None if args.disable_metadata else cls.hidden.prompt
        extra = None if args.disable_metadata else cls.hidden.extra_pnginfo
        from sonopaint_comfyui.model_nodes import models

        unknown = unknown_in(cls.hidden.prompt, models())
        clips = [with_settings(clip, unknown=unknown) for clip in clips] if unknown else clips
        saved, views = [], []
        for (index, clip), _ in told(list(enumerate(clips))):
            file = f"{name.replace('%batch_num%', str(index))}_{counter + index:05}_{suffix}"
            save_sound(clip, Path(folder) / file, subtype, graph, extra)
            saved.append({"filename": file, "subfolder": subfolder, "type": "output"})
            views.append(view(drawn(clip), saved[-1]))
        text = {"text": (unknown,)} if unknown else {}
        return io.NodeOutput(audio, ui={"audio": saved, "sonopaint": views, **text})


class PreviewSounds(io.ComfyNode):
    """Every sound of a batch, seen and heard."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPreviewAudio",
            "Preview Sounds",
            description="Plays every sound of a batch, each with its spectrogram, without saving it.",
            search_aliases=["preview audio", "play audio", "listen", "hear", "audio batch"],
            is_output_node=True,
            inputs=[io.Audio.Input("audio", tooltip="One sound or a batch, of any model.")],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls, audio: Any) -> io.NodeOutput:
        views = [view(drawn(clip), temporary_wav(clip)) for clip, _ in told(clips_of(audio))]
        return io.NodeOutput(audio, ui={"sonopaint": views})


class LoadSound(io.ComfyNode):
    """A sound file, or a part of it, at the rate that is wanted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        folder = folder_paths.get_input_directory()
        files = os.listdir(folder) if os.path.isdir(folder) else []
        names = sorted(folder_paths.filter_files_content_types(files, ["audio"]))
        return schema(
            "SonopaintLoadAudio",
            "Load Sound",
            description="Loads WAV, FLAC, OGG, MP3, M4A and all that FFmpeg reads; resamples and mixes it.",
            search_aliases=["load audio", "load wav", "resample", "import audio", "open sound"],
            inputs=[
                io.Combo.Input(
                    "audio", options=names, upload=io.UploadType.audio, tooltip="In the input folder."
                ),
                io.Int.Input(
                    "sample_rate", default=0, min=0, max=768_000, tooltip="Hertz to resample to. 0: its own."
                ),
                io.Combo.Input(
                    "channels",
                    options=["as the file", "mono", "stereo"],
                    default="as the file",
                    tooltip="Mono is the mean of all channels.",
                ),
                io.Float.Input(
                    "start", default=0.0, min=0.0, max=86_400.0, step=0.01, tooltip="Seconds to skip."
                ),
                io.Float.Input(
                    "duration",
                    default=0.0,
                    min=0.0,
                    max=86_400.0,
                    step=0.01,
                    tooltip="Seconds to load. 0: to the end.",
                ),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def validate_inputs(cls, audio: str) -> bool | str:
        if folder_paths.exists_annotated_filepath(audio):
            return True
        return f"There is no file {audio} in ComfyUI's input folder; upload it, or choose another one."

    @classmethod
    def fingerprint_inputs(cls, audio: str, **_: Any) -> str:
        path = folder_paths.get_annotated_filepath(audio)
        if not os.path.isfile(path):
            return ""
        stat = os.stat(path)
        return f"{stat.st_mtime_ns} {stat.st_size}"

    @classmethod
    def execute(
        cls, audio: str, sample_rate: int, channels: str, start: float, duration: float
    ) -> io.NodeOutput:
        clip = read_clip(
            folder_paths.get_annotated_filepath(audio), start_s=start, duration_s=duration or None
        )
        if channels != "as the file":
            clip = mix_to(clip, 1 if channels == "mono" else 2)
        if sample_rate:
            if sample_rate < 1000:
                raise SonopaintError(
                    f"A sample rate of {sample_rate} Hz is too low; give 0 or at least 1000."
                )
            clip = clip.resampled(sample_rate)
        return io.NodeOutput(audio_of([clip]))


class ExampleSound(io.ComfyNode):
    """A short sound that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintExampleSound",
            "Example Sound",
            description="A five-second sound to try things on; replace it by Load Sound. The sounds are "
            "synthesised and free of rights.",
            search_aliases=["test sound", "demo audio"],
            inputs=[io.Combo.Input("sound", options=example_names(), tooltip="Which one.")],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls, sound: str) -> io.NodeOutput:
        return io.NodeOutput(audio_of([read_clip(EXAMPLES / f"{sound}.ogg")]))


def example_names() -> list[str]:
    """The shipped sounds, the default first."""
    return sorted((path.stem for path in EXAMPLES.glob("*.ogg")), reverse=True)


NODES = [SaveSound, LoadSound, ExampleSound, PreviewSounds]
