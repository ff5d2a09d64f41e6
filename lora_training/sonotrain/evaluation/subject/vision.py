"""Networks that see, with the user's weights: DINO (Caron et al. 2021), CLIP (Radford et al. 2021), LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from torch import Tensor, nn

from sonoconvert.errors import SonopaintError
from sonotrain.evaluation.embeddings.weights import find_weights, read_state

SIDE = 224
DINO_MEAN, DINO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WANTED = {
    "dino": "a DINO folder (such as facebook/dino-vits16: config.json, model.safetensors)",
    "clip": "a CLIP folder (such as openai/clip-vit-base-patch32 with model.safetensors and tokenizer files)",
    "alexnet": "AlexNet's weights (alexnet-owt-7be5be79.pth of torchvision)",
    "lpips": "LPIPS's linear layers (alex.pth, version 0.1, of richzhang/PerceptualSimilarity)",
}


def read_pictures(files: Sequence[Path], side: int = SIDE) -> Tensor:
    """Pictures as float32 [N, 3, side, side] in 0 … 1: shorter side to `side` (bicubic), centre cropped."""
    found = []
    for path in files:
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise SonopaintError(
                f"{path} can't be read as a picture; leave it out or save it anew."
            ) from error
        scale = side / min(image.size)
        size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        image = image.crop((left, top, left + side, top + side))
        found.append(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255)
    return torch.stack(found)


def _normal(pictures: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (pictures - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


class Dino:
    """The class token of a ViT, [N, D]."""

    def __init__(self, model: Any, device: str | torch.device = "cpu") -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        pixels = _normal(pictures, DINO_MEAN, DINO_STD).to(self.device)
        return torch.cat([self.model(pixel_values=p).last_hidden_state[:, 0] for p in pixels.split(16)]).cpu()


class ClipVision:
    """Projected features of pictures and of texts, [N, D] each."""

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device = "cpu") -> None:
        self.model, self.tokenizer = model.to(device).eval(), tokenizer
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        pixels = _normal(pictures, CLIP_MEAN, CLIP_STD).to(self.device)
        return torch.cat([_tensor(self.model.get_image_features(pixel_values=p)) for p in pixels.split(16)])

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        chosen = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}
        return _tensor(self.model.get_text_features(**chosen))


def _tensor(output: Any) -> Tensor:
    """Of either generation of transformers: a tensor, or an output that pools it."""
    return (output if isinstance(output, Tensor) else output.pooler_output).float().cpu()


class Lpips(nn.Module):
    """LPIPS 0.1 with AlexNet (Zhang et al. 2018, arXiv:1801.03924, equation 1).

    `vectors` gives one vector per picture, so that the distance of two is that of their vectors, squared:
    the weights of the linear layers are not negative.
    """

    SIZES = (
        (3, 64, 11, 4, 2),
        (64, 192, 5, 1, 2),
        (192, 384, 3, 1, 1),
        (384, 256, 3, 1, 1),
        (256, 256, 3, 1, 1),
    )
    PLACES = (0, 3, 6, 8, 10)  # of the convolutions in torchvision's AlexNet
    POOLED = (1, 2)  # a 3 × 3 maximum with stride 2 comes before these

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, k, s, p) for i, o, k, s, p in self.SIZES)
        self.linear = nn.ParameterList(torch.ones(o) for _, o, *_ in self.SIZES)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])

    @torch.no_grad()
    def vectors(self, pictures: Tensor) -> Tensor:
        """[N, D] of pictures [N, 3, H, W] in 0 … 1."""
        x = (pictures * 2 - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        parts = []
        for layer, convolution in enumerate(self.convolutions):
            x = F.max_pool2d(x, 3, 2) if layer in self.POOLED else x
            x = F.relu(convolution(x))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            weight = self.linear[layer].clamp_min(0).sqrt()[:, None, None]
            parts.append((unit * weight / (x.shape[2] * x.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, 1)

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances [N, M] of the pictures [N, 3, H, W] and [M, 3, H, W]."""
        first, second = (torch.cat([self.vectors(p) for p in x.split(8)]).double() for x in (a, b))
        return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square()


def load_dino(weights: str = "", device: str | torch.device = "cpu") -> Dino:
    """DINO from a folder; SonopaintError where it is missing or another model."""
    from transformers import ViTModel

    folder = find_weights(("*dino*",), WANTED["dino"], "from the hub, as a folder", weights)
    return Dino(_pretrained(ViTModel, folder, "dino", add_pooling_layer=False), device)


def load_clip(weights: str = "", device: str | torch.device = "cpu") -> ClipVision:
    """CLIP from a folder; SonopaintError where it is missing or another model."""
    from transformers import CLIPModel, CLIPTokenizer

    folder = find_weights(("*clip-*", "clip"), WANTED["clip"], "from the hub, as a folder", weights)
    model = _pretrained(CLIPModel, folder, "clip")
    try:
        return ClipVision(model, CLIPTokenizer.from_pretrained(folder, local_files_only=True), device)
    except (OSError, ValueError, TypeError) as error:
        raise SonopaintError(
            f"{folder} has no tokenizer (vocab.json, merges.txt); give {WANTED['clip']}."
        ) from error


def load_lpips(alexnet: str = "", linear: str = "") -> Lpips:
    """LPIPS from its two files; SonopaintError where one is missing or does not fit."""
    network = Lpips()
    features = find_weights(("alexnet*",), WANTED["alexnet"], "from PyTorch's server", alexnet)
    layers = find_weights(("alex.pth", "lpips*"), WANTED["lpips"], "from its repository", linear)
    state: dict[str, Tensor] = {}
    theirs, lines = read_state(features), read_state(layers)
    for index, place in enumerate(Lpips.PLACES):
        for part in ("weight", "bias"):
            state[f"convolutions.{index}.{part}"] = _found(theirs, f"features.{place}.{part}", features)
        state[f"linear.{index}"] = _found(lines, f"lin{index}.model.1.weight", layers).flatten()
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise SonopaintError(
            f"{features} or {layers} has other sizes than AlexNet; get them anew."
        ) from error
    return network.eval().requires_grad_(False)


def _found(tensors: dict[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in tensors:
        raise SonopaintError(f"{path} has no {name}; give {WANTED['alexnet']} and {WANTED['lpips']}.")
    return tensors[name].float()


def _pretrained(kind: Any, folder: Path, name: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SonopaintError(f"{folder} can't be loaded ({reason}); give {WANTED[name]}.") from error
