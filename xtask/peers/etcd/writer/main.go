// Writer puts keys through etcd's own client, one connection for all endpoints, and says of each
// put what became of it. It is one client for both sides of a comparison.
//
//	writer PREFIX ENDPOINT...
//
// It writes `ack N` (microseconds since 1970) or `err N TEXT` per put until its standard input
// ends, reads everything back, and ends with `lost COUNT of ACKNOWLEDGED`.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	workers = 4
	// Between two puts of a worker.
	rest = 5 * time.Millisecond
	// A client that waits longer would hide that others are answered.
	patience = 250 * time.Millisecond
	// How long the directory may refuse to be read at the end.
	readBack = 60 * time.Second
)

type writer struct {
	client *clientv3.Client
	prefix string
	stop   atomic.Bool
	lock   sync.Mutex
	out    *bufio.Writer
	acked  map[string]bool
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: writer PREFIX ENDPOINT...")
		os.Exit(2)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   os.Args[2:],
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := &writer{client: client, prefix: os.Args[1], acked: map[string]bool{}}
	w.out = bufio.NewWriter(os.Stdout)
	var all sync.WaitGroup
	for number := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			w.work(number)
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	w.stop.Store(true)
	all.Wait()
	if err := w.readAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (w *writer) work(number int) {
	for count := 0; !w.stop.Load(); count++ {
		key := fmt.Sprintf("%s/%d/%d", w.prefix, number, count)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := w.client.Put(ctx, key, "x")
		cancel()
		w.say(key, err)
		time.Sleep(rest)
	}
}

func (w *writer) say(key string, err error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	now := time.Now().UnixMicro()
	if err == nil {
		w.acked[key] = true
		fmt.Fprintf(w.out, "ack %d\n", now)
	} else {
		fmt.Fprintf(w.out, "err %d %s\n", now, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	w.out.Flush()
}

func (w *writer) readAll() error {
	until := time.Now().Add(readBack)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		answer, err := w.client.Get(ctx, w.prefix+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		cancel()
		if err == nil {
			there := map[string]bool{}
			for _, pair := range answer.Kvs {
				there[string(pair.Key)] = true
			}
			lost := 0
			for key := range w.acked {
				if !there[key] {
					lost++
				}
			}
			fmt.Fprintf(w.out, "lost %d of %d\n", lost, len(w.acked))
			return w.out.Flush()
		}
		if time.Now().After(until) {
			return fmt.Errorf("nothing could be read back: %w", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
