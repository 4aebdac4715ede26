package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// What no two clusters have in common is replaced by its kind.
var masks = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(-----BEGIN [A-Z ]+-----)[^-]*(-----END)`), "$1<data>$2"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uid>"},
	{regexp.MustCompile(`[0-9a-f]{32,}`), "<hash>"},
	// The name of a ClusterTrustBundle ends with a digest of its certificates.
	{regexp.MustCompile(`(\bkubernetes\.io:[a-z-]+:)[0-9a-f]{24}\b`), "$1<hash>"},
	{regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}`), "<mac>"},
	{regexp.MustCompile(`([A-Za-z0-9+/]{40,}={0,2}\s*)+`), "<data>\n"},
	// Which part of the pods' range (10.244.0.0/16) a machine got when it joined:
	// the next one, and one further where its being written down was tried again.
	{regexp.MustCompile(`\b10\.244\.\d+\.0/24`), "<the machine's pods>"},
	// Times in the forms of Kubernetes, of file names, and of HTTP, and dates
	// alone: a cluster that lives past midnight (UTC) has another one, for
	// example in the ConfigMap that says since when tokens are tracked.
	{regexp.MustCompile(`20\d\d-\d\d-\d\d[T _-]\d\d[:-]?\d\d[:-]?\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?`), "<time>"},
	{regexp.MustCompile(`\b20\d{6}[T_-]?\d{6}Z?\b`), "<time>"},
	{regexp.MustCompile(`\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (\d\d? )?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)( +\d\d?)? [0-9: ]+( ?(GMT|UTC))?( 20\d\d)?`), "<time>"},
	{regexp.MustCompile(`\b20\d\d-(0\d|1[0-2])-([0-2]\d|3[01])\b`), "<date>"},
}

func maskText(s string) string {
	for _, m := range masks {
		s = m.what.ReplaceAllString(s, m.by)
	}
	return s
}

// random are the endings that Kubernetes gives to names: no vowels, and no
// digits that look like one.
var random = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`)

func maskName(s string) string {
	return random.ReplaceAllString(maskText(s), "-<random>")
}

// maskObject is an object without its state, its history and its secrets.
func maskObject(o map[string]any) (string, error) {
	delete(o, "status")
	if meta, ok := o["metadata"].(map[string]any); ok {
		for _, k := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"} {
			delete(meta, k)
		}
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, "deployment.kubernetes.io/revision") // counts the changes of a Deployment
		}
	}
	if o["kind"] == "Secret" {
		data, _ := o["data"].(map[string]any)
		o["data"] = slices.Sorted(maps.Keys(data))
	}
	if data, ok := o["data"].(map[string]any); ok && o["kind"] == "ConfigMap" {
		// A signature for each token of a joining kubelet, as long as the token lives.
		maps.DeleteFunc(data, func(key string, _ any) bool { return strings.HasPrefix(key, "jws-kubeconfig-") })
		if progress, ok := data[pai.ProgressKey].(string); ok {
			end, err := endOf(progress)
			if err != nil {
				return "", err
			}
			data[pai.ProgressKey] = end
		}
	}
	if spec, ok := o["spec"].(map[string]any); ok && o["kind"] == "Service" {
		for _, k := range []string{"clusterIP", "clusterIPs"} {
			if _, ok := spec[k]; ok {
				spec[k] = "<address>"
			}
		}
	}
	text, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		return "", fmt.Errorf("write an object: %w", err)
	}
	return maskText(string(text)), nil
}

// endOf is how the last operation ended. Its steps are those that its attempts left to it.
func endOf(progress string) (map[string]any, error) {
	var p pai.PublishedProgress
	if err := json.Unmarshal([]byte(progress), &p); err != nil {
		return nil, fmt.Errorf("read the progress of the last operation: %w", err)
	}
	return map[string]any{"verb": p.Verb, "to": p.To, "outcome": p.Outcome, "all done": p.Done == p.Total, "waiting": len(p.Waiting)}, nil
}
