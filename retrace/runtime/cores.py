"""How many cores there are for what this process does."""

import os

from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.runtime.system import cores_granted

# How many at most; no result depends on it.
LIMIT = "RETRACE_WORKERS"


def cores() -> int:
    """Those this process may use, or fewer where RETRACE_WORKERS says so.

    1 where processes cannot be copied safely: on macOS and Windows. Raises UserError for a limit that is not a number.
    """
    given = os.environ.get(LIMIT, "")
    if given and not (given.isascii() and given.isdigit() and int(given)):
        raise UserError(MACHINE_FAULT, f"{LIMIT}={given}: must be a whole number from 1 on; unset it to use all cores")
    return min(cores_granted(), int(given)) if given else cores_granted()
