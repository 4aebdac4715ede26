package operation

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/internal/storageprobe"
	"pai.dev/pai/test/inspecttest"
)

// storageHost is a machine where each probe has a result.
func storageHost(t *testing.T, name string, probe func(ctx context.Context, r storageprobe.Request) (string, error)) *inspecttest.Host {
	h := inspecttest.NewHost(t, name)
	h.Script = func(ctx context.Context, c machine.Command) (string, error) {
		if !strings.HasPrefix(c.Script, "exec unshare --mount --propagation slave /opt/pai/helper/") || !strings.HasSuffix(c.Script, "/pai-machine storage") {
			return "", errors.New("another script: " + c.Script)
		}
		var r storageprobe.Request
		data, err := io.ReadAll(c.Stdin)
		if err := errors.Join(err, json.Unmarshal(data, &r), r.Check()); err != nil {
			return "", err
		}
		out, err := probe(ctx, r)
		if _, failed := c.Stdout.Write([]byte(out)); failed != nil {
			return "", failed
		}
		return "", err
	}
	return h
}

func storageSession(t *testing.T, hosts ...machine.Host) *session.Session {
	s := &session.Session{Config: &config.Config{}, Hosts: map[string]machine.Host{}, Progressf: t.Logf}
	s.Config.Services.Storages = map[string]config.Storage{
		"data":    {Type: pai.StorageNFS, Server: "nas", Path: "/export", ReadOnly: true},
		"scratch": {Type: pai.StorageDirectory, Path: "/scratch"},
	}
	for _, h := range hosts {
		s.Hosts[h.Name()] = h
		s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, config.Machine{Hostname: h.Name(), HostIP: "10.0.0.1"})
	}
	return s
}

func TestStoragesAreTriedOnEveryMachine(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var tried []string
	answer := func(name, out string) *inspecttest.Host {
		return storageHost(t, name, func(_ context.Context, r storageprobe.Request) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			tried = append(tried, name+" "+pai.Storage{Server: r.Server, Path: r.Path}.Where())
			return out, nil
		})
	}
	s := storageSession(t, answer("one", `{"fileSystem":"ext4","local":true,"onlyRoot":true,"writeMBs":100}`), answer("two", `{"problem":"server-silent","detail":"\u001b[2J"}`))
	s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, config.Machine{Hostname: "three"})
	checked, err := CheckStorages(t.Context(), s, nil)
	if err == nil || pai.CodeOf(err) != pai.CodeFailed || !strings.Contains(err.Error(), "data on two, data on three, scratch on two, scratch on three") {
		t.Errorf("got %v, want an error that names what cannot be used", err)
	}
	slices.Sort(tried)
	if want := []string{"one /scratch", "one nas:/export", "two /scratch", "two nas:/export"}; !slices.Equal(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
	if len(checked) != 2 || checked[0].Storage != "data" || checked[0].Where != "nas:/export" || len(checked[0].Machines) != 3 {
		t.Fatalf("got %+v", checked)
	}
	for n, want := range []struct {
		ok         bool
		found, fix string
	}{{true, "", ""}, {false, "the server nas is not responding ([2J)", "port 2049"}, {false, "the machine is unreachable", "ssh"}} {
		m := checked[0].Machines[n]
		if m.OK != want.ok || m.Found != want.found || !strings.Contains(m.Fix, want.fix) {
			t.Errorf("%s: got %+v, want %+v", m.Machine, m, want)
		}
	}
	notes := strings.Join(checked[1].Notes, "\n")
	if !strings.Contains(notes, "on a disk of the machine (one): each machine has its own files") || !strings.Contains(notes, "only root can write (one)") {
		t.Errorf("got the notes %q", notes)
	}
	if slices.ContainsFunc(checked[0].Notes, func(n string) bool { return strings.Contains(n, "each machine has") }) {
		t.Errorf("got the notes %q of a storage that machines share", checked[0].Notes)
	}
}

func TestNamedStoragesAreTried(t *testing.T) {
	t.Parallel()
	s := storageSession(t, storageHost(t, "one", func(context.Context, storageprobe.Request) (string, error) {
		return `{"fileSystem":"ext4","local":true}`, nil
	}))
	checked, err := CheckStorages(t.Context(), s, []string{"scratch", "scratch"})
	if err != nil || len(checked) != 1 || checked[0].Storage != "scratch" || !checked[0].Machines[0].OK || len(checked[0].Notes) > 0 {
		t.Errorf("got %+v, %v, want one storage without a note, because there is one machine", checked, err)
	}
	if checked, err := CheckStorages(t.Context(), s, []string{"scratch", "other"}); checked != nil || pai.CodeOf(err) != pai.CodeNotFound || !strings.Contains(pai.NextOf(err), "data, scratch") {
		t.Errorf("got %+v, %v, want that other is not found, and the known names", checked, err)
	}
	s.Config.Services.Storages = nil
	if checked, err := CheckStorages(t.Context(), s, nil); err != nil || checked == nil || len(checked) > 0 {
		t.Errorf("got %+v, %v, want an empty list", checked, err)
	}
}

// A machine that prints nonsense, ends with an error, or never ends is a result.
func TestMachinesThatCannotTryAStorage(t *testing.T) {
	t.Parallel()
	storage := pai.Storage{Name: "scratch", Type: pai.StorageDirectory, Path: "/scratch"}
	for _, c := range []struct {
		name  string
		probe func(ctx context.Context, r storageprobe.Request) (string, error)
		want  storageprobe.Problem
		found string
	}{
		{"nonsense", func(context.Context, storageprobe.Request) (string, error) { return "Welcome!", nil }, storageprobe.Failed, "read the result"},
		{"an error", func(context.Context, storageprobe.Request) (string, error) {
			return "", &machine.CommandError{Host: "one", Code: 127, Output: "unshare: not found"}
		}, storageprobe.Failed, "unshare: not found"},
		{"too much", func(context.Context, storageprobe.Request) (string, error) {
			return strings.Repeat("{}", storageprobe.MaxAnswer), nil
		}, storageprobe.Failed, "more than"},
		{"no end", func(ctx context.Context, _ storageprobe.Request) (string, error) { <-ctx.Done(); return "", ctx.Err() }, storageprobe.Silent, "no result within"},
	} {
		got := tryWith(t.Context(), storageHost(t, "one", c.probe), storage, 200*time.Millisecond)
		if got.OK || got.Problem != c.want || !strings.Contains(got.Found, c.found) || got.Fix == "" {
			t.Errorf("%s: got %+v, want %s with %q and a fix", c.name, got, c.want, c.found)
		}
	}
}

// An operator who interrupts the command gets no list that looks complete.
func TestInterruptedCheckOfStorages(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := storageSession(t, storageHost(t, "one", func(ctx context.Context, _ storageprobe.Request) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}))
	if checked, err := CheckStorages(ctx, s, nil); checked != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v, want the end of the context", checked, err)
	}
}
