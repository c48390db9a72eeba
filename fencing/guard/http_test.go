package guard_test

import (
	"context"
	"net"
	"net/http"
)

// unixTransport makes all HTTP requests by a unix socket.
func unixTransport(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
}
