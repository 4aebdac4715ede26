package machine_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/machine"
)

// scripted is a host whose commands fail after they read their input.
type scripted struct{ machine.Host }

func (scripted) Name() string { return "gpu-01" }

func (scripted) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	if c.Stdin != nil {
		if _, err := io.Copy(c.Stdout, c.Stdin); err != nil {
			return machine.Output{}, err
		}
	}
	return machine.Output{Stdout: "printed", Stderr: "warned"}, &machine.CommandError{Host: "gpu-01", Code: 3}
}

func (scripted) ReadFile(context.Context, string) ([]byte, error) { return []byte("content-1"), nil }
func (scripted) WriteFile(context.Context, string, []byte, fs.FileMode) error {
	return fs.ErrPermission
}

func TestLoggedLogsCallsWithoutContents(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	host := machine.Logged(scripted{}, slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
	var copied bytes.Buffer
	_, err := host.Run(t.Context(), machine.Command{Script: "tar -x", Stdin: strings.NewReader("content-2"), Stdout: &copied})
	if err == nil || copied.String() != "content-2" {
		t.Errorf("got %q, %v", copied.String(), err)
	}
	if _, err := host.Run(t.Context(), machine.Command{Script: "echo hunter2", Secret: true}); err == nil {
		t.Error("got no error")
	}
	if data, err := host.ReadFile(t.Context(), "/etc/read"); string(data) != "content-1" || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
	if err := host.WriteFile(t.Context(), "/etc/written", []byte("content-33"), 0o600); err == nil {
		t.Error("got no error")
	}
	machine.LogCall(host, "ask etcd", time.Now(), io.ErrUnexpectedEOF)
	machine.LogCall(scripted{}, "unlogged", time.Now(), nil)
	for _, want := range []string{"machine=gpu-01", `msg="ask etcd"`, `error="unexpected EOF"`, `script="tar -x"`, "exit=3", "stdout=printed", "stderr=warned", `"stdin bytes"=9`, `"stdout bytes"=9`,
		"script=(secret)", "path=/etc/read bytes=9", "path=/etc/written bytes=10", "took=", `error="permission denied"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("want %q in:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "content-") || strings.Contains(text.String(), "hunter2") || strings.Count(text.String(), "printed") != 1 || strings.Contains(text.String(), "unlogged") {
		t.Errorf("a content or a secret is in the log:\n%s", text.String())
	}
}
