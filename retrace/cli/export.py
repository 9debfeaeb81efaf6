"""`make export`: the trained model as one ONNX file, models/model.onnx, that takes raw rows.

Reads models/model.json, models/model.safetensors and `evaluate.threshold`; where that is an aim, reports/scores.json.
What its inputs and outputs are, the file itself says (retrace/serving/onnx_graph.py); its metadata names the classes
and the digest of the weights.
"""

import json

import click

from retrace.artifacts.paths import MODELS
from retrace.artifacts.tables import read_json
from retrace.evaluation.served_threshold import served_threshold
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read
from retrace.runtime.atomic import write_bytes
from retrace.serving.onnx_graph import build

EXPORTED = MODELS / "model.onnx"


@click.command(epilog="Example: retrace export")
def command() -> None:
    """The trained model as one ONNX file, models/model.onnx: raw rows in, label and probabilities out."""
    threshold, model = served_threshold(read(Evaluate)), load(MODELS)
    description = model.description
    made = build(model, threshold)
    facts = {
        "classes": json.dumps(description.classes, ensure_ascii=False),
        "target": description.target,
        "threshold": str(threshold),
        "limits": "where a row cannot be judged (a number is infinite or too large), NaN and the label ''",
        "weights_sha256": read_json(MODELS / "model.json")["sha256"]["model.safetensors"],
    }
    for key, value in facts.items():
        made.metadata_props.add(key=key, value=value)
    content = made.SerializeToString(deterministic=True)
    write_bytes(EXPORTED, content)
    outputs = ", ".join(output.name for output in made.graph.output)
    print(f"export: {EXPORTED}, {len(content):,} bytes; {len(made.graph.input)} inputs of raw rows; {outputs} out")
