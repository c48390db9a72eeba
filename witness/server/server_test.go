package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/port"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func freeURL(t *testing.T) string {
	t.Helper()
	return "http://" + port.Hold(t, "127.0.0.1").String()
}

// running is a Server under test.
type running struct {
	done  chan struct{} // closed when Run has ended and err is set
	err   error
	ready chan struct{}
	stop  context.CancelFunc
}

func run(t *testing.T, cfg Config) *running {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{done: make(chan struct{}), ready: make(chan struct{}), stop: cancel}
	go func() {
		r.err = s.Run(ctx, func() { close(r.ready) })
		close(r.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

// end waits for the end of Run and returns its error.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		t.Fatal("the witness did not end")
		return nil
	}
}

func (r *running) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-r.ready:
	case <-r.done:
		t.Fatalf("the witness ended: %v", r.err)
	case <-time.After(patience):
		t.Fatal("the witness is not ready")
	}
}

func (r *running) halt(t *testing.T) {
	t.Helper()
	r.stop()
	if err := r.end(t); err != nil {
		t.Fatalf("Run after its context ended = %v, want nil", err)
	}
}

func config(t *testing.T, l *await.Log) Config {
	t.Helper()
	return Config{Name: "w1", Cluster: "edge", DataDir: filepath.Join(t.TempDir(), "w"), ListenClient: []string{freeURL(t)}, Logger: l.Logger()}
}

func dial(t *testing.T, url string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestServesAndKeeps(t *testing.T) {
	l := &await.Log{}
	cfg := config(t, l)
	r := run(t, cfg)
	r.waitReady(t)
	put, err := dial(t, cfg.ListenClient[0]).Put(within(t), "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	r.halt(t)

	r = run(t, cfg)
	r.waitReady(t)
	get, err := dial(t, cfg.ListenClient[0]).Get(within(t), "k")
	if err != nil {
		t.Fatal(err)
	}
	if get.Header.ClusterId != put.Header.ClusterId || len(get.Kvs) != 1 || get.Kvs[0].ModRevision != put.Header.Revision {
		t.Errorf("after a restart: cluster %x, records %v; want cluster %x and revision %d",
			get.Header.ClusterId, get.Kvs, put.Header.ClusterId, put.Header.Revision)
	}
	r.halt(t)
	if strings.Contains(l.String(), "level=ERROR") {
		t.Errorf("a healthy life must not log errors:\n%s", l)
	}
	if !strings.Contains(l.String(), "without TLS") {
		t.Errorf("http:// must be warned about:\n%s", l)
	}
}

// A witness that lost its data must not look like the one before, or a node would trust records
// that are gone to say that nobody holds anything.
func TestWipedIsAnother(t *testing.T) {
	cfg := config(t, &await.Log{})
	var ids []uint64
	for range 2 {
		r := run(t, cfg)
		r.waitReady(t)
		get, err := dial(t, cfg.ListenClient[0]).Get(within(t), "k")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, get.Header.ClusterId)
		r.halt(t)
		// Only etcd's part: an operator who clears that by hand must not fool the nodes either.
		if err := os.RemoveAll(filepath.Join(cfg.DataDir, etcdDir)); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] == ids[1] {
		t.Errorf("cluster id %x again after the data was wiped", ids[0])
	}
}

func TestTwoOnOneHost(t *testing.T) {
	a, b := run(t, config(t, &await.Log{})), run(t, config(t, &await.Log{}))
	a.waitReady(t)
	b.waitReady(t)
}

func TestRefusesDirectory(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, cfg Config)
		want    string
	}{
		{"something else in it", func(t *testing.T, cfg Config) {
			t.Helper()
			write(t, filepath.Join(cfg.DataDir, "passwd"), "root")
		}, "is not empty (passwd)"},
		{"data of another etcd", func(t *testing.T, cfg Config) {
			t.Helper()
			write(t, filepath.Join(cfg.DataDir, etcdDir, "snap", "db"), "")
		}, "holds the data of an etcd that is not a solovip witness"},
		{"another cluster", func(t *testing.T, cfg Config) {
			t.Helper()
			cfg.Cluster = "core"
			r := run(t, cfg)
			r.waitReady(t)
			r.halt(t)
		}, `belongs to cluster "core", not "edge"`},
		{"in use", func(t *testing.T, cfg Config) {
			t.Helper()
			cfg.ListenClient = []string{freeURL(t)}
			run(t, cfg).waitReady(t)
		}, "is in use by another witness"},
		{"a file", func(t *testing.T, cfg Config) {
			t.Helper()
			write(t, cfg.DataDir, "")
		}, "not a directory"},
		{"damaged database", func(t *testing.T, cfg Config) {
			t.Helper()
			used(t, cfg)
			scribble(t, filepath.Join(cfg.DataDir, etcdDir, "snap", "db"))
		}, "if the data is damaged"},
		{"truncated database", func(t *testing.T, cfg Config) {
			t.Helper()
			used(t, cfg)
			if err := os.Truncate(filepath.Join(cfg.DataDir, etcdDir, "snap", "db"), 12<<10); err != nil {
				t.Fatal(err)
			}
		}, "if the data is damaged"},
		{"damaged log", func(t *testing.T, cfg Config) {
			t.Helper()
			used(t, cfg)
			files, err := filepath.Glob(filepath.Join(cfg.DataDir, etcdDir, "wal", "*.wal"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			falsify(t, files[0])
		}, "if the data is damaged"},
		{"database gone", func(t *testing.T, cfg Config) {
			t.Helper()
			used(t, cfg)
			if err := os.Remove(filepath.Join(cfg.DataDir, etcdDir, "snap", "db")); err != nil {
				t.Fatal(err)
			}
		}, "db is missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t, &await.Log{})
			test.prepare(t, cfg)
			err := run(t, cfg).end(t)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), cfg.DataDir) {
				t.Errorf("Run = %v\nwant an error with %q that names the directory", err, test.want)
			}
			t.Log(err)
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// used leaves a data directory as a witness does that has been at work.
func used(t *testing.T, cfg Config) {
	t.Helper()
	r := run(t, cfg)
	r.waitReady(t)
	c := dial(t, cfg.ListenClient[0])
	for i := range 100 {
		if _, err := c.Put(within(t), fmt.Sprint("k", i), strings.Repeat("v", 100)); err != nil {
			t.Fatal(err)
		}
	}
	r.halt(t)
}

// scribble overwrites the beginning of a file but for its first 512 bytes.
func scribble(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 16<<10), 512); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// falsify changes one byte of a value in a file.
func falsify(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("vvvv"))
	if i < 0 {
		t.Fatal("no value in " + path)
	}
	b[i] = 'X'
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWaitsForItsPort(t *testing.T) {
	l := &await.Log{}
	cfg := config(t, l)
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.TrimPrefix(cfg.ListenClient[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, cfg)
	await.That(t, "it says that it cannot listen", func() bool { return strings.Contains(l.String(), "cannot listen yet") })
	if !strings.Contains(l.String(), "address already in use") {
		t.Errorf("the log must say why:\n%s", l)
	}
	_ = other.Close()
	r.waitReady(t)
}

func TestStopsWhileWaitingForItsPort(t *testing.T) {
	l := &await.Log{}
	cfg := config(t, l)
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.TrimPrefix(cfg.ListenClient[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	r := run(t, cfg)
	await.That(t, "it says that it cannot listen", func() bool { return strings.Contains(l.String(), "cannot listen yet") })
	r.halt(t)
}

// The metrics socket is for `curl --unix-socket`; the port that nodes use serves gRPC only.
func TestMetricsSocket(t *testing.T) {
	cfg := config(t, &await.Log{})
	r := run(t, cfg)
	r.waitReady(t)
	c, err := new(net.Dialer).DialContext(within(t), "unix", filepath.Join(cfg.DataDir, httpSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /health HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), `"health":"true"`) {
		t.Errorf("GET /health = %q, %v", answer, err)
	}
}

func TestListeners(t *testing.T) {
	host := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.13"), netip.MustParseAddr("fd00::13")}
	tests := []struct {
		name      string
		endpoints []string
		want      string
		err       string
	}{
		{"the own one of three", []string{"https://10.0.0.11:2379", "https://10.0.0.13:2379", "https://10.0.0.12:2379"}, "https://10.0.0.13:2379", ""},
		{"two of its addresses", []string{"https://10.0.0.13:2379", "https://[fd00::13]:2379"}, "https://10.0.0.13:2379 https://[fd00::13]:2379", ""},
		{"none", []string{"https://10.0.0.14:2379"}, "", "none of the endpoints https://10.0.0.14:2379 is at an address of this host (127.0.0.1 ::ffff:10.0.0.13 fd00::13)"},
		{"a name", []string{"https://w1.example:2379"}, "", "none of the endpoints"},
		{"no URL", []string{"https://10.0.0.13:port"}, "", `endpoint "https://10.0.0.13:port"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Listeners(test.endpoints, host)
			if strings.Join(got, " ") != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Listeners = %v, %v; want %q, %q", got, err, test.want, test.err)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty.pem"), "")
	good := Config{Name: "w1", Cluster: "edge", DataDir: dir, ListenClient: []string{"http://127.0.0.1:2379"}, Logger: slog.Default()}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no name", func(c *Config) { c.Name = "" }, "name, cluster"},
		{"long path", func(c *Config) { c.DataDir = "/" + strings.Repeat("d", 100) }, "longer than 90 bytes"},
		{"nothing to listen on", func(c *Config) { c.ListenClient = nil }, "no URL"},
		{"a host name", func(c *Config) { c.ListenClient = []string{"http://w1:2379"} }, `"http://w1:2379": want`},
		{"no port", func(c *Config) { c.ListenClient = []string{"http://10.0.0.13"} }, `"http://10.0.0.13": want`},
		{"no scheme", func(c *Config) { c.ListenClient = []string{"10.0.0.13:2379"} }, "10.0.0.13:2379"},
		{"https without certificate", func(c *Config) { c.ListenClient = []string{"https://10.0.0.13:2379"} }, "https needs the witness's own cert_file and cert_key_file"},
		{"missing certificate", func(c *Config) {
			c.ListenClient = []string{"https://10.0.0.13:2379"}
			c.CertFile, c.KeyFile = filepath.Join(dir, "no.pem"), filepath.Join(dir, "no-key.pem")
		}, "no.pem: no such file"},
		{"empty certificate", func(c *Config) {
			c.ListenClient = []string{"https://10.0.0.13:2379"}
			c.CertFile, c.KeyFile = filepath.Join(dir, "empty.pem"), filepath.Join(dir, "empty.pem")
		}, "read cert_file " + dir + "/empty.pem"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New = %v, want an error with %q", err, test.want)
			}
		})
	}
}
