"""The preprocessing in ONNX, as preprocessing/apply.py has it: from raw features to what the first layer sees."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from retrace.data.values import DAY
from retrace.networks.encodings import Bins, Residuals
from retrace.networks.model import Model
from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.serving.onnx_builder import Graph


def inputs(graph: Graph, model: Model) -> tuple[list[str], list[str], str]:
    """What all replicas see, each float32 [rows, some inputs]; codes of embedded categories, int64 [rows]; and what is
    0 for a row whose numbers the network can take and NaN for any other, float64 [rows, 1], or "" without numbers."""
    encoded = model.description.preprocessing
    sources = [source(graph, number) for number in encoded.numbers]
    filled = [_filled(graph, number, source) for number, source in zip(encoded.numbers, sources, strict=True)]
    dense = [_scaled(graph, number, value) for number, value in zip(encoded.numbers, filled, strict=True)]
    doubt = ""
    for value, seen in zip(filled, dense, strict=True):
        # Infinity less itself is NaN. Ranks and bins would hide that a value is infinite.
        for each in (value, graph.op("Cast", seen, to=TensorProto.DOUBLE)):
            nothing = graph.op("Sub", each, each)
            doubt = graph.op("Add", doubt, nothing) if doubt else nothing
    _bridge(graph, encoded, sources, dense)
    network = model.network
    bins = [_bins(graph, network.bins, dense)] if len(network.bins) else []
    dense += [
        graph.op("Cast", graph.op("IsNaN", source), to=TensorProto.FLOAT)
        for number, source in zip(encoded.numbers, sources, strict=True)
        if number.indicator
    ]
    dense += ([_residuals(graph, network.residuals, dense)] if len(network.residuals) else []) + bins
    embedded = []
    for category in encoded.categories:
        codes = _codes(graph, category)
        if category.embedded:
            embedded.append(graph.op("Squeeze", codes, graph.constant([1], np.int64)))
        else:
            ones = graph.op("Equal", codes, graph.constant([range(category.codes)], np.int64))
            dense.append(graph.op("Cast", ones, to=TensorProto.FLOAT))
    return dense, embedded, doubt


def source(graph: Graph, number: Number) -> str:
    """float64 [rows, 1], as PARTS in data/values.py has it."""
    if number.part is None:
        return number.column
    days = graph.with_number("Div", number.column, DAY)
    whole = graph.op("Floor", days)
    if number.part == "days":
        return days
    if number.part == "weekday":  # 1970-01-01 was a Thursday
        return _remainder(graph, graph.with_number("Add", whole, 3), 7)
    if number.part == "hour":
        return graph.op("Floor", graph.with_number("Div", _remainder(graph, number.column, DAY), DAY / 24))
    return _month(graph, whole)


def _month(graph: Graph, days: str) -> str:
    """Of days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant 2013, civil_from_days)."""

    def whole(value: str, divisor: float) -> str:
        return graph.op("Floor", graph.with_number("Div", value, divisor))

    def times(value: str, factor: float) -> str:
        return graph.with_number("Mul", value, factor)

    day = _remainder(graph, graph.with_number("Add", days, 719_468), 146_097)  # of an era of 400 years from March on
    leaps = graph.op(
        "Sub", graph.op("Add", graph.op("Sub", day, whole(day, 1_460)), whole(day, 36_524)), whole(day, 146_096)
    )
    year = whole(leaps, 365)
    before = graph.op("Sub", graph.op("Add", times(year, 365), whole(year, 4)), whole(year, 100))
    month = whole(graph.with_number("Add", times(graph.op("Sub", day, before), 5), 2), 153)  # 0 is March
    return graph.with_number("Add", _remainder(graph, graph.with_number("Add", month, 2), 12), 1)


def _remainder(graph: Graph, value: str, divisor: float) -> str:
    """Never negative; NaN stays NaN."""
    whole = graph.op("Floor", graph.with_number("Div", value, divisor))
    return graph.op("Sub", value, graph.with_number("Mul", whole, divisor))


def _filled(graph: Graph, number: Number, value: str) -> str:
    if number.fill is None:
        return value
    return graph.op("Where", graph.op("IsNaN", value), graph.constant(number.fill, np.float64), value)


def _scaled(graph: Graph, number: Number, value: str) -> str:
    """float32 [rows, 1]."""
    if number.quantiles is not None:
        value = _ranks(graph, np.asarray(number.quantiles), value)
    centered = graph.with_number("Sub", value, number.center)
    seen = graph.op("Cast", graph.with_number("Div", centered, number.spread), to=TensorProto.FLOAT)
    return _bounded(graph, number, seen)


def _bounded(graph: Graph, number: Number, seen: str) -> str:
    if not number.edges:
        return seen
    # Not Clip, which makes a number of NaN.
    low, high = (graph.constant(edge, np.float32) for edge in (number.edges[0], number.edges[-1]))
    return graph.op("Where", graph.op("IsNaN", seen), seen, graph.op("Min", graph.op("Max", seen, low), high))


def _bridge(graph: Graph, encoded: Preprocessing, sources: list[str], seen: list[str]) -> None:
    """As apply.bridge has it: changes `seen`, each number [rows, 1]; sources: the same ones, NaN where missing."""
    gaps = {place: graph.op("IsNaN", sources[place]) for place in sorted(encoded.paired)}
    for each in encoded.residuals:
        first, second = gaps[each.first], gaps[each.second]
        slope, center = (graph.constant(constant, np.float32) for constant in (each.slope, each.center))
        from_second = graph.op("Add", graph.op("Mul", seen[each.second], slope), center)
        from_first = graph.op("Div", graph.op("Sub", seen[each.first], center), slope)
        for place, own, other, line in (
            (each.first, first, second, from_second),
            (each.second, second, first, from_first),
        ):
            number = encoded.numbers[place]
            if not number.indicator:
                only = graph.op("And", own, graph.op("Not", other))
                seen[place] = graph.op("Where", only, _bounded(graph, number, line), seen[place])
        gaps[each.first] = gaps[each.second] = graph.op("And", first, second)


def _residuals(graph: Graph, residuals: Residuals, numbers: list[str]) -> str:
    """float32 [rows, residuals], as encodings.Residuals has them, from numbers and indicators, each [rows, 1]."""
    slope, center, spread, least, most = (
        graph.constant(each.numpy()[None], np.float32)
        for each in (residuals.slope, residuals.center, residuals.spread, residuals.least, residuals.most)
    )
    columns = graph.op("Concat", *numbers, axis=1)
    first, second = (
        graph.op("Gather", columns, graph.constant(each, np.int64), axis=1)
        for each in (residuals.first, residuals.second)
    )
    left = graph.op("Sub", graph.op("Sub", first, graph.op("Mul", second, slope)), center)
    kept = graph.op("Min", graph.op("Max", graph.op("Div", left, spread), least), most)
    if not residuals.may_be_missing:
        return kept
    missing = graph.op("MatMul", columns, graph.constant(residuals.missing, np.float32))
    known = graph.op("Less", missing, graph.constant(0.5, np.float32))
    return graph.op("Mul", kept, graph.op("Cast", known, to=TensorProto.FLOAT))


def _bins(graph: Graph, bins: Bins, numbers: list[str]) -> str:
    """float32 [rows, bins of all numbers], as encodings.Bins has them, from each number [rows, 1]."""
    low, slope, least, most = (
        graph.constant(each.numpy()[None], np.float32) for each in (bins.low, bins.slope, bins.least, bins.most)
    )
    columns = graph.op("Gather", graph.op("Concat", *numbers, axis=1), graph.constant(bins.columns, np.int64), axis=1)
    return graph.op("Min", graph.op("Max", graph.op("Mul", graph.op("Sub", columns, low), slope), least), most)


def _ranks(graph: Graph, known: NDArray[np.float64], value: str) -> str:
    """As apply.ranks: the mean of an interpolation from the left and one from the right."""
    last = len(known) - 1
    quantiles = graph.constant(known, np.float64)
    shares = graph.constant(np.linspace(0, 1, len(known)), np.float64)

    def interpolated(below: str) -> str:
        """Between two neighbours: the left one is the last of those that are `below`."""
        row = graph.op("Cast", graph.op(below, graph.constant(known[None], np.float64), value), to=TensorProto.INT64)
        count = graph.op("ReduceSum", row, graph.constant([1], np.int64), keepdims=1)
        left = graph.op("Sub", count, graph.constant(1, np.int64))
        left = graph.op("Clip", left, graph.constant(0, np.int64), graph.constant(last - 1, np.int64))
        right = graph.op("Add", left, graph.constant(1, np.int64))
        x0, x1, y0, y1 = (graph.op("Gather", each, at) for each in (quantiles, shares) for at in (left, right))
        slope = graph.op("Div", graph.op("Sub", y1, y0), graph.op("Sub", x1, x0))
        if below == "LessOrEqual":
            return graph.op("Add", y0, graph.op("Mul", slope, graph.op("Sub", value, x0)))
        return graph.op("Sub", y1, graph.op("Mul", slope, graph.op("Sub", x1, value)))

    both = graph.op("Add", interpolated("LessOrEqual"), interpolated("Less"))
    middle = graph.with_number("Mul", both, 0.5)
    one, zero = (graph.constant(end, np.float64) for end in (1, 0))
    middle = graph.op("Where", graph.with_number("GreaterOrEqual", value, known[-1]), one, middle)
    return graph.op("Where", graph.with_number("LessOrEqual", value, known[0]), zero, middle)


def _codes(graph: Graph, category: Category) -> str:
    """int64 [rows, 1], as apply.codes has it."""
    if "" in category.values:
        raise UserError(
            BAD_DATA,
            f"models/model.json: column {category.column} has the empty text as a category, which in ONNX stands for a"
            " missing value; add '' to create.reading.missing and run: dvc repro",
        )
    own = len(category.values)
    other = own + (category.missing == "own") if category.other else category.codes
    absent = own if category.missing == "own" else other
    return graph.op(
        "LabelEncoder",
        category.column,
        domain="ai.onnx.ml",
        keys_strings=[*category.values, ""],
        values_int64s=[*range(own), absent],
        default_int64=other,
    )
