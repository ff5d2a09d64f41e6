"""The pipelines of diffusers that paint waveforms, with a few thousand random weights each."""

from __future__ import annotations

from typing import Any

import torch

SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2, "<s>": 3, "<mask>": 4}
WORDS = {**SPECIAL, **{chr(97 + n): 5 + n for n in range(26)}}


def roberta() -> Any:
    from transformers import RobertaTokenizer

    return RobertaTokenizer(vocab=WORDS, merges=[], model_max_length=12)


def t5() -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer(vocab=[(word, -1.0) for word in WORDS], extra_ids=0, model_max_length=12)


def tokenizer() -> Any:
    """Words of letters; pads and cuts as the real ones do."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=12, **special)


def _t5(cls_name: str, config_name: str) -> Any:
    import transformers

    config = getattr(transformers, config_name)(
        vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    return getattr(transformers, cls_name)(config)


def _clap_text(projection: int = 16) -> Any:
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    config = ClapTextConfig(
        vocab_size=40, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        projection_dim=projection, pad_token_id=0, max_position_embeddings=40,
    )  # fmt: skip
    return ClapTextModelWithProjection(config)


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=[8, 8, 8], latent_channels=4, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    )  # fmt: skip


def _vocoder() -> Any:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=16, sampling_rate=16_000, upsample_initial_channel=16, upsample_rates=[5, 4, 8],
            upsample_kernel_sizes=[10, 8, 16], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]],
            normalize_before=False,
        )
    )  # fmt: skip


def _ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False)


def audioldm() -> Any:
    from diffusers import AudioLDMPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
        down_block_types=["DownBlock2D"] * 2, up_block_types=["UpBlock2D"] * 2,
        mid_block_type="UNetMidBlock2D", class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=16, class_embeddings_concat=True, attention_head_dim=4,
    )  # fmt: skip
    return AudioLDMPipeline(_vae(), _clap_text(), tokenizer(), unet, _ddim(), _vocoder())


def audioldm2() -> Any:
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
    from transformers import (
        ClapAudioConfig,
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        ClapTextConfig,
        GPT2Config,
        GPT2LMHeadModel,
    )

    text = ClapTextConfig(
        vocab_size=40, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        pad_token_id=0, max_position_embeddings=40, projection_dim=16,
    )  # fmt: skip
    audio = ClapAudioConfig(
        spec_size=32, window_size=4, num_mel_bins=16, patch_size=4, patch_stride=[4, 4], depths=[1, 1],
        num_attention_heads=[1, 1], patch_embeds_hidden_size=16, hidden_size=32, projection_dim=16,
        num_hidden_layers=2,
    )  # fmt: skip
    clap = ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=16))
    language = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=16, n_layer=1, n_head=2))
    language.config.max_new_tokens = 4
    unet = AudioLDM2UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=[16, 16],
        attention_head_dim=4,
    )  # fmt: skip
    return AudioLDM2Pipeline(
        _vae(), clap, _t5("T5EncoderModel", "T5Config"),
        AudioLDM2ProjectionModel(text_encoder_dim=16, text_encoder_1_dim=16, langauge_model_dim=16),
        language, roberta(), t5(), ClapFeatureExtractor(), unet, _ddim(), _vocoder(),
    )  # fmt: skip


def _oobleck(rate: int, ratios: tuple[int, int] = (4, 8)) -> Any:
    from diffusers import AutoencoderOobleck

    return AutoencoderOobleck(
        encoder_hidden_size=16, downsampling_ratios=list(ratios), channel_multiples=[1, 2],
        decoder_channels=8, decoder_input_channels=8, audio_channels=2, sampling_rate=rate,
    )  # fmt: skip


def stable_audio() -> Any:
    from diffusers import StableAudioDiTModel, StableAudioPipeline, StableAudioProjectionModel

    from sonopaint.painters.diffusers_waves.dpmpp_3m_sde import Dpmpp3mSde

    transformer = StableAudioDiTModel(
        sample_size=250, in_channels=8, out_channels=8, num_layers=1, attention_head_dim=8,
        num_attention_heads=2, num_key_value_attention_heads=1, cross_attention_dim=16, time_proj_dim=8,
        global_states_input_dim=32, cross_attention_input_dim=16,
    )  # fmt: skip
    projection = StableAudioProjectionModel(
        text_encoder_dim=16, conditioning_dim=16, min_value=0, max_value=64
    )
    return StableAudioPipeline(
        _oobleck(8000), _t5("T5EncoderModel", "T5Config"), projection, tokenizer(), transformer, Dpmpp3mSde()
    )


def stable_audio_3() -> Any:
    from diffusers import (
        AutoencoderSAME,
        FlowMatchEulerDiscreteScheduler,
        StableAudio3DiTModel,
        StableAudio3DurationEmbedder,
        StableAudio3Pipeline,
    )

    vae = AutoencoderSAME(
        audio_channels=2, patch_size=16, encoder_channels=16, encoder_c_mults=[1], encoder_strides=[2],
        encoder_transformer_depths=[1], latent_dim=8, dim_heads=8, sampling_rate=8000,
    )  # fmt: skip
    transformer = StableAudio3DiTModel(
        io_channels=8, embed_dim=16, depth=1, num_heads=2, cond_token_dim=16, global_cond_dim=16,
        local_add_cond_dim=9, timestep_features_dim=8, num_memory_tokens=2,
    )  # fmt: skip
    return StableAudio3Pipeline(
        vae, _t5("T5EncoderModel", "T5Config"), tokenizer(),
        StableAudio3DurationEmbedder(output_dim=16, fourier_dim=8), transformer,
        FlowMatchEulerDiscreteScheduler(shift=1.0, stochastic_sampling=True),
    )  # fmt: skip


def ace_step(turbo: bool = False) -> Any:
    from diffusers import AceStepPipeline, AceStepTransformer1DModel, FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
    from transformers import Qwen3Config, Qwen3Model

    common = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 16}
    transformer = AceStepTransformer1DModel(
        hidden_size=16, num_hidden_layers=2, in_channels=24, audio_acoustic_hidden_dim=8, sliding_window=8,
        is_turbo=turbo, **common,
    )  # fmt: skip
    encoder = AceStepConditionEncoder(
        hidden_size=16, text_hidden_dim=16, timbre_hidden_dim=8, num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1, sliding_window=8, **common,
    )  # fmt: skip
    text = Qwen3Model(Qwen3Config(vocab_size=40, hidden_size=16, num_hidden_layers=1, **common))
    return AceStepPipeline(
        _oobleck(8000, (16, 20)), text, tokenizer(), transformer, encoder,
        FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )  # fmt: skip


def longcat() -> Any:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        LongCatAudioDiTPipeline,
        LongCatAudioDiTTransformer,
        LongCatAudioDiTVae,
    )

    vae = LongCatAudioDiTVae(
        channels=8, c_mults=[1, 2], strides=[4, 8], latent_dim=8, encoder_latent_dim=16,
        downsampling_ratio=32, sample_rate=8000,
    )  # fmt: skip
    transformer = LongCatAudioDiTTransformer(
        dit_dim=16, dit_depth=1, dit_heads=2, dit_text_dim=16, latent_dim=8
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, invert_sigmas=True)
    return LongCatAudioDiTPipeline(
        vae, _t5("UMT5EncoderModel", "UMT5Config"), tokenizer(), transformer, scheduler
    )


BUILDERS = {
    "AudioLDMPipeline": audioldm,
    "AudioLDM2Pipeline": audioldm2,
    "StableAudioPipeline": stable_audio,
    "StableAudio3Pipeline": stable_audio_3,
    "AceStepPipeline": ace_step,
    "LongCatAudioDiTPipeline": longcat,
}


def build(pipeline: str) -> Any:
    """A pipeline in evaluation mode, the same on every call."""
    torch.manual_seed(0)
    pipe = BUILDERS[pipeline]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            for (
                weight
            ) in part.parameters():  # what training starts from zero would leave every answer the same
                if not bool(weight.any()):
                    torch.nn.init.normal_(weight, std=0.1)
    if hasattr(pipe, "vocoder"):
        for weight in pipe.vocoder.parameters():
            weight.data *= 4
    return pipe
