"""Whether a head of a Ray cluster can be at an address: Ray itself tries for a minute, and then ends the process."""

import os
import socket

from retrace.runtime.errors import MACHINE_FAULT, UserError

ADDRESS = "RAY_ADDRESS"
# A head that does not take a connection for so long is gone.
HEAD_SECONDS = 5.0
# How a client of HTTP/2 begins (RFC 9113, 3.4), with settings of which there are none; and the type of theirs.
SETTINGS = b"\4"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0\0\0\0\0"


def require_answer(address: str) -> None:
    """Raise UserError where nobody listens: Ray would try for a minute."""
    if address == "auto":  # of this machine
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise UserError(
            MACHINE_FAULT, f"{ADDRESS}={address}: must be HOST:PORT, as `ray start --head` prints it, or auto"
        )
    if reason := silent(address):
        raise UserError(
            MACHINE_FAULT,
            f"{ADDRESS}={address}: no head of a cluster answers there ({reason}); start it there: ray start --head"
            f" --port {port}, or unset {ADDRESS}",
        )


def silent(address: str) -> str:
    """Why no head of a cluster can be there, "" where one may be: it speaks HTTP/2, and begins with its settings."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), HEAD_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":  # not so openly
                return ""
            connection.sendall(HELLO)
            found = connection.recv(9)
    except OSError as error:
        return error.strerror or str(error)
    return "" if found[3:4] == SETTINGS else "what listens there is no Ray"
