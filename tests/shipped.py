"""The shipped parameters, as text and as values, and where the repository lies: for whoever needs no more than that."""

from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "tests" / "params.yaml").read_text()
VALUES = YAML(typ="safe").load(PARAMS)
