"""data/schema.json: the facts of a data set that later stages need. They flow from here, never from params.yaml."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrace.artifacts.findings import Finding
from retrace.artifacts.tables import read_json
from retrace.runtime.atomic import write_json
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore

SCHEMA = Path("data/schema.json")


@dataclass(frozen=True)
class Schema:
    """Names, kinds and counts.

    dataset:  the generator's name, or that of the table's file.
    features: one name a column, in the order in which the network gets them.
    kinds:    of the features that are not numeric (float64 in the tables): categorical (dictionary of strings), boolean
              or datetime (timestamp[us]). A missing value is null.
    date_formats: how the dates of features are written, where that is known (see retrace/data/values.py).
    missing:  of a person's own table: texts that stand for a missing value.
    carried:  other columns of the tables, which are not features (strings): identifiers and ignored ones.
    own:      whether it is a person's own table: what `auto` means in params.yaml may depend on it.
    target:   name of the column that holds the class as an index into `classes` (int64 in the tables).
    classes:  one name a class.
    counts:   rows of each class.
    number_formats: of a CSV file, how each column's numbers are written that have signs or units, for instance
              {"decimal": ",", "unit": "%"}.
    findings: what `create` found that a person should know; nothing in a made data set.
    density:  where the generator's density is known, its name and numbers (see data/densities.py); else None.
    """

    dataset: str
    features: list[str]
    target: str
    classes: list[str]
    counts: list[int]
    density: dict[str, Any] | None
    kinds: dict[str, str] = field(default_factory=dict)
    date_formats: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    own: bool = False
    number_formats: dict[str, dict[str, str]] | None = None
    findings: list[Finding] = field(default_factory=list)

    def kind(self, feature: str) -> str:
        return self.kinds.get(feature, "numeric")

    def number_format(self, feature: str) -> dict[str, str]:
        """How its numbers were written; of whole ones, which look the same in each form, as the others."""
        forms = self.number_formats or {}
        others = {form["decimal"] for form in forms.values()}
        return forms.get(feature, {"decimal": "," if others == {","} else ".", "unit": ""})


def write_schema(schema: Schema) -> None:
    content = asdict(schema)
    content["features"] = [
        {"name": name, "kind": schema.kind(name)}
        | ({"date_format": schema.date_formats[name]} if name in schema.date_formats else {})
        for name in schema.features
    ]
    content["target"] = {"name": schema.target, "kind": "categorical"}
    content["classes"] = [
        {"name": name, "rows": rows} for name, rows in zip(schema.classes, schema.counts, strict=True)
    ]
    del content["counts"], content["kinds"], content["date_formats"]
    if not schema.missing:
        del content["missing"]
    if schema.number_formats is None:
        del content["number_formats"]
    write_json(SCHEMA, content)


def read_schema() -> Schema:
    content = read_json(SCHEMA)
    try:
        schema = Schema(
            dataset=content["dataset"],
            features=[feature["name"] for feature in content["features"]],
            target=content["target"]["name"],
            classes=[item["name"] for item in content["classes"]],
            counts=[item["rows"] for item in content["classes"]],
            density=content["density"],
            kinds={each["name"]: each["kind"] for each in content["features"] if each["kind"] != "numeric"},
            date_formats={each["name"]: each["date_format"] for each in content["features"] if "date_format" in each},
            missing=content.get("missing", []),
            carried=content["carried"],
            own=content["own"],
            number_formats=content.get("number_formats"),
            findings=[Finding(**each) for each in content["findings"]],
        )
        texts = [schema.dataset, schema.target, *schema.features, *schema.classes, *schema.carried]
        texts += [text for finding in schema.findings for text in asdict(finding).values()]
        texts += [text for form in (schema.number_formats or {}).values() for text in form.values()]
        if not all(
            isinstance(text, str)
            for text in (*texts, *schema.kinds.values(), *schema.date_formats.values(), *schema.missing)
        ):
            raise TypeError("a name is not a text")
        if not all(isinstance(count, int) for count in schema.counts):
            raise TypeError("a count of rows is not a whole number")
    except (AttributeError, KeyError, TypeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(BAD_DATA, f"{SCHEMA} is not what this code writes ({reason}); {restore(SCHEMA)}") from None
    return schema
