package cluster

import (
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/etcd"
)

func TestKindOfKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"/registry/pods/pai-vc-default/train-0":                              "pods",
		"/registry/namespaces/default":                                       "namespaces",
		"/registry/services/specs/default/kubernetes":                        "services",
		"/registry/services/endpoints/default/kubernetes":                    "endpoints",
		"/registry/jobset.x-k8s.io/jobsets/pai-vc-default/train":             "jobsets.jobset.x-k8s.io",
		"/registry/apiextensions.k8s.io/customresourcedefinitions/jobsets.x": "customresourcedefinitions.apiextensions.k8s.io",
		"/registry/apiregistration.k8s.io/apiservices/v1.apps":               "apiservices.apiregistration.k8s.io",
		"/registry/flowschemas/exempt":                                       "flowschemas",
		"/registry/ranges/serviceips":                                        "ranges",
	} {
		if got := kindOfKey(key); got != want {
			t.Errorf("%s is of kind %q, want %q", key, got, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	keys, err := parseKeys([]byte(`{"header":{"revision":9},"kvs":[{"key":"L3JlZ2lzdHJ5L3BvZHMvYS9i","create_revision":4,"mod_revision":7,"version":2}],"count":1}`))
	if want := (map[string]etcd.Revisions{"/registry/pods/a/b": {Created: 4, Modified: 7}}); err != nil || !maps.Equal(keys, want) {
		t.Errorf("read %v, %v, want %v", keys, err, want)
	}
	if keys, err := parseKeys([]byte(`{"header":{}}`)); err != nil || len(keys) != 0 {
		t.Errorf("an etcd without keys: %v, %v", keys, err)
	}
	if _, err := parseKeys([]byte("no JSON")); err == nil {
		t.Error("text was parsed as keys")
	}
}

// What is counted as lost is exactly what was written since, whatever that was.
func TestCompareKeysCountsEveryWrite(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now, revision := map[string]etcd.Revisions{}, int64(0)
		write := func() {
			key := fmt.Sprintf("/registry/%s/ns/%d", rapid.SampledFrom([]string{"pods", "secrets"}).Draw(t, "kind"), rapid.IntRange(0, 4).Draw(t, "name"))
			revision++
			was, there := now[key]
			switch {
			case !there:
				now[key] = etcd.Revisions{Created: revision, Modified: revision}
			case rapid.Bool().Draw(t, "delete"):
				delete(now, key)
			default:
				now[key] = etcd.Revisions{Created: was.Created, Modified: revision}
			}
		}
		for range rapid.IntRange(0, 12).Draw(t, "before") {
			write()
		}
		then, snapshot := maps.Clone(now), revision
		for range rapid.IntRange(0, 12).Draw(t, "since") {
			write()
		}
		loss := compareKeys(then, now)
		var created, changed, deleted int
		for _, k := range loss.Kinds {
			created, changed, deleted = created+k.Created, changed+k.Changed, deleted+k.Deleted
		}
		wantCreated, wantChanged, wantGone := 0, 0, 0
		for _, s := range now {
			switch {
			case s.Created > snapshot:
				wantCreated++
			case s.Modified > snapshot:
				wantChanged++
			}
		}
		for key, s := range then {
			if now[key].Created != s.Created {
				wantGone++
			}
		}
		if created != wantCreated || changed != wantChanged || deleted != wantGone || len(loss.Created) != created || len(loss.Gone) != deleted {
			t.Fatalf("counted %d created, %d changed, %d deleted, want %d, %d, %d", created, changed, deleted, wantCreated, wantChanged, wantGone)
		}
	})
}

func TestScratchScriptsParse(t *testing.T) {
	t.Parallel()
	for _, script := range []string{scratchContent("v0.10-pai", "/s/a.db"), source.MakeScratch + source.ServeScratch("v0.10-pai") + keepSnapshot("v0.10-pai", "/s/a.db")} {
		if out, err := exec.Command("sh", "-n", "-c", script).CombinedOutput(); err != nil || strings.Contains(script, "%!") {
			t.Errorf("%s\n%s", out, script)
		}
	}
}
