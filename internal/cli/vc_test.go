package cli

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

// stateWithVirtualCluster is a state directory with the access to a server that has one
// virtual cluster.
func stateWithVirtualCluster(t *testing.T) string {
	t.Helper()
	use := rest.VirtualClusterUse{Name: "vision", CanSubmit: true, Running: 2, Waiting: 3, MineWaiting: 2,
		Resources: []rest.ResourceUse{{Resource: "cpu", Used: 1.5}, {Resource: "memoryMB", Limit: new(4096.0), Used: 64, Free: new(4032.0)},
			{Resource: "gpu", Limit: new(2.0), Used: 3, Mine: 1, Borrowed: 1, Lent: 0, Free: new(5.0)}}}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/api/v2/virtual-clusters":
			_ = json.NewEncoder(w).Encode([]rest.VirtualClusterUse{use})
		case "/api/v2/virtual-clusters/vision":
			shown := use
			shown.Queue = []rest.QueuedJob{{Position: 1, ID: "bob~big"}, {Position: 2, ID: "admin~mine", Asks: &job.Resources{CPU: 1, MemoryMB: 64, GPU: 4}, Why: "in the queue: it needs 1 GPU more"}}
			_ = json.NewEncoder(w).Encode(shown)
		default:
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]string{"code": string(pai.CodeNotFound), "message": `virtual cluster "nothing" not found`})
		}
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	access := rest.Access{URLs: []string{srv.URL}, CA: ca, User: "admin", Token: "x"}
	if err := access.Save(filepath.Join(dir, "clusters", "pai", rest.AccessFile)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestVCCommands(t *testing.T) {
	t.Parallel()
	state := stateWithVirtualCluster(t)
	_, list, _ := paictl(t, state, "", "vc", "list")
	if want := "vision yes 1.5 64 of 4096 3 of 2 2 3 (2 mine)"; !strings.Contains(strings.Join(strings.Fields(list), " "), want) {
		t.Errorf("got\n%s\nwant %s", list, want)
	}
	_, shown, _ := paictl(t, state, "", "virtual-cluster", "show", "vision")
	got := strings.Join(strings.Fields(shown), " ")
	for _, want := range []string{"cores none 1.5 0 0 0 -", "memory (MiB) 4096 64 0 0 0 4032", "GPUs 2 3 1 1 0 5", "jobs that wait 3 (2 mine)",
		"1 bob~big - 2 admin~mine 1 cores, 64 MiB, 4 GPUs admin~mine waits: in the queue: it needs 1 GPU more"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %s", shown, want)
		}
	}
	code, _, errs := paictl(t, state, "", "vc", "show", "nothing")
	if code != pai.ExitCode(&pai.Error{Code: pai.CodeNotFound}) || !strings.Contains(errs, `virtual cluster "nothing" not found`) {
		t.Errorf("got %d %s", code, errs)
	}
	_, text, _ := paictl(t, state, "", "vc", "show", "vision", "-o", "json")
	var use rest.VirtualClusterUse
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&use); err != nil || len(use.Queue) != 2 || use.Resources[0].Limit != nil {
		t.Errorf("got %+v, %v", use, err)
	}
	if _, names, _ := paictl(t, state, "", "__complete", "vc", "show", ""); !strings.HasPrefix(names, "vision\n") {
		t.Errorf("got the completions %s", names)
	}
}

// A server of v0.10 has other operations: the sentence says what to do.
func TestVCCommandsOfAnOlderServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": string(pai.CodeNotFound), "message": req.URL.Path + " not found"})
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	access := rest.Access{URLs: []string{srv.URL}, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), User: "admin", Token: "x"}
	if err := access.Save(filepath.Join(dir, "clusters", "pai", rest.AccessFile)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"vc", "list"}, {"vc", "show", "vision"}} {
		code, _, errs := paictl(t, dir, "", args...)
		if code != pai.ExitCode(&pai.Error{Code: pai.CodeRefused}) || !strings.Contains(errs, "older than this paictl") || !strings.Contains(errs, "run: paictl upgrade plan") {
			t.Errorf("%v: got %d %s", args, code, errs)
		}
	}
}
