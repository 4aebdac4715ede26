package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
)

const year = 365 * 24 * time.Hour

func TestDue(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name        string
		lives, left time.Duration
		ca, due     bool
	}{
		{"new", year, 364 * day, false, false},
		{"more than a third of a year", year, 122 * day, false, false},
		{"less than a third of a year", year, 121 * day, false, true},
		{"dated back to the beginning of the authority", 3 * year, 200 * day, false, false},
		{"expired", year, -time.Second, false, true},
		{"more than a third of minutes", 9 * time.Minute, 4 * time.Minute, false, false},
		{"less than a third of minutes", 9 * time.Minute, 2 * time.Minute, false, true},
		{"an authority, which nothing renews", 10 * year, day, true, false},
	} {
		end := now.Add(c.left)
		if got := Due(&x509.Certificate{NotBefore: end.Add(-c.lives), NotAfter: end, IsCA: c.ca}, now); got != c.due {
			t.Errorf("%s: got %v, want %v", c.name, got, c.due)
		}
	}
}

// Every certificate is renewed before it ends, for each life, however often the
// clock moves: no generation is lost, and none changes what it is for.
func TestGenerationsFollowEachOther(t *testing.T) {
	t.Parallel()
	for _, lives := range []time.Duration{4 * time.Minute, year} {
		f := newFixture(t, lives)
		first := map[string]*x509.Certificate{}
		for _, file := range files() {
			if c, err := f.certificate(file); err == nil {
				first[file.path] = c
			}
		}
		for range 12 {
			f.now = f.now.Add(lives / 4)
			if _, err := f.Renew(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			for path, old := range first {
				c := f.certificateIn(path)
				switch {
				case f.now.After(c.NotAfter) || f.now.Before(c.NotBefore):
					t.Fatalf("%s is valid from %s to %s, and it is %s", path, c.NotBefore, c.NotAfter, f.now)
				case !c.IsCA && life(c) != lives:
					t.Fatalf("%s: got a life of %s, want %s", path, life(c), lives)
				case !slices.Equal(c.DNSNames, old.DNSNames) || len(c.IPAddresses) != len(old.IPAddresses) || c.Subject.String() != old.Subject.String() ||
					c.KeyUsage != old.KeyUsage || !slices.Equal(c.ExtKeyUsage, old.ExtKeyUsage):
					t.Fatalf("%s changed what it is for", path)
				}
			}
		}
		for path, old := range first {
			if c := f.certificateIn(path); !old.IsCA && c.Equal(old) || old.IsCA && !c.Equal(old) {
				t.Errorf("%s: renewed %v, want all but authorities", path, !c.Equal(old))
			}
		}
	}
}

func TestRenewedPairMatchesAtEachMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour)
	key := layout.PKIDir + "/etcd/server.key"
	before, err := f.read(key)
	f.check(err)
	if renewed, err := f.Renew(t.Context(), true); err != nil || len(renewed) != 12 {
		t.Fatalf("got %q, %v, want 7 pairs and 5 kubeconfigs", renewed, err)
	}
	if after, err := f.read(key); err != nil || !slices.Equal(before, after) {
		t.Errorf("the key changed, %v: a connection between two writes would fail", err)
	}
	for _, file := range files() {
		if file.kind != kindPair {
			continue
		}
		if _, err := tls.LoadX509KeyPair(f.at(file.path), f.at(file.key)); err != nil {
			t.Error(err)
		}
		signer := f.certificateIn(file.signer)
		if err := f.certificateIn(file.path).CheckSignatureFrom(signer); err != nil {
			t.Errorf("%s: %v", file.path, err)
		}
	}
}

func TestKubeconfigKeepsAllButItsIdentity(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour)
	before, err := f.read(layout.AdminConf)
	f.check(err)
	if _, err := f.Renew(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	after, err := f.read(layout.AdminConf)
	f.check(err)
	was, err := readKubeconfig(before)
	f.check(err)
	is, err := readKubeconfig(after)
	f.check(err)
	if _, err := tls.X509KeyPair(is.cert, is.key); err != nil || slices.Equal(was.cert, is.cert) || slices.Equal(was.key, is.key) {
		t.Errorf("got %v, want another certificate with another key", err)
	}
	was.cert, was.key = is.cert, is.key
	if !reflect.DeepEqual(was, is) || !strings.Contains(string(after), "current-context: x") {
		t.Errorf("more changed:\n%s", after)
	}
	if info, err := os.Stat(f.at(layout.AdminConf)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file that only root reads", info.Mode(), err)
	}
}

func TestRolesRestartThatReadTheirCertificateOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour)
	all := []string{"pai-controller-manager.service", "pai-scheduler.service", "pai-kube-proxy.service", "pai-network.service"}
	if _, err := f.Renew(t.Context(), false); err != nil || len(f.restarts) > 0 {
		t.Errorf("got %q, %v, want no restart while nothing is renewed", f.restarts, err)
	}
	// Another process renewed the files, and was killed before it restarted anything.
	f.started = f.now.Add(-time.Hour)
	if _, err := f.Renew(t.Context(), false); err != nil || !slices.Equal(f.restarts, all) {
		t.Errorf("got %q, %v, want %q", f.restarts, err, all)
	}
}

func TestFileThatCannotBeRenewedKeepsNoOtherFromIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour)
	f.put(layout.PKIDir+"/etcd/server.key", []byte("x"))
	f.put(layout.SchedulerConf, []byte("{"))
	renewed, err := f.Renew(t.Context(), true)
	if len(renewed) != 10 || err == nil || !strings.Contains(err.Error(), "etcd/server") || !strings.Contains(err.Error(), layout.SchedulerConf) {
		t.Errorf("got %d renewed and %v, want 10 and two reasons", len(renewed), err)
	}
	list, problems := f.List()
	if len(list) != 14 || problems[layout.SchedulerConf] == "" {
		t.Errorf("got %d certificates and %v, want 14 and the problem of a kubeconfig", len(list), problems)
	}
}

// The life of a renewed certificate is that of the old one, for each life and moment.
func TestRenewalKeepsTheLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour)
	ca, err := f.issuer(clusterCA)
	f.check(err)
	key, _, err := newKey()
	f.check(err)
	rapid.Check(t, func(t *rapid.T) {
		lives := time.Duration(rapid.Int64Range(60, int64(2*year/time.Second)).Draw(t, "seconds")) * time.Second
		now := f.now.Add(time.Duration(rapid.Int64Range(0, int64(year/time.Second)).Draw(t, "later")) * time.Second)
		data, err := ca.renew(&x509.Certificate{NotBefore: now.Add(-lives), NotAfter: now}, key.Public(), now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := leaf(data)
		if err != nil || c.NotAfter.Sub(c.NotBefore).Round(time.Second) != min(lives, year) || Due(c, now) || !c.NotBefore.Before(now) {
			t.Fatalf("got %s to %s, %v, want %s from a little before %s", c.NotBefore, c.NotAfter, err, min(lives, year), now)
		}
	})
}

// The certificates of a cluster that was just booted begin when kubeadm made them, not
// a little before. They can be renewed, too.
func TestYoungCertificatesAreRenewedOnDemand(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	old := f.certificateIn(layout.PKIDir + "/etcd/server.crt")
	f.now = old.NotBefore.Add(time.Minute)
	if renewed, err := f.Renew(t.Context(), true); err != nil || len(renewed) != 12 {
		t.Errorf("got %q, %v, want all 12", renewed, err)
	}
	if c := f.certificateIn(layout.PKIDir + "/etcd/server.crt"); c.Equal(old) || c.NotAfter.Add(maxSkew).Before(old.NotAfter) {
		t.Errorf("got an end on %s after one on %s", c.NotAfter, old.NotAfter)
	}
}
