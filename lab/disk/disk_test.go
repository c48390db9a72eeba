package disk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/disk"
)

// TestMain makes the test binary one that starts programs with a slow disk, and one of those.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "exec" {
		fmt.Fprintln(os.Stderr, disk.Exec(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	if len(os.Args) > 1 && os.Args[1] == "write" {
		if err := write(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// write writes a file durably, three times, and prints how long that took.
func write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	begin := time.Now()
	for range 3 {
		if _, err := f.WriteString("text\n"); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(begin).Milliseconds())
	return nil
}

// A program waits for its slow disk, another one does not, and what is written is there.
func TestSlow(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "disk"), filepath.Join(dir, "file")
	d, err := disk.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	took := func(argv ...string) time.Duration {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), self, argv...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
		var ms int
		if _, err := fmt.Sscan(string(out), &ms); err != nil {
			t.Fatalf("%v: %s", argv, out)
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != "text\ntext\ntext\n" {
			t.Errorf("%v wrote %q, %v", argv, data, err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	const delay = 400 * time.Millisecond
	// The real disk may be slow for a moment, too: once is enough to show that the other one is not.
	prompt := func(argv ...string) (got time.Duration) {
		t.Helper()
		const attempts = 10
		for range attempts {
			if got = took(argv...); got < delay {
				break
			}
		}
		return got
	}
	d.Slow(delay)
	if got := took("exec", socket, self, "write", file); got < 3*delay {
		t.Errorf("three slow writes took %v, want %v at least", got, 3*delay)
	}
	if got := d.Waits(); got != 3 {
		t.Errorf("%d waits, want 3", got)
	}
	if got := prompt("write", file); got >= delay || d.Waits() != 3 {
		t.Errorf("three writes past the slow disk took %v, and it was waited for %d times, want 3", got, d.Waits())
	}
	d.Slow(0)
	if got := prompt("exec", socket, self, "write", file); got >= delay {
		t.Errorf("three writes after it took %v", got)
	}
}
