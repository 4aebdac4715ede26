package kube

import (
	"testing"

	"pai.dev/pai/internal/plan"
)

// What a difference shows never holds a secret.
func TestMask(t *testing.T) {
	secret := Ref{Version: "v1", Kind: "Secret", Name: "s"}
	deployment := Ref{Group: "apps", Version: "v1", Kind: "Deployment", Name: "d"}
	for _, c := range []struct {
		ref       Ref
		in        plan.FieldChange
		old, then string
	}{
		{secret, plan.FieldChange{Path: "data.ca", Old: "c2VjcmV0", New: "b3RoZXI="}, masked, masked},
		{secret, plan.FieldChange{Path: "data.ca", New: "b3RoZXI="}, "", masked},
		{secret, plan.FieldChange{Path: "stringData[tls.key]", Old: "k"}, masked, ""},
		{secret, plan.FieldChange{Path: "metadata.labels.a", Old: "1", New: "2"}, "1", "2"},
		{deployment, plan.FieldChange{Path: "spec.containers[a].env[DB_PASSWORD].value", Old: "x", New: "y"}, masked, masked},
		{deployment, plan.FieldChange{Path: "spec.containers[a].args[]", New: "--api-key=x"}, "", "--api-key=" + masked},
		{deployment, plan.FieldChange{Path: "spec.containers[a].args[]", New: "--listen=:9443"}, "", "--listen=:9443"},
		{deployment, plan.FieldChange{Path: "spec.automountServiceAccountToken", Old: "true", New: "false"}, "true", "false"},
		{Ref{Kind: "ConfigMap"}, plan.FieldChange{Path: "data[alerts.yml]", Old: "smtp_password: x", New: "smtp_password: y"}, "smtp_password:" + masked, "smtp_password:" + masked},
		{deployment, plan.FieldChange{Path: "spec.smtp_auth_password", New: "x"}, "", masked},
	} {
		if got := mask(c.ref, c.in); got.Old != c.old || got.New != c.then || got.Path != c.in.Path {
			t.Errorf("%s %+v: got %+v", c.ref.Kind, c.in, got)
		}
	}
}
