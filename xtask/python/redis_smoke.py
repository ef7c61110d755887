"""Uses a cluster through redis-py's RedisCluster as an application would, and checks each answer.

    redis_smoke.py HOST:PORT...
"""

import sys

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ResponseError


def main():
    nodes = [ClusterNode(h, int(p)) for h, p in (a.rsplit(":", 1) for a in sys.argv[1:])]
    for protocol in (2, 3):
        client = RedisCluster(startup_nodes=nodes, decode_responses=True, protocol=protocol)
        use(client, f"smoke{protocol}")
    readers = RedisCluster(startup_nodes=nodes, decode_responses=True, read_from_replicas=True)
    for number in range(50):
        readers.get(f"smoke2:{number}")
    print("redis-py: ok")


def use(client, prefix):
    for number in range(200):
        assert client.set(f"{prefix}:{number}", number)
    for number in range(200):
        assert client.get(f"{prefix}:{number}") == str(number)
    pipeline = client.pipeline()
    for number in range(50):
        pipeline.incr(f"{prefix}:{number}")
    assert pipeline.execute() == [number + 1 for number in range(50)]
    tag = f"{{{prefix}}}"
    assert client.mset({f"{tag}a": 1, f"{tag}b": 2})
    assert client.mget(f"{tag}a", f"{tag}b", f"{tag}none") == ["1", "2", None]
    assert client.hset(f"{tag}h", mapping={"x": "1", "y": "2"}) == 2
    assert client.hgetall(f"{tag}h") == {"x": "1", "y": "2"}
    assert client.rpush(f"{tag}l", "a", "b", "c") == 3
    assert client.lrange(f"{tag}l", 0, -1) == ["a", "b", "c"]
    assert client.sadd(f"{tag}s", "a", "b") == 2
    assert client.smembers(f"{tag}s") == {"a", "b"}
    assert client.zadd(f"{tag}z", {"a": 1.5, "b": 2}) == 2
    assert client.zscore(f"{tag}z", "a") == 1.5
    assert client.expire(f"{tag}a", 100)
    assert 0 < client.ttl(f"{tag}a") <= 100
    try:
        client.lpush(f"{tag}h", "x")
        raise SystemExit("LPUSH on a hash was not refused")
    except ResponseError as error:
        assert str(error).startswith("WRONGTYPE"), error
    assert client.delete(f"{tag}a") == 1
    assert client.exists(f"{tag}a") == 0
    assert client.dbsize() > 0
    assert client.flushall()
    assert client.dbsize() == 0


if __name__ == "__main__":
    main()
