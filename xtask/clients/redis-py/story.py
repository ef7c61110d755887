"""Uses a cluster through redis-py's RedisCluster: see ../README.md for what it prints.

    story.py HOST:PORT...
"""

import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError, RedisError, WatchError

TAG = "{redis-py}"
SCRIPT = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}"
PATIENCE_S = 30


def main():
    nodes = [ClusterNode(h, int(p)) for h, p in (a.rsplit(":", 1) for a in sys.argv[1:])]
    client = RedisCluster(startup_nodes=nodes, decode_responses=True, protocol=3)
    did("connect", client.ping(target_nodes=RedisCluster.ALL_NODES) is not False)
    for step in (keys, pipeline, transaction, messages, sharded_messages, script):
        step(client)
        did(step.__name__, True)
    readers = RedisCluster(startup_nodes=nodes, decode_responses=True, read_from_replicas=True)
    for number in range(100):
        wait_for(lambda: readers.get(f"redis-py:{number}") == str(number))
    did("replicas", True)
    takeover(client)
    did("takeover", True)
    print("story: ok", flush=True)


def did(step, good):
    assert good, step
    print(f"did {step}", flush=True)


def wait_for(holds):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.01)


def keys(client):
    for number in range(200):
        assert client.set(f"redis-py:{number}", number)
    for number in range(200):
        assert client.get(f"redis-py:{number}") == str(number)
    assert client.mset({f"{TAG}a": 1, f"{TAG}b": 2})
    assert client.mget(f"{TAG}a", f"{TAG}b", f"{TAG}none") == ["1", "2", None]


def pipeline(client):
    pipe = client.pipeline()
    for number in range(100):
        pipe.incr(f"redis-py:p{number}")
    assert pipe.execute() == [1] * 100


def transaction(client):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(f"{TAG}t", 1).incr(f"{TAG}t").get(f"{TAG}t")
        assert pipe.execute() == [True, 2, "2"]
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(f"{TAG}t")
        client.set(f"{TAG}t", 9)
        pipe.multi()
        pipe.incr(f"{TAG}t")
        try:
            pipe.execute()
            raise SystemExit("a watched key was changed, and EXEC went on")
        except WatchError:
            pass
    assert client.get(f"{TAG}t") == "9"


def messages(client):
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("redis-py:news")
    listener.get_message(timeout=1)
    got = []

    def heard():
        client.publish("redis-py:news", "hello")
        message = listener.get_message(timeout=0.1)
        got.append(message and message["data"])
        return got[-1] == "hello"

    wait_for(heard)
    listener.close()


def sharded_messages(client):
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.ssubscribe(f"{TAG}news")

    def heard():
        client.spublish(f"{TAG}news", "hello")
        message = listener.get_sharded_message(timeout=0.1)
        return bool(message) and message["data"] == "hello"

    wait_for(heard)
    listener.close()


def script(client):
    key = f"{TAG}counter"
    assert client.eval(SCRIPT, 1, key, 5) == [key, 5]
    sha = client.script_load(SCRIPT)
    assert client.evalsha(sha, 1, key, 5) == [key, 10]
    client.script_flush()
    try:
        client.evalsha(sha, 1, key, 5)
        raise SystemExit("a script outlived SCRIPT FLUSH")
    except NoScriptError:
        pass


def takeover(client):
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    print(f"takeover {TAG}", flush=True)
    acked, number, left = [], 0, 200
    until = time.monotonic() + PATIENCE_S
    while left > 0:
        assert time.monotonic() < until, "no write is acknowledged any more"
        try:
            assert client.set(f"{TAG}{number}", number)
            acked.append(number)
            left -= over.is_set()
        except RedisError:
            time.sleep(0.01)
        number += 1
    for number in acked:
        assert client.get(f"{TAG}{number}") == str(number), f"write {number} was lost"
    print(f"acked {len(acked)} of {number + 1}", flush=True)


if __name__ == "__main__":
    main()
