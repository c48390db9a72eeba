package probe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/solovip/solovip/config"
)

// Bounds on what a mail server may say. RFC 5321 section 4.5.3.1.5 allows 512 bytes for a
// line of a reply; who has more to say sends more lines.
const (
	smtpLineBytes  = 1024
	smtpReplyLines = 100
)

// smtpProber makes SMTP_CHECK: the server greets, takes HELO and answers QUIT.
type smtpProber struct {
	c    config.Checker
	helo string
}

func (p smtpProber) Probe(ctx context.Context) Outcome {
	return converse(ctx, p.c, "tcp", "smtp", func(conn net.Conn) error { return smtpTalk(conn, p.helo) })
}

// smtpTalk goes through the dialogue. Any answer to QUIT will do, as for keepalived: by then
// the server has shown that it works.
func smtpTalk(conn io.ReadWriter, helo string) error {
	r := bufio.NewReaderSize(conn, smtpLineBytes)
	for _, step := range []struct{ name, say, code string }{
		{"greeting", "", "220"},
		{"HELO", "HELO " + helo + "\r\n", "250"},
		{"QUIT", "QUIT\r\n", ""},
	} {
		if _, err := io.WriteString(conn, step.say); err != nil {
			return fmt.Errorf("%s: %w", step.name, heard(err))
		}
		line, err := smtpReply(r)
		if err != nil {
			return fmt.Errorf("%s: %w in place of %s", step.name, err, cmp.Or(step.code, "an answer"))
		}
		if step.code != "" && line[:3] != step.code {
			return fmt.Errorf("%s: %s in place of %s", step.name, quoted(line), step.code)
		}
	}
	return nil
}

// smtpReply reads a reply of one or more lines and returns the last one, which begins with
// a code of three digits (RFC 5321 section 4.2.1).
func smtpReply(r *bufio.Reader) (string, error) {
	for range smtpReplyLines {
		raw, err := r.ReadSlice('\n')
		line := strings.TrimRight(string(raw), "\r\n")
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return "", fmt.Errorf("%s, a line of more than %d bytes,", quoted(line), smtpLineBytes)
		case err != nil && line != "":
			return "", fmt.Errorf("%s without a line end, %w,", quoted(line), heard(err))
		case err != nil:
			return "", heard(err)
		case len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" || len(line) > 3 && line[3] != ' ' && line[3] != '-':
			return "", fmt.Errorf("%s, which is no reply,", quoted(line))
		case len(line) == 3 || line[3] == ' ':
			return line, nil
		}
	}
	return "", fmt.Errorf("a reply of more than %d lines", smtpReplyLines)
}
