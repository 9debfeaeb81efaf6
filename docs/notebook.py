# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Retrace from a notebook
#
# For those who live in one. The pipeline itself stays outside: `make run` makes the files that are read here, and a
# change of `params.yaml` goes through DVC, so that what you see can be made again without the notebook.
#
# Open it in the environment of the project: `.venv/bin/python -m pip install jupyterlab`, then
# `.venv/bin/jupyter lab docs/notebook.ipynb`. It is kept as a script, `docs/notebook.py`, which a test runs.

# %%
import os
import subprocess
import sys
from pathlib import Path

# The paths of the project are relative to its folder, wherever the notebook was started.
while not Path("dvc.yaml").exists() and Path.cwd() != Path("/"):
    os.chdir("..")

# %% [markdown]
# ## The result
#
# Each file that a stage writes has a module in `retrace/artifacts`, which reads it as a typed value.

# %%
from retrace.artifacts.scores import read_scores

scores = read_scores()
accuracy = scores.accuracy
print(f"accuracy on {scores.rows:,} test rows: {accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f})")
print(f"its replicas: {accuracy.mean:.4f} ± {accuracy.deviation:.4f}")

# %% [markdown]
# Tables are Parquet or CSV, which pandas reads.

# %%
import pandas as pd

history = pd.read_csv("reports/history.csv")
last = history[history["epoch"] == history["epoch"].max()]
print(last[["replica", "train_loss", "validation_loss", "validation_accuracy"]].to_string(index=False))

# %% [markdown]
# ## A figure, redrawn
#
# Figures are drawn from tables, never from the model, so that another look at them costs nothing.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.5))
for replica, own in history.groupby("replica"):
    axes.plot(own["epoch"], own["validation_loss"], linewidth=1, label=f"replica {replica}")
axes.set_xlabel("epoch")
axes.set_ylabel("validation loss")
axes.set_yscale("log")
axes.legend(ncols=2, fontsize=8)
plt.show()

# %% [markdown]
# ## The model
#
# It takes raw rows: what prepares them is part of it.

# %%
from retrace.artifacts.paths import MODELS, TEST
from retrace.artifacts.tables import read_table
from retrace.networks.model_files import load

model = load(MODELS)
rows = read_table(TEST)
probabilities = model.probabilities(rows.slice(0, 5))
shown = pd.DataFrame(probabilities, columns=model.description.classes)
print(shown.round(3).to_string(index=False))

# %% [markdown]
# For a file of rows there is the command `retrace predict new.csv predictions.csv`; for other languages,
# `retrace export` writes ONNX.
#
# ## Another setting
#
# `dvc exp run` tries one as an experiment of its own; `--temp` leaves this folder as it is. Only the stages run that
# depend on the change.


# %%
def dvc(*arguments: str) -> str:
    """Run DVC, and return what it prints."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


print(dvc("exp", "run", "--temp", "-S", "train.activation=tanh").splitlines()[-1])

# %%
import json

experiments = json.loads(dvc("exp", "show", "--json"))
for state in experiments:
    for branch in state["experiments"] or []:
        for each in branch["revs"]:
            values = each["data"]["metrics"]["reports/metrics.json"]["data"]
            print(each["name"], {name: value for name, value in values.items() if "accuracy" in name})

# %% [markdown]
# `dvc exp apply NAME` brings one of them here. Whether the difference is more than luck is told by the interval and by
# the spread over replicas above; whether a search found something, by `make study`.
