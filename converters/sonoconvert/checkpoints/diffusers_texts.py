"""The small files of a diffusers folder: what its networks are, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SD1_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
_CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}


def diffusers_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """{file name: text} from the configurations of the three parts and of the scheduler."""
    values: dict[str, Any] = {
        f"{part}/config.json": {"_class_name": name, **config[part]} for part, name in _CLASSES.items()
    }
    values["text_encoder/config.json"] = {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        **config["text_encoder"],
    }
    values["scheduler/scheduler_config.json"] = {
        "_class_name": "DDIMScheduler",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        **config["scheduler"],
    }
    values["model_index.json"] = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", values["scheduler/scheduler_config.json"]["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", _CLASSES["unet"]],
        "vae": ["diffusers", _CLASSES["vae"]],
    }
    return {name: json.dumps(value, indent=2) + "\n" for name, value in values.items()}
