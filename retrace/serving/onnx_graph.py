"""The model as an ONNX graph, raw rows in: preprocessing, network and decision, each as `apply` and `network` have it.

An input [rows, 1] for each feature: float64 for numbers (NaN where missing), truth values (1, 0, NaN) and dates
(microseconds since 1970-01-01 UTC, NaN), strings for categories ("" where missing). Out come `label` [rows] and
`probabilities` [rows, classes], float64. ONNX cannot refuse a value: where `predict` would refuse the row (a number is
infinite, or too large for float32 or for the network's sums), its probabilities are NaN and its label is "".
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from retrace.networks.model import Description, Model
from retrace.networks.probabilities import POSSIBLE
from retrace.serving import onnx_inputs
from retrace.serving.onnx_builder import IR, ML_OPSET, OPSET, Graph

TYPES = {"categorical": TensorProto.STRING}
MEANING = {
    "numeric": "a number, NaN where missing",
    "boolean": "1 for true, 0 for false, NaN where missing",
    "datetime": "microseconds since 1970-01-01 UTC, NaN where missing",
    "categorical": "a text, '' where missing",
}


def build(model: Model, threshold: float) -> onnx.ModelProto:
    """The mean of the model's replicas, or its only one, in one graph: what differs between them has a first axis.

    Raises UserError where a category is the empty text, which stands for a missing one.
    """
    description = model.description
    graph = Graph(description.features)
    dense, embedded, doubt = onnx_inputs.inputs(graph, model)
    x = graph.op("Cast", model.network.onnx(graph, dense, embedded), to=TensorProto.DOUBLE)
    if doubt:
        x = graph.op("Add", x, doubt)
    label, probabilities = _decision(graph, x, description, threshold)
    inputs = []
    for name in description.features:
        kind = description.kind(name)
        element = TYPES.get(kind, TensorProto.DOUBLE)
        inputs.append(helper.make_tensor_value_info(name, element, ["rows", 1], doc_string=MEANING[kind]))
    outputs = [
        helper.make_tensor_value_info(label, TensorProto.STRING, ["rows"]),
        helper.make_tensor_value_info(probabilities, TensorProto.DOUBLE, ["rows", len(description.classes)]),
    ]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "retrace", inputs, outputs, graph.constants, doc_string=__doc__),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR,
        producer_name="retrace",
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def _decision(graph: Graph, logits: str, description: Description, threshold: float) -> tuple[str, str]:
    """Names of label and probabilities, from logits float64 [replicas, rows, outputs]."""
    label, probabilities, classes = graph.name("label"), graph.name("probabilities"), description.classes
    if description.temperature != 1:
        logits = graph.with_number("Div", logits, description.temperature)
    if len(classes) == 2:
        second = graph.op("Sigmoid", logits)
        each = graph.op("Concat", graph.op("Sub", graph.constant(1, np.float64), second), second, axis=2)
    else:
        each = graph.op("Softmax", logits, axis=2)
    if description.label_smoothing:
        each = _unsmoothed(graph, each, description.label_smoothing, len(classes))
    graph.op("ReduceMean", each, graph.constant([0], np.int64), keepdims=0, into=probabilities)
    if len(classes) == 2:
        second = graph.op("Gather", probabilities, graph.constant(1, np.int64), axis=1)
        chosen = graph.op("Cast", graph.with_number("GreaterOrEqual", second, threshold), to=TensorProto.INT64)
    else:
        chosen = graph.op("ArgMax", probabilities, axis=1, keepdims=0)
    # A row without an answer has no label: the last name is none.
    row = graph.op("ReduceSum", probabilities, graph.constant([1], np.int64), keepdims=0)
    chosen = graph.op("Where", graph.op("IsNaN", row), graph.constant(len(classes), np.int64), chosen)
    names = graph.name("classes")
    graph.constants.append(helper.make_tensor(names, TensorProto.STRING, [len(classes) + 1], [*classes, ""]))
    return graph.op("Gather", names, chosen, into=label), probabilities


def _unsmoothed(graph: Graph, probabilities: str, smoothing: float, classes: int) -> str:
    """As probabilities.class_probabilities has it, float64 [replicas, rows, classes]."""
    spread = smoothing / classes
    without = graph.with_number("Div", graph.with_number("Sub", probabilities, spread), 1 - smoothing)
    possible = graph.op("Max", without, graph.constant(POSSIBLE * spread, np.float64))
    return graph.op("Div", possible, graph.op("ReduceSum", possible, graph.constant([2], np.int64), keepdims=1))
