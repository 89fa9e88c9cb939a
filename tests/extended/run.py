"""What takes too long for `scripts/test`, or depends on the machine.

    scripts/test extended
    tests/extended/run.py [PART ...]     h2spec slow floods grpc go-kit restarts kubernetes jwt speed

Each check prints one line with its figures. `scripts/tools --install extended` gets the programs; a missing one is a failure.
"""

import functools
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PROTO = ROOT / "examples/addsvc/proto/addsvc.proto"
os.environ["PATH"] = f"{ROOT}/.tools/bin:{os.environ['PATH']}"

# Tests of h2spec that fail, and why.
KNOWN_FAILURES = {"http2/3.5: Sends invalid connection preface": "on a port for both versions it is a bad request of HTTP/1.1: 400"}

# The limits of `towerkit-server`, in seconds, for the slow connections of slowhttptest: the head; the body, of which 1 KiB must come;
# the next request after a response that was sent.
SLOW = {
    "slow heads": (10, ["-H", "-i", "5"]),
    "slow bodies": (30, ["-B", "-i", "5", "-s", "8192", "-x", "10"]),
    "ranges": (60, ["-R", "-a", "1", "-b", "500"]),
    "slow reads": (60, ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "16", "-k", "3"]),
}
SLOW_CONNECTIONS = 1000

FLOOD_SECONDS = 10
# What a flood may add to the memory of the server, in MiB.
FLOOD_MEMORY = 32


class Failure(Exception):
    """The text says what is wrong."""


@contextmanager
def running(*command):
    """Starts a server, and gives its process and the first line of its output."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process, process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.kill()
        process.wait()


def stringsvc():
    return running(PROGRAMS / "stringsvc", "--addr", "127.0.0.1:0", "--log", "off", "--rate", "1000000", "--burst", "1000000")


def addsvc(*flags):
    return running(PROGRAMS / "addsvc", "--addr", "127.0.0.1:0", *flags)


def run(*command, expect=0, seconds=600, **options):
    """Runs a program to its end, and returns what it printed."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, **options
    )
    if expect is not None and done.returncode != expect:
        raise Failure(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def equal(found, expected):
    if found != expected:
        raise Failure(f"{found!r} in place of {expected!r}")


def memory(process):
    """Returns the resident memory in MiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


class Honest(threading.Thread):
    """A client that makes 50 requests a second, each on a connection of its own, while others attack."""

    def __init__(self, address):
        super().__init__()
        self.address, self.over, self.times, self.failures = address, threading.Event(), [], []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.02):
            started = time.monotonic()
            try:
                connection = http.client.HTTPConnection(self.address, timeout=5)
                connection.request("POST", "/uppercase", '{"s":"a"}', {"content-type": "application/json"})
                response = connection.getresponse()
                if response.read() != b'{"v":"A"}' and response.status != 200:
                    self.failures.append(response.status)
                connection.close()
            except OSError as error:
                self.failures.append(error)
            self.times.append(time.monotonic() - started)

    def figures(self):
        if self.failures or not self.times:
            raise Failure(f"{len(self.failures)} of {len(self.times)} honest requests failed: {self.failures[:3]}")
        return f"{len(self.times)} honest requests, the slowest {max(self.times) * 1000:.0f} ms"


class Lifetimes(threading.Thread):
    """Measures how long each connection to a port is open at the server."""

    def __init__(self, address):
        super().__init__()
        self.local = f":{int(address.rsplit(':', 1)[1]):04X}"
        self.over, self.seen, self.open = threading.Event(), {}, set()

    def run(self):
        established = "01"
        while not self.over.wait(0.05):
            now = time.monotonic()
            lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
            fields = (line.split() for line in lines)
            self.open = {field[2] for field in fields if field[1].endswith(self.local) and field[3] == established}
            for peer in self.open:
                first, _ = self.seen.get(peer, (now, now))
                self.seen[peer] = (first, now)

    def all(self):
        return sorted(last - first for first, last in self.seen.values())


def h2spec():
    with addsvc() as (_, address), tempfile.TemporaryDirectory() as folder:
        host, port = address.split(":")
        report = f"{folder}/report.xml"
        run("h2spec", "-S", "-h", host, "-p", port, "-o", "5", "-j", report, expect=None)
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {f"{case.get('package')}: {case.get('classname')}" for case in cases if case.find("failure") is not None}
    failed |= {f"{case.get('package')}: {case.get('classname')}" for case in cases if case.find("error") is not None}
    new = failed - KNOWN_FAILURES.keys()
    if new or len(cases) < 140:
        raise Failure(f"{len(cases)} cases, these fail: {sorted(new)}")
    return f"{len(cases) - len(failed)} of {len(cases)} pass, {len(failed)} known failures"


def slow(limit, flags):
    with stringsvc() as (process, address), Honest(address) as honest, tempfile.TemporaryDirectory() as folder:
        before = memory(process)
        lifetimes = Lifetimes(address)
        lifetimes.start()
        url = f"http://{address}/{'metrics' if '-X' in flags else 'uppercase'}"
        run("slowhttptest", *flags, "-c", SLOW_CONNECTIONS, "-r", "500", "-l", limit + 15, "-p", "5", "-u", url, expect=None, cwd=folder)
        lifetimes.over.set()
        lifetimes.join()
        grown = memory(process) - before
        connection = http.client.HTTPConnection(address)
        connection.request("GET", "/metrics")
        heads = sum(map(int, re.findall(r'request_duration_seconds_count.*"HEAD".* (\d+)', connection.getresponse().read().decode())))
    if "-R" in flags:
        # Each is answered, and closed by the client, before it can be seen.
        if heads < SLOW_CONNECTIONS * 0.99 or lifetimes.all()[-1] > limit + 1:
            raise Failure(f"{heads} requests were answered")
        return f"{heads} requests answered at once, +{grown:.0f} MiB; {honest.figures()}"
    slow = [seconds for seconds in lifetimes.all() if seconds > 0.5] or lifetimes.all()[-SLOW_CONNECTIONS:]
    if slow[-1] > limit + 1:
        late = sum(seconds > limit + 1 for seconds in slow)
        raise Failure(f"{late} of {len(slow)} connections were open for more than {limit + 1} s, up to {slow[-1]:.1f} s")
    return f"{len(lifetimes.seen)} connections, {len(slow)} for {slow[0]:.1f} to {slow[-1]:.1f} s of {limit}, +{grown:.0f} MiB; {honest.figures()}"


def flood(kind, *unread):
    with stringsvc() as (process, address), Honest(address) as honest:
        time.sleep(0.5)
        before = highest = memory(process)
        command = ["python-extended", HERE / "flood.py", address, kind, str(FLOOD_SECONDS), *unread]
        floods = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        while any(each.poll() is None for each in floods):
            highest = max(highest, memory(process))
            time.sleep(0.05)
        said = [each.communicate()[0].strip() for each in floods]
    if highest - before > FLOOD_MEMORY:
        raise Failure(f"+{highest - before:.0f} MiB; {said}")
    return f"4 connections: {said[0]}; +{highest - before:.1f} MiB; {honest.figures()}"


def grpc(*program):
    with addsvc() as (_, address):
        said = run(*program, "call", PROTO, address).splitlines()
        equal(said, ["3", "12", "3 can't sum two zeroes", "4"])
    with running(*program, "serve", PROTO) as (_, address):
        addcli_agrees(["--grpc-addr", address])
    return "both ways a sum, a string and an error, and a deadline as client"


def addcli_agrees(address, methods=("sum", "concat"), error="can't sum two zeroes"):
    addcli = [PROGRAMS / "addcli", "--timeout", "30", *address]
    printed = {"sum": "1 + 2 = 3\n", "concat": '"1" + "2" = "12"\n'}
    for method in methods:
        equal(run(*addcli, "--method", method, "1", "2"), printed[method])
    equal(run(*addcli, "0", "0", expect=1), f"error: {error}\n")


def go_kit():
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/go-kit"
        run("go", "build", "-o", program, ".", cwd=HERE / "go-kit", env={**os.environ, "GOCACHE": f"{folder}/cache"})
        with addsvc() as (_, address):
            said = run(program, "call", address, address).splitlines()
        grpc = "gRPC: 3, rpc error: code = InvalidArgument desc = can't sum two zeroes"
        equal(said, ["HTTP: 3, 400 Bad Request", "JSON-RPC: 3, can't sum two zeroes", grpc])
        with running(program) as (_, addresses):
            http, rpc = addresses.split()
            for address in [["--http-addr", http], ["--jsonrpc-addr", http], ["--grpc-addr", rpc]]:
                addcli_agrees(address, ["sum"])
    return "both ways a sum and an error over HTTP, JSON-RPC and gRPC"


def cargo_test(package, *tests, count=1, **variables):
    """Runs so many tests of a package, with variables of the environment, and returns the seconds that they took."""
    test = ["cargo", "test", "--locked", "-p", package, "--all-features", *tests]
    run(*test, "--no-run", seconds=3000, cwd=ROOT)
    started = time.monotonic()
    said = run(*test, "--", "--include-ignored", "--test-threads=1", cwd=ROOT, env={**os.environ, **variables})
    if f"{count} passed" not in said:
        raise Failure(said[-2000:])
    return time.monotonic() - started


def restarts():
    number = "50"
    seconds = cargo_test("towerkit-tests", "--test", "it", "restarts_of_servers", TOWERKIT_RESTARTS=number)
    return f"{number} restarts at 500 requests a second in {seconds:.0f} s, no failed call"


def kubernetes():
    seconds = cargo_test("towerkit-discovery-kubernetes", "--test", "it", "kube_apiserver", count=2)
    return f"faults, rights and tokens of a real API server in {seconds:.0f} s"


def pyjwt():
    python = f"{ROOT}/.tools/venv/bin/python"
    seconds = cargo_test("towerkit-auth-jwt", "--test", "it", "pyjwt", TOWERKIT_PYTHON=python)
    return f"10,000 claim sets in both directions, the same verdicts, in {seconds:.0f} s"


def provider():
    modules = f"{ROOT}/.tools/node"
    seconds = cargo_test("towerkit-auth-jwt", "--test", "it", "real_provider", OIDC_PROVIDER=modules)
    return f"discovery, client credentials, a kill and another key in {seconds:.0f} s"


def wycheproof():
    cargo_test("towerkit-auth-jwt", "--lib", "wycheproof")
    return "393 of 401 vectors agree, and the other eight are known"


@functools.cache
def rows(filter):
    """Returns the rows of the tables of a benchmark, by their first cell."""
    bench = ["cargo", "bench", "--locked", "-p", "towerkit-benches", "--all-features", "--bench", "report", "--", filter]
    lines = run(*bench, seconds=3000, cwd=ROOT).splitlines()
    cells = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|"))
    return {cell[0]: cell[1:] for cell in cells}


def at_least(found, least):
    if found < least:
        raise Failure(f"{found:.3f}, must be at least {least}")
    return f"{found:.3f}, must be at least {least}"


def server_speed():
    axum, ours, share = rows("loopback")["all limits on"]
    return f"{axum} and {ours} requests a second: " + at_least(float(share), 0.97)


def json_speed():
    ours, axum = times("JSON handler", "towerkit", "axum's Json, in a router")
    return f"{axum:.0f} and {ours:.0f} ns: " + at_least(axum / ours, 1.03)


def rpc_speed():
    plain, rpc = times("an endpoint, plain", "with a limit by .plain(..)", "with a limit by .rpc()")
    return f"{plain:.0f} and {rpc:.0f} ns: " + at_least(plain / rpc, 1 / 1.3)


def request_speed():
    (request,) = times("an endpoint, plain", "its request")
    return f"{request:.1f} ns, at most 25: " + at_least(25 / max(request, 0.1), 1)


def times(group, *names):
    """Returns nanoseconds."""
    return [float(rows(group)[name][0].strip("+")) for name in names]


PARTS = {
    "h2spec": {"h2spec -S": h2spec},
    "slow": {name: functools.partial(slow, *limits) for name, limits in SLOW.items()},
    "floods": {
        " ".join(["flood", *flags]): functools.partial(flood, *flags)
        for kind in ["reset", "continuation", "settings", "ping"]
        for flags in [[kind], [kind, "unread"]]
    },
    "grpc": {
        "grpc-js": functools.partial(grpc, "node-extended", HERE / "interop.js"),
        "grpcio": functools.partial(grpc, "python-extended", HERE / "interop.py"),
    },
    "go-kit": {"go-kit": go_kit},
    "restarts": {"restarts": restarts},
    "kubernetes": {"kube-apiserver": kubernetes},
    "jwt": {"PyJWT": pyjwt, "oidc-provider": provider, "Wycheproof ($WYCHEPROOF_JWS)": wycheproof},
    "speed": {
        "axum::serve to towerkit-server": server_speed,
        "axum's Json to transport-http": json_speed,
        ".plain(..) to .rpc()": rpc_speed,
        "the request of an endpoint": request_speed,
    },
}


def main():
    names = sys.argv[1:] or PARTS
    run("cargo", "build", "--release", "--locked", "-p", "addsvc", "-p", "stringsvc", "--bins", seconds=3000, cwd=ROOT)
    passed = failed = 0
    for name, check in (check for part in names for check in PARTS[part].items()):
        try:
            print(f"ok      {name}: {check()}", flush=True)
            passed += 1
        except (Failure, OSError, KeyError, subprocess.TimeoutExpired) as error:
            print(f"FAILED  {name}: {error!r}" if isinstance(error, KeyError) else f"FAILED  {name}: {error}", flush=True)
            failed += 1
    result = "FAILED" if failed else "ok"
    print(f"test result: {result}. {passed} passed; {failed} failed; 0 ignored")
    sys.exit(failed > 0)


main()
