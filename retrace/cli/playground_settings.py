"""What a link of TensorFlow Playground is in params.yaml, and the other way round, with a line for what is lost.

Both ways nothing is dropped without a word. What both have is written exactly: activation, layers, learning rate,
batch, L2, share of training rows, seed, start of the weights, data set and its noise (`playground_data`). What
Playground always does alike (plain gradient descent on the squared error, unscaled inputs) is set with a link, and
named where a present setting differs from it. Its loss 0.5 (tanh(z) - t)^2 for t of -1 and 1 is Retrace's 2 (p - c)^2
at p = (1 + tanh(z)) / 2, but that Retrace's last unit is half as steep; its L2 pulls after the step and not within it;
its biases begin at 0.1, and Retrace's at 0 (src/nn.ts).

A seed of Playground's is a text of five decimals such as 0.12345, and becomes a whole number, here 12345.
"""

import re
from collections.abc import Iterator
from typing import Any

from retrace.cli.playground_data import COUNTERPARTS
from retrace.cli.playground_link import HIDDEN, KEYS, ROWS, State
from retrace.params.edit import Key, written
from retrace.runtime.errors import BAD_PARAMS, UserError

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "linear": "identity"}
SEEDS = ("create.seed", "split.seed", "train.seed")
HIGHEST_SEED = 2**32 - 1
INIT_SCALE = 0.5  # a weight begins within +-0.5 (src/nn.ts)
FEATURES = ("xTimesY", "xSquared", "ySquared", "cosX", "sinX", "cosY", "sinY")
VIEW = ("showTestData", "discretize", "collectStats", "tutorial", "hideText")

# What Playground does alike whatever the link says.
ALWAYS: dict[str, Any] = {
    "create.rows": ROWS,
    "split.column": None,
    "train.scaling": "none",
    "train.bins": 0,
    "train.residuals_above": 1.0,
    "train.input_scale_rate": 0.0,
    "train.architecture": "mlp",
    "train.dropout": 0.0,
    "train.loss": "mean_squared_error",
    "train.label_smoothing": 0.0,
    "train.class_weights": "none",
    "train.optimizer.name": "sgd",
    "train.optimizer.momentum": 0.0,
    "train.optimizer.nesterov": False,
    "train.schedule.name": "constant",
    "train.schedule.warmup_epochs": 0,
    "train.gradient_clip": None,
    "train.window": None,
    "train.temperature": "none",
    "evaluate.threshold": 0.5,
    "evaluate.slices": [],
}
# What it has no word for, and why.
ONLY_HERE = {
    "train.replicas": "Playground trains one network",
    "train.ship": "Playground trains one network",
    "train.epochs": "Playground trains until it is stopped",
    "train.patience": "Playground trains until it is stopped",
    "split.validation_size": "Playground has no validation rows, and trains on these, too",
}


def params_of(state: State, present: dict[str, Any]) -> tuple[dict[Key, Any], list[str]]:
    """What of params.yaml a link changes, and a line for each thing in it that has no counterpart there.

    present: parameter by dotted name. Raises UserError where the link describes nothing that Retrace could train.
    """
    if state["problem"] != "classification":
        raise UserError(
            BAD_PARAMS, "playground: problem=regression has no counterpart: Retrace trains classifiers only"
        )
    data = COUNTERPARTS[str(state["dataset"])]
    percent = float(str(state["noise"]))
    values = dict(ALWAYS) | {
        "create.dataset": data.dataset,
        **data.settings,
        data.noise: data.value(percent),
        "split.method": present["split.method"] if present["split.method"] in ("auto", "random") else "random",
        "split.test_size": round(1 - float(str(state["percTrainData"])) / 100, 4),
        "train.hidden": state["networkShape"],
        "train.activation": ACTIVATIONS[str(state["activation"])],
        "train.init": "zeros" if state["initZero"] else "uniform",
        "train.optimizer.learning_rate": state["learningRate"],
        "train.optimizer.weight_decay": state["regularizationRate"] if state["regularization"] == "L2" else 0.0,
        "train.batch_size": state["batchSize"],
    }
    if not state["initZero"]:
        values["train.init_scale"] = INIT_SCALE
    seed = _seed(str(state["seed"]))
    if seed is not None:
        values |= dict.fromkeys(SEEDS, seed)
    changed = {tuple(name.split(".")): value for name, value in values.items() if present[name] != value}
    return changed, list(_lost(state, data.unlike, seed))


def _lost(state: State, unlike: str, seed: int | None) -> Iterator[str]:
    yield f"dataset={state['dataset']} becomes {unlike}"
    if state["seed"] == "":
        yield "seed is not in the link, so that Playground draws one: the seeds here stay"
    elif seed is None:
        yield f"seed={state['seed']} is not one of Playground's own, such as 0.12345: the seeds here stay"
    if state["regularization"] == "L1":
        yield f"regularization=L1 (rate {state['regularizationRate']}) has no counterpart: the weights are not pulled"
    elif (state["regularization"] == "L2") != (state["regularizationRate"] != 0):
        off = f"regularization={state['regularization']} with regularizationRate={state['regularizationRate']}"
        yield f"{off} does nothing, and comes back as none with 0"
    for name in ("x", "y"):
        if not state[name]:
            yield f"{name}=false has no counterpart: the network sees both coordinates"
    for name in FEATURES:
        if state[name]:
            yield f"{name}=true has no counterpart: the network sees the two coordinates only"
    if state["regDataset"] != KEYS["regDataset"].default:
        yield f"regDataset={state['regDataset']} has no counterpart: Retrace trains classifiers only"
    for name in (*VIEW, *(each for each in state if each.endswith(HIDDEN))):
        if state[name] != (KEYS[name].default if name in KEYS else False):
            yield f"{name}={str(state[name]).lower()} is about how the page looks, which Retrace does not keep"


def _seed(text: str) -> int | None:
    if re.fullmatch(r"(0|[1-9]\d{0,4})\.\d{5}", text) and int(text.replace(".", "")) <= HIGHEST_SEED:
        return int(text.replace(".", ""))
    return None


def state_of(present: dict[str, Any]) -> tuple[State, list[str]]:
    """The values of a link for params.yaml, and a line for each parameter in force that the link does not say.

    A key that has no counterpart is not in the link, so that Playground takes its default.
    """
    state: State = {name: key.default for name, key in KEYS.items() if name != "tutorial"}
    lines: list[str] = []

    def unsaid(name: str, why: str) -> None:
        lines.append(f"{name}: {written(present[name])} is not in the link: {why}")

    def left_to_default(key: str) -> str:
        return f"Playground takes {key}={str(state.pop(key)).lower()}"

    dataset = next((name for name, each in COUNTERPARTS.items() if each.dataset == present["create.dataset"]), None)
    if dataset is None:
        state.pop("noise")
        unsaid("create.dataset", left_to_default("dataset"))
    else:
        data = COUNTERPARTS[dataset]
        state |= {"dataset": dataset, "noise": data.percent(present[data.noise])}
        for name, value in (data.settings | {data.noise: data.value(data.percent(present[data.noise]))}).items():
            if present[name] != value:
                unsaid(name, f"Playground's data are like {written(value)}")
    share = round(100 * (1 - present["split.test_size"]), 2)
    percent = min(max(share, 1.0), 99.0)
    state["percTrainData"] = percent
    if round(1 - percent / 100, 4) != present["split.test_size"]:
        unsaid("split.test_size", f"percTrainData={percent} comes closest")
    if present["split.method"] not in ("auto", "random"):
        unsaid("split.method", "Playground takes rows at random")
    state["seed"] = f"{present['create.seed'] // 100_000}.{present['create.seed'] % 100_000:05}"
    for name in SEEDS[1:]:
        if present[name] != present["create.seed"]:
            unsaid(name, "Playground has one seed, here that of create")
    state["networkShape"] = present["train.hidden"]
    active = next((name for name, each in ACTIVATIONS.items() if each == present["train.activation"]), None)
    if active is None:
        unsaid("train.activation", left_to_default("activation"))
    else:
        state["activation"] = active
    state["initZero"] = present["train.init"] == "zeros"
    if present["train.init"] not in ("zeros", "uniform"):
        unsaid("train.init", f"Playground's is uniform within {INIT_SCALE}")
    elif present["train.init"] == "uniform" and present["train.init_scale"] != INIT_SCALE:
        unsaid("train.init_scale", f"Playground's is {INIT_SCALE}")
    state["learningRate"] = present["train.optimizer.learning_rate"]
    if decay := present["train.optimizer.weight_decay"]:
        state |= {"regularization": "L2", "regularizationRate": decay}
    rows = int(ROWS * percent / 100)
    state["batchSize"] = min(present["train.batch_size"], rows)
    if present["train.batch_size"] > rows:
        unsaid("train.batch_size", f"Playground has {rows} training rows, which are one batch here")
    for name, value in ALWAYS.items():
        if present[name] != value:
            unsaid(name, f"Playground's is {written(value)}")
    for name, why in ONLY_HERE.items():
        unsaid(name, why)
    return state, lines
