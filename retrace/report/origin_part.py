"""How a result was made, how to make it again, and what a model card asks for.

The page is a file that DVC knows, and the same state gives the same bytes: it names no commit, date or machine, which
differ where nothing of the result does. It names the result by its digest, by which git and dvc.lock find them.
"""

from retrace.artifacts.decisions import DECISIONS
from retrace.artifacts.result_page import COMMIT_SPOT
from retrace.artifacts.scores import SCORES
from retrace.params.report import Report
from retrace.report.html import Html, element, joined, listing, table
from retrace.report.inputs import Result
from retrace.report.words import counted, enumerated, name, percent, plain

MOST_CHANGES, MOST_NAMES = 60, 12
LONGEST_VALUE = 200
# Test rows below which little is known of a class, and the calibration error that a reader is warned of.
FEW_ROWS, TOO_FAR_OFF = 30, 0.05


def changed(result: Result) -> list[tuple[str, str, str]]:
    """(key, shipped value, value here) of each parameter that differs from the shipped one and is in force."""
    chosen = result.decisions.get("create.dataset", "")
    found = []
    for key, value in result.decisions.items():
        if value != result.shipped.get(key) and not _waits(key, chosen):
            found.append((key, result.shipped.get(key, "not there"), value))
    return found


def _waits(key: str, dataset: str) -> bool:
    """Whether it is a key of a data set that is not the chosen one."""
    section, _, rest = key.partition(".")
    group, below, _ = rest.partition(".")
    return section == "create" and bool(below) and group not in (dataset, "reading", "columns")


def made_of(result: Result) -> str:
    """The network in a few words: `Replica 6: one hidden layer of 10 units, relu`."""
    model = result.model
    hidden = [str(width) for width in model.get("hidden", [])]
    kind = model.get("architecture", "mlp")
    of = "one hidden layer" if len(hidden) == 1 else "hidden layers"
    layers = f"{of} of {enumerated(hidden)} units" if hidden else "no hidden layer"
    ships = f"{result.ships[:1].upper()}{result.ships[1:]}"
    return f"{ships}: {layers}, {model.get('activation', '')}{'' if kind == 'mlp' else f', {kind}'}"


def origin_part(result: Result) -> list[Html]:
    return [
        element("h3", "What was decided"),
        *_decisions(result),
        element("h3", "To make it again"),
        *_commands(result),
    ]


def _decisions(result: Result) -> list[Html]:
    found = changed(result)
    if not found:
        return [element("p", "Every parameter has the value that Retrace comes with.")]
    rows = [
        [element("code", key), plain(before, LONGEST_VALUE), plain(now, LONGEST_VALUE)]
        for key, before, now in found[:MOST_CHANGES]
    ]
    caption = (
        "Parameters of params.yaml that differ from those that Retrace comes with; all others have the shipped value."
    )
    caption += " For a table of one's own, retrace table proposes some of them." if result.schema.own else ""
    caption += f" The first {len(rows)} of {len(found)}; {DECISIONS} has all." if len(found) > len(rows) else ""
    return [table(["parameter", "shipped", "here"], rows, caption, kind="sort text", named=True)]


def _commands(result: Result) -> list[Html]:
    commands = {
        f"git log --oneline -S {result.digest} -- dvc.lock": "lowest: its commit; above: what replaced it",
        "git checkout COMMIT": "its code and settings, and dvc.lock: the hash of each file that it was made of",
        "make run": "makes it, or takes it from DVC's cache",
        "make verify": "makes it in a fresh clone, and compares every output with dvc.lock",
        "make gate": "is it surely good enough, by the bar that params.yaml sets?",
        "make ui": "the recorded runs, this one among them, side by side",
        "retrace predict new.csv labels.csv": "label and probability of each class for new rows",
    }
    rows = [[element("code", command), does] for command, does in commands.items()]
    where = "on any x86-64 processor with AVX2" if result.training.portable else "on a processor of the same type"
    return [
        element("p", f"In the repository that it was made in; the same commit gives the same bytes {where}."),
        Html(COMMIT_SPOT),
        table(["command", "what it does"], rows, label="commands", kind="text"),
    ]


def card_part(result: Result, section: Report) -> list[Html]:
    schema, training = result.schema, result.training
    train, validation, test = (f"{count:,}" for count in result.rows.sum(1).tolist())
    split = plain(result.decisions["split.method"], LONGEST_VALUE)
    weights = result.model.get("sha256", {}).get("model.safetensors", "not known")
    facts: dict[str, str] = {
        "Task": joined(["the class of a row, ", name(schema.target), f": one of {len(schema.classes):,}"], ""),
        "Classes": _names(schema.classes),
        "Inputs": _names(schema.features),
        "Outputs": _outputs(result),
        "Network": f"{made_of(result)}; preprocessing fitted on training rows is part of it",
        "Data": _source(result),
        "Rows": f"{train} training, {validation} validation, {test} test (split.method: {split})",
        "Trained on": f"{training.device} ({training.device_reason}), {training.precision}",
        "Weights": f"models/model.safetensors, SHA-256 {weights}",
        "Result": f"{SCORES}, MD5 {result.digest}",
        "Purpose": section.purpose or "not stated (report.purpose)",
        "Whom to ask": section.contact or "not stated (report.contact)",
    }
    card = table([], list(facts.items()), label="model card", kind="facts text", named=True)
    return [card, element("h3", "Limits"), listing(_limits(result))]


def _source(result: Result) -> str:
    if result.schema.own:
        return f"the table {plain(result.decisions['create.table.path'], LONGEST_VALUE)}"
    return f"{plain(result.schema.dataset, LONGEST_VALUE)} (create.dataset), made by a generator or of scikit-learn's"


def _outputs(result: Result) -> str:
    said = "a label, and a probability of each class"
    if len(result.schema.classes) == 2:
        said += f"; {plain(result.schema.classes[1])} is predicted from a probability of {result.scores.threshold:g} on"
    if choice := result.scores.threshold_choice:
        said += f" (evaluate.threshold: {choice.aim}, asked of {choice.rows:,} validation rows)"
    if temperature := result.training.temperature:
        said += f"; {temperature.words}"
    return said


def _names(names: list[str]) -> Html:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    shown = [each for title in names[:MOST_NAMES] for each in (", ", name(title, 40))][1:]
    return joined([*shown, Html(more)], "")


def _limits(result: Result) -> list[str]:
    scores, error = result.scores, result.scores.calibration_error
    found = [
        "All numbers are about rows like the test rows: of the same source and time. On other rows it may be worse, and"
        " nothing here tells by how much.",
        f"An interval is for the luck of which {scores.rows:,} rows were tested, not for a world that changes, nor for"
        " labels that are wrong.",
        "Importance says what this network uses, not what causes a class.",
    ]
    if weak := sorted((each.rows, title) for title, each in scores.classes.items() if each.rows < FEW_ROWS):
        names = enumerated([plain(title, 24) for _, title in weak[:5]])
        more = f" and {len(weak) - 5} more" if len(weak) > 5 else ""
        found.append(
            f"Of {names}{more} there are fewer than {FEW_ROWS} test rows: what is said of so few is hardly sure."
        )
    if scores.training.replicas == 1:
        found.append("One network was trained: how much of the result is the luck of its seed is not known.")
    if result.findings:
        things = counted(len(result.findings), "thing")
        found.append(f"{things} to know about the data, named above, may make the result too good or too bad.")
    if error.low > TOO_FAR_OFF:
        found.append(f"Its probabilities are off by {percent(error.value)} on average: do not take them at their word.")
    return found
