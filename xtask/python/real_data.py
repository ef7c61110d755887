"""Loads a Debian package index through a stock cluster client, and compares it with what is kept.

    real_data.py load|compare INDEX HOST:PORT...

Every package becomes a hash, every section a set of packages, all packages one sorted set by
installed size. Every write may be repeated without harm, so it is repeated until it succeeds.
`compare` prints one line of JSON: how many members there are, how many differ, and two digests.
"""

import hashlib
import json
import sys
import time

from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

SECONDS_MAX = 60
FIELDS = ("Version", "Section", "Priority", "Maintainer", "Installed-Size", "Depends", "SHA256")


def packages(path):
    """The packages of an index, the last one of each name."""
    found = {}
    with open(path, encoding="utf-8", errors="replace") as index:
        for paragraph in index.read().split("\n\n"):
            fields = {}
            for line in paragraph.splitlines():
                if line and not line[0].isspace() and ": " in line:
                    name, value = line.split(": ", 1)
                    fields[name] = value
            if "Package" in fields:
                found[fields["Package"]] = {name: fields[name] for name in FIELDS if name in fields}
    return {name: fields for name, fields in found.items() if fields}


def size_of(fields):
    """The installed size in KiB; 0 if the index does not say."""
    text = fields.get("Installed-Size", "0")
    return int(text) if text.isdigit() else 0


def connect(addresses):
    """A client that gives up quickly, because the caller tries again."""
    nodes = [ClusterNode(host, int(port)) for host, port in (a.rsplit(":", 1) for a in addresses)]
    return RedisCluster(
        startup_nodes=nodes,
        decode_responses=True,
        socket_timeout=3,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )


class Patient:
    """Repeats a call until it succeeds, with a new client when the old one is lost."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.client = None
        self.repeated = 0

    def call(self, *command):
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                if self.client is None:
                    self.client = connect(self.addresses)
                return getattr(self.client, command[0])(*command[1:])
            except (RedisError, RedisClusterException, OSError) as error:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{command[:2]} failed for {SECONDS_MAX} s: {error!r}")
                self.repeated += 1
                if self.repeated % 20 == 0:
                    self.client = None
                time.sleep(0.05)


def load(index, addresses):
    """Writes every package; prints how far it is once a second."""
    patient = Patient(addresses)
    said = time.monotonic()
    for number, (name, fields) in enumerate(index.items(), 1):
        flat = [part for pair in fields.items() for part in pair]
        patient.call("execute_command", "HSET", f"package:{name}", *flat)
        patient.call("sadd", f"section:{fields.get('Section', 'none')}", name)
        patient.call("zadd", "by-size", {name: size_of(fields)})
        if time.monotonic() - said > 1:
            said = time.monotonic()
            print(f"loaded {number} of {len(index)} packages", flush=True)
    print(f"loaded {len(index)} packages, {patient.repeated} calls repeated", flush=True)


def lines_of_input(index):
    """Every member that there should be, as a line of text."""
    for name, fields in index.items():
        yield f"package:{name} {json.dumps(fields, sort_keys=True)}"
        yield f"section:{fields.get('Section', 'none')} {name}"
        yield f"by-size {name} {size_of(fields)}"


def lines_of_cluster(index, addresses):
    """Every member that there is, read back from masters."""
    patient = Patient(addresses)
    for name in index:
        fields = patient.call("hgetall", f"package:{name}")
        yield f"package:{name} {json.dumps(fields, sort_keys=True)}"
    for section in sorted({fields.get("Section", "none") for fields in index.values()}):
        for name in patient.call("smembers", f"section:{section}"):
            yield f"section:{section} {name}"
    for name, score in patient.call("zrange", "by-size", 0, -1, False, True):
        yield f"by-size {name} {int(score)}"


def digest(lines):
    """One digest over all lines, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def compare(index, addresses):
    """Prints how what is kept differs from the input."""
    wanted = set(lines_of_input(index))
    kept = list(lines_of_cluster(index, addresses))
    different = wanted.symmetric_difference(kept)
    for line in sorted(different)[:5]:
        print(("missing: " if line in wanted else "unexpected: ") + line[:200])
    answer = {
        "packages": len(index),
        "members": len(kept),
        "different": len(different) + len(kept) - len(set(kept)),
        "input": digest(wanted),
        "kept": digest(kept),
    }
    print(json.dumps(answer), flush=True)


def main():
    what, path, *addresses = sys.argv[1:]
    index = packages(path)
    if what == "load":
        load(index, addresses)
    else:
        compare(index, addresses)


if __name__ == "__main__":
    main()
