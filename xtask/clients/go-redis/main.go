// Uses a cluster through go-redis: see ../README.md for what it prints.
//
//	go-redis-story HOST:PORT...
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	tag      = "{go-redis}"
	script   = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}"
	patience = 30 * time.Second
)

type step struct {
	name string
	tell func(context.Context, *redis.ClusterClient) error
}

func main() {
	ctx := context.Background()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: os.Args[1:],
		// A refused connection does not make this library ask for the routes again, and a dead
		// master sends no MOVED: what is left is this interval, a minute if nothing is said.
		ClusterStateReloadInterval: time.Second,
	})
	steps := []step{
		{"connect", connect}, {"keys", keys}, {"pipeline", pipeline}, {"transaction", transaction},
		{"messages", messages}, {"sharded_messages", shardedMessages}, {"script", scripts},
		{"replicas", replicas}, {"takeover", takeover},
	}
	for _, step := range steps {
		if err := step.tell(ctx, client); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", step.name, err)
			os.Exit(1)
		}
		fmt.Println("did", step.name)
	}
	fmt.Println("story: ok")
}

// same says what differs.
func same(got, wanted any) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("got %#v and not %#v", got, wanted)
	}
	return nil
}

func waitFor(holds func() bool) error {
	for until := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			return errors.New("it took too long")
		}
	}
	return nil
}

func connect(ctx context.Context, client *redis.ClusterClient) error {
	return client.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
		return node.Ping(ctx).Err()
	})
}

func keys(ctx context.Context, client *redis.ClusterClient) error {
	for n := range 200 {
		if err := client.Set(ctx, fmt.Sprintf("go-redis:%d", n), n, 0).Err(); err != nil {
			return err
		}
	}
	for n := range 200 {
		got, err := client.Get(ctx, fmt.Sprintf("go-redis:%d", n)).Int()
		if err != nil || got != n {
			return fmt.Errorf("key %d is %d: %w", n, got, err)
		}
	}
	if err := client.MSet(ctx, tag+"a", 1, tag+"b", 2).Err(); err != nil {
		return err
	}
	got := client.MGet(ctx, tag+"a", tag+"b", tag+"none").Val()
	return same(got, []any{"1", "2", nil})
}

func pipeline(ctx context.Context, client *redis.ClusterClient) error {
	done, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n := range 100 {
			pipe.Incr(ctx, fmt.Sprintf("go-redis:p%d", n))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, command := range done {
		if err := same(command.(*redis.IntCmd).Val(), int64(1)); err != nil {
			return err
		}
	}
	return same(len(done), 100)
}

func transaction(ctx context.Context, client *redis.ClusterClient) error {
	key := tag + "t"
	done, err := client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, key, 1, 0)
		pipe.Incr(ctx, key)
		pipe.Get(ctx, key)
		return nil
	})
	if err != nil {
		return err
	}
	if err := same(done[2].(*redis.StringCmd).Val(), "2"); err != nil {
		return err
	}
	err = client.Watch(ctx, func(tx *redis.Tx) error {
		if err := client.Set(ctx, key, 9, 0).Err(); err != nil {
			return err
		}
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, key)
			return nil
		})
		return err
	}, key)
	if !errors.Is(err, redis.TxFailedErr) {
		return fmt.Errorf("a watched key was changed, and EXEC went on: %w", err)
	}
	return same(client.Get(ctx, key).Val(), "9")
}

func messages(ctx context.Context, client *redis.ClusterClient) error {
	listener := client.Subscribe(ctx, "go-redis:news")
	defer listener.Close()
	return heard(listener, func() error { return client.Publish(ctx, "go-redis:news", "hello").Err() })
}

func shardedMessages(ctx context.Context, client *redis.ClusterClient) error {
	listener := client.SSubscribe(ctx, tag+"news")
	defer listener.Close()
	return heard(listener, func() error { return client.SPublish(ctx, tag+"news", "hello").Err() })
}

func heard(listener *redis.PubSub, publish func() error) error {
	var failed error
	err := waitFor(func() bool {
		if failed = publish(); failed != nil {
			return true
		}
		select {
		case message := <-listener.Channel():
			return message.Payload == "hello"
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
	return errors.Join(failed, err)
}

func scripts(ctx context.Context, client *redis.ClusterClient) error {
	key, add := tag+"counter", redis.NewScript(script)
	for turn := range int64(3) {
		// Sent by its hash, and whole where a node does not know it.
		got, err := add.Run(ctx, client, []string{key}, 5).Result()
		if err != nil {
			return err
		}
		if err := same(got, []any{key, 5 * (turn + 1)}); err != nil {
			return err
		}
		if err := client.ScriptFlush(ctx).Err(); err != nil {
			return err
		}
	}
	return nil
}

func replicas(ctx context.Context, _ *redis.ClusterClient) error {
	readers := redis.NewClusterClient(&redis.ClusterOptions{Addrs: os.Args[1:], ReadOnly: true})
	defer readers.Close()
	for n := range 100 {
		key := fmt.Sprintf("go-redis:%d", n)
		holds := func() bool { return readers.Get(ctx, key).Val() == fmt.Sprint(n) }
		if err := waitFor(holds); err != nil {
			return err
		}
	}
	return nil
}

func takeover(ctx context.Context, client *redis.ClusterClient) error {
	var over atomic.Bool
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		over.Store(true)
	}()
	fmt.Println("takeover", tag)
	var acked []int
	n, until := 0, time.Now().Add(patience)
	for left := 200; left > 0; n++ {
		if time.Now().After(until) {
			return errors.New("no write is acknowledged any more")
		}
		if err := client.Set(ctx, fmt.Sprint(tag, n), n, 0).Err(); err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		acked = append(acked, n)
		if over.Load() {
			left--
		}
	}
	for _, n := range acked {
		got, err := client.Get(ctx, fmt.Sprint(tag, n)).Result()
		if err != nil || strings.TrimSpace(got) != fmt.Sprint(n) {
			return fmt.Errorf("write %d was lost: %q, %w", n, got, err)
		}
	}
	fmt.Printf("acked %d of %d\n", len(acked), n)
	return nil
}
