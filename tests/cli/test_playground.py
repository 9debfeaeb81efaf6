"""`retrace playground`: links of TensorFlow Playground into params.yaml and back."""

import itertools
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from retrace.cli.main import invoke
from retrace.cli.playground import playground
from retrace.cli.playground_data import COUNTERPARTS
from retrace.cli.playground_link import HOST, KEYS, read_link, written_link
from retrace.cli.playground_settings import ALWAYS, FEATURES, ONLY_HERE, params_of, state_of
from retrace.params.messages import PATH
from retrace.params.reader import check, leaves, read
from retrace.params.train import Train
from retrace.runtime.errors import BAD_PARAMS, UserError
from stages import create, split
from stages.validate import SECTIONS
from tests.conftest import PARAMS, VALUES
from tests.project import run, turn

# All values that the page's own controls offer (index.html), of the keys that Retrace has, too.
OFFERED = {
    "activation": ["relu", "tanh", "sigmoid", "linear"],
    "regularization": ["none&regularizationRate=0"]
    + [f"L2&regularizationRate={rate}" for rate in ("0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10")],
    "batchSize": [str(size) for size in range(1, 31)],
    "dataset": ["circle", "xor", "gauss", "spiral"],
    "learningRate": ["0.00001", "0.0001", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"],
    "noise": [*(str(noise) for noise in range(81)), "0.01", "2.5", "33.33", "79.99"],
    "networkShape": ["", "1", "4,2", "8,8,8,8,8,8", "1,2,3,4,5,6", "10", "3,7"],
    "seed": ["0.00000", "0.12345", "0.99999", "1.00000", "42949.67295"],
    "percTrainData": [*(str(share) for share in range(10, 91)), "66.67"],
    "initZero": ["false", "true"],
}
# As the page writes them, when nobody has touched a control that Retrace has no counterpart of.
REST = {
    "regDataset": "reg-plane",
    "showTestData": "false",
    "discretize": "false",
    "x": "true",
    "y": "true",
    **dict.fromkeys(FEATURES, "false"),
    "collectStats": "false",
    "problem": "classification",
    "hideText": "false",
}
FLAT = dict(leaves(VALUES))


def link(**chosen: str) -> str:
    values = {"regularization": "none&regularizationRate=0"} | REST | chosen
    pairs = [f"{name}={values[name]}" for name in KEYS if name in values]
    pairs.sort(key=lambda pair: list(KEYS).index(pair.partition("=")[0]))
    text = "&".join(pairs)
    rate = next(part for part in text.split("&") if part.startswith("regularizationRate"))
    text = text.replace(f"&{rate}", "").replace("&noise=", f"&{rate}&noise=")  # where the page has it
    return f"https://{HOST}/#{text}"


def there(url: str, present: dict) -> tuple[dict, list[str]]:
    values, lines = params_of(read_link(url), present)
    return present | {".".join(key): value for key, value in values.items()}, lines


def choices() -> list[dict[str, str]]:
    """Each value of each control with each data set, and many random mixtures."""
    plain = {name: values[0] for name, values in OFFERED.items()}
    single = [
        plain | {"dataset": dataset, name: value}
        for dataset in OFFERED["dataset"]
        for name, values in OFFERED.items()
        for value in values
        if name != "dataset"
    ]
    draw = random.Random(26)
    return single + [{name: draw.choice(values) for name, values in OFFERED.items()} for _ in range(3000)]


def test_there_and_back_without_loss():
    """Byte by byte, of all that the page offers, whatever stood in params.yaml before."""
    other = FLAT | {"create.dataset": "moons", "train.optimizer.name": "adam", "split.method": "group"}
    for chosen in choices():
        url = link(**chosen)
        for present in (FLAT, other):
            values, lines = there(url, present)
            assert [line for line in lines if not line.startswith("dataset=")] == []
            state, unsaid = state_of(values)
            assert written_link(state) == url
            assert {line.partition(":")[0] for line in unsaid} == {*ONLY_HERE}
            assert there(url, values)[0] == values


@pytest.mark.parametrize("dataset", OFFERED["dataset"])
def test_through_the_file(project, capsys, dataset):
    url = link(**{name: values[-1] for name, values in OFFERED.items()} | {"dataset": dataset})
    playground(url, yes=True)
    assert "playground: written; next: make run" in capsys.readouterr().out
    check(SECTIONS)
    comments = [[line.partition("#")[2] for line in text.splitlines()] for text in (PARAMS, PATH.read_text())]
    assert comments[0] == comments[1]
    playground(None, yes=False)
    assert capsys.readouterr().out == url + "\n"
    playground(url, yes=False)
    assert capsys.readouterr().out.endswith("playground: params.yaml says all of this already; nothing to write\n")


def test_a_key_that_is_missing_has_the_pages_default(project):
    playground(f"https://{HOST}", yes=True)
    section = read(Train)
    assert (section.hidden, section.activation, section.optimizer.learning_rate) == ([4, 2], "tanh", 0.03)
    assert (section.batch_size, section.init, section.init_scale, section.seed) == (10, "uniform", 0.5, 26)


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        ("seed=", "seed is not in the link, so that Playground draws one: the seeds here stay"),
        ("seed=me", "seed=me is not one of Playground's own, such as 0.12345: the seeds here stay"),
        ("seed=42949.67296", "seed=42949.67296 is not one of Playground's own, such as 0.12345: the seeds here stay"),
        ("regularization=L1&regularizationRate=3", "regularization=L1 (rate 3.0) has no counterpart"),
        (
            "regularization=L2",
            "regularization=L2 with regularizationRate=0 does nothing, and comes back as none with 0",
        ),
        ("regularizationRate=3", "regularization=none with regularizationRate=3.0 does nothing, and comes back as"),
        ("x=false", "x=false has no counterpart: the network sees both coordinates"),
        ("y=false", "y=false has no counterpart"),
        *((f"{name}=true", f"{name}=true has no counterpart") for name in FEATURES),
        ("regDataset=reg-gauss", "regDataset=reg-gauss has no counterpart"),
        ("showTestData=true", "showTestData=true is about how the page looks, which Retrace does not keep"),
        ("discretize=true", "discretize=true is about how"),
        ("collectStats=true", "collectStats=true is about how"),
        ("hideText=true", "hideText=true is about how"),
        ("tutorial=one", "tutorial=one is about how"),
        ("noise_hide=true", "noise_hide=true is about how"),
    ],
)
def test_what_only_playground_has_is_named(pairs, line):
    _, lines = there(f"https://{HOST}/#seed=0.00001&{pairs}".replace("seed=0.00001&seed", "seed"), FLAT)
    assert len(lines) == 2
    assert lines[1].startswith(line)


OTHERS = {
    "create.dataset": ("moons", "Playground takes dataset=circle"),
    "create.rows": (400, "Playground's is 500"),
    "create.circles.factor": (0.8, "Playground's data are like 0.29"),
    "create.circles.noise": (0.01, "Playground's data are like 0.0588"),
    "split.method": ("stratified", "Playground takes rows at random"),
    "split.test_size": (0.999, "percTrainData=1.0 comes closest"),
    "split.seed": (3, "Playground has one seed, here that of create"),
    "train.activation": ("gelu", "Playground takes activation=tanh"),
    "train.init": ("he_uniform", "Playground's is uniform within 0.5"),
    "train.init_scale": (1.0, "Playground's is 0.5"),
    "train.batch_size": (1000, "Playground has 50 training rows, which are one batch here"),
    "train.replicas": (8, "Playground trains one network"),
    "train.scaling": ("standard", "Playground's is none"),
    "train.optimizer.name": ("adam", "Playground's is sgd"),
    "train.schedule.name": ("cosine", "Playground's is constant"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_retrace_has_is_named(name):
    present, _ = there(link(**{key: values[0] for key, values in OFFERED.items()}), FLAT)
    value, why = OTHERS[name]
    state, lines = state_of(present | {name: value})
    assert f"{name}: {value} is not in the link: {why}" in lines
    assert read_link(written_link(state))  # a link nevertheless


def test_each_parameter_in_force_is_in_the_link_or_named():
    """A change of any parameter of create, split and train changes the link or a line, unless it is of no effect."""
    present, _ = there(link(**{key: values[0] for key, values in OFFERED.items()}), FLAT)
    told = {*ALWAYS, *ONLY_HERE, *OTHERS, *(each.noise for each in COUNTERPARTS.values())}
    told |= {name for each in COUNTERPARTS.values() for name in each.settings}
    linked = ("train.seed", "train.hidden", "train.optimizer.learning_rate", "train.optimizer.weight_decay")
    idle = ("create.moons", "create.blobs", "create.classification", "create.table", "create.reading", "create.columns")
    of_others = ("train.optimizer.beta", "train.schedule.", "train.rare_below", "train.embed", "create.seed")
    machine = ("train.device", "train.tf32")
    for name in present:
        if name.startswith(("create.", "split.", "train.")):
            assert name in (*told, *linked, *machine) or name.startswith((*idle, *of_others)), name


def test_advice_that_a_link_gets_is_followed():
    """What is deleted or written as a line says is a link."""
    for bad, good in {
        "foo=1&seed=0.00001": "seed=0.00001",
        "noise": "noise=5",
        "noise=1&noise=2": "noise=2",
        "batchsize=3": "batchSize=3",
    }.items():
        with pytest.raises(UserError):
            read_link(f"https://{HOST}/#{bad}")
        read_link(f"https://{HOST}/#{good}")
    copied = link(**{name: values[1] for name, values in OFFERED.items()})  # from the address line
    assert read_link(copied)["noise"] == 1


def test_it_asks_and_with_nobody_there_it_writes_nothing(project):
    done = run(Path(), "-m", "retrace", "playground", f"https://{HOST}/#dataset=xor")
    assert done.returncode == BAD_PARAMS
    assert done.stderr == "playground: nothing was written, since nobody is there to ask; add --yes\n"
    assert PATH.read_text() == PARAMS


def test_what_somebody_wrote_in_the_meantime_stays(project, monkeypatch):
    def thinking(*_: object) -> bool:
        PATH.write_text(PARAMS + "# mine\n")
        return True

    monkeypatch.setattr("retrace.cli.playground.agreed", thinking)
    with pytest.raises(UserError, match="has changed in the meantime; nothing was written; run this again"):
        playground(f"https://{HOST}/#dataset=xor", yes=True)
    assert PATH.read_text() == PARAMS + "# mine\n"


@pytest.mark.parametrize("dataset", OFFERED["dataset"])
def test_the_data_that_a_link_asks_for_can_be_made_and_split(project, dataset):
    """Also without noise, which is the page's default: not all points of a class are the same one."""
    playground(f"https://{HOST}/#seed=0.00001&dataset={dataset}", yes=True)
    create.main()
    split.main()
    assert pq.read_metadata("data/test.parquet").num_rows == 250


def test_without_a_link_only_the_link_is_on_standard_output(project, capsys):
    turn(Path(), {"train.activation": "gelu"})
    invoke(["playground"])
    out, err = capsys.readouterr()
    assert read_link(out.strip())["activation"] == "tanh"
    assert "activation=" not in out
    assert "playground: train.activation: gelu is not in the link: Playground takes activation=tanh\n" in err
    assert all(line.startswith("playground: ") for line in err.splitlines())


def test_noise_is_what_the_source_says():
    """The deviation of what Playground adds, in the unit of each data set (src/dataset.ts); gauss: exactly."""
    for percent, (name, counterpart) in itertools.product((5, 50), COUNTERPARTS.items()):
        p = percent / 100
        if name == "gauss":
            assert counterpart.value(percent) == pytest.approx(32**0.5 / (0.5 + 7 * p) ** 0.5, abs=1e-4)
            continue
        deviation, width, unit = {
            "circle": (10 * p / 12**0.5, 0.25, 4.25),
            "xor": (10 * p / 12**0.5, 2.5 / 3, 2.8),
            "spiral": (2 * p / 12**0.5, 0, 5),
        }[name]
        assert counterpart.value(percent) == pytest.approx((deviation**2 + width**2) ** 0.5 / unit, abs=1e-4)
