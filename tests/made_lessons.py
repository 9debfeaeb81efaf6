"""Small lessons for tests: their files, and folders that have them."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from retrace.params.lesson import path_of

NAME = "01-a-small-one"
SMALL: dict[str, Any] = {
    "title": "A small one",
    "claim": "Ten units learn, and zeros do not.",
    "why": "Because\n\n    z = w x\n\nsays so, <b>and</b> *no more*.",
    "source": "Nobody, *Nothing* (2026).",
    "settings": {"create.rows": 300, "train.epochs": 4, "train.replicas": 3, "train.optimizer.learning_rate": 1.0},
    "variants": {"ten": {}, "fast": {"train.optimizer.learning_rate": 2.0}, "zeros": {"train.init": "zeros"}},
    "expect": [
        {"says": "zeros have no gradient", "value": 'highest(start_gradient("zeros", 1))', "equals": 0},
        {"says": "ten units have one", "value": 'lowest(start_gradient("ten", 1))', "above": 0.001},
    ],
    "figures": [
        {"kind": "curves", "of": "loss", "title": "Loss", "log": True},
        {"kind": "curves", "of": "health", "title": "Dead units"},
        {"kind": "dots", "of": "accuracy", "title": "Accuracy"},
        {"kind": "dots", "of": "start_loss", "title": "Loss at the start", "variants": ["ten"]},
        {"kind": "layers", "of": "gradient", "title": "Gradient", "log": True},
        {"kind": "boundaries", "title": "Plane"},
    ],
    "animation": ["ten", "zeros"],
    "questions": [{"ask": "Is 1 < 2?", "answer": "Yes."}],
    "next": "dvc exp run -S train.epochs=5",
}

# A variant whose first loss is not finite.
WILD = {"train.init": "normal", "train.init_scale": 1e3, "train.hidden": [16] * 16}


def write_lesson(folder: Path, name: str = NAME, **changes: Any) -> Path:
    """The small lesson with some parts of it changed; None takes one away. Returns the folder."""
    (folder / path_of(name)).parent.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in (SMALL | changes).items() if value is not None}
    with open(folder / path_of(name), "w", encoding="utf-8") as file:
        YAML().dump(content, file)  # in this order
    return folder
