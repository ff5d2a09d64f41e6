"""Where the time of the example workflows goes in a running ComfyUI, node by node.

Run with ComfyUI's own Python: PYTHONPATH=converters python benchmarks/comfyui.py [--url http://127.0.0.1:8188]
`--checkpoint FILE --steps 2 "Generate a sound"` takes one of ComfyUI's checkpoints in Mini's place. In the
folder benchmarks, these make a random one of Stable Diffusion 1.5's size:

    python -c "from lora_training import *; make_model(Path('sd15'), 'sd15')"
    sonoconvert checkpoint sd15 COMFYUI/models/checkpoints/random.safetensors --dtype fp16

Each workflow runs with nothing cached, after one that has warmed the process up; the seconds come from the
messages that ComfyUI sends when a node begins. "Model" loads Mini and reads the words; "phase search" is that
of Spectrogram → Audio and Put Back, without which no picture can be heard; "rest" is everything else:
drawing, masks, plots, files, and ComfyUI's own bookkeeping.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import re
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {
    "model": {
        "SonopaintLoadMini",
        "CLIPTextEncode",
        "LoraLoader",
        "SonopaintLoadOneStep",
        "SonopaintApplyCurves",
        "SonopaintBlendSounds",
    },
    "sampler": {"KSampler", "SamplerCustomAdvanced", "SonopaintOneStep"},
    "VAE": {"VAEEncode", "VAEDecode"},
    "phase search": {"SonopaintSpectrogramToAudio", "SonopaintPutBack"},
}


def example_workflows() -> Any:
    """The module that writes the examples: it knows their nodes and turns them into prompts."""
    path = ROOT / "docs/make_comfyui_workflows.py"
    sys.path.append(str(path.parent))  # for the module beside it
    spec = importlib.util.spec_from_file_location("make_comfyui_workflows", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clock_of(pid: int | None) -> Callable[[], float]:
    """Seconds; with ComfyUI's process id those of its processor time, which others hardly disturb (Linux)."""
    if pid is None:
        return time.perf_counter
    stat, ticks = Path(f"/proc/{pid}/stat"), os.sysconf("SC_CLK_TCK")

    def processor_time() -> float:
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return processor_time


async def run(
    session: aiohttp.ClientSession, url: str, prompt: dict[str, Any], clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds of each node that ran, and of all as "total"."""
    client = uuid.uuid4().hex
    address = url.replace("http", "ws", 1) + f"/ws?clientId={client}"
    seconds: dict[str, float] = {}
    async with session.ws_connect(address, max_msg_size=0) as socket:
        answer = await session.post(f"{url}/prompt", json={"prompt": prompt, "client_id": client})
        number = (await answer.json())["prompt_id"]
        begun, node, first = 0.0, None, 0.0
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            kind, data = event["type"], event["data"]
            if data.get("prompt_id") != number:
                continue
            now = clock()
            if kind == "execution_start":
                first = now
            if kind == "execution_error":
                raise SystemExit(f"{data['node_type']}: {data['exception_message']}")
            if kind == "executing":
                if node is not None:
                    seconds[node] = seconds.get(node, 0.0) + now - begun
                begun, node = now, data["node"]
                if node is None:
                    seconds["total"] = now - first
                    return seconds
    raise SystemExit("ComfyUI closed the connection.")


async def import_seconds(session: aiohttp.ClientSession, url: str) -> str:
    """What ComfyUI's log says about loading the pack."""
    answer = await session.get(f"{url}/internal/logs/raw")
    lines = "".join(entry["m"] for entry in (await answer.json())["entries"])
    found = re.findall(r"([\d.]+) seconds: \S*sonopaint", lines)
    return found[-1] if found else "?"


async def measure(
    url: str, runs: int, names: list[str], changed: dict[str, Any], clock: Callable[[], float]
) -> None:
    examples = example_workflows()
    async with aiohttp.ClientSession() as session:
        info = await (await session.get(f"{url}/object_info")).json()

        seeds = count(200)  # another one for each run: nothing that was painted before is taken again

        async def once(name: str) -> list[float]:
            await session.post(f"{url}/free", json={"unload_models": True, "free_memory": True})
            await asyncio.sleep(1)
            nodes = examples.WORKFLOWS[name][0]
            prompt = examples.to_prompt(nodes, info, {"seed": next(seeds)} | changed)
            seconds = await run(session, url, prompt, clock)
            total = seconds.pop("total")
            groups = [
                sum(s for node, s in seconds.items() if prompt[node]["class_type"] in kinds)
                for kinds in GROUPS.values()
            ]
            return [total, *groups, total - sum(groups)]

        await once(names[0])
        print(f"The pack's import: {await import_seconds(session, url)} s (ComfyUI's log)\n")
        print("| workflow | total | model | sampler | VAE | phase search | rest | rest, part of total |")
        print("|---|---|---|---|---|---|---|---|")
        for name in names:
            results = [await once(name) for _ in range(runs)]
            medians = [statistics.median(column) for column in zip(*results, strict=True)]
            columns = " | ".join(f"{value:.2f} s" for value in medians)
            print(f"| {name} | {columns} | {100 * medians[-1] / medians[0]:.1f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many runs is shown")
    parser.add_argument("--pid", type=int, help="ComfyUI's process: measure its processor time (Linux)")
    parser.add_argument("--checkpoint", help="a file in ComfyUI's checkpoints, in Mini's place")
    parser.add_argument("--steps", type=int, help="of the samplers, instead of the examples' own")
    known = list(example_workflows().WORKFLOWS)
    parser.add_argument("workflows", nargs="*", help="their names; all without")
    options = parser.parse_args()
    changed = {"model": options.checkpoint, "steps": options.steps}
    changed = {name: value for name, value in changed.items() if value is not None}
    asyncio.run(
        measure(options.url, options.runs, options.workflows or known, changed, clock_of(options.pid))
    )


if __name__ == "__main__":
    main()
