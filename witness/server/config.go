package server

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Listeners returns those of the endpoints that are at one of the host's addresses: where
// a witness on this host has to listen. It is an error when there is none.
func Listeners(endpoints []string, host []netip.Addr) ([]string, error) {
	var own []string
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil {
			return nil, fmt.Errorf("endpoint %q: %w", e, err)
		}
		a, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			continue // a host name: never this witness's, which listens on an address
		}
		if slices.ContainsFunc(host, func(h netip.Addr) bool { return h.Unmap() == a.Unmap() }) {
			own = append(own, e)
		}
	}
	if own == nil {
		return nil, fmt.Errorf("none of the endpoints %s is at an address of this host (%s): "+
			"the endpoint of a witness that solovip runs is the witness's own IP address, as in https://10.0.0.13:2379",
			strings.Join(endpoints, " "), join(host))
	}
	return own, nil
}

func join(addrs []netip.Addr) string {
	s := make([]string, len(addrs))
	for i, a := range addrs {
		s[i] = a.String()
	}
	return strings.Join(s, " ")
}

// parseListen checks where and with which certificates to listen.
func parseListen(cfg Config) ([]url.URL, error) {
	if len(cfg.ListenClient) == 0 {
		return nil, errors.New("witness server: no URL to listen on")
	}
	var urls []url.URL
	for _, l := range cfg.ListenClient {
		u, err := url.Parse(l)
		if err != nil {
			return nil, fmt.Errorf("listen on %q: %w", l, err)
		}
		if _, err := netip.ParseAddrPort(u.Host); err != nil || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("listen on %q: want http:// or https://, an IP address and a port, as in https://10.0.0.13:2379", l)
		}
		urls = append(urls, url.URL{Scheme: u.Scheme, Host: u.Host})
	}
	if secure(urls) {
		return urls, checkFiles(cfg)
	}
	return urls, nil
}

func secure(urls []url.URL) bool {
	return slices.ContainsFunc(urls, func(u url.URL) bool { return u.Scheme == "https" })
}

func checkFiles(cfg Config) error {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return fmt.Errorf("listen on %s: https needs the witness's own cert_file and cert_key_file", strings.Join(cfg.ListenClient, " "))
	}
	if _, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile); err != nil {
		return fmt.Errorf("read cert_file %s with cert_key_file %s: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	if cfg.CAFile == "" {
		return errors.New("https without ca_file: name the CA that signs the nodes' certificates, or anybody may write to the witness")
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return fmt.Errorf("read ca_file: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("read ca_file %s: no certificate in it: it must hold PEM text", cfg.CAFile)
	}
	return nil
}

// etcdConfig is made anew for each start: StartEtcd keeps and changes what it is given.
func (s *Server) etcdConfig() *embed.Config {
	c := embed.NewConfig()
	c.Name = s.cfg.Name
	c.Dir = s.cfg.DataDir

	// A lone member talks to no peer. Its peer URL is a part of its identity and no more.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	c.InitialCluster = c.InitialClusterFromName(s.cfg.Name)
	// The cluster id is made from the peer URL and this token, once, when the data directory is
	// new. With a fixed token a witness that lost its data would look like the one before.
	c.InitialClusterToken = rand.Text()

	// Alone it elects itself, and serves, after at most two election timeouts.
	c.TickMs, c.ElectionMs = 20, 100

	c.ListenClientUrls = s.urls
	c.AdvertiseClientUrls = s.urls
	c.ListenClientHttpUrls = []url.URL{{Scheme: "unix", Path: filepath.Join(s.cfg.DataDir, httpSocket)}}
	c.EnableGRPCGateway = false
	if secure(s.urls) {
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: s.cfg.CertFile, KeyFile: s.cfg.KeyFile,
			TrustedCAFile: s.cfg.CAFile, ClientCertAuth: true,
		}
	}
	// A node that vanished without a word keeps a connection and a watch: drop them.
	c.GRPCKeepAliveInterval = 10 * time.Second
	c.GRPCKeepAliveTimeout = 5 * time.Second

	c.QuotaBackendBytes = s.cfg.QuotaBytes
	// Only the newest version of a record is ever read; watchers that fall behind list anew.
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = "1000"
	c.SnapshotCount = 5000
	c.SnapshotCatchUpEntries = 100
	c.MaxWalFiles = 2
	c.MaxSnapFiles = 2
	c.MaxTxnOps = 1024 // a node may renew, take and release many claims at once
	c.AuthToken = ""   // no passwords: TLS only

	c.ServiceRegister = func(g *grpc.Server) {
		s.mu.Lock()
		s.grpc = append(s.grpc, g)
		s.mu.Unlock()
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(s.zapLogger())
	return c
}
