"""Nodes and constants of an ONNX graph as they come."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Of the operators that are used; onnxruntime 1.17 and later know them.
OPSET, ML_OPSET, IR = 20, 3, 9


class Graph:
    """Nodes and constants as they come; each operator gives the name of its result."""

    def __init__(self, taken: list[str]):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.taken = set(taken)

    def name(self, wanted: str) -> str:
        """Such a name, or one like it that is free."""
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        return wanted

    def constant(self, values: Any, kind: Any) -> str:
        name = self.name(f"constant {len(self.constants)}")
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def op(self, kind: str, *inputs: str, into: str | None = None, domain: str = "", **attributes: Any) -> str:
        result = into or self.name(f"{kind} {len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, inputs, [result], domain=domain, **attributes))
        return result

    def with_number(self, kind: str, value: str, number: float) -> str:
        return self.op(kind, value, self.constant(number, np.float64))
