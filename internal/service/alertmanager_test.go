package service

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
)

// receiversConfig has receivers of all forms, and the secrets that they have.
func receiversConfig() (cfg *config.Config, secrets map[string]string) {
	c := testConfig()
	c.Services.Cluster.Common.ClusterID = "lab"
	c.Services.AlertManager = config.AlertManager{
		Email: &config.EmailConfig{AdminReceiver: `ops@example.org, "On call" <on-call@example.org>`, SMTPHost: "mail.example.org", SMTPPort: 587, SMTPFrom: "pai@example.org",
			Username: `pai "x" {{ .Values }}`, Password: `hunter2 "'{{ .Release }}`, TLS: "required", Severities: []string{"critical", "warning"}},
		Webhooks: map[string]config.WebhookConfig{
			"chat":    {URL: "https://chat.example.org/hook/hunter3", Severities: []string{"critical"}},
			"on-call": {URL: "https://example.org/alerts?key=hunter4", BearerToken: "hunter5", Severities: []string{"critical", "warning", "info"}},
		},
	}
	a := c.Services.AlertManager
	return c, map[string]string{"email-password": a.Email.Password.Reveal(), "webhook-chat-url": a.Webhooks["chat"].URL.Reveal(),
		"webhook-on-call-url": a.Webhooks["on-call"].URL.Reveal(), "webhook-on-call-token": a.Webhooks["on-call"].BearerToken.Reveal()}
}

func renderNewest(t *testing.T, service string, cfg *config.Config) []*unstructured.Unstructured {
	t.Helper()
	all := sources(t)
	newest := all[len(all)-1]
	objs, err := Render(t.Context(), oneService(t, newest, service, nil), cfg, newest)
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

// find is the object of a kind and a name.
func find(t *testing.T, objs []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(objs, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		t.Fatalf("%s %s was not rendered", kind, name)
	}
	return objs[i]
}

func TestRenderReceivers(t *testing.T) {
	t.Parallel()
	cfg, _ := receiversConfig()
	checkRendered(t, "alertmanager-with-receivers", renderNewest(t, "alertmanager", cfg))
	checkRendered(t, "prometheus-with-receivers", slices.DeleteFunc(renderNewest(t, "prometheus", cfg), func(o *unstructured.Unstructured) bool { return o.GetName() == "prometheus-rules" }))
}

// Secrets of receivers are in one Secret, whole, and in nothing else that is applied.
func TestSecretsOfReceiversAreInASecret(t *testing.T) {
	t.Parallel()
	cfg, secrets := receiversConfig()
	for _, service := range []string{"alertmanager", "prometheus"} {
		objs := renderNewest(t, service, cfg)
		if service == "alertmanager" {
			data, _, err := unstructured.NestedStringMap(find(t, objs, "Secret", "alertmanager-receivers").Object, "data")
			if err != nil || len(data) != len(secrets) {
				t.Errorf("got %d values, %v, want %d", len(data), err, len(secrets))
			}
			for name, want := range secrets {
				if got, err := base64.StdEncoding.DecodeString(data[name]); err != nil || string(got) != want {
					t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
				}
			}
		}
		for _, o := range objs {
			if o.GetKind() == "Secret" {
				continue
			}
			if text := fmt.Sprint(o.Object); strings.Contains(text, "hunter") {
				t.Errorf("a secret is in %s %s: %s", o.GetKind(), o.GetName(), text)
			}
		}
	}
}

// What was not configured costs nothing: no pod, and Prometheus stays as it is.
func TestNoReceiverMeansNoAlertmanager(t *testing.T) {
	t.Parallel()
	for _, o := range renderNewest(t, "alertmanager", testConfig()) {
		if o.GetKind() != "ServiceAccount" {
			t.Errorf("got a %s without a receiver", o.GetKind())
		}
	}
	if text := readable(t, renderNewest(t, "prometheus", testConfig())); strings.Contains(text, "alertmanagers:") || strings.Contains(text, "alertmanager-login") {
		t.Error("Prometheus sends alerts to an Alertmanager that is not there")
	}
}

// Each receiver gets its severities, also if another one gets the same alert, and an alert
// that only holds others back has no receiver.
func TestRoutesOfReceivers(t *testing.T) {
	t.Parallel()
	cfg, _ := receiversConfig()
	text, _, err := unstructured.NestedString(find(t, renderNewest(t, "alertmanager", cfg), "ConfigMap", "alertmanager").Object, "data", "alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	type route struct {
		Receiver string   `json:"receiver"`
		Matchers []string `json:"matchers"`
		Continue bool     `json:"continue"`
	}
	var got struct {
		Route struct {
			Receiver string  `json:"receiver"`
			Routes   []route `json:"routes"`
		} `json:"route"`
		Inhibit []struct {
			Source []string `json:"source_matchers"`
			Target []string `json:"target_matchers"`
		} `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	want := []route{
		{"none", []string{`alertname="OperationRuns"`}, false},
		{"email", []string{`severity=~"critical|warning"`}, true},
		{"webhook-chat", []string{`severity=~"critical"`}, true},
		{"webhook-on-call", []string{`severity=~"critical|warning|info"`}, true},
	}
	if fmt.Sprint(got.Route.Routes) != fmt.Sprint(want) || got.Route.Receiver != "none" {
		t.Errorf("got the routes %v of %s, want %v of none", got.Route.Routes, got.Route.Receiver, want)
	}
	if len(got.Inhibit) != 1 || fmt.Sprint(got.Inhibit[0].Source) != `[alertname="OperationRuns"]` || !strings.Contains(got.Inhibit[0].Target[0], "ServiceNotReady") {
		t.Errorf("got the rules %v that hold alerts back", got.Inhibit)
	}
}
