package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/inspecttest"
)

// unwritable is a session whose state directory is below a file, so that also root cannot
// write there. It returns what the session prints.
func unwritable(t *testing.T) (s *Session, printed *[]string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	printed = &[]string{}
	cfg := &config.Config{Layout: config.Layout{MachineList: []config.Machine{{Hostname: "pai-1", HostIP: "10.0.0.1", Role: config.RoleControlPlane}}}}
	cfg.Services.Cluster.Common.ClusterID = "lab"
	return &Session{Config: cfg, Dirs: Dirs{State: filepath.Join(file, "state")}, Hosts: map[string]machine.Host{},
		Progressf: func(format string, args ...any) { *printed = append(*printed, fmt.Sprintf(format, args...)) }}, printed
}

func TestOperationNamesAStateDirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s, _ := unwritable(t)
	_, _, err := s.StartLog("upgrade")
	said := new(pai.Error)
	if !errors.As(err, &said) || !strings.Contains(said.Next, "make "+s.Dirs.State+" writable") || !strings.Contains(said.Next, "PAI_STATE_DIR") {
		t.Fatalf("got %v, want what to do", err)
	}
	if !strings.Contains(err.Error(), "make directory of logs") {
		t.Errorf("got %v, want the cause", err)
	}
}

// What only reads the cluster works: the stored kubeconfig is for kubectl.
func TestReadsWorkWithoutAStateDirectory(t *testing.T) {
	t.Parallel()
	s, printed := unwritable(t)
	s.Hosts["pai-1"] = issuer{inspecttest.NewHost(t, "pai-1"), t}
	client, err := s.Kube(t.Context())
	if err != nil || client == nil {
		t.Fatalf("got %v, want a client", err)
	}
	if len(*printed) != 1 || !strings.Contains((*printed)[0], "the kubeconfig for kubectl was not renewed") {
		t.Errorf("printed %q, want that kubectl has no new kubeconfig", *printed)
	}
}

// issuer is a control-plane machine that signs for operators.
type issuer struct {
	*inspecttest.Host
	t *testing.T
}

func (i issuer) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	_, err := inspecttest.AnswerWith(c, func(r inspect.Request) inspect.Report {
		return inspect.Report{Issued: issuedFor(i.t, r.PublicKey)}
	})
	return machine.Output{}, err
}

// issuedFor is a kubeconfig with a certificate for a key, in PEM.
func issuedFor(t *testing.T, public []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(public)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := func(of any) string {
		certificate := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, of, authority)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: pai, cluster: {server: "https://api.pai.internal:6443", certificate-authority-data: %s}}]
users: [{name: pai, user: {client-certificate-data: %s}}]
contexts: [{name: pai, context: {cluster: pai, user: pai}}]
current-context: pai
`, made(authority.Public()), made(key))
}
