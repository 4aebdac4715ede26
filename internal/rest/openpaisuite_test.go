//go:build openpaisdk || e2e

package rest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suiteTests is how many tests OpenPAI's suite has.
const suiteTests = 72

// runOpenPAISuite runs the live API suite that OpenPAI ships in its JavaScript SDK 0.1.5,
// unchanged, as an administrator with the name and password.
func runOpenPAISuite(t *testing.T, url, user, password, token string, ca []byte) {
	t.Helper()
	env := os.Getenv("PAI_OPENPAI_SDK")
	if env == "" {
		t.Fatal("PAI_OPENPAI_SDK is not set; run: hack/test.sh sdk")
	}
	sdk := filepath.Join(t.TempDir(), "sdk")
	if err := os.CopyFS(sdk, os.DirFS(filepath.Join(env, "node_modules/@microsoft/openpai-js-sdk"))); err != nil {
		t.Fatal(err)
	}
	clusters, err := json.Marshal([]map[string]any{{
		"alias": "pai", "https": true, "rest_server_uri": strings.TrimPrefix(url, "https://") + "/rest-server",
		"username": user, "password": password, "token": token,
	}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(sdk, "lib/.tests/clusters.json"), clusters)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, authority, ca)
	preload, err := filepath.Abs("../../test/openpaisdk/preload.js")
	if err != nil {
		t.Fatal(err)
	}
	node := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", args...)
		cmd.Dir = sdk
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(env, "node_modules"), "NODE_EXTRA_CA_CERTS="+authority)
		var errors strings.Builder
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil && len(out) == 0 {
			t.Fatalf("node %s: %v: %s", args, err, errors.String())
		}
		return out
	}
	out := node("-r", preload, "lib/tests/common/apiTestCaseGenerator.js", "--", "lib/src/api/v2/swagger.yaml", "lib/.tests/apiTestCase.json")
	if !strings.Contains(string(out), "Success.") {
		t.Fatalf("the cases of the suite were not made: %s", out)
	}
	out = node(filepath.Join(env, "node_modules/mocha/bin/mocha"), "lib/tests/api_tests/v2/api.v2.spec.js", "-t", "20000", "--exit", "--reporter", "json")
	text := string(out)
	start := strings.Index(text, "{\n  \"stats\"")
	if start < 0 {
		t.Fatalf("no report: %s", text)
	}
	var result struct {
		Stats    struct{ Tests, Passes, Pending, Failures int }
		Failures []struct {
			FullTitle string
			Err       struct{ Message, Stack string }
		}
	}
	if err := json.NewDecoder(strings.NewReader(text[start:])).Decode(&result); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	t.Logf("%d of %d tests passed", result.Stats.Passes, result.Stats.Tests)
	for _, f := range result.Failures {
		t.Errorf("%s: %s\n%.600s", f.FullTitle, f.Err.Message, f.Err.Stack)
	}
	if result.Stats.Tests != suiteTests || result.Stats.Passes != suiteTests {
		t.Errorf("%d of %d tests passed, want %d\n%.3000s", result.Stats.Passes, result.Stats.Tests, suiteTests, text[:start])
	}
}
