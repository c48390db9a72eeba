package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func TestScratch(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	addr := l.Addr().String()
	l.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for range 2 {
		s, err := New(Config{Name: "w1", Cluster: "edge", DataDir: os.TempDir() + "/scratchdir", ListenClient: []string{"http://" + addr}, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		start := time.Now()
		done := make(chan error)
		ready := make(chan bool)
		go func() { done <- s.Run(ctx, func() { close(ready) }) }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatal(err)
		}
		fmt.Println("ready", time.Since(start))
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + addr}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		c.Put(ctx, "a", "b")
		fmt.Println("first put", time.Since(start))
		start = time.Now()
		for range 100 {
			c.Put(ctx, "a", "b")
		}
		fmt.Println("put", time.Since(start)/100)
		w := c.Watch(ctx, "a")
		c.Put(ctx, "a", "b")
		<-w
		start = time.Now()
		cancel()
		fmt.Println(<-done)
		fmt.Println("stop", time.Since(start))
		c.Close()
	}
	b, _ := os.ReadFile("/proc/self/status")
	fmt.Println(string(b))
}
