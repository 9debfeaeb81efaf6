"""Studies on the fifteen tables of benchmarks/quality_tables.py: is what they adopt better on test rows, and than a
tuned LightGBM? In .venv/quality: `python -m benchmarks.study_tables`, or with names of tables.

For each table: what `retrace table` writes, a study of 64 trials, then the default and what the study adopted, each
trained and tested by the pipeline's own stages with the pipeline's seed, which the study does not use; and the best of
those that the study trained again with fresh seeds, sure or not, as one who wants no certainty would take. LightGBM
gets 64 trials of Optuna's TPE on the same validation rows, and stops earlier where it has used up the CPU time of the
study. Test rows are asked once for each, at the end. What was measured is kept in study_tables.json beside this file.
"""

from retrace.runtime.run import run

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import stage
from benchmarks.peers import load, typed
from benchmarks.quality import FOLDER, SEEDS, THREADS
from benchmarks.quality_tables import SOURCES
from retrace.artifacts.scores import read_scores
from retrace.artifacts.study import Candidate, read_study
from retrace.artifacts.tables import read_table
from retrace.evaluation.metrics import log_losses
from retrace.params.edit import edited
from retrace.runtime.atomic import write_json, write_text
from retrace.runtime.markdown import table

KEPT, REPORT = Path("benchmarks/study_tables.json"), Path("benchmarks/study_tables.md")
TRIALS, ROUNDS, PATIENCE = 64, 2000, 100
Scores = dict[str, Any]


def tested(root: Path, folder: Path) -> Scores:
    """Trained and tested as the folder's params.yaml says; losses: of each test row."""
    for name in ("baseline", "train", "evaluate"):
        stage(root, folder, f"stages.{name}")
    scores = read_scores(folder)
    rows = read_table(folder / "reports/predictions.parquet")
    probabilities = np.stack([rows.column(f"probability_{each}").to_numpy() for each in range(len(scores.classes))], 1)
    losses = log_losses(probabilities, rows.column("actual").to_numpy())
    return {"accuracy": scores.accuracy.value, "log_loss": scores.log_loss.value, "losses": losses}


def taken(root: Path, folder: Path, candidate: Candidate) -> Scores:
    params = folder / "params.yaml"
    before = params.read_text()
    values = {("train", *name.split(".")): value for name, value in candidate.settings.items()}
    params.write_text(edited(before, values))
    scores = tested(root, folder)
    params.write_text(before)
    return scores


def lightgbm(seconds: float) -> Scores:
    """Tuned on the validation rows of this folder, with one thread, for so many CPU seconds at most."""
    import optuna
    from lightgbm import LGBMClassifier, early_stopping

    data = load()
    train, validation, test = data.frames(lambda x: typed(data.known, x))
    classes = len(data.schema.classes)
    best: tuple[float, Any] = (np.inf, None)
    started = time.process_time()

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        model = LGBMClassifier(
            n_estimators=ROUNDS,
            n_jobs=1,
            random_state=0,
            verbosity=-1,
            subsample_freq=1,
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            num_leaves=trial.suggest_int("num_leaves", 4, 128, log=True),
            min_child_samples=trial.suggest_int("min_child_samples", 2, 100, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
            colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1.0),
            reg_alpha=trial.suggest_float("reg_alpha", 1e-6, 10.0, log=True),
            reg_lambda=trial.suggest_float("reg_lambda", 1e-6, 10.0, log=True),
        )
        watched = [(validation, data.validation.y)]
        model.fit(train, data.train.y, eval_set=watched, callbacks=[early_stopping(PATIENCE, verbose=False)])
        loss = float(log_losses(model.predict_proba(validation), data.validation.y).mean())
        if loss < best[0]:
            best = loss, model
        if time.process_time() - started > seconds:
            trial.study.stop()
        return loss

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=TRIALS)
    probabilities = np.zeros((len(test), classes))
    probabilities[:, best[1].classes_] = best[1].predict_proba(test)
    losses = log_losses(probabilities, data.test.y)
    accuracy = float((probabilities.argmax(1) == data.test.y).mean())
    return {"accuracy": accuracy, "log_loss": float(losses.mean()), "losses": losses, "trials": len(study.trials)}


def measure(root: Path, name: str) -> Scores:
    folder = root / FOLDER / f"study-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(root / "params.yaml", folder)
    file = SOURCES[name].write(folder, name)
    stage(root, folder, "retrace.cli.table", "--yes", file.name, SOURCES[name].target)
    for each in ("create", "split"):
        stage(root, folder, f"stages.{each}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    stage(root, folder, "stages.study")
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = read_study(folder)
    default = tested(root, folder)
    adopted = default if result.winner is None else taken(root, folder, result.winner)
    best = min(result.candidates, key=lambda each: each.fresh_score)
    unsure = adopted if best.trial == result.adopted else default if not best.trial else taken(root, folder, best)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.study_tables", "--lightgbm", str(seconds)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
    )
    boosted = json.loads((folder / "peer.json").read_text())
    gain, low, high = interval(default["losses"] - adopted["losses"])
    over, over_low, over_high = interval(np.array(boosted["losses"]) - adopted["losses"])
    return {
        "adopted": result.winner.settings if result.winner else None,
        "reason": result.reason,
        "default": {key: default[key] for key in ("accuracy", "log_loss")},
        "study": {key: adopted[key] for key in ("accuracy", "log_loss")},
        "unsure": {key: unsure[key] for key in ("accuracy", "log_loss")},
        "unsure_gain": interval(default["losses"] - unsure["losses"]),
        "lightgbm": {key: boosted[key] for key in ("accuracy", "log_loss", "trials")},
        "gain": [gain, low, high],
        "over_lightgbm": [over, over_low, over_high],
        "cpu": round(seconds),
        "wall": round(wall),
    }


def interval(differences: Any) -> tuple[float, float, float]:
    """Mean over test rows, with its 95 % interval."""
    mean, reach = float(np.mean(differences)), 1.96 * float(np.std(differences)) / len(differences) ** 0.5
    return mean, mean - reach, mean + reach


def better(mean: dict[str, Scores], who: str) -> float:
    return float(1 - mean[who]["log_loss"] / mean["default"]["log_loss"])


def report(found: dict[str, Scores]) -> str:
    def number(value: float) -> str:
        return f"{value:.4f}"

    rows = []
    for name, each in found.items():
        gain, low, high = each["gain"]
        rows.append(
            [
                name,
                *(number(each[who]["log_loss"]) for who in ("default", "study", "unsure", "lightgbm")),
                f"{gain:+.4f} ({low:+.4f} to {high:+.4f})" if each["adopted"] else "default stays",
                *(number(each[who]["accuracy"]) for who in ("default", "study", "unsure", "lightgbm")),
                f"{each['cpu']:,}",
            ]
        )
    mean = {
        who: {key: float(np.mean([each[who][key] for each in found.values()])) for key in ("log_loss", "accuracy")}
        for who in ("default", "study", "unsure", "lightgbm")
    }
    rows.append(
        [
            "**mean**",
            *(number(mean[who]["log_loss"]) for who in mean),
            f"{better(mean, 'study'):+.1%}; best, sure or not: {better(mean, 'unsure'):+.1%}",
            *(number(mean[who]["accuracy"]) for who in mean),
            "",
        ]
    )
    header = [
        *("table", "log loss: default", "study", "best, sure or not", "tuned LightGBM"),
        "study's gain on test rows (95 %)",
        *("accuracy: default", "study", "best, sure or not", "tuned LightGBM", "CPU seconds of the study"),
    ]
    worse, unsure_worse = (
        ", ".join(name for name, each in found.items() if each[which][2] < 0) or "none"
        for which in ("gain", "unsure_gain")
    )
    return (
        f"# Studies on real tables\n\nWritten by `python -m benchmarks.study_tables`: {TRIALS} trials, split seed"
        f" {SEEDS[0]}. Surely worse on the test rows than the default: {worse}; of the best, sure or not:"
        f" {unsure_worse}.\n\n" + table(header, rows) + "\n"
    )


def main() -> None:
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in THREADS} | {"CUDA_VISIBLE_DEVICES": ""}
    if sys.argv[1:2] == ["--lightgbm"]:
        scores = lightgbm(float(sys.argv[2]))
        write_json(Path("peer.json"), scores | {"losses": scores["losses"].tolist()})
        return
    found: dict[str, Scores] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in sys.argv[1:] or [name for name in SOURCES if name not in found]:
        found[name] = measure(Path.cwd(), name)
        write_json(KEPT, found)
        print(
            f"{name}: {found[name]['reason']}; test log loss {found[name]['default']['log_loss']:.4f} to"
            f" {found[name]['study']['log_loss']:.4f}, LightGBM {found[name]['lightgbm']['log_loss']:.4f}",
            flush=True,
        )
        write_text(REPORT, report(found))


if __name__ == "__main__":
    run(main)
