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
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pai.dev/pai/internal/cluster"
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

func TestCertificates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	leaf := func(left time.Duration) []byte { return certificate(t, now.Add(-day), now.Add(left), false) }
	one := func(data []byte) Result { return certificatesOf("m1", map[string][]byte{"/x.crt": data}, now) }
	judgements(t, []judged{
		{"a year", one(leaf(365 * day)), OK, "/x.crt, 2027-01-01"},
		{"within the operation", one(leaf(2 * time.Hour)), Failed, "/x.crt ends in 2h"},
		{"just past the operation", one(leaf(4 * time.Hour)), Warning, "/x.crt ends 2026-01-01 04:00"},
		{"over", one(leaf(-time.Hour)), Failed, "/x.crt ended 2025-12-31"},
		{"not valid yet", one(certificate(t, now.Add(day), now.Add(99*day), false)), Failed, "not valid before"},
		{"an authority's last months", one(certificate(t, now.Add(-day), now.Add(100*day), true)), Warning, "2026-04-11"},
		{"a leaf's last months", one(leaf(100 * day)), OK, ""},
		{"the second of a file", one(append(leaf(365*day), leaf(-day)...)), Failed, "ended"},
		{"no certificate", one([]byte("-----BEGIN")), Unknown, "no certificate"},
		{"none at all", certificatesOf("m1", nil, now), Unknown, ""},
	})
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	bad := readyz([]byte("[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: not finished\nreadyz check failed\n"), errors.New("500"))
	judgements(t, []judged{
		{"ready", readyz([]byte("[+]ping ok\n[+]etcd ok\nreadyz check passed\n"), nil)[0], OK, "all 2 parts"},
		{"etcd is not", bad[0], Failed, "failed: reason withheld"},
		{"nor is a hook", bad[1], Failed, "not finished"},
		{"no answer", readyz(nil, errTest)[0], Unknown, "hides"},
		{"another answer", readyz([]byte("hello"), nil)[0], Unknown, "hello"},
	})
	if bad[0].Target != "etcd" || bad[1].Target != "poststarthook/x" {
		t.Errorf("targets %q and %q", bad[0].Target, bad[1].Target)
	}
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	const m = 1 << 20
	of := func(change func(*cluster.EtcdStatus)) Result {
		s := cluster.EtcdStatus{Member: 1, Leader: 1, Version: "3.6.8", Size: 100 * m, Used: 90 * m, Quota: 2048 * m, Members: 1}
		change(&s)
		return etcdOf(s)
	}
	judgements(t, []judged{
		{"well", of(func(*cluster.EtcdStatus) {}), OK, "100 MiB of 2.0 GiB used, of which defragmenting would free 10 MiB"},
		{"no leader", of(func(s *cluster.EtcdStatus) { s.Leader = 0 }), Failed, "no leader"},
		{"an alarm", of(func(s *cluster.EtcdStatus) { s.Alarms = []string{"NOSPACE"} }), Failed, "NOSPACE"},
		{"an error", of(func(s *cluster.EtcdStatus) { s.Errors = []string{"slow"} }), Failed, "slow"},
		{"full", of(func(s *cluster.EtcdStatus) { s.Size = 1900 * m }), Failed, "1.9 GiB of 2.0 GiB"},
		{"filling", of(func(s *cluster.EtcdStatus) { s.Size, s.Used = 1500*m, 1490*m }), Warning, ""},
		{"worth defragmenting", of(func(s *cluster.EtcdStatus) { s.Size, s.Used = 700*m, 100*m }), Warning, "free 600 MiB"},
		{"the default quota", of(func(s *cluster.EtcdStatus) { s.Quota, s.Size = 0, 2000*m }), Failed, "of 2.0 GiB"},
		{"half a hand-over", of(func(s *cluster.EtcdStatus) { s.Members, s.Learners = 2, 1 }), Warning, "1 of 2 members"},
	})
}

func TestExpectedRoles(t *testing.T) {
	t.Parallel()
	worker := plan.MachineState{}
	master := plan.MachineState{ControlPlane: true, Roles: map[plan.Role]plan.RoleState{plan.RoleEtcdB: {Running: "v0.9-pai"}}}
	if got := expectedRoles(worker); slices.Contains(got, plan.RoleScheduler) || !slices.Contains(got, plan.RoleKubelet) {
		t.Errorf("a worker runs %v", got)
	}
	got := expectedRoles(master)
	for _, r := range []plan.Role{plan.RoleEtcdB, plan.RoleAPIServerA, plan.RoleScheduler, plan.RoleControllerManager} {
		if !slices.Contains(got, r) {
			t.Errorf("a control plane runs %v, without %s", got, r)
		}
	}
	if slices.Contains(got, plan.RoleEtcdA) {
		t.Error("of two slots one runs")
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	with := func(kind corev1.NodeConditionType, s corev1.ConditionStatus) *corev1.Node {
		n := &corev1.Node{}
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: kind, Status: s, Message: "because"})
		if kind != corev1.NodeReady {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue})
		}
		return n
	}
	mine, theirs := &corev1.Node{}, &corev1.Node{}
	mine.Spec.Unschedulable, theirs.Spec.Unschedulable = true, true
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC))
	theirs.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kubelet", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)},
		{Manager: "kubectl-cordon", Time: &at, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:unschedulable":{}}}`)},
	}
	judgements(t, []judged{
		{"ready", nodeReady(with(corev1.NodeReady, corev1.ConditionTrue)), OK, ""},
		{"not ready", nodeReady(with(corev1.NodeReady, corev1.ConditionFalse)), Failed, "not ready: because"},
		{"lost", nodeReady(with(corev1.NodeReady, corev1.ConditionUnknown)), Failed, "not ready: because"},
		{"disk pressure", nodeReady(with(corev1.NodeDiskPressure, corev1.ConditionTrue)), Failed, "DiskPressure: because"},
		{"no pressure", nodeReady(with(corev1.NodeDiskPressure, corev1.ConditionFalse)), OK, ""},
		{"another program's condition", nodeReady(with("GPUHealthy", corev1.ConditionTrue)), OK, ""},
		{"said nothing", nodeReady(&corev1.Node{}), Unknown, ""},

		{"takes pods", cordoned(&corev1.Node{}, ""), OK, ""},
		{"cordoned by PAI", cordoned(mine, "20260101T000000.000Z"), Warning, "operation 20260101T000000.000Z"},
		{"cordoned by an operator", cordoned(theirs, ""), Warning, "an operator cordoned it, with kubectl-cordon, 2026-01-02 03:04"},

		{"every pod has an owner", owners(nil, 7)[0], OK, "7 pods"},
		{"one has none", owners([]string{"default/bare"}, 7)[0], Warning, "no controller"},

		{"the resolver answers", rolledOut(deployment(2, 2)), OK, "2 of 2"},
		{"half of it", rolledOut(deployment(2, 1)), Warning, "1 of 2"},
		{"nobody", rolledOut(deployment(2, 0)), Failed, "none of 2"},
	})
}

func deployment(wanted, available int32) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Spec.Replicas, d.Status.AvailableReplicas = &wanted, available
	return d
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	of := func(b webhookBackend) Result {
		b.Configuration, b.Webhooks = "V/x", []string{"a.example.com"}
		b.Service.Namespace, b.Service.Name = "ns", "svc"
		return b.judge()
	}
	judgements(t, []judged{
		{"two answer", of(webhookBackend{Ready: 2}), OK, "2 pods answer"},
		{"one answers", of(webhookBackend{Ready: 1}), Warning, "one pod is ready"},
		{"PAI's own, replaced without a gap", of(webhookBackend{Ready: 1, PAI: true, Gapless: true}), OK, "starts the next one"},
		{"PAI's own, replaced with one", of(webhookBackend{Ready: 1, PAI: true}), Warning, ""},
		{"another's, replaced without a gap", of(webhookBackend{Ready: 1, Gapless: true}), Warning, ""},
		{"nobody answers", of(webhookBackend{}), Failed, "behind which no pod is ready"},
		{"PAI's own, and nobody answers", of(webhookBackend{PAI: true, Gapless: true}), Failed, ""},
		{"no such service", of(webhookBackend{NoService: true}), Failed, "does not exist"},
		{"outside", of(webhookBackend{URL: "https://example.com"}), Unknown, "outside"},
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
		t.Errorf("%d pods answer, want the one that is ready", n)
	}
	rolling := func(v intstr.IntOrString) *appsv1.Deployment {
		d := &appsv1.Deployment{}
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: &v}
		return d
	}
	if !gapless(rolling(intstr.FromInt32(0))) || gapless(rolling(intstr.FromInt32(1))) || gapless(rolling(intstr.FromString("25%"))) || gapless(&appsv1.Deployment{}) {
		t.Error("gapless is when none may be unavailable")
	}
}
