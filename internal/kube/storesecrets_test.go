package kube

import "testing"

func TestEncryptionInfoOfAnAPIServer(t *testing.T) {
	t.Parallel()
	const digest = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	// As kube-apiserver v1.37.2 writes it.
	line := `apiserver_encryption_config_controller_last_config_info{apiserver_id_hash="sha256:0",hash="` + digest + `"} 1`
	if m := encryptionInfo.FindStringSubmatch(line); m == nil || m[1] != digest {
		t.Errorf("got %v", m)
	}
	for _, other := range []string{
		`# HELP ` + line,
		`apiserver_encryption_config_controller_last_config_info{apiserver_id_hash="` + digest + `"} 1`,
		`apiserver_encryption_config_controller_automatic_reloads_total{hash="` + digest + `"} 1`,
	} {
		if m := encryptionInfo.FindStringSubmatch(other); m != nil {
			t.Errorf("%s: got %v", other, m)
		}
	}
}
