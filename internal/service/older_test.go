package service

import (
	"encoding/json"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/pai"
)

// The record of a service that commit c82e023 (v0.10) wrote is read: a rollback
// applies its objects.
func TestRecordOfOlderProgramIsRead(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../test/older/testdata/made/recorded-secrets.json")
	if err != nil {
		t.Fatal(err)
	}
	var secrets []corev1.Secret
	if err := json.Unmarshal(data, &secrets); err != nil {
		t.Fatal(err)
	}
	all := groupRecorded(secrets)
	if len(all) != 1 || all[0].release != "v0.9" || all[0].about.Name != "kueue" || all[0].about.Impact != pai.ImpactSubmission || len(all[0].about.Prerequisites) != 1 {
		t.Fatalf("got %+v", all)
	}
	objs, err := all[0].objects()
	if err != nil || len(objs) != 2 || objs[0].GetName() != "one" || objs[1].GetKind() != "Deployment" {
		t.Errorf("got %v, %v", objs, err)
	}
}
