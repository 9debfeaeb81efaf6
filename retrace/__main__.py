"""`python -m retrace`, and the console script `retrace`."""

from retrace.cli.main import main  # isort: split

from retrace.runtime.run import run  # first: what goes wrong while libraries are loaded is one line, too


def start() -> None:
    run(main)


if __name__ == "__main__":
    start()
