"""`retrace playground URL`: settings of a TensorFlow Playground link into params.yaml; without URL: their link."""

import click

from retrace.cli.playground_link import read_link, written_link
from retrace.cli.playground_settings import params_of, state_of
from retrace.cli.proposal import agreed, require_unchanged, write_params
from retrace.params.create import Create
from retrace.params.edit import edited
from retrace.params.evaluate import Evaluate
from retrace.params.messages import PATH
from retrace.params.reader import read_verbatim
from retrace.params.split import Split
from retrace.params.train import Train
from retrace.runtime.text import shown


def playground(url: str | None, yes: bool) -> None:
    """Print the link of params.yaml; with a link: show what it changes there, ask, and write."""
    before = PATH.read_bytes()
    present = {
        name: value for section in (Create, Split, Train, Evaluate) for name, value in read_verbatim(section)[1].items()
    }
    if url is None:
        state, lines = state_of(present)
        print(written_link(state))
    else:
        values, lines = params_of(read_link(url), present)
    for line in lines:
        # The link alone goes where it may be piped.
        click.echo(shown(f"playground: {line}"), err=url is None)
    if url is None:
        return
    old = before.decode()
    new = edited(old, values)
    if new == old:
        print(f"playground: {PATH} says all of this already; nothing to write")
    elif agreed(old, new, "playground", yes, "add --yes"):
        require_unchanged(before)
        write_params(new)
        print(f"playground: written; next: make run, or: dvc repro; the way back: git checkout {PATH}")


@click.command(epilog="Example: retrace playground 'https://playground.tensorflow.org/#dataset=xor&networkShape=4,2'")
@click.argument("url", required=False)
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
def command(url: str | None, yes: bool) -> None:
    """Write the settings of a TensorFlow Playground link into params.yaml, after asking; comments stay.

    Without URL: print the link of the present settings. What the other side cannot say is named, line by line.
    Quote the URL: the shell has a meaning of its own for &."""
    playground(url, yes)
