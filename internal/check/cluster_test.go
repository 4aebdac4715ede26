package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

func certificate(t *testing.T, from, to time.Time, authority bool) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, IsCA: authority, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificateExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	leaf := func(left time.Duration) []byte { return certificate(t, now.Add(-day), now.Add(left), false) }
	one := func(data []byte) Result { return certificatesOf("m1", map[string][]byte{"/x.crt": data}, now) }
	expect(t, []expectation{
		{"one year left", one(leaf(365 * day)), OK, "/x.crt is the first to expire, on 2027-01-01"},
		{"expires during the operation", one(leaf(2 * time.Hour)), Failed, "/x.crt expires in 2h"},
		{"expires after the operation", one(leaf(4 * time.Hour)), Warning, "/x.crt expires on 2026-01-01 04:00"},
		{"expired", one(leaf(-time.Hour)), Failed, "/x.crt expired on 2025-12-31"},
		{"not valid yet", one(certificate(t, now.Add(day), now.Add(99*day), false)), Failed, "not valid before"},
		{"authority, 100 days left", one(certificate(t, now.Add(-day), now.Add(100*day), true)), Warning, "2026-04-11"},
		{"leaf, 100 days left", one(leaf(100 * day)), OK, ""},
		{"second certificate of a file expired", one(append(leaf(365*day), leaf(-day)...)), Failed, "expired"},
		{"damaged", one([]byte("-----BEGIN")), Unknown, "not a certificate"},
		{"no files", certificatesOf("m1", nil, now), Unknown, ""},
	})
}

// The fix is the command that works for the certificate.
func TestCertificateFix(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := certificate(t, now.Add(-48*time.Hour), now.Add(-time.Hour), false)
	for file, want := range map[string]string{
		layout.NetworkConf:               "run: paictl cluster certificates --renew",
		layout.KubeletServingCertificate: "run: paictl cluster certificates --renew",
		layout.KubeletClientCertificate:  "run: paictl cluster k8s-bootup",
	} {
		if got := certificatesOf("m1", map[string][]byte{file: ended}, now); got.Outcome != Failed || !strings.HasSuffix(got.Fix, want) {
			t.Errorf("%s: got %+v, want the fix %q", file, got, want)
		}
	}
}

func TestReadyzListsPartsThatFail(t *testing.T) {
	t.Parallel()
	bad, _ := readyz([]byte("[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: not finished\nreadyz check failed\n"), errors.New("500"))
	expect(t, []expectation{
		{"ready", only(readyz([]byte("[+]ping ok\n[+]etcd ok\nreadyz check passed\n"), nil)), OK, "all 2 parts"},
		{"etcd failed", bad[0], Failed, "failed: reason withheld"},
		{"hook failed", bad[1], Failed, "not finished"},
		{"unavailable", only(readyz(nil, errTest)), Unknown, "no route"},
		{"no list", only(readyz([]byte("hello"), nil)), Unknown, "hello"},
	})
	if bad[0].Target != "etcd" || bad[1].Target != "poststarthook/x" {
		t.Errorf("got targets %q and %q", bad[0].Target, bad[1].Target)
	}
}

func TestEtcdHealthAndSpace(t *testing.T) {
	t.Parallel()
	const m = 1 << 20
	of := func(change func(*etcd.Overview)) Result {
		s := etcd.Overview{Members: etcd.Members{{ID: 1, Name: "m1-a"}},
			Status: etcd.Status{Member: 1, Leader: 1, Version: "3.6.8", Size: 100 * m, Used: 90 * m, Quota: 2048 * m}}
		change(&s)
		return etcdOf(s)
	}
	expect(t, []expectation{
		{"healthy", of(func(*etcd.Overview) {}), OK, "100 MiB of 2.0 GiB used; defragmentation would free 10 MiB"},
		{"no leader", of(func(s *etcd.Overview) { s.Leader = 0 }), Failed, "no leader"},
		{"alarm", of(func(s *etcd.Overview) { s.Alarms = []string{"NOSPACE"} }), Failed, "NOSPACE"},
		{"error", of(func(s *etcd.Overview) { s.Errors = []string{"slow"} }), Failed, "slow"},
		{"full", of(func(s *etcd.Overview) { s.Size = 1900 * m }), Failed, "1.9 GiB of 2.0 GiB"},
		{"more than 70 % used", of(func(s *etcd.Overview) { s.Size, s.Used = 1500*m, 1490*m }), Warning, ""},
		{"more than 70 % used by objects", of(func(s *etcd.Overview) { s.Size, s.Used, s.Quota = 6000*m, 5900*m, 8192*m }), Warning, "5.9 GiB of 8.0 GiB"},
		{"fragmented", of(func(s *etcd.Overview) { s.Size, s.Used = 700*m, 100*m }), Warning, "free 600 MiB"},
		{"no quota reported", of(func(s *etcd.Overview) { s.Quota, s.Size = 0, 2000*m }), Failed, "of 2.0 GiB"},
		{"unfinished handover", of(func(s *etcd.Overview) { s.Members = append(s.Members, etcd.Member{ID: 2, Learner: true}) }), Warning, "1 of 2 members"},
	})
}

func TestExpectedRolesOfSlots(t *testing.T) {
	t.Parallel()
	worker := plan.MachineState{}
	controlPlane := plan.MachineState{ControlPlane: true, Roles: map[plan.Role]plan.RoleState{plan.RoleEtcdB: {Running: "v0.9-pai"}}}
	if got := expectedRoles(worker); slices.Contains(got, plan.RoleScheduler) || !slices.Contains(got, plan.RoleKubelet) {
		t.Errorf("got roles %v of a worker", got)
	}
	got := expectedRoles(controlPlane)
	for _, r := range []plan.Role{plan.RoleEtcdB, plan.RoleAPIServerA, plan.RoleScheduler, plan.RoleControllerManager} {
		if !slices.Contains(got, r) {
			t.Errorf("got roles %v of a control plane, without %s", got, r)
		}
	}
	if slices.Contains(got, plan.RoleEtcdA) {
		t.Error("got both slots of etcd")
	}
}

func TestNodesAndPods(t *testing.T) {
	t.Parallel()
	with := func(kind corev1.NodeConditionType, s corev1.ConditionStatus) *corev1.Node {
		n := &corev1.Node{}
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: kind, Status: s, Message: "because"})
		if kind != corev1.NodeReady {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue})
		}
		return n
	}
	byPAI, byOperator := &corev1.Node{}, &corev1.Node{}
	byPAI.Spec.Unschedulable, byOperator.Spec.Unschedulable = true, true
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC))
	byOperator.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kubelet", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)},
		{Manager: "kubectl-cordon", Time: &at, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:unschedulable":{}}}`)},
	}
	expect(t, []expectation{
		{"ready", nodeReady(with(corev1.NodeReady, corev1.ConditionTrue)), OK, ""},
		{"not ready", nodeReady(with(corev1.NodeReady, corev1.ConditionFalse)), Failed, "not ready: because"},
		{"lost", nodeReady(with(corev1.NodeReady, corev1.ConditionUnknown)), Failed, "not ready: because"},
		{"disk pressure", nodeReady(with(corev1.NodeDiskPressure, corev1.ConditionTrue)), Failed, "DiskPressure: because"},
		{"no pressure", nodeReady(with(corev1.NodeDiskPressure, corev1.ConditionFalse)), OK, ""},
		{"condition of a different program", nodeReady(with("GPUHealthy", corev1.ConditionTrue)), OK, ""},
		{"no conditions", nodeReady(&corev1.Node{}), Unknown, ""},

		{"not cordoned", cordoned(&corev1.Node{}, ""), OK, ""},
		{"cordoned by PAI", cordoned(byPAI, "20260101T000000.000Z"), Warning, "cordoned by PAI operation 20260101T000000.000Z"},
		{"cordoned by an operator", cordoned(byOperator, ""), Warning, "cordoned by an operator, with kubectl-cordon, 2026-01-02 03:04"},

		{"every pod has a controller", owners(nil, 7)[0], OK, "7 pods"},
		{"pod without a controller", owners([]string{"default/bare"}, 7)[0], Warning, "no controller"},

		{"CoreDNS available", rolledOut(deployment(2, 2)), OK, "2 of 2"},
		{"CoreDNS partially available", rolledOut(deployment(2, 1)), Warning, "1 of 2"},
		{"CoreDNS unavailable", rolledOut(deployment(2, 0)), Failed, "0 of 2"},
	})
}

func deployment(wanted, available int32) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Spec.Replicas, d.Status.AvailableReplicas = &wanted, available
	return d
}

func TestWebhookBackends(t *testing.T) {
	t.Parallel()
	of := func(b webhookBackend) Result {
		b.Configuration, b.Webhooks = "V/x", []string{"a.example.com"}
		b.Service.Namespace, b.Service.Name = "ns", "svc"
		return b.evaluate()
	}
	expect(t, []expectation{
		{"two ready pods", of(webhookBackend{Ready: 2}), OK, "2 ready pods"},
		{"one ready pod", of(webhookBackend{Ready: 1}), Warning, "one ready pod"},
		{"PAI, one ready pod, gapless rollout", of(webhookBackend{Ready: 1, PAI: true, Gapless: true}), OK, "starts the next one"},
		{"PAI, one ready pod", of(webhookBackend{Ready: 1, PAI: true}), Warning, ""},
		{"foreign, one ready pod, gapless rollout", of(webhookBackend{Ready: 1, Gapless: true}), Warning, ""},
		{"no ready pod", of(webhookBackend{}), Failed, "has no ready pod"},
		{"PAI, no ready pod", of(webhookBackend{PAI: true, Gapless: true}), Failed, ""},
		{"no such service", of(webhookBackend{NoService: true}), Failed, "does not exist"},
		{"outside the cluster", of(webhookBackend{URL: "https://example.com"}), Unknown, "outside"},
	})

	yes, no := true, false
	endpoints := []discovery.EndpointSlice{
		{Endpoints: []discovery.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Conditions: discovery.EndpointConditions{Ready: &yes}, TargetRef: &corev1.ObjectReference{UID: "a"}},
			{Addresses: []string{"10.0.0.2"}, Conditions: discovery.EndpointConditions{Ready: &no}, TargetRef: &corev1.ObjectReference{UID: "b"}},
		}},
		{Endpoints: []discovery.Endpoint{{Addresses: []string{"fd00::1"}, Conditions: discovery.EndpointConditions{Ready: &yes}, TargetRef: &corev1.ObjectReference{UID: "a"}}}},
	}
	if n := ready(endpoints); n != 1 {
		t.Errorf("got %d ready pods, want 1", n)
	}
	rolling := func(v intstr.IntOrString) *appsv1.Deployment {
		d := &appsv1.Deployment{}
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: &v}
		return d
	}
	if !gapless(rolling(intstr.FromInt32(0))) || gapless(rolling(intstr.FromInt32(1))) || gapless(rolling(intstr.FromString("25%"))) || gapless(&appsv1.Deployment{}) {
		t.Error("only a rollout with maxUnavailable 0 is gapless")
	}
}
