package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// patience is how long the browser may take for one command; to start takes longest.
const patience = time.Minute

// Browser is a browser with one window. What goes wrong fails its test.
type Browser struct {
	tb      testing.TB
	session string // URL
}

// Start starts a browser that ends with the test. Without one the test is skipped, or in CI
// fails.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	for _, program := range []string{"chromedriver", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				tb.Fatal(err)
			}
			tb.Skip(err)
		}
	}
	b := &Browser{tb: tb, session: driver(tb) + "/session"}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	chromium, _ := exec.LookPath("chromium") // found above
	b.command(http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"goog:chromeOptions": map[string]any{"binary": chromium, "args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
			"--user-data-dir=" + tb.TempDir(), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		}},
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
	}}}, &made)
	b.session += "/" + made.SessionID
	tb.Cleanup(func() { b.command(http.MethodDelete, "", nil, nil) })
	return b
}

// driver starts chromedriver and returns its URL.
func driver(tb testing.TB) string {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), "chromedriver", "--port=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it starts can be ended with it
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // killed
	})
	on := regexp.MustCompile(`successfully on port (\d+)`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if m := on.FindStringSubmatch(lines.Text()); m != nil {
			return "http://127.0.0.1:" + m[1]
		}
	}
	tb.Fatal("chromedriver does not say its port")
	return ""
}

// command sends a command of the session and decodes its value into out, unless that is nil.
func (b *Browser) command(method, path string, body, out any) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.tb.Context()), patience)
	defer cancel()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			b.tb.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, b.session+path, &sent)
	if err != nil {
		b.tb.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.tb.Fatalf("browser: %s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		b.tb.Fatalf("browser: %s %s: %v", method, path, err)
	}
	if response.StatusCode != http.StatusOK {
		b.tb.Fatalf("browser: %s %s: %s", method, path, answer.Value)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer.Value, out); err != nil {
		b.tb.Fatalf("browser: %s %s: %v in %s", method, path, err, answer.Value)
	}
}

// Open opens a page and waits until it is loaded.
func (b *Browser) Open(url string) {
	b.tb.Helper()
	b.command(http.MethodPost, "/url", map[string]string{"url": url}, nil)
}

// Eval runs the body of a function in the page and decodes what it returns into out, unless
// that is nil.
func (b *Browser) Eval(out any, body string, args ...any) {
	b.tb.Helper()
	if args == nil {
		args = []any{}
	}
	b.command(http.MethodPost, "/execute/sync", map[string]any{"script": body, "args": args}, out)
}

// DevTools gives a command of the DevTools protocol, as Emulation.setEmulatedMedia.
func (b *Browser) DevTools(method string, params map[string]any) {
	b.tb.Helper()
	b.command(http.MethodPost, "/goog/cdp/execute", map[string]any{"cmd": method, "params": params}, nil)
}

// Scheme has the page shown light or dark.
func (b *Browser) Scheme(light bool) {
	b.tb.Helper()
	scheme := map[bool]string{true: "light", false: "dark"}[light]
	b.DevTools("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	})
}

// Size has the page shown on a screen of that many pixels, a phone's when it is narrow.
func (b *Browser) Size(width, height int) {
	b.tb.Helper()
	const phone = 600
	b.DevTools("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < phone,
	})
}

// Complaints returns what the console has got since it was asked last: errors of the page,
// and whatever it wrote itself.
func (b *Browser) Complaints() []string {
	b.tb.Helper()
	var entries []struct{ Level, Message string }
	b.command(http.MethodPost, "/se/log", map[string]string{"type": "browser"}, &entries)
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%s: %s", e.Level, e.Message))
	}
	return all
}
