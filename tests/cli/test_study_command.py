"""`retrace study` under real DVC, and its mirror in real storages of Optuna that fail in each way that is known."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from retrace.artifacts.study import Interval, Procedure
from retrace.artifacts.study_feed import FEED, Feed, FeedTrial
from retrace.cli import study_mirror as child
from retrace.cli.study_summary import summary_lines
from retrace.evaluation import study_words
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, MACHINE_FAULT, UserError
from retrace.runtime.single_instance import single_instance
from retrace.tracking.study_mirror import KEY, TRIAL, StudyMirror, Target, fault, open_storage
from tests.small_study import (
    SCORES,
    feed_header,
    feed_line,
    study_result,
    trials,
)
from tests.study_project import (
    end_started,
    make_project,
    mirror_process,
    mirrored,
    start,
    steer,
    step,
    storage_of,
    study,
    until,
)

NAME = "retrace my *table*"
ALL = list(range(8))
SECRET = "canary-5f1c"
URLS = ("study.journal", "sqlite:///study.db")


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    end_started()


# --- the summary ----------------------------------------------------------------------------------------------------


def by_title(result) -> dict[str, str]:
    lines = summary_lines(result)
    assert lines.pop(0) == ""
    return {line[:18].strip(): line[19:] for line in lines}


def test_a_winner_is_told_with_what_it_gains_and_how_sure_that_is():
    told = by_title(study_result())
    assert told["Winner"] == (
        "trial 3: optimizer.learning_rate 0.25 (now 0.1), hidden [10, 10] (now [10]), activation relu"
    )
    gain = "by 0.1800 (95 % interval 0.1000 to 0.2600) in log loss, with 16 fresh seeds on 200 rows"
    assert told["Surely better"] == gain
    assert told["With it"].startswith("accuracy 0.9500 (now 0.9000), calibration error 0.0200 (now 0.0300), 1.5 times")
    assert told["Optimism"] == "the search promised 0.0300 more of a gain in log loss than fresh seeds gave"
    assert told["What mattered"] == "optimizer.learning_rate 70% (60% to 80%), hidden 20% (10% to 30%)"
    assert told["Take it over"] == "retrace adopt"
    assert "Default stays" not in told


def test_where_nothing_is_surely_better_the_default_stays():
    told = by_title(study_result(adopted=None))
    assert told["Default stays"] == "no trial is surely better: 0.02 (-0.01 to 0.05)"
    assert told["Nearest"].startswith("trial 3: optimizer.learning_rate 0.25 (now 0.1)")
    assert told["Its gain"].startswith("0.0200 (95 % interval -0.0100 to 0.0500)")
    assert "Take it over" not in told
    assert "Winner" not in told


def test_the_optimism_of_the_search_is_told_whichever_way_it_was():
    _, winner, *_ = study_result().candidates
    told = study_words.optimism(replace(winner, optimism=-0.02))
    assert told == "fresh seeds gave 0.0200 more of a gain in log loss than the search promised"
    assert "diverged" in study_words.optimism(replace(winner, optimism=None, search_score=None))


def test_what_the_search_itself_is_worth_is_told_where_it_was_asked():
    told = by_title(study_result(procedure=Procedure([], Interval(0.1, 0.05, 0.15))))
    assert told["The search gains"].startswith("0.1000 (95 % interval 0.0500 to 0.1500) in log loss on rows that")


def test_a_study_of_which_only_the_present_setting_was_judged_is_told_too():
    result = study_result(adopted=None)
    told = by_title(replace(result, candidates=result.candidates[:1], importance=[]))
    assert set(told) == {"Default stays", "All of it"}


def test_what_to_try_next_is_what_the_page_of_the_study_says():
    lines = summary_lines(study_result(), ["Adopt trial 3.", "Widen it."])
    assert lines[-4:-2] == ["Try next           Adopt trial 3.", "Try next           Widen it."]


# --- the file that it reads -----------------------------------------------------------------------------------------


@pytest.fixture
def feed(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FEED.parent.mkdir()
    return tmp_path / FEED


def test_a_line_that_is_being_written_waits(feed):
    read, content = Feed(), feed_header() + feed_line(0) + feed_line(1)
    seen = []
    for end in range(len(content) + 1):
        feed.write_text(content[:end])
        read.read()
        seen.append((read.header is not None, len(read.trials)))
    ends = [len(feed_header()), len(feed_header() + feed_line(0)), len(content)]
    assert seen == [(end >= ends[0], (end >= ends[1]) + (end >= ends[2])) for end in range(len(content) + 1)]


def test_a_file_that_was_begun_anew_is_read_anew_also_when_it_is_longer(feed):
    read = Feed()
    assert not read.read()
    feed.write_text(feed_header("one") + feed_line(0))
    assert read.read()
    feed.write_text(feed_header("two") + "".join(feed_line(trial) for trial in ALL))
    assert read.read()
    assert [each.trial for each in read.trials] == ALL
    assert not read.read()


@pytest.mark.parametrize("bad", ["nonsense\n", '{"trial": "three"}\n', '{"dataset": 1}\n'])
def test_what_is_not_a_line_of_a_study_is_named(feed, bad):
    feed.write_text(bad if "dataset" in bad else feed_header() + bad)
    with pytest.raises(UserError, match="is not what a study writes") as caught:
        Feed().read()
    assert caught.value.status == BAD_DATA


EARLY = {2: {"scores": {"4": 0.9}}}


def test_whether_the_file_is_of_a_result_is_seen(feed):
    feed.write_text(feed_header() + "".join(feed_line(trial) for trial in ALL))
    read = Feed()
    read.read()
    assert read.is_of(trials())
    # A trial that diverged later had a score before.
    feed.write_text(feed_header("again") + "".join(feed_line(each, **EARLY.get(each, {})) for each in ALL))
    read.read()
    assert read.is_of(trials())
    assert not read.is_of(trials([*SCORES[:-1], (0.61,)]))
    assert not read.is_of(trials(SCORES[:-1]))
    feed.write_text(feed_header("cut off") + "".join(feed_line(trial) for trial in ALL[:-1]))
    read.read()
    assert not read.is_of(trials())


# --- where to -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("some where/study.log", "journal", "some where/study.log"),
        ("a.journal", "journal", "a.journal"),
        ("sqlite:///a b.db?timeout=3", "sqlite", "sqlite:///a b.db"),
        ("postgresql://host/base", "postgresql", "postgresql://host/base"),
        (f"postgres://me:{SECRET}@host:5432/base", "postgresql", "postgres://host:5432/base"),
        (f"postgresql+psycopg2://me@here:{SECRET}@host/base", "postgresql", "postgresql+psycopg2://host/base"),
        (f"postgresql://me:{SECRET.replace('-', '%2D')}@host/base", "postgresql", "postgresql://host/base"),
        (f"postgresql://host/base?user=me&password={SECRET}", "postgresql", "postgresql://host/base"),
    ],
)
def test_a_storage_is_named_without_its_password(url, kind, shown):
    target = Target.of(url)
    assert (target.kind, target.shown) == (kind, shown)
    told = fault(target, RuntimeError(f"no way to {target.url}\nand more"))
    assert SECRET not in told
    assert "more" not in told
    # A driver says it in its own words, and as it is without escapes.
    if SECRET in unquote(url):
        assert fault(target, RuntimeError(f"{SECRET}!")) == "***!"


@pytest.mark.parametrize("url", ["", "study", "mysql://h/x", "sqlite://", "sqlite:///", "redis://x", "http://h/a.log"])
def test_a_storage_of_another_kind_is_refused_before_anything_runs(tmp_path, url):
    with pytest.raises(UserError, match="--mirror") as caught:
        Target.of(url)
    assert caught.value.status == BAD_PARAMS


def test_the_command_refuses_it_in_a_line_without_the_password(tmp_path):
    done = study(make_project(tmp_path), "--mirror", f"mysql://me:{SECRET}@host/base")
    assert (done.returncode, done.stdout) == (BAD_PARAMS, "")
    assert done.stderr.count("\n") == 1
    assert "mysql://host/base must be a journal file" in done.stderr
    assert SECRET not in done.stderr


def test_what_is_another_programs_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log, database = tmp_path / "server.log", tmp_path / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    for content in ("GET /\n", "one line", '{"a": 1}\n', "3\n"):
        log.write_text(content)
        before = log.read_bytes(), database.read_bytes()
        for url, words in (("server.log", "name a file that is not there"), ("sqlite:///mlflow.db", "another program")):
            with pytest.raises(UserError, match=words) as caught:
                open_storage(Target.of(url))
            assert caught.value.status == MACHINE_FAULT
        assert (log.read_bytes(), database.read_bytes()) == before
    for url in ("other.log", "sqlite:///other.db"):
        for _ in range(2):
            open_storage(Target.of(url))


def test_a_driver_that_is_not_there_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install one: pip install 'psycopg\[binary\]'"):
        open_storage(Target.of("postgresql://host/base"))
    with pytest.raises(UserError, match="there is no driver pg8000; install it with pip"):
        open_storage(Target.of("postgresql+pg8000://host/base"))


# --- what is mirrored -----------------------------------------------------------------------------------------------


@pytest.fixture(params=URLS)
def url(request, tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    FEED.parent.mkdir()
    return request.param


def bring(url: str, content: str) -> StudyMirror:
    """As a process of its own would: nothing is known but what the storage has."""
    FEED.write_text(content)
    feed = Feed()
    feed.read()
    mirror = StudyMirror(open_storage(Target.of(url)), feed.header)
    mirror.bring(feed.trials, lambda: None)
    return mirror


LINES = [feed_line(trial) for trial in ALL]


def stored(url: str, name: str = NAME) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=storage_of(Path.cwd(), url)).get_trials()


def test_each_trial_has_its_state_its_settings_and_its_scores(url):
    bring(url, feed_header() + "".join(LINES))
    found = {trial.user_attrs[TRIAL]: trial for trial in stored(url)}
    states = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "diverged": TrialState.FAIL}
    for line in map(json.loads, LINES):
        trial = found.pop(line["trial"])
        assert trial.state == states[line["state"]]
        scores = {int(epochs): score for epochs, score in line["scores"].items()}
        assert trial.intermediate_values == scores
        assert trial.value == (list(scores.values())[-1] if scores else None)
        assert trial.params == {**line["settings"], "hidden": json.dumps(line["settings"]["hidden"])}
    assert not found
    rate = stored(url)[0].distributions["optimizer.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (0.01, 1.0, True)
    assert stored(url)[0].distributions["hidden"].choices == ("[10]", "[10, 10]", "[]")
    assert optuna.load_study(study_name=NAME, storage=storage_of(Path.cwd(), url)).best_trial.user_attrs[TRIAL] == 3


def test_what_is_mirrored_twice_or_goes_on_has_each_trial_once(url):
    for content in (LINES[:3], LINES[:3], LINES[:6], [LINES[6], *LINES[:6]], LINES, [*LINES, *LINES]):
        bring(url, feed_header(str(len(content))) + "".join(content))
    assert mirrored(Path.cwd(), url) == {NAME: ALL}


def test_another_study_of_the_same_data_is_a_study_of_its_own(url):
    """Also where that shows at a later trial only; and going back finds the first one."""
    other = [*LINES[:2], *(feed_line(trial, scores={"4": 0.9, "12": 0.9}) for trial in ALL[2:])]
    wider = feed_header(parameters=json.loads(feed_header())["parameters"][:2])
    for content in (feed_header() + "".join(LINES), feed_header() + "".join(other), feed_header() + "".join(LINES)):
        bring(url, content)
    bring(url, wider + LINES[0])
    assert mirrored(Path.cwd(), url) == {NAME: ALL, f"{NAME} (2)": ALL, f"{NAME} (3)": [0]}


def test_a_trial_that_shows_that_it_is_another_study_takes_its_fellows_along(url):
    bring(url, feed_header() + "".join(LINES))
    other = [*LINES[:2], feed_line(2, state="complete", scores={"4": 0.5, "12": 0.5})]
    FEED.write_text(feed_header("two") + "".join(other[:2]))
    feed = Feed()
    feed.read()
    mirror = StudyMirror(open_storage(Target.of(url)), feed.header)
    mirror.bring(feed.trials, lambda: None)
    with open(FEED, "a") as file:
        file.write(other[2])
    feed.read()
    mirror.bring(feed.trials, lambda: None)
    assert mirrored(Path.cwd(), url) == {NAME: ALL, f"{NAME} (2)": [0, 1, 2]}


def test_a_setting_outside_of_the_space_is_mirrored_too(url):
    """As the present one may be."""
    settings = {"optimizer.learning_rate": 5.0, "hidden": [99], "activation": "relu"}
    bring(url, feed_header() + feed_line(0, settings=settings))
    (trial,) = stored(url)
    assert trial.params == {"activation": "relu"}
    assert trial.user_attrs["hidden"] == "[99]"
    assert trial.user_attrs["optimizer.learning_rate"] == 5.0


def test_whole_numbers_and_none_are_what_they_are(url):
    parameters = [
        {"name": "batch_size", "choices": None, "low": 8, "high": 64, "log": True, "whole": True},
        {"name": "gradient_clip", "choices": [None, 1.0], "low": 0.0, "high": 0.0, "log": False, "whole": False},
    ]
    bring(url, feed_header(parameters=parameters) + feed_line(0, settings={"batch_size": 32, "gradient_clip": None}))
    (trial,) = stored(url)
    assert trial.params == {"batch_size": 32, "gradient_clip": None}
    assert isinstance(trial.distributions["batch_size"], optuna.distributions.IntDistribution)


def test_a_study_that_was_cut_off_when_it_was_made_is_used(url):
    optuna.create_study(study_name=NAME, storage=open_storage(Target.of(url)))
    bring(url, feed_header() + LINES[0])
    assert mirrored(Path.cwd(), url) == {NAME: [0]}


def test_trials_that_others_added_are_left_alone(url):
    bring(url, feed_header() + LINES[0])
    theirs = optuna.load_study(study_name=NAME, storage=storage_of(Path.cwd(), url))
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    bring(url, feed_header() + "".join(LINES[:2]))
    assert [trial.user_attrs.get(TRIAL) for trial in stored(url)] == [0, None, 1]


def test_the_digest_of_a_trial_is_of_all_that_is_known_of_it(url):
    one = FeedTrial(0, 0, "complete", {"a": 1}, {"4": 0.5})
    others = [replace(one, state="stopped"), replace(one, settings={"a": 2}), replace(one, scores={"4": 0.51})]
    header = feed_header()
    keys = set()
    for each in (one, *others):
        line = json.dumps(each.__dict__) + "\n"
        mirror = bring(url, header + line)
        keys.add(mirror.there[0])
    assert len(keys) == 4
    assert {trial.user_attrs[KEY] for name in mirrored(Path.cwd(), url) for trial in stored(url, name)} == keys


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project whose study has run once, without a mirror."""
    folder = make_project(tmp_path_factory.mktemp("study") / "my project ü")
    done = study(folder)
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


@pytest.fixture
def project(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "my project ü", symlinks=True))


def lines_of(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in done.stderr.splitlines() if "study: mirror" in line]


def test_it_runs_the_graph_of_the_study_and_sums_it_up(finished):
    said = (finished / "said").read_text()
    assert "Running stage 'study/dvc.yaml:study'" in said
    assert "\nWinner             trial 3: " in said
    assert "\nTry next           Adopt trial 3: " in said
    assert said.endswith("\nTake it over       retrace adopt\n")


def test_trials_are_mirrored_while_the_study_is_under_way(tmp_path):
    project = make_project(tmp_path)
    steer(project, steps=True)
    process = start(project, "--mirror", "study.journal")
    for count in (1, 2):
        step(project)
        until(lambda count=count: mirrored(project, "study.journal") == {NAME: ALL[:count]}, "the trial in the storage")
    steer(project)  # without a change of what DVC knows this study by: it has read its settings
    step(project, 6)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "Winner" in out
    assert mirrored(project, "study.journal") == {NAME: ALL}


@pytest.mark.parametrize("url", URLS)
def test_a_study_that_has_run_already_is_mirrored_too_and_once(project, url):
    for _ in range(2):
        done = study(project, "--mirror", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Winner" in done.stdout
        assert mirrored(project, url) == {NAME: ALL}


@pytest.mark.parametrize("left", ["", "of another version\n", "cut o"])
def test_what_an_earlier_study_left_is_not_taken_for_this_one(project, left):
    if left:
        (project / FEED).write_text(left)
    steer(project, seed=1, steps=True)
    process = start(project, "--mirror", "study.journal")
    time.sleep(2)
    step(project, 8)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert mirrored(project, "study.journal") == {NAME: ALL}


def test_a_result_from_the_cache_of_dvc_has_no_trials_to_mirror(project):
    steer(project, seed=1)
    assert study(project).returncode == 0
    steer(project)  # comes from DVC's cache
    done = study(project, "--mirror", "other.journal")
    assert done.returncode == 0
    assert mirrored(project, "other.journal") == {}
    assert [line.partition(": nothing")[2] for line in lines_of(done)] == [
        " to mirror: the result came from DVC's cache, and no trial was measured for it here"
    ]


@pytest.mark.parametrize("mirror", [(), ("--mirror", "study.journal")])
def test_its_status_is_that_of_dvc_and_a_study_that_fails_has_no_summary(project, mirror):
    steer(project, exit=3, trials=2)
    done = study(project, *mirror)
    assert done.returncode == 255
    assert "exited with 3" in done.stderr
    assert "Winner" not in done.stdout
    assert mirrored(project, "study.journal") == ({NAME: [0, 1]} if mirror else {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_study_once_and_the_storage_has_what_there_is(project, number):
    steer(project, steps=True)
    process = start(project, "--mirror", "study.journal")
    step(project, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "Traceback" not in errors
    assert json.loads((project / "heard").read_text()) == [number]
    assert mirrored(project, "study.journal") == {NAME: [0, 1]}
    assert not [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(project)]


def test_a_mirror_that_is_killed_costs_nothing_and_is_completed(project):
    steer(project, steps=True, seed=2)
    process = start(project, "--mirror", "sqlite:///study.db")
    step(project, 3)
    until(lambda: mirrored(project, "sqlite:///study.db") == {NAME: [0, 1, 2]}, "three trials")
    mirror_process(process).kill()
    step(project, 5)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Winner" in out
    assert study(project, "--mirror", "sqlite:///study.db").returncode == 0
    assert mirrored(project, "sqlite:///study.db") == {NAME: ALL}


def test_a_mirror_does_not_outlive_a_command_that_was_killed(project):
    steer(project, steps=True)
    process = start(project, "--mirror", "study.journal")
    mirror = mirror_process(process)
    others = lambda: [each for each in psutil.Process(process.pid).children() if each != mirror]  # noqa: E731
    until(others, "DVC")
    (dvc,) = others()
    step(project)
    process.kill()
    until(lambda: not mirror.is_running() or mirror.status() == psutil.STATUS_ZOMBIE, "its end", 10)
    os.killpg(dvc.pid, signal.SIGTERM)
    process.communicate()


# --- storages that fail ---------------------------------------------------------------------------------------------

LATER = "the study goes on without it; the next `retrace study --mirror` brings what is missing"


def assert_one_line(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 0, done.stderr
    assert "Winner" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("study: mirror ")
    assert line.endswith(f"; {LATER}")
    assert re.search(words, line), line
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nowhere/study.journal", "No such file or directory"),
        ("sqlite:///nowhere/study.db", "unable to open database file"),
        ("text.log", "is not a journal of Optuna"),
        ("sqlite:///text.log", "file is not a database"),
        ("folder.journal", "Is a directory"),
    ],
)
def test_a_storage_that_cannot_be_used_is_a_line(project, url, words):
    (project / "text.log").write_text("2026-11-30 started\n" * 100)
    (project / "folder.journal").mkdir()
    assert_one_line(study(project, "--mirror", url), words)
    assert (project / "text.log").read_text() == "2026-11-30 started\n" * 100


def test_a_storage_that_hangs_is_left_behind(project):
    """Reading a pipe that nobody writes waits for ever, and no signal handler of Python's ends it."""
    os.mkfifo(project / "pipe.journal")
    begin = time.monotonic()
    done = study(project, "--mirror", "pipe.journal")
    assert time.monotonic() - begin < child.HANG_SECONDS_AT_END + 15
    assert_one_line(done, "does not answer within 10 s")


def test_a_mirror_that_is_stopped_is_left_behind(project, monkeypatch, capfd):
    from retrace.cli import study as command

    monkeypatch.chdir(project)
    monkeypatch.setattr(command, "MIRROR_SECONDS", 0.5)
    with command.mirroring(Target.of("study.journal")) as process:
        os.kill(process.pid, signal.SIGSTOP)
        command.end(process, 0)
    assert process.returncode == -signal.SIGKILL
    assert capfd.readouterr().err == "study: mirror study.journal: does not end, and was left behind\n"


def test_a_second_mirror_beside_the_first_adds_nothing(project):
    with single_instance(project / child.LOCK, "here"):
        done = study(project, "--mirror", "study.journal")
    (line,) = done.stderr.splitlines()
    assert line.startswith("study: mirror study.journal: another `retrace study --mirror` is under way here")
    assert (done.returncode, "Winner" in done.stdout) == (0, True)
    assert mirrored(project, "study.journal") == {}


def test_a_storage_that_comes_back_gets_what_it_missed(project):
    steer(project, steps=True, seed=3)
    process = start(project, "--mirror", "sqlite:///later/study.db")
    step(project, 2)
    time.sleep(3)
    (project / "later").mkdir()
    until(lambda: mirrored(project, "sqlite:///later/study.db").get(NAME) == [0, 1], "both trials")
    shutil.rmtree(project / "later")
    step(project)
    time.sleep(1)
    (project / "later").mkdir()
    step(project, 5)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0
    assert errors.count("\n") == 1
    assert "unable to open database file" in errors
    assert study(project, "--mirror", "sqlite:///later/study.db").returncode == 0
    assert mirrored(project, "sqlite:///later/study.db") == {NAME: ALL}


def test_a_server_that_refuses_or_does_not_answer_is_a_line_without_the_password(project):
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: pip install psycopg[binary]")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        place = f"postgresql://me:{SECRET}@127.0.0.1:{port}/base"
        assert_one_line(study(project, "--mirror", place), f"postgresql://127.0.0.1:{port}/base: .*refused")
        silent.listen()
        assert_one_line(study(project, "--mirror", place), "timeout|does not answer within")


def test_without_a_driver_the_line_says_how_to_get_one(project):
    if importlib.util.find_spec("psycopg") or importlib.util.find_spec("psycopg2"):
        pytest.skip("a driver for PostgreSQL is there")
    done = study(project, "--mirror", f"postgresql://me:{SECRET}@127.0.0.1:9/base")
    assert_one_line(done, r"no driver for PostgreSQL; install one: pip install 'psycopg\[binary\]'")
