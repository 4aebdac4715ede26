package oplog

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const key = "MC4CAQAwBQYDK2VwBCIEIPlKYWs"

func TestMaskHidesSecrets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, secret, kept string }{
		"registered value":          {"login with hunter2 failed", "hunter2", "failed"},
		"registered value, base64":  {"data: aHVudGVyMg==", "aHVudGVyMg==", "data"},
		"registered, shell word":    {`echo 'it'\''s me'`, `it'\''s me`, "echo"},
		"PEM block":                 {"-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----\nnext", key, "next"},
		"PEM block without an end":  {"before -----BEGIN RSA PRIVATE KEY-----\n" + key, key, "before"},
		"PEM block without a start": {key + "\n-----END EC PRIVATE KEY-----\nnext", key, "next"},
		"kubeconfig":                {"  client-key-data: " + key + "\n  name: admin", key, "name: admin"},
		"JSON field":                {`{"token":"` + key + `","name":"x"}`, key, `"name":"x"`},
		"JSON in JSON":              {`{"error":"{\"password\":\"` + key + `\"}"}`, key, "error"},
		"variable":                  {"ADMIN_PASSWORD='" + key + " " + key + "' ./run", key, "./run"},
		"flag":                      {"kubeadm join --token " + key + " --node gpu-01", key, "--node gpu-01"},
		"flag with equal sign":      {"run --client-secret=" + key, key, "run"},
		"YAML block":                {"password: |\n  " + key + "\n\n  " + key + "\nname: x", key, "name: x"},
		"YAML value on next line":   {"keys:\n- secret:\n    " + key + "\n  name: x", key, "name: x"},
		"YAML list at the key":      {"passwords:\n- " + key + "\nname: x", key, "name: x"},
		"JSON list":                 {"{\n \"tokens\": [\n  \"" + key + "\"\n ],\n \"name\": \"x\"\n}", key, `"name": "x"`},
		"flag with escaped quote":   {`run --password "a\"` + key + ` c" --name x`, key, "--name x"},
		"variable, shell word":      {`ADMIN_PASSWORD='it'\''` + key + ` me' ./run`, key, "./run"},
		"registered, quoted":        {`error "say \"hi\"" from x`, `say \"hi\"`, "from x"},
		"header":                    {"> Authorization: Basic " + key + "\n> Host: x", key, "Host: x"},
		"bearer token":              {"sent 'bearer " + key + "' to x", key, "to x"},
		"web token":                 {"got eyJhbGciOi.eyJzdWIi." + key + " from x", key, "from x"},
		"kubeadm token":             {"created abcdef.0123456789abcdef today", "0123456789abcdef", "today"},
		"URL":                       {"fetch https://ann:" + key + "@host/x", key, "@host/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := NewMasker("hunter2", "it's me", "abc", `say "hi"`).Mask(c.text)
			if strings.Contains(got, c.secret) {
				t.Errorf("got %q, want no %q", got, c.secret)
			}
			if !strings.Contains(got, c.kept) {
				t.Errorf("got %q, want %q in it", got, c.kept)
			}
		})
	}
}

func TestMaskKeepsOtherText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"kubelet.service: Main process exited, code=exited, status=1/FAILURE",
		"secret/rest-server configured",
		"systemctl restart pai-kubelet\nkubectl --kubeconfig /etc/kubernetes/admin.conf get nodes",
		"pulled pai.local/rest-server@sha256:0f343b0931126a20f133d67c2b018a3b",
	} {
		if got := NewMasker("abc").Mask(text); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

// A registered secret is masked wherever it occurs.
func TestMaskHidesRegisteredSecretAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-~]{4,20}`).Draw(t, "secret")
		text := rapid.String().Draw(t, "before") + secret + rapid.String().Draw(t, "after")
		if got := NewMasker(secret).Mask(text); strings.Contains(got, secret) && !strings.Contains(masked, secret) {
			t.Fatalf("got %q, want no %q", got, secret)
		}
	})
}
