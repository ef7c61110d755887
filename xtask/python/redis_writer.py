"""Writes through redis-py's RedisCluster until standard input ends, and says what became of it.

    redis_writer.py TAG HOST:PORT...

Prints `ack N` (microseconds since 1970) or `err N TEXT` per write; at the end reads all keys back
and prints `lost COUNT of ACKNOWLEDGED`. All keys are in the slot of TAG.
"""

import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster

KEYS = 100
REST = 0.001


def main():
    tag, *seeds = sys.argv[1:]
    nodes = [ClusterNode(h, int(p)) for h, p in (a.rsplit(":", 1) for a in seeds)]
    client = RedisCluster(startup_nodes=nodes, decode_responses=True)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    # What each key holds: the last acknowledged value, or a later one whose outcome is unknown.
    last, tried, acked = {}, {}, 0
    number = 0
    while not stop.is_set():
        number += 1
        key = f"{{{tag}}}:{number % KEYS}"
        tried[key] = number
        try:
            client.set(key, number)
            last[key] = number
            acked += 1
            print("ack", now_us(), flush=True)
        except Exception as error:
            text = " ".join(f"{type(error).__name__} {error}".split())
            print("err", now_us(), text, flush=True)
        time.sleep(REST)
    lost = 0
    for key, number in last.items():
        found = int(client.get(key) or 0)
        lost += not number <= found <= tried[key]
    print("lost", lost, "of", acked, flush=True)


def now_us():
    return time.time_ns() // 1000


if __name__ == "__main__":
    main()
