"""`retrace follow`: a training run that is under way, in MLflow as it goes on (retrace/tracking/follow.py)."""

import click

from retrace.params.reader import read
from retrace.params.record import Record
from retrace.tracking.follow import follow
from retrace.tracking.location import locate


@click.command(epilog="Example: retrace follow, in a second terminal beside dvc repro")
def command() -> None:
    """Mirror the training that is under way, or the next one, into the run that `record` later completes."""
    follow(locate(read(Record).experiment))
