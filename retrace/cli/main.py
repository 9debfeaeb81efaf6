"""`retrace COMMAND ...`: what a person or CI runs beside the pipeline; each command is a module of this package.

Modules are loaded when they are asked for: torch or MLflow for one of them are nothing that another should wait for.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

# command -> its line in `retrace --help`; its module has its name, and in it the click command `command`.
COMMANDS = {
    "table": "A table of your own: what is in it, and a recipe for its size into params.yaml.",
    "adopt": "Write the setting that a study found surely better into params.yaml.",
    "playground": "A TensorFlow Playground link into params.yaml; without one: the link of params.yaml.",
    "predict": "Label and probabilities for each row of a file.",
    "check": "Whether the rows of a file are like those that the model was trained on.",
    "export": "The trained model as models/model.onnx: raw rows in.",
    "gate": "Fail unless the test result is surely good enough.",
    "summary": "The result in a few lines.",
    "study": "Which settings are better, and is it sure? With --mirror: live in optuna-dashboard.",
    "lesson": "A claim about how networks learn, trained and judged anew; all of them without a number.",
    "ui": "The recorded runs in a browser.",
    "follow": "Show a training run that is under way in MLflow, as it goes on.",
    "backfill": "Record every state that git's history and DVC's cache still have.",
    "verify": "Rerun the last commit in a fresh clone and compare with dvc.lock.",
    "check-cache": "Hash what is here and in DVC's cache, and name what is damaged and what repairs it.",
    "rehash": "Let DVC look into every file anew.",
    "graph": "Write into dvc.yaml which code each stage imports.",
    "readme": "Write the generated tables of README.md and docs/ anew.",
}
COMPLETION = "_RETRACE_COMPLETE"  # set by the shell that completes a line


class Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"retrace.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Without loading any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The pipeline itself is run with `make run` or `dvc repro`. `retrace COMMAND --help` has an example.",
)
def retrace() -> None:
    """What is done beside the pipeline, in the project's folder."""


def invoke(arguments: Sequence[str]) -> None:
    """Run one command; raises what it raises, and click.ClickException where the arguments are wrong.

    Not by click's own `main`, which has lines and statuses of its own for an interrupt and for a reader that is gone.
    """
    with retrace.make_context("retrace", list(arguments)) as context:
        retrace.invoke(context)


def main() -> None:
    if COMPLETION in os.environ:
        retrace.main(prog_name="retrace", complete_var=COMPLETION)
    try:
        invoke(sys.argv[1:])
    except click.exceptions.Exit as ended:  # --help
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
