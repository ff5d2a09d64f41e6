"""A node for tests: the real classes of ComfyUI's audio models, small and with random weights."""

from __future__ import annotations

from typing import Any

import comfy.ldm.audio.autoencoder
import comfy.ldm.audio.embedders
import comfy.ldm.audio.vae_sa3
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch


def patcher(module: Any) -> Any:
    cpu = torch.device("cpu")
    return comfy.model_patcher.CoreModelPatcher(module, load_device=cpu, offload_device=cpu)


def randomised(module: torch.nn.Module, scale: float = 0.02) -> None:
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.copy_(scale * torch.randn(parameter.shape))


def autoencoder(network: torch.nn.Module, channels: int, ratio: int, rate: int) -> Any:
    """ComfyUI's VAE as comfy.sd sets it up for this network."""
    vae = comfy.sd.VAE(sd={})
    randomised(network, 0.05)
    vae.first_stage_model = network.eval()
    vae.latent_channels, vae.output_channels, vae.latent_dim = channels, 2, 1
    vae.upscale_ratio = vae.downscale_ratio = ratio
    vae.audio_sample_rate = rate
    vae.process_output = vae.process_input = lambda audio: audio
    vae.pad_channel_value = "replicate"
    vae.memory_used_encode = vae.memory_used_decode = lambda shape, dtype: 1e6
    vae.device = vae.output_device = torch.device("cpu")
    vae.vae_dtype = torch.float32
    vae.patcher = patcher(network)
    return vae


def stable_audio_3() -> tuple[Any, Any, int]:
    settings = {"audio_model": "dit1.0", "global_cond_shared_embed": True, "global_cond_type": "adaLN"}
    settings |= {"global_cond_dim": 768, "embed_dim": 64, "num_heads": 1, "depth": 2, "io_channels": 256}
    settings |= {"project_cond_tokens": True, "timestep_features_type": "expo", "input_concat_dim": 0}
    settings |= {"local_add_cond_dim": 257, "norm_type": "rms_norm"}
    settings |= {"attn_kwargs": {"qk_norm": "rms", "differential": True}}
    config = comfy.supported_models.StableAudio3(settings)
    seconds = comfy.ldm.audio.embedders.NumberConditioner(
        768, min_val=0, max_val=384, fourier_features_type="expo"
    )
    randomised(seconds)
    model = comfy.model_base.StableAudio3(config, seconds.state_dict())
    network = comfy.ldm.audio.vae_sa3.SA3AudioVAE(
        channels=64, transformer_depths=1, sinusoidal_blocks=0, decoder_conv_mapping=True,
        chunk_size=32, chunk_midpoint_shift=True,
    )  # fmt: skip
    return model, autoencoder(network, 256, 4096, 44_100), 768


def ace_step() -> tuple[Any, Any, int]:
    sizes = {"hidden_size": 64, "encoder_hidden_size": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32}
    sizes |= {"encoder_num_heads": 2, "intermediate_size": 64, "encoder_intermediate_size": 64}
    sizes |= {"num_dit_layers": 2, "num_lyric_layers": 1, "num_timbre_layers": 1, "num_tokenizer_layers": 1}
    config = comfy.supported_models.ACEStep15({"audio_model": "ace1.5", **sizes, "fsq_dim": 64})
    network = comfy.ldm.audio.autoencoder.AudioOobleckVAE(channels=8, strides=[2, 4, 4, 6, 10])
    return comfy.model_base.ACEStep15(config), autoencoder(network, 64, 1920, 48_000), 1024


KINDS = {"Stable Audio 3": stable_audio_3, "ACE-Step 1.5": ace_step}


class RandomAudioModel:
    """MODEL, VAE and two CONDITIONINGs."""

    RETURN_TYPES = ("MODEL", "VAE", "CONDITIONING", "CONDITIONING")
    FUNCTION, CATEGORY = "make", "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"kind": (list(KINDS),)}}

    def make(self, kind: str) -> tuple[Any, ...]:
        torch.manual_seed(0)
        with torch.no_grad():
            model, vae, width = KINDS[kind]()
            randomised(model.diffusion_model)
            lyrics = {"conditioning_lyrics": torch.randn(1, 4, 1024)}
            texts = [[[torch.randn(1, 8, width), lyrics]] for _ in range(2)]
        return patcher(model), vae, *texts


NODE_CLASS_MAPPINGS = {"RandomAudioModel": RandomAudioModel}
