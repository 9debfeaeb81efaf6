"""data/schema.json: the facts of a data set that later stages need. They flow from here, never from params.yaml."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.files.atomic import write_json
from stages.files.tables import RESTORE, read_json
from stages.process.faults import BAD_DATA, Fault

PATH = Path("data/schema.json")


@dataclass(frozen=True)
class Schema:
    """Names, kinds and counts.

    dataset:  the generator's name, or that of the table's file.
    features: one name a column, in the order in which the network gets them.
    kinds:    of the features that are not numeric (float64 in the tables): categorical (dictionary of strings), boolean
              or datetime (timestamp[us]). A missing value is null.
    carried:  other columns of the tables, which are no features (strings): identifiers and ignored ones.
    own:      whether it is a person's own table: what `auto` means in params.yaml may depend on it.
    target:   name of the column that holds the class as an index into `classes` (int64 in the tables).
    classes:  one name a class.
    counts:   rows of each class.
    density:  where the generator's density is known, its name and numbers (see datasets/densities.py); else None.
    """

    dataset: str
    features: list[str]
    target: str
    classes: list[str]
    counts: list[int]
    density: dict[str, Any] | None
    kinds: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    own: bool = False

    def kind(self, feature: str) -> str:
        return self.kinds.get(feature, "numeric")


def write_schema(schema: Schema) -> None:
    content = asdict(schema)
    content["features"] = [{"name": name, "kind": schema.kind(name)} for name in schema.features]
    content["target"] = {"name": schema.target, "kind": "categorical"}
    content["classes"] = [
        {"name": name, "rows": rows} for name, rows in zip(schema.classes, schema.counts, strict=True)
    ]
    del content["counts"], content["kinds"]
    write_json(PATH, content)


def read_schema() -> Schema:
    content = read_json(PATH)
    try:
        return Schema(
            dataset=content["dataset"],
            features=[feature["name"] for feature in content["features"]],
            target=content["target"]["name"],
            classes=[item["name"] for item in content["classes"]],
            counts=[item["rows"] for item in content["classes"]],
            density=content["density"],
            kinds={each["name"]: each["kind"] for each in content["features"] if each["kind"] != "numeric"},
            carried=content["carried"],
            own=content["own"],
        )
    except (KeyError, TypeError) as error:
        raise Fault(BAD_DATA, f"{PATH} lacks {error}; {RESTORE}") from None
