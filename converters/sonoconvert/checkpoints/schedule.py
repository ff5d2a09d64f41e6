"""What a checkpoint was trained to predict, and on which noise: from every place where people write it.

Beside the header: NAME.yaml (the configuration of CompVis' code, which AUTOMATIC1111 and Forge read), and the
empty tensors `v_pred` and `ztsnr` that ComfyUI and kohya's trainer know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sonoconvert.checkpoints.diffusers_texts import SD1_SCHEDULER
from sonoconvert.errors import SonopaintError

SCHEDULER_KEY = "sonopaint.scheduler"  # in a single file's header, where it is not Stable Diffusion 1's
SCHEDULE = (
    "beta_start",
    "beta_end",
    "beta_schedule",
    "num_train_timesteps",
    "rescale_betas_zero_snr",
    "trained_betas",
)
_V, _ZERO_SNR = "v_pred", "ztsnr"
_IN_YAML = {
    "parameterization": "prediction_type",
    "linear_start": "beta_start",
    "linear_end": "beta_end",
    "timesteps": "num_train_timesteps",
    "beta_schedule": "beta_schedule",
    "rescale_betas_zero_snr": "rescale_betas_zero_snr",
    "zero_terminal_snr": "rescale_betas_zero_snr",
}
_SPELLED = {
    "v": "v_prediction",
    "v-prediction": "v_prediction",
    "eps": "epsilon",
    "x0": "sample",
    "linear": "scaled_linear",  # CompVis' names of what diffusers calls otherwise
    "sqrt_linear": "linear",
    "cosine": "squaredcos_cap_v2",
}
_YAML = re.compile(rf"[\"']?\b({'|'.join(_IN_YAML)})[\"']?\s*:\s*[\"']?([\w.+-]+)")


def scheduler_of_single(path: Path, tensors: Collection[str], header: Mapping[str, str]) -> dict[str, Any]:
    """diffusers' scheduler settings of a single file: prediction_type, and the keys of SCHEDULE.

    What stands nearest to the weights counts most: its tensors, its header, the .yaml beside it. Raises
    SonopaintError where one of them can't be read.
    """
    found = SD1_SCHEDULER | _beside(path)
    if SCHEDULER_KEY in header:
        try:
            said = json.loads(header[SCHEDULER_KEY])
            found |= {key: said[key] for key in SCHEDULE if key in said}
        except (ValueError, TypeError, RecursionError) as error:
            raise SonopaintError(
                f"{path.name} has an unreadable {SCHEDULER_KEY} in its header ({error})."
            ) from error
    if prediction := header.get("modelspec.prediction_type"):
        found["prediction_type"] = _SPELLED.get(prediction.lower(), prediction)
    if _V in tensors:
        found["prediction_type"] = "v_prediction"
    if _ZERO_SNR in tensors:
        found["rescale_betas_zero_snr"] = True
    return found


def header_of(scheduler: Mapping[str, Any]) -> dict[str, str]:
    """The header entries from which scheduler_of_single reads these settings again; none for SD 1's own."""
    header = {}
    if (prediction := str(scheduler.get("prediction_type", "epsilon"))) != "epsilon":
        header["modelspec.prediction_type"] = "v" if prediction == "v_prediction" else prediction
    own = {
        key: scheduler[key]
        for key in SCHEDULE
        if scheduler.get(key) and scheduler[key] != SD1_SCHEDULER.get(key)
    }
    if own:
        header[SCHEDULER_KEY] = json.dumps(own)
    return header


def _beside(path: Path) -> dict[str, Any]:
    """What NAME.yaml says. Only its scalars are looked for: nothing here needs a parser of YAML."""
    for suffix in (".yaml", ".yml"):
        beside = path.with_suffix(suffix)
        if not beside.is_file():
            continue
        try:
            with beside.open(encoding="utf-8-sig", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError as error:
            raise SonopaintError(f"{beside} can't be read ({error.strerror or error}).") from error
        found = {}
        for line in text.splitlines():
            for key, value in _YAML.findall(re.sub(r"(^|\s)#.*", "", line)):
                found[_IN_YAML[key]] = _scalar(value)
        return found
    return {}


def _scalar(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        return _SPELLED.get(text.lower(), text)
    return int(number) if number.is_integer() else number
