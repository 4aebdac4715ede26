package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/test/inspecttest"
)

// serveShim serves a version of the task service of containerd at a socket of a
// machine, with the library and the types that shims use. It knows the tasks of pids.
func serveShim(t *testing.T, r *inspecttest.Root, socket string, version int, pids map[string]uint32) {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	server.Register(fmt.Sprintf("containerd.task.v%d.Task", version), map[string]ttrpc.Method{
		"Connect": func(_ context.Context, decode func(any) error) (any, error) {
			var request taskapi.ConnectRequest // that of v2 has the same fields
			if err := decode(&request); err != nil {
				return nil, err
			}
			pid, found := pids[request.GetID()]
			if !found {
				return nil, errors.New("container not created")
			}
			return &taskapi.ConnectResponse{ShimPid: 1, TaskPid: pid, Version: strings.Repeat("v", 300)}, nil
		},
	})
	listener := listen(t, r, socket)
	go func() { _ = server.Serve(context.Background(), listener) }() // until the test closes it
	t.Cleanup(func() { _ = server.Close() })
}

func listen(t *testing.T, r *inspecttest.Root, socket string) net.Listener {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.At(socket)), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", r.At(socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func bootstrap(r *inspecttest.Root, id, content string) { r.Write(tasks+id+"/bootstrap.json", content) }

func at(version int, socket string) string {
	return fmt.Sprintf(`{"version":%d,"address":"unix://%s","protocol":"ttrpc"}`, version, socket)
}

func TestShimsAnswer(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	serveShim(t, r, "/run/s/new", 3, map[string]uint32{"s1": 12, "c1": 11, "empty": 0})
	serveShim(t, r, "/run/s/old", 2, map[string]uint32{"c2": 13})
	listen(t, r, "/run/s/mute")
	closed := listen(t, r, "/run/s/closed")
	go func() {
		for {
			conn, err := closed.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	r.Write("/opt/pai/v0.10-pai/bin/containerd-shim-runc-v2", "")
	for id, b := range map[string]string{
		"c1": at(3, "/run/s/new"), "s1": at(3, "/run/s/new"), "c2": at(2, "/run/s/old"),
		"c3": at(3, "/run/s/new"), "empty": at(3, "/run/s/new"), "other": at(2, "/run/s/new"), "mute": at(3, "/run/s/mute"),
		"closed": at(3, "/run/s/closed"), "none": at(3, "/run/s/none"), "grpc": `{"version":3,"address":"unix:///run/s/new","protocol":"grpc"}`,
		"v4": at(4, "/run/s/new"), "broken": "{", "removed": at(3, "/run/s/new"),
	} {
		kind := "container"
		if id == "s1" {
			kind = "sandbox"
		}
		shims(r, id, 11, id, specification(kind, "main"))
		bootstrap(r, id, b)
	}
	shims(r, "no-file", 11, "no-file", specification("container", "main"))
	r.Write("/proc/11/cgroup", "0::/c1 s1 c2 c3 empty other mute closed none grpc v4 broken removed no-file\n")
	shims(r, "gone", 99, "another", specification("container", "main")) // its process ended
	r.Write(tasks+"c1/shim-binary-path", "/opt/pai/v0.10-pai/bin/containerd-shim-runc-v2")
	r.Write(tasks+"removed/shim-binary-path", "/opt/pai/v0.9-pai/bin/containerd-shim-runc-v2")

	// A part of the problem. The shim that closes its connections fails the request or the answer.
	want := map[string]string{
		"c1": "", "s1": "", "c2": "", "c3": "container not created", "empty": "does not know the container", "other": "code 12",
		"mute": "no answer within", "closed": " unix @->", "none": "no such file", "grpc": "unknown kind of shim", "v4": "unknown kind of shim",
		"broken": "read bootstrap.json", "removed": "/opt/pai/v0.9-pai/bin/containerd-shim-runc-v2 was removed", "no-file": "bootstrap.json",
	}
	began := time.Now()
	got := ask(t, r, inspect.Shims)
	if err := got.ErrorOf(inspect.Shims); err != nil || len(got.Shims) != len(want) {
		t.Fatalf("got %d shims, %v, want %d", len(got.Shims), err, len(want))
	}
	for _, s := range got.Shims {
		text, known := want[s.ID]
		if !known || (text == "") != (s.Problem == "") || !strings.Contains(s.Problem, text) {
			t.Errorf("%s: got %q, want %q", s.ID, s.Problem, text)
		}
		if s.Sandbox != (s.ID == "s1") || s.Pod != "train-0" || s.Namespace != "pai-vc-default" {
			t.Errorf("got %+v, want its pod", s)
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestShimsWithoutMachine(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	if got := ask(t, r, inspect.Shims); len(got.Shims) > 0 || got.ErrorOf(inspect.Shims) != nil {
		t.Errorf("got %+v, %v, want no shim", got.Shims, got.Problems)
	}
	r.Write("/proc/20/comm", "containerd-shim")
	if got := ask(t, r, inspect.Shims); got.Shims != nil || got.ErrorOf(inspect.Shims) == nil {
		t.Errorf("got %+v while a shim runs elsewhere, want an error", got.Shims)
	}
}

// Shims that are not asked in time count as silent.
func TestShimsEndWithTheContext(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	shims(r, "c1", 11, "c1", specification("container", "main"))
	bootstrap(r, "c1", at(3, "/run/s/none"))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no time left"))
	got := r.Machine().Inspect(ctx, inspect.Request{Parts: []inspect.Part{inspect.Shims}}, "")
	if len(got.Shims) != 1 || got.Shims[0].Problem != "no time left" {
		t.Errorf("got %+v, want one that was not asked", got.Shims)
	}
}
