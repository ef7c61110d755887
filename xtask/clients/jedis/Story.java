// Uses a cluster through Jedis: see ../README.md for what it prints.
//
//     java -cp 'FOLDER/*' Story.java HOST:PORT...

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import redis.clients.jedis.ClusterPipeline;
import redis.clients.jedis.Connection;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.JedisShardedPubSub;
import redis.clients.jedis.RedisClusterClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.exceptions.JedisException;
import redis.clients.jedis.exceptions.JedisNoScriptException;
import redis.clients.jedis.util.JedisClusterCRC16;

class Story {
    static final String TAG = "{jedis}";
    static final String SCRIPT = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";
    static final long PATIENCE_MS = 30_000;

    public static void main(String[] addresses) throws Exception {
        Set<HostAndPort> nodes = new HashSet<>();
        for (String address : addresses) nodes.add(HostAndPort.from(address));
        for (RedisProtocol protocol : List.of(RedisProtocol.RESP2, RedisProtocol.RESP3)) {
            try (RedisClusterClient client = client(nodes, protocol)) {
                client.flushAll();
                same(client.getClusterNodes().size() >= nodes.size() / 2, true);
                did("connect " + protocol);
                keys(client);
                did("keys " + protocol);
                pipeline(client);
                did("pipeline " + protocol);
                transaction(client);
                did("transaction " + protocol);
                messages(client);
                did("messages " + protocol);
                shardedMessages(client);
                did("sharded messages " + protocol);
                script(client);
                did("script " + protocol);
            }
        }
        try (RedisClusterClient client = client(nodes, RedisProtocol.RESP3)) {
            takeover(client);
            did("takeover");
        }
        System.out.println("story: ok");
        System.exit(0);
    }

    static RedisClusterClient client(Set<HostAndPort> nodes, RedisProtocol protocol) {
        var config = DefaultJedisClientConfig.builder().protocol(protocol).build();
        return RedisClusterClient.builder().nodes(nodes).clientConfig(config).build();
    }

    static void did(String step) {
        System.out.println("did " + step);
    }

    static void same(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) throw new AssertionError(got + " and not " + wanted);
    }

    static void waitFor(BooleanSupplier holds) throws Exception {
        long until = System.currentTimeMillis() + PATIENCE_MS;
        while (!holds.getAsBoolean()) {
            if (System.currentTimeMillis() > until) throw new AssertionError("it took too long");
            Thread.sleep(10);
        }
    }

    static void keys(RedisClusterClient client) {
        for (int n = 0; n < 200; n++) same(client.set("jedis:" + n, "" + n), "OK");
        for (int n = 0; n < 200; n++) same(client.get("jedis:" + n), "" + n);
        same(client.mset(TAG + "a", "1", TAG + "b", "2"), "OK");
        List<String> got = client.mget(TAG + "a", TAG + "b", TAG + "none");
        same(got.get(0) + got.get(1) + got.get(2), "12null");
    }

    static void pipeline(RedisClusterClient client) {
        List<Response<Long>> done = new ArrayList<>();
        try (ClusterPipeline pipe = client.pipelined()) {
            for (int n = 0; n < 100; n++) done.add(pipe.incr("jedis:p" + n));
        }
        for (Response<Long> response : done) same(response.get(), 1L);
    }

    static void transaction(RedisClusterClient client) {
        String key = TAG + "t";
        // In a cluster Jedis keeps transactions to the connection of one slot.
        int slot = JedisClusterCRC16.getSlot(key);
        try (Connection connection = client.getConnectionFromSlot(slot);
                Transaction one = new Transaction(connection)) {
            one.set(key, "1");
            Response<Long> next = one.incr(key);
            Response<String> value = one.get(key);
            same(one.exec().size(), 3);
            same(next.get() + value.get(), "22");
        }
        try (Connection connection = client.getConnectionFromSlot(slot);
                Transaction two = new Transaction(connection, false)) {
            two.watch(key);
            client.set(key, "9");
            two.multi();
            two.incr(key);
            same(two.exec(), null);
        }
        same(client.get(key), "9");
    }

    static void messages(RedisClusterClient client) throws Exception {
        AtomicBoolean heard = new AtomicBoolean();
        JedisPubSub listener = new JedisPubSub() {
            @Override
            public void onMessage(String channel, String message) {
                heard.set(heard.get() || message.equals("hello"));
            }
        };
        Thread thread = new Thread(() -> client.subscribe(listener, "jedis:news"));
        thread.start();
        waitFor(() -> {
            client.publish("jedis:news", "hello");
            return heard.get();
        });
        listener.unsubscribe();
        thread.join();
    }

    static void shardedMessages(RedisClusterClient client) throws Exception {
        AtomicBoolean heard = new AtomicBoolean();
        JedisShardedPubSub listener = new JedisShardedPubSub() {
            @Override
            public void onSMessage(String channel, String message) {
                heard.set(heard.get() || message.equals("hello"));
            }
        };
        Thread thread = new Thread(() -> client.ssubscribe(listener, TAG + "news"));
        thread.start();
        waitFor(() -> {
            client.spublish(TAG + "news", "hello");
            return heard.get();
        });
        listener.sunsubscribe();
        thread.join();
    }

    static void script(RedisClusterClient client) {
        String key = TAG + "counter";
        same(client.eval(SCRIPT, List.of(key), List.of("5")), List.of(key, 5L));
        String sha = client.scriptLoad(SCRIPT, key);
        same(client.evalsha(sha, List.of(key), List.of("5")), List.of(key, 10L));
        client.scriptFlush(key);
        try {
            client.evalsha(sha, List.of(key), List.of("5"));
            throw new AssertionError("a script outlived SCRIPT FLUSH");
        } catch (JedisNoScriptException gone) {
            same(client.get(key), "10");
        }
    }

    static void takeover(RedisClusterClient client) throws Exception {
        AtomicBoolean over = new AtomicBoolean();
        Thread reader = new Thread(() -> {
            try {
                System.in.read();
            } catch (java.io.IOException closed) {
                // Then it is over, too.
            }
            over.set(true);
        });
        reader.setDaemon(true);
        reader.start();
        System.out.println("takeover " + TAG);
        List<Integer> acked = new ArrayList<>();
        long until = System.currentTimeMillis() + PATIENCE_MS;
        int number = 0;
        for (int left = 200; left > 0; number++) {
            if (System.currentTimeMillis() > until) throw new AssertionError("no write is acknowledged");
            try {
                same(client.set(TAG + number, "" + number), "OK");
                acked.add(number);
                if (over.get()) left--;
            } catch (JedisException again) {
                Thread.sleep(10);
            }
        }
        for (int one : acked) same(client.get(TAG + one), "" + one);
        System.out.println("acked " + acked.size() + " of " + number);
    }
}
