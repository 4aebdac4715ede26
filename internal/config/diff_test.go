package config

import (
	"reflect"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A difference is one of meaning: it has the key, and no secret.
func TestDiff(t *testing.T) {
	t.Parallel()
	machines := []Machine{
		{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: RoleControlPlane, Password: "hunter2"},
		{Hostname: "gpu-02", HostIP: "10.1.0.2", Role: RoleWorker},
	}
	before := New("lab", v10, machines, []string{testKey})
	machines[0].Password, machines[1].SSHPort = "hunter3", 2222
	after := New("lab", v10, []Machine{machines[1], machines[0]}, []string{testKey})
	after.Services.VirtualClusters["vision"] = VirtualCluster{GPU: 4}
	after.Services.AlertManager = AlertManager{Email: &EmailConfig{AdminReceiver: "ops@example.org", SMTPHost: "mail", SMTPFrom: "pai@example.org", Username: "pai", Password: "hunter4"},
		Webhooks: map[string]WebhookConfig{"chat": {URL: "https://example.org/hunter5", BearerToken: "hunter6"}}}
	got, err := Diff(&before, &after)
	const mail, chat = "alert-manager.email-configs.", "alert-manager.webhook-configs.chat."
	want := []Difference{
		{mail + "admin-receiver", "", "ops@example.org"},
		{mail + "smtp-auth-password", "", "*******"},
		{mail + "smtp-auth-username", "", "pai"},
		{mail + "smtp-from", "", "pai@example.org"},
		{mail + "smtp-host", "", "mail"},
		{chat + "bearer-token", "", "*******"},
		{chat + "url", "", "********"},
		{"machine-list.gpu-01.password", "*******", "*******"},
		{"machine-list.gpu-02.sshport", "22", "2222"},
		{"virtual-clusters.vision.gpu", "", "4"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %+v", err, got)
	}
	if same, err := Diff(&before, &before); err != nil || same != nil {
		t.Errorf("with itself: %v, %v", same, err)
	}
}

// The two schemas of one configuration do not differ, whether read from a
// directory or from bytes.
func TestDiffOfSchemas(t *testing.T) {
	t.Parallel()
	c := New("lab", pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, []Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: RoleControlPlane}}, []string{testKey})
	var read []*Config
	for schema := OldestSchema; schema <= Schema; schema++ {
		c.Layout.SchemaVersion = schema
		dir := t.TempDir()
		if err := Write(dir, c); err != nil {
			t.Fatal(err)
		}
		content, err := Files(dir)
		if err != nil || len(content) != len(files) {
			t.Fatalf("%d files, %v", len(content), err)
		}
		one, report := FromFiles("revision 1", content)
		if len(report.Problems) > 0 {
			t.Fatal(report.Problems)
		}
		read = append(read, one)
	}
	if differences, err := Diff(read[0], read[1]); err != nil || differences != nil {
		t.Errorf("%v, %v", differences, err)
	}
}
