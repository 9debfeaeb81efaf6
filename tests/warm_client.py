"""`python -m stages.X` and the like, asked of tests/warm.py: prints what it prints and ends as it ends.

Loads nothing, so that it starts at once.
"""

import array
import contextlib
import json
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(connection: socket.socket, folder: str, arguments: "list[str]", variables: dict, files: "dict") -> None:
    """Ask for `python arguments` there, with these variables of the environment and these open files by number."""
    numbers = {"files": [*files]}
    content = json.dumps({"folder": folder, "arguments": arguments, "environment": variables, **numbers}).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files.values()))]
    connection.sendmsg([b"%12d" % len(content)], rights)
    connection.sendall(content)


def receive(connection: socket.socket) -> "tuple[dict, dict]":
    head, files, _, _ = socket.recv_fds(connection, 12, 100)
    content = b""
    while len(content) < int(head):
        if not (part := connection.recv(1 << 16)):
            raise ValueError("whoever asked is gone")
        content += part
    asked = json.loads(content)
    return asked, dict(zip(asked["files"], files, strict=True))


def inherited() -> "dict[int, int]":
    """The standard streams, and what whoever started this process left open for it."""
    files = {number: number for number in (0, 1, 2)}
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - pathlib would be loaded
        with contextlib.suppress(OSError):  # of the list itself
            if number > 2 and os.get_inheritable(number):
                files[number] = number
    return files


def run(place: str, arguments: "list[str]") -> int:
    """The exit status; a signal that arrives is passed on, also one that comes before there is anyone to pass it to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    files = inherited()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        send(connection, os.getcwd(), arguments, dict(os.environ), files)  # noqa: PTH109 - pathlib would be loaded
        with connection.makefile() as answers:
            process = int(answers.readline())

            def pass_on(number: int, _: object) -> None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)

            for number in PASSED_ON:
                signal.signal(number, pass_on)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
            return int(answers.readline())


if __name__ == "__main__":
    status = run(sys.argv[1], sys.argv[2:])
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status in PASSED_ON else None
        os.kill(os.getpid(), -status)
    sys.exit(status)
