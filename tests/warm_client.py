"""`python -m stages.X` and the like, asked of tests/warm.py: prints what it prints and ends as it ends.

Loads nothing, so that it starts at once.
"""

import array
import json
import os
import signal
import socket
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(connection: socket.socket, folder: str, arguments: "list[str]", variables: dict, streams: "list[int]") -> None:
    """Ask for `python arguments` there, with these variables of the environment and these standard streams."""
    content = json.dumps({"folder": folder, "arguments": arguments, "environment": variables}).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
    connection.sendmsg([b"%12d" % len(content)], rights)
    connection.sendall(content)


def receive(connection: socket.socket) -> "tuple[dict, list[int]]":
    """Raises EOFError where the one who asks is gone."""
    head, streams, _, _ = socket.recv_fds(connection, 12, 3)
    content = b""
    while not head or len(content) < int(head):
        if not (part := connection.recv(1 << 16)):
            raise EOFError
        content += part
    return json.loads(content), streams


def run(place: str, arguments: "list[str]") -> int:
    """The exit status; a signal that arrives is passed on."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        # From here to the handlers they wait: otherwise one would end this process alone, and the other would go on.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        send(connection, os.getcwd(), arguments, dict(os.environ), [0, 1, 2])  # noqa: PTH109 - pathlib would be loaded
        with connection.makefile() as answers:
            process = int(answers.readline())
            for number in SIGNALS:
                signal.signal(number, lambda number, _: os.kill(process, number))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = int(answers.readline())
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # of which this process may be to end
    return status


if __name__ == "__main__":
    status = run(sys.argv[1], sys.argv[2:])
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)
