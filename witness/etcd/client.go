package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/solovip/solovip/witness"
)

// Config says which etcd, and whose records.
type Config struct {
	// Endpoints are http:// or https:// URLs with host and port, the preferred one first.
	Endpoints []string
	// CAFile is the CA that signed the witness's certificate; empty: the system's CAs.
	CAFile string
	// CertFile and KeyFile are the certificate that this node shows, both or neither. They are
	// read again for each connection, so that renewing them needs no restart.
	CertFile, KeyFile string
	// Cluster is the name of the cluster block: the records lie below witness.Prefix.
	Cluster string
	// Timeout bounds one transaction, connecting included. A shorter deadline of the
	// caller's context counts as well.
	Timeout time.Duration
	Logger  *slog.Logger
}

const (
	// backoffMin and backoffMax bound the pause between two attempts to connect. The second one
	// bounds how long after its return a witness goes unnoticed.
	backoffMin = 100 * time.Millisecond
	backoffMax = 500 * time.Millisecond
	// connectMin bounds one attempt to connect, unless Timeout is longer: a lost SYN is
	// repeated by the kernel after a whole second, by a new attempt sooner.
	connectMin = 500 * time.Millisecond
	// silence is how long sent data may stay unacknowledged (TCP_USER_TIMEOUT) before the connection is
	// given up. Otherwise, when packets get through again, the kernel would go on waiting about as
	// long as they did not.
	silence = time.Second
	// pingEvery is for a connection on which nothing is sent; gRPC allows no less.
	pingEvery = 10 * time.Second
	// maxAnswer bounds the answer to one transaction, in bytes.
	maxAnswer = 64 << 20
)

// Client talks to one etcd by one of its endpoints at a time. It stays with an
// endpoint as long as that answers. Safe for concurrent use.
type Client struct {
	prefix    string
	timeout   time.Duration
	log       *slog.Logger
	endpoints []endpoint

	mu      sync.Mutex      // guards all below
	current int             // index of the endpoint in use
	moved   chan struct{}   // closed when current changes
	bad     map[string]bool // keys of the records that did not parse last time
}

type endpoint struct {
	url    string
	client *clientv3.Client
}

// New checks the configuration and its files. It does not connect, so it works while the
// witness is down. Close the Client when done.
func New(cfg Config) (*Client, error) {
	if cfg.Cluster == "" || cfg.Timeout <= 0 || cfg.Logger == nil {
		return nil, errors.New("witness client: cluster, timeout and logger are needed")
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("witness: no endpoints")
	}
	tlsConfig, err := loadTLS(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{
		prefix:  witness.Prefix(cfg.Cluster),
		timeout: cfg.Timeout,
		log:     cfg.Logger,
		moved:   make(chan struct{}),
	}
	for _, e := range cfg.Endpoints {
		client, err := dial(e, tlsConfig, cfg.Timeout)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.endpoints = append(c.endpoints, endpoint{e, client})
	}
	return c, nil
}

// Close ends all connections. Calls under way end with an error.
func (c *Client) Close() {
	for _, e := range c.endpoints {
		_ = e.client.Close() // always the error that its context was cancelled: we did that
	}
}

// dial prepares a connection to one endpoint. Each has its own, so that it is known
// which one a transaction went to and whether it left at all.
func dial(rawURL string, tlsConfig *tls.Config, timeout time.Duration) (*clientv3.Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("witness endpoint %q: %w", rawURL, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("witness endpoint %q: want http:// or https://", rawURL)
	}
	if host, port, err := net.SplitHostPort(u.Host); err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("witness endpoint %q: want a host and a port, as in https://10.0.0.13:2379", rawURL)
	}
	if u.Scheme == "http" {
		tlsConfig = nil
	}
	connect := backoff.Config{BaseDelay: backoffMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{u.Scheme + "://" + u.Host},
		TLS:                  tlsConfig,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: silence,
		// A transaction must be sent once. (Zero would mean a hundred times.)
		MaxUnaryRetries: 1,
		// Its log lines repeat the errors that Do returns.
		Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: connect, MinConnectTimeout: max(connectMin, timeout)}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
			// The witness is never behind the web proxy of somebody's shell.
			grpc.WithNoProxy(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("witness endpoint %q: %w", rawURL, err)
	}
	return client, nil
}

// loadTLS reads the files once to find mistakes in them now.
func loadTLS(cfg Config) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca_file %s: no certificate in it: it must hold PEM text", cfg.CAFile)
		}
	}
	if cfg.CertFile == "" && cfg.KeyFile == "" {
		return t, nil
	}
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, errors.New("witness: cert_file and cert_key_file go together: give both or neither")
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read cert_file %s with cert_key_file %s: %w", cfg.CertFile, cfg.KeyFile, err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return t, nil
}

// endpoint returns the endpoint in use, its index, and a channel that is closed when
// another one comes into use.
func (c *Client) endpoint() (endpoint, int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpoints[c.current], c.current, c.moved
}

// leave goes on to the next endpoint, unless somebody has already left this one.
func (c *Client) leave(index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index != c.current || len(c.endpoints) == 1 {
		return
	}
	c.current = (c.current + 1) % len(c.endpoints)
	close(c.moved)
	c.moved = make(chan struct{})
}
