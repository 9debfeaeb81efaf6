from tests.training.test_packs import *  # noqa: F403 - the same tests, with all their cases
