// Package kubetest starts a real etcd and a real API server on loopback ports
// for tests. It may be imported by tests only.
package kubetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/freeport"
)

const startTimeout = 3 * time.Minute

// Cluster is a control plane without machines.
type Cluster struct {
	Client *kube.Client
	Config *rest.Config

	t         testing.TB
	programs  string
	dir       string
	apiserver []string
	process   *exec.Cmd
}

// Start starts etcd and an API server, which end with the test. A test that
// uses it carries the build tag e2e: without the programs it fails. flags are further
// ones of the API server.
func Start(t testing.TB, flags ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, programs: Programs(t, "etcd", "kube-apiserver", "kube-controller-manager"), dir: t.TempDir()}
	etcdClient, etcdPeer, api := freeport.Get(t), freeport.Get(t), freeport.Get(t)

	etcd := c.start("etcd",
		"--data-dir="+filepath.Join(c.dir, "etcd"), "--name=test", "--unsafe-no-fsync",
		"--listen-client-urls="+loopback("http", etcdClient), "--advertise-client-urls="+loopback("http", etcdClient),
		"--listen-peer-urls="+loopback("http", etcdPeer), "--initial-advertise-peer-urls="+loopback("http", etcdPeer),
		"--initial-cluster=test="+loopback("http", etcdPeer), "--log-level=warn")
	t.Cleanup(func() { stop(etcd) })

	token := randomToken(t)
	tokens := filepath.Join(c.dir, "tokens.csv")
	write(t, tokens, token+",admin,admin,system:masters\n")
	key := filepath.Join(c.dir, "service-account.key")
	write(t, key, serviceAccountKey(t))
	c.apiserver = []string{
		"--etcd-servers=" + loopback("http", etcdClient), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", api),
		"--cert-dir=" + filepath.Join(c.dir, "certs"), "--token-auth-file=" + tokens, "--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key, "--service-cluster-ip-range=10.96.0.0/16",
		"--service-node-port-range=9000-9999", "--endpoint-reconciler-type=none", "--watch-cache=true",
	}
	c.apiserver = append(c.apiserver, flags...)
	c.StartAPIServer()
	t.Cleanup(c.StopAPIServer)

	c.Config = &rest.Config{Host: loopback("https", api), BearerToken: token}
	// The API server made its certificate itself; it is on loopback.
	c.Config.Insecure = true
	client, err := kube.FromConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	c.waitReady()
	return c
}

// StartAPIServer starts the API server again after StopAPIServer; it does not
// wait until it is ready.
func (c *Cluster) StartAPIServer() { c.process = c.start("kube-apiserver", c.apiserver...) }

// StopAPIServer kills the API server.
func (c *Cluster) StopAPIServer() { stop(c.process) }

// StartControllers starts the controller manager, which turns workloads into
// pods; without machines these stay pending. flags are further ones of it.
func (c *Cluster) StartControllers(flags ...string) {
	c.t.Helper()
	kubeconfig := filepath.Join(c.dir, "admin.conf")
	write(c.t, kubeconfig, string(c.Kubeconfig()))
	process := c.start("kube-controller-manager", append([]string{"--kubeconfig=" + kubeconfig, "--leader-elect=false",
		"--use-service-account-credentials=false", "--secure-port=0", "--controllers=*,-nodeipam",
		"--service-account-private-key-file=" + filepath.Join(c.dir, "service-account.key")}, flags...)...)
	c.t.Cleanup(func() { stop(process) })
}

// Kubeconfig gives full rights.
func (c *Cluster) Kubeconfig() []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
`, c.Config.Host, c.Config.BearerToken)
}

func (c *Cluster) waitReady() {
	c.t.Helper()
	wait := poll.Wait{For: "the API server", Timeout: startTimeout, Every: 100 * time.Millisecond}
	err := wait.Until(context.Background(), func(ctx context.Context) (bool, error) {
		err := c.Client.Ping(ctx)
		return err == nil, err
	})
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.log("kube-apiserver"))
	}
}

func (c *Cluster) start(program string, args ...string) *exec.Cmd {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.programs, program), args...) //nolint:noctx // a cleanup stops it, and the context of the test ends before its cleanups
	cmd.Stdout, cmd.Stderr = log, log
	// The processes end with the test even when it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start %s: %v", program, err)
	}
	return cmd
}

func (c *Cluster) log(program string) string {
	data, err := os.ReadFile(filepath.Join(c.dir, program+".log"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}

func stop(cmd *exec.Cmd) {
	if cmd == nil || cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	_ = cmd.Wait()         // was killed
}

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

func randomToken(t testing.TB) string {
	t.Helper()
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
