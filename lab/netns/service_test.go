package netns_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/netns"
)

// The oracle relies on it: a service says that it runs before it answers, that it has
// stopped after its last answer, and its end shows even when it is killed.
func TestServiceTellsWhenItRuns(t *testing.T) {
	dir, err := os.MkdirTemp("", "lab") //nolint:usetesting // short: a unix socket is made in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := netns.Service{Node: "n1", Dir: dir, Report: filepath.Join(dir, "report")}
	if err := s.Install(); err != nil {
		t.Fatal(err)
	}
	status := func() int {
		cmd := exec.Command(s.Command("status")[0])
		_ = cmd.Run() // the exit status says it
		return cmd.ProcessState.ExitCode()
	}
	stop := func() error { return exec.Command(s.Command("stop")[0]).Run() }
	oracle, err := net.Listen("unix", s.Report)
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	if code := status(); code != 1 {
		t.Fatalf("before the start: status %d", code)
	}

	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer stop() //nolint:errcheck // for a test that fails half way
	conn, err := oracle.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reports := bufio.NewScanner(conn)
	if got := event(t, reports); got != "start" {
		t.Errorf("the first report is %q", got)
	}
	if err := s.Start(); err != nil {
		t.Errorf("start while it runs: %v", err)
	}
	if code := status(); code != 0 {
		t.Errorf("while it runs: status %d", code)
	}
	if got := ask(t); got != "1234n1" {
		t.Errorf("it answers %q", got)
	}

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := event(t, reports); got != "stop" {
		t.Errorf("the last report is %q", got)
	}
	if reports.Scan() {
		t.Errorf("one more report: %q", reports.Text())
	}
	if code := status(); code != 1 {
		t.Errorf("after the stop: status %d", code)
	}
	if err := stop(); err != nil {
		t.Errorf("stop twice: %v", err)
	}
}

func event(t *testing.T, reports *bufio.Scanner) string {
	t.Helper()
	if !reports.Scan() {
		t.Fatal("no report")
	}
	var r struct{ Event string }
	if err := json.Unmarshal(reports.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r.Event
}

func ask(t *testing.T) string {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: netns.ServicePort})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("1234")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer[:n])
}
