package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// What people and programs print of a configuration has no secret of a receiver.
func TestSecretsOfReceiversAreNotPrinted(t *testing.T) {
	t.Parallel()
	a := AlertManager{Email: &EmailConfig{Password: "hunter2"}, Webhooks: map[string]WebhookConfig{"chat": {URL: "https://example.org/hunter2", BearerToken: "hunter2"}}}
	data, err := json.Marshal(a)
	if err != nil || strings.Contains(string(data), "hunter2") || strings.Count(string(data), "***") < 3 {
		t.Errorf("got %s, %v, want masked secrets", data, err)
	}
	masked := map[string]bool{}
	for _, name := range secretNames() {
		masked[name] = true
	}
	var visit func(path string, k key)
	visit = func(path string, k key) {
		if k.secret && !masked[k.name] {
			t.Errorf("%s is secret, and secretNames does not have it", path)
		}
		if k.item != nil {
			visit(path+"[]", *k.item)
		}
		for _, child := range k.keys {
			visit(join(path, child.name), child)
		}
	}
	for _, file := range files {
		visit(file, schemaFor(file, Schema))
	}
}

// Without a receiver, there is nothing to run.
func TestAlertsNeedAReceiver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a    AlertManager
		want bool
	}{
		"none":      {AlertManager{}, false},
		"mail":      {AlertManager{Email: &EmailConfig{}}, true},
		"a webhook": {AlertManager{Webhooks: map[string]WebhookConfig{"chat": {}}}, true},
	} {
		if got := c.a.On(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
