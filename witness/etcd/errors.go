package etcd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrRefused says that a transaction did not happen and will not: it was not sent, or
// etcd has turned it away before carrying it out.
var ErrRefused = errors.New("nothing was done")

// errDoubt is said of every other error, for people.
var errDoubt = errors.New("whether it was done is not known")

// hungUp is for a peer that closes instead of saying why. A rejected certificate often looks so: with
// TLS 1.3 the reason arrives after the handshake, when it may already be too late to read it.
const hungUp = "the witness hung up: with https it may not accept this node's certificate: see the witness's log"

// remedies says what to do about an error of which the text contains has. The first match counts.
var remedies = []struct{ has, say string }{ //nolint:gochecknoglobals // a table
	{"space exceeded", "restart solovip-witness, which frees it; on an etcd of your own: compact, defrag and disarm the alarm with etcdctl, and raise --quota-backend-bytes"},
	{"too many operations", "raise etcd's --max-txn-ops"},
	{"permission denied", "grant this node's user (the name in its certificate) readwrite on the prefix /solovip/"},
	{"user name is empty", "etcd wants to know who this is: give cert_file and cert_key_file of a user that etcd knows"},
	{"certificate signed by unknown authority", "ca_file must hold the CA that signed the witness's certificate"},
	{"certificate is valid for", "the witness's certificate must name the address that endpoints has"},
	{"cannot validate certificate for", "the witness's certificate must name the address that endpoints has"},
	{"certificate has expired or is not yet valid", "renew the certificate, or set the clock"},
	{"expired certificate", "renew this node's cert_file, or set the witness's clock"},
	{"certificate required", "the witness wants a certificate from this node: give cert_file and cert_key_file"},
	{"bad certificate", "the witness does not accept this node's certificate: it must be signed by the witness's ca_file"},
	{"unknown certificate authority", "the witness does not accept this node's certificate: it must be signed by the witness's ca_file"},
	{"first record does not look like a TLS handshake", "the witness speaks plain http: use http:// in endpoints, or give it a certificate"},
	{"error reading server preface", "the witness speaks TLS there, or is no etcd: try https:// in endpoints"},
	{"connection refused", "is the witness running, and listening on this address?"},
	{"no such host", "name the witness by its IP address in endpoints: a name server may be down when it matters"},
	{"no route to host", "is the witness's host up, and in this network?"},
	{"network is unreachable", "is the interface to the witness up?"},
	{"connection timed out", "is the witness's host up, and does a firewall drop the packets?"},
	{"broken pipe", hungUp},
	{"connection reset by peer", hungUp},
	{"no answer to connecting", "is the witness's host up, and does a firewall drop the packets?"},
	{"i/o timeout", "is the witness's host up, and does a firewall drop the packets?"},
	{"context deadline exceeded", "is the witness's host up, and does a firewall drop the packets?"},
	{"no leader", "etcd has lost its majority: start its other members"},
	{"unknown service", "there is no etcd there: check endpoints"},
}

// refusals are the codes with which etcd turns a transaction away before carrying it out.
var refusals = []codes.Code{ //nolint:gochecknoglobals // a table
	codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented,
}

// explain makes the error of Do: which endpoint, what happened, what to do, and
// whether the transaction is in doubt.
func explain(endpoint string, err error, sent bool, after time.Duration) error {
	doubt := errDoubt
	if !sent || refused(err) {
		doubt = ErrRefused
	}
	text := plain(err)
	if sent && status.Code(err) == codes.DeadlineExceeded {
		return fmt.Errorf("witness %s did not answer within %v: is it overloaded, or does a firewall drop the packets? (%w)",
			endpoint, after.Round(time.Millisecond), doubt)
	}
	for _, r := range remedies {
		if strings.Contains(text, r.has) {
			return fmt.Errorf("witness %s: %s: %s (%w)", endpoint, text, r.say, doubt)
		}
	}
	return fmt.Errorf("witness %s: %s (%w)", endpoint, text, doubt)
}

// refused reports whether etcd has surely not carried out what it answers with err. A full
// database (ResourceExhausted) is no such case: the transaction that fills it up is
// carried out and answered with the same error.
func refused(err error) bool {
	if slices.Contains(refusals, status.Code(err)) {
		return true
	}
	return status.Convert(err).Message() == rpctypes.ErrorDesc(rpctypes.ErrGRPCRequestTooManyRequests)
}

// tryNext reports whether another endpoint may answer better. What etcd itself refuses it
// refuses everywhere, and who no longer waits has learnt nothing about the endpoint.
func tryNext(err error) bool {
	code := status.Code(err)
	return code != codes.Canceled && code != codes.ResourceExhausted && !refused(err)
}

// plain returns the innermost text of an error of gRPC, which wraps each layer's in quotes.
func plain(err error) string {
	text := status.Convert(err).Message()
	for _, wrapping := range []string{
		"latest balancer error: ", "last connection error: ", "connection error: ",
		`desc = "`, "transport: ", "Error while dialing: ", "authentication handshake failed: ", "etcdserver: ",
	} {
		if i := strings.LastIndex(text, wrapping); i >= 0 {
			text = text[i+len(wrapping):]
		}
	}
	return strings.ReplaceAll(strings.TrimSuffix(text, `"`), `\"`, `"`)
}
