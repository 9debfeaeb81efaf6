"""Work on a Ray cluster: a real one, of several nodes on this machine."""

import json
import re
import signal
import socket
import time
from contextlib import contextmanager

import pytest

from tests.cluster import RayCluster, all_end, needs_ray, processes_of, start

pytestmark = needs_ray

# What the tests below do with a cluster, each in a process of its own, since Ray leaves threads in one that it was in.
SCRIPT = """
import json, os, sys, time
from retrace.runtime import cluster_work
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_node import PeerLost
from retrace.runtime.cluster_work import Actors, Request, Tasks
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.run import run

def facts():
    return {"a thing": os.environ.get("THING", "the same")}

def work(what, value, path=""):
    if what == "refuse":
        raise UserError(BAD_DATA, f"{value} is bad")
    if what == "bug":
        {}[value]
    if what == "die" and not os.path.exists(path):
        open(path, "w").close()
        os._exit(1)
    if what == "die always":
        os._exit(1)
    if what == "die late":
        with open(path, "a") as file:
            file.write(".")
        time.sleep(6 if os.path.getsize(path) > 2 else 0)
        os._exit(1)
    if what == "late":
        with open(path, "a") as file:
            file.write(".")
        first = os.path.getsize(path) == 1
        # The second one is quicker, or the first one is in time to be compared with it.
        time.sleep({"differ": 6, 2: 300}[value] if first else 1)
        return os.getpid() if value == "differ" else value
    if what == "sleep":
        time.sleep(value)
    if what == "where":
        return os.environ.get("THING", "the same")
    time.sleep(0.05)
    return value

def ask(tasks, requests, memory=0):
    does = [f"request {place}" for place in range(len(requests))]
    return sorted(tasks.each(requests, does, lambda request: Request(request, memory)))

def main():
    with Cluster("work", facts) as cluster:
        tasks = Tasks(cluster, work, repr)
        print(json.dumps((BODY)), flush=True)

def counter(start):
    state = [start]
    def add(value):
        if value == "die" or value == os.getpid():
            os._exit(1)
        state[0] += value
        return state[0]
    return add

def member(rank, begun):
    def do(value):
        if value == "go":
            return [rank, begun]
        if rank == 0:
            time.sleep(300)  # waits for the other one
        if value == "bad":
            raise UserError(BAD_DATA, "the second one is bad")
        return [rank, begun] if begun else PeerLost("it is gone")
    return do

run(main)
"""


@pytest.fixture(scope="module")
def cluster():
    with RayCluster(3) as made:
        yield made


def asked(cluster, body: str) -> tuple[int, object, str]:
    """Exit status, what the body is, and what was said."""
    started = start(SCRIPT.replace("BODY", body), cluster)
    out, said = started.communicate(timeout=120)
    return started.returncode, json.loads(out) if out else None, said


def test_any_node_answers_and_answers_come_with_their_places(cluster):
    body = 'ask(tasks, [("say", value) for value in range(20)]), cluster.cores, len(cluster.nodes)'
    assert asked(cluster, body) == (0, [[[place, place] for place in range(20)], 3, 3], "")


def test_arrays_that_are_put_once_arrive_and_answers_can_be_changed(cluster):
    body = (
        '(lambda np: (lambda found: (found.__setitem__(0, 7.0), float(found.sum())))(ask(tasks, [("say",'
        " cluster.ray.put(np.ones(300_000)))])[0][1]))(__import__('numpy'))[1]"
    )
    assert asked(cluster, body) == (0, 300_006.0, "")


def test_what_the_work_refuses_is_refused_here(cluster):
    status, _, said = asked(cluster, 'ask(tasks, [("say", 1), ("refuse", "x = 7")])')
    assert (status, said) == (3, "x = 7 is bad\n")


def test_a_bug_brings_the_place_where_it_happened(cluster):
    status, _, said = asked(cluster, 'ask(tasks, [("bug", "missing")])')
    assert status == 1
    assert "in work" in said
    assert "KeyError" in said


def test_a_lost_process_is_asked_again(cluster, tmp_path):
    body = f'ask(tasks, [("say", 1), ("die", 2, {str(tmp_path / "once")!r}), ("say", 3)])'
    said = "request 1: its process on the cluster was lost; begins anew\n"
    assert asked(cluster, body) == (0, [[0, 1], [1, 2], [2, 3]], said)


def test_one_that_is_lost_each_time_ends_the_work_in_one_line(cluster):
    status, _, said = asked(cluster, 'ask(tasks, [("die always", 2)])')
    assert status == 4
    *again, last = said.splitlines()
    assert again == ["request 0: its process on the cluster was lost; begins anew"] * 2
    assert re.fullmatch(
        r"request 0: its process on the cluster was lost 3 times \([^\x1b]*\); run the same again", last
    )


def test_of_two_under_way_at_a_time_all_losses_count(cluster, tmp_path):
    """Its third try is late, so that there is a fourth one, and both are lost."""
    late = f'[("say", 1), ("die late", 2, {str(tmp_path / "tries")!r})]'
    status, _, said = asked(cluster, f"setattr(cluster_work, 'LATE_SECONDS', 3) or ask(tasks, {late})")
    assert status == 4
    *again, last = said.splitlines()
    # One where this machine is so busy that an earlier try is late, too.
    assert again in (["request 1: its process on the cluster was lost; begins anew"] * times for times in (1, 2))
    assert last.startswith("request 1: its process on the cluster was lost 3 times ")
    assert len((tmp_path / "tries").read_text()) <= 4


def test_what_is_late_is_asked_of_an_idle_core_too(cluster, tmp_path):
    """The first one would take five minutes."""
    body = f'ask(tasks, [("say", 1), ("late", 2, {str(tmp_path / "late")!r})])'
    assert asked(cluster, body) == (0, [[0, 1], [1, 2]], "")
    assert (tmp_path / "late").read_text() == ".."


def test_two_answers_to_the_same_must_be_the_same_bytes(cluster, tmp_path):
    late = f'[("say", 1), ("late", "differ", {str(tmp_path / "late")!r})]'
    body = f"setattr(cluster_work, 'LAST_SECONDS', 30) or ask(tasks, {late})"
    status, _, said = asked(cluster, body)
    assert status == 4
    assert said.startswith("request 1: two nodes of the cluster gave different bytes for it; ")


@contextmanager
def another_node(cluster, thing):
    """One whose processes find another THING, until the end of the block."""
    cluster.add(env_vars={"THING": thing})
    try:
        yield
    finally:
        cluster.remove(-1)


def test_a_node_that_computes_otherwise_is_given_no_work(cluster):
    with another_node(cluster, "another"):
        status, found, said = asked(cluster, '[answer for _, answer in ask(tasks, [("where", 0)] * 30)]')
        assert (status, found) == (0, ["the same"] * 30)
        assert re.fullmatch(r"work: \S+ is given no work: a thing is another, and the same here\n", said)


def test_a_node_that_cannot_be_asked_is_given_no_work(cluster):
    """Its environment is broken, say."""
    with another_node(cluster, "broken"):
        code = SCRIPT.replace("def facts():\n", "def facts():\n    1 / (os.environ.get('THING') != 'broken')\n")
        started = start(code.replace("BODY", 'ask(tasks, [("say", 0)] * 9), cluster.cores'), cluster)
        out, said = started.communicate(timeout=120)
        assert (started.returncode, json.loads(out)) == (0, [[[place, 0] for place in range(9)], 3])
        assert re.fullmatch(r"work: \S+ is given no work: ZeroDivisionError: division by zero\n", said)


def test_where_no_node_computes_alike_nothing_is_done(cluster):
    code = SCRIPT.replace("BODY", "0").replace(
        '"the same")}', '"the same") if os.path.basename(sys.argv[0]) == "-c" else "of a node"}'
    )
    started = start(code, cluster)
    out, said = started.communicate(timeout=120)
    assert (started.returncode, out) == (4, "")
    last = said.splitlines()[-1]
    assert re.fullmatch(
        r"work: no node of the cluster at \S+ computes as this machine does \(the last one, \S+: a thing is of a"
        r" node, and the same here\); install the same there, or unset RAY_ADDRESS",
        last,
    )


def test_what_no_node_has_room_for_is_said_at_once(cluster):
    status, _, said = asked(cluster, 'ask(tasks, [("say", 1)], 1 << 50)')
    assert status == 4
    assert said.startswith("work: a pack takes 1,048,576.4 GiB of memory, and the largest node of the cluster gives ")


ASLEEP = 'print("begun", flush=True) or ask(tasks, [("sleep", 60)] * 3)'
ACTORS = 'Actors(cluster, counter, lambda place, begun: (10 * place,), ["one", "two"])'


def test_actors_go_on_from_one_request_to_the_next(cluster):
    body = f"(lambda actors: [actors.ask([1, 2]), actors.ask([None, 3]), actors.__exit__()])({ACTORS}.__enter__())"
    assert asked(cluster, body) == (0, [[1, 12], [None, 15], None], "")


def test_an_actor_that_is_lost_is_taken_anew_from_what_is_known_here(cluster):
    """Killed while it is idle; the next request meets its successor, which begins with what `given` says then."""
    code = SCRIPT.replace(
        "print(json.dumps((BODY)), flush=True)",
        """
        start = [5, 10]
        with Actors(cluster, counter, lambda place, begun: (start[place],), ["one", "two"]) as actors:
            start[:] = actors.ask([1, 1])
            print("ready", flush=True)
            sys.stdin.readline()
            print(json.dumps(actors.ask([1, 1])), flush=True)
        """,
    )
    started = start(code, cluster)
    assert started.stdout.readline() == "ready\n"
    processes_of(cluster, "_Actor")[0].kill()
    out, said = started.communicate("\n", timeout=120)
    assert json.loads(out) == [7, 12]
    assert re.fullmatch(r"(one|two): its process on the cluster was lost; resumes in another one\n", said)


TEAM = 'Actors(cluster, member, lambda place, begun: (place, begun), ["one", "two"], team=2)'


def test_a_team_begins_anew_together_and_nobody_waits_for_one_that_failed(cluster):
    status, _, said = asked(cluster, f'{TEAM}.__enter__().ask(["bad", "bad"])')
    assert (status, said) == (3, "the second one is bad\n")
    found = f'(lambda actors: [actors.ask(["go", "go"]), actors.ask(["go", "lose"])])({TEAM}.__enter__())'
    status, answers, said = asked(cluster, found)
    assert (status, answers) == (0, [[[0, 0], [1, 0]], [[0, 1], [1, 1]]])
    assert said == "two: its process on the cluster was lost; resumes in another one\n"


def test_where_no_core_gets_free_a_process_is_put_beside_others(cluster):
    """Another work keeps two of three."""
    kept = "print('begun', flush=True) or ask(tasks, [('sleep', 60)] * 2)"
    others = start(SCRIPT.replace("BODY", kept), cluster)
    try:
        while len(processes_of(cluster, "run_checked")) < 2:
            assert others.poll() is None
            time.sleep(0.1)
        three = ACTORS.replace('["one", "two"]', '["one", "two", "three"]')
        body = f"setattr(cluster_work, 'PLACING_SECONDS', 3) or {three}.__enter__().ask([1, 2, 3])"
        status, found, said = asked(cluster, body)
    finally:
        others.kill()
        others.communicate()
    assert (status, found) == (0, [1, 12, 23])
    assert len(said.splitlines()) == 2
    assert said.splitlines()[0].endswith(": no core of the cluster is free; shares one")


def test_where_rays_store_is_full_and_the_disk_too_it_is_said(monkeypatch):
    monkeypatch.setenv("RAY_local_fs_capacity_threshold", "0.0001")  # so that the disk counts as full
    with RayCluster(1) as made:
        array = "cluster.put(__import__('numpy').ones(30_000_000))"
        status, _, said = asked(made, f'ask(tasks, [("say", {array})])')
    assert status == 4
    assert re.fullmatch(
        r"work: Ray has no room for the rows on this machine \([^\n\x1b]*\); give it more \(ray start"
        r" --object-store-memory\), free some of its disk, or unset RAY_ADDRESS\n",
        said,
    )


def test_where_no_memory_gets_free_either_it_ends(cluster):
    """Another work keeps nearly all of it, on each node."""
    memory = "int(0.9 * cluster.nodes[0]['Resources']['memory'])"
    kept = f"print('begun', flush=True) or ask(tasks, [('sleep', 60)] * 3, {memory})"
    others = start(SCRIPT.replace("BODY", kept), cluster)
    try:
        while len(processes_of(cluster, "run_checked")) < 3:
            assert others.poll() is None
            time.sleep(0.1)
        actors = ACTORS.replace("]", f"], {memory}")
        body = f"setattr(cluster_work, 'PLACING_SECONDS', 2) or {actors}.__enter__().ask([1, 2])"
        status, _, said = asked(cluster, body)
    finally:
        others.kill()
        others.communicate()
    assert status == 4
    assert said.splitlines()[0].endswith(": no core of the cluster is free; shares one")
    assert re.fullmatch(
        r"(one|two): no node of the cluster has [\d.]+ GiB of memory free; end what else runs there, or unset"
        r" RAY_ADDRESS, then run the same again",
        said.splitlines()[-1],
    )


def test_where_all_nodes_are_gone_it_ends():
    soon = "def main():\n    from retrace.runtime import cluster as module\n    module.NO_NODE_SECONDS = 2"
    with RayCluster(1, head_cores=0) as made:
        made.add()
        started = start(SCRIPT.replace("BODY", ASLEEP).replace("def main():", soon), made)
        assert started.stdout.readline() == "begun\n"
        while not processes_of(made, "run_checked"):
            assert started.poll() is None
            time.sleep(0.1)
        made.remove()
        _, said = started.communicate(timeout=60)
    assert started.returncode == 4, said
    assert said.splitlines()[-1] == (
        f"work: no node of the cluster at {made.address} has a CPU to give; start one there (ray start --address), or"
        " unset RAY_ADDRESS"
    )


def test_interrupted_it_leaves_no_process_at_work(cluster):
    started = start(SCRIPT.replace("BODY", ASLEEP), cluster)
    assert started.stdout.readline() == "begun\n"
    deadline = time.monotonic() + 30
    while not processes_of(cluster, "run_checked") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(cluster, "run_checked")
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130, said
    assert "interrupted" in said
    assert all_end(cluster, "run_checked")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("here", "must be HOST:PORT, as `ray start --head` prints it, or auto"),
        ("ray://127.0.0.1:10001", "must be HOST:PORT, as `ray start --head` prints it, or auto"),
        (
            "127.0.0.1:1",
            "no head of a cluster answers there (Connection refused); start it there: ray start --head --port 1, or"
            " unset RAY_ADDRESS",
        ),
    ],
)
def test_an_address_where_there_is_no_cluster(address, said):
    started = start(SCRIPT.replace("BODY", "0"), None, RAY_ADDRESS=address)
    assert started.communicate(timeout=60) == ("", f"RAY_ADDRESS={address}: {said}\n")
    assert started.returncode == 4


def test_an_address_where_something_else_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        started = start(SCRIPT.replace("BODY", "0"), None, RAY_ADDRESS=address)
        _, said = started.communicate(timeout=60)
    assert said.startswith(f"RAY_ADDRESS={address}: no head of a cluster answers there (timed out); ")


def test_without_ray_its_installation_is_advised(cluster):
    code = "import sys\nsys.modules['ray'] = None\n" + SCRIPT.replace("BODY", "0")
    started = start(code, cluster)
    _, said = started.communicate(timeout=60)
    assert said == (
        f"RAY_ADDRESS={cluster.address}: Ray is not installed here; run: make setup EXTRAS=ray, or unset RAY_ADDRESS\n"
    )


def test_a_head_that_dies_is_missed():
    with RayCluster(2) as made:
        started = start(SCRIPT.replace("BODY", ASLEEP), made)
        assert started.stdout.readline() == "begun\n"
        time.sleep(1)
        made.behead()
        _, said = started.communicate(timeout=50)
    assert started.returncode == 4, said
    assert said.splitlines()[-1] == (
        f"work: the head of the cluster at {made.address} is gone; start it again, or unset RAY_ADDRESS, then run the"
        " same again: it goes on with what is kept"
    )
