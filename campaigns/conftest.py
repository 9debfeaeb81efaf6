from tests.conftest import *  # noqa: F403 - fixtures, and what pytest is to do at its start
