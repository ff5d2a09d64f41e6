"""Write example_workflows/*.json and subgraphs/*.json: python docs/make_comfyui_workflows.py [--url URL]

The nodes are those of comfyui_examples.py; the sockets, the order of the widgets and the layout come from a
running ComfyUI with this pack in it (its /object_info), so that they are never out of date.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from comfyui_examples import BLUEPRINTS, FILES, WORKFLOWS, Blueprint, Nodes

ROOT = Path(__file__).resolve().parent.parent
FOLDER, BLUEPRINT_FOLDER = ROOT / "example_workflows", ROOT / "subgraphs"
GAP, WIDTH = 50, 320
FOLDED = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "SONOPAINT_DRAWING", "SONOPAINT_LANES", FOLDED}
SIZES = {
    "SonopaintRegion": (500, 620),
    "SonopaintDrawCurves": (500, 640),
    "CLIPTextEncode": (320, 130),
    "PreviewImage": (640, 300),
}
SIZES |= {"SonopaintSaveAudio": (320, 190), "KSampler": (320, 470), "SamplerCustomAdvanced": (320, 330)}
# From left to right: what is given, words, what is to be painted, painting, sound.
COLUMNS = (
    {"recording", "second", "third", "model", "lora", "clip"},
    {"prompt", "prompt_b", "negative", "latent", "time", "between", "shifted"},
    {"region", "canvas", "longer", "curves", "follow"},
    {"matched", "blended", "encode", "masked", "repeat", "guider", "select", "schedule", "sampler"},
    {"played", "decode", "sound", "back", "save"},
    {"joined", "one", "save_one", "hear", "chosen", "figures", "brought"},
    {"plot", "look"},
)


def graph(nodes: Nodes, note: str, info: dict[str, Any]) -> dict[str, Any]:
    """A workflow as ComfyUI's page saves it."""
    ids = {name: index + 1 for index, name in enumerate(nodes)}
    outputs = {
        name: dict(zip(info[kind]["output_name"], range(99))) | dict(zip(info[kind]["output"], range(99)))  # noqa: B905
        for name, (kind, _) in nodes.items()
    }
    links: list[list[Any]] = []
    made: dict[str, dict[str, Any]] = {}
    columns = {name: next(i for i, names in enumerate(COLUMNS) if name in names) for name in nodes}
    widths = [0] * len(COLUMNS)
    for name, (kind, _) in nodes.items():
        widths[columns[name]] = max(widths[columns[name]], SIZES.get(kind, (WIDTH, 0))[0] + GAP)
    bottoms = [0] * len(COLUMNS)
    for name, (kind, given) in nodes.items():
        inputs, widgets = [], []
        for key, spec in unfolded(definition(info[kind]), given).items():
            value = given.get(key)
            if is_link(value, nodes):
                source, _, slot = value.partition(".")
                number = outputs[source][slot]
                links.append([len(links) + 1, ids[source], number, ids[name], len(inputs), input_type(spec)])
                inputs.append({"name": key, "type": input_type(spec), "link": len(links)})
            elif input_type(spec) not in WIDGETS:
                inputs.append({"name": key, "type": input_type(spec), "link": None})
            if input_type(spec) in WIDGETS:
                widgets.append(value if key in given else default(spec))
                if controlled(key, spec):
                    widgets.append("fixed")
        column = columns[name]
        sockets = max(len(inputs), len(info[kind]["output"]))
        width, height = SIZES.get(kind, (WIDTH, 60 + 26 * (sockets + len(widgets))))
        y = bottoms[column]
        bottoms[column] = y + height + 70
        made[name] = {
            "id": ids[name],
            "type": kind,
            "pos": [sum(widths[:column]), y],
            "size": [width, height],
            "flags": {},
            "order": ids[name] - 1,
            "mode": 0,
            "inputs": inputs,
            "outputs": [
                {"name": label, "type": type_, "links": []}
                for label, type_ in zip(info[kind]["output_name"], info[kind]["output"], strict=True)
            ],
            "properties": {"Node name for S&R": kind, **needed_files(given)},
            "widgets_values": widgets,
        }
    by_id = {node["id"]: node for node in made.values()}
    for number, source, slot, *_ in links:
        by_id[source]["outputs"][slot]["links"].append(number)
    remark = {
        "id": len(ids) + 1,
        "type": "MarkdownNote",
        "pos": [0, -220],
        "size": [690, 150],
        "flags": {},
        "order": len(ids),
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {},
        "widgets_values": [note],
    }
    return {
        "last_node_id": len(ids) + 1,
        "last_link_id": len(links),
        "nodes": [*made.values(), remark],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def needed_files(given: dict[str, Any]) -> dict[str, Any]:
    """What the page offers to get where a model's file is missing."""
    files = [FILES[value] for value in given.values() if isinstance(value, str) and value in FILES]
    return {"models": files} if files else {}


def blueprint(name: str, spec: Blueprint, info: dict[str, Any]) -> dict[str, Any]:
    """A subgraph as ComfyUI's page publishes it: one node that holds others."""
    inner = graph(spec.nodes, "", info)
    nodes, links = inner["nodes"][:-1], []  # without the remark
    own = str(uuid.uuid5(uuid.NAMESPACE_URL, f"sonopaint/{name}"))
    by_name = dict(zip(spec.nodes, nodes, strict=True))
    for number, source, slot, target, place, kind in inner["links"]:
        links.append(link(number, source, slot, target, place, kind))
    sockets, outer, shown = [], [], []
    for index, (label, targets) in enumerate(spec.inputs.items()):
        for target in targets:
            node, _, key = target.partition(".")
            made, kind = by_name[node], input_type(definition(info[spec.nodes[node][0]])[key])
            slots = [place for place, one in enumerate(made["inputs"]) if one["name"] == key]
            if not slots:  # a widget gets a socket
                made["inputs"].append({"name": key, "type": kind, "widget": {"name": key}, "link": None})
                shown.append([str(made["id"]), key])
            place = slots[0] if slots else len(made["inputs"]) - 1
            links.append(link(len(links) + 1, -10, index, made["id"], place, kind))
            made["inputs"][place]["link"] = len(links)
        ids = [one["id"] for one in links if one["origin_id"] == -10 and one["origin_slot"] == index]
        widget = {} if slots else {"widget": {"name": label}}
        outer.append({"name": label, "type": kind, "label": label, "link": None, **widget})
        sockets.append(
            {"id": identity(own, label), "name": label, "type": kind, "linkIds": ids, "label": label}
        )
    source, _, socket = spec.output.partition(".")
    origin = by_name[source]
    slot = next(i for i, one in enumerate(origin["outputs"]) if socket in (one["name"], one["type"]))
    kind = origin["outputs"][slot]["type"]
    links.append(link(len(links) + 1, origin["id"], slot, -20, 0, kind))
    origin["outputs"][slot]["links"].append(len(links))
    given = {"id": identity(own, "out"), "name": kind, "type": kind, "linkIds": [len(links)], "label": kind}
    right = max(node["pos"][0] + node["size"][0] for node in nodes)
    subgraph = {
        "id": own,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(nodes), "lastLinkId": len(links), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": name,
        "inputNode": {"id": -10, "bounding": [-260, 0, 160, 40 + 20 * len(sockets)]},
        "outputNode": {"id": -20, "bounding": [right + 100, 0, 120, 60]},
        "inputs": [{**one, "pos": [-120, 20 + 20 * i]} for i, one in enumerate(sockets)],
        "outputs": [{**given, "pos": [right + 120, 20]}],
        "widgets": [],
        "nodes": nodes,
        "groups": [],
        "links": links,
        "extra": {},
        "category": "Audio/Sonopaint",
        "description": spec.description,
    }
    node = {
        "id": 1,
        "type": own,
        "pos": [0, 0],
        "size": [340, 60 + 26 * len(outer)],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": outer,
        "outputs": [{"name": kind, "type": kind, "links": []}],
        "properties": {"proxyWidgets": shown},
        "widgets_values": [],
        "title": name,
    }
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [subgraph]},
        "extra": {},
    }


def link(number: int, source: int, slot: int, target: int, place: int, kind: str) -> dict[str, Any]:
    """A link as subgraphs have it."""
    ends = {"origin_id": source, "origin_slot": slot, "target_id": target, "target_slot": place}
    return {"id": number, **ends, "type": kind}


def identity(own: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(own), name))


def to_prompt(nodes: Nodes, info: dict[str, Any], changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """The nodes as ComfyUI queues them; the widgets named in `changed` have that value everywhere."""
    prompt = {}
    for own, (kind, given) in nodes.items():
        inputs = {}
        for key, spec in unfolded(definition(info[kind]), given).items():
            value = given.get(key)
            if is_link(value, nodes):
                source, _, slot = value.partition(".")
                kinds = info[nodes[source][0]]
                labels = kinds["output_name"]
                inputs[key] = [source, labels.index(slot) if slot in labels else kinds["output"].index(slot)]
            elif input_type(spec) in WIDGETS:
                inputs[key] = (changed or {}).get(key, value if key in given else default(spec))
        prompt[own] = {"class_type": kind, "inputs": inputs}
    return prompt


def is_link(value: Any, nodes: Nodes) -> bool:
    return isinstance(value, str) and value.partition(".")[0] in nodes and bool(value.partition(".")[2])


def definition(info: dict[str, Any]) -> dict[str, Any]:
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def unfolded(specs: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """With the inputs of the option that is chosen in a dynamic combo, after it: {"synth.changes": …}."""
    found: dict[str, Any] = {}
    for key, spec in specs.items():
        found[key] = spec
        if input_type(spec) == FOLDED:
            chosen = given.get(key, default(spec))
            inner = next(one["inputs"] for one in spec[1]["options"] if one["key"] == chosen)
            found |= {f"{key}.{name}": one for name, one in definition({"input": inner}).items()}
    return found


def input_type(spec: list[Any]) -> str:
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def default(spec: list[Any]) -> Any:
    options = spec[1] if len(spec) > 1 else {}
    if "default" in options:
        return options["default"]
    if input_type(spec) == FOLDED:
        return options["options"][0]["key"]
    if input_type(spec) == "COMBO":
        choices = spec[0] if isinstance(spec[0], list) else options["options"]
        return choices[0] if choices else ""
    return {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(input_type(spec), "")


def controlled(name: str, spec: list[Any]) -> bool:
    """Whether the page adds a "control after generate" widget."""
    options = spec[1] if len(spec) > 1 else {}
    return input_type(spec) == "INT" and options.get("control_after_generate", name in ("seed", "noise_seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    with urllib.request.urlopen(f"{parser.parse_args().url}/object_info") as answer:
        info = json.load(answer)
    made = {FOLDER / f"{name}.json": graph(*one, info) for name, one in WORKFLOWS.items()}
    made |= {
        BLUEPRINT_FOLDER / f"{name}.json": blueprint(name, one, info) for name, one in BLUEPRINTS.items()
    }
    for path, workflow in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(workflow, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
