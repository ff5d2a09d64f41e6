"""Stands in for ``python -m sonotrain COMMAND --out RUN …``: the files of a run, without the training."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from PIL import Image

from sonotrain.files.json_files import read_json, write_json
from sonotrain.training.run_folder import RunFolder

STEPS, PREVIEW = 40, 5


def main() -> int:
    command, out = sys.argv[3], Path(sys.argv[sys.argv.index("--out") + 1])
    resume = "--resume" in sys.argv
    with RunFolder(out, resume=resume) as run:
        config = {"command": command, "arguments": sys.argv[4:], "prompts": ["a prt bell"], "steps": STEPS}
        first = 1
        if resume:
            first = read_json(out / "state.json").get("step", 0) + 1 if (out / "state.json").is_file() else 20
        else:
            write_json(out / "config.json", config)
        for step in range(first, STEPS + 1):
            time.sleep(0.1)
            run.log(step=step, loss=1 / step, matching=1 / step, spread=0.5, seconds_per_step=0.1)
            write_json(out / "state.json", {"phase": "training", "step": step, "total": STEPS, "left_s": 2.0})
            (run.checkpoints / "step-00000001.pt").touch()
            if step == PREVIEW:
                target = run.previews / f"step-{step:08d}"
                target.mkdir(exist_ok=True)
                for name in ("0-with", "0-without", "sheet"):
                    Image.new("RGB", (320, 128), (40, 80, 120)).save(target / f"{name}.png")
            if run.stop_asked():
                write_json(out / "state.json", {"phase": "stopped", "step": step, "total": STEPS})
                return 0
        name = f"{out.name}.safetensors"
        shutil.copyfile(os.environ["STAND_IN_LORA"], out / name)
        write_json(out / "state.json", {"phase": "finished", "step": STEPS, "total": STEPS, "file": name})
    return 0


if __name__ == "__main__":
    sys.exit(main())
